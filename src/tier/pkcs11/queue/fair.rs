//! Who is next in a lane and who is refused: the rules, without the waiting.
//!
//! Used by `lane` alone, under its lock. It asks no clock and does nothing with the jobs in it: what is to be started, refused or
//! dropped it gives to its caller, who does so when the lock is free, since all of that may come back to the lane.
//!
//! Permits are shared by time (start-time fair queueing): a share is charged for how long it holds permits, and the share that
//! was charged least is next. A share that comes without callers in the queue starts at the lane's own clock, which is where the
//! share stood that was served last, so that idling earns nothing.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::tier::Share;
use crate::tier::pkcs11::queue::account::{Account, Average, CHARGE_LIMIT, Charge, Ticket, Waiting};

/// How long a call takes as long as none has ended; some charge there must be, or the first flood is served whole.
const GUESS: u64 = 1_000_000;
/// How many times the average a caller must have left for its own call.
const OWN: u64 = 2;
/// Accounts that may pile up before the idle ones are dropped; what those owe is forgiven.
const ACCOUNTS: usize = 1024;

/// Why a job is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Too many wait, and of its own share as many as of any.
    Full,
    /// So many wait before it that its deadline would pass.
    Hopeless,
    /// Its deadline has passed.
    TimedOut,
    /// The lane is shut.
    Shut,
}

/// A permit that is out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grant {
    pub(super) share: Share,
    pub(super) since: Instant,
    /// How long its caller waited for it.
    pub(super) waited: Duration,
    /// What was charged when it was granted, in nanoseconds.
    charged: u64,
}

/// What becomes of a job that comes.
pub(super) enum Answer<J> {
    Granted(Grant, J),
    /// It waits; another that had to leave for it is full up.
    Waits(Ticket, Option<J>),
    Refused(Refused, J),
}

/// What a permit was good for.
#[derive(Clone, Copy)]
pub(super) enum Ending {
    /// A call.
    Used,
    /// Nothing: how long it was out says nothing about calls.
    Unused,
}

/// The state of a lane. A permit is free only while nobody waits.
pub(super) struct Queue<J> {
    capacity: usize,
    busy: usize,
    bound: usize,
    waiting: usize,
    shut: bool,
    /// Where the share stood that was served last; never goes back.
    clock: u64,
    average: Average,
    accounts: HashMap<Share, Account<J>>,
    sweep_at: usize,
    /// The shares with callers that wait: the one that was charged least is first; among equals, whose caller came first.
    turns: BTreeMap<(u64, Ticket), Share>,
    next: u64,
}

impl<J> Queue<J> {
    pub(super) fn new(capacity: usize, bound: usize) -> Self {
        Self {
            capacity,
            busy: 0,
            bound,
            waiting: 0,
            shut: false,
            clock: 0,
            average: Average { nanos: GUESS, samples: 0 },
            accounts: HashMap::new(),
            sweep_at: ACCOUNTS,
            turns: BTreeMap::new(),
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

    /// A job comes.
    pub(super) fn ask(&mut self, share: Share, now: Instant, deadline: Instant, job: J) -> Answer<J> {
        if self.shut {
            return Answer::Refused(Refused::Shut, job);
        }
        if deadline <= now {
            return Answer::Refused(Refused::TimedOut, job);
        }
        let free = self.busy < self.capacity;
        let account = self.arrive(share);
        if free {
            // Nobody waits while a permit is free: the order of those who wait is not touched.
            let charge = account.charge();
            return Answer::Granted(self.grant(share, charge, now, now), job);
        }
        let (own, average) = (account.waiting.len(), account.average);
        if self.is_hopeless(own, average, deadline - now) {
            return Answer::Refused(Refused::Hopeless, job);
        }
        let Ok(evicted) = self.make_room(own) else { return Answer::Refused(Refused::Full, job) };
        let ticket = Ticket(self.next);
        self.next += 1;
        self.change(share, |account| account.waiting.push_back(Waiting { ticket, asked: now, job }));
        self.waiting += 1;
        Answer::Waits(ticket, evicted)
    }

    /// Takes a job out of the queue, if it is still in there.
    pub(super) fn withdraw(&mut self, share: Share, ticket: Ticket) -> Option<J> {
        let job = self.change(share, |account| {
            let at = account.waiting.binary_search_by_key(&ticket, |waiting| waiting.ticket).ok()?;
            account.waiting.remove(at).map(|waiting| waiting.job)
        });
        let job = job.flatten()?;
        self.waiting -= 1;
        Some(job)
    }

    /// A permit comes back. It may be somebody's [`turn`](Self::turn) now.
    pub(super) fn finish(&mut self, grant: Grant, now: Instant, ending: Ending) {
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
    }

    /// Grants a free permit to the job whose turn it is, if there are both. Asked again until there are not, before the lock is free.
    pub(super) fn turn(&mut self, now: Instant) -> Option<(Grant, J)> {
        if self.busy >= self.capacity {
            return None;
        }
        let (_, &share) = self.turns.first_key_value()?;
        let next = self.change(share, |account| account.waiting.pop_front().map(|first| (first, account.charge())));
        // Whoever waits has an account.
        let (Waiting { asked, job, .. }, charge) = next.flatten()?;
        self.waiting -= 1;
        Some((self.grant(share, charge, asked, now), job))
    }

    /// One permit less, if it is not the last. Its holder must give its own back.
    pub(super) fn shrink(&mut self) -> bool {
        let shrinks = self.capacity > 1;
        if shrinks {
            self.capacity -= 1;
        }
        shrinks
    }

    /// Has `to` permits, one at least; what is out beyond that is not granted again. It may be somebody's [`turn`](Self::turn) now.
    pub(super) fn resize(&mut self, to: usize) {
        self.capacity = to.max(1);
    }

    /// Sends away all who wait.
    pub(super) fn shut(&mut self) -> Vec<J> {
        self.shut = true;
        self.waiting = 0;
        let mut sent = Vec::new();
        for share in std::mem::take(&mut self.turns).into_values() {
            if let Some(account) = self.accounts.get_mut(&share) {
                sent.extend(account.waiting.drain(..).map(|waiting| waiting.job));
            }
        }
        sent
    }

    pub(super) fn open(&mut self) {
        self.shut = false;
    }

    /// Has an account for the share, which is at the clock at least when none of its callers waits.
    fn arrive(&mut self, share: Share) -> &mut Account<J> {
        if self.accounts.len() >= self.sweep_at {
            self.accounts.retain(|_, account| account.out > 0 || !account.waiting.is_empty());
            self.sweep_at = ACCOUNTS.max(2 * self.accounts.len());
        }
        let (clock, average) = (self.clock, Average { samples: 0, ..self.average });
        let account =
            self.accounts.entry(share).or_insert_with(|| Account { spent: clock, average, out: 0, waiting: VecDeque::new() });
        if account.waiting.is_empty() {
            account.spent = account.spent.max(clock);
        }
        account
    }

    fn grant(&mut self, share: Share, charge: Charge, asked: Instant, now: Instant) -> Grant {
        self.busy += 1;
        self.clock = self.clock.max(charge.stood);
        Grant { share, since: now, waited: now.saturating_duration_since(asked), charged: charge.nanos }
    }

    /// Makes a place for one more job of a share that has `own` in the queue. When there is none, the newest of the longest share has
    /// to leave, unless the other would be as long then. Only a full queue is searched for it.
    fn make_room(&mut self, own: usize) -> Result<Option<J>, Refused> {
        if self.waiting < self.bound {
            return Ok(None);
        }
        let lengths = self.turns.values().filter_map(|share| Some((self.accounts.get(share)?.waiting.len(), *share)));
        let Some((_, longest)) = lengths.max().filter(|(length, _)| own + 1 < *length) else { return Err(Refused::Full) };
        let evicted = self.change(longest, |account| account.waiting.pop_back());
        self.waiting -= 1;
        Ok(evicted.flatten().map(|waiting| waiting.job))
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
    fn change<R>(&mut self, share: Share, change: impl FnOnce(&mut Account<J>) -> R) -> Option<R> {
        let account = self.accounts.get_mut(&share)?;
        let turn = account.turn();
        let result = change(account);
        let new_turn = account.turn();
        if turn != new_turn {
            if let Some(turn) = turn {
                self.turns.remove(&turn);
            }
            if let Some(turn) = new_turn {
                self.turns.insert(turn, share);
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
impl<J> Queue<J> {
    /// What holds at any time.
    pub(super) fn check(&self) {
        let queues = || self.accounts.values().map(|account| &account.waiting);
        assert!(self.busy >= self.capacity || self.waiting == 0, "somebody waits for a free permit");
        assert!(!self.shut || self.waiting == 0, "somebody waits for a lane that is shut");
        assert!(self.waiting <= self.bound);
        assert_eq!(self.waiting, queues().map(VecDeque::len).sum::<usize>());
        assert_eq!(self.busy, self.accounts.values().map(|account| account.out).sum::<usize>());
        assert_eq!(self.turns.len(), queues().filter(|waiting| !waiting.is_empty()).count());
        for (turn, share) in &self.turns {
            assert_eq!(self.accounts[share].turn().as_ref(), Some(turn));
        }
        assert!(queues().all(|waiting| waiting.iter().is_sorted_by_key(|waiting| waiting.ticket)));
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
