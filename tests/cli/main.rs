//! The program as a user runs it.

#[path = "../common/client.rs"]
mod client;
#[path = "../common/fault.rs"]
#[allow(dead_code, reason = "a part of it is used")]
mod fault;
#[path = "../common/installation.rs"]
#[allow(dead_code, reason = "a part of it is used")]
mod installation;
#[path = "../common/softhsm.rs"]
#[allow(dead_code, reason = "a part of it is used")]
mod softhsm;
#[path = "../common/tokens.rs"]
#[allow(dead_code, reason = "a part of it is used")]
mod tokens;

mod alerts;
mod audit;
mod clock;
mod commands;
mod crash;
mod defaults;
mod measuring;
mod mistakes;
mod oidc_providers;
mod operators;
mod outage;
mod pins;
mod readers;
mod roles;
mod rotation;
mod sending;
mod serving;
mod status;
mod temporary_credentials;
mod unusable;
