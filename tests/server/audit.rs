//! One record for each request at either plane, with who, what, on what, decision and reason; and nothing of what was sent.

use keystead::audit::{Position, Query, search, verify};
use keystead::base::SecretBytes;
use keystead::wire::instance_protocol::{DecryptRequest, EncryptRequest, EncryptResponse, GenerateRandomRequest};
use serde_json::Value;
use tokio::io::AsyncWriteExt;

use crate::bench::{Bench, bench};
use crate::shared::ask;

const PLAINTEXT: &[u8] = b"what must not be found anywhere";

/// Ends the server; gives the records of its requests in the order in which they were written.
pub async fn records(bench: &mut Bench) -> Vec<Value> {
    bench.end().await;
    bench.audit.close().await;
    let folder = bench.directory.path().join("audit");
    let verdict = verify(&folder, &SecretBytes::new(vec![7; 32]), bench.audit.position()).unwrap();
    assert!(verdict.is_whole(), "{verdict:?}");
    assert!(bench.audit.position() != Position::default());
    let mut records = Vec::new();
    search(&[folder], &Query::default(), |line| {
        records.push(serde_json::from_slice::<Value>(line).unwrap());
        Ok(())
    })
    .unwrap();
    records.retain(|record| record["plane"] != "log");
    records
}

/// Only the fields that are named, `null` for one that must be absent.
#[track_caller]
fn assert_says(record: &Value, expected: &Value) {
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&record[name], value, "{name} of {record}");
    }
}

#[tokio::test]
async fn requests_at_an_instance_are_recorded_whatever_becomes_of_them() {
    let mut bench = bench().await;
    let key = bench.aes.to_string();
    let encrypt = |key: &str| EncryptRequest { key_id: key.to_owned(), plaintext: PLAINTEXT.to_vec(), ..EncryptRequest::default() };
    let encrypted = bench.ask("Encrypt", &encrypt(&key)).await;
    let request_id = encrypted.message::<EncryptResponse>().request_id;
    bench.ask("GenerateRandom", &GenerateRandomRequest { length: 8 }).await;
    // Refused by a policy; by the signature; by name; by its form; and what is granted and does not work.
    bench.access_point("narrow", "key/key-other*").await;
    let narrow = bench.client_key("narrow", None).await;
    let everything = std::mem::replace(&mut bench.client, narrow);
    bench.ask("Encrypt", &encrypt(&key)).await.expect_error(403, "Forbidden.NoPermission");
    let narrow = std::mem::replace(&mut bench.client, everything);
    bench.send(bench.call("Encrypt", &encrypt(&key)).sign(&narrow)).await.expect_error(401, "SignatureNotMatch");
    let unknown = bench.call("Encrypt", &encrypt(&key)).set("x-kms-acccesskeyid", "KAAP.nobody").sign(&bench.client);
    bench.send(unknown).await.expect_error(404, "Unauthorized");
    let malformed = bench.call_with("Encrypt", vec![0xff; 9]).sign(&bench.client);
    bench.send(malformed).await.expect_error(400, "InvalidParameter");
    let decrypt =
        DecryptRequest { key_id: key.clone(), ciphertext_blob: vec![1; 40], iv: vec![2; 12], ..DecryptRequest::default() };
    bench.ask("Decrypt", &decrypt).await.expect_error(400, "InvalidParameter");

    let (instance, client) = (bench.instance.to_string(), bench.client.id.clone());
    let records = records(&mut bench).await;
    let [served, random, denied, wrong, nobody, malformed, undecryptable] = &records[..] else { panic!("{records:?}") };
    assert_says(
        served,
        &serde_json::json!({
            "plane": "instance", "instance": instance, "request_id": request_id, "operation": "Encrypt", "caller": client,
            "access_point": "everything", "source": "127.0.0.1", "key": key, "resource": null, "decision": "allow",
            "policy": "everything", "reason": null, "code": "OK", "claimed_caller": null,
        }),
    );
    assert!(served["key_version"].as_str().unwrap().starts_with(&key) && served["micros"].as_u64().unwrap() > 0, "{served}");
    assert_says(random, &serde_json::json!({ "operation": "GenerateRandom", "key": null, "decision": "allow", "code": "OK" }));
    assert_says(
        denied,
        &serde_json::json!({
            "caller": narrow.id, "access_point": "narrow", "key": key, "key_version": null, "decision": "deny", "policy": null,
            "code": "Forbidden.NoPermission",
        }),
    );
    assert!(denied["reason"].as_str().unwrap().contains("OtherResource"), "{denied}");
    assert_says(
        wrong,
        &serde_json::json!({
            "operation": "Encrypt", "caller": null, "claimed_caller": client, "decision": "deny", "code": "SignatureNotMatch",
        }),
    );
    assert_says(nobody, &serde_json::json!({ "caller": null, "claimed_caller": "KAAP.nobody", "code": "Unauthorized" }));
    // Nobody got as far as to decide.
    assert_says(malformed, &serde_json::json!({ "caller": client, "key": null, "decision": null, "code": "InvalidParameter" }));
    assert_says(
        undecryptable,
        &serde_json::json!({ "operation": "Decrypt", "key": key, "decision": "allow", "policy": "everything", "code": "InvalidParameter" }),
    );
}

#[tokio::test]
async fn a_denial_by_an_alias_is_recorded_with_the_key_that_it_hides() {
    let mut bench = bench().await;
    let key = bench.aes.to_string();
    bench.kms.create_alias(&bench.operator, &"alias/hidden".parse().unwrap(), &key).await.unwrap();
    bench.access_point("narrow", "key/key-other*").await;
    bench.client = bench.client_key("narrow", None).await;
    let encrypt = EncryptRequest { key_id: "alias/hidden".to_owned(), plaintext: vec![1], ..EncryptRequest::default() };
    bench.ask("Encrypt", &encrypt).await.expect_error(404, "Forbidden.AliasNotFound");
    let records = records(&mut bench).await;
    assert_says(
        &records[0],
        &serde_json::json!({ "resource": "alias/hidden", "key": key, "decision": "deny", "code": "Forbidden.AliasNotFound" }),
    );
}

#[tokio::test]
async fn requests_of_operators_are_recorded() {
    let mut bench = bench().await;
    let key = bench.aes.to_string();
    let text = std::str::from_utf8(PLAINTEXT).unwrap();
    let made = ask(&bench, "CreateKey", &[]).await.json();
    let request_id = made["RequestId"].as_str().unwrap();
    ask(&bench, "CreateAlias", &[("AliasName", "alias/a"), ("KeyId", &key)]).await;
    ask(&bench, "Encrypt", &[("KeyId", "alias/a"), ("Plaintext", text)]).await;
    ask(&bench, "DescribeKey", &[("KeyId", "key-hzz62f1cb66fa42qo0001")]).await;
    ask(&bench, "DeleteAlias", &[("AliasName", "alias/a")]).await;
    ask(&bench, "DescribeApplicationAccessPoint", &[("Name", "everything")]).await;
    // A signature that is wrong: what was signed has the plaintext in it, and the client is told.
    let secret = std::mem::replace(&mut bench.secret, "another".to_owned());
    let wrong = ask(&bench, "Encrypt", &[("KeyId", &key), ("Plaintext", text)]).await.json();
    assert_eq!(wrong["Code"], "SignatureDoesNotMatch");
    bench.secret = secret;

    let operator = bench.operator.access_key.to_string();
    let records = records(&mut bench).await;
    let [created, alias, encrypted, unknown, deleted, described, wrong] = &records[..] else { panic!("{records:?}") };
    let new = &made["KeyMetadata"]["KeyId"];
    assert_says(
        created,
        &serde_json::json!({
            "plane": "shared", "request_id": request_id, "operation": "CreateKey", "caller": operator, "source": "127.0.0.1",
            "key": new, "decision": "allow", "code": "OK",
        }),
    );
    assert!(created["key_version"].as_str().unwrap().starts_with(new.as_str().unwrap()));
    assert_says(alias, &serde_json::json!({ "operation": "CreateAlias", "resource": "alias/a", "key": key, "code": "OK" }));
    assert_says(encrypted, &serde_json::json!({ "operation": "Encrypt", "resource": "alias/a", "key": key, "code": "OK" }));
    assert!(encrypted["key_version"].as_str().unwrap().starts_with(&key), "{encrypted}");
    assert_says(
        unknown,
        &serde_json::json!({ "key": "key-hzz62f1cb66fa42qo0001", "decision": "allow", "code": "Forbidden.KeyNotFound" }),
    );
    assert_says(deleted, &serde_json::json!({ "operation": "DeleteAlias", "resource": "alias/a", "key": key, "code": "OK" }));
    assert_says(described, &serde_json::json!({ "resource": "everything", "key": null }));
    assert_says(
        wrong,
        &serde_json::json!({
            "operation": "Encrypt", "caller": null, "claimed_caller": operator, "resource": key, "decision": "deny",
            "code": "SignatureDoesNotMatch",
        }),
    );
    for entry in std::fs::read_dir(bench.directory.path().join("audit")).unwrap() {
        let content = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!content.windows(8).any(|bytes| bytes == &PLAINTEXT[..8]), "a payload is in the log");
    }
}

/// Everything that a request is about is found in its record, whatever becomes of it.
#[tokio::test]
async fn requests_about_several_keys_name_them_all() {
    let mut bench = bench().await;
    let keys = [&bench.aes, &bench.rsa_sign, &bench.rsa_encrypt].map(ToString::to_string);
    let [from, to, third] = &keys;
    let resources = [("ResourceType", "key"), ("ResourceId.1", from), ("ResourceId.2", to), ("ResourceId.7", third)];
    let tag = [&resources[..], &[("Tag.1.Key", "a"), ("Tag.1.Value", "b")]].concat();
    assert_eq!(ask(&bench, "TagResources", &tag).await.status, 200);
    assert_eq!(ask(&bench, "UntagResources", &[&resources[..], &[("All", "true")]].concat()).await.status, 200);
    let nothing = [("ResourceType", "key"), ("ResourceId.1", from), ("ResourceId.2", "no key"), ("Tag.1.Key", "a")];
    assert_eq!(ask(&bench, "TagResources", &nothing).await.status, 404);

    let destination = bench.kms.create_key(&bench.operator, Default::default()).await.unwrap().key.id.to_string();
    bench.kms.create_alias(&bench.operator, &"alias/to".parse().unwrap(), &destination).await.unwrap();
    let blob = ask(&bench, "Encrypt", &[("KeyId", from), ("Plaintext", "eA==")]).await.json();
    let blob = [("CiphertextBlob", blob["CiphertextBlob"].as_str().unwrap()), ("DestinationKeyId", "alias/to")];
    assert_eq!(ask(&bench, "ReEncrypt", &blob).await.status, 200);
    let pair = [("SourceKeyId", third.as_str()), ("CiphertextBlob", "eA=="), ("DestinationKeyId", &destination)];
    assert_eq!(ask(&bench, "ReEncrypt", &pair).await.status, 400);
    // The key that loses an alias.
    assert_eq!(ask(&bench, "UpdateAlias", &[("AliasName", "alias/to"), ("KeyId", from)]).await.status, 200);

    let records = records(&mut bench).await;
    let [tagged, untagged, nothing, _, symmetric, pair, alias] = &records[..] else { panic!("{records:?}") };
    for record in [tagged, untagged] {
        assert_says(record, &serde_json::json!({ "key": from, "resource": null, "other_resources": [to, third], "code": "OK" }));
    }
    assert_says(nothing, &serde_json::json!({ "key": from, "other_resources": ["no key"] }));
    assert_says(
        symmetric,
        &serde_json::json!({ "key": from, "resource": "alias/to", "other_resources": [destination], "code": "OK" }),
    );
    assert!(symmetric["key_version"].as_str().unwrap().starts_with(from), "of the key that is named beside it: {symmetric}");
    assert_says(pair, &serde_json::json!({ "key": third, "other_resources": [destination], "key_version": null }));
    assert_says(alias, &serde_json::json!({ "key": from, "resource": "alias/to", "other_resources": [destination] }));
    let found = |key: &str| {
        let (query, mut found) = (Query { key: Some(key.to_owned()), ..Query::default() }, 0);
        let folder = bench.directory.path().join("audit");
        search(&[folder], &query, |_| {
            found += 1;
            Ok(())
        })
        .unwrap();
        found
    };
    assert_eq!([found(to), found(third), found(&destination), found("no key")], [2, 3, 3, 1]);
}

#[tokio::test]
async fn a_request_that_its_client_gives_up_is_recorded() {
    let mut bench = bench().await;
    let mut stream = bench.tls(bench.address, b"http/1.1").await.into_inner();
    stream.write_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nonly a part").await.unwrap();
    stream.flush().await.unwrap();
    // The server has it as soon as its place is taken.
    let begun = std::time::Instant::now();
    while bench.audit.status().waiting == 0 && bench.audit.status().records == 1 {
        assert!(begun.elapsed().as_secs() < 30, "the request does not begin");
        tokio::task::yield_now().await;
    }
    drop(stream);
    let records = records(&mut bench).await;
    assert_eq!(records.len(), 1, "{records:?}");
    // Whether it notices the end of the body or of the connection first.
    let code = records[0]["code"].as_str().unwrap();
    assert!(["Abandoned", "InvalidParameter"].contains(&code), "{records:?}");
    assert_eq!(bench.audit.status().waiting, 0);
}

#[tokio::test]
async fn metrics_tell_of_the_log() {
    let bench = bench().await;
    ask(&bench, "DeleteAlias", &[("AliasName", "alias/none")]).await;
    let (_, page) = crate::bench::get(bench.telemetry, "/metrics").await;
    // That it was opened, and the request, whose answer waited for its record: it would have changed something.
    for line in ["keystead_audit_records_total 2", "keystead_audit_failing 0", "keystead_audit_queue_bound 32768"] {
        assert!(page.contains(line), "{line} is not in\n{page}");
    }
}
