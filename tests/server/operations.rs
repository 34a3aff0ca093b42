//! The table "errors" of the instance protocol, as far as its rows can be reached through operations; headers of answers.

use keystead::model::algorithm::KeySpec;
use keystead::service::requests::CreateKey;
use keystead::wire::instance_protocol::*;

use crate::bench::bench;

#[tokio::test]
async fn answers_name_the_key_version_they_used() {
    let bench = bench().await;
    let request = EncryptRequest { key_id: bench.aes.to_string(), plaintext: b"x".to_vec(), ..EncryptRequest::default() };
    let answer = bench.ask("Encrypt", &request).await;
    assert_eq!(answer.headers["content-type"], "application/x-protobuf");
    let version = answer.headers[KEY_VERSION_HEADER].to_str().unwrap().to_owned();
    assert!(version.starts_with(bench.aes.as_str()) && version.len() == 36);
    let sealed: EncryptResponse = answer.message();
    // A transfer client decrypts by the version, without a key id.
    let request = DecryptRequest { ciphertext_blob: sealed.ciphertext_blob, iv: sealed.iv, ..DecryptRequest::default() };
    let call = bench.call("Decrypt", &request).set(KEY_VERSION_HEADER, &version).sign(&bench.client);
    let opened: DecryptResponse = bench.send(call).await.message();
    assert_eq!(opened.plaintext, b"x");
    let gone = format!("{}-0000000000", bench.aes);
    let call = bench.call("Decrypt", &request).set(KEY_VERSION_HEADER, &gone).sign(&bench.client);
    bench.send(call).await.expect_error(404, "Forbidden.KeyVersionNotFound");
}

#[tokio::test]
async fn errors_of_operations_have_their_codes() {
    let bench = bench().await;
    let (aes, rsa) = (bench.aes.to_string(), bench.rsa_encrypt.to_string());
    let encrypt =
        |key_id: &str| EncryptRequest { key_id: key_id.to_owned(), plaintext: b"x".to_vec(), ..EncryptRequest::default() };
    for (request, status, code) in [
        (encrypt(""), 400, "MissingParameter"),
        (encrypt("key-hzz62f1cb66fa42qo0001"), 404, "Forbidden.KeyNotFound"),
        (encrypt("nonsense"), 404, "Forbidden.KeyNotFound"),
        (encrypt("alias/nobody"), 404, "Forbidden.AliasNotFound"),
        (encrypt(bench.rsa_sign.as_str()), 400, "UnsupportedOperation"),
        (EncryptRequest { algorithm: "AES_CTR".into(), ..encrypt(&aes) }, 400, "InvalidParameter"),
        (EncryptRequest { algorithm: "RSAES_OAEP_SHA_1".into(), ..encrypt(&aes) }, 400, "UnsupportedOperation"),
        (EncryptRequest { algorithm: "AES_GCM".into(), ..encrypt(&rsa) }, 400, "UnsupportedOperation"),
        (EncryptRequest { iv: vec![0; 12], ..encrypt(&aes) }, 400, "InvalidParameter"),
        (EncryptRequest { aad: vec![0; 8193], ..encrypt(&aes) }, 400, "InvalidParameter"),
        (EncryptRequest { aad: vec![0], ..encrypt(&rsa) }, 400, "InvalidParameter"),
        (EncryptRequest { padding_mode: "PKCS7_PADDING".into(), ..encrypt(&aes) }, 400, "InvalidParameter"),
        (
            EncryptRequest { algorithm: "AES_CBC".into(), padding_mode: "NO_PADDING".into(), ..encrypt(&aes) },
            400,
            "InvalidParameter",
        ),
        (EncryptRequest { plaintext: vec![0; 191], ..encrypt(&rsa) }, 400, "InvalidParameter"),
    ] {
        bench.ask("Encrypt", &request).await.expect_error(status, code);
    }
    let advance = AdvanceEncryptRequest { key_id: rsa.clone(), plaintext: b"x".to_vec(), ..AdvanceEncryptRequest::default() };
    bench.ask("AdvanceEncrypt", &advance).await.expect_error(404, "Forbidden.OnlySymmetricKeySupported");
    let decrypt = DecryptRequest { key_id: aes.clone(), ciphertext_blob: vec![0; 32], ..DecryptRequest::default() };
    bench.ask("Decrypt", &decrypt).await.expect_error(400, "MissingParameter");
    bench.ask("Decrypt", &DecryptRequest { iv: vec![0; 11], ..decrypt }).await.expect_error(400, "InvalidParameter");
    for number_of_bytes in [-1, 1025] {
        let request = GenerateDataKeyRequest { key_id: aes.clone(), number_of_bytes, ..GenerateDataKeyRequest::default() };
        bench.ask("GenerateDataKey", &request).await.expect_error(400, "InvalidParameter");
    }
    for length in [-1, 0, 1025] {
        bench.ask("GenerateRandom", &GenerateRandomRequest { length }).await.expect_error(400, "InvalidParameter");
    }
    let pair = GenerateDataKeyPairRequest { key_id: aes.clone(), ..GenerateDataKeyPairRequest::default() };
    bench.ask("GenerateDataKeyPair", &pair).await.expect_error(400, "MissingParameter");
    for (key_pair_spec, key_format) in [("Aliyun_AES_256", "PEM"), ("RSA_1024", "PEM"), ("EC_P256", "XML")] {
        let pair =
            GenerateDataKeyPairRequest { key_pair_spec: key_pair_spec.into(), key_format: key_format.into(), ..pair.clone() };
        bench.ask("GenerateDataKeyPair", &pair).await.expect_error(400, "InvalidParameter");
    }
    let secret = bench.call_with("GetSecretValue", Vec::new()).sign(&bench.client);
    bench.send(secret).await.expect_error(400, "UnsupportedOperation");
}

#[tokio::test]
async fn the_older_spelling_of_a_digest_is_read() {
    let bench = bench().await;
    let key_id = bench.rsa_sign.to_string();
    let digest = keystead::tier::public_key::sha256(b"message").to_vec();
    let older = SignRequest { key_id: key_id.clone(), digest: digest.clone(), ..SignRequest::default() };
    let signed: SignResponse = bench.ask("Sign", &older).await.message();
    assert_eq!((signed.algorithm.as_str(), signed.message_type.as_str()), ("RSA_PSS_SHA_256", "DIGEST"));
    for (message, signature, value) in
        [(b"message", &signed.signature, true), (b"massage", &signed.signature, false), (b"message", &vec![0; 256], false)]
    {
        let request = VerifyRequest {
            key_id: key_id.clone(),
            message: message.to_vec(),
            signature: signature.clone(),
            ..VerifyRequest::default()
        };
        let verified: VerifyResponse = bench.ask("Verify", &request).await.message();
        assert_eq!(verified.value, value);
    }
    let both = SignRequest { key_id: key_id.clone(), digest: digest.clone(), message: b"else".to_vec(), ..SignRequest::default() };
    bench.ask("Sign", &both).await.expect_error(400, "InvalidParameter");
    let cut = SignRequest { key_id, digest: digest[1..].to_vec(), ..SignRequest::default() };
    bench.ask("Sign", &cut).await.expect_error(400, "InvalidParameter");
}

#[tokio::test]
async fn one_data_key_pair_at_a_time() {
    let bench = bench().await;
    let request = GenerateDataKeyPairRequest {
        key_id: bench.aes.to_string(),
        key_pair_spec: "RSA_4096".into(),
        ..GenerateDataKeyPairRequest::default()
    };
    let answers = futures_join(&bench, &request).await;
    let throttled: Vec<_> = answers.iter().filter(|answer| answer.status == 429).collect();
    assert!(!throttled.is_empty() && throttled.len() < answers.len());
    for answer in throttled {
        assert_eq!(answer.expect_error(429, "Rejected.Throttling"), "Concurrency Limit Exceeded.");
    }
}

async fn futures_join(bench: &crate::bench::Bench, request: &GenerateDataKeyPairRequest) -> Vec<crate::bench::Answer> {
    let ask = || bench.ask("GenerateDataKeyPair", request);
    let (a, b, c) = tokio::join!(ask(), ask(), ask());
    vec![a, b, c]
}

#[tokio::test]
async fn a_key_of_another_instance_is_like_one_that_is_not_there() {
    let bench = bench().await;
    let request = CreateKey { instance: Some(bench.other.clone()), spec: Some(KeySpec::Aes256), ..CreateKey::default() };
    let elsewhere = bench.kms.create_key(&bench.operator, request).await.unwrap().key.id;
    let encrypt = EncryptRequest { key_id: elsewhere.to_string(), plaintext: b"x".to_vec(), ..EncryptRequest::default() };
    bench.ask("Encrypt", &encrypt).await.expect_error(404, "Forbidden.KeyNotFound");
}

#[tokio::test]
async fn a_tier_that_is_away_is_unavailable_for_the_moment() {
    let bench = bench().await;
    let request = EncryptRequest { key_id: bench.aes.to_string(), plaintext: b"x".to_vec(), ..EncryptRequest::default() };
    bench.ask("Encrypt", &request).await.message::<EncryptResponse>();
    bench.kms.close().await;
    bench.ask("Encrypt", &request).await.expect_error(503, "ServiceUnavailableTemporary");
    // What needs no tier is answered all the same.
    let request = GetPublicKeyRequest { key_id: "key-hzz62f1cb66fa42qo0001".to_owned() };
    bench.ask("GetPublicKey", &request).await.expect_error(404, "Forbidden.KeyNotFound");
}
