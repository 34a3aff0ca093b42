//! PINs and the process: a login in which the process ended, and commands that print a PIN.

use std::time::{Duration, Instant};

use crate::fault::{self, Fault};
use crate::installation::Installation;
use crate::softhsm;
use crate::status::{slot, wait_for};

/// How long after a login without an answer another one is tried, less what the test takes to begin counting.
const LOGIN_PAUSE: Duration = Duration::from_secs(9);

/// Whether a process has ended, whoever its parent is.
fn has_ended(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
}

#[test]
fn a_login_in_which_the_process_ended_is_tried_once_more_after_a_pause() {
    let installation = Installation::new();
    installation.configure(|text| {
        let module = |path: std::path::PathBuf| format!("module = \"{}\"", path.display());
        text.replace(&module(softhsm::module()), &module(fault::module()))
    });
    std::fs::remove_file(installation.path("pin.txt")).unwrap();
    let fault = Fault::for_child();
    let server = installation.serve_in(fault.environment());
    assert_eq!(slot(&installation)["down"], "pin", "there is none yet");
    fault.tell("crash C_Login");
    installation.write_secret("pin.txt", softhsm::PIN);
    wait_for("the end of the process", || has_ended(server.pid()));
    let ended = Instant::now();
    server.kill();

    let server = installation.serve_in(Fault::for_child().environment());
    let waiting = slot(&installation);
    assert_eq!((&waiting["logins"], &waiting["state"]), (&0.into(), &"open".into()), "{waiting:#}");
    assert!(waiting["reason"].as_str().unwrap().contains("tried once more 10 s after it"), "{waiting:#}");
    installation.api(&["CreateKey", "--DKMSInstanceId", installation.software.as_str()]).unwrap();
    wait_for("the login", || slot(&installation)["state"] == "serving");
    assert!(ended.elapsed() > LOGIN_PAUSE, "after {:?}", ended.elapsed());
    assert_eq!(slot(&installation)["logins"], 1);
    assert!(!installation.path("data/refused_pins").exists(), "nothing is known of the PIN any more");
    assert!(server.end().0);
}

#[test]
fn a_command_that_does_not_end_is_named_and_run_again() {
    let installation = Installation::new();
    let script = "echo run >>runs; if [ -e mended ]; then cat pin.txt; else sleep 600; fi";
    installation.configure(|text| {
        text.replace("pin_file = \"pin.txt\"", &format!("deadline_ms = 2000\npin_command = [\"sh\", \"-c\", \"{script}\"]"))
    });
    let server = installation.serve();
    // While it takes its time the slot is down for want of a PIN, and the module has nothing to do with it.
    let waiting = slot(&installation);
    assert_eq!((&waiting["down"], &waiting["needs"]), (&"pin".into(), &"person".into()), "{waiting:#}");
    assert!(waiting["reason"].as_str().unwrap().contains("pin_command sh has given no answer for 2 s"), "{waiting:#}");
    installation.api(&["CreateKey", "--DKMSInstanceId", installation.software.as_str()]).unwrap();
    let reason = || slot(&installation)["reason"].as_str().unwrap().to_owned();
    wait_for("its end", || reason().contains("pin_command sh did not end within 10 s and was ended"));
    let ended = Instant::now();
    let runs = || std::fs::read_to_string(installation.path("runs")).unwrap().lines().count();
    assert_eq!((runs(), &slot(&installation)["logins"]), (1, &0.into()));
    std::fs::write(installation.path("mended"), "").unwrap();
    wait_for("the PIN", || slot(&installation)["state"] == "serving");
    assert_eq!(runs(), 2, "{:?} later", ended.elapsed());
    assert!(ended.elapsed() > LOGIN_PAUSE, "not asked again at once: {:?}", ended.elapsed());
    assert!(server.end().0);
}
