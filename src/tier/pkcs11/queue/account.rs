//! What is known of a share of callers: how far it was served, how long its calls take, who of it waits.

use std::collections::VecDeque;

use tokio::time::Instant;

/// The most that one call is charged: the victim of a call that hangs must not pay for it.
pub(super) const CHARGE_LIMIT: u64 = 50_000_000;
/// How many calls an average is made of; one made of less refuses nobody.
const SAMPLES: u64 = 16;
/// How many times the average a call may count in it: one call that hangs does not turn callers away.
const OUTLIER: u64 = 8;
/// What a call may count in any case, so that an average near nothing can rise again.
const OUTLIER_FLOOR: u64 = 1_000_000;

/// A place in the queue. Never given twice; a later one has a higher number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Ticket(pub(super) u64);

/// How long calls hold a permit, in nanoseconds: the mean of the first [`SAMPLES`], from then on exponentially weighted.
#[derive(Clone, Copy)]
pub(super) struct Average {
    pub(super) nanos: u64,
    pub(super) samples: u64,
}

impl Average {
    pub(super) fn note(&mut self, held: u64) {
        let held = if self.is_settled() { held.min(self.nanos.saturating_mul(OUTLIER).max(OUTLIER_FLOOR)) } else { held };
        self.samples = (self.samples + 1).min(SAMPLES);
        if held >= self.nanos {
            self.nanos += (held - self.nanos) / self.samples;
        } else {
            self.nanos -= (self.nanos - held) / self.samples;
        }
    }

    pub(super) fn is_settled(&self) -> bool {
        self.samples == SAMPLES
    }
}

/// A job in the queue.
pub(super) struct Waiting<J> {
    pub(super) ticket: Ticket,
    pub(super) asked: Instant,
    pub(super) job: J,
}

/// What is known of a share.
pub(super) struct Account<J> {
    /// How far it was served: nanoseconds that it held permits, from where it started.
    pub(super) spent: u64,
    /// Of its own calls; what the lane's take until the first has ended.
    pub(super) average: Average,
    /// Permits that are out.
    pub(super) out: usize,
    /// By ticket.
    pub(super) waiting: VecDeque<Waiting<J>>,
}

/// What a share was charged for a permit.
#[derive(Clone, Copy)]
pub(super) struct Charge {
    /// Where the share stood before.
    pub(super) stood: u64,
    pub(super) nanos: u64,
}

impl<J> Account<J> {
    /// Charges what the call will probably take: a share with many slow calls in flight must not look as if it had none.
    pub(super) fn charge(&mut self) -> Charge {
        let charge = Charge { stood: self.spent, nanos: self.average.nanos.min(CHARGE_LIMIT) };
        self.spent += charge.nanos;
        self.out += 1;
        charge
    }

    /// Its place in the order of turns; none when nobody waits.
    pub(super) fn turn(&self) -> Option<(u64, Ticket)> {
        self.waiting.front().map(|first| (self.spent, first.ticket))
    }
}
