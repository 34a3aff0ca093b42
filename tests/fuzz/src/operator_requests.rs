//! Requests of the OpenAPI from their parameters to their answers. One text: the parameters as in a query, `Action` among them; ids are
//! named as in `@aes`.

use keystead::server::in_process;
use keystead::wire::openapi::{Action, Parameters};
use serde_json::Value;

use super::installation::{self, Effect};
use super::{Verdict, text};

pub fn check(input: &[u8]) -> Verdict {
    let Some(text) = text(input) else { return Verdict::Refused };
    installation::with(|installation| {
        let Ok(parameters) = Parameters::parse(installation.named(text).as_bytes()) else { return Verdict::Refused };
        let Ok(parameters) = parameters.union(Parameters::default()) else { return Verdict::Refused };
        let Some(action) = parameters.optional("Action").and_then(|name| name.parse::<Action>().ok()) else {
            return Verdict::Refused;
        };
        let served = installation.serve(effect(action), |kms, operator, _| async move {
            in_process::openapi(&kms, &operator, action, &parameters).await
        });
        if let Ok(answer) = &served {
            let answer: Value = serde_json::from_slice(answer).expect("JSON");
            assert!(answer["RequestId"].is_string(), "{answer}");
        }
        Verdict::of(served.ok().as_ref())
    })
}

/// Operations that only look or compute have names that say so; all others change something.
fn effect(action: Action) -> Effect {
    let reading = ["Describe", "List", "Get", "Encrypt", "Decrypt", "ReEncrypt", "GenerateDataKey", "Asymmetric", "Open"];
    if reading.iter().any(|beginning| action.name().starts_with(beginning)) { Effect::None } else { Effect::Lasting }
}
