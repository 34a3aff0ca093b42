//! Floor 3: the use cases, the only place where a tier and the store meet.
//!
//! Called by the server with a caller that it has authenticated; whether the caller may is decided here. The cryptographic path
//! reads a snapshot in memory and no database: an outage of the store stops management, not cryptography. It knows tiers by
//! their trait and no wire format.

mod access;
mod alerts;
mod aliases;
mod authorize;
mod background;
pub mod certificates;
mod crypto;
mod data_keys;
mod destruction;
mod exporting;
mod handing_out;
mod health;
mod import;
mod instances;
mod key_life;
mod key_policies;
mod key_versions;
mod keys;
mod last_use;
mod macs;
mod opening;
mod operator_crypto;
mod operators;
mod permit;
mod quotas;
mod rates;
pub mod requests;
mod rotation;
mod sessions;
mod snapshot;
mod tags;
mod trace;
mod unusable;
mod unwrapping;

use std::collections::{BTreeSet, HashMap};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, Once, PoisonError};

use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use crate::base::supervisor::Supervisor;
use crate::base::{Clock, Error, Kind, Result, Retry, Timestamp};
use crate::model::InstanceId;
use crate::model::instance::{DefaultInstances, Instance, InstanceKind};
use crate::model::quota::KeyQuota;
use crate::store::{Authorities, Store};
use crate::tier::Tier;
use certificates::AuthorityMaterial;
use snapshot::Snapshot;

pub use crate::store::{RefusedOrder, UnusableRow};
pub use access::FIVE_YEARS;
pub use alerts::{AlertCounts, AlertReceiver};
pub use background::REFRESH;
pub use handing_out::{HandedOut, NewAccess};
pub use health::{Health, InstanceSlots};
pub use key_life::DELETION_WINDOW_DAYS;
pub use operators::{Mentions, new_access_key, policy_of};
pub use permit::{Permitted, Subject};
pub use quotas::{QuotaResource, QuotaUse};
pub use rates::RateUse;
pub use rotation::InstanceRotations;
pub use sessions::{TemporaryCredentials, Unopened};
pub use snapshot::{KnownAccessKey, Standing, VerifiedClientKey};
pub use trace::Trace;

/// An instance to be served.
pub struct ServedInstance {
    /// Its id.
    pub id: InstanceId,
    /// What a person calls it.
    pub name: String,
    /// What holds its keys.
    pub kind: InstanceKind,
    /// What holds its keys.
    pub tier: Arc<dyn Tier>,
    /// How many key versions it may hold, if that is bounded.
    pub key_quota: Option<KeyQuota>,
    /// How many requests of symmetric cryptography a second its endpoint serves, if that is bounded.
    pub qps: Option<NonZeroU32>,
    /// Until when Decrypt opens what earlier versions of Keystead bound to less than the context that is given, if it does.
    pub unbound_until: Option<Timestamp>,
}

/// What a service is put together from.
pub struct Parts {
    /// What is kept.
    pub store: Store,
    /// What knows the date.
    pub clock: Arc<dyn Clock>,
    /// What is served.
    pub instances: Vec<ServedInstance>,
    /// Where CreateKey without DKMSInstanceId makes its keys.
    pub default_instances: DefaultInstances,
    /// What makes the data key pairs that are handed out: a tier that gives its material away.
    pub pairs: Arc<dyn Tier>,
    /// Where alerts are sent; they are logged and counted without it, too.
    pub alerts: Option<Arc<dyn AlertReceiver>>,
}

/// The service.
pub struct Kms {
    store: Store,
    clock: Arc<dyn Clock>,
    instances: HashMap<InstanceId, Served>,
    default_instances: DefaultInstances,
    pairs: Arc<dyn Tier>,
    authorities: AuthorityMaterial,
    snapshot: Snapshot,
    alerts: alerts::Alerts,
    refused_orders: Mutex<BTreeSet<RefusedOrder>>,
    /// Of the endpoints' limits, as many as are configured.
    rates: Mutex<Vec<Arc<RateUse>>>,
    supervisor: Supervisor,
    background: Mutex<Vec<AbortHandle>>,
    /// Key versions that were made before may have encrypted what is bound to less than its context.
    contexts_bound_since: Timestamp,
}

/// An instance that is served.
struct Served {
    instance: Instance,
    tier: Arc<dyn Tier>,
    /// One data key pair at a time, as the API has it: an RSA pair takes a core for a second.
    pair: Semaphore,
    key_quota: Option<KeyQuota>,
    qps: Option<NonZeroU32>,
    check: health::Check,
    rotations: rotation::Counts,
    unbound_until: Option<Timestamp>,
    /// Once: that `unbound_until` may be what a caller lacks.
    told_of_unbound: Once,
}

impl Kms {
    /// Reads everything into memory and reports what an interrupted creation left behind. Nothing is deleted.
    ///
    /// # Errors
    /// The store fails, has no authorities yet, or knows an instance as one of the other kind.
    pub async fn start(parts: Parts) -> Result<Arc<Self>> {
        let now = parts.clock.now();
        let authorities = authorities(&parts.store).await?;
        let mut instances = HashMap::new();
        for ServedInstance { id, name, kind, tier, key_quota, qps, unbound_until } in parts.instances {
            let served = Served {
                instance: parts.store.register_instance(&id, &name, kind, now).await?,
                tier,
                pair: Semaphore::new(1),
                key_quota,
                qps,
                check: health::Check::default(),
                rotations: rotation::Counts::default(),
                unbound_until,
                told_of_unbound: Once::new(),
            };
            instances.insert(id, served);
        }
        for (kind, id) in parts.default_instances.iter() {
            if instances.get(id).is_none_or(|served: &Served| served.instance.kind != *kind) {
                let text = format!("The default instance {id} of the kind {kind} is not served.");
                return Err(Error::new(Kind::InstanceNotFound, text));
            }
        }
        let kms = Self {
            snapshot: Snapshot::load(&parts.store).await?,
            contexts_bound_since: parts.store.contexts_bound_since(now).await?,
            store: parts.store,
            clock: parts.clock,
            instances,
            default_instances: parts.default_instances,
            pairs: parts.pairs,
            authorities,
            alerts: alerts::Alerts::to(parts.alerts),
            refused_orders: Mutex::default(),
            rates: Mutex::default(),
            supervisor: Supervisor::default(),
            background: Mutex::default(),
        };
        kms.report_intents().await?;
        kms.note_refused_orders(&kms.store.erased_objects().await?);
        kms.forget_former_quotas().await?;
        let kms = Arc::new(kms);
        for instance in kms.instances.keys() {
            if let Err(error) = kms.report_strangers(instance).await {
                if error.retry() == Retry::Never {
                    return Err(error);
                }
                tracing::warn!(%instance, ?error, "the keys of the instance are compared with the store as soon as its tier answers");
                kms.report_later(instance.clone());
            }
        }
        Ok(kms)
    }

    /// The date.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The date, for what it makes due and nobody can undo: keys and material are destroyed by this one alone.
    ///
    /// # Errors
    /// As [`Clock::settled`].
    pub fn settled_date(&self) -> Result<Timestamp> {
        self.clock.settled()
    }

    /// The client key of this id, with what its requests are verified by. Its dates are not looked at here.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] while nobody can be looked up.
    pub fn client_key(&self, id: &str) -> Result<Option<Arc<VerifiedClientKey>>> {
        self.snapshot.client_key(id)
    }

    /// The AccessKey of this id. Whether it may be used is not looked at here.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] while nobody can be looked up.
    pub fn access_key(&self, id: &str) -> Result<Option<Arc<KnownAccessKey>>> {
        self.snapshot.access_key(id)
    }

    /// The instance of this id, if it is served.
    fn served(&self, id: &InstanceId) -> Result<&Served> {
        self.instances.get(id).ok_or_else(|| Error::new(Kind::InstanceNotFound, format!("There is no instance {id}.")))
    }

    /// Ends: counts are written, the tiers closed in order. The store stays open for whoever opened it.
    pub async fn close(&self) {
        for task in self.background.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            task.abort();
        }
        self.record_encryptions().await;
        self.record_uses().await;
        for served in self.instances.values() {
            if let Err(error) = served.tier.close().await {
                tracing::error!(instance = %served.instance.id, ?error, "the tier could not be closed in order");
            }
        }
    }
}

/// The authorities as the store has them.
pub(crate) async fn authorities(store: &Store) -> Result<AuthorityMaterial> {
    let kept = store.authorities().await?;
    let Authorities { root_certificate, root_key, issuing_certificate, issuing_key } =
        kept.ok_or_else(|| Error::new(Kind::Unavailable, "There is no certificate authority yet: run `keystead init`."))?;
    Ok(AuthorityMaterial { root_certificate, root_key, issuing_certificate, issuing_key })
}
