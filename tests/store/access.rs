//! Access as it is kept: rules, policies, access points, client keys, and their limits.

use crate::*;

#[tokio::test]
async fn access_comes_back_as_it_was_kept() {
    let bench = bench().await;
    let (rule, policy, access_point, client_key) = (rule("rule_a"), policy("policy_a"), access_point("aap_a"), client_key("aap_a"));
    bench.store.create_network_rule(&rule).await.unwrap();
    bench.store.create_policy(&policy).await.unwrap();
    bench.store.create_access_point(&access_point).await.unwrap();
    bench.store.create_client_key(&client_key).await.unwrap();
    for error in [
        bench.store.create_network_rule(&rule).await.unwrap_err(),
        bench.store.create_policy(&policy).await.unwrap_err(),
        bench.store.create_access_point(&access_point).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), Kind::ResourceExists);
    }
    let access = bench.again().await.access().await.unwrap();
    assert_eq!(access.network_rules, std::slice::from_ref(&rule));
    assert_eq!(access.policies, std::slice::from_ref(&policy));
    assert_eq!(access.access_points, std::slice::from_ref(&access_point));
    assert_eq!(access.client_keys, [client_key]);

    bench.store.delete_network_rule(&rule.name).await.unwrap();
    bench.store.delete_policy(&policy.name).await.unwrap();
    bench.store.delete_access_point(&access_point.name).await.unwrap();
    assert_eq!(bench.store.access().await.unwrap(), Default::default(), "client keys go with their access point");
    for error in [
        bench.store.delete_network_rule(&rule.name).await.unwrap_err(),
        bench.store.delete_policy(&policy.name).await.unwrap_err(),
        bench.store.delete_access_point(&access_point.name).await.unwrap_err(),
        bench.store.delete_client_key(&ClientKeyId::from_entropy(random::bytes())).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), Kind::ResourceNotFound);
    }
}

#[tokio::test]
async fn the_last_use_of_a_client_key_goes_forward_only_and_is_no_change() {
    let bench = bench().await;
    let key = client_key("aap_a");
    bench.store.create_access_point(&access_point("aap_a")).await.unwrap();
    bench.store.create_client_key(&key).await.unwrap();
    let revision = bench.store.revision().await.unwrap().unwrap();
    for (at, known) in [(100, 100), (50, 100), (200, 200)] {
        bench.store.record_uses(&[(key.id.clone(), Timestamp::from_unix(at))]).await.unwrap();
        let last = bench.store.access().await.unwrap().client_keys[0].last_used;
        assert_eq!(last, Some(Timestamp::from_unix(known)));
    }
    let nobody = ClientKeyId::from_entropy(random::bytes());
    bench.store.record_uses(&[(nobody, Timestamp::from_unix(1))]).await.expect("it may be gone meanwhile");
    assert_eq!(bench.store.revision().await.unwrap().unwrap(), revision, "no snapshot is read anew");
}

#[tokio::test]
async fn an_access_point_has_three_client_keys() {
    let bench = bench().await;
    assert_eq!(bench.store.create_client_key(&client_key("aap")).await.unwrap_err().kind(), Kind::ResourceNotFound);
    bench.store.create_access_point(&access_point("aap")).await.unwrap();
    // At once: the count is taken inside the transaction.
    let attempts = (0..8).map(|_| {
        let store = bench.store.clone();
        tokio::spawn(async move { store.create_client_key(&client_key("aap")).await.map_err(|error| error.kind()) })
    });
    let mut kept = 0;
    for attempt in attempts.collect::<Vec<_>>() {
        match attempt.await.unwrap() {
            Ok(()) => kept += 1,
            Err(kind) => assert_eq!(kind, Kind::LimitExceeded),
        }
    }
    assert_eq!(kept, 3);
    let first = bench.store.access().await.unwrap().client_keys[0].id.clone();
    bench.store.delete_client_key(&first).await.unwrap();
    bench.store.create_client_key(&client_key("aap")).await.unwrap();
}

#[tokio::test]
async fn an_access_point_of_a_role_comes_back_with_its_id_and_has_no_client_keys() {
    let bench = bench().await;
    let callers = Callers::SessionsOf(RoleId::from_entropy(random::bytes()));
    let of_role = AccessPoint { callers, ..access_point("app") };
    bench.store.create_access_point(&of_role).await.unwrap();
    let error = bench.store.create_client_key(&client_key("app")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::UnsupportedOperation);
    bench.store.create_access(None, &policy("policy_a"), &access_point("other"), None).await.unwrap();
    let tables = bench.again().await.access().await.unwrap();
    assert_eq!((tables.access_points, tables.client_keys.len()), (vec![of_role, access_point("other")], 0));
}

#[tokio::test]
async fn quick_creation_is_all_or_nothing() {
    let bench = bench().await;
    bench.store.create_access_point(&access_point("taken")).await.unwrap();
    let error =
        bench.store.create_access(None, &policy("new"), &access_point("taken"), Some(&client_key("taken"))).await.unwrap_err();
    assert_eq!(error.kind(), Kind::ResourceExists);
    assert!(bench.store.access().await.unwrap().policies.is_empty());
    bench.store.create_access(None, &policy("new"), &access_point("new"), Some(&client_key("new"))).await.unwrap();
    assert_eq!(bench.store.access().await.unwrap().client_keys.len(), 1);
}
