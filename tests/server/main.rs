//! The server over real TLS: the instance protocol's checks and errors, bodies, transport, the OpenAPI's authentication.

mod bench;

mod bodies;
mod checks;
mod operations;
mod shared;
mod transport;
