//! A life of the module's handles: from one login to the next fault of login, token or module.

/// In an epoch, sessions and object handles mean what they meant. In the next one a module may give the same numbers to others
/// (SoftHSM counts from 1 after C_Finalize, sessions and objects in one counter).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Epoch {
    /// Unique in the process.
    pub(crate) number: u64,
    /// Which C_Initialize of the module.
    pub(crate) initialisation: u64,
    /// CK_SLOT_ID of the token.
    pub(crate) slot_id: u64,
}
