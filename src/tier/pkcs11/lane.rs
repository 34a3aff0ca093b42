//! A lane: permits for calls into a token, and a bounded queue before them that is shared fairly.
//!
//! A slot has one for each thing that is short: working sessions, places on the runtime, key generation. Whose call it is is a
//! [`Share`]; whoever floods the lane waits for itself, not before others. Who is next is decided in `queue`; here is the
//! waiting. It knows nothing of sessions and tokens.
//!
//! All of it happens under one lock, a permit's way to a caller included: a caller may go away at any moment, and what it was
//! granted goes to the next.

mod queue;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::tier::Share;
use queue::{Answer, Ending, Grant, Look, Queue, Ticket};

/// Why a caller gets no permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Too many wait, and of its own share as many as of any.
    Full,
    /// So many wait before it that its deadline would pass.
    Hopeless,
    /// Its deadline has passed.
    TimedOut,
    /// The lane is shut.
    Shut,
}

/// Permits and those who wait for them.
pub(super) struct Lane {
    queue: Mutex<Queue>,
}

impl Lane {
    /// With `permits`, one at least; at most `queue` callers wait for them.
    pub(super) fn new(permits: usize, queue: usize) -> Arc<Self> {
        Arc::new(Self { queue: Mutex::new(Queue::new(permits.max(1), queue)) })
    }

    /// Waits for a permit, until `deadline` at the latest. May be dropped at any moment.
    ///
    /// # Errors
    /// At once when waiting is of no use; a caller who waits may still be refused when the queue is full and another share has
    /// fewer in it, or when the lane is shut.
    pub(super) async fn acquire(self: &Arc<Self>, share: Share, deadline: Instant) -> Result<Permit, Refused> {
        let asked = Instant::now();
        let (answer, shuttings) = {
            let mut queue = self.lock();
            (queue.ask(share, asked, deadline)?, queue.shuttings())
        };
        let grant = match answer {
            Answer::Granted(grant) => grant,
            Answer::Waits(ticket, evicted) => {
                let waiting = Waiting { lane: self, share, ticket: Some(ticket), shuttings };
                wake(evicted);
                timeout_at(deadline, waiting).await.map_err(|_| Refused::TimedOut)??
            }
        };
        let waited = grant.since.saturating_duration_since(asked);
        Ok(Permit { lane: Arc::clone(self), grant: Some(grant), waited })
    }

    /// Refuses whoever waits and whoever comes, until it is opened again. Permits that are out stay good.
    pub(super) fn shut(&self) {
        let woken = self.lock().shut();
        wake(woken);
    }

    /// Lets callers in again.
    pub(super) fn open(&self) {
        self.lock().open();
    }

    /// Has `to` permits from now on, one at least; what is out beyond that is not granted again.
    pub(super) fn resize(&self, to: usize) {
        let now = Instant::now();
        let woken = self.lock().resize(to, now);
        wake(woken);
    }

    /// How many permits there are.
    pub(super) fn capacity(&self) -> usize {
        self.lock().capacity()
    }

    /// How many permits are out.
    #[cfg(test)]
    pub(super) fn busy(&self) -> usize {
        self.lock().busy()
    }

    /// How many callers wait.
    pub(super) fn waiting(&self) -> usize {
        self.lock().waiting()
    }

    fn give_back(&self, grant: Grant) {
        let now = Instant::now();
        let woken = self.lock().finish(grant, now, Ending::Used);
        wake(woken);
    }

    fn forget(&self, grant: Grant) -> bool {
        let now = Instant::now();
        let (shrunk, woken) = {
            let mut queue = self.lock();
            (queue.shrink(), queue.finish(grant, now, Ending::Unused))
        };
        wake(woken);
        shrunk
    }

    fn cancel(&self, share: Share, ticket: Ticket) {
        let now = Instant::now();
        // What is left in `_former` is dropped after the lock, as wakers must be.
        let (woken, _former) = self.lock().cancel(share, ticket, now);
        wake(woken);
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(wakers: impl IntoIterator<Item = Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}

/// A caller in the queue. When it is dropped its place is given up, or the permit that it was granted meanwhile.
struct Waiting<'a> {
    lane: &'a Lane,
    share: Share,
    /// None when it has its answer.
    ticket: Option<Ticket>,
    shuttings: u64,
}

impl Future for Waiting<'_> {
    type Output = Result<Grant, Refused>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(ticket) = self.ticket else { return Poll::Pending };
        let look = self.lane.lock().look(self.share, ticket, self.shuttings, context.waker());
        let result = match look {
            Look::Waits(_former) => return Poll::Pending,
            Look::Granted(grant) => Ok(grant),
            Look::Refused(reason) => Err(reason),
        };
        self.ticket = None;
        Poll::Ready(result)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.lane.cancel(self.share, ticket);
        }
    }
}

/// A permit that is out. It gives itself back when it is dropped, on whichever thread, and charges its share for the time.
pub(super) struct Permit {
    lane: Arc<Lane>,
    /// None when it was given back.
    grant: Option<Grant>,
    waited: Duration,
}

impl Permit {
    /// Takes it out of the lane for good, unless it is the last, and says whether it did. The last goes back.
    pub(super) fn forget(mut self) -> bool {
        self.grant.take().is_some_and(|grant| self.lane.forget(grant))
    }

    /// Whose it is.
    #[cfg(test)]
    pub(super) fn share(&self) -> Option<Share> {
        self.grant.map(|grant| grant.share)
    }

    /// How long the caller waited for it.
    pub(super) fn waited(&self) -> Duration {
        self.waited
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(grant) = self.grant.take() {
            self.lane.give_back(grant);
        }
    }
}

#[cfg(test)]
mod tests;
