//! Child rows that no owner claims: what they may take away is taken from everybody whose they may be, until somebody puts them right.

use keystead::base::random;
use keystead::model::AccessKeyId;
use keystead::model::operator::{AccessKeyInfo, AccessKeyState, AttachedPolicy, Identity, IdentityKind};
use keystead::model::tags::Tags;
use keystead::service::Subject;
use keystead::store::AccessKey;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

use super::*;

const ALLOW: &str = r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"*"}]}"#;
const DENY: &str = r#"{"Version":"1","Statement":[{"Effect":"Deny","Action":"kms:Decrypt","Resource":"*"}]}"#;
const DENY_TAGGED: &str = r#"{"Version":"1","Statement":[{"Effect":"Deny","Action":"kms:Encrypt","Resource":"*",
    "Condition":{"StringEquals":{"kms:tag/env":"prod"}}}]}"#;
const ALLOW_TAGGED: &str = r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"*",
    "Condition":{"StringNotEquals":{"kms:tag/env":"prod"}}}]}"#;

impl Bench {
    /// An operator with these policies.
    async fn with_policies(&self, called: &str, kind: IdentityKind, documents: &[&str]) -> Operator {
        let custom = |(number, text): (usize, &&str)| {
            let name = format!("p{number}").parse().unwrap();
            AttachedPolicy::Custom { name, document: text.parse().unwrap() }
        };
        let policies = documents.iter().enumerate().map(custom).collect();
        let identity = Identity { name: name(called), kind, policies, description: String::new(), created: NOW };
        self.store.create_identity(&identity).await.unwrap();
        let id = AccessKeyId::from_entropy(random::bytes());
        let info = AccessKeyInfo { id: id.clone(), owner: name(called), state: AccessKeyState::Active, created: NOW };
        self.store.create_access_key(&AccessKey { info, secret: SecretBytes::new(vec![1; 30]) }).await.unwrap();
        self.kms.refresh().await.unwrap();
        Operator { access_key: id, ..self.operator.clone() }
    }

    /// Damages or mends rows, without foreign keys; the change counter rises.
    async fn damage(&self, statement: &str) {
        let raw = SqlitePool::connect_with(SqliteConnectOptions::new().filename(self.path()).foreign_keys(false)).await.unwrap();
        let done = sqlx::query(sqlx::AssertSqlSafe(statement.to_owned())).execute(&raw).await.unwrap();
        assert_eq!(done.rows_affected(), 1, "{statement}");
        sqlx::query("UPDATE installation SET revision = revision + 1").execute(&raw).await.unwrap();
        self.kms.refresh().await.unwrap();
    }
}

fn may(kms: &Kms, operator: &Operator, action: &'static str, key: &KeyId) -> bool {
    kms.permit_operator(operator, action, &Subject::Key(key.as_str())).is_ok()
}

fn tables(kms: &Kms) -> Vec<&'static str> {
    kms.unusable_rows().iter().map(|row| row.table).collect()
}

#[tokio::test]
async fn a_deny_that_no_operator_claims_denies_it_to_all_but_the_root() {
    let bench = bench().await;
    let key = bench.key(KeySpec::Aes256, KeyUsage::EncryptDecrypt).await;
    let alice = bench.with_policies("alice", IdentityKind::User, &[ALLOW, DENY]).await;
    let bob = bench.with_policies("bob", IdentityKind::User, &[ALLOW]).await;
    let root = bench.with_policies("root", IdentityKind::Root, &[]).await;
    let kms = &bench.kms;
    let decrypts = || [&alice, &bob, &root].map(|who| may(kms, who, "kms:Decrypt", &key));
    let encrypts = || [&alice, &bob, &root].map(|who| may(kms, who, "kms:Encrypt", &key));
    assert_eq!((decrypts(), encrypts()), ([false, true, true], [true; 3]));
    for owner in ["X'FF'", "'gone'"] {
        bench.damage(&format!("UPDATE identity_policies SET identity = {owner} WHERE identity = 'alice' AND name = 'p1'")).await;
        assert_eq!((decrypts(), encrypts()), ([false, false, true], [true; 3]), "{owner}");
        assert_eq!(tables(kms), ["identity_policies"]);
        assert!(kms.unusable_rows()[0].row.contains("rowid"), "a person finds it");
        let again = start(bench.store.clone(), &bench.instance).await;
        assert!(!may(&again, &alice, "kms:Decrypt", &key) && !may(&again, &bob, "kms:Decrypt", &key));
        bench.damage("UPDATE identity_policies SET identity = 'alice' WHERE name = 'p1'").await;
        assert_eq!((decrypts(), tables(kms)), ([false, true, true], vec![]));
    }
    // What it denies cannot be read: it may be anything.
    bench.damage("UPDATE identity_policies SET identity = 'gone', document = '{' WHERE identity = 'alice' AND name = 'p1'").await;
    assert_eq!((decrypts(), encrypts()), ([false, false, true], [false, false, true]));
    bench.damage("DELETE FROM identity_policies WHERE identity = 'gone'").await;
    assert_eq!((decrypts(), tables(kms)), ([true; 3], vec![]));
}

#[tokio::test]
async fn an_allow_that_no_operator_claims_grants_nothing_and_denies_nothing() {
    let bench = bench().await;
    let key = bench.key(KeySpec::Aes256, KeyUsage::EncryptDecrypt).await;
    let alice = bench.with_policies("alice", IdentityKind::User, &[ALLOW]).await;
    let bob = bench.with_policies("bob", IdentityKind::User, &[]).await;
    let carol = bench.with_policies("carol", IdentityKind::User, &[ALLOW]).await;
    bench.damage("UPDATE identity_policies SET identity = X'FF' WHERE identity = 'alice'").await;
    assert_eq!([&alice, &bob, &carol].map(|who| may(&bench.kms, who, "kms:Encrypt", &key)), [false, false, true]);
    assert_eq!(tables(&bench.kms), ["identity_policies"]);
}

#[tokio::test]
async fn a_tag_that_no_key_claims_lets_conditions_on_tags_deny_and_not_allow() {
    let bench = bench().await;
    let key = bench.key(KeySpec::Aes256, KeyUsage::EncryptDecrypt).await;
    let tags = Tags::from_list([("env".parse().unwrap(), "prod".parse().unwrap())]).unwrap();
    bench.kms.tag_key(&bench.operator, key.as_str(), &tags).await.unwrap();
    let denied = bench.with_policies("denied", IdentityKind::User, &[ALLOW, DENY_TAGGED]).await;
    let allowed = bench.with_policies("allowed", IdentityKind::User, &[ALLOW_TAGGED]).await;
    let other = bench.with_policies("other", IdentityKind::User, &[ALLOW]).await;
    let encrypt = |kms: &Kms| [&denied, &allowed, &other].map(|who| may(kms, who, "kms:Encrypt", &key));
    assert_eq!(encrypt(&bench.kms), [false, false, true]);
    for owner in ["X'FF'", "'key-gone'"] {
        bench.damage(&format!("UPDATE tags SET resource_id = {owner}")).await;
        // The key is read again, as after each change of it.
        bench.kms.disable_key(&bench.operator, key.as_str()).await.unwrap();
        bench.kms.enable_key(&bench.operator, key.as_str()).await.unwrap();
        for kms in [&bench.kms, &start(bench.store.clone(), &bench.instance).await] {
            assert_eq!(encrypt(kms), [false, false, true], "{owner}");
            assert_eq!(tables(kms), ["tags"]);
            assert!(may(kms, &denied, "kms:Decrypt", &key), "nothing denies that");
        }
        bench.damage(&format!("UPDATE tags SET resource_id = '{key}'")).await;
    }
    // Somebody deletes the row; the service, which looks again, says so.
    bench.damage("DELETE FROM tags").await;
    let kms = start(bench.store.clone(), &bench.instance).await;
    assert_eq!((encrypt(&kms), tables(&kms)), ([true; 3], vec![]));
    bench.kms.spawn_background();
    until("nothing is named any more", async || bench.kms.unusable_rows().is_empty()).await;
    bench.kms.close().await;
}
