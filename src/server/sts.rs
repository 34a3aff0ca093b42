//! The operations of the Security Token Service: from parameters to a use case, and from its outcome to JSON.

use std::time::Duration;

use serde::Serialize;

use super::respond::{self, Failure};
use crate::base::{Error, Result};
use crate::model::arn::ACCOUNT;
use crate::model::oidc::FederatedIdentity;
use crate::service::Kms;
use crate::service::requests::{AssumeRole, Assumed, CallerIdentity, FederatedCaller, NewSession, Operator};
use crate::wire::date;
use crate::wire::openapi::Parameters;
use crate::wire::openapi::answers::Answer;
use crate::wire::sts::{
    Action, AssumeRoleAnswer, AssumeRoleWithOidcAnswer, AssumedRoleUser, CallerIdentityAnswer, Credentials, OidcTokenInfo, VERIFIED,
};

/// One request of a known operator.
pub(super) struct Call<'a> {
    pub(super) kms: &'a Kms,
    pub(super) operator: &'a Operator,
    pub(super) parameters: &'a Parameters,
    pub(super) request_id: &'a str,
}

impl Call<'_> {
    /// Serves an operation.
    pub(super) fn answer(&self, action: Action) -> Result<Vec<u8>, Failure> {
        let serve = || match action {
            Action::AssumeRole => self.assume_role(),
            Action::GetCallerIdentity => self.get_caller_identity(),
        };
        whole(self.parameters).and_then(|()| serve()).map_err(respond::sts_failure)
    }

    fn assume_role(&self) -> Result<Vec<u8>> {
        let request = AssumeRole {
            session: new_session(self.parameters)?,
            external_id: self.parameters.optional("ExternalId").map(str::to_owned),
        };
        let assumed = self.kms.assume_role(self.operator, &request)?;
        self.json(AssumeRoleAnswer { assumed_role_user: user(&assumed), credentials: credentials(&assumed)? })
    }

    fn get_caller_identity(&self) -> Result<Vec<u8>> {
        let account = ACCOUNT.to_owned();
        let (arn, identity_type, principal_id, role_id, user_id) = match self.kms.caller_identity(self.operator)? {
            CallerIdentity::Root { arn } => (arn, "Account", account.clone(), None, Some(account)),
            CallerIdentity::User { arn, name } => (arn, "RAMUser", name.to_string(), None, Some(name.to_string())),
            CallerIdentity::AssumedRole { arn, id, role_id } => (arn, "AssumedRoleUser", id, Some(role_id.to_string()), None),
        };
        self.json(CallerIdentityAnswer { account_id: ACCOUNT, arn, identity_type, principal_id, role_id, user_id })
    }

    fn json<T: Serialize>(&self, body: T) -> Result<Vec<u8>> {
        json(self.request_id, body)
    }
}

/// AssumeRoleWithOIDC, for somebody whose token was verified.
pub(super) fn assume_role_with_oidc(
    kms: &Kms,
    caller: &FederatedCaller,
    parameters: &Parameters,
    request_id: &str,
) -> Result<Vec<u8>, Failure> {
    let serve = || {
        whole(parameters)?;
        let assumed = kms.assume_role_with_oidc(caller, &new_session(parameters)?)?;
        let FederatedIdentity { issuer, subject, audiences, issued, expires, provider: _ } = &caller.identity;
        let token_info = OidcTokenInfo {
            subject,
            issuer,
            client_ids: audiences.join(","),
            issuance_time: date::to_iso(*issued),
            expiration_time: date::to_iso(*expires),
            verification_info: VERIFIED,
        };
        let (assumed_role_user, credentials) = (user(&assumed), credentials(&assumed)?);
        json(request_id, AssumeRoleWithOidcAnswer { assumed_role_user, credentials, token_info })
    };
    serve().map_err(respond::oidc_failure)
}

/// No parameter of the service is written in parts: a session whose Policy a client took apart would be one without it.
fn whole(parameters: &Parameters) -> Result<()> {
    parameters.check_parts(&[])
}

/// What both operations have in their parameters.
fn new_session(parameters: &Parameters) -> Result<NewSession> {
    if parameters.optional("SourceIdentity").is_some() {
        return Err(Error::unsupported("The parameter SourceIdentity is not served: leave it out."));
    }
    let seconds = parameters.number("DurationSeconds", 0..=u32::MAX, 0)?;
    Ok(NewSession {
        role: parameters.required("RoleArn")?.to_owned(),
        name: parameters.required_as("RoleSessionName")?,
        duration: parameters.optional("DurationSeconds").map(|_| Duration::from_secs(seconds.into())),
        policy: parameters.optional("Policy").map(str::to_owned),
    })
}

fn user(assumed: &Assumed) -> AssumedRoleUser {
    let session = &assumed.credentials.session;
    AssumedRoleUser { arn: session.role_arn(), assumed_role_id: session.id() }
}

fn credentials(assumed: &Assumed) -> Result<Credentials<'_>> {
    let made = &assumed.credentials;
    Ok(Credentials {
        access_key_id: made.id.as_str(),
        access_key_secret: std::str::from_utf8(made.secret.expose()).map_err(Error::internal)?,
        expiration: date::to_iso(made.session.expires),
        security_token: &assumed.token,
    })
}

fn json<T: Serialize>(request_id: &str, body: T) -> Result<Vec<u8>> {
    serde_json::to_vec(&Answer { request_id, body }).map_err(Error::internal)
}
