//! How a snapshot follows the store. A row that cannot be used stops no other; what was changed and cannot be read again is denied until it can:
//! a revocation that was committed is in force, whatever became of the store since.

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::{Access, Snapshot, load_access};
use crate::base::Result;
use crate::model::tags::TaggedResource;
use crate::model::{Alias, ClientKeyId, KeyId, Name};
use crate::store::{CounterFault, Rows, Store, UnusableRow};

/// How long what was written elsewhere may stay unread while the store tells that there is something. Then nobody is let in: what is not
/// read may be a revocation.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is in the store and is still to be read.
pub(super) struct Unread {
    /// Since when there is something.
    since: Option<Instant>,
    /// Keys that were written and are to be read again.
    keys: BTreeSet<KeyId>,
    /// The highest value that the change counter had.
    highest: u64,
    /// The change counter was read, and told nothing.
    mute: bool,
}

impl Unread {
    /// Nothing; the change counter shows `revision`.
    pub(super) fn nothing(revision: u64) -> Self {
        Self { since: None, keys: BTreeSet::new(), highest: revision, mute: false }
    }

    /// Notes that there is something, and since when.
    fn something(&mut self) -> Instant {
        *self.since.get_or_insert_with(Instant::now)
    }

    /// What is wrong with the change counter: it rises, as long as the service alone writes it.
    pub(super) fn counter_fault(&mut self, counter: Result<u64, CounterFault>) -> Option<UnusableRow> {
        self.mute = counter.is_err();
        match counter {
            Err(CounterFault::Gone) => Some(spent_row("is gone")),
            Err(CounterFault::Spent) => Some(spent_row("shows the highest number that there is")),
            Err(CounterFault::NoNumber) => Some(counter_row("is no number")),
            Ok(counter) if counter < self.highest => {
                Some(counter_row(&format!("shows {counter}, after it showed {}", self.highest)))
            }
            Ok(counter) => {
                self.highest = counter;
                None
            }
        }
    }
}

/// The row of the change counter, which somebody else wrote.
fn counter_row(shows: &str) -> UnusableRow {
    unusable(format!(
        "the change counter {shows}; everything was read again, and a restart goes on from what the counter shows then"
    ))
}

/// The same of a counter that cannot be raised.
fn spent_row(shows: &str) -> UnusableRow {
    unusable(format!(
        "the change counter {shows} and cannot be raised: every change is refused until the database is put back from a backup"
    ))
}

fn unusable(why: String) -> UnusableRow {
    UnusableRow { table: "installation", row: "1".to_owned(), why }
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

impl Changed<'_> {
    /// The keys that it is about.
    fn keys(self) -> Vec<KeyId> {
        match self {
            Self::Key(id) => vec![id.clone()],
            Self::Keys(resources) => resources.iter().map(|TaggedResource::Key(id)| id.clone()).collect(),
            Self::Alias(_) | Self::NetworkRule(_) | Self::Policy(_) | Self::AccessPoint(_) | Self::ClientKey(_) => Vec::new(),
        }
    }
}

impl Snapshot {
    /// Reads again what was written since, if anything was.
    pub(in crate::service) async fn refresh(&self, store: &Store) -> Result<()> {
        let mut unread = self.refreshing.lock().await;
        let tables = self.read_tables(store, &mut unread).await;
        let keys = self.read_keys(store, &mut unread).await;
        let result = tables.and(keys);
        match &result {
            Ok(()) => {
                *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
                self.caught_up();
            }
            Err(error) => self.falls_behind(error),
        }
        result
    }

    /// The same after a change that was committed here: when this returns, the change holds. What was changed is read whatever the change
    /// counter shows, because a row of the database may be wrong. What cannot be read is denied until it can.
    pub(in crate::service) async fn follow(&self, store: &Store, changed: Changed<'_>) {
        let mut unread = self.refreshing.lock().await;
        unread.something();
        unread.keys.extend(changed.keys());
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
        let known = self.revision.load(Ordering::Acquire);
        let counter = store.revision().await?;
        if counter == Ok(known) && unread.since.is_none() && !unread.mute {
            return Ok(());
        }
        let since = unread.something();
        let result = self.read_since(store, (known, counter), unread).await;
        match &result {
            Ok(()) => {
                unread.since = None;
                self.revision.store(counter.unwrap_or(known), Ordering::Release);
                self.release();
            }
            Err(error) if since.elapsed() >= PATIENCE => self.withhold_all(error),
            Err(_) => {}
        }
        result
    }

    /// The keys that were written; one that cannot be read is denied.
    async fn read_keys(&self, store: &Store, unread: &mut Unread) -> Result<()> {
        let mut result = Ok(());
        for id in std::mem::take(&mut unread.keys) {
            if let Err(error) = self.read_key(store, &id).await {
                self.withhold_key(&id);
                unread.keys.insert(id);
                result = result.and(Err(error));
            }
        }
        result
    }

    /// Access is read anew; keys are noted to be read. A counter that went back does not tell which: then all of them are read.
    async fn read_since(
        &self,
        store: &Store,
        (known, counter): (u64, Result<u64, CounterFault>),
        unread: &mut Unread,
    ) -> Result<()> {
        let fault = unread.counter_fault(counter);
        let access = load_access(store, Some(&self.access.load_full()), (&self.unusable, fault)).await?;
        self.access.store(Arc::new(access));
        if counter.map_or(true, |counter| counter < known) {
            return self.read_all_keys(store, unread).await;
        }
        // Those, too: a row that calls a key deleted may be wrong, and the key be there.
        unread.keys.extend(store.keys_deleted_since(known).await?);
        unread.keys.extend(store.keys_since(known).await?);
        Ok(())
    }

    /// Keys that are known and not among those that can be used are noted, to be read one by one: one of them may be newer than this look.
    async fn read_all_keys(&self, store: &Store, unread: &mut Unread) -> Result<()> {
        let mut missing: HashSet<_> = self.keys().iter().map(|entry| entry.key.id.clone()).collect();
        let Rows { usable, unusable } = store.key_rows().await?;
        self.unusable.keys_were_read(unusable);
        for row in usable {
            missing.remove(&row.key.id);
            self.put_key(row);
        }
        unread.keys.extend(missing);
        self.look_for_unclaimed(store).await
    }

    /// Looks for child rows of keys that no key claims.
    pub(in crate::service) async fn look_for_unclaimed(&self, store: &Store) -> Result<()> {
        self.unusable.unclaimed_were_read(store.unclaimed_of_keys().await?);
        Ok(())
    }

    async fn read_key(&self, store: &Store, id: &KeyId) -> Result<()> {
        let Rows { mut usable, unusable } = store.key_row(id).await?;
        match usable.pop() {
            Some(row) => {
                // A tag that it lost was taken from it, or is damaged and claimed by nobody.
                if self.key(id).is_some_and(|known| known.tags.iter().any(|(key, _)| row.tags.get(key.as_str()).is_none())) {
                    self.look_for_unclaimed(store).await?;
                }
                self.put_key(row);
            }
            None => self.forget_key(id),
        }
        self.unusable.key_was_read(id, unusable);
        Ok(())
    }

    /// Denies what a change of access was about. Keys are read, and denied, by their ids.
    fn withhold(&self, changed: Changed<'_>) {
        let mut access = Access::clone(&self.access.load());
        let (table, row) = match changed {
            Changed::Key(_) | Changed::Keys(_) => return,
            Changed::Alias(alias) => {
                access.aliases.remove(alias);
                ("aliases", alias.as_str())
            }
            Changed::NetworkRule(name) => {
                access.network_rules.remove(name);
                ("network_rules", name.as_str())
            }
            Changed::Policy(name) => {
                access.policies.remove(name);
                ("policies", name.as_str())
            }
            Changed::AccessPoint(name) => {
                access.access_points.remove(name);
                ("access_points", name.as_str())
            }
            Changed::ClientKey(id) => {
                access.client_keys.retain(|key| key.id != *id);
                access.verified.remove(id.as_str());
                ("client_keys", id.as_str())
            }
        };
        self.access.store(Arc::new(access));
        self.unusable.withhold(table, row);
    }

    fn withhold_key(&self, id: &KeyId) {
        self.forget_key(id);
        self.unusable.withhold("keys", id.as_str());
    }

    fn forget_key(&self, id: &KeyId) {
        self.keys.write().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}
