//! The clock as a value: nothing else in the crate asks the system for the date.
//!
//! Functions that depend on the date take `now: Timestamp`; whoever runs them holds a [`Clock`].

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Error, Kind, Result};

/// A point in time, in whole seconds since 1970-01-01T00:00:00Z, the resolution of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From seconds since the Unix epoch.
    pub const fn from_unix(seconds: i64) -> Self {
        Self(seconds)
    }

    /// Seconds since the Unix epoch.
    pub const fn unix(self) -> i64 {
        self.0
    }

    /// This much later; the end of time when that overflows.
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)))
    }

    /// How far the two lie apart, whichever comes first.
    pub fn distance(self, other: Self) -> Duration {
        Duration::from_secs(self.0.abs_diff(other.0))
    }
}

/// What knows the date.
pub trait Clock: Send + Sync {
    /// The date now.
    fn now(&self) -> Timestamp;

    /// The latest date that was seen, and not before [`Clock::now`]: from it the time is counted that somebody must have left, such as to save a
    /// key from its deletion. A clock that is behind for a moment does not shorten that time.
    fn latest(&self) -> Timestamp;

    /// The date, for what it makes due and nobody can undo: keys, material and records that are destroyed because their time has come. What
    /// a date ends in another way, such as the use of a key, goes by [`Clock::now`].
    ///
    /// # Errors
    /// [`Kind::Unavailable`]: why the date cannot be relied on so far yet, and what can be done about it.
    fn settled(&self) -> Result<Timestamp>;
}

/// The machine's clock. Nobody watches whether it is put wrong, so it is never settled.
#[derive(Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the system for the date")]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_unix(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
    }

    fn latest(&self) -> Timestamp {
        self.now()
    }

    fn settled(&self) -> Result<Timestamp> {
        Err(Error::new(Kind::Unavailable, "Nothing is destroyed by this clock, because it is not watched."))
    }
}

/// A clock that stands where it was put: for tests and for checking recorded requests.
#[derive(Debug)]
pub struct FixedClock(AtomicI64);

impl FixedClock {
    /// A clock that shows `now` until it is moved.
    pub fn at(now: Timestamp) -> Self {
        Self(AtomicI64::new(now.unix()))
    }

    /// Puts the clock to `now`.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.unix(), Ordering::SeqCst);
    }
}

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix(self.0.load(Ordering::SeqCst))
    }

    fn latest(&self) -> Timestamp {
        self.now()
    }

    fn settled(&self) -> Result<Timestamp> {
        Ok(self.now())
    }
}
