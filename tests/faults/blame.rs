//! Whose fault it is: a caller's input, one key, or the slot. Whoever replays what a module fails at, on six connections, takes nothing
//! from anybody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use keystead::base::{Error, Kind, SecretBytes};
use keystead::model::algorithm::{KeySpec, KeyUsage};
use keystead::tier::pkcs11::{Level, Pkcs11Tier, Settings};
use keystead::tier::status::SlotState;
use keystead::tier::{Decryption, Encryption, KeyHandle, OaepHash, Share, Tier};
use tokio::task::JoinHandle;

use crate::callers::{Call, Callers};
use crate::calls::{round_trip, seal, sign, unseal, until};
use crate::fault::{self, Fault};
use crate::isolated::{isolated, runtime};
use crate::softhsm;
use crate::world::{key, open_sessions, settings};

/// How many replay what fails.
const REPLAYERS: usize = 6;
/// Others, who are served.
const OTHERS: usize = 4;
/// How long they do.
const WHILE: Duration = Duration::from_millis(1_500);
/// How long a test may wait for anything on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a call may take: others are not hurried here.
const DEADLINE: Duration = Duration::from_secs(8);
/// How long the tests of what a token can do may.
const PATIENT: Duration = Duration::from_secs(120);

/// What module says it of bad input: kryoptic, opencryptoki, somebody else's.
const WORDS: [&str; 3] = ["CKR_DEVICE_ERROR", "CKR_FUNCTION_FAILED", "0x80000123"];

fn patient(label: &str) -> Settings {
    Settings { deadline: DEADLINE, generation_deadline: PATIENT, ..settings(label) }
}

/// A call that is replayed; how it is answered.
type Replay = Arc<dyn Fn() -> std::pin::Pin<Box<dyn Future<Output = Result<(), Error>> + Send>> + Send + Sync>;

fn replay<F>(call: impl Fn() -> F + Send + Sync + 'static) -> Replay
where
    F: Future<Output = Result<(), Error>> + Send + 'static,
{
    Arc::new(move || Box::pin(call()))
}

/// Six who replay a call as fast as it is answered.
struct Replayers {
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
    running: Vec<JoinHandle<Vec<Error>>>,
}

impl Replayers {
    fn start(call: &Replay) -> Self {
        let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let running = (0..REPLAYERS).map(|_| {
            let (stop, answers, call) = (Arc::clone(&stop), Arc::clone(&answers), Arc::clone(call));
            tokio::spawn(async move {
                let mut errors: Vec<Error> = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    let error = call().await.expect_err("it fails");
                    answers.fetch_add(1, Ordering::SeqCst);
                    // One of a kind says enough.
                    if !errors.iter().any(|other| other.kind() == error.kind()) {
                        errors.push(error);
                    }
                    tokio::task::yield_now().await;
                }
                errors
            })
        });
        Self { running: running.collect(), stop, answers }
    }

    /// How many answers there were, and the kinds of them.
    async fn stop(self) -> (u64, Vec<Error>) {
        self.stop.store(true, Ordering::SeqCst);
        let mut errors = Vec::new();
        for running in self.running {
            errors.extend(running.await.unwrap());
        }
        (self.answers.load(Ordering::SeqCst), errors)
    }
}

/// What was mended of more than a session, and given up.
fn mended(tier: &Pkcs11Tier) -> (u64, u64, u64) {
    let status = tier.status();
    let deep = [Level::Login, Level::Token, Level::Module].iter().filter_map(|level| status.recoveries.get(level)).sum();
    (deep, status.failed_recoveries, status.logins)
}

/// Six replay the call while four others use keys of their own: all of those are served, and the slot goes on. The answers of the six.
async fn replayed(tier: &Arc<Pkcs11Tier>, call: &Replay, what: &str) -> Vec<Error> {
    let (_, aes) = key(tier, KeySpec::Aes256, KeyUsage::EncryptDecrypt).await;
    let (_, ec) = key(tier, KeySpec::EcP256, KeyUsage::SignVerify).await;
    let before = mended(tier);
    let others = [Callers::start(OTHERS, &Call::Seal(aes)), Callers::start(OTHERS, &Call::Sign(ec))];
    let replayers = Replayers::start(call);
    tokio::time::sleep(WHILE).await;
    let (answers, errors) = replayers.stop().await;
    for others in others {
        others.went_on().await;
    }
    println!("{what}: {answers} answers of {:?}", errors.first());
    assert!(answers > REPLAYERS as u64, "{what}: {answers} were answered");
    assert_eq!(tier.status().state, SlotState::Serving, "{what}");
    assert_eq!(mended(tier), before, "{what}: {}", tier.status().reason);
    errors
}

fn all_are(errors: &[Error], kind: Kind, what: &str) {
    assert!(errors.iter().all(|error| error.kind() == kind), "{what}: {errors:?}");
}

/// A ciphertext of RSA-OAEP with a flipped bit, again and again.
async fn bad_oaep(tier: &Arc<Pkcs11Tier>) -> Replay {
    let (_, rsa) = key(tier, KeySpec::Rsa2048, KeyUsage::EncryptDecrypt).await;
    let how = Encryption::RsaesOaep(OaepHash::Sha1);
    let text = SecretBytes::new(b"a text".to_vec());
    let mut ciphertext = rsa.cipher().unwrap().encrypt(Share::new(7), how, text).await.unwrap().ciphertext;
    *ciphertext.last_mut().unwrap() ^= 1;
    replay(move || {
        let (rsa, ciphertext) = (Arc::clone(&rsa), ciphertext.clone());
        async move {
            let how = Decryption::RsaesOaep(OaepHash::Sha1);
            rsa.cipher().unwrap().decrypt(Share::new(7), how, ciphertext).await.map(drop)
        }
    })
}

/// A ciphertext of AES-GCM with a flipped bit, again and again.
async fn bad_gcm(tier: &Arc<Pkcs11Tier>) -> Replay {
    let (_, aes) = key(tier, KeySpec::Aes256, KeyUsage::EncryptDecrypt).await;
    let mut sealed = seal(&*aes, Share::new(7), b"a text").await.unwrap();
    sealed.ciphertext[0] ^= 1;
    replay(move || {
        let (aes, sealed) = (Arc::clone(&aes), sealed.clone());
        async move { unseal(&*aes, Share::new(7), b"a text", &sealed).await.map(drop) }
    })
}

/// A plaintext of 8 KiB, again and again.
async fn too_long(tier: &Arc<Pkcs11Tier>) -> Replay {
    let (_, aes) = key(tier, KeySpec::Aes256, KeyUsage::EncryptDecrypt).await;
    replay(move || {
        let aes = Arc::clone(&aes);
        async move {
            let how = Encryption::AesGcm { aad: Vec::new() };
            aes.cipher().unwrap().encrypt(Share::new(7), how, SecretBytes::new(vec![7; 8192])).await.map(drop)
        }
    })
}

/// The use of one key, again and again.
fn use_of(key: &Arc<dyn KeyHandle>) -> Replay {
    let key = Arc::clone(key);
    replay(move || {
        let key = Arc::clone(&key);
        async move {
            match key.signer() {
                Some(_) => sign(&*key, b"a text").await,
                None => round_trip(&*key, b"a text").await,
            }
        }
    })
}

#[test]
fn bad_input_that_a_module_calls_a_fault_is_told_at_once_and_counted_nowhere() {
    isolated("blame::bad_input_that_a_module_calls_a_fault_is_told_at_once_and_counted_nowhere", 1, || {
        let label = softhsm::token();
        let token = fault::token(&label);
        let fault = Fault::here();
        runtime().block_on(async {
            for words in WORDS {
                let _rule = fault.rule(&format!("fail C_Decrypt {words} instead-of=CKR_GENERAL_ERROR {token}"));
                let tier = Arc::new(Pkcs11Tier::connect(patient(&label)).await.unwrap());
                for call in [bad_oaep(&tier).await, bad_gcm(&tier).await] {
                    let (failures, recoveries) = (tier.status().failures, tier.status().recoveries);
                    let errors = replayed(&tier, &call, words).await;
                    all_are(&errors, Kind::Undecryptable, words);
                    assert_eq!((tier.status().failures, tier.status().recoveries), (failures, recoveries), "{words}");
                }
                assert!(tier.status().failing_keys.is_empty());
                tier.close().await.unwrap();
            }
        });
    });
}

#[test]
fn bad_input_in_words_that_were_not_learnt_brings_nothing_down() {
    isolated("blame::bad_input_in_words_that_were_not_learnt_brings_nothing_down", 1, || {
        let label = softhsm::token();
        let token = fault::token(&label);
        let fault = Fault::here();
        runtime().block_on(async {
            let tier = Arc::new(Pkcs11Tier::connect(patient(&label)).await.unwrap());
            for words in WORDS.into_iter().chain(["CKR_ENCRYPTED_DATA_INVALID"]) {
                let rule = fault.rule(&format!("fail C_Decrypt {words} instead-of=CKR_GENERAL_ERROR {token}"));
                let errors = replayed(&tier, &bad_oaep(&tier).await, words).await;
                // Vague words are no verdict unless they were learnt.
                let kind = if words == "CKR_ENCRYPTED_DATA_INVALID" { Kind::Undecryptable } else { Kind::Throttled };
                all_are(&errors, kind, words);
                assert!(tier.status().failing_keys.is_empty(), "{words}");
                drop(rule);
            }
            tier.close().await.unwrap();
        });
    });
}

#[test]
fn a_plaintext_that_a_module_finds_too_long_is_no_fault() {
    isolated("blame::a_plaintext_that_a_module_finds_too_long_is_no_fault", 1, || {
        let label = softhsm::token();
        let token = fault::token(&label);
        let fault = Fault::here();
        runtime().block_on(async {
            for words in ["CKR_DATA_LEN_RANGE", "CKR_DEVICE_MEMORY", "CKR_GENERAL_ERROR"] {
                // Learnt, and then by a tier that was connected before.
                let rule = format!("fail C_Encrypt {words} above=4096 {token}");
                let limit = fault.rule(&rule);
                let tier = Arc::new(Pkcs11Tier::connect(patient(&label)).await.unwrap());
                let (failures, recoveries) = (tier.status().failures, tier.status().recoveries);
                let errors = replayed(&tier, &too_long(&tier).await, words).await;
                all_are(&errors, Kind::InvalidParameter, words);
                assert_eq!((tier.status().failures, tier.status().recoveries), (failures, recoveries), "{words}");
                tier.close().await.unwrap();
                drop(limit);
                let tier = Arc::new(Pkcs11Tier::connect(patient(&label)).await.unwrap());
                let limit = fault.rule(&rule);
                let errors = replayed(&tier, &too_long(&tier).await, words).await;
                assert!(errors.iter().all(|error| error.kind() != Kind::Internal), "{words}: {errors:?}");
                assert!(tier.status().failing_keys.is_empty(), "{words}");
                drop(limit);
                tier.close().await.unwrap();
            }
        });
    });
}

#[test]
fn a_damaged_key_is_named_and_takes_nobody_with_it() {
    isolated("blame::a_damaged_key_is_named_and_takes_nobody_with_it", 1, || {
        let label = softhsm::token();
        let token = fault::token(&label);
        let fault = Fault::here();
        runtime().block_on(async {
            let tier = Arc::new(Pkcs11Tier::connect(patient(&label)).await.unwrap());
            for (spec, usage) in [
                (KeySpec::Rsa2048, KeyUsage::SignVerify),
                (KeySpec::EcP256, KeyUsage::SignVerify),
                (KeySpec::Aes256, KeyUsage::EncryptDecrypt),
            ] {
                let (id, damaged) = key(&tier, spec, usage).await;
                let id = String::from_utf8(id).unwrap();
                // As SoftHSM does.
                let rule = fault.rule(&format!("fail C_*Init CKR_GENERAL_ERROR key={id} {token}"));
                let errors = replayed(&tier, &use_of(&damaged), spec.name()).await;
                all_are(&errors, Kind::Internal, spec.name());
                assert_eq!(tier.status().failing_keys, [id], "{spec}");
                drop(rule);
                until("it works again", PATIENCE, async || use_of(&damaged)().await.is_ok()).await;
                assert!(tier.status().failing_keys.is_empty(), "{spec}");
            }
            tier.close().await.unwrap();
        });
    });
}

#[test]
fn two_damaged_keys_are_the_slots_fault_once() {
    isolated("blame::two_damaged_keys_are_the_slots_fault_once", 1, || {
        let label = softhsm::token();
        let token = fault::token(&label);
        let fault = Fault::here();
        runtime().block_on(async {
            let tier = Arc::new(Pkcs11Tier::connect(patient(&label)).await.unwrap());
            let before = mended(&tier);
            let mut rules = Vec::new();
            let mut damaged = Vec::new();
            for _ in 0..2 {
                let (id, rsa) = key(&tier, KeySpec::Rsa2048, KeyUsage::SignVerify).await;
                let id = String::from_utf8(id).unwrap();
                rules.push(fault.rule(&format!("fail C_SignInit CKR_GENERAL_ERROR key={id} {token}")));
                damaged.push(rsa);
            }
            for rsa in &damaged {
                sign(&**rsa, b"a text").await.unwrap_err();
            }
            // What two keys have in common is the slot. A recovery is counted when the slot serves already.
            until("it was mended", PATIENCE, async || mended(&tier).0 > before.0).await;
            until("it serves again", PATIENCE, async || tier.status().state == SlotState::Serving).await;
            let after = mended(&tier);
            assert_eq!(tier.status().failing_keys.len(), 2);
            // It did not help; whoever goes on brings nothing down again.
            for rsa in &damaged {
                replayed(&tier, &use_of(rsa), "two keys").await;
            }
            assert_eq!(mended(&tier), after);
            drop(rules);
            tier.close().await.unwrap();
        });
    });
}

#[test]
fn a_token_without_a_session_to_spare_is_not_taken_for_dead() {
    isolated("blame::a_token_without_a_session_to_spare_is_not_taken_for_dead", 1, || {
        let label = softhsm::token();
        let token = fault::token(&label);
        let fault = Fault::here();
        runtime().block_on(async {
            let tier = Arc::new(Pkcs11Tier::connect(patient(&label)).await.unwrap());
            let (id, rsa) = key(&tier, KeySpec::Rsa2048, KeyUsage::SignVerify).await;
            let id = String::from_utf8(id).unwrap();
            sign(&*rsa, b"a text").await.unwrap();
            let before = mended(&tier);
            let (open, _) = open_sessions(fault, &tier.status());
            fault.tell(&format!("cap-sessions {open} {token}"));
            for words in ["CKR_GENERAL_ERROR", "CKR_DEVICE_ERROR"] {
                let rule = fault.rule(&format!("fail C_*Init {words} key={id} {token}"));
                for _ in 0..10 {
                    sign(&*rsa, b"a text").await.unwrap_err();
                }
                drop(rule);
                assert_eq!(mended(&tier), before, "{words}: {}", tier.status().reason);
            }
            fault.tell("cap-sessions off");
            tier.close().await.unwrap();
        });
    });
}

#[test]
fn a_slot_that_is_well_again_says_so_before_anybody_calls() {
    isolated("blame::a_slot_that_is_well_again_says_so_before_anybody_calls", 1, || {
        let label = softhsm::token();
        let token = fault::token(&label);
        let fault = Fault::here();
        runtime().block_on(async {
            let tier = Arc::new(Pkcs11Tier::connect(patient(&label)).await.unwrap());
            let (_, aes) = key(&tier, KeySpec::Aes256, KeyUsage::EncryptDecrypt).await;
            for rule in ["fail C_Encrypt CKR_HOST_MEMORY", "fail C_Decrypt CKR_DEVICE_ERROR", "fail C_*Init CKR_GENERAL_ERROR"] {
                let fails = fault.rule(&format!("{rule} {token}"));
                let trouble = async || {
                    let _ = round_trip(&*aes, b"a text").await;
                    tier.status().state != SlotState::Serving
                };
                until("calls are sent away", PATIENCE, trouble).await;
                drop(fails);
                // No caller is needed to find out, so none has to fail for it.
                until("it serves", PATIENCE, async || tier.status().state == SlotState::Serving).await;
                round_trip(&*aes, b"a text").await.unwrap();
            }
            tier.close().await.unwrap();
        });
    });
}
