//! `keystead serve`: everything together, until a signal.

use std::path::Path;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::files::{Files, replace};
use super::running::{At, InstanceAt, Ready};
use super::watched_clock::WatchedClock;
use super::{FAILURE, assembly, audit, log};
use crate::audit::{Author, Log};
use crate::base::{Clock, Error, Result};
use crate::config::Config;
use crate::server::{self, Settings};
use crate::store::Store;
use crate::tier::pkcs11::Reserve;

pub(super) async fn run(path: &Path) -> Result<()> {
    let reserve = Reserve::of(&Handle::current());
    // From here on a terminal that is closed ends nothing. Nothing is read again at a SIGHUP either.
    let _ignored = signal(SignalKind::hangup()).map_err(Error::internal)?;
    let config = Config::load(path)?;
    turn_core_dumps_off()?;
    let files = Files::of(&config);
    let _lock = files.take_lock()?;
    // What a crash left behind names the addresses of nobody.
    let _ = std::fs::remove_file(files.ready());
    // Bound before the tokens are logged in to: an address that is taken costs nothing.
    let listeners = assembly::listeners(&config).await?;
    let store = assembly::store(&config).await?;
    let clock = Arc::new(WatchedClock::open(&files));
    let log = audit::open(&config, &store, Author::Server, Arc::clone(&clock) as Arc<dyn Clock>).await?;
    let remembered = (store.clone(), Arc::clone(&log));
    let remember = move || audit::remember_on_and_on(remembered.0.clone(), Arc::clone(&remembered.1));
    let remembering = tokio::spawn(log.supervisor().clone().keep("end of the audit log", remember));
    let watched = Arc::clone(&clock);
    let watch = move || Arc::clone(&watched).keep_on_and_on();
    let watching = tokio::spawn(log.supervisor().clone().keep("watch of the clock", watch));
    let served = serve(&config, &files, listeners, (&store, &log), clock, &reserve).await;
    watching.abort();
    remembering.abort();
    log.close().await;
    audit::remember(&store, Author::Server, &log).await;
    store.close().await;
    tracing::info!("ended");
    served
}

async fn serve(
    config: &Config,
    files: &Files<'_>,
    listeners: Settings,
    (store, log): (&Store, &Arc<Log>),
    clock: Arc<WatchedClock>,
    reserve: &Reserve,
) -> Result<()> {
    let kms = assembly::service(config, store.clone(), clock, &reserve.relief()).await?;
    kms.spawn_background();
    replace(&files.ca(), kms.ca_chain_pem().as_bytes())?;
    let ready = ready(&listeners)?;
    ready.write(files)?;
    for instance in &ready.instances {
        tracing::info!(instance = instance.instance_id, endpoint = instance.endpoint, "serving an instance");
    }
    tracing::info!(endpoint = ready.control.endpoint, "serving the shared gateway");
    if let Some(sts) = &ready.sts {
        tracing::info!(endpoint = sts.endpoint, "serving the Security Token Service");
    }
    let served = server::run(Arc::clone(&kms), Arc::clone(log), listeners, signalled()?).await;
    let _ = std::fs::remove_file(files.ready());
    kms.close().await;
    served
}

fn ready(settings: &Settings) -> Result<Ready> {
    let at = |listener: &tokio::net::TcpListener| listener.local_addr().map(|address| address.to_string()).map_err(Error::internal);
    Ok(Ready {
        pid: std::process::id(),
        control: At { endpoint: at(&settings.shared.listener)? },
        sts: settings.sts.as_ref().map(|sts| Ok::<_, Error>(At { endpoint: at(&sts.listener)? })).transpose()?,
        telemetry: settings.telemetry.as_ref().map(|listener| Ok::<_, Error>(At { endpoint: at(listener)? })).transpose()?,
        instances: settings
            .instances
            .iter()
            .map(|(id, listening)| Ok(InstanceAt { instance_id: id.to_string(), endpoint: at(&listening.listener)? }))
            .collect::<Result<_>>()?,
    })
}

/// SIGTERM or SIGINT; the second of them ends the program at once.
fn signalled() -> Result<impl Future<Output = ()> + Send> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::internal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::internal)?;
    Ok(async move {
        either(&mut terminate, &mut interrupt).await;
        tokio::spawn(async move {
            either(&mut terminate, &mut interrupt).await;
            tracing::warn!("ended at once");
            log::end(FAILURE);
        });
    })
}

async fn either(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}

/// A dump of the memory would hold keys.
fn turn_core_dumps_off() -> Result<()> {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).map_err(Error::internal)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(Error::internal)
}
