//! Callers that go away at any moment, during faults, too: no session, no object and no place is lost.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use keystead::base::{SecretBytes, random};
use keystead::model::algorithm::{KeySpec, KeyUsage};
use keystead::model::key::Material;
use keystead::tier::pkcs11::{Pkcs11Tier, Settings};
use keystead::tier::status::SlotState;
use keystead::tier::{KeyHandle, Tier};

use crate::calls::{round_trip, sign, until};
use crate::fault::Fault;
use crate::isolated::{isolated, runtime};
use crate::softhsm;
use crate::world::{key, new_key, sessions_agree, settings};

/// Callers at a time.
const CALLERS: usize = 64;
/// A caller is gone after so long at the latest, and most of them much sooner.
const LIFE: Duration = Duration::from_millis(200);
/// How long each fault lasts; a call that hangs is given up meanwhile.
const FAULT: Duration = Duration::from_millis(1_300);
/// How long a call may take.
const DEADLINE: Duration = Duration::from_secs(1);
/// How long a test may wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);
/// Few sessions, so that callers go away in the queue, too.
const SESSIONS: usize = 12;

/// Faults with what ends them.
const FAULTS: [&[&str]; 9] = [
    &[],
    &["latency all 1ms jitter=2ms"],
    &["hang C_Sign times=2", "hang C_Encrypt times=1"],
    &["hang C_GenerateKey* times=1 after"],
    &["lose-login"],
    &["invalidate-sessions"],
    &["fail C_GenerateKey* CKR_DEVICE_ERROR every=2 after", "fail C_CreateObject CKR_GENERAL_ERROR every=2 after"],
    &["fail C_DestroyObject CKR_DEVICE_ERROR every=2 after", "fail C_FindObjects CKR_DEVICE_ERROR every=7"],
    &["remove-token"],
];

/// What the callers know of the token.
#[derive(Default)]
struct Books {
    /// Keys that are there: their caller was told so.
    keys: BTreeSet<Vec<u8>>,
    /// Keys whose destruction was asked for, and nobody knows.
    doubtful: BTreeSet<Vec<u8>>,
}

struct Callers {
    tier: Arc<Pkcs11Tier>,
    aes: Arc<dyn KeyHandle>,
    ec: Arc<dyn KeyHandle>,
    books: Mutex<Books>,
}

impl Callers {
    /// A caller's whole life, cut off at any await.
    async fn live(self: Arc<Self>, caller: usize) {
        for round in caller.. {
            // Whatever is answered: only what is left behind counts here.
            let _ = match round % 6 {
                0 => self.one_key(false).await,
                1 => self.one_key(true).await,
                2 => sign(&*self.ec, b"a text").await.is_ok(),
                3 => self.tier.residents().await.is_ok(),
                _ => round_trip(&*self.aes, b"a text").await.is_ok(),
            };
            tokio::task::yield_now().await;
        }
    }

    async fn one_key(&self, imported: bool) -> bool {
        let new = new_key(KeySpec::Aes128, KeyUsage::EncryptDecrypt);
        let id = new.id.clone();
        let made = if imported { self.tier.import(new, SecretBytes::new(vec![7; 16])).await } else { self.tier.create(new).await };
        if made.is_err() {
            return false;
        }
        // From here to the destruction nothing is awaited.
        self.books.lock().unwrap().keys.insert(id.clone());
        if id.last().is_some_and(|last| last.is_multiple_of(2)) {
            return true;
        }
        self.let_go(&id);
        let destroyed = self.tier.destroy(Material::Resident(id.clone())).await.is_ok();
        if destroyed {
            self.books.lock().unwrap().doubtful.remove(&id);
        }
        destroyed
    }

    fn let_go(&self, id: &[u8]) {
        let mut books = self.books.lock().unwrap();
        books.keys.remove(id);
        books.doubtful.insert(id.to_vec());
    }

    /// Keeps so many callers alive for a while; each goes away at a moment that is drawn. How many went.
    async fn come_and_go(self: &Arc<Self>, length: Duration) -> usize {
        let begun = Instant::now();
        let lives: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let callers = Arc::clone(self);
                tokio::spawn(async move {
                    let mut gone = 0;
                    while begun.elapsed() < length {
                        let caller = tokio::spawn(Arc::clone(&callers).live(caller + gone));
                        let drawn = f64::from(u16::from_be_bytes(random::bytes())) / f64::from(u16::MAX);
                        tokio::time::sleep(LIFE.mul_f64(drawn.powi(3))).await;
                        caller.abort();
                        assert!(caller.await.unwrap_err().is_cancelled());
                        gone += 1;
                    }
                    gone
                })
            })
            .collect();
        let mut gone = 0;
        for life in lives {
            gone += life.await.unwrap();
        }
        gone
    }
}

/// All places on session threads are free: so many calls can be in the module at once. Others may wait meanwhile, so it is looked
/// at a few times.
async fn all_places_are_free(fault: &Fault, tier: &Arc<Pkcs11Tier>) {
    // As many places as cores are on the runtime, when there are calls that are shorter than a hand-over.
    let inline = tier.describe().capabilities.iter().any(|line| line.cost.is_some_and(|cost| cost < Duration::from_micros(100)));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let places = (tier.sessions() - if inline { cores } else { 0 }) as u64;
    for _ in 0..5 {
        let hang = fault.rule("hang C_GenerateRandom");
        let calls: Vec<_> = (0..tier.sessions())
            .map(|_| {
                let tier = Arc::clone(tier);
                tokio::spawn(async move { crate::calls::random(&tier).await.is_ok() })
            })
            .collect();
        let begun = Instant::now();
        while fault.hung() < places && begun.elapsed() < DEADLINE / 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let hung = fault.hung();
        drop(hang);
        fault.tell("release");
        let mut served = 0;
        for call in calls {
            served += usize::from(call.await.unwrap());
        }
        if (hung, served) == (places, tier.sessions()) {
            return;
        }
        println!("{hung} of {places} were in the module at once, {served} of {} served", tier.sessions());
    }
    panic!("places are lost");
}

#[test]
fn who_goes_away_leaves_nothing_behind() {
    isolated("cancel::who_goes_away_leaves_nothing_behind", 1, || {
        let label = softhsm::token();
        let token = crate::fault::token(&label);
        let fault = Fault::here();
        runtime().block_on(async {
            let settings =
                Settings { sessions: SESSIONS, deadline: DEADLINE, generation_deadline: DEADLINE * 5, ..settings(&label) };
            let tier = Arc::new(Pkcs11Tier::connect(settings).await.unwrap());
            let (aes_id, aes) = key(&tier, KeySpec::Aes256, KeyUsage::EncryptDecrypt).await;
            let (ec_id, ec) = key(&tier, KeySpec::EcP256, KeyUsage::SignVerify).await;
            let keys = BTreeSet::from([aes_id, ec_id]);
            let sessions = tier.sessions();
            let callers = Arc::new(Callers {
                tier: Arc::clone(&tier),
                aes,
                ec,
                books: Mutex::new(Books { keys, doubtful: BTreeSet::new() }),
            });
            for commands in FAULTS {
                for command in commands {
                    // Between two sessions of a recovery there is no login to lose.
                    let _ = fault.ask(&format!("{command} {token}"));
                }
                let gone = callers.come_and_go(FAULT).await;
                fault.tell("clear all");
                until("it serves", PATIENCE, async || tier.health().await.is_ok() && tier.status().state == SlotState::Serving)
                    .await;
                until("nobody is on the way any more", PATIENCE, async || {
                    let status = tier.status();
                    (status.sessions.busy, status.sessions.written_off, status.queue.0) == (0, 0, 0)
                })
                .await;
                sessions_agree(fault, &tier).await;
                println!("{gone} callers went away during {commands:?}");
                assert!(gone > CALLERS, "nobody went away");
            }
            let doubtful = callers.books.lock().unwrap().doubtful.clone();
            for id in doubtful {
                until("a key is destroyed", PATIENCE, async || tier.destroy(Material::Resident(id.clone())).await.is_ok()).await;
            }
            let kept = callers.books.lock().unwrap().keys.clone();
            println!("{} keys were acknowledged and kept", kept.len());
            // What nobody was told of is destroyed behind the scenes.
            until("the token holds what was acknowledged and nothing else", PATIENCE, async || {
                let Ok(held) = tier.residents().await else { return false };
                let held: BTreeSet<_> = held.into_iter().collect();
                assert!(held.is_superset(&kept), "a key is lost");
                held == kept
            })
            .await;
            assert_eq!(tier.sessions(), sessions);
            all_places_are_free(fault, &tier).await;
            tier.create(new_key(KeySpec::EcP256, KeyUsage::SignVerify)).await.unwrap();
            sessions_agree(fault, &tier).await;
            tier.close().await.unwrap();
        });
    });
}
