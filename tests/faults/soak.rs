//! A soak: random faults for as long as it is told, then everything is as it was in the beginning.
//!
//! `scripts/soak SECONDS` runs it for longer than the tests do. Memory is compared with that of a raw loop of the same calls,
//! because SoftHSM loses some with every object that is destroyed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::Attribute;
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;
use keystead::base::random;
use keystead::tier::Tier;
use keystead::tier::pkcs11::{LoginNotes, LoginNotesInMemory, Pkcs11Tier, Settings, TokenName, Why};
use keystead::tier::status::SlotState;

use crate::fault::{self, Fault};
use crate::isolated::{isolated, runtime};
use crate::softhsm;
use crate::workload::Workload;
use crate::world::{GENERATION_DEADLINE, connect, open_sessions, settings};

/// How long it takes when nobody says.
const SECONDS: u64 = 20;
/// Callers at once.
const CALLERS: usize = 64;
/// How long a thread without work lives on, and some more.
const THREADS_END: Duration = Duration::from_secs(12);
/// What is not ours to explain: heaps of threads that ended, caches of libraries.
const MEMORY_SLACK: i64 = 24 << 20;

const ANSWERS: [&str; 12] = [
    "CKR_GENERAL_ERROR",
    "CKR_FUNCTION_FAILED",
    "CKR_DEVICE_ERROR",
    "CKR_DEVICE_REMOVED",
    "CKR_HOST_MEMORY",
    "CKR_SESSION_HANDLE_INVALID",
    "CKR_SESSION_CLOSED",
    "CKR_USER_NOT_LOGGED_IN",
    "CKR_OBJECT_HANDLE_INVALID",
    "CKR_OPERATION_ACTIVE",
    "CKR_TOKEN_NOT_PRESENT",
    "CKR_CRYPTOKI_NOT_INITIALIZED",
];
const FUNCTIONS: [&str; 12] = [
    "C_OpenSession",
    "C_CloseSession",
    "C_GetSessionInfo",
    "C_Login",
    "C_*Init",
    "C_Encrypt",
    "C_Sign",
    "C_GenerateKey*",
    "C_FindObjects*",
    "C_CreateObject",
    "C_DestroyObject",
    "C_GenerateRandom",
];

fn pick<T: Copy>(from: &[T]) -> T {
    let [high, low] = random::bytes::<2>();
    from[usize::from(u16::from_be_bytes([high, low])) % from.len()]
}

/// One random fault for a while.
async fn one_fault(fault: &Fault, token: &str) -> String {
    let kind = pick(&[0, 0, 0, 1, 2, 3, 4, 5, 6, 7]);
    let function = pick(&FUNCTIONS);
    let command = match kind {
        0 => format!("fail {function} {} every={} {token}", pick(&ANSWERS), pick(&[1, 2, 3, 10])),
        1 => format!("latency {function} {}ms {token}", pick(&[1, 5, 20])),
        2 => format!("hang {function} times=2 {token}"),
        3 => format!("lose-login {token}"),
        4 => format!("invalidate-sessions {token}"),
        5 => format!("remove-token {token}"),
        6 => "uninitialise".to_owned(),
        _ => format!("cap-sessions {} {token}", pick(&[2, 8])),
    };
    // There may be no login to lose at this moment.
    let _ = fault.ask(&command);
    tokio::time::sleep(Duration::from_millis(pick(&[50, 100, 200, 700]))).await;
    fault.tell("clear");
    match kind {
        5 => drop(fault.tell(&format!("insert-token {token}"))),
        7 => drop(fault.tell("cap-sessions off")),
        _ => {}
    }
    command
}

/// A number out of /proc/self/status.
fn of_this_process(what: &str) -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(what)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The names of the tier's threads; those of the runtime and of the fault-injecting module's control socket come and go.
fn threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.map(|name| name.trim_end().to_owned()).filter(|name| name.starts_with("pkcs11-")).collect()
}

/// What there is when nothing is done.
#[derive(Debug)]
struct Footprint {
    threads: Vec<String>,
    sessions: (u64, u64),
    memory: i64,
}

async fn footprint(fault: &Fault, tier: &Pkcs11Tier, work: &Workload, at_most: Option<usize>) -> Footprint {
    work.clean_up().await.unwrap();
    tokio::time::sleep(THREADS_END).await;
    // What looks after idle sessions starts one now and then, which lives on for a while as well.
    let begun = Instant::now();
    while at_most.is_some_and(|most| threads().len() > most) && begun.elapsed() < 3 * THREADS_END {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let sessions = open_sessions(fault, &tier.status());
    Footprint { threads: threads(), sessions, memory: of_this_process("VmRSS:") * 1024 }
}

/// Makes and destroys so many objects, without us; gives by how much the process grew.
fn raw_growth(label: &str, objects: u64, initialisations: u64) -> i64 {
    let before = of_this_process("VmRSS:") * 1024;
    let context = Pkcs11::new(fault::module()).unwrap();
    let rounds = initialisations.max(1);
    for _ in 0..rounds {
        context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
        let slots = context.get_slots_with_token().unwrap();
        let slot = slots.into_iter().find(|slot| context.get_token_info(*slot).unwrap().label() == label).unwrap();
        {
            let session = context.open_rw_session(slot).unwrap();
            session.login(UserType::User, Some(&AuthPin::new(softhsm::PIN.into()))).unwrap();
            let template =
                [Attribute::Token(true), Attribute::Private(true), Attribute::ValueLen(32.into()), Attribute::Id(b"raw".to_vec())];
            for _ in 0..objects / rounds {
                let key = session.generate_key(&Mechanism::AesKeyGen, &template).unwrap();
                session.destroy_object(key).unwrap();
            }
        }
        context.clone().finalize().unwrap();
    }
    of_this_process("VmRSS:") * 1024 - before
}

#[test]
fn everything_is_as_in_the_beginning_after_random_faults() {
    isolated("soak::everything_is_as_in_the_beginning_after_random_faults", 1, || {
        let seconds = std::env::var("KEYSTEAD_SOAK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SECONDS);
        soak(Duration::from_secs(seconds));
    });
}

fn soak(length: Duration) {
    let label = softhsm::token();
    let token = fault::token(&label);
    let fault = Fault::here();
    let runtime = runtime();
    runtime.block_on(async {
        let notes = Arc::new(LoginNotesInMemory::default());
        let tier = connect(Settings {
            generation_deadline: GENERATION_DEADLINE,
            login_notes: Arc::clone(&notes) as Arc<dyn LoginNotes>,
            login_pause: Duration::from_secs(1),
            ..settings(&label)
        })
        .await;
        let work = Workload::new(Arc::clone(&tier)).await;
        // All paths once, so that what is made at their first use is there.
        let callers = work.start(CALLERS);
        tokio::time::sleep(Duration::from_secs(2)).await;
        work.stop(callers).await;
        let before = footprint(fault, &tier, &work, None).await;
        let (objects_before, initialisations_before) = (fault.calls("C_DestroyObject"), fault.calls("C_Initialize"));
        println!("before: {before:?}");

        let callers = work.start(CALLERS);
        let (begun, mut told, mut faults) = (Instant::now(), Instant::now(), 0);
        while begun.elapsed() < length {
            one_fault(fault, &token).await;
            faults += 1;
            // Two faults of C_Login in a row need somebody, who is here.
            if let (SlotState::Down(Why::Pin), Some(found)) = (tier.status().state, tier.token()) {
                notes.forget(&TokenName { serial: found.serial.clone(), label: Some(label.clone()) }).unwrap();
            }
            tokio::time::sleep(Duration::from_millis(pick(&[0, 50, 300]))).await;
            if told.elapsed() > Duration::from_secs(10) {
                told = Instant::now();
                let (served, failed) = work.counts();
                let memory = of_this_process("VmRSS:") / 1024;
                println!(
                    "{:>4} s: {faults} faults, {served} served, {failed} failed, {memory} MiB, {} tier threads",
                    begun.elapsed().as_secs(),
                    threads().len()
                );
            }
        }
        // Everybody is served again before it ends.
        let ended = Instant::now();
        loop {
            let (served, failed) = work.counts();
            tokio::time::sleep(Duration::from_millis(200)).await;
            let (now_served, now_failed) = work.counts();
            if now_served > served && now_failed == failed {
                break;
            }
            assert!(ended.elapsed() < Duration::from_secs(10), "it does not serve again: {:?}", tier.status().reason);
        }
        work.stop(callers).await;
        let wrong = work.take_wrong();
        let (served, failed) = work.counts();
        let status = tier.status();
        println!("{faults} faults; {served} calls served, {failed} failed; recovered {:?}", status.recoveries);
        let after = footprint(fault, &tier, &work, Some(before.threads.len())).await;
        println!("after:  {after:?}");
        let objects = fault.calls("C_DestroyObject") - objects_before;
        let initialisations = fault.calls("C_Initialize") - initialisations_before;
        tier.close().await.unwrap();
        let raw = raw_growth(&label, objects, initialisations);
        let grown = after.memory - before.memory;
        println!(
            "memory grew by {} KiB; a raw loop of {objects} objects and {initialisations} initialisations by {} KiB",
            grown / 1024,
            raw / 1024
        );
        assert!(wrong.is_empty(), "{} wrong, as: {}", wrong.len(), wrong[0]);
        assert!(after.threads.len() <= before.threads.len(), "threads are left: {:?}", after.threads);
        assert_eq!(after.sessions.0, after.sessions.1, "sessions that the tier does not know of");
        assert!(grown - raw <= MEMORY_SLACK, "memory grew");
    });
}
