//! A lane: permits for calls into a token, and a bounded queue of jobs before them that is shared fairly.
//!
//! A slot has one for each thing that is short: working sessions, places on the runtime, key generation. Whose job it is is a
//! [`Share`]; whoever floods the lane waits for itself, not before others. Who is next is decided in `queue`. It knows nothing of
//! sessions and tokens.
//!
//! A job that waited is run by the thread whose job just ended ([`drive`]): nobody is woken to run it, and the module does not idle
//! meanwhile.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::task::coop;
use tokio::time::Instant;

use crate::tier::Share;
use crate::tier::pkcs11::queue::account::Ticket;
use crate::tier::pkcs11::queue::fair::{Answer, Ending, Grant, Queue, Refused};

/// What a lane serves. It is started or refused, once, unless it is withdrawn, and never under the lane's lock. Once started it is run
/// and then tells.
pub(crate) trait Job: Send {
    /// Is to begin where it belongs, by [`drive`] or [`drive_in_turn`]; whoever calls does not wait for it.
    fn start(self: Box<Self>, permit: Permit);

    /// Runs here and now. Gives back its permit, unless it gave it away.
    fn run(&mut self, permit: Permit) -> Option<Permit>;

    /// Tells whoever waits for it how it went.
    fn tell(self: Box<Self>);

    /// Is not served.
    fn refuse(self: Box<Self>, why: Refused);
}

/// The job whose turn it is.
struct Next {
    permit: Permit,
    job: Box<dyn Job>,
    /// How many wait after it for each permit.
    waiting: usize,
}

/// Permits and those who wait for them.
pub(crate) struct Lane {
    queue: Mutex<Queue<Box<dyn Job>>>,
    /// Jobs that ran and have not told yet.
    untold: Mutex<Vec<Box<dyn Job>>>,
}

impl Lane {
    /// With `permits`, one at least; at most `queue` jobs wait for them.
    pub(crate) fn new(permits: usize, queue: usize) -> Arc<Self> {
        Arc::new(Self { queue: Mutex::new(Queue::new(permits.max(1), queue)), untold: Mutex::default() })
    }

    /// Has the job served: started at once, or when its turn comes. It is refused at once when waiting until the deadline is of no
    /// use, and later when the queue is full and another share has fewer in it, or when the lane is shut. Whoever does not want it any
    /// more drops what is returned.
    pub(crate) fn submit(self: &Arc<Self>, share: Share, deadline: Instant, job: Box<dyn Job>) -> Waiting {
        let now = Instant::now();
        let mut waiting = Waiting { lane: Arc::clone(self), share, ticket: None };
        let answer = self.lock().ask(share, now, deadline, job);
        match answer {
            Answer::Granted(grant, job) => job.start(self.permit(grant)),
            Answer::Waits(ticket, evicted) => {
                waiting.ticket = Some(ticket);
                if let Some(evicted) = evicted {
                    evicted.refuse(Refused::Full);
                }
            }
            Answer::Refused(why, job) => job.refuse(why),
        }
        waiting
    }

    /// Refuses whoever waits and whoever comes, until it is opened again. Permits that are out stay good.
    pub(crate) fn shut(&self) {
        let sent = self.lock().shut();
        sent.into_iter().for_each(|job| job.refuse(Refused::Shut));
    }

    /// Lets jobs in again.
    pub(crate) fn open(&self) {
        self.lock().open();
    }

    /// Has `to` permits from now on, one at least; what is out beyond that is not granted again.
    pub(crate) fn resize(self: &Arc<Self>, to: usize) {
        self.serve(|queue, _| queue.resize(to));
    }

    /// How many permits there are.
    pub(crate) fn capacity(&self) -> usize {
        self.lock().capacity()
    }

    /// How many permits are out.
    #[cfg(test)]
    pub(crate) fn busy(&self) -> usize {
        self.lock().busy()
    }

    /// How many jobs wait.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().waiting()
    }

    /// Has those tell that ran and have not. To be called now and then: whoever ran them may be stuck in the next.
    pub(crate) fn tell(&self) {
        let untold = std::mem::take(&mut *self.untold());
        untold.into_iter().for_each(|job| job.tell());
    }

    fn untold(&self) -> MutexGuard<'_, Vec<Box<dyn Job>>> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn permit(self: &Arc<Self>, grant: Grant) -> Permit {
        Permit { lane: Arc::clone(self), grant: Some(grant) }
    }

    /// Changes something, and starts those whose turn it is then.
    fn serve<R>(self: &Arc<Self>, change: impl FnOnce(&mut Queue<Box<dyn Job>>, Instant) -> R) -> R {
        let now = Instant::now();
        let mut queue = self.lock();
        let result = change(&mut queue, now);
        let granted: Vec<_> = std::iter::from_fn(|| queue.turn(now)).collect();
        drop(queue);
        for (grant, job) in granted {
            job.start(self.permit(grant));
        }
        result
    }

    fn lock(&self) -> MutexGuard<'_, Queue<Box<dyn Job>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the queue, while there is one. When it is dropped a job that still waits is withdrawn; one that was started goes on.
pub(crate) struct Waiting {
    lane: Arc<Lane>,
    share: Share,
    ticket: Option<Ticket>,
}

impl Waiting {
    /// Takes the job out of the queue, and says whether it was still in there.
    pub(crate) fn withdraw(&mut self) -> bool {
        let Some(ticket) = self.ticket.take() else { return false };
        // It is dropped after the lock: what it holds may come back to the lane.
        let job = self.lane.lock().withdraw(self.share, ticket);
        job.is_some()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.withdraw();
    }
}

/// A permit that is out. It gives itself back when it is dropped, on whichever thread, and charges its share for the time.
pub(crate) struct Permit {
    lane: Arc<Lane>,
    /// None when it was given back.
    grant: Option<Grant>,
}

impl Permit {
    /// Takes it out of the lane for good, unless it is the last, and says whether it did. The last goes back.
    pub(crate) fn forget(mut self) -> bool {
        let Some(grant) = self.grant.take() else { return false };
        self.lane.serve(|queue, now| {
            let shrunk = queue.shrink();
            queue.finish(grant, now, Ending::Unused);
            shrunk
        })
    }

    /// Gives it back after a call, and takes it for the job whose turn it is, which is to be run on this thread.
    fn pass_on(mut self) -> Option<Next> {
        let grant = self.grant.take()?;
        let now = Instant::now();
        let mut queue = self.lane.lock();
        queue.finish(grant, now, Ending::Used);
        let first = queue.turn(now)?;
        // More than one when the lane has grown.
        let others: Vec<_> = std::iter::from_fn(|| queue.turn(now)).collect();
        let waiting = queue.waiting() / queue.capacity();
        drop(queue);
        for (grant, job) in others {
            job.start(self.lane.permit(grant));
        }
        let (grant, job) = first;
        self.grant = Some(grant);
        Some(Next { permit: self, job, waiting })
    }

    /// Whose it is.
    #[cfg(test)]
    pub(crate) fn share(&self) -> Option<Share> {
        self.grant.map(|grant| grant.share)
    }

    /// How long the job waited for it.
    pub(crate) fn waited(&self) -> Duration {
        self.grant.map_or(Duration::ZERO, |grant| grant.waited)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(grant) = self.grant.take() {
            self.lane.serve(|queue, now| queue.finish(grant, now, Ending::Used));
        }
    }
}

/// Runs a job, and then those whose turn it is in its lane, for as long as there are any. For a thread of its own. The last of them is
/// given back and has not told yet.
pub(crate) fn drive(mut job: Box<dyn Job>, mut permit: Permit) -> Box<dyn Job> {
    loop {
        let back = job.run(permit);
        let Some(next) = back.and_then(Permit::pass_on) else { return job };
        std::mem::replace(&mut job, next.job).tell();
        permit = next.permit;
    }
}

/// Jobs that a worker of the runtime runs one after the other before it tells of them and looks at what else there is: jobs there are
/// short, and to wake a worker for each answer costs a third of one.
const IN_A_ROW: usize = 8;

/// The same for a worker of the runtime, which has other tasks, too. The more wait, the more are run in a row before it tells; should
/// one of them hang, [`Lane::tell`] tells of those before it.
pub(crate) async fn drive_in_turn(job: Box<dyn Job>, permit: Permit) {
    let lane = Arc::clone(&permit.lane);
    let mut next = Some(Next { permit, job, waiting: 0 });
    let mut row = 0;
    while let Some(Next { permit, mut job, waiting }) = next {
        let back = job.run(permit);
        lane.untold().push(job);
        next = back.and_then(Permit::pass_on);
        row += 1;
        if next.is_none() || row >= waiting.clamp(1, IN_A_ROW) {
            row = 0;
            lane.tell();
            if next.is_some() {
                tokio::task::yield_now().await;
            }
        }
    }
    end_row().await;
}

/// Has the worker begin anew with the task that was just woken. A worker runs a task, then the one that it woke, and so on; the fourth
/// in such a row it puts where others find it, and wakes one of them: with one call in flight every second call would wake a worker
/// that has nothing to do, which costs a sixth of it. A row also ends when its budget is spent, and then nobody is woken. Should a
/// tokio do otherwise, this does nothing.
async fn end_row() {
    /// More than tokio gives a task (128); one that is not bounded has no end of it.
    const BUDGET: usize = 256;
    std::future::poll_fn(|context| {
        for _ in 0..BUDGET {
            if !coop::has_budget_remaining() {
                break;
            }
            match coop::poll_proceed(context) {
                Poll::Ready(unit) => unit.made_progress(),
                Poll::Pending => break,
            }
        }
        Poll::Ready(())
    })
    .await;
}

#[cfg(test)]
mod tests;
