//! What is kept for imports: databases of before, material that comes and goes, what must not be found in the file.

use keystead::base::{Kind, SecretBytes, Timestamp, random};
use keystead::model::KeyVersionId;
use keystead::model::algorithm::WrappingAlgorithm;
use keystead::model::key::{Key, KeyState, Material, Origin, Presence};
use keystead::model::tags::Tags;
use keystead::store::{ErasedObject, KeyVersion, ObjectOrder, Placement, Store, WrappingKey};
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

use crate::{Bench, NOW, SECRET, bench, held, intent, key};

/// An imported key in a token, without material yet.
async fn external(bench: &Bench) -> (Key, KeyVersion) {
    let (key, version) = key();
    let key = Key { origin: Origin::External, state: KeyState::PendingImport, presence: Presence::Absent, ..key };
    let empty = || KeyVersion { material: None, public_key: None, ..held(&version) };
    bench.store.commit_key(&key, &empty(), &Tags::default(), None).await.unwrap();
    (key, empty())
}

/// A database as the versions before imports wrote it, with a key in the process and one in a token.
#[tokio::test]
async fn keys_of_before_have_their_material() {
    let bench = bench().await;
    let (kept, version) = key();
    bench.store.commit_key(&kept, &held(&version), &Tags::default(), None).await.unwrap();
    let sealed: Vec<u8> = sqlx::query_scalar("SELECT held FROM key_versions").fetch_one(&bench.raw().await).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let migrations = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/migrations");
    for name in ["0001_init.sql", "0002_life_of_keys.sql"] {
        std::fs::copy(migrations.join(name), folder.path().join(name)).unwrap();
    }
    let path = bench.directory.path().join("before.db");
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let raw = SqlitePool::connect_with(options).await.unwrap();
    Migrator::new(folder.path()).await.unwrap().run(&raw).await.unwrap();
    let (other, other_version) = key();
    for (key, version, held, resident) in
        [(&kept, &version, Some(&sealed), None), (&other, &other_version, None, Some(other_version.as_str().as_bytes()))]
    {
        let statement =
            "INSERT INTO keys (id, instance, spec, usage, origin, state, description, creator, created, initial_version,
            primary_version, revision) VALUES ($1, $2, $3, $4, 'Aliyun_KMS', 'Enabled', $5, $6, $7, $8, $8, 0)";
        sqlx::query(statement)
            .bind(key.id.as_str())
            .bind(key.instance.as_str())
            .bind(key.spec.name())
            .bind(key.usage.name())
            .bind(&key.description)
            .bind(&key.creator)
            .bind(key.created.unix())
            .bind(version.as_str())
            .execute(&raw)
            .await
            .unwrap();
        let statement =
            "INSERT INTO key_versions (id, key_id, created, held, resident, encryptions) VALUES ($1, $2, $3, $4, $5, 9)";
        sqlx::query(statement)
            .bind(version.as_str())
            .bind(key.id.as_str())
            .bind(key.created.unix())
            .bind(held)
            .bind(resident)
            .execute(&raw)
            .await
            .unwrap();
    }
    raw.close().await;
    let store = Store::create(&path, &bench.root).await.unwrap();
    for (key, version) in [(&kept, &version), (&other, &other_version)] {
        let (read, versions) = store.key(&key.id).await.unwrap().unwrap();
        assert_eq!(format!("{read:?}"), format!("{key:?}"));
        assert_eq!(versions[0].material.as_ref().unwrap().id(), version.as_str().as_bytes());
        assert_eq!(versions[0].encryptions, 9);
        assert!(match versions[0].material.as_ref().unwrap() {
            Material::Held { secret, .. } => secret.constant_time_eq(SECRET) && key.id == kept.id,
            Material::Resident(_) => key.id == other.id,
        });
    }
}

#[tokio::test]
async fn material_in_a_token_comes_and_goes() {
    let bench = bench().await;
    let (key, empty) = external(&bench).await;
    let store = &bench.store;
    let fingerprint = store.material_fingerprint(&key.id, &SecretBytes::new(SECRET.to_vec()));
    let until = Timestamp::from_unix(NOW.unix() + 5);
    let change = |key: &mut Key| key.import_material(Some(until));
    assert_eq!(store.place_material(&key.id, &[fingerprint], None, change).await.unwrap(), Placement::Wanting);
    assert_eq!(store.key(&key.id).await.unwrap().unwrap().0.state, KeyState::PendingImport);
    let object = KeyVersionId::from_entropy(&key.id, random::bytes());
    let id = object.as_str().as_bytes().to_vec();
    store.intend_key(&keystead::store::KeyIntent { version: object.clone(), ..intent(&key) }).await.unwrap();
    let made = KeyVersion { material: Some(Material::Resident(id.clone())), ..empty };
    let placed = store.place_material(&key.id, &[fingerprint], Some((&object, &made)), change).await.unwrap();
    assert_eq!(placed, Placement::Placed);
    assert!(store.intents().await.unwrap().is_empty());
    let (kept, versions) = bench.again().await.key(&key.id).await.unwrap().unwrap();
    assert_eq!((kept.state, kept.presence), (KeyState::Enabled, Presence::Until(until)));
    assert_eq!(versions[0].material.as_ref().unwrap().id(), id);
    // The same again, and another.
    assert_eq!(store.place_material(&key.id, &[fingerprint], None, change).await.unwrap(), Placement::AlreadyThere);
    let other = store.material_fingerprint(&key.id, &SecretBytes::new(b"another".to_vec()));
    let refused = store.place_material(&key.id, &[other], None, |key| key.import_material(None)).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::InvalidKeyMaterial);
    assert_eq!(store.key(&key.id).await.unwrap().unwrap().0.presence, kept.presence, "nothing was changed");
    // What is erased is noted, until it is destroyed.
    let before = store.revision().await.unwrap().unwrap();
    store.erase_material(&key.id, Key::delete_material).await.unwrap();
    assert_eq!(store.keys_since(before).await.unwrap(), std::slice::from_ref(&key.id));
    assert!(store.key(&key.id).await.unwrap().unwrap().1[0].material.is_none());
    let erased = ErasedObject { id: id.clone(), key: key.id.clone(), instance: key.instance.clone(), order: ObjectOrder::Proven };
    assert_eq!(bench.again().await.erased_objects().await.unwrap(), [erased]);
    store.erase_material(&key.id, Key::delete_material).await.unwrap();
    store.forget_erased_object(&id).await.unwrap();
    assert!(store.erased_objects().await.unwrap().is_empty());
}

#[tokio::test]
async fn neither_wrapping_keys_nor_material_are_in_the_file() {
    let bench = bench().await;
    let (key, empty) = external(&bench).await;
    let wrapping = WrappingKey {
        key: key.id.clone(),
        algorithm: WrappingAlgorithm::RsaesOaepSha1,
        private_key: Material::Held { id: b"made".to_vec(), secret: SecretBytes::new(SECRET.to_vec()) },
        expires: Timestamp::from_unix(NOW.unix() + 5),
    };
    let token = bench.store.keep_wrapping_key(&wrapping).await.unwrap();
    let secret = || SecretBytes::new(SECRET.to_vec());
    let fingerprint = bench.store.material_fingerprint(&key.id, &secret());
    let object = KeyVersionId::from_entropy(&key.id, random::bytes());
    let material = Some(Material::Held { id: object.as_str().into(), secret: secret() });
    let made = KeyVersion { material, ..empty };
    let change = |key: &mut Key| key.import_material(None);
    bench.store.place_material(&key.id, &[fingerprint], Some((&object, &made)), change).await.unwrap();
    let again = bench.again().await;
    let kept = again.wrapping_key(&key.id, &token, NOW).await.unwrap();
    let Material::Held { secret: private_key, .. } = &kept.private_key else { panic!("it is held") };
    assert!(private_key.constant_time_eq(SECRET) && kept.algorithm == wrapping.algorithm);
    let (other, _) = external(&bench).await;
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, SECRET);
    assert_ne!(fingerprint, hash.as_ref(), "a fingerprint is keyed");
    assert_ne!(fingerprint, bench.store.material_fingerprint(&other.id, &secret()), "and of each key another");
    assert_eq!(fingerprint, again.material_fingerprint(&key.id, &secret()));
    again.close().await;
    let raw = bench.raw().await;
    let sealed: Vec<u8> = sqlx::query_scalar("SELECT held FROM key_versions WHERE held IS NOT NULL").fetch_one(&raw).await.unwrap();
    raw.close().await;
    bench.store.erase_material(&key.id, Key::delete_material).await.unwrap();
    assert!(bench.store.erased_objects().await.unwrap().is_empty(), "no token has it");
    bench.store.drop_wrapping_keys(wrapping.expires).await.unwrap();
    let gone = bench.store.wrapping_key(&key.id, &token, NOW).await.err().unwrap();
    assert_eq!(gone.kind(), Kind::InvalidImportToken);
    bench.store.close().await;
    for entry in std::fs::read_dir(bench.directory.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let holds = |what: &[u8]| bytes.windows(what.len()).any(|window| window == what);
        assert!(!holds(SECRET) && !holds(&sealed), "what was erased is overwritten, sealed as it was");
    }
}

/// Every node looks for what is over again and again: nobody is kept from writing by that, and no node reads its snapshot again.
#[tokio::test]
async fn to_look_for_wrapping_keys_that_are_over_writes_nothing() {
    let bench = bench().await;
    let (key, _) = external(&bench).await;
    let before = bench.store.revision().await.unwrap().unwrap();
    let expires = Timestamp::from_unix(NOW.unix() + 60);
    let algorithm = WrappingAlgorithm::RsaesOaepSha256;
    let private_key = Material::Held { id: b"made".to_vec(), secret: SecretBytes::new(SECRET.to_vec()) };
    let wrapping = WrappingKey { key: key.id.clone(), algorithm, private_key, expires };
    let token = bench.store.keep_wrapping_key(&wrapping).await.unwrap();
    let raw = bench.raw().await;
    let other = raw.begin_with("BEGIN IMMEDIATE").await.unwrap();
    bench.store.drop_wrapping_keys(NOW).await.expect("while another one writes");
    other.rollback().await.unwrap();
    assert!(bench.store.wrapping_key(&key.id, &token, NOW).await.is_ok());
    bench.store.drop_wrapping_keys(expires).await.unwrap();
    let gone = bench.store.wrapping_key(&key.id, &token, NOW).await.err().expect("it was dropped");
    assert_eq!(gone.kind(), Kind::InvalidImportToken);
    assert_eq!(bench.store.revision().await.unwrap().unwrap(), before, "no snapshot shows them");
}
