//! Requests a second: by group, at the endpoint that has the limit, with the answers that the SDKs repeat.

use std::num::NonZeroU32;
use std::time::Duration;

use keystead::model::alert::AlertEvent;
use keystead::model::limits::{Group, Limits};
use keystead::wire::instance_protocol::{
    AdvanceEncryptRequest, EncryptRequest, GenerateRandomRequest, GetPublicKeyRequest, SignRequest,
};
use keystead::wire::signing::AcsScheme;
use keystead::wire::sts;
use prost::Message;

use crate::bench::{Answer, Bench, Call, bench_limited};
use crate::shared::{ask, code, query, secret, signed_call};

/// Requests of which one must be too many for a limit of one a second, however slow they are here.
const MANY: usize = 200;

/// One a second for each of these groups.
fn limits(groups: &[Group]) -> Limits {
    Limits::of(groups.iter().map(|group| (*group, NonZeroU32::MIN)))
}

/// Asks until the limit is reached. The first is always served.
async fn until_throttled(mut send: impl AsyncFnMut() -> Answer) -> Answer {
    assert_eq!(send().await.status, 200);
    for _ in 0..MANY {
        let answer = send().await;
        match answer.status {
            200 => {}
            429 => return answer,
            other => panic!("{other}"),
        }
    }
    panic!("nothing was too much");
}

async fn instance(bench: &Bench, operation: &str, message: &impl Message) -> Answer {
    bench.ask(operation, message).await
}

fn encrypt(key: &str) -> EncryptRequest {
    EncryptRequest { key_id: key.to_owned(), plaintext: b"x".to_vec(), ..EncryptRequest::default() }
}

#[tokio::test]
async fn an_instance_endpoint_limits_by_the_key() {
    let bench = bench_limited([limits(&[Group::Symmetric, Group::Asymmetric]), Limits::default(), Limits::default()]).await;
    let throttled = until_throttled(async || instance(&bench, "Encrypt", &encrypt(bench.aes.as_str())).await).await;
    assert_eq!(throttled.expect_error(429, "Rejected.Throttling"), "QPS Limit Exceeded");
    // The pair of an Encrypt has the other limit, which signatures share.
    let throttled = until_throttled(async || instance(&bench, "Encrypt", &encrypt(bench.rsa_encrypt.as_str())).await).await;
    throttled.expect_error(429, "Rejected.Throttling");
    let sign = SignRequest { key_id: bench.rsa_sign.to_string(), message: b"m".to_vec(), ..SignRequest::default() };
    let mut signed = Vec::new();
    for _ in 0..MANY {
        signed.push(instance(&bench, "Sign", &sign).await.status);
        if signed.contains(&429) {
            break;
        }
    }
    assert!(signed.contains(&429), "{signed:?}");
    let advance = AdvanceEncryptRequest { key_id: bench.aes.to_string(), plaintext: b"x".to_vec(), ..Default::default() };
    let mut advanced = false;
    for _ in 0..MANY {
        advanced |= instance(&bench, "AdvanceEncrypt", &advance).await.status == 429;
        if advanced {
            break;
        }
    }
    assert!(advanced, "it has the limit of Encrypt");
    // What has none is served, and so are the other endpoints.
    for _ in 0..20 {
        assert_eq!(instance(&bench, "GenerateRandom", &GenerateRandomRequest { length: 8 }).await.status, 200);
        let public = GetPublicKeyRequest { key_id: bench.rsa_sign.to_string() };
        assert_eq!(instance(&bench, "GetPublicKey", &public).await.status, 200);
        let parameters = [("KeyId", bench.aes.as_str()), ("Plaintext", "eA==")];
        assert_eq!(ask(&bench, "Encrypt", &parameters).await.status, 200);
    }
    let qps = [("KmsInstanceId", bench.instance.as_str()), ("ResourceType", "qps")];
    let infos = ask(&bench, "GetKmsInstanceQuotaInfos", &qps).await.json();
    assert_eq!(infos["KmsInstanceQuotaInfos"][0], serde_json::json!({ "ResourceType": "qps", "ResourceQuota": 1 }));
}

#[tokio::test]
async fn the_shared_gateway_limits_by_what_is_done_and_says_how_long() {
    let groups = [Group::Symmetric, Group::CreateKey, Group::Reads, Group::Writes];
    let bench = bench_limited([Limits::default(), limits(&groups), Limits::default()]).await;
    let key = bench.aes.as_str();
    for (action, parameters) in [
        ("Encrypt", vec![("KeyId", key), ("Plaintext", "eA==")]),
        ("CreateKey", vec![]),
        ("ListKeys", vec![]),
        ("UpdateKeyDescription", vec![("KeyId", key), ("Description", "d")]),
    ] {
        let throttled = until_throttled(async || ask(&bench, action, &parameters).await).await;
        assert_eq!(code(&throttled), (429, "Rejected.Throttling".to_owned()), "{action}");
        assert_eq!(throttled.json()["Message"], "QPS Limit Exceeded");
        let wait: u64 = throttled.headers["x-acs-retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=1000).contains(&wait), "{wait} ms");
    }
    for _ in 0..20 {
        let public = ask(&bench, "GetPublicKey", &[("KeyId", bench.rsa_sign.as_str()), ("KeyVersionId", "")]).await;
        assert_ne!(public.status, 429, "asymmetric cryptography has no limit here");
        assert_eq!(instance(&bench, "Encrypt", &encrypt(key)).await.status, 200);
    }
}

/// A client that repeats the very request after it was throttled is served: only what was served is not served again.
#[tokio::test]
async fn what_is_throttled_takes_no_nonce() {
    let bench = bench_limited([Limits::default(), limits(&[Group::Reads]), Limits::default()]).await;
    let (id, secret) = (bench.operator.access_key.to_string(), secret(&bench));
    let list_keys = || signed_call(&bench, (&id, &secret), AcsScheme::V3, "ListKeys", &[], |_| {});
    let send = async |call: &Call| bench.send_to(bench.shared, &query(&[]), call.clone()).await;
    let mut throttled = None;
    for _ in 0..MANY {
        let call = list_keys();
        if send(&call).await.status == 429 {
            throttled = Some(call);
            break;
        }
    }
    let call = throttled.expect("one of them is too many");
    let served = async {
        loop {
            let answer = send(&call).await;
            match answer.status {
                429 => {}
                200 => break,
                _ => panic!("{:?}", code(&answer)),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), served).await.expect("its turn comes after a second");
    assert_eq!(code(&send(&call).await), (400, "SignatureNonceUsed".to_owned()), "whatever the limit says");
}

#[tokio::test]
async fn the_security_token_service_limits_by_what_is_done() {
    let bench = bench_limited([Limits::default(), Limits::default(), limits(&[Group::Reads, Group::Writes])]).await;
    let (id, secret) = (bench.operator.access_key.to_string(), secret(&bench));
    let send = async |action: &str, parameters: &[(&str, &str)]| {
        let call = signed_call(&bench, (&id, &secret), AcsScheme::V3, action, parameters, |headers| {
            headers.iter_mut().filter(|(name, _)| name == "x-acs-version").for_each(|(_, value)| sts::VERSION.clone_into(value));
        });
        bench.send_to(bench.sts, &query(parameters), call).await
    };
    let throttled = until_throttled(async || send("GetCallerIdentity", &[]).await).await;
    assert_eq!(throttled.json()["Code"], "Rejected.Throttling");
    assert!(throttled.headers.contains_key("x-acs-retry-after"));
    // What is refused counts as well: nobody tries roles faster than that.
    let parameters = [("RoleArn", "acs:ram::0:role/none"), ("RoleSessionName", "session")];
    let mut answers = Vec::new();
    for _ in 0..MANY {
        answers.push(send("AssumeRole", &parameters).await.status);
        if answers.contains(&429) {
            break;
        }
    }
    assert!(answers[0] != 429 && answers.contains(&429), "{answers:?}");
    for _ in 0..20 {
        assert_eq!(ask(&bench, "ListKeys", &[]).await.status, 200, "the shared gateway has no limit");
    }
}

#[tokio::test]
async fn re_encryption_out_of_a_pair_has_the_limit_of_pairs() {
    let bench = bench_limited([Limits::default(), limits(&[Group::Asymmetric]), Limits::default()]).await;
    let pair = bench.rsa_encrypt.to_string();
    let parameters = [
        ("SourceKeyId", pair.as_str()),
        ("SourceKeyVersionId", "unknown"),
        ("SourceEncryptionAlgorithm", "RSAES_OAEP_SHA_256"),
        ("CiphertextBlob", "eA=="),
        ("DestinationKeyId", bench.aes.as_str()),
    ];
    let mut answers = Vec::new();
    for _ in 0..MANY {
        answers.push(ask(&bench, "ReEncrypt", &parameters).await.status);
        if answers.contains(&429) {
            break;
        }
    }
    assert!(answers[0] != 429 && answers.contains(&429), "{answers:?}");
    // Out of a symmetric key it has none here.
    let made = ask(&bench, "Encrypt", &[("KeyId", bench.aes.as_str()), ("Plaintext", "eA==")]).await.json();
    let blob = made["CiphertextBlob"].as_str().unwrap();
    for _ in 0..20 {
        let parameters = [("CiphertextBlob", blob), ("DestinationKeyId", bench.aes.as_str())];
        assert_eq!(ask(&bench, "ReEncrypt", &parameters).await.status, 200);
    }
}

/// A parameter that an operation does not have moves it to no other limit.
#[tokio::test]
async fn the_limit_is_that_of_the_operation_whatever_is_named_besides() {
    const AES: &str = "alias/aes";
    const PAIR: &str = "alias/pair";
    for (group, action, named) in [
        (Group::Symmetric, "Decrypt", [("KeyId", PAIR), ("CiphertextBlob", "eA==")]),
        (Group::Asymmetric, "AsymmetricDecrypt", [("KeyId", PAIR), ("SourceKeyId", AES)]),
        (Group::Asymmetric, "ReEncrypt", [("SourceKeyId", PAIR), ("KeyId", AES)]),
    ] {
        let bench = bench_limited([Limits::default(), limits(&[group]), Limits::default()]).await;
        for (alias, key) in [(AES, &bench.aes), (PAIR, &bench.rsa_encrypt)] {
            bench.kms.create_alias(&bench.operator, &alias.parse().unwrap(), key.as_str()).await.unwrap();
        }
        let mut answers = Vec::new();
        for _ in 0..MANY {
            answers.push(ask(&bench, action, &named).await.status);
            if answers.contains(&429) {
                break;
            }
        }
        assert!(answers[0] != 429 && answers.contains(&429), "{action}: {answers:?}");
    }
}

#[tokio::test]
async fn a_limit_that_is_used_up_is_told_of() {
    let bench = bench_limited([limits(&[Group::Symmetric]), limits(&[Group::Reads]), Limits::default()]).await;
    until_throttled(async || instance(&bench, "Encrypt", &encrypt(bench.aes.as_str())).await).await;
    assert_eq!(ask(&bench, "ListKeys", &[]).await.status, 200);
    bench.kms.spawn_background();
    let begun = std::time::Instant::now();
    loop {
        let raised = bench.kms.alerts().raised;
        let of = |event| raised.iter().find(|(known, _)| *known == event).unwrap().1;
        // Those of the endpoint of the instance, and those of the shared gateway.
        match (of(AlertEvent::RateAt70), of(AlertEvent::RateAt90)) {
            (2, 2) => break,
            (seventy, ninety) => assert!(begun.elapsed() < Duration::from_secs(20), "{seventy}, {ninety}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
