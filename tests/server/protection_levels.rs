//! CreateKey and ProtectionLevel: a key is where its level says, or is refused with what would do.

use keystead::model::instance::InstanceKind;
use serde_json::Value;

use crate::bench::{Answer, Bench, bench_of};
use crate::shared::{ask, code};

async fn create(bench: &Bench, parameters: &[(&str, &str)]) -> Answer {
    ask(bench, "CreateKey", parameters).await
}

/// The instance and the level of a key that was made.
#[track_caller]
fn made(answer: &Answer) -> (String, String) {
    assert_eq!(answer.status, 200, "{}", answer.json());
    let key = answer.json()["KeyMetadata"].clone();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&key["DKMSInstanceId"]), text(&key["ProtectionLevel"]))
}

/// What a level is refused with.
#[track_caller]
fn unsupported(answer: &Answer) -> String {
    assert_eq!(code(answer), (400, "Unsupported.ProtectionLevel".to_owned()));
    answer.json()["Message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_key_is_made_in_the_default_instance_of_its_level() {
    let bench = bench_of([InstanceKind::Hardware, InstanceKind::Software]).await;
    let (hardware, software) = (bench.instance.to_string(), bench.other.to_string());
    for (parameters, expected) in [
        (vec![], (&hardware, "HSM")),
        (vec![("ProtectionLevel", "")], (&hardware, "HSM")),
        (vec![("ProtectionLevel", "HSM")], (&hardware, "HSM")),
        (vec![("ProtectionLevel", "SOFTWARE")], (&software, "SOFTWARE")),
        (vec![("ProtectionLevel", "SOFTWARE"), ("DKMSInstanceId", &software)], (&software, "SOFTWARE")),
        (vec![("DKMSInstanceId", &software)], (&software, "SOFTWARE")),
    ] {
        let made = made(&create(&bench, &parameters).await);
        assert_eq!((&made.0, made.1.as_str()), expected, "{parameters:?}");
    }
    let default = ask(&bench, "GetDefaultKmsInstance", &[]).await.json();
    assert_eq!(default["DefaultKmsInstanceId"], hardware);
}

#[tokio::test]
async fn a_level_that_the_instance_does_not_have_is_refused_with_both_ways_out() {
    let bench = bench_of([InstanceKind::Hardware, InstanceKind::Software]).await;
    let (hardware, software) = (bench.instance.to_string(), bench.other.to_string());
    let before = bench.store.revision().await.unwrap();
    for (instance, asked, has) in [(&hardware, "SOFTWARE", "HSM"), (&software, "HSM", "SOFTWARE")] {
        let text = unsupported(&create(&bench, &[("ProtectionLevel", asked), ("DKMSInstanceId", instance)]).await);
        let ways = [instance.as_str(), &format!("Say the ProtectionLevel {has}"), "DKMSInstanceId"];
        assert!(ways.iter().all(|way| text.contains(way)), "{text}");
    }
    for unknown in ["BOGUS", "hsm", "Software", "HSM ", "HSM,SOFTWARE"] {
        let answer = create(&bench, &[("ProtectionLevel", unknown)]).await;
        assert_eq!(code(&answer), (400, "InvalidParameter".to_owned()), "{unknown}");
        assert!(answer.json()["Message"].as_str().unwrap().contains("HSM or SOFTWARE"), "{unknown}");
    }
    assert_eq!(bench.store.revision().await.unwrap(), before, "nothing was made");
}

#[tokio::test]
async fn a_level_that_no_default_instance_has_is_refused_with_what_to_name() {
    let bench = bench_of([InstanceKind::Software; 2]).await;
    assert_eq!(made(&create(&bench, &[("ProtectionLevel", "SOFTWARE")]).await).0, bench.instance.to_string());
    let text = unsupported(&create(&bench, &[("ProtectionLevel", "HSM")]).await);
    assert!(text.contains("none is of the kind Hardware") && text.contains("Say the ProtectionLevel SOFTWARE"), "{text}");
}

#[tokio::test]
async fn sha_1_wraps_material_for_keys_of_either_default_instance() {
    let bench = bench_of([InstanceKind::Hardware, InstanceKind::Software]).await;
    for level in ["HSM", "SOFTWARE"] {
        let key = create(&bench, &[("Origin", "EXTERNAL"), ("ProtectionLevel", level)]).await.json();
        let id = key["KeyMetadata"]["KeyId"].as_str().unwrap();
        let wrapping = [("KeyId", id), ("WrappingKeySpec", "RSA_2048"), ("WrappingAlgorithm", "RSAES_OAEP_SHA_1")];
        let answer = ask(&bench, "GetParametersForImport", &wrapping).await;
        assert_eq!(answer.status, 200, "{level}: {}", answer.json());
    }
}

#[tokio::test]
async fn a_storage_mechanism_is_one_of_the_instance() {
    let bench = bench_of([InstanceKind::Hardware, InstanceKind::Software]).await;
    let stored = create(&bench, &[("KeyStorageMechanism", "HsmInternal")]).await;
    assert_eq!(stored.json()["KeyMetadata"]["Keystead"]["StorageMechanism"], "HsmInternal");
    for (instance, mechanism, expected) in [
        (&bench.instance, "HsmEncryptedDatabase", "UnsupportedOperation"),
        (&bench.other, "HsmInternal", "UnsupportedOperation"),
        (&bench.other, "HsmEncryptedDatabase", "UnsupportedOperation"),
        (&bench.instance, "Internal", "InvalidParameter"),
    ] {
        let parameters = [("DKMSInstanceId", instance.as_str()), ("KeyStorageMechanism", mechanism)];
        assert_eq!(code(&create(&bench, &parameters).await), (400, expected.to_owned()), "{mechanism}");
    }
}

#[tokio::test]
async fn keys_are_listed_by_levels_and_creators_that_there_are() {
    let bench = bench_of([InstanceKind::Hardware, InstanceKind::Software]).await;
    made(&create(&bench, &[("ProtectionLevel", "SOFTWARE")]).await);
    let list = async |key: &str, value: &str| {
        ask(&bench, "ListKeys", &[("Filters", &format!("[{{\"Key\":\"{key}\",\"Values\":[\"{value}\"]}}]"))]).await
    };
    for (key, value, count) in [
        ("ProtectionLevel", "HSM", 3),
        ("ProtectionLevel", "SOFTWARE", 1),
        ("CreatorType", "User", 4),
        ("CreatorType", "Service", 0),
    ] {
        assert_eq!(list(key, value).await.json()["TotalCount"], count, "{key} {value}");
    }
    for key in ["ProtectionLevel", "CreatorType", "KeyState", "KeySpec", "KeyUsage"] {
        assert_eq!(code(&list(key, "BOGUS").await), (400, "InvalidParameter".to_owned()), "{key}");
    }
}

/// Terraform looks an instance up by its name, in this form.
#[tokio::test]
async fn instances_are_listed_by_their_names() {
    let bench = bench_of([InstanceKind::Hardware, InstanceKind::Software]).await;
    let list = async |filters: &str| ask(&bench, "ListKmsInstances", &[("Filters", filters)]).await;
    for (filters, expected) in [
        ("", vec![&bench.instance, &bench.other]),
        ("[]", vec![&bench.instance, &bench.other]),
        (r#"[{"Values":["other"],"Key":"InstanceName"}]"#, vec![&bench.other]),
        (r#"[{"Values":["Other"],"Key":"InstanceName"}]"#, vec![]),
        (r#"[{"Key":"InstanceName","Values":["other","test"]}]"#, vec![&bench.instance, &bench.other]),
    ] {
        let answer = list(filters).await.json();
        let mut expected: Vec<_> = expected.into_iter().map(ToString::to_string).collect();
        expected.sort();
        let listed = answer["KmsInstances"]["KmsInstance"].as_array().unwrap();
        let listed: Vec<_> = listed.iter().map(|item| item["KmsInstanceId"].as_str().unwrap().to_owned()).collect();
        assert_eq!((answer["TotalCount"].as_u64(), listed), (Some(expected.len() as u64), expected), "{filters}");
    }
    for bad in ["other", "{}", r#"[{"Key":"InstanceId","Values":["x"]}]"#, r#"[{"Key":"InstanceName","Values":[]}]"#] {
        assert_eq!(code(&list(bad).await), (400, "InvalidParameter".to_owned()), "{bad}");
    }
}
