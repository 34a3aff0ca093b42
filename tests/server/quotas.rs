//! GetKmsInstanceQuotaInfos: what an instance holds.

use serde_json::json;

use crate::bench::bench;
use crate::shared::{ask, code};

#[tokio::test]
async fn what_an_instance_holds_is_told() {
    let bench = bench().await;
    let instance = bench.instance.as_str();
    let infos = async |more: &[(&str, &str)]| {
        ask(&bench, "GetKmsInstanceQuotaInfos", &[&[("KmsInstanceId", instance)], more].concat()).await.json()
    };
    let used = async || infos(&[("ResourceType", "key")]).await["KmsInstanceQuotaInfos"][0]["UsedQuantity"].as_u64().unwrap();
    let before = used().await;
    assert!(before > 0);
    ask(&bench, "CreateKeyVersion", &[("KeyId", bench.rsa_sign.as_str())]).await;
    assert_eq!(used().await, before + 1, "each version counts");
    let all = infos(&[]).await;
    assert_eq!(all["KmsInstanceId"], instance);
    let all = all["KmsInstanceQuotaInfos"].as_array().unwrap().clone();
    assert_eq!(all[0], json!({ "ResourceType": "key", "UsedQuantity": before + 1 }), "nothing bounds it");
    assert!(all.contains(&json!({ "ResourceType": "qps" })), "{all:?}");
    assert!(all.contains(&json!({ "ResourceType": "vpc", "UsedQuantity": 0 })));

    for (parameters, expected) in [
        (vec![("KmsInstanceId", instance), ("ResourceType", "keys")], (400, "InvalidParameter")),
        (vec![("KmsInstanceId", "kst-aaaaaaaaaaaaaaaaaaaaa")], (403, "Forbidden.DKMSInstanceNotFound")),
        (vec![], (400, "MissingParameter")),
    ] {
        let (status, is) = code(&ask(&bench, "GetKmsInstanceQuotaInfos", &parameters).await);
        assert_eq!((status, is.as_str()), expected, "{parameters:?}");
    }
}
