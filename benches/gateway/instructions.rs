//! Instructions of the server for each request: what a noisy machine does not blur.
//!
//! Cachegrind counts those of a whole run. Two runs that differ in the number of requests alone give those of a request.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use keystead::wire::instance_protocol::EncryptRequest;
use tokio::runtime::Runtime;

use crate::client::Client;
use crate::installation::Installation;
use crate::load::{Connection, written};

/// What was counted last, with rustc 1.95 on x86-64, and a twentieth more: above that something got more expensive. Valgrind has no
/// instructions for SHA-256, so that the hash and the MAC of the audit record weigh more in it than they cost.
pub const RECORDED: f64 = 444_000.0 * 1.05;
/// Requests of the shorter run, and of the longer one.
const REQUESTS: [u32; 2] = [200, 1200];
/// A program under Cachegrind starts slowly.
const PATIENCE: Duration = Duration::from_secs(300);

/// Instructions for an Encrypt of 32 bytes by a software instance; `None` without Valgrind.
pub fn of_a_request(runtime: &Runtime) -> Option<f64> {
    Command::new("valgrind").arg("--version").stdout(Stdio::null()).status().ok().filter(|status| status.success())?;
    let installation = Installation::new();
    // The token would be counted, too, and differs from machine to machine.
    installation.configure(|text| {
        let (before, after) = text.split_once(&format!("[[instance]]\nid = \"{}\"", installation.hardware)).unwrap();
        let software = after.split_once("[[instance]]").unwrap().1;
        format!("{}[[instance]]{software}", before.replace(installation.hardware.as_str(), installation.software.as_str()))
    });
    let mut prepared = None;
    let [short, long] = REQUESTS.map(|requests| run(runtime, &installation, &mut prepared, requests));
    Some((long - short) / f64::from(REQUESTS[1] - REQUESTS[0]))
}

/// What both runs use: the client and its key.
struct Prepared {
    client: Client,
    key: String,
}

impl Prepared {
    fn on(installation: &Installation) -> Self {
        let key = installation.key("Aliyun_AES_256", "ENCRYPT/DECRYPT");
        Self { client: Client::of(installation, &installation.software, installation.folder.path()), key }
    }
}

fn run(runtime: &Runtime, installation: &Installation, prepared: &mut Option<Prepared>, requests: u32) -> f64 {
    let _ = std::fs::remove_file(installation.path("data/ready.json"));
    let serve = installation.command(&["--log", "info", "serve"]);
    let mut server = Command::new("valgrind")
        .args(["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"])
        .arg(format!("--log-file={}", installation.path("valgrind.txt").display()))
        .arg(serve.get_program())
        .args(serve.get_args())
        .env("KEYSTEAD_CONFIG", installation.path("keystead.toml"))
        .current_dir(installation.folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(installation.path("log.txt")).unwrap())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while !installation.path("data/ready.json").exists() {
        assert!(server.try_wait().unwrap().is_none() && begun.elapsed() < PATIENCE, "the server starts under Valgrind");
        std::thread::sleep(Duration::from_millis(50));
    }
    let Prepared { client, key } = prepared.get_or_insert_with(|| Prepared::on(installation));
    let endpoint = installation.endpoint(&installation.software);
    let encrypt = EncryptRequest { key_id: key.clone(), plaintext: vec![7; 32], ..EncryptRequest::default() };
    let request = written(&client.sign(&endpoint, "Encrypt", &encrypt));
    runtime.block_on(async {
        let mut connection = Connection::open(&endpoint, &client.tls(rustls::DEFAULT_VERSIONS)).await.unwrap();
        while connection.exchange(&request).await.unwrap() != 200 {
            assert!(begun.elapsed() < PATIENCE, "the client key is not known");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        for _ in 0..requests {
            connection.served(&request).await.unwrap();
        }
    });
    let pid = rustix::process::Pid::from_child(&server);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(server.wait().unwrap().success(), "the server ends well");
    let told = std::fs::read_to_string(installation.path("valgrind.txt")).unwrap();
    let line = told.lines().find(|line| line.contains("I refs:") || line.contains("I   refs:")).unwrap();
    line.rsplit(' ').next().unwrap().replace(',', "").parse().unwrap()
}
