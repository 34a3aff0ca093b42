//! Health and metrics, on a listener of their own, without TLS and without a caller's name.

use std::sync::Arc;

use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request, Response, StatusCode};

use super::body::Body;
use super::metrics::Metrics;
use crate::service::Kms;

/// Answers `/livez`, `/readyz` and `/metrics`.
pub(super) struct Telemetry {
    kms: Arc<Kms>,
    metrics: Arc<Metrics>,
}

impl Telemetry {
    pub(super) fn new(kms: Arc<Kms>, metrics: Arc<Metrics>) -> Self {
        Self { kms, metrics }
    }

    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        if request.method() != Method::GET {
            return text(StatusCode::METHOD_NOT_ALLOWED, "GET only\n".to_owned());
        }
        match request.uri().path() {
            "/livez" => text(StatusCode::OK, "ok\n".to_owned()),
            "/readyz" => self.readiness().await,
            "/metrics" => text(StatusCode::OK, self.metrics.render()),
            _ => text(StatusCode::NOT_FOUND, "there are /livez, /readyz and /metrics\n".to_owned()),
        }
    }

    /// 200 when a real operation works in every instance, else 503; either way with a line for each.
    async fn readiness(&self) -> Response<Body> {
        let mut status = StatusCode::OK;
        let mut lines = String::new();
        for (instance, health) in self.kms.readiness().await {
            match health {
                Ok(()) => lines.push_str(&format!("{instance} ok\n")),
                Err(error) => {
                    status = StatusCode::SERVICE_UNAVAILABLE;
                    lines.push_str(&format!("{instance} {error}\n"));
                }
            }
        }
        text(status, lines)
    }
}

fn text(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(Body::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("text/plain; version=0.0.4"));
    response
}
