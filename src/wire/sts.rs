//! The API of the Security Token Service, version 2015-04-01: its operations and answers. Requests are signed as those of the OpenAPI,
//! but for those that have a token of an OIDC provider instead.

use std::str::FromStr;

use serde::Serialize;

use super::openapi::Effect;

/// The only version.
pub const VERSION: &str = "2015-04-01";

/// The operation whose requests are not signed: temporary credentials of a role, for whom a token of an OIDC provider names.
pub const ASSUME_ROLE_WITH_OIDC: &str = "AssumeRoleWithOIDC";

/// An operation that is served, of those whose requests are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Temporary credentials of a role, for whom its trust policy names.
    AssumeRole,
    /// Who signed the request.
    GetCallerIdentity,
}

/// The operations of the API that are not served.
pub const UNSERVED: &[&str] = &["AssumeRoleWithSAML"];

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

/// AssumeRoleWithOIDC.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AssumeRoleWithOidcAnswer<'a> {
    /// The session.
    pub assumed_role_user: AssumedRoleUser,
    /// What its requests are signed with.
    pub credentials: Credentials<'a>,
    /// What the token says.
    #[serde(rename = "OIDCTokenInfo")]
    pub token_info: OidcTokenInfo<'a>,
}

/// What the token of an OIDC provider says, which was verified.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct OidcTokenInfo<'a> {
    /// Who: `sub`.
    pub subject: &'a str,
    /// Whose token it is: `iss`.
    pub issuer: &'a str,
    /// For whom it is: `aud`, with commas between several.
    pub client_ids: String,
    /// When it was issued: `yyyy-MM-ddTHH:mm:ssZ`.
    pub issuance_time: String,
    /// Until when it is good.
    pub expiration_time: String,
    /// [`VERIFIED`]: of any other no answer is given.
    pub verification_info: &'static str,
}

/// What is said of a token that was verified.
pub const VERIFIED: &str = "Success";

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
