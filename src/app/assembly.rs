//! Puts the service together out of the configuration.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::base::{Clock, Error, Result};
use crate::config::{Config, Endpoint, Keys};
use crate::model::limits::Group;
use crate::server::{self, Listening, Settings};
use crate::service::{AlertReceiver, Kms, Parts, ServedInstance};
use crate::store::{RootKey, Store};
use crate::tier::Tier;
use crate::tier::pkcs11::{self, LoginNotes, LoginNotesFile, LoginNotesInMemory, Pkcs11Tier, Relief};
use crate::tier::software::SoftwareTier;

use super::files::Files;
use super::installation::is_there;
use super::{alerts, log};

/// Workers beyond the cores: fast calls to a token run on workers, and the spare ones keep deadlines when such calls hang. `serve`
/// keeps them back until then.
const SPARE_WORKERS: usize = 2;

/// The runtime of the program.
pub(super) fn runtime() -> Result<Runtime> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    tokio::runtime::Builder::new_multi_thread().worker_threads(cores + SPARE_WORKERS).enable_all().build().map_err(Error::internal)
}

/// Opens the store.
pub(super) async fn store(config: &Config) -> Result<Store> {
    let root = RootKey::load(&config.root_key_file)?;
    Store::open(&Files::of(config).database(), &root).await
}

/// Notes of logins, for this process and others on the same data. Before `keystead init` there is no key to make fingerprints with.
pub(super) fn login_notes(config: &Config) -> Result<Arc<dyn LoginNotes>> {
    let notes = Files::of(config).login_notes();
    if !is_there(&config.root_key_file)? && !is_there(&notes)? {
        return Ok(Arc::new(LoginNotesInMemory::default()));
    }
    let key = RootKey::load(&config.root_key_file)?.pin_fingerprint_key()?;
    Ok(Arc::new(LoginNotesFile::new(notes, key)?))
}

/// Connects what holds an instance's keys, or fails.
pub(super) async fn tier(config: &Config, keys: &Keys) -> Result<Arc<dyn Tier>> {
    Ok(match keys {
        Keys::Hardware(slot) => Arc::new(Pkcs11Tier::connect(slot.settings(login_notes(config)?)).await?),
        Keys::Software => Arc::new(SoftwareTier::new()),
    })
}

/// The same for a server: a token that cannot be reached yet is tried again and again.
async fn patient_tier(config: &Config, keys: &Keys, relief: &Relief) -> Result<Arc<dyn Tier>> {
    Ok(match keys {
        Keys::Hardware(slot) => {
            let settings = slot.settings(login_notes(config)?);
            Arc::new(Pkcs11Tier::start(pkcs11::Settings { relief: Some(relief.clone()), ..settings }).await?)
        }
        Keys::Software => Arc::new(SoftwareTier::new()),
    })
}

/// The whole service, started. `relief` is of the runtime that it is started on.
pub(super) async fn service(config: &Config, store: Store, clock: Arc<dyn Clock>, relief: &Relief) -> Result<Arc<Kms>> {
    let mut instances = Vec::new();
    for instance in &config.instances {
        let tier = patient_tier(config, &instance.keys, relief).await?;
        instances.push(ServedInstance {
            id: instance.id.clone(),
            name: instance.name.clone(),
            kind: instance.keys.kind(),
            tier,
            key_quota: instance.key_quota,
            qps: instance.endpoint.limits.get(Group::Symmetric),
            unbound_until: instance.unbound_until,
        });
    }
    Kms::start(Parts {
        store,
        clock,
        instances,
        default_instances: config.default_instances.clone(),
        pairs: Arc::new(SoftwareTier::new()),
        alerts: alerts::webhook(config)?.map(|webhook| Arc::new(webhook) as Arc<dyn AlertReceiver>),
    })
    .await
}

/// Every address bound.
pub(super) async fn listeners(config: &Config) -> Result<Settings> {
    let mut instances = Vec::new();
    for instance in &config.instances {
        let listener = server::bind(instance.endpoint.listen).await?;
        instances.push((instance.id.clone(), listening(listener, &instance.endpoint)));
    }
    let shared = listening(server::bind(config.shared.listen).await?, &config.shared);
    let sts = match &config.sts {
        Some(endpoint) => Some(listening(server::bind(endpoint.listen).await?, endpoint)),
        None => None,
    };
    let telemetry = match config.telemetry {
        Some(address) => Some(server::bind(address).await?),
        None => None,
    };
    Ok(Settings { instances, shared, sts, telemetry, drain: server::DRAIN, log: log::lines() })
}

fn listening(listener: TcpListener, endpoint: &Endpoint) -> Listening {
    Listening { listener, names: endpoint.names.clone(), proxies: endpoint.proxies.clone(), limits: endpoint.limits.clone() }
}
