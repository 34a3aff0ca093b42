//! An instance endpoint: the instance protocol over HTTPS, for one instance; what is of the OpenAPI goes to its gateway.

use std::net::SocketAddr;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response};

use super::authenticate::instance::{self, Authenticated};
use super::body::{self, Body};
use super::instance_operations::{self, Answered};
use super::limiter::Limiter;
use super::metrics::{Counted, Metrics};
use super::openapi_gateway::OpenApiGateway;
use super::recording::{Recording, Who};
use super::respond::{self, Failure, Refusal};
use crate::audit::Log;
use crate::base::random;
use crate::model::InstanceId;
use crate::service::Kms;
use crate::service::requests::Caller;
use crate::wire::instance_protocol::{BODY_LIMIT, Operation};

/// Answers the instance protocol for one instance.
pub(super) struct InstanceGateway {
    kms: Arc<Kms>,
    instance: InstanceId,
    openapi: OpenApiGateway,
    /// Its name in the metrics.
    endpoint: Arc<str>,
    audit: Arc<Log>,
    metrics: Arc<Metrics>,
    limiter: Option<Arc<Limiter>>,
}

impl InstanceGateway {
    pub(super) fn new(
        kms: Arc<Kms>,
        instance: InstanceId,
        openapi: OpenApiGateway,
        audit: Arc<Log>,
        metrics: Arc<Metrics>,
        limiter: Option<Arc<Limiter>>,
    ) -> Self {
        let endpoint = instance.as_str().into();
        Self { kms, instance, openapi, endpoint, audit, metrics, limiter }
    }

    /// Answers one request, and writes its record in the audit log and its line in the log.
    pub(super) async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
        if is_openapi(&request) {
            return self.openapi.answer(request, peer).await;
        }
        let mut recording = Recording::at_instance(&self.audit, &self.instance, peer.ip());
        let result = match recording.admit() {
            Ok(()) => self.handle(request, &mut recording, peer).await,
            Err(failure) => Err(failure),
        };
        let result = recording.end(result).await;
        let took = recording.took();
        let operation = recording.operation.unwrap_or("-");
        let request_id = recording.request_id.as_str();
        let code = result.as_ref().map_or_else(|failure| failure.code, |_| "OK");
        self.metrics.count(Counted { endpoint: Arc::clone(&self.endpoint), operation, code }, took);
        let (key, causes) = match &result {
            Ok(answered) => (answered.version.as_deref().unwrap_or("-"), ""),
            Err(failure) => ("-", failure.causes.as_str()),
        };
        tracing::info!(
            request_id, instance = %self.instance, operation, caller = recording.caller(), source = %peer.ip(),
            key, code, causes, micros = took.as_micros() as u64, "request"
        );
        match result {
            Ok(Answered { body, version }) => respond::instance_success(body, version.as_deref()),
            Err(failure) => respond::instance_failure(&failure, request_id),
        }
    }

    async fn handle(
        &self,
        request: Request<Incoming>,
        recording: &mut Recording<'_>,
        peer: SocketAddr,
    ) -> Result<Answered, Failure> {
        if request.method() != Method::POST || request.uri().path() != "/" {
            return Err(Refusal::NotServed.into());
        }
        let (parts, body) = request.into_parts();
        let body = body::read(&parts.headers, body, BODY_LIMIT).await.map_err(|unread| Refusal::unread(unread, BODY_LIMIT))?;
        let checked = instance::check(&self.kms, &parts, &body).inspect_err(|_| claims(&parts, recording))?;
        let Authenticated { operation, client_key } = checked;
        recording.operation = Some(operation.name());
        let (client_key, who) = (client_key.id.clone(), Who::ClientKey(client_key));
        recording.who = who;
        let version = instance::key_version(&parts)?;
        let trace = Arc::clone(&recording.trace);
        let caller = Caller { instance: self.instance.clone(), client_key, source: peer.ip(), trace };
        let Recording { request_id, resource, .. } = recording;
        let by = (self.kms.as_ref(), self.limiter.as_deref());
        instance_operations::serve(by, &caller, operation, version, &body, request_id, resource).await
    }
}

/// What a request says of itself that was not believed.
fn claims(parts: &Parts, recording: &mut Recording<'_>) {
    let header = |name| parts.headers.get(name).and_then(|value| value.to_str().ok());
    recording.operation = header("x-kms-apiname").and_then(|name| name.parse().ok()).map(Operation::name);
    if let Some(id) = header("x-kms-acccesskeyid") {
        recording.who = Who::Claimed(id.to_owned());
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
    // Some clients put the operation into the body.
    let form = headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/x-www-form-urlencoded"));
    !headers.contains_key("x-kms-apiname") && (acs || action || form || headers.contains_key("x-acs-action"))
}
