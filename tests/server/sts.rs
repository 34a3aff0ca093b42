//! The Security Token Service and its credentials: who gets them, what they permit and until when, and what is wrong with them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use keystead::base::{Clock, SecretBytes, Timestamp};
use keystead::model::RoleId;
use keystead::model::operator::{AttachedPolicy, BuiltIn, Identity, IdentityKind, Role};
use keystead::service;
use keystead::wire::signing::{AcsScheme, RpcMethod, rpc_sign, rpc_string_to_sign};
use keystead::wire::{date, sts};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::bench::{Answer, Bench, Call, bench};
use crate::shared::{code, query, secret, signed_call};

/// What requests are signed with, and the token that goes with it.
pub struct Credentials {
    pub id: String,
    secret: SecretBytes,
    token: Option<String>,
}

impl Credentials {
    pub fn of(answer: &Answer) -> Self {
        assert_eq!(answer.status, 200, "{}", answer.json());
        let credentials = answer.json()["Credentials"].clone();
        let text = |name: &str| credentials[name].as_str().unwrap().to_owned();
        let secret = SecretBytes::new(text("AccessKeySecret").into_bytes());
        Self { id: text("AccessKeyId"), secret, token: Some(text("SecurityToken")) }
    }

    fn with_token(&self, token: &str) -> Self {
        Self { id: self.id.clone(), secret: self.secret.duplicate(), token: Some(token.to_owned()) }
    }
}

pub async fn user(bench: &Bench, called: &str) -> Credentials {
    let (name, created) = (called.parse().unwrap(), Timestamp::from_unix(0));
    let identity = Identity { name, kind: IdentityKind::User, policies: Vec::new(), description: String::new(), created };
    bench.store.create_identity(&identity).await.unwrap();
    let key = service::new_access_key(identity.name, created);
    bench.store.create_access_key(&key).await.unwrap();
    bench.kms.refresh().await.unwrap();
    Credentials { id: key.info.id.to_string(), secret: key.secret, token: None }
}

/// A role that may use every key to encrypt and decrypt, and that these may assume.
async fn role(bench: &Bench, called: &str, trusted: &Value) {
    let text = r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":["kms:Encrypt","kms:Decrypt"],"Resource":"*"}]}"#;
    role_with(bench, called, trusted, vec![service::policy_of("own".parse().unwrap(), text).unwrap()]).await;
}

/// A role with these policies that these may assume.
pub async fn role_with(bench: &Bench, called: &str, trusted: &Value, policies: Vec<AttachedPolicy>) {
    let identity = Identity {
        name: called.parse().unwrap(),
        kind: IdentityKind::Role,
        policies,
        description: String::new(),
        created: Timestamp::from_unix(0),
    };
    let trust = json!({ "Version": "1", "Statement": [{
        "Effect": "Allow", "Action": "sts:AssumeRole", "Principal": { "RAM": trusted },
    }] });
    let role = Role {
        name: identity.name.clone(),
        id: RoleId::from_entropy(keystead::base::random::bytes()),
        trust: trust.to_string().parse().unwrap(),
        max_session: Duration::from_secs(3600),
    };
    bench.store.create_role(&identity, &role).await.unwrap();
    bench.kms.refresh().await.unwrap();
}

fn signed(bench: &Bench, by: &Credentials, version: &str, action: &str, parameters: &[(&str, &str)]) -> Call {
    signed_call(bench, (&by.id, &by.secret), AcsScheme::V3, action, parameters, |headers| {
        headers.iter_mut().filter(|(name, _)| name == "x-acs-version").for_each(|(_, value)| version.clone_into(value));
        if let Some(token) = &by.token {
            headers.push(("x-acs-security-token".to_owned(), token.clone()));
        }
    })
}

pub async fn to_sts(bench: &Bench, by: &Credentials, action: &str, parameters: &[(&str, &str)]) -> Answer {
    bench.send_to(bench.sts, &query(parameters), signed(bench, by, sts::VERSION, action, parameters)).await
}

pub async fn to_kms(bench: &Bench, by: &Credentials, action: &str, parameters: &[(&str, &str)]) -> Answer {
    to_kms_at(bench, bench.shared, by, action, parameters).await
}

pub async fn to_kms_at(bench: &Bench, at: SocketAddr, by: &Credentials, action: &str, parameters: &[(&str, &str)]) -> Answer {
    bench.send_to(at, &query(parameters), signed(bench, by, "2016-01-20", action, parameters)).await
}

pub async fn encrypts(bench: &Bench, by: &Credentials) -> String {
    let answer = to_kms(bench, by, "Encrypt", &[("KeyId", bench.aes.as_str()), ("Plaintext", "eA==")]).await;
    if answer.status == 200 { "OK".to_owned() } else { code(&answer).1 }
}

const ARN: (&str, &str) = ("RoleArn", "acs:ram::0:role/deployer");
const NAME: (&str, &str) = ("RoleSessionName", "ci@main");

async fn assumed(bench: &Bench) -> Credentials {
    let alice = user(bench, "alice").await;
    role(bench, "deployer", &json!(["acs:ram::0:user/alice"])).await;
    Credentials::of(&to_sts(bench, &alice, "AssumeRole", &[ARN, NAME]).await)
}

#[tokio::test]
async fn who_is_trusted_gets_credentials_of_what_the_role_may() {
    let bench = bench().await;
    let (alice, bob) = (user(&bench, "alice").await, user(&bench, "bob").await);
    role(&bench, "deployer", &json!(["acs:ram::0:user/alice"])).await;
    let answer = to_sts(&bench, &alice, "AssumeRole", &[ARN, NAME, ("DurationSeconds", "900")]).await;
    let json = answer.json();
    assert_eq!(json["AssumedRoleUser"]["Arn"], "acs:ram::0:role/deployer/ci@main");
    assert_eq!(json["Credentials"]["Expiration"], date::to_iso(bench.clock.now().after(Duration::from_secs(900))));
    let session = Credentials::of(&answer);
    assert!(session.id.starts_with("STS."));
    assert_eq!(
        (encrypts(&bench, &alice).await.as_str(), encrypts(&bench, &session).await.as_str()),
        ("Forbidden.NoPermission", "OK")
    );
    let denied = to_kms(&bench, &session, "DescribeKey", &[("KeyId", bench.aes.as_str())]).await;
    assert_eq!(code(&denied), (403, "Forbidden.NoPermission".to_owned()));

    let whose = async |by: &Credentials| to_sts(&bench, by, "GetCallerIdentity", &[]).await.json();
    let (of_user, of_session) = (whose(&alice).await, whose(&session).await);
    assert_eq!((&of_user["Arn"], &of_user["IdentityType"]), (&json!("acs:ram::0:user/alice"), &json!("RAMUser")));
    assert_eq!(of_session["Arn"], "acs:ram::0:assumed-role/deployer/ci@main");
    assert_eq!(of_session["PrincipalId"], json["AssumedRoleUser"]["AssumedRoleId"]);
    let root = Credentials { id: bench.operator.access_key.to_string(), secret: secret(&bench), token: None };
    assert_eq!(whose(&root).await["Arn"], "acs:ram::0:root");

    // Who is not trusted is told the same as of a role that is not there.
    for (by, arn) in [(&bob, ARN.1), (&root, ARN.1), (&session, ARN.1), (&alice, "acs:ram::0:role/other"), (&alice, "deployer")] {
        let answer = to_sts(&bench, by, "AssumeRole", &[("RoleArn", arn), NAME]).await;
        assert_eq!(code(&answer), (403, "NoPermission".to_owned()), "{arn}");
        let message = answer.json()["Message"].as_str().unwrap().to_owned();
        assert!(
            message.starts_with(&format!("There is no role {arn:?}, or its trust policy does not let acs:ram::0:")),
            "{message}"
        );
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said() {
    let bench = bench().await;
    let alice = user(&bench, "alice").await;
    role(&bench, "deployer", &json!(["acs:ram::0:user/alice"])).await;
    let long = format!(r#"{{"Version":"1","Statement":[{{"Effect":"Allow","Action":"*","Resource":"*"}}]}}{}"#, " ".repeat(2048));
    for (parameters, expected) in [
        (vec![NAME], "MissingParameter"),
        (vec![ARN], "MissingParameter"),
        (vec![ARN, ("RoleSessionName", "a")], "InvalidParameter"),
        (vec![ARN, NAME, ("DurationSeconds", "899")], "InvalidParameter"),
        (vec![ARN, NAME, ("DurationSeconds", "3601")], "InvalidParameter"),
        (vec![ARN, NAME, ("DurationSeconds", "long")], "InvalidParameter"),
        (vec![ARN, NAME, ("Policy", "{}")], "InvalidParameter"),
        (vec![ARN, NAME, ("Policy", &long)], "InvalidParameter"),
        (vec![ARN, NAME, ("SourceIdentity", "a")], "UnsupportedOperation"),
        // A policy that nobody made a text of: without it the session could do all that the role may.
        (vec![ARN, NAME, ("Policy.Statement.1.Effect", "Deny")], "InvalidParameter"),
    ] {
        assert_eq!(code(&to_sts(&bench, &alice, "AssumeRole", &parameters).await), (400, expected.to_owned()), "{parameters:?}");
    }
    assert_eq!(code(&to_sts(&bench, &alice, "AssumeRoleWithSAML", &[]).await), (400, "UnsupportedOperation".to_owned()));
    assert_eq!(code(&to_sts(&bench, &alice, "Encrypt", &[]).await), (400, "InvalidAction.NotFound".to_owned()));
    // Nothing of this is a 404, which would say that something is gone.
    let nobody = Credentials { id: "nobody".to_owned(), secret: alice.secret.duplicate(), token: None };
    let unknown = to_sts(&bench, &nobody, "GetCallerIdentity", &[]).await;
    assert_eq!(code(&unknown), (403, "InvalidAccessKeyId.NotFound".to_owned()));
    let elsewhere = bench.send_to(bench.sts, "/else", signed(&bench, &alice, sts::VERSION, "GetCallerIdentity", &[])).await;
    assert_eq!(code(&elsewhere), (400, "InvalidParameter".to_owned()));
    // One API is not the other, and a request is answered once.
    let answer = bench.send_to(bench.sts, "/", signed(&bench, &alice, "2016-01-20", "ListKeys", &[])).await;
    assert_eq!(code(&answer), (400, "InvalidVersion".to_owned()));
    let answer = bench.send_to(bench.shared, "/", signed(&bench, &alice, sts::VERSION, "GetCallerIdentity", &[])).await;
    assert_eq!(code(&answer), (400, "InvalidVersion".to_owned()));
    let once = signed(&bench, &alice, sts::VERSION, "AssumeRole", &[ARN, NAME]);
    assert_eq!(bench.send_to(bench.sts, &query(&[ARN, NAME]), once.clone()).await.status, 200);
    let again = bench.send_to(bench.sts, &query(&[ARN, NAME]), once).await;
    assert_eq!(code(&again), (400, "SignatureNonceUsed".to_owned()));
}

#[tokio::test]
async fn credentials_end_with_their_time() {
    let bench = bench().await;
    let session = assumed(&bench).await;
    let begun = bench.clock.now();
    bench.clock.set(begun.after(Duration::from_secs(3599)));
    assert_eq!(encrypts(&bench, &session).await, "OK");
    bench.clock.set(begun.after(Duration::from_secs(3600)));
    assert_eq!(encrypts(&bench, &session).await, "InvalidSecurityToken.Expired");
    assert_eq!(code(&to_sts(&bench, &session, "GetCallerIdentity", &[]).await).1, "InvalidSecurityToken.Expired");
    // Who does not have the secret is not told.
    let stranger = Credentials { secret: SecretBytes::new(b"another".to_vec()), ..session };
    assert_eq!(encrypts(&bench, &stranger).await, "SignatureDoesNotMatch");
}

#[tokio::test]
async fn a_token_is_good_with_its_access_key_alone_and_unchanged() {
    let bench = bench().await;
    let session = assumed(&bench).await;
    let token = session.token.clone().unwrap();
    let other = Credentials::of(&to_sts(&bench, &user_again(&bench).await, "AssumeRole", &[ARN, NAME]).await);
    let mismatch = "InvalidSecurityToken.MismatchWithAccessKey";
    let mut changed = token.clone().into_bytes();
    changed[20] = if changed[20] == b'A' { b'B' } else { b'A' };
    for (token, expected) in [
        (other.token.as_deref().unwrap(), mismatch),
        (std::str::from_utf8(&changed).unwrap(), mismatch),
        (&token[..token.len() - 4], mismatch),
        ("no token!", "InvalidSecurityToken.Malformed"),
        ("AAAA", "InvalidSecurityToken.Malformed"),
        (&"A".repeat(9000), "InvalidSecurityToken.Malformed"),
    ] {
        assert_eq!(encrypts(&bench, &session.with_token(token)).await, expected, "{token}");
    }
    let without = Credentials { token: None, secret: session.secret.duplicate(), id: session.id.clone() };
    assert_eq!(encrypts(&bench, &without).await, "MissingSecurityToken");
    let root = Credentials { id: bench.operator.access_key.to_string(), secret: secret(&bench), token: Some(token.clone()) };
    assert_eq!(encrypts(&bench, &root).await, mismatch);
    // A token that is sent is signed, too.
    let call = signed(&bench, &without, "2016-01-20", "ListKeys", &[]).set("x-acs-security-token", &token);
    assert_eq!(code(&bench.send_to(bench.shared, "/", call).await).1, "SignatureDoesNotMatch");
    assert_eq!(encrypts(&bench, &session).await, "OK");
}

/// Another user whom the role trusts: one that is made anew under the name.
async fn user_again(bench: &Bench) -> Credentials {
    bench.store.delete_identity(&"alice".parse().unwrap()).await.unwrap();
    user(bench, "alice").await
}

#[tokio::test]
async fn a_role_that_is_changed_or_gone_is_so_for_its_sessions() {
    let bench = bench().await;
    let session = assumed(&bench).await;
    let name = "deployer".parse().unwrap();
    bench.store.detach_policy(&name, &"own".parse().unwrap()).await.unwrap();
    bench.kms.refresh().await.unwrap();
    assert_eq!(encrypts(&bench, &session).await, "Forbidden.NoPermission");
    let full = AttachedPolicy::BuiltIn(BuiltIn::FullAccess);
    bench.store.attach_policy(&name, &full).await.unwrap();
    bench.kms.refresh().await.unwrap();
    assert_eq!(encrypts(&bench, &session).await, "OK");
    bench.store.delete_identity(&name).await.unwrap();
    bench.kms.refresh().await.unwrap();
    assert_eq!(encrypts(&bench, &session).await, "Forbidden.NoPermission");
    // One that is made anew under the name is another.
    role(&bench, "deployer", &json!(["acs:ram::0:user/alice"])).await;
    assert_eq!(encrypts(&bench, &session).await, "Forbidden.NoPermission");
    assert_eq!(code(&to_sts(&bench, &session, "GetCallerIdentity", &[]).await), (403, "NoPermission".to_owned()));
}

#[tokio::test]
async fn a_session_policy_takes_away_and_gives_nothing() {
    let bench = bench().await;
    let alice = user(&bench, "alice").await;
    role(&bench, "deployer", &json!(["acs:ram::0:user/alice", "acs:ram::0:role/deployer"])).await;
    let session = async |statements: Value| {
        let policy = json!({ "Version": "1", "Statement": statements }).to_string();
        Credentials::of(&to_sts(&bench, &alice, "AssumeRole", &[ARN, NAME, ("Policy", &policy)]).await)
    };
    let allow = |action: &str| json!({ "Effect": "Allow", "Action": action, "Resource": "*" });
    let (encrypt, everything) = (session(json!([allow("kms:Encrypt")])).await, session(json!([allow("*")])).await);
    let decrypt = session(json!([allow("kms:Decrypt")])).await;
    let denied = session(json!([allow("*"), { "Effect": "Deny", "Action": "kms:Encrypt", "Resource": "*" }])).await;
    for (by, expected) in
        [(&encrypt, "OK"), (&everything, "OK"), (&decrypt, "Forbidden.NoPermission"), (&denied, "Forbidden.NoPermission")]
    {
        assert_eq!(encrypts(&bench, by).await, expected);
        let listed = to_kms(&bench, by, "ListKeys", &[]).await;
        assert_eq!(code(&listed).1, "Forbidden.NoPermission", "the role may not");
    }
    // A key policy that names the role does not help a session whose policy does not allow it.
    let named = json!({ "Version": "1", "Statement": [
        { "Effect": "Allow", "Principal": { "RAM": ["acs:ram::0:role/deployer"] }, "Action": ["kms:*"], "Resource": ["*"] },
    ] });
    let parameters = [("KeyId", bench.aes.as_str()), ("Policy", &named.to_string())];
    assert_eq!(crate::shared::ask(&bench, "SetKeyPolicy", &parameters).await.status, 200);
    assert_eq!(
        (encrypts(&bench, &encrypt).await, encrypts(&bench, &decrypt).await),
        ("OK".into(), "Forbidden.NoPermission".into())
    );
    // Nor is assuming the role again, without a policy, a way out.
    assert_eq!(code(&to_sts(&bench, &decrypt, "AssumeRole", &[ARN, NAME]).await), (403, "NoPermission".to_owned()));
    let free = Credentials::of(&to_sts(&bench, &alice, "AssumeRole", &[ARN, NAME]).await);
    Credentials::of(&to_sts(&bench, &free, "AssumeRole", &[ARN, NAME]).await);
}

#[tokio::test]
async fn rpc_signatures_name_the_token_in_a_parameter() {
    let bench = bench().await;
    let session = assumed(&bench).await;
    let (nonce, date) = (uuid::Uuid::new_v4().to_string(), date::to_iso(bench.clock.now()));
    let token = session.token.clone().unwrap();
    let parameters: Vec<(String, String)> = [
        ("Action", "Encrypt"),
        ("Version", "2016-01-20"),
        ("KeyId", bench.aes.as_str()),
        ("Plaintext", "eA=="),
        ("AccessKeyId", &session.id),
        ("SecurityToken", &token),
        ("SignatureMethod", "HMAC-SHA1"),
        ("SignatureVersion", "1.0"),
        ("SignatureNonce", &nonce),
        ("Timestamp", &date),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec();
    let signature = rpc_sign(RpcMethod::HmacSha1, &rpc_string_to_sign("GET", &parameters), &session.secret);
    let mut pairs: Vec<(&str, &str)> = parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    pairs.push(("Signature", &signature));
    // At the endpoint of an instance, which serves the cryptography of the OpenAPI, as at the shared gateway.
    let call = Call { method: "GET", headers: Vec::new(), body: Vec::new() };
    let answer = bench.send_to(bench.address, &query(&pairs), call).await;
    assert_eq!(answer.status, 200, "{}", answer.json());
}

#[tokio::test]
async fn records_name_the_role_the_session_and_what_was_handed_out() {
    let mut bench = bench().await;
    let session = assumed(&bench).await;
    assert_eq!(encrypts(&bench, &session).await, "OK");
    let records = crate::audit::records(&mut bench).await;
    let of = |operation: &str| records.iter().rev().find(|record| record["operation"] == operation).unwrap().clone();
    let handed_out = of("AssumeRole");
    assert_eq!((&handed_out["plane"], &handed_out["resource"]), (&json!("sts"), &json!(ARN.1)));
    assert_eq!((&handed_out["issued"], &handed_out["decision"]), (&json!(session.id), &json!("allow")));
    assert!(handed_out.get("assumed_role").is_none());
    let used = of("Encrypt");
    assert_eq!((&used["caller"], &used["assumed_role"]), (&json!(session.id), &json!("deployer/ci@main")));
    assert!(!records.iter().any(|record| record.to_string().contains(session.token.as_deref().unwrap())), "no token is written");
}

/// Tokens are opened before anybody is known: whatever is sent opens to nothing.
#[tokio::test]
async fn any_text_is_no_token() {
    let bench = Arc::new(bench().await);
    let session = assumed(&bench).await;
    let token = session.token.unwrap();
    let kms = Arc::clone(&bench.kms);
    proptest!(|(text in "[A-Za-z0-9_=+/-]{0,200}", at in 0..token.len(), other in "[A-Za-z0-9_-]")| {
        prop_assert!(kms.session(&session.id, &text).is_err());
        let mut changed = token.clone();
        changed.replace_range(at..=at, &other);
        prop_assert_eq!(kms.session(&session.id, &changed).is_ok(), changed == token);
        prop_assert!(kms.session(&text, &token).is_err());
    });
    assert!(kms.session(&session.id, &token).is_ok());
}
