//! Every captured request of the schemes that are served verifies, and no longer when what is signed changes.

use std::collections::HashMap;

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keystead::base::SecretBytes;
use keystead::wire::openapi::Parameters;
use keystead::wire::signing::{
    Acs, Authorization, RpcMethod, instance_signature, instance_string_to_sign, is_sha256_of, rpc_string_to_sign, rpc_verifies,
    sha256_hex,
};

#[derive(Clone)]
struct Request {
    method: String,
    path: String,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

fn requests() -> Vec<Request> {
    let text = include_str!("../vectors/captured-requests.txt");
    text.split("\n=== ")
        .skip(1)
        .map(|block| {
            let mut lines = block.lines();
            let (method, path) = lines.next().unwrap().split_once(' ').unwrap();
            let mut request = Request { method: method.into(), path: path.into(), headers: HashMap::new(), body: Vec::new() };
            for line in lines {
                if let Some(hex) = line.strip_prefix("BODY hex=") {
                    request.body = hex::decode(hex).unwrap();
                } else if line.starts_with("BODY txt=") {
                    break;
                } else if let Some((name, value)) = line.split_once(": ") {
                    request.headers.insert(name.to_lowercase(), value.to_owned());
                }
            }
            request
        })
        .collect()
}

impl Request {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    fn query(&self) -> Parameters {
        Parameters::parse(self.path.split_once('?').map_or("", |(_, query)| query).as_bytes()).unwrap()
    }

    fn all(&self) -> Parameters {
        let form = self.header("content-type").starts_with("application/x-www-form-urlencoded");
        self.query().union(Parameters::parse(if form { &self.body } else { b"" }).unwrap()).unwrap()
    }
}

fn secret() -> SecretBytes {
    SecretBytes::new(b"testsecret".to_vec())
}

fn certificate_key() -> Vec<u8> {
    let pem = include_str!("../vectors/ck.crt");
    let base64: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let der = STANDARD.decode(base64).unwrap();
    let (_, certificate) = x509_parser::parse_x509_certificate(&der).unwrap();
    certificate.public_key().subject_public_key.data.to_vec()
}

fn instance_verifies(request: &Request, string_to_sign: impl FnOnce(String) -> String) -> bool {
    let mut kms: Vec<(&str, &str)> = request
        .headers
        .iter()
        .filter(|(name, _)| name.starts_with("x-kms-"))
        .map(|(name, value)| (name.as_str(), value.trim()))
        .collect();
    let text = instance_string_to_sign(
        &request.method,
        request.header("content-sha256"),
        request.header("content-type"),
        request.header("date"),
        &mut kms,
    );
    let signature = STANDARD.decode(request.header("authorization").split_once(' ').unwrap().1).unwrap();
    let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, certificate_key());
    key.verify(string_to_sign(text).as_bytes(), &signature).is_ok()
}

fn acs_verifies(request: &Request) -> bool {
    let authorization = Authorization::parse(request.header("authorization")).unwrap();
    assert_eq!(authorization.credential, "testid");
    let headers: Vec<_> =
        authorization.signed_headers.iter().map(|name| ((*name).to_owned(), request.header(name).trim().to_owned())).collect();
    let query = request.query();
    let signed = Acs {
        scheme: authorization.scheme,
        method: &request.method,
        query: query.pairs(),
        headers: &headers,
        content_sha256: request.header("x-acs-content-sha256"),
    };
    signed.verifies(&secret(), authorization.signature)
}

fn rpc_request_verifies(request: &Request) -> bool {
    let all = request.all();
    rpc_verifies(
        RpcMethod::HmacSha1,
        &rpc_string_to_sign(&request.method, all.pairs()),
        &secret(),
        all.optional("Signature").unwrap(),
    )
}

#[test]
fn every_request_of_the_instance_protocol_verifies() {
    let requests: Vec<_> = requests().into_iter().filter(|request| request.headers.contains_key("x-kms-apiname")).collect();
    assert!(requests.len() >= 4, "{} requests", requests.len());
    for request in &requests {
        assert_eq!(sha256_hex(&request.body).to_uppercase(), request.header("content-sha256"));
        assert!(instance_verifies(request, |text| text));
        for at in 0..request.header("date").len() + 40 {
            assert!(!instance_verifies(request, |text| changed(&text, at)), "byte {at}");
        }
        for (name, value) in &request.headers {
            if name.starts_with("x-kms-") || name == "date" || name == "content-type" || name == "content-sha256" {
                let mut other = request.clone();
                other.headers.insert(name.clone(), changed(value, value.len() - 1));
                assert!(!instance_verifies(&other, |text| text), "{name}");
            }
        }
        let mut more = request.clone();
        more.headers.insert("x-kms-migrationkeyversionid".to_owned(), "x".repeat(36));
        assert!(!instance_verifies(&more, |text| text), "a header that is added is signed or refused");
    }
}

#[test]
fn every_request_that_is_signed_in_its_headers_verifies() {
    let requests: Vec<_> = requests().into_iter().filter(|request| request.header("authorization").starts_with("ACS")).collect();
    for (scheme, least) in [("ACS3-HMAC-SHA256 ", 5), ("ACS4-HMAC-SHA256 ", 2)] {
        let count = requests.iter().filter(|request| request.header("authorization").starts_with(scheme)).count();
        assert!(count >= least, "{count} requests by {scheme}");
    }
    for request in &requests {
        assert_eq!(sha256_hex(&request.body), request.header("x-acs-content-sha256"));
        assert!(acs_verifies(request));
        let signed = Authorization::parse(request.header("authorization")).unwrap().signed_headers.join(";");
        for name in signed.split(';').filter(|name| !request.header(name).is_empty()) {
            let mut other = request.clone();
            let value = request.header(name);
            other.headers.insert(name.to_owned(), changed(value, value.len() / 2));
            assert!(!acs_verifies(&other), "{name}");
        }
        if let Some((path, query)) = request.path.split_once('?') {
            let mut other = request.clone();
            other.path = format!("{path}?{query}x");
            assert!(!acs_verifies(&other));
        }
        let mut other = request.clone();
        other.method = "PUT".to_owned();
        assert!(!acs_verifies(&other));
    }
}

#[test]
fn every_rpc_request_verifies() {
    let requests: Vec<_> =
        requests().into_iter().filter(|request| request.all().optional("SignatureMethod") == Some("HMAC-SHA1")).collect();
    assert!(requests.len() >= 5, "{} requests", requests.len());
    for request in &requests {
        assert!(rpc_request_verifies(request));
        let mut other = request.clone();
        other.path = format!("{}&More=1", request.path);
        assert!(!rpc_request_verifies(&other));
        let mut other = request.clone();
        other.method = if request.method == "GET" { "POST" } else { "GET" }.to_owned();
        assert!(!rpc_request_verifies(&other));
    }
}

/// The manual's own example.
#[test]
fn the_manuals_rpc_signature_comes_out() {
    let parameters = "TimeStamp=2016-02-23T12%3A46%3A24Z&Format=XML&AccessKeyId=testid&Action=DescribeRegions&SignatureMethod=HMAC-SHA1\
        &SignatureNonce=3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf&Version=2014-05-26&SignatureVersion=1.0";
    let parameters = Parameters::parse(parameters.replace("TimeStamp", "Timestamp").as_bytes()).unwrap();
    let text = rpc_string_to_sign("GET", parameters.pairs());
    assert!(
        text.starts_with("GET&%2F&AccessKeyId%3Dtestid%26Action%3DDescribeRegions%26Format%3DXML%26SignatureMethod%3DHMAC-SHA1")
    );
    assert!(rpc_verifies(RpcMethod::HmacSha1, &text, &secret(), "OLeaidS1JvxuMvnyHOwuJ+uX5qY="), "{text}");
}

#[test]
fn a_hash_is_hex_in_capitals_or_not_and_nothing_else() {
    let hash = sha256_hex(b"hello");
    assert!(is_sha256_of(&hash, b"hello") && is_sha256_of(&hash.to_uppercase(), b"hello"));
    assert!(!is_sha256_of(&hash, b"hullo") && !is_sha256_of(&hash[..63], b"hello") && !is_sha256_of("", b"hello"));
    // 2cf24dba5fb0a30e…: Rust takes `+e` for a number, too.
    assert!(!is_sha256_of(&hash.replacen("0e", "+e", 1), b"hello"));
}

#[test]
fn a_signature_stands_after_its_scheme() {
    for (text, signature) in [("Bearer c2ln", Some(&b"sig"[..])), ("TOKEN c2ln", Some(b"sig")), ("Bearer  c2ln ", Some(b"sig"))] {
        assert_eq!(instance_signature(text).as_deref(), signature, "{text}");
    }
    for text in ["", "Bearer", "c2ln", "bearer c2ln", "Bearer c2l", "Bearer c2l n", "Basic c2ln"] {
        assert_eq!(instance_signature(text), None, "{text}");
    }
}

#[test]
fn a_malformed_authorization_is_none() {
    for text in [
        "",
        "ACS3-HMAC-SHA256",
        "ACS3-HMAC-SHA256 Credential=a",
        "ACS3-HMAC-SHA256 Credential=a,SignedHeaders=h",
        "ACS3-HMAC-SHA256 Credential=a,Credential=b,SignedHeaders=h,Signature=s",
        "ACS3-HMAC-SHA256 Credential=a,SignedHeaders=h,Signature=s,More=m",
        "ACS4-HMAC-SHA256 Credential=a,SignedHeaders=h,Signature=s",
        "ACS4-HMAC-SHA256 Credential=a/20261123/r/p,SignedHeaders=h,Signature=s",
        "ACS4-HMAC-SHA256 Credential=a/20261123/r/p/aliyun_v4_request/x,SignedHeaders=h,Signature=s",
        "ACS5-HMAC-SHA256 Credential=a,SignedHeaders=h,Signature=s",
    ] {
        assert_eq!(Authorization::parse(text), None, "{text}");
    }
}

fn changed(text: &str, at: usize) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let at = at.min(bytes.len() - 1);
    bytes[at] = if bytes[at] == b'x' { b'y' } else { b'x' };
    String::from_utf8(bytes).unwrap()
}
