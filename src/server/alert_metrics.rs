//! The metrics of alerts.

use super::exposition::{Exposition, Labels, Type};
use crate::service::AlertCounts;

/// Writes their families.
pub(super) fn write(alerts: &AlertCounts, page: &mut Exposition) {
    let mut family = page.family("keystead_alerts_total", Type::Counter, "Alerts that this node raised, by event.");
    for (event, count) in &alerts.raised {
        family.sample(&Labels::default().with("event", event.name()), count);
    }
    let help = "Attempts of this node to send an alert to the webhook, by how they ended.";
    let mut family = page.family("keystead_alerts_sendings_total", Type::Counter, help);
    for (result, count) in [("ok", alerts.sent), ("failed", alerts.failed)] {
        family.sample(&Labels::default().with("result", result), count);
    }
    let mut family = page.family("keystead_alerts_queued", Type::Gauge, "Alerts that wait to be sent.");
    family.sample(&Labels::default(), alerts.queued);
    let help = "Alerts that this node dropped because too many waited.";
    page.family("keystead_alerts_dropped_total", Type::Counter, help).sample(&Labels::default(), alerts.dropped);
}
