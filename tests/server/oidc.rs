//! AssumeRoleWithOIDC: who is let in by a token of a provider, what its session may, and what those are told who are not let in.

use std::num::NonZeroU32;
use std::time::Duration;

use aws_lc_rs::hmac;
use keystead::base::{Clock, Timestamp, random};
use keystead::model::limits::{Group, Limits};
use keystead::model::oidc::{ClientIds, DEFAULT_ISSUANCE_LIMIT, OidcProvider};
use keystead::model::operator::{Identity, IdentityKind, Role};
use keystead::model::{ClientId, RoleId};
use keystead::service;
use keystead::store::OidcProviderChange;
use keystead::wire::{date, sts};
use serde_json::{Value, json};

use crate::bench::{Answer, Bench, Call, bench, bench_limited};
use crate::shared::{code, query};
use crate::sts::{Credentials, encrypts, to_kms, to_sts, user};
use crate::tokens::{Issuer, encoded, token};

const PROVIDER: &str = "acs:ram::0:oidc-provider/cluster";
const ROLE: &str = "acs:ram::0:role/deployer";
const SUBJECT: &str = "system:serviceaccount:shop:payments";
const INVALID: &str = "AuthenticationFail.OIDCToken.Invalid";
const EXPIRED: &str = "AuthenticationFail.OIDCToken.Expired";
const DENIED: &str = "AuthenticationFail.NoPermission";

/// A server that knows a cluster, and a role for one of its service accounts.
struct Cluster {
    bench: Bench,
    issuer: Issuer,
}

async fn cluster() -> Cluster {
    cluster_of(bench().await).await
}

async fn cluster_of(bench: Bench) -> Cluster {
    let issuer = Issuer::new("1");
    let provider = OidcProvider {
        name: "cluster".parse().unwrap(),
        issuer: "https://cluster.example".parse().unwrap(),
        client_ids: client_ids(&["keystead"]),
        keys: issuer.key_set().parse().unwrap(),
        issuance_limit: DEFAULT_ISSUANCE_LIMIT,
        description: String::new(),
        created: Timestamp::from_unix(0),
    };
    bench.store.create_oidc_provider(&provider).await.unwrap();
    let cluster = Cluster { bench, issuer };
    cluster.role("deployer", &json!({ "StringEquals": { "oidc:aud": "keystead", "oidc:sub": SUBJECT } })).await;
    cluster
}

fn client_ids(texts: &[&str]) -> ClientIds {
    ClientIds::from_list(texts.iter().map(|text| text.parse::<ClientId>().unwrap()).collect()).unwrap()
}

impl Cluster {
    /// A role that may encrypt, for whom of the cluster this holds.
    async fn role(&self, called: &str, condition: &Value) {
        let text = r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":["kms:Encrypt"],"Resource":"*"}]}"#;
        let identity = Identity {
            name: called.parse().unwrap(),
            kind: IdentityKind::Role,
            policies: vec![service::policy_of("own".parse().unwrap(), text).unwrap()],
            description: String::new(),
            created: Timestamp::from_unix(0),
        };
        let trust = json!({ "Version": "1", "Statement": [{
            "Effect": "Allow", "Action": "sts:AssumeRole", "Principal": { "Federated": [PROVIDER] }, "Condition": condition,
        }] });
        let role = Role {
            name: identity.name.clone(),
            id: RoleId::from_entropy(random::bytes()),
            trust: trust.to_string().parse().unwrap(),
            max_session: Duration::from_secs(3600),
        };
        self.bench.store.create_role(&identity, &role).await.unwrap();
        self.bench.kms.refresh().await.unwrap();
    }

    async fn change(&self, change: OidcProviderChange) {
        self.bench.store.change_oidc_provider(&"cluster".parse().unwrap(), &change).await.unwrap();
        self.bench.kms.refresh().await.unwrap();
    }

    /// The claims of the service account's token, with these instead.
    fn claims(&self, other: &Value) -> Value {
        let now = self.bench.clock.now().unix();
        let mut claims = json!({
            "iss": "https://cluster.example", "sub": SUBJECT, "aud": ["keystead"], "iat": now, "nbf": now, "exp": now + 3600,
        });
        claims.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
        claims
    }

    /// The service account's token, with these claims instead.
    fn token(&self, other: &Value) -> String {
        self.issuer.token(&self.claims(other))
    }

    /// Assumes the role, with these parameters instead; empty for one that is absent.
    async fn assume(&self, token: &str, other: &[(&str, &str)]) -> Answer {
        let mut parameters = vec![
            ("Action", sts::ASSUME_ROLE_WITH_OIDC),
            ("Version", sts::VERSION),
            ("Format", "JSON"),
            ("OIDCProviderArn", PROVIDER),
            ("RoleArn", ROLE),
            ("RoleSessionName", "pod-1"),
            ("OIDCToken", token),
        ];
        parameters.retain(|(name, _)| other.iter().all(|(changed, _)| changed != name));
        parameters.extend(other);
        self.send(&parameters).await
    }

    async fn send(&self, parameters: &[(&str, &str)]) -> Answer {
        let call = Call { method: "POST", headers: Vec::new(), body: Vec::new() };
        self.bench.send_to(self.bench.sts, &query(parameters), call).await
    }
}

#[tokio::test]
async fn who_has_a_token_of_the_provider_gets_credentials_of_what_the_role_may() {
    let cluster = cluster().await;
    let now = cluster.bench.clock.now();
    let token = cluster.token(&json!({ "aud": ["keystead", "vault"] }));
    let answer = cluster.assume(&token, &[("DurationSeconds", "900")]).await;
    let (session, json) = (Credentials::of(&answer), answer.json());
    assert_eq!(json["AssumedRoleUser"]["Arn"], format!("{ROLE}/pod-1"));
    assert_eq!(json["Credentials"]["Expiration"], date::to_iso(now.after(Duration::from_secs(900))));
    let expected = json!({
        "Subject": SUBJECT, "Issuer": "https://cluster.example", "ClientIds": "keystead,vault", "VerificationInfo": "Success",
        "IssuanceTime": date::to_iso(now), "ExpirationTime": date::to_iso(now.after(Duration::from_secs(3600))),
    });
    assert_eq!(json["OIDCTokenInfo"], expected);
    assert!(json.get("SourceIdentity").is_none());
    assert_eq!(encrypts(&cluster.bench, &session).await, "OK");
    let denied = to_kms(&cluster.bench, &session, "DescribeKey", &[("KeyId", cluster.bench.aes.as_str())]).await;
    assert_eq!(code(&denied), (403, "Forbidden.NoPermission".to_owned()));
    let me = to_sts(&cluster.bench, &session, "GetCallerIdentity", &[]).await.json();
    assert_eq!(me["Arn"], "acs:ram::0:assumed-role/deployer/pod-1");

    // A token is good as often as it is sent, with a line feed, too, and in the body; and the operation in a header, as in ACS3.
    Credentials::of(&cluster.assume(&format!("{token}\n"), &[]).await);
    let parameters =
        [("OIDCProviderArn", PROVIDER), ("RoleArn", ROLE), ("RoleSessionName", "pod-1"), ("OIDCToken", token.as_str())];
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let call = Call {
        method: "POST",
        headers: vec![
            header("x-acs-action", sts::ASSUME_ROLE_WITH_OIDC),
            header("x-acs-version", sts::VERSION),
            header("content-type", "application/x-www-form-urlencoded"),
        ],
        body: query(&parameters).trim_start_matches("/?").as_bytes().to_vec(),
    };
    Credentials::of(&cluster.bench.send_to(cluster.bench.sts, "/", call).await);
    // As long as a token may be.
    let long = cluster.token(&json!({ "groups": vec!["a".repeat(100); 140] }));
    assert!((19_000..20_000).contains(&long.len()), "{}", long.len());
    Credentials::of(&cluster.assume(&long, &[]).await);
    // A Policy takes away.
    let policy = r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"kms:Decrypt","Resource":"*"}]}"#;
    let narrowed = Credentials::of(&cluster.assume(&token, &[("Policy", policy)]).await);
    assert_eq!(encrypts(&cluster.bench, &narrowed).await, "Forbidden.NoPermission");
    // The session lasts beyond the token, as long as the role has it, and no longer.
    cluster.bench.clock.set(now.after(Duration::from_secs(3599)));
    let late = Credentials::of(&cluster.assume(&token, &[]).await);
    cluster.bench.clock.set(now.after(Duration::from_secs(2 * 3599)));
    assert_eq!(encrypts(&cluster.bench, &late).await, "OK");
    cluster.bench.clock.set(now.after(Duration::from_secs(2 * 3600)));
    assert_eq!(encrypts(&cluster.bench, &late).await, "InvalidSecurityToken.Expired");
}

#[tokio::test]
async fn what_the_provider_did_not_sign_is_refused_as_if_there_were_no_provider() {
    let cluster = cluster().await;
    let genuine = cluster.token(&json!({}));
    let claims = cluster.claims(&json!({}));
    let (message, signature) = genuine.rsplit_once('.').unwrap();
    let header = message.split('.').next().unwrap();
    let admin = encoded(cluster.claims(&json!({ "sub": "system:serviceaccount:shop:admin" })).to_string().as_bytes());
    let by_public_key = |secret: &str| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        token(&json!({ "alg": "HS256", "kid": "1" }), &claims, |message| hmac::sign(&key, message).as_ref().to_vec())
    };
    let mut told = Vec::new();
    for (token, provider) in [
        (Issuer::new("1").token(&claims), PROVIDER),
        (cluster.issuer.token_with(&json!({ "alg": "ES256", "kid": "2" }), &claims), PROVIDER),
        (token(&json!({ "alg": "none", "kid": "1" }), &claims, |_| Vec::new()), PROVIDER),
        (by_public_key(&cluster.issuer.key_set()), PROVIDER),
        (by_public_key(cluster.issuer.jwk()["x"].as_str().unwrap()), PROVIDER),
        (format!("{header}.{admin}.{signature}"), PROVIDER),
        (format!("{message}.{}", signature.replace(|c: char| c.is_ascii_lowercase(), "A")), PROVIDER),
        (message.to_owned(), PROVIDER),
        ("no token".to_owned(), PROVIDER),
        (format!("{genuine}{}", "A".repeat(20_000)), PROVIDER),
        (genuine.clone(), "acs:ram::0:oidc-provider/other"),
        (genuine.clone(), "cluster"),
    ] {
        let answer = cluster.assume(&token, &[("OIDCProviderArn", provider)]).await;
        assert_eq!(code(&answer), (400, INVALID.to_owned()), "{token}");
        told.push(answer.json()["Message"].as_str().unwrap().replace(provider, "…"));
    }
    told.dedup();
    assert_eq!(told.len(), 1, "nobody learns what there is: {told:?}");
    Credentials::of(&cluster.assume(&genuine, &[]).await);
    // With the provider its tokens are gone; a session that was begun goes on.
    let session = Credentials::of(&cluster.assume(&genuine, &[]).await);
    cluster.bench.store.delete_oidc_provider(&"cluster".parse().unwrap()).await.unwrap();
    cluster.bench.kms.refresh().await.unwrap();
    assert_eq!(code(&cluster.assume(&genuine, &[]).await).1, INVALID);
    assert_eq!(encrypts(&cluster.bench, &session).await, "OK");
}

#[tokio::test]
async fn a_token_for_others_or_another_time_is_refused() {
    let cluster = cluster().await;
    let now = cluster.bench.clock.now().unix();
    for (claims, expected, said) in [
        (json!({ "aud": ["https://kubernetes.default.svc"] }), INVALID, "no aud of it is a client id"),
        (json!({ "iss": "https://other.example" }), INVALID, "of the issuer"),
        (json!({ "exp": now }), EXPIRED, "take a new one"),
        (json!({ "nbf": now + 61 }), INVALID, "good from"),
        (json!({ "iat": now - 12 * 3600 }), EXPIRED, "12 hours"),
        (json!({ "exp": null }), INVALID, "not understood"),
    ] {
        let answer = cluster.assume(&cluster.token(&claims), &[]).await;
        assert_eq!(code(&answer), (400, expected.to_owned()), "{claims}");
        assert!(answer.json()["Message"].as_str().unwrap().contains(said), "{}", answer.json());
    }
    // Our clock, and no other.
    let token = cluster.token(&json!({}));
    cluster.bench.clock.set(Timestamp::from_unix(now + 3599));
    Credentials::of(&cluster.assume(&token, &[]).await);
    cluster.bench.clock.set(Timestamp::from_unix(now + 3600));
    assert_eq!(code(&cluster.assume(&token, &[]).await).1, EXPIRED);
}

#[tokio::test]
async fn who_is_not_trusted_is_told_the_same_as_of_a_role_that_is_not_there() {
    let cluster = cluster().await;
    cluster.role("other", &json!({ "StringLike": { "oidc:sub": "system:serviceaccount:other:*" } })).await;
    let mut told = Vec::new();
    for role in ["acs:ram::0:role/other", "acs:ram::0:role/none", "acs:ram::0:user/alice", "deployer"] {
        let answer = cluster.assume(&cluster.token(&json!({})), &[("RoleArn", role)]).await;
        assert_eq!(code(&answer), (403, DENIED.to_owned()), "{role}");
        told.push(answer.json()["Message"].as_str().unwrap().replace(role, "…"));
    }
    told.dedup();
    assert!(told.len() == 1 && told[0].contains(SUBJECT) && told[0].contains(PROVIDER), "{told:?}");
    let elsewhere = cluster.token(&json!({ "sub": "system:serviceaccount:other:web" }));
    assert_eq!(code(&cluster.assume(&elsewhere, &[]).await).1, DENIED);
    Credentials::of(&cluster.assume(&elsewhere, &[("RoleArn", "acs:ram::0:role/other")]).await);
    // Who is let in by a token is let in by nothing else: a signature does not stand in for one.
    let session = Credentials::of(&cluster.assume(&cluster.token(&json!({})), &[]).await);
    let named = [("RoleArn", ROLE), ("RoleSessionName", "pod-1")];
    assert_eq!(code(&to_sts(&cluster.bench, &session, "AssumeRole", &named).await), (403, "NoPermission".to_owned()));
    let without = to_sts(&cluster.bench, &session, sts::ASSUME_ROLE_WITH_OIDC, &named).await;
    assert_eq!(code(&without), (400, "MissingParameter".to_owned()));
}

#[tokio::test]
async fn what_is_wrong_with_the_parameters_is_said() {
    let cluster = cluster().await;
    let token = cluster.token(&json!({}));
    for (other, expected) in [
        (("OIDCToken", ""), "MissingParameter"),
        (("OIDCProviderArn", ""), "MissingParameter"),
        (("RoleArn", ""), "MissingParameter"),
        (("RoleSessionName", ""), "MissingParameter"),
        (("Version", ""), "MissingParameter"),
        (("Version", "2016-01-20"), "InvalidVersion"),
        (("RoleSessionName", "a"), "InvalidParameter"),
        (("DurationSeconds", "899"), "InvalidParameter"),
        (("DurationSeconds", "3601"), "InvalidParameter"),
        (("Policy", "{}"), "InvalidParameter"),
        (("SourceIdentity", "a"), "UnsupportedOperation"),
        (("Policy.Version", "1"), "InvalidParameter"),
    ] {
        assert_eq!(code(&cluster.assume(&token, &[other]).await), (400, expected.to_owned()), "{other:?}");
    }
    // No other operation is served without a signature, nor this one elsewhere.
    for action in ["GetCallerIdentity", "AssumeRole", "assumerolewithoidc", "AssumeRoleWithSAML"] {
        let answer = cluster.assume(&token, &[("Action", action)]).await;
        assert_eq!(code(&answer), (400, "MissingParameter".to_owned()), "{action}");
    }
    let parameters = [("Action", sts::ASSUME_ROLE_WITH_OIDC), ("Version", sts::VERSION), ("OIDCToken", token.as_str())];
    let call = Call { method: "POST", headers: Vec::new(), body: Vec::new() };
    let answer = cluster.bench.send_to(cluster.bench.shared, &query(&parameters), call).await;
    assert_eq!(code(&answer).0, 400);
}

#[tokio::test]
async fn a_provider_changes_its_keys_and_client_ids() {
    let cluster = cluster().await;
    let next = Issuer::new("2");
    let (by_former, by_next) = (cluster.token(&json!({})), next.token(&cluster.claims(&json!({}))));
    let both = json!({ "keys": [cluster.issuer.jwk(), next.jwk()] }).to_string();
    for (keys, former_is_good, next_is_good) in [(both, true, true), (next.key_set(), false, true)] {
        cluster.change(OidcProviderChange { keys: Some(keys.parse().unwrap()), ..OidcProviderChange::default() }).await;
        assert_eq!(cluster.assume(&by_former, &[]).await.status == 200, former_is_good);
        assert_eq!(cluster.assume(&by_next, &[]).await.status == 200, next_is_good);
    }
    cluster.change(OidcProviderChange { client_ids: Some(client_ids(&["other"])), ..OidcProviderChange::default() }).await;
    assert_eq!(code(&cluster.assume(&by_next, &[]).await).1, INVALID);
}

/// What tokens are verified by, and who is trusted, is in memory.
#[tokio::test]
async fn a_store_that_is_away_keeps_nobody_out() {
    let cluster = cluster().await;
    cluster.bench.store.close().await;
    Credentials::of(&cluster.assume(&cluster.token(&json!({})), &[]).await);
}

#[tokio::test]
async fn records_name_the_provider_the_subject_and_what_was_handed_out() {
    let mut cluster = cluster().await;
    let good = cluster.token(&json!({}));
    let session = Credentials::of(&cluster.assume(&good, &[]).await);
    let stranger = cluster.token(&json!({ "sub": "system:serviceaccount:other:web" }));
    cluster.assume(&stranger, &[]).await;
    let forged = Issuer::new("1").token(&cluster.claims(&json!({})));
    cluster.assume(&forged, &[]).await;
    let records = crate::audit::records(&mut cluster.bench).await;
    let [served, denied, refused] = &records[..] else { panic!("{records:?}") };
    for (record, expected) in [
        (served, json!({ "caller": PROVIDER, "subject": SUBJECT, "issued": session.id, "decision": "allow", "code": "OK" })),
        (
            denied,
            json!({ "caller": PROVIDER, "subject": "system:serviceaccount:other:web", "issued": null, "decision": "deny", "code": DENIED }),
        ),
        (refused, json!({ "caller": null, "claimed_caller": PROVIDER, "subject": null, "decision": "deny", "code": INVALID })),
    ] {
        let common = json!({ "plane": "sts", "operation": sts::ASSUME_ROLE_WITH_OIDC, "source": "127.0.0.1", "resource": ROLE });
        for (name, value) in expected.as_object().unwrap().iter().chain(common.as_object().unwrap()) {
            assert_eq!(&record[name], value, "{name} of {record}");
        }
    }
    // The log says what the caller is not told.
    assert!(refused["reason"].as_str().unwrap().contains("its signature is wrong"), "{refused}");
    for token in [&good, &stranger, &forged] {
        assert!(!records.iter().any(|record| record.to_string().contains(token.as_str())), "no token is written");
    }
}

/// Whoever has a token may send it again and again, trusted or not: that holds nobody else up.
#[tokio::test]
async fn tokens_have_a_limit_of_their_own() {
    let limits = Limits::of([(Group::Tokens, NonZeroU32::MIN)]);
    let cluster = cluster_of(bench_limited([Limits::default(), Limits::default(), limits]).await).await;
    let token = cluster.token(&json!({ "sub": "system:serviceaccount:other:other" }));
    let mut answers = Vec::new();
    for _ in 0..200 {
        answers.push(cluster.assume(&token, &[]).await.status);
        if answers.contains(&429) {
            break;
        }
    }
    assert!(answers[0] == 403 && answers.contains(&429), "{answers:?}");
    let operator = user(&cluster.bench, "somebody").await;
    for _ in 0..20 {
        let refused = to_sts(&cluster.bench, &operator, "AssumeRole", &[("RoleArn", ROLE), ("RoleSessionName", "session")]).await;
        assert_eq!(refused.status, 403, "AssumeRole is none of it");
    }
}
