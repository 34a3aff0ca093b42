//! A call that does not come back costs its caller the deadline and nobody else anything.

use std::sync::Arc;
use std::time::{Duration, Instant};

use keystead::base::Kind;
use keystead::model::algorithm::{EncryptionAlgorithm, KeySpec, KeyUsage};
use keystead::tier::pkcs11::{Pkcs11Tier, Settings, Why};
use keystead::tier::status::SlotState;
use keystead::tier::{Ability, Tier};

use crate::callers::{Call, Callers};
use crate::calls::{random, randoms, sign, until};
use crate::fault::Fault;
use crate::isolated::{isolated, isolated_each, runtime};
use crate::lateness::Lateness;
use crate::softhsm;
use crate::world::{connect, key, sessions_agree, settings};

/// How long a call may take here: much longer than a busy machine holds one up.
const DEADLINE: Duration = Duration::from_secs(2);
/// How soon after the end of a fault everything is as before.
const RECOVERY: Duration = Duration::from_secs(1);
/// How long a test may wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// The settings of a token whose calls have [`DEADLINE`].
fn patient(label: &str) -> Settings {
    Settings { deadline: DEADLINE, ..settings(label) }
}

async fn hangs_alone(function: &str, tier: &Arc<Pkcs11Tier>, call: Call, token: &str) {
    let (fault, lateness) = (Fault::here(), Lateness::watch());
    let callers = Callers::start(8, &call);
    let others = Callers::start(4, &Call::Random(Arc::clone(tier)));
    let before = tier.status().written_off;
    fault.tell(&format!("hang {function} nth=5 {token}"));
    until("it is written off", PATIENCE, async || tier.status().sessions.written_off == 1).await;
    assert_eq!((fault.hung(), tier.status().state), (1, SlotState::Serving));
    // With it given up, calls go on.
    let served = async || tier.status().waited.count;
    let now = served().await;
    until("calls go on", PATIENCE, async || served().await > now + 200).await;
    fault.tell("release");
    let took = until("it is back", PATIENCE, async || tier.status().sessions.written_off == 0).await;
    lateness.in_time("coming back", took, RECOVERY);
    let mut answers = callers.stop().await;
    answers.extend(others.stop().await);
    assert_eq!(tier.status().written_off, before + 1);
    sessions_agree(fault, tier).await;
    let (failed, served): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.failure.is_some());
    let slowest = served.iter().map(|answer| answer.took).max().unwrap();
    println!("{function}: {} calls beside the one that hung, the slowest took {slowest:?}", served.len());
    lateness.in_time("a call of somebody else", slowest, DEADLINE / 2);
    assert_eq!(failed.len(), 1, "{:?}", failed.iter().map(|answer| &answer.failure).collect::<Vec<_>>());
    assert_eq!(failed[0].failure.as_ref().unwrap().kind(), Kind::Unavailable);
    assert!(failed[0].took >= DEADLINE, "the deadline is waited for: {:?}", failed[0].took);
    lateness.in_time("the call that hung", failed[0].took, DEADLINE + DEADLINE / 4);
}

#[test]
fn a_hung_call_costs_its_caller_alone() {
    isolated("hang::a_hung_call_costs_its_caller_alone", 1, || {
        let label = softhsm::token();
        let token = crate::fault::token(&label);
        Fault::here();
        runtime().block_on(async {
            let tier = connect(patient(&label)).await;
            let (_, aes) = key(&tier, KeySpec::Aes256, KeyUsage::EncryptDecrypt).await;
            let (_, rsa) = key(&tier, KeySpec::Rsa2048, KeyUsage::SignVerify).await;
            let description = tier.describe();
            let cost = description.capabilities.of(KeySpec::Aes256, Ability::Encrypt(EncryptionAlgorithm::AesGcm)).unwrap().cost;
            println!("AES-GCM costs {cost:?}: on workers of the runtime below 100 µs");
            for _ in 0..2 {
                hangs_alone("C_Encrypt", &tier, Call::Seal(Arc::clone(&aes)), &token).await;
                hangs_alone("C_Sign", &tier, Call::Sign(Arc::clone(&rsa)), &token).await;
            }
            assert_eq!(tier.status().recoveries.values().sum::<u64>(), 0, "nothing was mended: {:?}", tier.status().recoveries);
            tier.close().await.unwrap();
        });
    });
}

#[test]
fn more_hung_calls_than_may_be_given_up_take_the_slot_down() {
    isolated("hang::more_hung_calls_than_may_be_given_up_take_the_slot_down", 1, || {
        let label = softhsm::token();
        let token = crate::fault::token(&label);
        let (fault, lateness) = (Fault::here(), Lateness::watch());
        runtime().block_on(async {
            let tier = connect(Settings { written_off: 3, ..patient(&label) }).await;
            let (_, ec) = key(&tier, KeySpec::EcP256, KeyUsage::SignVerify).await;
            for _ in 0..2 {
                // Every signature hangs, those that try whether it is well again, too.
                fault.tell(&format!("hang C_Sign {token}"));
                let callers: Vec<_> = (0..4)
                    .map(|_| {
                        let ec = Arc::clone(&ec);
                        tokio::spawn(async move { Call::Sign(ec).once().await })
                    })
                    .collect();
                let down = SlotState::Down(Why::TooManyHung);
                until("it is down", PATIENCE, async || tier.status().state == down).await;
                for caller in callers {
                    assert_eq!(caller.await.unwrap().failure.unwrap().kind(), Kind::Unavailable);
                }
                // It stays so, whoever comes and however long it takes.
                let begun = Instant::now();
                while begun.elapsed() < RECOVERY * 2 {
                    let (failures, slowest) = randoms(&tier, 20).await;
                    assert_eq!((failures.len(), tier.status().state), (20, down));
                    assert!(failures.iter().all(|failure| failure.kind() == Kind::Unavailable), "{failures:?}");
                    let answer = Call::Sign(Arc::clone(&ec)).once().await;
                    assert!(answer.failure.is_some());
                    lateness.in_time("to be refused", slowest.max(answer.took), DEADLINE / 2);
                }
                assert_eq!((fault.hung(), tier.status().sessions.written_off), (4, 4));
                fault.tell("clear");
                let took = until("it serves again", PATIENCE, async || sign(&*ec, b"a text").await.is_ok()).await;
                lateness.in_time("to serve again", took, RECOVERY);
                until("all are back", PATIENCE, async || tier.status().sessions.written_off == 0).await;
                assert_eq!(tier.status().state, SlotState::Serving);
                sessions_agree(fault, &tier).await;
            }
            tier.close().await.unwrap();
        });
    });
}

#[test]
fn a_hang_before_a_new_initialisation_needs_a_restart() {
    isolated("hang::a_hang_before_a_new_initialisation_needs_a_restart", 2, || {
        let labels = [softhsm::token(), softhsm::token()];
        let token = crate::fault::token(&labels[0]);
        let (fault, lateness) = (Fault::here(), Lateness::watch());
        runtime().block_on(async {
            let tier = connect(patient(&labels[0])).await;
            let neighbour = connect(patient(&labels[1])).await;
            let (_, ec) = key(&tier, KeySpec::EcP256, KeyUsage::SignVerify).await;
            let (_, aes) = key(&neighbour, KeySpec::Aes256, KeyUsage::EncryptDecrypt).await;
            let callers = Callers::start(4, &Call::Seal(aes));
            fault.tell(&format!("hang C_Sign nth=1 {token}"));
            let hung = Call::Sign(Arc::clone(&ec)).once().await;
            assert_eq!(hung.failure.unwrap().kind(), Kind::Unavailable);
            fault.tell(&format!("remove-token {token} until-reinit"));
            let down = SlotState::Down(Why::NeedsRestart);
            until("it says so", PATIENCE, async || {
                let _ = random(&tier).await;
                tier.status().state == down
            })
            .await;
            assert!(tier.status().reason.contains("restart"), "{}", tier.status().reason);
            fault.tell(&format!("insert-token {token}"));
            let tried = tier.status().failed_recoveries;
            until("it was tried again", PATIENCE, async || {
                let (failures, slowest) = randoms(&tier, 20).await;
                assert!(failures.iter().all(|failure| failure.kind() == Kind::Unavailable), "{failures:?}");
                lateness.in_time("to be refused", slowest, DEADLINE / 2);
                assert_eq!((failures.len(), tier.status().state), (20, down));
                tier.status().failed_recoveries >= tried + 3
            })
            .await;
            assert_eq!((fault.calls("C_Finalize"), fault.hung()), (0, 1));
            assert_eq!(neighbour.status().state, SlotState::Serving);
            // The call comes back after all.
            fault.tell("release");
            let took = until("it recovers by itself", PATIENCE, async || sign(&*ec, b"a text").await.is_ok()).await;
            lateness.in_time("to recover", took, RECOVERY * 2);
            callers.went_on().await;
            assert_eq!(fault.calls("C_Finalize"), 1);
            sessions_agree(fault, &tier).await;
            sessions_agree(fault, &neighbour).await;
            tier.close().await.unwrap();
            neighbour.close().await.unwrap();
        });
    });
}

#[test]
fn a_module_that_hangs_and_forgets_needs_a_restart() {
    isolated("hang::a_module_that_hangs_and_forgets_needs_a_restart", 1, || {
        let label = softhsm::token();
        let token = crate::fault::token(&label);
        let (fault, lateness) = (Fault::here(), Lateness::watch());
        runtime().block_on(async {
            let tier = connect(patient(&label)).await;
            let (_, ec) = key(&tier, KeySpec::EcP256, KeyUsage::SignVerify).await;
            fault.tell(&format!("hang C_Sign nth=1 {token}"));
            assert!(Call::Sign(Arc::clone(&ec)).once().await.failure.is_some());
            fault.tell("uninitialise");
            until("it says so", PATIENCE, async || {
                let _ = random(&tier).await;
                tier.status().state == SlotState::Down(Why::NeedsRestart)
            })
            .await;
            assert_eq!(fault.calls("C_Initialize") + fault.calls("C_Finalize"), 1, "the first C_Initialize alone");
            fault.tell("release");
            let took = until("it recovers by itself", PATIENCE, async || sign(&*ec, b"a text").await.is_ok()).await;
            lateness.in_time("to recover", took, RECOVERY);
            sessions_agree(fault, &tier).await;
            tier.close().await.unwrap();
        });
    });
}

#[test]
fn a_token_that_comes_back_during_a_hang_is_served() {
    isolated("hang::a_token_that_comes_back_during_a_hang_is_served", 1, || {
        let label = softhsm::token();
        let token = crate::fault::token(&label);
        let (fault, lateness) = (Fault::here(), Lateness::watch());
        runtime().block_on(async {
            let tier = connect(patient(&label)).await;
            let (_, ec) = key(&tier, KeySpec::EcP256, KeyUsage::SignVerify).await;
            fault.tell(&format!("hang C_Sign nth=1 {token}"));
            assert!(Call::Sign(Arc::clone(&ec)).once().await.failure.is_some());
            fault.tell(&format!("remove-token {token}"));
            until("nothing but a restart is known to help", PATIENCE, async || {
                let _ = random(&tier).await;
                tier.status().state == SlotState::Down(Why::NeedsRestart)
            })
            .await;
            fault.tell(&format!("insert-token {token}"));
            let took = until("it serves again", PATIENCE, async || sign(&*ec, b"a text").await.is_ok()).await;
            lateness.in_time("to serve again", took, RECOVERY);
            assert_eq!((fault.calls("C_Finalize"), fault.hung()), (0, 1));
            fault.tell("release");
            sessions_agree(fault, &tier).await;
            tier.close().await.unwrap();
        });
    });
}

#[test]
fn a_login_that_hangs_is_not_tried_beside_itself() {
    isolated("hang::a_login_that_hangs_is_not_tried_beside_itself", 1, || {
        let label = softhsm::token();
        let token = crate::fault::token(&label);
        let (fault, lateness) = (Fault::here(), Lateness::watch());
        runtime().block_on(async {
            let tier = connect(patient(&label)).await;
            let (_, ec) = key(&tier, KeySpec::EcP256, KeyUsage::SignVerify).await;
            fault.tell(&format!("hang C_Login {token}"));
            let callers = Callers::start(8, &Call::Sign(Arc::clone(&ec)));
            fault.tell(&format!("lose-login {token}"));
            fault.wait_hung(1);
            until("it is given up", PATIENCE, async || tier.status().state == SlotState::Down(Why::TooManyHung)).await;
            let begun = Instant::now();
            while begun.elapsed() < RECOVERY * 2 {
                let (failures, slowest) = randoms(&tier, 20).await;
                assert_eq!(failures.len(), 20);
                lateness.in_time("to be refused", slowest, DEADLINE / 2);
                assert_eq!((fault.hung(), fault.calls("C_Login")), (1, 2));
            }
            for answer in callers.stop().await.into_iter().filter(|answer| answer.failure.is_some()) {
                lateness.in_time("an answer", answer.took, DEADLINE + DEADLINE / 2);
                let kind = answer.failure.unwrap().kind();
                assert!(matches!(kind, Kind::Throttled | Kind::Unavailable), "{kind:?}");
            }
            fault.tell("clear");
            let took = until("it serves again", PATIENCE, async || sign(&*ec, b"a text").await.is_ok()).await;
            lateness.in_time("to serve again", took, RECOVERY);
            assert_eq!((fault.calls("C_Login"), tier.status().logins), (2, 2));
            sessions_agree(fault, &tier).await;
            tier.close().await.unwrap();
        });
    });
}

#[test]
fn closing_waits_for_no_call_that_hangs() {
    isolated("hang::closing_waits_for_no_call_that_hangs", 1, || {
        let label = softhsm::token();
        let token = crate::fault::token(&label);
        let (fault, lateness) = (Fault::here(), Lateness::watch());
        runtime().block_on(async {
            let tier = connect(patient(&label)).await;
            let (_, ec) = key(&tier, KeySpec::EcP256, KeyUsage::SignVerify).await;
            fault.tell(&format!("hang C_Sign nth=1 {token}"));
            let caller = tokio::spawn(async move { Call::Sign(ec).once().await });
            fault.wait_hung(1);
            let ending = || ["C_Finalize", "C_CloseSession", "C_CloseAllSessions", "C_Logout"].map(|name| fault.calls(name));
            let before = ending();
            let begun = Instant::now();
            let closed = tier.close().await;
            let took = begun.elapsed();
            assert_eq!(closed.unwrap_err().kind(), Kind::Unavailable);
            // It waits for calls that run until they are given up.
            lateness.in_time("closing", took, DEADLINE * 3 / 2);
            assert_eq!(caller.await.unwrap().failure.unwrap().kind(), Kind::Unavailable);
            assert_eq!((ending(), tier.status().state), (before, SlotState::Closed));
            assert_eq!(random(&tier).await.unwrap_err().kind(), Kind::Unavailable);
            drop(tier);
            assert_eq!(ending(), before, "nothing is closed under a call");
            fault.tell("release");
        });
    });
}

/// What becomes of its session belongs to a call: it is given up when that hangs, and nothing is closed or finalised under it.
fn closing_hangs(case: &str) {
    let (answer, function) = case.split_once(' ').unwrap();
    let label = softhsm::token();
    let token = crate::fault::token(&label);
    let (fault, lateness) = (Fault::here(), Lateness::watch());
    let workers = runtime();
    workers.block_on(async {
        let tier = connect(patient(&label)).await;
        let (_, aes) = key(&tier, KeySpec::Aes256, KeyUsage::EncryptDecrypt).await;
        let (_, ec) = key(&tier, KeySpec::EcP256, KeyUsage::SignVerify).await;
        let hang = fault.rule(&format!("hang {function} times=4 {token}"));
        // On workers of the runtime and on threads.
        let fails = ["C_EncryptInit", "C_SignInit"].map(|init| fault.rule(&format!("fail {init} {answer} {token}")));
        let calls = [&aes, &aes, &ec, &ec].map(|key| {
            let call = if key.cipher().is_some() { Call::Seal(Arc::clone(key)) } else { Call::Sign(Arc::clone(key)) };
            tokio::spawn(async move { call.once().await })
        });
        for call in calls {
            let answer = call.await.unwrap();
            assert!(answer.failure.is_some());
            lateness.in_time("an answer", answer.took, DEADLINE * 2);
        }
        drop(fails);
        until("those that hang are given up", PATIENCE, async || {
            let hung = fault.hung();
            hung > 0 && tier.status().sessions.written_off as u64 == hung
        })
        .await;
        // Whatever it takes to mend the slot, it serves beside them.
        until("it serves", PATIENCE, async || random(&tier).await.is_ok() && sign(&*ec, b"a text").await.is_ok()).await;
        assert_eq!(["C_CloseAllSessions", "C_Finalize"].map(|name| fault.calls(name)), [0, 0], "nothing is closed under a call");
        drop(hang);
        fault.tell("release");
        until("they are back", PATIENCE, async || tier.status().sessions.written_off == 0).await;
        sessions_agree(fault, &tier).await;
        let (failures, _) = randoms(&tier, 2 * tier.sessions()).await;
        assert!(failures.is_empty(), "their permits are back: {failures:?}");
        tier.close().await.unwrap();
    });
}

#[test]
fn a_call_that_hangs_in_closing_its_session_is_given_up() {
    let cases = [
        "CKR_DEVICE_MEMORY C_CloseSession",
        "CKR_SESSION_HANDLE_INVALID C_GetSessionInfo",
        "CKR_DEVICE_REMOVED C_GetSessionInfo",
        "CKR_DEVICE_REMOVED C_CloseSession",
    ];
    let test = "hang::a_call_that_hangs_in_closing_its_session_is_given_up";
    isolated_each(test, 1, &cases, closing_hangs);
}

/// Two slots let as many calls on workers as there are cores, each, and all of them hang at once.
#[test]
fn calls_of_several_slots_do_not_hold_all_workers() {
    isolated("hang::calls_of_several_slots_do_not_hold_all_workers", 2, || {
        let labels = [softhsm::token(), softhsm::token()];
        let fault = Fault::here();
        let workers = runtime();
        let tiers = labels.each_ref().map(|label| workers.block_on(connect(patient(label))));
        let keys = tiers.each_ref().map(|tier| workers.block_on(key(tier, KeySpec::Aes256, KeyUsage::EncryptDecrypt)).1);
        let hang = fault.rule("hang C_Encrypt");
        let (sender, answers) = std::sync::mpsc::channel();
        // Those of the first hold as many workers as they may before the others come.
        let each = 2 * std::thread::available_parallelism().unwrap().get();
        let callers = each * keys.len();
        for key in keys.iter().flat_map(|key| std::iter::repeat_n(key, each)) {
            let (call, sender) = (Call::Seal(Arc::clone(key)), sender.clone());
            workers.spawn(async move { sender.send(call.once().await).unwrap() });
        }
        for _ in 0..callers {
            let answer = answers.recv_timeout(PATIENCE).expect("a deadline is kept");
            assert!(answer.failure.is_some());
        }
        drop(hang);
        fault.tell("release");
        workers.block_on(async {
            for (tier, key) in tiers.iter().zip(&keys) {
                let call = Call::Seal(Arc::clone(key));
                until("calls go on", PATIENCE, async || call.once().await.failure.is_none()).await;
                // A slot that is closed under calls that are given up leaves its sessions open, and says so.
                until("those that hung are back", PATIENCE, async || tier.status().sessions.written_off == 0).await;
                tier.close().await.unwrap();
            }
        });
    });
}

#[test]
fn a_new_initialisation_that_hangs_is_told_of_by_all_slots_of_the_module() {
    let cases = ["C_Finalize", "C_Initialize"];
    let test = "hang::a_new_initialisation_that_hangs_is_told_of_by_all_slots_of_the_module";
    isolated_each(test, 2, &cases, |function| {
        let labels = [softhsm::token(), softhsm::token()];
        let token = crate::fault::token(&labels[0]);
        let (fault, lateness) = (Fault::here(), Lateness::watch());
        runtime().block_on(async {
            let tier = connect(patient(&labels[0])).await;
            let neighbour = connect(patient(&labels[1])).await;
            let (_, aes) = key(&neighbour, KeySpec::Aes256, KeyUsage::EncryptDecrypt).await;
            let callers = Callers::start(4, &Call::Seal(Arc::clone(&aes)));
            let mine = Callers::start(4, &Call::Random(Arc::clone(&tier)));
            fault.tell(&format!("hang {function}"));
            fault.tell(&format!("remove-token {token} until-reinit"));
            fault.wait_hung(1);
            let down = async || [&tier, &neighbour].iter().all(|tier| matches!(tier.status().state, SlotState::Down(_)));
            until("both say that a person must help", PATIENCE, down).await;
            let begun = Instant::now();
            while begun.elapsed() < RECOVERY {
                for tier in [&tier, &neighbour] {
                    let (failures, slowest) = randoms(tier, 8).await;
                    assert_eq!(failures.len(), 8);
                    lateness.in_time("to be refused", slowest, DEADLINE / 2);
                }
            }
            assert_eq!(fault.hung(), 1, "nobody tries it beside the first");
            for answer in callers.stop().await.into_iter().chain(mine.stop().await) {
                lateness.in_time("an answer", answer.took, DEADLINE * 2);
            }
            fault.tell(&format!("insert-token {token}"));
            fault.tell("clear");
            until("both serve again", PATIENCE, async || {
                random(&tier).await.is_ok() && Call::Seal(Arc::clone(&aes)).once().await.failure.is_none()
            })
            .await;
            sessions_agree(fault, &tier).await;
            sessions_agree(fault, &neighbour).await;
            tier.close().await.unwrap();
            neighbour.close().await.unwrap();
        });
    });
}

/// Nothing but the spare workers is left then to fire a deadline, and they are let go in time for it.
#[test]
fn deadlines_are_kept_when_calls_hold_all_workers_however_short_they_are() {
    isolated("hang::deadlines_are_kept_when_calls_hold_all_workers_however_short_they_are", 1, || {
        let label = softhsm::token();
        let token = crate::fault::token(&label);
        let fault = Fault::here();
        let workers = runtime();
        let tier = workers.block_on(connect(Settings { deadline: Duration::from_millis(150), ..settings(&label) }));
        let (_, aes) = workers.block_on(key(&tier, KeySpec::Aes256, KeyUsage::EncryptDecrypt));
        let hang = fault.rule(&format!("hang C_Encrypt {token}"));
        // Looked at from outside: on the runtime nobody would notice that it stands still.
        let (sender, answers) = std::sync::mpsc::channel();
        let callers = 2 * std::thread::available_parallelism().unwrap().get();
        for _ in 0..callers {
            let (call, sender) = (Call::Seal(Arc::clone(&aes)), sender.clone());
            workers.spawn(async move { sender.send(call.once().await).unwrap() });
        }
        for _ in 0..callers {
            let answer = answers.recv_timeout(PATIENCE).expect("a deadline is kept");
            assert!(answer.failure.is_some());
        }
        drop(hang);
        fault.tell("release");
        workers.block_on(async {
            until("calls go on", PATIENCE, async || Call::Seal(Arc::clone(&aes)).once().await.failure.is_none()).await;
            until("those that hung are back", PATIENCE, async || tier.status().sessions.written_off == 0).await;
            tier.close().await.unwrap();
        });
    });
}
