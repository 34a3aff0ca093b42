//! Floor 4: HTTP and TLS, who is calling, how answers look.
//!
//! One listener for each instance endpoint, one for the shared gateway, one for the Security Token
//! Service, one for telemetry. Called by the assembly; it knows the
//! service and the wire, no tier and no store by name.

mod alert_metrics;
mod audit_page;
mod authenticate;
mod body;
mod client_address;
mod clock_page;
mod connections;
mod exposition;
pub mod in_process;
mod instance_gateway;
mod instance_operations;
mod limiter;
mod metrics;
mod nonces;
mod openapi;
mod openapi_gateway;
mod recording;
mod respond;
mod rotation_metrics;
mod slot_metrics;
mod slot_page;
mod store_page;
mod sts;
mod tasks_page;
mod telemetry;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::audit::Log;
use crate::base::log_lines::LogLines;
use crate::base::{Error, Kind, Result};
use crate::model::InstanceId;
use crate::model::limits::{LimitedEndpoint, Limits};
use crate::model::proxies::Proxies;
use crate::service::Kms;
use crate::service::requests::Reach;
use connections::{Connections, Endpoint};
use instance_gateway::InstanceGateway;
use limiter::Limiter;
use metrics::Metrics;
use nonces::Nonces;
use openapi_gateway::{OpenApiGateway, Serves};
use telemetry::Telemetry;
use tls::Certificates;

/// How long requests that run may go on when the server ends.
pub const DRAIN: Duration = Duration::from_secs(10);

/// An address to serve on, with the names of its certificate.
pub struct Listening {
    /// Bound.
    pub listener: TcpListener,
    /// DNS names and addresses.
    pub names: Vec<String>,
    /// What stands before it.
    pub proxies: Proxies,
    /// How many requests a second it serves.
    pub limits: Limits,
}

/// What is served where.
pub struct Settings {
    /// The endpoint of each instance.
    pub instances: Vec<(InstanceId, Listening)>,
    /// The shared gateway.
    pub shared: Listening,
    /// The Security Token Service.
    pub sts: Option<Listening>,
    /// Health, metrics and the page of the slots, without TLS.
    pub telemetry: Option<TcpListener>,
    /// How long requests that run may go on at the end.
    pub drain: Duration,
    /// Where log lines wait; the telemetry tells how many were dropped.
    pub log: Option<Arc<LogLines>>,
}

/// Serves until `shutdown`, and records requests in `audit`. Then drains: no new connections, idle ones are closed, requests that run are finished.
///
/// # Errors
/// A name of a certificate is none.
pub async fn run(kms: Arc<Kms>, audit: Arc<Log>, settings: Settings, shutdown: impl Future<Output = ()> + Send) -> Result<()> {
    let metrics = Arc::new(Metrics::default());
    let (stop, stopping) = watch::channel(());
    let mut listeners = JoinSet::new();
    let supervisor = kms.supervisor();
    let mut serve = |name: &str, listening: Listening, endpoint: Endpoint| -> Result<()> {
        let certificates = Certificates::new(&kms, listening.names)?;
        let proxies = Arc::new(listening.proxies);
        let connections = Connections::new(listening.listener, endpoint, proxies, stopping.clone(), settings.drain);
        let config = certificates.clone().server_config()?;
        let renewing = (certificates, Arc::downgrade(&kms), stopping.clone());
        let renew = move || {
            let (certificates, kms, stopping) = renewing.clone();
            certificates.renew_on_and_on(kms, stopping)
        };
        tokio::spawn(supervisor.clone().keep(format!("certificate of {name}"), renew));
        let accept = move || Arc::clone(&connections).serve_tls(Arc::clone(&config));
        listeners.spawn(supervisor.clone().keep(format!("listener of {name}"), accept));
        Ok(())
    };
    let nonces = Arc::new(Nonces::default());
    let openapi = |serves, limiter| {
        OpenApiGateway::new(Arc::clone(&kms), serves, Arc::clone(&audit), Arc::clone(&metrics), Arc::clone(&nonces), limiter)
    };
    for (instance, listening) in settings.instances {
        let limiter = Limiter::of(&kms, &LimitedEndpoint::Instance(instance.clone()), &listening.limits).map(Arc::new);
        let openapi = openapi(Serves::Kms(Reach::Instance(instance.clone())), limiter.clone());
        let name = instance.to_string();
        let gateway = InstanceGateway::new(Arc::clone(&kms), instance, openapi, Arc::clone(&audit), Arc::clone(&metrics), limiter);
        serve(&name, listening, Endpoint::Instance(Arc::new(gateway)))?;
    }
    let limiter = Limiter::of(&kms, &LimitedEndpoint::Shared, &settings.shared.limits).map(Arc::new);
    serve("the shared gateway", settings.shared, Endpoint::OpenApi(Arc::new(openapi(Serves::Kms(Reach::Everything), limiter))))?;
    if let Some(listening) = settings.sts {
        let limiter = Limiter::of(&kms, &LimitedEndpoint::Sts, &listening.limits).map(Arc::new);
        serve("the STS", listening, Endpoint::OpenApi(Arc::new(openapi(Serves::Sts, limiter))))?;
    }
    if let Some(listener) = settings.telemetry {
        let endpoint = Endpoint::Telemetry(Arc::new(Telemetry::new(Arc::clone(&kms), audit, Arc::clone(&metrics), settings.log)));
        let connections = Connections::new(listener, endpoint, Arc::new(Proxies::None), stopping.clone(), settings.drain);
        listeners.spawn(supervisor.clone().keep("listener of the telemetry", move || Arc::clone(&connections).serve_plain()));
    }
    drop(stopping);
    shutdown.await;
    tracing::info!("draining: no new connections, running requests are finished");
    drop(stop);
    while listeners.join_next().await.is_some() {}
    Ok(())
}

/// The API's code of a kind of failure.
pub fn code(kind: Kind) -> &'static str {
    respond::of_kind(kind).1
}

/// Binds an address.
///
/// # Errors
/// One line that names it.
pub async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        Error::new(Kind::Unavailable, format!("The address {address} cannot be listened on: {error}.")).caused_by(error)
    })
}
