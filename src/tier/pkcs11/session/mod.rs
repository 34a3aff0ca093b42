//! One session in the hands of one call, and what is remembered of the token meanwhile.

pub(crate) mod canary;
pub(crate) mod epoch;
pub(crate) mod find;
pub(crate) mod handles;
pub(crate) mod known_good;
pub(crate) mod memory;
pub(crate) mod objects;
pub(crate) mod open;
pub(crate) mod random;
