//! Where the objects of a token are: CKA_ID to handle, for one epoch.
//!
//! Handles of an earlier epoch may be other objects now, so a new epoch begins with an empty map and what its sweep found. The map
//! also remembers which keys were lost without our doing, since a key does not vanish on its own, which objects have shown that they
//! are the keys that they are taken for, and which keys are not used because none did.

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroUsize;

use lru::LruCache;

use crate::base::{Error, Kind};
use crate::tier::pkcs11::session::epoch::Epoch;
use crate::tier::pkcs11::session::find::{Extent, Found, Sweep};

/// The most objects that a slot remembers.
const HANDLES: NonZeroUsize = NonZeroUsize::new(100_000).expect("not zero");
/// The most keys destroyed here that are remembered as such.
const DESTROYED: NonZeroUsize = NonZeroUsize::new(1_000).expect("not zero");
/// The most keys that are not used and are named.
const REFUSED: NonZeroUsize = NonZeroUsize::new(1_000).expect("not zero");

/// What is known of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// It is here.
    At(Found, Standing),
    /// It was there in this epoch, and its handle is good no more.
    Lost,
    /// It was destroyed, by us.
    Destroyed,
}

/// What is known of an object that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It was seen by a sweep that did not see everything: another one may have its id.
    Seen,
    /// It is the only key of its id.
    Alone,
    /// It has shown that it is the key that it is taken for.
    Proven,
}

/// How far the destruction of an object got.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Departure {
    Begun,
    Done,
}

/// What the sweep of a new epoch found that should not be.
#[derive(Default)]
pub(crate) struct Oddities {
    /// Ids of objects that were destroyed before: a module may forget an object whose storage it did not delete, until it is
    /// initialised anew.
    pub(crate) risen: Vec<Vec<u8>>,
    /// Ids that several keys have.
    pub(crate) several: Vec<Vec<u8>>,
}

/// Why a key is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Several keys in the token have its id.
    Several,
    /// The key that has its id is another one.
    Another,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Several => "several keys in the token have its CKA_ID",
            Self::Another => "the key in the token that has its CKA_ID is another one",
        })
    }
}

impl Refusal {
    /// What a caller is told.
    pub(crate) fn error(self, id: &[u8]) -> Error {
        let id = String::from_utf8_lossy(id);
        Error::new(Kind::Internal, format!("The key {id} is not used: {self}. Whoever looks after the token must take it out."))
    }
}

/// The map of one epoch.
pub(crate) struct Handles {
    epoch: u64,
    objects: LruCache<Vec<u8>, Option<(Found, Standing)>>,
    destroyed: LruCache<Vec<u8>, Departure>,
    refused: LruCache<Vec<u8>, Refusal>,
}

impl Default for Handles {
    fn default() -> Self {
        Self { epoch: 0, objects: LruCache::new(HANDLES), destroyed: LruCache::new(DESTROYED), refused: LruCache::new(REFUSED) }
    }
}

impl Handles {
    /// Begins an epoch with what its sweep found. An id that several keys have is left to a look for the one of its class and type.
    pub(crate) fn begin(&mut self, epoch: Epoch, sweep: Sweep) -> Oddities {
        self.epoch = epoch.number;
        self.objects.clear();
        self.refused.clear();
        let standing = match sweep.extent {
            Extent::Whole => Standing::Alone,
            Extent::Cut => Standing::Seen,
        };
        let mut oddities = Oddities::default();
        let mut times = HashMap::<Vec<u8>, usize>::new();
        for (id, _) in &sweep.found {
            *times.entry(id.clone()).or_default() += 1;
        }
        for (id, found) in sweep.found {
            if self.destroyed.peek(&id) == Some(&Departure::Done) {
                oddities.risen.push(id);
            } else if times.get(&id) == Some(&1) {
                self.objects.put(id, Some((found, standing)));
            } else if self.refuse(epoch, &id, Refusal::Several) {
                oddities.several.push(id);
            }
        }
        oddities
    }

    /// What is known of an object; nothing in another epoch.
    pub(crate) fn get(&mut self, epoch: Epoch, id: &[u8]) -> Option<Known> {
        if epoch.number != self.epoch {
            return None;
        }
        match self.objects.get(id) {
            Some(Some((found, standing))) => Some(Known::At(*found, *standing)),
            Some(None) => Some(Known::Lost),
            None => self.destroyed.contains(id).then_some(Known::Destroyed),
        }
    }

    /// Notes where an object is that was found or made.
    pub(crate) fn put(&mut self, epoch: Epoch, id: &[u8], found: Found, standing: Standing) {
        if epoch.number == self.epoch {
            self.objects.put(id.to_vec(), Some((found, standing)));
        }
    }

    /// Notes that an object is the key that it is taken for.
    pub(crate) fn prove(&mut self, epoch: Epoch, id: &[u8], found: Found) {
        self.put(epoch, id, found, Standing::Proven);
        self.refused.pop(id);
    }

    /// Notes that a key is not used; says whether that is new. What is known of its object is forgotten.
    pub(crate) fn refuse(&mut self, epoch: Epoch, id: &[u8], why: Refusal) -> bool {
        if epoch.number != self.epoch {
            return false;
        }
        self.objects.pop(id);
        self.refused.put(id.to_vec(), why) != Some(why)
    }

    /// The keys that are not used, by id.
    pub(crate) fn refused(&self) -> Vec<(Vec<u8>, Refusal)> {
        self.refused.iter().map(|(id, why)| (id.clone(), *why)).collect()
    }

    /// Notes that a handle is good no more.
    pub(crate) fn lose(&mut self, epoch: Epoch, id: &[u8]) {
        if epoch.number == self.epoch && self.objects.contains(id) {
            self.objects.put(id.to_vec(), None);
        }
    }

    /// Notes that an object is being destroyed on purpose: from now on it may be gone.
    pub(crate) fn leaving(&mut self, id: &[u8]) {
        self.destroyed.put(id.to_vec(), Departure::Begun);
    }

    /// Notes that it could not be destroyed.
    pub(crate) fn stays(&mut self, id: &[u8]) {
        self.destroyed.pop(id);
    }

    /// Notes that it was destroyed.
    pub(crate) fn destroy(&mut self, id: &[u8]) {
        self.objects.pop(id);
        self.refused.pop(id);
        self.destroyed.put(id.to_vec(), Departure::Done);
    }

    /// Another object that should be there and that has a good handle, if one is known.
    pub(crate) fn another(&self, epoch: Epoch, id: &[u8]) -> Option<Vec<u8>> {
        self.expected(epoch).find(|(other, found)| *other != id && found.is_some()).map(|(other, _)| other.to_vec())
    }

    /// Any object that should be there, lost or not, if one is known.
    pub(crate) fn any(&self, epoch: Epoch) -> Option<Vec<u8>> {
        self.expected(epoch).next().map(|(id, _)| id.to_vec())
    }

    /// What should be there in this epoch.
    fn expected(&self, epoch: Epoch) -> impl Iterator<Item = (&[u8], Option<Found>)> {
        let known = (epoch.number == self.epoch).then(|| self.objects.iter()).into_iter().flatten();
        known.map(|(id, at)| (id.as_slice(), at.map(|(found, _)| found))).filter(|(id, _)| !self.destroyed.contains(*id))
    }

    /// How many are known.
    pub(crate) fn len(&self) -> usize {
        self.objects.len()
    }
}
