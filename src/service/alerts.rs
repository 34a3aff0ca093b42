//! Alerts: what somebody should be told of is found, told once, and sent for as long as it takes.
//!
//! What a use case does (a key scheduled for deletion, a key deleted) is raised in the transaction that does it; what comes with time is
//! looked for. Every node looks; the store says who was first. That one logs the alert and counts it. Sending is claimed by one node at
//! a time, and what was not taken is sent again after a pause that grows to five minutes. What a node without a receiver raised is sent
//! by the first that has one, if it still stands.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Kms;
use super::rates::Seen;
use crate::base::date::to_iso;
use crate::base::{Error, Result};
use crate::model::alert::{Alert, AlertEvent, AlertLevel, SendingAttempt};
use crate::model::key::Key;
use crate::store::{Raised, Sending};

/// How long it is worth telling what has happened and is over: that a key was destroyed, that a limit was reached.
const NEWS: Duration = Duration::from_secs(86_400);

/// Where alerts are sent.
pub trait AlertReceiver: Send + Sync {
    /// Sends one. What was sent before may be sent again.
    ///
    /// # Errors
    /// It was not taken: it is sent again.
    fn send<'a>(&'a self, alert: &'a Alert) -> Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;
}

/// The alerts of this node.
pub(super) struct Alerts {
    receiver: Option<Arc<dyn AlertReceiver>>,
    raised: [AtomicU64; AlertEvent::ALL.len()],
    dropped: AtomicU64,
    sent: AtomicU64,
    failed: AtomicU64,
    queued: AtomicU64,
}

/// How many alerts there were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertCounts {
    /// Of each event, raised by this node since its start.
    pub raised: Vec<(AlertEvent, u64)>,
    /// Dropped by this node since its start, because too many waited.
    pub dropped: u64,
    /// Sent by this node since its start.
    pub sent: u64,
    /// Attempts of this node to send that failed, since its start.
    pub failed: u64,
    /// How many wait to be sent, of all nodes, when it was last looked at.
    pub queued: u64,
}

impl Alerts {
    pub(super) fn to(receiver: Option<Arc<dyn AlertReceiver>>) -> Self {
        let counter = AtomicU64::default;
        Self {
            receiver,
            raised: std::array::from_fn(|_| counter()),
            dropped: counter(),
            sent: counter(),
            failed: counter(),
            queued: counter(),
        }
    }

    pub(super) fn sending(&self) -> Sending {
        match self.receiver {
            Some(_) => Sending::Queue,
            None => Sending::Nowhere,
        }
    }

    /// Logs and counts what the store took as new.
    pub(super) fn told(&self, alert: &Alert, raised: Raised) {
        let dropped = match raised {
            Raised::Known => return,
            Raised::New { dropped } => dropped,
        };
        let (event, level, resource) = (alert.event.name(), alert.event.level().name(), alert.resource.as_str());
        match alert.event.level() {
            AlertLevel::Critical | AlertLevel::Warn => {
                tracing::warn!(event, level, resource, content = ?alert.content, "alert");
            }
            AlertLevel::Info => tracing::info!(event, level, resource, content = ?alert.content, "alert"),
        }
        if let Some((_, count)) = AlertEvent::ALL.iter().zip(&self.raised).find(|(event, _)| **event == alert.event) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.count_dropped(dropped);
    }

    fn count_dropped(&self, dropped: u64) {
        if dropped > 0 {
            self.dropped.fetch_add(dropped, Ordering::Relaxed);
            tracing::error!(dropped, "too many alerts wait to be sent: the oldest were dropped");
        }
    }
}

impl Kms {
    /// The alerts so far.
    pub fn alerts(&self) -> AlertCounts {
        let alerts = &self.alerts;
        let number = |count: &AtomicU64| count.load(Ordering::Relaxed);
        AlertCounts {
            raised: AlertEvent::ALL.into_iter().zip(alerts.raised.iter().map(number)).collect(),
            dropped: number(&alerts.dropped),
            sent: number(&alerts.sent),
            failed: number(&alerts.failed),
            queued: number(&alerts.queued),
        }
    }

    /// Raises what has become due with time.
    ///
    /// # Errors
    /// The store fails.
    pub(super) async fn look_for_alerts(&self) -> Result<()> {
        let now = self.now();
        let (mut found, ended) = self.quota_alerts();
        let (rates, seen) = self.rate_alerts();
        found.extend(rates);
        {
            let access = self.snapshot.access();
            found.extend(access.client_keys.iter().filter_map(|key| Alert::client_key_expiring(key, now)));
        }
        self.queue_unsent(&found).await?;
        if found.is_empty() && ended.is_empty() {
            return Ok(());
        }
        let told = self.store.alerts_told().await?;
        for id in ended.iter().filter(|id| told.contains(*id)) {
            self.store.forget_alert(id).await?;
        }
        for alert in found.iter().filter(|alert| !told.contains(&alert.id)) {
            self.raise(alert).await?;
        }
        seen.iter().for_each(Seen::told);
        Ok(())
    }

    /// Lets wait what was raised where there was no receiver, as far as it is worth telling now.
    async fn queue_unsent(&self, found: &[Alert]) -> Result<()> {
        match self.alerts.sending() {
            Sending::Queue => {}
            Sending::Nowhere => return Ok(()),
        }
        let (queued, dropped) = self.store.queue_unsent(|alert| self.stands(alert, found)).await?;
        if queued > 0 {
            tracing::info!(queued, "alerts that were sent to nobody and still stand are sent now");
        }
        self.alerts.count_dropped(dropped);
        Ok(())
    }

    /// Whether what an alert told of is so still. `found` is what is so at this moment, of what comes with time.
    fn stands(&self, alert: &Alert, found: &[Alert]) -> bool {
        let now = self.now();
        let entry = alert.content.get("keyId").and_then(|id| id.parse().ok()).and_then(|id| self.snapshot.key(&id));
        match alert.event {
            AlertEvent::ClientKeyExpiring | AlertEvent::KeyQuotaAt70 | AlertEvent::KeyQuotaAt90 => {
                found.iter().any(|other| other.id == alert.id)
            }
            AlertEvent::KeyDeletionScheduled => {
                let date = entry.and_then(|entry| entry.key.delete_at).map(to_iso);
                date.is_some() && date.as_ref() == alert.content.get("deleteDate")
            }
            AlertEvent::KeyRotationFailed => entry.is_some_and(|entry| entry.key.rotation_is_due(entry.rotated(), now)),
            AlertEvent::KeyDeleted | AlertEvent::RateAt70 | AlertEvent::RateAt90 => now <= alert.at.after(NEWS),
        }
    }

    /// A rotation failed. That this cannot be told is logged: the next attempt tells it.
    pub(super) async fn raise_failed_rotation(&self, key: &Key, attempt: u32, error: &Error) {
        let alert = Alert::key_rotation_failed(key, attempt, error, self.now());
        if let Err(error) = self.raise(&alert).await {
            tracing::warn!(key = %key.id, ?error, "the alert of a rotation that failed could not be noted");
        }
    }

    async fn raise(&self, alert: &Alert) -> Result<()> {
        let raised = self.store.raise_alert(alert, self.alerts.sending()).await?;
        self.alerts.told(alert, raised);
        Ok(())
    }

    /// Sends what waits, the oldest first, until one is not taken: that goes to the end.
    ///
    /// # Errors
    /// The store fails, or the receiver did not take one.
    pub(super) async fn send_alerts(&self) -> Result<()> {
        let Some(receiver) = &self.alerts.receiver else { return Ok(()) };
        let result = self.send_to(receiver.as_ref()).await;
        self.alerts.queued.store(self.store.alerts_queued().await?, Ordering::Relaxed);
        result
    }

    async fn send_to(&self, receiver: &dyn AlertReceiver) -> Result<()> {
        while let Some((alert, attempt)) = self.store.claim_alert(|last| SendingAttempt::next(last, self.now())).await? {
            if let Err(error) = receiver.send(&alert).await {
                self.alerts.failed.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(event = alert.event.name(), attempt = attempt.number, ?error, "an alert was not taken");
                self.store.alert_refused(&alert.id).await?;
                return Err(error);
            }
            self.store.alert_sent(&alert.id).await?;
            self.alerts.sent.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}
