//! Which opened material was destroyed since: what makes handles stop working in a tier that keeps no keys itself.
//!
//! Used by the tier when it opens and destroys, and by every handle before it works. Knows material only by a keyed fingerprint of it
//! and of the id that it was made with: of two keys that were imported from one secret each has its own life.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use aws_lc_rs::hmac;

use crate::base::{Error, Kind, Result, SecretBytes, random};
use crate::tier::software::workers::Workers;

/// Below this many entries no sweep is worth it.
const FIRST_SWEEP: usize = 64;

/// The materials that handles are open to.
pub(super) struct Lives {
    /// Of this process alone, so that a fingerprint says nothing elsewhere.
    key: hmac::Key,
    open: Mutex<Open>,
}

/// At most [`FIRST_SWEEP`] or twice as many entries as there are materials with a handle.
struct Open {
    by_fingerprint: HashMap<Vec<u8>, Weak<Life>>,
    sweep_at: usize,
}

/// Whether a material still is.
pub(super) struct Life {
    destroyed: AtomicBool,
}

impl Lives {
    /// None yet.
    pub(super) fn new() -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, &random::bytes::<32>()),
            open: Mutex::new(Open { by_fingerprint: HashMap::new(), sweep_at: FIRST_SWEEP }),
        }
    }

    /// The life that all handles to this material share.
    pub(super) fn of(&self, id: &[u8], material: &SecretBytes) -> Arc<Life> {
        let fingerprint = self.fingerprint(id, material);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(life) = open.by_fingerprint.get(&fingerprint).and_then(Weak::upgrade) {
            return life;
        }
        if open.by_fingerprint.len() >= open.sweep_at {
            open.by_fingerprint.retain(|_, life| life.strong_count() > 0);
            open.sweep_at = FIRST_SWEEP.max(2 * open.by_fingerprint.len());
        }
        let life = Arc::new(Life { destroyed: AtomicBool::new(false) });
        open.by_fingerprint.insert(fingerprint, Arc::downgrade(&life));
        life
    }

    /// Ends it; handles refuse from now on.
    pub(super) fn end(&self, id: &[u8], material: &SecretBytes) {
        let fingerprint = self.fingerprint(id, material);
        let removed = self.open.lock().unwrap_or_else(PoisonError::into_inner).by_fingerprint.remove(&fingerprint);
        if let Some(life) = removed.and_then(|life| life.upgrade()) {
            life.destroyed.store(true, Ordering::Release);
        }
    }

    fn fingerprint(&self, id: &[u8], material: &SecretBytes) -> Vec<u8> {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&(id.len() as u64).to_be_bytes());
        context.update(id);
        context.update(material.expose());
        context.sign().as_ref().to_vec()
    }
}

/// What a handle asks before it works.
pub(super) struct Guard {
    pub(super) workers: Arc<Workers>,
    pub(super) life: Arc<Life>,
}

impl Guard {
    /// Refuses when the tier was closed or the material destroyed.
    ///
    /// # Errors
    /// [`Kind::Unavailable`], [`Kind::KeyNotFound`].
    pub(super) fn check(&self) -> Result<()> {
        self.workers.check_open()?;
        if self.life.destroyed.load(Ordering::Acquire) {
            return Err(Error::new(Kind::KeyNotFound, "The key's material was destroyed."));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_handles_leave_nothing_behind() {
        let lives = Lives::new();
        let kept = lives.of(b"id", &SecretBytes::new(vec![0xff; 32]));
        for number in 0..10_000u32 {
            drop(lives.of(b"id", &SecretBytes::new(number.to_be_bytes().to_vec())));
        }
        assert!(lives.open.lock().unwrap().by_fingerprint.len() <= FIRST_SWEEP);
        assert!(Arc::ptr_eq(&kept, &lives.of(b"id", &SecretBytes::new(vec![0xff; 32]))));
    }

    #[test]
    fn an_end_is_for_one_material() {
        let lives = Lives::new();
        let (one, other) = (SecretBytes::new(vec![1; 32]), SecretBytes::new(vec![2; 32]));
        let (ended, alive, namesake) = (lives.of(b"id", &one), lives.of(b"id", &other), lives.of(b"another id", &one));
        lives.end(b"id", &one);
        lives.end(b"id", &one);
        assert!(ended.destroyed.load(Ordering::Acquire) && !alive.destroyed.load(Ordering::Acquire));
        assert!(!namesake.destroyed.load(Ordering::Acquire), "the same secret in another key");
    }
}
