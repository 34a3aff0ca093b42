//! What operators may: nothing by default, every operation asks, policies and key policies are looked at together, and where a
//! request comes from is known behind proxies, too.

use keystead::base::Timestamp;
use keystead::model::operator::{AccessKeyState, AttachedPolicy, BuiltIn, Identity, IdentityKind};
use keystead::service;
use keystead::wire::openapi::{Action, UNSERVED};
use serde_json::{Value, json};

use crate::bench::{Answer, Bench, bench};
use crate::shared::{acs3_by, ask, code};

/// An operator with these statements, and its AccessKey.
struct Made {
    id: String,
    secret: keystead::base::SecretBytes,
}

async fn operator(bench: &Bench, called: &str, statements: Value) -> Made {
    let policies = match statements {
        Value::Null => Vec::new(),
        statements => {
            let text = json!({ "Version": "1", "Statement": statements }).to_string();
            vec![service::policy_of("own".parse().unwrap(), &text).unwrap()]
        }
    };
    with_policies(bench, called, policies).await
}

async fn with_policies(bench: &Bench, called: &str, policies: Vec<AttachedPolicy>) -> Made {
    let identity = Identity {
        name: called.parse().unwrap(),
        kind: IdentityKind::User,
        policies,
        description: String::new(),
        created: Timestamp::from_unix(0),
    };
    bench.store.create_identity(&identity).await.unwrap();
    let key = service::new_access_key(identity.name, Timestamp::from_unix(0));
    bench.store.create_access_key(&key).await.unwrap();
    bench.kms.refresh().await.unwrap();
    Made { id: key.info.id.to_string(), secret: key.secret }
}

async fn asks(bench: &Bench, who: &Made, action: &str, parameters: &[(&str, &str)]) -> Answer {
    acs3_by(bench, (&who.id, &who.secret), action, parameters, |_| {}).await
}

#[track_caller]
fn denied(answer: &Answer, action: &str, resource: &str) {
    assert_eq!(code(answer), (403, "Forbidden.NoPermission".to_owned()), "{}", answer.json());
    let message = answer.json()["Message"].as_str().unwrap().to_owned();
    assert_eq!(message, format!("The operator is not permitted {action} on {resource}."));
}

#[track_caller]
fn granted(answer: &Answer) {
    assert_eq!(answer.status, 200, "{}", answer.json());
}

/// Whatever is served, and with whatever parameters it comes.
#[tokio::test]
async fn an_operator_without_statements_is_refused_every_operation() {
    let bench = bench().await;
    let nobody = operator(&bench, "nobody", Value::Null).await;
    let alias = "alias/not-there";
    let key = bench.aes.as_str();
    let sealed = ask(&bench, "Encrypt", &[("KeyId", key), ("Plaintext", "eA==")]).await.json();
    let full = [
        ("KeyId", key),
        ("KeyVersionId", sealed["KeyVersionId"].as_str().unwrap()),
        ("CiphertextBlob", sealed["CiphertextBlob"].as_str().unwrap()),
        ("Plaintext", "eA=="),
        ("DestinationKeyId", key),
        ("AliasName", alias),
        ("Name", "everything"),
        ("AapName", "everything"),
        ("ClientKeyId", bench.client.id.as_str()),
        ("KmsInstanceId", bench.instance.as_str()),
    ];
    let mut refused = 0;
    for action in Action::ALL {
        for parameters in [&[][..], &full, &[("KeyId", alias)]] {
            let answer = asks(&bench, &nobody, action.name(), parameters).await;
            assert_eq!(code(&answer), (403, "Forbidden.NoPermission".to_owned()), "{} {}", action.name(), answer.json());
            refused += 1;
        }
    }
    assert_eq!(refused, 3 * Action::ALL.len());
    assert_eq!(code(&asks(&bench, &nobody, UNSERVED[0], &[]).await), (400, "UnsupportedOperation".to_owned()));
    // What they would have changed is as it was.
    granted(&ask(&bench, "DescribeKey", &[("KeyId", key)]).await);
    assert_eq!(ask(&bench, "ListClientKeys", &[]).await.json()["ClientKeys"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn actions_and_resources_are_what_statements_name() {
    let bench = bench().await;
    let (key, other) = (bench.aes.to_string(), bench.rsa_sign.to_string());
    granted(&ask(&bench, "CreateAlias", &[("AliasName", "alias/mine"), ("KeyId", &key)]).await);
    granted(&ask(&bench, "CreateAlias", &[("AliasName", "alias/other"), ("KeyId", &other)]).await);
    let statements = json!([{
        "Effect": "Allow",
        "Action": ["kms:Encrypt", "kms:Decrypt", "kms:DescribeKey", "kms:EnableKey"],
        "Resource": [format!("acs:kms:*:*:key/{key}")],
    }]);
    let user = operator(&bench, "user", statements).await;
    let arn = |resource: &str| format!("acs:kms:keystead:0:{resource}");
    let plaintext = ("Plaintext", "eA==");
    let foreign_arn = format!("acs:kms:cn-hangzhou:1234:key/{key}");
    for named in [key.as_str(), "alias/mine", &foreign_arn, &arn("alias/mine")] {
        let sealed = asks(&bench, &user, "Encrypt", &[("KeyId", named), plaintext]).await;
        granted(&sealed);
        let blob = sealed.json()["CiphertextBlob"].as_str().unwrap().to_owned();
        granted(&asks(&bench, &user, "Decrypt", &[("CiphertextBlob", &blob)]).await);
    }
    // An alias is named as it was, not by the key that it points to; and what is not there is refused like what is.
    denied(&asks(&bench, &user, "Encrypt", &[("KeyId", &other), plaintext]).await, "kms:Encrypt", &arn(&format!("key/{other}")));
    for alias in ["alias/other", "alias/not-there"] {
        denied(&asks(&bench, &user, "Encrypt", &[("KeyId", alias), plaintext]).await, "kms:Encrypt", &arn(alias));
    }
    let absent = "key-hzz62f1cb66fa42qo0001";
    denied(&asks(&bench, &user, "DescribeKey", &[("KeyId", absent)]).await, "kms:DescribeKey", &arn(&format!("key/{absent}")));
    denied(&asks(&bench, &user, "ListKeys", &[]).await, "kms:ListKeys", "*");
    denied(&asks(&bench, &user, "CreateKey", &[]).await, "kms:CreateKey", &arn("key/*"));
    // Where an alias is no name of a key, a permission does not make it one.
    assert_eq!(
        code(&asks(&bench, &user, "EnableKey", &[("KeyId", "alias/mine")]).await),
        (404, "Forbidden.KeyNotFound".to_owned())
    );
    let foreign = ask(&bench, "CreateKey", &[]).await.json()["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
    let sealed = ask(&bench, "Encrypt", &[("KeyId", &foreign), plaintext]).await.json();
    let blob = sealed["CiphertextBlob"].as_str().unwrap();
    denied(&asks(&bench, &user, "Decrypt", &[("CiphertextBlob", blob)]).await, "kms:Decrypt", &arn(&format!("key/{foreign}")));
}

#[tokio::test]
async fn re_encryption_needs_both_halves() {
    let bench = bench().await;
    let from = bench.aes.to_string();
    let to = ask(&bench, "CreateKey", &[]).await.json()["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
    let blob = ask(&bench, "Encrypt", &[("KeyId", &from), ("Plaintext", "eA==")]).await.json()["CiphertextBlob"].clone();
    let re_encrypt = [("CiphertextBlob", blob.as_str().unwrap()), ("DestinationKeyId", to.as_str())];
    let allow =
        |action: &str, key: &str| json!({ "Effect": "Allow", "Action": action, "Resource": format!("acs:kms:*:*:key/{key}") });
    let (from_arn, to_arn) = (format!("acs:kms:keystead:0:key/{from}"), format!("acs:kms:keystead:0:key/{to}"));
    let both = json!([allow("kms:ReEncryptFrom", &from), allow("kms:ReEncryptTo", &to)]);
    granted(&asks(&bench, &operator(&bench, "both", both).await, "ReEncrypt", &re_encrypt).await);
    let only_from = operator(&bench, "from", json!([allow("kms:ReEncryptFrom", &from)])).await;
    denied(&asks(&bench, &only_from, "ReEncrypt", &re_encrypt).await, "kms:ReEncryptTo", &to_arn);
    let swapped = json!([allow("kms:ReEncryptTo", &from), allow("kms:ReEncryptFrom", &to), allow("kms:ReEncrypt", "*")]);
    denied(
        &asks(&bench, &operator(&bench, "swapped", swapped).await, "ReEncrypt", &re_encrypt).await,
        "kms:ReEncryptFrom",
        &from_arn,
    );
}

#[tokio::test]
async fn a_key_is_made_with_what_decides_about_it_by_who_may_give_that_to_keys() {
    let bench = bench().await;
    let may = async |called: &str, actions: &[&str]| {
        operator(&bench, called, json!([{ "Effect": "Allow", "Action": actions, "Resource": "*" }])).await
    };
    let policy = json!({ "Version": "1", "Statement": [{
        "Effect": "Allow", "Principal": { "RAM": ["acs:ram::0:user/bare"] }, "Action": ["kms:*"], "Resource": ["*"],
    }] });
    let (policy, tags) = (policy.to_string(), r#"[{"TagKey":"team","TagValue":"a"}]"#);
    let bare = may("bare", &["kms:CreateKey"]).await;
    let every_key = "acs:kms:keystead:0:key/*";
    granted(&asks(&bench, &bare, "CreateKey", &[]).await);
    denied(&asks(&bench, &bare, "CreateKey", &[("Policy", &policy)]).await, "kms:SetKeyPolicy", every_key);
    denied(&asks(&bench, &bare, "CreateKey", &[("Tags", tags)]).await, "kms:TagResource", every_key);
    let full = may("full", &["kms:CreateKey", "kms:SetKeyPolicy", "kms:TagResource"]).await;
    granted(&asks(&bench, &full, "CreateKey", &[("Policy", &policy), ("Tags", tags)]).await);
}

#[tokio::test]
async fn to_bind_an_alias_needs_the_alias_and_the_key() {
    let bench = bench().await;
    let (old, new) = (bench.aes.to_string(), bench.rsa_sign.to_string());
    let arn = |resource: &str| format!("acs:kms:keystead:0:{resource}");
    let may = async |called: &str, resources: &[&str]| {
        let resources: Vec<_> = resources.iter().map(|resource| format!("acs:kms:*:*:{resource}")).collect();
        operator(&bench, called, json!([{ "Effect": "Allow", "Action": "kms:*Alias", "Resource": resources }])).await
    };
    let key = format!("key/{new}");
    let (alias_alone, key_alone) = (may("alias-alone", &["alias/pay"]).await, may("key-alone", &[&key]).await);
    let both = may("both", &["alias/pay", &key]).await;
    let bind = [("AliasName", "alias/pay"), ("KeyId", new.as_str())];
    for action in ["CreateAlias", "UpdateAlias"] {
        let permission = format!("kms:{action}");
        denied(&asks(&bench, &alias_alone, action, &bind).await, &permission, &arn(&key));
        denied(&asks(&bench, &key_alone, action, &bind).await, &permission, &arn("alias/pay"));
    }
    granted(&ask(&bench, "CreateAlias", &[("AliasName", "alias/pay"), ("KeyId", &old)]).await);
    // It is taken from a key by who may do so to that key, too.
    denied(&asks(&bench, &both, "UpdateAlias", &bind).await, "kms:UpdateAlias", &arn("alias/pay"));
    let all = may("all", &["alias/pay", &key, &format!("key/{old}")]).await;
    granted(&asks(&bench, &all, "UpdateAlias", &bind).await);
    for lacking in [&key_alone, &alias_alone] {
        denied(&asks(&bench, lacking, "DeleteAlias", &bind[..1]).await, "kms:DeleteAlias", &arn("alias/pay"));
    }
    granted(&asks(&bench, &both, "DeleteAlias", &bind[..1]).await);
    granted(&asks(&bench, &both, "CreateAlias", &bind).await);
}

#[tokio::test]
async fn built_in_policies_conditions_and_disabled_access_keys() {
    let bench = bench().await;
    let key = bench.aes.to_string();
    let reader = with_policies(&bench, "reader", vec![AttachedPolicy::BuiltIn(BuiltIn::ReadOnlyAccess)]).await;
    granted(&asks(&bench, &reader, "ListKeys", &[]).await);
    granted(&asks(&bench, &reader, "GetKeyPolicy", &[("KeyId", &key)]).await);
    assert_eq!(asks(&bench, &reader, "DisableKey", &[("KeyId", &key)]).await.status, 403);
    let from = |operator: &str, block: &str| json!([{ "Effect": "Allow", "Action": "kms:*", "Resource": "*", "Condition": { operator: { "acs:SourceIp": block } } }]);
    granted(&asks(&bench, &operator(&bench, "near", from("IpAddress", "127.0.0.0/8")).await, "ListKeys", &[]).await);
    let far = operator(&bench, "far", from("NotIpAddress", "127.0.0.0/8")).await;
    denied(&asks(&bench, &far, "ListKeys", &[]).await, "kms:ListKeys", "*");

    let id = reader.id.parse().unwrap();
    bench.store.set_access_key_state(&id, AccessKeyState::Inactive).await.unwrap();
    bench.kms.refresh().await.unwrap();
    assert_eq!(code(&asks(&bench, &reader, "ListKeys", &[]).await), (403, "Forbidden.AccessKey".to_owned()));
    // Told to nobody who has not its secret.
    let stranger = Made { id: reader.id.clone(), secret: keystead::base::SecretBytes::new(b"guessed".to_vec()) };
    assert_eq!(code(&asks(&bench, &stranger, "ListKeys", &[]).await), (400, "SignatureDoesNotMatch".to_owned()));
    bench.store.set_access_key_state(&id, AccessKeyState::Active).await.unwrap();
    bench.kms.refresh().await.unwrap();
    granted(&asks(&bench, &reader, "ListKeys", &[]).await);
    bench.store.delete_identity(&"reader".parse().unwrap()).await.unwrap();
    bench.kms.refresh().await.unwrap();
    assert_eq!(code(&asks(&bench, &reader, "ListKeys", &[]).await), (403, "InvalidAccessKeyId.NotFound".to_owned()));
}

#[tokio::test]
async fn key_policies_grant_by_name_and_take_away() {
    let bench = bench().await;
    let key = bench.aes.to_string();
    let arn = format!("acs:kms:keystead:0:key/{key}");
    let nobody = operator(&bench, "nobody", Value::Null).await;
    let everybody = with_policies(&bench, "everybody", vec![AttachedPolicy::BuiltIn(BuiltIn::FullAccess)]).await;
    let encrypt = [("KeyId", key.as_str()), ("Plaintext", "eA==")];
    let default = ask(&bench, "GetKeyPolicy", &[("KeyId", &key), ("PolicyName", "default")]).await.json();
    let default: Value = serde_json::from_str(default["Policy"].as_str().unwrap()).unwrap();
    assert_eq!(default["Statement"][0]["Principal"], json!({ "RAM": ["acs:ram::0:*"] }));

    let policy = json!({ "Version": "1", "Statement": [
        { "Effect": "Allow", "Principal": { "RAM": ["acs:ram::0:user/nobody"] }, "Action": ["kms:Encrypt"], "Resource": ["*"] },
    ] })
    .to_string();
    granted(&asks(&bench, &everybody, "SetKeyPolicy", &[("KeyId", &key), ("Policy", &policy)]).await);
    granted(&asks(&bench, &nobody, "Encrypt", &encrypt).await);
    denied(&asks(&bench, &nobody, "DescribeKey", &[("KeyId", &key)]).await, "kms:DescribeKey", &arn);
    denied(&asks(&bench, &everybody, "Encrypt", &encrypt).await, "kms:Encrypt", &arn);
    denied(&asks(&bench, &everybody, "SetKeyPolicy", &[("KeyId", &key), ("Policy", &policy)]).await, "kms:SetKeyPolicy", &arn);
    // The root is bound as well, but can always set it right.
    denied(&ask(&bench, "Encrypt", &encrypt).await, "kms:Encrypt", &arn);
    assert_eq!(ask(&bench, "GetKeyPolicy", &[("KeyId", &key)]).await.json()["Policy"], policy.as_str());
    let open = default.to_string();
    granted(&ask(&bench, "SetKeyPolicy", &[("KeyId", &key), ("PolicyName", "default"), ("Policy", &open)]).await);
    granted(&asks(&bench, &everybody, "Encrypt", &encrypt).await);
    denied(&asks(&bench, &nobody, "Encrypt", &encrypt).await, "kms:Encrypt", &arn);

    let made = ask(&bench, "CreateKey", &[("Policy", &policy)]).await.json()["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
    granted(&asks(&bench, &nobody, "Encrypt", &[("KeyId", &made), ("Plaintext", "eA==")]).await);
    for (parameters, expected) in [
        (vec![("KeyId", key.as_str())], (400, "MissingParameter")),
        (vec![("KeyId", key.as_str()), ("Policy", "{}")], (400, "InvalidParameter")),
        (vec![("KeyId", key.as_str()), ("Policy", open.as_str()), ("PolicyName", "other")], (404, "Forbidden.ResourceNotFound")),
        (vec![("KeyId", "key-hzz62f1cb66fa42qo0001"), ("Policy", open.as_str())], (404, "Forbidden.KeyNotFound")),
    ] {
        let answer = ask(&bench, "SetKeyPolicy", &parameters).await;
        assert_eq!(code(&answer), (expected.0, expected.1.to_owned()), "{}", answer.json());
    }
}
