//! Every function that the tier calls hangs, each in a process of its own: callers are answered by their deadlines, what needs no
//! token goes on, the tier closes in time, and the process ends although calls hang in the module.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use keystead::base::{Error, Kind, Result, SecretBytes};
use keystead::model::algorithm::{KeySpec, KeyUsage};
use keystead::model::key::Material;
use keystead::tier::pkcs11::{Level, Pkcs11Tier, Settings, end_process};
use keystead::tier::software::SoftwareTier;
use keystead::tier::status::SlotState;
use keystead::tier::unwrapper::UNWRAPPING_SPEC;
use keystead::tier::{Decryption, Encryption, KeyHandle, OaepHash, PublicKey, Share, StoredKey, Tier, Wrapped};
use tokio::runtime::Handle;

use crate::calls::{random, round_trip, sign, until};
use crate::fault::{self, Fault};
use crate::isolated::{Workers, isolated, isolated_each, runtime};
use crate::lateness::Lateness;
use crate::softhsm;
use crate::world::{DEADLINE, connect, key, new_key, prepared, settings};

/// What the tier calls. A function that is new here hangs in a test as well: the first test holds the list to what the module counts.
const CALLED: [&str; 29] = [
    "C_CloseAllSessions",
    "C_CloseSession",
    "C_CreateObject",
    "C_Decrypt",
    "C_DecryptInit",
    "C_DeriveKey",
    "C_DestroyObject",
    "C_Encrypt",
    "C_EncryptInit",
    "C_Finalize",
    "C_FindObjects",
    "C_FindObjectsFinal",
    "C_FindObjectsInit",
    "C_GenerateKey",
    "C_GenerateKeyPair",
    "C_GenerateRandom",
    "C_GetAttributeValue",
    "C_GetFunctionList",
    "C_GetMechanismInfo",
    "C_GetSessionInfo",
    "C_GetSlotList",
    "C_GetTokenInfo",
    "C_Initialize",
    "C_Login",
    "C_Logout",
    "C_OpenSession",
    "C_Sign",
    "C_SignInit",
    "C_UnwrapKey",
];

/// How long making a key may take here, and connecting, which makes pairs: hangs are waited for. On a busy machine a pair may take longer
/// although nothing hangs, so the preparations ask again.
const GENERATION_DEADLINE: Duration = Duration::from_secs(5);
/// How long connecting may take: several pairs are made, one after the other, and what is open then is closed.
const CONNECTING: Duration = Duration::from_secs(20);
/// How much later than its deadline an answer may come, besides what the machine is late: what is frozen does not come at all.
const LATE: Duration = Duration::from_secs(3);
/// How long a test may wait for anything.
const PATIENCE: Duration = Duration::from_secs(120);

/// Faults that have a slot mend itself at each level, with what ends them.
const FAULTS: [&[&str]; 6] = [
    &[],
    // Of the session alone, or of its operation: it is closed when the call ends.
    &["fail C_EncryptInit CKR_DEVICE_MEMORY times=4"],
    &["fail C_EncryptInit CKR_DEVICE_REMOVED times=4"],
    &["lose-login"],
    &["invalidate-sessions"],
    &["remove-token", "insert-token"],
];

/// A tier with keys of all kinds of use.
struct Everything {
    tier: Arc<Pkcs11Tier>,
    aes: Arc<dyn KeyHandle>,
    ec: Arc<dyn KeyHandle>,
    agreement: Arc<dyn KeyHandle>,
    pair: (Vec<u8>, PublicKey),
}

/// One of the things that callers do.
#[derive(Clone, Copy, Debug)]
enum Use {
    Seal,
    Sign,
    Agree,
    Random,
    Open,
    List,
    Health,
    Secret,
    Pair,
    Import,
    Unwrap,
}

impl Use {
    const ALL: [Self; 11] = [
        Self::Seal,
        Self::Sign,
        Self::Agree,
        Self::Random,
        Self::Open,
        Self::List,
        Self::Health,
        Self::Secret,
        Self::Pair,
        Self::Import,
        Self::Unwrap,
    ];

    fn limit(self) -> Duration {
        match self {
            Self::Seal | Self::Sign | Self::Agree => DEADLINE * 2,
            Self::Random | Self::Open | Self::Health => DEADLINE,
            Self::List => GENERATION_DEADLINE,
            // What is made is destroyed.
            Self::Secret | Self::Pair | Self::Import | Self::Unwrap => GENERATION_DEADLINE + DEADLINE,
        }
    }
}

impl Everything {
    async fn new(tier: Arc<Pkcs11Tier>) -> Self {
        let (_, aes) = key(&tier, KeySpec::Aes256, KeyUsage::EncryptDecrypt).await;
        let (_, ec) = key(&tier, KeySpec::EcP256, KeyUsage::SignVerify).await;
        let (_, agreement) = key(&tier, KeySpec::EcP256, KeyUsage::EncryptDecrypt).await;
        let pair = prepared(&tier, async || {
            let named = new_key(UNWRAPPING_SPEC, KeyUsage::EncryptDecrypt);
            tier.unwrapper().unwrap().create_pair(named.id, named.label).await
        })
        .await;
        let public = PublicKey::from_spki(UNWRAPPING_SPEC, &pair.public_key.unwrap()).unwrap();
        let pair = (pair.material.id().to_vec(), public);
        Self { tier, aes, ec, agreement, pair }
    }

    async fn once(&self, what: Use) -> Result<()> {
        let secret = || SecretBytes::new(vec![7; 32]);
        match what {
            Use::Seal => round_trip(&*self.aes, b"a text").await,
            Use::Sign => sign(&*self.ec, b"a text").await,
            Use::Agree => {
                let sealed = self.agreement.public_key().unwrap().encrypt(Encryption::Ecies, &secret())?;
                let cipher = self.agreement.cipher().unwrap();
                cipher.decrypt(Share::default(), Decryption::Ecies, sealed.ciphertext).await.map(drop)
            }
            Use::Random => random(&self.tier).await,
            Use::Open => {
                let material = Material::Resident(self.pair.0.clone());
                let stored = StoredKey {
                    spec: KeySpec::Rsa2048,
                    usage: KeyUsage::EncryptDecrypt,
                    material,
                    public_key: None,
                    witness: None,
                };
                self.tier.open(stored).await.map(drop)
            }
            Use::List => self.tier.residents().await.map(drop),
            Use::Health => self.tier.health().await,
            Use::Secret => self.tier.destroy(self.tier.create(aes()).await?.material).await,
            Use::Pair => {
                let new = new_key(KeySpec::EcP256, KeyUsage::SignVerify);
                self.tier.destroy(self.tier.create(new).await?.material).await
            }
            Use::Import => self.tier.destroy(self.tier.import(aes(), secret()).await?.material).await,
            Use::Unwrap => {
                let hash = OaepHash::Sha1;
                let ciphertext = self.pair.1.encrypt(Encryption::RsaesOaep(hash), &secret())?.ciphertext;
                let wrapped = Wrapped { pair: Material::Resident(self.pair.0.clone()), hash, ciphertext };
                let unwrapped = self.tier.unwrapper().unwrap().unwrap(aes(), wrapped).await?;
                self.tier.destroy(unwrapped.material).await
            }
        }
    }
}

fn aes() -> keystead::tier::NewKey {
    new_key(KeySpec::Aes256, KeyUsage::EncryptDecrypt)
}

fn slow(label: &str) -> Settings {
    Settings { generation_deadline: GENERATION_DEADLINE, ..settings(label) }
}

/// With the token in it, where a command is about one.
fn of_token(command: &str, token: &str) -> String {
    format!("{command} {token}{}", if command == "remove-token" { " until-reinit" } else { "" })
}

#[test]
fn every_function_that_is_called_is_known() {
    isolated("functions::every_function_that_is_called_is_known", 1, || {
        let label = softhsm::token();
        let token = fault::token(&label);
        let fault = Fault::here();
        runtime().block_on(async {
            let everything = Everything::new(connect(slow(&label)).await).await;
            let tier = Arc::clone(&everything.tier);
            for commands in FAULTS {
                for command in commands {
                    fault.tell(&of_token(command, &token));
                    until("it is noticed, or nothing of it shows", PATIENCE, async || {
                        *command != "remove-token" || everything.once(Use::Seal).await.is_err()
                    })
                    .await;
                }
                for what in Use::ALL {
                    until("it is served", PATIENCE, async || everything.once(what).await.is_ok()).await;
                }
            }
            let mended = tier.status().recoveries;
            assert!([Level::Login, Level::Token, Level::Module].iter().all(|level| mended[level] > 0), "{mended:?}");
            close_quietly(&tier).await;
            let counts = fault.tell("counts");
            let called: Vec<_> = counts["calls"].as_object().unwrap().keys().cloned().collect();
            assert_eq!(called, CALLED, "the list is what is called");
        });
    });
}

/// When nothing runs that was given up: a busy machine may have been too slow for a call.
async fn is_quiet(tier: &Pkcs11Tier) -> bool {
    tier.status().sessions.written_off == 0 && random(tier).await.is_ok()
}

async fn close_quietly(tier: &Pkcs11Tier) {
    until("nothing runs", PATIENCE, async || is_quiet(tier).await).await;
    tier.close().await.unwrap();
}

/// An answer, and how long it took.
struct Answer {
    what: String,
    limit: Duration,
    took: Duration,
    failure: Option<Error>,
}

/// Calls on the runtime, looked at from outside: on a runtime that stands still nobody would notice that it does.
struct Asked {
    lateness: Lateness,
    runtime: Handle,
    asked: usize,
    answered: usize,
    sender: Sender<Answer>,
    answers: Receiver<Answer>,
}

impl Asked {
    fn new(runtime: &Workers) -> Self {
        let (sender, answers) = mpsc::channel();
        Self { lateness: Lateness::watch(), runtime: runtime.handle().clone(), asked: 0, answered: 0, sender, answers }
    }

    fn ask(&mut self, what: String, limit: Duration, call: impl Future<Output = Result<()>> + Send + 'static) {
        self.asked += 1;
        let sender = self.sender.clone();
        self.runtime.spawn(async move {
            let begun = Instant::now();
            let failure = call.await.err();
            let _ = sender.send(Answer { what, limit, took: begun.elapsed(), failure });
        });
    }

    /// All that were asked must have been answered in time.
    fn all_in_time(&mut self) {
        while self.answered < self.asked {
            let Answer { what, limit, took, failure } = self.answers.recv_timeout(PATIENCE).expect("everybody is answered");
            self.lateness.in_time(&what, took, limit + LATE);
            if let Some(failure) = failure {
                let kind = failure.kind();
                assert!(matches!(kind, Kind::Throttled | Kind::Unavailable | Kind::Internal), "{what}: {failure:?}");
            }
            self.answered += 1;
        }
    }
}

/// Looks at what must go on whatever hangs, until it is stopped: another instance, on the same runtime, and the state of the slot.
struct Beside {
    lateness: Lateness,
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Duration>,
}

impl Beside {
    fn start(runtime: &Workers, tier: Option<Arc<Pkcs11Tier>>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (runtime, stopped) = (runtime.handle().clone(), Arc::clone(&stop));
        let software = Arc::new(SoftwareTier::new());
        let look = move || {
            let mut longest = Duration::ZERO;
            while !stopped.load(Ordering::SeqCst) {
                let begun = Instant::now();
                let (software, (sender, answer)) = (Arc::clone(&software), mpsc::channel());
                runtime.spawn(async move { sender.send(software.random(Share::default(), 16).await.is_ok()) });
                assert_eq!(answer.recv_timeout(PATIENCE), Ok(true), "the other instance answers");
                if let Some(tier) = &tier {
                    let _ = tier.status();
                }
                longest = longest.max(begun.elapsed());
                std::thread::sleep(Duration::from_millis(5));
            }
            longest
        };
        Self { lateness: Lateness::watch(), stop, thread: std::thread::spawn(look) }
    }

    fn went_on(self) {
        self.stop.store(true, Ordering::SeqCst);
        let longest = self.thread.join().unwrap();
        println!("the other instance was answered within {longest:?}");
        self.lateness.in_time("an answer of the other instance", longest, LATE);
    }
}

/// Everything that callers do, at once.
fn everybody_calls(asked: &mut Asked, everything: &Arc<Everything>) {
    for what in Use::ALL {
        let everything = Arc::clone(everything);
        asked.ask(format!("{what:?}"), what.limit(), async move { everything.once(what).await });
    }
    asked.all_in_time();
}

fn close(asked: &mut Asked, tier: &Arc<Pkcs11Tier>) {
    let tier = Arc::clone(tier);
    asked.ask("close".to_owned(), DEADLINE * 3, async move { tier.close().await });
    asked.all_in_time();
}

fn hangs(function: &str) {
    let labels = [softhsm::token(), softhsm::token()];
    let token = fault::token(&labels[0]);
    let fault = Fault::here();
    let workers = runtime();
    let mut asked = Asked::new(&workers);
    if function == "C_GetFunctionList" {
        // Of the loading alone.
        fault.tell(&format!("hang {function}"));
        let beside = Beside::start(&workers, None);
        let settings = slow(&labels[0]);
        asked.ask("connect".to_owned(), DEADLINE, async { Pkcs11Tier::connect(settings).await.map(drop) });
        asked.all_in_time();
        beside.went_on();
    } else {
        let tier = workers.block_on(connect(slow(&labels[0])));
        let everything = Arc::new(workers.block_on(Everything::new(Arc::clone(&tier))));
        fault.tell(&format!("hang {function}"));
        let beside = Beside::start(&workers, Some(Arc::clone(&tier)));
        // C_Logout is called at the end alone, by a slot that serves.
        let faults = if function == "C_Logout" { &[] } else { &FAULTS[..] };
        let begun = Instant::now();
        loop {
            everybody_calls(&mut asked, &everything);
            for command in faults.iter().copied().flatten() {
                // Without a session there is no login to lose.
                let _ = fault.ask(&of_token(command, &token));
                everybody_calls(&mut asked, &everything);
            }
            // Another slot of the module is connected meanwhile.
            let settings = slow(&labels[1]);
            asked.ask("connect".to_owned(), CONNECTING, async {
                let tier = Pkcs11Tier::connect(settings).await?;
                tier.close().await
            });
            asked.all_in_time();
            // The attempt to mend the slot may get to the function at any moment from now on.
            let hangs_or_serves = async || fault.hung() > 0 || is_quiet(&tier).await;
            workers.block_on(until("it hangs, or the slot serves", PATIENCE, hangs_or_serves));
            // On a busy machine calls may be given up before they get to the function.
            if fault.hung() > 0 || function == "C_Logout" || begun.elapsed() > PATIENCE {
                break;
            }
        }
        close(&mut asked, &tier);
        assert_eq!(tier.status().state, SlotState::Closed);
        beside.went_on();
    }
    assert!(fault.hung() > 0, "{function} is called, and hangs");
    end_process(0, || {});
}

#[test]
fn whatever_function_hangs_nobody_else_does() {
    isolated_each("functions::whatever_function_hangs_nobody_else_does", 2, &CALLED, hangs);
}
