//! Byte and JSON shapes of both protocols, what is signed in them, the page of the slots, alerts. No logic, no I/O: pure functions over
//! what came or goes.

pub mod alerts;
pub mod date;
pub mod instance_protocol;
pub mod openapi;
pub mod signing;
pub mod slots;
pub mod sts;

pub use crate::model::arn::{REGION, arn};
