//! The door for calls: admits, waits for a place, hands the work over, and answers by the deadline.
//!
//! A caller that goes away leaves everything in order: the job owns what it took and gives it back itself. What the job does is in
//! `performing`.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout_at;

use super::calling::{Calling, Fault};
use super::condition;
use super::lane::{Permit, Refused};
use super::performing::Attempt;
use super::pool::Place;
use super::slot::{Order, Probe, Slot};
use crate::base::{Error, Kind, Result};

/// How long a call that found its epoch over waits before it looks again.
const GLANCE: Duration = Duration::from_millis(20);

impl Slot {
    /// Runs `call` on a working session and gives its answer, at the deadline at the latest. A call that has begun is finished
    /// behind the scenes when its caller is gone.
    ///
    /// # Errors
    /// [`Kind::Throttled`] when it may go through later: the queue is full, the deadline passes in it, the slot is being recovered;
    /// [`Kind::Unavailable`] when the call itself is overdue, a person must help or the slot is closed; else what `call` said.
    pub(super) async fn run<T, F>(self: &Arc<Self>, order: Order, call: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&Calling<'_>) -> Result<T, Fault> + Send + 'static,
    {
        let result = self.serve(order, call).await;
        self.counters.ended(order.operation, result.as_ref().err().map(Error::kind));
        result
    }

    async fn serve<T, F>(self: &Arc<Self>, order: Order, call: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&Calling<'_>) -> Result<T, Fault> + Send + 'static,
    {
        let mut call = call;
        let mut repeated = false;
        loop {
            let probe = self.admitted(order.deadline).await?;
            let (place, permit) = self.place(order).await?;
            self.counters.waited(permit.waited());
            call = match self.attempt_somewhere(Order { place, ..order }, permit, probe, call).await? {
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
                return Err(busy("The hardware security module was too busy to serve the request in time."));
            }
        }
    }

    /// A place to run: on a worker of the runtime for a call that is to run there, while anything may.
    async fn place(&self, order: Order) -> Result<(Place, Permit)> {
        let lane = match (order.place, self.inline()) {
            (Place::Inline, Some(inline)) => match inline.acquire(order.share, order.deadline).await {
                Ok(permit) => return Ok((Place::Inline, permit)),
                Err(Refused::Shut) => self.sessions(),
                Err(refused) => return Err(told(refused)),
            },
            (Place::Inline | Place::Thread, _) => self.sessions(),
            (Place::Generation, _) => self.lease.generation(),
        };
        let permit = lane.acquire(order.share, order.deadline).await.map_err(told)?;
        Ok((if order.place == Place::Generation { Place::Generation } else { Place::Thread }, permit))
    }

    async fn attempt_somewhere<T, F>(
        self: &Arc<Self>,
        order: Order,
        permit: Permit,
        probe: Option<Probe>,
        call: F,
    ) -> Result<Attempt<T, F>>
    where
        T: Send + 'static,
        F: Fn(&Calling<'_>) -> Result<T, Fault> + Send + 'static,
    {
        let overdue = || Error::new(Kind::Unavailable, "The hardware security module did not answer in time.");
        let slot = Arc::clone(self);
        if order.place == Place::Inline {
            let task = tokio::spawn(async move { slot.attempt(order, Some(permit), probe, call) });
            return timeout_at(order.deadline, task).await.map_err(|_| overdue())?.map_err(Error::internal);
        }
        let (answer, answered) = oneshot::channel();
        let job = move || drop(answer.send(slot.attempt(order, Some(permit), probe, call)));
        self.threads.run(Box::new(job)).map_err(Error::internal)?;
        timeout_at(order.deadline, answered).await.map_err(|_| overdue())?.map_err(Error::internal)
    }
}

fn busy(text: &str) -> Error {
    Error::new(Kind::Throttled, text)
}

fn told(refused: Refused) -> Error {
    match refused {
        Refused::Full => busy("Too many requests wait for the hardware security module."),
        Refused::Hopeless | Refused::TimedOut => busy("The hardware security module was too busy to serve the request in time."),
        Refused::Shut => condition::closed(),
    }
}
