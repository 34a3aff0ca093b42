//! The conformance suite of the tiers: one set of tests, written against `Tier` and mounted once per tier.
//!
//! To add a tier: write `tests/tier/<name>.rs` with an async fn that gives an `Arc<dyn Tier>` (it is called once per test, and
//! the suite closes what it gave), the tier's [`bench::Facts`], and one line
//! `crate::conformance!(crate::<name>::tier, FACTS);`; then add `mod <name>;` below. What a tier lacks is read from its
//! capabilities: such parts are skipped, counted and printed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bench;
mod mount;

mod ciphers;
mod concurrency;
mod keys;
mod macs;
mod randomness;
mod signatures;
mod tampering;
mod unwrapping;
mod wycheproof;

mod softhsm;
mod software;
