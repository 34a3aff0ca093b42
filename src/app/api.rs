//! `keystead api`: one operation of the OpenAPI or of the Security Token Service, signed, sent, printed.

use std::path::Path;
use std::sync::Arc;

use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use uuid::Uuid;

use super::Api;
use super::files::Files;
use super::running::Ready;
use crate::app::output::say;
use crate::base::{Clock, Error, Kind, Result, SecretBytes, SystemClock};
use crate::config::Config;
use crate::wire::openapi::VERSION;
use crate::wire::signing::{Acs, AcsScheme, percent_encode, sha256_hex};
use crate::wire::{date, sts};

/// Calls the operation and prints its answer; the exit code says whether it succeeded.
pub(super) async fn run(config: &Path, api: Api) -> Result<i32> {
    let parameters = parameters(&api.parameters)?;
    let service = Service::of(&api.operation);
    let complete = (api.endpoint.is_some(), api.ca_file.is_some(), api.access_key_file.is_some()) == (true, true, true);
    let config = if complete { None } else { Some(Config::load(config)?) };
    let files = config.as_ref().map(Files::of);
    let file = |named: Option<_>, usual: fn(&Files<'_>) -> _| named.or_else(|| files.as_ref().map(usual)).unwrap_or_default();
    let key = access_key(&file(api.access_key_file, |files| files.access_key()))?;
    let trusted = trusted(&file(api.ca_file, |files| files.ca()))?;
    let endpoint = match (api.endpoint, &files) {
        (Some(endpoint), _) => endpoint,
        (None, Some(files)) => {
            let none = || unavailable("No server runs on this configuration; name an --endpoint.".to_owned());
            let ready = Ready::read(files)?.ok_or_else(none)?;
            service.endpoint(ready)?
        }
        (None, None) => String::new(),
    };
    let (succeeded, json) = call(&endpoint, trusted, &key, (service, &api.operation), &parameters).await?;
    say!("{}", serde_json::to_string_pretty(&json).map_err(Error::internal)?);
    Ok(if succeeded { super::SUCCESS } else { super::FAILURE })
}

/// Which API an operation is of: no two have one of the same name.
#[derive(Clone, Copy)]
enum Service {
    Kms,
    Sts,
}

impl Service {
    fn of(operation: &str) -> Self {
        match operation.parse::<sts::Action>() {
            Ok(_) => Self::Sts,
            Err(()) if operation == sts::ASSUME_ROLE_WITH_OIDC => Self::Sts,
            Err(()) => Self::Kms,
        }
    }

    const fn version(self) -> &'static str {
        match self {
            Self::Kms => VERSION,
            Self::Sts => sts::VERSION,
        }
    }

    /// Where the running server serves it.
    fn endpoint(self, ready: Ready) -> Result<String> {
        let none = || {
            let how = "add [sts] with listen = \"127.0.0.1:9447\" to the configuration and restart it";
            unavailable(format!("The running server has no Security Token Service; {how}."))
        };
        match self {
            Self::Kms => Ok(ready.control.endpoint),
            Self::Sts => ready.sts.map(|at| at.endpoint).ok_or_else(none),
        }
    }
}

fn unavailable(text: String) -> Error {
    Error::new(Kind::Unavailable, text)
}

/// `--Name value` or `--Name=value`.
fn parameters(arguments: &[String]) -> Result<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let name =
            argument.strip_prefix("--").ok_or_else(|| Error::invalid(format!("{argument:?} is not of the form --Param value.")))?;
        let (name, value) = match name.split_once('=') {
            Some((name, value)) => (name, value),
            None => (name, rest.next().ok_or_else(|| Error::invalid(format!("--{name} has no value.")))?.as_str()),
        };
        pairs.push((name.to_owned(), from_file(value)?));
    }
    Ok(pairs)
}

/// `@FILE` is the content of the file, without the line end that editors leave; `@@` stands for one `@`.
fn from_file(value: &str) -> Result<String> {
    match value.strip_prefix('@') {
        None => Ok(value.to_owned()),
        Some(rest) if rest.starts_with('@') => Ok(rest.to_owned()),
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| unavailable(format!("{path} cannot be read: {error}.")))?;
            Ok(text.trim_end_matches(['\r', '\n']).to_owned())
        }
    }
}

struct AccessKey {
    id: String,
    secret: SecretBytes,
    /// Of a session.
    token: Option<String>,
}

/// An AccessKey by itself, or the answer of AssumeRole as it is.
fn access_key(path: &Path) -> Result<AccessKey> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct File {
        access_key_id: String,
        access_key_secret: String,
        security_token: Option<String>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Assumed {
        credentials: File,
    }
    let text =
        std::fs::read(path).map_err(|error| unavailable(format!("The AccessKey {} cannot be read: {error}.", path.display())))?;
    let text = SecretBytes::new(text);
    let assumed = || serde_json::from_slice(text.expose()).map(|assumed: Assumed| assumed.credentials);
    let file: File = serde_json::from_slice(text.expose()).or_else(|_| assumed()).map_err(|_| {
        let form = "{\"AccessKeyId\":..., \"AccessKeySecret\":...}, with \"SecurityToken\" for temporary credentials";
        unavailable(format!("{} is not {form}.", path.display()))
    })?;
    let secret = SecretBytes::new(file.access_key_secret.into_bytes());
    Ok(AccessKey { id: file.access_key_id, secret, token: file.security_token.filter(|token| !token.is_empty()) })
}

fn trusted(path: &Path) -> Result<RootCertStore> {
    let failed = |text: String| unavailable(format!("The CA file {} cannot be used: {text}.", path.display()));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| failed(error.to_string()))? {
        let certificate = certificate.map_err(|error| failed(error.to_string()))?;
        roots.add(certificate).map_err(|error| failed(error.to_string()))?;
    }
    if roots.is_empty() { Err(failed("it has no certificate".to_owned())) } else { Ok(roots) }
}

/// Sends one request on a connection of its own.
async fn call(
    endpoint: &str,
    roots: RootCertStore,
    key: &AccessKey,
    operation: (Service, &str),
    parameters: &[(String, String)],
) -> Result<(bool, serde_json::Value)> {
    let failed = |error: &dyn std::fmt::Display| unavailable(format!("{endpoint} cannot be called: {error}."));
    let host = endpoint.rsplit_once(':').map_or(endpoint, |(host, _)| host).trim_matches(['[', ']']);
    let name = ServerName::try_from(host.to_owned()).map_err(|error| failed(&error))?;
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(Error::internal)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(endpoint).await.map_err(|error| failed(&error))?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|error| failed(&error))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
    let connection = tokio::spawn(connection);
    let response = sender.send_request(request(endpoint, key, operation, parameters)?).await.map_err(|error| failed(&error))?;
    let succeeded = response.status().is_success();
    let body = response.into_body().collect().await.map_err(|error| failed(&error))?.to_bytes();
    connection.abort();
    let json = serde_json::from_slice(&body).map_err(|_| failed(&"it does not answer JSON"))?;
    Ok((succeeded, json))
}

/// A POST with the parameters in the query, signed by ACS3-HMAC-SHA256.
fn request(
    endpoint: &str,
    key: &AccessKey,
    (service, operation): (Service, &str),
    parameters: &[(String, String)],
) -> Result<Request<Empty<Bytes>>> {
    let query: Vec<_> =
        parameters.iter().map(|(name, value)| format!("{}={}", percent_encode(name), percent_encode(value))).collect();
    let content_sha256 = sha256_hex(b"");
    let token = key.token.as_ref().map(|token| ("x-acs-security-token", token.clone()));
    let headers: Vec<(String, String)> = [
        ("host", endpoint.to_owned()),
        ("x-acs-action", operation.to_owned()),
        ("x-acs-version", service.version().to_owned()),
        ("x-acs-date", date::to_iso(SystemClock.now())),
        ("x-acs-signature-nonce", Uuid::new_v4().simple().to_string()),
        ("x-acs-content-sha256", content_sha256.clone()),
    ]
    .into_iter()
    .chain(token)
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    let signed =
        Acs { scheme: AcsScheme::V3, method: "POST", query: parameters, headers: &headers, content_sha256: &content_sha256 };
    let mut request = Request::post(format!("/?{}", query.join("&")));
    for (name, value) in &headers {
        request = request.header(name, value);
    }
    request
        .header("authorization", signed.authorization(&key.id, &key.secret))
        .body(Empty::new())
        .map_err(|_| Error::invalid(format!("{operation:?} cannot be sent.")))
}
