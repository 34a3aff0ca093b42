//! Everything there is one of in a process, and the life of the real module: C_Initialize, C_Finalize, and what `uninitialise` does.

#![expect(unsafe_code, reason = "PKCS #11 is a C interface")]

use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use cryptoki_sys::{CK_RV, CK_SLOT_ID, CKR_CRYPTOKI_ALREADY_INITIALIZED, CKR_CRYPTOKI_NOT_INITIALIZED, CKR_OK};

use crate::control::Action;
use crate::counts::Counts;
use crate::gate::Gate;
use crate::handles::Numbers;
use crate::hang::Hang;
use crate::lock;
use crate::real::{Real, real};
use crate::rule::{Place, Rules};
use crate::session::{Session, Sessions};
use crate::slot::{Slot, Slots};

/// See the file.
pub struct Module {
    /// The module behind this one.
    pub real: Real,
    /// Before calls that belong to no session: shut while the real module is not initialised.
    pub gate: Gate,
    stage: Mutex<Stage>,
    /// Counts the lives of the real module.
    generation: AtomicU64,
    initialisations: AtomicU64,
    /// Commands that name a token, given before C_Initialize.
    pending: Mutex<Vec<(Place, Action)>>,
    /// The slots that somebody named.
    pub slots: Slots,
    /// The sessions that are open.
    pub sessions: Sessions,
    /// Where handles come from.
    pub numbers: Numbers,
    /// What happens to calls.
    pub rules: Rules,
    /// The calls that hang.
    pub hang: Hang,
    /// The calls there were.
    pub counts: Counts,
    /// Calls that found another one inside their session.
    pub overlaps: AtomicU64,
}

/// Whether the real module is initialised, and whether the program may know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It is not.
    Out,
    /// It is.
    In,
    /// It is, but every call is told that it is not.
    Lost,
}

/// Nobody initialises or finalises while this is held.
pub type Held<'a> = MutexGuard<'a, Stage>;

impl Module {
    /// Around a loaded module.
    pub fn new(real: Real) -> Self {
        Self {
            real,
            gate: Gate::shut(),
            stage: Mutex::new(Stage::Out),
            generation: AtomicU64::new(0),
            initialisations: AtomicU64::new(0),
            pending: Mutex::default(),
            slots: Slots::default(),
            sessions: Sessions::default(),
            numbers: Numbers::new(),
            rules: Rules::new(),
            hang: Hang::default(),
            counts: Counts::new(),
            overlaps: AtomicU64::new(0),
        }
    }

    /// Keeps the real module as it is.
    pub fn hold(&self) -> Held<'_> {
        lock(&self.stage)
    }

    /// Changes with every C_Initialize and C_Finalize.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// How often C_Initialize succeeded.
    pub fn initialisations(&self) -> u64 {
        self.initialisations.load(Ordering::Relaxed)
    }

    /// The slot that the program knows by a number; none if it was that of a slot which has another one now.
    pub fn slot(&self, number: CK_SLOT_ID) -> Option<Arc<Slot>> {
        self.slots.visible(number, &self.numbers)
    }

    /// Keeps a command for the next C_Initialize.
    pub fn postpone(&self, place: Place, action: Action) {
        lock(&self.pending).push((place, action));
    }

    /// Forgets what waits for C_Initialize.
    pub fn forget_pending(&self) {
        lock(&self.pending).clear();
    }

    /// How many commands wait for C_Initialize.
    pub fn pending(&self) -> usize {
        lock(&self.pending).len()
    }

    /// Calls inside the real module.
    pub fn inside(&self) -> u64 {
        self.gate.inside() + self.sessions.all().iter().map(|session| session.gate.inside()).sum::<u64>()
    }

    /// C_Initialize.
    pub fn initialise(&self, arguments: *mut c_void) -> CK_RV {
        let mut stage = self.hold();
        match *stage {
            Stage::In => return real!(self, C_Initialize(arguments)),
            // `uninitialise` has waited until nobody was inside, and nobody came in since.
            Stage::Lost => {
                let _ = real!(self, C_Finalize(ptr::null_mut()));
                self.end(&mut stage);
            }
            Stage::Out => {}
        }
        let answer = real!(self, C_Initialize(arguments));
        // Another part of the process may have initialised it past this module: then it is initialised.
        if answer == CKR_OK || answer == CKR_CRYPTOKI_ALREADY_INITIALIZED {
            self.begin(&mut stage);
        }
        answer
    }

    fn begin(&self, stage: &mut Held<'_>) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.initialisations.fetch_add(1, Ordering::Relaxed);
        self.numbers.begin();
        self.slots.begin(&self.numbers);
        **stage = Stage::In;
        let pending = std::mem::take(&mut *lock(&self.pending));
        for (place, action) in pending {
            if let Err(failure) = action.apply(&place, self, stage) {
                eprintln!("keystead-fault-module: a command from before C_Initialize: {failure}");
            }
        }
        self.gate.revive();
    }

    fn end(&self, stage: &mut Held<'_>) {
        let _ = self.gate.kill();
        self.sessions.clear();
        self.generation.fetch_add(1, Ordering::AcqRel);
        **stage = Stage::Out;
    }

    /// C_Finalize. Calls that are inside the real module stay there, as without this module.
    pub fn finalise(&self, reserved: *mut c_void) -> CK_RV {
        let mut stage = self.hold();
        match *stage {
            Stage::Out | Stage::Lost => CKR_CRYPTOKI_NOT_INITIALIZED,
            Stage::In => {
                // Calls that hang here now must not go in afterwards.
                let sessions = self.sessions.all();
                let gates: Vec<_> = [&self.gate].into_iter().chain(sessions.iter().map(|session| &session.gate)).collect();
                for gate in &gates {
                    let _ = gate.closing();
                }
                let answer = real!(self, C_Finalize(reserved));
                if answer == CKR_OK {
                    self.end(&mut stage);
                }
                for gate in gates {
                    gate.stay_open();
                }
                answer
            }
        }
    }

    /// From now on every call is told that the module is not initialised.
    ///
    /// # Errors
    /// It is not, or a call does not come out of the real module.
    pub fn uninitialise(&self) -> Result<(), String> {
        let mut stage = self.hold();
        match *stage {
            Stage::Out | Stage::Lost => Err("the module is not initialised".to_owned()),
            Stage::In => self.alone(None, |_| {
                self.end(&mut stage);
                *stage = Stage::Lost;
            }),
        }
    }

    /// Runs `work` with the sessions of a slot, or all, while no call is inside the real module with one of them or without any;
    /// calls that come wait. Whoever calls holds the stage.
    ///
    /// # Errors
    /// A call does not come out; then `work` has not run.
    pub fn alone<T>(&self, slot: Option<&Arc<Slot>>, work: impl FnOnce(&[Arc<Session>]) -> T) -> Result<T, String> {
        Gate::alone(&[&self.gate], || {
            // No session is opened now; one that is being closed is in the table until it is.
            let sessions: Vec<_> = self
                .sessions
                .all()
                .into_iter()
                .filter(|session| slot.is_none_or(|slot| Arc::ptr_eq(slot, &session.slot)))
                .collect();
            let gates: Vec<_> = sessions.iter().map(|session| &session.gate).collect();
            Gate::alone(&gates, || work(&sessions))
        })?
    }
}
