//! TLS versions, HTTP/2 and keep-alive, paths and methods, the end of the server.

use keystead::wire::instance_protocol::{EncryptRequest, GenerateDataKeyPairRequest, GenerateRandomRequest};
use tokio::net::TcpStream;

use crate::bench::{Call, answer_of, bench, request};

#[tokio::test]
async fn tls_is_1_2_and_1_3() {
    let bench = bench().await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let stream = bench.tls_of(bench.address, b"http/1.1", &[version]).await.unwrap();
        let (_, connection) = stream.get_ref();
        assert_eq!(connection.protocol_version(), Some(version.version));
        let chain = connection.peer_certificates().unwrap();
        assert_eq!(chain.len(), 2, "the leaf and the issuing CA");
    }
}

#[tokio::test]
async fn http2_carries_many_requests_at_once() {
    let bench = bench().await;
    let sender = bench.http2(bench.address).await;
    let asking = (0..50).map(|_| {
        let mut sender = sender.clone();
        let call = bench.call("GenerateRandom", &GenerateRandomRequest { length: 8 }).sign(&bench.client);
        let request = request(bench.address, "/", call);
        tokio::spawn(async move { answer_of(sender.send_request(request).await.unwrap()).await.status })
    });
    for answer in asking.collect::<Vec<_>>() {
        assert_eq!(answer.await.unwrap(), 200);
    }
}

#[tokio::test]
async fn a_connection_is_kept_alive_and_refusals_do_not_end_it() {
    let bench = bench().await;
    let stream = bench.tls(bench.address, b"http/1.1").await;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    for round in 0..6 {
        let mut call = bench.call("GenerateRandom", &GenerateRandomRequest { length: 8 }).sign(&bench.client);
        if round % 2 == 1 {
            call = call.set("date", "yesterday");
        }
        sender.ready().await.unwrap();
        let answer = answer_of(sender.send_request(request(bench.address, "/", call)).await.unwrap()).await;
        assert_eq!(answer.status, if round % 2 == 1 { 400 } else { 200 });
    }
}

#[tokio::test]
async fn other_methods_and_paths_are_refused_in_the_protocols_own_form() {
    let bench = bench().await;
    let call = || bench.call("GenerateRandom", &GenerateRandomRequest { length: 8 });
    bench.send(Call { method: "PUT", ..call() }).await.expect_error(404, "InvalidParameter");
    bench.send_to(bench.address, "/else", call().sign(&bench.client)).await.expect_error(404, "InvalidParameter");
}

#[tokio::test]
async fn the_end_finishes_what_runs_and_takes_nothing_new() {
    let mut bench = bench().await;
    let slow = GenerateDataKeyPairRequest {
        key_id: bench.aes.to_string(),
        key_pair_spec: "RSA_4096".into(),
        ..GenerateDataKeyPairRequest::default()
    };
    let stream = bench.tls(bench.address, b"http/1.1").await;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let idle = bench.tls_of(bench.address, b"http/1.1", &[&rustls::version::TLS13]).await.unwrap();
    let call = bench.call("GenerateDataKeyPair", &slow).sign(&bench.client);
    let running = tokio::spawn(sender.send_request(request(bench.address, "/", call)));
    // The request has begun when a second pair is refused.
    let encrypt = EncryptRequest { key_id: bench.aes.to_string(), ..EncryptRequest::default() };
    loop {
        let other = GenerateDataKeyPairRequest { key_pair_spec: "EC_P256".into(), ..slow.clone() };
        if bench.ask("GenerateDataKeyPair", &other).await.status == 429 || running.is_finished() {
            break;
        }
        assert_eq!(bench.ask("Encrypt", &encrypt).await.status, 200);
    }
    bench.end().await;
    assert_eq!(answer_of(running.await.unwrap().unwrap()).await.status, 200);
    assert!(TcpStream::connect(bench.address).await.is_err());
    drop(idle);
}
