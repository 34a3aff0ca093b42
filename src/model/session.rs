//! A role that somebody has assumed for a while.

use std::fmt;

use super::arn::ram_arn;
use super::operator::Document;
use super::{Name, RoleId, SessionName};
use crate::base::Timestamp;

/// The most bytes of a session policy (the API's limit).
pub const SESSION_POLICY_BYTES: usize = 2048;

/// A role as somebody has assumed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The role.
    pub role: Name,
    /// Its id; a role of the same name that has another is not meant.
    pub role_id: RoleId,
    /// What whoever assumed it calls the session.
    pub name: SessionName,
    /// What the session is permitted of what the role is permitted; everything without one.
    pub policy: Option<Document>,
    /// Until when.
    pub expires: Timestamp,
}

impl Session {
    /// What GetCallerIdentity calls it: `acs:ram::<account>:assumed-role/<role>/<session>`.
    pub fn arn(&self) -> String {
        ram_arn("assumed-role", self)
    }

    /// What AssumeRole calls it: `acs:ram::<account>:role/<role>/<session>`.
    pub fn role_arn(&self) -> String {
        ram_arn("role", self)
    }

    /// `<id of the role>:<session>`.
    pub fn id(&self) -> String {
        format!("{}:{}", self.role_id, self.name)
    }
}

/// `<role>/<session>`.
impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.role, self.name)
    }
}
