//! What C_GetTokenInfo tells, in a reading that survives fields a module got wrong.
//!
//! One module shipped by Debian reports a token time that is not a number; time, memory and versions are not looked at here but
//! for showing.

/// A token in a slot (PKCS #11, section 3.2, CK_TOKEN_INFO).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenSummary {
    /// The slot that it is in. Slot ids may change from one start to the next.
    pub slot_id: u64,
    /// Its label, without the padding.
    pub label: String,
    /// Who made it.
    pub manufacturer: String,
    /// What it is.
    pub model: String,
    /// Its serial number.
    pub serial: String,
    /// Its firmware, `major.minor`.
    pub firmware: String,
    /// CKF_TOKEN_INITIALIZED.
    pub initialized: bool,
    /// CKF_USER_PIN_INITIALIZED.
    pub user_pin_initialized: bool,
    /// CKF_RNG: it has a random number generator.
    pub random_generator: bool,
    /// What it says of wrong PINs.
    pub pin_state: PinState,
    /// The most sessions of one application; `None` when it sets no limit or does not say.
    pub session_limit: Option<usize>,
}

/// What the flags of a token say of wrong user PINs (PKCS #11, table 6), from the least to the most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum PinState {
    /// Nothing.
    #[default]
    Fine,
    /// CKF_USER_PIN_COUNT_LOW: somebody failed at least once since the last good login.
    CountLow,
    /// CKF_USER_PIN_FINAL_TRY: one more failure locks it.
    FinalTry,
    /// CKF_USER_PIN_LOCKED.
    Locked,
}

impl std::fmt::Display for PinState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Fine => "fine",
            Self::CountLow => "a wrong PIN was tried",
            Self::FinalTry => "one try left",
            Self::Locked => "locked",
        })
    }
}

/// A token as the notes of its logins know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenName {
    /// Its serial number.
    pub serial: String,
    /// Its label, if whoever chose the token did not name a serial number. Notes of all tokens of this label are then its notes: the
    /// members of a cluster share their PIN, and each has a serial number of its own.
    pub label: Option<String>,
}
