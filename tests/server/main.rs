//! The server over real TLS: the instance protocol's checks and errors, bodies, transport, the OpenAPI's
//! authentication, telemetry.

mod bench;

mod bodies;
mod checks;
mod operations;
mod puppet;
mod shared;
mod telemetry;
mod transport;
