//! How the slots of a running server are: its telemetry, `keystead hsm status`, `keystead hsm retry-pin`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::fault::{self, Fault};
use crate::installation::{Installation, text};
use crate::softhsm;

/// How long something may take to show.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the telemetry of the running server answers.
pub fn get(installation: &Installation, path: &str) -> (String, String) {
    let ready = installation.ready();
    let mut stream = TcpStream::connect(ready["telemetry"]["endpoint"].as_str().unwrap()).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

/// The page of the slot.
pub fn slot(installation: &Installation) -> Value {
    let (head, body) = get(installation, &format!("/slots/{}", installation.hardware));
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    serde_json::from_str::<Value>(&body).unwrap()["slots"][0].clone()
}

/// Looks again until it is so.
#[track_caller]
pub fn wait_for(what: &str, so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < PATIENCE, "{what} does not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// `keystead hsm status --watch`, read line by line.
struct Watching {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Watching {
    fn new(installation: &Installation, arguments: &[&str]) -> Self {
        let command = [&["hsm", "status", "--watch", "--interval", "0.1"], arguments].concat();
        let mut child = installation.command(&command).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Reads on to a line with this in it.
    fn until(&mut self, part: &str) -> String {
        let begun = Instant::now();
        loop {
            let line = self.lines.next().expect("it goes on").unwrap();
            if line.contains(part) {
                return line;
            }
            assert!(begun.elapsed() < PATIENCE, "{part} is not shown");
        }
    }

    /// Ctrl-C.
    fn interrupt(mut self) -> bool {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), rustix::process::Signal::INT).unwrap();
        let rest: Vec<_> = self.lines.map(Result::unwrap).collect();
        assert!(!rest.iter().any(|line| line.contains("panicked")), "{rest:?}");
        self.child.wait().unwrap().success()
    }
}

#[test]
fn the_running_server_tells_of_its_slots() {
    let installation = Installation::new();
    let server = installation.serve();
    installation.api(&["CreateKey", "--KeySpec", "EC_P256"]).unwrap();

    assert!(get(&installation, "/livez").0.starts_with("HTTP/1.1 200"));
    let (head, ready) = get(&installation, "/readyz");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}\n{ready}");
    assert!(ready.contains(&format!("{} ok: serving\n", installation.hardware)), "{ready}");
    assert!(ready.contains(&format!("{} ok\n", installation.software)), "{ready}");

    let slot = slot(&installation);
    for (pointer, expected) in [
        ("/state", Value::from("serving")),
        ("/breaker", "closed".into()),
        ("/needs", "nobody".into()),
        ("/logged_in", true.into()),
        ("/logins", 1.into()),
        ("/sessions/configured", 64.into()),
        ("/sessions/written_off", 0.into()),
        ("/queue/bound", 1024.into()),
        ("/token/label", installation.token.as_str().into()),
        ("/token/pin", "fine".into()),
        ("/token/pin_initialized", true.into()),
        ("/recoveries/token", 0.into()),
        ("/written_off", 0.into()),
    ] {
        assert_eq!(slot.pointer(pointer), Some(&expected), "{pointer} of {slot:#}");
    }
    let allowed = slot["sessions"]["allowed"].as_u64().unwrap();
    assert!((1..64).contains(&allowed), "no more than keep the cores busy, on which SoftHSM computes: {slot:#}");
    assert!(slot["sessions"]["open"].as_u64().unwrap() >= 2, "the login and a working one: {slot:#}");
    assert!(slot["last_success_seconds"].is_f64(), "{slot:#}");

    let (_, metrics) = get(&installation, "/metrics");
    let of = format!("instance=\"{}\",slot=\"0\"", installation.hardware);
    for series in [
        format!("keystead_hsm_operations_total{{{of},operation=\"generate\",result=\"ok\"}} 1"),
        format!("keystead_hsm_module_seconds_count{{{of},operation=\"generate\"}} 1"),
        format!("keystead_hsm_state{{{of},state=\"serving\"}} 1"),
        format!("keystead_hsm_logins_total{{{of}}} 1"),
        format!("keystead_hsm_sessions{{{of},state=\"configured\"}} 64"),
    ] {
        assert!(metrics.contains(&format!("{series}\n")), "{series} is not in\n{metrics}");
    }
    assert!(server.end().0);
}

#[test]
fn status_shows_them_to_a_person_and_to_a_program() {
    let installation = Installation::new();
    let server = installation.serve();
    installation.api(&["CreateKey", "--KeySpec", "EC_P256"]).unwrap();
    let shown = installation.run(&["hsm", "status"]);
    assert!(shown.status.success(), "{}", text(&shown));
    for part in [
        installation.hardware.as_str(),
        installation.software.as_str(),
        &installation.token,
        "serving for",
        "logged in, 1 C_Login",
        "allowed of 64 configured",
        "generate",
        "no slots",
    ] {
        assert!(text(&shown).contains(part), "{part} is not in {}", text(&shown));
    }
    assert!(!text(&shown).contains('\x1b'), "no colours where nobody sees them");
    let one = installation.run(&["hsm", "status", installation.hardware.as_str()]);
    assert!(one.status.success() && !text(&one).contains(installation.software.as_str()), "{}", text(&one));
    let json = installation.run(&["hsm", "status", "--json", installation.hardware.as_str()]);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["slots"][0]["state"], "serving");

    let mut watching = Watching::new(&installation, &["--json"]);
    for _ in 0..2 {
        let line: Value = serde_json::from_str(&watching.until("instances")).unwrap();
        assert_eq!(line["instances"].as_array().unwrap().len(), 2);
    }
    assert!(watching.interrupt());
    assert!(server.end().0);
}

#[test]
fn watching_goes_on_while_the_server_is_away() {
    let installation = Installation::new();
    let server = installation.serve();
    let mut watching = Watching::new(&installation, &[installation.hardware.as_str()]);
    watching.until("serving for");
    // From the second look on.
    watching.until("operations/s");
    watching.until("serving for");
    assert!(server.end().0);
    watching.until("No server runs");
    let server = installation.serve();
    watching.until("serving for");
    assert!(watching.interrupt(), "Ctrl-C is a good end");
    server.kill();
    // Its addresses are still there.
    let line = installation.refusal(&["hsm", "status"]);
    assert!(line.contains("No server answers") && line.contains("keystead serve"), "{line}");
}

#[test]
fn status_tells_its_mistakes() {
    let installation = Installation::new();
    let line = installation.refusal(&["hsm", "status"]);
    assert!(line.contains("No server runs") && line.contains("keystead serve"), "{line}");
    let line = installation.refusal(&["hsm", "status", "kst-aaaaaaaaaaaaaaaaaaaaa"]);
    assert!(line.contains(installation.hardware.as_str()) && line.contains(installation.software.as_str()), "{line}");
    for usage in [&["--interval", "1"][..], &["--watch", "--interval", "0"], &["--watch", "--interval", "soon"], &["kst-a"]] {
        assert_eq!(installation.run(&[&["hsm", "status"], usage].concat()).status.code(), Some(2), "{usage:?}");
    }
    installation.configure(|text| text.replace("[telemetry]\nlisten = \"127.0.0.1:0\"\n", ""));
    let server = installation.serve();
    assert!(installation.refusal(&["hsm", "status"]).contains("[telemetry]"));
    assert!(server.end().0);
}

#[test]
fn a_refused_pin_is_tried_once_more_when_the_operator_says_so() {
    let bare = Installation::bare();
    let line = bare.refusal(&["hsm", "retry-pin", bare.hardware.as_str(), "--serial", "1"]);
    assert!(line.contains("no root key"), "{line}");

    let installation = Installation::new();
    let hardware = installation.hardware.as_str();
    let line = installation.refusal(&["hsm", "retry-pin", installation.software.as_str()]);
    assert!(line.contains("no token"), "{line}");
    let line = installation.refusal(&["hsm", "retry-pin", hardware]);
    assert!(line.contains("--serial") && line.contains("hsm list"), "{line}");

    installation.write_secret("pin.txt", "not-the-pin");
    let server = installation.serve();
    let down = slot(&installation);
    assert_eq!((&down["state"], &down["down"], &down["needs"]), (&"down".into(), &"pin".into(), &"person".into()), "{down:#}");
    assert_eq!((&down["logins"], &down["logged_in"]), (&1.into(), &false.into()), "{down:#}");
    assert!(down["advice"].as_str().unwrap().contains("keystead hsm retry-pin"), "{down:#}");
    let (head, ready) = get(&installation, "/readyz");
    assert!(head.starts_with("HTTP/1.1 503") && ready.contains("needs a person"), "{head}\n{ready}");

    let serial = down["token"]["serial"].as_str().unwrap();
    let retried = installation.run(&["hsm", "retry-pin", hardware]);
    assert!(retried.status.success() && text(&retried).contains(serial), "{}", text(&retried));
    wait_for("the second try", || slot(&installation)["logins"] == 2);
    // It is as wrong as before, and remembered again.
    wait_for("its answer", || slot(&installation)["failures"][0]["count"] == 2);
    let retried = installation.run(&["hsm", "retry-pin", hardware, "--serial", serial]);
    assert!(retried.status.success(), "{}", text(&retried));
    wait_for("the third try", || slot(&installation)["logins"] == 3);

    // A PIN that is right needs nobody's word.
    installation.write_secret("pin.txt", softhsm::PIN);
    wait_for("the login", || slot(&installation)["state"] == "serving");
    assert!(server.end().0);
}

#[test]
fn a_module_that_hangs_hangs_nobody_who_looks() {
    let installation = Installation::new();
    let fault = Fault::for_child();
    installation.configure(|text| {
        let module = |path: std::path::PathBuf| format!("module = \"{}\"", path.display());
        text.replace(&module(softhsm::module()), &module(fault::module())).replace("pin_file", "deadline_ms = 3000\npin_file")
    });
    let server = installation.serve_in(fault.environment());
    let hang = fault.rule("hang C_GenerateRandom");

    let begun = Instant::now();
    let (head, ready) = get(&installation, "/readyz");
    let took = begun.elapsed();
    assert!(head.starts_with("HTTP/1.1 503") && ready.contains("is not back after 2 s"), "{head}\n{ready}");
    assert!(ready.contains(&format!("{} ok\n", installation.software)), "the other instance is none the worse: {ready}");
    assert!(took < Duration::from_secs(6), "{took:?}");
    fault.wait_hung(1);
    assert!(get(&installation, "/livez").0.starts_with("HTTP/1.1 200"));
    wait_for("the end of its deadline", || slot(&installation)["sessions"]["written_off"] == 1);
    let metrics = get(&installation, "/metrics").1;
    let of = format!("instance=\"{}\",slot=\"0\"", installation.hardware);
    for series in [
        format!("keystead_hsm_written_off_total{{{of}}} 1"),
        format!("keystead_hsm_sessions{{{of},state=\"written_off\"}} 1"),
        format!("keystead_hsm_operations_total{{{of},operation=\"health\",result=\"unavailable\"}} 1"),
    ] {
        assert!(metrics.contains(&format!("{series}\n")), "{series} is not in\n{metrics}");
    }

    // Now the module would have to be initialised anew, and cannot be while the call hangs.
    fault.tell(&format!("remove-token {}", fault::token(&installation.token)));
    wait_for("the need of a restart", || get(&installation, "/readyz").1.contains("needs a restart of the process"));
    let shown = installation.run(&["hsm", "status"]);
    assert!(text(&shown).contains("Restart the service"), "{}", text(&shown));
    assert!(get(&installation, "/metrics").1.contains(&format!("keystead_hsm_down{{{of},why=\"needs_restart\"}} 1\n")));

    // Unless it comes back after all.
    drop(hang);
    fault.tell("release");
    fault.tell("clear all");
    wait_for("the token", || get(&installation, "/readyz").0.starts_with("HTTP/1.1 200"));
    assert!(server.end().0);
}
