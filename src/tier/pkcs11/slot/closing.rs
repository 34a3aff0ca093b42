//! The end of a slot: waits for the calls that run, closes the sessions, logs out, gives the module back.
//!
//! All of that may hang, so it runs on a thread, and nobody waits for it for longer than two calls may take. While a call or an
//! attempt to recover runs nothing is closed under it (that crashes modules); the end of the process must do then, by
//! [`end_process`](crate::tier::pkcs11::end_process).

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::base::lock;
use crate::base::{Error, Kind, Result};
use crate::tier::pkcs11::slot::condition::Change;
use crate::tier::pkcs11::slot::health::Machine;
use crate::tier::pkcs11::slot::slot::{Slot, close_if_ours};

impl Slot {
    /// Ends; a second time it does nothing.
    ///
    /// # Errors
    /// [`Kind::Unavailable`]: calls run, or the module does not come back from closing what is open. The slot is closed all the same.
    pub(crate) async fn close(self: &Arc<Self>) -> Result<()> {
        if self.change(Machine::close) == Change::None {
            return Ok(());
        }
        self.capacity.threads().shut();
        if let Some(inline) = self.capacity.inline() {
            inline.lane.shut();
        }
        let deadline = self.settings.deadline;
        let slot = Arc::clone(self);
        let (quiet, fell_quiet) = oneshot::channel();
        let (done, ended) = oneshot::channel();
        let job = move || {
            let is_quiet = slot.falls_quiet(Instant::now() + deadline);
            let _ = quiet.send(is_quiet);
            if is_quiet {
                slot.disconnect();
                let _ = done.send(());
            }
            None
        };
        self.threads.run(Box::new(job)).map_err(Error::internal)?;
        // The thread keeps the same deadline.
        if !matches!(timeout(deadline * 2, fell_quiet).await, Ok(Ok(true))) {
            return Err(self.left_open("a call still runs"));
        }
        match timeout(deadline, ended).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(self.left_open("the module does not come back from closing them")),
        }
    }

    fn left_open(&self, why: &str) -> Error {
        Error::new(Kind::Unavailable, format!("The sessions of the token {} are left open: {why}.", self.name()))
    }

    /// Waits until nothing runs any more, and lets nothing begin then. Calls and attempts that are given up are not waited for.
    fn falls_quiet(&self, until: Instant) -> bool {
        let drained = self.pool.drain(until);
        self.pool.end();
        // One may have begun in between.
        drained && self.pool.drain(until) && self.pool.occupancy().hung == 0 && self.await_attempt(until)
    }

    /// Closes what is open, and gives the module back.
    fn disconnect(&self) {
        if let Some(pass) = self.lease.gate().enter() {
            let last = self.pool.last_epoch().filter(|epoch| epoch.initialisation == pass.initialisation);
            let idle = self.pool.take_idle();
            if let Some(epoch) = last {
                idle.into_iter().for_each(|session| close_if_ours(session, epoch.slot_id));
            }
            let login = lock(&self.login).take();
            if let Some(login) = login.filter(|login| login.epoch.initialisation == pass.initialisation) {
                if Some(login.epoch) == last {
                    let _ = login.session.logout();
                }
                close_if_ours(login.session, login.epoch.slot_id);
            }
        }
        self.lease.release();
    }
}
