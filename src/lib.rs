//! Keystead: a Key Management Service whose keys live in an HSM.
//!
//! The house, floor by floor; a folder imports only from lower floors:
//!
//! ```text
//! 5  main  app  config      assembly: the only place that names concrete tiers and the store
//! 4  server ── wire         HTTP and TLS, who is calling, how answers look │ byte and JSON shapes, no logic
//! 3  service                use cases: the only place where a tier and the store meet
//! 2  tier   store           mechanisms, strangers to each other
//! 1  model                  data and rules, pure
//! 0  base                   errors, secrets, the clock
//! ```

pub mod base;
pub mod model;
pub mod tier;

#[cfg(feature = "server")]
pub mod app;
#[cfg(feature = "server")]
pub mod config;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "server")]
pub mod service;
#[cfg(feature = "server")]
pub mod store;
#[cfg(feature = "server")]
pub mod wire;
