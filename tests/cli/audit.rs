//! The audit log of a real server: killed under load, on a disk that takes nothing, looked through by its commands.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use keystead::wire::instance_protocol::{EncryptRequest, EncryptResponse, ErrorMessage};
use prost::Message;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::client::{Client, Signed};
use crate::installation::{Installation, text};

/// Connections that encrypt at once.
const CONNECTIONS: usize = 8;
/// Answers after which the server is killed.
const ANSWERS: usize = 400;
/// How long something may take that happens by itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection that sends one request again and again.
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    request: Signed,
}

impl Connection {
    async fn open(client: &Client, endpoint: &str, key: &str) -> Self {
        let stream = TcpStream::connect(endpoint).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(client.tls(rustls::DEFAULT_VERSIONS)).connect(name, stream).await.unwrap();
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let encrypt = EncryptRequest { key_id: key.to_owned(), plaintext: vec![7; 32], ..EncryptRequest::default() };
        Self { sender, request: client.sign(endpoint, "Encrypt", &encrypt) }
    }

    /// The request id of a success, or the code of a failure; nothing when there is no answer.
    async fn ask(&mut self) -> Option<Result<String, String>> {
        self.sender.ready().await.ok()?;
        let request = self.request.headers.iter().fold(Request::post("/"), |request, (name, value)| request.header(*name, value));
        let request = request.body(Full::new(Bytes::from(self.request.body.clone()))).unwrap();
        let response = self.sender.send_request(request).await.ok()?;
        let succeeded = response.status().is_success();
        let body = response.into_body().collect().await.ok()?.to_bytes();
        Some(if succeeded {
            Ok(EncryptResponse::decode(body).unwrap().request_id)
        } else {
            Err(ErrorMessage::decode(body).unwrap().error_code)
        })
    }

    /// Asks until the answer is as wanted.
    async fn until(&mut self, what: &str, wanted: impl Fn(&Result<String, String>) -> bool) -> Result<String, String> {
        let begun = Instant::now();
        loop {
            let answer = self.ask().await.expect("the server answers");
            if wanted(&answer) {
                return answer;
            }
            assert!(begun.elapsed() < PATIENCE, "{what}: {answer:?}");
        }
    }
}

/// An installation with that in its configuration, a key of the software instance and a client for it, without a server.
fn installation(audit: &str) -> (Installation, String, Client) {
    let installation = Installation::new();
    let server = installation.serve();
    let made = installation.api(&["CreateKey", "--DKMSInstanceId", installation.software.as_str()]).unwrap();
    let key = made["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
    let files = tempfile::tempdir().unwrap();
    let client = Client::of(&installation, &installation.software, files.path());
    assert!(server.end().0);
    installation.configure(|text| text.replacen("[[instance]]", &format!("[audit]\n{audit}\n[[instance]]"), 1));
    (installation, key, client)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// What is found, record by record.
fn found(installation: &Installation, arguments: &[&str]) -> Vec<serde_json::Value> {
    let output = installation.run(&[&["--log", "off", "audit", "search"], arguments].concat());
    assert!(output.status.success(), "{}", text(&output));
    String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[track_caller]
fn assert_whole(installation: &Installation) {
    let verified = installation.run(&["audit", "verify"]);
    assert!(verified.status.success(), "{}", text(&verified));
    assert_eq!(text(&verified).matches("  whole: ").count(), 2, "{}", text(&verified));
}

#[test]
fn what_was_answered_is_in_the_log_after_a_kill() {
    let (installation, key, client) = installation("commit = \"before-answer\"\nsegment_mib = 1");
    let client = Arc::new(client);
    let mut answered = BTreeSet::new();
    for _ in 0..3 {
        let server = installation.serve();
        let endpoint = installation.endpoint(&installation.software);
        let count = Arc::new(AtomicUsize::new(0));
        let ids = runtime().block_on(async {
            let loads: Vec<_> = (0..CONNECTIONS)
                .map(|_| {
                    let (client, endpoint, key, count) = (Arc::clone(&client), endpoint.clone(), key.clone(), Arc::clone(&count));
                    tokio::spawn(async move {
                        let mut connection = Connection::open(&client, &endpoint, &key).await;
                        let mut ids = Vec::new();
                        while let Some(answer) = connection.ask().await {
                            ids.push(answer.unwrap());
                            count.fetch_add(1, Ordering::SeqCst);
                        }
                        ids
                    })
                })
                .collect();
            let begun = Instant::now();
            while count.load(Ordering::SeqCst) < ANSWERS {
                assert!(begun.elapsed() < PATIENCE, "there are no answers");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            server.kill();
            let mut ids = Vec::new();
            for load in loads {
                ids.extend(load.await.unwrap());
            }
            ids
        });
        assert!(ids.len() >= ANSWERS);
        answered.extend(ids);
    }
    // The next start mends what the kill tore.
    assert!(installation.serve().end().0);
    assert_whole(&installation);
    let recorded: BTreeSet<_> = found(&installation, &["--operation", "Encrypt", "--key", &key])
        .iter()
        .map(|record| record["request_id"].as_str().unwrap().to_owned())
        .collect();
    let lost: Vec<_> = answered.difference(&recorded).collect();
    assert!(lost.is_empty(), "{} of {} answers are not recorded", lost.len(), answered.len());
}

/// Lets the server's files get no longer than they are, or as long as they like.
fn limit(pid: u32, bytes: Option<u64>) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    prlimit(Some(pid), Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
}

/// The length of the log of a server that has one segment.
fn length(installation: &Installation) -> u64 {
    let segments = std::fs::read_dir(installation.path("data/audit/server")).unwrap().map(|entry| entry.unwrap().path());
    let segments: Vec<_> = segments.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl")).collect();
    // A day may end while the test runs.
    segments.iter().map(|path| std::fs::metadata(path).unwrap().len()).max().unwrap()
}

async fn ready(installation: &Installation) -> String {
    let endpoint = installation.ready()["telemetry"]["endpoint"].as_str().unwrap().to_owned();
    let stream = TcpStream::connect(&endpoint).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("/readyz").header("host", "x").body(Full::<Bytes>::default()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    format!("{status} {}", String::from_utf8_lossy(&body))
}

#[test]
fn on_a_full_disk_nothing_is_served_that_is_not_recorded() {
    let (installation, key, client) = installation("");
    let server = installation.serve_without_the_signal_of_large_files();
    let endpoint = installation.endpoint(&installation.software);
    runtime().block_on(async {
        let mut connection = Connection::open(&client, &endpoint, &key).await;
        connection.until("it serves", Result::is_ok).await.unwrap();
        limit(server.pid(), Some(length(&installation)));
        let refused = connection.until("it refuses", Result::is_err).await;
        assert_eq!(refused, Err("ServiceUnavailableTemporary".to_owned()));
        // Operators are refused alike, and it is told.
        assert_eq!(installation.api(&["ListKeys"]).unwrap_err()["Code"], "ServiceUnavailableTemporary");
        let page = ready(&installation).await;
        assert!(page.starts_with("503") && page.contains("audit not ready: the log cannot be written"), "{page}");
        limit(server.pid(), None);
        connection.until("it serves again", Result::is_ok).await.unwrap();
        let page = ready(&installation).await;
        assert!(page.starts_with("200") && !page.contains("audit"), "{page}");
    });
    assert!(server.end().0);
    assert_whole(&installation);
    let told = found(&installation, &["--operation", "AuditLogUnrecorded"]);
    assert!(told[0]["reason"].as_str().unwrap().contains(": 0 requests have no record"), "{told:?}");
}

#[test]
fn or_everything_is_served_and_recorded_late() {
    let (installation, key, client) = installation("when_full = \"continue\"\ncommit = \"before-answer\"");
    let server = installation.serve_without_the_signal_of_large_files();
    let endpoint = installation.endpoint(&installation.software);
    let served = runtime().block_on(async {
        let mut connection = Connection::open(&client, &endpoint, &key).await;
        connection.until("it serves", Result::is_ok).await.unwrap();
        limit(server.pid(), Some(length(&installation)));
        let mut served = BTreeSet::new();
        for _ in 0..200 {
            served.insert(connection.ask().await.unwrap().expect("it goes on"));
        }
        let page = ready(&installation).await;
        assert!(page.starts_with("200") && page.contains("audit failing: the log cannot be written"), "{page}");
        limit(server.pid(), None);
        served
    });
    assert!(server.end().0);
    assert_whole(&installation);
    let recorded = found(&installation, &["--operation", "Encrypt"]);
    let recorded: BTreeSet<_> = recorded.iter().map(|record| record["request_id"].as_str().unwrap().to_owned()).collect();
    assert!(served.is_subset(&recorded), "{} of {} are recorded", recorded.len(), served.len());
}

#[test]
fn the_commands_tell_what_happened_and_who_tampered() {
    let (installation, key, _client) = installation("");
    assert_whole(&installation);
    // The commands that need no server are recorded as well, by whom they were run.
    let commands = found(&installation, &["--caller", &format!("uid:{}", rustix::process::getuid().as_raw())]);
    let named: Vec<_> = commands.iter().map(|record| record["operation"].as_str().unwrap()).collect();
    assert_eq!(named, ["init", "quick-create"]);
    assert_eq!((&commands[1]["resource"], &commands[1]["instance"]), (&"app".into(), &installation.software.as_str().into()));
    let again = installation.run(&["quick-create", "--instance", installation.software.as_str(), "--name", "app"]);
    assert!(!again.status.success());
    let refused = found(&installation, &["--operation", "quick-create", "--code", "Rejected.ResourceExist"]);
    assert!(refused[0]["reason"].as_str().unwrap().contains("app"), "{refused:?}");
    let since_a_day = found(&installation, &["--key", &key, "--since", "2026-01-01"]);
    let created = found(&installation, &["--key", &key, "--since", "2026-01-01T00:00:00.123Z"]);
    assert_eq!(since_a_day, created);
    assert_eq!((created.len(), &created[0]["operation"]), (1, &"CreateKey".into()));
    assert!(found(&installation, &["--until", "2026-01-01"]).is_empty());
    assert_eq!(installation.run(&["audit", "search", "--since", "yesterday"]).status.code(), Some(2));
    let line = installation.refusal(&["audit", "search", "--dir", "nowhere"]);
    assert!(line.contains("There is no audit log in nowhere"), "{line}");
    for command in ["verify", "search"] {
        assert!(text(&installation.run(&["audit", "--help"])).contains(command));
    }

    let folder = installation.path("data/audit/server");
    let segment = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let segment = segment.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl")).min().unwrap();
    let log = std::fs::read_to_string(&segment).unwrap();
    let tell = |content: &str| {
        std::fs::write(&segment, content).unwrap();
        let verified = installation.run(&["audit", "verify"]);
        assert_eq!(verified.status.code(), Some(1), "{}", text(&verified));
        text(&verified)
    };
    assert!(tell(&log.replacen("CreateKey", "DeleteKey", 1)).contains("changed: "));
    let without = |number: usize| {
        let lines = log.split_inclusive('\n').enumerate().filter(|(at, _)| *at != number).map(|(_, line)| line);
        lines.collect::<String>()
    };
    assert!(tell(&without(1)).contains("missing: record 2, before "));
    let last = log.lines().count() - 1;
    assert!(tell(&without(last)).contains("cut: the log ends at record "));
    std::fs::write(&segment, &log).unwrap();
    assert_whole(&installation);
}
