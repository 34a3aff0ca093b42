//! A fault while what the token can do is tested: it ends the tests, which begin anew. Nothing is taken for missing because of it, no
//! template is laxer, and nothing moves from the token into the process.

use std::sync::Arc;
use std::time::Duration;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::object::{Attribute, AttributeType, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use keystead::base::Kind;
use keystead::model::algorithm::{KeySpec, KeyUsage};
use keystead::model::key::Material;
use keystead::tier::pkcs11::{Pkcs11Tier, Settings};
use keystead::tier::{Capability, StoredKey, Support, Tier};

use crate::calls::{round_trip, until};
use crate::fault::{self, Fault};
use crate::isolated::{isolated, runtime};
use crate::softhsm;
use crate::world::{key, new_key, settings};

/// Key pairs are made again and again, on a busy machine.
const PATIENT: Duration = Duration::from_secs(120);

/// Functions of the tests, with the call of each that fails: the first may be made before any test.
const FUNCTIONS: [(&str, u64); 10] = [
    ("C_GenerateKey", 2),
    ("C_GenerateKeyPair", 2),
    ("C_CreateObject", 3),
    ("C_Encrypt", 9),
    // RSA-OAEP in the token: after those of AES, of a hash that SoftHSM lacks, and of what is decoded in the process for that.
    ("C_DecryptInit", 69),
    ("C_Decrypt", 68),
    ("C_SignInit", 2),
    ("C_DeriveKey", 2),
    ("C_UnwrapKey", 3),
    ("C_GetMechanismInfo", 1),
];

/// What modules say of a fault; the first three of what they lack, too.
const ANSWERS: [&str; 5] = ["CKR_GENERAL_ERROR", "CKR_FUNCTION_FAILED", "CKR_DEVICE_ERROR", "CKR_DEVICE_MEMORY", "CKR_HOST_MEMORY"];

fn patient(label: &str) -> Settings {
    Settings { deadline: PATIENT, generation_deadline: PATIENT, ..settings(label) }
}

/// What a tier was found to do; how long that takes is another matter.
fn found(tier: &Pkcs11Tier) -> Vec<Capability> {
    tier.describe().capabilities.iter().map(|line| Capability { cost: None, ..line.clone() }).collect()
}

fn assert_same(found: &[Capability], healthy: &[Capability], rule: &str) {
    let text = |lines: &[Capability]| lines.iter().map(|line| format!("{line:?}")).collect::<Vec<_>>();
    assert_eq!(text(found), text(healthy), "{rule}");
}

/// A session of the test's own in the process that the tier initialises the module in.
fn session(label: &str) -> Session {
    let module = Pkcs11::new(fault::module()).unwrap();
    let _ = module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK));
    let slots = module.get_slots_with_token().unwrap();
    let slot = slots.into_iter().find(|slot| module.get_token_info(*slot).is_ok_and(|token| token.label() == label));
    let session = module.open_ro_session(slot.unwrap()).unwrap();
    // The tier is logged in already.
    let _ = session.login(UserType::User, Some(&AuthPin::new(softhsm::PIN.into())));
    session
}

/// The attributes that only strict templates set.
fn strict(session: &Session, id: &[u8]) -> Vec<Attribute> {
    let found: Vec<ObjectHandle> = session.find_objects(&[Attribute::Id(id.to_vec())]).unwrap();
    let wanted = [AttributeType::Modifiable, AttributeType::Copyable, AttributeType::AllowedMechanisms];
    session.get_attributes(found[0], &wanted).unwrap()
}

#[test]
fn a_fault_during_the_tests_changes_nothing_of_what_they_find() {
    isolated("learning::a_fault_during_the_tests_changes_nothing_of_what_they_find", 1, || {
        let label = softhsm::token();
        let token = fault::token(&label);
        let fault = Fault::here();
        runtime().block_on(async {
            let tier = Pkcs11Tier::connect(patient(&label)).await.unwrap();
            let healthy = found(&tier);
            let (id, _) = key(&tier, KeySpec::Aes256, KeyUsage::EncryptDecrypt).await;
            let template = strict(&session(&label), &id);
            tier.destroy(Material::Resident(id)).await.unwrap();
            tier.close().await.unwrap();
            for (at, (function, nth)) in FUNCTIONS.into_iter().enumerate() {
                let rule = format!("fail {function} {} nth={nth} {token}", ANSWERS[at % ANSWERS.len()]);
                let fails = fault.rule(&rule);
                let tier = Pkcs11Tier::connect(patient(&label)).await.unwrap();
                assert_eq!(fails.fired(), 1, "{rule}");
                assert_same(&found(&tier), &healthy, &rule);
                let (id, _) = key(&tier, KeySpec::Aes256, KeyUsage::EncryptDecrypt).await;
                assert_eq!(strict(&session(&label), &id), template, "{rule}");
                tier.destroy(Material::Resident(id)).await.unwrap();
                tier.close().await.unwrap();
            }
        });
    });
}

#[test]
fn a_fault_that_lasts_refuses_nothing_for_good() {
    isolated("learning::a_fault_that_lasts_refuses_nothing_for_good", 1, || {
        let label = softhsm::token();
        let token = fault::token(&label);
        let fault = Fault::here();
        runtime().block_on(async {
            let tier = Pkcs11Tier::connect(patient(&label)).await.unwrap();
            let healthy = found(&tier);
            let new = new_key(KeySpec::Aes256, KeyUsage::EncryptDecrypt);
            let made = tier.create(new).await.unwrap();
            let stored = || StoredKey {
                spec: KeySpec::Aes256,
                usage: KeyUsage::EncryptDecrypt,
                material: made.material.duplicate(),
                public_key: None,
                witness: None,
            };
            tier.close().await.unwrap();
            for rule in
                ["fail C_GenerateKeyPair CKR_GENERAL_ERROR", "fail C_DecryptInit CKR_DEVICE_ERROR", "fail C_DeriveKey 0x80000123"]
            {
                let lasts = fault.rule(&format!("{rule} {token}"));
                let tier = Arc::new(Pkcs11Tier::start(patient(&label)).await.unwrap());
                assert!(lasts.fired() > 1, "{rule}");
                // Passing trouble, for a key that is there and for a new one.
                let opened = tier.open(stored()).await.err().map(|error| error.kind());
                let created = tier.create(new_key(KeySpec::EcP256, KeyUsage::SignVerify)).await.err().map(|error| error.kind());
                for kind in [opened, created] {
                    assert!(matches!(kind, Some(Kind::Throttled | Kind::Unavailable)), "{rule}: {kind:?}");
                }
                drop(lasts);
                until("it is found out", PATIENT, async || tier.describe().capabilities.iter().next().is_some()).await;
                assert_same(&found(&tier), &healthy, rule);
                let key = tier.open(stored()).await.unwrap();
                round_trip(&*key, b"a text").await.unwrap();
                tier.close().await.unwrap();
            }
        });
    });
}

#[test]
fn what_a_module_lacks_is_believed_whatever_it_calls_that() {
    isolated("learning::what_a_module_lacks_is_believed_whatever_it_calls_that", 1, || {
        let label = softhsm::token();
        let token = fault::token(&label);
        let fault = Fault::here();
        runtime().block_on(async {
            // SoftHSM says CKR_ARGUMENTS_BAD of OAEP with SHA-256; kryoptic and others have vaguer words for what they lack.
            let vague = fault.rule(&format!("fail C_DecryptInit CKR_GENERAL_ERROR instead-of=CKR_ARGUMENTS_BAD {token}"));
            let tier = Pkcs11Tier::connect(patient(&label)).await.unwrap();
            assert!(vague.fired() > 0);
            let oaep: Vec<_> = found(&tier).into_iter().filter(|line| line.ability.to_string() == "RSAES_OAEP_SHA_256").collect();
            assert!(!oaep.is_empty() && oaep.iter().all(|line| matches!(line.support, Support::Assisted(_))), "{oaep:?}");
            tier.close().await.unwrap();
        });
    });
}
