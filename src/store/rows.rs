//! Rows as they are read: those that are what was written, and the names of those that are not. One that is not stops no other.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::base::Result;

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
                Err(error) => {
                    let causes = error.causes();
                    let why = if causes.is_empty() { error.message().to_owned() } else { causes };
                    read.unusable.push(UnusableRow { table, row: name(row), why });
                }
            }
        }
        read
    }
}

/// The unusable rows that were logged, so that what is read again and again is logged once.
#[derive(Clone, Default)]
pub(super) struct Told(Arc<Mutex<HashSet<(&'static str, String)>>>);

impl Told {
    /// What can be used; the rest is logged.
    pub(super) fn usable<T>(&self, rows: Rows<T>) -> Vec<T> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for UnusableRow { table, row, why } in rows.unusable {
            if told.insert((table, row.clone())) {
                tracing::error!(table, row, why, "a row of the database is not what was written, and is not used");
            }
        }
        rows.usable
    }
}

/// Whatever its type is and whether or not it is text.
fn name(row: &SqliteRow) -> String {
    row.try_get_unchecked::<Vec<u8>, _>(0).map_or_else(|_| "?".to_owned(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
}
