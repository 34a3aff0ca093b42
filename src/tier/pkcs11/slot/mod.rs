//! One token in use: whether it serves, the sessions and the calls on them, and what mends it.

pub(crate) mod admission;
pub(crate) mod attempts;
pub(crate) mod capacity;
pub(crate) mod checkout;
pub(crate) mod chores;
pub(crate) mod closing;
pub(crate) mod condition;
pub(crate) mod counters;
pub(crate) mod door;
pub(crate) mod health;
pub(crate) mod login;
pub(crate) mod mend;
pub(crate) mod notes;
pub(crate) mod order;
pub(crate) mod panics;
pub(crate) mod pin;
pub(crate) mod report;
pub(crate) mod sessions;
#[expect(clippy::module_inception, reason = "the struct of the folder")]
pub(crate) mod slot;
pub mod status;
pub(crate) mod stumbles;
pub(crate) mod suspects;
pub(crate) mod tries;
pub(crate) mod verdict;
pub(crate) mod vouchers;
pub(crate) mod watch;
pub(crate) mod watchdog;
