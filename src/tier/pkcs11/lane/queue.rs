//! Who is next in a lane and who is refused: the rules, without the waiting.
//!
//! Used by `lane` alone, under its lock. It asks no clock and knows a task by its waker only; whom to wake it tells its caller, who
//! does so, and drops wakers, when the lock is free: both may run code that comes back to the lane.
//!
//! Permits are shared by time (start-time fair queueing): a share is charged for how long it holds permits, and the share that
//! was charged least is next. A share that comes without callers in the queue starts at the lane's own clock, which is where the
//! share stood that was served last, so that idling earns nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::task::Waker;
use std::time::Duration;

use tokio::time::Instant;

use super::Refused;
use crate::tier::Share;

/// The most that one call is charged: the victim of a call that hangs must not pay for it.
const CHARGE_LIMIT: u64 = 50_000_000;
/// How long a call takes as long as none has ended; some charge there must be, or the first flood is served whole.
const GUESS: u64 = 1_000_000;
/// How many calls an average is made of; one made of less refuses nobody.
const SAMPLES: u64 = 16;
/// How many times the average a call may count in it: one call that hangs does not turn callers away.
const OUTLIER: u64 = 8;
/// What a call may count in any case, so that an average near nothing can rise again.
const OUTLIER_FLOOR: u64 = 1_000_000;
/// How many times the average a caller must have left for its own call.
const OWN: u64 = 2;
/// Accounts that may pile up before the idle ones are dropped; what those owe is forgiven.
const ACCOUNTS: usize = 1024;

/// A place in the queue. Never given twice; a later one has a higher number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Ticket(u64);

/// A permit that is out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grant {
    pub(super) share: Share,
    pub(super) since: Instant,
    /// What was charged when it was granted, in nanoseconds.
    charged: u64,
}

/// What becomes of a caller who is not refused.
pub(super) enum Answer {
    Granted(Grant),
    /// It waits; whoever had to leave for it is to be woken.
    Waits(Ticket, Option<Waker>),
}

/// How it stands with a caller who waits.
pub(super) enum Look {
    Granted(Grant),
    Refused(Refused),
    /// It waits on; the waker that it had before is to be dropped.
    Waits(Option<Waker>),
}

/// What a permit was good for.
#[derive(Clone, Copy)]
pub(super) enum Ending {
    /// A call.
    Used,
    /// Nothing: how long it was out says nothing about calls.
    Unused,
}

/// How long calls hold a permit, in nanoseconds: the mean of the first [`SAMPLES`], from then on exponentially weighted.
#[derive(Clone, Copy)]
struct Average {
    nanos: u64,
    samples: u64,
}

impl Average {
    fn note(&mut self, held: u64) {
        let held = if self.is_settled() { held.min(self.nanos.saturating_mul(OUTLIER).max(OUTLIER_FLOOR)) } else { held };
        self.samples = (self.samples + 1).min(SAMPLES);
        if held >= self.nanos {
            self.nanos += (held - self.nanos) / self.samples;
        } else {
            self.nanos -= (self.nanos - held) / self.samples;
        }
    }

    fn is_settled(&self) -> bool {
        self.samples == SAMPLES
    }
}

/// What is known of a share.
struct Account {
    /// How far it was served: nanoseconds that it held permits, from where it started.
    spent: u64,
    /// Of its own calls; what the lane's take until the first has ended.
    average: Average,
    /// Permits that are out.
    out: usize,
    waiting: BTreeMap<Ticket, Option<Waker>>,
}

/// What a share was charged for a permit.
#[derive(Clone, Copy)]
struct Charge {
    /// Where the share stood before.
    stood: u64,
    nanos: u64,
}

impl Account {
    /// Charges what the call will probably take: a share with many slow calls in flight must not look as if it had none.
    fn charge(&mut self) -> Charge {
        let charge = Charge { stood: self.spent, nanos: self.average.nanos.min(CHARGE_LIMIT) };
        self.spent += charge.nanos;
        self.out += 1;
        charge
    }

    /// Its place in [`Queue::turns`]; none when nobody waits.
    fn turn(&self) -> Option<(u64, Ticket)> {
        self.waiting.first_key_value().map(|(ticket, _)| (self.spent, *ticket))
    }
}

/// The state of a lane. A permit is free only while nobody waits.
pub(super) struct Queue {
    capacity: usize,
    busy: usize,
    bound: usize,
    waiting: usize,
    shut: bool,
    /// How many times it was shut: tells a caller who lost the place from one who was sent away with all others.
    shuttings: u64,
    /// Where the share stood that was served last; never goes back.
    clock: u64,
    average: Average,
    accounts: HashMap<Share, Account>,
    sweep_at: usize,
    /// The shares with callers that wait: the one that was charged least is first; among equals, whose caller came first.
    turns: BTreeMap<(u64, Ticket), Share>,
    /// The same shares, those with most callers last.
    lengths: BTreeSet<(usize, Share)>,
    /// Permits that were granted to callers who have not been there since to take them.
    granted: HashMap<Ticket, Grant>,
    next: u64,
}

impl Queue {
    pub(super) fn new(capacity: usize, bound: usize) -> Self {
        Self {
            capacity,
            busy: 0,
            bound,
            waiting: 0,
            shut: false,
            shuttings: 0,
            clock: 0,
            average: Average { nanos: GUESS, samples: 0 },
            accounts: HashMap::new(),
            sweep_at: ACCOUNTS,
            turns: BTreeMap::new(),
            lengths: BTreeSet::new(),
            granted: HashMap::new(),
            next: 0,
        }
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    #[cfg(test)]
    pub(super) fn busy(&self) -> usize {
        self.busy
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    pub(super) fn shuttings(&self) -> u64 {
        self.shuttings
    }

    /// A caller comes.
    pub(super) fn ask(&mut self, share: Share, now: Instant, deadline: Instant) -> Result<Answer, Refused> {
        if self.shut {
            return Err(Refused::Shut);
        }
        if deadline <= now {
            return Err(Refused::TimedOut);
        }
        let free = self.busy < self.capacity;
        let account = self.arrive(share);
        if free {
            // Nobody waits while a permit is free: the order of those who wait is not touched.
            let charge = account.charge();
            return Ok(Answer::Granted(self.grant(share, charge, now)));
        }
        let (own, average) = (account.waiting.len(), account.average);
        if self.is_hopeless(own, average, deadline - now) {
            return Err(Refused::Hopeless);
        }
        let evicted = self.make_room(own)?;
        let ticket = Ticket(self.next);
        self.next += 1;
        self.change(share, |account| account.waiting.insert(ticket, None));
        self.waiting += 1;
        Ok(Answer::Waits(ticket, evicted))
    }

    /// A caller who waits looks whether its turn has come; `shuttings` is what it was when the caller came.
    pub(super) fn look(&mut self, share: Share, ticket: Ticket, shuttings: u64, waker: &Waker) -> Look {
        if let Some(grant) = self.granted.remove(&ticket) {
            return Look::Granted(grant);
        }
        match self.accounts.get_mut(&share).and_then(|account| account.waiting.get_mut(&ticket)) {
            Some(Some(known)) if known.will_wake(waker) => Look::Waits(None),
            Some(place) => Look::Waits(place.replace(waker.clone())),
            None if self.shuttings != shuttings => Look::Refused(Refused::Shut),
            None => Look::Refused(Refused::Full),
        }
    }

    /// A caller who waited, or was granted a permit and did not know yet, goes away. Gives whom to wake, and what to drop.
    pub(super) fn cancel(&mut self, share: Share, ticket: Ticket, now: Instant) -> (Vec<Waker>, Option<Waker>) {
        match self.granted.remove(&ticket) {
            Some(grant) => (self.finish(grant, now, Ending::Unused), None),
            None => (Vec::new(), self.leave(share, ticket)),
        }
    }

    /// A permit comes back. Gives whom to wake.
    pub(super) fn finish(&mut self, grant: Grant, now: Instant, ending: Ending) -> Vec<Waker> {
        let held = nanos(now.saturating_duration_since(grant.since));
        let sample = match ending {
            Ending::Used => Some(held),
            Ending::Unused => None,
        };
        if let Some(held) = sample {
            self.average.note(held);
        }
        self.change(grant.share, |account| {
            account.out -= 1;
            account.spent = (account.spent + held.min(CHARGE_LIMIT)).saturating_sub(grant.charged);
            if let Some(held) = sample {
                account.average.note(held);
            }
        });
        self.busy -= 1;
        self.serve(now)
    }

    /// One permit less, if it is not the last. Its holder must give its own back.
    pub(super) fn shrink(&mut self) -> bool {
        let shrinks = self.capacity > 1;
        if shrinks {
            self.capacity -= 1;
        }
        shrinks
    }

    /// Has `to` permits, one at least; what is out beyond that is not granted again. Gives whom to wake.
    pub(super) fn resize(&mut self, to: usize, now: Instant) -> Vec<Waker> {
        self.capacity = to.max(1);
        self.serve(now)
    }

    /// Sends away all who wait. Gives whom to wake.
    pub(super) fn shut(&mut self) -> Vec<Waker> {
        if self.shut {
            return Vec::new();
        }
        self.shut = true;
        self.shuttings += 1;
        self.waiting = 0;
        self.lengths.clear();
        let mut woken = Vec::new();
        for share in std::mem::take(&mut self.turns).into_values() {
            if let Some(account) = self.accounts.get_mut(&share) {
                woken.extend(std::mem::take(&mut account.waiting).into_values().flatten());
            }
        }
        woken
    }

    pub(super) fn open(&mut self) {
        self.shut = false;
    }

    /// Has an account for the share, which is at the clock at least when none of its callers waits.
    fn arrive(&mut self, share: Share) -> &mut Account {
        if self.accounts.len() >= self.sweep_at {
            self.accounts.retain(|_, account| account.out > 0 || !account.waiting.is_empty());
            self.sweep_at = ACCOUNTS.max(2 * self.accounts.len());
        }
        let (clock, average) = (self.clock, Average { samples: 0, ..self.average });
        let account =
            self.accounts.entry(share).or_insert_with(|| Account { spent: clock, average, out: 0, waiting: BTreeMap::new() });
        if account.waiting.is_empty() {
            account.spent = account.spent.max(clock);
        }
        account
    }

    /// Grants what is free to those whose turn it is. Gives whom to wake.
    fn serve(&mut self, now: Instant) -> Vec<Waker> {
        let mut woken = Vec::new();
        while self.busy < self.capacity {
            let Some((&(_, ticket), &share)) = self.turns.first_key_value() else { break };
            let next = self.change(share, |account| (account.waiting.remove(&ticket), account.charge()));
            // Whoever waits has an account.
            let Some((place, charge)) = next else { break };
            self.waiting -= 1;
            woken.extend(place.flatten());
            let grant = self.grant(share, charge, now);
            self.granted.insert(ticket, grant);
        }
        woken
    }

    fn grant(&mut self, share: Share, charge: Charge, now: Instant) -> Grant {
        self.busy += 1;
        self.clock = self.clock.max(charge.stood);
        Grant { share, since: now, charged: charge.nanos }
    }

    /// Takes a caller out of the queue, if it is in there; gives its waker.
    fn leave(&mut self, share: Share, ticket: Ticket) -> Option<Waker> {
        let place = self.change(share, |account| account.waiting.remove(&ticket)).flatten()?;
        self.waiting -= 1;
        place
    }

    /// Makes a place for one more caller of a share that has `own` in the queue. When there is none, the newest of the longest
    /// share has to leave, unless the other would be as long then: it is to be woken.
    fn make_room(&mut self, own: usize) -> Result<Option<Waker>, Refused> {
        if self.waiting < self.bound {
            return Ok(None);
        }
        let Some(&(_, longest)) = self.lengths.last().filter(|(length, _)| own + 1 < *length) else {
            return Err(Refused::Full);
        };
        let newest = self.accounts.get(&longest).and_then(|account| account.waiting.last_key_value()).map(|(ticket, _)| *ticket);
        Ok(newest.and_then(|ticket| self.leave(longest, ticket)))
    }

    /// Whether one more caller of a share that has `own` in the queue will not be served in the time that is left. Before it are
    /// those, each with a round of all shares, and never more than all who wait. Then its own call must end in time, too, and may
    /// take longer than others: a token that works on calls whose callers are gone by then serves nobody.
    fn is_hopeless(&self, own: usize, average: Average, left: Duration) -> bool {
        if !self.average.is_settled() {
            return false;
        }
        let average = if average.is_settled() { average } else { self.average };
        let rounds = average.nanos.saturating_mul(count(own)).saturating_mul(count(self.turns.len()));
        let all = self.average.nanos.saturating_mul(count(self.waiting));
        (rounds.min(all) / count(self.capacity)).saturating_add(average.nanos.saturating_mul(OWN)) > nanos(left)
    }

    /// Changes an account, and puts the share where it now belongs among those that wait. Nothing happens without an account.
    fn change<R>(&mut self, share: Share, change: impl FnOnce(&mut Account) -> R) -> Option<R> {
        let account = self.accounts.get_mut(&share)?;
        let (turn, length) = (account.turn(), account.waiting.len());
        let result = change(account);
        let (new_turn, new_length) = (account.turn(), account.waiting.len());
        if turn != new_turn {
            if let Some(turn) = turn {
                self.turns.remove(&turn);
            }
            if let Some(turn) = new_turn {
                self.turns.insert(turn, share);
            }
        }
        if length != new_length {
            self.lengths.remove(&(length, share));
            if new_length > 0 {
                self.lengths.insert((new_length, share));
            }
        }
        Some(result)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn count(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
impl Queue {
    /// What holds at any time.
    pub(super) fn check(&self) {
        let queues = || self.accounts.values().map(|account| &account.waiting);
        assert!(self.busy >= self.capacity || self.waiting == 0, "somebody waits for a free permit");
        assert!(!self.shut || self.waiting == 0, "somebody waits for a lane that is shut");
        assert!(self.waiting <= self.bound);
        assert!(self.granted.len() <= self.busy);
        assert_eq!(self.waiting, queues().map(BTreeMap::len).sum::<usize>());
        assert_eq!(self.busy, self.accounts.values().map(|account| account.out).sum::<usize>());
        assert_eq!(self.turns.len(), queues().filter(|waiting| !waiting.is_empty()).count());
        assert_eq!(self.lengths.len(), self.turns.len());
        for (turn, share) in &self.turns {
            let account = &self.accounts[share];
            assert_eq!(account.turn().as_ref(), Some(turn));
            assert!(self.lengths.contains(&(account.waiting.len(), *share)));
        }
    }

    pub(super) fn accounts(&self) -> usize {
        self.accounts.len()
    }

    pub(super) fn average(&self) -> Duration {
        Duration::from_nanos(self.average.nanos)
    }

    pub(super) fn is_settled(&self) -> bool {
        self.average.is_settled()
    }
}
