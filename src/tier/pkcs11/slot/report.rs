//! Puts together what a slot tells of itself. Looks and changes nothing.

use std::time::Instant;

use crate::base::lock;
use crate::tier::pkcs11::slot::condition::Condition;
use crate::tier::pkcs11::slot::slot::Slot;
use crate::tier::pkcs11::slot::status::{Sessions, SlotState, SlotStatus};

impl Slot {
    /// All that there is to know at the moment.
    pub(crate) fn status(&self) -> SlotStatus {
        let now = Instant::now();
        let (state, since, reason) = self.look(|machine| {
            let state = match machine.condition() {
                Condition::Serving => SlotState::Serving,
                Condition::Probing(_) => SlotState::Probing,
                Condition::Recovering(_) => SlotState::Recovering,
                Condition::Open(_) => SlotState::Open,
                Condition::Down(why, _) => SlotState::Down(*why),
                Condition::Closed => SlotState::Closed,
            };
            (state, now.saturating_duration_since(machine.since()), machine.reason().to_owned())
        });
        let occupancy = self.pool.occupancy();
        let holds_login = lock(&self.login).is_some();
        let logged_in = self.pool.epoch().is_some();
        let (generator, generator_failures) = self.memory.random().generator();
        let (failed_recoveries, logins, written_off) = self.counters.totals();
        SlotStatus {
            module: self.lease.path().display().to_string(),
            uri: self.settings.token.to_string(),
            state,
            since,
            reason,
            token: self.token().as_deref().cloned(),
            logged_in,
            sessions: Sessions {
                configured: self.settings.sessions,
                allowed: self.capacity.sessions(),
                open: occupancy.idle + occupancy.busy + occupancy.hung + usize::from(holds_login),
                busy: occupancy.busy,
                written_off: occupancy.hung,
            },
            queue: (self.capacity.waiting(), self.settings.queue),
            last_success: self.counters.last_success(now),
            last_failure: self.counters.last_failure(now),
            calls: self.counters.calls(),
            waited: self.counters.queue_times(),
            worked: self.counters.module_times(),
            failures: self.counters.failures(),
            recoveries: self.counters.recoveries(),
            failed_recoveries,
            logins,
            written_off,
            failing_keys: self.suspects.names(),
            refused: self
                .memory
                .handles()
                .refused()
                .into_iter()
                .map(|(id, why)| (String::from_utf8_lossy(&id).into_owned(), why))
                .collect(),
            generator,
            generator_failures,
            panics: self.counters.panics(),
        }
    }
}
