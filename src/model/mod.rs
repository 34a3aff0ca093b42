//! Floor 1: data and rules, pure. No I/O, no clock, no wire format: `now` and randomness are arguments.

#[cfg(feature = "server")]
pub mod access;
#[cfg(feature = "server")]
pub mod alert;
pub mod algorithm;
#[cfg(feature = "server")]
pub mod arn;
#[cfg(feature = "server")]
pub mod ciphertext;
mod ids;
#[cfg(feature = "server")]
pub mod instance;
pub mod key;
#[cfg(feature = "server")]
mod key_import;
#[cfg(feature = "server")]
mod key_life;
#[cfg(feature = "server")]
pub mod limits;
#[cfg(feature = "server")]
pub mod oidc;
#[cfg(feature = "server")]
pub mod operator;
#[cfg(feature = "server")]
pub mod proxies;
#[cfg(feature = "server")]
pub mod quota;
#[cfg(feature = "server")]
pub mod rotation;
#[cfg(feature = "server")]
pub mod session;
#[cfg(feature = "server")]
pub mod settled_clock;
#[cfg(feature = "server")]
pub mod tags;

pub use ids::{AccessKeyId, Alias, ClientId, ClientKeyId, InstanceId, IssuerUrl, KeyId, KeyVersionId, Name, RoleId, SessionName};
