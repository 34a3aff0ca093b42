//! Where a module computes, which says how many calls at once are worth a thread.

/// Where a module computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Computes {
    /// On the cores of this machine, in the thread of the caller: a token in software.
    Here,
    /// Elsewhere: its callers wait.
    Elsewhere,
}
