//! How many calls of a slot work at once: on session threads and, where calls are short, on workers of the runtime.

use std::num::NonZeroUsize;
use std::sync::{Arc, OnceLock};

use tokio::runtime::Handle;

use crate::tier::pkcs11::library::computes::Computes;
use crate::tier::pkcs11::library::token::TokenSummary;
use crate::tier::pkcs11::queue::lane::Lane;
use crate::tier::pkcs11::queue::reserve::SPARE_WORKERS;
use crate::tier::pkcs11::queue::workers::Workers;
use crate::tier::pkcs11::settings::{Oversubscription, Settings};

/// Sessions that a slot needs besides the working ones: for the login, and for making keys.
const OTHER_SESSIONS: usize = 2;

/// Session threads for each core that a module computes on: the next call is there when one ends.
const THREADS_PER_CORE: usize = 2;

/// What was found out of the module when it was tested.
struct Spread {
    computes: Computes,
    inline: InlineCalls,
}

/// Whether any call is short enough for a worker of the runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InlineCalls {
    Some,
    /// Then all sessions are for session threads.
    None,
}

/// Places on the workers of a runtime.
pub(crate) struct Inline {
    pub(crate) lane: Arc<Lane>,
    /// Those that calls may hold, of this and of other tokens.
    pub(crate) workers: Arc<Workers>,
    pub(crate) runtime: Handle,
}

/// The places of a slot.
pub(crate) struct Capacity {
    threads: Arc<Lane>,
    inline: Option<Inline>,
    /// How calls are spread, once that is known.
    spread: OnceLock<Spread>,
}

impl Capacity {
    /// Before anything is known of the token. To be called on the runtime whose workers calls may hold.
    pub(crate) fn new(settings: &Settings) -> Self {
        let inline = inline_permits().filter(|(permits, _)| settings.sessions > permits + 1);
        let threads = settings.sessions - inline.as_ref().map_or(0, |(permits, _)| *permits);
        Self {
            threads: Lane::new(threads, settings.queue),
            inline: inline.map(|(permits, runtime)| Inline {
                lane: Lane::new(permits, settings.queue),
                workers: Workers::of(&runtime, permits),
                runtime,
            }),
            spread: OnceLock::new(),
        }
    }

    /// Notes how calls are spread.
    pub(crate) fn learn(&self, computes: Computes, inline: InlineCalls) {
        let _ = self.spread.set(Spread { computes, inline });
    }

    /// The places on workers of the runtime, if it has enough of them.
    pub(crate) fn inline(&self) -> Option<&Inline> {
        self.inline.as_ref()
    }

    /// The lane of the session threads.
    pub(crate) fn threads(&self) -> &Arc<Lane> {
        &self.threads
    }

    /// How many sessions may work at once.
    pub(crate) fn sessions(&self) -> usize {
        self.threads.capacity() + self.inline_sessions()
    }

    /// How many of them are for workers of the runtime.
    fn inline_sessions(&self) -> usize {
        match self.spread.get().map(|spread| spread.inline) {
            Some(InlineCalls::None) => 0,
            Some(InlineCalls::Some) | None => self.inline.as_ref().map_or(0, |inline| inline.lane.capacity()),
        }
    }

    /// The most working sessions: by the settings and by what the token says that it allows.
    fn allowed(settings: &Settings, token: Option<&TokenSummary>) -> usize {
        let limit = token.and_then(|token| token.session_limit);
        let sessions = settings.sessions;
        limit.map_or(sessions, |limit| sessions.min(limit.saturating_sub(OTHER_SESSIONS))).max(1)
    }

    /// How many of them may work on session threads.
    fn allowed_threads(&self, settings: &Settings, token: Option<&TokenSummary>) -> usize {
        let useful = match (self.spread.get().map(|spread| spread.computes), settings.oversubscription) {
            (Some(Computes::Here), Oversubscription::Avoid) => cores() * THREADS_PER_CORE,
            (Some(Computes::Here), Oversubscription::Allow) | (Some(Computes::Elsewhere) | None, _) => usize::MAX,
        };
        Self::allowed(settings, token).saturating_sub(self.inline_sessions()).min(useful).max(1)
    }

    /// Lets so many sessions work as are allowed.
    pub(crate) fn fit(&self, settings: &Settings, token: Option<&TokenSummary>) {
        self.threads.resize(self.allowed_threads(settings, token));
    }

    /// Whether the token refused sessions that it is said to allow.
    pub(crate) fn is_below_allowance(&self, settings: &Settings, token: Option<&TokenSummary>) -> bool {
        self.threads.capacity() < self.allowed_threads(settings, token)
    }

    /// Those who wait in front of the slot.
    pub(crate) fn waiting(&self) -> usize {
        self.threads.waiting() + self.inline.as_ref().map_or(0, |inline| inline.lane.waiting())
    }
}

/// How many calls may run inline: as many as there are cores, and never so many that the runtime has no spare workers. `None`
/// on a runtime that is too small, where a call that hangs would take the deadlines with it.
fn inline_permits() -> Option<(usize, Handle)> {
    let runtime = Handle::try_current().ok()?;
    let spare = runtime.metrics().num_workers().checked_sub(SPARE_WORKERS)?;
    Some((spare.min(cores()), runtime)).filter(|(permits, _)| *permits > 0)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}
