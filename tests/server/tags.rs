//! Tags by the OpenAPI: both generations of its operations, and the filters of ListKeys.

use serde_json::{Value, json};

use crate::bench::{Bench, bench};
use crate::shared::{ask, code};

const NOBODY: &str = "key-hzz62f1cb66fa42qo0001";

async fn tags(bench: &Bench, key: &str) -> Value {
    ask(bench, "ListResourceTags", &[("KeyId", key)]).await.json()["Tags"]["Tag"].clone()
}

#[tokio::test]
async fn both_generations_of_operations_see_the_same_tags() {
    let bench = bench().await;
    let (key, other) = (bench.aes.as_str(), bench.rsa_sign.as_str());
    assert_eq!(tags(&bench, key).await, json!([]));
    let answer = ask(&bench, "TagResource", &[("KeyId", key), ("Tags", r#"[{"TagKey":"env","TagValue":"test"}]"#)]).await;
    assert_eq!(answer.status, 200);
    let both = [("RegionId", "keystead"), ("ResourceType", "key"), ("ResourceId.1", key), ("ResourceId.2", other)];
    let more = [("Tag.1.Key", "env"), ("Tag.1.Value", "prod"), ("Tag.2.Key", "empty")];
    assert_eq!(ask(&bench, "TagResources", &[&both[..], &more[..]].concat()).await.status, 200);
    let row = |tag: &str, value: &str| json!({"KeyId": key, "TagKey": tag, "TagValue": value});
    assert_eq!(tags(&bench, key).await, json!([row("empty", ""), row("env", "prod")]));

    let listed = ask(&bench, "ListTagResources", &[&both[..], &[("Tag.1.Key", "env")]].concat()).await.json();
    let rows = listed["TagResources"]["TagResource"].as_array().unwrap();
    assert_eq!((rows.len(), &listed["NextToken"]), (4, &json!("")));
    assert!(rows.contains(&json!({"ResourceId": other, "ResourceType": "key", "TagKey": "env", "TagValue": "prod"})));
    let none =
        ask(&bench, "ListTagResources", &[("ResourceType", "key"), ("Tag.1.Key", "env"), ("Tag.1.Value", "test")]).await.json();
    assert_eq!(none["TagResources"]["TagResource"], json!([]));

    assert_eq!(ask(&bench, "UntagResource", &[("KeyId", key), ("TagKeys", r#"["empty","none"]"#)]).await.status, 200);
    assert_eq!(tags(&bench, key).await, json!([row("env", "prod")]));
    // Keys that are named are removed and no others, whatever All says.
    let named = [&both[..], &[("TagKey.1", "none"), ("All", "true")]].concat();
    assert_eq!(ask(&bench, "UntagResources", &named).await.status, 200);
    assert_eq!(tags(&bench, key).await.as_array().unwrap().len(), 1);
    assert_eq!(ask(&bench, "UntagResources", &[&both[..], &[("All", "True")]].concat()).await.status, 200);
    assert_eq!((tags(&bench, key).await, tags(&bench, other).await), (json!([]), json!([])));
}

#[tokio::test]
async fn pages_follow_each_other_by_their_token() {
    let bench = bench().await;
    let list: Vec<_> = (0..20).map(|number| json!({"TagKey": format!("k{number:02}"), "TagValue": "v"})).collect();
    let list = Value::from(list).to_string();
    for _ in 0..11 {
        assert_eq!(ask(&bench, "CreateKey", &[("Tags", &list)]).await.status, 200);
    }
    let first = ask(&bench, "ListTagResources", &[("ResourceType", "key")]).await.json();
    let token = first["NextToken"].as_str().unwrap();
    let second = ask(&bench, "ListTagResources", &[("ResourceType", "key"), ("NextToken", token)]).await.json();
    let rows = |page: &Value| page["TagResources"]["TagResource"].as_array().unwrap().clone();
    assert_eq!((rows(&first).len(), rows(&second).len(), &second["NextToken"]), (200, 20, &json!("")));
    assert!(rows(&second).iter().all(|row| !rows(&first).contains(row)));
}

#[tokio::test]
async fn what_is_wrong_with_tags_has_its_code() {
    let bench = bench().await;
    let key = bench.aes.as_str();
    let on = |rest: &[(&'static str, &'static str)]| [&[("ResourceType", "key"), ("ResourceId.1", key)], rest].concat();
    let many: Vec<_> = (1..=21).map(|number| (&*format!("Tag.{number}.Key").leak(), &*format!("k{number}").leak())).collect();
    let ids: Vec<_> = (1..=51).map(|number| (&*format!("ResourceId.{number}").leak(), NOBODY)).collect();
    let with_ids = [&[("ResourceType", "key"), ("Tag.1.Key", "a")], &ids[..]].concat();
    let missing = (400, "MissingParameter");
    let invalid = (400, "InvalidParameter");
    for (action, parameters, expected) in [
        ("TagResources", on(&[("Tag.1.Key", "aliyun"), ("Tag.1.Value", "v")]), (400, "InvalidParameter.TagKey")),
        ("TagResources", on(&[("Tag.1.Key", "a"), ("Tag.1.Value", "a*")]), (400, "InvalidParameter.TagValue")),
        ("TagResources", on(&[("Tag.1.Key", "a"), ("Tag.2.Key", "a")]), (400, "Duplicate.TagKey")),
        ("TagResources", on(&[("ResourceId.2", NOBODY), ("Tag.1.Key", "a")]), (404, "InvalidResourceId.NotFound")),
        ("TagResources", on(&[("ResourceId.2", "else"), ("Tag.1.Key", "a")]), (404, "InvalidResourceId.NotFound")),
        ("TagResources", on(&[]), missing),
        ("TagResources", vec![("ResourceType", "key"), ("Tag.1.Key", "a")], missing),
        ("TagResources", vec![("ResourceId.1", key), ("Tag.1.Key", "a")], missing),
        ("TagResources", vec![("ResourceType", "alias"), ("ResourceId.1", key), ("Tag.1.Key", "a")], invalid),
        (
            "TagResources",
            vec![("ResourceType", "secret"), ("ResourceId.1", "s"), ("Tag.1.Key", "a")],
            (400, "UnsupportedOperation"),
        ),
        ("TagResources", on(&many), invalid),
        ("TagResources", with_ids, invalid),
        ("UntagResources", on(&[]), missing),
        ("UntagResources", on(&[("All", "false")]), missing),
        ("UntagResources", on(&[("TagKey.1", "acs:x")]), (400, "InvalidParameter.TagKey")),
        ("UntagResources", on(&[("ResourceId.2", NOBODY), ("All", "true")]), (404, "InvalidResourceId.NotFound")),
        ("ListTagResources", on(&[("ResourceId.2", NOBODY)]), (404, "InvalidResourceId.NotFound")),
        ("ListTagResources", on(&[("Tag.1.Key", "a"), ("Tag.2.Key", "a")]), (400, "Duplicate.TagKey")),
        ("ListTagResources", on(&[("NextToken", "else")]), invalid),
        ("ListTagResources", vec![("ResourceId.1", key)], missing),
        ("TagResource", vec![("KeyId", key), ("Tags", r#"[{"TagKey":"a"},{"TagKey":"a"}]"#)], (400, "Duplicate.TagKey")),
        ("TagResource", vec![("KeyId", key), ("Tags", "a=b")], invalid),
        ("TagResource", vec![("KeyId", key)], missing),
        ("TagResource", vec![("Tags", r#"[{"TagKey":"a"}]"#)], missing),
        ("TagResource", vec![("KeyId", NOBODY), ("Tags", r#"[{"TagKey":"a"}]"#)], (404, "Forbidden.KeyNotFound")),
        ("TagResource", vec![("SecretName", "s"), ("Tags", r#"[{"TagKey":"a"}]"#)], (400, "UnsupportedOperation")),
        ("TagResource", vec![("KeyId", key), ("SecretName", "s"), ("Tags", r#"[{"TagKey":"a"}]"#)], invalid),
        ("UntagResource", vec![("KeyId", key)], missing),
        ("UntagResource", vec![("KeyId", NOBODY), ("TagKeys", "a,b")], (404, "Forbidden.KeyNotFound")),
        ("UntagResource", vec![("KeyId", key), ("TagKeys", "a,b c")], (400, "InvalidParameter.TagKey")),
        ("ListResourceTags", vec![("KeyId", NOBODY)], (404, "Forbidden.KeyNotFound")),
        ("ListResourceTags", vec![], missing),
        ("CreateKey", vec![("Tags", r#"[{"TagKey":"acs:a"}]"#)], (400, "InvalidParameter.TagKey")),
    ] {
        let (status, is) = code(&ask(&bench, action, &parameters).await);
        assert_eq!((status, is.as_str()), expected, "{action} {parameters:?}");
    }
    assert_eq!(tags(&bench, key).await, json!([]), "nothing of it was done");
    let twenty: Vec<_> = (0..20).map(|number| json!({"TagKey": format!("k{number}")})).collect();
    assert_eq!(ask(&bench, "TagResource", &[("KeyId", key), ("Tags", &Value::from(twenty).to_string())]).await.status, 200);
    assert_eq!(code(&ask(&bench, "TagResources", &on(&[("Tag.1.Key", "a")])).await), (400, "Rejected.LimitExceeded".to_owned()));
}

#[tokio::test]
async fn keys_are_listed_by_every_filter() {
    let bench = bench().await;
    let made = ask(&bench, "CreateKey", &[("Tags", r#"[{"TagKey":"env","TagValue":"prod"},{"TagKey":"a","TagValue":"b"}]"#)]).await;
    let key = made.json()["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
    ask(&bench, "CreateAlias", &[("KeyId", &key), ("AliasName", "alias/found")]).await;
    let count = async |filters: Value| {
        let answer = ask(&bench, "ListKeys", &[("Filters", &filters.to_string())]).await;
        assert_eq!(answer.status, 200, "{}", answer.json());
        answer.json()["TotalCount"].as_u64().unwrap()
    };
    let by = |key: &str, values: &[&str]| json!({"Key": key, "Values": values});
    for (filters, expected) in [
        (json!([by("TagKey", &["env"]), by("TagValue", &["prod", "test"])]), 1),
        (json!([by("TagKey", &["env"]), by("TagValue", &["b"])]), 0),
        (json!([by("TagKey", &["none"]), by("TagKey", &["a"])]), 1),
        (json!([by("TagValue", &["prod"]), by("AliasName", &["alias/found"])]), 1),
        (json!([by("AliasName", &["alias/none"])]), 0),
        (json!([by("keyId", &[&key, NOBODY]), by("KeyState", &["Enabled"])]), 1),
        (json!([by("KeySpec", &["Aliyun_AES_256"]), by("KeyUsage", &["ENCRYPT/DECRYPT"])]), 2),
        (json!([by("ProtectionLevel", &["SOFTWARE"]), by("CreatorType", &["User"]), by("KeyState", &["Enabled"])]), 4),
        (json!([by("CreatorType", &["Service"])]), 0),
        (json!([by("DKMSInstanceId", &[bench.other.as_str()])]), 0),
        (json!([by("Creator", &["nobody"])]), 0),
        (json!([by("Creator", &[bench.operator.access_key.as_str()])]), 4),
    ] {
        assert_eq!(count(filters.clone()).await, expected, "{filters}");
    }
    for bad in
        ["{}", "[{\"Key\":\"TagKey\"}]", "[{\"Key\":\"TagKey\",\"Values\":[]}]", "[{\"Key\":\"Color\",\"Values\":[\"red\"]}]"]
    {
        assert_eq!(code(&ask(&bench, "ListKeys", &[("Filters", bad)]).await), (400, "InvalidParameter".to_owned()), "{bad}");
    }
}
