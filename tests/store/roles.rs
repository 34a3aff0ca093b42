//! Roles: kept with their identity, changed, gone with it.

use std::time::Duration;

use keystead::model::RoleId;
use keystead::model::operator::{Identity, Role};

use super::*;

pub fn role(called: &str, trusted: &str) -> (Identity, Role) {
    let trust = format!(
        r#"{{"Version":"1","Statement":[{{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{{"RAM":"{trusted}"}}}}]}}"#
    );
    let created = NOW;
    let identity =
        Identity { name: name(called), kind: IdentityKind::Role, policies: Vec::new(), description: String::new(), created };
    let id = RoleId::from_entropy(random::bytes());
    let max_session = Duration::from_secs(3600);
    (identity, Role { name: name(called), id, trust: trust.parse().unwrap(), max_session })
}

#[tokio::test]
async fn a_role_comes_back_as_it_was_kept_is_changed_and_goes() {
    let bench = bench().await;
    let (identity, first) = role("deployer", "acs:ram::0:user/alice");
    bench.store.create_role(&identity, &first).await.unwrap();
    assert_eq!(bench.again().await.roles().await.unwrap(), std::slice::from_ref(&first));
    assert_eq!(bench.store.identities().await.unwrap(), std::slice::from_ref(&identity));
    let (same_name, other_id) = role("deployer", "acs:ram::0:user/bob");
    assert_eq!(bench.store.create_role(&same_name, &other_id).await.unwrap_err().kind(), Kind::ResourceExists);

    let revision = bench.store.revision().await.unwrap().unwrap();
    bench.store.change_role(&first.name, Some(&other_id.trust), None).await.unwrap();
    assert!(bench.store.revision().await.unwrap().unwrap() > revision, "other nodes see it");
    let changed = Role { trust: other_id.trust.clone(), ..first.clone() };
    assert_eq!(bench.store.roles().await.unwrap(), std::slice::from_ref(&changed));
    let longer = Duration::from_secs(43_200);
    bench.store.change_role(&first.name, None, Some(longer)).await.unwrap();
    assert_eq!(bench.store.roles().await.unwrap(), [Role { max_session: longer, ..changed }]);

    bench.store.delete_identity(&first.name).await.unwrap();
    assert!(bench.store.roles().await.unwrap().is_empty());
    let error = bench.store.change_role(&first.name, None, Some(longer)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::ResourceNotFound);
    bench.store.create_role(&same_name, &other_id).await.unwrap();
}
