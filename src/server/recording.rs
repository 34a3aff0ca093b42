//! The audit record of a request: begun when the request begins, filled on the way, written when it ends, however it ends.
//!
//! A request that its client gives up is dropped in the middle; what it was and how far it came is recorded all the same.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::instance_gateway::request_id;
use super::respond::Failure;
use crate::audit::{Commit, Decision, Log, Pending, Plane, Record, Ticket, Urgency, WhenFull};
use crate::base::Result;
use crate::model::access;
use crate::model::session::Session;
use crate::model::{AccessKeyId, InstanceId, KeyId};
use crate::service::{Trace, VerifiedClientKey};
use crate::wire::openapi::Effect;

/// What is known of the caller so far.
#[derive(Default)]
pub(super) enum Who {
    #[default]
    Unknown,
    /// It said so, and did not prove it.
    Claimed(String),
    ClientKey(Arc<VerifiedClientKey>),
    Operator {
        access_key: AccessKeyId,
        session: Option<Arc<Session>>,
    },
    /// Whom an OIDC provider, by its ARN, vouches for.
    Federated {
        provider: String,
        subject: String,
    },
}

/// A request, as far as it came.
pub(super) struct Recording<'a> {
    log: &'a Log,
    /// Until its record is handed over.
    ticket: Option<Ticket>,
    begun: Instant,
    plane: Plane,
    instance: Option<&'a InstanceId>,
    source: IpAddr,
    pub(super) request_id: String,
    /// What was asked for.
    pub(super) operation: Option<&'static str>,
    /// Whether that changes something, if it is served.
    pub(super) effect: Effect,
    pub(super) who: Who,
    /// On what, in the caller's words.
    pub(super) resource: Option<String>,
    /// On what else, in the caller's words, when it named several.
    pub(super) other_resources: Vec<String>,
    /// The key that this is, as far as the request says.
    pub(super) key: Option<KeyId>,
    /// What the service finds out.
    pub(super) trace: Arc<Trace>,
}

/// How a request ended.
enum Outcome<'a> {
    Served,
    Failed(&'a Failure),
    /// Its client went away.
    Abandoned,
}

impl<'a> Recording<'a> {
    /// Of a request at the endpoint of an instance.
    pub(super) fn at_instance(log: &'a Log, instance: &'a InstanceId, source: IpAddr) -> Self {
        Self::begin(log, Plane::Instance, Some(instance), source)
    }

    /// Of a request at the shared gateway.
    pub(super) fn at_shared_gateway(log: &'a Log, source: IpAddr) -> Self {
        Self::begin(log, Plane::Shared, None, source)
    }

    /// Of a request to the Security Token Service.
    pub(super) fn at_sts(log: &'a Log, source: IpAddr) -> Self {
        Self::begin(log, Plane::Sts, None, source)
    }

    fn begin(log: &'a Log, plane: Plane, instance: Option<&'a InstanceId>, source: IpAddr) -> Self {
        Self {
            log,
            ticket: None,
            begun: Instant::now(),
            plane,
            instance,
            source,
            request_id: request_id(),
            operation: None,
            effect: Effect::None,
            who: Who::Unknown,
            resource: None,
            other_resources: Vec::new(),
            key: None,
            trace: Arc::default(),
        }
    }

    /// Whether the request may be served at all: whether there is place for its record.
    pub(super) fn admit(&mut self) -> Result<(), Failure> {
        self.ticket = Some(self.log.admit()?);
        Ok(())
    }

    /// The caller, for the log of requests: only who proved it.
    pub(super) fn caller(&self) -> &str {
        match &self.who {
            Who::Unknown | Who::Claimed(_) => "-",
            Who::ClientKey(key) => key.id.as_str(),
            Who::Operator { access_key, .. } => access_key.as_str(),
            Who::Federated { provider, .. } => provider,
        }
    }

    /// Since it began.
    pub(super) fn took(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Hands the record over and, where answers wait for that, waits until it is on the disk. What could not be recorded is not
    /// answered, unless it is configured so.
    pub(super) async fn end<T>(&mut self, result: Result<T, Failure>) -> Result<T, Failure> {
        let outcome = result.as_ref().map_or_else(Outcome::Failed, |_| Outcome::Served);
        let waits = match (self.effect, self.log.commit()) {
            (_, Commit::BeforeAnswer) | (Effect::Change, Commit::Buffered) => Urgency::Awaited,
            (Effect::None, Commit::Buffered) => Urgency::Unawaited,
        };
        let Some(pending) = self.hand_over(&outcome, waits) else { return result };
        let written = match waits {
            Urgency::Awaited => pending.written().await,
            Urgency::Unawaited => return result,
        };
        match (written, self.log.when_full()) {
            (Ok(()), _) | (Err(_), WhenFull::Continue) => result,
            (Err(error), WhenFull::Refuse) => Err(error.into()),
        }
    }

    fn hand_over(&mut self, outcome: &Outcome<'_>, urgency: Urgency) -> Option<Pending> {
        let ticket = self.ticket.take()?;
        let (code, reason) = match outcome {
            Outcome::Served => ("OK", None),
            Outcome::Failed(failure) => (failure.code, Some(failure.reason())),
            Outcome::Abandoned => ("Abandoned", Some("The client went away before it was answered.".into())),
        };
        let decision = self.decision(outcome);
        // Of the two halves of a ReEncrypt one may be granted by a policy, and the other one denied.
        let policy = match (&decision, self.trace.decision()) {
            (Some(Decision::Allow), Some(access::Decision::Allow(policy))) => Some(policy.as_str()),
            (Some(Decision::Allow), Some(access::Decision::Deny(_)) | None) | (Some(Decision::Deny) | None, _) => None,
        };
        let (caller, claimed_caller, access_point) = match &self.who {
            Who::Unknown => (None, None, None),
            Who::Claimed(id) => (None, Some(id.as_str()), None),
            Who::ClientKey(key) => (Some(key.id.as_str()), None, Some(key.access_point.as_str())),
            Who::Operator { access_key, session } => {
                // What a policy granted to a session, it did through the access point of the role.
                let granted = session.as_ref().filter(|_| policy.is_some());
                (Some(access_key.as_str()), None, granted.map(|session| session.role.as_str()))
            }
            Who::Federated { provider, .. } => (Some(provider.as_str()), None, None),
        };
        let assumed_role = match &self.who {
            Who::Operator { session, .. } => session.as_ref().map(|session| session.to_string()),
            Who::Unknown | Who::Claimed(_) | Who::ClientKey(_) | Who::Federated { .. } => None,
        };
        let subject = match &self.who {
            Who::Federated { subject, .. } => Some(subject.as_str()),
            Who::Unknown | Who::Claimed(_) | Who::ClientKey(_) | Who::Operator { .. } => None,
        };
        let key = self.trace.key().or(self.key.as_ref()).map(|key| key.as_str());
        let resource = self.resource.as_deref().filter(|resource| !resource.is_empty() && Some(*resource) != key);
        let other_keys = self.trace.other_keys();
        let others = other_keys.iter().chain(&self.key).map(|key| key.as_str());
        let words = self.other_resources.iter().map(String::as_str).filter(|words| Some(*words) != resource);
        let mut other_resources = Vec::new();
        for other in others.chain(words) {
            if Some(other) != key && !other_resources.contains(&other) {
                other_resources.push(other);
            }
        }
        let record = Record {
            request_id: Some(&self.request_id),
            source: Some(self.source.to_canonical()),
            caller,
            claimed_caller,
            access_point,
            subject,
            assumed_role: assumed_role.as_deref(),
            issued: self.trace.issued().map(AccessKeyId::as_str),
            instance: self.instance.map(InstanceId::as_str),
            resource,
            key,
            key_version: self.trace.version().map(|version| version.as_str()),
            context: self.trace.is_unbound().then_some("unbound"),
            other_resources: &other_resources,
            decision,
            policy,
            reason: reason.as_deref(),
            micros: u64::try_from(self.took().as_micros()).ok(),
            ..Record::new(self.log.now(), self.plane, self.operation.unwrap_or("-"), code)
        };
        Some(ticket.hand_over(&record.to_json(), urgency))
    }

    /// A caller that did not prove who it is was refused. Of client keys policies decide; of operators their failure says it.
    fn decision(&self, outcome: &Outcome<'_>) -> Option<Decision> {
        let forbidden = matches!(outcome, Outcome::Failed(failure) if failure.is_denial());
        match (&self.who, self.trace.decision(), outcome) {
            (Who::Unknown | Who::Claimed(_), _, Outcome::Abandoned) => None,
            (Who::Unknown | Who::Claimed(_), ..) => Some(Decision::Deny),
            (Who::ClientKey(_), Some(access::Decision::Allow(_)), _) => Some(Decision::Allow),
            (Who::ClientKey(_), Some(access::Decision::Deny(_)), _) => Some(Decision::Deny),
            (Who::ClientKey(_) | Who::Operator { .. } | Who::Federated { .. }, ..) if forbidden => Some(Decision::Deny),
            (Who::ClientKey(_), None, _) => None,
            (Who::Operator { .. } | Who::Federated { .. }, ..) => Some(Decision::Allow),
        }
    }
}

impl Drop for Recording<'_> {
    fn drop(&mut self) {
        let _ = self.hand_over(&Outcome::Abandoned, Urgency::Unawaited);
    }
}
