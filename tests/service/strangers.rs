//! A key in a token, by way of the service: its fingerprint is kept, given to what was made before, and keeps other keys from being used.

use std::io::Write;
use std::sync::{Arc, Mutex};

use cryptoki::context::Pkcs11;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, CertificateType, ObjectClass};
use cryptoki::session::Session;
use keystead::base::{FixedClock, Kind, Result, SecretBytes, random};
use keystead::model::algorithm::KeySpec;
use keystead::model::{KeyId, KeyVersionId};
use keystead::service::Kms;
use keystead::service::requests::*;
use keystead::store::Fingerprint;
use keystead::tier::Tier;

use crate::import::{Importing, kind};
use crate::token::{Token, importing};
use crate::{NOW, fault};

/// Another session of the process, which shares the login.
fn somebody(token: &Token) -> Session {
    let slot = token.slots()[0].token.as_ref().unwrap().slot_id;
    Pkcs11::new(fault::module()).unwrap().open_rw_session(slot.try_into().unwrap()).unwrap()
}

async fn made(it: &Importing) -> KeyId {
    let request = CreateKey { spec: Some(KeySpec::Aes256), ..CreateKey::default() };
    it.kms.create_key(&it.bench.operator, request).await.unwrap().key.id
}

async fn encrypts(kms: &Arc<Kms>, it: &Importing, key: &KeyId) -> Result<()> {
    kms.operator_encrypt(&it.bench.operator, key.as_str(), Vec::new(), SecretBytes::new(b"hello".to_vec())).await.map(drop)
}

/// CKA_ID and fingerprint of the first version of a key.
async fn kept(it: &Importing, key: &KeyId) -> (Vec<u8>, Option<Fingerprint>) {
    let (_, versions) = it.bench.store.key(key).await.unwrap().unwrap();
    (versions[0].material.as_ref().unwrap().id().to_vec(), versions[0].fingerprint)
}

/// The service on another node, or after a start.
async fn another(token: &Arc<Token>, it: &Importing) -> Arc<Kms> {
    token.start(&it.bench, it.bench.store.clone(), &Arc::new(FixedClock::at(NOW))).await
}

fn exchange(token: &Token, id: &[u8]) {
    let session = somebody(token);
    let named = [Attribute::Token(true), Attribute::Private(true), Attribute::Id(id.to_vec())];
    for ours in session.find_objects(&named).unwrap() {
        session.destroy_object(ours).unwrap();
    }
    let template = [&named[..], &[Attribute::ValueLen(32.into()), Attribute::Encrypt(true)]].concat();
    session.generate_key(&Mechanism::AesKeyGen, &template).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_key_of_the_same_id_encrypts_nothing() {
    let token = Token::new().await;
    let it = importing(&token).await;
    let key = made(&it).await;
    let (id, fingerprint) = kept(&it, &key).await;
    assert!(fingerprint.is_some());
    encrypts(&it.kms, &it, &key).await.unwrap();
    exchange(&token, &id);
    for kms in [&it.kms, &another(&token, &it).await] {
        let refused = encrypts(kms, &it, &key).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Internal);
        assert!(refused.message().contains(&String::from_utf8_lossy(&id).into_owned()), "{refused}");
    }
    assert_eq!(token.slots()[0].refused.len(), 1);
    it.kms.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_before_gets_its_fingerprint_at_its_first_use() {
    let token = Token::new().await;
    let it = importing(&token).await;
    let (key, twin) = (made(&it).await, made(&it).await);
    let (id, fingerprint) = kept(&it, &key).await;
    let raw = sqlx::sqlite::SqlitePool::connect(&format!("sqlite:{}", it.bench.path().display())).await.unwrap();
    sqlx::query("UPDATE key_versions SET fingerprint = NULL").execute(&raw).await.unwrap();
    encrypts(&another(&token, &it).await, &it, &key).await.unwrap();
    assert_eq!(kept(&it, &key).await.1, fingerprint);
    exchange(&token, &id);
    assert_eq!(kind(encrypts(&another(&token, &it).await, &it, &key).await), Kind::Internal);
    // Two keys that are one, as a database of before may have them.
    let statement = "UPDATE key_versions SET fingerprint = NULL, object_id = (SELECT object_id FROM key_versions WHERE key_id = $1)
        WHERE key_id = $2";
    let third = made(&it).await;
    encrypts(&it.kms, &it, &twin).await.unwrap();
    sqlx::query(statement).bind(twin.as_str()).bind(third.as_str()).execute(&raw).await.unwrap();
    encrypts(&another(&token, &it).await, &it, &twin).await.unwrap();
    assert_eq!(kind(encrypts(&another(&token, &it).await, &it, &third).await), Kind::Internal);
    raw.close().await;
    it.kms.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_the_same_id_is_not_destroyed_with_the_material() {
    let token = Token::new().await;
    let it = importing(&token).await;
    let key = it.aes().await;
    it.import(&key, &[7; 32], None).await.unwrap();
    let (id, fingerprint) = kept(&it, &key).await;
    assert!(fingerprint.is_some());
    let certificate = [
        Attribute::Class(ObjectClass::CERTIFICATE),
        Attribute::CertificateType(CertificateType::X_509),
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Id(id.clone()),
        Attribute::Subject(vec![0x30, 0]),
        Attribute::Value(vec![0x30, 0]),
    ];
    somebody(&token).create_object(&certificate).unwrap();
    encrypts(&another(&token, &it).await, &it, &key).await.unwrap();
    it.delete(&key).await.unwrap();
    let left = somebody(&token).find_objects(&[Attribute::Token(true), Attribute::Id(id)]).unwrap();
    assert_eq!(left.len(), 1, "the certificate");
    assert!(it.bench.store.erased_objects().await.unwrap().is_empty());
    it.import(&key, &[7; 32], None).await.unwrap();
    encrypts(&it.kms, &it, &key).await.unwrap();
    it.kms.close().await;
}

/// What is logged on the thread of a test while it lives.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// The keys that were called strangers since the last time.
    fn strangers(&self) -> Vec<String> {
        let text = String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap();
        let told = text.lines().filter(|line| line.contains("the token holds a key that the store does not know"));
        told.map(|line| line.rsplit_once("cka_id=").unwrap().1.to_owned()).collect()
    }
}

/// An operator cleans a token by that list.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_whose_rows_are_damaged_is_no_stranger() {
    let token = Token::new().await;
    let it = importing(&token).await;
    let keys = [made(&it).await, made(&it).await, made(&it).await, made(&it).await];
    let stranger = KeyVersionId::from_entropy(&KeyId::from_entropy(random::bytes()), random::bytes());
    exchange(&token, stranger.as_str().as_bytes());
    let raw = sqlx::sqlite::SqlitePool::connect(&format!("sqlite:{}", it.bench.path().display())).await.unwrap();
    let log = Log::default();
    let to_log = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || to_log.clone()).finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let damages = [
        "UPDATE keys SET policy = '{' WHERE id = $1",
        "UPDATE key_versions SET arrival = 'x' WHERE key_id = $1",
        "UPDATE key_versions SET object_id = X'00' WHERE key_id = $1",
        "UPDATE key_versions SET object_id = 7 WHERE key_id = $1",
    ];
    for (key, damage) in keys.iter().zip(damages) {
        sqlx::query(damage).bind(key.as_str()).execute(&raw).await.unwrap();
        another(&token, &it).await;
        assert_eq!(log.strangers(), [stranger.as_str()], "{damage}");
    }
    drop(guard);
    raw.close().await;
    it.kms.close().await;
}
