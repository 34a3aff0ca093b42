//! OIDC providers: who else may vouch for somebody, as a Kubernetes cluster or a CI system does for its jobs, by signed tokens.
//!
//! ```text
//! OidcProvider ──── issuer, client ids, key set         token (a JWT): signed by one of the keys, of the issuer, for a client id
//!      │                                                   │
//!      └── named by the trust policies of roles            └── FederatedIdentity: the subject, whom such a policy lets in or not
//! ```
//!
//! A token is verified with what is known of the provider, and nothing is fetched: the key set is given to us, and given again when the
//! provider changes its keys.

mod keys;
mod token;

use std::time::Duration;

use super::arn::ram_arn;
use super::{ClientId, IssuerUrl, Name};
use crate::base::{Error, Result, Timestamp};

pub use keys::{KEY_SET_BYTES, KEYS, KeySet};
pub use token::{FederatedIdentity, TOKEN, not_signed};

/// The most providers of an installation (RAM's default quota).
pub const PROVIDERS: usize = 100;
/// The most client ids of a provider.
pub const CLIENT_IDS: usize = 50;
/// How long after it was issued a token is taken, unless another limit is given (RAM's IssuanceLimitTime).
pub const DEFAULT_ISSUANCE_LIMIT: Duration = Duration::from_secs(12 * 3600);
/// The shortest such limit (RAM's).
pub const SHORTEST_ISSUANCE_LIMIT: Duration = Duration::from_secs(3600);
/// The longest such limit (RAM's).
pub const LONGEST_ISSUANCE_LIMIT: Duration = Duration::from_secs(168 * 3600);

/// An OIDC identity provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OidcProvider {
    /// Its name.
    pub name: Name,
    /// What its tokens have in `iss`.
    pub issuer: IssuerUrl,
    /// Of what its tokens have in `aud` one is among these.
    pub client_ids: ClientIds,
    /// What its tokens are verified by.
    pub keys: KeySet,
    /// How long after it was issued a token is taken, whatever it says itself, between [`SHORTEST_ISSUANCE_LIMIT`] and
    /// [`LONGEST_ISSUANCE_LIMIT`].
    pub issuance_limit: Duration,
    /// Free text.
    pub description: String,
    /// When it was made.
    pub created: Timestamp,
}

impl OidcProvider {
    /// What requests and trust policies call it by: `acs:ram::<account>:oidc-provider/<name>`.
    pub fn arn(&self) -> String {
        arn_of(&self.name)
    }

    /// The name in an ARN, if it is the ARN of a provider.
    pub fn name_in(arn: &str) -> Option<Name> {
        arn.strip_prefix(&ram_arn("oidc-provider", &""))?.parse().ok()
    }
}

fn arn_of(name: &Name) -> String {
    ram_arn("oidc-provider", name)
}

/// The client ids of a provider: between one and [`CLIENT_IDS`], each once, in the order of their characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientIds(Vec<ClientId>);

impl ClientIds {
    /// These.
    ///
    /// # Errors
    /// [`Kind::InvalidParameter`](crate::base::Kind::InvalidParameter) for none, too many, or one that is given twice.
    pub fn from_list(mut ids: Vec<ClientId>) -> Result<Self> {
        ids.sort();
        if let Some(pair) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::invalid(format!("The client id {} is given twice.", pair[0])));
        }
        match ids.len() {
            0 => Err(Error::invalid("An OIDC provider has at least one client id: what its tokens have in aud.")),
            1..=CLIENT_IDS => Ok(Self(ids)),
            _ => Err(Error::invalid(format!("An OIDC provider has at most {CLIENT_IDS} client ids."))),
        }
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &ClientId> {
        self.0.iter()
    }

    fn has(&self, audience: &str) -> bool {
        self.0.iter().any(|id| id.as_str() == audience)
    }
}

#[cfg(test)]
mod tests;
