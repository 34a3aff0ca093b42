//! Rotation policies by the OpenAPI: what is answered, what is refused.

use keystead::base::{Clock, Timestamp};
use keystead::wire::date;
use serde_json::Value;

use crate::bench::{Bench, bench, get};
use crate::shared::{ask, code};

const DAY: i64 = 86_400;

async fn described(bench: &Bench, key: &str) -> Value {
    ask(bench, "DescribeKey", &[("KeyId", key)]).await.json()["KeyMetadata"].clone()
}

#[tokio::test]
async fn a_policy_is_set_shown_and_ended() {
    let bench = bench().await;
    let key = bench.aes.as_str();
    let before = described(&bench, key).await;
    assert_eq!((&before["AutomaticRotation"], before.get("RotationInterval")), (&"Disabled".into(), None));
    let set = |interval| [("KeyId", key), ("EnableAutomaticRotation", "true"), ("RotationInterval", interval)];
    assert_eq!(ask(&bench, "UpdateRotationPolicy", &set("7d")).await.status, 200);
    let on = described(&bench, key).await;
    let made = date::from_iso(on["LastRotationDate"].as_str().unwrap()).unwrap();
    let next = date::to_iso(Timestamp::from_unix(made.unix() + 7 * DAY));
    assert_eq!(
        (&on["AutomaticRotation"], &on["RotationInterval"], &on["NextRotationDate"]),
        (&"Enabled".into(), &"604800s".into(), &next.into())
    );
    for interval in ["6d", "731d", "7", "7w", "d", "-7d"] {
        assert_eq!(
            code(&ask(&bench, "UpdateRotationPolicy", &set(interval)).await),
            (400, "InvalidParameter".to_owned()),
            "{interval}"
        );
    }
    ask(&bench, "DisableKey", &[("KeyId", key)]).await;
    assert_eq!(described(&bench, key).await["AutomaticRotation"], "Suspended");
    assert_eq!(code(&ask(&bench, "UpdateRotationPolicy", &set("7d")).await), (409, "Rejected.Disabled".to_owned()));
    ask(&bench, "ScheduleKeyDeletion", &[("KeyId", key), ("PendingWindowInDays", "7")]).await;
    assert_eq!(code(&ask(&bench, "UpdateRotationPolicy", &set("7d")).await), (409, "Rejected.PendingDeletion".to_owned()));
    ask(&bench, "CancelKeyDeletion", &[("KeyId", key)]).await;
    // Terraform sends the interval when it switches rotation off, too.
    let off = [("KeyId", key), ("EnableAutomaticRotation", "False"), ("RotationInterval", "604800s")];
    assert_eq!(ask(&bench, "UpdateRotationPolicy", &off).await.status, 200);
    let off = described(&bench, key).await;
    assert_eq!((&off["AutomaticRotation"], off.get("NextRotationDate")), (&"Disabled".into(), None));
}

#[tokio::test]
async fn what_is_wrong_with_a_policy_has_its_code() {
    let bench = bench().await;
    let (key, pair) = (bench.aes.as_str(), bench.rsa_sign.as_str());
    let (on, week) = (("EnableAutomaticRotation", "true"), ("RotationInterval", "7d"));
    for (parameters, expected) in [
        (vec![("KeyId", pair), on, week], (400, "Rejected.UnsupportedOperation")),
        (vec![("KeyId", "key-hzz62f1cb66fa42qo0001"), on, week], (404, "Forbidden.KeyNotFound")),
        (vec![("KeyId", key), on], (400, "MissingParameter")),
        (vec![("KeyId", key), week], (400, "MissingParameter")),
        (vec![on, week], (400, "MissingParameter")),
        (vec![("KeyId", key), ("EnableAutomaticRotation", "yes"), week], (400, "InvalidParameter")),
    ] {
        let (status, is) = code(&ask(&bench, "UpdateRotationPolicy", &parameters).await);
        assert_eq!((status, is.as_str()), expected, "{parameters:?}");
    }
    for (parameters, expected) in [
        (vec![on], (400, "MissingParameter")),
        (vec![on, ("RotationInterval", "6d")], (400, "InvalidParameter")),
        (vec![on, week, ("KeySpec", "EC_P256")], (400, "UnsupportedOperation")),
    ] {
        let (status, is) = code(&ask(&bench, "CreateKey", &parameters).await);
        assert_eq!((status, is.as_str()), expected, "{parameters:?}");
    }
}

#[tokio::test]
async fn a_key_that_is_due_is_rotated_and_counted() {
    let bench = bench().await;
    let on = [("EnableAutomaticRotation", "true"), ("RotationInterval", "604800s")];
    let made = ask(&bench, "CreateKey", &on).await.json()["KeyMetadata"].clone();
    let key = made["KeyId"].as_str().unwrap();
    assert_eq!(made["AutomaticRotation"], "Enabled");
    let due = Timestamp::from_unix(bench.clock.now().unix() + 7 * DAY);
    bench.clock.set(due);
    bench.kms.spawn_background();
    let begun = std::time::Instant::now();
    while described(&bench, key).await["LastRotationDate"] != date::to_iso(due) {
        assert!(begun.elapsed() < std::time::Duration::from_secs(30));
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let now = described(&bench, key).await;
    assert_ne!(now["PrimaryKeyVersion"], made["PrimaryKeyVersion"]);
    let versions = ask(&bench, "ListKeyVersions", &[("KeyId", key)]).await.json();
    assert_eq!(
        (&versions["TotalCount"], &versions["KeyVersions"]["KeyVersion"][1]["KeyVersionId"]),
        (&2.into(), &now["PrimaryKeyVersion"])
    );
    let (_, metrics) = get(bench.telemetry, "/metrics").await;
    let counted =
        format!("keystead_key_rotations_total{{instance=\"{}\",result=\"ok\"}} 1\n", made["DKMSInstanceId"].as_str().unwrap());
    assert!(metrics.contains(&counted), "{metrics}");
}
