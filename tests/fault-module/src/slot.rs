//! Slots: what number the program knows each by, and what is done to its token.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use cryptoki_sys::{CK_SLOT_ID, CK_TOKEN_INFO, CK_ULONG, CKF_USER_PIN_COUNT_LOW, CKF_USER_PIN_FINAL_TRY, CKF_USER_PIN_LOCKED};

use crate::handles::{Numbers, Objects};
use crate::lock;
use crate::manners::{Manner, Manners, Serial};
use crate::other_public::Others;
use crate::real::Real;
use crate::value_length::Lengths;

/// A slot that somebody named.
pub struct Slot {
    /// The real module's number.
    pub real: CK_SLOT_ID,
    /// Its objects.
    pub objects: Objects,
    /// The lengths of its unwrapped keys.
    pub lengths: Lengths,
    /// The keys that it tells of in the place of its own.
    pub others: Others,
    /// Sessions that are open in the real module, or about to be.
    open: AtomicUsize,
    manners: Mutex<Manners>,
    /// Whether it has none of its own: saves the lock.
    behaves: AtomicBool,
    /// How often its token was put in.
    insertions: AtomicU32,
    /// How often another serial number was told.
    serials: AtomicU32,
    settings: Mutex<Settings>,
    /// The token's label, once it was asked for.
    label: Mutex<Option<String>>,
}

struct Settings {
    visible: CK_SLOT_ID,
    presence: Presence,
    cap: Option<Option<Cap>>,
    pin_flags: Option<Option<PinFlags>>,
}

/// Whether the token is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It is.
    Present,
    /// It was taken out.
    Removed(Return),
    /// It was put back and is seen after the next C_Initialize, under this number.
    Awaited(CK_SLOT_ID),
}

/// When a token that is put back is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Return {
    /// At once.
    AtOnce,
    /// After C_Finalize and C_Initialize.
    AtInitialise,
}

/// How many sessions may be open on a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cap {
    /// So many.
    pub sessions: usize,
    /// What C_GetTokenInfo says of it.
    pub announcement: Announcement,
}

/// Whether the token tells its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announcement {
    /// It does.
    Truth,
    /// It says what the real one says.
    Silence,
}

/// What C_GetTokenInfo says of the user PIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinFlags {
    /// No flag.
    Fine,
    /// CKF_USER_PIN_COUNT_LOW.
    CountLow,
    /// CKF_USER_PIN_FINAL_TRY.
    FinalTry,
    /// CKF_USER_PIN_LOCKED.
    Locked,
}

/// What holds for slots that have nothing of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Defaults {
    /// See [`Cap`].
    pub cap: Option<Cap>,
    /// See [`PinFlags`].
    pub pin_flags: Option<PinFlags>,
}

impl Slot {
    fn new(real: CK_SLOT_ID, numbers: &Numbers, manners: Manners) -> Self {
        let objects = Objects::default();
        objects.begin(numbers);
        Self {
            real,
            objects,
            lengths: Lengths::default(),
            others: Others::default(),
            open: AtomicUsize::new(0),
            insertions: AtomicU32::new(0),
            serials: AtomicU32::new(0),
            manners: Mutex::new(manners),
            behaves: AtomicBool::new(manners == Manners::default()),
            settings: Mutex::new(Settings { visible: real, presence: Presence::Present, cap: None, pin_flags: None }),
            label: Mutex::default(),
        }
    }

    /// The number that the program knows it by.
    pub fn visible(&self) -> CK_SLOT_ID {
        lock(&self.settings).visible
    }

    /// Whether its token is there.
    pub fn presence(&self) -> Presence {
        lock(&self.settings).presence
    }

    /// Takes the token out. Whoever calls ends its sessions.
    pub fn remove(&self, back: Return) {
        lock(&self.settings).presence = Presence::Removed(back);
    }

    /// Puts the token back, under another number if one is given.
    ///
    /// # Errors
    /// It was not taken out.
    pub fn insert(&self, number: Option<CK_SLOT_ID>) -> Result<(), String> {
        let mut settings = lock(&self.settings);
        let number = number.unwrap_or(settings.visible);
        match settings.presence {
            Presence::Removed(Return::AtOnce) => {
                settings.presence = Presence::Present;
                settings.visible = number;
                self.insertions.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Presence::Removed(Return::AtInitialise) => {
                settings.presence = Presence::Awaited(number);
                Ok(())
            }
            Presence::Present | Presence::Awaited(_) => Err(format!("the token in slot {} was not removed", settings.visible)),
        }
    }

    /// C_Initialize.
    fn begin(&self, numbers: &Numbers) {
        self.objects.begin(numbers);
        self.forget_label();
        let mut settings = lock(&self.settings);
        if let Presence::Awaited(number) = settings.presence {
            settings.presence = Presence::Present;
            settings.visible = number;
            self.insertions.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Everything that commands did to it is undone.
    fn restore(&self) {
        *lock(&self.settings) = Settings { visible: self.real, presence: Presence::Present, cap: None, pin_flags: None };
        *lock(&self.manners) = Manners::default();
        self.behaves.store(true, Ordering::Release);
    }

    /// A cap of its own; `None` is none.
    pub fn set_cap(&self, cap: Option<Cap>) {
        lock(&self.settings).cap = Some(cap);
    }

    /// Flags of its own; `None` are the real ones.
    pub fn set_pin_flags(&self, flags: Option<PinFlags>) {
        lock(&self.settings).pin_flags = Some(flags);
    }

    /// How its token behaves.
    pub fn manners(&self) -> Manners {
        if self.behaves.load(Ordering::Acquire) { Manners::default() } else { *lock(&self.manners) }
    }

    /// It behaves in another way from now on.
    pub fn change_manners(&self, manner: Manner) {
        let mut manners = lock(&self.manners);
        *manners = manners.with(manner);
        self.behaves.store(*manners == Manners::default(), Ordering::Release);
    }

    /// The label of its token. The real module is initialised and stays so for the length of the call.
    pub fn label(&self, real: &Real) -> Option<String> {
        if let Some(label) = &*lock(&self.label) {
            return Some(label.clone());
        }
        let label = real.label(self.real);
        lock(&self.label).clone_from(&label);
        label
    }

    /// The token has a new one.
    pub fn forget_label(&self) {
        *lock(&self.label) = None;
    }

    /// Sessions that are open, or about to be.
    pub fn open_sessions(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// A session is about to be opened, if `defaults` and its own settings allow one more.
    ///
    /// # Errors
    /// They do not.
    pub fn reserve(&self, defaults: Defaults) -> Result<(), Full> {
        let cap = lock(&self.settings).cap.unwrap_or(defaults.cap).map_or(usize::MAX, |cap| cap.sessions);
        self.open
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |open| (open < cap).then_some(open + 1))
            .map(|_| ())
            .map_err(|_| Full)
    }

    /// A session is closed, or was not opened.
    pub fn release(&self) {
        self.open.fetch_sub(1, Ordering::AcqRel);
    }

    /// What C_GetTokenInfo says instead of the truth.
    pub fn disguise(&self, info: &mut CK_TOKEN_INFO, defaults: Defaults) {
        match self.manners().serial {
            Serial::Real => {}
            Serial::PerCall => number(&mut info.serialNumber, self.serials.fetch_add(1, Ordering::Relaxed) + 1),
            Serial::OnInsert => number(&mut info.serialNumber, self.insertions.load(Ordering::Relaxed)),
        }
        let settings = lock(&self.settings);
        if let Some(Cap { sessions, announcement: Announcement::Truth }) = settings.cap.unwrap_or(defaults.cap) {
            info.ulMaxSessionCount = sessions as CK_ULONG;
            info.ulMaxRwSessionCount = sessions as CK_ULONG;
        }
        if let Some(flags) = settings.pin_flags.unwrap_or(defaults.pin_flags) {
            info.flags &= !(CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY | CKF_USER_PIN_LOCKED);
            info.flags |= match flags {
                PinFlags::Fine => 0,
                PinFlags::CountLow => CKF_USER_PIN_COUNT_LOW,
                PinFlags::FinalTry => CKF_USER_PIN_FINAL_TRY,
                PinFlags::Locked => CKF_USER_PIN_LOCKED,
            };
        }
    }
}

/// Puts a number, other than 0, in the place of the last digits of a serial number.
fn number(serial: &mut [u8; 16], number: u32) {
    if number != 0 {
        serial[8..].copy_from_slice(format!("{number:08x}").as_bytes());
    }
}

/// No more sessions.
#[derive(Debug)]
pub struct Full;

/// All slots that somebody named.
#[derive(Default)]
pub struct Slots {
    by_real: Mutex<HashMap<CK_SLOT_ID, Arc<Slot>>>,
    defaults: Mutex<Defaults>,
    /// Of slots that nobody has named yet.
    manners: Mutex<Manners>,
}

impl Slots {
    /// The slot that the program knows by a number; none if it was that of a slot which has another one now.
    pub fn visible(&self, number: CK_SLOT_ID, numbers: &Numbers) -> Option<Arc<Slot>> {
        let mut slots = lock(&self.by_real);
        match slots.get(&number) {
            Some(slot) if slot.visible() == number => Some(Arc::clone(slot)),
            same => {
                let moved_away = same.is_some();
                match slots.values().find(|slot| slot.visible() == number) {
                    Some(slot) => Some(Arc::clone(slot)),
                    None if moved_away => None,
                    None => Some(Arc::clone(slots.entry(number).or_insert_with(|| Arc::new(self.made(number, numbers))))),
                }
            }
        }
    }

    /// The slot that the real module knows by a number.
    pub fn real(&self, number: CK_SLOT_ID, numbers: &Numbers) -> Arc<Slot> {
        Arc::clone(lock(&self.by_real).entry(number).or_insert_with(|| Arc::new(self.made(number, numbers))))
    }

    fn made(&self, number: CK_SLOT_ID, numbers: &Numbers) -> Slot {
        Slot::new(number, numbers, *lock(&self.manners))
    }

    /// All of them, by the program's number.
    pub fn all(&self) -> Vec<Arc<Slot>> {
        let mut slots: Vec<_> = lock(&self.by_real).values().cloned().collect();
        slots.sort_by_key(|slot| slot.visible());
        slots
    }

    /// Whether a token was taken out, or put back under another number.
    pub fn altered(&self) -> bool {
        self.all().iter().any(|slot| slot.presence() != Presence::Present || slot.visible() != slot.real)
    }

    /// C_Initialize.
    pub fn begin(&self, numbers: &Numbers) {
        for slot in self.all() {
            slot.begin(numbers);
        }
    }

    /// What holds for slots that have nothing of their own.
    pub fn defaults(&self) -> Defaults {
        *lock(&self.defaults)
    }

    /// A cap for all slots.
    pub fn set_cap(&self, cap: Option<Cap>) {
        lock(&self.defaults).cap = cap;
        for slot in self.all() {
            lock(&slot.settings).cap = None;
        }
    }

    /// Flags for all tokens.
    pub fn set_pin_flags(&self, flags: Option<PinFlags>) {
        lock(&self.defaults).pin_flags = flags;
        for slot in self.all() {
            lock(&slot.settings).pin_flags = None;
        }
    }

    /// All tokens behave in another way from now on.
    pub fn change_manners(&self, manner: Manner) {
        {
            let mut manners = lock(&self.manners);
            *manners = manners.with(manner);
        }
        self.all().iter().for_each(|slot| slot.change_manners(manner));
    }

    /// Everything that commands did to slots is undone.
    pub fn restore(&self) {
        *lock(&self.defaults) = Defaults::default();
        *lock(&self.manners) = Manners::default();
        for slot in self.all() {
            slot.restore();
        }
    }
}
