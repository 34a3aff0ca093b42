//! What watches a slot: a thread that gives up overdue calls, begins attempts to mend the slot, and has idle sessions looked after.
//!
//! A thread and not a task, so that it goes on when calls hold every worker of the runtime. It makes no call into the module
//! itself: what may hang runs on session threads, and is watched, too.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::base::lock;
use crate::tier::pkcs11::answer::Level;
use crate::tier::pkcs11::slot::condition::{Change, Condition};
use crate::tier::pkcs11::slot::health::Machine;
use crate::tier::pkcs11::slot::order::Place;
use crate::tier::pkcs11::slot::sessions::{Occupancy, WrittenOff};
use crate::tier::pkcs11::slot::slot::Slot;

/// How often it looks: so much later than its deadline a call is given up.
pub(super) const TICK: Duration = Duration::from_millis(50);
/// A call that holds a worker of the runtime for so long is not what was measured; later ones go to threads until it is back.
const INLINE_PATIENCE: Duration = Duration::from_millis(50);
/// And for so long it hangs: a machine that is too busy to run it does not hold it up for longer. The spare workers of the runtime
/// are let go.
const RELIEF_PATIENCE: Duration = Duration::from_millis(250);

/// Watches the slot for as long as somebody has it.
///
/// # Errors
/// The system gives no thread.
pub(crate) fn watch(slot: &Arc<Slot>) -> std::io::Result<()> {
    let watched = Arc::downgrade(slot);
    std::thread::Builder::new().name("pkcs11-watch".to_owned()).spawn(move || look_after(&watched)).map(drop)
}

fn look_after(watched: &Weak<Slot>) {
    loop {
        let Some(slot) = watched.upgrade() else { return };
        let Occupancy { busy, hung, .. } = slot.pool.occupancy();
        if slot.look(|machine| *machine.condition() == Condition::Closed) && busy + hung == 0 {
            return;
        }
        // One that panics is followed by the next one.
        slot.caught(|| slot.tick(Instant::now()));
        let wake = next_look(&slot);
        drop(slot);
        std::thread::sleep(wake);
    }
}

/// How long until the next look.
fn next_look(slot: &Slot) -> Duration {
    // An attempt that just ended may be followed by another at once.
    if slot.look(|machine| matches!(machine.condition(), Condition::Serving)) { TICK } else { TICK / 10 }
}

impl Slot {
    fn tick(self: &Arc<Self>, now: Instant) {
        self.give_up(now);
        self.watch_inline(now);
        self.watch_attempt(now);
        if !self.too_many_hang() && lock(&self.watch.attempt).is_none() {
            let mut due = None;
            self.change(|machine, now| {
                let before = machine.condition().clone();
                due = machine.begin_attempt(now);
                if *machine.condition() == before { Change::None } else { Change::Moved }
            });
            match due {
                Some(level) => self.begin_attempt(level, now),
                None => {
                    self.probe();
                    self.chores(now);
                }
            }
        }
    }

    /// Overdue calls are given up: their callers were answered, their permits go on.
    fn give_up(&self, now: Instant) {
        let off = self.pool.write_off(now);
        if off.is_empty() {
            return;
        }
        for WrittenOff { place, .. } in &off {
            self.lease.count_hung();
            self.counters.written_off();
            if *place == Place::Inline {
                self.hung_inline.fetch_add(1, Ordering::AcqRel);
            }
        }
        if let Some(epoch) = self.pool.epoch() {
            for _ in &off {
                self.failed(epoch.number, Level::Operation, "a call did not come back in time");
            }
        }
        let hung = self.pool.occupancy().hung;
        tracing::warn!(token = %self.name(), calls = off.len(), hung, "calls are overdue and given up");
    }

    /// More calls hang than may: as long as that lasts the slot is down, and no attempt makes another one hang.
    fn too_many_hang(&self) -> bool {
        let too_many = self.pool.occupancy().hung > self.settings.written_off;
        if too_many {
            self.change(Machine::too_many_hang);
        }
        too_many
    }

    fn watch_inline(&self, now: Instant) {
        let Some(inline) = self.capacity.inline() else { return };
        inline.lane.tell();
        let oldest = self.pool.oldest_inline(now);
        let hung = self.hung_inline.load(Ordering::Acquire) > 0;
        let stuck = hung || oldest.is_some_and(|held| held > INLINE_PATIENCE);
        if let Some(relief) = &self.settings.relief
            && (hung || oldest.is_some_and(|held| held > RELIEF_PATIENCE))
        {
            relief.call();
        }
        if self.look(|machine| *machine.condition() == Condition::Closed) || stuck {
            inline.lane.shut();
        } else {
            inline.lane.open();
        }
    }
}
