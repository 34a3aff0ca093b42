//! Whether an operator may: its policies and the key's decide, and for a session the access point of its role; deny is the default.
//! Called once for each request of the OpenAPI, before its use case.

use super::Kms;
use super::aliases::{is_alias, resource_of, unknown_alias};
use super::requests::{Operator, Reach};
use super::snapshot::{Access, KeyEntry};
use crate::base::{Error, Kind, Result};
use crate::model::KeyId;
use crate::model::access::{self, Permission, Resource, Wish, decide};
use crate::model::arn::arn;
use crate::model::operator::{Decision, Demand, KeyPolicy, Reason, TagsKnown};
use crate::model::tags::Tags;

/// The most characters of a resource that is decided about: what is longer is the name of nothing.
const RESOURCE: usize = 512;

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject<'a> {
    /// Everything: lists, and what belongs to the account.
    Everything,
    /// A key as a request names it: an id, an alias, or the ARN of either; empty when it names none.
    Key(&'a str),
    /// Something else of this kind and name, as ARNs call it.
    Named(&'static str, &'a str),
}

/// What was permitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Permitted {
    /// What the request names.
    AsNamed,
    /// The key that the alias in the request points to. The use case takes it by this id: the alias may point elsewhere by then.
    Key(KeyId),
}

impl Kms {
    /// Whether an operator may do this; `action` is `kms:` and an operation. What is not there is decided about like what is, by its
    /// name: who may not use it does not learn of it.
    ///
    /// # Errors
    /// [`Kind::NoPermission`], naming action and resource as the request did; the reason goes to the log.
    pub fn permit_operator(&self, operator: &Operator, action: &'static str, subject: &Subject<'_>) -> Result<Permitted> {
        let alias = match subject {
            // At the endpoint of an instance an alias of a key of another one is like one that there is not.
            Subject::Key(text) if is_alias(text) => Some(self.resolve(text).and_then(|id| {
                let reached = self.reached(operator, &id).map_err(|error| match error.kind() {
                    Kind::KeyNotFound => unknown_alias(text).caused_by(error),
                    _ => error,
                });
                reached.map(|_| id)
            })),
            Subject::Everything | Subject::Key(_) | Subject::Named(..) => None,
        };
        // Told to who may use it: one that points to nothing now was decided about by its name alone.
        let (alias, unknown) = match alias {
            Some(Ok(id)) => (Some(id), None),
            Some(Err(error)) => (None, Some(error)),
            None => (None, None),
        };
        let named = match subject {
            Subject::Everything => "*".to_owned(),
            // The path of an alias is its name.
            Subject::Key(text) if is_alias(text) => shortened(resource_of(text)),
            Subject::Key(text) => format!("key/{}", shortened(resource_of(text))),
            Subject::Named(kind, name) => format!("{kind}/{}", shortened(name)),
        };
        let key = match (&alias, subject) {
            (Some(id), _) => Some(id.clone()),
            (None, Subject::Key(text)) => resource_of(text).parse().ok(),
            (None, Subject::Everything | Subject::Named(..)) => None,
        };
        // A refused request is recorded with its key, too; of two the first, from which something is taken.
        if let Some(id) = &key {
            operator.trace.means(id.clone());
        }
        let resource = alias.as_ref().map_or_else(|| named.clone(), |id| format!("key/{id}"));
        let (entry, unusable) = match key.as_ref().map(|id| self.reached(operator, id)) {
            Some(Ok(entry)) => (Some(entry), None),
            // Its policy and its tags, which may deny, are not known: nobody is permitted anything.
            Some(Err(error)) if error.kind() != Kind::KeyNotFound => (None, Some(error)),
            Some(Err(_)) | None => (None, None),
        };
        let untagged = Tags::default();
        let demand = Demand {
            action,
            resource: &resource,
            source: operator.source,
            now: self.now(),
            tags: entry.as_ref().map_or(&untagged, |entry| &entry.tags),
            // Keys alone have tags.
            known: entry.as_ref().map_or(TagsKnown::All, |_| self.snapshot.unusable.tags_known()),
        };
        let policy: Option<&KeyPolicy> = entry.as_ref().and_then(|entry| entry.key.policy.as_deref());
        let session_policy = operator.session.as_ref().and_then(|session| session.policy.as_ref());
        let access = self.snapshot.judging()?;
        let refused = match access.identity(operator) {
            Some(identity) if access.unclaimed_policies.deny(identity, &demand) => {
                Some("a row of identity_policies that no operator or role claims denies it".to_owned())
            }
            Some(identity) => match identity.decide_in_session(session_policy, &demand, policy) {
                Decision::Allow => None,
                // Nothing denies it, and it wants an Allow of the role: what its access point grants is one.
                Decision::Deny(reason @ Reason::NotAllowed) => {
                    match decide_by_access_point(&access, operator, action, key.as_ref(), entry.as_deref()) {
                        Some(allowed @ access::Decision::Allow(_)) => {
                            operator.trace.decided(allowed);
                            None
                        }
                        Some(access::Decision::Deny(of_access_point)) => {
                            Some(format!("{reason:?}, and by the access point of the role: {of_access_point:?}"))
                        }
                        None => Some(format!("{reason:?}")),
                    }
                }
                Decision::Deny(reason) => Some(format!("{reason:?}")),
            },
            None => Some("the AccessKey, its owner or the role is gone".to_owned()),
        };
        let Some(why) = refused else {
            if let Some(error) = unusable {
                return Err(error);
            }
            return unknown.map_or_else(|| Ok(alias.map_or(Permitted::AsNamed, Permitted::Key)), Err);
        };
        let shown = match subject {
            Subject::Everything => named,
            Subject::Key(_) | Subject::Named(..) => {
                let (kind, name) = named.split_once('/').unwrap_or((&named, ""));
                arn(kind, &name)
            }
        };
        Err(Error::new(Kind::NoPermission, format!("The operator is not permitted {action} on {shown}.")).caused_by(why))
    }
}

/// What the access point of a session's role says, if there is one and the action is what access points grant. At the endpoint of an
/// instance it speaks of that, as to client keys; at the shared gateway of the key's.
fn decide_by_access_point(
    access: &Access,
    operator: &Operator,
    action: &str,
    key: Option<&KeyId>,
    entry: Option<&KeyEntry>,
) -> Option<access::Decision> {
    let access_point = access.access_point_of_session(operator.session.as_deref()?)?;
    let permission = Permission::of_action(action)?;
    let instance = match &operator.reach {
        Reach::Instance(instance) => instance,
        Reach::Everything => &entry?.key.instance,
    };
    Some(decide(access_point, access, &Wish { instance, permission, resource: Resource::Key(key?), source: operator.source }))
}

fn shortened(text: &str) -> String {
    text.chars().take(RESOURCE).collect()
}
