//! Tags as they are kept.

use keystead::base::{Error, Kind, random};
use keystead::model::KeyId;
use keystead::model::tags::{TaggedResource, Tags};

use crate::{bench, held, key};

fn tags(list: &[(&str, &str)]) -> Tags {
    Tags::from_list(list.iter().map(|(key, value)| (key.parse().unwrap(), value.parse().unwrap()))).unwrap()
}

#[tokio::test]
async fn tags_change_on_all_resources_or_on_none_and_every_node_can_know() {
    let bench = bench().await;
    let ((one, version), (two, other_version)) = (key(), key());
    let before = tags(&[("a", "1"), ("B\\/é", "")]);
    bench.store.commit_key(&one, &held(&version), &before, None).await.unwrap();
    bench.store.commit_key(&two, &held(&other_version), &Tags::default(), None).await.unwrap();
    let resources = [&one, &two].map(|key| TaggedResource::Key(key.id.clone()));
    assert_eq!(bench.again().await.tags(&resources[0]).await.unwrap(), before);
    assert_eq!(bench.again().await.tags_of_keys().await.unwrap(), [(one.id.clone(), before.clone())].into());

    let revision = bench.store.revision().await.unwrap().unwrap();
    bench.store.change_tags(&resources, |present| present.add(&tags(&[("a", "2"), ("c", "3")]))).await.unwrap();
    let mut changed = bench.store.keys_since(revision).await.unwrap();
    changed.sort();
    let mut both = vec![one.id.clone(), two.id.clone()];
    both.sort();
    assert_eq!(changed, both);
    let expected =
        [(one.id.clone(), tags(&[("a", "2"), ("B\\/é", ""), ("c", "3")])), (two.id.clone(), tags(&[("a", "2"), ("c", "3")]))];
    assert_eq!(bench.again().await.tags_of_keys().await.unwrap(), expected.clone().into());

    let nobody = TaggedResource::Key(KeyId::from_entropy(random::bytes()));
    let clear = |present: &mut Tags| {
        present.clear();
        Ok(())
    };
    let refused = bench.store.change_tags(&[resources[0].clone(), nobody.clone()], clear).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::ResourceIdNotFound);
    assert!(refused.message().contains(nobody.id()), "{refused}");
    let refused = bench.store.change_tags(&resources, |present| {
        present.clear();
        Err(Error::invalid("no"))
    });
    assert_eq!(refused.await.unwrap_err().kind(), Kind::InvalidParameter);
    assert_eq!(bench.store.tags_of_keys().await.unwrap(), expected.into());
    assert_eq!(bench.store.tags(&nobody).await.unwrap(), Tags::default());
}

#[tokio::test]
async fn a_deleted_key_takes_its_tags_along() {
    let bench = bench().await;
    let ((one, version), (two, other_version)) = (key(), key());
    bench.store.commit_key(&one, &held(&version), &tags(&[("a", "1")]), None).await.unwrap();
    bench.store.commit_key(&two, &held(&other_version), &tags(&[("a", "2")]), None).await.unwrap();
    let (alert, sending) = crate::alerts::of_key(&one.id);
    bench.store.delete_key(&one.id, (&alert, sending), |_| Ok(())).await.unwrap();
    assert_eq!(bench.again().await.tags(&TaggedResource::Key(one.id)).await.unwrap(), Tags::default());
    assert_eq!(bench.again().await.tags_of_keys().await.unwrap(), [(two.id, tags(&[("a", "2")]))].into());
    let raw: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM tags").fetch_one(&bench.raw().await).await.unwrap();
    assert_eq!(raw, 1);
}
