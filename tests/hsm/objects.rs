//! What the keys look like to somebody else who logs in to the token.

use cryptoki::context::Pkcs11;
use cryptoki::mechanism::MechanismType;
use cryptoki::object::{Attribute, AttributeType, ObjectClass};
use keystead::base::Kind;
use keystead::model::algorithm::{KeySpec, KeyUsage};
use keystead::model::key::Material;
use keystead::tier::pkcs11::Pkcs11Tier;
use keystead::tier::{NewKey, Tier};

use crate::{new_key, softhsm, tier};

/// The attributes of the one private object of an id, read by another session of the process, which shares the login.
fn attributes(tier: &Pkcs11Tier, new: &NewKey, wanted: &[AttributeType]) -> Vec<Attribute> {
    let context = Pkcs11::new(softhsm::module()).unwrap();
    let session = context.open_rw_session(tier.token().unwrap().slot_id.try_into().unwrap()).unwrap();
    let found = session.find_objects(&[Attribute::Token(true), Attribute::Id(new.id.clone())]).unwrap();
    assert_eq!(found.len(), 1, "one object of a key stays on the token");
    session.get_attributes(found[0], wanted).unwrap()
}

#[tokio::test]
async fn keys_are_local_sensitive_and_never_extractable() {
    let tier = tier().await;
    for spec in [KeySpec::Aes256, KeySpec::Aes192, KeySpec::Aes128, KeySpec::Rsa2048, KeySpec::EcP256, KeySpec::EcP256k] {
        for usage in spec.usages() {
            let new = new_key(spec, *usage);
            let created = tier.create(new.clone()).await.unwrap();
            let told = created.attributes.unwrap();
            assert!(told.local && told.sensitive && told.always_sensitive && !told.extractable && told.never_extractable);
            let wanted = [
                AttributeType::Local,
                AttributeType::Sensitive,
                AttributeType::AlwaysSensitive,
                AttributeType::Extractable,
                AttributeType::NeverExtractable,
                AttributeType::Modifiable,
                AttributeType::Copyable,
                AttributeType::Private,
            ];
            for attribute in attributes(&tier, &new, &wanted) {
                match attribute {
                    Attribute::Local(value) | Attribute::Sensitive(value) | Attribute::AlwaysSensitive(value) => {
                        assert!(value, "{spec}")
                    }
                    Attribute::NeverExtractable(value) | Attribute::Private(value) => assert!(value, "{spec}"),
                    Attribute::Extractable(value) | Attribute::Modifiable(value) | Attribute::Copyable(value) => {
                        assert!(!value, "{spec}")
                    }
                    other => panic!("{other:?} was not asked for"),
                }
            }
        }
    }
    tier.close().await.unwrap();
}

#[tokio::test]
async fn a_key_may_do_what_its_usage_needs_and_nothing_else() {
    let tier = tier().await;
    let uses = [
        (KeySpec::Aes256, KeyUsage::EncryptDecrypt, vec!["encrypt", "decrypt"]),
        (KeySpec::Rsa2048, KeyUsage::EncryptDecrypt, vec!["decrypt"]),
        (KeySpec::Rsa2048, KeyUsage::SignVerify, vec!["sign"]),
        (KeySpec::EcP256, KeyUsage::EncryptDecrypt, vec!["derive"]),
        (KeySpec::EcP256, KeyUsage::SignVerify, vec!["sign"]),
        (KeySpec::HmacSha256, KeyUsage::GenerateVerifyMac, vec!["sign"]),
    ];
    for (spec, usage, wanted) in uses {
        let new = new_key(spec, usage);
        tier.create(new.clone()).await.unwrap();
        let asked = [
            AttributeType::Class,
            AttributeType::Encrypt,
            AttributeType::Decrypt,
            AttributeType::Sign,
            AttributeType::SignRecover,
            AttributeType::Verify,
            AttributeType::Wrap,
            AttributeType::Unwrap,
            AttributeType::Derive,
        ];
        let mut allowed = Vec::new();
        for attribute in attributes(&tier, &new, &asked) {
            match attribute {
                Attribute::Class(class) => {
                    assert_eq!(class == ObjectClass::SECRET_KEY, spec.is_symmetric());
                }
                Attribute::Encrypt(true) => allowed.push("encrypt"),
                Attribute::Decrypt(true) => allowed.push("decrypt"),
                Attribute::Sign(true) => allowed.push("sign"),
                Attribute::SignRecover(true) => allowed.push("sign recover"),
                Attribute::Verify(true) => allowed.push("verify"),
                Attribute::Wrap(true) => allowed.push("wrap"),
                Attribute::Unwrap(true) => allowed.push("unwrap"),
                Attribute::Derive(true) => allowed.push("derive"),
                _ => {}
            }
        }
        assert_eq!(allowed, wanted, "{spec} {usage}");
    }
    tier.close().await.unwrap();
}

#[tokio::test]
async fn a_key_names_the_mechanisms_that_may_use_it() {
    let tier = tier().await;
    let new = new_key(KeySpec::Rsa2048, KeyUsage::SignVerify);
    tier.create(new.clone()).await.unwrap();
    let [Attribute::AllowedMechanisms(allowed)] = &attributes(&tier, &new, &[AttributeType::AllowedMechanisms])[..] else {
        panic!("the token keeps CKA_ALLOWED_MECHANISMS")
    };
    assert_eq!(allowed.len(), 2);
    assert!(allowed.contains(&MechanismType::RSA_PKCS) && allowed.contains(&MechanismType::RSA_PKCS_PSS));
    tier.close().await.unwrap();
}

#[tokio::test]
async fn an_id_is_used_once() {
    let tier = tier().await;
    let new = new_key(KeySpec::Aes256, KeyUsage::EncryptDecrypt);
    tier.create(new.clone()).await.unwrap();
    assert_eq!(tier.create(new.clone()).await.err().unwrap().kind(), Kind::ResourceExists);
    assert_eq!(tier.residents().await.unwrap(), std::slice::from_ref(&new.id));
    tier.destroy(Material::Resident(new.id)).await.unwrap();
    assert!(tier.residents().await.unwrap().is_empty());
    tier.close().await.unwrap();
}

#[tokio::test]
async fn the_probes_leave_nothing_behind() {
    let tier = tier().await;
    let context = Pkcs11::new(softhsm::module()).unwrap();
    let session = context.open_rw_session(tier.token().unwrap().slot_id.try_into().unwrap()).unwrap();
    assert!(session.find_objects(&[Attribute::Token(true)]).unwrap().is_empty());
    drop(session);
    tier.close().await.unwrap();
}

#[tokio::test]
async fn keys_of_others_are_not_ours() {
    let tier = tier().await;
    let context = Pkcs11::new(softhsm::module()).unwrap();
    let session = context.open_rw_session(tier.token().unwrap().slot_id.try_into().unwrap()).unwrap();
    let template =
        [Attribute::Token(true), Attribute::Private(true), Attribute::ValueLen(32.into()), Attribute::Id(b"somebody's".to_vec())];
    session.generate_key(&cryptoki::mechanism::Mechanism::AesKeyGen, &template).unwrap();
    assert!(tier.residents().await.unwrap().is_empty());
    drop(session);
    tier.close().await.unwrap();
}
