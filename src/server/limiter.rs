//! Requests a second, by group of operations. Atomic numbers for each limit, no lock; an endpoint without limits has no limiter.
//!
//! The generic cell rate algorithm: the number says when the group will have caught up with what was admitted. A second's worth may
//! come at once; what comes on top waits for its turn or, as here, is refused with the time until then.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::respond::Refusal;
use crate::model::KeyId;
use crate::model::limits::{Group, LimitedEndpoint, Limits};
use crate::service::requests::Reach;
use crate::service::{Kms, RateUse};
use crate::wire::instance_protocol::Operation;
use crate::wire::openapi::{Action, CRYPTOGRAPHY, Effect};

/// Nanoseconds of a second: how far ahead a group may be.
const SECOND: u64 = 1_000_000_000;

/// The limits of an endpoint, of this node.
pub(super) struct Limiter {
    began: Instant,
    limited: [Option<Limited>; Group::ALL.len()],
}

struct Limited {
    rate: Rate,
    /// For the alerts.
    used: Arc<RateUse>,
}

struct Rate {
    /// Nanoseconds from one request to the next.
    period: u64,
    /// When it will have caught up, in nanoseconds since the beginning.
    caught_up: AtomicU64,
}

impl Limiter {
    /// None when nothing is limited.
    pub(super) fn of(kms: &Kms, endpoint: &LimitedEndpoint, limits: &Limits) -> Option<Self> {
        let limited = |group| {
            let limit = limits.get(group)?;
            let rate = Rate { period: SECOND / u64::from(limit.get()), caught_up: AtomicU64::new(0) };
            Some(Limited { rate, used: kms.rate_use(endpoint.clone(), group, limit) })
        };
        (!limits.is_empty()).then(|| Self { began: Instant::now(), limited: Group::ALL.map(limited) })
    }

    /// Whether a request of the instance protocol may be served now. `named` is the key that it names.
    pub(super) fn admit_operation(&self, kms: &Kms, operation: Operation, named: Option<&KeyId>) -> Result<(), Refusal> {
        self.admit(match operation {
            Operation::Encrypt
            | Operation::Decrypt
            | Operation::GenerateDataKey
            | Operation::AdvanceEncrypt
            | Operation::AdvanceDecrypt
            | Operation::AdvanceGenerateDataKey => by_key(kms, named),
            Operation::Sign
            | Operation::Verify
            | Operation::GenerateDataKeyPair
            | Operation::GenerateDataKeyPairWithoutPlaintext
            | Operation::AdvanceGenerateDataKeyPair
            | Operation::AdvanceGenerateDataKeyPairWithoutPlaintext => Group::Asymmetric,
            Operation::GenerateRandom | Operation::GetPublicKey | Operation::GetSecretValue => Group::Other,
        })
    }

    /// The same for the OpenAPI, whose operations are each for keys of one sort; ReEncrypt decrypts with the pair that it names as its
    /// `source`, and else with a symmetric key. What other parameters name does not matter: who sends them chooses no limit.
    pub(super) fn admit_action(&self, action: Action, reach: &Reach, source: Option<&str>) -> Result<(), Refusal> {
        match (action, reach) {
            (Action::GetPublicKey, Reach::Instance(_)) => self.admit(Group::Other),
            (
                Action::AsymmetricEncrypt
                | Action::AsymmetricDecrypt
                | Action::AsymmetricSign
                | Action::AsymmetricVerify
                | Action::GetPublicKey,
                _,
            ) => self.admit(Group::Asymmetric),
            (Action::ReEncrypt, _) if source.is_some() => self.admit(Group::Asymmetric),
            (action, _) if CRYPTOGRAPHY.contains(&action) => self.admit(Group::Symmetric),
            (Action::CreateKey, _) => self.admit(Group::CreateKey),
            (action, _) => self.admit_effect(action.effect()),
        }
    }

    /// The same for what is limited by what it leaves behind alone: the operations of the Security Token Service.
    pub(super) fn admit_effect(&self, effect: Effect) -> Result<(), Refusal> {
        self.admit(match effect {
            Effect::None => Group::Reads,
            Effect::Change => Group::Writes,
        })
    }

    /// The same for a request with the token of an OIDC provider.
    pub(super) fn admit_token(&self) -> Result<(), Refusal> {
        self.admit(Group::Tokens)
    }

    fn admit(&self, group: Group) -> Result<(), Refusal> {
        let now = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let limited = Group::ALL.iter().zip(&self.limited).find(|(of, _)| **of == group).and_then(|(_, limited)| limited.as_ref());
        let Some(Limited { rate, used }) = limited else { return Ok(()) };
        rate.admit(now).map_err(Refusal::Throttled)?;
        used.count(u32::try_from(now / SECOND).unwrap_or(u32::MAX));
        Ok(())
    }
}

/// A ciphertext that names its key was made by a symmetric one.
fn by_key(kms: &Kms, key: Option<&KeyId>) -> Group {
    match key.and_then(|key| kms.key_spec(key)) {
        Some(spec) if !spec.is_symmetric() => Group::Asymmetric,
        Some(_) | None => Group::Symmetric,
    }
}

impl Rate {
    /// Counts a request, or says how long it would have to wait.
    fn admit(&self, now: u64) -> Result<(), Duration> {
        let mut caught_up = self.caught_up.load(Ordering::Relaxed);
        loop {
            let next = caught_up.max(now).saturating_add(self.period);
            let ahead = next - now;
            if ahead > SECOND {
                return Err(Duration::from_nanos(ahead - SECOND));
            }
            match self.caught_up.compare_exchange_weak(caught_up, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(other) => caught_up = other,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(limit: u64) -> Rate {
        Rate { period: SECOND / limit, caught_up: AtomicU64::new(0) }
    }

    #[test]
    fn a_seconds_worth_comes_at_once_and_then_one_after_the_other() {
        let rate = rate(4);
        let begin = 7 * SECOND;
        for _ in 0..4 {
            assert_eq!(rate.admit(begin), Ok(()));
        }
        assert_eq!(rate.admit(begin), Err(Duration::from_millis(250)));
        assert_eq!(rate.admit(begin + SECOND / 8), Err(Duration::from_millis(125)), "a refusal costs nothing");
        assert_eq!(rate.admit(begin + SECOND / 4), Ok(()));
        assert!(rate.admit(begin + SECOND / 4).is_err());
        // What was not used for long is a second's worth, not more.
        let later = (0..10).filter(|_| rate.admit(begin + 100 * SECOND).is_ok()).count();
        assert_eq!(later, 4);
    }

    #[test]
    fn threads_share_a_limit() {
        let rate = rate(1000);
        let admitted: usize = std::thread::scope(|scope| {
            let count = || (0..500).filter(|_| rate.admit(SECOND).is_ok()).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(count)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(admitted, 1000);
    }
}
