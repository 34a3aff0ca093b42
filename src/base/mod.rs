//! Floor 0: what every other folder may use. Errors, secrets, the clock, dates, randomness of the process.
//!
//! Imports nothing of ours.

mod clock;
#[cfg(feature = "server")]
pub mod date;
mod error;
#[cfg(feature = "server")]
pub mod json;
pub mod random;
mod secret;

pub use clock::{Clock, FixedClock, SystemClock, Timestamp};
pub use error::{Error, Kind, Result, Retry, excerpt};
pub use secret::{Pin, SecretBytes};
