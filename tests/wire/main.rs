//! The protocols' shapes and signatures, against requests of real clients.

mod captured;
mod messages;
