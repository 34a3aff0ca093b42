//! Alerts of a running server: to the webhook of its configuration, into its log and its metrics.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;

use serde_json::Value;

use crate::installation::{Installation, text};

#[test]
fn a_key_that_is_scheduled_for_deletion_is_told_to_the_webhook() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let installation = Installation::new();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    installation.configure(|text| text.replacen("[[instance]]", &format!("[alerts]\nwebhook = \"{url}\"\n[[instance]]"), 1));
    let checked = text(&installation.run(&["check-config"]));
    assert!(checked.contains(&format!("alerts are sent to http://{}", listener.local_addr().unwrap())), "{checked}");
    let server = installation.serve();
    let key = installation.key("EC_P256", "SIGN/VERIFY");
    installation.api(&["ScheduleKeyDeletion", "--KeyId", &key, "--PendingWindowInDays", "7"]).unwrap();

    let (mut stream, _) = listener.accept().unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(reader.read_line(&mut head).unwrap(), 0, "{head}");
    }
    let length: usize = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
    let event: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&event["product"], &event["status"]), (&"KMS".into(), &"Success".into()));
    assert_eq!(event["resourceId"], format!("acs:kms:keystead:0:key/{key}"));

    let (_, metrics) = crate::status::get(&installation, "/metrics");
    assert!(metrics.contains("keystead_alerts_total{event=\"Key:ScheduleKeyDeletion:Success\"} 1"), "{metrics}");
    let (ended_well, log) = server.end();
    assert!(ended_well && log.contains("alert event=\"Key:ScheduleKeyDeletion:Success\" level=\"WARN\""), "{log}");
}

#[test]
fn a_webhook_that_is_wrong_is_refused() {
    let installation = Installation::bare();
    for (table, said) in [
        ("webhook = \"http://alerts.example.com\"", "another machine"),
        ("webhook = \"https://alerts.example.com\"\nca_flie = \"a\"", "ca_flie"),
        ("ca_file = \"a\"", "webhook"),
    ] {
        installation.configure(|text| text.replacen("[[instance]]", &format!("[alerts]\n{table}\n[[instance]]"), 1));
        let refused = installation.refusal(&["check-config"]);
        assert!(refused.contains(said), "{refused}");
    }
}
