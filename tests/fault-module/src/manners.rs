//! How a token behaves that is not as the standard, or the real module, has it: until it is told to behave again.
//!
//! A rule changes single calls; manners are of the token and have no count.

/// What a command changes, and to what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// See [`Manners::generator`].
    Generator(Generator),
}

/// All manners of a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Manners {
    /// Whether it has a generator of random numbers.
    pub generator: Generator,
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

impl Manners {
    /// With one that is another.
    pub fn with(self, manner: Manner) -> Self {
        match manner {
            Manner::Generator(generator) => Self { generator, ..self },
        }
    }
}
