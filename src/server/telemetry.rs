//! Health, metrics and the page of the slots, on a listener of their own, without TLS and without a caller's name.
//!
//! `/livez` says that the process answers and asks nobody. `/readyz` asks for a real operation in every instance and waits a
//! short while for it. The others say what is known, without a call to a module.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;

use super::body::Body;
use super::exposition::Exposition;
use super::metrics::Metrics;
use super::{alert_metrics, audit_page, clock_page, rotation_metrics, slot_metrics, slot_page, store_page, tasks_page};
use crate::audit::{Log, WhenFull};
use crate::base::Error;
use crate::base::log_lines::LogLines;
use crate::base::supervisor::Supervised;
use crate::model::InstanceId;
use crate::service::{Health, InstanceSlots, Kms, Standing};
use crate::tier::status::SlotStatus;
use crate::wire::slots::{AllSlots, Need, State};

/// How long `/readyz` waits for the instances: shorter than whoever asks would wait.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the listener answers is one of these.
const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers `/livez`, `/readyz`, `/metrics`, `/slots` and `/slots/<instance id>`.
pub(super) struct Telemetry {
    kms: Arc<Kms>,
    audit: Arc<Log>,
    metrics: Arc<Metrics>,
    log: Option<Arc<LogLines>>,
}

impl Telemetry {
    pub(super) fn new(kms: Arc<Kms>, audit: Arc<Log>, metrics: Arc<Metrics>, log: Option<Arc<LogLines>>) -> Self {
        Self { kms, audit, metrics, log }
    }

    /// All work that is to go on for as long as the process.
    fn work(&self) -> Vec<Supervised> {
        [self.kms.supervisor(), self.audit.supervisor()].iter().flat_map(|supervisor| supervisor.work()).collect()
    }

    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        if request.method() != Method::GET {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "GET only\n".to_owned());
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
            return response;
        }
        match request.uri().path() {
            "/livez" => text(StatusCode::OK, "ok\n".to_owned()),
            "/readyz" => self.readiness().await,
            "/metrics" => self.metrics(),
            "/slots" => json(&AllSlots { instances: self.kms.slots().iter().map(slot_page::instance).collect() }),
            path => match path.strip_prefix("/slots/") {
                Some(id) => self.slots_of(id),
                None => {
                    text(StatusCode::NOT_FOUND, "there are /livez, /readyz, /metrics, /slots and /slots/<instance id>\n".to_owned())
                }
            },
        }
    }

    /// 200 when a real operation works in every instance, callers can be looked up, and requests be recorded, where they must be; else 503. Either way with a
    /// line for each instance, one for the audit log that cannot be written, one for the clock while it is not relied on, one for each task
    /// that panicked, and remarks on the store.
    async fn readiness(&self) -> Response<Body> {
        let found = self.kms.readiness(PATIENCE).await;
        let failing = self.audit.status().failing;
        let refuses = failing.is_some() && self.audit.when_full() == WhenFull::Refuse;
        let withheld = matches!(self.kms.standing(), Standing::Withheld(_));
        let ready = !refuses && !withheld && found.iter().all(|(_, health)| *health == Health::Works);
        let mut lines: String = found.iter().map(|(instance, health)| readiness_line(instance, health)).collect();
        if let Some(why) = failing {
            lines.push_str(&audit_page::line(self.audit.when_full(), &why));
        }
        lines.push_str(&clock_page::line(&self.kms.settled_date()));
        lines.push_str(&tasks_page::lines(&self.work()));
        lines.push_str(&store_page::lines(&self.kms));
        text(if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, lines)
    }

    fn metrics(&self) -> Response<Body> {
        let mut page = Exposition::default();
        self.metrics.write(&mut page);
        rotation_metrics::write(&self.kms.rotations(), &mut page);
        alert_metrics::write(&self.kms.alerts(), &mut page);
        store_page::write(&self.kms, &mut page);
        slot_metrics::write(&self.kms.slots(), &mut page);
        audit_page::write(&self.audit.status(), &mut page);
        clock_page::write(&self.kms.settled_date(), &mut page);
        tasks_page::write(&self.work(), self.log.as_ref().map(|lines| lines.dropped()), &mut page);
        respond(StatusCode::OK, PROMETHEUS, page.into_text().into())
    }

    fn slots_of(&self, id: &str) -> Response<Body> {
        match id.parse::<InstanceId>().and_then(|id| self.kms.slots_of(&id)) {
            Ok(slots) => json(&slot_page::instance(&slots)),
            Err(_) => {
                let known: Vec<_> = self.kms.instances().iter().map(|instance| instance.id.to_string()).collect();
                text(StatusCode::NOT_FOUND, format!("There is no instance {id:?}; there are {}.\n", known.join(", ")))
            }
        }
    }
}

/// The instance, whether it is ready, and if not, why, and whether that needs somebody.
fn readiness_line(of: &InstanceSlots, health: &Health) -> String {
    let failure = match health {
        Health::Works => None,
        Health::Fails(text) => Some(format!("a real operation fails: {}", text.trim_end_matches('.'))),
        Health::Overdue => Some(format!("a real operation is not back after {} s", PATIENCE.as_secs())),
    };
    let slots: Vec<_> = of.slots.iter().map(|slot| slot_line(slot, failure.as_deref())).collect();
    let slots = slots.join(" | ");
    let said = match failure {
        None if slots.is_empty() => "ok".to_owned(),
        None => format!("ok: {slots}"),
        Some(failure) if slots.is_empty() => format!("not ready: {failure}"),
        Some(_) => format!("not ready: {slots}"),
    };
    format!("{} {}\n", of.instance.id, said.replace('\n', " "))
}

/// What a slot does, and what is not as it should be all the same.
fn slot_line(slot: &SlotStatus, failure: Option<&str>) -> String {
    let remarks = slot_page::remarks(slot).into_iter().map(|remark| format!("; remark: {remark}"));
    std::iter::once(condition_line(slot, failure)).chain(remarks).collect()
}

/// What a slot does, and why it does not serve; a slot that serves does not explain a failure, which is said then.
fn condition_line(slot: &SlotStatus, failure: Option<&str>) -> String {
    let state = slot_page::state(slot.state);
    let name = state.name();
    let reason = slot.reason.trim_end_matches('.');
    match state {
        State::Serving => match (failure, slot.sessions.written_off) {
            (None, _) => name.to_owned(),
            (Some(failure), 0) => format!("{name}, but {failure}"),
            (Some(failure), hung) => format!("{name}, but {failure}; {hung} calls hang in the module"),
        },
        State::Probing | State::Recovering | State::Open | State::Down | State::Closed => match slot_page::down(slot.state) {
            None => format!("{name}: {reason}"),
            Some(down) => {
                let help = match slot_page::need(down) {
                    Need::Nobody => String::new(),
                    Need::Person => format!("; needs a person: {}", slot_page::advice(down)),
                    Need::Restart => "; needs a restart of the process".to_owned(),
                };
                format!("{name} ({}): {reason}{help}", down.name())
            }
        },
    }
}

fn text(status: StatusCode, text: String) -> Response<Body> {
    respond(status, TEXT, text.into())
}

/// Indented: it is read by persons, too.
fn json(page: &impl Serialize) -> Response<Body> {
    match serde_json::to_vec_pretty(page) {
        Ok(mut json) => {
            json.push(b'\n');
            respond(StatusCode::OK, JSON, json.into())
        }
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{}\n", Error::internal(error))),
    }
}

fn respond(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
