//! Floor 3: the use cases, the only place where a tier and the store meet.
//!
//! The cryptographic path reads a snapshot in memory and no database: an outage of the store stops management, not
//! cryptography.

pub mod certificates;
pub mod requests;
