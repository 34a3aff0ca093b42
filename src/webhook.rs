//! Floor 2: posts to a URL: one request on a connection of its own, over HTTPS. Called by the assembly; it knows nothing of what it posts.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::base::{Error, Kind, Result, excerpt};

/// How long a post may take, from the name's look-up to the answer's status.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// Where to post. Shown without its path and query, which may hold a token.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookUrl {
    scheme: Scheme,
    host: String,
    port: u16,
    /// With the query.
    path: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scheme {
    /// On this machine only.
    Http,
    Https,
}

impl fmt::Display for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebhookUrl({self})")
    }
}

impl FromStr for WebhookUrl {
    type Err = Error;

    /// `https://host[:port]/path?query`; `http` for this machine only.
    fn from_str(text: &str) -> Result<Self> {
        let uri: Uri = text.parse().map_err(|_| Error::invalid("A webhook is a URL like https://alerts.example.com/keystead."))?;
        let host = uri.host().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| Error::invalid("The URL of a webhook names no host."))?;
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(Error::invalid("The URL of a webhook has no user and no password."));
        }
        let scheme = match uri.scheme_str() {
            Some("https") => Scheme::Https,
            Some("http") if is_this_machine(host) => Scheme::Http,
            Some("http") => {
                return Err(Error::invalid(format!(
                    "A webhook on another machine is reached by https; {:?} is named with http.",
                    excerpt(host)
                )));
            }
            Some(_) | None => return Err(Error::invalid("The URL of a webhook begins with https://.")),
        };
        let port = match (uri.port_u16(), scheme) {
            (Some(port), _) if port > 0 => port,
            (None, Scheme::Http) if names_no_port(&uri) => 80,
            (None, Scheme::Https) if names_no_port(&uri) => 443,
            (Some(_) | None, _) => return Err(Error::invalid("The URL of a webhook has a port between 1 and 65535, or none.")),
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok(Self { scheme, host: host.to_owned(), port, path })
    }
}

/// A port that is no number of 16 bits is none to `Uri`, too.
fn names_no_port(uri: &Uri) -> bool {
    uri.authority().is_some_and(|authority| authority.as_str() == authority.host())
}

fn is_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Posts to one URL.
pub struct Webhook {
    url: WebhookUrl,
    tls: TlsConnector,
    timeout: Duration,
}

impl Webhook {
    /// Trusts the certificates of `ca_file`, or without it those that the system trusts.
    ///
    /// # Errors
    /// [`Kind::InvalidParameter`]: the file cannot be read or holds no certificate, or the system trusts none.
    pub fn new(url: WebhookUrl, ca_file: Option<&Path>, timeout: Duration) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        match (ca_file, url.scheme) {
            (Some(path), _) => trust_file(&mut roots, path)?,
            (None, Scheme::Http) => {}
            (None, Scheme::Https) => trust_system(&mut roots)?,
        }
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(Error::internal)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { url, tls: TlsConnector::from(Arc::new(config)), timeout })
    }

    /// Where it posts.
    pub fn url(&self) -> &WebhookUrl {
        &self.url
    }

    /// Posts JSON.
    ///
    /// # Errors
    /// [`Kind::Unavailable`], with one line: it was not answered in time, or with another status than 2xx.
    pub async fn post(&self, json: Vec<u8>) -> Result<()> {
        let failed = |why: String| Error::new(Kind::Unavailable, format!("{} {why}.", self.url));
        match tokio::time::timeout(self.timeout, self.exchange(json)).await {
            Ok(Ok(status)) if status.is_success() => Ok(()),
            // A redirection is an answer like others: what follows it may be somebody else.
            Ok(Ok(status)) => Err(failed(format!("answers {status}"))),
            Ok(Err(error)) => Err(failed("cannot be reached".to_owned()).caused_by(error)),
            Err(_) => Err(failed(format!("does not answer within {:?}", self.timeout))),
        }
    }

    async fn exchange(&self, json: Vec<u8>) -> std::result::Result<hyper::StatusCode, Box<dyn std::error::Error + Send + Sync>> {
        let bare = self.url.host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((bare, self.url.port)).await?;
        match self.url.scheme {
            Scheme::Http => self.send(stream, json).await,
            Scheme::Https => {
                let name = ServerName::try_from(bare.to_owned())?;
                self.send(self.tls.connect(name, stream).await?, json).await
            }
        }
    }

    async fn send(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        json: Vec<u8>,
    ) -> std::result::Result<hyper::StatusCode, Box<dyn std::error::Error + Send + Sync>> {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // Ends with the answer, or with this future when it takes too long.
        let mut connections = tokio::task::JoinSet::new();
        connections.spawn(connection);
        let request = Request::post(&self.url.path)
            .header(HOST, format!("{}:{}", self.url.host, self.url.port))
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header(USER_AGENT, concat!("keystead/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(Bytes::from(json)))?;
        Ok(sender.send_request(request).await?.status())
    }
}

fn trust_file(roots: &mut RootCertStore, path: &Path) -> Result<()> {
    let refused = |why: String| Error::invalid(format!("The certificates {} {why}.", path.display()));
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| refused(format!("cannot be read: {error}")))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| refused(format!("cannot be read: {error}")))?;
        roots.add(certificate).map_err(|error| refused(format!("cannot be trusted: {error}")))?;
    }
    if roots.is_empty() { Err(refused("are none: the file has no PEM block CERTIFICATE".to_owned())) } else { Ok(()) }
}

fn trust_system(roots: &mut RootCertStore) -> Result<()> {
    let found = rustls_native_certs::load_native_certs();
    let (taken, _) = roots.add_parsable_certificates(found.certs);
    if taken == 0 {
        return Err(Error::invalid("The system trusts no certificates; name those of the webhook by ca_file."));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_https_or_of_this_machine_and_shown_without_its_token() {
        for (text, shown) in [
            ("https://alerts.example.com", "https://alerts.example.com:443"),
            ("https://alerts.example.com:8443/a?access_token=secret", "https://alerts.example.com:8443"),
            ("http://localhost:9000/hook", "http://localhost:9000"),
            ("http://127.0.0.1/", "http://127.0.0.1:80"),
            ("http://[::1]:1/", "http://[::1]:1"),
        ] {
            let url: WebhookUrl = text.parse().unwrap();
            assert_eq!((url.to_string(), format!("{url:?}")), (shown.to_owned(), format!("WebhookUrl({shown})")), "{text}");
        }
        for (text, said) in [
            ("", "is a URL"),
            ("alerts.example.com", "begins with https"),
            ("/hook", "no host"),
            ("ftp://alerts.example.com", "begins with https"),
            ("http://alerts.example.com", "another machine"),
            ("http://localhost.example.com", "another machine"),
            ("https://me:password@alerts.example.com", "no password"),
            ("https://alerts.example.com:65536/", "port between"),
            ("https://alerts.example.com:0/", "port between"),
            ("https://alerts.example.com:/", "port between"),
        ] {
            let error = text.parse::<WebhookUrl>().unwrap_err();
            assert!(error.message().contains(said), "{text}: {error}");
        }
    }
}
