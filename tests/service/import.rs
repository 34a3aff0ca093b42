//! Imported material: the wrapped way in, the same material only, its end by order and by date, two nodes, many at once.

use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrapPadded};
use aws_lc_rs::rsa::{KeyPair, KeySize, OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use keystead::base::{FixedClock, Kind, Result, Timestamp, random};
use keystead::model::algorithm::{KeySpec, KeyUsage, MessageType, WrappingAlgorithm};
use keystead::model::key::{Key, KeyState, Material, Origin, Presence};
use keystead::model::tags::Tags;
use keystead::model::{InstanceId, KeyId, KeyVersionId};
use keystead::service::Kms;
use keystead::service::requests::*;
use keystead::store::KeyVersion;
use keystead::tier::{Iv, Tier};

use crate::rotation::{Mood, Moody};
use crate::{Bench, NOW, bench, encrypt, start_at, until};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix(NOW.unix() + seconds)
}

/// Key material wrapped as a client does it.
pub fn wrap(parameters: &ImportParameters, algorithm: WrappingAlgorithm, material: &[u8]) -> Vec<u8> {
    let key = OaepPublicEncryptingKey::new(PublicEncryptingKey::from_der(parameters.public_key.as_der()).unwrap()).unwrap();
    let oaep = match algorithm {
        WrappingAlgorithm::RsaesOaepSha256 => &OAEP_SHA256_MGF1SHA256,
        WrappingAlgorithm::RsaesOaepSha1 => &OAEP_SHA1_MGF1SHA1,
    };
    let seal = |secret: &[u8]| {
        let mut wrapped = vec![0; key.ciphertext_size()];
        key.encrypt(oaep, secret, &mut wrapped, None).unwrap();
        wrapped
    };
    if material.len() <= key.max_plaintext_size(oaep) {
        return seal(material);
    }
    let kek: [u8; 32] = random::bytes();
    let mut envelope = seal(&kek);
    let mut wrapped = vec![0; material.len() + 15];
    envelope.extend_from_slice(AesKek::new(&AES_256, &kek).unwrap().wrap_with_padding(material, &mut wrapped).unwrap());
    envelope
}

/// A key without material, and a service with a clock.
pub struct Importing {
    pub bench: Bench,
    pub kms: Arc<Kms>,
    pub clock: Arc<FixedClock>,
}

async fn importing() -> Importing {
    let bench = bench().await;
    let clock = Arc::new(FixedClock::at(NOW));
    let kms = start_at(bench.store.clone(), &bench.instance, Arc::clone(&clock)).await;
    Importing { bench, kms, clock }
}

impl Importing {
    async fn key(&self, spec: KeySpec, usage: KeyUsage) -> KeyId {
        let request = CreateKey { spec: Some(spec), usage: Some(usage), origin: Some(Origin::External), ..CreateKey::default() };
        let made = self.kms.create_key(&self.bench.operator, request).await.unwrap().key;
        assert_eq!((made.state, made.presence, made.origin), (KeyState::PendingImport, Presence::Absent, Origin::External));
        made.id
    }

    pub async fn aes(&self) -> KeyId {
        self.key(KeySpec::Aes256, KeyUsage::EncryptDecrypt).await
    }

    async fn parameters(&self, key: &KeyId) -> ImportParameters {
        self.parameters_for(key, WrappingAlgorithm::RsaesOaepSha256).await
    }

    pub async fn parameters_for(&self, key: &KeyId, algorithm: WrappingAlgorithm) -> ImportParameters {
        self.kms.parameters_for_import(&self.bench.operator, key.as_str(), algorithm).await.unwrap()
    }

    pub async fn send(&self, key: &KeyId, token: &[u8], wrapped: Vec<u8>, expires: Option<Timestamp>) -> Result<()> {
        let request = ImportKeyMaterial { key: key.to_string(), token: token.to_vec(), wrapped, expires };
        self.kms.import_key_material(&self.bench.operator, request).await
    }

    pub async fn import(&self, key: &KeyId, material: &[u8], expires: Option<Timestamp>) -> Result<()> {
        self.import_by(WrappingAlgorithm::RsaesOaepSha256, key, material, expires).await
    }

    pub async fn import_by(
        &self,
        algorithm: WrappingAlgorithm,
        key: &KeyId,
        material: &[u8],
        expires: Option<Timestamp>,
    ) -> Result<()> {
        let parameters = self.parameters_for(key, algorithm).await;
        let wrapped = wrap(&parameters, algorithm, material);
        self.send(key, &parameters.token, wrapped, expires).await
    }

    pub async fn delete(&self, key: &KeyId) -> Result<()> {
        self.kms.delete_key_material(&self.bench.operator, key.as_str()).await
    }

    async fn encrypt(&self, key: &KeyId) -> Result<Encrypted> {
        self.kms.encrypt(&self.bench.caller, Form::Plain, encrypt(key)).await
    }

    async fn decrypts(&self, key: &KeyId, sealed: &Encrypted) -> bool {
        let request = Decrypt {
            key: KeyReference::Key(key.to_string()),
            algorithm: None,
            padding: None,
            iv: sealed.iv.as_bytes().to_vec(),
            aads: vec![Vec::new()],
            ciphertext: sealed.ciphertext.clone(),
        };
        self.kms.decrypt(&self.bench.caller, request).await.is_ok_and(|opened| opened.plaintext.constant_time_eq(b"hello"))
    }

    pub fn described(&self, key: &KeyId) -> KeyDescription {
        self.kms.describe_key(&self.bench.operator, key.as_str()).unwrap()
    }

    pub fn state(&self, key: &KeyId) -> KeyState {
        self.described(key).key.state
    }
}

pub fn kind<T>(result: Result<T>) -> Kind {
    result.err().expect("refused").kind()
}

/// What a key encrypts opens outside with the material that was imported.
pub fn opens_outside(material: &[u8; 32], iv: Iv, ciphertext: &[u8]) {
    let Iv::Gcm(iv) = iv else { panic!("GCM has an IV") };
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, material).unwrap());
    let mut text = ciphertext.to_vec();
    assert_eq!(key.open_in_place(Nonce::assume_unique_for_key(iv), Aad::empty(), &mut text).unwrap(), b"hello");
}

#[tokio::test]
async fn what_was_imported_is_the_key_and_comes_back_as_the_same() {
    let it = importing().await;
    let key = it.aes().await;
    let material: [u8; 32] = random::bytes();
    assert_eq!(kind(it.encrypt(&key).await), Kind::KeyPendingImport);
    it.import(&key, &material, None).await.unwrap();
    let sealed = it.encrypt(&key).await.unwrap();
    opens_outside(&material, sealed.iv, &sealed.ciphertext);
    assert_eq!((it.state(&key), it.described(&key).encryptions), (KeyState::Enabled, 1));
    // Again while it is there: the same or nothing.
    assert_eq!(kind(it.import(&key, &random::bytes::<32>(), None).await), Kind::InvalidKeyMaterial);
    it.kms.disable_key(&it.bench.operator, key.as_str()).await.unwrap();
    it.import(&key, &material, Some(at(60))).await.unwrap();
    assert_eq!((it.state(&key), it.described(&key).key.presence), (KeyState::Enabled, Presence::Until(at(60))));
    it.import(&key, &material, None).await.unwrap();
    assert_eq!(it.described(&key).key.presence, Presence::Present, "a date is taken back");
    // And after it was deleted, twice.
    for _ in 0..2 {
        it.delete(&key).await.unwrap();
        assert_eq!((it.state(&key), kind(it.encrypt(&key).await)), (KeyState::PendingImport, Kind::KeyPendingImport));
    }
    assert!(it.bench.store.key(&key).await.unwrap().unwrap().1[0].material.is_none(), "nothing is kept of it");
    assert_eq!(kind(it.import(&key, &random::bytes::<32>(), None).await), Kind::InvalidKeyMaterial);
    assert_eq!(it.state(&key), KeyState::PendingImport);
    it.import(&key, &material, None).await.unwrap();
    assert!(it.decrypts(&key, &sealed).await);
    assert_eq!(it.encrypt(&key).await.unwrap().version, sealed.version, "it is the same version");
    assert_eq!(it.described(&key).encryptions, 2, "encryptions go on being counted");
    assert!(it.bench.store.intents().await.unwrap().is_empty());
}

#[tokio::test]
async fn pairs_are_imported_in_an_envelope() {
    let it = importing().await;
    let rsa = KeyPair::generate(KeySize::Rsa2048).unwrap().as_der().unwrap().as_ref().to_vec();
    let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap().to_pkcs8v1().unwrap().as_ref().to_vec();
    for (spec, pkcs8, other) in [(KeySpec::Rsa2048, &rsa, &ec), (KeySpec::EcP256, &ec, &rsa)] {
        let key = it.key(spec, KeyUsage::SignVerify).await;
        assert_eq!(kind(it.import(&key, other, None).await), Kind::InvalidKeyMaterial);
        assert_eq!(kind(it.import(&key, &[7; 32], None).await), Kind::InvalidKeyMaterial);
        it.import(&key, pkcs8, None).await.unwrap();
        let message = |text: &[u8]| Sign {
            key: key.as_str().into(),
            algorithm: None,
            message_type: MessageType::Raw,
            message: text.to_vec(),
        };
        let signature = it.kms.sign(&it.bench.caller, message(b"text")).await.unwrap().signature;
        let pem = it.kms.public_key(&it.bench.caller, &key.as_str().into()).await.unwrap().pem;
        it.delete(&key).await.unwrap();
        let verify = || Verify { sign: message(b"text"), signature: signature.clone() };
        assert_eq!(kind(it.kms.verify(&it.bench.caller, verify()).await), Kind::KeyPendingImport);
        it.import(&key, pkcs8, None).await.unwrap();
        assert!(it.kms.verify(&it.bench.caller, verify()).await.unwrap().value);
        assert_eq!(it.kms.public_key(&it.bench.caller, &key.as_str().into()).await.unwrap().pem, pem);
    }
}

#[tokio::test]
async fn a_short_pair_in_either_form_is_the_same_pair() {
    let it = importing().await;
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let key = it.key(KeySpec::EcP256, KeyUsage::SignVerify).await;
    it.import(&key, pair.to_pkcs8v1().unwrap().as_ref(), None).await.unwrap();
    // SEC 1 leaves the public half out if it likes (section C.4): another encoding of the same pair.
    let scalar = aws_lc_rs::encoding::AsBigEndian::as_be_bytes(&pair.private_key()).unwrap();
    let mut short =
        vec![0x30, 0x41, 0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08];
    short.extend([0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x04, 0x27, 0x30, 0x25, 0x02, 0x01, 0x01, 0x04, 0x20]);
    short.extend(scalar.as_ref());
    it.import(&key, &short, None).await.unwrap();
    it.delete(&key).await.unwrap();
    it.import(&key, &short, None).await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_unwrapped_has_one_answer_and_what_does_not_fit_a_helpful_one() {
    let it = importing().await;
    let key = it.aes().await;
    let parameters = it.parameters(&key).await;
    let good = wrap(&parameters, WrappingAlgorithm::RsaesOaepSha256, &[7; 32]);
    let envelope = wrap(&parameters, WrappingAlgorithm::RsaesOaepSha256, &[7; 1000]);
    let flipped = |bytes: &[u8], at: usize| {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 1;
        bytes
    };
    let mut texts = std::collections::BTreeSet::new();
    for wrong in [
        flipped(&good, 0),
        flipped(&good, 255),
        good[..255].to_vec(),
        [&good[..], &[0; 24]].concat(),
        vec![0; 256],
        vec![0xff; 256],
        flipped(&envelope, 3),
        flipped(&envelope, 300),
        envelope[..envelope.len() - 8].to_vec(),
        envelope[..envelope.len() - 1].to_vec(),
        vec![1; 9000],
        wrap(&parameters, WrappingAlgorithm::RsaesOaepSha1, &[7; 32]),
        wrap(&it.parameters(&key).await, WrappingAlgorithm::RsaesOaepSha256, &[7; 32]),
    ] {
        let error = it.send(&key, &parameters.token, wrong, None).await.unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidKeyMaterial);
        texts.insert(error.message().to_owned());
    }
    assert_eq!(texts.len(), 1, "{texts:?}");
    for length in [1, 16, 31, 33] {
        let error = it.import(&key, &vec![7; length], None).await.unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidKeyMaterial);
        assert!(error.message().contains(&length.to_string()), "{error}");
    }
    assert_eq!(it.state(&key), KeyState::PendingImport);
    assert!(it.bench.store.intents().await.unwrap().is_empty());
    it.send(&key, &parameters.token, good, None).await.unwrap();
}

#[tokio::test]
async fn a_token_serves_its_key_for_its_time_again_and_again() {
    let it = importing().await;
    let (key, other) = (it.aes().await, it.aes().await);
    let parameters = it.parameters(&key).await;
    assert_eq!(parameters.expires, at(86_400));
    let material = wrap(&parameters, WrappingAlgorithm::RsaesOaepSha256, &[7; 32]);
    let send = async |key: &KeyId, token: &[u8]| it.send(key, token, material.clone(), None).await;
    assert_eq!(kind(send(&other, &parameters.token).await), Kind::InvalidImportToken);
    for place in 0..parameters.token.len() {
        let mut token = parameters.token.clone();
        token[place] ^= 1;
        assert_eq!(kind(send(&key, &token).await), Kind::InvalidImportToken);
        assert_eq!(kind(send(&key, &parameters.token[..place]).await), Kind::InvalidImportToken);
    }
    it.clock.set(at(86_399));
    for _ in 0..2 {
        send(&key, &parameters.token).await.unwrap();
    }
    it.clock.set(at(86_400));
    assert_eq!(kind(send(&key, &parameters.token).await), Kind::ExpiredImportToken);
    it.kms.spawn_background();
    // Whether its pair is still kept or not.
    until("the pair is gone", async || {
        let refused = it.bench.store.wrapping_key(&key, &parameters.token, NOW).await;
        refused.is_err_and(|error| error.kind() == Kind::InvalidImportToken)
    })
    .await;
    assert_eq!(kind(send(&key, &parameters.token).await), Kind::ExpiredImportToken);
}

#[tokio::test]
async fn of_many_wrapping_keys_the_latest_are_kept() {
    let it = importing().await;
    let key = it.aes().await;
    let mut all = Vec::new();
    for second in 0..10 {
        it.clock.set(at(second));
        all.push(it.parameters(&key).await);
    }
    for (number, parameters) in all.iter().enumerate() {
        let wrapped = wrap(parameters, WrappingAlgorithm::RsaesOaepSha256, &[7; 32]);
        let sent = it.send(&key, &parameters.token, wrapped, None).await;
        if number < 2 {
            assert_eq!(kind(sent), Kind::InvalidImportToken);
        } else {
            sent.unwrap();
        }
    }
}

#[tokio::test]
async fn sha_1_wraps_for_default_instances_alone() {
    let it = importing().await;
    let key = it.aes().await;
    let sha1 = WrappingAlgorithm::RsaesOaepSha1;
    let parameters = it.kms.parameters_for_import(&it.bench.operator, key.as_str(), sha1).await.unwrap();
    it.send(&key, &parameters.token, wrap(&parameters, sha1, &[7; 32]), None).await.unwrap();
    let (mut stored, versions) = it.bench.store.key(&key).await.unwrap().unwrap();
    let elsewhere = KeyId::from_entropy(random::bytes());
    let version = keystead::model::KeyVersionId::from_entropy(&elsewhere, random::bytes());
    (stored.id, stored.instance) = (elsewhere.clone(), InstanceId::from_entropy(random::bytes()));
    (stored.initial_version, stored.primary_version) = (version.clone(), version.clone());
    let kept = keystead::store::KeyVersion { id: version, material: None, ..versions.into_iter().next().unwrap() };
    it.bench.store.commit_key(&stored, &kept, &Tags::default(), None).await.unwrap();
    let other = start_at(it.bench.store.clone(), &it.bench.instance, Arc::clone(&it.clock)).await;
    let refused = other.parameters_for_import(&it.bench.operator, elsewhere.as_str(), sha1).await;
    assert_eq!(kind(refused), Kind::UnsupportedOperation);
}

#[tokio::test]
async fn material_ends_by_its_date_and_is_erased_later() {
    let it = importing().await;
    let other = start_at(it.bench.store.clone(), &it.bench.instance, Arc::clone(&it.clock)).await;
    let (key, renewed) = (it.aes().await, it.aes().await);
    let material: [u8; 32] = random::bytes();
    assert_eq!(kind(it.import(&key, &material, Some(at(-1))).await), Kind::InvalidParameter);
    it.import(&key, &material, Some(at(60))).await.unwrap();
    it.import(&renewed, &material, Some(at(60))).await.unwrap();
    let sealed = it.encrypt(&key).await.unwrap();
    it.clock.set(at(59));
    assert!(it.decrypts(&key, &sealed).await);
    // Nothing runs in the background yet: the date alone decides.
    it.clock.set(at(60));
    assert_eq!((it.state(&key), kind(it.encrypt(&key).await)), (KeyState::PendingImport, Kind::KeyPendingImport));
    let waiting = [KeyFilter::State(vec![KeyState::PendingImport])];
    let page = Page { number: 1, size: 10 };
    assert_eq!(it.kms.list_keys(&it.bench.operator, &waiting, page).unwrap().total, 2);
    assert_eq!(kind(it.kms.enable_key(&it.bench.operator, key.as_str()).await), Kind::StateForbids);
    it.import(&renewed, &material, None).await.unwrap();
    it.kms.spawn_background();
    other.spawn_background();
    let store = &it.bench.store;
    until("it is erased", async || store.key(&key).await.unwrap().unwrap().1[0].material.is_none()).await;
    assert!(store.key(&renewed).await.unwrap().unwrap().1[0].material.is_some(), "a date that was taken back erases nothing");
    it.encrypt(&renewed).await.unwrap();
    it.import(&key, &material, None).await.unwrap();
    assert!(it.decrypts(&key, &sealed).await);
    until("the other node has it", async || other.encrypt(&it.bench.caller, Form::Plain, encrypt(&key)).await.is_ok()).await;
}

#[tokio::test]
async fn a_key_that_waits_for_its_deletion_loses_its_material_but_gets_none() {
    let it = importing().await;
    let (full, empty) = (it.aes().await, it.aes().await);
    it.import(&full, &[7; 32], None).await.unwrap();
    for key in [&full, &empty] {
        it.kms.schedule_key_deletion(&it.bench.operator, key.as_str(), 7).await.unwrap();
        let before = it.described(key).key;
        assert_eq!(kind(it.import(key, &[7; 32], None).await), Kind::StateForbids);
        it.delete(key).await.unwrap();
        let after = it.described(key).key;
        assert_eq!((after.state, after.delete_at), (KeyState::PendingDeletion, before.delete_at));
        it.kms.cancel_key_deletion(&it.bench.operator, key.as_str()).await.unwrap();
        assert_eq!(it.state(key), KeyState::PendingImport);
        it.import(key, &[7; 32], None).await.unwrap();
        it.encrypt(key).await.unwrap();
    }
}

#[tokio::test]
async fn keys_with_the_same_material_do_not_know_each_other() {
    let it = importing().await;
    let (one, other) = (it.aes().await, it.aes().await);
    for key in [&one, &other] {
        it.import(key, &[7; 32], None).await.unwrap();
        it.encrypt(key).await.unwrap();
    }
    it.delete(&one).await.unwrap();
    it.encrypt(&other).await.unwrap();
    it.kms.schedule_key_deletion(&it.bench.operator, one.as_str(), 7).await.unwrap();
    it.import(&other, &[7; 32], None).await.unwrap();
    it.kms.spawn_background();
    it.clock.set(at(8 * 86_400));
    until("one is destroyed", async || it.kms.describe_key(&it.bench.operator, one.as_str()).is_err()).await;
    it.encrypt(&other).await.unwrap();
}

#[tokio::test]
async fn many_imports_at_once_are_one() {
    let it = Arc::new(importing().await);
    let key = it.aes().await;
    let parameters = it.parameters(&key).await;
    let imports: Vec<_> = (0..8)
        .map(|_| {
            let wrapped = wrap(&parameters, WrappingAlgorithm::RsaesOaepSha256, &[7; 32]);
            let (it, key, token) = (Arc::clone(&it), key.clone(), parameters.token.clone());
            tokio::spawn(async move { it.send(&key, &token, wrapped, None).await })
        })
        .collect();
    for import in imports {
        import.await.unwrap().unwrap();
    }
    it.encrypt(&key).await.unwrap();
    assert!(it.bench.store.intents().await.unwrap().is_empty());
}

#[tokio::test]
async fn material_that_was_made_here_is_not_imported() {
    let it = importing().await;
    let key = it.bench.key(KeySpec::Aes256, KeyUsage::EncryptDecrypt).await;
    let kms = &it.bench.kms;
    let sha256 = WrappingAlgorithm::RsaesOaepSha256;
    assert_eq!(kind(kms.parameters_for_import(&it.bench.operator, key.as_str(), sha256).await), Kind::UnsupportedOrigin);
    let request = ImportKeyMaterial { key: key.to_string(), token: vec![1], wrapped: vec![1], expires: None };
    assert_eq!(kind(kms.import_key_material(&it.bench.operator, request).await), Kind::UnsupportedOrigin);
    assert_eq!(kind(kms.delete_key_material(&it.bench.operator, key.as_str()).await), Kind::UnsupportedOrigin);
    let external = it.aes().await;
    assert_eq!(kind(it.kms.create_key_version(&it.bench.operator, external.as_str()).await), Kind::UnsupportedByKey);
}

/// Each object that an HSM does not destroy takes its deadline: one of them a round is enough to know, and no other instance waits.
#[tokio::test]
async fn an_instance_that_is_away_is_asked_once_a_round() {
    let bench = bench().await;
    let (away, works) = (Moody::new(), Moody::new());
    let other = InstanceId::from_entropy(random::bytes());
    let clock = Arc::new(FixedClock::at(NOW));
    let mut parts = crate::parts(bench.store.clone(), &bench.instance, clock, Arc::clone(&away) as Arc<dyn Tier>);
    let served = crate::parts(bench.store.clone(), &other, Arc::new(FixedClock::at(NOW)), Arc::clone(&works) as Arc<dyn Tier>);
    parts.instances.extend(served.instances);
    let kms = Kms::start(parts).await.unwrap();
    // Objects are destroyed in the order of their ids: the last one is that of the other instance.
    let mut ids: Vec<_> = (0..4).map(|_| KeyId::from_entropy(random::bytes())).collect();
    ids.sort();
    for (number, id) in ids.iter().enumerate() {
        let instance = if number == 3 { &other } else { &bench.instance };
        let version = KeyVersionId::from_entropy(id, random::bytes());
        let of_kind = kms.create_key(&bench.operator, CreateKey::default()).await.unwrap().key;
        let key = Key {
            id: id.clone(),
            instance: instance.clone(),
            origin: Origin::External,
            initial_version: version.clone(),
            primary_version: version.clone(),
            ..of_kind
        };
        let material = Some(Material::Resident(version.as_str().into()));
        let version = KeyVersion {
            id: version,
            created: NOW,
            material,
            public_key: None,
            attributes: None,
            fingerprint: None,
            encryptions: 0,
        };
        bench.store.commit_key(&key, &version, &Tags::default(), None).await.unwrap();
        bench.store.erase_material(id, Key::delete_material).await.unwrap();
    }
    away.mood.send_replace(Mood::Fails);
    kms.spawn_background();
    until("the other instance had its turn", async || bench.store.erased_objects().await.unwrap().len() == 3).await;
    assert_eq!((away.destroyed(), works.destroyed()), (1, 1));
    away.mood.send_replace(Mood::Works);
    until("all are destroyed", async || bench.store.erased_objects().await.unwrap().is_empty()).await;
}
