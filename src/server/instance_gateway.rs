//! An instance endpoint: the instance protocol over HTTPS, for one instance.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use hyper::body::Incoming;
use hyper::header::AUTHORIZATION;
use hyper::{Method, Request, Response};

use super::authenticate::instance::{self, Authenticated};
use super::body::{self, Body};
use super::instance_operations::{self, Answered};
use super::metrics::{Counted, Metrics};
use super::respond::{self, Failure, Refusal};
use crate::base::random;
use crate::model::InstanceId;
use crate::service::Kms;
use crate::service::requests::Caller;
use crate::wire::instance_protocol::{BODY_LIMIT, Operation};
use crate::wire::openapi::Format;

/// Answers the instance protocol for one instance.
pub(super) struct InstanceGateway {
    kms: Arc<Kms>,
    instance: InstanceId,
    /// Its name in the metrics.
    endpoint: Arc<str>,
    metrics: Arc<Metrics>,
}

/// What a request turned out to be, as far as it came.
#[derive(Default)]
struct Known {
    operation: Option<Operation>,
    caller: Option<String>,
}

impl InstanceGateway {
    pub(super) fn new(kms: Arc<Kms>, instance: InstanceId, metrics: Arc<Metrics>) -> Self {
        let endpoint = instance.as_str().into();
        Self { kms, instance, endpoint, metrics }
    }

    /// Answers one request, and writes its line in the log.
    pub(super) async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
        let begun = Instant::now();
        let request_id = request_id();
        let host = request.uri().host().map_or_else(|| self.instance.to_string(), str::to_owned);
        let openapi = is_openapi(&request);
        let mut known = Known::default();
        let result =
            if openapi { Err(Refusal::OpenApiHere.into()) } else { self.handle(request, peer, &request_id, &mut known).await };
        let took = begun.elapsed();
        let operation = known.operation.map_or("-", Operation::name);
        let code = result.as_ref().map_or_else(|failure| failure.code, |_| "OK");
        self.metrics.count(Counted { endpoint: Arc::clone(&self.endpoint), operation, code }, took);
        let (key, causes) = match &result {
            Ok(answered) => (answered.version.as_deref().unwrap_or("-"), ""),
            Err(failure) => ("-", failure.causes.as_str()),
        };
        tracing::info!(
            request_id, instance = %self.instance, operation, caller = known.caller.as_deref().unwrap_or("-"), source = %peer.ip(),
            key, code, causes, micros = took.as_micros() as u64, "request"
        );
        match result {
            Ok(Answered { body, version }) => respond::instance_success(body, version.as_deref()),
            Err(failure) if openapi => respond::openapi_failure(&failure, Format::Json, &request_id, &host),
            Err(failure) => respond::instance_failure(&failure, &request_id),
        }
    }

    async fn handle(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
        request_id: &str,
        known: &mut Known,
    ) -> Result<Answered, Failure> {
        if request.method() != Method::POST || request.uri().path() != "/" {
            return Err(Refusal::NotServed.into());
        }
        let (parts, body) = request.into_parts();
        let body = body::read(&parts.headers, body, BODY_LIMIT).await.map_err(|unread| Refusal::unread(unread, BODY_LIMIT))?;
        let Authenticated { operation, client_key, version } = instance::check(&self.kms, &parts, &body)?;
        known.operation = Some(operation);
        known.caller = Some(client_key.to_string());
        let caller = Caller { instance: self.instance.clone(), client_key, source: peer.ip() };
        instance_operations::serve(&self.kms, &caller, operation, version, &body, request_id).await
    }
}

/// A new request id: a UUID, version 4. Out of the process's DRBG, which costs no system call.
pub(super) fn request_id() -> String {
    uuid::Builder::from_random_bytes(random::bytes()).into_uuid().to_string()
}

/// A request that names an operation in the OpenAPI's ways, and none in the instance protocol's.
fn is_openapi(request: &Request<Incoming>) -> bool {
    let headers = request.headers();
    let acs = headers.get(AUTHORIZATION).is_some_and(|value| value.as_bytes().starts_with(b"ACS"));
    let action = request.uri().query().is_some_and(|query| query.split('&').any(|pair| pair.starts_with("Action=")));
    !headers.contains_key("x-kms-apiname") && (acs || action || headers.contains_key("x-acs-action"))
}
