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

use client::Client;
use harness::{Asked, Rows, Target};
use installation::Installation;
use load::Connection;

/// What the design allows the server for a request, over the raw operation.
const CPU_US: f64 = 60.0;
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
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let aes = installation.key("Aliyun_AES_256", "ENCRYPT/DECRYPT");
    let rsa = installation.key("RSA_2048", "SIGN/VERIFY");
    let client = Client::of(&installation, &installation.hardware, installation.folder.path());
    let endpoint = installation.endpoint(&installation.hardware);
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
    Setting { runtime, _installation: installation, server, endpoint, client, encrypt, sign, bench, tier }
}

fn throughput(setting: &Setting, rows: &mut Rows, asked: Asked) {
    for (version, name) in [(&TLS13, "TLS 1.3"), (&TLS12, "TLS 1.2")] {
        for connections in [1, 8, 64, 256] {
            let target = if connections == 64 { Some(Target::Ratio(0.25)) } else { None };
            let row = (&setting.encrypt, Workload::AesGcm(32), target);
            one(setting, rows, asked, (version, name), connections, row);
        }
        for connections in [1, 64] {
            let target = if connections == 64 { Some(Target::Ratio(0.85)) } else { None };
            one(setting, rows, asked, (version, name), connections, (&setting.sign, Workload::Rsa2048, target));
        }
    }
}

fn one(
    setting: &Setting,
    rows: &mut Rows,
    asked: Asked,
    (version, name): (&'static SupportedProtocolVersion, &str),
    connections: usize,
    (request, workload, target): (&Arc<[u8]>, Workload, Option<Target>),
) {
    let what = format!("{workload}, {name}");
    if !asked.wants(&what, target) {
        return;
    }
    let effort = match asked {
        Asked::Figures => Effort { pairs: 21, slice: Duration::from_millis(400) },
        Asked::Test | Asked::List => asked.effort(),
    };
    let config = setting.client.tls(&[version]);
    let mut open = setting.runtime.block_on(load::connect(&setting.endpoint, &config, connections)).unwrap();
    let (mut cpu, mut requests) = (Duration::ZERO, 0);
    let measured = measure::compare(
        effort.pairs,
        || setting.bench.raw(workload, connections, effort.slice),
        || {
            let before = server::cpu(setting.server.pid());
            let slice = setting.runtime.block_on(load::load(&mut open, request, effort.slice)).map_err(Error::internal)?;
            cpu += server::cpu(setting.server.pid()) - before;
            requests += slice.times.count();
            Ok::<_, Error>(slice)
        },
    )
    .unwrap();
    rows.compared(&what, connections, measured, target);
    // What one raw operation costs one core, where nothing else competes.
    let alone = setting.bench.raw(workload, 1, effort.slice).unwrap();
    let per_request = cpu.as_secs_f64() / requests as f64 - 1.0 / alone.per_second();
    let most = if matches!(workload, Workload::AesGcm(_)) && connections == 64 { Some(CPU_US) } else { None };
    rows.value(&format!("  server CPU over raw, {name}"), connections, per_request * 1e6, "µs", most);
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
    setting.runtime.block_on(load::load(&mut busy, &setting.encrypt, length)).unwrap();
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
