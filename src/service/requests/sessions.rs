//! What the use cases of the Security Token Service take and give.

use std::time::Duration;

use crate::model::{Name, RoleId, SessionName};
use crate::service::TemporaryCredentials;

/// A session that is to begin: what AssumeRole and AssumeRoleWithOIDC say alike.
#[derive(Debug)]
pub struct NewSession {
    /// The role's ARN.
    pub role: String,
    /// What the session is called.
    pub name: SessionName,
    /// For how long; an hour without one.
    pub duration: Option<Duration>,
    /// What the session is permitted of what the role is; everything without one.
    pub policy: Option<String>,
}

/// AssumeRole.
#[derive(Debug)]
pub struct AssumeRole {
    /// The session.
    pub session: NewSession,
    /// What the trust policy may ask for.
    pub external_id: Option<String>,
}

/// The answer to [`AssumeRole`] and AssumeRoleWithOIDC.
pub struct Assumed {
    /// The credentials, with their session.
    pub credentials: TemporaryCredentials,
    /// What is to be sent with each of their requests.
    pub token: String,
}

/// The answer to GetCallerIdentity, with the ARN of each.
#[derive(Debug, PartialEq, Eq)]
pub enum CallerIdentity {
    /// The root.
    Root {
        /// `acs:ram::<account>:root`.
        arn: String,
    },
    /// A user.
    User {
        /// `acs:ram::<account>:user/<name>`.
        arn: String,
        /// Its name.
        name: Name,
    },
    /// A session.
    AssumedRole {
        /// `acs:ram::<account>:assumed-role/<role>/<session>`.
        arn: String,
        /// `<id of the role>:<session>`.
        id: String,
        /// The id of the role.
        role_id: RoleId,
    },
}
