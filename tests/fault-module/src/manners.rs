//! How a token behaves that is not as the standard, or the real module, has it: until it is told to behave again.
//!
//! A rule changes single calls; manners are of the token and have no count.

use cryptoki_sys::CK_ULONG;

/// What a command changes, and to what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// See [`Manners::session_keys`].
    SessionKeys(SessionKeys),
    /// See [`Manners::ivs`].
    Ivs(Ivs),
    /// See [`Manners::public_half`].
    PublicHalf(PublicHalf),
    /// See [`Manners::id_limit`].
    IdLimit(Option<CK_ULONG>),
    /// See [`Manners::generator`].
    Generator(Generator),
    /// See [`Manners::finds`].
    Finds(Finds),
    /// See [`Manners::serial`].
    Serial(Serial),
}

/// All manners of a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Manners {
    /// Whether it takes private and secret keys that are of the session.
    pub session_keys: SessionKeys,
    /// Whose IVs AES-GCM encrypts with.
    pub ivs: Ivs,
    /// Whose point or modulus it tells.
    pub public_half: PublicHalf,
    /// The most bytes of CKA_ID that it keeps of what is made, if that is not the real module's to say.
    pub id_limit: Option<CK_ULONG>,
    /// Whether it has a generator of random numbers.
    pub generator: Generator,
    /// How many objects C_FindObjects gives.
    pub finds: Finds,
    /// Which serial number C_GetTokenInfo tells.
    pub serial: Serial,
}

/// Whether a token takes private and secret keys that are of the session: some have room for keys of the token alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SessionKeys {
    /// As the real module.
    #[default]
    Real,
    /// CKR_TEMPLATE_INCONSISTENT.
    Refused,
}

/// Whose IVs AES-GCM encrypts with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ivs {
    /// The program's.
    #[default]
    Program,
    /// The module's; the program's must be zeros.
    ZeroOnly,
    /// The module's, whatever the program's is.
    ByModule,
}

/// Whose point or modulus a token tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PublicHalf {
    /// That of the key.
    #[default]
    Right,
    /// That of another one of the same curve or length.
    Another,
}

/// Whether a token has a generator of random numbers. What C_GetTokenInfo says of it (CKF_RNG) is the real module's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Generator {
    /// As the real module.
    #[default]
    Real,
    /// CKR_RANDOM_NO_RNG.
    None,
}

/// How many objects C_FindObjects gives. The standard (PKCS #11, section 5.7.7) has the search end with none, not with fewer than asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Finds {
    /// As the real module.
    #[default]
    Real,
    /// Half of what was asked for at the most, one at least, although more follow.
    Short,
}

/// Which serial number C_GetTokenInfo tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Serial {
    /// The real module's.
    #[default]
    Real,
    /// Another one at each call: as a cluster tells that of whichever member answers.
    PerCall,
    /// Another one each time that the token was put in: as a token that was replaced.
    OnInsert,
}

impl Finds {
    /// Of so many that are asked for.
    pub fn of(self, room: CK_ULONG) -> CK_ULONG {
        match self {
            Self::Real => room,
            Self::Short => room.div_ceil(2),
        }
    }
}

impl Manners {
    /// With one that is another.
    pub fn with(self, manner: Manner) -> Self {
        match manner {
            Manner::SessionKeys(session_keys) => Self { session_keys, ..self },
            Manner::Ivs(ivs) => Self { ivs, ..self },
            Manner::PublicHalf(public_half) => Self { public_half, ..self },
            Manner::IdLimit(id_limit) => Self { id_limit, ..self },
            Manner::Generator(generator) => Self { generator, ..self },
            Manner::Finds(finds) => Self { finds, ..self },
            Manner::Serial(serial) => Self { serial, ..self },
        }
    }
}
