//! An alert as it is sent: JSON like the events of a cloud's monitor.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{REGION, date};
use crate::base::{Error, Result};
use crate::model::alert::Alert;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    product: &'static str,
    event_time: String,
    level: &'static str,
    name: &'static str,
    region_id: &'static str,
    resource_id: &'a str,
    status: &'static str,
    content: BTreeMap<&'a str, &'a str>,
}

/// Writes it. `content.eventId` is the same when it is sent again.
///
/// # Errors
/// None that is known.
pub fn to_json(alert: &Alert) -> Result<Vec<u8>> {
    let mut content: BTreeMap<&str, &str> = alert.content.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    content.insert("eventId", &alert.id);
    let event = Event {
        product: "KMS",
        event_time: date::to_iso(alert.at),
        level: alert.event.level().name(),
        name: alert.event.name(),
        region_id: REGION,
        resource_id: &alert.resource,
        status: alert.event.result(),
        content,
    };
    serde_json::to_vec(&event).map_err(Error::internal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timestamp;
    use crate::model::alert::AlertEvent;

    #[test]
    fn an_alert_has_the_fields_of_an_event() {
        let alert = Alert {
            id: "key-deleted:key-a".to_owned(),
            event: AlertEvent::KeyDeleted,
            at: Timestamp::from_unix(1_790_000_000),
            resource: "acs:kms:keystead:0:key/key-a".to_owned(),
            content: [("keyId".to_owned(), "key-a".to_owned())].into(),
            remembered_until: Timestamp::from_unix(0),
        };
        let json: serde_json::Value = serde_json::from_slice(&to_json(&alert).unwrap()).unwrap();
        let expected = serde_json::json!({
            "product": "KMS", "eventTime": "2026-09-21T14:13:20Z", "level": "WARN", "name": "Key:DeleteKey:Success",
            "regionId": "keystead", "resourceId": "acs:kms:keystead:0:key/key-a", "status": "Success",
            "content": { "keyId": "key-a", "eventId": "key-deleted:key-a" },
        });
        assert_eq!(json, expected);
    }
}
