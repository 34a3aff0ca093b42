//! Floor 0: what every other folder may use. Errors, secrets, the clock, randomness of the process.
//!
//! Imports nothing of ours.

mod clock;
mod error;
pub mod random;
mod secret;

pub use clock::{Clock, FixedClock, SystemClock, Timestamp};
pub use error::{Error, Kind, Result, Retry};
pub use secret::{Pin, SecretBytes};
