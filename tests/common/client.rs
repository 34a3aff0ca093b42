//! A program with a client key: it signs requests of the instance protocol as the SDKs do.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keystead::base::{Clock, SystemClock};
use keystead::model::InstanceId;
use keystead::wire::{date, signing};
use p12_keystore::{KeyStore, Pkcs12ImportPolicy};
use prost::Message;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

use crate::installation::{Installation, text};

/// What quick creation handed out.
pub struct Client {
    pub id: String,
    key: KeyPair,
    roots: RootCertStore,
}

/// A request that is signed. It has a date and no nonce, so it may be sent as often as one likes for a quarter of an hour.
#[derive(Clone)]
pub struct Signed {
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl Client {
    /// Has an access point made for everything in the instance; the files are put into the folder.
    pub fn of(installation: &Installation, instance: &InstanceId, folder: &Path) -> Self {
        let out = folder.to_str().unwrap();
        let made = installation.run(&["quick-create", "--instance", instance.as_str(), "--name", "app", "--out", out]);
        assert!(made.status.success(), "{}", text(&made));
        Self::handed_out(folder, folder)
    }

    /// With the client key in a folder; the CA file is in another, or the same.
    pub fn handed_out(folder: &Path, trusted: &Path) -> Self {
        let named = |folder: &Path, end: &str| -> PathBuf {
            let mut files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
            files.find(|path| path.to_str().unwrap().ends_with(end)).unwrap()
        };
        let password = std::fs::read_to_string(named(folder, "_Password.txt")).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&std::fs::read(named(folder, ".json")).unwrap()).unwrap();
        let keystore = STANDARD.decode(json["PrivateKeyData"].as_str().unwrap()).unwrap();
        let keystore = KeyStore::from_pkcs12(&keystore, &password, Pkcs12ImportPolicy::Strict).unwrap();
        let (_, chain) = keystore.private_key_chain().unwrap();
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(named(trusted, ".pem")).unwrap() {
            roots.add(certificate.unwrap()).unwrap();
        }
        let key = KeyPair::from_pkcs8(chain.key().as_der()).unwrap();
        Self { id: json["KeyId"].as_str().unwrap().to_owned(), key, roots }
    }

    /// A signed request.
    pub fn sign(&self, endpoint: &str, operation: &str, message: &impl Message) -> Signed {
        let body = message.encode_to_vec();
        let date = date::to_http(SystemClock.now());
        let digest = signing::sha256_hex(&body).to_uppercase();
        let content = "application/x-protobuf";
        let kms = [
            ("x-kms-apiversion", "dkms-gcs-0.2"),
            ("x-kms-apiname", operation),
            ("x-kms-signaturemethod", "RSA_PKCS1_SHA_256"),
            ("x-kms-acccesskeyid", self.id.as_str()),
        ];
        let signed = signing::instance_string_to_sign("POST", &digest, content, &date, &mut kms.to_vec());
        let mut signature = vec![0; 256];
        let random = aws_lc_rs::rand::SystemRandom::new();
        self.key.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature).unwrap();
        let mut headers = vec![
            ("host", endpoint.to_owned()),
            ("accept", content.to_owned()),
            ("date", date),
            ("content-type", content.to_owned()),
            ("content-sha256", digest),
            ("authorization", format!("Bearer {}", STANDARD.encode(signature))),
        ];
        headers.extend(kms.map(|(name, value)| (name, value.to_owned())));
        Signed { headers, body }
    }

    /// TLS that trusts the CA file, and nothing else.
    pub fn tls(&self, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        Arc::new(config.with_root_certificates(self.roots.clone()).with_no_client_auth())
    }
}
