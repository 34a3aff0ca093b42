//! The whole service, as its clients see it: signed HTTPS on loopback to `keystead serve` with SoftHSM, against the bare calls of the
//! same token. The client shares the machine's cores with the server.

#[path = "../../tests/common/client.rs"]
mod client;
#[path = "../harness/mod.rs"]
#[allow(dead_code, reason = "a part of it is used")]
mod harness;
#[path = "../../tests/common/installation.rs"]
#[allow(dead_code, reason = "a part of it is used")]
mod installation;
mod instructions;
mod load;
mod openapi;
mod server;
#[path = "../../tests/common/softhsm.rs"]
#[allow(dead_code, reason = "a part of it is used")]
mod softhsm;

use std::sync::Arc;
use std::time::{Duration, Instant};

use keystead::base::{Error, Pin};
use keystead::measure;
use keystead::tier::Tier;
use keystead::tier::pkcs11::bench::{Bench, Effort, Workload};
use keystead::tier::pkcs11::{Pkcs11Tier, Settings};
use keystead::wire::instance_protocol::{EncryptRequest, SignRequest};
use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};
use tokio::runtime::Runtime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use client::Client;
use harness::{Asked, Rows, Target};
use installation::Installation;
use load::{Connection, Sending};
use openapi::OpenApi;

/// What the design allows the server for a request, over the raw operation.
const CPU_US: f64 = 60.0;
/// More requests than this a second are not served on any two cores.
const MOST_PER_SECOND: usize = 60_000;
/// Connections that idle while the memory is looked at.
const IDLE: usize = 10_000;
const PATIENCE: Duration = Duration::from_secs(30);

struct Setting {
    runtime: Runtime,
    /// Its folder goes with it.
    _installation: Installation,
    server: installation::Server,
    endpoint: String,
    client: Client,
    encrypt: Arc<[u8]>,
    sign: Arc<[u8]>,
    openapi: OpenApi,
    /// The AES key, and the RSA key that signs.
    keys: [String; 2],
    rsa_version: String,
    bench: Bench,
    tier: Arc<Pkcs11Tier>,
}

fn main() {
    let asked = Asked::of_arguments();
    if asked == Asked::List {
        return;
    }
    let setting = set_up();
    let mut rows = Rows::new("signed HTTPS, SoftHSM");
    throughput(&setting, &mut rows, asked);
    memory(&setting, &mut rows, asked);
    let Setting { runtime, bench, tier, server, .. } = setting;
    runtime.block_on(bench.end()).unwrap();
    runtime.block_on(tier.close()).unwrap();
    assert!(server.end().0, "the server ends well");
    // Minutes under Valgrind; that they can be counted is seen when they are.
    if asked == Asked::Figures && asked.wants("server, instructions", None) {
        match instructions::of_a_request(&runtime) {
            Some(count) => rows.value("server, instructions per Encrypt", 1, count, "", Some(instructions::RECORDED)),
            None => println!("instructions are not counted: there is no valgrind"),
        }
    }
}

fn set_up() -> Setting {
    let installation = Installation::new();
    let server = installation.serve_logging_to("log.txt");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let aes = installation.key("Aliyun_AES_256", "ENCRYPT/DECRYPT");
    let rsa = installation.key("RSA_2048", "SIGN/VERIFY");
    let client = Client::of(&installation, &installation.hardware, installation.folder.path());
    let endpoint = installation.endpoint(&installation.hardware);
    let keys = [aes.clone(), rsa.clone()];
    let versions = installation.api(&["ListKeyVersions", "--KeyId", &rsa]).unwrap();
    let rsa_version = versions["KeyVersions"]["KeyVersion"][0]["KeyVersionId"].as_str().unwrap().to_owned();
    let openapi = OpenApi::of(&installation);
    let encrypt = EncryptRequest { key_id: aes, plaintext: vec![7; 32], ..EncryptRequest::default() };
    let sign = SignRequest {
        key_id: rsa,
        algorithm: "RSA_PKCS1_SHA_256".to_owned(),
        message: vec![7; 32],
        message_type: "RAW".to_owned(),
        ..SignRequest::default()
    };
    let encrypt = load::written(&client.sign(&endpoint, "Encrypt", &encrypt));
    let sign = load::written(&client.sign(&endpoint, "Sign", &sign));
    runtime.block_on(async {
        // The server reads of the new client key at its next look into the store.
        let mut first = Connection::open(&endpoint, &client.tls(rustls::DEFAULT_VERSIONS)).await.unwrap();
        let begun = Instant::now();
        while first.exchange(&encrypt).await.unwrap() != 200 {
            assert!(begun.elapsed() < PATIENCE, "the client key is not known");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let uri = softhsm::uri(&installation.token).parse().unwrap();
    let settings = Settings::new(softhsm::module(), uri, Pin::new(softhsm::PIN.to_owned()));
    let tier = Arc::new(runtime.block_on(Pkcs11Tier::connect(settings)).unwrap());
    let mut bench = Bench::new(Arc::clone(&tier));
    for workload in [Workload::AesGcm(32), Workload::Rsa2048] {
        runtime.block_on(bench.prepare(workload)).unwrap();
    }
    Setting {
        runtime,
        _installation: installation,
        server,
        endpoint,
        client,
        encrypt,
        sign,
        openapi,
        keys,
        rsa_version,
        bench,
        tier,
    }
}

/// What is sent, and where.
enum Requests<'a> {
    /// The instance protocol: a request has a date and no nonce.
    Instance(&'a Arc<[u8]>),
    /// The OpenAPI: an operation with its parameters.
    OpenApi(&'a OpenApi, &'static str, Vec<(String, String)>),
}

impl Requests<'_> {
    fn endpoint<'a>(&'a self, setting: &'a Setting) -> &'a str {
        match self {
            Self::Instance(_) => &setting.endpoint,
            Self::OpenApi(openapi, _, _) => &openapi.endpoint,
        }
    }

    /// Enough for each connection.
    fn signed(&self, connections: usize, length: Duration) -> Vec<Sending> {
        let each = || match self {
            Self::Instance(request) => Sending::Again(Arc::clone(request)),
            Self::OpenApi(openapi, operation, parameters) => {
                let most = (MOST_PER_SECOND as f64 * length.as_secs_f64()) as usize;
                // Connections are not served evenly.
                let each = (2 * most).div_ceil(connections).min(most) + 16;
                Sending::Once((0..each).map(|_| openapi.written(operation, parameters)).collect::<Vec<_>>().into_iter())
            }
        };
        (0..connections).map(|_| each()).collect()
    }
}

/// A row but for its number of connections.
struct Row<'a> {
    what: String,
    version: &'static SupportedProtocolVersion,
    requests: Requests<'a>,
    workload: Workload,
}

const AES: Workload = Workload::AesGcm(32);

/// What the design asks for with 64 connections.
fn target(workload: Workload, connections: usize) -> Option<Target> {
    match (workload, connections) {
        (AES, 64) => Some(Target::Ratio(0.25)),
        (_, 64) => Some(Target::Ratio(0.85)),
        (_, _) => None,
    }
}

fn throughput(setting: &Setting, rows: &mut Rows, asked: Asked) {
    let text = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let [aes, rsa] = &setting.keys;
    for (version, name) in [(&TLS13, "TLS 1.3"), (&TLS12, "TLS 1.2")] {
        let row = |workload, requests| Row { what: format!("{workload}, {name}"), version, requests, workload };
        let encrypt = row(AES, Requests::Instance(&setting.encrypt));
        for connections in [1, 8, 64, 256] {
            one(setting, rows, asked, &encrypt, connections);
        }
        let sign = row(Workload::Rsa2048, Requests::Instance(&setting.sign));
        for connections in [1, 64] {
            one(setting, rows, asked, &sign, connections);
        }
        let row = |workload, requests| Row { what: format!("OpenAPI: {workload}, {name}"), version, requests, workload };
        let parameters = vec![text("KeyId", aes), text("Plaintext", &STANDARD.encode([7; 32]))];
        let encrypt = row(AES, Requests::OpenApi(&setting.openapi, "Encrypt", parameters));
        for connections in [1, 8, 64, 256] {
            one(setting, rows, asked, &encrypt, connections);
        }
        let version_id = &setting.rsa_version;
        let parameters = vec![
            text("KeyId", rsa),
            text("KeyVersionId", version_id),
            text("Algorithm", "RSA_PKCS1_SHA_256"),
            text("Digest", &STANDARD.encode([7; 32])),
        ];
        let sign = row(Workload::Rsa2048, Requests::OpenApi(&setting.openapi, "AsymmetricSign", parameters));
        for connections in [1, 64] {
            one(setting, rows, asked, &sign, connections);
        }
    }
}

fn one(setting: &Setting, rows: &mut Rows, asked: Asked, row: &Row<'_>, connections: usize) {
    let Row { what, version, requests, workload } = row;
    let target = target(*workload, connections);
    if !asked.wants(what, target) {
        return;
    }
    let effort = match asked {
        Asked::Figures => Effort { pairs: 21, slice: Duration::from_millis(400) },
        Asked::Test | Asked::List => asked.effort(),
    };
    let config = setting.client.tls(&[version]);
    let endpoint = requests.endpoint(setting);
    let mut open = setting.runtime.block_on(load::connect(endpoint, &config, connections)).unwrap();
    let (mut cpu, mut served) = (Duration::ZERO, 0);
    let measured = measure::compare(
        effort.pairs,
        || setting.bench.raw(*workload, connections, effort.slice),
        || {
            let sending = requests.signed(connections, effort.slice);
            let before = server::cpu(setting.server.pid());
            let slice = setting.runtime.block_on(load::load(&mut open, sending, effort.slice)).map_err(Error::internal)?;
            cpu += server::cpu(setting.server.pid()) - before;
            served += slice.times.count();
            Ok::<_, Error>(slice)
        },
    )
    .unwrap();
    rows.compared(what, connections, measured, target);
    // What one raw operation costs one core, where nothing else competes.
    let alone = setting.bench.raw(*workload, 1, effort.slice).unwrap();
    let per_request = cpu.as_secs_f64() / served as f64 - 1.0 / alone.per_second();
    let most = if matches!((requests, *workload, connections), (Requests::Instance(_), AES, 64)) { Some(CPU_US) } else { None };
    rows.value(&format!("  server CPU over raw, {what}"), connections, per_request * 1e6, "µs", most);
}

fn memory(setting: &Setting, rows: &mut Rows, asked: Asked) {
    if !asked.wants("server, resident", None) {
        return;
    }
    let (idle, length) = match asked {
        Asked::Figures => (IDLE, Duration::from_secs(3)),
        Asked::Test | Asked::List => (100, Duration::from_millis(100)),
    };
    let pid = setting.server.pid();
    let config = setting.client.tls(rustls::DEFAULT_VERSIONS);
    rows.value("server, resident before", 0, server::resident(pid), "MiB", None);
    let mut busy = setting.runtime.block_on(load::connect(&setting.endpoint, &config, 256)).unwrap();
    setting.runtime.block_on(load::load(&mut busy, Requests::Instance(&setting.encrypt).signed(256, length), length)).unwrap();
    rows.value("server, resident, busy connections", 256, server::resident(pid), "MiB", None);
    drop(busy);
    // Each was used once, and is kept alive.
    let connected = setting.runtime.block_on(async {
        let mut connected = load::connect(&setting.endpoint, &config, idle).await?;
        for connection in &mut connected {
            connection.served(&setting.encrypt).await?;
        }
        Ok::<_, std::io::Error>(connected)
    });
    match connected {
        Ok(connected) => rows.value("server, resident, idle connections", connected.len(), server::resident(pid), "MiB", None),
        Err(error) => println!("{idle} connections cannot be had here: {error}"),
    }
}
