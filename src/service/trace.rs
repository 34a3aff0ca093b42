//! What the service finds out about a request on its way: for the audit, whatever becomes of the request.

use std::sync::OnceLock;

use crate::model::access::Decision;
use crate::model::{AccessKeyId, KeyId, KeyVersionId};

/// Filled while a request is served. Of what is found out twice the first counts.
#[derive(Debug, Default)]
pub struct Trace {
    decision: OnceLock<Decision>,
    key: OnceLock<KeyId>,
    version: OnceLock<KeyVersionId>,
    issued: OnceLock<AccessKeyId>,
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

    /// The version that is used.
    pub fn version(&self) -> Option<&KeyVersionId> {
        self.version.get()
    }

    /// The AccessKey that was handed out.
    pub fn issued(&self) -> Option<&AccessKeyId> {
        self.issued.get()
    }

    pub(super) fn decided(&self, decision: Decision) {
        let _ = self.decision.set(decision);
    }

    pub(super) fn means(&self, key: KeyId) {
        let _ = self.key.set(key);
    }

    pub(super) fn issues(&self, access_key: AccessKeyId) {
        let _ = self.issued.set(access_key);
    }

    pub(super) fn uses(&self, version: &KeyVersionId) {
        let _ = self.version.set(version.clone());
    }
}
