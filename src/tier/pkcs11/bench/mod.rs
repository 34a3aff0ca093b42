//! The tier against the bare module on the same token: `keystead hsm bench`, and the benchmarks of this project.
//!
//! Raw is a loop of the module's own calls from threads with a session each and a handle that is known. The tier is asked by so many
//! tasks, each of which awaits one operation after the other. Keys are made in the token for it and destroyed afterwards.

mod workload;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::answer::fault::Fault;
use super::session::find;
use super::{Pkcs11Tier, answer};
use crate::base::{Error, Kind, Result, random};
use crate::measure::{self, Comparison, Laps, Slice, Times};
use crate::model::key::Material;
use crate::model::{KeyId, KeyVersionId};
use crate::tier::{KeyHandle, NewKey, StoredKey, Tier};
use workload::RawSession;
pub use workload::Workload;

/// What a person sees of the keys in the token.
const LABEL: &str = "keystead-bench";

/// How long and how often is measured.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Pairs of slices.
    pub pairs: usize,
    /// Length of a slice.
    pub slice: Duration,
}

/// A token with keys to measure with.
pub struct Bench {
    tier: Arc<Pkcs11Tier>,
    keys: BTreeMap<Workload, Key>,
}

struct Key {
    id: Vec<u8>,
    handle: Arc<dyn KeyHandle>,
}

impl Bench {
    /// On this token, without keys yet.
    pub fn new(tier: Arc<Pkcs11Tier>) -> Self {
        Self { tier, keys: BTreeMap::new() }
    }

    /// Makes the key of a workload, if it needs one.
    ///
    /// # Errors
    /// The tier's; [`Kind::UnsupportedOperation`] when the token cannot do it.
    pub async fn prepare(&mut self, workload: Workload) -> Result<()> {
        let Some((spec, usage)) = workload.key().filter(|_| !self.keys.contains_key(&workload)) else { return Ok(()) };
        let id = KeyVersionId::from_entropy(&KeyId::from_entropy(random::bytes()), random::bytes()).as_str().as_bytes().to_vec();
        let created = self.tier.create(NewKey { id: id.clone(), label: LABEL.to_owned(), spec, usage }).await?;
        let opened = self
            .tier
            .open(StoredKey { spec, usage, material: created.material, public_key: created.public_key, witness: None })
            .await;
        match opened {
            Ok(handle) => {
                self.keys.insert(workload, Key { id, handle });
                Ok(())
            }
            Err(error) => {
                self.tier.destroy(Material::Resident(id)).await?;
                Err(error)
            }
        }
    }

    /// The key of a workload, if it has one.
    pub fn key(&self, workload: Workload) -> Option<Arc<dyn KeyHandle>> {
        self.keys.get(&workload).map(|key| Arc::clone(&key.handle))
    }

    /// Destroys the keys that were made.
    ///
    /// # Errors
    /// A key is still in the token; its label is `keystead-bench`.
    pub async fn end(self) -> Result<()> {
        let mut result = Ok(());
        for key in self.keys.into_values() {
            result = result.and(self.tier.destroy(Material::Resident(key.id)).await);
        }
        result
    }

    /// The module alone, from so many threads. Blocks for the length of the slice.
    ///
    /// # Errors
    /// What the module answers; it is not recovered from.
    pub fn raw(&self, workload: Workload, threads: usize, length: Duration) -> Result<Slice> {
        let slot = &self.tier.slot;
        let closed = || Error::new(Kind::Unavailable, "The token is not connected.");
        let _pass = slot.lease.gate().enter().ok_or_else(closed)?;
        let epoch = slot.pool.epoch().ok_or_else(closed)?;
        let sessions = (0..threads).map(|_| {
            let session = slot.lease.context()?.open_rw_session(epoch.slot_id.try_into()?)?;
            let key = match self.keys.get(&workload) {
                Some(key) => find::keys_of_any_form(&session, &key.id)?.first().copied(),
                None => None,
            };
            Ok(RawSession::new(session, key, workload))
        });
        let sessions: Vec<RawSession> =
            sessions.collect::<Result<_, Fault>>().map_err(|fault| answer::fault::to_caller(fault, answer::Profile::default()))?;
        let begun = Instant::now();
        let until = begun + length;
        let functions = slot.functions();
        let results: Vec<_> = std::thread::scope(|scope| {
            let work = |mut session: RawSession| move || measure::work(until, || session.run(functions));
            let workers: Vec<_> = sessions.into_iter().map(|session| scope.spawn(work(session))).collect();
            workers.into_iter().map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        });
        let mut times = Times::default();
        for result in results {
            times.add(&result.map_err(|failure| answer::to_caller(&failure, answer::Profile::default()))?);
        }
        Ok(Slice { length: begun.elapsed(), times })
    }

    /// The tier, asked by so many tasks at once.
    ///
    /// # Errors
    /// The tier's.
    pub async fn tier(&self, workload: Workload, in_flight: usize, length: Duration) -> Result<Slice> {
        in_flight_on(Arc::clone(&self.tier) as Arc<dyn Tier>, self.key(workload), workload, in_flight, length).await
    }

    /// Both in turn, with as many threads as operations in flight. Blocks; on a thread that may enter the runtime of the tier.
    ///
    /// # Errors
    /// The first failure of either.
    pub fn compare(
        &self,
        runtime: &tokio::runtime::Handle,
        workload: Workload,
        in_flight: usize,
        effort: Effort,
    ) -> Result<Comparison> {
        measure::compare(
            effort.pairs,
            || self.raw(workload, in_flight, effort.slice),
            || runtime.block_on(self.tier(workload, in_flight, effort.slice)),
        )
    }
}

/// A tier, asked by so many tasks at once, each of which awaits one operation after the other.
///
/// # Errors
/// The tier's.
pub async fn in_flight_on(
    tier: Arc<dyn Tier>,
    key: Option<Arc<dyn KeyHandle>>,
    workload: Workload,
    in_flight: usize,
    length: Duration,
) -> Result<Slice> {
    let begun = Instant::now();
    let until = begun + length;
    let tasks: Vec<_> = (0..in_flight)
        .map(|_| {
            let (tier, key) = (Arc::clone(&tier), key.clone());
            tokio::spawn(async move {
                let mut laps = Laps::until(until);
                while laps.go_on() {
                    workload.through(tier.as_ref(), key.as_deref()).await?;
                    laps.note();
                }
                Ok::<_, Error>(laps.times())
            })
        })
        .collect();
    let mut times = Times::default();
    for task in tasks {
        times.add(&task.await.map_err(Error::internal)??);
    }
    Ok(Slice { length: begun.elapsed(), times })
}
