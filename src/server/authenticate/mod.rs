//! Who is calling: client keys at the instance endpoints, AccessKeys at the shared gateway, tokens of OIDC providers at the STS.

pub(super) mod instance;
pub(super) mod oidc;
pub(super) mod openapi;

use std::time::Duration;

/// How far a request's date may be off, either way.
pub(super) const WINDOW: Duration = Duration::from_secs(15 * 60);
