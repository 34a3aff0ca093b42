//! When client keys were last used: noted in memory by every request, written to the store now and then, so that somebody who changes a
//! client key sees whether a program holds the old one still.

use std::sync::atomic::{AtomicI64, Ordering};

use super::Kms;
use crate::base::Timestamp;

/// Of a client key.
pub struct LastUse {
    /// Seconds; [`NEVER`] before the first.
    at: AtomicI64,
    /// What the store knows.
    recorded: AtomicI64,
}

const NEVER: i64 = i64::MIN;

impl LastUse {
    /// As the store knows it.
    pub(super) fn recorded(last: Option<Timestamp>) -> Self {
        let at = last.map_or(NEVER, |last| last.unix());
        Self { at: AtomicI64::new(at), recorded: AtomicI64::new(at) }
    }

    /// A request was accepted.
    pub fn note(&self, now: Timestamp) {
        // Most requests of a second find it noted, and do not take the cache line from each other.
        if self.at.load(Ordering::Relaxed) < now.unix() {
            self.at.fetch_max(now.unix(), Ordering::Relaxed);
        }
    }

    /// What the store does not know yet.
    fn unrecorded(&self) -> Option<Timestamp> {
        let at = self.at.load(Ordering::Relaxed);
        (at > self.recorded.load(Ordering::Relaxed)).then(|| Timestamp::from_unix(at))
    }
}

impl Kms {
    /// Writes the uses that the store does not know yet.
    pub(super) async fn record_uses(&self) {
        let keys = self.snapshot.client_keys();
        let due: Vec<_> = keys.iter().filter_map(|key| Some((key, key.last_use.unrecorded()?))).collect();
        if due.is_empty() {
            return;
        }
        let uses: Vec<_> = due.iter().map(|(key, at)| (key.id.clone(), *at)).collect();
        match self.store.record_uses(&uses).await {
            Ok(()) => due.iter().for_each(|(key, at)| key.last_use.recorded.store(at.unix(), Ordering::Relaxed)),
            Err(error) => tracing::warn!(?error, "the last uses of client keys could not be written"),
        }
    }
}
