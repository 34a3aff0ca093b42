//! The loaded module: its functions, when it may be called, and which of its tokens is meant.

pub(crate) mod choose;
pub(crate) mod computes;
pub(crate) mod functions;
pub(crate) mod gate;
pub(crate) mod initialise;
pub(crate) mod lease;
pub(crate) mod module;
pub(crate) mod registry;
pub(crate) mod token;
pub(crate) mod uri;
