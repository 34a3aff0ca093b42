//! The audit log through its public doors: what is written is found again, what is tampered with is found out, what goes wrong is
//! survived.

mod displaced;
mod tampering;
mod writing;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use keystead::audit::{Author, Commit, Log, Plane, Position, Query, Record, Settings, Verdict, WhenFull, search, verify};
use keystead::base::{FixedClock, SecretBytes, Timestamp};

const NOW: Timestamp = Timestamp::from_unix(1_790_000_000);
const DAY: i64 = 86_400;

fn key() -> SecretBytes {
    SecretBytes::new(vec![7; 32])
}

/// Where records go, and what the date is.
struct World {
    directory: tempfile::TempDir,
    clock: Arc<FixedClock>,
}

impl World {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), clock: Arc::new(FixedClock::at(NOW)) }
    }

    fn folder(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    fn settings(&self) -> Settings {
        Settings {
            folder: self.folder(),
            author: Author::Server,
            key: key(),
            clock: self.clock.clone(),
            commit: Commit::BeforeAnswer,
            when_full: WhenFull::Refuse,
            retention: Duration::from_secs(180 * DAY.unsigned_abs()),
            segment: 64 * 1024,
            remembered: Position::default(),
        }
    }

    fn days_later(&self, days: i64) {
        self.clock.set(Timestamp::from_unix(NOW.unix() + days * DAY));
    }

    fn verify(&self, remembered: Position) -> Verdict {
        verify(&self.folder(), &key(), remembered).unwrap()
    }

    fn found(&self, query: &Query) -> Vec<serde_json::Value> {
        found_in(&self.folder(), query)
    }

    fn of_operation(&self, operation: &str) -> Vec<serde_json::Value> {
        self.found(&Query { operation: Some(operation.to_owned()), ..Query::default() })
    }
}

fn found_in(folder: &Path, query: &Query) -> Vec<serde_json::Value> {
    let mut found = Vec::new();
    search(&[folder.to_owned()], query, |line| {
        found.push(serde_json::from_slice(line).unwrap());
        Ok(())
    })
    .unwrap();
    found
}

/// A record of a request of this number.
async fn write(log: &Log, number: usize) -> keystead::base::Result<()> {
    let id = number.to_string();
    log.write(&Record { request_id: Some(&id), ..Record::new(log.now(), Plane::Instance, "Encrypt", "OK") }).await
}
