//! Keys that fail while the token serves others of their kind: each is named, and none of them takes the slot with it.

use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lru::LruCache;

use crate::base::lock;

/// The most keys that are named at once.
const KEYS: NonZeroUsize = NonZeroUsize::new(64).expect("not zero");
/// For how long it is believed that the key is at fault, and not the slot by now.
const SETTLED: Duration = Duration::from_secs(1);

/// What a failure of a key is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The only key that fails, as far as is known; it did not before.
    New,
    /// It is known to fail.
    Known,
    /// A second key that fails: what they have in common is the slot.
    Another,
}

/// The keys that fail, and when that was seen last.
pub(crate) struct Suspects {
    /// Whether there is any: saves the lock.
    any: AtomicBool,
    keys: Mutex<LruCache<Vec<u8>, Instant>>,
}

impl Default for Suspects {
    fn default() -> Self {
        Self { any: AtomicBool::new(false), keys: Mutex::new(LruCache::new(KEYS)) }
    }
}

impl Suspects {
    /// A key failed twice, and what must succeed did.
    pub(crate) fn note(&self, id: &[u8], now: Instant) -> Standing {
        let mut keys = lock(&self.keys);
        self.any.store(true, Ordering::Release);
        let alone = keys.is_empty();
        match keys.put(id.to_vec(), now) {
            Some(_) => Standing::Known,
            None if alone => Standing::New,
            None => Standing::Another,
        }
    }

    /// Whether that was lately: the next failure of the key need not be looked into.
    pub(crate) fn is_settled(&self, id: &[u8], now: Instant) -> bool {
        self.any.load(Ordering::Acquire)
            && lock(&self.keys).peek(id).is_some_and(|seen| now.saturating_duration_since(*seen) < SETTLED)
    }

    /// The key works.
    pub(crate) fn clear(&self, id: &[u8]) {
        if self.any.load(Ordering::Acquire) {
            let mut keys = lock(&self.keys);
            keys.pop(id);
            self.any.store(!keys.is_empty(), Ordering::Release);
        }
    }

    /// The CKA_IDs, for a person.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = lock(&self.keys).iter().map(|(id, _)| String::from_utf8_lossy(id).into_owned()).collect();
        names.sort();
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_is_at_fault_and_two_are_the_slot_once() {
        let (suspects, now) = (Suspects::default(), Instant::now());
        assert!(!suspects.is_settled(b"a", now));
        assert_eq!(suspects.note(b"a", now), Standing::New);
        assert_eq!(suspects.note(b"a", now), Standing::Known);
        assert!(suspects.is_settled(b"a", now) && !suspects.is_settled(b"b", now));
        assert!(!suspects.is_settled(b"a", now + SETTLED));
        assert_eq!(suspects.note(b"b", now), Standing::Another);
        // However often it comes again: whoever replays calls with two such keys brings nothing down twice.
        assert_eq!(suspects.note(b"b", now), Standing::Known);
        assert_eq!(suspects.names(), ["a", "b"]);
        suspects.clear(b"a");
        suspects.clear(b"b");
        assert!(suspects.names().is_empty());
        assert_eq!(suspects.note(b"b", now), Standing::New);
    }
}
