//! The suite on the hardware tier in front of SoftHSM; and, where the environment names one, in front of any other module.
//!
//! `KEYSTEAD_TEST_MODULE`, `KEYSTEAD_TEST_TOKEN` (an RFC 7512 URI) and `KEYSTEAD_TEST_PIN` name a token of one's own instead. It
//! serves one test at a time: run with `--test-threads 1`.

#[path = "../common/softhsm.rs"]
#[allow(clippy::module_inception, reason = "tests share the file")]
mod softhsm;

use std::sync::Arc;
use std::time::Duration;

use keystead::base::Pin;
use keystead::tier::Tier;
use keystead::tier::pkcs11::{Pkcs11Tier, Settings};

use crate::bench::{Facts, Keeping};

const FACTS: Facts = Facts { keeping: Keeping::ItsKeys };

async fn tier() -> Arc<dyn Tier> {
    let named = |name| std::env::var(name).ok();
    let settings = match (named("KEYSTEAD_TEST_MODULE"), named("KEYSTEAD_TEST_TOKEN"), named("KEYSTEAD_TEST_PIN")) {
        (Some(module), Some(token), Some(pin)) => Settings::new(module, token.parse().unwrap(), Pin::new(pin)),
        _ => {
            let token = softhsm::uri(&softhsm::token()).parse().unwrap();
            Settings::new(softhsm::module(), token, Pin::new(softhsm::PIN.to_owned()))
        }
    };
    // More time than callers get: key generation on a busy machine is not what is tested.
    let patient = Duration::from_secs(120);
    Arc::new(Pkcs11Tier::connect(Settings { deadline: patient, generation_deadline: patient, ..settings }).await.unwrap())
}

crate::conformance!(crate::softhsm::tier, crate::softhsm::FACTS);
