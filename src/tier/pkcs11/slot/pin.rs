//! Where the PIN of a token's user comes from, and when its source is asked.
//!
//! A source may be a program, so it is asked when a login needs the PIN, and not again for a while when that did not help.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::base::{Pin, Result};
use crate::tier::pkcs11::slot::condition::Why;

/// After that time a source is asked again whose PIN did not help.
const PAUSE: Duration = Duration::from_secs(10);

/// Where the PIN of a token's user comes from; read anew for each login, so that a new PIN needs no restart.
pub trait PinSource: Send + Sync {
    /// The PIN as it is now. It must come to an end: nobody else ends it, and until then the token is not recovered.
    ///
    /// # Errors
    /// The source has none; nobody logs in then. The message names the source and what to do, and is shown.
    fn read(&self) -> Result<Pin>;

    /// What messages call the source, at the beginning of a sentence.
    fn name(&self) -> String {
        "The source of the PIN".to_owned()
    }

    /// A number that is another one when the source may give another PIN; `None` when only reading it can tell. Asked up to three
    /// times a second while the token is not logged in to, so it must be cheap.
    fn version(&self) -> Option<u64> {
        None
    }
}

impl PinSource for Pin {
    /// A copy of itself: the one place that makes one.
    fn read(&self) -> Result<Pin> {
        Ok(Pin::new(self.expose().to_owned()))
    }

    fn version(&self) -> Option<u64> {
        Some(0)
    }
}

/// What a source said.
#[derive(Clone)]
pub(crate) struct Answer {
    /// The PIN, or why there is none.
    pub(crate) pin: Result<Arc<Pin>, String>,
    /// Why nobody may log in with this PIN, if a note forbids it. When the note is gone the source is asked again first: somebody set
    /// things right, perhaps in the source.
    pub(crate) stopped: Option<(Why, String)>,
    version: Option<u64>,
    at: Instant,
}

impl Answer {
    /// Whether the source would say the same now, or need not be asked yet.
    fn holds(&self, source: &dyn PinSource, now: Instant) -> bool {
        let version = source.version();
        let changed = version != self.version;
        let sure = version.is_some() && self.pin.is_ok();
        !changed && (sure || now.saturating_duration_since(self.at) < PAUSE)
    }
}

/// What the source said last, until a login went well.
#[derive(Default)]
pub(crate) struct Asked(Mutex<Option<Answer>>);

impl Asked {
    /// Asks the source. May take long.
    pub(crate) fn ask(&self, source: &dyn PinSource) -> Answer {
        // Looked at first: what changes from here on is seen at the next look.
        let version = source.version();
        let pin = source.read().map(Arc::new).map_err(|error| error.message().to_owned());
        let answer = Answer { pin, stopped: None, version, at: Instant::now() };
        *self.last() = Some(answer.clone());
        answer
    }

    /// What the source said last, if it need not be asked again.
    pub(crate) fn lately(&self, source: &dyn PinSource, now: Instant) -> Option<Answer> {
        self.last().clone().filter(|answer| answer.holds(source, now))
    }

    /// A note forbids a login with that PIN.
    pub(crate) fn stop(&self, why: Why, text: &str) {
        if let Some(answer) = self.last().as_mut() {
            answer.stopped = Some((why, text.to_owned()));
        }
    }

    /// The PIN was of use; it is not kept, and asked for at the next login.
    pub(crate) fn forget(&self) {
        *self.last() = None;
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Option<Answer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::base::{Error, Kind};

    /// Counts how often it is asked. Of even versions it has no PIN.
    struct Source {
        version: AtomicU64,
        tells: Tells,
        asked: AtomicU64,
    }

    #[derive(Clone, Copy, PartialEq)]
    enum Tells {
        Version,
        Nothing,
    }

    impl Source {
        fn new(tells: Tells, version: u64) -> Self {
            Self { version: AtomicU64::new(version), tells, asked: AtomicU64::new(0) }
        }
    }

    impl PinSource for Source {
        fn read(&self) -> Result<Pin> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            match self.version.load(Ordering::SeqCst) {
                version if version % 2 == 0 => Err(Error::new(Kind::Unavailable, "There is no PIN.")),
                version => Ok(Pin::new(version.to_string())),
            }
        }

        fn version(&self) -> Option<u64> {
            (self.tells == Tells::Version).then(|| self.version.load(Ordering::SeqCst))
        }
    }

    #[test]
    fn a_source_that_tells_its_version_is_asked_when_that_changes() {
        let source = Source::new(Tells::Version, 1);
        let asked = Asked::default();
        let now = Instant::now();
        assert!(asked.lately(&source, now).is_none());
        asked.ask(&source);
        let hours = now + 1_000 * PAUSE;
        assert!(asked.lately(&source, hours).is_some(), "not again, however long it takes");
        source.version.store(3, Ordering::SeqCst);
        assert!(asked.lately(&source, now).is_none(), "at once");
        source.version.store(2, Ordering::SeqCst);
        assert!(asked.ask(&source).pin.is_err());
        assert!(asked.lately(&source, Instant::now()).is_some());
        assert!(asked.lately(&source, hours).is_none(), "what cannot be read may be readable again without another sign");
        assert_eq!(source.asked.load(Ordering::SeqCst), 2);
        asked.forget();
        assert!(asked.lately(&source, now).is_none());
    }

    #[test]
    fn another_source_is_asked_after_a_pause() {
        for version in [1, 2] {
            let source = Source::new(Tells::Nothing, version);
            let asked = Asked::default();
            asked.ask(&source);
            let now = Instant::now();
            assert!(asked.lately(&source, now).unwrap().stopped.is_none());
            asked.stop(Why::PinLocked, "It is locked.");
            assert_eq!(asked.lately(&source, now).unwrap().stopped, Some((Why::PinLocked, "It is locked.".to_owned())));
            assert!(asked.lately(&source, now + PAUSE).is_none());
            assert!(asked.ask(&source).stopped.is_none());
        }
    }
}
