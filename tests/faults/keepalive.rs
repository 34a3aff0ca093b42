//! Sessions that idle: each is used once in a while, and what the token dropped meanwhile is replaced before a caller notices.

use std::sync::Arc;
use std::time::{Duration, Instant};

use keystead::model::algorithm::{KeySpec, KeyUsage};
use keystead::tier::Tier;
use keystead::tier::pkcs11::{Level, Pkcs11Tier, Settings};
use keystead::tier::status::{SlotState, SlotStatus};

use crate::calls::{randoms, round_trip, sign, until};
use crate::fault::Fault;
use crate::isolated::{isolated, runtime};
use crate::softhsm;
use crate::world::{connect, key, sessions_agree, settings};

const KEEPALIVE: Duration = Duration::from_millis(300);
/// How long a test may wait for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// Several sessions that are open and idle.
async fn idle(fault: &Fault, tier: &Arc<Pkcs11Tier>) {
    until("several sessions are open", PATIENCE, async || {
        let (failures, _) = randoms(tier, 16).await;
        assert!(failures.is_empty(), "{failures:?}");
        tier.status().sessions.open >= 4
    })
    .await;
    sessions_agree(fault, tier).await;
}

fn mended(status: &SlotStatus) -> u64 {
    status.recoveries.values().sum()
}

fn mended_deeply(status: &SlotStatus) -> u64 {
    [Level::Login, Level::Token, Level::Module].iter().filter_map(|level| status.recoveries.get(level)).sum()
}

#[test]
fn what_is_lost_while_idle_is_mended_before_a_caller_notices() {
    isolated("keepalive::what_is_lost_while_idle_is_mended_before_a_caller_notices", 1, || {
        let label = softhsm::token();
        let token = crate::fault::token(&label);
        let fault = Fault::here();
        runtime().block_on(async {
            let tier = Arc::new(Pkcs11Tier::connect(Settings { keepalive: KEEPALIVE, ..settings(&label) }).await.unwrap());
            let (_, aes) = key(&tier, KeySpec::Aes256, KeyUsage::EncryptDecrypt).await;
            let (_, ec) = key(&tier, KeySpec::EcP256, KeyUsage::SignVerify).await;
            for command in ["invalidate-sessions", "lose-login", "invalidate-sessions"] {
                idle(fault, &tier).await;
                let (before, logins) = (mended_deeply(&tier.status()), fault.calls("C_Login"));
                fault.tell(&format!("{command} {token}"));
                // Nobody calls.
                until("it is mended", PATIENCE, async || {
                    let status = tier.status();
                    mended_deeply(&status) > before && status.state == SlotState::Serving
                })
                .await;
                let before = mended(&tier.status());
                round_trip(&*aes, b"a text").await.unwrap();
                sign(&*ec, b"a text").await.unwrap();
                let (failures, _) = randoms(&tier, 16).await;
                assert!(failures.is_empty(), "{failures:?}");
                assert_eq!(mended(&tier.status()), before, "{command}: nothing was left to be mended in a call");
                assert_eq!(fault.calls("C_Login"), logins + 1, "{command}: logged in to once");
                assert_eq!(fault.calls("C_Finalize"), 0, "{command}");
                sessions_agree(fault, &tier).await;
            }
            tier.close().await.unwrap();
        });
    });
}

#[test]
fn a_session_that_was_dropped_is_replaced_alone() {
    isolated("keepalive::a_session_that_was_dropped_is_replaced_alone", 1, || {
        let label = softhsm::token();
        let fault = Fault::here();
        // Which session does what, by handle; these rules change nothing.
        let watch = |function: &str| -> Vec<_> {
            (1..=16).map(|handle| fault.rule(&format!("latency {function} 0ms session={handle}"))).collect()
        };
        runtime().block_on(async {
            let logins = watch("C_Login");
            let tier = Arc::new(Pkcs11Tier::connect(Settings { keepalive: KEEPALIVE, ..settings(&label) }).await.unwrap());
            let (_, aes) = key(&tier, KeySpec::Aes256, KeyUsage::EncryptDecrypt).await;
            let used = watch("C_GenerateRandom");
            idle(fault, &tier).await;
            // Not the session that holds the login: when that is gone, it is more than a session.
            let dropped = logins.iter().zip(&used).position(|(login, used)| login.fired() == 0 && used.fired() > 0);
            let handle = dropped.expect("a session was used that holds no login") + 1;
            let before = tier.status();
            let rule = fault.rule(&format!("fail C_GenerateRandom CKR_SESSION_HANDLE_INVALID nth=1 session={handle}"));
            // Nobody calls.
            until("it is used, and answers that", PATIENCE, async || rule.fired() == 1).await;
            drop(rule);
            until("it is closed", PATIENCE, async || tier.status().sessions.open == before.sessions.open - 1).await;
            let after = tier.status();
            assert_eq!(after.state, SlotState::Serving, "{after:?}");
            sessions_agree(fault, &tier).await;
            round_trip(&*aes, b"a text").await.unwrap();
            let after = tier.status();
            assert_eq!(after.recoveries, before.recoveries, "no login is made anew for it");
            assert_eq!(after.logins, before.logins);
            assert_eq!(fault.calls("C_Finalize"), 0);
            tier.close().await.unwrap();
        });
    });
}

#[test]
fn no_session_idles_for_much_longer_than_it_may() {
    isolated("keepalive::no_session_idles_for_much_longer_than_it_may", 1, || {
        let label = softhsm::token();
        let fault = Fault::here();
        runtime().block_on(async {
            let keepalive = Duration::from_secs(1);
            let tier = Arc::new(Pkcs11Tier::connect(Settings { keepalive, ..settings(&label) }).await.unwrap());
            let (_, aes) = key(&tier, KeySpec::Aes256, KeyUsage::EncryptDecrypt).await;
            // Which calls there are on each session, by handle; these rules change nothing.
            let watched: Vec<_> = (1..=16).map(|handle| fault.rule(&format!("latency all 0ms session={handle}"))).collect();
            let mut used = vec![(0, Instant::now()); watched.len()];
            let mut longest = vec![Duration::ZERO; watched.len()];
            let begun = Instant::now();
            let mut calls = 0;
            while begun.elapsed() < keepalive * 5 {
                // Used at other moments than the others, so that a round comes too early for it.
                if begun.elapsed() > keepalive * 11 / 10 * calls {
                    round_trip(&*aes, b"a text").await.unwrap();
                    calls += 1;
                }
                for ((rule, used), longest) in watched.iter().zip(&mut used).zip(&mut longest) {
                    let (fired, now) = (rule.fired(), Instant::now());
                    if fired > 0 {
                        *longest = (*longest).max(now - used.1);
                    }
                    if fired > used.0 {
                        *used = (fired, now);
                    }
                }
                tokio::time::sleep(keepalive / 100).await;
            }
            let longest: Vec<_> = longest.into_iter().filter(|longest| !longest.is_zero()).collect();
            println!("sessions idled for at most {longest:?}");
            assert!(longest.len() >= 2, "there are that of the login and that of the calls");
            assert!(longest.iter().all(|longest| *longest < keepalive * 13 / 10), "{longest:?}");
            tier.close().await.unwrap();
        });
    });
}

#[test]
fn a_look_that_hangs_keeps_nobody_from_looking() {
    isolated("keepalive::a_look_that_hangs_keeps_nobody_from_looking", 1, || {
        let label = softhsm::token();
        let token = crate::fault::token(&label);
        let fault = Fault::here();
        runtime().block_on(async {
            let tier = Arc::new(Pkcs11Tier::connect(Settings { keepalive: KEEPALIVE, ..settings(&label) }).await.unwrap());
            idle(fault, &tier).await;
            let hang = fault.rule(&format!("hang C_GenerateRandom times=1 {token}"));
            fault.wait_hung(1);
            until("it is given up", PATIENCE, async || tier.status().sessions.written_off == 1).await;
            for _ in 0..3 {
                let used = fault.calls("C_GenerateRandom");
                until("idle sessions are used", PATIENCE, async || fault.calls("C_GenerateRandom") > used).await;
            }
            assert_eq!(tier.status().sessions.written_off, 1);
            drop(hang);
            fault.tell("release");
            until("it is back", PATIENCE, async || tier.status().sessions.written_off == 0).await;
            sessions_agree(fault, &tier).await;
            tier.close().await.unwrap();
        });
    });
}

#[test]
fn a_login_that_was_looked_at_meanwhile_does_not_take_the_place_of_a_newer_one() {
    isolated("keepalive::a_login_that_was_looked_at_meanwhile_does_not_take_the_place_of_a_newer_one", 1, || {
        let label = softhsm::token();
        let token = crate::fault::token(&label);
        let fault = Fault::here();
        runtime().block_on(async {
            for _ in 0..3 {
                // Which session logs in, by handle; these rules change nothing.
                let logins: Vec<_> =
                    (1..=64).map(|handle| (handle, fault.rule(&format!("latency C_Login 0ms session={handle}")))).collect();
                let tier = connect(Settings { keepalive: KEEPALIVE, ..settings(&label) }).await;
                let login = logins.iter().find(|(_, rule)| rule.fired() > 0).map(|(handle, _)| *handle).unwrap();
                drop(logins);
                let (_, aes) = key(&tier, KeySpec::Aes256, KeyUsage::EncryptDecrypt).await;
                let hang = fault.rule(&format!("hang C_GenerateRandom times=1 session={login}"));
                // Nobody but the look at the login uses its session.
                fault.wait_hung(1);
                fault.tell(&format!("lose-login {token}"));
                until("there is a new login", PATIENCE, async || {
                    round_trip(&*aes, b"a text").await.is_ok() && mended_deeply(&tier.status()) > 0
                })
                .await;
                drop(hang);
                fault.tell("release");
                until("the look is back", PATIENCE, async || {
                    let sessions = tier.status().sessions;
                    (sessions.written_off, sessions.busy) == (0, 0)
                })
                .await;
                sessions_agree(fault, &tier).await;
                let mended = mended_deeply(&tier.status());
                let looked = fault.calls("C_GenerateRandom");
                until("the login is looked at again", PATIENCE, async || fault.calls("C_GenerateRandom") > looked + 4).await;
                assert_eq!(mended_deeply(&tier.status()), mended, "the login is the newer one");
                sessions_agree(fault, &tier).await;
                tier.close().await.unwrap();
                assert_eq!(fault.state()["sessions"].as_object().map_or(0, |open| open.len()), 0, "no session is left");
            }
        });
    });
}
