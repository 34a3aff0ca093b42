//! What somebody should be told of without asking: alert events, when each is due, and the pauses between attempts to send them.
//!
//! An alert has an id by which it is told once, whichever node finds it and however often.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::base::date::to_iso;
use crate::base::{Error, Result, Timestamp, excerpt};
use crate::model::access::ClientKey;
use crate::model::arn::arn;
use crate::model::key::Key;
use crate::model::limits::{Group, LimitedEndpoint};
use crate::model::quota::KeyQuota;
use crate::model::{InstanceId, KeyId};

/// Seconds of a day.
const DAY: u64 = 86_400;
/// Seconds of an hour.
const HOUR: u64 = 3600;
/// Days before the end of a client key at which it is told of (the API's), the last first.
const EXPIRY_DAYS: [u64; 4] = [7, 30, 90, 180];

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlertEvent {
    /// A client key ends in 180, 90, 30 or 7 days.
    ClientKeyExpiring,
    /// A key is to be destroyed.
    KeyDeletionScheduled,
    /// A key was destroyed.
    KeyDeleted,
    /// An automatic rotation failed.
    KeyRotationFailed,
    /// 70 % of an instance's key quota are used.
    KeyQuotaAt70,
    /// 90 % are.
    KeyQuotaAt90,
    /// 70 % of the requests that an endpoint's limit allows came in one second.
    RateAt70,
    /// 90 % did.
    RateAt90,
}

/// How much it matters, as the API names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertLevel {
    /// Somebody has to act.
    Critical,
    /// Somebody should look.
    Warn,
    /// Good to know.
    Info,
}

impl AlertLevel {
    /// The API's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Critical => "CRITICAL",
            Self::Warn => "WARN",
            Self::Info => "INFO",
        }
    }
}

impl AlertEvent {
    /// All that there are.
    pub const ALL: [Self; 8] = [
        Self::ClientKeyExpiring,
        Self::KeyDeletionScheduled,
        Self::KeyDeleted,
        Self::KeyRotationFailed,
        Self::KeyQuotaAt70,
        Self::KeyQuotaAt90,
        Self::RateAt70,
        Self::RateAt90,
    ];

    /// `<resource type>:<action>:<result>`, as the API names events.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClientKeyExpiring => "ClientKey:Expire:Pending",
            Self::KeyDeletionScheduled => "Key:ScheduleKeyDeletion:Success",
            Self::KeyDeleted => "Key:DeleteKey:Success",
            Self::KeyRotationFailed => "Key:RotateKey:Failure",
            Self::KeyQuotaAt70 => "Instance:KeyQuota:Reached70Percent",
            Self::KeyQuotaAt90 => "Instance:KeyQuota:Reached90Percent",
            Self::RateAt70 => "Endpoint:QPS:Reached70Percent",
            Self::RateAt90 => "Endpoint:QPS:Reached90Percent",
        }
    }

    /// The third part of the name.
    pub fn result(self) -> &'static str {
        self.name().rsplit(':').next().unwrap_or_default()
    }

    /// How much it matters.
    pub const fn level(self) -> AlertLevel {
        match self {
            Self::ClientKeyExpiring | Self::KeyRotationFailed | Self::KeyQuotaAt90 | Self::RateAt90 => AlertLevel::Critical,
            Self::KeyDeletionScheduled | Self::KeyDeleted => AlertLevel::Warn,
            Self::KeyQuotaAt70 | Self::RateAt70 => AlertLevel::Info,
        }
    }
}

impl std::str::FromStr for AlertEvent {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let known = Self::ALL.into_iter().find(|event| event.name() == text);
        known.ok_or_else(|| Error::invalid(format!("There is no alert event {:?}.", excerpt(text))))
    }
}

/// Something to be told once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// By which it is told once.
    pub id: String,
    /// What happened.
    pub event: AlertEvent,
    /// When.
    pub at: Timestamp,
    /// To what: an ARN.
    pub resource: String,
    /// What else is known, by the names that the API gives such things.
    pub content: BTreeMap<String, String>,
    /// Until when it must be remembered that it was told: afterwards nothing finds it again.
    pub remembered_until: Timestamp,
}

fn content<const N: usize>(pairs: [(&str, String); N]) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

impl Alert {
    /// The last of the thresholds that a client key has passed before its end; none for one that has ended. A threshold that lies
    /// before the making of the key says nothing that its maker did not know.
    pub fn client_key_expiring(key: &ClientKey, now: Timestamp) -> Option<Self> {
        if key.not_after <= now {
            return None;
        }
        let begin = |days: u64| Timestamp::from_unix(key.not_after.unix().saturating_sub_unsigned(days * DAY));
        let days = EXPIRY_DAYS.into_iter().find(|days| begin(*days) <= now && begin(*days) > key.created)?;
        Some(Self {
            id: format!("client-key-expiring:{}:{days}", key.id),
            event: AlertEvent::ClientKeyExpiring,
            at: now,
            resource: arn("applicationaccesspoint", &key.access_point),
            content: content([
                ("clientKeyId", key.id.to_string()),
                ("aapName", key.access_point.to_string()),
                ("notAfter", to_iso(key.not_after)),
                ("daysBefore", days.to_string()),
            ]),
            remembered_until: key.not_after,
        })
    }

    /// A key that waits for its deletion; none when it does not.
    pub fn key_deletion_scheduled(key: &Key, now: Timestamp) -> Option<Self> {
        let delete_at = key.delete_at?;
        Some(Self {
            id: format!("key-deletion-scheduled:{}:{}:{}", key.id, now.unix(), delete_at.unix()),
            event: AlertEvent::KeyDeletionScheduled,
            at: now,
            resource: key_arn(&key.id),
            content: content([
                ("keyId", key.id.to_string()),
                ("kmsInstanceId", key.instance.to_string()),
                ("deleteDate", to_iso(delete_at)),
            ]),
            remembered_until: now,
        })
    }

    /// A key that is gone.
    pub fn key_deleted(key: &Key, now: Timestamp) -> Self {
        Self {
            id: format!("key-deleted:{}", key.id),
            event: AlertEvent::KeyDeleted,
            at: now,
            resource: key_arn(&key.id),
            content: content([("keyId", key.id.to_string()), ("kmsInstanceId", key.instance.to_string())]),
            remembered_until: now,
        }
    }

    /// A rotation that failed: told once a day for as long as it does.
    pub fn key_rotation_failed(key: &Key, attempt: u32, error: &Error, now: Timestamp) -> Self {
        let day = now.unix().div_euclid(DAY.cast_signed());
        Self {
            id: format!("key-rotation-failed:{}:{day}", key.id),
            event: AlertEvent::KeyRotationFailed,
            at: now,
            resource: key_arn(&key.id),
            content: content([
                ("keyId", key.id.to_string()),
                ("kmsInstanceId", key.instance.to_string()),
                ("attempt", attempt.to_string()),
                ("errorMessage", error.message().to_owned()),
            ]),
            remembered_until: now.after(Duration::from_secs(DAY)),
        }
    }

    /// The two thresholds of an instance's key quota, and whether each holds. What was told is told again when it had ceased to hold, and
    /// of another quota: nodes may have different ones.
    pub fn key_quota(instance: &InstanceId, quota: KeyQuota, used: u64, now: Timestamp) -> [(Self, bool); 2] {
        [(AlertEvent::KeyQuotaAt70, 70), (AlertEvent::KeyQuotaAt90, 90)].map(|(event, percent)| {
            let alert = Self {
                id: format!("{}{percent}:{}", key_quota_ids(instance), quota.most()),
                event,
                at: now,
                resource: arn("keystore", instance),
                content: content([
                    ("kmsInstanceId", instance.to_string()),
                    ("resourceQuota", quota.most().to_string()),
                    ("usedQuantity", used.to_string()),
                ]),
                remembered_until: Timestamp::from_unix(i64::MAX),
            };
            (alert, quota.is_used_by(percent, used))
        })
    }

    /// The thresholds of an endpoint's limit that the most requests of a second reached: each is told of once in an hour of the clock,
    /// however many nodes reach it.
    pub fn rate(
        endpoint: &LimitedEndpoint,
        group: Group,
        limit: NonZeroU32,
        most: u32,
        now: Timestamp,
    ) -> impl Iterator<Item = Self> {
        let hour = now.unix().div_euclid(HOUR.cast_signed());
        let resource = match endpoint {
            LimitedEndpoint::Instance(instance) => arn("keystore", instance),
            LimitedEndpoint::Shared | LimitedEndpoint::Sts => arn("endpoint", endpoint),
        };
        let reached = [(AlertEvent::RateAt70, 70), (AlertEvent::RateAt90, 90)].into_iter();
        let reached = reached.filter(move |(_, percent)| u64::from(most) * 100 >= u64::from(limit.get()) * percent);
        reached.map(move |(event, percent)| Self {
            id: format!("rate:{endpoint}:{}:{percent}:{hour}", group.name()),
            event,
            at: now,
            resource: resource.clone(),
            content: content([
                ("endpoint", endpoint.to_string()),
                ("group", group.name().to_owned()),
                ("qpsQuota", limit.to_string()),
                ("usedQps", most.to_string()),
            ]),
            remembered_until: now.after(Duration::from_secs(HOUR)),
        })
    }
}

/// How the ids of the alerts begin that tell of an instance's key quota.
pub fn key_quota_ids(instance: &InstanceId) -> String {
    format!("key-quota:{instance}:")
}

fn key_arn(id: &KeyId) -> String {
    arn("key", id)
}

/// An attempt to send alerts: one node at a time, and after a failure none until its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendingAttempt {
    /// Which one in a row, from 1.
    pub number: u32,
    /// Until when nobody begins another one, unless this one succeeds.
    pub ends_at: Timestamp,
}

impl SendingAttempt {
    /// Seconds of the first: longer than one takes that is going to fail.
    pub const SHORTEST: u64 = 15;
    /// Seconds of the longest.
    pub const LONGEST: u64 = 300;

    /// The attempt after `last`, if it may begin. One that reaches further than any was written under a clock that was wrong.
    pub fn next(last: Option<Self>, now: Timestamp) -> Option<Self> {
        let over = |last: Self| last.ends_at <= now || last.ends_at > now.after(Duration::from_secs(Self::LONGEST));
        let number = match last {
            None => 1,
            Some(last) if over(last) => last.number.saturating_add(1),
            Some(_) => return None,
        };
        // 15, 30, 60, 120, 240, 300, 300, ... seconds.
        let pause = Self::SHORTEST.saturating_mul(1 << (number - 1).min(16)).min(Self::LONGEST);
        Some(Self { number, ends_at: now.after(Duration::from_secs(pause)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random;
    use crate::model::ClientKeyId;

    const NOW: Timestamp = Timestamp::from_unix(1_790_000_000);

    fn later(days: i64) -> Timestamp {
        Timestamp::from_unix(NOW.unix() + days * DAY.cast_signed())
    }

    fn client_key(days: i64) -> ClientKey {
        ClientKey {
            id: ClientKeyId::from_entropy(random::bytes()),
            access_point: "app".parse().unwrap(),
            certificate: Vec::new(),
            not_before: NOW,
            not_after: later(days),
            created: NOW,
            last_used: None,
        }
    }

    fn days_told(key: &ClientKey, now: Timestamp) -> Option<String> {
        Alert::client_key_expiring(key, now).map(|alert| alert.content["daysBefore"].clone())
    }

    #[test]
    fn a_client_key_passes_each_threshold_of_its_life() {
        let key = client_key(365);
        for (day, told) in [
            (0, None),
            (184, None),
            (185, Some("180")),
            (274, Some("180")),
            (275, Some("90")),
            (335, Some("30")),
            (357, Some("30")),
            (358, Some("7")),
            (364, Some("7")),
            (365, None),
            (400, None),
        ] {
            assert_eq!(days_told(&key, later(day)).as_deref(), told, "{day}");
        }
        // One that was made for a month is not told of at once.
        let key = client_key(30);
        assert_eq!(days_told(&key, NOW), None);
        assert_eq!(days_told(&key, later(22)), None);
        assert_eq!(days_told(&key, later(23)).as_deref(), Some("7"));
        let alert = Alert::client_key_expiring(&key, later(23)).unwrap();
        assert_ne!(alert.id, Alert::client_key_expiring(&client_key(30), later(23)).unwrap().id);
        assert_eq!(alert.resource, "acs:kms:keystead:0:applicationaccesspoint/app");
    }

    #[test]
    fn a_rate_is_told_of_once_an_hour_for_each_threshold() {
        let limit = NonZeroU32::new(10).unwrap();
        let told = |most, now| Alert::rate(&LimitedEndpoint::Shared, Group::Reads, limit, most, now).collect::<Vec<_>>();
        let events = |most| told(most, NOW).iter().map(|alert| alert.event).collect::<Vec<_>>();
        assert_eq!(events(6), []);
        assert_eq!((events(7), events(8)), (vec![AlertEvent::RateAt70], vec![AlertEvent::RateAt70]));
        assert_eq!((events(9), events(20)), (vec![AlertEvent::RateAt70, AlertEvent::RateAt90], events(9)));
        let at = |seconds: i64| told(9, Timestamp::from_unix(1_800_000_000 + seconds)).remove(0);
        assert_eq!((at(0).id == at(3599).id, at(0).id == at(3600).id), (true, false));
        assert!(at(10).remembered_until.unix() >= 1_800_000_000 + 3600);
        let other = Alert::rate(&LimitedEndpoint::Shared, Group::Writes, limit, 9, NOW).next().unwrap();
        assert_ne!(other.id, told(9, NOW)[0].id);
        assert_eq!((other.resource.as_str(), &*other.content["usedQps"]), ("acs:kms:keystead:0:endpoint/shared", "9"));
    }

    #[test]
    fn names_have_three_parts_and_are_read_again() {
        for event in AlertEvent::ALL {
            assert_eq!(event.name().split(':').count(), 3);
            assert!(event.name().ends_with(event.result()));
            assert_eq!(event.name().parse::<AlertEvent>().unwrap(), event);
        }
        assert!("Key:Lost:Success".parse::<AlertEvent>().is_err());
    }

    #[test]
    fn pauses_grow_to_five_minutes() {
        let (mut last, mut now, mut pauses) = (None, NOW, Vec::new());
        for _ in 0..40 {
            let attempt = SendingAttempt::next(last, now).unwrap();
            assert_eq!(SendingAttempt::next(Some(attempt), now), None);
            pauses.push(attempt.ends_at.unix() - now.unix());
            (last, now) = (Some(attempt), attempt.ends_at);
        }
        assert_eq!(pauses[..6], [15, 30, 60, 120, 240, 300]);
        assert!(pauses[6..].iter().all(|pause| *pause == 300));
        let ahead = SendingAttempt { number: 1, ends_at: later(1) };
        assert_eq!(SendingAttempt::next(Some(ahead), NOW).unwrap().number, 2);
    }
}
