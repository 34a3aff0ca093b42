//! The OpenAPI over HTTPS, for operators: all of it at the shared gateway, the cryptography of one instance at that instance's endpoint,
//! and the Security Token Service, which speaks alike, at its own.

use std::net::SocketAddr;
use std::sync::Arc;

use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response};

use super::authenticate::oidc;
use super::authenticate::openapi::Signed;
use super::body::{self, Body};
use super::limiter::Limiter;
use super::metrics::{Counted, Metrics};
use super::nonces::Nonces;
use super::openapi::{Call, RESOURCES};
use super::recording::{Recording, Who};
use super::respond::{self, Failure, Refusal};
use super::sts;
use crate::audit::Log;
use crate::base::{Error, Result, excerpt};
use crate::service::Kms;
use crate::service::requests::{Operator, Reach};
use crate::wire;
use crate::wire::openapi::{Action, BODY_LIMIT, Effect, Format, Parameters};
use crate::wire::signing::Authorization;
use crate::wire::sts::ASSUME_ROLE_WITH_OIDC;

/// What an endpoint serves.
pub(super) enum Serves {
    /// The KMS.
    Kms(Reach),
    /// The Security Token Service.
    Sts,
}

/// Answers one API at one endpoint.
pub(super) struct OpenApiGateway {
    kms: Arc<Kms>,
    serves: Serves,
    audit: Arc<Log>,
    metrics: Arc<Metrics>,
    /// Its name in the metrics.
    endpoint: Arc<str>,
    /// Those of all endpoints: what was sent to one is good at no other.
    nonces: Arc<Nonces>,
    limiter: Option<Arc<Limiter>>,
}

/// The parameters by which operations name what they are about; of several the first is meant.
const SUBJECTS: [&str; 14] = [
    "AliasName",
    "KeyId",
    "SourceKeyId",
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
    "RoleArn",
];
/// Those that name a key; of a ciphertext that goes from one to another the one that it comes from.
const KEYS: [&str; 6] = ["KeyId", "SourceKeyId", "DestinationKeyId", "ProtectedResourceArn", "ResourceId.1", "AliasName"];

impl OpenApiGateway {
    pub(super) fn new(
        kms: Arc<Kms>,
        serves: Serves,
        audit: Arc<Log>,
        metrics: Arc<Metrics>,
        nonces: Arc<Nonces>,
        limiter: Option<Arc<Limiter>>,
    ) -> Self {
        let endpoint = match &serves {
            Serves::Kms(Reach::Everything) => "shared".into(),
            Serves::Kms(Reach::Instance(instance)) => instance.as_str().into(),
            Serves::Sts => "sts".into(),
        };
        Self { kms, serves, audit, metrics, endpoint, nonces, limiter }
    }

    /// Answers one request, and writes its record in the audit log and its line in the log.
    pub(super) async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
        let mut recording = match &self.serves {
            Serves::Kms(Reach::Everything) => Recording::at_shared_gateway(&self.audit, peer.ip()),
            Serves::Kms(Reach::Instance(instance)) => Recording::at_instance(&self.audit, instance, peer.ip()),
            Serves::Sts => Recording::at_sts(&self.audit, peer.ip()),
        };
        let host = request.headers().get("host").and_then(|host| host.to_str().ok()).unwrap_or("kms").to_owned();
        let mut format = Format::default();
        let result = match recording.admit() {
            Ok(()) => self.handle(request, &mut recording, &mut format, peer).await,
            Err(failure) => Err(failure),
        };
        let root = match &self.serves {
            Serves::Kms(_) => "KMS",
            Serves::Sts => "STS",
        };
        let result = result.and_then(|json| respond::openapi_success(root, json, format));
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
            return Err(Refusal::Path.into());
        }
        let (parts, body) = request.into_parts();
        let body = body::read(&parts.headers, body, BODY_LIMIT).await.map_err(|unread| Refusal::unread(unread, BODY_LIMIT))?;
        let query = Parameters::parse(parts.uri.query().unwrap_or_default().as_bytes())?;
        let all = query.clone().union(form(&parts, &body)?)?;
        *format = Format::of(&all);
        let (source, now) = (peer.ip(), self.kms.now());
        let signed = Signed { request: &parts, query: &query, all: &all, body: &body };
        let trace = Arc::clone(&recording.trace);
        // What is throttled was not served: its nonce is not taken.
        match &self.serves {
            Serves::Kms(reach) => {
                let checked = signed.check(&self.kms, &self.nonces, reach);
                let (action, signer) = checked.inspect_err(|_| self.note_claims(&parts, &all, recording))?;
                let operator = signer.operator(source, reach.clone(), trace);
                note(recording, (action.name(), action.effect()), &operator, &all);
                // Before it is served: an alias may be gone afterwards.
                let key = KEYS.iter().filter_map(|name| all.optional(name)).find_map(|text| self.kms.key_named(text));
                recording.key = key;
                if let Some(limiter) = &self.limiter {
                    limiter.admit_action(action, reach, all.optional("SourceKeyId"))?;
                }
                signer.take_nonce(&self.nonces, action.effect(), now)?;
                let request_id = &recording.request_id;
                Call { kms: &self.kms, operator: &operator, parameters: &all, request_id }.answer(action).await
            }
            Serves::Sts if signed.has_token_instead() => {
                recording.operation = Some(ASSUME_ROLE_WITH_OIDC);
                recording.resource = subject(&all);
                recording.who = all.optional(oidc::PROVIDER).map_or(Who::Unknown, |arn| Who::Claimed(arn.to_owned()));
                let caller = signed.check_token(&self.kms, source, trace)?;
                recording.effect = Effect::Change;
                recording.who =
                    Who::Federated { provider: caller.identity.provider_arn(), subject: caller.identity.subject.clone() };
                if let Some(limiter) = &self.limiter {
                    limiter.admit_token()?;
                }
                sts::assume_role_with_oidc(&self.kms, &caller, &all, &recording.request_id)
            }
            Serves::Sts => {
                let checked = signed.check_sts(&self.kms, &self.nonces);
                let (action, signer) = checked.inspect_err(|_| self.note_claims(&parts, &all, recording))?;
                let operator = signer.operator(source, Reach::Everything, trace);
                note(recording, (action.name(), action.effect()), &operator, &all);
                if let Some(limiter) = &self.limiter {
                    limiter.admit_effect(action.effect())?;
                }
                signer.take_nonce(&self.nonces, action.effect(), now)?;
                let request_id = &recording.request_id;
                sts::Call { kms: &self.kms, operator: &operator, parameters: &all, request_id }.answer(action)
            }
        }
    }

    /// What a request says of itself that was not believed.
    fn note_claims(&self, parts: &Parts, parameters: &Parameters, recording: &mut Recording<'_>) {
        let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let action = parameters.optional("Action").or_else(|| header("x-acs-action"));
        recording.operation = action.and_then(|name| match &self.serves {
            Serves::Kms(_) => name.parse().ok().map(Action::name),
            Serves::Sts => name.parse().ok().map(wire::sts::Action::name),
        });
        recording.resource = subject(parameters);
        let authorization = header(AUTHORIZATION.as_str()).and_then(Authorization::parse);
        if let Some(id) = authorization.map(|parsed| parsed.credential).or_else(|| parameters.optional("AccessKeyId")) {
            recording.who = Who::Claimed(id.to_owned());
        }
    }
}

/// What a request that was believed wants, and who sent it.
fn note(recording: &mut Recording<'_>, (operation, effect): (&'static str, Effect), operator: &Operator, parameters: &Parameters) {
    recording.operation = Some(operation);
    recording.effect = effect;
    recording.who = Who::Operator { access_key: operator.access_key.clone(), session: operator.session.clone() };
    recording.resource = subject(parameters);
    recording.other_resources = others(parameters);
}

/// What else a request is about: every resource of a list, and where a ciphertext goes. More than the API allows are refused.
fn others(parameters: &Parameters) -> Vec<String> {
    let listed = parameters.numbered("ResourceId", RESOURCES).unwrap_or_default();
    listed.into_iter().chain(parameters.optional("DestinationKeyId")).map(str::to_owned).collect()
}

fn subject(parameters: &Parameters) -> Option<String> {
    SUBJECTS.iter().find_map(|name| parameters.optional(name)).map(str::to_owned)
}

/// What a body is written in.
const FORM: &str = "application/x-www-form-urlencoded";

/// The parameters of a form body. Another body would be as good as absent, so there is none.
fn form(parts: &Parts, body: &Bytes) -> Result<Parameters> {
    if body.is_empty() {
        return Ok(Parameters::default());
    }
    let named = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match named.split(';').next() {
        Some(media_type) if media_type.trim().eq_ignore_ascii_case(FORM) => Parameters::parse(body),
        Some(_) | None => {
            let text = format!("A body is of the content type {FORM}, not {:?}; its parameters would not be read.", excerpt(named));
            Err(Error::invalid(text))
        }
    }
}
