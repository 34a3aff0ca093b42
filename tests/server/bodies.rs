//! Bodies: too large, cut, random, with unknown fields; ciphertexts with every byte flipped.

use aws_lc_rs::rand;
use keystead::wire::instance_protocol::{
    AdvanceDecryptRequest, AdvanceEncryptRequest, AdvanceEncryptResponse, DecryptRequest, DecryptResponse, EncryptRequest,
    EncryptResponse,
};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::bench::bench;

const LIMIT: usize = 3 * 1024 * 1024;

#[tokio::test]
async fn a_body_of_three_megabytes_is_taken_and_one_byte_more_is_not() {
    let bench = bench().await;
    let request =
        |length| EncryptRequest { key_id: bench.aes.to_string(), plaintext: vec![7; length], ..EncryptRequest::default() };
    let overhead = request(LIMIT - 1000).encoded_len() - (LIMIT - 1000);
    let largest = request(LIMIT - overhead);
    assert_eq!(largest.encoded_len(), LIMIT);
    let answer: EncryptResponse = bench.ask("Encrypt", &largest).await.message();
    assert_eq!(answer.ciphertext_blob.len(), LIMIT - overhead + 16);
    bench.ask("Encrypt", &request(LIMIT - overhead + 1)).await.expect_error(413, "InvalidParameter");
}

#[tokio::test]
async fn what_announces_itself_as_too_large_is_not_waited_for() {
    let bench = bench().await;
    let mut stream = bench.tls_of(bench.address, b"http/1.1", &[&rustls::version::TLS13]).await.unwrap();
    let head = format!("POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n", LIMIT + 1);
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 413");
}

#[tokio::test]
async fn an_endless_body_is_cut_off() {
    let bench = bench().await;
    let stream = bench.tls_of(bench.address, b"http/1.1", &[&rustls::version::TLS13]).await.unwrap();
    let (mut from, mut to) = tokio::io::split(stream);
    to.write_all(b"POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
    let writing = tokio::spawn(async move {
        let mut chunk = format!("{:x}\r\n", 64 * 1024).into_bytes();
        chunk.extend(vec![b'x'; 64 * 1024]);
        chunk.extend(b"\r\n");
        for _ in 0..1000 {
            if to.write_all(&chunk).await.is_err() {
                return;
            }
        }
    });
    let mut status = [0; 12];
    from.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 413");
    writing.abort();
}

#[tokio::test]
async fn what_is_no_message_is_an_invalid_parameter() {
    let bench = bench().await;
    let body =
        EncryptRequest { key_id: bench.aes.to_string(), plaintext: b"hello".to_vec(), ..EncryptRequest::default() }.encode_to_vec();
    let mut bodies: Vec<Vec<u8>> = vec![body[..body.len() - 1].to_vec(), body[1..].to_vec(), vec![0xff; 40]];
    for _ in 0..20 {
        let mut random = vec![0; 64];
        rand::fill(&mut random).unwrap();
        random[0] = 0xff;
        bodies.push(random);
    }
    for body in bodies {
        bench.send(bench.call_with("Encrypt", body).sign(&bench.client)).await.expect_error(400, "InvalidParameter");
    }
    let mut unknown = body;
    unknown.extend([0x3a, 0x01, 0x00]);
    let text = bench.send(bench.call_with("Encrypt", unknown).sign(&bench.client)).await.expect_error(400, "InvalidParameter");
    assert!(text.contains("field 7"), "{text}");
    bench.send(bench.call_with("Encrypt", Vec::new()).sign(&bench.client)).await.expect_error(400, "MissingParameter");
}

#[tokio::test]
async fn a_decryption_that_fails_has_one_answer_whatever_the_cause() {
    let bench = bench().await;
    let key_id = bench.aes.to_string();
    let request =
        EncryptRequest { key_id: key_id.clone(), plaintext: b"hello".to_vec(), aad: b"a".to_vec(), ..EncryptRequest::default() };
    let sealed: EncryptResponse = bench.ask("Encrypt", &request).await.message();
    let good = DecryptRequest {
        key_id,
        ciphertext_blob: sealed.ciphertext_blob.clone(),
        iv: sealed.iv.clone(),
        aad: b"a".to_vec(),
        ..DecryptRequest::default()
    };
    let opened: DecryptResponse = bench.ask("Decrypt", &good).await.message();
    assert_eq!(opened.plaintext, b"hello");
    let mut wrong = Vec::new();
    for at in 0..sealed.ciphertext_blob.len() {
        let mut request = good.clone();
        request.ciphertext_blob[at] ^= 1;
        wrong.push(request);
        wrong.push(DecryptRequest { ciphertext_blob: sealed.ciphertext_blob[..at].to_vec(), ..good.clone() });
    }
    for at in 0..sealed.iv.len() {
        let mut request = good.clone();
        request.iv[at] ^= 1;
        wrong.push(request);
    }
    wrong.push(DecryptRequest { aad: b"b".to_vec(), ..good.clone() });
    wrong.push(DecryptRequest { aad: Vec::new(), ..good.clone() });
    let mut texts = std::collections::HashSet::new();
    for request in wrong {
        texts.insert(bench.ask("Decrypt", &request).await.expect_error(400, "InvalidParameter"));
    }
    // And of an asymmetric key.
    for ciphertext_blob in [vec![0; 256], vec![1; 255], Vec::new()] {
        let request = DecryptRequest { key_id: bench.rsa_encrypt.to_string(), ciphertext_blob, ..DecryptRequest::default() };
        texts.insert(bench.ask("Decrypt", &request).await.expect_error(400, "InvalidParameter"));
    }
    assert_eq!(texts.len(), 1, "{texts:?}");
}

#[tokio::test]
async fn a_self_contained_ciphertext_opens_whole_or_not_at_all() {
    let bench = bench().await;
    let request =
        AdvanceEncryptRequest { key_id: bench.aes.to_string(), plaintext: b"hello".to_vec(), ..AdvanceEncryptRequest::default() };
    let sealed: AdvanceEncryptResponse = bench.ask("AdvanceEncrypt", &request).await.message();
    let open = |blob: Vec<u8>| async {
        bench.ask("AdvanceDecrypt", &AdvanceDecryptRequest { ciphertext_blob: blob, ..AdvanceDecryptRequest::default() }).await
    };
    assert_eq!(open(sealed.ciphertext_blob.clone()).await.status, 200);
    for at in 0..sealed.ciphertext_blob.len() {
        let mut changed = sealed.ciphertext_blob.clone();
        changed[at] ^= 1;
        open(changed).await.expect_error(400, "InvalidParameter");
        open(sealed.ciphertext_blob[..at].to_vec()).await.expect_error(400, "InvalidParameter");
    }
}
