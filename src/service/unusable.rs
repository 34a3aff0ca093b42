//! Rows of the store that cannot be used, and what was changed and could not be read again: named, logged once, denied. Whoever asks for one
//! of them is not told that there is none: programs take that for "it is gone" and act on it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::base::{Error, Kind};
use crate::model::KeyId;
use crate::model::operator::TagsKnown;
use crate::store::UnusableRow;

/// Why each is not used, by table and row.
type Rows = BTreeMap<(&'static str, String), String>;

/// All of them.
#[derive(Default)]
pub(super) struct UnusableRows {
    rows: Mutex<Rows>,
    /// Child rows of keys that no key claims: they are looked for less often.
    unclaimed: Mutex<Rows>,
    /// Whether tags are among the unclaimed.
    unclaimed_tags: AtomicBool,
}

impl UnusableRows {
    /// All of access was read.
    pub(super) fn access_was_read(&self, found: Vec<UnusableRow>) {
        replace(&self.rows, |table, _| !of_keys(table), found);
    }

    /// All keys were read.
    pub(super) fn keys_were_read(&self, found: Vec<UnusableRow>) {
        replace(&self.rows, |table, _| of_keys(table), found);
    }

    /// It was looked for child rows of keys that no key claims.
    pub(super) fn unclaimed_were_read(&self, found: Vec<UnusableRow>) {
        self.unclaimed_tags.store(found.iter().any(|row| row.table == "tags"), Ordering::Release);
        replace(&self.unclaimed, |_, _| true, found);
    }

    /// Whether all tags of a key are known: an unclaimed one may be any key's.
    pub(super) fn tags_known(&self) -> TagsKnown {
        if self.unclaimed_tags.load(Ordering::Acquire) { TagsKnown::Some } else { TagsKnown::All }
    }

    /// One key was read.
    pub(super) fn key_was_read(&self, key: &KeyId, found: Vec<UnusableRow>) {
        let is_its = |table, row: &str| UnusableRow { table, row: row.to_owned(), why: String::new() }.key().as_ref() == Some(key);
        replace(&self.rows, is_its, found);
    }

    /// What was changed could not be read again.
    pub(super) fn withhold(&self, table: &'static str, row: &str) {
        let why = "it was changed and could not be read since".to_owned();
        tracing::error!(table, row, why, "a row of the database cannot be used; whatever it would grant is denied");
        locked(&self.rows).insert((table, row.to_owned()), why);
    }

    /// The answer to whoever asks for something that is not known: that it cannot be used, or what `absent` says.
    pub(super) fn or(&self, table: &'static str, row: &str, absent: impl FnOnce() -> Error) -> Error {
        let tables: &[&str] = if of_keys(table) { &["keys", "tags"] } else { &[table] };
        let rows = locked(&self.rows);
        if !tables.iter().any(|table| rows.contains_key(&(*table, row.to_owned()))) {
            return absent();
        }
        cannot_be_used(row)
    }

    /// The keys with a row that cannot be used.
    pub(super) fn keys(&self) -> BTreeSet<KeyId> {
        self.all().iter().filter_map(UnusableRow::key).collect()
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<UnusableRow> {
        let read = |rows: &Mutex<Rows>| {
            let rows = locked(rows);
            rows.iter().map(|((table, row), why)| UnusableRow { table, row: row.clone(), why: why.clone() }).collect::<Vec<_>>()
        };
        [read(&self.rows), read(&self.unclaimed)].concat()
    }
}

/// Puts what was found in place of those that were looked at; what is new and what is gone is logged.
fn replace(rows: &Mutex<Rows>, which: impl Fn(&'static str, &str) -> bool, found: Vec<UnusableRow>) {
    let mut rows = locked(rows);
    let before: Vec<_> = rows.extract_if(.., |(table, row), _| which(table, row)).map(|(name, _)| name).collect();
    for UnusableRow { table, row, why } in found {
        if !before.contains(&(table, row.clone())) {
            tracing::error!(table, row, why, "a row of the database cannot be used; whatever it would grant is denied");
        }
        rows.insert((table, row), why);
    }
    for (table, row) in before.iter().filter(|name| !rows.contains_key(*name)) {
        tracing::info!(table, row, "the row of the database can be used again, or is gone");
    }
}

fn locked(rows: &Mutex<Rows>) -> MutexGuard<'_, Rows> {
    rows.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The answer to whoever names it.
pub(super) fn cannot_be_used(row: &str) -> Error {
    let text =
        format!("{row} cannot be used: what the database has of it is not what was written, or cannot be read. The log says why.");
    Error::new(Kind::Internal, text)
}

fn of_keys(table: &str) -> bool {
    matches!(table, "keys" | "key_versions" | "tags")
}
