//! How a snapshot follows the store. A row that cannot be used stops no other; what was changed and cannot be read again is denied until it can:
//! a revocation that was committed is in force, whatever became of the store since.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::{Access, Snapshot, load_access};
use crate::base::Result;
use crate::model::tags::TaggedResource;
use crate::model::{Alias, ClientKeyId, KeyId, Name};
use crate::store::{Rows, Store};

/// How long what was written elsewhere may stay unread while the store tells that there is something. Then nobody is let in: what is not
/// read may be a revocation.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is in the store and could not be read.
#[derive(Default)]
pub(super) struct Unread {
    /// Since when there is something.
    since: Option<Instant>,
    /// Keys that were written and are to be read again.
    keys: BTreeSet<KeyId>,
}

/// What a change that was committed is about.
#[derive(Clone, Copy)]
pub(in crate::service) enum Changed<'a> {
    Key(&'a KeyId),
    Keys(&'a [TaggedResource]),
    Alias(&'a Alias),
    NetworkRule(&'a Name),
    Policy(&'a Name),
    AccessPoint(&'a Name),
    ClientKey(&'a ClientKeyId),
}

impl Snapshot {
    /// Reads again what was written since, if anything was.
    pub(in crate::service) async fn refresh(&self, store: &Store) -> Result<()> {
        let mut unread = self.refreshing.lock().await;
        let tables = self.read_tables(store, &mut unread).await;
        let keys = self.read_keys(store, &mut unread).await;
        tables.and(keys)?;
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        Ok(())
    }

    /// The same after a change that was committed here: when this returns, it holds. What it is about is denied if it cannot be read, until
    /// it can.
    pub(in crate::service) async fn follow(&self, store: &Store, changed: Changed<'_>) {
        let mut unread = self.refreshing.lock().await;
        if let Err(error) = self.read_tables(store, &mut unread).await {
            tracing::error!(?error, "what was changed cannot be read again yet");
            self.withhold(changed);
        }
        if let Err(error) = self.read_keys(store, &mut unread).await {
            tracing::error!(?error, "a key that was changed cannot be read again yet");
        }
    }

    /// What decides about access, and which keys are to be read.
    async fn read_tables(&self, store: &Store, unread: &mut Unread) -> Result<()> {
        let read = self.revision.load(Ordering::Acquire);
        let revision = store.revision().await?;
        if revision == read {
            return Ok(());
        }
        let since = *unread.since.get_or_insert_with(Instant::now);
        let result = self.read_since(store, read, unread).await;
        match &result {
            Ok(()) => {
                unread.since = None;
                self.revision.store(revision, Ordering::Release);
            }
            Err(error) if since.elapsed() >= PATIENCE && self.access.load().lets_in() => {
                tracing::error!(?error, "nobody is let in until what was written can be read");
                self.access.store(Arc::default());
            }
            Err(_) => {}
        }
        result
    }

    /// The keys that were written; one that cannot be read is denied.
    async fn read_keys(&self, store: &Store, unread: &mut Unread) -> Result<()> {
        let mut result = Ok(());
        for id in std::mem::take(&mut unread.keys) {
            if let Err(error) = self.read_key(store, &id).await {
                self.withhold(Changed::Key(&id));
                unread.keys.insert(id);
                result = result.and(Err(error));
            }
        }
        result
    }

    /// Access is read anew; keys are noted to be read.
    async fn read_since(&self, store: &Store, read: u64, unread: &mut Unread) -> Result<()> {
        let access = load_access(store, Some(&self.access.load_full()), &self.unusable).await?;
        self.access.store(Arc::new(access));
        for id in store.keys_deleted_since(read).await? {
            self.forget_key(&id);
            self.unusable.key_was_read(&id, Vec::new());
        }
        unread.keys.extend(store.keys_since(read).await?);
        Ok(())
    }

    async fn read_key(&self, store: &Store, id: &KeyId) -> Result<()> {
        let Rows { mut usable, unusable } = store.key_row(id).await?;
        match usable.pop() {
            Some(row) => self.put_key(row),
            None => self.forget_key(id),
        }
        self.unusable.key_was_read(id, unusable);
        Ok(())
    }

    /// Denies what a change was about.
    fn withhold(&self, changed: Changed<'_>) {
        let mut access = Access::clone(&self.access.load());
        let mut names = Vec::new();
        match changed {
            Changed::Key(id) => names.push(("keys", id.to_string())),
            Changed::Keys(resources) => names.extend(resources.iter().map(|TaggedResource::Key(id)| ("keys", id.to_string()))),
            Changed::Alias(alias) => {
                access.aliases.remove(alias);
                names.push(("aliases", alias.to_string()));
            }
            Changed::NetworkRule(name) => {
                access.network_rules.remove(name);
                names.push(("network_rules", name.to_string()));
            }
            Changed::Policy(name) => {
                access.policies.remove(name);
                names.push(("policies", name.to_string()));
            }
            Changed::AccessPoint(name) => {
                access.access_points.remove(name);
                names.push(("access_points", name.to_string()));
            }
            Changed::ClientKey(id) => {
                access.client_keys.retain(|key| key.id != *id);
                access.verified.remove(id.as_str());
                names.push(("client_keys", id.to_string()));
            }
        }
        self.access.store(Arc::new(access));
        for (table, row) in names {
            if let (true, Ok(id)) = (table == "keys", row.parse()) {
                self.forget_key(&id);
            }
            self.unusable.withhold(table, &row);
        }
    }

    fn forget_key(&self, id: &KeyId) {
        self.keys.write().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}

impl Access {
    /// Whether anybody can be known by it.
    fn lets_in(&self) -> bool {
        !(self.verified.is_empty() && self.access_keys.is_empty() && self.roles.is_empty())
    }
}
