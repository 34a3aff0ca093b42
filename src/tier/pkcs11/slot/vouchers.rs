//! Which operations that must succeed did so a moment ago: they vouch for the module, and are not tried again at each bad input.

use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use lru::LruCache;

use crate::base::lock;
use crate::tier::Ability;
use crate::tier::pkcs11::session::known_good::Subject;

/// For how long an operation that succeeded vouches for the next ones.
const VOUCHES: Duration = Duration::from_secs(1);
/// The most keys that are vouched for at once.
const VOUCHED: NonZeroUsize = NonZeroUsize::new(1_024).expect("not zero");

/// When what must succeed did so, by key and ability.
pub(crate) struct Vouchers(Mutex<LruCache<(Vec<u8>, Ability), Instant>>);

impl Default for Vouchers {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(VOUCHED)))
    }
}

impl Vouchers {
    pub(crate) fn note(&self, subject: &dyn Subject, now: Instant) {
        lock(&self.0).put((subject.id().to_vec(), subject.ability()), now);
    }

    /// Whether it was lately.
    pub(crate) fn vouch(&self, subject: &dyn Subject, now: Instant) -> bool {
        let last = lock(&self.0).get(&(subject.id().to_vec(), subject.ability())).copied();
        last.is_some_and(|last| now.saturating_duration_since(last) < VOUCHES)
    }
}
