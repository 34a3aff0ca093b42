//! The OpenAPI at the endpoint of an instance: cryptography with its keys by an AccessKey, and nothing else.

use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
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
