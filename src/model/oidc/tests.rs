//! Tokens and key sets: which are taken, and what is wrong with the others.

#[path = "../../../tests/common/tokens.rs"]
mod tokens;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512,
    RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use tokens::{Issuer, encoded, token};

use super::*;
use crate::base::Kind;

const NOW: Timestamp = Timestamp::from_unix(1_790_000_000);
const SUBJECT: &str = "system:serviceaccount:shop:payments";

fn provider(key_set: &str) -> OidcProvider {
    OidcProvider {
        name: "cluster".parse().unwrap(),
        issuer: "https://cluster.example".parse().unwrap(),
        client_ids: ClientIds::from_list(vec!["keystead".parse().unwrap(), "vault".parse().unwrap()]).unwrap(),
        keys: key_set.parse().unwrap(),
        issuance_limit: DEFAULT_ISSUANCE_LIMIT,
        description: String::new(),
        created: NOW,
    }
}

/// The claims of a good token, with these instead; null for one that is absent.
fn claims(other: &Value) -> Value {
    let now = NOW.unix();
    let mut claims = json!({
        "iss": "https://cluster.example", "sub": SUBJECT, "aud": ["keystead"], "iat": now - 10, "nbf": now - 10, "exp": now + 3590,
        "kubernetes.io": { "namespace": "shop" },
    });
    for (name, value) in other.as_object().unwrap() {
        match value {
            Value::Null => claims.as_object_mut().unwrap().remove(name),
            value => claims.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    claims
}

fn good() -> Value {
    claims(&json!({}))
}

/// A set of one key, with what a public key has besides.
fn set_of(key: &Value) -> String {
    json!({ "keys": [key] }).to_string()
}

fn rsa_jwk(pair: &RsaKeyPair, kid: &str) -> Value {
    let public_key = pkcs1::RsaPublicKeyRef::try_from(pair.public_key().as_ref()).unwrap();
    let (n, e) = (encoded(public_key.modulus.as_bytes()), encoded(public_key.public_exponent.as_bytes()));
    json!({ "kty": "RSA", "kid": kid, "use": "sig", "n": n, "e": e })
}

#[test]
fn a_token_says_whom_it_names() {
    let issuer = Issuer::new("1");
    let named = provider(&issuer.key_set()).verify(&issuer.token(&good()), NOW).unwrap();
    let expected = FederatedIdentity {
        provider: "cluster".parse().unwrap(),
        issuer: "https://cluster.example".to_owned(),
        subject: SUBJECT.to_owned(),
        audiences: vec!["keystead".to_owned()],
        issued: Timestamp::from_unix(NOW.unix() - 10),
        expires: Timestamp::from_unix(NOW.unix() + 3590),
    };
    assert_eq!((&named, named.provider_arn().as_str()), (&expected, "acs:ram::0:oidc-provider/cluster"));
    for other in [
        json!({ "aud": "keystead" }),
        json!({ "aud": ["other", "vault"] }),
        json!({ "nbf": null }),
        json!({ "exp": NOW.unix() + 1 }),
        json!({ "exp": 1_790_000_001.5 }),
        // As far as a clock may be ahead.
        json!({ "iat": NOW.unix() + 60, "nbf": NOW.unix() + 60 }),
        json!({ "iat": NOW.unix() - 12 * 3600 + 1 }),
    ] {
        provider(&issuer.key_set()).verify(&issuer.token(&claims(&other)), NOW).unwrap_or_else(|error| panic!("{other}: {error}"));
    }
}

#[test]
fn every_algorithm_that_is_served_verifies() {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let sign = |encoding: &'static dyn RsaEncoding, message: &[u8]| {
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(encoding, &SystemRandom::new(), message, &mut signature).unwrap();
        signature
    };
    let rsa: [(&str, &'static dyn RsaEncoding); 6] = [
        ("RS256", &RSA_PKCS1_SHA256),
        ("RS384", &RSA_PKCS1_SHA384),
        ("RS512", &RSA_PKCS1_SHA512),
        ("PS256", &RSA_PSS_SHA256),
        ("PS384", &RSA_PSS_SHA384),
        ("PS512", &RSA_PSS_SHA512),
    ];
    let key = rsa_jwk(&pair, "r");
    for (alg, encoding) in rsa {
        let sent = token(&json!({ "alg": alg, "kid": "r" }), &good(), |message| sign(encoding, message));
        provider(&set_of(&key)).verify(&sent, NOW).unwrap_or_else(|error| panic!("{alg}: {error:?}"));
        // A key with an alg verifies by that alone.
        let mut bound = key.clone();
        bound["alg"] = json!("RS256");
        assert_eq!(provider(&set_of(&bound)).verify(&sent, NOW).is_ok(), alg == "RS256", "{alg}");
    }
    let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
    let point = pair.public_key().as_ref();
    let key = json!({ "kty": "EC", "crv": "P-384", "x": encoded(&point[1..49]), "y": encoded(&point[49..]) });
    // The only key needs no kid.
    let sent =
        token(&json!({ "alg": "ES384" }), &good(), |message| pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec());
    provider(&set_of(&key)).verify(&sent, NOW).unwrap();
    let pair = Ed25519KeyPair::generate().unwrap();
    let key = json!({ "kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": encoded(pair.public_key().as_ref()) });
    let sent = token(&json!({ "alg": "EdDSA", "kid": "ed" }), &good(), |message| pair.sign(message).as_ref().to_vec());
    provider(&set_of(&key)).verify(&sent, NOW).unwrap();
}

#[test]
fn what_the_provider_did_not_sign_tells_nothing() {
    let (issuer, other) = (Issuer::new("1"), Issuer::new("1"));
    let provider = provider(&json!({ "keys": [issuer.jwk(), Issuer::new("2").jwk()] }).to_string());
    let good = good();
    let with = |header: Value| issuer.token_with(&header, &good);
    let genuine = issuer.token(&good);
    let (message, signature) = genuine.rsplit_once('.').unwrap();
    let (header, payload) = message.split_once('.').unwrap();
    let by_hmac = |secret: &[u8]| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        token(&json!({ "alg": "HS256", "kid": "1" }), &good, |message| hmac::sign(&key, message).as_ref().to_vec())
    };
    let x = issuer.jwk()["x"].as_str().unwrap().to_owned();
    for (token, why) in [
        (other.token(&good), "signature"),
        (with(json!({ "alg": "ES256", "kid": "2" })), "signature"),
        (with(json!({ "alg": "ES256", "kid": "3" })), "kid"),
        // Of several keys one must be named.
        (with(json!({ "alg": "ES256" })), "kid"),
        (with(json!({ "alg": "ES384", "kid": "1" })), "not for its alg"),
        (with(json!({ "alg": "RS256", "kid": "1" })), "not for its alg"),
        (with(json!({ "alg": "ES256", "kid": "1", "crit": ["b64"], "b64": false })), "critical"),
        (with(json!({ "alg": "none", "kid": "1" })), "alg is not known"),
        (token(&json!({ "alg": "none" }), &good, |_| Vec::new()), "alg is not known"),
        (token(&json!({ "alg": "HS256" }), &good, |_| Vec::new()), "kid"),
        (by_hmac(issuer.key_set().as_bytes()), "not for its alg"),
        (by_hmac(x.as_bytes()), "not for its alg"),
        (format!("{message}."), "signature"),
        (message.to_owned(), "no JWT"),
        (format!("{genuine}.{signature}"), "no JWT"),
        (format!("{header}.{}.{signature}", encoded(claims(&json!({ "sub": "admin" })).to_string().as_bytes())), "signature"),
        (format!("{header}.{payload}=.{signature}"), "signature"),
        (String::new(), "no JWT"),
        ("a.b.c".to_owned(), "no JWT"),
        (format!("{genuine}{}", "A".repeat(TOKEN)), "longer"),
    ] {
        let error = provider.verify(&token, NOW).unwrap_err();
        assert_eq!(error.message(), not_signed("acs:ram::0:oidc-provider/cluster", "").message(), "{token}");
        assert!(error.kind() == Kind::InvalidOidcToken && error.causes().contains(why), "{why} is not in: {error:?}");
    }
}

#[test]
fn what_the_provider_signed_for_others_or_another_time_is_refused() {
    let issuer = Issuer::new("1");
    let now = NOW.unix();
    for (other, kind, said) in [
        (json!({ "iss": "https://cluster.example/" }), Kind::InvalidOidcToken, "\"https://cluster.example/\""),
        (json!({ "iss": ["https://cluster.example"] }), Kind::InvalidOidcToken, "not understood"),
        (json!({ "iss": null }), Kind::InvalidOidcToken, "`iss`"),
        (json!({ "aud": "https://kubernetes.default.svc" }), Kind::InvalidOidcToken, "https://kubernetes.default.svc"),
        (json!({ "aud": [] }), Kind::InvalidOidcToken, "no aud"),
        (json!({ "aud": null }), Kind::InvalidOidcToken, "`aud`"),
        (json!({ "aud": "Keystead" }), Kind::InvalidOidcToken, "no aud"),
        (json!({ "sub": "" }), Kind::InvalidOidcToken, "sub"),
        (json!({ "sub": "a\nb" }), Kind::InvalidOidcToken, "sub"),
        (json!({ "sub": "a".repeat(513) }), Kind::InvalidOidcToken, "sub"),
        (json!({ "sub": 1 }), Kind::InvalidOidcToken, "not understood"),
        (json!({ "exp": null }), Kind::InvalidOidcToken, "`exp`"),
        (json!({ "exp": "tomorrow" }), Kind::InvalidOidcToken, "not understood"),
        (json!({ "exp": -1 }), Kind::InvalidOidcToken, "a date"),
        (json!({ "exp": 1e300 }), Kind::InvalidOidcToken, "a date"),
        (json!({ "exp": now }), Kind::ExpiredOidcToken, "expired at 2026-09-21T14:13:20Z"),
        (json!({ "exp": 1_790_000_000.9 }), Kind::ExpiredOidcToken, "expired"),
        (json!({ "iat": null }), Kind::InvalidOidcToken, "`iat`"),
        (json!({ "iat": now + 61 }), Kind::InvalidOidcToken, "2026-09-21T14:14:21Z"),
        (json!({ "nbf": now + 61 }), Kind::InvalidOidcToken, "2026-09-21T14:14:21Z"),
        (json!({ "iat": now - 12 * 3600 }), Kind::ExpiredOidcToken, "12 hours"),
    ] {
        let error = provider(&issuer.key_set()).verify(&issuer.token(&claims(&other)), NOW).unwrap_err();
        assert_eq!(error.kind(), kind, "{other}");
        assert!(error.message().contains(said), "{said} is not in: {}", error.message());
    }
    let longer = OidcProvider { issuance_limit: LONGEST_ISSUANCE_LIMIT, ..provider(&issuer.key_set()) };
    longer.verify(&issuer.token(&claims(&json!({ "iat": now - 12 * 3600 }))), NOW).unwrap();
}

#[test]
fn keys_that_verify_no_tokens_are_passed_over() {
    let issuer = Issuer::new("1");
    let mut encrypts = issuer.jwk();
    (encrypts["use"], encrypts["kid"]) = (json!("enc"), json!("2"));
    let derives = json!({ "kty": "EC", "crv": "P-256", "kid": "3", "key_ops": ["deriveKey"], "x": "AA", "y": "AA" });
    let others = [
        json!({ "kty": "EC", "crv": "P-521", "kid": "4", "x": "AA", "y": "AA" }),
        json!({ "kty": "AKP", "alg": "ML-DSA-44", "kid": "5", "pub": "AA" }),
        json!({ "kty": "RSA", "alg": "RSA-OAEP", "kid": "6", "n": "AA", "e": "AQAB" }),
    ];
    let keys: Vec<_> = [encrypts, derives, issuer.jwk()].into_iter().chain(others).collect();
    let set: KeySet = json!({ "keys": keys, "other": 1 }).to_string().parse().unwrap();
    assert_eq!(set.described().collect::<Vec<_>>(), [("1", "ES256".to_owned())]);
    provider(set.text()).verify(&issuer.token(&good()), NOW).unwrap();
}

#[test]
fn what_is_no_key_set_is_refused_by_name() {
    let (key, second) = (Issuer::new("1").jwk(), Issuer::new("2").jwk());
    let but = |name: &str, value: Value| {
        let mut key = key.clone();
        key[name] = value;
        set_of(&key)
    };
    let nameless = |key: &Value| {
        let mut key = key.clone();
        key.as_object_mut().unwrap().remove("kid");
        key
    };
    let rsa = |n: &[u8], e: &str| set_of(&json!({ "kty": "RSA", "kid": "r", "n": encoded(n), "e": e }));
    let modulus = |bytes: usize| [vec![0xff; bytes - 1], vec![0x01]].concat();
    let rsa_key = |bytes: usize| rsa(&modulus(bytes), "AQAB");
    assert!(rsa_key(256).parse::<KeySet>().is_ok() && rsa_key(1024).parse::<KeySet>().is_ok());
    assert!(rsa(&[vec![0], modulus(256)].concat(), "AQAB").parse::<KeySet>().is_ok(), "some write a sign");
    let many: Vec<_> = (0..=KEYS).map(|at| json!({ "kty": "EC", "crv": "P-521", "kid": at.to_string() })).collect();
    for (text, said) in [
        (String::new(), "not of the form"),
        ("[]".to_owned(), "not of the form"),
        (key.to_string(), "`keys`"),
        (json!({ "keys": [] }).to_string(), "no key"),
        (json!({ "keys": ["a"] }).to_string(), "not of the form"),
        (json!({ "keys": many }).to_string(), "at most 32"),
        (json!({ "keys": [key, second, key] }).to_string(), "the kid \"1\""),
        (json!({ "keys": [nameless(&key), nameless(&second)] }).to_string(), "no kid"),
        (format!(r#"{{"keys":[{key}],"keys":[{key}]}}"#), "duplicate field"),
        (but("kty", json!(null)), "not of the form"),
        (but("use", json!("enc")), "no key"),
        (but("alg", json!("HS256")), "no key"),
        (but("alg", json!("ES384")), "no key"),
        (but("crv", json!("secp256k1")), "no key"),
        (but("x", json!(null)), "\"1\" of the key set has no x"),
        (but("x", json!("AA==")), "base64url"),
        (but("x", json!("AA")), "no point"),
        (but("x", second["x"].clone()), "no point"),
        (but("d", json!("AA")), "a secret"),
        (set_of(&json!({ "kty": "oct", "kid": "h", "k": "AAAA" })), "a secret"),
        (rsa_key(255), "has 2040 bits"),
        (rsa_key(1025), "has 8200 bits"),
        (rsa(&[vec![0xff; 255], vec![0xfe]].concat(), "AQAB"), "no RSA key"),
        (rsa(&modulus(256), "AQ"), "no RSA key"),
        (rsa(&modulus(256), "AQAA"), "no RSA key"),
        (rsa(&modulus(256), "AQAAAAAB"), "no RSA key"),
        (set_of(&json!({ "kty": "OKP", "crv": "Ed25519", "kid": "e", "x": "AAAA" })), "no point"),
        (format!("{}{}", set_of(&key), " ".repeat(KEY_SET_BYTES)), "65536 bytes"),
    ] {
        let error = text.parse::<KeySet>().unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidParameter);
        assert!(error.message().contains(said), "{said} is not in: {}", error.message());
    }
}

#[test]
fn client_ids_are_few_and_different() {
    let ids = |texts: &[&str]| ClientIds::from_list(texts.iter().map(|text| text.parse().unwrap()).collect());
    assert_eq!(ids(&["b", "a"]).unwrap().iter().map(ClientId::as_str).collect::<Vec<_>>(), ["a", "b"]);
    assert!(ids(&["a", "b", "a"]).unwrap_err().message().contains("twice"));
    assert!(ids(&[]).is_err());
    let many: Vec<_> = (0..=CLIENT_IDS).map(|at| at.to_string()).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    assert!(ids(&many).is_err() && ids(&many[1..]).is_ok());
}

proptest! {
    #[test]
    fn any_text_is_a_key_set_or_refused(text in r#"[\[\]{}":,a-zA-Z0-9_=-]{0,64}"#, kty in "(RSA|EC|OKP|oct|.{0,4})", x in "[A-Za-z0-9_-]{0,48}") {
        prop_assert!(text.parse::<KeySet>().is_err());
        for crv in ["P-256", "P-384", "Ed25519"] {
            let key = json!({ "kty": kty, "crv": crv, "x": x, "y": x, "n": x, "e": x });
            if let Ok(set) = set_of(&key).parse::<KeySet>() {
                prop_assert_eq!(set.described().count(), 1);
            }
        }
    }

    #[test]
    fn only_the_token_itself_is_taken(at in any::<prop::sample::Index>(), other in "[A-Za-z0-9._-]", text in ".{0,64}") {
        let issuer = Issuer::new("1");
        let (provider, genuine) = (provider(&issuer.key_set()), issuer.token(&good()));
        prop_assert!(provider.verify(&text, NOW).is_err());
        let at = at.index(genuine.len());
        let mut changed = genuine.clone();
        changed.replace_range(at..=at, &other);
        prop_assert_eq!(provider.verify(&changed, NOW).is_ok(), changed == genuine);
        prop_assert!(provider.verify(&genuine[..at], NOW).is_err());
    }
}
