//! The numbers that the program knows objects and sessions by.
//!
//! As a rule they are the real module's. With `renumber on` one counter gives them out for both, from 1 at each C_Initialize. After
//! `invalidate-objects` the objects of a slot have new ones, which were never given out before.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use cryptoki_sys::{CK_OBJECT_HANDLE, CK_SESSION_HANDLE, CK_ULONG};

use crate::lock;

/// Above the numbers of any module known to count.
const NEW_NUMBERS: usize = 0x4000_0000;

/// Where numbers come from.
pub struct Numbers {
    /// From the next C_Initialize on.
    counting_next: AtomicBool,
    /// Since the last one.
    counting: AtomicBool,
    counter: AtomicUsize,
    new: AtomicUsize,
}

impl Numbers {
    /// The real module's.
    pub fn new() -> Self {
        Self {
            counting_next: AtomicBool::new(false),
            counting: AtomicBool::new(false),
            counter: AtomicUsize::new(1),
            new: AtomicUsize::new(NEW_NUMBERS),
        }
    }

    /// From the next C_Initialize on numbers are counted by us.
    pub fn count(&self) {
        self.counting_next.store(true, Ordering::Release);
    }

    /// From the next C_Initialize on they are the real module's.
    pub fn pass_through(&self) {
        self.counting_next.store(false, Ordering::Release);
    }

    /// C_Initialize.
    pub fn begin(&self) {
        self.counting.store(self.counting_next.load(Ordering::Acquire), Ordering::Release);
        self.counter.store(1, Ordering::Release);
    }

    /// Whether they are counted by us.
    pub fn counting(&self) -> bool {
        self.counting.load(Ordering::Acquire)
    }

    /// The number of a session that the real module has just opened.
    pub fn session(&self, real: CK_SESSION_HANDLE) -> CK_SESSION_HANDLE {
        if self.counting() { self.counter.fetch_add(1, Ordering::Relaxed) as CK_ULONG } else { real }
    }

    fn object(&self) -> CK_OBJECT_HANDLE {
        let source = if self.counting() { &self.counter } else { &self.new };
        source.fetch_add(1, Ordering::Relaxed) as CK_ULONG
    }
}

/// The objects of a slot.
#[derive(Default)]
pub struct Objects {
    /// Whether their numbers differ from the real ones.
    mapped: AtomicBool,
    map: Mutex<Map>,
}

#[derive(Default)]
struct Map {
    real: HashMap<CK_OBJECT_HANDLE, CK_OBJECT_HANDLE>,
    visible: HashMap<CK_OBJECT_HANDLE, CK_OBJECT_HANDLE>,
}

impl Objects {
    /// No number given out so far is valid.
    pub fn invalidate(&self) {
        let mut map = lock(&self.map);
        *map = Map::default();
        self.mapped.store(true, Ordering::Release);
    }

    /// C_Initialize.
    pub fn begin(&self, numbers: &Numbers) {
        let mut map = lock(&self.map);
        *map = Map::default();
        self.mapped.store(numbers.counting(), Ordering::Release);
    }

    /// What the real module calls the object.
    pub fn real(&self, visible: CK_OBJECT_HANDLE) -> Option<CK_OBJECT_HANDLE> {
        if self.mapped.load(Ordering::Acquire) { lock(&self.map).real.get(&visible).copied() } else { Some(visible) }
    }

    /// What the program calls it.
    pub fn visible(&self, real: CK_OBJECT_HANDLE, numbers: &Numbers) -> CK_OBJECT_HANDLE {
        if !self.mapped.load(Ordering::Acquire) {
            return real;
        }
        let mut map = lock(&self.map);
        if let Some(visible) = map.visible.get(&real) {
            return *visible;
        }
        let visible = numbers.object();
        map.visible.insert(real, visible);
        map.real.insert(visible, real);
        visible
    }

    /// It was destroyed.
    pub fn forget(&self, visible: CK_OBJECT_HANDLE) {
        if self.mapped.load(Ordering::Acquire) {
            let mut map = lock(&self.map);
            if let Some(real) = map.real.remove(&visible) {
                map.visible.remove(&real);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_pass_through_until_they_are_invalidated() {
        let (numbers, objects) = (Numbers::new(), Objects::default());
        assert_eq!((objects.visible(7, &numbers), objects.real(7), numbers.session(3)), (7, Some(7), 3));
        objects.invalidate();
        assert_eq!(objects.real(7), None);
        let new = objects.visible(7, &numbers);
        assert_ne!(new, 7);
        assert_eq!((objects.visible(7, &numbers), objects.real(new)), (new, Some(7)));
        objects.invalidate();
        assert_ne!(objects.visible(7, &numbers), new);
        assert_eq!(objects.real(new), None);
    }

    #[test]
    fn counted_numbers_begin_again_at_1() {
        let (numbers, objects) = (Numbers::new(), Objects::default());
        numbers.count();
        assert!(!numbers.counting());
        for _ in 0..2 {
            numbers.begin();
            objects.begin(&numbers);
            assert_eq!((numbers.session(70), objects.visible(80, &numbers), numbers.session(71)), (1, 2, 3));
            assert_eq!((objects.real(2), objects.real(80), objects.real(1)), (Some(80), None, None));
            objects.forget(2);
            assert_eq!((objects.real(2), objects.visible(80, &numbers)), (None, 4));
        }
    }
}
