//! When a key shows which one it is: at its first use in an epoch and not again. And what becomes of one that once shows something else.

use std::time::Duration;

use keystead::base::Kind;
use keystead::model::algorithm::{KeySpec, KeyUsage};
use keystead::tier::Tier;
use keystead::tier::pkcs11::Pkcs11Tier;
use keystead::tier::status::Refusal;

use crate::calls::{sign, until};
use crate::fault::Fault;
use crate::isolated::{isolated, runtime};
use crate::softhsm;
use crate::world::{key, settings};

/// C_Initialize is called anew, and nobody uses a key meanwhile.
async fn new_epoch(fault: &Fault, tier: &Pkcs11Tier) {
    fault.tell("uninitialise");
    until("it is mended", Duration::from_secs(10), async || tier.health().await.is_ok()).await;
    fault.tell("reset-counts");
}

#[test]
fn a_key_is_looked_at_once_in_each_epoch() {
    isolated("strangers::a_key_is_looked_at_once_in_each_epoch", 1, || {
        let label = softhsm::token();
        let fault = Fault::here();
        runtime().block_on(async {
            let tier = Pkcs11Tier::connect(settings(&label)).await.unwrap();
            let (id, ec) = key(&tier, KeySpec::EcP256, KeyUsage::SignVerify).await;
            for _ in 0..3 {
                fault.tell("reset-counts");
                for _ in 0..5 {
                    sign(&*ec, b"a text").await.unwrap();
                }
                assert_eq!((fault.calls("C_SignInit"), fault.calls("C_Sign"), fault.calls("all")), (5, 5, 10), "two calls each");
                new_epoch(fault, &tier).await;
                sign(&*ec, b"a text").await.unwrap();
                assert_eq!(fault.calls("C_Sign"), 2, "its own and the caller's");
            }
            // One that shows something else is not used then, and is named until it shows the right thing.
            new_epoch(fault, &tier).await;
            let rule = fault.rule("flip C_Sign nth=1");
            assert_eq!(sign(&*ec, b"a text").await.unwrap_err().kind(), Kind::Internal);
            assert_eq!((rule.fired(), fault.calls("C_Sign")), (1, 1), "nothing is signed for the caller");
            drop(rule);
            let name = String::from_utf8(id).unwrap();
            assert_eq!(tier.status().refused, [(name, Refusal::Another)]);
            sign(&*ec, b"a text").await.unwrap();
            assert_eq!(tier.status().refused, []);
            tier.close().await.unwrap();
        });
    });
}

/// The check is an operation like any other: what fails in it is mended, and the caller is served.
#[test]
fn a_module_that_stumbles_at_the_look_refuses_no_key() {
    isolated("strangers::a_module_that_stumbles_at_the_look_refuses_no_key", 1, || {
        let label = softhsm::token();
        let fault = Fault::here();
        runtime().block_on(async {
            let tier = Pkcs11Tier::connect(settings(&label)).await.unwrap();
            let (_, ec) = key(&tier, KeySpec::EcP256, KeyUsage::SignVerify).await;
            for answer in ["CKR_DEVICE_ERROR", "CKR_SESSION_HANDLE_INVALID", "CKR_GENERAL_ERROR", "CKR_USER_NOT_LOGGED_IN"] {
                new_epoch(fault, &tier).await;
                let rule = fault.rule(&format!("fail C_Sign {answer} nth=1"));
                sign(&*ec, b"a text").await.unwrap();
                assert_eq!(rule.fired(), 1, "{answer}");
                assert_eq!(tier.status().refused, [], "{answer}");
            }
            tier.close().await.unwrap();
        });
    });
}
