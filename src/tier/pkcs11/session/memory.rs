//! What is remembered of a token between calls: what it said of itself, where its objects are, its canary, its random bytes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use crate::base::lock;
use crate::tier::pkcs11::answer::Profile;
use crate::tier::pkcs11::library::token::TokenSummary;
use crate::tier::pkcs11::session::canary::Canary;
use crate::tier::pkcs11::session::handles::{Handles, Refusal};
use crate::tier::pkcs11::session::random::Random;

/// The memory of one token. Every part has a lock of its own, and none is held over a call into the module.
pub(crate) struct TokenMemory {
    /// What the token is called before it was reached: its URI.
    sought: String,
    token: RwLock<Option<(Arc<TokenSummary>, Profile)>>,
    handles: Mutex<Handles>,
    canary: Mutex<Option<Canary>>,
    /// Whether the token ever made a canary.
    makes_canaries: AtomicBool,
    random: Random,
}

impl TokenMemory {
    /// Of a token that was not reached yet and is looked for by this name.
    pub(crate) fn new(sought: String) -> Self {
        Self {
            sought,
            token: RwLock::default(),
            handles: Mutex::default(),
            canary: Mutex::default(),
            makes_canaries: AtomicBool::new(false),
            random: Random::default(),
        }
    }

    /// What the token said of itself when it was found last; nothing before that.
    pub(crate) fn token(&self) -> Option<Arc<TokenSummary>> {
        self.token.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(|(token, _)| Arc::clone(token))
    }

    /// Notes what the token says of itself.
    pub(crate) fn found(&self, token: TokenSummary) {
        let profile = Profile::of(&token.manufacturer, &token.model);
        *self.token.write().unwrap_or_else(PoisonError::into_inner) = Some((Arc::new(token), profile));
    }

    /// How a person knows the token, for the log.
    pub(crate) fn name(&self) -> String {
        self.token().map_or_else(|| self.sought.clone(), |token| token.label.clone())
    }

    /// How the module behaves.
    pub(crate) fn profile(&self) -> Profile {
        self.token.read().unwrap_or_else(PoisonError::into_inner).as_ref().map_or(Profile::Standard, |(_, profile)| *profile)
    }

    /// Where the objects are.
    pub(crate) fn handles(&self) -> MutexGuard<'_, Handles> {
        lock(&self.handles)
    }

    /// The canary of the epoch, if it has one.
    pub(crate) fn canary(&self) -> Option<Canary> {
        *lock(&self.canary)
    }

    /// Takes the canary away.
    pub(crate) fn take_canary(&self) -> Option<Canary> {
        lock(&self.canary).take()
    }

    /// Keeps the canary of a new epoch; `None` when the token makes none at the moment.
    pub(crate) fn keep_canary(&self, canary: Option<Canary>) {
        *lock(&self.canary) = canary;
        if canary.is_some() {
            self.makes_canaries.store(true, Ordering::Release);
        }
    }

    /// Whether the token ever made a canary.
    pub(crate) fn makes_canaries(&self) -> bool {
        self.makes_canaries.load(Ordering::Acquire)
    }

    /// Random bytes, of the token and of the process.
    pub(crate) fn random(&self) -> &Random {
        &self.random
    }

    /// Says in the log that a key is not used.
    pub(crate) fn tell_refusal(&self, id: &[u8], why: Refusal) {
        let id = String::from_utf8_lossy(id);
        tracing::error!(token = %self.name(), cka_id = %id, %why, "a key is not used until somebody has looked after the token");
    }
}
