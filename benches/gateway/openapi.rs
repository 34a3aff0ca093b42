//! Requests of the OpenAPI, signed beforehand: each has a nonce of its own, so that it is sent once.

use keystead::base::{Clock, SecretBytes, SystemClock, random};
use keystead::wire::date;
use keystead::wire::openapi::VERSION;
use keystead::wire::signing::{Acs, AcsScheme, percent_encode, sha256_hex};

use crate::installation::Installation;

/// The AccessKey of an installation and where its shared gateway is.
pub struct OpenApi {
    pub endpoint: String,
    access_key: String,
    secret: SecretBytes,
}

impl OpenApi {
    /// That of the running server.
    pub fn of(installation: &Installation) -> Self {
        let file: serde_json::Value =
            serde_json::from_slice(&std::fs::read(installation.path("data/access_key.json")).unwrap()).unwrap();
        let text = |name: &str| file[name].as_str().unwrap().to_owned();
        Self {
            endpoint: installation.ready()["control"]["endpoint"].as_str().unwrap().to_owned(),
            access_key: text("AccessKeyId"),
            secret: SecretBytes::new(text("AccessKeySecret").into_bytes()),
        }
    }

    /// A request as it is sent: POST with the parameters in the query, signed by ACS3-HMAC-SHA256, as the SDKs do it.
    pub fn written(&self, operation: &str, parameters: &[(String, String)]) -> Box<[u8]> {
        let query: Vec<_> =
            parameters.iter().map(|(name, value)| format!("{}={}", percent_encode(name), percent_encode(value))).collect();
        let content_sha256 = sha256_hex(b"");
        let nonce = u128::from_be_bytes(random::bytes());
        let headers = [
            ("host", self.endpoint.clone()),
            ("x-acs-action", operation.to_owned()),
            ("x-acs-version", VERSION.to_owned()),
            ("x-acs-date", date::to_iso(SystemClock.now())),
            ("x-acs-signature-nonce", format!("{nonce:032x}")),
            ("x-acs-content-sha256", content_sha256.clone()),
        ]
        .map(|(name, value)| (name.to_owned(), value));
        let signed =
            Acs { scheme: AcsScheme::V3, method: "POST", query: parameters, headers: &headers, content_sha256: &content_sha256 };
        let authorization = signed.authorization(&self.access_key, &self.secret);
        let mut text = format!("POST /?{} HTTP/1.1\r\n", query.join("&"));
        for (name, value) in &headers {
            text += &format!("{name}: {value}\r\n");
        }
        text += &format!("authorization: {authorization}\r\ncontent-length: 0\r\n\r\n");
        text.into_bytes().into()
    }
}
