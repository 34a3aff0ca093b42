//! The counts of a slot. Atomics on the path of every call, a map under a lock for what is rare.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cryptoki::error::Error as Failure;

use crate::base::Kind;
use crate::base::lock;
use crate::tier::pkcs11::answer::{self, Level};
use crate::tier::pkcs11::slot::status::{Histogram, LastFailure, Operation, Outcome};

/// The most pairs of function and CKR that are counted apart: a module that invents codes fills no memory.
const PAIRS: usize = 1024;

const LEVELS: [Level; 5] = [Level::Operation, Level::Session, Level::Login, Level::Token, Level::Module];

/// Counts since the start.
pub(crate) struct Counters {
    origin: Instant,
    calls: [[AtomicU64; Outcome::ALL.len()]; Operation::ALL.len()],
    waited: Durations,
    worked: [Durations; Operation::ALL.len()],
    /// Whether the slot was connected once.
    connected: AtomicBool,
    recoveries: [AtomicU64; LEVELS.len()],
    failed_recoveries: AtomicU64,
    logins: AtomicU64,
    written_off: AtomicU64,
    panics: AtomicU64,
    /// Milliseconds after the origin, plus one; 0 for never.
    last_success: AtomicU64,
    failures: Mutex<Failures>,
}

#[derive(Default)]
struct Failures {
    counts: BTreeMap<(String, String), u64>,
    last: Option<(String, String, Instant)>,
}

#[derive(Default)]
struct Durations {
    buckets: [AtomicU64; Histogram::EDGES.len()],
    count: AtomicU64,
    nanos: AtomicU64,
}

impl Durations {
    fn add(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let at = Histogram::EDGES.partition_point(|edge| *edge < micros);
        if let Some(bucket) = self.buckets.get(at) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn read(&self) -> Histogram {
        Histogram {
            buckets: self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect(),
            count: self.count.load(Ordering::Relaxed),
            sum: Duration::from_nanos(self.nanos.load(Ordering::Relaxed)),
        }
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            origin: Instant::now(),
            calls: Default::default(),
            waited: Durations::default(),
            worked: Default::default(),
            connected: AtomicBool::new(false),
            recoveries: Default::default(),
            failed_recoveries: AtomicU64::new(0),
            logins: AtomicU64::new(0),
            written_off: AtomicU64::new(0),
            panics: AtomicU64::new(0),
            last_success: AtomicU64::new(0),
            failures: Mutex::default(),
        }
    }
}

fn outcome(kind: Option<Kind>) -> Outcome {
    match kind {
        None => Outcome::Ok,
        Some(Kind::Throttled) => Outcome::Throttled,
        Some(Kind::Unavailable) => Outcome::Unavailable,
        Some(Kind::Internal) => Outcome::Failed,
        Some(
            Kind::InvalidParameter
            | Kind::MissingParameter
            | Kind::UnsupportedOperation
            | Kind::UnsupportedByKey
            | Kind::InvalidTagKey
            | Kind::InvalidTagValue
            | Kind::DuplicateTagKey
            | Kind::Undecryptable
            | Kind::KeyNotFound
            | Kind::KeyVersionNotFound
            | Kind::AliasNotFound
            | Kind::ResourceNotFound
            | Kind::ResourceIdNotFound
            | Kind::InstanceNotFound
            | Kind::OnlySymmetricKeySupported
            | Kind::ResourceExists
            | Kind::AliasExists
            | Kind::StateForbids
            | Kind::UnsupportedOrigin
            | Kind::UnsupportedProtectionLevel
            | Kind::InvalidKeyMaterial
            | Kind::InvalidImportToken
            | Kind::ExpiredImportToken
            | Kind::InvalidOidcToken
            | Kind::ExpiredOidcToken
            | Kind::LimitExceeded
            | Kind::KeyDisabled
            | Kind::KeyPendingDeletion
            | Kind::KeyPendingImport
            | Kind::NoPermission,
        ) => Outcome::Refused,
    }
}

impl Counters {
    /// A call was answered.
    pub(crate) fn ended(&self, operation: Operation, kind: Option<Kind>) {
        let outcome = outcome(kind);
        self.calls[operation as usize][outcome as usize].fetch_add(1, Ordering::Relaxed);
        if outcome == Outcome::Ok {
            let now = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1);
            self.last_success.store(now, Ordering::Relaxed);
        }
    }

    /// A call waited so long for its place.
    pub(crate) fn waited(&self, waited: Duration) {
        self.waited.add(waited);
    }

    /// A call was so long in the module.
    pub(crate) fn worked(&self, operation: Operation, took: Duration) {
        self.worked[operation as usize].add(took);
    }

    /// A function of the module failed.
    pub(crate) fn failed(&self, failure: &Failure) {
        let (function, ckr) = answer::names(failure);
        let mut failures = lock(&self.failures);
        failures.last = Some((function.clone(), ckr.clone(), Instant::now()));
        if failures.counts.len() < PAIRS || failures.counts.contains_key(&(function.clone(), ckr.clone())) {
            *failures.counts.entry((function, ckr)).or_default() += 1;
        }
    }

    /// An operation or session was mended within a call.
    pub(crate) fn mended(&self, level: Level) {
        self.recoveries[level as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// The slot recovered at this level. The first time is its connection, which mends nothing.
    pub(crate) fn recovered(&self, level: Level) {
        if self.connected.swap(true, Ordering::Relaxed) {
            self.mended(level);
        }
    }

    /// An attempt failed.
    pub(crate) fn recovery_failed(&self) {
        self.failed_recoveries.fetch_add(1, Ordering::Relaxed);
    }

    /// C_Login is called.
    pub(crate) fn login(&self) {
        self.logins.fetch_add(1, Ordering::Relaxed);
    }

    /// A call was given up.
    pub(crate) fn written_off(&self) {
        self.written_off.fetch_add(1, Ordering::Relaxed);
    }

    /// A call panicked, or an attempt to recover, or what looks after the slot.
    pub(crate) fn panicked(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }

    pub(crate) fn calls(&self) -> BTreeMap<(Operation, Outcome), u64> {
        let pairs = Operation::ALL.into_iter().flat_map(|operation| Outcome::ALL.map(|outcome| (operation, outcome)));
        pairs
            .map(|(operation, outcome)| {
                ((operation, outcome), self.calls[operation as usize][outcome as usize].load(Ordering::Relaxed))
            })
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    pub(crate) fn queue_times(&self) -> Histogram {
        self.waited.read()
    }

    pub(crate) fn module_times(&self) -> BTreeMap<Operation, Histogram> {
        let read = Operation::ALL.into_iter().map(|operation| (operation, self.worked[operation as usize].read()));
        read.filter(|(_, times)| times.count > 0).collect()
    }

    pub(crate) fn failures(&self) -> BTreeMap<(String, String), u64> {
        lock(&self.failures).counts.clone()
    }

    pub(crate) fn last_failure(&self, now: Instant) -> Option<LastFailure> {
        let (function, ckr, at) = lock(&self.failures).last.clone()?;
        Some(LastFailure { function, ckr, ago: now.saturating_duration_since(at) })
    }

    pub(crate) fn last_success(&self, now: Instant) -> Option<Duration> {
        let at = self.last_success.load(Ordering::Relaxed).checked_sub(1)?;
        Some(now.saturating_duration_since(self.origin + Duration::from_millis(at)))
    }

    pub(crate) fn recoveries(&self) -> BTreeMap<Level, u64> {
        LEVELS.into_iter().map(|level| (level, self.recoveries[level as usize].load(Ordering::Relaxed))).collect()
    }

    pub(crate) fn totals(&self) -> (u64, u64, u64) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (read(&self.failed_recoveries), read(&self.logins), read(&self.written_off))
    }
}
