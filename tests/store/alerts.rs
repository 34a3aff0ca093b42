//! Alerts: told once, kept until they are sent, sent by one node at a time, bounded.

use keystead::base::{Error, Kind, Timestamp};
use keystead::model::KeyId;
use keystead::model::alert::{Alert, AlertEvent, SendingAttempt};
use keystead::model::key::Key;
use keystead::model::tags::Tags;
use keystead::store::{ALERT_QUEUE, Raised, Sending};

use crate::{Bench, NOW, bench, held, key};

const NEW: Raised = Raised::New { dropped: 0 };

fn later(seconds: i64) -> Timestamp {
    Timestamp::from_unix(NOW.unix() + seconds)
}

pub fn alert(id: &str) -> Alert {
    Alert {
        id: id.to_owned(),
        event: AlertEvent::ClientKeyExpiring,
        at: NOW,
        resource: "acs:kms:keystead:0:applicationaccesspoint/a".to_owned(),
        content: [("aapName".to_owned(), "ä \"b\"".to_owned())].into(),
        remembered_until: later(100),
    }
}

/// Any alert of a key; what it says is not looked at.
pub fn of_key(id: &KeyId) -> (Alert, Sending) {
    (alert(&format!("key-deleted:{id}")), Sending::Nowhere)
}

/// Takes what waits longest, in one attempt that has no end in sight.
async fn take(bench: &Bench) -> Option<String> {
    let (alert, _) = bench.again().await.claim_alert(|last| SendingAttempt::next(last, NOW)).await.unwrap()?;
    bench.store.alert_sent(&alert.id).await.unwrap();
    Some(alert.id)
}

#[tokio::test]
async fn an_alert_is_told_once_and_waits_until_it_is_sent() {
    let bench = bench().await;
    let revision = bench.store.revision().await.unwrap().unwrap();
    for id in ["a", "b"] {
        assert_eq!(bench.store.raise_alert(&alert(id), Sending::Queue).await.unwrap(), NEW);
        assert_eq!(bench.again().await.raise_alert(&alert(id), Sending::Queue).await.unwrap(), Raised::Known);
    }
    assert_eq!(bench.store.raise_alert(&alert("c"), Sending::Nowhere).await.unwrap(), NEW);
    assert_eq!(bench.store.alerts_told().await.unwrap(), ["a", "b", "c"].map(str::to_owned).into());
    assert_eq!(bench.store.alerts_queued().await.unwrap(), 2);

    // The first of two nodes that would send gets it, as it was raised; whoever dies then leaves it there.
    let first = |last| SendingAttempt::next(last, NOW);
    let (claimed, attempt) = bench.store.claim_alert(first).await.unwrap().unwrap();
    assert_eq!((&claimed, attempt), (&alert("a"), SendingAttempt { number: 1, ends_at: later(15) }));
    assert_eq!(bench.again().await.claim_alert(first).await.unwrap(), None);
    let (claimed, attempt) = bench.again().await.claim_alert(|last| SendingAttempt::next(last, later(15))).await.unwrap().unwrap();
    assert_eq!((claimed.id.as_str(), attempt.number), ("a", 2));
    bench.store.alert_sent("a").await.unwrap();
    assert_eq!(take(&bench).await.as_deref(), Some("b"));
    assert_eq!(take(&bench).await, None);

    // What was sent is not told again, until nothing would find it.
    assert_eq!(bench.store.raise_alert(&alert("a"), Sending::Queue).await.unwrap(), Raised::Known);
    let much_later = Alert { at: later(101), ..alert("d") };
    assert_eq!(bench.store.raise_alert(&much_later, Sending::Nowhere).await.unwrap(), NEW);
    assert_eq!(bench.store.alerts_told().await.unwrap(), ["c", "d"].map(str::to_owned).into(), "c was sent to nobody yet");
    bench.store.queue_unsent(|_| false).await.unwrap();
    let later_still = Alert { at: later(102), ..alert("e") };
    assert_eq!(bench.store.raise_alert(&later_still, Sending::Nowhere).await.unwrap(), NEW);
    assert_eq!(bench.store.alerts_told().await.unwrap(), ["e".to_owned()].into());
    assert_eq!(bench.store.revision().await.unwrap().unwrap(), revision, "no snapshot shows it");
}

#[tokio::test]
async fn when_too_many_wait_the_oldest_are_dropped() {
    let bench = bench().await;
    for number in 0..ALERT_QUEUE {
        assert_eq!(bench.store.raise_alert(&alert(&number.to_string()), Sending::Queue).await.unwrap(), NEW);
    }
    let raised = bench.store.raise_alert(&alert("last"), Sending::Queue).await.unwrap();
    assert_eq!(raised, Raised::New { dropped: 1 });
    assert_eq!(bench.store.alerts_queued().await.unwrap(), u64::from(ALERT_QUEUE));
    assert_eq!(bench.store.raise_alert(&alert("0"), Sending::Queue).await.unwrap(), Raised::Known);
    assert_eq!(take(&bench).await.as_deref(), Some("1"));
}

#[tokio::test]
async fn an_alert_is_kept_with_what_it_tells_or_not_at_all() {
    let bench = bench().await;
    let (kept, version) = key();
    bench.store.commit_key(&kept, &held(&version), &Tags::default(), None).await.unwrap();
    let schedule = |key: &mut Key| {
        key.schedule_deletion(later(60))?;
        Ok(Alert::key_deletion_scheduled(key, NOW))
    };
    let (changed, raised) = bench.store.change_key_and_raise(&kept.id, Sending::Queue, schedule).await.unwrap();
    let scheduled = Alert::key_deletion_scheduled(&changed, NOW).unwrap();
    assert_eq!(raised, Some((scheduled.clone(), NEW)));
    let deleted = Alert::key_deleted(&changed, later(60));
    let refused = bench.store.delete_key(&kept.id, (&deleted, Sending::Queue), |_| Err(Error::invalid("no"))).await;
    assert_eq!(refused.unwrap_err().kind(), Kind::InvalidParameter);
    assert_eq!(bench.store.alerts_queued().await.unwrap(), 1);
    assert_eq!(bench.store.delete_key(&kept.id, (&deleted, Sending::Queue), |_| Ok(())).await.unwrap(), NEW);
    assert_eq!([take(&bench).await, take(&bench).await, take(&bench).await], [Some(scheduled.id), Some(deleted.id), None]);
}

#[tokio::test]
async fn what_was_sent_to_nobody_waits_when_there_is_somebody_if_it_stands() {
    let bench = bench().await;
    for id in ["a", "b", "c"] {
        assert_eq!(bench.store.raise_alert(&alert(id), Sending::Nowhere).await.unwrap(), NEW);
    }
    assert_eq!(bench.store.raise_alert(&alert("d"), Sending::Queue).await.unwrap(), NEW);
    assert_eq!(bench.store.queue_unsent(|alert| alert.id != "b").await.unwrap(), (2, 0));
    assert_eq!(bench.again().await.queue_unsent(|_| true).await.unwrap(), (0, 0), "each is decided about once");
    let sent = [take(&bench).await, take(&bench).await, take(&bench).await, take(&bench).await];
    assert_eq!(sent, [Some("d"), Some("a"), Some("c"), None].map(|id| id.map(str::to_owned)));
    assert_eq!(bench.store.raise_alert(&alert("b"), Sending::Queue).await.unwrap(), Raised::Known);
    // No more than the queue holds, the newest.
    for number in 0..=ALERT_QUEUE {
        let at = later(i64::from(number));
        let raised = Alert { at, remembered_until: at, ..alert(&number.to_string()) };
        assert_eq!(bench.store.raise_alert(&raised, Sending::Nowhere).await.unwrap(), NEW);
    }
    assert_eq!(bench.store.queue_unsent(|_| true).await.unwrap(), (u64::from(ALERT_QUEUE), 0));
    assert_eq!(take(&bench).await.as_deref(), Some("1"));
}
