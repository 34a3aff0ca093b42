//! Roles of the matrix, and the sessions that ask.

use std::sync::Arc;
use std::time::Duration;

use keystead::base::random;
use keystead::model::RoleId;
use keystead::model::access::{AuthenticationMethod, Permission, Scope};
use keystead::model::operator::{IdentityKind, Role};
use keystead::service::requests::{AssumeRole, Assumed, NewSession, Operator};
use serde_json::{Value, json};

use super::world::{World, allow_inside};
use super::{Credential, Resource};

/// How long a session lasts: its role's limit.
pub(super) const SESSION: Duration = Duration::from_secs(3600);
/// How long the session lasts that is to have expired: the shortest one.
const SHORT: Duration = Duration::from_secs(900);

/// The user that every role trusts.
const ASSUMER: &str = "assumer";
/// May what an operation needs in scope.
const EXACT_ROLE: &str = "exact-role";
/// May everything from inside.
const WIDE_ROLE: &str = "wide-role";
/// May nothing.
const EMPTY_ROLE: &str = "empty-role";
/// Has an access point, and may nothing else.
const APPLICATION: &str = "application";

/// The role of a session.
pub(super) fn role_of(credential: Credential) -> Option<&'static str> {
    match credential {
        Credential::Session => Some(EXACT_ROLE),
        Credential::NarrowedSession | Credential::ExpiredSession => Some(WIDE_ROLE),
        Credential::SessionOfNothing => Some(EMPTY_ROLE),
        Credential::SessionWithAccessPoint => Some(APPLICATION),
        Credential::None
        | Credential::WrongSignature
        | Credential::OldDate
        | Credential::Unknown
        | Credential::ExpiredClientKey
        | Credential::FutureClientKey
        | Credential::NoPolicy
        | Credential::KeyUser
        | Credential::KeyUserOfAll
        | Credential::SecretUser
        | Credential::Shared
        | Credential::DisabledAccessKey
        | Credential::NoStatement
        | Credential::Exactly
        | Credential::OtherActions
        | Credential::OtherResource
        | Credential::Denied
        | Credential::Administrator => None,
    }
}

/// A policy of sessions, which says nothing of resources and addresses.
pub(super) fn allow_everywhere(actions: &[&str]) -> Value {
    json!({ "Effect": "Allow", "Action": actions, "Resource": "*" })
}

impl World {
    /// Callers of the OpenAPI that have assumed a role. What is permitted to [`Credential::Session`], and what the policy of
    /// [`Credential::NarrowedSession`] says, is said anew for each operation.
    pub(super) async fn make_roles(&mut self) {
        let key = self.user(ASSUMER).await;
        self.assumer = Some(Operator { access_key: key.info.id, ..self.bench.operator.clone() });
        for called in [EXACT_ROLE, WIDE_ROLE, EMPTY_ROLE, APPLICATION] {
            self.role(called).await;
        }
        self.allow(Credential::NarrowedSession, &json!([allow_inside(&["*"], &["*"])])).await;
        self.bench.kms.refresh().await.unwrap();
        // In scope are keys of the other instance, too: the policy is of this one.
        let keys: Vec<_> = [Resource::InScope, Resource::Elsewhere]
            .into_iter()
            .filter_map(|resource| self.keys(resource))
            .flat_map(|keys| [&keys.aes, &keys.rsa, &keys.ec, &keys.hmac])
            .map(|key| format!("key/{key}"))
            .collect();
        let own = Scope::Instance(self.bench.instance.clone());
        self.policy(APPLICATION, own, Permission::CryptoServiceKeyUser, &keys, &["in-scope"]).await;
        self.access_point(APPLICATION, APPLICATION, AuthenticationMethod::RamRole).await;
        self.begin_session(Credential::ExpiredSession, None, SHORT);
        // The one that is to have expired is begun while it is good.
        self.bench.clock.set(self.bench.kms.now().after(SHORT));
        self.begin_session(Credential::Session, None, SESSION);
        self.begin_session(Credential::SessionOfNothing, Some(&allow_everywhere(&["*"])), SESSION);
        self.begin_session(Credential::SessionWithAccessPoint, None, SESSION);
    }

    async fn role(&self, called: &str) {
        let trust = json!({ "Version": "1", "Statement": [{
            "Effect": "Allow", "Action": "sts:AssumeRole", "Principal": { "RAM": [format!("acs:ram::0:user/{ASSUMER}")] },
        }] });
        let identity = self.identity(called, IdentityKind::Role);
        let role = Role {
            name: identity.name.clone(),
            id: RoleId::from_entropy(random::bytes()),
            trust: trust.to_string().parse().unwrap(),
            max_session: SESSION,
        };
        self.bench.store.create_role(&identity, &role).await.unwrap();
    }

    /// Assumes the role of a credential, with a policy of one statement, and asks by that session from then on.
    pub(super) fn begin_session(&self, credential: Credential, statement: Option<&Value>, duration: Duration) {
        let session = NewSession {
            role: format!("acs:ram::0:role/{}", role_of(credential).expect("it is of a role")),
            name: "matrix".parse().unwrap(),
            duration: Some(duration),
            policy: statement.map(|statement| json!({ "Version": "1", "Statement": [statement] }).to_string()),
        };
        let request = AssumeRole { session, external_id: None };
        let assumer = self.assumer.as_ref().expect("there is somebody who assumes roles");
        let assumed = self.bench.kms.assume_role(assumer, &request).unwrap();
        self.sessions.write().unwrap().insert(credential, Arc::new(assumed));
    }

    pub(super) fn session(&self, credential: Credential) -> Arc<Assumed> {
        Arc::clone(&self.sessions.read().unwrap()[&credential])
    }
}
