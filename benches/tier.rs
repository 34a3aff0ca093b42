//! The raw module against the hardware tier, in one run: AES-256-GCM of 32 bytes and RSA-2048 signatures, one and 64 in flight.
//!
//! Raw is a loop of the same C calls from threads with a cached handle and a session each. Ours and raw are measured in
//! interleaved pairs, since equal slices of time differ by 5 to 30 % on shared machines; the median ratio counts. Criterion
//! measures the absolute figures besides.

#[path = "../tests/common/softhsm.rs"]
#[allow(dead_code, reason = "a part of it is used")]
mod softhsm;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use criterion::Criterion;
use cryptoki::context::Pkcs11;
use cryptoki::object::{Attribute, ObjectHandle};
use cryptoki::slot::Slot;
use cryptoki_sys::{CK_FUNCTION_LIST, CK_GCM_PARAMS, CK_MECHANISM, CKM_AES_GCM, CKM_RSA_PKCS};
use keystead::base::{Pin, SecretBytes};
use keystead::model::algorithm::{KeySpec, KeyUsage, SignatureAlgorithm};
use keystead::tier::pkcs11::{Pkcs11Tier, Settings};
use keystead::tier::{Encryption, KeyHandle, NewKey, Share, StoredKey, Tier};
use tokio::runtime::Runtime;

/// Interleaved pairs of slices.
const PAIRS: usize = 21;
/// Length of a slice.
const SLICE: Duration = Duration::from_millis(250);

#[derive(Clone, Copy)]
enum Operation {
    Gcm,
    Rsa,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::Gcm => "AES-256-GCM 32 B encrypt",
            Self::Rsa => "RSA-2048 PKCS#1 sign",
        }
    }
}

fn main() {
    let label = softhsm::token();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    // As the service runs: as many workers as cores, and two spare ones that fire deadlines.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(cores + 2).enable_all().build().unwrap();
    let settings = Settings::new(softhsm::module(), softhsm::uri(&label).parse().unwrap(), Pin::new(softhsm::PIN.to_owned()));
    let tier = runtime.block_on(Pkcs11Tier::connect(settings)).unwrap();
    let raw = Raw::of(tier.token().unwrap().slot_id);
    let keys = [
        (Operation::Gcm, key(&runtime, &tier, KeySpec::Aes256, KeyUsage::EncryptDecrypt, b"key-benchbenchbenchbenchb-0000000001")),
        (Operation::Rsa, key(&runtime, &tier, KeySpec::Rsa2048, KeyUsage::SignVerify, b"key-benchbenchbenchbenchb-0000000002")),
    ];
    let only_list = std::env::args().any(|argument| argument == "--list");
    let test = std::env::args().any(|argument| argument == "--test");
    if only_list {
        return;
    }
    let (pairs, slice) = if test { (1, Duration::from_millis(20)) } else { (PAIRS, SLICE) };
    println!("{:<28} {:>9} {:>12} {:>12} {:>8} {:>15}", "operation", "in flight", "raw /s", "tier /s", "ratio", "spread");
    for (operation, (id, handle)) in &keys {
        for in_flight in [1, 64] {
            ratios(&runtime, &raw, *operation, id, handle, in_flight, pairs, slice);
        }
    }
    let mut criterion = Criterion::default().configure_from_args();
    for (operation, (id, handle)) in &keys {
        let operation = *operation;
        let mut group = criterion.benchmark_group(operation.name());
        let mut session = raw.session(id);
        group.bench_function("raw", |bencher| bencher.iter(|| session.run(operation)));
        group.bench_function("tier", |bencher| {
            bencher.iter_custom(|count| {
                runtime.block_on(async {
                    let handle = Arc::clone(handle);
                    let task = tokio::spawn(async move {
                        let begun = Instant::now();
                        for _ in 0..count {
                            operate(operation, handle.as_ref()).await;
                        }
                        begun.elapsed()
                    });
                    task.await.unwrap()
                })
            });
        });
        group.finish();
    }
    criterion.final_summary();
    runtime.block_on(tier.close()).unwrap();
}

#[expect(clippy::too_many_arguments, reason = "one row of the table")]
fn ratios(
    runtime: &Runtime,
    raw: &Raw,
    operation: Operation,
    id: &[u8],
    handle: &Arc<dyn KeyHandle>,
    in_flight: usize,
    pairs: usize,
    slice: Duration,
) {
    let mut rows: Vec<(f64, f64)> = (0..pairs)
        .map(|pair| {
            // Which comes first alternates, so that a drift of the machine favours neither.
            if pair % 2 == 0 {
                let raw = raw.throughput(operation, id, in_flight, slice);
                (raw, tier_throughput(runtime, operation, handle, in_flight, slice))
            } else {
                let ours = tier_throughput(runtime, operation, handle, in_flight, slice);
                (raw.throughput(operation, id, in_flight, slice), ours)
            }
        })
        .collect();
    rows.sort_by(|a, b| (a.1 / a.0).total_cmp(&(b.1 / b.0)));
    let ratio = |at: usize| rows[at].1 / rows[at].0;
    let middle = rows.len() / 2;
    println!(
        "{:<28} {in_flight:>9} {:>12.0} {:>12.0} {:>8.3} {:>7.3}-{:.3}",
        operation.name(),
        rows[middle].0,
        rows[middle].1,
        ratio(middle),
        ratio(rows.len() / 4),
        ratio(rows.len() * 3 / 4),
    );
}

fn key(runtime: &Runtime, tier: &Pkcs11Tier, spec: KeySpec, usage: KeyUsage, id: &[u8]) -> (Vec<u8>, Arc<dyn KeyHandle>) {
    let handle = runtime.block_on(async {
        let created = tier.create(NewKey { id: id.to_vec(), label: "bench".to_owned(), spec, usage }).await.unwrap();
        tier.open(StoredKey { spec, usage, material: created.material, public_key: created.public_key }).await.unwrap()
    });
    (id.to_vec(), handle)
}

async fn operate(operation: Operation, key: &dyn KeyHandle) {
    match operation {
        Operation::Gcm => {
            let plaintext = SecretBytes::new(vec![7; 32]);
            key.cipher().unwrap().encrypt(Share::default(), Encryption::AesGcm { aad: Vec::new() }, plaintext).await.unwrap();
        }
        Operation::Rsa => {
            key.signer().unwrap().sign(Share::default(), SignatureAlgorithm::RsaPkcs1Sha256, [7; 32]).await.unwrap();
        }
    }
}

/// Operations a second of so many tasks that await one operation after the other.
fn tier_throughput(runtime: &Runtime, operation: Operation, handle: &Arc<dyn KeyHandle>, in_flight: usize, slice: Duration) -> f64 {
    runtime.block_on(async {
        let begun = Instant::now();
        let end = begun + slice;
        let tasks: Vec<_> = (0..in_flight)
            .map(|_| {
                let handle = Arc::clone(handle);
                tokio::spawn(async move {
                    let mut done = 0u64;
                    while Instant::now() < end {
                        operate(operation, handle.as_ref()).await;
                        done += 1;
                    }
                    done
                })
            })
            .collect();
        let mut done = 0;
        for task in tasks {
            done += task.await.unwrap();
        }
        done as f64 / begun.elapsed().as_secs_f64()
    })
}

/// The module without us.
struct Raw {
    context: Pkcs11,
    functions: CK_FUNCTION_LIST,
    slot: Slot,
}

impl Raw {
    /// The tier has initialised the module and logged in; both belong to the process.
    #[allow(unsafe_code, reason = "the raw module is C")]
    fn of(slot: u64) -> Self {
        let path = softhsm::module();
        // SAFETY: the library is a PKCS #11 module that is loaded already; C_GetFunctionList gives its static table.
        let functions = unsafe {
            let library = cryptoki_sys::Pkcs11::new(&path).unwrap();
            let mut list = std::ptr::null_mut();
            assert_eq!(library.C_GetFunctionList(&mut list), 0);
            std::mem::forget(library);
            *list
        };
        Self { context: Pkcs11::new(&path).unwrap(), functions, slot: slot.try_into().unwrap() }
    }

    fn session(&self, id: &[u8]) -> RawSession {
        let session = self.context.open_rw_session(self.slot).unwrap();
        let [key] = session.find_objects(&[Attribute::Id(id.to_vec()), Attribute::Private(true)]).unwrap()[..] else {
            panic!("one key")
        };
        RawSession { session, key, functions: self.functions, counter: 0 }
    }

    fn throughput(&self, operation: Operation, id: &[u8], threads: usize, slice: Duration) -> f64 {
        let (done, stop) = (AtomicU64::new(0), AtomicBool::new(false));
        let sessions: Vec<_> = (0..threads).map(|_| self.session(id)).collect();
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for mut session in sessions {
                let (done, stop) = (&done, &stop);
                scope.spawn(move || {
                    let mut count = 0;
                    while !stop.load(Ordering::Relaxed) {
                        session.run(operation);
                        count += 1;
                    }
                    done.fetch_add(count, Ordering::Relaxed);
                });
            }
            std::thread::sleep(slice);
            stop.store(true, Ordering::Relaxed);
        });
        done.into_inner() as f64 / begun.elapsed().as_secs_f64()
    }
}

struct RawSession {
    session: cryptoki::session::Session,
    key: ObjectHandle,
    functions: CK_FUNCTION_LIST,
    counter: u64,
}

impl RawSession {
    #[allow(unsafe_code, reason = "the raw module is C")]
    fn run(&mut self, operation: Operation) {
        self.counter += 1;
        let mut input = [7u8; 51];
        let mut output = [0u8; 256];
        let mut iv = [0u8; 12];
        iv[..8].copy_from_slice(&self.counter.to_be_bytes());
        let mut gcm = CK_GCM_PARAMS {
            pIv: iv.as_mut_ptr(),
            ulIvLen: 12,
            ulIvBits: 96,
            pAAD: std::ptr::null_mut(),
            ulAADLen: 0,
            ulTagBits: 128,
        };
        let (session, key) = (self.session.handle(), self.key.handle());
        // SAFETY: every pointer is to a local of this frame and valid for the length beside it; the module is initialised.
        unsafe {
            match operation {
                Operation::Gcm => {
                    let mut how = CK_MECHANISM {
                        mechanism: CKM_AES_GCM,
                        pParameter: (&raw mut gcm).cast(),
                        ulParameterLen: size_of::<CK_GCM_PARAMS>() as u64,
                    };
                    let mut length = 48;
                    assert_eq!(self.functions.C_EncryptInit.unwrap()(session, &mut how, key), 0);
                    assert_eq!(
                        self.functions.C_Encrypt.unwrap()(session, input.as_mut_ptr(), 32, output.as_mut_ptr(), &mut length),
                        0
                    );
                }
                Operation::Rsa => {
                    let mut how = CK_MECHANISM { mechanism: CKM_RSA_PKCS, pParameter: std::ptr::null_mut(), ulParameterLen: 0 };
                    let mut length = 256;
                    assert_eq!(self.functions.C_SignInit.unwrap()(session, &mut how, key), 0);
                    assert_eq!(
                        self.functions.C_Sign.unwrap()(session, input.as_mut_ptr(), 51, output.as_mut_ptr(), &mut length),
                        0
                    );
                }
            }
        }
        std::hint::black_box(&output);
    }
}
