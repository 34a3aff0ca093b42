//! The server over real TLS: the instance protocol's checks and errors, bodies, transport, the OpenAPI's
//! authentication, telemetry, audit.

mod bench;
#[path = "../faults/isolated.rs"]
#[allow(dead_code, reason = "a part of it is used")]
mod isolated;
#[path = "../common/tokens.rs"]
mod tokens;

mod access_points_of_roles;
mod audit;
mod bodies;
mod checks;
mod contexts;
mod key_versions;
mod limits;
mod matrix;
mod oidc;
mod openapi_at_instances;
mod operations;
mod permissions;
mod protection_levels;
mod proxies;
mod puppet;
mod quotas;
mod rotation;
mod shared;
mod statements;
mod sts;
mod tags;
mod telemetry;
mod transport;
mod withheld;
