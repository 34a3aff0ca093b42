//! The OpenAPI at the endpoint of an instance: cryptography with its keys by an AccessKey, and nothing else.

use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keystead::model::{Alias, KeyId, KeyVersionId};
use keystead::wire::openapi::{Action, CRYPTOGRAPHY};
use keystead::wire::signing::AcsScheme;

use crate::bench::{Answer, Bench, bench};
use crate::shared::{code, query, secret, signed_call};

async fn ask_at(bench: &Bench, address: SocketAddr, action: &str, parameters: &[(&str, &str)]) -> Answer {
    let by = (bench.operator.access_key.as_str(), &secret(bench));
    let call = signed_call(bench, by, AcsScheme::V3, action, parameters, |_| {});
    bench.send_to(address, &query(parameters), call).await
}

#[tokio::test]
async fn the_keys_of_the_instance_are_used_and_ciphertexts_are_those_of_the_shared_gateway() {
    let bench = bench().await;
    let text = STANDARD.encode(b"a text");
    let key = bench.aes.as_str();
    let sealed = ask_at(&bench, bench.address, "Encrypt", &[("KeyId", key), ("Plaintext", &text)]).await;
    assert_eq!(sealed.status, 200, "{}", sealed.json());
    let blob = sealed.json()["CiphertextBlob"].as_str().unwrap().to_owned();
    for address in [bench.address, bench.shared] {
        let opened = ask_at(&bench, address, "Decrypt", &[("CiphertextBlob", &blob)]).await;
        assert_eq!((opened.status, opened.json()["Plaintext"].as_str()), (200, Some(text.as_str())));
    }
    let elsewhere = ask_at(&bench, bench.other_address, "Decrypt", &[("CiphertextBlob", &blob)]).await;
    assert_eq!(code(&elsewhere), (404, "Forbidden.KeyNotFound".to_owned()));
    let elsewhere = ask_at(&bench, bench.other_address, "Encrypt", &[("KeyId", key), ("Plaintext", &text)]).await;
    assert_eq!(code(&elsewhere), (404, "Forbidden.KeyNotFound".to_owned()));
}

/// Whoever calls the endpoint of one instance does not learn what there is in another.
#[tokio::test]
async fn a_key_of_another_instance_is_told_of_like_one_that_there_is_not() {
    let bench = bench().await;
    let alias: Alias = "alias/elsewhere".parse().unwrap();
    bench.kms.create_alias(&bench.operator, &alias, bench.aes.as_str()).await.unwrap();
    // Its policy would say something else than that it is not there.
    let policy = r#"{"Version":"1","Statement":[{"Effect":"Deny","Principal":{"RAM":["acs:ram::0:*"]},"Action":["kms:*"],"Resource":["*"]}]}"#;
    let denied = bench.kms.create_key(&bench.operator, Default::default()).await.unwrap().key.id;
    bench.kms.set_key_policy(&bench.operator, denied.as_str(), None, policy.parse().unwrap()).await.unwrap();
    let absent = KeyId::from_entropy(keystead::base::random::bytes());
    let version = |key: &KeyId| KeyVersionId::from_entropy(key, [1; 10]).to_string();
    let pair = &bench.rsa_encrypt;
    let answer = async |action: &str, named: &str, key: &str, version: &str| {
        // Symmetric operations have no version to name.
        let version_named = if ["Encrypt", "GenerateDataKey"].contains(&action) { "" } else { version };
        let parameters = [
            ("KeyId", key),
            ("KeyVersionId", version_named),
            ("Plaintext", "eA=="),
            ("CiphertextBlob", "eA=="),
            ("Algorithm", "RSAES_OAEP_SHA_256"),
        ];
        let answer = ask_at(&bench, bench.other_address, action, &parameters).await;
        let message = answer.json()["Message"].as_str().unwrap().replace(named, "<key>").replace(version, "<version>");
        (code(&answer), message)
    };
    for action in ["Encrypt", "GenerateDataKey", "AsymmetricEncrypt", "AsymmetricDecrypt", "GetPublicKey"] {
        let nothing = answer(action, absent.as_str(), absent.as_str(), &version(&absent)).await;
        assert_eq!(nothing.0, (404, "Forbidden.KeyNotFound".to_owned()), "{action}");
        for key in [&bench.aes, pair, &denied] {
            assert_eq!(answer(action, key.as_str(), key.as_str(), &version(key)).await, nothing, "{action}");
        }
        let nothing = answer(action, "alias/none", "alias/none", &version(&absent)).await;
        assert_eq!(nothing.0.1, "Forbidden.AliasNotFound", "{action}");
        assert_eq!(answer(action, alias.as_str(), alias.as_str(), &version(pair)).await, nothing, "{action}");
    }
}

#[tokio::test]
async fn what_is_no_cryptography_is_at_the_shared_gateway() {
    let bench = bench().await;
    for action in Action::ALL {
        let answer = ask_at(&bench, bench.address, action.name(), &[]).await;
        let served = CRYPTOGRAPHY.contains(action) && *action != Action::ReEncrypt;
        let expected = if served { "MissingParameter" } else { "UnsupportedOperation" };
        assert_eq!(code(&answer), (400, expected.to_owned()), "{}", action.name());
        if !served {
            let message = answer.json()["Message"].as_str().unwrap().to_owned();
            assert!(message.contains(action.name()) && message.contains("shared gateway"), "{message}");
        }
    }
}

#[tokio::test]
async fn a_request_is_good_once_at_all_endpoints_together() {
    let bench = bench().await;
    let text = STANDARD.encode(b"a text");
    let parameters = [("KeyId", bench.aes.as_str()), ("Plaintext", text.as_str())];
    let by = (bench.operator.access_key.as_str(), &secret(&bench));
    let call = signed_call(&bench, by, AcsScheme::V3, "Encrypt", &parameters, |_| {});
    let first = bench.send_to(bench.address, &query(&parameters), call.clone()).await;
    assert_eq!(first.status, 200);
    for address in [bench.shared, bench.other_address, bench.address] {
        let again = bench.send_to(address, &query(&parameters), call.clone()).await;
        assert_eq!(code(&again), (400, "SignatureNonceUsed".to_owned()));
    }
}
