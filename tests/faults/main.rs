//! What the hardware tier survives: faults that the module between it and SoftHSM injects.
//!
//! A module, its faults and its tokens belong to the process, so every test here runs in a process of its own: see `isolated`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../common/fault.rs"]
#[allow(dead_code, reason = "other test programs use the rest")]
mod fault;
#[path = "../common/softhsm.rs"]
#[allow(dead_code, reason = "other test programs use the rest")]
mod softhsm;

#[path = "../tier/bench.rs"]
#[allow(dead_code, reason = "the conformance suite uses the rest")]
mod bench;
#[path = "../tier/unwrapping.rs"]
mod unwrapping;

mod blame;
mod callers;
mod calls;
mod cancel;
mod costs;
mod functions;
mod grid;
mod hang;
mod import;
mod input;
mod isolated;
mod keepalive;
mod lateness;
mod learning;
mod login;
mod neighbours;
mod overload;
mod panics;
mod pin;
mod randomness;
mod soak;
mod storage;
mod strangers;
mod telling;
mod workload;
mod world;
