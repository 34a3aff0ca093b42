//! Objects and algorithms: templates, what a token was found to do, and the operations themselves.

pub(crate) mod bad_input;
pub(crate) mod identity;
pub(crate) mod known_answers;
pub(crate) mod known_good;
pub(crate) mod learnt;
pub(crate) mod mechanism;
pub(crate) mod probe;
pub(crate) mod read_back;
pub(crate) mod specimen;
pub(crate) mod template;
pub(crate) mod unwrapping;
