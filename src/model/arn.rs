//! The names of resources that the whole world would understand: `acs:kms:<region>:<account>:<kind>/<name>`.

/// Where resources live, for their ARNs: an installation is one region.
pub const REGION: &str = "keystead";
/// Whose resources they are, for their ARNs: an installation is one account.
pub const ACCOUNT: &str = "0";

/// `acs:kms:<region>:<account>:<kind>/<name>`.
pub fn arn(kind: &str, name: &dyn std::fmt::Display) -> String {
    format!("acs:kms:{REGION}:{ACCOUNT}:{kind}/{name}")
}

/// `acs:ram::<account>:<kind>/<name>`: who may have permissions.
pub fn ram_arn(kind: &str, name: &dyn std::fmt::Display) -> String {
    format!("acs:ram::{ACCOUNT}:{kind}/{name}")
}
