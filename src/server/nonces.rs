//! The nonces of the OpenAPI's requests: each is taken once within the time that its date is accepted.
//!
//! A keyed hash of each is kept, in slices of time that are forgotten whole. What changes nothing is served when there is no room
//! for its nonce: repeated, it gives who has the request by whatever means no more than a request of the instance protocol does,
//! which has no nonce. What changes something is not.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::base::Timestamp;
use crate::wire::openapi::Effect;

/// The most nonces that are remembered, at 10 to 20 bytes: those of half an hour at 1,000 a second. Only signed requests get here.
const LIMIT: usize = 2_000_000;
/// The time that a slice stands for; a nonce is remembered for so much longer than it must be, at most.
const SLICE: Duration = Duration::from_secs(5 * 60);

/// Whether a request may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Novelty {
    /// Its nonce was not used, or there is no room to know.
    New,
    /// It was used.
    Used,
    /// There are too many to remember another.
    Full,
}

/// The nonces of late.
#[derive(Default)]
pub(super) struct Nonces {
    /// Its key is drawn by the process: nobody outside finds two nonces of one hash.
    hash: RandomState,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    slices: VecDeque<Slice>,
    count: usize,
}

struct Slice {
    begun: Timestamp,
    hashes: HashSet<u64>,
}

impl Nonces {
    /// Takes the nonce of a caller; `keep` is how long a request of the same date would be accepted.
    pub(super) fn take(&self, caller: &str, nonce: &str, effect: Effect, now: Timestamp, keep: Duration) -> Novelty {
        let hash = self.hash.hash_one((caller, nonce));
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(old) = seen.slices.pop_front_if(|slice| slice.begun.after(SLICE).after(keep) < now) {
            seen.count -= old.hashes.len();
        }
        if seen.slices.iter().any(|slice| slice.hashes.contains(&hash)) {
            return Novelty::Used;
        }
        if seen.count >= LIMIT {
            return match effect {
                Effect::None => Novelty::New,
                Effect::Change => Novelty::Full,
            };
        }
        if seen.slices.back().is_none_or(|slice| slice.begun.after(SLICE) <= now) {
            seen.slices.push_back(Slice { begun: now, hashes: HashSet::new() });
        }
        if let Some(slice) = seen.slices.back_mut() {
            slice.hashes.insert(hash);
            seen.count += 1;
        }
        Novelty::New
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP: Duration = Duration::from_secs(600);

    #[test]
    fn a_nonce_is_taken_once_within_its_time() {
        let nonces = Nonces::default();
        let at = |seconds| nonces.take("caller", "nonce", Effect::None, Timestamp::from_unix(seconds), KEEP);
        assert_eq!(
            [at(0), at(0), at(299), at(600), at(900)],
            [Novelty::New, Novelty::Used, Novelty::Used, Novelty::Used, Novelty::Used]
        );
        assert_eq!([at(901), at(902)], [Novelty::New, Novelty::Used], "the slice is forgotten");
        // The last moment of a slice is remembered as long as it must be.
        let last = |nonce, seconds| nonces.take("caller", nonce, Effect::None, Timestamp::from_unix(seconds), KEEP);
        assert_eq!([last("late", 1200), last("late", 1800)], [Novelty::New, Novelty::Used]);
    }

    #[test]
    fn callers_do_not_share_nonces() {
        let nonces = Nonces::default();
        let take = |caller| nonces.take(caller, "nonce", Effect::Change, Timestamp::from_unix(0), KEEP);
        assert_eq!([take("one"), take("other"), take("one")], [Novelty::New, Novelty::New, Novelty::Used]);
    }

    #[test]
    fn when_it_is_full_what_changes_something_is_refused() {
        let nonces = Nonces::default();
        let take =
            |nonce: usize, effect, seconds| nonces.take("caller", &nonce.to_string(), effect, Timestamp::from_unix(seconds), KEEP);
        for nonce in 0..LIMIT {
            assert_eq!(take(nonce, Effect::None, 0), Novelty::New);
        }
        assert_eq!(take(LIMIT, Effect::Change, 0), Novelty::Full);
        assert_eq!(take(LIMIT, Effect::None, 0), Novelty::New);
        assert_eq!(take(0, Effect::None, 0), Novelty::Used);
        assert_eq!(take(LIMIT, Effect::Change, 901), Novelty::New);
    }
}
