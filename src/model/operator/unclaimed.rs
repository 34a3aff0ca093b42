//! Policies of operators or roles of whom it is not known whose they are, because what is stored of it was damaged.

use super::document::Effect;
use super::{AttachedPolicy, Demand, Document, Identity, IdentityKind};

/// Whoever it is whose they were: what they allow is nobody's, and what they deny is denied to everybody whose they may be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnclaimedPolicies {
    documents: Vec<Document>,
    unreadable: bool,
}

impl UnclaimedPolicies {
    /// One of them.
    pub fn add(&mut self, policy: AttachedPolicy) {
        match policy {
            // They deny nothing.
            AttachedPolicy::BuiltIn(_) => {}
            AttachedPolicy::Custom { document, .. } => self.documents.push(document),
        }
    }

    /// One that cannot be read: it may deny anything.
    pub fn add_unreadable(&mut self) {
        self.unreadable = true;
    }

    /// Whether they deny it to an identity. The root has no policies, so none of them is the root's.
    pub fn deny(&self, identity: &Identity, demand: &Demand<'_>) -> bool {
        let denies = |document: &Document| {
            document.statements().iter().any(|statement| statement.effect == Effect::Deny && statement.matches(demand))
        };
        match identity.kind {
            IdentityKind::Root => false,
            IdentityKind::User | IdentityKind::Role => self.unreadable || self.documents.iter().any(denies),
        }
    }
}
