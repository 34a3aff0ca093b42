//! Rows of the store that cannot be used, and what was changed and could not be read again: named, logged once, denied. Whoever asks for one
//! of them is not told that there is none: programs take that for "it is gone" and act on it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use crate::base::{Error, Kind};
use crate::model::KeyId;
use crate::store::UnusableRow;

/// Why each is not used, by table and row.
#[derive(Default)]
pub(super) struct UnusableRows(Mutex<BTreeMap<(&'static str, String), String>>);

impl UnusableRows {
    /// All of access was read.
    pub(super) fn access_was_read(&self, found: Vec<UnusableRow>) {
        self.replace(|table, _| !of_keys(table), found);
    }

    /// All keys were read.
    pub(super) fn keys_were_read(&self, found: Vec<UnusableRow>) {
        self.replace(|table, _| of_keys(table), found);
    }

    /// One key was read.
    pub(super) fn key_was_read(&self, key: &KeyId, found: Vec<UnusableRow>) {
        let is_its = |table, row: &str| UnusableRow { table, row: row.to_owned(), why: String::new() }.key().as_ref() == Some(key);
        self.replace(is_its, found);
    }

    fn replace(&self, which: impl Fn(&'static str, &str) -> bool, found: Vec<UnusableRow>) {
        let mut rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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

    /// What was changed could not be read again.
    pub(super) fn withhold(&self, table: &'static str, row: &str) {
        let why = "it was changed and could not be read since".to_owned();
        tracing::error!(table, row, why, "a row of the database cannot be used; whatever it would grant is denied");
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert((table, row.to_owned()), why);
    }

    /// The answer to whoever asks for something that is not known: that it cannot be used, or what `absent` says.
    pub(super) fn or(&self, table: &'static str, row: &str, absent: impl FnOnce() -> Error) -> Error {
        let tables: &[&str] = if of_keys(table) { &["keys", "tags"] } else { &[table] };
        let rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
        let rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rows.iter().map(|((table, row), why)| UnusableRow { table, row: row.clone(), why: why.clone() }).collect()
    }
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
