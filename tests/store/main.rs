//! The store through its public doors, on SQLite.

#[path = "../common/tokens.rs"]
#[allow(dead_code, reason = "a part of it is used")]
mod tokens;

mod access;
mod alerts;
mod damaged;
mod fingerprints;
mod full_disk;
mod import;
mod oidc_providers;
mod operators;
mod orders;
mod roles;
mod rotation;
mod tags;
mod unclaimed;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use alerts::of_key;
use keystead::base::{Error, Kind, SecretBytes, Timestamp, random};
use keystead::model::access::{
    AccessPoint, Callers, ClientKey, NetworkRule, NetworkRuleKind, Permission, Policy, Scope, parse_source,
};
use keystead::model::algorithm::{KeySpec, KeyUsage};
use keystead::model::instance::InstanceKind;
use keystead::model::key::{
    Arrival, DeletionProtection, DestructionOrders, Key, KeyAttributes, KeyState, Material, Origin, Presence, SubjectPublicKeyInfo,
};
use keystead::model::operator::{AccessKeyInfo, AccessKeyState, IdentityKind};
use keystead::model::tags::Tags;
use keystead::model::{AccessKeyId, Alias, ClientKeyId, InstanceId, KeyId, KeyVersionId, Name, RoleId};
use keystead::store::{AccessKey, Authorities, KeyIntent, KeyVersion, PolicyChange, RootKey, Store};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

const NOW: Timestamp = Timestamp::from_unix(1_790_000_000);
/// What must not be found in the file.
const SECRET: &[u8; 33] = b"a secret that stands out in files";

struct Bench {
    directory: tempfile::TempDir,
    root: RootKey,
    store: Store,
}

async fn bench() -> Bench {
    let directory = tempfile::tempdir().unwrap();
    let root = RootKey::generate();
    let store = Store::create(&directory.path().join("keystead.db"), &root).await.unwrap();
    Bench { directory, root, store }
}

impl Bench {
    fn path(&self) -> std::path::PathBuf {
        self.directory.path().join("keystead.db")
    }

    async fn again(&self) -> Store {
        Store::open(&self.path(), &self.root).await.unwrap()
    }

    async fn raw(&self) -> SqlitePool {
        SqlitePool::connect_with(SqliteConnectOptions::new().filename(self.path())).await.unwrap()
    }
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn instance() -> InstanceId {
    InstanceId::from_entropy(random::bytes())
}

fn key() -> (Key, KeyVersionId) {
    let id = KeyId::from_entropy(random::bytes());
    let version = KeyVersionId::from_entropy(&id, random::bytes());
    let key = Key {
        id,
        instance: instance(),
        spec: KeySpec::Rsa3072,
        usage: KeyUsage::SignVerify,
        origin: Origin::Service,
        state: KeyState::Enabled,
        presence: Presence::Present,
        delete_at: None,
        ordered: DestructionOrders::default(),
        deletion_protection: DeletionProtection::Disabled,
        rotation_interval: None,
        description: "for \"invoices\"; --".to_owned(),
        creator: "somebody".to_owned(),
        created: NOW,
        initial_version: version.clone(),
        primary_version: version.clone(),
        policy: None,
    };
    (key, version)
}

fn held(id: &KeyVersionId) -> KeyVersion {
    KeyVersion {
        id: id.clone(),
        created: NOW,
        material: Some(Material::Held { id: id.as_str().into(), secret: SecretBytes::new(SECRET.to_vec()) }),
        public_key: Some(SubjectPublicKeyInfo::from_der(vec![1, 2, 3])),
        attributes: None,
        fingerprint: None,
        encryptions: 0,
    }
}

fn intent(key: &Key) -> KeyIntent {
    KeyIntent {
        key: key.id.clone(),
        version: key.initial_version.clone(),
        instance: key.instance.clone(),
        spec: key.spec,
        usage: key.usage,
        created: key.created,
    }
}

fn rule(text: &str) -> NetworkRule {
    let sources_text = vec!["10.0.0.0/8".to_owned(), "172.16.0.4".to_owned()];
    NetworkRule {
        name: name(text),
        kind: NetworkRuleKind::Private,
        sources: sources_text.iter().map(|text| parse_source(text).unwrap()).collect(),
        sources_text,
        description: "d".to_owned(),
    }
}

fn policy(text: &str) -> Policy {
    Policy {
        name: name(text),
        scope: Scope::Instance(instance()),
        permissions: vec![Permission::CryptoServiceKeyUser, Permission::CryptoServiceSecretUser],
        resources: ["key/*", "secret/rds-*"].map(|text| text.parse().unwrap()).into_iter().collect(),
        rules: vec![name("rule_a")],
        rules_text: "{ \"NetworkRules\" : [\"rule_a\"] }".to_owned(),
        description: String::new(),
    }
}

fn access_point(text: &str) -> AccessPoint {
    AccessPoint {
        name: name(text),
        callers: Callers::ClientKeys,
        policies: vec![name("policy_a")],
        description: "für alle".to_owned(),
    }
}

fn access_key(owner: &str) -> AccessKey {
    let id = AccessKeyId::from_entropy(random::bytes());
    let info = AccessKeyInfo { id, owner: name(owner), state: AccessKeyState::Active, created: NOW };
    AccessKey { info, secret: SecretBytes::new(SECRET.to_vec()) }
}

fn client_key(access_point: &str) -> ClientKey {
    ClientKey {
        last_used: None,
        id: ClientKeyId::from_entropy(random::bytes()),
        access_point: name(access_point),
        certificate: vec![0x30, 0],
        not_before: NOW,
        not_after: Timestamp::from_unix(NOW.unix() + 5),
        created: NOW,
    }
}

#[tokio::test]
async fn a_key_comes_back_as_it_was_kept() {
    let bench = bench().await;
    let (first, version) = key();
    bench.store.intend_key(&intent(&first)).await.unwrap();
    assert_eq!(bench.again().await.intents().await.unwrap(), [intent(&first)], "an intent survives");
    bench.store.commit_key(&first, &held(&version), &Tags::default(), None).await.unwrap();
    assert!(bench.store.intents().await.unwrap().is_empty(), "the commit removes it");

    let (second, version) = key();
    let attributes = KeyAttributes {
        arrival: Arrival::Generated,
        local: true,
        sensitive: true,
        always_sensitive: false,
        extractable: false,
        never_extractable: true,
    };
    let resident =
        KeyVersion { material: Some(Material::Resident(b"id".to_vec())), attributes: Some(attributes), ..held(&version) };
    bench.store.commit_key(&second, &resident, &Tags::default(), None).await.unwrap();

    let mut keys = bench.again().await.keys().await.unwrap();
    keys.sort_by_key(|(kept, _)| kept.id != first.id);
    let [(a, a_versions), (b, b_versions)] = &keys[..] else { panic!("two keys") };
    assert_eq!(format!("{a:?}"), format!("{first:?}"));
    assert_eq!(format!("{b:?}"), format!("{second:?}"));
    let Some(Material::Held { id, secret }) = &a_versions[0].material else { panic!("it is held") };
    assert!(secret.constant_time_eq(SECRET) && id == a.initial_version.as_str().as_bytes());
    assert_eq!(a_versions[0].public_key, held(&version).public_key);
    assert_eq!(a_versions[0].attributes, None);
    let Some(Material::Resident(id)) = &b_versions[0].material else { panic!("it is resident") };
    assert_eq!((id.as_slice(), b_versions[0].attributes), (b"id".as_slice(), Some(attributes)));
    let (one, versions) = bench.store.key(&first.id).await.unwrap().unwrap();
    assert_eq!((format!("{one:?}"), versions.len()), (format!("{first:?}"), 1));
    assert!(bench.store.key(&KeyId::from_entropy(random::bytes())).await.unwrap().is_none());
}

#[tokio::test]
async fn an_intent_that_came_to_nothing_is_withdrawn() {
    let bench = bench().await;
    let (key, version) = key();
    bench.store.intend_key(&intent(&key)).await.unwrap();
    bench.store.withdraw_intent(&version).await.unwrap();
    assert!(bench.store.intents().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_changes_of_a_key_is_kept_and_what_is_refused_is_not() {
    let bench = bench().await;
    let (key, version) = key();
    bench.store.commit_key(&key, &held(&version), &Tags::default(), None).await.unwrap();
    let before = bench.store.revision().await.unwrap().unwrap();
    let later = Timestamp::from_unix(NOW.unix() + 7);
    let changed = bench
        .store
        .change_key(&key.id, |key| {
            key.description = "another".to_owned();
            key.schedule_deletion(later)
        })
        .await
        .unwrap();
    assert_eq!(bench.store.keys_since(before).await.unwrap(), std::slice::from_ref(&key.id));
    let kept = bench.again().await.key(&key.id).await.unwrap().unwrap().0;
    assert_eq!(format!("{kept:?}"), format!("{changed:?}"));
    assert_eq!((kept.state, kept.delete_at, kept.description.as_str()), (KeyState::PendingDeletion, Some(later), "another"));
    let refused = bench.store.change_key(&key.id, |key| {
        key.description = "lost".to_owned();
        key.enable()
    });
    assert_eq!(refused.await.unwrap_err().kind(), Kind::StateForbids);
    assert_eq!(bench.store.key(&key.id).await.unwrap().unwrap().0.description, "another");
    let protection = DeletionProtection::Enabled("it's used".to_owned());
    bench.store.change_key(&key.id, |key| key.cancel_deletion(NOW)).await.unwrap();
    bench.store.change_key(&key.id, |key| key.protect(protection.clone())).await.unwrap();
    assert_eq!(bench.store.key(&key.id).await.unwrap().unwrap().0.deletion_protection, protection);
    let nobody = KeyId::from_entropy(random::bytes());
    assert_eq!(bench.store.change_key(&nobody, Key::enable).await.unwrap_err().kind(), Kind::KeyNotFound);
}

#[tokio::test]
async fn a_deleted_key_is_gone_with_its_aliases_and_every_node_can_know() {
    let bench = bench().await;
    let ((key, version), (other, other_version)) = (key(), key());
    bench.store.commit_key(&key, &held(&version), &Tags::default(), None).await.unwrap();
    bench.store.commit_key(&other, &held(&other_version), &Tags::default(), None).await.unwrap();
    let alias = |text: &str| text.parse::<Alias>().unwrap();
    let agrees = |_: &Key| Ok(());
    bench.store.create_alias(&alias("alias/a"), &key.id, agrees).await.unwrap();
    bench.store.create_alias(&alias("alias/b"), &other.id, agrees).await.unwrap();
    let taken = bench.store.create_alias(&alias("alias/a"), &other.id, agrees).await;
    assert_eq!(taken.unwrap_err().kind(), Kind::AliasExists);
    let nobody = KeyId::from_entropy(random::bytes());
    assert_eq!(bench.store.create_alias(&alias("alias/c"), &nobody, agrees).await.unwrap_err().kind(), Kind::KeyNotFound);
    assert_eq!(bench.store.update_alias(&alias("alias/c"), &key.id, agrees).await.unwrap_err().kind(), Kind::AliasNotFound);

    let (alert, sending) = of_key(&key.id);
    let refused = bench.store.delete_key(&key.id, (&alert, sending), |_| Err(Error::invalid("no"))).await;
    assert_eq!(refused.unwrap_err().kind(), Kind::InvalidParameter);
    let before = bench.store.revision().await.unwrap().unwrap();
    bench.store.delete_key(&key.id, (&alert, sending), agrees).await.unwrap();
    assert!(bench.store.key(&key.id).await.unwrap().is_none());
    assert_eq!(bench.store.keys_deleted_since(before).await.unwrap(), std::slice::from_ref(&key.id));
    assert_eq!(bench.again().await.aliases().await.unwrap(), [(alias("alias/b"), other.id.clone())]);
    assert_eq!(bench.store.delete_alias(&alias("alias/a")).await.unwrap_err().kind(), Kind::AliasNotFound);
    bench.store.delete_alias(&alias("alias/b")).await.unwrap();
    assert!(bench.store.aliases().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_not_given_to_an_update_stays() {
    let bench = bench().await;
    let rule = rule("rule_a");
    bench.store.create_network_rule(&rule).await.unwrap();
    bench.store.create_policy(&policy("p")).await.unwrap();
    bench.store.create_access_point(&access_point("a")).await.unwrap();
    let kept = async || bench.again().await.access().await.unwrap();
    let before = kept().await;

    bench.store.update_network_rule(&rule.name, None, None).await.unwrap();
    bench.store.update_policy(&name("p"), &PolicyChange::default()).await.unwrap();
    bench.store.update_access_point(&name("a"), None, None).await.unwrap();
    assert_eq!(kept().await, before);

    bench.store.update_network_rule(&rule.name, Some(&["10.1.0.0/16".to_owned()]), None).await.unwrap();
    let change = PolicyChange { rules: Some((Vec::new(), "{}".to_owned())), ..PolicyChange::default() };
    bench.store.update_policy(&name("p"), &change).await.unwrap();
    bench.store.update_access_point(&name("a"), None, Some("")).await.unwrap();
    let after = kept().await;
    assert_eq!(
        (after.network_rules[0].sources_text.as_slice(), &after.network_rules[0].description),
        (["10.1.0.0/16".to_owned()].as_slice(), &rule.description)
    );
    assert_eq!((after.policies[0].rules.len(), after.policies[0].rules_text.as_str()), (0, "{}"));
    assert_eq!(
        (&after.policies[0].resources, &after.policies[0].permissions),
        (&before.policies[0].resources, &before.policies[0].permissions)
    );
    assert_eq!(
        (after.access_points[0].description.as_str(), &after.access_points[0].policies),
        ("", &before.access_points[0].policies)
    );

    let gone = bench.store.update_policy(&name("nobody"), &PolicyChange::default()).await;
    assert_eq!(gone.unwrap_err().kind(), Kind::ResourceNotFound);
}

#[tokio::test]
async fn the_change_counter_rises_with_every_write() {
    let bench = bench().await;
    let (key, version) = key();
    let start = bench.store.revision().await.unwrap().unwrap();
    bench.store.commit_key(&key, &held(&version), &Tags::default(), None).await.unwrap();
    let after_key = bench.store.revision().await.unwrap().unwrap();
    assert!(after_key > start);
    assert_eq!(bench.store.keys_since(start).await.unwrap(), std::slice::from_ref(&key.id));
    assert!(bench.store.keys_since(after_key).await.unwrap().is_empty());
    bench.store.create_policy(&policy("p")).await.unwrap();
    assert!(bench.store.revision().await.unwrap().unwrap() > after_key);
    let before = bench.store.revision().await.unwrap().unwrap();
    assert!(bench.store.create_policy(&policy("p")).await.is_err());
    assert_eq!(bench.store.revision().await.unwrap().unwrap(), before, "what failed changed nothing");
    bench.store.record_encryptions(&[(version, 7)]).await.unwrap();
    assert_eq!(bench.store.revision().await.unwrap().unwrap(), before, "counts are nobody else's business");
}

#[tokio::test]
async fn counts_of_encryptions_only_rise() {
    let bench = bench().await;
    let (key, version) = key();
    bench.store.commit_key(&key, &held(&version), &Tags::default(), None).await.unwrap();
    for (count, kept) in [(10, 10), (7, 10), (1 << 32, 1 << 32)] {
        bench.store.record_encryptions(&[(version.clone(), count)]).await.unwrap();
        let (_, versions) = bench.store.key(&key.id).await.unwrap().unwrap();
        assert_eq!(versions[0].encryptions, kept);
    }
}

#[tokio::test]
async fn an_instance_keeps_its_kind() {
    let bench = bench().await;
    let id = instance();
    let made = bench.store.register_instance(&id, "a", InstanceKind::Hardware, NOW).await.unwrap();
    assert_eq!(made.created, NOW);
    let later = Timestamp::from_unix(NOW.unix() + 100);
    let renamed = bench.store.register_instance(&id, "b", InstanceKind::Hardware, later).await.unwrap();
    assert_eq!((renamed.created, renamed.name.as_str()), (NOW, "b"));
    let error = bench.store.register_instance(&id, "b", InstanceKind::Software, later).await.unwrap_err();
    assert!(error.message().contains("Hardware"), "{error}");
}

#[tokio::test]
async fn contexts_are_bound_since_the_first_time_that_it_is_asked() {
    let bench = bench().await;
    assert_eq!(bench.store.contexts_bound_since(NOW).await.unwrap(), NOW);
    let later = Timestamp::from_unix(NOW.unix() + 100);
    for store in [bench.store.clone(), bench.again().await] {
        assert_eq!(store.contexts_bound_since(later).await.unwrap(), NOW);
    }
}

#[tokio::test]
async fn a_new_administrator_replaces_the_former() {
    let bench = bench().await;
    let (first, second) = (access_key("administrator"), access_key("administrator"));
    bench.store.replace_administrator(&first).await.unwrap();
    bench.store.replace_administrator(&second).await.unwrap();
    let keys = bench.again().await.access_keys().await.unwrap();
    assert_eq!(keys.len(), 1);
    assert_eq!(keys[0].info, second.info);
    assert!(keys[0].secret.constant_time_eq(SECRET));
    let root = bench.store.identities().await.unwrap();
    assert_eq!((root.len(), root[0].name.as_str(), root[0].kind), (1, "administrator", IdentityKind::Root));
}

#[tokio::test]
async fn authorities_are_made_once() {
    let bench = bench().await;
    assert!(bench.store.authorities().await.unwrap().is_none());
    let make = |byte| Authorities {
        root_certificate: vec![byte],
        root_key: SecretBytes::new(SECRET.to_vec()),
        issuing_certificate: vec![byte],
        issuing_key: SecretBytes::new(vec![byte; 3]),
    };
    bench.store.put_authorities(&make(1)).await.unwrap();
    bench.store.put_authorities(&make(2)).await.unwrap();
    let kept = bench.store.authorities().await.unwrap().unwrap();
    assert_eq!((kept.root_certificate, kept.issuing_certificate), (vec![1], vec![1]));
    assert!(kept.root_key.constant_time_eq(SECRET) && kept.issuing_key.constant_time_eq(&[1, 1, 1]));
}

#[tokio::test]
async fn secrets_do_not_stand_in_the_file() {
    let bench = bench().await;
    let (key, version) = key();
    bench.store.commit_key(&key, &held(&version), &Tags::default(), None).await.unwrap();
    bench.store.replace_administrator(&access_key("o")).await.unwrap();
    let mut searched = 0;
    for entry in std::fs::read_dir(bench.directory.path()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        searched += bytes.len();
        assert!(!bytes.windows(SECRET.len()).any(|window| window == SECRET), "{} shows a secret", path.display());
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} is open to others", path.display());
    }
    assert!(searched > 10_000, "the database was searched");
}

#[tokio::test]
async fn a_sealed_value_opens_in_its_place_only() {
    let bench = bench().await;
    let (first, first_version) = key();
    let (second, second_version) = key();
    bench.store.commit_key(&first, &held(&first_version), &Tags::default(), None).await.unwrap();
    bench.store.commit_key(&second, &held(&second_version), &Tags::default(), None).await.unwrap();
    let raw = bench.raw().await;
    let moved = "UPDATE key_versions SET held = (SELECT held FROM key_versions WHERE id = $1) WHERE id = $2";
    sqlx::query(moved).bind(first_version.as_str()).bind(second_version.as_str()).execute(&raw).await.unwrap();
    assert_eq!(bench.store.key(&second.id).await.err().unwrap().kind(), Kind::Internal);
    assert!(bench.store.key(&first.id).await.is_ok());
    let sealed: Vec<u8> = sqlx::query_scalar("SELECT held FROM key_versions WHERE id = $1")
        .bind(first_version.as_str())
        .fetch_one(&raw)
        .await
        .unwrap();
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        let statement = "UPDATE key_versions SET held = $1 WHERE id = $2";
        sqlx::query(statement).bind(changed).bind(first_version.as_str()).execute(&raw).await.unwrap();
        assert!(bench.store.key(&first.id).await.is_err(), "byte {at}");
    }
}

#[tokio::test]
async fn another_root_key_opens_nothing() {
    let bench = bench().await;
    let error = Store::open(&bench.path(), &RootKey::generate()).await.err().unwrap();
    assert!(error.message().contains("root key"), "{error}");
}

#[tokio::test]
async fn a_database_that_is_not_there_or_not_ours_is_named() {
    let bench = bench().await;
    let missing = bench.directory.path().join("missing.db");
    let error = Store::open(&missing, &bench.root).await.err().unwrap();
    assert!(error.message().contains("missing.db") && error.message().contains("keystead init"), "{error}");
    assert!(!missing.exists());
    let garbage = bench.directory.path().join("garbage.db");
    std::fs::write(&garbage, [7; 8192]).unwrap();
    let error = Store::open(&garbage, &bench.root).await.err().unwrap();
    assert!(error.message().contains("garbage.db"), "{error}");
}

#[tokio::test]
async fn an_emptied_database_does_not_pass_for_a_new_one() {
    let bench = bench().await;
    let emptied = bench.directory.path().join("emptied.db");
    std::fs::write(&emptied, []).unwrap();
    // Not the second time either, when the first has looked into it.
    for _ in 0..2 {
        let error = Store::open(&emptied, &bench.root).await.err().expect("it is not opened");
        assert!(error.message().contains("emptied.db") && error.message().contains("backup"), "{error}");
    }
}

#[tokio::test]
async fn a_newer_database_is_refused() {
    let bench = bench().await;
    let raw = bench.raw().await;
    let newer =
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'x', 1, x'00', 0)";
    sqlx::query(newer).execute(&raw).await.unwrap();
    let error = Store::open(&bench.path(), &bench.root).await.err().unwrap();
    assert!(error.message().contains("newer version"), "{error}");
}

#[tokio::test]
async fn two_stores_on_one_file_write_side_by_side() {
    let bench = bench().await;
    let other = bench.again().await;
    let writers = [bench.store.clone(), other.clone()].into_iter().enumerate().map(|(writer, store)| {
        tokio::spawn(async move {
            for number in 0..40 {
                store.create_policy(&policy(&format!("p{writer}-{number}"))).await.unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    assert_eq!(other.access().await.unwrap().policies.len(), 80);
    assert_eq!(other.revision().await.unwrap().unwrap(), bench.store.revision().await.unwrap().unwrap());
}

#[test]
fn a_root_key_file_is_the_owners_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("root.key");
    let missing = RootKey::load(&path).err().unwrap();
    assert!(missing.message().contains("keystead init"), "{missing}");
    RootKey::generate().write_new(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
    RootKey::load(&path).unwrap();
    assert_eq!(RootKey::generate().write_new(&path).unwrap_err().kind(), Kind::ResourceExists);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let open = RootKey::load(&path).err().unwrap();
    assert!(open.message().contains("chmod 600"), "{open}");
    let short = directory.path().join("short.key");
    for length in [0, 31, 33] {
        std::fs::write(&short, vec![1; length]).unwrap();
        std::fs::set_permissions(&short, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(RootKey::load(&short).is_err(), "{length} bytes");
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn the_end_of_an_audit_log_only_moves_on() {
    let bench = bench().await;
    let revision = bench.store.revision().await.unwrap().unwrap();
    assert_eq!(bench.store.audit_position("server").await.unwrap(), None);
    for (sequence, byte) in [(7, 1), (9, 2), (8, 3)] {
        bench.store.remember_audit_position("server", (sequence, [byte; 32])).await.unwrap();
    }
    bench.store.remember_audit_position("commands", (1, [4; 32])).await.unwrap();
    let again = bench.again().await;
    assert_eq!(again.audit_position("server").await.unwrap(), Some((9, [2; 32])));
    assert_eq!(again.audit_position("commands").await.unwrap(), Some((1, [4; 32])));
    assert_eq!(again.revision().await.unwrap().unwrap(), revision, "no snapshot is read again because of it");
    let [one, other] = ["server", "commands"].map(|log| bench.root.audit_key(log).unwrap());
    assert!(!one.constant_time_eq(other.expose()), "a record of one is none of the other");
}
