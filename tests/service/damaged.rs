//! A row of the store that cannot be used, and a store that cannot be read after a change: every revocation is in force all the same.

use keystead::base::{Kind, Result, random};
use keystead::model::AccessKeyId;
use keystead::model::key::KeyState;
use keystead::model::operator::{AccessKeyInfo, AccessKeyState, Identity, IdentityKind};
use keystead::service::{Kms, NewAccess};
use keystead::store::AccessKey;
use sqlx::sqlite::SqlitePool;

use super::*;

impl Bench {
    async fn raw(&self) -> SqlitePool {
        SqlitePool::connect(&format!("sqlite:{}", self.path().display())).await.unwrap()
    }

    /// Another program with access of its own.
    async fn other_caller(&self) -> Caller {
        let access = NewAccess::everything(name("other"), self.instance.clone()).unwrap();
        let made = Kms::create_access(&self.store, access, FIVE_YEARS, NOW, |_| Ok(())).await.unwrap();
        self.kms.refresh().await.unwrap();
        Caller { client_key: made.client_key.id, ..self.caller.clone() }
    }
}

async fn execute(raw: &SqlitePool, statement: &'static str) {
    sqlx::query(statement).execute(raw).await.unwrap();
}

fn kind<T>(result: Result<T>) -> Kind {
    kind_of(result).expect("it is refused")
}

fn kind_of<T>(result: Result<T>) -> Option<Kind> {
    result.err().map(|error| error.kind())
}

#[tokio::test]
async fn one_access_key_that_does_not_open_stops_no_revocation() {
    let bench = bench().await;
    let other = bench.other_caller().await;
    let (key, disabled) =
        (bench.key(KeySpec::Aes256, KeyUsage::EncryptDecrypt).await, bench.key(KeySpec::Aes256, KeyUsage::EncryptDecrypt).await);
    let identity =
        Identity { name: name("alice"), kind: IdentityKind::User, policies: Vec::new(), description: String::new(), created: NOW };
    bench.store.create_identity(&identity).await.unwrap();
    let ids = [(); 2].map(|()| AccessKeyId::from_entropy(random::bytes()));
    for id in &ids {
        let info = AccessKeyInfo { id: id.clone(), owner: name("alice"), state: AccessKeyState::Active, created: NOW };
        bench.store.create_access_key(&AccessKey { info, secret: SecretBytes::new(vec![1; 30]) }).await.unwrap();
    }
    let raw = bench.raw().await;
    let statement = "UPDATE access_keys SET secret = CAST(X'00' || substr(secret, 2) AS BLOB) WHERE id = $1";
    sqlx::query(statement).bind(ids[0].as_str()).execute(&raw).await.unwrap();

    bench.kms.disable_key(&bench.operator, disabled.as_str()).await.expect("it is committed, and says so");
    assert_eq!(kind(bench.encrypt(&disabled).await), Kind::KeyDisabled);
    bench.kms.delete_client_key(&bench.operator, &bench.caller.client_key).await.unwrap();
    assert_eq!(kind(bench.encrypt(&key).await), Kind::NoPermission);
    assert!(bench.kms.client_key(bench.caller.client_key.as_str()).unwrap().is_none());
    bench.kms.encrypt(&other, Form::Plain, encrypt(&key)).await.unwrap();
    assert!(bench.kms.access_key(ids[0].as_str()).unwrap().is_none() && bench.kms.access_key(ids[1].as_str()).unwrap().is_some());
    let named = bench.kms.unusable_rows();
    assert_eq!(named.iter().map(|row| (row.table, row.row.as_str())).collect::<Vec<_>>(), [("access_keys", ids[0].as_str())]);
    assert!(bench.kms.snapshot_age() < Duration::from_secs(5));
    // A start goes on, too.
    let again = start(bench.store.clone(), &bench.instance).await;
    assert_eq!(again.unusable_rows(), named);
    bench.store.delete_access_key(&ids[0]).await.unwrap();
    bench.kms.refresh().await.unwrap();
    assert!(bench.kms.unusable_rows().is_empty());
}

#[tokio::test]
async fn a_key_whose_row_cannot_be_used_is_denied_and_not_said_to_be_gone() {
    let bench = bench().await;
    let (one, other) =
        (bench.key(KeySpec::Aes256, KeyUsage::EncryptDecrypt).await, bench.key(KeySpec::Aes256, KeyUsage::EncryptDecrypt).await);
    let alias = "alias/one".parse().unwrap();
    bench.kms.create_alias(&bench.operator, &alias, one.as_str()).await.unwrap();
    let raw = bench.raw().await;
    let statement = "UPDATE keys SET policy = '{', revision = (SELECT revision + 1 FROM installation) WHERE id = $1";
    sqlx::query(statement).bind(one.as_str()).execute(&raw).await.unwrap();
    execute(&raw, "UPDATE installation SET revision = revision + 1").await;
    bench.kms.refresh().await.unwrap();
    for kms in [&bench.kms, &start(bench.store.clone(), &bench.instance).await] {
        for named in [one.as_str(), "alias/one"] {
            let described = kms.describe_key(&bench.operator, named).expect_err("it cannot be used");
            assert!(described.kind() == Kind::Internal && described.message().contains(one.as_str()), "{described:?}");
            let request = Encrypt { key: KeyReference::Key(named.to_owned()), ..encrypt(&one) };
            assert_eq!(kind(kms.encrypt(&bench.caller, Form::Plain, request).await), Kind::Internal);
        }
        kms.encrypt(&bench.caller, Form::Plain, encrypt(&other)).await.unwrap();
        assert_eq!(kms.unusable_rows()[0].row, one.as_str());
    }
    assert!(bench.kms.disable_key(&bench.operator, one.as_str()).await.is_err(), "nothing is written of it");
    let statement = "UPDATE keys SET policy = NULL, revision = (SELECT revision + 1 FROM installation) WHERE id = $1";
    sqlx::query(statement).bind(one.as_str()).execute(&raw).await.unwrap();
    execute(&raw, "UPDATE installation SET revision = revision + 1").await;
    bench.kms.refresh().await.unwrap();
    bench.encrypt(&one).await.unwrap();
    assert!(bench.kms.unusable_rows().is_empty());
}

#[tokio::test]
async fn a_key_that_cannot_be_used_is_listed() {
    let bench = bench().await;
    let (one, other) =
        (bench.key(KeySpec::Aes256, KeyUsage::EncryptDecrypt).await, bench.key(KeySpec::Aes256, KeyUsage::EncryptDecrypt).await);
    let raw = bench.raw().await;
    sqlx::query("UPDATE keys SET state = 'x' WHERE id = $1").bind(one.as_str()).execute(&raw).await.unwrap();
    let kms = start(bench.store.clone(), &bench.instance).await;
    let list = |filters: &[KeyFilter]| kms.list_keys(&bench.operator, filters, Page { number: 1, size: 100 }).unwrap().items;
    assert_eq!(list(&[]), [other.clone(), one.clone()]);
    assert_eq!(list(&[KeyFilter::State(vec![KeyState::Disabled])]), std::slice::from_ref(&one), "its state is not known");
    assert_eq!(list(&[KeyFilter::Id(vec![other.to_string()])]), [other]);
    assert_eq!(kind(kms.describe_key(&bench.operator, one.as_str())), Kind::Internal);
    // A key with a version that cannot be used is not listed twice.
    let repaired = "UPDATE keys SET state = 'Enabled' WHERE id = $1";
    sqlx::query(repaired).bind(one.as_str()).execute(&raw).await.unwrap();
    sqlx::query("UPDATE key_versions SET held = X'FF' WHERE key_id = $1").bind(one.as_str()).execute(&raw).await.unwrap();
    let kms = start(bench.store.clone(), &bench.instance).await;
    assert_eq!(kms.list_keys(&bench.operator, &[], Page { number: 1, size: 100 }).unwrap().total, 2);
}

#[tokio::test]
async fn a_key_that_a_row_calls_deleted_and_that_is_there_goes_on() {
    let bench = bench().await;
    let clock = Arc::new(FixedClock::at(NOW));
    let key = bench.key(KeySpec::Aes256, KeyUsage::EncryptDecrypt).await;
    let kms = start_at(bench.store.clone(), &bench.instance, Arc::clone(&clock)).await;
    let raw = bench.raw().await;
    let statement = "INSERT INTO deleted_keys (id, revision) SELECT $1, revision + 1 FROM installation";
    sqlx::query(statement).bind(key.as_str()).execute(&raw).await.unwrap();
    execute(&raw, "UPDATE installation SET revision = revision + 1").await;
    kms.refresh().await.unwrap();
    kms.encrypt(&bench.caller, Form::Plain, encrypt(&key)).await.expect("it is there");
    let named = kms.unusable_rows();
    assert_eq!(named.iter().map(|row| (row.table, row.row.as_str())).collect::<Vec<_>>(), [("deleted_keys", key.as_str())]);
    // Nor does that row keep it from being deleted.
    kms.schedule_key_deletion(&bench.operator, key.as_str(), 7).await.unwrap();
    clock.set(Timestamp::from_unix(NOW.unix() + 7 * 86_400));
    kms.spawn_background();
    until("it is deleted", async || kind_of(kms.describe_key(&bench.operator, key.as_str())) == Some(Kind::KeyNotFound)).await;
    until("nothing is named any more", async || kms.unusable_rows().is_empty()).await;
    kms.close().await;
}

#[tokio::test]
async fn a_version_that_does_not_open_takes_no_other_along() {
    let bench = bench().await;
    let key = bench.key(KeySpec::Aes256, KeyUsage::EncryptDecrypt).await;
    let made = bench.kms.create_key_version(&bench.operator, key.as_str()).await.unwrap().version;
    let raw = bench.raw().await;
    sqlx::query("UPDATE key_versions SET held = X'FF' WHERE id = $1").bind(made.as_str()).execute(&raw).await.unwrap();
    let kms = start(bench.store.clone(), &bench.instance).await;
    kms.encrypt(&bench.caller, Form::Plain, encrypt(&key)).await.expect("the first version");
    assert_eq!(kind(kms.encrypt(&bench.caller, Form::Advance, encrypt(&key)).await), Kind::Internal);
    assert_eq!(kind(kms.describe_key_version(&bench.operator, key.as_str(), &made)), Kind::Internal);
}

#[tokio::test]
async fn a_change_holds_whatever_the_change_counters_in_the_database_show() {
    let bench = bench().await;
    let raw = bench.raw().await;
    let named = || bench.kms.unusable_rows().iter().map(|row| row.table).collect::<Vec<_>>();
    for (damage, is_named) in [
        ("UPDATE installation SET revision = 'x'", true),
        ("UPDATE installation SET revision = -5", true),
        ("UPDATE installation SET revision = 0", true),
        ("CREATE TRIGGER rows AFTER UPDATE OF revision ON keys BEGIN UPDATE keys SET revision = 0; END", false),
        ("CREATE TRIGGER counter AFTER UPDATE ON installation BEGIN UPDATE installation SET revision = 3; END", true),
    ] {
        // A start begins with the counter as it is: nothing is wrong with it.
        let key = bench.key(KeySpec::Aes256, KeyUsage::EncryptDecrypt).await;
        let kms = start(bench.store.clone(), &bench.instance).await;
        bench.kms.refresh().await.unwrap();
        execute(&raw, damage).await;
        kms.refresh().await.unwrap();
        bench.kms.disable_key(&bench.operator, key.as_str()).await.unwrap();
        assert_eq!(kind(bench.encrypt(&key).await), Kind::KeyDisabled, "{damage}");
        // What another process changed holds, too, once the counter tells of something.
        if is_named {
            kms.refresh().await.unwrap();
            assert_eq!(kind(kms.encrypt(&bench.caller, Form::Plain, encrypt(&key)).await), Kind::KeyDisabled, "{damage}");
            assert_eq!(named(), ["installation"], "{damage}");
        }
    }
    let policy = name("app");
    bench.kms.delete_policy(&bench.operator, &policy).await.unwrap();
    let key = bench.key(KeySpec::Aes256, KeyUsage::EncryptDecrypt).await;
    assert_eq!(kind(bench.encrypt(&key).await), Kind::NoPermission, "the counter stood still");
    assert!(start(bench.store.clone(), &bench.instance).await.unusable_rows().is_empty());
}

#[tokio::test]
async fn a_counter_that_is_no_number_is_named_and_stops_no_refresh_and_no_start() {
    let bench = bench().await;
    let key = bench.key(KeySpec::Aes256, KeyUsage::EncryptDecrypt).await;
    let raw = bench.raw().await;
    execute(&raw, "UPDATE installation SET revision = 'x'").await;
    sqlx::query("UPDATE keys SET state = 'Disabled' WHERE id = $1").bind(key.as_str()).execute(&raw).await.unwrap();
    bench.kms.refresh().await.unwrap();
    assert_eq!(kind(bench.encrypt(&key).await), Kind::KeyDisabled);
    for kms in [&bench.kms, &start(bench.store.clone(), &bench.instance).await] {
        let named = kms.unusable_rows();
        assert!(named.len() == 1 && named[0].table == "installation" && named[0].why.contains("no number"), "{named:?}");
    }
    sqlx::query("DELETE FROM keys WHERE id = $1").bind(key.as_str()).execute(&raw).await.unwrap();
    bench.kms.refresh().await.unwrap();
    assert_eq!(kind(bench.encrypt(&key).await), Kind::KeyNotFound);
}

/// A table that cannot be read, while the change counter can: as a page of the file that was damaged.
#[tokio::test]
async fn what_was_changed_and_cannot_be_read_again_is_denied_until_it_can() {
    let bench = bench().await;
    let other = bench.other_caller().await;
    let (key, disabled) =
        (bench.key(KeySpec::Aes256, KeyUsage::EncryptDecrypt).await, bench.key(KeySpec::Aes256, KeyUsage::EncryptDecrypt).await);
    let raw = bench.raw().await;
    execute(&raw, "ALTER TABLE oidc_providers RENAME TO away").await;
    execute(&raw, "ALTER TABLE key_versions RENAME TO versions_away").await;
    bench.kms.disable_key(&bench.operator, disabled.as_str()).await.expect("it is committed, and says so");
    assert_eq!(kind(bench.encrypt(&disabled).await), Kind::Internal, "it is not known what was made of it");
    assert_eq!(kind(bench.kms.describe_key(&bench.operator, disabled.as_str())), Kind::Internal);
    bench.kms.delete_client_key(&bench.operator, &bench.caller.client_key).await.expect("it is committed, and says so");
    assert_eq!(kind(bench.encrypt(&key).await), Kind::NoPermission);
    bench.kms.encrypt(&other, Form::Plain, encrypt(&key)).await.expect("nothing was changed of it here");
    // What was written elsewhere may be anything: after a while nobody is let in.
    bench.kms.spawn_background();
    until("nobody is judged", async || bench.kms.client_key(other.client_key.as_str()).is_err()).await;
    assert_eq!(kind(bench.kms.encrypt(&other, Form::Plain, encrypt(&key)).await), Kind::Unavailable);
    assert!(bench.kms.snapshot_age() >= REFRESH);
    execute(&raw, "ALTER TABLE versions_away RENAME TO key_versions").await;
    execute(&raw, "ALTER TABLE away RENAME TO oidc_providers").await;
    until("the other is let in again", async || bench.kms.client_key(other.client_key.as_str()).is_ok()).await;
    bench.kms.encrypt(&other, Form::Plain, encrypt(&key)).await.unwrap();
    until("the key is read", async || bench.kms.describe_key(&bench.operator, disabled.as_str()).is_ok()).await;
    assert_eq!(bench.kms.describe_key(&bench.operator, disabled.as_str()).unwrap().key.state, KeyState::Disabled);
    assert!(bench.kms.client_key(bench.caller.client_key.as_str()).unwrap().is_none(), "and what was deleted is gone");
    assert!(bench.kms.unusable_rows().is_empty());
    bench.kms.close().await;
}
