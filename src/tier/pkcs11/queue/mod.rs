//! Who is next, and on which thread. Nothing here knows a token.

pub(crate) mod account;
pub(crate) mod fair;
pub(crate) mod lane;
pub(crate) mod reserve;
pub(crate) mod threads;
pub(crate) mod workers;
