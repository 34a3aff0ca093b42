//! Cryptography reads what is in memory: however many requests there are, the database is not asked for them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use keystead::wire::instance_protocol::{
    EncryptRequest, GenerateDataKeyRequest, GenerateRandomRequest, GetPublicKeyRequest, SignRequest,
};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::bench::bench;
use crate::isolated::{isolated, runtime};

/// Rounds of five requests.
const ROUNDS: u64 = 200;
/// Statements a second of what runs beside the requests: looking for changes, noting counts. Some more than there are.
const BESIDE: f64 = 20.0;

static STATEMENTS: AtomicU64 = AtomicU64::new(0);

/// Counts the statements that the driver logs.
struct Counting;

impl<S: tracing::Subscriber> Layer<S> for Counting {
    fn on_event(&self, _: &tracing::Event<'_>, _: Context<'_, S>) {
        STATEMENTS.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn cryptography_makes_no_statement() {
    // The driver's threads are known to the process's subscriber alone.
    isolated("statements::cryptography_makes_no_statement", 1, || {
        tracing_subscriber::registry().with(EnvFilter::new("off,sqlx::query=debug")).with(Counting).init();
        runtime().block_on(async {
            let mut bench = bench().await;
            let made = STATEMENTS.load(Ordering::SeqCst);
            assert!(made > 10, "what was made until now was counted: {made}");
            let (aes, rsa) = (bench.aes.to_string(), bench.rsa_sign.to_string());
            let encrypt = EncryptRequest { key_id: aes.clone(), plaintext: vec![7; 32], ..EncryptRequest::default() };
            let data_key = GenerateDataKeyRequest { key_id: aes, number_of_bytes: 32, ..GenerateDataKeyRequest::default() };
            let sign = SignRequest {
                key_id: rsa.clone(),
                algorithm: "RSA_PKCS1_SHA_256".to_owned(),
                message: vec![7; 32],
                message_type: "RAW".to_owned(),
                ..SignRequest::default()
            };
            let public_key = GetPublicKeyRequest { key_id: rsa };
            let random = GenerateRandomRequest { length: 32 };
            // The first use of a key opens its material.
            let round = async || {
                for answer in [
                    bench.ask("Encrypt", &encrypt).await,
                    bench.ask("GenerateDataKey", &data_key).await,
                    bench.ask("Sign", &sign).await,
                    bench.ask("GetPublicKey", &public_key).await,
                    bench.ask("GenerateRandom", &random).await,
                ] {
                    assert_eq!(answer.status, 200, "{:?}", answer.error());
                }
            };
            round().await;
            let (before, begun) = (STATEMENTS.load(Ordering::SeqCst), Instant::now());
            for _ in 0..ROUNDS {
                round().await;
            }
            let (made, took) = (STATEMENTS.load(Ordering::SeqCst) - before, begun.elapsed());
            println!("{made} statements during {} requests in {took:?}", 5 * ROUNDS);
            let beside = BESIDE * took.max(Duration::from_secs(1)).as_secs_f64();
            assert!((made as f64) < beside, "{made} statements in {took:?}");
            bench.end().await;
        });
    });
}
