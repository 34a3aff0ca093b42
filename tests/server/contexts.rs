//! EncryptionContext at the gateway: in each form that clients send, with each operation that has one, and for what earlier versions of
//! Keystead and the transfer clients made.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keystead::base::Clock;
use keystead::wire::instance_protocol::{
    AdvanceDecryptRequest, AdvanceDecryptResponse, AdvanceEncryptRequest, AdvanceEncryptResponse, DecryptRequest, DecryptResponse,
    EncryptRequest, EncryptResponse, KEY_VERSION_HEADER,
};
use keystead::wire::signing::sha256_hex;
use prost::Message;

use crate::audit::records;
use crate::bench::{Answer, Bench, UPGRADE, bench, bench_unbound_until};
use crate::shared::{ask, code};

const TEXT: &str = "NDIgRVVS";
/// One context as the SDKs of 2016-01-20, npm's and Python's older ones, and aliyungo send it.
const FORMS: [&[(&str, &str)]; 3] = [
    &[("", r#"{"tenant":"a","shop":"b 1"}"#)],
    &[(".shop", "b 1"), (".tenant", "a")],
    &[(".1.Key", "tenant"), (".1.Value", "a"), (".2.Key", "shop"), (".2.Value", "b 1")],
];
/// Contexts that are another one.
const OTHERS: [&[(&str, &str)]; 4] =
    [&[], &[("", "{}")], &[(".tenant", "a")], &[(".tenant", "a"), (".shop", "b 1"), (".3.Key", "x")]];

/// An operation with a context.
async fn with(bench: &Bench, action: &str, name: &str, context: &[(&str, &str)], parameters: &[(&str, &str)]) -> Answer {
    let context: Vec<_> = context.iter().map(|(part, value)| (format!("{name}{part}"), *value)).collect();
    let context = context.iter().map(|(name, value)| (name.as_str(), *value));
    ask(bench, action, &parameters.iter().copied().chain(context).collect::<Vec<_>>()).await
}

async fn encrypt(bench: &Bench, context: &[(&str, &str)]) -> String {
    let answer = with(bench, "Encrypt", "EncryptionContext", context, &[("KeyId", bench.aes.as_str()), ("Plaintext", TEXT)]).await;
    field(&answer, "CiphertextBlob")
}

async fn decrypt(bench: &Bench, context: &[(&str, &str)], blob: &str) -> Answer {
    with(bench, "Decrypt", "EncryptionContext", context, &[("CiphertextBlob", blob)]).await
}

#[track_caller]
fn field(answer: &Answer, name: &str) -> String {
    assert_eq!(answer.status, 200, "{}", answer.json());
    answer.json()[name].as_str().unwrap().to_owned()
}

#[track_caller]
fn assert_refused(answer: &Answer) {
    assert_eq!(code(answer), (400, "InvalidParameter".to_owned()));
}

#[tokio::test]
async fn what_is_encrypted_with_a_context_opens_with_it_alone_in_whatever_form_it_is_sent() {
    let bench = bench().await;
    for form in FORMS {
        let blob = encrypt(&bench, form).await;
        for form in FORMS {
            assert_eq!(field(&decrypt(&bench, form, &blob).await, "Plaintext"), TEXT);
        }
        for other in OTHERS {
            assert_refused(&decrypt(&bench, other, &blob).await);
        }
    }
    let unbound = encrypt(&bench, &[]).await;
    assert_refused(&decrypt(&bench, FORMS[1], &unbound).await);
    // An empty object is no context.
    for (one, other) in [(&[][..], &[("", "{}")][..]), (&[("", "{}")], &[]), (&[("", "")], &[("", "{}")])] {
        let blob = encrypt(&bench, one).await;
        assert_eq!(field(&decrypt(&bench, other, &blob).await, "Plaintext"), TEXT);
    }
}

#[tokio::test]
async fn every_operation_with_a_context_binds_and_asks_for_it() {
    let bench = bench().await;
    let key = ("KeyId", bench.aes.as_str());
    let pair = bench.kms.describe_key(&bench.operator, bench.rsa_encrypt.as_str()).unwrap().key.primary_version;
    let named = [("KeyId", bench.rsa_encrypt.as_str()), ("KeyVersionId", pair.as_str())];
    let pem = field(&ask(&bench, "GetPublicKey", &named).await, "PublicKey");
    let spki: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let to = [("WrappingKeySpec", "RSA_2048"), ("WrappingAlgorithm", "RSAES_OAEP_SHA_256"), ("PublicKeyBlob", spki.as_str())];
    for form in FORMS {
        let mut blobs = Vec::new();
        for (action, parameters) in [
            ("Encrypt", vec![key, ("Plaintext", TEXT)]),
            ("GenerateDataKey", vec![key]),
            ("GenerateDataKeyWithoutPlaintext", vec![key]),
            ("GenerateAndExportDataKey", [&[key], &to[..]].concat()),
        ] {
            blobs.push(field(&with(&bench, action, "EncryptionContext", form, &parameters).await, "CiphertextBlob"));
        }
        let opened = ("SourceEncryptionContext", FORMS[1]);
        let moved = [("CiphertextBlob", blobs[0].as_str()), ("DestinationKeyId", bench.aes.as_str())];
        let refused = with(&bench, "ReEncrypt", "DestinationEncryptionContext", form, &moved).await;
        assert_refused(&refused);
        let source: Vec<_> = opened.1.iter().map(|(part, value)| (format!("{}{part}", opened.0), *value)).collect();
        let source = source.iter().map(|(name, value)| (name.as_str(), *value));
        let whole: Vec<_> = moved.into_iter().chain(source).collect();
        blobs.push(field(&with(&bench, "ReEncrypt", "DestinationEncryptionContext", form, &whole).await, "CiphertextBlob"));
        for blob in &blobs {
            assert_eq!(decrypt(&bench, FORMS[0], blob).await.status, 200);
            assert_refused(&decrypt(&bench, &[], blob).await);
        }
        let export = [&[("CiphertextBlob", blobs[1].as_str())], &to[..]].concat();
        assert_refused(&with(&bench, "ExportDataKey", "EncryptionContext", &[], &export).await);
        field(&with(&bench, "ExportDataKey", "EncryptionContext", form, &export).await, "ExportedDataKey");
    }
}

#[tokio::test]
async fn what_names_a_context_and_is_not_read_is_refused() {
    let bench = bench().await;
    let key = ("KeyId", bench.aes.as_str());
    let pair = bench.kms.describe_key(&bench.operator, bench.rsa_encrypt.as_str()).unwrap().key.primary_version;
    let asymmetric = [("KeyId", bench.rsa_encrypt.as_str()), ("KeyVersionId", pair.as_str()), ("Algorithm", "RSAES_OAEP_SHA_256")];
    let sealed =
        field(&ask(&bench, "AsymmetricEncrypt", &[&asymmetric[..], &[("Plaintext", TEXT)]].concat()).await, "CiphertextBlob");
    let source = [
        ("SourceKeyId", asymmetric[0].1),
        ("SourceKeyVersionId", asymmetric[1].1),
        ("SourceEncryptionAlgorithm", asymmetric[2].1),
        ("CiphertextBlob", sealed.as_str()),
        ("DestinationKeyId", bench.aes.as_str()),
    ];
    assert_eq!(ask(&bench, "ReEncrypt", &source).await.status, 200);
    for (action, parameters) in [
        ("Encrypt", vec![key, ("Plaintext", TEXT), ("EncryptionContext", "tenant=a")]),
        ("Encrypt", vec![key, ("Plaintext", TEXT), ("EncryptionContext", "{}"), ("EncryptionContext.tenant", "a")]),
        ("Encrypt", vec![key, ("Plaintext", TEXT), ("encryptionContext.tenant", "a")]),
        ("Encrypt", vec![key, ("Plaintext", TEXT), ("EncryptionContext[tenant]", "a")]),
        ("GenerateDataKey", vec![key, ("DestinationEncryptionContext", "{}")]),
        ("AsymmetricEncrypt", [&asymmetric[..], &[("Plaintext", TEXT), ("EncryptionContext.tenant", "a")]].concat()),
        ("ReEncrypt", [&source[..], &[("SourceEncryptionContext.tenant", "a")]].concat()),
        ("ReEncrypt", [&source[..], &[("EncryptionContext", r#"{"tenant":"a"}"#)]].concat()),
        ("DescribeKey", vec![key, ("EncryptionContext.tenant", "a")]),
    ] {
        let answer = ask(&bench, action, &parameters).await;
        assert_refused(&answer);
        assert!(answer.json()["Message"].as_str().unwrap().to_lowercase().contains("encryptioncontext"), "{}", answer.json());
    }
}

#[tokio::test]
async fn contexts_that_clients_join_to_the_same_are_told_apart() {
    let bench = bench().await;
    let (two, one) = ([("", r#"{"a":"1","b":"2"}"#)], [("", r#"{"a":"1&b=2"}"#)]);
    for (made, other) in [(&two, &one), (&one, &two)] {
        let blob = encrypt(&bench, made).await;
        assert_eq!(field(&decrypt(&bench, made, &blob).await, "Plaintext"), TEXT);
        assert_refused(&decrypt(&bench, other, &blob).await);
    }
    let flattened = [(".a", "1&b=2")];
    assert_eq!(field(&decrypt(&bench, &one, &encrypt(&bench, &flattened).await).await, "Plaintext"), TEXT);
}

/// What the transfer clients send as Aad for a context: Java and Go, Python, Python's older mode.
fn aads_of_transfer_clients(text: &str, joined: &str) -> [Vec<u8>; 3] {
    let digits = sha256_hex(joined.as_bytes());
    [hex::decode(&digits).unwrap(), digits.into_bytes(), text.as_bytes().to_vec()]
}

#[tokio::test]
async fn the_gateway_and_the_transfer_clients_open_what_the_others_made() {
    let bench = bench().await;
    let text = FORMS[0][0].1;
    let aads = aads_of_transfer_clients(text, "shop=b 1&tenant=a");
    let blob = STANDARD.decode(encrypt(&bench, FORMS[1]).await).unwrap();
    for aad in &aads {
        assert_eq!(advance_decrypt(&bench, &blob, aad).await.message::<AdvanceDecryptResponse>().plaintext, TEXT.as_bytes());
        assert_eq!(decrypt_by_version(&bench, &blob, aad).await.message::<DecryptResponse>().plaintext, TEXT.as_bytes());
    }
    for other in [Vec::new(), text.replace('a', "b").into_bytes(), aads[1].to_ascii_uppercase(), aads[0][1..].to_vec()] {
        advance_decrypt(&bench, &blob, &other).await.expect_error(400, "InvalidParameter");
        decrypt_by_version(&bench, &blob, &other).await.expect_error(400, "InvalidParameter");
    }
    for aad in &aads {
        let blob = advance_encrypt(&bench, aad).await;
        for form in FORMS {
            // npm sends what Python's older mode would have written otherwise; blanks and the order are not known then.
            let answer = decrypt(&bench, form, &STANDARD.encode(&blob)).await;
            if *aad == aads[2] && form.len() > 1 {
                assert_refused(&answer);
            } else {
                assert_eq!(field(&answer, "Plaintext"), TEXT);
            }
        }
        assert_refused(&decrypt(&bench, OTHERS[2], &STANDARD.encode(&blob)).await);
        assert_refused(&decrypt(&bench, &[], &STANDARD.encode(&blob)).await);
    }
    // In the order of the keys it is.
    let blob = STANDARD.encode(advance_encrypt(&bench, br#"{"shop":"b 1","tenant":"a"}"#).await);
    assert_eq!(field(&decrypt(&bench, FORMS[1], &blob).await, "Plaintext"), TEXT);
}

#[tokio::test]
async fn an_empty_context_is_bound_by_transfer_clients_and_not_by_the_gateway() {
    let bench = bench().await;
    let none = STANDARD.decode(encrypt(&bench, &[("", "{}")]).await).unwrap();
    for aad in aads_of_transfer_clients("{}", "") {
        assert_eq!(advance_decrypt(&bench, &none, &aad).await.status, 200);
        let blob = STANDARD.encode(advance_encrypt(&bench, &aad).await);
        assert_eq!(field(&decrypt(&bench, &[("", "{}")], &blob).await, "Plaintext"), TEXT);
        assert_refused(&decrypt(&bench, FORMS[0], &blob).await);
    }
}

/// The Aad of a request that names the key is what the caller says, and nothing else.
#[tokio::test]
async fn the_instance_sdk_opens_by_the_very_aad() {
    let bench = bench().await;
    let [raw, digits, text] = aads_of_transfer_clients(FORMS[0][0].1, "shop=b 1&tenant=a");
    let request =
        EncryptRequest { key_id: bench.aes.to_string(), plaintext: vec![7], aad: raw.clone(), ..EncryptRequest::default() };
    let sealed: EncryptResponse = bench.ask("Encrypt", &request).await.message();
    let open = |aad: Vec<u8>| DecryptRequest {
        key_id: bench.aes.to_string(),
        ciphertext_blob: sealed.ciphertext_blob.clone(),
        iv: sealed.iv.clone(),
        aad,
        ..DecryptRequest::default()
    };
    assert_eq!(bench.ask("Decrypt", &open(raw)).await.status, 200);
    for aad in [digits, text] {
        bench.ask("Decrypt", &open(aad)).await.expect_error(400, "InvalidParameter");
    }
}

async fn advance_encrypt(bench: &Bench, aad: &[u8]) -> Vec<u8> {
    let (key_id, plaintext, aad) = (bench.aes.to_string(), TEXT.as_bytes().to_vec(), aad.to_vec());
    let request = AdvanceEncryptRequest { key_id, plaintext, aad, ..AdvanceEncryptRequest::default() };
    bench.ask("AdvanceEncrypt", &request).await.message::<AdvanceEncryptResponse>().ciphertext_blob.split_off(3)
}

/// As the transfer clients do it now.
async fn advance_decrypt(bench: &Bench, blob: &[u8], aad: &[u8]) -> Answer {
    let ciphertext_blob = [b"$\x00\x02", blob].concat();
    let (iv, aad) = (blob[36..48].to_vec(), aad.to_vec());
    let request = AdvanceDecryptRequest { ciphertext_blob, iv, aad, ..AdvanceDecryptRequest::default() };
    bench.ask("AdvanceDecrypt", &request).await
}

/// As Java and Go do it, and Python in its older mode.
async fn decrypt_by_version(bench: &Bench, blob: &[u8], aad: &[u8]) -> Answer {
    let (iv, ciphertext_blob, aad) = (blob[36..48].to_vec(), blob[48..].to_vec(), aad.to_vec());
    let request = DecryptRequest { iv, ciphertext_blob, aad, ..DecryptRequest::default() };
    let version = std::str::from_utf8(&blob[..36]).unwrap();
    let call = bench.call_with("Decrypt", request.encode_to_vec()).set(KEY_VERSION_HEADER, version).sign(&bench.client);
    bench.send(call).await
}

/// What an earlier version made when a client sent a context flattened: it is bound to nothing.
#[tokio::test]
async fn what_was_bound_to_nothing_opens_until_a_date_for_old_versions_and_is_recorded() {
    let until = Duration::from_secs(10_000);
    let mut bench = bench_unbound_until(until).await;
    let start = bench.clock.now();
    let old = encrypt(&bench, &[]).await;
    for form in &FORMS[1..] {
        assert_eq!(field(&decrypt(&bench, form, &old).await, "Plaintext"), TEXT);
    }
    // A JSON text was bound then, too.
    assert_refused(&decrypt(&bench, FORMS[0], &old).await);
    // Bound to another context it opens with none, whatever the date.
    let bound = encrypt(&bench, OTHERS[2]).await;
    assert_refused(&decrypt(&bench, FORMS[1], &bound).await);
    // What is made anew is bound.
    let source =
        [("CiphertextBlob", old.as_str()), ("DestinationKeyId", bench.aes.as_str()), ("SourceEncryptionContext.tenant", "a")];
    let moved = with(&bench, "ReEncrypt", "DestinationEncryptionContext", OTHERS[2], &source).await;
    let moved = field(&moved, "CiphertextBlob");
    assert_eq!(field(&decrypt(&bench, OTHERS[2], &moved).await, "Plaintext"), TEXT);
    assert_refused(&decrypt(&bench, FORMS[1], &moved).await);
    // A version that was made after the upgrade never encrypted otherwise.
    bench.clock.set(start.after(UPGRADE));
    bench.kms.create_key_version(&bench.operator, bench.aes.as_str()).await.unwrap();
    let new = encrypt(&bench, &[]).await;
    assert_refused(&decrypt(&bench, FORMS[1], &new).await);
    assert_eq!(field(&decrypt(&bench, FORMS[1], &old).await, "Plaintext"), TEXT);
    bench.clock.set(start.after(until));
    assert_refused(&decrypt(&bench, FORMS[1], &old).await);

    let records = records(&mut bench).await;
    let said = |record: &serde_json::Value| (record["operation"].as_str().unwrap().to_owned(), record["context"].clone());
    let unbound: Vec<_> = records.iter().map(said).filter(|(_, context)| *context == "unbound").map(|(name, _)| name).collect();
    assert_eq!(unbound, ["Decrypt", "Decrypt", "ReEncrypt", "Decrypt"]);
    assert!(records.iter().filter(|record| record["context"].is_null()).count() == records.len() - unbound.len(), "{records:?}");
}

/// What an earlier version made of an ambiguous context is bound to what other contexts are, too.
#[tokio::test]
async fn what_was_bound_ambiguously_opens_under_the_same_rule() {
    let bench = bench_unbound_until(Duration::from_secs(10_000)).await;
    let ambiguous = [("", r#"{"a":"1&b=2"}"#)];
    let [raw, digits, text] = aads_of_transfer_clients(ambiguous[0].1, "a=1&b=2");
    for aad in [&raw, &digits] {
        let blob = STANDARD.encode(advance_encrypt(&bench, aad).await);
        assert_eq!(field(&decrypt(&bench, &ambiguous, &blob).await, "Plaintext"), TEXT);
        assert_eq!(field(&decrypt(&bench, &[("", r#"{"a":"1","b":"2"}"#)], &blob).await, "Plaintext"), TEXT);
    }
    let of_text = STANDARD.encode(advance_encrypt(&bench, &text).await);
    let old = STANDARD.encode(advance_encrypt(&bench, &raw).await);
    bench.clock.set(bench.clock.now().after(Duration::from_secs(10_000)));
    assert_refused(&decrypt(&bench, &ambiguous, &old).await);
    // The JSON text is unambiguous.
    assert_eq!(field(&decrypt(&bench, &ambiguous, &of_text).await, "Plaintext"), TEXT);
}
