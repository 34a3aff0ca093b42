//! Tags of keys: given, taken, listed, found by.

use keystead::base::Kind;
use keystead::model::KeyId;
use keystead::model::tags::{TaggedResource, Tags};
use keystead::service::requests::*;
use keystead::store::Store;

use crate::{Bench, bench, start, until};

fn tags(list: &[(&str, &str)]) -> Tags {
    Tags::from_list(list.iter().map(|(key, value)| (key.parse().unwrap(), value.parse().unwrap()))).unwrap()
}

fn many(prefix: &str, count: usize) -> Tags {
    Tags::from_list((0..count).map(|number| (format!("{prefix}{number:02}").parse().unwrap(), "v".parse().unwrap()))).unwrap()
}

async fn key(bench: &Bench, tags: Tags) -> KeyId {
    bench.kms.create_key(&bench.operator, CreateKey { tags, ..CreateKey::default() }).await.unwrap().key.id
}

fn resources(keys: &[&KeyId]) -> Vec<TaggedResource> {
    keys.iter().map(|key| TaggedResource::Key((*key).clone())).collect()
}

fn of(bench: &Bench, key: &KeyId) -> Tags {
    bench.kms.list_resource_tags(&bench.operator, key.as_str()).unwrap().1
}

#[tokio::test]
async fn tags_are_given_and_taken_on_all_or_on_none() {
    let bench = bench().await;
    let (one, two) = (key(&bench, tags(&[("env", "test"), ("team", "red")])).await, key(&bench, Tags::default()).await);
    assert_eq!((of(&bench, &one), of(&bench, &two)), (tags(&[("env", "test"), ("team", "red")]), Tags::default()));
    let (kms, operator) = (&bench.kms, &bench.operator);
    kms.tag(operator, &resources(&[&one, &two]), &tags(&[("env", "prod")])).await.unwrap();
    assert_eq!((of(&bench, &one), of(&bench, &two)), (tags(&[("env", "prod"), ("team", "red")]), tags(&[("env", "prod")])));

    let nobody: KeyId = "key-hzz62f1cb66fa42qo0001".parse().unwrap();
    let error = kms.tag(operator, &resources(&[&one, &nobody]), &tags(&[("new", "")])).await.unwrap_err();
    assert_eq!(error.kind(), Kind::ResourceIdNotFound);
    assert!(error.message().contains(nobody.as_str()), "{error}");
    assert_eq!(kms.tag_key(operator, nobody.as_str(), &tags(&[("new", "")])).await.unwrap_err().kind(), Kind::KeyNotFound);
    let error = kms.tag(operator, &resources(&[&two, &one]), &many("k", 19)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::LimitExceeded, "one has two tags already");
    assert_eq!((of(&bench, &one).iter().count(), of(&bench, &two).iter().count()), (2, 1), "nothing was changed");

    let absent = Untag::Keys(vec!["env".parse().unwrap(), "none".parse().unwrap()]);
    kms.untag(operator, &resources(&[&one, &two]), &absent).await.unwrap();
    assert_eq!((of(&bench, &one), of(&bench, &two)), (tags(&[("team", "red")]), Tags::default()));
    kms.tag_key(operator, one.as_str(), &tags(&[("x", "y")])).await.unwrap();
    kms.untag_key(operator, one.as_str(), &Untag::All).await.unwrap();
    assert_eq!(of(&bench, &one), Tags::default());
    let refused = kms.untag(operator, &resources(&[&nobody]), &Untag::All).await;
    assert_eq!(refused.unwrap_err().kind(), Kind::ResourceIdNotFound);
    assert_eq!(kms.untag_key(operator, nobody.as_str(), &Untag::All).await.unwrap_err().kind(), Kind::KeyNotFound);
}

#[tokio::test]
async fn tags_given_by_another_process_are_known_here_and_after_a_restart() {
    let bench = bench().await;
    bench.kms.spawn_background();
    let id = key(&bench, tags(&[("a", "1")])).await;
    let elsewhere = start(Store::open(&bench.path(), &bench.root).await.unwrap(), &bench.instance).await;
    assert_eq!(elsewhere.list_resource_tags(&bench.operator, id.as_str()).unwrap(), (id.clone(), tags(&[("a", "1")])));
    elsewhere.tag_key(&bench.operator, id.as_str(), &tags(&[("b", "2")])).await.unwrap();
    until("the other's tag is known", async || of(&bench, &id) == tags(&[("a", "1"), ("b", "2")])).await;
    let page = elsewhere.list_tag_resources(&bench.operator, &resources(&[&id]), &[], None).unwrap();
    assert_eq!((page.rows.len(), page.next), (2, None));
}

#[tokio::test]
async fn rows_come_by_pages_of_two_hundred() {
    let bench = bench().await;
    let mut keys = Vec::new();
    for _ in 0..11 {
        keys.push(key(&bench, many("k", 20)).await);
    }
    keys.sort();
    let list = |resources: &[TaggedResource], filters: &[TagFilter], after: Option<&_>| {
        bench.kms.list_tag_resources(&bench.operator, resources, filters, after).unwrap()
    };
    let first = list(&[], &[], None);
    assert_eq!(first.rows.len(), 200);
    let after = first.next.unwrap();
    assert_eq!(after, (TaggedResource::Key(keys[9].clone()), "k19".parse().unwrap()));
    // What comes and goes between two pages moves no row over the edge.
    bench.kms.untag_key(&bench.operator, keys[0].as_str(), &Untag::All).await.unwrap();
    let second = list(&[], &[], Some(&after));
    assert_eq!((second.rows.len(), second.next), (20, None));
    assert!(second.rows.iter().all(|row| row.resource == TaggedResource::Key(keys[10].clone())));
    let exactly = list(&resources(&keys[1..].iter().collect::<Vec<_>>()), &[], None);
    assert_eq!((exactly.rows.len(), exactly.next), (200, None), "a page that is full and the last");

    let filter =
        |key: &str, value: Option<&str>| TagFilter { key: key.parse().unwrap(), value: value.map(|text| text.parse().unwrap()) };
    bench.kms.tag_key(&bench.operator, keys[0].as_str(), &tags(&[("k00", "w"), ("x", "y")])).await.unwrap();
    let count = |filters: &[TagFilter]| list(&[], filters, None).rows.len();
    assert_eq!(count(&[filter("k00", Some("w"))]), 2, "all tags of the key that has it");
    assert_eq!(count(&[filter("k00", None), filter("x", None)]), 2);
    assert_eq!(count(&[filter("k00", Some("v")), filter("x", None)]), 0);
    assert_eq!(list(&resources(&[&keys[1]]), &[filter("x", None)], None).rows, []);
    // A resource that is named twice is listed once.
    assert_eq!(list(&resources(&[&keys[1], &keys[1]]), &[], None).rows.len(), 20);
}

#[tokio::test]
async fn keys_are_found_by_tags_and_aliases() {
    let bench = bench().await;
    let red = key(&bench, tags(&[("team", "red"), ("old", "prod")])).await;
    let blue = key(&bench, tags(&[("team", "blue")])).await;
    key(&bench, Tags::default()).await;
    bench.kms.create_alias(&bench.operator, &"alias/blue".parse().unwrap(), blue.as_str()).await.unwrap();
    let list = |filter: KeyFilter| bench.kms.list_keys(&bench.operator, &[filter], Page { number: 1, size: 100 }).unwrap().items;
    let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let by_tag = |keys: &[&str], values: &[&str]| list(KeyFilter::Tag { keys: texts(keys), values: texts(values) });
    assert_eq!(by_tag(&["old"], &[]), vec![red.clone()]);
    assert_eq!(by_tag(&[], &["blue", "none"]), vec![blue.clone()]);
    assert_eq!(by_tag(&["team"], &["red"]), vec![red.clone()]);
    assert_eq!(by_tag(&["team"], &["prod"]), [], "the value is that of another tag");
    assert_eq!(by_tag(&["team", "old"], &[]).len(), 2);
    assert_eq!(list(KeyFilter::AliasName(texts(&["alias/none", "alias/blue", "no alias"]))), [blue]);
}
