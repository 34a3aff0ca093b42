//! Alerts: each once, whichever node finds it; sent until they are taken, over crashes, too; by a webhook that fails and hangs.

use std::sync::Mutex;

use keystead::model::alert::{Alert, AlertEvent, SendingAttempt};
use keystead::model::limits::{Group, LimitedEndpoint};
use keystead::service::{AlertCounts, AlertReceiver};
use keystead::webhook::{Webhook, WebhookUrl};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::*;

const DAY: i64 = 86_400;

fn later(seconds: i64) -> Timestamp {
    Timestamp::from_unix(NOW.unix() + seconds)
}

/// Takes alerts, or does not.
#[derive(Default)]
struct Receiver {
    refuses: Mutex<bool>,
    taken: Mutex<Vec<Alert>>,
}

impl Receiver {
    fn events(&self) -> Vec<AlertEvent> {
        self.taken.lock().unwrap().iter().map(|alert| alert.event).collect()
    }

    fn refuse(&self, refuses: bool) {
        *self.refuses.lock().unwrap() = refuses;
    }
}

impl AlertReceiver for Receiver {
    fn send<'a>(&'a self, alert: &'a Alert) -> std::pin::Pin<Box<dyn Future<Output = keystead::base::Result<()>> + Send + 'a>> {
        Box::pin(async move {
            if *self.refuses.lock().unwrap() {
                return Err(keystead::base::Error::new(Kind::Unavailable, "no"));
            }
            self.taken.lock().unwrap().push(alert.clone());
            Ok(())
        })
    }
}

/// A node with a receiver, which looks and sends already.
async fn node(bench: &Bench, store: Store, clock: &Arc<FixedClock>, receiver: Option<Arc<dyn AlertReceiver>>) -> Arc<Kms> {
    let parts = Parts { alerts: receiver, ..parts(store, &bench.instance, Arc::clone(clock), Arc::new(SoftwareTier::new())) };
    let kms = Kms::start(parts).await.unwrap();
    kms.spawn_background();
    kms
}

fn raised(counts: &AlertCounts, event: AlertEvent) -> u64 {
    counts.raised.iter().find(|(known, _)| *known == event).unwrap().1
}

#[tokio::test]
async fn a_client_key_is_told_of_at_each_threshold_and_by_one_node() {
    let bench = bench().await;
    let end = bench.store.access().await.unwrap().client_keys[0].not_after;
    let clock = Arc::new(FixedClock::at(NOW));
    let receiver = Arc::new(Receiver::default());
    for (number, days) in [181, 180, 179, 90, 30, 7, 1].into_iter().enumerate() {
        clock.set(Timestamp::from_unix(end.unix() - days * DAY));
        let nodes = [
            node(&bench, bench.store.clone(), &clock, Some(Arc::clone(&receiver) as _)).await,
            node(&bench, bench.store.clone(), &clock, Some(Arc::clone(&receiver) as _)).await,
        ];
        let expected = [0, 1, 1, 2, 3, 4, 4][number];
        until("it was sent", async || receiver.taken.lock().unwrap().len() >= expected).await;
        let told: u64 = nodes.iter().map(|kms| raised(&kms.alerts(), AlertEvent::ClientKeyExpiring)).sum();
        assert!(told <= 1, "{days}");
        for kms in nodes {
            kms.close().await;
        }
    }
    let taken = receiver.taken.lock().unwrap();
    let days: Vec<_> = taken.iter().map(|alert| alert.content["daysBefore"].as_str()).collect();
    assert_eq!(days, ["180", "90", "30", "7"]);
    assert_eq!(taken[0].content["clientKeyId"], bench.caller.client_key.as_str());
}

#[tokio::test]
async fn what_was_not_taken_is_sent_after_a_pause_and_over_a_crash() {
    let bench = bench().await;
    let clock = Arc::new(FixedClock::at(NOW));
    let receiver = Arc::new(Receiver::default());
    receiver.refuse(true);
    let kms = node(&bench, bench.store.clone(), &clock, Some(Arc::clone(&receiver) as _)).await;
    let key = kms.create_key(&bench.operator, CreateKey::default()).await.unwrap().key.id;
    kms.schedule_key_deletion(&bench.operator, key.as_str(), 7).await.unwrap();
    until("it was tried", async || kms.alerts().failed == 1).await;
    until("it is known to wait", async || kms.alerts().queued == 1).await;
    let counts = kms.alerts();
    assert_eq!((raised(&counts, AlertEvent::KeyDeletionScheduled), counts.sent), (1, 0));
    clock.set(later(15));
    until("it was tried again", async || kms.alerts().failed == 2).await;

    // The node dies; the next one has the alert of the deletion behind it in the queue.
    kms.close().await;
    bench.store.close().await;
    let store = Store::open(&bench.path(), &bench.root).await.unwrap();
    receiver.refuse(false);
    clock.set(later(7 * DAY));
    let kms = node(&bench, store.clone(), &clock, Some(Arc::clone(&receiver) as _)).await;
    until("both were taken", async || receiver.events().len() == 2).await;
    assert_eq!(receiver.events(), [AlertEvent::KeyDeletionScheduled, AlertEvent::KeyDeleted]);
    assert!(receiver.taken.lock().unwrap().iter().all(|alert| alert.resource.ends_with(key.as_str())));
    until("both are noted as sent", async || kms.alerts().sent == 2).await;
    until("none waits", async || kms.alerts().queued == 0).await;
    assert_eq!(store.alerts_queued().await.unwrap(), 0);
}

#[tokio::test]
async fn without_a_receiver_alerts_are_counted_and_none_waits() {
    let bench = bench().await;
    let clock = Arc::new(FixedClock::at(NOW));
    let kms = node(&bench, bench.store.clone(), &clock, None).await;
    let key = kms.create_key(&bench.operator, CreateKey::default()).await.unwrap().key.id;
    kms.schedule_key_deletion(&bench.operator, key.as_str(), 7).await.unwrap();
    kms.cancel_key_deletion(&bench.operator, key.as_str()).await.unwrap();
    clock.set(later(1));
    kms.schedule_key_deletion(&bench.operator, key.as_str(), 7).await.unwrap();
    let counts = kms.alerts();
    assert_eq!((raised(&counts, AlertEvent::KeyDeletionScheduled), raised(&counts, AlertEvent::KeyDeleted)), (2, 0));
    assert_eq!(bench.store.alerts_queued().await.unwrap(), 0);
}

/// Reads a request, gives its head and its JSON.
async fn request(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> (String, Value) {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(reader.read_line(&mut head).await.unwrap(), 0, "{head}");
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
    let mut body = vec![0; length];
    reader.read_exact(&mut body).await.unwrap();
    (head, serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn a_webhook_that_fails_and_hangs_gets_the_alert_in_the_end() {
    let bench = bench().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url: WebhookUrl = format!("http://{}/hook?token=t", listener.local_addr().unwrap()).parse().unwrap();
    let clock = Arc::new(FixedClock::at(NOW));
    let webhook = Webhook::new(url, None, Duration::from_millis(300)).unwrap();
    let kms = node(&bench, bench.store.clone(), &clock, Some(Arc::new(webhook))).await;
    let key = kms.create_key(&bench.operator, CreateKey::default()).await.unwrap().key.id;
    kms.schedule_key_deletion(&bench.operator, key.as_str(), 7).await.unwrap();

    let accept = async || -> TcpStream { listener.accept().await.unwrap().0 };
    let mut stream = accept().await;
    let (head, first) = request(&mut stream).await;
    assert!(head.starts_with("POST /hook?token=t HTTP/1.1\r\n") && head.contains("content-type: application/json\r\n"), "{head}");
    stream.write_all(b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    until("it failed", async || kms.alerts().failed == 1).await;

    clock.set(later(15));
    let mut hanging = accept().await;
    assert_eq!(request(&mut hanging).await.1, first);
    until("it was given up", async || kms.alerts().failed == 2).await;

    clock.set(later(15 + 30));
    let mut stream = accept().await;
    assert_eq!(request(&mut stream).await.1, first);
    stream.write_all(b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    until("it went elsewhere", async || kms.alerts().failed == 3).await;

    clock.set(later(15 + 30 + 60));
    let mut stream = accept().await;
    assert_eq!(request(&mut stream).await.1, first);
    stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    until("it was taken", async || kms.alerts().sent == 1).await;
    assert_eq!(bench.store.claim_alert(|last| SendingAttempt::next(last, NOW)).await.unwrap(), None);
    assert_eq!((&first["name"], &first["level"]), (&"Key:ScheduleKeyDeletion:Success".into(), &"WARN".into()));
    assert_eq!(first["content"]["keyId"], key.as_str());
}

#[tokio::test]
async fn a_webhook_is_trusted_by_its_certificate_alone() {
    let bench = bench().await;
    let leaf = bench.kms.leaf(&["localhost".to_owned()]).unwrap();
    let chain = leaf.chain.into_iter().map(CertificateDer::from).collect();
    let key = PrivateKeyDer::Pkcs8(leaf.key.expose().to_vec().into());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = builder.with_no_client_auth().with_single_cert(chain, key).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let file = bench.directory.path().join("ca.pem");
    let posted = async |host: &str, ca: &str| {
        std::fs::write(&file, ca).unwrap();
        let webhook =
            Webhook::new(format!("https://{host}:{port}/").parse().unwrap(), Some(&file), Duration::from_secs(20)).unwrap();
        let serve = async {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            request(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            stream.flush().await.unwrap();
        };
        tokio::join!(webhook.post(b"{}".to_vec()), serve).0
    };
    let other = certificates::ca_chain_pem(&certificates::new_authorities(NOW).unwrap());
    posted("localhost", &bench.kms.ca_chain_pem()).await.unwrap();
    // Another authority, and another name.
    assert_eq!(posted("localhost", &other).await.unwrap_err().kind(), Kind::Unavailable);
    assert_eq!(posted("127.0.0.1", &bench.kms.ca_chain_pem()).await.unwrap_err().kind(), Kind::Unavailable);
    std::fs::write(&file, "nothing").unwrap();
    let refused = Webhook::new("https://localhost/".parse().unwrap(), Some(&file), Duration::from_secs(1));
    assert!(refused.err().unwrap().message().contains("no PEM block"));
}

/// Whoever configures a webhook later is told of what still stands, and of nothing else.
#[tokio::test]
async fn what_was_raised_without_a_receiver_is_sent_when_there_is_one_if_it_stands() {
    let bench = bench().await;
    let end = bench.store.access().await.unwrap().client_keys[0].not_after;
    let clock = Arc::new(FixedClock::at(NOW));
    let kms = node(&bench, bench.store.clone(), &clock, None).await;
    let [waiting, saved] = [(); 2].map(|()| CreateKey::default());
    let waiting = kms.create_key(&bench.operator, waiting).await.unwrap().key.id;
    let saved = kms.create_key(&bench.operator, saved).await.unwrap().key.id;
    clock.set(Timestamp::from_unix(end.unix() - 80 * DAY));
    until("90 days are told", async || raised(&kms.alerts(), AlertEvent::ClientKeyExpiring) == 1).await;
    clock.set(Timestamp::from_unix(end.unix() - 20 * DAY));
    until("30 days are told", async || raised(&kms.alerts(), AlertEvent::ClientKeyExpiring) == 2).await;
    for key in [&waiting, &saved] {
        kms.schedule_key_deletion(&bench.operator, key.as_str(), 7).await.unwrap();
    }
    kms.cancel_key_deletion(&bench.operator, saved.as_str()).await.unwrap();
    kms.close().await;

    let receiver = Arc::new(Receiver::default());
    let kms = node(&bench, bench.store.clone(), &clock, Some(Arc::clone(&receiver) as _)).await;
    until("what stands was sent", async || receiver.events().len() == 2 && kms.alerts().sent == 2).await;
    {
        let taken = receiver.taken.lock().unwrap();
        let client_key = taken.iter().find(|alert| alert.event == AlertEvent::ClientKeyExpiring).unwrap();
        assert_eq!(client_key.content["daysBefore"], "30");
        let scheduled = taken.iter().find(|alert| alert.event == AlertEvent::KeyDeletionScheduled).unwrap();
        assert_eq!(scheduled.content["keyId"], waiting.as_str());
    }
    // Neither is sent by a restart again.
    kms.close().await;
    clock.set(Timestamp::from_unix(end.unix() - 19 * DAY));
    let kms = node(&bench, bench.store.clone(), &clock, Some(Arc::clone(&receiver) as _)).await;
    kms.schedule_key_deletion(&bench.operator, saved.as_str(), 7).await.unwrap();
    until("the next was sent", async || receiver.events().len() == 3).await;
    assert_eq!(receiver.events()[2], AlertEvent::KeyDeletionScheduled);
}

/// Whichever node reaches it, and however often.
#[tokio::test]
async fn a_limit_that_is_nearly_used_up_is_told_of_once_an_hour() {
    let bench = bench().await;
    let clock = Arc::new(FixedClock::at(NOW));
    let receiver = Arc::new(Receiver::default());
    let limit = std::num::NonZeroU32::new(10).unwrap();
    let of = |endpoint: &InstanceId| -> Vec<_> {
        let taken = receiver.taken.lock().unwrap();
        taken.iter().filter(|alert| alert.content["endpoint"] == endpoint.as_str()).map(|alert| alert.event).collect()
    };
    for (requests, seconds, expected) in [(6, 0, 0), (8, 0, 1), (9, 0, 2), (10, 0, 2), (10, 3600, 4)] {
        clock.set(later(seconds));
        let parts = parts(bench.store.clone(), &bench.instance, Arc::clone(&clock), Arc::new(SoftwareTier::new()));
        let kms = Kms::start(Parts { alerts: Some(Arc::clone(&receiver) as _), ..parts }).await.unwrap();
        let rate = kms.rate_use(LimitedEndpoint::Instance(bench.instance.clone()), Group::Symmetric, limit);
        (0..requests).for_each(|_| rate.count(7));
        // Looked at after the other one: when it is told, that was.
        let marker = InstanceId::from_entropy(random::bytes());
        let last = kms.rate_use(LimitedEndpoint::Instance(marker.clone()), Group::Symmetric, limit);
        (0..10).for_each(|_| last.count(7));
        kms.spawn_background();
        until("it was told", async || of(&marker) == [AlertEvent::RateAt70, AlertEvent::RateAt90]).await;
        assert_eq!(of(&bench.instance).len(), expected, "{requests} requests after {seconds} s");
        kms.close().await;
    }
    let half = [AlertEvent::RateAt70, AlertEvent::RateAt90];
    assert_eq!(of(&bench.instance), [half, half].concat());
}
