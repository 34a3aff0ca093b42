//! Whether the date is relied on for what cannot be undone, as an operator sees it.

use std::time::Instant;

use serde_json::Value;

use crate::installation::{Installation, text};
use crate::readers::{PATIENCE, page};

const WAITS: &str = "clock waiting: what is to be destroyed because its time has come is kept: ";

/// Whether `keystead clock` says so.
fn is_relied_on(installation: &Installation) -> bool {
    let shown = installation.run(&["clock"]);
    assert!(shown.status.success(), "{}", text(&shown));
    let shown = text(&shown);
    let (yes, no) = (shown.contains("relied on         yes"), shown.contains("relied on         no"));
    assert!(yes != no, "{shown}");
    yes
}

fn kept(installation: &Installation) -> Value {
    serde_json::from_slice(&std::fs::read(installation.path("data/clock.json")).unwrap()).unwrap()
}

#[test]
fn the_date_is_relied_on_when_an_operator_says_so_until_the_clock_is_not_known_any_more() {
    let installation = Installation::new();
    let server = installation.serve();
    // A new one has seen nothing of its clock yet. It serves all the same.
    let (status, ready) = page(&installation, "/readyz");
    assert!(status == "200" && ready.contains(WAITS) && ready.contains("`keystead clock confirm`"), "{ready}");
    assert!(!is_relied_on(&installation));
    let metric = |value| page(&installation, "/metrics").1.contains(&format!("\nkeystead_clock_settled {value}\n"));
    assert!(metric(0));
    let confirmed = installation.run(&["clock", "confirm"]);
    assert!(confirmed.status.success(), "{}", text(&confirmed));
    assert!(is_relied_on(&installation));
    let begun = Instant::now();
    while page(&installation, "/readyz").1.contains(WAITS) {
        assert!(begun.elapsed() < PATIENCE, "the server does not hear of it");
    }
    assert!(metric(1));
    let recorded = installation.run(&["audit", "search", "--operation", "clock confirm"]);
    let record: Value = serde_json::from_slice(&recorded.stdout).unwrap();
    assert!(record["code"] == "OK" && record["caller"].as_str().unwrap().starts_with("uid:"), "{record}");
    assert!(server.end().0);

    // It is kept when the service is started again.
    assert_eq!(kept(&installation)["needed"], "nothing");
    let server = installation.serve();
    assert!(is_relied_on(&installation) && !page(&installation, "/readyz").1.contains(WAITS));
    assert!(server.end().0);
    // After two days of absence, over a start of the machine, it is not.
    let mut clock = kept(&installation);
    for reading in ["since", "last"] {
        clock[reading]["boot"] = "another".into();
        clock[reading]["date"] = (clock[reading]["date"].as_i64().unwrap() - 2 * 86_400).into();
    }
    std::fs::write(installation.path("data/clock.json"), clock.to_string()).unwrap();
    assert!(!is_relied_on(&installation));
    let server = installation.serve();
    assert!(page(&installation, "/readyz").1.contains(WAITS));
    assert!(server.end().0);
    // Nor is a date that lies before one that was seen.
    let mut clock = kept(&installation);
    clock["latest"] = (clock["latest"].as_i64().unwrap() + 30 * 86_400).into();
    clock["needed"] = "nothing".into();
    std::fs::write(installation.path("data/clock.json"), clock.to_string()).unwrap();
    let shown = installation.run(&["clock"]);
    assert!(text(&shown).contains("which was seen already"), "{}", text(&shown));
}
