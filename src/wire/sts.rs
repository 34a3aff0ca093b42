//! The API of the Security Token Service, version 2015-04-01: its operations and answers. Requests are signed as those of the OpenAPI.

use std::str::FromStr;

use serde::Serialize;

use super::openapi::Effect;

/// The only version.
pub const VERSION: &str = "2015-04-01";

/// An operation that is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Temporary credentials of a role, for whom its trust policy names.
    AssumeRole,
    /// Who signed the request.
    GetCallerIdentity,
}

/// The operations of the API that are not served.
pub const UNSERVED: &[&str] = &["AssumeRoleWithOIDC", "AssumeRoleWithSAML"];

impl Action {
    /// Every one of them.
    pub const ALL: [Self; 2] = [Self::AssumeRole, Self::GetCallerIdentity];

    /// The API's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AssumeRole => "AssumeRole",
            Self::GetCallerIdentity => "GetCallerIdentity",
        }
    }

    /// What the operation leaves behind. Credentials go to whoever sends the request, which nobody may send again.
    pub const fn effect(self) -> Effect {
        match self {
            Self::AssumeRole => Effect::Change,
            Self::GetCallerIdentity => Effect::None,
        }
    }
}

impl FromStr for Action {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|action| action.name() == text).ok_or(())
    }
}

/// AssumeRole.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AssumeRoleAnswer<'a> {
    /// The session.
    pub assumed_role_user: AssumedRoleUser,
    /// What its requests are signed with.
    pub credentials: Credentials<'a>,
}

/// A session.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AssumedRoleUser {
    /// `acs:ram::<account>:role/<role>/<session>`.
    pub arn: String,
    /// `<id of the role>:<session>`.
    pub assumed_role_id: String,
}

/// Temporary credentials.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Credentials<'a> {
    /// `STS.` and so on.
    pub access_key_id: &'a str,
    /// What is signed with.
    pub access_key_secret: &'a str,
    /// Until when: `yyyy-MM-ddTHH:mm:ssZ`.
    pub expiration: String,
    /// To be sent with each request.
    pub security_token: &'a str,
}

/// GetCallerIdentity.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CallerIdentityAnswer {
    /// The account.
    pub account_id: &'static str,
    /// Who.
    pub arn: String,
    /// Account, RAMUser or AssumedRoleUser.
    pub identity_type: &'static str,
    /// The account, the user's name, or role id and session.
    pub principal_id: String,
    /// Of a session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role_id: Option<String>,
    /// Of the root and of users: their names stand for ids.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
}
