//! The hardware tier against a real token, where it is more than a tier: finding the token, the login, sessions and queue,
//! what the objects look like to somebody else, what a closed or abandoned call leaves behind.

#[path = "../common/softhsm.rs"]
mod softhsm;

mod connecting;
mod objects;
mod sessions;
mod strangers;

use keystead::base::{Pin, random};
use keystead::model::algorithm::{KeySpec, KeyUsage};
use keystead::model::{KeyId, KeyVersionId};
use keystead::tier::pkcs11::{Pkcs11Tier, Settings};
use keystead::tier::{Created, KeyHandle, NewKey, StoredKey, Tier};
use std::sync::Arc;

/// The settings of a token of one's own.
fn settings() -> Settings {
    settings_of(&softhsm::token())
}

fn settings_of(label: &str) -> Settings {
    let uri = softhsm::uri(label).parse().unwrap();
    Settings::new(softhsm::module(), uri, Pin::new(softhsm::PIN.to_owned()))
}

async fn tier() -> Pkcs11Tier {
    Pkcs11Tier::connect(settings()).await.unwrap()
}

fn new_key(spec: KeySpec, usage: KeyUsage) -> NewKey {
    let key = KeyId::from_entropy(random::bytes());
    let version = KeyVersionId::from_entropy(&key, random::bytes());
    NewKey { id: version.as_str().as_bytes().to_vec(), label: key.to_string(), spec, usage }
}

async fn open(tier: &Pkcs11Tier, new: &NewKey, created: Created) -> Arc<dyn KeyHandle> {
    let stored =
        StoredKey { spec: new.spec, usage: new.usage, material: created.material, public_key: created.public_key, witness: None };
    tier.open(stored).await.unwrap()
}

async fn aes_key(tier: &Pkcs11Tier) -> (NewKey, Arc<dyn KeyHandle>) {
    let new = new_key(KeySpec::Aes256, KeyUsage::EncryptDecrypt);
    let created = tier.create(new.clone()).await.unwrap();
    let key = open(tier, &new, created).await;
    (new, key)
}
