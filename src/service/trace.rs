//! What the service finds out about a request on its way: for the audit, whatever becomes of the request.

use std::sync::{Mutex, OnceLock, PoisonError};

use crate::model::access::Decision;
use crate::model::{AccessKeyId, KeyId, KeyVersionId};

/// Filled while a request is served. Of what is found out twice the first counts; of keys the others are kept, too.
#[derive(Debug, Default)]
pub struct Trace {
    decision: OnceLock<Decision>,
    key: OnceLock<KeyId>,
    /// Of a request about several keys: as many as one may name, 50 at the most.
    others: Mutex<Vec<KeyId>>,
    version: OnceLock<KeyVersionId>,
    issued: OnceLock<AccessKeyId>,
    unbound: OnceLock<()>,
}

impl Trace {
    /// What policies decided, if they were asked.
    pub fn decision(&self) -> Option<&Decision> {
        self.decision.get()
    }

    /// The key that is meant, however it was named.
    pub fn key(&self) -> Option<&KeyId> {
        self.key.get()
    }

    /// What else is meant, by a request about several keys.
    pub fn other_keys(&self) -> Vec<KeyId> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The version of [`Trace::key`] that is used.
    pub fn version(&self) -> Option<&KeyVersionId> {
        self.version.get()
    }

    /// The AccessKey that was handed out.
    pub fn issued(&self) -> Option<&AccessKeyId> {
        self.issued.get()
    }

    /// Whether what was decrypted was bound to less than the context that was given.
    pub fn is_unbound(&self) -> bool {
        self.unbound.get().is_some()
    }

    pub(super) fn opens_unbound(&self) {
        let _ = self.unbound.set(());
    }

    pub(super) fn decided(&self, decision: Decision) {
        let _ = self.decision.set(decision);
    }

    pub(super) fn means(&self, key: KeyId) {
        let Err(key) = self.key.set(key) else { return };
        if self.key.get() == Some(&key) {
            return;
        }
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        if !others.contains(&key) {
            others.push(key);
        }
    }

    pub(super) fn issues(&self, access_key: AccessKeyId) {
        let _ = self.issued.set(access_key);
    }

    /// One of another key than the first is not kept: it would be taken for one of the first.
    pub(super) fn uses(&self, version: &KeyVersionId) {
        if self.key.get().is_none_or(|key| version.as_str().starts_with(key.as_str())) {
            let _ = self.version.set(version.clone());
        }
    }
}
