//! Where the objects of a token are: CKA_ID to handle, for one epoch.
//!
//! Handles of an earlier epoch may be other objects now, so a new epoch begins with an empty map and what its sweep found. The map
//! also remembers which keys were lost without our doing: a key does not vanish on its own.

use std::num::NonZeroUsize;

use cryptoki::object::ObjectHandle;
use lru::LruCache;

use super::pool::Life;

/// The most objects that a slot remembers.
const HANDLES: NonZeroUsize = NonZeroUsize::new(100_000).expect("not zero");
/// The most keys destroyed here that are remembered as such.
const DESTROYED: NonZeroUsize = NonZeroUsize::new(1_000).expect("not zero");

/// What is known of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// It is here.
    At(ObjectHandle),
    /// It was there in this epoch, and its handle is good no more.
    Lost,
    /// It was destroyed, by us.
    Destroyed,
}

/// How far the destruction of an object got.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Departure {
    Begun,
    Done,
}

/// The map of one epoch.
pub(super) struct Handles {
    epoch: u64,
    objects: LruCache<Vec<u8>, Option<ObjectHandle>>,
    destroyed: LruCache<Vec<u8>, Departure>,
}

impl Default for Handles {
    fn default() -> Self {
        Self { epoch: 0, objects: LruCache::new(HANDLES), destroyed: LruCache::new(DESTROYED) }
    }
}

impl Handles {
    /// Begins an epoch with what its sweep found. Gives those of it that were destroyed before: a module may forget an object whose
    /// storage it did not delete, until it is initialised anew.
    pub(super) fn begin(&mut self, life: Life, swept: Vec<(Vec<u8>, ObjectHandle)>) -> Vec<Vec<u8>> {
        self.epoch = life.epoch;
        self.objects.clear();
        let mut risen = Vec::new();
        for (id, handle) in swept {
            if self.destroyed.peek(&id) == Some(&Departure::Done) {
                risen.push(id);
            } else {
                self.objects.put(id, Some(handle));
            }
        }
        risen
    }

    /// What is known of an object; nothing in another epoch.
    pub(super) fn get(&mut self, life: Life, id: &[u8]) -> Option<Known> {
        if life.epoch != self.epoch {
            return None;
        }
        match self.objects.get(id) {
            Some(Some(handle)) => Some(Known::At(*handle)),
            Some(None) => Some(Known::Lost),
            None => self.destroyed.contains(id).then_some(Known::Destroyed),
        }
    }

    /// Notes where an object is that was found or made.
    pub(super) fn put(&mut self, life: Life, id: &[u8], handle: ObjectHandle) {
        if life.epoch == self.epoch {
            self.objects.put(id.to_vec(), Some(handle));
        }
    }

    /// Notes that a handle is good no more.
    pub(super) fn lose(&mut self, life: Life, id: &[u8]) {
        if life.epoch == self.epoch && self.objects.contains(id) {
            self.objects.put(id.to_vec(), None);
        }
    }

    /// Notes that an object is being destroyed on purpose: from now on it may be gone.
    pub(super) fn leaving(&mut self, id: &[u8]) {
        self.destroyed.put(id.to_vec(), Departure::Begun);
    }

    /// Notes that it could not be destroyed.
    pub(super) fn stays(&mut self, id: &[u8]) {
        self.destroyed.pop(id);
    }

    /// Notes that it was destroyed.
    pub(super) fn destroy(&mut self, id: &[u8]) {
        self.objects.pop(id);
        self.destroyed.put(id.to_vec(), Departure::Done);
    }

    /// Another object that should be there and that has a good handle, if one is known.
    pub(super) fn another(&self, life: Life, id: &[u8]) -> Option<Vec<u8>> {
        self.expected(life).find(|(other, handle)| *other != id && handle.is_some()).map(|(other, _)| other.to_vec())
    }

    /// Any object that should be there, lost or not, if one is known.
    pub(super) fn any(&self, life: Life) -> Option<Vec<u8>> {
        self.expected(life).next().map(|(id, _)| id.to_vec())
    }

    /// What should be there in this epoch.
    fn expected(&self, life: Life) -> impl Iterator<Item = (&[u8], Option<ObjectHandle>)> {
        let known = (life.epoch == self.epoch).then(|| self.objects.iter()).into_iter().flatten();
        known.map(|(id, handle)| (id.as_slice(), *handle)).filter(|(id, _)| !self.destroyed.contains(*id))
    }

    /// How many are known.
    pub(super) fn len(&self) -> usize {
        self.objects.len()
    }
}
