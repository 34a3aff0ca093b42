//! The table "order of checks" of the instance protocol, row by row, and that the order holds.

use keystead::base::{Clock, Timestamp, random};
use keystead::model::ciphertext::SelfContained;
use keystead::model::{InstanceId, KeyId, KeyVersionId};
use keystead::service::requests::CreateKey;
use keystead::wire::date;
use keystead::wire::instance_protocol::{AdvanceDecryptRequest, EncryptRequest, EncryptResponse};

use crate::bench::{Bench, Call, bench};

fn encrypt(bench: &Bench) -> Call {
    bench.call("Encrypt", &EncryptRequest { key_id: bench.aes.to_string(), plaintext: b"x".to_vec(), ..EncryptRequest::default() })
}

fn moved(from: Timestamp, seconds: i64) -> String {
    date::to_http(Timestamp::from_unix(from.unix() + seconds))
}

#[tokio::test]
async fn a_content_type_is_refused_by_its_name() {
    let bench = bench().await;
    let answer = bench.send(encrypt(&bench).set("content-type", "application/json").sign(&bench.client)).await;
    let text = answer.expect_error(415, "InvalidContentType");
    assert_eq!(text, "Content-Type \"application/json\" is unsupported.");
    bench.send(encrypt(&bench).without("content-type").sign(&bench.client)).await.expect_error(415, "InvalidContentType");
}

#[tokio::test]
async fn an_unknown_version_or_operation_is_named() {
    let bench = bench().await;
    let answer = bench.send(encrypt(&bench).set("x-kms-apiversion", "dkms-gcs-0.9").sign(&bench.client)).await;
    answer.expect_error(400, "InvalidApiVersion");
    let answer = bench.send(encrypt(&bench).set("x-kms-apiname", "Frobnicate").sign(&bench.client)).await;
    assert_eq!(answer.expect_error(400, "InvalidApiName"), "The ApiName \"Frobnicate\" is invalid.");
}

#[tokio::test]
async fn an_absent_header_is_named() {
    let bench = bench().await;
    let headers = [
        "x-kms-apiversion",
        "x-kms-apiname",
        "x-kms-signaturemethod",
        "x-kms-acccesskeyid",
        "content-sha256",
        "date",
        "authorization",
    ];
    for header in headers {
        let answer = bench.send(encrypt(&bench).sign(&bench.client).without(header)).await;
        let text = answer.expect_error(400, "MissingParameter");
        assert!(text.contains(header), "{text}");
    }
}

#[tokio::test]
async fn an_unusable_header_has_its_literal_text() {
    let bench = bench().await;
    let date = ["yesterday", "", "2026-11-24T00:00:00Z"].map(|text| ("date", text, "The Param Date is invalid."));
    let authorization =
        ["Bearer ?", "Basic eA==", "eA==", ""].map(|text| ("authorization", text, "The Param Authorization is invalid."));
    let method = ["RSA_PSS_SHA_256", ""].map(|text| ("x-kms-signaturemethod", text, "The Param x-kms-signaturemethod is invalid."));
    let zeros = "0".repeat(64);
    let hash = ["00", zeros.as_str(), ""].map(|text| ("content-sha256", text, "The Param Content-SHA256 is invalid."));
    for (header, value, text) in date.into_iter().chain(method).chain(hash) {
        let answer = bench.send(encrypt(&bench).set(header, value).sign(&bench.client)).await;
        assert_eq!(answer.expect_error(400, "InvalidParam"), text);
    }
    for (header, value, text) in authorization {
        let answer = bench.send(encrypt(&bench).sign(&bench.client).set(header, value)).await;
        assert_eq!(answer.expect_error(400, "InvalidParam"), text);
    }
}

#[tokio::test]
async fn a_header_given_twice_is_unusable() {
    let bench = bench().await;
    let headers = [
        "date",
        "authorization",
        "content-sha256",
        "content-type",
        "x-kms-apiversion",
        "x-kms-apiname",
        "x-kms-signaturemethod",
        "x-kms-acccesskeyid",
    ];
    for header in headers {
        bench.send(encrypt(&bench).sign(&bench.client).again(header)).await.expect_error(400, "InvalidParam");
    }
    let two = encrypt(&bench).set("x-kms-more", "1").sign(&bench.client).again("x-kms-more");
    bench.send(two).await.expect_error(400, "InvalidParam");
}

#[tokio::test]
async fn a_date_is_good_for_fifteen_minutes_either_way() {
    let bench = bench().await;
    let now = bench.clock.now();
    for seconds in [-900, 0, 900] {
        let answer = bench.send(encrypt(&bench).set("date", &moved(now, seconds)).sign(&bench.client)).await;
        assert_eq!(answer.status, 200, "{seconds} seconds off");
    }
    for seconds in [-901, 901, -86_400] {
        let answer = bench.send(encrypt(&bench).set("date", &moved(now, seconds)).sign(&bench.client)).await;
        answer.expect_error(400, "RequestTimeTooSkewed");
    }
}

#[tokio::test]
async fn an_unknown_client_key_is_named() {
    let bench = bench().await;
    for id in ["KAAP.11111111-2222-4333-8444-555555555555", "nobody"] {
        let text =
            bench.send(encrypt(&bench).set("x-kms-acccesskeyid", id).sign(&bench.client)).await.expect_error(404, "Unauthorized");
        assert!(text.contains(id), "{text}");
    }
}

#[tokio::test]
async fn what_is_signed_cannot_be_changed() {
    let bench = bench().await;
    let signed = || encrypt(&bench).sign(&bench.client);
    assert_eq!(bench.send(signed()).await.status, 200);
    let date = moved(bench.clock.now(), 1);
    for (header, value) in [("x-kms-apiname", "AdvanceEncrypt"), ("date", date.as_str()), ("x-kms-more", "1")] {
        bench.send(signed().set(header, value)).await.expect_error(401, "SignatureNotMatch");
    }
    let other = bench.client_key("everything", None).await;
    bench.send(encrypt(&bench).sign(&other)).await.expect_error(401, "SignatureNotMatch");
    bench
        .send(encrypt(&bench).set("x-kms-acccesskeyid", &other.id).sign(&bench.client))
        .await
        .expect_error(401, "SignatureNotMatch");
    // Two client keys of one access point are both good.
    assert_eq!(bench.send(encrypt(&bench).set("x-kms-acccesskeyid", &other.id).sign(&other)).await.status, 200);
}

#[tokio::test]
async fn the_manuals_word_token_is_taken_for_bearer() {
    let bench = bench().await;
    let mut call = encrypt(&bench).sign(&bench.client);
    for (name, value) in &mut call.headers {
        if name == "authorization" {
            *value = value.replace("Bearer", "TOKEN");
        }
    }
    assert_eq!(bench.send(call).await.status, 200);
}

#[tokio::test]
async fn a_client_key_is_good_from_its_first_to_its_last_second() {
    let bench = bench().await;
    let start = bench.clock.now();
    let at = |seconds| Timestamp::from_unix(start.unix() + seconds);
    let client = bench.client_key("everything", Some((at(100), at(200)))).await;
    for (seconds, good) in [(99, false), (100, true), (200, true), (201, false)] {
        bench.clock.set(at(seconds));
        let answer = bench.send(encrypt(&bench).set("x-kms-acccesskeyid", &client.id).sign(&client)).await;
        if good {
            assert_eq!(answer.status, 200, "{seconds}");
        } else {
            let text = answer.expect_error(403, "Forbidden.NoPermission");
            assert!(text.contains(&client.id), "{text}");
        }
    }
    // To who cannot sign it is a wrong signature, in or out of its time.
    let stranger = encrypt(&bench).set("x-kms-acccesskeyid", &client.id).sign(&bench.client);
    bench.send(stranger).await.expect_error(401, "SignatureNotMatch");
}

#[tokio::test]
async fn what_no_policy_grants_is_denied_by_the_resources_name() {
    let bench = bench().await;
    bench.access_point("one-key", &format!("key/{}", bench.aes)).await;
    let client = bench.client_key("one-key", None).await;
    let ask = |key: &str| {
        let request = EncryptRequest { key_id: key.to_owned(), plaintext: b"x".to_vec(), ..EncryptRequest::default() };
        bench.send(bench.call("Encrypt", &request).set("x-kms-acccesskeyid", &client.id).sign(&client))
    };
    assert_eq!(ask(bench.aes.as_str()).await.status, 200);
    // Of a key that is there and of one that is not, the same is told.
    for key in [bench.rsa_encrypt.as_str(), "key-hzz62f1cb66fa42qo0001"] {
        let text = ask(key).await.expect_error(403, "Forbidden.NoPermission");
        assert!(text.contains(&format!("key/{key}")), "{text}");
    }
    // At another instance the policy grants nothing.
    let request = EncryptRequest { key_id: bench.aes.to_string(), plaintext: b"x".to_vec(), ..EncryptRequest::default() };
    let call = bench.call("Encrypt", &request).sign(&bench.client);
    bench.send_to(bench.other_address, "/", call).await.expect_error(403, "Forbidden.NoPermission");
}

#[tokio::test]
async fn a_deleted_client_key_access_point_or_policy_works_no_more_at_once() {
    let bench = bench().await;
    bench.access_point("gone", "key/*").await;
    let client = bench.client_key("gone", None).await;
    let ask = || bench.send(encrypt(&bench).set("x-kms-acccesskeyid", &client.id).sign(&client));
    assert_eq!(ask().await.status, 200);
    bench.kms.delete_policy(&bench.operator, &"gone".parse().unwrap()).await.unwrap();
    ask().await.expect_error(403, "Forbidden.NoPermission");
    bench.kms.delete_access_point(&bench.operator, &"gone".parse().unwrap()).await.unwrap();
    ask().await.expect_error(404, "Unauthorized");
    bench.kms.delete_client_key(&bench.operator, &bench.client.id.parse().unwrap()).await.unwrap();
    bench.send(encrypt(&bench).sign(&bench.client)).await.expect_error(404, "Unauthorized");
}

/// Each request is wrong in everything from a row of the table on; the first row that is wrong decides.
#[tokio::test]
async fn the_order_of_the_checks_holds() {
    let bench = bench().await;
    let wrong = |from: usize| {
        let steps: [fn(Call) -> Call; 7] = [
            |call| call.set("x-kms-acccesskeyid", "nobody"),
            |call| call.set("date", "Mon, 23 Nov 2020 19:09:52 GMT"),
            |call| call.set("authorization", "Basic x"),
            |call| call.without("x-kms-signaturemethod"),
            |call| call.set("x-kms-apiname", "x"),
            |call| call.set("x-kms-apiversion", "x"),
            |call| call.set("content-type", "text/plain"),
        ];
        steps[..from].iter().fold(encrypt(&bench).sign(&bench.client), |call, step| step(call))
    };
    let codes = [
        "Unauthorized",
        "RequestTimeTooSkewed",
        "InvalidParam",
        "MissingParameter",
        "InvalidApiName",
        "InvalidApiVersion",
        "InvalidContentType",
    ];
    for (at, code) in codes.iter().enumerate() {
        assert_eq!(&bench.send(wrong(at + 1)).await.error().1, code);
    }
    let mut too_large = wrong(7);
    too_large.body = vec![0; 3 * 1024 * 1024 + 1];
    assert_eq!(bench.send(too_large).await.status, 413);
    let answer: EncryptResponse = bench.send(wrong(0)).await.message();
    assert_eq!(answer.key_id, bench.aes.as_str());
}

#[tokio::test]
async fn which_key_an_alias_points_to_is_told_to_those_alone_who_may_use_it() {
    let mut bench = bench().await;
    bench.kms.create_alias(&bench.operator, &"alias/pay".parse().unwrap(), bench.aes.as_str()).await.unwrap();
    let ask = |bench: &Bench, key: &str| {
        let request = EncryptRequest { key_id: key.to_owned(), plaintext: b"x".to_vec(), ..EncryptRequest::default() };
        bench.call("Encrypt", &request).sign(&bench.client)
    };
    let answer: EncryptResponse = bench.send(ask(&bench, "alias/pay")).await.message();
    assert_eq!(answer.key_id, bench.aes.as_str());
    bench.access_point("little", &format!("key/{}", bench.rsa_sign)).await;
    bench.client = bench.client_key("little", None).await;
    for alias in ["alias/pay", "alias/nobody"] {
        let text = bench.send(ask(&bench, alias)).await.expect_error(404, "Forbidden.AliasNotFound");
        assert_eq!(text, format!("There is no alias \"{alias}\"."));
    }
}

/// Who came by a ciphertext of somebody else does not learn whether its key is there still, in this instance or in another.
#[tokio::test]
async fn a_ciphertext_does_not_tell_that_its_key_is_there() {
    let mut bench = bench().await;
    let make = async |instance: &InstanceId| {
        let request = CreateKey { instance: Some(instance.clone()), ..CreateKey::default() };
        bench.kms.create_key(&bench.operator, request).await.unwrap().key
    };
    let (own, elsewhere) = (make(&bench.instance).await, make(&bench.other).await);
    let absent = KeyId::from_entropy(random::bytes());
    let theirs = bench.kms.describe_key(&bench.operator, bench.aes.as_str()).unwrap().key.primary_version;
    let others = [theirs, elsewhere.primary_version.clone(), KeyVersionId::from_entropy(&absent, random::bytes())]
        .map(|version| SelfContained { version, iv: [7; 12], ciphertext: vec![7; 20] });
    let ask = |bench: &Bench, key_id: &str, blob: &SelfContained| {
        let (key_id, ciphertext_blob) = (key_id.to_owned(), blob.to_bytes());
        let request = AdvanceDecryptRequest { key_id, ciphertext_blob, ..AdvanceDecryptRequest::default() };
        bench.call("AdvanceDecrypt", &request).sign(&bench.client)
    };
    // To who may use every key of the instance, what is not there is one of the things that can be wrong with a ciphertext.
    for blob in &others {
        bench.send(ask(&bench, "", blob)).await.expect_error(400, "InvalidParameter");
    }
    bench.access_point("little", &format!("key/{}", own.id)).await;
    bench.client = bench.client_key("little", None).await;
    let mut texts = std::collections::HashSet::new();
    for blob in &others {
        let text = bench.send(ask(&bench, "", blob)).await.expect_error(403, "Forbidden.NoPermission");
        assert!(text.contains(blob.version.key().as_str()), "{text}");
        texts.insert(bench.send(ask(&bench, own.id.as_str(), blob)).await.expect_error(400, "InvalidParameter"));
    }
    assert_eq!(texts.len(), 1, "{texts:?}");
}
