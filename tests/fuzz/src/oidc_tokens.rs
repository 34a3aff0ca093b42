//! Key sets of OIDC providers, and tokens. The texts: a key set, in which `@key` stands for a genuine key; the header and the claims of a
//! token, which the key signs; or, where that is no header, a token as it came.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use keystead::base::{Kind, Timestamp};
use keystead::model::ClientId;
use keystead::model::oidc::{ClientIds, DEFAULT_ISSUANCE_LIMIT, KeySet, OidcProvider};
use serde_json::Value;

use super::authorization::base64;
use super::{Verdict, json, tells, text};

const NOW: i64 = 1_790_000_000;
const ISSUER: &str = "https://a";
const CLIENT_ID: &str = "b";

pub fn check(input: &[u8]) -> Verdict {
    let Some(text) = text(input) else { return Verdict::Refused };
    let mut lines = text.splitn(3, '\n');
    let mut next = || lines.next().unwrap_or_default();
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a seed");
    let x = encoded(pair.public_key().as_ref());
    let key = format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"k","x":"{x}"}}"#);
    let written = next().replace("@key", &key);
    let (header, claims) = (next(), next());
    let keys = match written.parse::<KeySet>() {
        Ok(keys) => keys,
        Err(error) => {
            tells(&error);
            return Verdict::Refused;
        }
    };
    assert_eq!(keys.text(), written);
    assert!(keys.described().count() > 0);
    let provider = OidcProvider {
        name: "p".parse().expect("a name"),
        issuer: ISSUER.parse().expect("an issuer"),
        client_ids: ClientIds::from_list(vec![CLIENT_ID.parse::<ClientId>().expect("a client id")]).expect("one"),
        keys,
        issuance_limit: DEFAULT_ISSUANCE_LIMIT,
        description: String::new(),
        created: Timestamp::from_unix(0),
    };
    let message = format!("{}.{}", encoded(header.as_bytes()), encoded(claims.as_bytes()));
    let signed = format!("{message}.{}", encoded(pair.sign(message.as_bytes()).as_ref()));
    // Nobody signed what came as it is.
    assert!(provider.verify(header, Timestamp::from_unix(NOW)).is_err(), "{header:?}");
    let named = provider.verify(&signed, Timestamp::from_unix(NOW));
    match &named {
        Ok(named) => {
            let claims = json::members(claims).map(|members| Value::Object(members.into_iter().collect()));
            // A name that means nothing may be there twice.
            let Some(claims) = claims else { return Verdict::Taken };
            let header: Value = serde_json::from_str(header).expect("a header");
            assert!(header["alg"] == "EdDSA" && header.get("crit").is_none_or(Value::is_null), "{header}");
            assert!(is_good(&claims), "{claims}");
            assert_eq!((claims["sub"].as_str(), claims["iss"].as_str()), (Some(&*named.subject), Some(&*named.issuer)));
        }
        Err(error) => {
            assert!([Kind::InvalidOidcToken, Kind::ExpiredOidcToken].contains(&error.kind()), "{error:?}");
            let text = error.message();
            assert!(text.chars().count() <= super::LONGEST_ERROR && !text.chars().any(char::is_control), "{text:?}");
            // The usual header and good claims, by the genuine key alone: then it is taken.
            if written == format!(r#"{{"keys":[{key}]}}"#) && header == r#"{"alg":"EdDSA","kid":"k"}"# {
                let claims = json::members(claims).map(|members| Value::Object(members.into_iter().collect()));
                assert!(!claims.is_some_and(|claims| is_good(&claims)), "{error:?}");
            }
        }
    }
    Verdict::of(named.ok().as_ref())
}

/// Whether claims are those of a good token.
fn is_good(claims: &Value) -> bool {
    let date = |name: &str| claims[name].as_f64().filter(|seconds| (0.0..=253_402_300_799.0).contains(seconds)).map(f64::floor);
    let now = NOW as f64;
    let audience = match &claims["aud"] {
        Value::String(audience) => audience == CLIENT_ID,
        Value::Array(audiences) => audiences.iter().all(Value::is_string) && audiences.iter().any(|audience| audience == CLIENT_ID),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
    };
    let subject = claims["sub"]
        .as_str()
        .is_some_and(|subject| (1..=512).contains(&subject.chars().count()) && !subject.chars().any(char::is_control));
    let begun = |name: &str| date(name).is_some_and(|begins| begins <= now + 60.0);
    claims["iss"] == ISSUER
        && subject
        && audience
        && date("exp").is_some_and(|expires| expires > now)
        && begun("iat")
        && date("iat").is_some_and(|issued| issued + 43_200.0 > now)
        && (claims.get("nbf").is_none_or(Value::is_null) || begun("nbf"))
}

/// Base64url without padding.
fn encoded(bytes: &[u8]) -> String {
    base64(bytes).replace('+', "-").replace('/', "_").trim_end_matches('=').to_owned()
}
