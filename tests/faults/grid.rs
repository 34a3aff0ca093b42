//! The grid: every class of fault, in every function, with one caller and with 64. For every cell: no wrong answer, no lost
//! acknowledged key, no leaked session or object, every caller answered by its deadline, no more tries of the PIN than its answers
//! allow, and full throughput again within a second of the fault's end (where a login got no clear answer: of the end of the pause
//! after that), without a restart.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keystead::tier::Tier;
use keystead::tier::pkcs11::{Level, Pkcs11Tier, Settings};
use keystead::tier::status::SlotStatus;

use crate::fault::Fault;
use crate::isolated::{isolated, runtime};
use crate::softhsm;
use crate::workload::Workload;
use crate::world::{GENERATION_DEADLINE, connect, open_sessions, settings};

/// One of each class of answer.
const ANSWERS: [&str; 17] = [
    "CKR_GENERAL_ERROR",
    "CKR_FUNCTION_FAILED",
    "CKR_DEVICE_ERROR",
    "CKR_DEVICE_MEMORY",
    "CKR_DEVICE_REMOVED",
    "CKR_TOKEN_NOT_PRESENT",
    "CKR_SESSION_HANDLE_INVALID",
    "CKR_SESSION_CLOSED",
    "CKR_SESSION_COUNT",
    "CKR_USER_NOT_LOGGED_IN",
    "CKR_KEY_HANDLE_INVALID",
    "CKR_OBJECT_HANDLE_INVALID",
    "CKR_OPERATION_ACTIVE",
    "CKR_CRYPTOKI_NOT_INITIALIZED",
    "CKR_ARGUMENTS_BAD",
    "CKR_ENCRYPTED_DATA_INVALID",
    "0x80000123",
];

const FUNCTIONS: [&str; 10] = [
    "C_OpenSession",
    "C_Login",
    "C_*Init",
    "C_Encrypt",
    "C_Decrypt",
    "C_Sign",
    "C_GenerateKey*",
    "C_FindObjects*",
    "C_CreateObject",
    "C_DestroyObject",
];

const CALLERS: [usize; 2] = [1, 64];

/// How long a fault lasts.
const FAULT: Duration = Duration::from_millis(150);
/// How long a hang lasts: longer than a call may take.
const HANG: Duration = Duration::from_millis(800);
/// How soon after a fault everything is as before.
const RECOVERY: Duration = Duration::from_secs(1);
/// How long after a login that got no clear answer the next one comes.
const LOGIN_PAUSE: Duration = Duration::from_secs(1);
/// Answers of C_Login that the token gives without a look at the PIN: after these it is called as often as needed.
const PIN_NOT_LOOKED_AT: [&str; 6] = [
    "CKR_DEVICE_REMOVED",
    "CKR_TOKEN_NOT_PRESENT",
    "CKR_SESSION_HANDLE_INVALID",
    "CKR_SESSION_CLOSED",
    "CKR_SESSION_COUNT",
    "CKR_CRYPTOKI_NOT_INITIALIZED",
];
/// What of the throughput of before counts as full: windows are short, and the machine is not ours alone.
const FULL: f64 = 0.4;
/// How often a cell is run again that failed: a machine that is not ours alone may have been busy with something else, a defect
/// fails again.
const AGAIN: usize = 2;
/// A window of time in which throughput is measured.
const WINDOW: Duration = Duration::from_millis(100);

/// What is wrong in a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    /// All calls answer this.
    Answer(&'static str),
    /// Every third call answers this.
    EveryThird(&'static str),
    Hang,
    Latency,
    TokenRemoved,
    LoginLost,
    SessionsGone,
    SessionCap,
    /// A call hangs, and then the login is lost.
    HangAndLoginLost,
    /// A call hangs, and then all sessions die.
    HangAndSessionsGone,
}

#[derive(Clone, Copy)]
struct Cell {
    wrong: Wrong,
    function: &'static str,
    callers: usize,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} x {} x {} in flight", self.wrong, self.function, self.callers)
    }
}

impl Cell {
    /// Begins the fault.
    fn begin(self, fault: &Fault, token: &str) {
        // Faults of the login and of opening sessions show when those are needed.
        let needed = || {
            if ["C_OpenSession", "C_Login"].contains(&self.function) {
                fault.tell(&format!("invalidate-sessions {token}"));
            }
        };
        let function = self.function;
        match self.wrong {
            Wrong::Answer(ckr) => drop(fault.tell(&format!("fail {function} {ckr} {token}"))),
            Wrong::EveryThird(ckr) => drop(fault.tell(&format!("fail {function} {ckr} every=3 {token}"))),
            Wrong::Hang => drop(fault.tell(&format!("hang {function} times=3 {token}"))),
            Wrong::Latency => drop(fault.tell(&format!("latency {function} 20ms {token}"))),
            Wrong::TokenRemoved => {
                fault.tell(&format!("latency {function} 1ms {token}"));
                fault.tell(&format!("remove-token {token}"));
            }
            Wrong::LoginLost => {
                fault.tell(&format!("latency {function} 1ms {token}"));
                lose_login(fault, token);
            }
            Wrong::SessionsGone => {
                fault.tell(&format!("latency {function} 1ms {token}"));
                fault.tell(&format!("invalidate-sessions {token}"));
            }
            Wrong::SessionCap => {
                fault.tell(&format!("cap-sessions 3 {token}"));
                fault.tell(&format!("latency {function} 1ms {token}"));
                fault.tell(&format!("invalidate-sessions {token}"));
            }
            Wrong::HangAndLoginLost | Wrong::HangAndSessionsGone => drop(fault.tell(&format!("hang {function} nth=1 {token}"))),
        }
        needed();
    }

    /// The second fault, while the first goes on.
    fn follow(self, fault: &Fault, token: &str) {
        match self.wrong {
            Wrong::HangAndLoginLost => lose_login(fault, token),
            Wrong::HangAndSessionsGone => drop(fault.tell(&format!("invalidate-sessions {token}"))),
            Wrong::Answer(_)
            | Wrong::EveryThird(_)
            | Wrong::Hang
            | Wrong::Latency
            | Wrong::TokenRemoved
            | Wrong::LoginLost
            | Wrong::SessionsGone
            | Wrong::SessionCap => {}
        }
    }

    /// Whether it makes C_Login give an answer that says nothing of the PIN.
    fn leaves_the_pin_open(self) -> bool {
        let unclear = match self.wrong {
            Wrong::Answer(ckr) | Wrong::EveryThird(ckr) => !PIN_NOT_LOOKED_AT.contains(&ckr),
            Wrong::Hang
            | Wrong::Latency
            | Wrong::TokenRemoved
            | Wrong::LoginLost
            | Wrong::SessionsGone
            | Wrong::SessionCap
            | Wrong::HangAndLoginLost
            | Wrong::HangAndSessionsGone => false,
        };
        unclear && self.function == "C_Login"
    }

    /// How soon after the fault everything is as before.
    fn recovery(self) -> Duration {
        if self.leaves_the_pin_open() { LOGIN_PAUSE + RECOVERY } else { RECOVERY }
    }

    fn length(self) -> Duration {
        match self.wrong {
            Wrong::Hang | Wrong::HangAndLoginLost | Wrong::HangAndSessionsGone => HANG,
            Wrong::Answer(_)
            | Wrong::EveryThird(_)
            | Wrong::Latency
            | Wrong::TokenRemoved
            | Wrong::LoginLost
            | Wrong::SessionsGone
            | Wrong::SessionCap => FAULT,
        }
    }

    fn end(self, fault: &Fault, token: &str) {
        fault.tell("clear");
        match self.wrong {
            Wrong::TokenRemoved => drop(fault.tell(&format!("insert-token {token}"))),
            Wrong::SessionCap => drop(fault.tell("cap-sessions off")),
            Wrong::Answer(_)
            | Wrong::EveryThird(_)
            | Wrong::Hang
            | Wrong::Latency
            | Wrong::LoginLost
            | Wrong::SessionsGone
            | Wrong::HangAndLoginLost
            | Wrong::HangAndSessionsGone => {}
        }
    }
}

/// Between two sessions of a recovery there is no login to lose.
fn lose_login(fault: &Fault, token: &str) {
    let _ = fault.ask(&format!("lose-login {token}"));
}

fn cells() -> Vec<Cell> {
    let mut wrongs: Vec<Wrong> = ANSWERS.map(Wrong::Answer).to_vec();
    wrongs.extend(["CKR_DEVICE_ERROR", "CKR_FUNCTION_FAILED", "CKR_SESSION_HANDLE_INVALID"].map(Wrong::EveryThird));
    wrongs.extend([
        Wrong::Hang,
        Wrong::Latency,
        Wrong::TokenRemoved,
        Wrong::LoginLost,
        Wrong::SessionsGone,
        Wrong::SessionCap,
        Wrong::HangAndLoginLost,
        Wrong::HangAndSessionsGone,
    ]);
    let mut cells = Vec::new();
    for wrong in wrongs {
        for function in FUNCTIONS {
            for callers in CALLERS {
                cells.push(Cell { wrong, function, callers });
            }
        }
    }
    cells
}

/// Operations a second, and how many failed, in one window.
async fn window(work: &Workload) -> (f64, u64) {
    let (served, failed) = work.counts();
    let begun = Instant::now();
    tokio::time::sleep(WINDOW).await;
    let (now_served, now_failed) = work.counts();
    ((now_served - served) as f64 / begun.elapsed().as_secs_f64(), now_failed - failed)
}

/// Attempts to recover that may have logged in.
fn attempts(status: &SlotStatus) -> u64 {
    let recovered =
        [Level::Login, Level::Token, Level::Module].iter().filter_map(|level| status.recoveries.get(level)).sum::<u64>();
    recovered + status.failed_recoveries
}

/// What is wrong with a cell.
struct Flaw {
    text: String,
    /// Only time went wrong.
    late: bool,
}

impl From<String> for Flaw {
    fn from(text: String) -> Self {
        Self { text, late: false }
    }
}

async fn run(cell: Cell, fault: &Fault, token: &str, tier: &Arc<Pkcs11Tier>, work: &Arc<Workload>) -> Result<Duration, Flaw> {
    let callers = work.start(cell.callers);
    let mut before = window(work).await;
    while before.1 > 0 {
        before = window(work).await;
    }
    let baseline = before.0;
    let (logins, attempted) = (fault.calls("C_Login"), attempts(&tier.status()));
    cell.begin(fault, token);
    tokio::time::sleep(cell.length() / 2).await;
    cell.follow(fault, token);
    tokio::time::sleep(cell.length() / 2).await;
    cell.end(fault, token);
    let ended = Instant::now();
    let recovered = loop {
        let begun = ended.elapsed();
        let (throughput, failed) = window(work).await;
        if failed == 0 && throughput >= baseline * FULL {
            break Ok(begun);
        }
        if begun > cell.recovery() * 4 {
            break Err(format!("{throughput:.0}/s and {failed} failures after {begun:?}, {baseline:.0}/s before"));
        }
    };
    work.stop(callers).await;
    let status = tier.status();
    let failures = work.take_failures();
    let context = || format!("{} ({}); {failures:?}", status.state, status.reason);
    let wrong = work.take_wrong();
    if let Some(first) = wrong.first() {
        let late = wrong.iter().all(|text| text.contains(crate::workload::LATE));
        return Err(Flaw { text: format!("{} wrong, as: {first}; {}", wrong.len(), context()), late });
    }
    let (logins, attempted) = (fault.calls("C_Login") - logins, attempts(&status) - attempted);
    // The one that got no clear answer, and the one after it, which goes well.
    let allowed = if cell.leaves_the_pin_open() { attempted.min(2) } else { attempted };
    if logins > allowed {
        return Err(format!("C_Login was called {logins} times in {attempted} attempts; {}", context()).into());
    }
    let took = recovered.map_err(|text| Flaw { text: format!("{text}; {}", context()), late: true })?;
    if took > cell.recovery() {
        return Err(Flaw { text: format!("it took {took:?} to recover; {}", context()), late: true });
    }
    work.clean_up().await.map_err(|text| format!("{text}; {}", context()))?;
    // Sessions that were given up are closed when they come back.
    let begun = Instant::now();
    loop {
        let (real, told) = open_sessions(fault, &tier.status());
        if real == told {
            return Ok(took);
        }
        if begun.elapsed() > Duration::from_secs(2) {
            return Err(format!("{real} sessions are open, {told} are known of; {}", context()).into());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn grid(cells: &[Cell]) {
    let label = softhsm::token();
    let token = crate::fault::token(&label);
    let fault = Fault::here();
    let runtime = runtime();
    runtime.block_on(async {
        let settings = Settings { generation_deadline: Duration::from_secs(30), ..settings(&label) };
        let tier = connect(Settings { generation_deadline: GENERATION_DEADLINE, login_pause: LOGIN_PAUSE, ..settings }).await;
        let work = Workload::new(Arc::clone(&tier)).await;
        let mut failed = Vec::new();
        let mut slowest = Duration::ZERO;
        let mut again = 0;
        for cell in cells {
            for left in (0..=AGAIN).rev() {
                match run(*cell, fault, &token, &tier, &work).await {
                    Ok(took) => {
                        slowest = slowest.max(took);
                        break;
                    }
                    Err(Flaw { text, late }) => {
                        println!("{cell}: {text}");
                        fault.tell("clear all");
                        // What is wrong is wrong; what is late may be the machine.
                        if !late || left == 0 {
                            failed.push(cell);
                            break;
                        }
                        again += 1;
                    }
                }
            }
        }
        println!(
            "{} cells, {} failed, {again} run again for being late; the slowest recovery took {slowest:?}",
            cells.len(),
            failed.len()
        );
        assert!(failed.is_empty());
        tier.close().await.unwrap();
    });
}

#[test]
fn the_grid() {
    isolated("grid::the_grid", 1, || {
        let only = std::env::var("KEYSTEAD_TEST_CELLS").unwrap_or_default();
        let cells: Vec<_> = cells().into_iter().filter(|cell| cell.to_string().contains(&only)).collect();
        grid(&cells);
    });
}
