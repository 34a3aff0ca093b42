//! What the watchdog of a slot remembers: the attempt that runs, the chores, and the pauses between tries.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The first and the longest pause before the token is asked again for the sessions that it refused.
const GROWTH_PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));
/// The first and the longest pause between two tries to destroy what nobody owns.
const CLEANING_PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(10));
/// The first and the longest pause between two new initialisations of a module while another slot of it serves.
const DISTURBANCE_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// What the watchdog remembers.
pub(crate) struct Watch {
    pub(super) attempt: Mutex<Option<Running>>,
    pub(super) growth: Mutex<Pause>,
    pub(super) cleaning: Mutex<Pause>,
    pub(super) disturbance: Mutex<Pause>,
    pub(super) kept_alive: Mutex<Instant>,
    pub(super) chores: Mutex<Chores>,
}

/// One runs at a time, but for those that hang.
#[derive(Default)]
pub(super) struct Chores {
    /// How many began.
    pub(super) begun: u64,
    /// When the last one counts as hung; `None` when it has ended.
    pub(super) overdue: Option<Instant>,
}

/// An attempt that runs.
pub(super) struct Running {
    pub(super) at: Whereabouts,
    pub(super) overdue: Instant,
    /// Whether it was found to be overdue there.
    pub(super) late: bool,
    /// Whether it was counted as hung.
    pub(super) hung: bool,
}

/// Whom an attempt waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whereabouts {
    Module,
    /// The library is being loaded.
    Library,
    PinSource,
}

/// A pause that doubles.
pub(super) struct Pause {
    until: Instant,
    length: Duration,
    bounds: (Duration, Duration),
}

impl Pause {
    fn new(bounds: (Duration, Duration)) -> Self {
        Self { until: Instant::now(), length: bounds.0, bounds }
    }

    /// Whether it is over; then the next one begins.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let over = now >= self.until;
        if over {
            self.until = now + self.length;
            self.length = (self.length * 2).min(self.bounds.1);
        }
        over
    }

    pub(super) fn reset(&mut self) {
        self.length = self.bounds.0;
        self.until = self.until.min(Instant::now() + self.length);
    }
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            attempt: Mutex::default(),
            growth: Mutex::new(Pause::new(GROWTH_PAUSE)),
            cleaning: Mutex::new(Pause::new(CLEANING_PAUSE)),
            disturbance: Mutex::new(Pause::new(DISTURBANCE_PAUSE)),
            kept_alive: Mutex::new(Instant::now()),
            chores: Mutex::default(),
        }
    }
}
