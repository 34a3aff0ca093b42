//! The sessions that the program has open.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use cryptoki_sys::{CK_OBJECT_HANDLE, CK_RV, CK_SESSION_HANDLE, CKR_DEVICE_REMOVED, CKR_SESSION_HANDLE_INVALID};

use crate::gate::Gate;
use crate::iv::Made;
use crate::real::Real;
use crate::slot::Slot;

/// A session.
pub struct Session {
    /// The program's number.
    pub visible: CK_SESSION_HANDLE,
    /// The real module's. It is used inside the gate only.
    pub real: CK_SESSION_HANDLE,
    /// Where it is.
    pub slot: Arc<Slot>,
    /// Shut when the session is closed. A call that waited in the meantime finds it so, whoever has the number now.
    pub gate: Gate,
    /// The IV that the module made for its encryption.
    pub iv: Made,
    /// Its token was taken out, and the program was not told yet.
    removal_untold: AtomicBool,
    /// It was taken off the slot's count.
    uncounted: AtomicBool,
}

impl Session {
    /// One that the real module has opened; a place was reserved on `slot`.
    pub fn new(visible: CK_SESSION_HANDLE, real: CK_SESSION_HANDLE, slot: Arc<Slot>) -> Self {
        Self {
            visible,
            real,
            slot,
            gate: Gate::open(),
            iv: Made::default(),
            removal_untold: AtomicBool::new(false),
            uncounted: AtomicBool::new(false),
        }
    }

    /// Its token was taken out.
    pub fn removed(&self) {
        self.removal_untold.store(true, Ordering::Release);
    }

    /// What a call is told whose session is closed.
    pub fn refusal(&self) -> CK_RV {
        if self.removal_untold.swap(false, Ordering::AcqRel) { CKR_DEVICE_REMOVED } else { CKR_SESSION_HANDLE_INVALID }
    }

    /// The CKA_ID of a key, as the program numbers it, while the real module can be asked.
    pub fn key_id(&self, real: &Real, key: CK_OBJECT_HANDLE) -> Option<Vec<u8>> {
        let _inside = self.gate.enter().ok()?;
        real.id(self.real, self.slot.objects.real(key)?)
    }

    /// Nothing of it is left in the real module.
    pub fn gone(&self) {
        if !self.uncounted.swap(true, Ordering::AcqRel) {
            self.slot.release();
        }
    }
}

/// Parts that are locked apart, so that threads with sessions of their own seldom meet.
const PARTS: usize = 16;

type Table = HashMap<CK_SESSION_HANDLE, Arc<Session>, BuildHasherDefault<Spread>>;

/// A part, on cache lines of its own.
#[derive(Default)]
#[repr(align(64))]
struct Part(RwLock<Table>);

/// All sessions by the program's numbers.
#[derive(Default)]
pub struct Sessions {
    parts: [Part; PARTS],
}

impl Sessions {
    fn part(&self, handle: CK_SESSION_HANDLE) -> &RwLock<Table> {
        &self.parts[handle as usize % PARTS].0
    }

    /// The session of a number, which may be closed by now.
    pub fn find(&self, handle: CK_SESSION_HANDLE) -> Option<Arc<Session>> {
        self.part(handle).read().unwrap_or_else(PoisonError::into_inner).get(&handle).cloned()
    }

    /// A new one. The real module has closed whatever had its number before.
    pub fn insert(&self, session: Arc<Session>) {
        let mut part = self.part(session.visible).write().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = part.insert(session.visible, session) {
            let _ = before.gate.kill();
            before.gone();
        }
    }

    /// It is closed, and its number says nothing any more.
    pub fn remove(&self, session: &Arc<Session>) {
        let mut part = self.part(session.visible).write().unwrap_or_else(PoisonError::into_inner);
        if part.get(&session.visible).is_some_and(|there| Arc::ptr_eq(there, session)) {
            part.remove(&session.visible);
        }
    }

    /// All that are in the table, closed ones of removed tokens too.
    pub fn all(&self) -> Vec<Arc<Session>> {
        self.parts
            .iter()
            .flat_map(|part| part.0.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect::<Vec<_>>())
            .collect()
    }

    /// The real module has none any more.
    pub fn clear(&self) {
        for session in self.all() {
            let _ = session.gate.kill();
            session.gone();
            self.remove(&session);
        }
    }
}

/// Spreads small numbers over a table: modules count their handles.
#[derive(Default)]
pub struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        // An odd constant: 2^64 over the golden ratio. The table uses the topmost and the lowest bits.
        self.0 = (self.0.rotate_left(5) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(26);
    }
}
