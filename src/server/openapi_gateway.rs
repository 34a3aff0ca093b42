//! The OpenAPI over HTTPS, for operators: all of it at the shared gateway, the cryptography of one instance at that instance's endpoint.

use std::net::SocketAddr;
use std::sync::Arc;

use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response};

use super::authenticate::openapi::{Authenticated, Signed};
use super::body::{self, Body};
use super::limiter::Limiter;
use super::metrics::{Counted, Metrics};
use super::nonces::Nonces;
use super::openapi::Call;
use super::recording::{Recording, Who};
use super::respond::{self, Failure, Refusal};
use crate::audit::Log;
use crate::base::Result;
use crate::service::Kms;
use crate::service::requests::Reach;
use crate::wire::openapi::{Action, BODY_LIMIT, Format, Parameters};
use crate::wire::signing::Authorization;

/// Answers the OpenAPI at one endpoint.
pub(super) struct OpenApiGateway {
    kms: Arc<Kms>,
    reach: Reach,
    audit: Arc<Log>,
    metrics: Arc<Metrics>,
    /// Its name in the metrics.
    endpoint: Arc<str>,
    /// Those of all endpoints: what was sent to one is good at no other.
    nonces: Arc<Nonces>,
    limiter: Option<Arc<Limiter>>,
}

/// The parameters by which operations name what they are about; of several the first is meant.
const SUBJECTS: [&str; 12] = [
    "AliasName",
    "KeyId",
    "DestinationKeyId",
    "ProtectedResourceArn",
    "ResourceId.1",
    "ClientKeyId",
    "AapName",
    "SecretName",
    "CertificateId",
    "KmsInstanceId",
    "DKMSInstanceId",
    "Name",
];
/// Those that name a key.
const KEYS: [&str; 5] = ["KeyId", "DestinationKeyId", "ProtectedResourceArn", "ResourceId.1", "AliasName"];

impl OpenApiGateway {
    pub(super) fn new(
        kms: Arc<Kms>,
        reach: Reach,
        audit: Arc<Log>,
        metrics: Arc<Metrics>,
        nonces: Arc<Nonces>,
        limiter: Option<Arc<Limiter>>,
    ) -> Self {
        let endpoint = match &reach {
            Reach::Everything => "shared".into(),
            Reach::Instance(instance) => instance.as_str().into(),
        };
        Self { kms, reach, audit, metrics, endpoint, nonces, limiter }
    }

    /// Answers one request, and writes its record in the audit log and its line in the log.
    pub(super) async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
        let mut recording = match &self.reach {
            Reach::Everything => Recording::at_shared_gateway(&self.audit, peer.ip()),
            Reach::Instance(instance) => Recording::at_instance(&self.audit, instance, peer.ip()),
        };
        let host = request.headers().get("host").and_then(|host| host.to_str().ok()).unwrap_or("kms").to_owned();
        let mut format = Format::default();
        let result = match recording.admit() {
            Ok(()) => self.handle(request, &mut recording, &mut format, peer).await,
            Err(failure) => Err(failure),
        };
        let result = result.and_then(|json| respond::openapi_success(json, format));
        let result = recording.end(result).await;
        let took = recording.took();
        let operation = recording.operation.unwrap_or("-");
        let request_id = recording.request_id.as_str();
        let code = result.as_ref().map_or_else(|failure| failure.code, |_| "OK");
        self.metrics.count(Counted { endpoint: Arc::clone(&self.endpoint), operation, code }, took);
        let causes = result.as_ref().err().map_or("", |failure| failure.causes.as_str());
        tracing::info!(
            request_id, endpoint = %self.endpoint, operation, caller = recording.caller(), source = %peer.ip(), code, causes,
            micros = took.as_micros() as u64, "request"
        );
        match result {
            Ok(response) => response,
            Err(failure) => respond::openapi_failure(&failure, format, request_id, &host),
        }
    }

    async fn handle(
        &self,
        request: Request<Incoming>,
        recording: &mut Recording<'_>,
        format: &mut Format,
        peer: SocketAddr,
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
        *format = Format::of(&all);
        let signed = Signed { request: &parts, query: &query, all: &all, body: &body, source: peer.ip(), reach: &self.reach };
        let trace = Arc::clone(&recording.trace);
        let checked = signed.check(&self.kms, &self.nonces, trace).inspect_err(|_| claims(&parts, &all, recording))?;
        let Authenticated { action, operator } = checked;
        recording.operation = Some(action.name());
        recording.effect = action.effect();
        recording.who = Who::Operator(operator.access_key.clone());
        recording.resource = subject(&all);
        // Before it is served: an alias may be gone afterwards.
        let key = KEYS.iter().filter_map(|name| all.optional(name)).find_map(|text| self.kms.key_named(text));
        recording.key = key;
        if let Some(limiter) = &self.limiter {
            limiter.admit_action(&self.kms, action, &self.reach, recording.key.as_ref())?;
        }
        Call { kms: &self.kms, operator: &operator, parameters: &all, request_id: &recording.request_id }.answer(action).await
    }
}

fn subject(parameters: &Parameters) -> Option<String> {
    SUBJECTS.iter().find_map(|name| parameters.optional(name)).map(str::to_owned)
}

/// What a request says of itself that was not believed.
fn claims(parts: &Parts, parameters: &Parameters, recording: &mut Recording<'_>) {
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let action = parameters.optional("Action").or_else(|| header("x-acs-action"));
    recording.operation = action.and_then(|name| name.parse().ok()).map(Action::name);
    recording.resource = subject(parameters);
    let authorization = header(AUTHORIZATION.as_str()).and_then(Authorization::parse);
    if let Some(id) = authorization.map(|parsed| parsed.credential).or_else(|| parameters.optional("AccessKeyId")) {
        recording.who = Who::Claimed(id.to_owned());
    }
}

/// The parameters of a form body.
fn form(parts: &Parts, body: &Bytes) -> Result<Parameters> {
    let form =
        parts.headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/x-www-form-urlencoded"));
    if form { Parameters::parse(body) } else { Ok(Parameters::default()) }
}
