//! A server on software tiers with a clock that can be put, a client that signs as the SDKs do and can be made to do it wrong.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{HeaderMap, Request};
use hyper_util::rt::{TokioExecutor, TokioIo};
use keystead::audit::{self, Author, Commit, Log, Position, WhenFull};
use keystead::base::log_lines::LogLines;
use keystead::base::{Clock, FixedClock, SecretBytes, SystemClock, Timestamp, random};
use keystead::model::access::{AuthenticationMethod, Permission, Scope};
use keystead::model::algorithm::{KeySpec, KeyUsage};
use keystead::model::instance::{DefaultInstances, InstanceKind};
use keystead::model::limits::{Group, Limits};
use keystead::model::operator::{AccessKeyInfo, AccessKeyState};
use keystead::model::proxies::Proxies;
use keystead::model::{AccessKeyId, InstanceId, KeyId, Name};
use keystead::server::{self, Listening, Settings};
use keystead::service::requests::{CreateAccessPoint, CreateClientKey, CreateKey, CreatePolicy, Operator, Reach};
use keystead::service::{Kms, Parts, ServedInstance, certificates};
use keystead::store::{AccessKey, Authorities, RootKey, Store};
use keystead::tier::Tier;
use keystead::tier::software::SoftwareTier;
use keystead::wire::instance_protocol::ErrorMessage;
use keystead::wire::{date, signing};
use p12_keystore::{KeyStore, Pkcs12ImportPolicy};
use prost::Message;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_rustls::TlsConnector;

const SECRET: &str = "testsecret";

pub struct Bench {
    pub kms: Arc<Kms>,
    pub audit: Arc<Log>,
    pub store: Store,
    pub clock: Arc<FixedClock>,
    pub instance: InstanceId,
    pub other: InstanceId,
    pub address: SocketAddr,
    pub other_address: SocketAddr,
    pub shared: SocketAddr,
    pub sts: SocketAddr,
    pub telemetry: SocketAddr,
    pub operator: Operator,
    /// What operators sign with.
    pub secret: String,
    pub aes: KeyId,
    pub rsa_encrypt: KeyId,
    pub rsa_sign: KeyId,
    pub client: Client,
    roots: RootCertStore,
    stop: Option<oneshot::Sender<()>>,
    running: Option<tokio::task::JoinHandle<()>>,
    pub directory: tempfile::TempDir,
}

/// A client key with its private half.
pub struct Client {
    pub id: String,
    key: KeyPair,
}

pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// The code of a failure of the instance protocol, and its text.
    pub fn error(&self) -> (u16, String, String) {
        let error = ErrorMessage::decode(self.body.as_ref()).expect("the body is an Error");
        assert_eq!(i32::from(self.status), error.status_code);
        assert!(!error.request_id.is_empty());
        (self.status, error.error_code, error.error_message)
    }

    #[track_caller]
    pub fn expect_error(&self, status: u16, code: &str) -> String {
        let (is_status, is_code, message) = self.error();
        assert_eq!((is_status, is_code.as_str()), (status, code), "{message}");
        message
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }

    pub fn message<M: Message + Default>(&self) -> M {
        if self.status != 200 {
            panic!("{:?}", self.error());
        }
        M::decode(self.body.as_ref()).expect("the body is the message")
    }
}

/// A request of the instance protocol, to be changed before or after it is signed.
#[derive(Clone)]
pub struct Call {
    pub method: &'static str,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Call {
    pub fn set(mut self, name: &str, value: &str) -> Self {
        match self.headers.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => value.clone_into(known),
            None => self.headers.push((name.to_owned(), value.to_owned())),
        }
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self
    }

    pub fn again(mut self, name: &str) -> Self {
        let value = self.value(name).to_owned();
        self.headers.push((name.to_owned(), value));
        self
    }

    fn value(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// Signs what is there now.
    pub fn sign(self, client: &Client) -> Self {
        let mut kms: Vec<(&str, &str)> = self
            .headers
            .iter()
            .filter(|(name, _)| name.starts_with("x-kms-"))
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let text = signing::instance_string_to_sign(
            self.method,
            self.value("content-sha256"),
            self.value("content-type"),
            self.value("date"),
            &mut kms,
        );
        let mut signature = vec![0; 256];
        client.key.sign(&RSA_PKCS1_SHA256, &aws_lc_rs::rand::SystemRandom::new(), text.as_bytes(), &mut signature).unwrap();
        self.set("authorization", &format!("Bearer {}", STANDARD.encode(signature)))
    }
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub async fn bench() -> Bench {
    bench_of(KINDS).await
}

/// The same on given tiers, of which the first makes keys.
pub async fn bench_on(tiers: [Arc<dyn Tier>; 2]) -> Bench {
    bench_with(KINDS, tiers, Proxies::None, [(); 3].map(|()| Limits::default()), None).await
}

/// The same with instances that are said to be of these kinds, whatever holds their keys. The first of each kind is a default one.
pub async fn bench_of(kinds: [InstanceKind; 2]) -> Bench {
    bench_with(kinds, software(), Proxies::None, [(); 3].map(|()| Limits::default()), None).await
}

const KINDS: [InstanceKind; 2] = [InstanceKind::Software; 2];

fn software() -> [Arc<dyn Tier>; 2] {
    [(); 2].map(|()| Arc::new(SoftwareTier::new()) as Arc<dyn Tier>)
}

/// The same as if an earlier version of Keystead had made its keys, which bound ciphertexts to less than their contexts, and that was
/// replaced in [`UPGRADE`] from now; such ciphertexts are opened until then.
pub async fn bench_unbound_until(until: Duration) -> Bench {
    bench_with(KINDS, software(), Proxies::None, [(); 3].map(|()| Limits::default()), Some(until)).await
}

/// See [`bench_unbound_until`].
pub const UPGRADE: Duration = Duration::from_secs(3600);

/// The same with something before all its listeners.
pub async fn bench_behind(proxies: Proxies) -> Bench {
    bench_with(KINDS, software(), proxies, [(); 3].map(|()| Limits::default()), None).await
}

/// The same with limits at the first instance's endpoint, at the shared gateway, and at the Security Token Service.
pub async fn bench_limited(limits: [Limits; 3]) -> Bench {
    bench_with(KINDS, software(), Proxies::None, limits, None).await
}

async fn bench_with(
    kinds: [InstanceKind; 2],
    tiers: [Arc<dyn Tier>; 2],
    proxies: Proxies,
    [at_instance, at_shared, at_sts]: [Limits; 3],
    unbound_until: Option<Duration>,
) -> Bench {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::create(&directory.path().join("keystead.db"), &RootKey::generate()).await.unwrap();
    let clock = Arc::new(FixedClock::at(SystemClock.now()));
    let unbound_until = unbound_until.map(|until| clock.now().after(until));
    if unbound_until.is_some() {
        store.contexts_bound_since(clock.now().after(UPGRADE)).await.unwrap();
    }
    let authorities = certificates::new_authorities(clock.now()).unwrap();
    let roots = [&authorities.root_certificate].map(|der| CertificateDer::from(der.clone()));
    store
        .put_authorities(&Authorities {
            root_certificate: authorities.root_certificate,
            root_key: authorities.root_key,
            issuing_certificate: authorities.issuing_certificate,
            issuing_key: authorities.issuing_key,
        })
        .await
        .unwrap();
    let access_key = AccessKeyId::from_entropy(random::bytes());
    let secret = SecretBytes::new(SECRET.as_bytes().to_vec());
    let info =
        AccessKeyInfo { id: access_key.clone(), owner: name("administrator"), state: AccessKeyState::Active, created: clock.now() };
    let stored = AccessKey { info, secret };
    store.replace_administrator(&stored).await.unwrap();
    let [instance, other] = [(); 2].map(|()| InstanceId::from_entropy(random::bytes()));
    let of_kinds = || kinds.into_iter().zip([&instance, &other]);
    let mut defaults: Vec<_> = of_kinds().map(|(kind, id)| (kind, id.clone())).collect();
    defaults.dedup_by_key(|(kind, _)| *kind);
    let served = of_kinds().zip(["test", "other"]).zip(tiers).map(|(((kind, id), name), tier)| ServedInstance {
        id: id.clone(),
        name: name.to_owned(),
        kind,
        tier,
        key_quota: None,
        qps: at_instance.get(Group::Symmetric),
        unbound_until,
    });
    let kms = Kms::start(Parts {
        store: store.clone(),
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        instances: served.collect(),
        default_instances: DefaultInstances::new(defaults).unwrap(),
        pairs: Arc::new(SoftwareTier::new()),
        alerts: None,
    })
    .await
    .unwrap();

    let audit = Log::open(audit::Settings {
        folder: directory.path().join("audit"),
        author: Author::Server,
        key: SecretBytes::new(vec![7; 32]),
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        commit: Commit::Buffered,
        when_full: WhenFull::Refuse,
        retention: Duration::from_secs(180 * 86_400),
        segment: audit::SEGMENT,
        remembered: Position::default(),
    })
    .unwrap();

    let local = "127.0.0.1:0".parse().unwrap();
    let names = || vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let listening =
        async |limits| Listening { listener: server::bind(local).await.unwrap(), names: names(), proxies: proxies.clone(), limits };
    let settings = Settings {
        instances: vec![(instance.clone(), listening(at_instance).await), (other.clone(), listening(Limits::default()).await)],
        shared: listening(at_shared).await,
        sts: Some(listening(at_sts).await),
        telemetry: Some(server::bind(local).await.unwrap()),
        drain: Duration::from_secs(10),
        log: Some(Arc::new(LogLines::to(std::io::sink()).unwrap())),
    };
    let at = |listening: &Listening| listening.listener.local_addr().unwrap();
    let (address, other_address, shared) = (at(&settings.instances[0].1), at(&settings.instances[1].1), at(&settings.shared));
    let sts = at(settings.sts.as_ref().unwrap());
    let telemetry = settings.telemetry.as_ref().unwrap().local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn({
        let (kms, audit) = (Arc::clone(&kms), Arc::clone(&audit));
        async move { server::run(kms, audit, settings, async { drop(stopped.await) }).await.unwrap() }
    });

    let operator = Operator {
        access_key,
        session: None,
        source: "127.0.0.1".parse().unwrap(),
        reach: Reach::Everything,
        trace: Arc::default(),
    };
    let make = async |spec, usage| {
        let request = CreateKey { spec: Some(spec), usage: Some(usage), ..CreateKey::default() };
        kms.create_key(&operator, request).await.unwrap().key.id
    };
    let aes = make(KeySpec::Aes256, KeyUsage::EncryptDecrypt).await;
    let rsa_encrypt = make(KeySpec::Rsa2048, KeyUsage::EncryptDecrypt).await;
    let rsa_sign = make(KeySpec::Rsa2048, KeyUsage::SignVerify).await;
    let mut store_of_roots = RootCertStore::empty();
    for root in roots {
        store_of_roots.add(root).unwrap();
    }
    let mut bench = Bench {
        client: Client { id: String::new(), key: KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap() },
        kms,
        audit,
        store,
        clock,
        instance,
        other,
        address,
        other_address,
        shared,
        sts,
        telemetry,
        operator,
        secret: SECRET.to_owned(),
        aes,
        rsa_encrypt,
        rsa_sign,
        roots: store_of_roots,
        stop: Some(stop),
        running: Some(running),
        directory,
    };
    bench.access_point("everything", "key/*").await;
    bench.client = bench.client_key("everything", None).await;
    bench
}

impl Bench {
    pub async fn access_point(&self, called: &str, resource: &str) {
        let policy = CreatePolicy {
            name: name(called),
            scope: Scope::Instance(self.instance.clone()),
            permissions: vec![Permission::CryptoServiceKeyUser],
            resources: vec![resource.parse().unwrap()],
            rules: Vec::new(),
            rules_text: String::new(),
            description: String::new(),
        };
        self.kms.create_policy(&self.operator, policy).await.unwrap();
        let access_point = CreateAccessPoint {
            name: name(called),
            method: AuthenticationMethod::ClientKey,
            policies: vec![name(called)],
            description: String::new(),
        };
        self.kms.create_access_point(&self.operator, access_point).await.unwrap();
    }

    pub async fn client_key(&self, access_point: &str, validity: Option<(Timestamp, Timestamp)>) -> Client {
        let password = SecretBytes::new(b"Example-Pass1".to_vec());
        let request = CreateClientKey { access_point: name(access_point), password, validity };
        let created = self.kms.create_client_key(&self.operator, request).await.unwrap();
        let keystore = KeyStore::from_pkcs12(created.private_key.expose(), "Example-Pass1", Pkcs12ImportPolicy::Strict).unwrap();
        let (_, chain) = keystore.private_key_chain().unwrap();
        Client { id: created.client_key.id.to_string(), key: KeyPair::from_pkcs8(chain.key().as_der()).unwrap() }
    }

    /// A request as the SDKs make it, not signed yet.
    pub fn call(&self, operation: &str, message: &impl Message) -> Call {
        self.call_with(operation, message.encode_to_vec())
    }

    pub fn call_with(&self, operation: &str, body: Vec<u8>) -> Call {
        let headers = [
            ("accept", "application/x-protobuf"),
            ("date", &date::to_http(self.clock.now())),
            ("x-kms-apiversion", "dkms-gcs-0.2"),
            ("x-kms-apiname", operation),
            ("x-kms-signaturemethod", "RSA_PKCS1_SHA_256"),
            ("x-kms-acccesskeyid", &self.client.id),
            ("content-type", "application/x-protobuf"),
            ("content-sha256", &signing::sha256_hex(&body).to_uppercase()),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        Call { method: "POST", headers, body }
    }

    /// Signs and sends it to the instance.
    pub async fn ask(&self, operation: &str, message: &impl Message) -> Answer {
        self.send(self.call(operation, message).sign(&self.client)).await
    }

    pub async fn send(&self, call: Call) -> Answer {
        self.send_to(self.address, "/", call).await
    }

    pub async fn send_to(&self, address: SocketAddr, path: &str, call: Call) -> Answer {
        self.send_request(address, request(address, path, call)).await
    }

    pub async fn send_request(&self, address: SocketAddr, request: Request<Full<Bytes>>) -> Answer {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(self.tls(address, b"http/1.1").await).await.unwrap();
        let connection = tokio::spawn(connection);
        let answer = answer_of(sender.send_request(request).await.unwrap()).await;
        connection.abort();
        answer
    }

    pub async fn tls(&self, address: SocketAddr, protocol: &[u8]) -> TokioIo<tokio_rustls::client::TlsStream<TcpStream>> {
        let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
        TokioIo::new(self.tls_of(address, protocol, &versions).await.unwrap())
    }

    pub async fn tls_of(
        &self,
        address: SocketAddr,
        protocol: &[u8],
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        let stream = TcpStream::connect(address).await?;
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
    }

    /// One request over a connection that begins with `first`, before TLS; nothing when the server ends it.
    pub async fn send_after(&self, first: &[u8], address: SocketAddr, path: &str, call: Call) -> Option<Answer> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(first).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        let answer = answer_of(sender.send_request(request(address, path, call)).await.unwrap()).await;
        connection.abort();
        Some(answer)
    }

    /// One connection of HTTP/2.
    pub async fn http2(&self, address: SocketAddr) -> hyper::client::conn::http2::SendRequest<Full<Bytes>> {
        let stream = self.tls(address, b"h2").await;
        let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    /// Tells the server to end and waits until it has.
    pub async fn end(&mut self) {
        self.begin_end();
        self.running.take().unwrap().await.unwrap();
    }

    pub fn begin_end(&mut self) {
        drop(self.stop.take());
    }
}

pub fn request(address: SocketAddr, path: &str, call: Call) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(call.method).uri(format!("https://{address}{path}"));
    if !call.headers.iter().any(|(name, _)| name == "host") {
        request = request.header("host", address.to_string());
    }
    for (name, value) in &call.headers {
        request = request.header(name, value);
    }
    request.body(Full::new(Bytes::from(call.body))).unwrap()
}

pub async fn answer_of(response: hyper::Response<hyper::body::Incoming>) -> Answer {
    let (parts, body) = response.into_parts();
    Answer { status: parts.status.as_u16(), headers: parts.headers, body: body.collect().await.unwrap().to_bytes() }
}

/// A request without TLS, as a prober makes it: status and headers, then the body.
pub async fn get(address: SocketAddr, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}
