//! OIDC providers: kept with their client ids and key sets, changed, gone.

use std::time::Duration;

use keystead::model::ClientId;
use keystead::model::oidc::{ClientIds, DEFAULT_ISSUANCE_LIMIT, LONGEST_ISSUANCE_LIMIT, OidcProvider, PROVIDERS};
use keystead::store::OidcProviderChange;

use super::tokens::Issuer;
use super::*;

fn client_ids(texts: &[&str]) -> ClientIds {
    ClientIds::from_list(texts.iter().map(|text| text.parse::<ClientId>().unwrap()).collect()).unwrap()
}

pub fn provider(called: &str) -> OidcProvider {
    OidcProvider {
        name: name(called),
        issuer: "https://cluster.example".parse().unwrap(),
        client_ids: client_ids(&["keystead", "https://vault.example"]),
        keys: Issuer::new("1").key_set().parse().unwrap(),
        issuance_limit: DEFAULT_ISSUANCE_LIMIT,
        description: "the \"shop\"; --".to_owned(),
        created: NOW,
    }
}

#[tokio::test]
async fn a_provider_comes_back_as_it_was_kept_is_changed_and_goes() {
    let bench = bench().await;
    let (first, second) = (provider("cluster"), provider("ci"));
    for provider in [&first, &second] {
        bench.store.create_oidc_provider(provider).await.unwrap();
    }
    assert_eq!(bench.again().await.oidc_providers().await.unwrap(), [second.clone(), first.clone()]);
    let again = bench.store.create_oidc_provider(&first).await.unwrap_err();
    assert!(again.kind() == Kind::ResourceExists && again.message().contains("cluster"), "{again:?}");

    let revision = bench.store.revision().await.unwrap().unwrap();
    let keys = OidcProviderChange { keys: Some(second.keys.clone()), ..OidcProviderChange::default() };
    bench.store.change_oidc_provider(&first.name, &keys).await.unwrap();
    assert!(bench.store.revision().await.unwrap().unwrap() > revision, "other nodes see it");
    let changed = OidcProvider { keys: second.keys.clone(), ..first.clone() };
    assert_eq!(bench.store.oidc_providers().await.unwrap(), [second.clone(), changed.clone()]);
    let others = OidcProviderChange {
        client_ids: Some(client_ids(&["keystead", "other"])),
        issuance_limit: Some(LONGEST_ISSUANCE_LIMIT),
        description: Some(String::new()),
        ..OidcProviderChange::default()
    };
    bench.store.change_oidc_provider(&first.name, &others).await.unwrap();
    let changed = OidcProvider {
        client_ids: client_ids(&["keystead", "other"]),
        issuance_limit: Duration::from_secs(604_800),
        description: String::new(),
        ..changed
    };
    assert_eq!(bench.store.oidc_providers().await.unwrap(), [second.clone(), changed]);

    bench.store.delete_oidc_provider(&first.name).await.unwrap();
    assert_eq!(bench.store.oidc_providers().await.unwrap(), [second]);
    for error in [
        bench.store.delete_oidc_provider(&first.name).await.unwrap_err(),
        bench.store.change_oidc_provider(&first.name, &others).await.unwrap_err(),
    ] {
        assert!(error.kind() == Kind::ResourceNotFound && error.message().contains("cluster"), "{error:?}");
    }
    // Nothing of the former one is left under the name.
    bench.store.create_oidc_provider(&first).await.unwrap();
    assert_eq!(bench.store.oidc_providers().await.unwrap()[1], first);
}

#[tokio::test]
async fn there_are_not_more_than_a_refresh_reads_fast() {
    let bench = bench().await;
    let first = provider("p0");
    bench.store.create_oidc_provider(&first).await.unwrap();
    for number in 1..PROVIDERS {
        let provider = OidcProvider { name: name(&format!("p{number}")), ..first.clone() };
        bench.store.create_oidc_provider(&provider).await.unwrap();
    }
    let error = bench.store.create_oidc_provider(&provider("more")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::LimitExceeded);
}
