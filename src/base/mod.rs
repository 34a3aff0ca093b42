//! Floor 0: what every other folder may use. Errors, secrets, the clock, dates, randomness of the process, durable files, log lines, locks, and
//! what keeps long-lived work going.
//!
//! Imports nothing of ours.

mod clock;
#[cfg(feature = "server")]
pub mod date;
#[cfg(feature = "server")]
pub mod durable;
mod error;
#[cfg(feature = "server")]
pub mod json;
mod lock;
#[cfg(feature = "server")]
pub mod log_lines;
pub mod random;
mod secret;
#[cfg(feature = "server")]
pub mod supervisor;

pub use clock::{Clock, FixedClock, SystemClock, Timestamp};
pub use error::{Error, Kind, Result, Retry, excerpt};
pub use lock::lock;
pub use secret::{Pin, SecretBytes};
