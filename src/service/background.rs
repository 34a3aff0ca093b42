//! What runs beside the requests: the refresh of the snapshot, noting how many encryptions were counted and when client keys were used,
//! destroying and rotating keys that are due, ending imports that have had their time, finding and sending alerts.

use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use super::Kms;
use super::snapshot::{Changed, Standing};
use crate::base::supervisor::{Supervisor, Told};
use crate::base::{Error, Result};
use crate::model::InstanceId;
use crate::store::UnusableRow;

/// How often the change counter is looked at: a change made elsewhere holds here after twice that at the most.
pub const REFRESH: Duration = Duration::from_millis(250);
/// How often a tier that did not answer is asked for its keys.
const STRANGERS: Duration = Duration::from_secs(2);
/// How often it is looked whether a key or its imported material is to be destroyed.
const DELETIONS: Duration = Duration::from_secs(5);
/// How often the last uses of client keys are written.
const USES: Duration = Duration::from_secs(10);
/// How often it is looked whether a key is to be rotated.
const ROTATIONS: Duration = Duration::from_secs(5);
/// How often it is looked whether wrapping keys have expired and whether objects that were erased are still to be destroyed.
const IMPORTS: Duration = Duration::from_secs(5);
/// How often it is looked what alerts are due.
const ALERTS: Duration = Duration::from_secs(5);
/// How often it is looked whether alerts wait to be sent.
const SENDINGS: Duration = Duration::from_secs(1);
/// How often it is looked for child rows of keys that no key claims: each child row of each key is looked at, a second or two for a million.
const UNCLAIMED: Duration = Duration::from_secs(60);
/// How often counts are looked at.
const COUNTS: Duration = Duration::from_secs(1);

impl Kms {
    /// Starts what runs beside the requests; it ends with [`Kms::close`] or with the service.
    pub fn spawn_background(self: &Arc<Self>) {
        self.keep("refresh", |kms| {
            every(REFRESH, kms, async |kms: Arc<Self>, before| {
                // The snapshot logs what became of it.
                before.then(kms.refresh().await, |_| ())
            })
        });
        self.keep("unclaimed rows", |kms| {
            every(UNCLAIMED, kms, async |kms: Arc<Self>, before| {
                before.then(kms.snapshot.look_for_unclaimed(&kms.store).await, |error| {
                    tracing::warn!(?error, "rows that no key claims cannot be looked for");
                })
            })
        });
        self.keep("encryption counts", |kms| {
            every(COUNTS, kms, async |kms: Arc<Self>, _| {
                kms.record_encryptions().await;
                State::Fine
            })
        });
        self.keep("last uses", |kms| {
            every(USES, kms, async |kms: Arc<Self>, _| {
                kms.record_uses().await;
                State::Fine
            })
        });
        self.keep("key deletions", |kms| {
            every(DELETIONS, kms, async |kms: Arc<Self>, before| {
                before.then(kms.destroy_due().await, |error| {
                    tracing::warn!(?error, "what is due cannot be destroyed yet");
                })
            })
        });
        self.keep("key rotations", |kms| {
            every(ROTATIONS, kms, async |kms: Arc<Self>, before| {
                before.then(kms.rotate_due().await, |error| {
                    tracing::warn!(?error, "keys that are due cannot be rotated yet");
                })
            })
        });
        self.keep("ends of imports", |kms| {
            every(IMPORTS, kms, async |kms: Arc<Self>, before| {
                before.then(kms.end_imports().await, |error| {
                    tracing::warn!(?error, "what was left of imports cannot be destroyed yet");
                })
            })
        });
        self.keep("alerts", |kms| {
            every(ALERTS, kms, async |kms: Arc<Self>, before| {
                before.then(kms.look_for_alerts().await, |error| tracing::warn!(?error, "alerts that are due cannot be noted yet"))
            })
        });
        self.keep("alert sending", |kms| {
            every(SENDINGS, kms, async |kms: Arc<Self>, before| {
                before.then(kms.send_alerts().await, |error| {
                    tracing::error!(?error, "alerts cannot be sent; they are kept and tried again")
                })
            })
        });
    }

    /// Starts work that is started again when it panics.
    fn keep<F>(self: &Arc<Self>, name: impl Into<Arc<str>>, begin: impl Fn(Weak<Self>) -> F + Send + 'static)
    where
        F: Future<Output = Told> + Send + 'static,
    {
        let kms = Arc::downgrade(self);
        let task = tokio::spawn(self.supervisor.clone().keep(name.into(), move || begin(kms.clone())));
        self.background.lock().unwrap_or_else(PoisonError::into_inner).push(task.abort_handle());
    }

    /// The work that goes on beside the requests.
    pub fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    /// Compares the keys of an instance with the store as soon as its tier answers.
    pub(super) fn report_later(self: &Arc<Self>, instance: InstanceId) {
        self.keep(format!("comparison of {instance}"), move |kms| {
            let instance = instance.clone();
            async move {
                loop {
                    tokio::time::sleep(STRANGERS).await;
                    let Some(kms) = kms.upgrade() else { return Told };
                    if kms.report_strangers(&instance).await.is_ok() {
                        return Told;
                    }
                }
            }
        });
    }

    /// Reads what was written, here or elsewhere, since the last time.
    ///
    /// # Errors
    /// The store fails.
    pub async fn refresh(&self) -> Result<()> {
        self.snapshot.refresh(&self.store).await
    }

    /// After a change that was committed: it holds here when this returns.
    pub(super) async fn follow(&self, changed: Changed<'_>) {
        self.snapshot.follow(&self.store, changed).await;
    }

    /// How long ago what is in memory was last known to be what the store has.
    pub fn snapshot_age(&self) -> Duration {
        self.snapshot.age()
    }

    /// The rows of the store that cannot be used.
    pub fn unusable_rows(&self) -> Vec<UnusableRow> {
        self.snapshot.unusable.all()
    }

    /// How what is in memory stands to what the store has.
    pub fn standing(&self) -> Standing {
        self.snapshot.standing()
    }

    /// Notes the counts that the store's numbers are not far enough ahead of.
    pub(super) async fn record_encryptions(&self) {
        let entries = self.snapshot.keys();
        let due: Vec<_> =
            entries.iter().flat_map(|entry| entry.versions()).filter_map(|version| Some((version, version.reserve()?))).collect();
        if due.is_empty() {
            return;
        }
        let counts: Vec<_> = due.iter().map(|(version, count)| (version.id.clone(), *count)).collect();
        match self.store.record_encryptions(&counts).await {
            Ok(()) => due.iter().for_each(|(version, count)| version.reserved(*count)),
            Err(error) => tracing::warn!(?error, "the counts of encryptions could not be written"),
        }
    }
}

/// How the last round went.
#[derive(Clone, Copy)]
enum State {
    Fine,
    Failing,
}

impl State {
    /// How this round went; a failure is told when the one before went well.
    fn then(self, round: Result<()>, tell: impl FnOnce(&Error)) -> Self {
        match (round, self) {
            (Ok(()), _) => Self::Fine,
            (Err(error), Self::Fine) => {
                tell(&error);
                Self::Failing
            }
            (Err(_), Self::Failing) => Self::Failing,
        }
    }
}

/// Runs `round` again and again for as long as the service is there.
async fn every<F>(period: Duration, kms: Weak<Kms>, round: F) -> Told
where
    F: AsyncFn(Arc<Kms>, State) -> State,
{
    let mut timer = tokio::time::interval(period);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut state = State::Fine;
    loop {
        timer.tick().await;
        let Some(kms) = kms.upgrade() else { return Told };
        state = round(kms, state).await;
    }
}
