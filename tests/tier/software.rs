//! The suite on the software tier.

use std::sync::Arc;
use std::time::Duration;

use keystead::tier::Tier;
use keystead::tier::software::SoftwareTier;

use crate::bench::{Facts, Keeping};

const FACTS: Facts = Facts { keeping: Keeping::Nothing };

/// With more time than callers get: key generation on a busy machine is not what is tested.
async fn tier() -> Arc<dyn Tier> {
    Arc::new(SoftwareTier::with_deadline(Duration::from_secs(120)))
}

crate::conformance!(crate::software::tier, crate::software::FACTS);
