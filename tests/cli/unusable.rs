//! An instance whose module or token cannot be used: it alone is down, with the reason, until that is mended.

use std::path::PathBuf;
use std::process::Command;

use crate::fault::{self, Fault};
use crate::installation::{Installation, text};
use crate::softhsm;
use crate::status::{get, slot, wait_for};

/// The hardware instance is down for this reason, everybody who looks is told so, and the other instance is none the worse.
fn is_down(installation: &Installation, reason: &str) {
    let down = slot(installation);
    assert_eq!((&down["state"], &down["down"]), (&"down".into(), &"configuration".into()), "{down:#}");
    assert_eq!(down["needs"], "person");
    assert!(down["reason"].as_str().unwrap().contains(reason), "{down:#}");
    let (head, ready) = get(installation, "/readyz");
    assert!(head.starts_with("HTTP/1.1 503"), "{head}");
    let line = |instance: &str| ready.lines().find(|line| line.starts_with(instance)).unwrap().to_owned();
    assert!(line(installation.hardware.as_str()).contains(reason), "{ready}");
    assert_eq!(line(installation.software.as_str()), format!("{} ok", installation.software));
    let shown = installation.run(&["hsm", "status", installation.hardware.as_str()]);
    assert!(text(&shown).contains(reason), "{}", text(&shown));
    let create = |instance: &str| installation.api(&["CreateKey", "--DKMSInstanceId", instance]);
    assert_eq!(create(installation.hardware.as_str()).unwrap_err()["Code"], "ServiceUnavailableTemporary");
    create(installation.software.as_str()).unwrap();
}

fn serves(installation: &Installation) {
    wait_for("the token", || slot(installation)["state"] == "serving");
    wait_for("the instance", || get(installation, "/readyz").0.starts_with("HTTP/1.1 200"));
    // What the token can do is found out first.
    wait_for("a key", || installation.api(&["CreateKey", "--DKMSInstanceId", installation.hardware.as_str()]).is_ok());
}

#[test]
fn a_module_that_is_not_there_is_loaded_when_it_is() {
    let installation = Installation::new();
    let module = installation.path("later.so");
    installation.configure(|text| text.replace(softhsm::module().to_str().unwrap(), module.to_str().unwrap()));
    let line = installation.refusal(&["check-config"]);
    assert!(line.contains(module.to_str().unwrap()), "for check-config it is an error: {line}");

    let server = installation.serve();
    is_down(&installation, module.to_str().unwrap());
    // Half of it is there, and more follows.
    std::fs::write(&module, b"\x7fELF").unwrap();
    wait_for("that it is no library", || slot(&installation)["reason"].as_str().unwrap().contains("not a PKCS#11 module"));
    is_down(&installation, module.to_str().unwrap());
    std::fs::remove_file(&module).unwrap();
    std::os::unix::fs::symlink(softhsm::module(), &module).unwrap();
    serves(&installation);
    let (ended_well, log) = server.end();
    assert!(ended_well && log.contains("later.so cannot be opened"), "{log}");
}

#[test]
fn two_tokens_of_one_label_are_told_apart_without_a_restart() {
    let installation = Installation::new();
    let fault = Fault::for_child();
    installation.configure(|text| {
        let module = |path: PathBuf| format!("module = \"{}\"", path.display());
        text.replace(&module(softhsm::module()), &module(fault::module()))
    });
    let mut second = Command::new("softhsm2-util");
    second.args(["--init-token", "--free", "--label", &installation.token, "--pin", softhsm::PIN, "--so-pin", "12345678"]);
    assert!(second.status().unwrap().success());
    let line = installation.refusal(&["check-config"]);
    assert!(line.contains("Several tokens"), "for check-config it is an error: {line}");
    let listed = text(&installation.run(&["--log", "off", "hsm", "list"]));
    let of_that_label: Vec<_> = listed.lines().filter(|line| line.contains(&format!(" {} ", installation.token))).collect();
    assert_eq!(of_that_label.len(), 2, "{listed}");
    let slot_id = of_that_label[0].split_whitespace().next().unwrap();

    let server = installation.serve_in(fault.environment());
    is_down(&installation, "Several tokens");
    fault.tell(&format!("remove-token slot={slot_id}"));
    serves(&installation);
    assert!(server.end().0);
}
