//! Identities, their policies and AccessKeys, key policies; and what an older version's AccessKeys become.

use std::sync::Arc;

use keystead::model::operator::{ACCESS_KEYS_PER_IDENTITY, AttachedPolicy, BuiltIn, Identity, KeyPolicy, POLICIES_PER_IDENTITY};
use keystead::model::tags::Tags;
use sqlx::Executor;

use super::*;

fn custom(called: &str, action: &str) -> AttachedPolicy {
    let text =
        format!("{{ \"Version\": \"1\", \"Statement\": [{{\"Effect\":\"Allow\",\"Action\":\"{action}\",\"Resource\":\"*\"}}] }}");
    AttachedPolicy::Custom { name: name(called), document: text.parse().unwrap() }
}

fn identity(called: &str, kind: IdentityKind, policies: Vec<AttachedPolicy>) -> Identity {
    Identity { name: name(called), kind, policies, description: "für \"alle\"".to_owned(), created: NOW }
}

fn user(called: &str) -> Identity {
    identity(called, IdentityKind::User, vec![AttachedPolicy::BuiltIn(BuiltIn::ReadOnlyAccess), custom("own", "kms:Encrypt")])
}

#[tokio::test]
async fn operators_come_back_as_they_were_kept_and_go_with_what_is_theirs() {
    let bench = bench().await;
    let (alice, auditors) = (user("alice"), identity("auditors", IdentityKind::Role, Vec::new()));
    bench.store.create_identity(&alice).await.unwrap();
    bench.store.create_identity(&auditors).await.unwrap();
    assert_eq!(bench.again().await.identities().await.unwrap(), [alice.clone(), auditors.clone()]);
    assert_eq!(bench.store.create_identity(&alice).await.unwrap_err().kind(), Kind::ResourceExists);

    let key = access_key("alice");
    bench.store.create_access_key(&key).await.unwrap();
    let kept = bench.again().await.access_keys().await.unwrap();
    assert_eq!(kept[0].info, key.info);
    assert!(kept[0].secret.constant_time_eq(SECRET));
    bench.store.set_access_key_state(&key.info.id, AccessKeyState::Inactive).await.unwrap();
    assert_eq!(bench.store.access_keys().await.unwrap()[0].info.state, AccessKeyState::Inactive);

    bench.store.delete_identity(&alice.name).await.unwrap();
    assert_eq!(bench.store.identities().await.unwrap(), [auditors]);
    assert!(bench.store.access_keys().await.unwrap().is_empty());
    for error in [
        bench.store.delete_identity(&alice.name).await.unwrap_err(),
        bench.store.attach_policy(&alice.name, &custom("p", "kms:*")).await.unwrap_err(),
        bench.store.detach_policy(&name("auditors"), &name("own")).await.unwrap_err(),
        bench.store.create_access_key(&key).await.unwrap_err(),
        bench.store.set_access_key_state(&key.info.id, AccessKeyState::Active).await.unwrap_err(),
        bench.store.delete_access_key(&key.info.id).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), Kind::ResourceNotFound, "{error}");
    }
}

#[tokio::test]
async fn policies_are_replaced_by_name_and_everything_has_a_bound() {
    let bench = bench().await;
    bench.store.create_identity(&user("alice")).await.unwrap();
    let alice = name("alice");
    bench.store.attach_policy(&alice, &custom("own", "kms:Decrypt")).await.unwrap();
    bench.store.detach_policy(&alice, &name("AliyunKMSReadOnlyAccess")).await.unwrap();
    assert_eq!(bench.store.identities().await.unwrap()[0].policies, [custom("own", "kms:Decrypt")]);
    for at in 1..POLICIES_PER_IDENTITY {
        bench.store.attach_policy(&alice, &custom(&format!("p{at}"), "kms:*")).await.unwrap();
    }
    let before = bench.store.identities().await.unwrap();
    assert_eq!(bench.store.attach_policy(&alice, &custom("more", "kms:*")).await.unwrap_err().kind(), Kind::LimitExceeded);
    assert_eq!(bench.store.identities().await.unwrap(), before, "what was refused changed nothing");
    bench.store.attach_policy(&alice, &custom("p1", "kms:List*")).await.unwrap();

    for _ in 0..ACCESS_KEYS_PER_IDENTITY {
        bench.store.create_access_key(&access_key("alice")).await.unwrap();
    }
    assert_eq!(bench.store.create_access_key(&access_key("alice")).await.unwrap_err().kind(), Kind::LimitExceeded);
    bench.store.create_identity(&identity("role", IdentityKind::Role, Vec::new())).await.unwrap();
    assert_eq!(bench.store.create_access_key(&access_key("role")).await.unwrap_err().kind(), Kind::UnsupportedOperation);
}

#[tokio::test]
async fn the_root_stays_as_it_is() {
    let bench = bench().await;
    bench.store.replace_administrator(&access_key("administrator")).await.unwrap();
    let root = name("administrator");
    for error in [
        bench.store.delete_identity(&root).await.unwrap_err(),
        bench.store.attach_policy(&root, &custom("p", "kms:*")).await.unwrap_err(),
        bench.store.detach_policy(&root, &name("p")).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), Kind::UnsupportedOperation, "{error}");
    }
    bench.store.create_access_key(&access_key("administrator")).await.unwrap();
}

#[tokio::test]
async fn a_key_policy_is_kept_with_its_key() {
    let bench = bench().await;
    let (first, version) = key();
    let text = KeyPolicy::default_policy().text().replace("kms:*", "kms:List*");
    let policy = Some(Arc::new(text.parse::<KeyPolicy>().unwrap()));
    let first = Key { policy: policy.clone(), ..first };
    bench.store.commit_key(&first, &held(&version), &Tags::default(), None).await.unwrap();
    let kept = async || bench.again().await.key(&first.id).await.unwrap().unwrap().0.policy;
    assert_eq!(kept().await, policy);
    let before = bench.store.revision().await.unwrap().unwrap();
    let other = Some(Arc::new(text.replace("List", "Get").parse::<KeyPolicy>().unwrap()));
    bench
        .store
        .change_key(&first.id, |key| {
            key.policy.clone_from(&other);
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(kept().await, other);
    assert_eq!(bench.store.keys_since(before).await.unwrap(), std::slice::from_ref(&first.id), "other nodes see it");
}

/// What the version before operators left is brought to this version's schema: its AccessKey opens, and is the root's.
#[tokio::test]
async fn an_older_versions_access_key_keeps_full_rights() {
    let bench = bench().await;
    let key = access_key("administrator");
    bench.store.replace_administrator(&key).await.unwrap();
    bench.store.close().await;
    let raw = bench.raw().await;
    // Back to what it was: the tables as 0001 made them, with the row as that version wrote it.
    for statement in [
        "CREATE TABLE former (id TEXT PRIMARY KEY, secret BLOB NOT NULL, owner TEXT NOT NULL, created BIGINT NOT NULL)",
        "INSERT INTO former SELECT id, secret, owner, created FROM access_keys",
        "DROP TABLE access_keys",
        "DROP TABLE identity_policies",
        "DROP TABLE identities",
        "ALTER TABLE former RENAME TO access_keys",
        "DELETE FROM _sqlx_migrations WHERE version = 7",
    ] {
        raw.execute(statement).await.unwrap();
    }
    raw.close().await;
    let store = bench.again().await;
    let kept = store.access_keys().await.unwrap();
    assert_eq!((kept.len(), &kept[0].info), (1, &key.info));
    assert!(kept[0].secret.constant_time_eq(SECRET));
    let root = &store.identities().await.unwrap()[0];
    assert_eq!((root.name.as_str(), root.kind, root.created), ("administrator", IdentityKind::Root, NOW));
}
