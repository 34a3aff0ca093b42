//! The program as a user runs it.

#[path = "../common/fault.rs"]
#[allow(dead_code, reason = "a part of it is used")]
mod fault;
#[path = "../common/softhsm.rs"]
#[allow(dead_code, reason = "a part of it is used")]
mod softhsm;

mod bench;
mod commands;
mod crash;
mod mistakes;
mod outage;
mod serving;
mod status;
