//! Requests that nobody signs: a token says who calls, which an OIDC provider signed.

use std::net::IpAddr;
use std::sync::Arc;

use super::openapi::Signed;
use crate::base::{Result, excerpt};
use crate::server::respond::{Failure, Refusal};
use crate::service::requests::FederatedCaller;
use crate::service::{Kms, Trace};
use crate::wire::sts::{ASSUME_ROLE_WITH_OIDC, VERSION};

/// What says which provider, by its ARN.
pub(in crate::server) const PROVIDER: &str = "OIDCProviderArn";
/// What the provider signed.
const TOKEN: &str = "OIDCToken";

impl Signed<'_> {
    /// Whether it is of the one operation whose requests need no signature. A signature that is there all the same says nothing.
    pub(in crate::server) fn has_token_instead(&self) -> bool {
        matches!(self.said("Action", "x-acs-action"), Ok(Some(ASSUME_ROLE_WITH_OIDC)))
    }

    /// Who calls, as the token says. Requests may be sent again: a token is good as often as it is used, until it expires.
    pub(in crate::server) fn check_token(&self, kms: &Kms, source: IpAddr, trace: Arc<Trace>) -> Result<FederatedCaller, Failure> {
        let version = self.said("Version", "x-acs-version")?.ok_or(Refusal::Missing("Version"))?;
        if version != VERSION {
            return Err(Refusal::UnknownVersion { is: excerpt(version).to_owned(), served: VERSION }.into());
        }
        // A file that a person wrote ends with a line feed.
        let identity = kms.verify_oidc_token(self.all.required(PROVIDER)?, self.all.required(TOKEN)?.trim_ascii_end())?;
        Ok(FederatedCaller { identity, source, trace })
    }
}
