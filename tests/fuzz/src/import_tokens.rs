//! Import tokens: only the one that was given out is taken. The input is what is done to that: how many bytes are cut off at its end, and
//! what is added to its bytes, and behind them.

use keystead::server::in_process;
use keystead::wire::openapi::{Action, Parameters};

use super::installation::{self, Effect, from_base64, to_base64};
use super::{Verdict, forms};

/// A token, and what was done to it.
pub fn changed(genuine: &[u8], input: &[u8]) -> Vec<u8> {
    let (cut, added) = input.split_first().map_or((0, input), |(cut, added)| (usize::from(*cut), added));
    let mut token = genuine.to_vec();
    token.truncate(genuine.len().saturating_sub(cut));
    let length = token.len().min(added.len());
    token.iter_mut().zip(added).for_each(|(byte, added)| *byte = byte.wrapping_add(*added));
    token.extend_from_slice(&added[length..]);
    token
}

pub fn check(input: &[u8]) -> Verdict {
    installation::with(|installation| {
        let genuine = from_base64(&installation.named("@import-token"));
        let token = changed(&genuine, input);
        let named = installation.named("KeyId=@external&EncryptedKeyMaterial=@material&ImportToken=");
        let parameters = format!("{named}{}", forms::encoded(&to_base64(&token)));
        let parameters = Parameters::parse(parameters.as_bytes()).expect("parameters");
        let served = installation.serve(Effect::Lasting, |kms, operator, _| async move {
            in_process::openapi(&kms, &operator, Action::ImportKeyMaterial, &parameters).await
        });
        assert_eq!(served.is_ok(), token == genuine);
        if let Err(failed) = &served {
            let code = if token.is_empty() { "MissingParameter" } else { "InvalidImportToken" };
            assert_eq!(failed.code, code, "{}", failed.message);
        }
        Verdict::of(served.ok().as_ref())
    })
}
