//! The tiers against what they stand on, in one run: the hardware tier against SoftHSM's bare calls, the software tier against
//! bare aws-lc-rs.
//!
//! Criterion measures single operations besides, for comparison with an earlier run of one's own.

#[allow(dead_code, reason = "a part of it is used")]
mod harness;
#[path = "../tests/common/softhsm.rs"]
#[allow(dead_code, reason = "a part of it is used")]
mod softhsm;

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use criterion::Criterion;
use keystead::base::{Error, Pin, Result};
use keystead::measure::{self, Slice, Times};
use keystead::tier::pkcs11::bench::{Bench, Workload, in_flight_on};
use keystead::tier::pkcs11::{Pkcs11Tier, Reserve, Settings};
use keystead::tier::software::SoftwareTier;
use keystead::tier::{KeyHandle, NewKey, StoredKey, Tier};
use tokio::runtime::Runtime;

use harness::{Asked, Rows, Target};

const WORKLOADS: [Workload; 6] =
    [Workload::AesGcm(32), Workload::AesGcm(4096), Workload::Rsa2048, Workload::Rsa4096, Workload::P256, Workload::Random(32)];

fn target(workload: Workload, at_once: usize) -> Option<Target> {
    match (workload, at_once) {
        (Workload::AesGcm(32), 1) => Some(Target::Over(Duration::from_micros(5))),
        (Workload::AesGcm(32) | Workload::P256, 64) => Some(Target::Ratio(0.85)),
        (Workload::Rsa2048, 64) => Some(Target::Ratio(0.95)),
        _ => None,
    }
}

/// What a row can be asked for by.
fn named(workload: Workload, at_once: usize) -> String {
    format!("{workload} at {at_once}")
}

fn main() {
    let asked = Asked::of_arguments();
    if asked == Asked::List {
        return;
    }
    let runtime = harness::runtime();
    hardware(&runtime, asked);
    software(&runtime, asked);
}

fn hardware(runtime: &Runtime, asked: Asked) {
    let label = softhsm::token();
    let settings = Settings::new(softhsm::module(), softhsm::uri(&label).parse().unwrap(), Pin::new(softhsm::PIN.to_owned()));
    let reserve = Reserve::of(runtime.handle());
    let settings = Settings { relief: Some(reserve.relief()), ..settings };
    let tier = Arc::new(runtime.block_on(Pkcs11Tier::connect(settings)).unwrap());
    let mut bench = Bench::new(Arc::clone(&tier));
    for workload in WORKLOADS {
        runtime.block_on(bench.prepare(workload)).unwrap();
    }
    let mut rows = Rows::new("hardware tier on SoftHSM");
    for workload in &WORKLOADS {
        let wanted = |at_once: &usize| asked.wants(&named(*workload, *at_once), target(*workload, *at_once));
        for at_once in [1, 2, 8, 64, 256].into_iter().filter(wanted) {
            let measured = bench.compare(runtime.handle(), *workload, at_once, asked.effort()).unwrap();
            rows.compared(&workload.to_string(), at_once, measured, target(*workload, at_once));
        }
    }
    if !harness::only_targets() {
        single(runtime, &tier, &bench);
    }
    runtime.block_on(bench.end()).unwrap();
    runtime.block_on(tier.close()).unwrap();
}

/// Criterion's own figures of one operation after the other.
fn single(runtime: &Runtime, tier: &Arc<Pkcs11Tier>, bench: &Bench) {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("hardware tier, one operation");
    for workload in WORKLOADS {
        let key = bench.key(workload);
        let tier = Arc::clone(tier) as Arc<dyn Tier>;
        group.bench_function(workload.to_string(), |bencher| {
            bencher.iter_custom(|count| {
                let (tier, key) = (Arc::clone(&tier), key.clone());
                // In a task, as the service's requests are.
                let task = async move {
                    let begun = Instant::now();
                    for _ in 0..count {
                        workload.through(tier.as_ref(), key.as_deref()).await.unwrap();
                    }
                    begun.elapsed()
                };
                runtime.block_on(runtime.spawn(task)).unwrap()
            });
        });
    }
    group.finish();
    criterion.final_summary();
}

/// Bare aws-lc-rs.
enum Bare {
    Aes(LessSafeKey, usize),
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
}

impl Bare {
    fn of(workload: Workload) -> Option<Self> {
        let random = SystemRandom::new();
        Some(match workload {
            Workload::AesGcm(bytes) => Self::Aes(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).unwrap()), bytes),
            Workload::Rsa2048 => Self::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()),
            Workload::P256 => {
                let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
                Self::Ec(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, key.as_ref()).unwrap())
            }
            Workload::Rsa4096 | Workload::Random(_) => return None,
        })
    }

    fn run(&self, count: u64) {
        let random = SystemRandom::new();
        match self {
            Self::Aes(key, bytes) => {
                let mut nonce = [0; 12];
                nonce[..8].copy_from_slice(&count.to_be_bytes());
                let mut text = vec![7; *bytes];
                key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut text).unwrap();
                std::hint::black_box(text);
            }
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, &[7; 32], &mut signature).unwrap();
                std::hint::black_box(signature);
            }
            Self::Ec(key) => {
                std::hint::black_box(key.sign(&random, &[7; 32]).unwrap());
            }
        }
    }

    fn slice(&self, threads: usize, length: Duration) -> Result<Slice> {
        let begun = Instant::now();
        let mut times = Times::default();
        std::thread::scope(|scope| {
            let work = || {
                let mut count = 0;
                measure::work(begun + length, || {
                    count += 1;
                    self.run(count);
                    Ok::<_, Error>(())
                })
            };
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            for worker in workers {
                times.add(&worker.join().unwrap()?);
            }
            Ok::<_, Error>(())
        })?;
        Ok(Slice { length: begun.elapsed(), times })
    }
}

fn software(runtime: &Runtime, asked: Asked) {
    let tier: Arc<dyn Tier> = Arc::new(SoftwareTier::new());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut rows = Rows::new("software tier on aws-lc-rs");
    for workload in WORKLOADS.into_iter().filter(|workload| asked.wants(&format!("{workload} in software"), None)) {
        let (Some(bare), Some((spec, usage))) = (Bare::of(workload), workload.key()) else { continue };
        let key: Arc<dyn KeyHandle> = runtime.block_on(async {
            let new = NewKey { id: b"key-benchbenchbenchbenchb-0000000001".to_vec(), label: "bench".to_owned(), spec, usage };
            let created = tier.create(new).await.unwrap();
            tier.open(StoredKey { spec, usage, material: created.material, public_key: created.public_key, witness: None })
                .await
                .unwrap()
        });
        for at_once in [1, 64] {
            let effort = asked.effort();
            let measured = measure::compare(
                effort.pairs,
                // More threads than cores only get in each other's way.
                || bare.slice(at_once.min(cores), effort.slice),
                || runtime.block_on(in_flight_on(Arc::clone(&tier), Some(Arc::clone(&key)), workload, at_once, effort.slice)),
            );
            rows.compared(&workload.to_string(), at_once, measured.unwrap(), None);
        }
    }
}
