//! Rows as they are read: those that are what was written, and the names of those that are not. One that is not stops no other.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{corrupt, failed};
use crate::base::{Error, Result};
use crate::model::{KeyId, KeyVersionId};

/// A row that does not open under the root key, or does not parse: it is used for nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnusableRow {
    /// Its table.
    pub table: &'static str,
    /// Its key in the table, as far as that can be shown.
    pub row: String,
    /// What is wrong with it.
    pub why: String,
}

impl UnusableRow {
    /// The key that it belongs to, as far as it is called so that one can see that.
    pub fn key(&self) -> Option<KeyId> {
        match self.table {
            "keys" | "tags" => self.row.parse().ok(),
            "key_versions" => self.row.parse::<KeyVersionId>().ok().map(|version| version.key()),
            _ => None,
        }
    }
}

impl From<UnusableRow> for Error {
    fn from(UnusableRow { table, row, why }: UnusableRow) -> Self {
        Self::internal(format!("the row {row} of {table} is not what was written: {why}"))
    }
}

/// What was read of a table.
#[derive(Debug)]
pub struct Rows<T> {
    /// What can be used.
    pub usable: Vec<T>,
    /// What cannot.
    pub unusable: Vec<UnusableRow>,
}

impl<T> Rows<T> {
    /// Parses each row; the first column is what the row is called by.
    pub(super) fn read(table: &'static str, rows: &[SqliteRow], mut parse: impl FnMut(&SqliteRow) -> Result<T>) -> Self {
        let mut read = Self { usable: Vec::new(), unusable: Vec::new() };
        for row in rows {
            match parse(row) {
                Ok(item) => read.usable.push(item),
                Err(error) => read.unusable.push(unusable(table, name(row), &error)),
            }
        }
        read
    }

    /// What can be used; the rest joins what cannot be used of other tables.
    pub(super) fn split(self, unusable: &mut Vec<UnusableRow>) -> Vec<T> {
        unusable.extend(self.unusable);
        self.usable
    }
}

/// The unusable rows that were logged, so that what is read again and again is logged once.
#[derive(Clone, Default)]
pub(super) struct Told(Arc<Mutex<HashSet<(&'static str, String)>>>);

impl Told {
    /// What can be used; the rest is logged.
    pub(super) fn usable<T>(&self, rows: Rows<T>) -> Vec<T> {
        self.tell(rows.unusable);
        rows.usable
    }

    /// Logs what was not logged before.
    pub(super) fn tell(&self, unusable: Vec<UnusableRow>) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for UnusableRow { table, row, why } in unusable {
            if told.insert((table, row.clone())) {
                tracing::error!(table, row, why, "a row of the database is not what was written, and is not used");
            }
        }
    }
}

/// A row, and why it is none of ours.
pub(super) fn unusable(table: &'static str, row: String, error: &Error) -> UnusableRow {
    let causes = error.causes();
    UnusableRow { table, row, why: if causes.is_empty() { error.message().to_owned() } else { causes } }
}

/// A column that is a text.
pub(super) fn text(row: &SqliteRow, column: &str) -> Result<String> {
    row.try_get(column).map_err(failed)
}

/// A column that is a text of this form.
pub(super) fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(row: &SqliteRow, column: &str) -> Result<T> {
    text(row, column)?.parse().map_err(corrupt)
}

/// A column that is a number.
pub(super) fn number(row: &SqliteRow, column: &str) -> Result<i64> {
    row.try_get(column).map_err(failed)
}

/// Whatever its type is and whether or not it is text.
fn name(row: &SqliteRow) -> String {
    row.try_get_unchecked::<Vec<u8>, _>(0).map_or_else(|_| "?".to_owned(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
}
