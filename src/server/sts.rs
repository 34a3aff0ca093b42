//! The operations of the Security Token Service: from parameters to a use case, and from its outcome to JSON.

use std::time::Duration;

use serde::Serialize;

use super::respond::{self, Failure};
use crate::base::{Error, Result};
use crate::model::arn::ACCOUNT;
use crate::service::Kms;
use crate::service::requests::{AssumeRole, CallerIdentity, Operator};
use crate::wire::date;
use crate::wire::openapi::Parameters;
use crate::wire::openapi::answers::Answer;
use crate::wire::sts::{Action, AssumeRoleAnswer, AssumedRoleUser, CallerIdentityAnswer, Credentials};

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
        let served = match action {
            Action::AssumeRole => self.assume_role(),
            Action::GetCallerIdentity => self.get_caller_identity(),
        };
        served.map_err(respond::sts_failure)
    }

    fn assume_role(&self) -> Result<Vec<u8>> {
        if self.parameters.optional("SourceIdentity").is_some() {
            return Err(Error::unsupported("The parameter SourceIdentity is not served: leave it out."));
        }
        let seconds = self.parameters.number("DurationSeconds", 0..=u32::MAX, 0)?;
        let assumed = self.kms.assume_role(
            self.operator,
            &AssumeRole {
                role: self.parameters.required("RoleArn")?.to_owned(),
                session: self.parameters.required_as("RoleSessionName")?,
                duration: self.parameters.optional("DurationSeconds").map(|_| Duration::from_secs(seconds.into())),
                policy: self.parameters.optional("Policy").map(str::to_owned),
                external_id: self.parameters.optional("ExternalId").map(str::to_owned),
            },
        )?;
        let (made, session) = (&assumed.credentials, &assumed.credentials.session);
        self.json(AssumeRoleAnswer {
            assumed_role_user: AssumedRoleUser { arn: session.role_arn(), assumed_role_id: session.id() },
            credentials: Credentials {
                access_key_id: made.id.as_str(),
                access_key_secret: std::str::from_utf8(made.secret.expose()).map_err(Error::internal)?,
                expiration: date::to_iso(session.expires),
                security_token: &assumed.token,
            },
        })
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
        serde_json::to_vec(&Answer { request_id: self.request_id, body }).map_err(Error::internal)
    }
}
