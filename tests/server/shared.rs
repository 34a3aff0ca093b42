//! The shared gateway's authentication and its answers' shapes; the SDK tests go through its operations.

use keystead::base::{Clock, SecretBytes, Timestamp};
use keystead::wire::date;
use keystead::wire::signing::{Acs, Acs4Scope, AcsScheme, RpcMethod, percent_encode, rpc_sign, rpc_string_to_sign, sha256_hex};

use crate::bench::{Answer, Bench, Call, bench};

pub fn secret(bench: &Bench) -> SecretBytes {
    SecretBytes::new(bench.secret.as_bytes().to_vec())
}

pub fn query(parameters: &[(&str, &str)]) -> String {
    let pairs: Vec<_> =
        parameters.iter().map(|(name, value)| format!("{}={}", percent_encode(name), percent_encode(value))).collect();
    format!("/?{}", pairs.join("&"))
}

/// An ACS3 request; `change` is applied before it is signed.
async fn acs3(bench: &Bench, action: &str, parameters: &[(&str, &str)], change: impl Fn(&mut Vec<(String, String)>)) -> Answer {
    acs(bench, AcsScheme::V3, action, parameters, change).await
}

/// A request signed in its headers; `change` is applied before it is signed.
async fn acs(
    bench: &Bench,
    scheme: AcsScheme<'_>,
    action: &str,
    parameters: &[(&str, &str)],
    change: impl Fn(&mut Vec<(String, String)>),
) -> Answer {
    acs_by(bench, (bench.operator.access_key.as_str(), &secret(bench)), scheme, action, parameters, change).await
}

/// An ACS3 request by any AccessKey.
pub async fn acs3_by(
    bench: &Bench,
    access_key: (&str, &SecretBytes),
    action: &str,
    parameters: &[(&str, &str)],
    change: impl Fn(&mut Vec<(String, String)>),
) -> Answer {
    acs_by(bench, access_key, AcsScheme::V3, action, parameters, change).await
}

async fn acs_by(
    bench: &Bench,
    (id, secret): (&str, &SecretBytes),
    scheme: AcsScheme<'_>,
    action: &str,
    parameters: &[(&str, &str)],
    change: impl Fn(&mut Vec<(String, String)>),
) -> Answer {
    let call = signed_call(bench, (id, secret), scheme, action, parameters, change);
    bench.send_to(bench.shared, &query(parameters), call).await
}

/// A request that is signed and not sent yet.
pub fn signed_call(
    bench: &Bench,
    (id, secret): (&str, &SecretBytes),
    scheme: AcsScheme<'_>,
    action: &str,
    parameters: &[(&str, &str)],
    change: impl Fn(&mut Vec<(String, String)>),
) -> Call {
    let nonce = uuid::Uuid::new_v4().simple().to_string();
    let date = date::to_iso(bench.clock.now());
    let hash = sha256_hex(b"");
    let mut headers: Vec<(String, String)> = [
        ("host", "localhost"),
        ("x-acs-action", action),
        ("x-acs-version", "2016-01-20"),
        ("x-acs-date", &date),
        ("x-acs-signature-nonce", &nonce),
        ("x-acs-content-sha256", &hash),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec();
    change(&mut headers);
    let pairs: Vec<_> = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let hash = headers.iter().find(|(name, _)| name == "x-acs-content-sha256").map_or("", |(_, value)| value).to_owned();
    let signed = Acs { scheme, method: "POST", query: &pairs, headers: &headers, content_sha256: &hash };
    let authorization = signed.authorization(id, secret);
    headers.push(("authorization".to_owned(), authorization));
    Call { method: "POST", headers, body: Vec::new() }
}

pub async fn ask(bench: &Bench, action: &str, parameters: &[(&str, &str)]) -> Answer {
    acs3(bench, action, parameters, |_| {}).await
}

pub fn code(answer: &Answer) -> (u16, String) {
    let json = answer.json();
    assert_eq!(json["HttpStatus"].as_u64(), Some(u64::from(answer.status)));
    for field in ["RequestId", "HostId", "Message"] {
        assert!(json[field].as_str().is_some_and(|text| !text.is_empty()), "{field} in {json}");
    }
    (answer.status, json["Code"].as_str().unwrap().to_owned())
}

fn set(headers: &mut Vec<(String, String)>, name: &str, value: &str) {
    headers.retain(|(known, _)| known != name);
    headers.push((name.to_owned(), value.to_owned()));
}

#[tokio::test]
async fn a_signed_request_is_answered_and_a_changed_one_is_not() {
    let bench = bench().await;
    let answer = ask(&bench, "ListKeys", &[("PageSize", "2")]).await;
    let json = answer.json();
    assert_eq!(
        (answer.status, json["TotalCount"].as_u64(), json["PageNumber"].as_u64(), json["PageSize"].as_u64()),
        (200, Some(3), Some(1), Some(2))
    );
    assert_eq!(json["Keys"]["Key"].as_array().unwrap().len(), 2);
    assert!(json.get("Code").is_none() && json.get("Success").is_none());
    let answer = acs3(&bench, "ListKeys", &[], |headers| set(headers, "x-acs-content-sha256", &"0".repeat(64))).await;
    let text = answer.json()["Message"].as_str().unwrap().to_owned();
    assert_eq!(code(&answer), (400, "SignatureDoesNotMatch".to_owned()));
    assert!(text.contains("server string to sign is:ACS3-HMAC-SHA256"), "{text}");
}

#[tokio::test]
async fn a_nonce_is_good_once() {
    let bench = bench().await;
    let once = |headers: &mut Vec<(String, String)>| set(headers, "x-acs-signature-nonce", "once");
    assert_eq!(acs3(&bench, "ListKeys", &[], once).await.status, 200);
    assert_eq!(code(&acs3(&bench, "ListKeys", &[], once).await), (400, "SignatureNonceUsed".to_owned()));
}

#[tokio::test]
async fn a_date_is_good_for_fifteen_minutes() {
    let bench = bench().await;
    let now = bench.clock.now();
    for (seconds, good) in [(-901, false), (-900, true), (900, true), (901, false)] {
        let date = date::to_iso(Timestamp::from_unix(now.unix() + seconds));
        let answer = acs3(&bench, "ListKeys", &[], |headers| set(headers, "x-acs-date", &date)).await;
        if good {
            assert_eq!(answer.status, 200, "{seconds}");
        } else {
            assert_eq!(code(&answer), (400, "IllegalTimestamp".to_owned()), "{seconds}");
        }
    }
}

/// As JavaScript's `toISOString()` writes it, and other programs.
#[tokio::test]
async fn a_date_may_have_a_fraction_of_a_second_wherever_it_is_read() {
    let bench = bench().await;
    let now = date::to_iso(bench.clock.now());
    let exact = |fraction: &str| now.replace('Z', &format!(".{fraction}Z"));
    for fraction in ["123", "999999999"] {
        let answer = acs3(&bench, "ListKeys", &[], |headers| set(headers, "x-acs-date", &exact(fraction))).await;
        assert_eq!(answer.status, 200, "{}", answer.json());
    }
    let mut parameters: Vec<(String, String)> = [
        ("Action", "ListKeys"),
        ("Version", "2016-01-20"),
        ("AccessKeyId", bench.operator.access_key.as_str()),
        ("SignatureMethod", "HMAC-SHA1"),
        ("SignatureVersion", "1.0"),
        ("SignatureNonce", "once"),
        ("Timestamp", &exact("123")),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec();
    let by = RpcMethod::named("HMAC-SHA1").unwrap();
    parameters.push(("Signature".to_owned(), rpc_sign(by, &rpc_string_to_sign("GET", &parameters), &secret(&bench))));
    let pairs: Vec<(&str, &str)> = parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let call = Call { method: "GET", headers: Vec::new(), body: Vec::new() };
    assert_eq!(bench.send_to(bench.shared, &query(&pairs), call).await.status, 200);

    let dates = [("NotBefore", exact("5")), ("NotAfter", exact("500").replacen("20", "21", 1))];
    let [begin, end] = &dates;
    let key = [("AapName", "everything"), ("Password", "Example-Pass1"), (begin.0, &begin.1), (end.0, &end.1)];
    let answer = ask(&bench, "CreateClientKey", &key).await;
    assert_eq!((answer.status, answer.json()["NotBefore"].as_str()), (200, Some(now.as_str())));
}

#[tokio::test]
async fn what_is_wrong_with_a_request_has_its_code() {
    let bench = bench().await;
    assert_eq!(code(&ask(&bench, "Frobnicate", &[]).await), (400, "InvalidAction.NotFound".to_owned()));
    let answer = acs3(&bench, "ListKeys", &[], |headers| set(headers, "x-acs-version", "2015-01-01")).await;
    assert_eq!(code(&answer), (400, "InvalidVersion".to_owned()));
    let unsigned = Call {
        method: "POST",
        headers: vec![("x-acs-action".into(), "ListKeys".into()), ("x-acs-version".into(), "2016-01-20".into())],
        body: Vec::new(),
    };
    assert_eq!(code(&bench.send_to(bench.shared, "/", unsigned.clone()).await), (400, "MissingParameter".to_owned()));
    let put = Call { method: "PUT", ..unsigned.clone() };
    assert_eq!(code(&bench.send_to(bench.shared, "/", put).await), (403, "UnsupportedHTTPMethod".to_owned()));
    assert_eq!(code(&bench.send_to(bench.shared, "/else", unsigned.clone()).await), (400, "InvalidParameter".to_owned()));
    let other = unsigned.set("authorization", "ACS4-HMAC-SHA256 Credential=a/b/c/d/e,SignedHeaders=host,Signature=00");
    assert_eq!(code(&bench.send_to(bench.shared, "/", other).await), (400, "IncompleteSignature".to_owned()));
    assert_eq!(code(&ask(&bench, "ListKeys", &[("PageSize", "101")]).await), (400, "InvalidParameter".to_owned()));
    assert_eq!(code(&ask(&bench, "DescribeKey", &[]).await), (400, "MissingParameter".to_owned()));
    assert_eq!(
        code(&ask(&bench, "ListKeys", &[("Filters", "[{\"Key\":\"Color\",\"Values\":[\"red\"]}]")]).await),
        (400, "InvalidParameter".to_owned())
    );
    for said in [("Action", "DescribeKey"), ("Version", "2015-04-01"), ("SecurityToken", "a")] {
        let answer = acs3(&bench, "ListKeys", &[said], |headers| set(headers, "x-acs-security-token", "b")).await;
        assert_eq!(code(&answer), (400, "InvalidParameter".to_owned()), "a header says something else than {said:?}");
    }
    assert_eq!(ask(&bench, "ListKeys", &[("Action", "ListKeys"), ("Version", "2016-01-20")]).await.status, 200);
    // Nothing that names a context is ignored.
    for context in [("SourceEncryptionContext", "{\"a\":\"b\"}"), ("SourceEncryptionContext.a", "b")] {
        let answer = ask(&bench, "ReEncrypt", &[("SourceKeyId", bench.rsa_encrypt.as_str()), context]).await;
        let text = answer.json()["Message"].as_str().unwrap().to_owned();
        assert_eq!(code(&answer), (400, "InvalidParameter".to_owned()));
        assert!(text.contains("SourceEncryptionContext"), "{text}");
    }
    // Not every header that decides is signed.
    let answer = acs3(&bench, "ListKeys", &[], |headers| headers.retain(|(name, _)| name != "x-acs-date")).await;
    assert_eq!(code(&answer), (400, "MissingParameter".to_owned()));
}

#[tokio::test]
async fn a_derived_key_signs_on_its_day_alone() {
    let bench = bench().await;
    let now = date::to_iso(bench.clock.now());
    let today = now[..10].replace('-', "");
    let by = |date| AcsScheme::V4(Acs4Scope { date, region: "cn-hangzhou", product: "Kms" });
    assert_eq!(acs(&bench, by(&today), "ListKeys", &[("PageSize", "2")], |_| {}).await.status, 200);
    let answer = acs(&bench, by("20200101"), "ListKeys", &[], |_| {}).await;
    assert_eq!(code(&answer), (400, "SignatureDoesNotMatch".to_owned()));
}

#[tokio::test]
async fn rpc_signatures_are_served_in_query_and_form() {
    let bench = bench().await;
    for (method, in_form, signature_method) in
        [("GET", false, "HMAC-SHA1"), ("POST", false, "HMAC-SHA256"), ("POST", true, "HMAC-SHA1")]
    {
        let by = RpcMethod::named(signature_method).unwrap();
        let nonce = uuid::Uuid::new_v4().to_string();
        let date = date::to_iso(bench.clock.now());
        let mut parameters: Vec<(String, String)> = [
            ("Action", "ListKmsInstances"),
            ("Version", "2016-01-20"),
            ("Format", "JSON"),
            ("AccessKeyId", bench.operator.access_key.as_str()),
            ("SignatureMethod", signature_method),
            ("SignatureVersion", "1.0"),
            ("SignatureNonce", &nonce),
            ("Timestamp", &date),
            ("PageSize", "1"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
        let signature = rpc_sign(by, &rpc_string_to_sign(method, &parameters), &secret(&bench));
        parameters.push(("Signature".to_owned(), signature));
        let pairs: Vec<(&str, &str)> = parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let encoded = query(&pairs);
        let (path, body, headers) = if in_form {
            (
                "/".to_owned(),
                encoded.as_bytes()[2..].to_vec(),
                vec![("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned())],
            )
        } else {
            (encoded, Vec::new(), Vec::new())
        };
        let answer = bench.send_to(bench.shared, &path, Call { method, headers: headers.clone(), body: body.clone() }).await;
        assert_eq!(answer.status, 200, "{}", answer.json());
        assert_eq!(answer.json()["KmsInstances"]["KmsInstance"].as_array().unwrap().len(), 1);
        // What is not signed does not name the operation.
        let mut unnamed = parameters.clone();
        unnamed.retain(|(name, _)| name != "Action" && name != "Signature");
        let signature = rpc_sign(by, &rpc_string_to_sign(method, &unnamed), &secret(&bench));
        unnamed.push(("Signature".to_owned(), signature));
        let pairs: Vec<(&str, &str)> = unnamed.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let headers_only =
            vec![("x-acs-action".to_owned(), "ListKeys".to_owned()), ("x-acs-version".to_owned(), "2016-01-20".to_owned())];
        let answer = bench.send_to(bench.shared, &query(&pairs), Call { method, headers: headers_only, body: Vec::new() }).await;
        assert_eq!(code(&answer), (400, "MissingParameter".to_owned()));
        let twice = format!("{path}{}PageSize=1", if path.contains('?') { "&" } else { "?" });
        let answer = bench.send_to(bench.shared, &twice, Call { method, headers, body }).await;
        assert_eq!(code(&answer), (400, "InvalidParameter".to_owned()), "a parameter given twice");
    }
}

/// What it says would be as good as absent.
#[tokio::test]
async fn a_body_that_is_no_form_is_refused() {
    let bench = bench().await;
    let send = async |content_type: Option<&str>, body: &str| {
        let by = (bench.operator.access_key.as_str(), &secret(&bench));
        let call = signed_call(&bench, by, AcsScheme::V3, "ListKeys", &[], |headers| {
            set(headers, "x-acs-content-sha256", &sha256_hex(body.as_bytes()));
            headers.extend(content_type.map(|is| ("content-type".to_owned(), is.to_owned())));
        });
        bench.send_to(bench.shared, "/", Call { body: body.as_bytes().to_vec(), ..call }).await
    };
    let form = "application/x-www-form-urlencoded";
    for (content_type, body, size) in [
        (Some(form), "PageSize=1", 1),
        (Some("application/x-www-form-urlencoded; charset=UTF-8"), "PageSize=1", 1),
        (Some("Application/X-WWW-Form-URLencoded"), "PageSize=1", 1),
        (Some("application/json"), "", 10),
        (None, "", 10),
    ] {
        let answer = send(content_type, body).await;
        assert_eq!(answer.json()["PageSize"], size, "{content_type:?}: {}", answer.json());
    }
    for (content_type, body) in [
        (Some("application/json"), "{\"PageSize\":1}"),
        (Some("text/plain"), "PageSize=1"),
        (Some("application/x-www-form-urlencoded-or-so"), "PageSize=1"),
        (None, "PageSize=1"),
        // No UTF-8.
        (Some(form), "PageSize=%FF"),
    ] {
        assert_eq!(code(&send(content_type, body).await), (400, "InvalidParameter".to_owned()), "{content_type:?}");
    }
}

#[tokio::test]
async fn describe_key_tells_how_the_key_is_protected() {
    let bench = bench().await;
    let answer = ask(&bench, "DescribeKey", &[("KeyId", bench.aes.as_str())]).await;
    let key = answer.json()["KeyMetadata"].clone();
    assert_eq!(key["KeyId"], bench.aes.as_str());
    assert_eq!(key["Arn"], format!("acs:kms:keystead:0:key/{}", bench.aes));
    assert_eq!(key["MaterialExpireTime"], "");
    assert!(key["PrimaryKeyVersion"].as_str().unwrap().starts_with(bench.aes.as_str()));
    assert_eq!(key["Keystead"]["StorageMechanism"], "Software");
    assert_eq!(key["Keystead"]["Algorithms"][0], serde_json::json!({"Algorithm": "AES_GCM", "Support": "full"}));
    assert!(!answer.json().to_string().contains("null"));
}

#[tokio::test]
async fn answers_are_xml_when_that_is_asked_for() {
    let bench = bench().await;
    let xml = |answer: &Answer| {
        assert_eq!(answer.headers["content-type"], "text/xml;charset=utf-8");
        String::from_utf8(answer.body.to_vec()).unwrap()
    };
    let answer = ask(&bench, "ListKeys", &[("Format", "XML")]).await;
    let text = xml(&answer);
    assert_eq!(answer.status, 200);
    let whole = text.starts_with("<?xml version=\"1.0\" encoding=\"UTF-8\"?><KMS>") && text.ends_with("</KMS>");
    assert!(whole && text.contains("<Keys><Key>") && text.contains("<TotalCount>3</TotalCount>"), "{text}");
    assert_eq!(text.matches("<KeyId>").count(), 3, "{text}");

    let answer = ask(&bench, "DescribeKey", &[("Format", "xml"), ("KeyId", "key-<none>")]).await;
    let text = xml(&answer);
    assert_eq!(answer.status, 404);
    assert!(text.contains("<Error>") && text.contains("<Code>Forbidden.KeyNotFound</Code>"), "{text}");
    assert!(text.contains("<HttpStatus>404</HttpStatus>") && !text.contains("<none>"), "{text}");
}
