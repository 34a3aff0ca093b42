//! Temporary credentials: roles are assumed as far as their trust policies say, and the credentials of a session are known again by
//! any node, without the store.
//!
//! What a session is permitted is looked up at each use: a role that is changed or deleted meanwhile is changed or gone for it, too.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Kms;
use super::requests::{AssumeRole, Assumed, CallerIdentity, FederatedCaller, NewSession, Operator};
use super::snapshot::Access;
use crate::base::{Error, Kind, Result, SecretBytes, Timestamp, excerpt, random};
use crate::model::arn::{ACCOUNT, ram_arn};
use crate::model::oidc::{FederatedIdentity, OidcProvider, not_signed};
use crate::model::operator::{Assumer, Assumption, Document, Identity, IdentityKind, Role};
use crate::model::session::{SESSION_POLICY_BYTES, Session};
use crate::model::{AccessKeyId, Name};
pub use crate::store::Unopened;

/// How long a session lasts unless the request says it (the API's).
const DEFAULT: Duration = Duration::from_secs(3600);
/// The shortest session (the API's).
const SHORTEST: Duration = Duration::from_secs(900);

/// The AccessKey of a session, with what its requests are verified by.
pub struct TemporaryCredentials {
    /// Its id.
    pub id: AccessKeyId,
    /// What they are signed with.
    pub secret: SecretBytes,
    /// Whose it is. Whether it has expired is not looked at here.
    pub session: Arc<Session>,
}

/// A session as it is sealed in a token.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SealedSession<'a> {
    role: &'a str,
    role_id: &'a str,
    name: &'a str,
    expires: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    policy: Option<std::borrow::Cow<'a, str>>,
}

impl SealedSession<'_> {
    fn parse(bytes: &[u8]) -> Option<Session> {
        let sealed: SealedSession<'_> = serde_json::from_slice(bytes).ok()?;
        Some(Session {
            role: sealed.role.parse().ok()?,
            role_id: sealed.role_id.parse().ok()?,
            name: sealed.name.parse().ok()?,
            expires: Timestamp::from_unix(sealed.expires),
            policy: sealed.policy.map(|text| text.parse::<Document>()).transpose().ok()?,
        })
    }
}

impl Kms {
    /// The session of an AccessKey, as its token says.
    ///
    /// # Errors
    /// Why the token does not open; one that holds no session is malformed.
    pub fn session(&self, id: &str, token: &str) -> Result<TemporaryCredentials, Unopened> {
        let id: AccessKeyId = id.parse().map_err(|_| Unopened::Foreign)?;
        let opened = self.store.open_session(&id, token)?;
        let session = Arc::new(SealedSession::parse(&opened).ok_or(Unopened::Malformed)?);
        let secret = self.store.session_secret(&id).map_err(|_| Unopened::Foreign)?;
        Ok(TemporaryCredentials { id, secret, session })
    }

    /// AssumeRole: new credentials of a role, for whom its trust policy names.
    ///
    /// # Errors
    /// [`Kind::NoPermission`] when it does not name the caller, or there is no such role, which are not told apart;
    /// [`Kind::InvalidParameter`] for a policy that is none, or a time beyond the role's.
    pub fn assume_role(&self, operator: &Operator, request: &AssumeRole) -> Result<Assumed> {
        let access = self.snapshot.judging()?;
        let assumer = access.identity(operator).ok_or_else(|| nobody(operator))?;
        let refused = |why| not_trusted(&request.session.role, &arn_of(operator, assumer), why);
        let role = access.role_of_arn(&request.session.role).ok_or_else(|| refused("there is no such role"))?;
        // It would be a way out of what its policy leaves it.
        if operator.session.as_ref().is_some_and(|session| session.policy.is_some()) {
            return Err(refused("a session with a policy of its own assumes no role"));
        }
        let (assumer, external_id, now) = (Assumer::Identity(assumer), request.external_id.as_deref(), self.now());
        if !role.trust.trusts(&Assumption { assumer, external_id, source: operator.source, now }) {
            return Err(refused(NOT_ALLOWED));
        }
        // A session does not outlive the one that it was begun by.
        let end = operator.session.as_ref().map(|session| session.expires);
        let assumed = self.begin_session(role, &request.session, now, end)?;
        operator.trace.issues(assumed.credentials.id.clone());
        Ok(assumed)
    }

    /// Whom the token of an OIDC provider, which is called by its ARN, names.
    ///
    /// # Errors
    /// [`Kind::InvalidOidcToken`], also when there is no such provider, and [`Kind::ExpiredOidcToken`].
    pub fn verify_oidc_token(&self, provider: &str, token: &str) -> Result<FederatedIdentity> {
        let access = self.snapshot.judging()?;
        let found = OidcProvider::name_in(provider).and_then(|name| access.oidc_provider(&name));
        found.ok_or_else(|| not_signed(provider, "there is no such OIDC provider"))?.verify(token, self.now())
    }

    /// AssumeRoleWithOIDC: new credentials of a role, for whom its trust policy lets in of those whom an OIDC provider knows.
    ///
    /// # Errors
    /// As [`Kms::assume_role`].
    pub fn assume_role_with_oidc(&self, caller: &FederatedCaller, request: &NewSession) -> Result<Assumed> {
        let access = self.snapshot.judging()?;
        let identity = &caller.identity;
        let refused = |why| {
            let who = format!("{:?} of {}", excerpt(&identity.subject), identity.provider_arn());
            not_trusted(&request.role, &who, why)
        };
        let role = access.role_of_arn(&request.role).ok_or_else(|| refused("there is no such role"))?;
        let now = self.now();
        let assumption = Assumption { assumer: Assumer::Federated(identity), external_id: None, source: caller.source, now };
        if !role.trust.trusts(&assumption) {
            return Err(refused(NOT_ALLOWED));
        }
        let assumed = self.begin_session(role, request, now, None)?;
        caller.trace.issues(assumed.credentials.id.clone());
        Ok(assumed)
    }

    fn begin_session(&self, role: &Role, request: &NewSession, now: Timestamp, end: Option<Timestamp>) -> Result<Assumed> {
        let duration = request.duration.unwrap_or(DEFAULT);
        if !(SHORTEST..=role.max_session).contains(&duration) {
            let (shortest, longest) = (SHORTEST.as_secs(), role.max_session.as_secs());
            return Err(Error::invalid(format!(
                "The parameter DurationSeconds is between {shortest} and {longest} for the role {}.",
                role.name
            )));
        }
        let policy = request.policy.as_deref().map(session_policy).transpose()?;
        let session = Session {
            role: role.name.clone(),
            role_id: role.id.clone(),
            name: request.name.clone(),
            policy,
            expires: end.map_or(now.after(duration), |end| end.min(now.after(duration))),
        };
        let sealed = SealedSession {
            role: session.role.as_str(),
            role_id: session.role_id.as_str(),
            name: session.name.as_str(),
            expires: session.expires.unix(),
            policy: session.policy.as_ref().map(|policy| policy.text().into()),
        };
        let id = AccessKeyId::of_session(random::bytes());
        let token = self.store.seal_session(&id, &serde_json::to_vec(&sealed).map_err(Error::internal)?)?;
        let secret = self.store.session_secret(&id)?;
        Ok(Assumed { credentials: TemporaryCredentials { id, secret, session: Arc::new(session) }, token })
    }

    /// GetCallerIdentity.
    ///
    /// # Errors
    /// [`Kind::NoPermission`] when the owner of the AccessKey, or the role, is gone.
    pub fn caller_identity(&self, operator: &Operator) -> Result<CallerIdentity> {
        let access = self.snapshot.judging()?;
        let identity = access.identity(operator).ok_or_else(|| nobody(operator))?;
        let arn = arn_of(operator, identity);
        Ok(match (&operator.session, identity.kind) {
            (Some(session), _) => CallerIdentity::AssumedRole { arn, id: session.id(), role_id: session.role_id.clone() },
            (None, IdentityKind::Root) => CallerIdentity::Root { arn },
            (None, IdentityKind::User | IdentityKind::Role) => CallerIdentity::User { arn, name: identity.name.clone() },
        })
    }
}

impl Access {
    /// The role that an ARN calls.
    fn role_of_arn(&self, arn: &str) -> Option<&Role> {
        self.role(&arn.strip_prefix(&ram_arn("role", &""))?.parse::<Name>().ok()?)
    }

    /// Who an operator is, if it is still there.
    pub(super) fn identity(&self, operator: &Operator) -> Option<&Identity> {
        match &operator.session {
            None => self.identity_of(&operator.access_key),
            Some(session) => {
                self.role(&session.role).filter(|role| role.id == session.role_id)?;
                self.identities.get(&session.role)
            }
        }
    }
}

fn arn_of(operator: &Operator, identity: &Identity) -> String {
    match (&operator.session, identity.kind) {
        (Some(session), _) => session.arn(),
        (None, IdentityKind::Root) => format!("acs:ram::{ACCOUNT}:root"),
        (None, IdentityKind::User) => ram_arn("user", &identity.name),
        (None, IdentityKind::Role) => ram_arn("role", &identity.name),
    }
}

/// Why a role is not assumed that is there.
const NOT_ALLOWED: &str = "the trust policy does not allow it";

/// What whoever may not assume a role is told, whether there is such a role or not. `why` is for the log.
fn not_trusted(role: &str, who: &str, why: &'static str) -> Error {
    let text = format!("There is no role {:?}, or its trust policy does not let {who} assume it.", excerpt(role));
    Error::new(Kind::NoPermission, text).caused_by(why)
}

fn nobody(operator: &Operator) -> Error {
    Error::new(Kind::NoPermission, format!("The owner of {operator} is gone."))
}

fn session_policy(text: &str) -> Result<Document> {
    if text.len() > SESSION_POLICY_BYTES {
        return Err(Error::invalid(format!("The parameter Policy has at most {SESSION_POLICY_BYTES} bytes.")));
    }
    text.parse().map_err(|error: Error| Error::new(error.kind(), format!("The parameter Policy: {}", error.message())))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_was_sealed_is_parsed_again() {
        let policy = r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"*"}]}"#;
        for policy in [None, Some(policy)] {
            let sealed = SealedSession {
                role: "deployer",
                role_id: "300000000000000001",
                name: "ci@main",
                expires: 1_800_000_000,
                policy: policy.map(Into::into),
            };
            let session = SealedSession::parse(&serde_json::to_vec(&sealed).unwrap()).unwrap();
            assert_eq!((session.to_string().as_str(), session.expires.unix()), ("deployer/ci@main", 1_800_000_000));
            assert_eq!(session.policy.as_ref().map(Document::text), policy);
        }
    }

    proptest! {
        #[test]
        fn anything_is_parsed_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200), name in ".{0,70}") {
            prop_assert!(SealedSession::parse(&bytes).is_none());
            let json = serde_json::json!({ "role": "r", "role_id": "300000000000000001", "name": name, "expires": 1 });
            let expected = name.parse::<crate::model::SessionName>().is_ok();
            prop_assert_eq!(SealedSession::parse(json.to_string().as_bytes()).is_some(), expected);
        }
    }
}
