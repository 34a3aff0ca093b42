//! Bad input is no fault: whoever sends tampered ciphertexts as fast as it can causes no recovery and takes no more than its share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use keystead::base::{Error, Kind, SecretBytes};
use keystead::model::algorithm::{KeySpec, KeyUsage};
use keystead::tier::pkcs11::{Oversubscription, Pkcs11Tier, Settings};
use keystead::tier::status::SlotState;
use keystead::tier::{Decryption, Encryption, Iv, KeyHandle, OaepHash, Share, Tier};
use tokio::task::JoinHandle;

use crate::calls::{seal, unseal};
use crate::fault::Fault;
use crate::isolated::{isolated, runtime};
use crate::softhsm;
use crate::world::{key, sessions_agree, settings};

/// Who floods, and who does not.
const FLOOD: Share = Share::new(1);
const OTHER: Share = Share::new(2);
/// How many of each.
const FLOODERS: usize = 64;
const OTHERS: usize = 4;
/// A window of time in which the other's throughput is measured, alone and beside the flood in turn.
const WINDOW: Duration = Duration::from_millis(500);
const WINDOWS: usize = 4;
/// What the other must get beside the flood, of what it gets alone. Its share is half of what is short, sessions or cores; first
/// come, first served would leave it a twentieth.
const FAIR: f64 = 0.25;
/// The same of a token in the process, where what else runs on this machine has a say, too: without bounds on what works at once
/// the other got 1 to 3 % of what it has alone.
const FAIR_HERE: f64 = 0.07;
/// How long a call may take: a flood on a busy machine is no hang.
const DEADLINE: Duration = Duration::from_secs(8);

const TEXT: &[u8] = b"a text";

/// What is not to change.
#[derive(Debug, PartialEq, Eq)]
struct Footprint {
    recoveries: Vec<(String, u64)>,
    failed: u64,
    logins: u64,
    calls: Vec<(&'static str, u64)>,
}

impl Footprint {
    fn of(fault: &Fault, tier: &Pkcs11Tier) -> Self {
        let status = tier.status();
        let calls = ["C_Initialize", "C_Finalize", "C_Login", "C_Logout", "C_CloseSession", "C_CloseAllSessions"];
        Self {
            recoveries: status.recoveries.iter().map(|(level, count)| (level.to_string(), *count)).collect(),
            failed: status.failed_recoveries,
            logins: status.logins,
            calls: calls.map(|name| (name, fault.calls(name))).to_vec(),
        }
    }
}

/// Wrong ciphertexts of two keys.
struct Flood {
    aes: Arc<dyn KeyHandle>,
    rsa: Arc<dyn KeyHandle>,
    gcm: ([u8; 12], Vec<u8>),
    oaep: Vec<u8>,
    answers: AtomicU64,
    others: std::sync::Mutex<Vec<Error>>,
    stop: AtomicBool,
}

impl Flood {
    async fn new(tier: &Pkcs11Tier) -> Arc<Self> {
        let (_, aes) = key(tier, KeySpec::Aes256, KeyUsage::EncryptDecrypt).await;
        let (_, rsa) = key(tier, KeySpec::Rsa2048, KeyUsage::EncryptDecrypt).await;
        let sealed = seal(&*aes, FLOOD, TEXT).await.unwrap();
        let Iv::Gcm(iv) = sealed.iv else { panic!("no IV of GCM") };
        let how = Encryption::RsaesOaep(OaepHash::Sha1);
        let oaep = rsa.cipher().unwrap().encrypt(FLOOD, how, SecretBytes::new(TEXT.to_vec())).await.unwrap().ciphertext;
        Arc::new(Self {
            aes,
            rsa,
            gcm: (iv, sealed.ciphertext),
            oaep,
            answers: AtomicU64::new(0),
            others: std::sync::Mutex::default(),
            stop: AtomicBool::new(false),
        })
    }

    /// Each time another byte is wrong.
    async fn once(&self, round: usize) {
        let flip = |mut bytes: Vec<u8>| {
            let at = round % bytes.len();
            bytes[at] ^= 1 << (round % 8);
            bytes
        };
        let answer = if round.is_multiple_of(2) {
            let (iv, ciphertext) = &self.gcm;
            let how = Decryption::AesGcm { iv: *iv, aad: TEXT.to_vec() };
            self.aes.cipher().unwrap().decrypt(FLOOD, how, flip(ciphertext.clone())).await
        } else {
            let how = Decryption::RsaesOaep(OaepHash::Sha1);
            self.rsa.cipher().unwrap().decrypt(FLOOD, how, flip(self.oaep.clone())).await
        };
        self.answers.fetch_add(1, Ordering::Relaxed);
        match answer {
            Err(error) if error.kind() == Kind::Undecryptable => {}
            Err(error) => self.others.lock().unwrap().push(error),
            Ok(_) => self.others.lock().unwrap().push(Error::invalid("It was opened.")),
        }
    }

    fn start(self: &Arc<Self>) -> Vec<JoinHandle<()>> {
        self.stop.store(false, Ordering::SeqCst);
        (0..FLOODERS)
            .map(|flooder| {
                let flood = Arc::clone(self);
                tokio::spawn(async move {
                    let mut round = flooder;
                    while !flood.stop.load(Ordering::SeqCst) {
                        flood.once(round).await;
                        round += FLOODERS + 1;
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect()
    }

    async fn stop(&self, flooders: Vec<JoinHandle<()>>) {
        self.stop.store(true, Ordering::SeqCst);
        for flooder in flooders {
            flooder.await.unwrap();
        }
    }
}

/// The other client's good calls in one window: how many, and how long that took.
async fn good_calls(aes: &Arc<dyn KeyHandle>) -> (u64, Duration) {
    let begun = Instant::now();
    let callers: Vec<_> = (0..OTHERS)
        .map(|_| {
            let aes = Arc::clone(aes);
            tokio::spawn(async move {
                let mut calls = 0;
                while begun.elapsed() < WINDOW {
                    let sealed = seal(&*aes, OTHER, TEXT).await.unwrap();
                    assert!(unseal(&*aes, OTHER, TEXT, &sealed).await.unwrap().constant_time_eq(TEXT));
                    calls += 2;
                    tokio::task::yield_now().await;
                }
                calls
            })
        })
        .collect();
    let mut calls = 0;
    for caller in callers {
        calls += caller.await.expect("every good call is served");
    }
    (calls, begun.elapsed())
}

/// The other's calls a second, alone and beside the flood, in windows that take turns.
struct Rates {
    alone: f64,
    beside: f64,
}

async fn flooded(fault: &Fault, settings: Settings) -> Rates {
    let tier = Arc::new(Pkcs11Tier::connect(settings).await.unwrap());
    let flood = Flood::new(&tier).await;
    let (_, aes) = key(&tier, KeySpec::Aes256, KeyUsage::EncryptDecrypt).await;
    let before = Footprint::of(fault, &tier);
    let ((mut alone, mut beside), mut flooded) = ((0.0, 0.0), Duration::ZERO);
    for _ in 0..WINDOWS {
        let (calls, took) = good_calls(&aes).await;
        alone += calls as f64 / took.as_secs_f64();
        let flooders = flood.start();
        let (calls, took) = good_calls(&aes).await;
        beside += calls as f64 / took.as_secs_f64();
        assert_eq!(tier.status().state, SlotState::Serving);
        flood.stop(flooders).await;
        flooded += took;
    }
    let rates = Rates { alone: alone / WINDOWS as f64, beside: beside / WINDOWS as f64 };
    let tampered = flood.answers.load(Ordering::SeqCst);
    println!(
        "{OTHERS} callers get {:.0} calls/s alone, and {:.0} beside {FLOODERS} that send {:.0} tampered ciphertexts/s",
        rates.alone,
        rates.beside,
        tampered as f64 / flooded.as_secs_f64()
    );
    let others = std::mem::take(&mut *flood.others.lock().unwrap());
    assert!(others.is_empty(), "{} of {tampered} had another answer, as: {:?}", others.len(), others.first());
    assert!(tampered > 100, "{tampered} were sent");
    assert_eq!(Footprint::of(fault, &tier), before, "nothing was recovered, nothing closed");
    sessions_agree(fault, &tier).await;
    tier.close().await.unwrap();
    rates
}

#[test]
fn tampered_ciphertexts_are_no_fault() {
    isolated("input::tampered_ciphertexts_are_no_fault", 1, || {
        let label = softhsm::token();
        let fault = Fault::here();
        // A token in the process: what is short is the cores of this machine.
        runtime().block_on(async {
            let settings = Settings { deadline: DEADLINE, oversubscription: Oversubscription::Avoid, ..settings(&label) };
            let rates = flooded(fault, settings).await;
            assert!(
                rates.beside >= rates.alone * FAIR_HERE,
                "the other gets {:.2} of what it gets alone",
                rates.beside / rates.alone
            );
        });
    });
}

#[test]
fn tampered_ciphertexts_take_their_share_only() {
    isolated("input::tampered_ciphertexts_take_their_share_only", 1, || {
        let label = softhsm::token();
        let fault = Fault::here();
        // A token as on a network: what is short is its sessions, and not the cores of this machine.
        for function in ["C_Encrypt", "C_Decrypt"] {
            fault.tell(&format!("latency {function} 3ms {}", crate::fault::token(&label)));
        }
        runtime().block_on(async {
            let rates = flooded(fault, Settings { deadline: DEADLINE, sessions: 8, ..settings(&label) }).await;
            assert!(rates.beside >= rates.alone * FAIR, "the other gets {:.2} of what it gets alone", rates.beside / rates.alone);
        });
    });
}
