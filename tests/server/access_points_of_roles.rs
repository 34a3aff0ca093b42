//! Access points whose callers are the sessions of a role: what they grant, and what they do not.

use std::net::SocketAddr;

use keystead::model::operator::AttachedPolicy;
use keystead::service;
use serde_json::{Value, json};

use crate::bench::{Answer, Bench, bench};
use crate::shared::{ask, code};
use crate::sts::{Credentials, role_with, to_kms, to_kms_at, to_sts, user};

const DENIED: &str = "Forbidden.NoPermission";

#[track_caller]
fn done(answer: &Answer) {
    assert_eq!(answer.status, 200, "{}", answer.json());
}

/// A role that alice may assume and that is permitted nothing, and an access point for it with this permission policy.
async fn application(bench: &Bench, policy: &str) -> Credentials {
    let alice = user(bench, "alice").await;
    role(bench, Vec::new()).await;
    access_point(bench, policy).await;
    alice
}

async fn role(bench: &Bench, policies: Vec<AttachedPolicy>) {
    role_with(bench, "app", &json!(["acs:ram::0:user/alice"]), policies).await;
}

async fn access_point(bench: &Bench, policy: &str) {
    let policies = json!([policy]).to_string();
    let parameters = [("Name", "app"), ("AuthenticationMethod", "RAMRole"), ("Policies", &*policies)];
    done(&ask(bench, "CreateApplicationAccessPoint", &parameters).await);
}

async fn forget_role(bench: &Bench) {
    bench.store.delete_identity(&"app".parse().unwrap()).await.unwrap();
    bench.kms.refresh().await.unwrap();
}

/// A session of a role, with a policy of these statements if there are any.
async fn session(bench: &Bench, alice: &Credentials, role: &str, statements: Option<Value>) -> Credentials {
    let arn = format!("acs:ram::0:role/{role}");
    let policy = statements.map(|statements| json!({ "Version": "1", "Statement": statements }).to_string());
    let mut parameters = vec![("RoleArn", arn.as_str()), ("RoleSessionName", "pod-1")];
    parameters.extend(policy.as_deref().map(|policy| ("Policy", policy)));
    Credentials::of(&to_sts(bench, alice, "AssumeRole", &parameters).await)
}

async fn encrypts_at(bench: &Bench, at: SocketAddr, by: &Credentials, key: &str) -> String {
    let answer = to_kms_at(bench, at, by, "Encrypt", &[("KeyId", key), ("Plaintext", "eA==")]).await;
    if answer.status == 200 { "OK".to_owned() } else { code(&answer).1 }
}

/// With the key of the bench, at the shared gateway.
async fn encrypts(bench: &Bench, by: &Credentials) -> String {
    encrypts_at(bench, bench.shared, by, bench.aes.as_str()).await
}

fn allow(action: &str) -> Value {
    json!({ "Effect": "Allow", "Action": action, "Resource": "*" })
}

fn deny(action: &str) -> Value {
    json!({ "Effect": "Deny", "Action": action, "Resource": "*" })
}

#[tokio::test]
async fn sessions_of_the_role_use_the_keys_that_the_policies_name_and_nothing_else() {
    let mut bench = bench().await;
    let alice = application(&bench, "everything").await;
    let session = session(&bench, &alice, "app", None).await;
    let key = bench.aes.to_string();
    for at in [bench.shared, bench.address] {
        assert_eq!(encrypts_at(&bench, at, &session, &key).await, "OK");
    }
    let sealed = to_kms(&bench, &session, "Encrypt", &[("KeyId", &key), ("Plaintext", "eA==")]).await.json();
    let blob = ("CiphertextBlob", sealed["CiphertextBlob"].as_str().unwrap());
    done(&to_kms(&bench, &session, "Decrypt", &[blob]).await);
    done(&to_kms(&bench, &session, "ReEncrypt", &[blob, ("DestinationKeyId", &key)]).await);
    done(&ask(&bench, "CreateAlias", &[("AliasName", "alias/orders"), ("KeyId", &key)]).await);
    assert_eq!(encrypts_at(&bench, bench.shared, &session, "alias/orders").await, "OK");
    // What a client key could not do either.
    for (action, parameters) in [
        ("DescribeKey", &[("KeyId", key.as_str())][..]),
        ("DisableKey", &[("KeyId", key.as_str())]),
        ("ListKeys", &[]),
        ("DescribeApplicationAccessPoint", &[("Name", "app")]),
    ] {
        assert_eq!(code(&to_kms(&bench, &session, action, parameters).await), (403, DENIED.to_owned()), "{action}");
    }
    // The policy is of one instance: the other's keys are not granted, wherever they are asked for, and what there is not is not told.
    let elsewhere = ask(&bench, "CreateKey", &[("DKMSInstanceId", bench.other.as_str())]).await.json();
    let elsewhere = elsewhere["KeyMetadata"]["KeyId"].as_str().unwrap();
    let absent = "key-hzz62f1cb66fa42qo0001";
    for (at, key, expected) in [
        (bench.shared, elsewhere, DENIED),
        (bench.other_address, elsewhere, DENIED),
        (bench.other_address, &key, DENIED),
        (bench.shared, absent, DENIED),
        (bench.address, elsewhere, "Forbidden.KeyNotFound"),
        (bench.address, absent, "Forbidden.KeyNotFound"),
        (bench.shared, "nothing", DENIED),
    ] {
        assert_eq!(encrypts_at(&bench, at, &session, key).await, expected, "{key} at {at}");
    }
    // From a key that is granted to one that is not.
    let to_elsewhere = to_kms(&bench, &session, "ReEncrypt", &[blob, ("DestinationKeyId", elsewhere)]).await;
    assert_eq!(code(&to_elsewhere).1, DENIED);
    assert_eq!(encrypts(&bench, &alice).await, DENIED, "who may assume the role is not the role");

    let records = crate::audit::records(&mut bench).await;
    let of = |operation: &str, code: &str| {
        let found = records.iter().find(|record| record["operation"] == operation && record["code"] == code);
        let shown = ["decision", "policy", "access_point", "assumed_role"];
        shown.map(|field| found.unwrap().get(field).and_then(Value::as_str).unwrap_or("-").to_owned())
    };
    assert_eq!(of("Encrypt", "OK"), ["allow", "everything", "app", "app/pod-1"]);
    assert_eq!(of("ReEncrypt", DENIED), ["deny", "-", "-", "app/pod-1"]);
    let denied = records.iter().find(|record| record["operation"] == "Encrypt" && record["code"] == DENIED).unwrap();
    assert!(denied["reason"].as_str().unwrap().contains("OtherInstance"), "{denied}");
}

#[tokio::test]
async fn it_is_described_changed_and_deleted_as_others_and_has_no_client_keys() {
    let bench = bench().await;
    let none = ask(
        &bench,
        "CreateApplicationAccessPoint",
        &[("Name", "app"), ("AuthenticationMethod", "RAMRole"), ("Policies", "[\"everything\"]")],
    );
    let none = none.await;
    assert_eq!(code(&none), (404, "Forbidden.ResourceNotFound".to_owned()));
    assert!(none.json()["Message"].as_str().unwrap().contains("There is no role app"), "{}", none.json());

    let alice = application(&bench, "everything").await;
    let session = session(&bench, &alice, "app", None).await;
    let described = ask(&bench, "DescribeApplicationAccessPoint", &[("Name", "app")]).await.json();
    assert_eq!((&described["AuthenticationMethod"], &described["Policies"]), (&json!("RAMRole"), &json!("[\"everything\"]")));
    let listed = ask(&bench, "ListApplicationAccessPoints", &[]).await.json();
    let listed = listed["ApplicationAccessPoints"]["ApplicationAccessPoint"].as_array().unwrap();
    assert!(listed.contains(&json!({ "AuthenticationMethod": "RAMRole", "Name": "app" })), "{listed:?}");
    let refused = ask(&bench, "CreateClientKey", &[("AapName", "app"), ("Password", "Example-Pass1")]).await;
    assert_eq!(code(&refused), (400, "UnsupportedOperation".to_owned()));
    assert!(refused.json()["Message"].as_str().unwrap().contains("RAMRole"), "{}", refused.json());
    assert_eq!(ask(&bench, "ListClientKeys", &[("AapName", "app")]).await.json()["ClientKeys"], json!([]));

    // Policies that are changed are so at once.
    let nothing = "[\"key/key-hzz62f1cb66fa42qo0001\"]";
    let permissions = "[\"RbacPermission/Template/CryptoServiceKeyUser\"]";
    let instance = ("KmsInstance", bench.instance.as_str());
    done(&ask(&bench, "CreatePolicy", &[("Name", "other"), instance, ("Permissions", permissions), ("Resources", nothing)]).await);
    assert_eq!(encrypts(&bench, &session).await, "OK");
    for (policies, expected) in [("[\"other\"]", DENIED), ("[\"other\",\"everything\"]", "OK")] {
        done(&ask(&bench, "UpdateApplicationAccessPoint", &[("Name", "app"), ("Policies", policies)]).await);
        assert_eq!(encrypts(&bench, &session).await, expected);
    }
    done(&ask(&bench, "UpdatePolicy", &[("Name", "everything"), ("Resources", "[\"secret/*\"]")]).await);
    assert_eq!(encrypts(&bench, &session).await, DENIED);
    done(&ask(&bench, "UpdatePolicy", &[("Name", "everything"), ("Resources", "[\"key/*\"]")]).await);
    assert_eq!(encrypts(&bench, &session).await, "OK");
    done(&ask(&bench, "DeleteApplicationAccessPoint", &[("Name", "app")]).await);
    assert_eq!(encrypts(&bench, &session).await, DENIED);
}

#[tokio::test]
async fn addresses_are_those_of_the_network_rules() {
    let bench = bench().await;
    let sources = |text| [("Name", "rule"), ("SourcePrivateIp", text)];
    done(&ask(&bench, "CreateNetworkRule", &[&sources("[\"10.0.0.0/8\"]")[..], &[("Type", "Private")]].concat()).await);
    let rules = ("AccessControlRules", "{\"NetworkRules\":[\"rule\"]}");
    done(&ask(&bench, "UpdatePolicy", &[("Name", "everything"), rules]).await);
    let alice = application(&bench, "everything").await;
    let session = session(&bench, &alice, "app", None).await;
    let key = bench.aes.as_str();
    for (text, expected) in [(None, DENIED), (Some("[\"127.0.0.0/8\"]"), "OK"), (Some("[\"10.0.0.1\"]"), DENIED)] {
        if let Some(text) = text {
            done(&ask(&bench, "UpdateNetworkRule", &sources(text)).await);
        }
        for at in [bench.shared, bench.address] {
            assert_eq!(encrypts_at(&bench, at, &session, key).await, expected, "{text:?} at {at}");
        }
    }
    done(&ask(&bench, "DeleteNetworkRule", &[("Name", "rule")]).await);
    assert_eq!(encrypts(&bench, &session).await, DENIED, "a policy whose rules are gone grants to no address");
}

#[tokio::test]
async fn another_role_and_one_that_is_made_anew_are_granted_nothing() {
    let bench = bench().await;
    let alice = application(&bench, "everything").await;
    role_with(&bench, "other", &json!(["acs:ram::0:user/alice"]), Vec::new()).await;
    let (first, other) = (session(&bench, &alice, "app", None).await, session(&bench, &alice, "other", None).await);
    assert_eq!((encrypts(&bench, &first).await.as_str(), encrypts(&bench, &other).await.as_str()), ("OK", DENIED));
    forget_role(&bench).await;
    assert_eq!(encrypts(&bench, &first).await, DENIED);

    role(&bench, Vec::new()).await;
    let anew = session(&bench, &alice, "app", None).await;
    assert_eq!((encrypts(&bench, &first).await.as_str(), encrypts(&bench, &anew).await.as_str()), (DENIED, DENIED));
    done(&ask(&bench, "UpdateApplicationAccessPoint", &[("Name", "app"), ("Policies", "[\"everything\"]")]).await);
    assert_eq!(encrypts(&bench, &anew).await, DENIED);
    // Made again, it is for the role that there is then.
    done(&ask(&bench, "DeleteApplicationAccessPoint", &[("Name", "app")]).await);
    access_point(&bench, "everything").await;
    assert_eq!((encrypts(&bench, &first).await.as_str(), encrypts(&bench, &anew).await.as_str()), (DENIED, "OK"));

    // A user of its name is no role, and an access point for client keys is for no session.
    assert_eq!(encrypts(&bench, &user(&bench, "everything").await).await, DENIED);
    bench.store.delete_identity(&"everything".parse().unwrap()).await.unwrap();
    role_with(&bench, "everything", &json!(["acs:ram::0:user/alice"]), Vec::new()).await;
    assert_eq!(encrypts(&bench, &session(&bench, &alice, "everything", None).await).await, DENIED);
}

#[tokio::test]
async fn whatever_denies_wins_and_a_session_policy_limits() {
    let bench = bench().await;
    let alice = application(&bench, "everything").await;
    for (statements, expected) in [
        (json!([allow("kms:Encrypt")]), "OK"),
        (json!([allow("*")]), "OK"),
        (json!([allow("kms:Decrypt")]), DENIED),
        (json!([allow("*"), deny("kms:Encrypt")]), DENIED),
    ] {
        let limited = session(&bench, &alice, "app", Some(statements.clone())).await;
        assert_eq!(encrypts(&bench, &limited).await, expected, "{statements}");
    }
    let free = session(&bench, &alice, "app", None).await;
    let principals = |name: &str| json!({ "RAM": [format!("acs:ram::0:{name}")] });
    let statement = |effect: &str, to: &str, action: &str| json!({ "Effect": effect, "Principal": principals(to), "Action": [action], "Resource": ["*"] });
    for (statements, expected) in [
        (json!([statement("Allow", "*", "kms:*"), statement("Deny", "role/app", "kms:Encrypt")]), DENIED),
        (json!([statement("Allow", "*", "kms:*"), statement("Deny", "role/other", "kms:Encrypt")]), "OK"),
        // What the key policy allows nobody, an access point does not grant either.
        (json!([statement("Allow", "user/alice", "kms:*")]), DENIED),
        (json!([statement("Allow", "*", "kms:*")]), "OK"),
    ] {
        let policy = json!({ "Version": "1", "Statement": statements }).to_string();
        done(&ask(&bench, "SetKeyPolicy", &[("KeyId", bench.aes.as_str()), ("Policy", &policy)]).await);
        assert_eq!(encrypts(&bench, &free).await, expected, "{policy}");
    }
    let (name, denial) = ("app".parse().unwrap(), json!({ "Version": "1", "Statement": [deny("kms:Encrypt")] }).to_string());
    bench.store.attach_policy(&name, &service::policy_of("own".parse().unwrap(), &denial).unwrap()).await.unwrap();
    bench.kms.refresh().await.unwrap();
    assert_eq!(encrypts(&bench, &free).await, DENIED);
    // The role's own policies hold besides.
    let own = json!({ "Version": "1", "Statement": [allow("kms:DescribeKey")] }).to_string();
    bench.store.attach_policy(&name, &service::policy_of("own".parse().unwrap(), &own).unwrap()).await.unwrap();
    bench.kms.refresh().await.unwrap();
    assert_eq!(encrypts(&bench, &free).await, "OK");
    done(&to_kms(&bench, &free, "DescribeKey", &[("KeyId", bench.aes.as_str())]).await);
}
