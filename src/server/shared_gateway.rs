//! The shared gateway: the OpenAPI over HTTPS, for operators.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::http::request::Parts;
use hyper::{Method, Request, Response};

use super::authenticate::openapi::{Authenticated, Signed};
use super::body::{self, Body};
use super::instance_gateway::request_id;
use super::metrics::{Counted, Metrics};
use super::nonces::Nonces;
use super::openapi::Call;
use super::respond::{self, Failure, Refusal};
use crate::base::Result;
use crate::service::Kms;
use crate::wire::openapi::{Action, BODY_LIMIT, Format, Parameters};

/// Answers the OpenAPI.
pub(super) struct SharedGateway {
    kms: Arc<Kms>,
    metrics: Arc<Metrics>,
    /// Its name in the metrics.
    endpoint: Arc<str>,
    nonces: Nonces,
}

/// What a request turned out to be, as far as it came.
#[derive(Default)]
struct Known {
    action: Option<Action>,
    format: Format,
    caller: Option<String>,
}

impl SharedGateway {
    pub(super) fn new(kms: Arc<Kms>, metrics: Arc<Metrics>) -> Self {
        Self { kms, metrics, endpoint: "shared".into(), nonces: Nonces::default() }
    }

    /// Answers one request, and writes its line in the log.
    pub(super) async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
        let begun = Instant::now();
        let request_id = request_id();
        let host = request.headers().get("host").and_then(|host| host.to_str().ok()).unwrap_or("kms").to_owned();
        let mut known = Known::default();
        let result = self.handle(request, peer, &request_id, &mut known).await;
        let result = result.and_then(|json| respond::openapi_success(json, known.format));
        let took = begun.elapsed();
        let operation = known.action.map_or("-", Action::name);
        let code = result.as_ref().map_or_else(|failure| failure.code, |_| "OK");
        self.metrics.count(Counted { endpoint: Arc::clone(&self.endpoint), operation, code }, took);
        let causes = result.as_ref().err().map_or("", |failure| failure.causes.as_str());
        tracing::info!(
            request_id, operation, caller = known.caller.as_deref().unwrap_or("-"), source = %peer.ip(), code, causes,
            micros = took.as_micros() as u64, "request"
        );
        match result {
            Ok(response) => response,
            Err(failure) => respond::openapi_failure(&failure, known.format, &request_id, &host),
        }
    }

    async fn handle(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
        request_id: &str,
        known: &mut Known,
    ) -> Result<Vec<u8>, Failure> {
        if request.method() != Method::POST && request.method() != Method::GET {
            return Err(Refusal::Method.into());
        }
        // What is signed says `/`, whatever the path: another one was not signed.
        if request.uri().path() != "/" {
            return Err(Refusal::NotServed.into());
        }
        let (parts, body) = request.into_parts();
        let body = body::read(&parts.headers, body, BODY_LIMIT).await.map_err(|unread| Refusal::unread(unread, BODY_LIMIT))?;
        let query = Parameters::parse(parts.uri.query().unwrap_or_default().as_bytes())?;
        let all = query.clone().union(form(&parts, &body)?)?;
        known.format = Format::of(&all);
        let signed = Signed { request: &parts, query: &query, all: &all, body: &body, source: peer.ip() };
        let Authenticated { action, operator } = signed.check(&self.kms, &self.nonces)?;
        known.action = Some(action);
        known.caller = Some(operator.access_key.to_string());
        Call { kms: &self.kms, operator: &operator, parameters: &all, request_id }.answer(action).await
    }
}

/// The parameters of a form body.
fn form(parts: &Parts, body: &Bytes) -> Result<Parameters> {
    let form =
        parts.headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/x-www-form-urlencoded"));
    if form { Parameters::parse(body) } else { Ok(Parameters::default()) }
}
