//! Several tokens behind one module: what one of them needs costs the others as little as it can, and none is taken for another.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use keystead::base::{Error, Kind};
use keystead::model::algorithm::{KeySpec, KeyUsage};
use keystead::model::key::Material;
use keystead::tier::pkcs11::{Pkcs11Tier, Settings};
use keystead::tier::status::SlotState;
use keystead::tier::{KeyHandle, Share, Tier};

use crate::callers::{Call, Callers};
use crate::calls::{random, round_trip, seal, sign, unseal, until};
use crate::fault::Fault;
use crate::isolated::{isolated, runtime};
use crate::softhsm;
use crate::world::{key, new_key, sessions_agree, settings};

/// How long a call may take here: longer than a busy machine needs for a new initialisation.
const DEADLINE: Duration = Duration::from_secs(3);
/// How soon after the end of a fault everything is as before.
const RECOVERY: Duration = Duration::from_secs(1);
/// How long a test may wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a token is out.
const OUT: Duration = Duration::from_secs(4);
/// What the search for it may cost its neighbours meanwhile: the pauses between two initialisations double.
const INITIALISATIONS: u64 = 5;

async fn connect(label: &str) -> Arc<Pkcs11Tier> {
    Arc::new(Pkcs11Tier::connect(Settings { deadline: DEADLINE, ..settings(label) }).await.unwrap())
}

/// Somebody who makes and destroys keys until told to stop; the failures.
fn make_keys(tier: &Arc<Pkcs11Tier>, stop: &Arc<AtomicBool>) -> tokio::task::JoinHandle<Vec<Error>> {
    let (tier, stop) = (Arc::clone(tier), Arc::clone(stop));
    tokio::spawn(async move {
        let mut failures = Vec::new();
        while !stop.load(Ordering::SeqCst) {
            let new = new_key(KeySpec::Aes128, KeyUsage::EncryptDecrypt);
            let id = new.id.clone();
            failures.extend(tier.create(new).await.err());
            failures.extend(tier.destroy(Material::Resident(id)).await.err());
        }
        failures
    })
}

#[test]
fn a_token_that_needs_a_new_initialisation_costs_its_neighbour_no_call() {
    isolated("neighbours::a_token_that_needs_a_new_initialisation_costs_its_neighbour_no_call", 2, || {
        let labels = [softhsm::token(), softhsm::token()];
        let token = crate::fault::token(&labels[0]);
        let fault = Fault::here();
        runtime().block_on(async {
            let tier = connect(&labels[0]).await;
            let neighbour = connect(&labels[1]).await;
            let (_, mine) = key(&tier, KeySpec::Aes256, KeyUsage::EncryptDecrypt).await;
            let (_, aes) = key(&neighbour, KeySpec::Aes256, KeyUsage::EncryptDecrypt).await;
            let (_, rsa) = key(&neighbour, KeySpec::Rsa2048, KeyUsage::SignVerify).await;
            let callers = [Callers::start(4, &Call::Seal(aes)), Callers::start(4, &Call::Sign(rsa))];
            let stop = Arc::new(AtomicBool::new(false));
            let maker = make_keys(&neighbour, &stop);
            let mine = Callers::start(4, &Call::Seal(mine));
            let before = fault.calls("C_Initialize");
            fault.tell(&format!("remove-token {token} until-reinit"));
            until("it is noticed", PATIENCE, async || tier.status().state != SlotState::Serving).await;
            tokio::time::sleep(OUT).await;
            let searched = fault.calls("C_Initialize") - before;
            fault.tell(&format!("insert-token {token}"));
            let took = until("it is found", PATIENCE, async || tier.status().state == SlotState::Serving).await;
            let all = fault.calls("C_Initialize") - before;
            println!("{searched} initialisations in {OUT:?}; {took:?} after it came back, and with {all}, the token serves");
            assert!((1..=INITIALISATIONS).contains(&searched), "{searched} initialisations");
            for callers in callers {
                let slowest = callers.went_on().await;
                println!("the neighbour's slowest call took {slowest:?}");
            }
            stop.store(true, Ordering::SeqCst);
            let failures = maker.await.unwrap();
            assert!(failures.is_empty(), "{} keys were not made or not destroyed, as: {:?}", failures.len(), failures.first());
            for answer in mine.stop().await {
                let kind = answer.failure.map(|failure| failure.kind());
                assert!(matches!(kind, None | Some(Kind::Throttled)), "{kind:?}");
            }
            // With both in order nobody initialises anything.
            let now = fault.calls("C_Initialize");
            until("calls go on", PATIENCE, async || {
                random(&tier).await.unwrap();
                random(&neighbour).await.unwrap();
                neighbour.status().waited.count > 500
            })
            .await;
            assert_eq!(fault.calls("C_Initialize"), now);
            sessions_agree(fault, &tier).await;
            sessions_agree(fault, &neighbour).await;
            tier.close().await.unwrap();
            neighbour.close().await.unwrap();
        });
    });
}

#[test]
fn a_token_is_found_under_another_number() {
    isolated("neighbours::a_token_is_found_under_another_number", 1, || {
        let label = softhsm::token();
        let token = crate::fault::token(&label);
        let fault = Fault::here();
        runtime().block_on(async {
            let tier = connect(&label).await;
            let (_, aes) = key(&tier, KeySpec::Aes256, KeyUsage::EncryptDecrypt).await;
            for (number, how) in [(4711, ""), (4712, "until-reinit"), (4713, "")] {
                let sealed = seal(&*aes, Share::default(), b"before").await.unwrap();
                fault.tell(&format!("remove-token {token} {how}"));
                until("it is noticed", PATIENCE, async || round_trip(&*aes, b"a text").await.is_err()).await;
                fault.tell(&format!("insert-token {token} as={number}"));
                until("it is found", RECOVERY, async || round_trip(&*aes, b"a text").await.is_ok()).await;
                assert_eq!(tier.token().unwrap().slot_id, number);
                let opened = unseal(&*aes, Share::default(), b"before", &sealed).await.unwrap();
                assert!(opened.constant_time_eq(b"before"));
                sessions_agree(fault, &tier).await;
            }
            tier.close().await.unwrap();
        });
    });
}

#[test]
fn two_tokens_change_places() {
    isolated("neighbours::two_tokens_change_places", 2, || {
        let labels = [softhsm::token(), softhsm::token()];
        let tokens = labels.each_ref().map(|label| crate::fault::token(label));
        let fault = Fault::here();
        runtime().block_on(async {
            let tiers = [connect(&labels[0]).await, connect(&labels[1]).await];
            let mut keys = Vec::new();
            for tier in &tiers {
                keys.push(key(tier, KeySpec::Aes256, KeyUsage::EncryptDecrypt).await.1);
            }
            let mut sealed = Vec::new();
            for key in &keys {
                sealed.push(seal(&**key, Share::default(), b"before").await.unwrap());
            }
            let before = tiers.each_ref().map(|tier| tier.token().unwrap().slot_id);
            for token in &tokens {
                fault.tell(&format!("remove-token {token}"));
            }
            // A number is free when nobody has it.
            for (token, number) in [(&tokens[0], 4711), (&tokens[1], before[0])] {
                fault.tell(&format!("insert-token {token} as={number}"));
            }
            fault.tell(&format!("remove-token {}", tokens[0]));
            fault.tell(&format!("insert-token {} as={}", tokens[0], before[1]));
            for key in &keys {
                until("it is found", RECOVERY * 2, async || round_trip(&**key, b"a text").await.is_ok()).await;
            }
            let after = tiers.each_ref().map(|tier| tier.token().unwrap().slot_id);
            assert_eq!(after, [before[1], before[0]]);
            for (key, sealed) in keys.iter().zip(&sealed) {
                let opened = unseal(&**key, Share::default(), b"before", sealed).await.unwrap();
                assert!(opened.constant_time_eq(b"before"));
            }
            for tier in &tiers {
                sessions_agree(fault, tier).await;
                tier.close().await.unwrap();
            }
        });
    });
}

/// Keys, and what they sealed.
struct Vault {
    keys: Vec<Arc<dyn KeyHandle>>,
    wrong: std::sync::Mutex<Vec<String>>,
    stop: AtomicBool,
}

/// A text that says which key it is sealed under.
fn text(key: usize, round: usize) -> Vec<u8> {
    format!("key {key}, round {round}").into_bytes()
}

impl Vault {
    /// What the token cannot serve may be said; what a wrong key would answer may not.
    fn look(&self, what: &str, error: &Error) {
        if !matches!(error.kind(), Kind::Throttled | Kind::Unavailable) {
            self.wrong.lock().unwrap().push(format!("{what}: {error:?}"));
        }
    }

    /// Seals under all keys in turn and opens again; what was sealed is kept, for the epochs that follow.
    async fn work(self: Arc<Self>, caller: usize) -> Vec<(usize, usize, keystead::tier::Encrypted)> {
        let mut kept = Vec::new();
        let mut round = caller;
        while !self.stop.load(Ordering::SeqCst) {
            let at = round * 7 % self.keys.len();
            let (key, text) = (&*self.keys[at], text(at, round));
            match seal(key, Share::new(caller as u64), &text).await {
                Ok(sealed) => {
                    match unseal(key, Share::new(caller as u64), &text, &sealed).await {
                        Ok(opened) if opened.constant_time_eq(&text) => {}
                        Ok(_) => self.wrong.lock().unwrap().push("a plaintext is wrong".to_owned()),
                        Err(error) => self.look("opened", &error),
                    }
                    kept.push((at, round, sealed));
                }
                Err(error) => {
                    self.look("sealed", &error);
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
            round += 1;
            tokio::task::yield_now().await;
        }
        kept
    }
}

#[test]
fn numbers_that_are_given_out_again_are_no_other_key() {
    isolated("neighbours::numbers_that_are_given_out_again_are_no_other_key", 1, || {
        let label = softhsm::token();
        let fault = Fault::here();
        fault.tell("renumber on");
        runtime().block_on(async {
            let tier = connect(&label).await;
            let mut keys = Vec::new();
            for _ in 0..16 {
                keys.push(key(&tier, KeySpec::Aes256, KeyUsage::EncryptDecrypt).await.1);
            }
            let vault = Arc::new(Vault { keys, wrong: std::sync::Mutex::default(), stop: AtomicBool::new(false) });
            let callers: Vec<_> = (0..16).map(|caller| tokio::spawn(Arc::clone(&vault).work(caller))).collect();
            let mut others = Vec::new();
            for round in 0..8 {
                let now = tier.status().waited.count;
                until("there is work", PATIENCE, async || tier.status().waited.count > now + 500).await;
                let initialisations = fault.calls("C_Initialize");
                fault.tell("uninitialise");
                until("it is initialised anew", PATIENCE, async || {
                    fault.calls("C_Initialize") > initialisations && tier.status().state == SlotState::Serving
                })
                .await;
                // Objects come and go, so that numbers fall to other keys the next time.
                let (id, ec) = key(&tier, KeySpec::EcP256, KeyUsage::SignVerify).await;
                sign(&*ec, b"a text").await.unwrap();
                others.push(id);
                if round % 2 == 1 {
                    tier.destroy(Material::Resident(others.remove(0))).await.unwrap();
                }
            }
            vault.stop.store(true, Ordering::SeqCst);
            let mut opened = 0;
            for caller in callers {
                for (at, round, sealed) in caller.await.unwrap() {
                    let text = text(at, round);
                    match unseal(&*vault.keys[at], Share::default(), &text, &sealed).await {
                        Ok(plaintext) if plaintext.constant_time_eq(&text) => opened += 1,
                        answer => panic!("sealed under another key: {:?}", answer.err()),
                    }
                }
            }
            println!("{opened} ciphertexts of 9 epochs opened under their keys");
            assert_eq!(*vault.wrong.lock().unwrap(), Vec::<String>::new());
            sessions_agree(fault, &tier).await;
            tier.close().await.unwrap();
        });
    });
}
