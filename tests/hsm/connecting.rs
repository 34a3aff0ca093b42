//! Finding the module, the token, the PIN: each mistake is one clear line.

use std::process::Command;
use std::sync::Arc;

use keystead::base::{Kind, Pin};
use keystead::model::algorithm::{EncryptionAlgorithm, KeySpec, KeyUsage};
use keystead::tier::pkcs11::{OaepPolicy, PinState, Pkcs11Tier, Settings, list};
use keystead::tier::{Ability, Support, Tier};

use crate::{new_key, settings, settings_of, softhsm};

async fn refusal(settings: Settings) -> String {
    let error = Pkcs11Tier::connect(settings).await.err().expect("it does not connect");
    assert_eq!(error.kind(), Kind::Unavailable, "{error:?}");
    error.message().to_owned()
}

#[tokio::test]
async fn a_missing_module_is_named() {
    let settings = Settings { module: "/nowhere/libpkcs11.so".into(), ..settings() };
    assert!(refusal(settings).await.contains("/nowhere/libpkcs11.so"));
}

#[tokio::test]
async fn a_library_that_is_no_module_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("not-a-module.so");
    std::fs::write(&path, b"not a library").unwrap();
    assert!(refusal(Settings { module: path, ..settings() }).await.contains("not-a-module.so"));
}

#[tokio::test]
async fn a_token_that_is_not_there_is_named_with_those_that_are() {
    let label = softhsm::token();
    let text = refusal(Settings { token: "pkcs11:token=elsewhere".parse().unwrap(), ..settings_of(&label) }).await;
    assert!(text.contains("elsewhere") && text.contains(&label), "{text}");
}

#[tokio::test]
async fn a_uri_that_means_several_tokens_is_refused() {
    let text = refusal(Settings { token: "pkcs11:manufacturer=SoftHSM%20project".parse().unwrap(), ..settings() }).await;
    assert!(text.contains("Several") && text.contains("serial="), "{text}");
}

#[tokio::test]
async fn a_wrong_pin_is_tried_once() {
    let label = softhsm::token();
    let text = refusal(Settings { pin: Arc::new(Pin::new("wrong-pin".into())), ..settings_of(&label) }).await;
    assert!(text.contains("PIN") && text.contains(&label) && !text.contains("wrong-pin"), "{text}");
    let tokens = list(&softhsm::module()).await.unwrap();
    let token = tokens.iter().find(|token| token.label == label).unwrap();
    assert_eq!(token.pin_state, PinState::CountLow);
    // Somebody failed once: that alone stops nobody who has the right one.
    Pkcs11Tier::connect(settings_of(&label)).await.unwrap().close().await.unwrap();
}

#[tokio::test]
async fn a_token_serves_one_tier_of_a_process() {
    let label = softhsm::token();
    let first = Pkcs11Tier::connect(settings_of(&label)).await.unwrap();
    assert!(refusal(settings_of(&label)).await.contains("in use"));
    first.close().await.unwrap();
    Pkcs11Tier::connect(settings_of(&label)).await.unwrap().close().await.unwrap();
}

#[tokio::test]
async fn a_listed_token_tells_what_a_person_looks_for() {
    let label = softhsm::token();
    let tokens = list(&softhsm::module()).await.unwrap();
    let token = tokens.iter().find(|token| token.label == label).unwrap();
    assert!(token.initialized && token.user_pin_initialized && !token.serial.is_empty() && token.manufacturer.contains("SoftHSM"));
}

#[tokio::test]
async fn what_the_token_lacks_is_known_before_a_key_is_made() {
    let tier = Pkcs11Tier::connect(settings()).await.unwrap();
    let oaep = Ability::Encrypt(EncryptionAlgorithm::RsaesOaepSha256);
    let described = tier.describe();
    let support = &described.capabilities.of(KeySpec::Rsa2048, oaep).unwrap().support;
    assert!(!matches!(support, Support::Missing(_)), "{support:?}");
    let assisted = matches!(support, Support::Assisted(_));
    tier.close().await.unwrap();

    let strict = Pkcs11Tier::connect(Settings { oaep: OaepPolicy::TokenOnly, ..settings() }).await.unwrap();
    let made = strict.create(new_key(KeySpec::Rsa2048, KeyUsage::EncryptDecrypt)).await;
    if assisted {
        let error = made.err().expect("the token lacks OAEP with SHA-256");
        assert_eq!(error.kind(), Kind::UnsupportedOperation);
        assert!(error.message().contains("RSAES_OAEP_SHA_256"), "{error}");
        assert!(strict.residents().await.unwrap().is_empty());
    } else {
        made.unwrap();
    }
    strict.close().await.unwrap();
}

/// The tests' own tool: it must see the tokens that the module sees.
#[test]
fn softhsm_is_the_one_of_this_process() {
    let label = softhsm::token();
    let shown = Command::new("softhsm2-util").arg("--show-slots").output().unwrap();
    assert!(String::from_utf8_lossy(&shown.stdout).contains(&label));
}
