//! `keystead hsm bench`: measures a token and leaves nothing in it.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use keystead::base::Pin;
use keystead::tier::Tier;
use keystead::tier::pkcs11::{Pkcs11Tier, Settings};

use crate::installation::{Installation, text};
use crate::softhsm;

/// How many keys of ours the token holds.
fn keys_in(installation: &Installation) -> usize {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let uri = softhsm::uri(&installation.token).parse().unwrap();
        let settings = Settings::new(softhsm::module(), uri, Pin::new(softhsm::PIN.to_owned()));
        let tier = Pkcs11Tier::connect(settings).await.unwrap();
        let keys = tier.residents().await.unwrap().len();
        tier.close().await.unwrap();
        keys
    })
}

#[test]
fn a_token_is_measured_and_left_as_it_was() {
    let installation = Installation::bare();
    let told = installation.run(&["hsm", "bench", "--sessions", "1,2", "--time", "0.2"]);
    assert!(told.status.success(), "{}", text(&told));
    let shown = String::from_utf8(told.stdout).unwrap();
    for part in
        ["AES-256-GCM 32 B encrypt", "RSA-2048 sign", "P-256 sign", "random 32 B", "  1 sessions", "  2 sessions", "sessions = "]
    {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
    assert_eq!(keys_in(&installation), 0);
    // A token that is not configured.
    let pin = installation.path("pin.txt");
    let (module, uri) = (softhsm::module(), softhsm::uri(&installation.token));
    let named = ["--module", module.to_str().unwrap(), "--uri", &uri, "--pin-file", pin.to_str().unwrap()];
    let told = installation.run(&[&["hsm", "bench", "--sessions", "1", "--time", "0.1"], &named[..]].concat());
    assert!(told.status.success(), "{}", text(&told));
}

#[test]
fn measuring_can_be_broken_off() {
    let installation = Installation::bare();
    let mut child =
        installation.command(&["hsm", "bench", "--sessions", "1", "--time", "2"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // Keys are made before the first line of figures.
    while !lines.next().expect("a line").unwrap().contains("1 sessions") {}
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert!(child.wait().unwrap().success(), "Ctrl-C is a good end");
    assert_eq!(keys_in(&installation), 0);
}

#[test]
fn measuring_tells_its_mistakes() {
    let installation = Installation::bare();
    let line = installation.refusal(&["hsm", "bench", "--instance", installation.software.as_str()]);
    assert!(line.contains("no token"), "{line}");
    for usage in [&["--sessions", "0"][..], &["--sessions", "many"], &["--time", "0"], &["--module", "x.so"]] {
        assert_eq!(installation.run(&[&["hsm", "bench"], usage].concat()).status.code(), Some(2), "{usage:?}");
    }
    installation.write_secret("pin.txt", "not-the-pin");
    let line = installation.refusal(&["hsm", "bench", "--sessions", "1"]);
    assert!(line.contains("PIN") && line.contains("wrong"), "{line}");
}
