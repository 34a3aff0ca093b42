//! Connections: accepted, bounded, shaken hands with, served, drained. One task a connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use super::body::Body;
use super::client_address::{of_connection, of_request};
use super::instance_gateway::InstanceGateway;
use super::openapi_gateway::OpenApiGateway;
use super::telemetry::Telemetry;
use crate::base::supervisor::Told;
use crate::model::proxies::Proxies;

/// The most connections of a listener; more wait in the system's queue.
const CONNECTIONS: usize = 10_000;
/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long the headers of a request may take; an idle connection is closed after as long.
const HEADERS: Duration = Duration::from_secs(60);
/// The most bytes of a request's line and headers. The OpenAPI's SDKs put a key policy of 32 KB into the query, where its encoding is up
/// to twice as long; a URI has at most 64 KB, says the HTTP library.
const HEADER_BYTES: usize = 80 * 1024;
/// The most requests at once on an HTTP/2 connection.
const STREAMS: u32 = 256;
/// How long nothing is accepted after an error such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// What answers on a listener.
#[derive(Clone)]
pub(super) enum Endpoint {
    Instance(Arc<InstanceGateway>),
    OpenApi(Arc<OpenApiGateway>),
    Telemetry(Arc<Telemetry>),
}

impl Endpoint {
    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
        match self {
            Self::Instance(gateway) => gateway.answer(request, peer).await,
            Self::OpenApi(gateway) => gateway.answer(request, peer).await,
            Self::Telemetry(telemetry) => telemetry.answer(request).await,
        }
    }
}

/// A listener and what answers on it.
pub(super) struct Connections {
    /// Until the server ends.
    listener: ArcSwapOption<TcpListener>,
    endpoint: Endpoint,
    proxies: Arc<Proxies>,
    stopping: watch::Receiver<()>,
    drain: Duration,
}

impl Connections {
    /// `proxies` stand before the listener; the sender of `stopping` is dropped when the server ends, and requests that run then may go on
    /// for as long as `drain`.
    pub(super) fn new(
        listener: TcpListener,
        endpoint: Endpoint,
        proxies: Arc<Proxies>,
        stopping: watch::Receiver<()>,
        drain: Duration,
    ) -> Arc<Self> {
        Arc::new(Self { listener: ArcSwapOption::from_pointee(listener), endpoint, proxies, stopping, drain })
    }

    /// Serves over TLS until the server ends, then drains.
    pub(super) async fn serve_tls(self: Arc<Self>, config: Arc<ServerConfig>) -> Told {
        let acceptor = TlsAcceptor::from(config);
        let proxies = Arc::clone(&self.proxies);
        self.serve(move |mut stream, peer| {
            let (acceptor, proxies) = (acceptor.clone(), Arc::clone(&proxies));
            let shaking_hands = async move {
                // What a proxy says comes before TLS.
                let peer = of_connection(&proxies, &mut stream, peer).await?;
                Some((acceptor.accept(stream).await.ok()?, peer))
            };
            async move { tokio::time::timeout(HANDSHAKE, shaking_hands).await.ok()? }
        })
        .await
    }

    /// Serves without TLS until the server ends, then drains.
    pub(super) async fn serve_plain(self: Arc<Self>) -> Told {
        self.serve(|stream, peer| async move { Some((stream, peer)) }).await
    }

    async fn serve<S, F, H>(&self, handshake: H) -> Told
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        F: Future<Output = Option<(S, SocketAddr)>> + Send + 'static,
        H: Fn(TcpStream, SocketAddr) -> F,
    {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let graceful = GracefulShutdown::new();
        let mut stopping = self.stopping.clone();
        while let Some(listener) = self.listener.load_full() {
            let accepted = tokio::select! {
                _ = stopping.changed() => break,
                accepted = accept(&listener, &places) => accepted,
            };
            let Some((stream, peer, place)) = accepted else { continue };
            let handshake = handshake(stream, peer);
            let (endpoint, proxies) = (self.endpoint.clone(), Arc::clone(&self.proxies));
            let watcher = graceful.watcher();
            tokio::spawn(async move {
                let _place = place;
                let Some((stream, peer)) = handshake.await else { return };
                let service = service_fn(move |request: Request<Incoming>| {
                    let endpoint = endpoint.clone();
                    let peer = of_request(&proxies, request.headers(), peer);
                    async move { Ok::<_, std::convert::Infallible>(endpoint.answer(request, peer).await) }
                });
                let builder = builder();
                let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
                // What goes wrong here is the client's going away, or its being no HTTP: nothing to tell anybody.
                let _ = watcher.watch(connection).await;
            });
        }
        // Closed: whoever connects now is refused, and may go elsewhere.
        self.listener.store(None);
        if tokio::time::timeout(self.drain, graceful.shutdown()).await.is_err() {
            tracing::warn!("connections are cut that did not end in time");
        }
        Told
    }
}

async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            // An answer is written at once; waiting for more to send with it would only cost time.
            let _ = stream.set_nodelay(true);
            Some((stream, peer, place))
        }
        Err(error) => {
            tracing::warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(PAUSE).await;
            None
        }
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS).max_buf_size(HEADER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEADER_BYTES as u32)
        .keep_alive_interval(HEADERS)
        .keep_alive_timeout(HANDSHAKE);
    builder
}
