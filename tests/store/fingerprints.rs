//! Fingerprints of the objects of key versions: keyed, kept, given to what was made before, and no two alike.

use keystead::base::{Kind, SecretBytes};
use keystead::model::KeyVersionId;
use keystead::model::key::{Arrival, KeyAttributes, Material};
use keystead::model::tags::Tags;
use keystead::store::{Fingerprint, KeyVersion, RootKey, Store};

use crate::{Bench, bench, held, key};

fn value(byte: u8) -> SecretBytes {
    SecretBytes::new(vec![byte; 32])
}

/// A version whose object is in a token.
fn resident(id: &KeyVersionId, arrival: Arrival, fingerprint: Option<Fingerprint>) -> KeyVersion {
    let attributes = KeyAttributes {
        arrival,
        local: arrival == Arrival::Generated,
        sensitive: true,
        always_sensitive: true,
        extractable: false,
        never_extractable: true,
    };
    let material = Some(Material::Resident(id.as_str().as_bytes().to_vec()));
    KeyVersion { material, attributes: Some(attributes), fingerprint, ..held(id) }
}

async fn kept(bench: &Bench, arrival: Arrival, fingerprint: Option<Fingerprint>) -> keystead::base::Result<KeyVersionId> {
    let (key, version) = key();
    bench.store.commit_key(&key, &resident(&version, arrival, fingerprint), &Tags::default(), None).await?;
    let (_, versions) = bench.store.key(&key.id).await.unwrap().unwrap();
    assert_eq!(versions[0].fingerprint, fingerprint);
    Ok(version)
}

async fn fingerprint_of(bench: &Bench, version: &KeyVersionId) -> Option<Fingerprint> {
    bench.store.key(&version.key()).await.unwrap().unwrap().1[0].fingerprint
}

#[tokio::test]
async fn a_fingerprint_is_keyed() {
    let bench = bench().await;
    let other = tempfile::tempdir().unwrap();
    let other = Store::create(&other.path().join("keystead.db"), &RootKey::generate()).await.unwrap();
    let one = bench.store.key_fingerprint(&value(1));
    assert_eq!(one, bench.again().await.key_fingerprint(&value(1)));
    assert_ne!(one, bench.store.key_fingerprint(&value(2)));
    assert_ne!(one, other.key_fingerprint(&value(1)), "under another root key it says nothing");
}

#[tokio::test]
async fn what_was_made_before_gets_its_fingerprint_once() {
    let bench = bench().await;
    let [one, two] = [1, 2].map(|byte| bench.store.key_fingerprint(&value(byte)));
    let before = kept(&bench, Arrival::Generated, None).await.unwrap();
    bench.store.adopt_fingerprint(&before, &one).await.unwrap();
    assert_eq!(fingerprint_of(&bench, &before).await, Some(one));
    // Another node that found the same, and one that found another key.
    bench.store.adopt_fingerprint(&before, &one).await.unwrap();
    let refused = bench.store.adopt_fingerprint(&before, &two).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Internal);
    assert!(refused.message().contains(before.as_str()), "{refused}");
    assert_eq!(fingerprint_of(&bench, &before).await, Some(one));
}

#[tokio::test]
async fn a_key_that_a_token_generates_twice_is_refused() {
    let bench = bench().await;
    let fingerprint = bench.store.key_fingerprint(&value(1));
    let first = kept(&bench, Arrival::Generated, Some(fingerprint)).await.unwrap();
    let refused = kept(&bench, Arrival::Generated, Some(fingerprint)).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Internal);
    assert!(refused.message().contains(first.as_str()), "{refused}");
    let before = kept(&bench, Arrival::Generated, None).await.unwrap();
    assert_eq!(bench.store.adopt_fingerprint(&before, &fingerprint).await.unwrap_err().kind(), Kind::Internal);
    // A further version is no better.
    let (key, _) = bench.store.key(&first.key()).await.unwrap().unwrap();
    let again = KeyVersionId::from_entropy(&key.id, keystead::base::random::bytes());
    let version = resident(&again, Arrival::Generated, Some(fingerprint));
    let refused = bench.store.commit_version(&key.id, &version, None, |_, _| Ok(())).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Internal);
    // The same material may be imported by two who have it.
    for arrival in [Arrival::Created, Arrival::Unwrapped] {
        kept(&bench, arrival, Some(fingerprint)).await.unwrap();
    }
}
