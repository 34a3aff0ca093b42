//! Objects of somebody else in the token that have the id of a key of ours.

use std::sync::Arc;

use cryptoki::context::Pkcs11;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, CertificateType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use keystead::base::{Kind, Result, SecretBytes};
use keystead::model::algorithm::{KeySpec, KeyUsage};
use keystead::model::key::{Material, SubjectPublicKeyInfo};
use keystead::tier::pkcs11::Pkcs11Tier;
use keystead::tier::status::Refusal;
use keystead::tier::{CheckValue, Encryption, KeyHandle, NewKey, Share, StoredKey, Tier, Witness};

use crate::{new_key, settings_of, softhsm};

/// Every form of key that there is.
const FORMS: [(KeySpec, KeyUsage); 6] = [
    (KeySpec::Aes256, KeyUsage::EncryptDecrypt),
    (KeySpec::HmacSha256, KeyUsage::GenerateVerifyMac),
    (KeySpec::Rsa2048, KeyUsage::SignVerify),
    (KeySpec::Rsa2048, KeyUsage::EncryptDecrypt),
    (KeySpec::EcP256, KeyUsage::SignVerify),
    (KeySpec::EcP256, KeyUsage::EncryptDecrypt),
];

/// What the keys of somebody else are called.
const STRANGER: &[u8] = b"stranger";

/// Knows a key by the bytes of its check value.
struct Knows(Vec<u8>);

impl Witness for Knows {
    fn knows(&self, value: &CheckValue) -> bool {
        value.secret().constant_time_eq(&self.0)
    }
}

/// A key as whoever made it keeps it.
struct Kept {
    new: NewKey,
    public_key: Option<SubjectPublicKeyInfo>,
    check_value: Vec<u8>,
}

impl Kept {
    async fn make(tier: &Pkcs11Tier, spec: KeySpec, usage: KeyUsage) -> Self {
        let new = new_key(spec, usage);
        let created = tier.create(new.clone()).await.unwrap();
        let check_value = created.check_value.unwrap().secret().expose().to_vec();
        Self { new, public_key: created.public_key, check_value }
    }

    fn stored(&self) -> StoredKey {
        StoredKey {
            spec: self.new.spec,
            usage: self.new.usage,
            material: Material::Resident(self.new.id.clone()),
            public_key: self.public_key.clone(),
            witness: Some(Arc::new(Knows(self.check_value.clone()))),
        }
    }

    async fn open(&self, tier: &Pkcs11Tier) -> Result<Arc<dyn KeyHandle>> {
        tier.open(self.stored()).await
    }

    fn name(&self) -> String {
        String::from_utf8(self.new.id.clone()).unwrap()
    }
}

async fn connect(label: &str) -> Pkcs11Tier {
    Pkcs11Tier::connect(settings_of(label)).await.unwrap()
}

/// Another session of the process, which shares the login.
fn somebody(tier: &Pkcs11Tier) -> Session {
    let context = Pkcs11::new(softhsm::module()).unwrap();
    context.open_rw_session(tier.token().unwrap().slot_id.try_into().unwrap()).unwrap()
}

fn objects(session: &Session, id: &[u8]) -> Vec<ObjectHandle> {
    session.find_objects(&[Attribute::Token(true), Attribute::Id(id.to_vec())]).unwrap()
}

/// A key of somebody else, of the same kind and id.
fn stranger(session: &Session, new: &NewKey) -> ObjectHandle {
    let common =
        [Attribute::Token(true), Attribute::Private(true), Attribute::Id(new.id.clone()), Attribute::Label(STRANGER.to_vec())];
    let secret = |more: &[Attribute]| [&common[..], more].concat();
    let pair = |how: &Mechanism<'_>, public: &[Attribute], use_: Attribute| {
        let (public, private) = session.generate_key_pair(how, public, &secret(&[use_])).unwrap();
        session.destroy_object(public).unwrap();
        private
    };
    let bits = [Attribute::ModulusBits(2048.into()), Attribute::PublicExponent(vec![1, 0, 1])];
    let curve = [Attribute::EcParams(vec![0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07])];
    match (new.spec, new.usage) {
        (KeySpec::Aes256, _) => {
            let template = secret(&[Attribute::ValueLen(32.into()), Attribute::Encrypt(true), Attribute::Decrypt(true)]);
            session.generate_key(&Mechanism::AesKeyGen, &template).unwrap()
        }
        (KeySpec::HmacSha256, _) => {
            let template = secret(&[Attribute::ValueLen(32.into()), Attribute::Sign(true)]);
            session.generate_key(&Mechanism::GenericSecretKeyGen, &template).unwrap()
        }
        (KeySpec::Rsa2048, KeyUsage::SignVerify) => pair(&Mechanism::RsaPkcsKeyPairGen, &bits, Attribute::Sign(true)),
        (KeySpec::Rsa2048, _) => pair(&Mechanism::RsaPkcsKeyPairGen, &bits, Attribute::Decrypt(true)),
        (_, KeyUsage::SignVerify) => pair(&Mechanism::EccKeyPairGen, &curve, Attribute::Sign(true)),
        _ => pair(&Mechanism::EccKeyPairGen, &curve, Attribute::Derive(true)),
    }
}

#[tokio::test]
async fn a_key_shows_the_same_in_every_life_of_the_token_and_no_two_keys_do() {
    let label = softhsm::token();
    let tier = connect(&label).await;
    let mut kept = Vec::new();
    for (spec, usage) in FORMS {
        kept.push(Kept::make(&tier, spec, usage).await);
        kept.push(Kept::make(&tier, spec, usage).await);
    }
    let values: std::collections::HashSet<_> = kept.iter().map(|key| &key.check_value).collect();
    assert_eq!(values.len(), kept.len());
    tier.close().await.unwrap();
    let tier = connect(&label).await;
    for key in &kept {
        key.open(&tier).await.unwrap();
        // Who keeps nothing of a key is told what to keep.
        let opened = tier.open(StoredKey { witness: None, ..key.stored() }).await.unwrap();
        assert!(opened.check_value().unwrap().secret().constant_time_eq(&key.check_value), "{}", key.new.spec);
    }
    assert_eq!(tier.status().refused, []);
    tier.close().await.unwrap();
}

#[tokio::test]
async fn another_key_under_the_id_of_ours_is_not_used() {
    let label = softhsm::token();
    let tier = connect(&label).await;
    let mut kept = Vec::new();
    for (spec, usage) in FORMS {
        let key = Kept::make(&tier, spec, usage).await;
        let session = somebody(&tier);
        session.destroy_object(objects(&session, &key.new.id)[0]).unwrap();
        stranger(&session, &key.new);
        kept.push(key);
    }
    // In the life in which it was exchanged, and in the next one.
    let mut tier = tier;
    for _ in 0..2 {
        for key in &kept {
            let error = key.open(&tier).await.err().unwrap();
            assert_eq!(error.kind(), Kind::Internal, "{error}");
            assert!(error.message().contains(&key.name()) && error.message().contains("another one"), "{error}");
            assert!(tier.status().refused.contains(&(key.name(), Refusal::Another)), "{}", key.new.spec);
        }
        tier.close().await.unwrap();
        tier = connect(&label).await;
    }
    tier.close().await.unwrap();
}

#[tokio::test]
async fn a_handle_that_was_opened_before_is_not_another_key_afterwards() {
    let tier = connect(&softhsm::token()).await;
    for witnessed in [true, false] {
        let key = Kept::make(&tier, KeySpec::Aes256, KeyUsage::EncryptDecrypt).await;
        let stored = if witnessed { key.stored() } else { StoredKey { witness: None, ..key.stored() } };
        let handle = tier.open(stored).await.unwrap();
        let encrypt = || {
            let how = Encryption::AesGcm { aad: Vec::new() };
            handle.cipher().unwrap().encrypt(Share::default(), how, SecretBytes::new(b"text".to_vec()))
        };
        encrypt().await.unwrap();
        let session = somebody(&tier);
        session.destroy_object(objects(&session, &key.new.id)[0]).unwrap();
        let other = stranger(&session, &key.new);
        assert_eq!(encrypt().await.unwrap_err().kind(), Kind::Internal);
        // A key of another type is no key of ours at all.
        session.destroy_object(other).unwrap();
        stranger(&session, &NewKey { spec: KeySpec::HmacSha256, usage: KeyUsage::GenerateVerifyMac, ..key.new.clone() });
        assert_eq!(encrypt().await.unwrap_err().kind(), Kind::KeyNotFound);
    }
    tier.close().await.unwrap();
}

#[tokio::test]
async fn two_keys_of_one_id_are_named_not_used_and_not_destroyed() {
    let label = softhsm::token();
    let tier = connect(&label).await;
    let mut kept = Vec::new();
    for (spec, usage) in FORMS {
        let key = Kept::make(&tier, spec, usage).await;
        stranger(&somebody(&tier), &key.new);
        key.open(&tier).await.expect("it was known before the stranger came");
        kept.push(key);
    }
    tier.close().await.unwrap();
    let tier = connect(&label).await;
    let mut refused = tier.status().refused;
    refused.sort_by(|one, other| one.0.cmp(&other.0));
    let mut expected: Vec<_> = kept.iter().map(|key| (key.name(), Refusal::Several)).collect();
    expected.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(refused, expected, "the sweep names them");
    assert_eq!(tier.residents().await.unwrap().len(), kept.len(), "each id is told once");
    for key in &kept {
        let error = key.open(&tier).await.err().unwrap();
        assert_eq!(error.kind(), Kind::Internal, "{error}");
        assert!(error.message().contains(&key.name()) && error.message().contains("several keys"), "{error}");
        let error = tier.destroy(Material::Resident(key.new.id.clone())).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Internal, "{error}");
        let session = somebody(&tier);
        assert_eq!(objects(&session, &key.new.id).len(), 2, "nobody knows which is ours");
        // As soon as somebody has taken the other one out, ours is used and destroyed again.
        let template = [Attribute::Id(key.new.id.clone()), Attribute::Label(STRANGER.to_vec())];
        session.destroy_object(session.find_objects(&template).unwrap()[0]).unwrap();
        key.open(&tier).await.unwrap();
        assert!(!tier.status().refused.iter().any(|(id, _)| *id == key.name()));
        tier.destroy(Material::Resident(key.new.id.clone())).await.unwrap();
    }
    assert_eq!(tier.status().refused, []);
    tier.close().await.unwrap();
}

#[tokio::test]
async fn objects_that_are_no_keys_disturb_nobody_and_stay() {
    let label = softhsm::token();
    let tier = connect(&label).await;
    let mut kept = Vec::new();
    for (spec, usage) in FORMS {
        let key = Kept::make(&tier, spec, usage).await;
        let session = somebody(&tier);
        for private in [true, false] {
            let named = [Attribute::Token(true), Attribute::Private(private), Attribute::Id(key.new.id.clone())];
            let certificate = [
                Attribute::Class(ObjectClass::CERTIFICATE),
                Attribute::CertificateType(CertificateType::X_509),
                Attribute::Subject(vec![0x30, 0]),
                Attribute::Value(vec![0x30, 0]),
            ];
            session.create_object(&[&named[..], &certificate].concat()).unwrap();
            let public = [
                Attribute::Class(ObjectClass::PUBLIC_KEY),
                Attribute::KeyType(cryptoki::object::KeyType::RSA),
                Attribute::Modulus(vec![0xc5; 256]),
                Attribute::PublicExponent(vec![1, 0, 1]),
            ];
            session.create_object(&[&named[..], &public].concat()).unwrap();
        }
        kept.push(key);
    }
    tier.close().await.unwrap();
    let tier = connect(&label).await;
    assert_eq!(tier.residents().await.unwrap().len(), kept.len());
    for key in &kept {
        key.open(&tier).await.unwrap();
        tier.destroy(Material::Resident(key.new.id.clone())).await.unwrap();
        assert_eq!(key.open(&tier).await.err().unwrap().kind(), Kind::KeyNotFound);
        assert_eq!(objects(&somebody(&tier), &key.new.id).len(), 4, "what is not ours stays");
    }
    // An id that only they have is free.
    let new = new_key(KeySpec::Aes256, KeyUsage::EncryptDecrypt);
    let session = somebody(&tier);
    for id in [&kept[0].new.id, &new.id] {
        let data = [Attribute::Class(ObjectClass::DATA), Attribute::Token(true), Attribute::Label(id.clone())];
        session.create_object(&data).unwrap();
    }
    tier.create(new).await.unwrap();
    drop(session);
    tier.close().await.unwrap();
}
