//! Whether callers are judged by what is in memory. This is the one place that decides it: credentials and permissions are looked up through
//! [`Snapshot::judging`] alone. Whoever cannot be looked up is told to come again and never that the credential is not known: programs take a
//! refusal for final.

use std::sync::Arc;

use super::{Access, Snapshot};
use crate::base::{Error, Kind, Result};

/// Characters of a reason.
const REASON: usize = 240;

/// How what is in memory stands to what the database has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is what the database had at the last look.
    Current,
    /// The database cannot be read, for this reason; what is in memory is used as it is.
    Behind(String),
    /// The database tells of changes and they cannot be read, for this reason. One of them may be a revocation: nobody is judged.
    Withheld(String),
}

impl Snapshot {
    /// What callers are judged by.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] while access is withheld.
    pub(in crate::service) fn judging(&self) -> Result<arc_swap::Guard<Arc<Access>>> {
        match **self.standing.load() {
            Standing::Current | Standing::Behind(_) => Ok(self.access.load()),
            Standing::Withheld(_) => Err(Error::new(Kind::Unavailable, "Callers cannot be looked up at the moment: try again.")),
        }
    }

    /// How it stands to the database.
    pub(in crate::service) fn standing(&self) -> Standing {
        Standing::clone(&self.standing.load())
    }

    /// All is read.
    pub(super) fn caught_up(&self) {
        self.stands(Standing::Current);
    }

    /// Access is read, whatever else is not.
    pub(super) fn release(&self) {
        if matches!(**self.standing.load(), Standing::Withheld(_)) {
            self.stands(Standing::Current);
        }
    }

    /// Something could not be read. Access that is withheld stays so.
    pub(super) fn falls_behind(&self, error: &Error) {
        if !matches!(**self.standing.load(), Standing::Withheld(_)) {
            self.stands(Standing::Behind(reason(error)));
        }
    }

    /// Access could not be read for too long.
    pub(super) fn withhold_all(&self, error: &Error) {
        self.stands(Standing::Withheld(reason(error)));
    }

    /// A change is logged; a cause that lasts is logged once.
    fn stands(&self, now: Standing) {
        let now = Arc::new(now);
        let before = self.standing.swap(Arc::clone(&now));
        match &*now {
            same if *same == *before => {}
            Standing::Current => tracing::info!("what the database has is read again"),
            Standing::Behind(why) => tracing::error!(why, "the database cannot be read; the service goes on with what is known"),
            Standing::Withheld(why) => tracing::error!(why, "nobody is let in until what was written to the database can be read"),
        }
    }
}

/// Which table, and what the database says of it: one line.
fn reason(error: &Error) -> String {
    let causes = error.causes();
    let text = if causes.is_empty() { error.message() } else { &causes };
    text.chars().take(REASON).map(|character| if character.is_control() { ' ' } else { character }).collect()
}
