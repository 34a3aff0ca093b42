//! A call as it is asked for: what it does, for whom, where it runs if it can, until when.

use crate::tier::Share;
use crate::tier::pkcs11::answer::fault::Fault;
use crate::tier::pkcs11::session::known_good::Subject;
use crate::tier::pkcs11::session::open::OpenSession;
use crate::tier::pkcs11::slot::status::Operation;

/// Where a call runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In a task on the runtime: for calls shorter than a hand-over between threads.
    Inline,
    /// On a session thread.
    Thread,
    /// On a session thread, in the lane of key generation: nobody else waits for it.
    Generation,
}

/// A call that is asked for.
#[derive(Clone, Copy)]
pub(crate) struct Order {
    /// For the counters.
    pub(crate) operation: Operation,
    /// Whose it is.
    pub(crate) share: Share,
    /// Where it runs if it can.
    pub(crate) place: Place,
    /// When it is answered at the latest.
    pub(crate) deadline: tokio::time::Instant,
}

/// What a call does with its session. It may be tried twice.
pub(crate) trait Call<T>: Send {
    fn run(&self, session: &OpenSession<'_>) -> Result<T, Fault>;

    /// The key that [`Fault::Key`] is about; `None` of a call that is about no key.
    fn subject(&self) -> Option<&dyn Subject> {
        None
    }
}

impl<T, F: Fn(&OpenSession<'_>) -> Result<T, Fault> + Send> Call<T> for F {
    fn run(&self, session: &OpenSession<'_>) -> Result<T, Fault> {
        self(session)
    }
}
