//! Installations that earlier releases made (`make.py` says how) are upgraded by this one: `serve` opens the database, the tokens and
//! the audit log as they were left, client keys and AccessKeys still work, and each ciphertext and signature of `expected.json` is
//! answered as it was.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use keystead::model::InstanceId;
use keystead::wire::instance_protocol::{
    AdvanceDecryptRequest, AdvanceDecryptResponse, DecryptRequest, DecryptResponse, ErrorMessage,
};
use prost::Message;
use rustls::pki_types::ServerName;
use serde_json::{Map, Value};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::client::{Client, Signed};
use crate::installation::{Installation, text};
use crate::softhsm;

/// A copy of a seed, ready to be served.
struct Upgraded {
    installation: Installation,
    refused: InstanceId,
    calls: Vec<Value>,
}

impl Upgraded {
    fn of(seed: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy(seed, folder.path());
        let configuration = folder.path().join("keystead.toml");
        let configured = std::fs::read_to_string(&configuration).unwrap();
        std::fs::write(configuration, configured.replace("@MODULE@", softhsm::module().to_str().unwrap())).unwrap();
        let tokens = folder.path().join("tokens");
        let softhsm = format!("directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n", tokens.display());
        std::fs::write(folder.path().join("softhsm2.conf"), softhsm).unwrap();
        let mut expected: Value = serde_json::from_slice(&std::fs::read(seed.join("expected.json")).unwrap()).unwrap();
        let Value::Array(calls) = expected["calls"].take() else { panic!("no calls") };
        let instance = |kind: &str| expected["instances"][kind].as_str().unwrap().parse().unwrap();
        let (hardware, software, refused) = (instance("hardware"), instance("software"), instance("refused"));
        let installation = Installation { folder, hardware, software, token: "seed".to_owned() };
        Self { installation, refused, calls }
    }

    fn softhsm(&self) -> (&'static str, PathBuf) {
        ("SOFTHSM2_CONF", self.installation.path("softhsm2.conf"))
    }

    /// Makes every call of one door, and gives how many those were.
    fn calls(&self, door: &str, call: impl Fn(&str, &str, &Value) -> Value) -> usize {
        let of_door: Vec<_> = self.calls.iter().filter(|call| call["door"] == door).collect();
        for expected in &of_door {
            let (instance, operation) = (expected["instance"].as_str().unwrap(), expected["operation"].as_str().unwrap());
            let answer = call(instance, operation, &expected["parameters"]);
            assert!(holds(&answer, &expected["answer"]), "{expected:#}\nis answered by\n{answer:#}");
        }
        of_door.len()
    }

    /// A ciphertext of the OpenAPI without a context, and what it was made of.
    fn unbound(&self, instance: &InstanceId) -> (&str, &str) {
        let of_it = |call: &&Value| {
            let is_decrypt = call["door"] == "OpenAPI" && call["operation"] == "Decrypt" && call["instance"] == instance.as_str();
            is_decrypt && call["parameters"]["EncryptionContext"].is_null()
        };
        let call = self.calls.iter().find(of_it).unwrap();
        (call["parameters"]["CiphertextBlob"].as_str().unwrap(), call["answer"]["Plaintext"].as_str().unwrap())
    }

    fn over_the_openapi(&self, operation: &str, parameters: &Value) -> Value {
        let mut arguments = vec![operation.to_owned()];
        for (name, value) in parameters.as_object().unwrap() {
            arguments.extend([format!("--{name}"), value.as_str().unwrap().to_owned()]);
        }
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        self.installation.api(&arguments).unwrap_or_else(|refused| panic!("{arguments:?}: {refused:#}"))
    }

    async fn over_the_instance_protocol(&self, instance: &str, operation: &str, parameters: &Value) -> Value {
        let folder = self.installation.path(&format!("client-{}", &instance[4..5]));
        let client = Client::handed_out(&folder, &folder);
        let endpoint = self.installation.endpoint(&instance.parse().unwrap());
        let octets = |name: &str| parameters[name].as_str().map(|text| STANDARD.decode(text).unwrap()).unwrap_or_default();
        let word = |name: &str| parameters[name].as_str().unwrap_or_default().to_owned();
        let plaintext = match operation {
            "Decrypt" => {
                let request = DecryptRequest {
                    ciphertext_blob: octets("CiphertextBlob"),
                    key_id: word("KeyId"),
                    algorithm: word("Algorithm"),
                    aad: octets("Aad"),
                    iv: octets("Iv"),
                    padding_mode: word("PaddingMode"),
                };
                send::<DecryptResponse>(&client, &endpoint, client.sign(&endpoint, operation, &request)).await.plaintext
            }
            "AdvanceDecrypt" => {
                let request = AdvanceDecryptRequest {
                    ciphertext_blob: octets("CiphertextBlob"),
                    aad: octets("Aad"),
                    ..AdvanceDecryptRequest::default()
                };
                send::<AdvanceDecryptResponse>(&client, &endpoint, client.sign(&endpoint, operation, &request)).await.plaintext
            }
            other => panic!("no seed has {other}"),
        };
        Value::from(Map::from_iter([("Plaintext".to_owned(), Value::from(STANDARD.encode(plaintext)))]))
    }
}

/// Copies a folder. Git keeps no permissions, and the program refuses secrets that others can read.
fn copy(from: &Path, to: &Path) {
    use std::os::unix::fs::PermissionsExt;
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap().path();
        let target = to.join(entry.file_name().unwrap());
        if entry.is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy(&entry, &target);
        } else {
            std::fs::copy(&entry, &target).unwrap();
            std::fs::set_permissions(&target, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
}

/// Whether an answer has everything that is expected; it may have more.
fn holds(answer: &Value, expected: &Value) -> bool {
    match expected {
        Value::Object(fields) => fields.iter().all(|(name, value)| holds(&answer[name], value)),
        Value::Array(items) => {
            let answered = answer.as_array().map(Vec::as_slice).unwrap_or_default();
            answered.len() == items.len() && answered.iter().zip(items).all(|(answer, item)| holds(answer, item))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => answer == expected,
    }
}

/// Sends a request, and reads a success.
async fn send<M: Message + Default>(client: &Client, endpoint: &str, signed: Signed) -> M {
    let stream = TcpStream::connect(endpoint).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(client.tls(rustls::DEFAULT_VERSIONS)).connect(name, stream).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = signed.headers.iter().fold(Request::post("/"), |request, (name, value)| request.header(*name, value));
    let response = sender.send_request(request.body(Full::new(Bytes::from(signed.body))).unwrap()).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(status.is_success(), "{status}: {:?}", ErrorMessage::decode(body).map(|error| error.error_code));
    M::decode(body).unwrap()
}

fn seeds() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/seeds/installations");
    let mut seeds: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    seeds.sort();
    assert!(!seeds.is_empty());
    seeds
}

/// A call for each of the ciphertexts and signatures, by the door that it came from.
#[test]
fn what_an_earlier_release_made_is_opened() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for seed in seeds() {
        println!("{}", seed.display());
        let upgraded = Upgraded::of(&seed);
        let server = upgraded.installation.serve_in([upgraded.softhsm()]);
        let made = upgraded.calls("OpenAPI", |_, operation, parameters| upgraded.over_the_openapi(operation, parameters));
        let spoken = upgraded.calls("Instance", |instance, operation, parameters| {
            runtime.block_on(upgraded.over_the_instance_protocol(instance, operation, parameters))
        });
        assert!(made > 0 && spoken > 0, "{made}, {spoken}");
        let (ended_well, log) = server.end();
        assert!(ended_well, "{log}");
    }
}

/// Releases before contexts were read in every form ignored those that came flattened: what they made of them is bound to nothing.
#[test]
fn what_an_earlier_release_bound_to_nothing_opens_when_the_operator_allows_it_and_not_before() {
    for seed in seeds() {
        let upgraded = Upgraded::of(&seed);
        let installation = &upgraded.installation;
        let unbound: Vec<_> = [&installation.hardware, &installation.software].map(|instance| upgraded.unbound(instance)).into();
        let open =
            |(blob, _): &(&str, &str)| installation.api(&["Decrypt", "--CiphertextBlob", blob, "--EncryptionContext.tenant", "a"]);
        let server = installation.serve_in([upgraded.softhsm()]);
        for sealed in unbound.iter().chain(&unbound) {
            assert_eq!(open(sealed).unwrap_err()["Code"], "InvalidParameter");
        }
        let (_, log) = server.end();
        assert_eq!(log.matches("unbound_until").count(), unbound.len(), "once for each instance: {log}");

        let path = installation.path("keystead.toml");
        let configured = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, configured.replace("[[instance]]\n", "[[instance]]\nunbound_until = 2999-01-01\n")).unwrap();
        let server = installation.serve_in([upgraded.softhsm()]);
        for sealed in &unbound {
            assert_eq!(open(sealed).unwrap()["Plaintext"], sealed.1);
        }
        assert!(server.end().0);
        let found = installation.run(&["audit", "search", "--operation", "Decrypt", "--code", "OK"]);
        assert_eq!(text(&found).matches(r#""context":"unbound""#).count(), unbound.len(), "{}", text(&found));
    }
}

/// The chain of records goes on where the earlier release left it.
#[test]
fn the_audit_log_of_an_earlier_release_goes_on() {
    for seed in seeds() {
        let upgraded = Upgraded::of(&seed);
        let server = upgraded.installation.serve_in([upgraded.softhsm()]);
        upgraded.installation.api(&["ListKeys"]).unwrap();
        assert!(server.end().0);
        let verified = upgraded.installation.run(&["audit", "verify"]);
        assert!(verified.status.success(), "{}", text(&verified));
        for operation in ["AsymmetricSign", "ListKeys"] {
            let found = upgraded.installation.run(&["audit", "search", "--operation", operation]);
            assert!(text(&found).contains(operation), "{}", text(&found));
        }
    }
}

/// A PIN that the token refused before the upgrade is not tried after it.
#[test]
fn a_pin_that_was_refused_before_the_upgrade_is_not_tried_again() {
    for seed in seeds() {
        let upgraded = Upgraded::of(&seed);
        let server = upgraded.installation.serve_in([upgraded.softhsm()]);
        let status = upgraded.installation.run(&["hsm", "status", "--json"]);
        let slots: Value = serde_json::from_slice(&status.stdout).unwrap_or_else(|_| panic!("{}", text(&status)));
        let instances = slots["instances"].as_array().unwrap();
        let refused = instances.iter().find(|instance| instance["instance_id"] == upgraded.refused.as_str()).unwrap();
        let slot = &refused["slots"][0];
        assert_eq!((slot["logins"].as_u64(), slot["logged_in"].as_bool()), (Some(0), Some(false)), "{slot:#}");
        assert!(slot["down"].is_string(), "{slot:#}");
        assert!(server.end().0);
    }
}
