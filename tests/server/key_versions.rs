//! The header by which transfer clients name a key version: every operation of the instance protocol obeys it or refuses it.

use hyper::header::HeaderValue;
use keystead::model::{InstanceId, KeyId, KeyVersionId};
use keystead::service::requests::{CreateKey, Page};
use keystead::wire::instance_protocol::*;
use prost::Message;

use crate::audit::records;
use crate::bench::{Answer, Bench, Call, bench, request};

/// A version that is not there, of a key that is.
const NO_VERSION: &str = "0000000000";

async fn add_version(bench: &Bench, key: &KeyId) -> [KeyVersionId; 2] {
    let first = bench.kms.describe_key(&bench.operator, key.as_str()).unwrap().key.initial_version;
    [first, bench.kms.create_key_version(&bench.operator, key.as_str()).await.unwrap().version]
}

fn naming(bench: &Bench, version: &str, operation: &str, body: Vec<u8>) -> Call {
    bench.call_with(operation, body).set(KEY_VERSION_HEADER, version).sign(&bench.client)
}

async fn ask(bench: &Bench, version: &KeyVersionId, operation: &str, message: &impl Message) -> Answer {
    bench.send(naming(bench, version.as_str(), operation, message.encode_to_vec())).await
}

fn used(answer: &Answer) -> String {
    if answer.status != 200 {
        panic!("{:?}", answer.error());
    }
    answer.headers[KEY_VERSION_HEADER].to_str().unwrap().to_owned()
}

/// A request with this key for every operation, and none for those that use no key.
fn requests(key_id: &str, symmetric: bool) -> Vec<(Operation, Vec<u8>)> {
    let key_id = || key_id.to_owned();
    let (spec, format) = ("EC_P256".to_owned(), "PEM".to_owned());
    let asymmetric = vec![
        (Operation::GetPublicKey, GetPublicKeyRequest { key_id: key_id() }.encode_to_vec()),
        (Operation::Sign, SignRequest { key_id: key_id(), message: vec![7], ..SignRequest::default() }.encode_to_vec()),
        (
            Operation::Verify,
            VerifyRequest { key_id: key_id(), message: vec![7], signature: vec![7; 256], ..VerifyRequest::default() }
                .encode_to_vec(),
        ),
    ];
    if !symmetric {
        return asymmetric;
    }
    vec![
        (Operation::Encrypt, EncryptRequest { key_id: key_id(), plaintext: vec![7], ..EncryptRequest::default() }.encode_to_vec()),
        (
            Operation::AdvanceEncrypt,
            AdvanceEncryptRequest { key_id: key_id(), plaintext: vec![7], ..AdvanceEncryptRequest::default() }.encode_to_vec(),
        ),
        (
            Operation::GenerateDataKey,
            GenerateDataKeyRequest { key_id: key_id(), ..GenerateDataKeyRequest::default() }.encode_to_vec(),
        ),
        (
            Operation::AdvanceGenerateDataKey,
            AdvanceGenerateDataKeyRequest { key_id: key_id(), ..AdvanceGenerateDataKeyRequest::default() }.encode_to_vec(),
        ),
        (
            Operation::GenerateDataKeyPair,
            GenerateDataKeyPairRequest {
                key_id: key_id(),
                key_pair_spec: spec.clone(),
                key_format: format.clone(),
                ..GenerateDataKeyPairRequest::default()
            }
            .encode_to_vec(),
        ),
        (
            Operation::GenerateDataKeyPairWithoutPlaintext,
            GenerateDataKeyPairWithoutPlaintextRequest {
                key_id: key_id(),
                key_pair_spec: spec.clone(),
                key_format: format.clone(),
                ..GenerateDataKeyPairWithoutPlaintextRequest::default()
            }
            .encode_to_vec(),
        ),
        (
            Operation::AdvanceGenerateDataKeyPair,
            AdvanceGenerateDataKeyPairRequest {
                key_id: key_id(),
                key_pair_spec: spec.clone(),
                key_format: format.clone(),
                ..AdvanceGenerateDataKeyPairRequest::default()
            }
            .encode_to_vec(),
        ),
        (
            Operation::AdvanceGenerateDataKeyPairWithoutPlaintext,
            AdvanceGenerateDataKeyPairWithoutPlaintextRequest {
                key_id: key_id(),
                key_pair_spec: spec,
                key_format: format,
                ..AdvanceGenerateDataKeyPairWithoutPlaintextRequest::default()
            }
            .encode_to_vec(),
        ),
    ]
}

/// Those that need what another one made: see the tests of Decrypt and AdvanceDecrypt.
const DECRYPTING: [Operation; 2] = [Operation::Decrypt, Operation::AdvanceDecrypt];
const WITHOUT_VERSIONS: [Operation; 2] = [Operation::GenerateRandom, Operation::GetSecretValue];

#[tokio::test]
async fn every_operation_uses_the_version_that_is_named() {
    let bench = bench().await;
    let mut tested: Vec<_> = DECRYPTING.into_iter().chain(WITHOUT_VERSIONS).collect();
    for (key, symmetric) in [(&bench.aes, true), (&bench.rsa_sign, false)] {
        let versions = add_version(&bench, key).await;
        for (operation, body) in requests(key.as_str(), symmetric) {
            for version in &versions {
                let answer = bench.send(naming(&bench, version.as_str(), operation.name(), body.clone())).await;
                assert_eq!(used(&answer), version.as_str(), "{operation:?}");
            }
            tested.push(operation);
        }
        // Without a KeyId the key of the version is meant.
        for (operation, body) in requests("", symmetric) {
            let answer = bench.send(naming(&bench, versions[1].as_str(), operation.name(), body)).await;
            assert_eq!(used(&answer), versions[1].as_str(), "{operation:?}");
        }
    }
    assert!(Operation::ALL.iter().all(|operation| tested.contains(operation)), "{tested:?}");
    for operation in WITHOUT_VERSIONS {
        let version = format!("{}-{NO_VERSION}", bench.aes);
        let text = bench.send(naming(&bench, &version, operation.name(), Vec::new())).await.expect_error(400, "InvalidParameter");
        assert!(text.contains(operation.name()) && text.contains(KEY_VERSION_HEADER), "{text}");
    }
}

/// What the retired version signed is no signature of the version that is asked for.
#[tokio::test]
async fn a_signature_is_of_one_version() {
    let bench = bench().await;
    let versions = add_version(&bench, &bench.rsa_sign).await;
    let key_id = bench.rsa_sign.to_string();
    let mut public_keys = Vec::new();
    for signer in &versions {
        let request = SignRequest { key_id: key_id.clone(), message: b"text".to_vec(), ..SignRequest::default() };
        let signature = ask(&bench, signer, "Sign", &request).await.message::<SignResponse>().signature;
        for verifier in &versions {
            let (message, signature) = (b"text".to_vec(), signature.clone());
            let request = VerifyRequest { key_id: key_id.clone(), message, signature, ..VerifyRequest::default() };
            let answer: VerifyResponse = ask(&bench, verifier, "Verify", &request).await.message();
            assert_eq!(answer.value, signer == verifier);
        }
        let answer = ask(&bench, signer, "GetPublicKey", &GetPublicKeyRequest { key_id: key_id.clone() }).await;
        public_keys.push(answer.message::<GetPublicKeyResponse>().public_key);
    }
    assert_ne!(public_keys[0], public_keys[1]);
}

#[tokio::test]
async fn what_a_version_encrypted_decrypts_by_it_alone() {
    let bench = bench().await;
    for key in [&bench.aes, &bench.rsa_encrypt] {
        let [first, second] = add_version(&bench, key).await;
        let request = EncryptRequest { key_id: key.to_string(), plaintext: b"text".to_vec(), ..EncryptRequest::default() };
        let sealed: EncryptResponse = ask(&bench, &second, "Encrypt", &request).await.message();
        for key_id in ["", key.as_str()] {
            let (ciphertext_blob, iv) = (sealed.ciphertext_blob.clone(), sealed.iv.clone());
            let request = DecryptRequest { ciphertext_blob, iv, key_id: key_id.to_owned(), ..DecryptRequest::default() };
            let opened: DecryptResponse = ask(&bench, &second, "Decrypt", &request).await.message();
            assert_eq!((opened.plaintext.as_slice(), opened.key_id.as_str()), (&b"text"[..], key.as_str()));
            ask(&bench, &first, "Decrypt", &request).await.expect_error(400, "InvalidParameter");
        }
    }
    let [first, second] = add_version(&bench, &bench.aes).await;
    let key_id = bench.aes.to_string();
    let request = AdvanceEncryptRequest { key_id: key_id.clone(), plaintext: b"text".to_vec(), ..AdvanceEncryptRequest::default() };
    let sealed: AdvanceEncryptResponse = ask(&bench, &first, "AdvanceEncrypt", &request).await.message();
    assert_eq!(sealed.key_version_id, first.as_str());
    let plain = EncryptRequest { key_id: key_id.clone(), plaintext: b"text".to_vec(), ..EncryptRequest::default() };
    let plain: EncryptResponse = ask(&bench, &second, "Encrypt", &plain).await.message();
    for key_id in ["", key_id.as_str()] {
        let blob = |ciphertext_blob: &[u8], iv: &[u8]| AdvanceDecryptRequest {
            ciphertext_blob: ciphertext_blob.to_vec(),
            iv: iv.to_vec(),
            key_id: key_id.to_owned(),
            ..AdvanceDecryptRequest::default()
        };
        // What describes itself, and what Encrypt made.
        for (blob, by, not_by) in [
            (blob(&sealed.ciphertext_blob, &[]), &first, &second),
            (blob(&sealed.ciphertext_blob, &sealed.iv), &first, &second),
            (blob(&plain.ciphertext_blob, &plain.iv), &second, &first),
        ] {
            let opened = ask(&bench, by, "AdvanceDecrypt", &blob).await;
            assert_eq!(used(&opened), by.as_str());
            assert_eq!(opened.message::<AdvanceDecryptResponse>().plaintext, b"text");
            ask(&bench, not_by, "AdvanceDecrypt", &blob).await.expect_error(400, "InvalidParameter");
        }
    }
}

#[tokio::test]
async fn a_version_that_is_not_the_keys_is_told_to_those_who_may_use_the_key() {
    let mut bench = bench().await;
    let make = async |instance: &InstanceId| {
        let request = CreateKey { instance: Some(instance.clone()), ..CreateKey::default() };
        bench.kms.create_key(&bench.operator, request).await.unwrap().key
    };
    let (elsewhere, own) = (make(&bench.other).await.initial_version, make(&bench.instance).await.id);
    let other = |key: &KeyId| bench.kms.list_key_versions(&bench.operator, key.as_str(), Page { number: 1, size: 1 }).unwrap();
    let of_others = [&bench.aes, &bench.rsa_sign].map(|key| other(key).items[0].version.to_string());
    let [of_aes, of_pair] = &of_others;
    let absent = format!("{}-{NO_VERSION}", bench.aes);
    let decrypting = |key_id: &str| {
        let (key_id, iv, ciphertext_blob) = (key_id.to_owned(), vec![7; 12], vec![7; 20]);
        let advance = AdvanceDecryptRequest {
            key_id: key_id.clone(),
            iv: iv.clone(),
            ciphertext_blob: ciphertext_blob.clone(),
            ..AdvanceDecryptRequest::default()
        };
        let plain = DecryptRequest { key_id, iv, ciphertext_blob, ..DecryptRequest::default() };
        [(Operation::Decrypt, plain.encode_to_vec()), (Operation::AdvanceDecrypt, advance.encode_to_vec())]
    };
    let all = |key_id: &str| -> Vec<_> {
        requests(key_id, true).into_iter().chain(requests(key_id, false)).chain(decrypting(key_id)).collect()
    };
    for (key_id, version, status, code) in [
        (bench.aes.as_str(), of_pair.as_str(), 404, "Forbidden.KeyVersionNotFound"),
        (bench.aes.as_str(), absent.as_str(), 404, "Forbidden.KeyVersionNotFound"),
        ("", absent.as_str(), 404, "Forbidden.KeyVersionNotFound"),
        ("", elsewhere.as_str(), 404, "Forbidden.KeyNotFound"),
        ("nonsense", of_aes.as_str(), 404, "Forbidden.KeyNotFound"),
        ("alias/nobody", of_aes.as_str(), 404, "Forbidden.AliasNotFound"),
    ] {
        for (operation, body) in all(key_id) {
            let answer = bench.send(naming(&bench, version, operation.name(), body)).await;
            let (is_status, is_code, text) = answer.error();
            assert_eq!((is_status, is_code.as_str()), (status, code), "{operation:?}, {key_id:?}, {version}: {text}");
        }
    }
    bench.access_point("little", &format!("key/{own}")).await;
    bench.client = bench.client_key("little", None).await;
    for (key_id, version) in [("", of_aes.as_str()), ("", absent.as_str()), (bench.aes.as_str(), absent.as_str())] {
        for (operation, body) in all(key_id) {
            let text =
                bench.send(naming(&bench, version, operation.name(), body)).await.expect_error(403, "Forbidden.NoPermission");
            assert!(text.contains(bench.aes.as_str()), "{text}");
        }
    }
    for (operation, body) in all(own.as_str()) {
        bench.send(naming(&bench, of_aes, operation.name(), body)).await.expect_error(404, "Forbidden.KeyVersionNotFound");
    }
}

#[tokio::test]
async fn an_empty_header_is_none_and_a_malformed_one_is_refused_after_the_signature() {
    let mut bench = bench().await;
    let versions = add_version(&bench, &bench.aes).await;
    let key = bench.aes.to_string();
    let body = || requests(&key, true).swap_remove(0).1;
    assert_eq!(used(&bench.send(naming(&bench, "", "Encrypt", body())).await), versions[0].as_str());
    let stranger = bench.client_key("everything", None).await;
    let long = "x".repeat(1000);
    let malformed = ["x", key.as_str(), "dead0000-1111-2222-3333-444455556666", "schlüssel", &long];
    for version in malformed {
        let text = bench.send(naming(&bench, version, "Encrypt", body())).await.expect_error(400, "InvalidParameter");
        assert!(text.contains(KEY_VERSION_HEADER) && text.len() < 300, "{text}");
        let call = bench.call_with("Encrypt", body()).set(KEY_VERSION_HEADER, version).sign(&stranger);
        bench.send(call).await.expect_error(401, "SignatureNotMatch");
    }
    // One that a proxy sends twice, and one that an HTTP library sends as ISO 8859-1.
    let twice = |client| {
        bench.call_with("Encrypt", body()).set(KEY_VERSION_HEADER, versions[0].as_str()).sign(client).again(KEY_VERSION_HEADER)
    };
    let text = bench.send(twice(&bench.client)).await.expect_error(400, "InvalidParameter");
    assert!(text.contains(KEY_VERSION_HEADER) && text.contains("more than once"), "{text}");
    bench.send(twice(&stranger)).await.expect_error(401, "SignatureNotMatch");
    let latin = |client| {
        let mut request =
            request(bench.address, "/", bench.call_with("Encrypt", body()).set(KEY_VERSION_HEADER, "schlüssel").sign(client));
        request.headers_mut().insert(KEY_VERSION_HEADER, HeaderValue::from_bytes(b"schl\xfcssel").unwrap());
        bench.send_request(bench.address, request)
    };
    let text = latin(&bench.client).await.expect_error(400, "InvalidParameter");
    assert!(text.contains(KEY_VERSION_HEADER), "{text}");
    latin(&stranger).await.expect_error(401, "SignatureNotMatch");
    // It is signed, as every header of its kind.
    let other = naming(&bench, versions[1].as_str(), "Encrypt", body());
    bench.send(other.clone().set(KEY_VERSION_HEADER, versions[0].as_str())).await.expect_error(401, "SignatureNotMatch");
    bench.send(other.without(KEY_VERSION_HEADER)).await.expect_error(401, "SignatureNotMatch");

    let (client, records) = (bench.client.id.clone(), records(&mut bench).await);
    let refused: Vec<_> = records.iter().filter(|record| record["code"] == "InvalidParameter").collect();
    assert!(
        refused.len() == malformed.len() + 2 && refused.iter().all(|record| record["caller"] == client.as_str()),
        "{refused:?}"
    );
}
