//! Health, the page of the slots and the metrics, of instances with slots and without.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use keystead::tier::Tier;
use keystead::tier::software::SoftwareTier;
use keystead::tier::status::{Generator, Refusal, SlotState, SlotStatus, Why};
use keystead::wire::instance_protocol::GenerateRandomRequest;
use serde_json::Value;

use crate::bench::{Bench, bench, bench_on, get};
use crate::puppet::{Check, Puppet, slot};

/// One instance with slots, one without.
async fn with_slots(puppet: &Arc<Puppet>) -> Bench {
    bench_on([Arc::clone(puppet) as Arc<dyn Tier>, Arc::new(SoftwareTier::new())]).await
}

/// The line of an instance in `/readyz`.
async fn line(bench: &Bench) -> (String, String) {
    let (head, body) = get(bench.telemetry, "/readyz").await;
    let line = body.lines().find(|line| line.starts_with(bench.instance.as_str())).unwrap();
    (head.split_whitespace().nth(1).unwrap().to_owned(), line.to_owned())
}

#[tokio::test]
async fn it_tells_of_every_instance_and_every_operation() {
    let bench = bench().await;
    bench.ask("GenerateRandom", &GenerateRandomRequest { length: 8 }).await;
    assert!(get(bench.telemetry, "/livez").await.0.starts_with("HTTP/1.1 200"));
    let (head, body) = get(bench.telemetry, "/readyz").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let mut expected = [format!("{} ok", bench.instance), format!("{} ok", bench.other)];
    expected.sort();
    assert_eq!(body.lines().collect::<Vec<_>>(), expected);
    let (_, metrics) = get(bench.telemetry, "/metrics").await;
    let count = format!(
        "keystead_request_duration_seconds_count{{endpoint=\"{}\",operation=\"GenerateRandom\",code=\"OK\"}} 1",
        bench.instance
    );
    assert!(metrics.contains(&count) && !metrics.contains("keystead_hsm"), "{metrics}");
    for sample in [
        "rotations_total{instance=\"I\",result=\"ok\"} 0",
        "rotations_total{instance=\"I\",result=\"failed\"} 0",
        "rotations_due{instance=\"I\"} 0",
    ] {
        let sample = format!("keystead_key_{}\n", sample.replace('I', bench.instance.as_str()));
        assert!(metrics.contains(&sample), "{sample} is not in {metrics}");
    }
    let age = metrics.lines().find_map(|line| line.strip_prefix("keystead_snapshot_age_seconds ")).unwrap();
    assert!(age.parse::<f64>().unwrap() >= 0.0 && metrics.contains("\nkeystead_refused_destructions 0\n"), "{metrics}");
    let (_, page) = get(bench.telemetry, &format!("/slots/{}", bench.instance)).await;
    let page: Value = serde_json::from_str(&page).unwrap();
    assert_eq!((&page["kind"], page["slots"].as_array().unwrap().len()), (&"Software".into(), 0));
    let (head, body) = get(bench.telemetry, "/else").await;
    assert!(head.starts_with("HTTP/1.1 404") && body.contains("/slots/<instance id>"), "{head} {body}");
}

#[tokio::test]
async fn work_that_panics_is_seen_and_counted() {
    let bench = bench().await;
    let (_, metrics) = get(bench.telemetry, "/metrics").await;
    for task in ["audit log", "listener of the shared gateway", "certificate of the STS"] {
        let sample = format!("keystead_task_restarts_total{{task=\"{task}\"}} 0\n");
        assert!(metrics.contains(&sample), "{sample} is not in {metrics}");
    }
    assert!(metrics.contains("\nkeystead_log_lines_dropped_total 0\n"), "{metrics}");
    assert!(!get(bench.telemetry, "/readyz").await.1.contains("task"));
    let kept = tokio::spawn(bench.kms.supervisor().clone().keep("test", async || panic!("it was told to")));
    let begun = Instant::now();
    let body = loop {
        let (head, body) = get(bench.telemetry, "/readyz").await;
        assert!(head.starts_with("HTTP/1.1 200") && begun.elapsed() < Duration::from_secs(30), "{head} {body}");
        if body.contains("task") {
            break body;
        }
    };
    assert!(body.lines().any(|line| line.starts_with("task test: panicked ")), "{body}");
    let (_, metrics) = get(bench.telemetry, "/metrics").await;
    assert!(!metrics.contains("{task=\"test\"} 0"), "{metrics}");
    kept.abort();
}

#[tokio::test]
async fn readiness_says_what_is_wrong_and_who_can_mend_it() {
    let puppet = Puppet::new(vec![slot(SlotState::Serving, "it was not connected yet")], Check::Works);
    let bench = with_slots(&puppet).await;
    assert_eq!(line(&bench).await, ("200".to_owned(), format!("{} ok: serving", bench.instance)));
    let failing = || SlotStatus { generator: Generator::Failing, generator_failures: 4, ..slot(SlotState::Serving, "") };
    puppet.say(vec![failing()], Check::Works);
    let (status, remark) = line(&bench).await;
    assert_eq!(status, "200", "what is drawn is sound");
    assert!(remark.contains("ok: serving; remark: random numbers of the token failed health tests 4 times"), "{remark}");
    let page = get(bench.telemetry, "/slots").await.1;
    assert!(page.contains("\"random numbers of the token failed health tests 4 times"), "{page}");
    let named = || SlotStatus { failing_keys: vec!["key-a-1".to_owned()], ..slot(SlotState::Serving, "") };
    puppet.say(vec![named()], Check::Works);
    let (status, remark) = line(&bench).await;
    assert_eq!(status, "200", "others are served");
    assert!(remark.contains("ok: serving; remark: the token fails with the key key-a-1 and serves others"), "{remark}");
    puppet.say(vec![failing()], Check::Works);
    let metrics = get(bench.telemetry, "/metrics").await.1;
    let sample = format!("keystead_hsm_random_failures_total{{instance=\"{}\",slot=\"0\"}} 4\n", bench.instance);
    assert!(metrics.contains(&sample), "{metrics}");
    let refused = (1..=5).map(|key| (format!("key-{key}"), Refusal::Several)).collect();
    puppet.say(vec![SlotStatus { refused, ..slot(SlotState::Serving, "") }], Check::Works);
    let remark = self::line(&bench).await.1;
    assert!(remark.contains("; remark: the key key-3 is not used: several keys in the token have its CKA_ID; "), "{remark}");
    assert!(!remark.contains("key-4") && remark.ends_with("; remark: 2 more keys are not used; the log names them"), "{remark}");
    let metrics = get(bench.telemetry, "/metrics").await.1;
    let sample = format!("keystead_hsm_refused_keys{{instance=\"{}\",slot=\"0\"}} 5\n", bench.instance);
    assert!(metrics.contains(&sample), "{metrics}");
    for (state, reason, said) in [
        (SlotState::Serving, "old news", "serving, but a real operation fails: It does not work; 2 calls hang in the module"),
        (SlotState::Recovering, "CKR_DEVICE_REMOVED of C_Sign", "recovering: CKR_DEVICE_REMOVED of C_Sign"),
        (SlotState::Probing, "a\nb", "probing: a b"),
        (SlotState::Open, "It is gone.", "open: It is gone"),
        (
            SlotState::Down(Why::NeedsRestart),
            "3 calls hang in it",
            "down (needs_restart): 3 calls hang in it; needs a restart of the process",
        ),
        (SlotState::Down(Why::Pin), "The PIN is wrong.", "down (pin): The PIN is wrong; needs a person: "),
        (SlotState::Down(Why::PinLocked), "It is locked.", "needs a person: "),
        (SlotState::Down(Why::TooManyHung), "too many", "needs a person: "),
        (SlotState::Down(Why::Configuration), "two tokens", "needs a person: "),
    ] {
        puppet.say(vec![slot(state, reason)], Check::Fails);
        let (status, line) = line(&bench).await;
        assert_eq!(status, "503");
        assert!(line.contains("not ready: ") && line.contains(said), "{said} is not in {line}");
    }
    // The other instance is none the worse.
    assert!(get(bench.telemetry, "/readyz").await.1.contains(&format!("{} ok\n", bench.other)));
}

#[tokio::test]
async fn readiness_does_not_hang_with_the_instances_and_does_not_pile_up() {
    let puppets = [(); 2].map(|()| Puppet::new(vec![slot(SlotState::Serving, "")], Check::Hangs));
    let bench = bench_on(puppets.clone().map(|puppet| puppet as Arc<dyn Tier>)).await;
    let begun = Instant::now();
    let asking: Vec<_> = (0..8).map(|_| tokio::spawn(get(bench.telemetry, "/readyz"))).collect();
    for asked in asking {
        let (head, body) = asked.await.unwrap();
        assert!(head.starts_with("HTTP/1.1 503"), "{head}");
        assert_eq!(body.matches("not ready: serving, but a real operation is not back after 2 s").count(), 2, "{body}");
    }
    let took = begun.elapsed();
    assert!((Duration::from_secs(2)..Duration::from_millis(3900)).contains(&took), "both wait at the same time: {took:?}");
    // Those that asked shared one check of each instance, which still runs.
    assert_eq!(puppets.map(|puppet| puppet.checks()), [1, 1]);
    assert!(get(bench.telemetry, "/livez").await.0.starts_with("HTTP/1.1 200"));
    assert!(get(bench.telemetry, "/slots").await.0.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_check_that_ended_is_not_believed_for_long() {
    let puppet = Puppet::new(vec![slot(SlotState::Serving, "")], Check::Works);
    let bench = with_slots(&puppet).await;
    assert_eq!(line(&bench).await.0, "200");
    puppet.say(vec![slot(SlotState::Serving, "")], Check::Fails);
    assert_eq!(line(&bench).await.0, "503");
    assert_eq!(puppet.checks(), 2);
}

#[tokio::test]
async fn the_page_of_a_slot_has_everything() {
    let puppet = Puppet::new(vec![slot(SlotState::Down(Why::NeedsRestart), "3 calls hang in it")], Check::Fails);
    let bench = with_slots(&puppet).await;
    let (head, one) = get(bench.telemetry, &format!("/slots/{}", bench.instance)).await;
    assert!(head.contains("application/json"), "{head}");
    let one: Value = serde_json::from_str(&one).unwrap();
    let slot = &one["slots"][0];
    for (pointer, expected) in [
        ("/state", Value::from("down")),
        ("/for_seconds", Value::from(12.345)),
        ("/down", "needs_restart".into()),
        ("/needs", "restart".into()),
        ("/reason", "3 calls hang in it".into()),
        ("/breaker", "open".into()),
        ("/logged_in", true.into()),
        ("/logins", 2.into()),
        ("/sessions", serde_json::json!({"configured": 64, "allowed": 30, "open": 9, "busy": 4, "written_off": 2})),
        ("/queue/waiting", 11.into()),
        ("/queue/bound", 1024.into()),
        ("/last_success_seconds", 1.5.into()),
        ("/last_failure", serde_json::json!({"function": "C_Sign", "ckr": "CKR_DEVICE_ERROR", "seconds": 3.0})),
        ("/token/pin", "count_low".into()),
        ("/token/firmware", "2.6".into()),
        ("/token/serial", "58c4".into()),
        ("/token/slot_id", 7.into()),
        ("/token/model", "One".into()),
        ("/module", "/usr/lib/a module.so".into()),
        ("/recoveries/login", 1.into()),
        ("/failed_recoveries", 6.into()),
        ("/written_off", 3.into()),
        ("/panics", 4.into()),
    ] {
        assert_eq!(slot.pointer(pointer), Some(&expected), "{pointer} of {slot:#}");
    }
    assert!(slot["advice"].as_str().unwrap().contains("Restart the service"), "{slot:#}");
    let (_, all) = get(bench.telemetry, "/slots").await;
    let all: Value = serde_json::from_str(&all).unwrap();
    let ids: BTreeSet<_> = all["instances"].as_array().unwrap().iter().map(|of| of["instance_id"].as_str().unwrap()).collect();
    assert_eq!(ids, BTreeSet::from([bench.instance.as_str(), bench.other.as_str()]));
    for unknown in ["kst-aaaaaaaaaaaaaaaaaaaaa", "nonsense", ""] {
        let (head, body) = get(bench.telemetry, &format!("/slots/{unknown}")).await;
        assert!(head.starts_with("HTTP/1.1 404"), "{head}");
        assert!(body.contains(bench.instance.as_str()) && body.contains(bench.other.as_str()), "{body}");
    }
}

#[tokio::test]
async fn the_metrics_of_a_slot_are_well_formed() {
    let puppet = Puppet::new(vec![slot(SlotState::Probing, ""), slot(SlotState::Down(Why::Pin), "")], Check::Works);
    let bench = with_slots(&puppet).await;
    bench.ask("GenerateRandom", &GenerateRandomRequest { length: 8 }).await;
    let (head, text) = get(bench.telemetry, "/metrics").await;
    assert!(head.contains("version=0.0.4"), "{head}");
    let series = parse(&text);
    let value = |name: &str, number: usize, labels: &str| {
        let comma = if labels.is_empty() { "" } else { "," };
        let series_name = format!("{name}{{instance=\"{}\",slot=\"{number}\"{comma}{labels}}}", bench.instance);
        *series.get(&series_name).unwrap_or_else(|| panic!("{series_name} is not in\n{text}"))
    };
    for (name, labels, expected) in [
        ("keystead_hsm_operations_total", "operation=\"sign\",result=\"ok\"", 5.0),
        ("keystead_hsm_operations_total", "operation=\"sign\",result=\"failed\"", 1.0),
        ("keystead_hsm_operations_total", "operation=\"decrypt\",result=\"ok\"", 0.0),
        ("keystead_hsm_queue_seconds_bucket", "le=\"0.000025\"", 3.0),
        ("keystead_hsm_queue_seconds_bucket", "le=\"1\"", 3.0),
        ("keystead_hsm_queue_seconds_bucket", "le=\"10\"", 4.0),
        ("keystead_hsm_queue_seconds_bucket", "le=\"+Inf\"", 5.0),
        ("keystead_hsm_queue_seconds_sum", "", 21.0),
        ("keystead_hsm_module_seconds_count", "operation=\"sign\"", 5.0),
        ("keystead_hsm_errors_total", "function=\"C_Sign\",ckr=\"CKR_DEVICE_ERROR\"", 2.0),
        ("keystead_hsm_recoveries_total", "level=\"login\"", 1.0),
        ("keystead_hsm_failed_recoveries_total", "", 6.0),
        ("keystead_hsm_sessions", "state=\"written_off\"", 2.0),
        ("keystead_hsm_sessions", "state=\"busy\"", 4.0),
        ("keystead_hsm_queue_waiting", "", 11.0),
        ("keystead_hsm_state", "state=\"probing\"", 1.0),
        ("keystead_hsm_state", "state=\"serving\"", 0.0),
        ("keystead_hsm_breaker", "state=\"half_open\"", 1.0),
        ("keystead_hsm_pin", "flag=\"count_low\"", 1.0),
        ("keystead_hsm_written_off_total", "", 3.0),
        ("keystead_hsm_panics_total", "", 4.0),
        ("keystead_hsm_logins_total", "", 2.0),
        ("keystead_hsm_logged_in", "", 1.0),
        ("keystead_hsm_last_success_age_seconds", "", 1.5),
    ] {
        assert_eq!(value(name, 0, labels), expected, "{name} {labels}");
    }
    assert_eq!(value("keystead_hsm_state", 1, "state=\"down\""), 1.0);
    assert_eq!(value("keystead_hsm_down", 1, "why=\"pin\""), 1.0);
    assert_eq!(value("keystead_hsm_down", 0, "why=\"pin\""), 0.0);
    assert!(text.contains(r#"token="a \"token\" \\ of\nours",serial="58c4""#), "{text}");
}

/// Reads the text format and holds it to its rules: a family has its help and type once and before its samples, no series stands
/// twice, the buckets of a histogram add up to its count.
fn parse(text: &str) -> BTreeMap<String, f64> {
    let mut types: BTreeMap<&str, &str> = BTreeMap::new();
    let mut family = "";
    let mut series = BTreeMap::new();
    let mut buckets: BTreeMap<String, f64> = BTreeMap::new();
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            family = help.split_once(' ').unwrap().0;
        } else if let Some(of) = line.strip_prefix("# TYPE ") {
            let (name, what) = of.split_once(' ').unwrap();
            assert_eq!(name, family, "help and type stand together");
            assert!(types.insert(name, what).is_none(), "{name} stands once");
        } else {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let value: f64 = value.parse().unwrap();
            let base = name.split('{').next().unwrap();
            let suffixes: &[&str] = if types[family] == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            assert!(suffixes.iter().any(|suffix| base == format!("{family}{suffix}")), "{line} is not of {family}");
            assert_eq!(types[family] == "counter", base.ends_with("_total"), "{line}");
            assert!(series.insert(name.to_owned(), value).is_none(), "{name} stands once");
            if let Some((labels, _)) = name.split_once("le=\"").filter(|_| base.ends_with("_bucket")) {
                let before = buckets.insert(labels.to_owned(), value).unwrap_or(0.0);
                assert!(before <= value, "{line} is less than the bucket before it");
            }
        }
    }
    for (labels, last) in buckets {
        let count = labels.trim_end_matches(['{', ',']).replace("_bucket", "_count");
        let count = if count.contains('{') { format!("{count}}}") } else { count };
        assert_eq!(series.get(&count), Some(&last), "{count}");
    }
    series
}
