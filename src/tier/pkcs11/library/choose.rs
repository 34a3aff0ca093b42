//! Which token of a module is meant: exactly one, and for one slot of the process alone.

use cryptoki::error::Error as Failure;

use crate::base::lock;
use crate::tier::pkcs11::library::lease::Lease;
use crate::tier::pkcs11::library::module::Claim;
use crate::tier::pkcs11::library::token::TokenSummary;
use crate::tier::pkcs11::library::uri::TokenUri;

/// Why a token cannot be claimed.
pub(crate) enum NoToken {
    /// The module failed.
    Failed(Failure),
    /// There is none of that name: it may come back.
    None(String),
    /// The configuration must change.
    Misconfigured(String),
}

impl From<Failure> for NoToken {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

fn labels(tokens: &[TokenSummary]) -> String {
    let labels: Vec<_> = tokens.iter().filter(|token| token.initialized).map(|token| format!("{:?}", token.label)).collect();
    if labels.is_empty() { "none".to_owned() } else { labels.join(", ") }
}

impl Lease {
    /// The tokens that are there. A slot whose token cannot be read is left out and logged.
    pub(crate) fn tokens(&self) -> Result<Vec<TokenSummary>, Failure> {
        let slots = self.context()?.get_slots_with_token()?;
        Ok(slots
            .into_iter()
            .filter_map(|slot| match self.module().functions.token(slot.into()) {
                Ok(token) => Some(token),
                Err(failure) => {
                    tracing::warn!(module = %self.module().path.display(), slot = slot.id(), %failure, "the token cannot be read");
                    None
                }
            })
            .collect())
    }

    /// The one token that `uri` means, for nobody else in this process: login and logout are states of the token, not of a
    /// session.
    ///
    /// # Errors
    /// The module fails; or none, several, or in use; each names what to do.
    pub(crate) fn claim(&self, uri: &TokenUri) -> Result<TokenSummary, NoToken> {
        let tokens = self.tokens()?;
        let mut matching = tokens.iter().filter(|token| token.initialized && uri.matches(token));
        let module = self.path().display();
        let token = match (matching.next(), matching.next()) {
            (Some(token), None) => token.clone(),
            (None, _) => {
                return Err(NoToken::None(format!("No token of {module} matches {uri}; there are: {}.", labels(&tokens))));
            }
            (Some(_), Some(_)) => {
                return Err(NoToken::Misconfigured(format!("Several tokens of {module} match {uri}: add serial= or slot-id=.")));
            }
        };
        let mut state = lock(&self.module().state);
        // Slots may be numbered anew by a C_Initialize: older claims say nothing.
        let initialisation = self.module().gate.initialisation();
        let wanted = Claim { slot_id: token.slot_id, initialisation, serial: token.serial.clone() };
        if state.claims.iter().any(|(user, claim)| *user != self.user && *claim == wanted) {
            return Err(NoToken::Misconfigured(format!(
                "The token {} is in use by another instance of this process.",
                token.label
            )));
        }
        state.claims.insert(self.user, wanted);
        Ok(token)
    }
}
