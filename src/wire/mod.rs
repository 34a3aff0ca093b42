//! Byte and JSON shapes of both protocols, what is signed in them, and the page of the slots. No logic, no I/O: pure functions over
//! what came or goes.

pub mod date;
pub mod instance_protocol;
pub mod openapi;
pub mod signing;
pub mod slots;

/// Where resources live, for their ARNs: an installation is one region.
pub const REGION: &str = "keystead";
/// Whose resources they are, for their ARNs: an installation is one account.
pub const ACCOUNT: &str = "0";

/// `acs:kms:<region>:<account>:<kind>/<name>`.
pub fn arn(kind: &str, name: &dyn std::fmt::Display) -> String {
    format!("acs:kms:{REGION}:{ACCOUNT}:{kind}/{name}")
}
