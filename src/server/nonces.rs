//! The nonces of the OpenAPI's requests: each is taken once within the time that its date is accepted.
//!
//! A keyed hash of each is kept, in slices of time that are forgotten whole. Every caller has a share of the room, so that none takes
//! it from the others, and what changes nothing has half of a share and half of the room, so that it never stands in the way of what
//! changes something. What changes nothing is served when there is no room for its nonce: repeated, it gives who has the request by
//! whatever means no more than a request of the instance protocol does, which has no nonce. What changes something is not.
//!
//! They are the process's own, because the cryptographic path asks no database: where several nodes serve one installation, a request
//! that one of them took is good once at each of the others, within that time.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::base::Timestamp;
use crate::wire::openapi::Effect;

/// The most nonces that are remembered, at 10 to 20 bytes: those of half an hour at 1,000 a second. Only signed requests get here.
const LIMIT: usize = 2_000_000;
/// The most of one caller: those of half an hour at 100 a second.
const SHARE: usize = LIMIT / 10;
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

/// Whose nonce it is.
#[derive(Clone, Copy)]
pub(super) struct Owner<'a> {
    /// The AccessKey that signed: others may use the same nonce.
    pub(super) access_key: &'a str,
    /// Whose share it is taken from: the AccessKey's, or that of the role whose session it is, of which one may have many.
    pub(super) share: &'a str,
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
    /// By the hash of the share: how many are in the slices; none that is 0.
    shares: HashMap<u64, usize>,
}

struct Slice {
    begun: Timestamp,
    hashes: HashSet<u64>,
    /// How many of them are of which share.
    shares: HashMap<u64, usize>,
}

impl Nonces {
    /// Whether a nonce was used; it is not taken. For what may still be refused without having been served. `keep` is how long a request
    /// of the same date would be accepted.
    pub(super) fn is_used(&self, owner: Owner<'_>, nonce: &str, now: Timestamp, keep: Duration) -> bool {
        let hash = self.hash.hash_one((owner.access_key, nonce));
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.forget(|slice| slice.is_over(now, keep));
        seen.has(hash)
    }

    /// Takes a nonce.
    pub(super) fn take(&self, owner: Owner<'_>, nonce: &str, effect: Effect, now: Timestamp, keep: Duration) -> Novelty {
        let hash = self.hash.hash_one((owner.access_key, nonce));
        let share = self.hash.hash_one(owner.share);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.forget(|slice| slice.is_over(now, keep));
        if seen.has(hash) {
            return Novelty::Used;
        }
        let taken = seen.shares.get(&share).copied().unwrap_or(0);
        match effect {
            Effect::None if seen.count >= LIMIT / 2 || taken >= SHARE / 2 => return Novelty::New,
            Effect::Change if seen.count >= LIMIT || taken >= SHARE => return Novelty::Full,
            Effect::None | Effect::Change => {}
        }
        seen.keep(hash, share, now);
        Novelty::New
    }
}

impl Slice {
    fn is_over(&self, now: Timestamp, keep: Duration) -> bool {
        self.begun.after(SLICE).after(keep) < now
    }
}

impl Seen {
    fn has(&self, hash: u64) -> bool {
        self.slices.iter().any(|slice| slice.hashes.contains(&hash))
    }

    fn keep(&mut self, hash: u64, share: u64, now: Timestamp) {
        if self.slices.back().is_none_or(|slice| slice.begun.after(SLICE) <= now) {
            self.slices.push_back(Slice { begun: now, hashes: HashSet::new(), shares: HashMap::new() });
        }
        if let Some(slice) = self.slices.back_mut() {
            slice.hashes.insert(hash);
            *slice.shares.entry(share).or_default() += 1;
            *self.shares.entry(share).or_default() += 1;
            self.count += 1;
        }
    }

    /// Forgets the oldest slices, as long as they are over.
    fn forget(&mut self, is_over: impl Fn(&Slice) -> bool) {
        while let Some(old) = self.slices.pop_front_if(|slice| is_over(slice)) {
            self.count -= old.hashes.len();
            for (share, count) in old.shares {
                if let Some(taken) = self.shares.get_mut(&share) {
                    *taken -= count;
                }
            }
            self.shares.retain(|_, taken| *taken > 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP: Duration = Duration::from_secs(600);

    fn of(caller: &str) -> Owner<'_> {
        Owner { access_key: caller, share: caller }
    }

    #[test]
    fn a_nonce_is_taken_once_within_its_time() {
        let nonces = Nonces::default();
        let at = |seconds| nonces.take(of("caller"), "nonce", Effect::None, Timestamp::from_unix(seconds), KEEP);
        assert_eq!(
            [at(0), at(0), at(299), at(600), at(900)],
            [Novelty::New, Novelty::Used, Novelty::Used, Novelty::Used, Novelty::Used]
        );
        assert_eq!([at(901), at(902)], [Novelty::New, Novelty::Used], "the slice is forgotten");
        // The last moment of a slice is remembered as long as it must be.
        let last = |nonce, seconds| nonces.take(of("caller"), nonce, Effect::None, Timestamp::from_unix(seconds), KEEP);
        assert_eq!([last("late", 1200), last("late", 1800)], [Novelty::New, Novelty::Used]);
    }

    #[test]
    fn callers_do_not_share_nonces() {
        let nonces = Nonces::default();
        let take = |caller| nonces.take(of(caller), "nonce", Effect::Change, Timestamp::from_unix(0), KEEP);
        assert_eq!([take("one"), take("other"), take("one")], [Novelty::New, Novelty::New, Novelty::Used]);
        // Two sessions of a role have one share and nonces of their own.
        let take =
            |access_key| nonces.take(Owner { access_key, share: "role" }, "nonce", Effect::Change, Timestamp::from_unix(0), KEEP);
        assert_eq!([take("STS.1"), take("STS.2"), take("STS.1")], [Novelty::New, Novelty::New, Novelty::Used]);
    }

    #[test]
    fn to_ask_takes_no_nonce() {
        let nonces = Nonces::default();
        let is_used = |caller, seconds| nonces.is_used(of(caller), "nonce", Timestamp::from_unix(seconds), KEEP);
        assert!(!is_used("caller", 0) && !is_used("caller", 0));
        assert_eq!(nonces.take(of("caller"), "nonce", Effect::None, Timestamp::from_unix(0), KEEP), Novelty::New);
        assert!(is_used("caller", 0) && !is_used("other", 0));
        assert!(is_used("caller", 900) && !is_used("caller", 901), "it is forgotten as it is for who takes it");
    }

    #[test]
    fn a_caller_takes_its_share_and_leaves_the_others_theirs() {
        let nonces = Nonces::default();
        let take = |caller, nonce: usize, effect, seconds| {
            nonces.take(of(caller), &nonce.to_string(), effect, Timestamp::from_unix(seconds), KEEP)
        };
        // What changes nothing fills half of it, and is served beyond that.
        for nonce in 0..SHARE {
            assert_eq!(take("busy", nonce, Effect::None, 0), Novelty::New);
        }
        assert_eq!([take("busy", 0, Effect::None, 0), take("busy", SHARE / 2 - 1, Effect::None, 0)], [Novelty::Used; 2]);
        assert_eq!(take("busy", SHARE - 1, Effect::None, 0), Novelty::New, "there was no room to know");
        // What changes something has the other half, and is refused beyond that.
        for nonce in 0..SHARE / 2 {
            assert_eq!(take("busy", SHARE + nonce, Effect::Change, 0), Novelty::New);
        }
        assert_eq!(take("busy", 3 * SHARE, Effect::Change, 0), Novelty::Full);
        assert_eq!(take("busy", 0, Effect::Change, 0), Novelty::Used);
        assert_eq!([take("other", 0, Effect::Change, 0), take("other", 0, Effect::Change, 0)], [Novelty::New, Novelty::Used]);
        assert_eq!(take("busy", 3 * SHARE, Effect::Change, 901), Novelty::New, "the slice is forgotten, and the share is free");
    }

    #[test]
    fn when_it_is_full_what_changes_something_is_refused() {
        let nonces = Nonces::default();
        let take = |caller: usize, nonce: usize, effect| {
            nonces.take(of(&caller.to_string()), &nonce.to_string(), effect, Timestamp::from_unix(0), KEEP)
        };
        for caller in 0..LIMIT / SHARE {
            for nonce in 0..SHARE {
                assert_eq!(take(caller, nonce, Effect::Change), Novelty::New);
            }
        }
        assert_eq!(take(LIMIT, 0, Effect::Change), Novelty::Full);
        assert_eq!(take(LIMIT, 0, Effect::None), Novelty::New);
        assert_eq!(take(0, 0, Effect::None), Novelty::Used);
    }
}
