//! The nonces of the OpenAPI's requests: each is taken once within the time that its date is accepted.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::base::Timestamp;

/// The most nonces that are remembered: those of a window's requests at over 50 a second. Only signed requests get here.
const LIMIT: usize = 100_000;

/// Whether a nonce is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Novelty {
    /// It is, and is remembered now.
    New,
    /// It was used.
    Used,
    /// There are too many to remember another.
    Full,
}

/// The nonces of late.
#[derive(Default)]
pub(super) struct Nonces(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    nonces: HashSet<String>,
    by_age: VecDeque<(Timestamp, String)>,
}

impl Nonces {
    /// Takes a nonce; `keep` is how long a request of the same date would be accepted.
    pub(super) fn take(&self, nonce: String, now: Timestamp, keep: Duration) -> Novelty {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((_, old)) = seen.by_age.pop_front_if(|(until, _)| *until < now) {
            seen.nonces.remove(&old);
        }
        if seen.nonces.contains(&nonce) {
            return Novelty::Used;
        }
        if seen.nonces.len() >= LIMIT {
            return Novelty::Full;
        }
        seen.by_age.push_back((now.after(keep), nonce.clone()));
        seen.nonces.insert(nonce);
        Novelty::New
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_taken_once_within_its_time() {
        let nonces = Nonces::default();
        let at = |seconds| nonces.take("n".to_owned(), Timestamp::from_unix(seconds), Duration::from_secs(10));
        assert_eq!(
            [at(0), at(0), at(10), at(11), at(11)],
            [Novelty::New, Novelty::Used, Novelty::Used, Novelty::New, Novelty::Used]
        );
    }

    #[test]
    fn there_is_a_bound() {
        let nonces = Nonces::default();
        let take = |nonce: usize, seconds| nonces.take(nonce.to_string(), Timestamp::from_unix(seconds), Duration::from_secs(10));
        for nonce in 0..LIMIT {
            assert_eq!(take(nonce, 0), Novelty::New);
        }
        assert_eq!(take(LIMIT, 0), Novelty::Full);
        assert_eq!(take(LIMIT, 11), Novelty::New);
    }
}
