//! The door for calls: admits, waits for a place, hands the work over, and answers by the deadline.
//!
//! A caller that goes away leaves everything in order: the job owns what it took and gives it back itself. What the job does is in
//! `tries`.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout_at;

use crate::base::{Error, Kind, Result};
use crate::tier::pkcs11::queue::fair::Refused;
use crate::tier::pkcs11::queue::lane::{self, Job, Permit};
use crate::tier::pkcs11::slot::order::{Call, Order, Place};
use crate::tier::pkcs11::slot::slot::Slot;
use crate::tier::pkcs11::slot::tries::Attempt;

/// How long a call that found its epoch over waits before it looks again.
const GLANCE: Duration = Duration::from_millis(20);

impl Slot {
    /// Runs `call` on a working session and gives its answer, at the deadline at the latest. A call that has begun is finished
    /// behind the scenes when its caller is gone.
    ///
    /// # Errors
    /// [`Kind::Throttled`] when it may go through later: the queue is full, the deadline passes in it, the slot is being recovered;
    /// [`Kind::Unavailable`] when the call itself is overdue, a person must help or the slot is closed; else what `call` said.
    pub(crate) async fn run<T, C>(self: &Arc<Self>, order: Order, call: C) -> Result<T>
    where
        T: Send + 'static,
        C: Call<T> + 'static,
    {
        let result = self.serve(order, call).await;
        self.counters.ended(order.operation, result.as_ref().err().map(Error::kind));
        result
    }

    async fn serve<T, C>(self: &Arc<Self>, order: Order, call: C) -> Result<T>
    where
        T: Send + 'static,
        C: Call<T> + 'static,
    {
        let mut call = call;
        let mut repeated = false;
        loop {
            self.admitted(order.deadline).await?;
            call = match self.attempt_in_turn(order, call).await? {
                Attempt::Ran(result) => return result,
                Attempt::Broken(back, error) => {
                    if std::mem::replace(&mut repeated, true) {
                        return Err(error);
                    }
                    back
                }
                Attempt::Between(back) => {
                    let _ = timeout_at(order.deadline.min(tokio::time::Instant::now() + GLANCE), self.lease.gate().opened()).await;
                    back
                }
                Attempt::NoSession(back) => {
                    let _ = timeout_at(order.deadline.min(tokio::time::Instant::now() + GLANCE), self.pool.freed()).await;
                    back
                }
            };
            if tokio::time::Instant::now() >= order.deadline {
                return Err(busy(TOO_BUSY));
            }
        }
    }

    /// Has the call served in the lane of its place.
    async fn attempt_in_turn<T, C>(self: &Arc<Self>, order: Order, call: C) -> Result<Attempt<T, C>>
    where
        T: Send + 'static,
        C: Call<T> + 'static,
    {
        let (mut order, mut call) = (order, call);
        loop {
            let lane = match (order.place, self.capacity.inline()) {
                (Place::Inline, Some(inline)) => &inline.lane,
                (Place::Inline, None) => {
                    order.place = Place::Thread;
                    self.capacity.threads()
                }
                (Place::Thread, _) => self.capacity.threads(),
                (Place::Generation, _) => self.lease.generation(),
            };
            let (answer, answered) = oneshot::channel();
            let errand = Errand { slot: Arc::clone(self), order, answer, state: State::Waits(call) };
            let mut waiting = lane.submit(order.share, order.deadline, Box::new(errand));
            match timeout_at(order.deadline, answered).await {
                Ok(Ok(Answer::Attempted(attempt))) => return Ok(attempt),
                // A worker of the runtime is held up: calls go to threads until it is back.
                Ok(Ok(Answer::Refused(Refused::Shut, again))) if order.place == Place::Inline => {
                    order.place = Place::Thread;
                    call = again;
                }
                Ok(Ok(Answer::Refused(why, ..))) => return Err(told(why)),
                Ok(Err(gone)) => return Err(Error::internal(gone)),
                Err(_) if waiting.withdraw() => return Err(told(Refused::TimedOut)),
                Err(_) => return Err(Error::new(Kind::Unavailable, "The hardware security module did not answer in time.")),
            }
        }
    }
}

/// A call on its way to the module and back.
struct Errand<T, F> {
    slot: Arc<Slot>,
    order: Order,
    answer: oneshot::Sender<Answer<T, F>>,
    state: State<T, F>,
}

/// How far it is.
enum State<T, F> {
    Waits(F),
    /// Its place is taken by calls that hang.
    Displaced(F),
    Ran(Attempt<T, F>),
    /// With whoever looks at it at the moment.
    Gone,
}

/// What a caller is told; what it may need again comes back.
enum Answer<T, F> {
    Attempted(Attempt<T, F>),
    Refused(Refused, F),
}

impl<T, C> Job for Errand<T, C>
where
    T: Send + 'static,
    C: Call<T> + 'static,
{
    fn start(self: Box<Self>, permit: Permit) {
        let slot = Arc::clone(&self.slot);
        match (self.order.place, slot.capacity.inline()) {
            (Place::Inline, Some(inline)) => drop(inline.runtime.spawn(lane::drive_in_turn(self, permit))),
            (Place::Inline | Place::Thread | Place::Generation, _) => {
                // Without a thread the job is dropped, and its caller sees that nobody answers.
                // The caller is told when the thread is at hand again: its next call finds it on the core that it leaves, and not
                // another one on the core of somebody else's call.
                let job = move || {
                    let last = lane::drive(self, permit);
                    let parting: Box<dyn FnOnce() + Send> = Box::new(move || last.tell());
                    Some(parting)
                };
                if let Err(error) = slot.threads.run(Box::new(job)) {
                    tracing::error!(token = %slot.name(), %error, "the system gives no thread");
                }
            }
        }
    }

    fn run(&mut self, permit: Permit) -> Option<Permit> {
        let State::Waits(call) = std::mem::replace(&mut self.state, State::Gone) else { return Some(permit) };
        let held = match (self.order.place, self.slot.capacity.inline()) {
            (Place::Inline, Some(inline)) => match inline.workers.hold() {
                Some(held) => Some(held),
                None => {
                    self.state = State::Displaced(call);
                    return Some(permit);
                }
            },
            (Place::Inline | Place::Thread | Place::Generation, _) => None,
        };
        self.slot.counters.waited(permit.waited());
        let attempted = self.slot.caught(|| self.slot.attempt(self.order, Some(permit), call));
        drop(held);
        let Some((attempt, permit)) = attempted else {
            self.state = State::Ran(Attempt::Ran(Err(Error::internal("a call to the token panicked"))));
            tracing::error!(token = %self.slot.name(), operation = self.order.operation.name(), "a call panicked");
            // What it took went back by itself, its permit, too.
            return None;
        };
        self.state = State::Ran(attempt);
        permit
    }

    fn tell(self: Box<Self>) {
        let answer = match self.state {
            State::Ran(attempt) => Answer::Attempted(attempt),
            // As if its lane were shut.
            State::Displaced(call) => Answer::Refused(Refused::Shut, call),
            State::Waits(..) | State::Gone => return,
        };
        // Its caller may be gone; whatever the call took it gave back.
        let _ = self.answer.send(answer);
    }

    fn refuse(self: Box<Self>, why: Refused) {
        if let State::Waits(call) = self.state {
            let _ = self.answer.send(Answer::Refused(why, call));
        }
    }
}

/// What is told to those who would wait too long.
const TOO_BUSY: &str = "The hardware security module was too busy to serve the request in time.";

fn busy(text: &str) -> Error {
    Error::new(Kind::Throttled, text)
}

fn told(refused: Refused) -> Error {
    match refused {
        Refused::Full => busy("Too many requests wait for the hardware security module."),
        Refused::Hopeless | Refused::TimedOut => busy(TOO_BUSY),
        Refused::Shut => crate::tier::pkcs11::slot::condition::closed(),
    }
}
