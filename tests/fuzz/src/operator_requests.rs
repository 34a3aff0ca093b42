//! Requests of the OpenAPI from their parameters to their answers. One text: the parameters as in a query, `Action` among them; ids are
//! named as in `@aes`. Those of the Security Token Service come from a user that may assume a role.

use keystead::server::in_process;
use keystead::service::requests::Operator;
use keystead::wire::openapi::{Action, Parameters};
use keystead::wire::sts;
use serde_json::Value;

use super::installation::{self, Effect};
use super::{Verdict, text};

pub fn check(input: &[u8]) -> Verdict {
    let Some(text) = text(input) else { return Verdict::Refused };
    installation::with(|installation| {
        let Ok(parameters) = Parameters::parse(installation.named(text).as_bytes()) else { return Verdict::Refused };
        let Ok(parameters) = parameters.union(Parameters::default()) else { return Verdict::Refused };
        let name = parameters.optional("Action").unwrap_or_default();
        if let Ok(action) = name.parse::<sts::Action>() {
            // It leaves nothing behind: who has the credentials has all there is of a session.
            let served = installation.serve(Effect::None, |kms, operator, _| async move {
                let operator = Operator { access_key: installation::user(), ..operator };
                in_process::sts(&kms, &operator, action, &parameters)
            });
            return Verdict::of(served.ok().as_ref());
        }
        let Ok(action) = name.parse::<Action>() else { return Verdict::Refused };
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
