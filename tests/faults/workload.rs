//! Callers that use a tier in every way, look at every answer, and say what they saw.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use keystead::base::{Error, Kind, SecretBytes};
use keystead::model::algorithm::{KeySpec, KeyUsage, SignatureAlgorithm};
use keystead::model::key::Material;
use keystead::tier::pkcs11::Pkcs11Tier;
use keystead::tier::public_key::{Validity, sha256};
use keystead::tier::{Decryption, Encrypted, Encryption, Iv, KeyHandle, Share, StoredKey, Tier};
use tokio::task::JoinHandle;

use crate::world::{DEADLINE, GENERATION_DEADLINE, key, new_key};

/// What is said of a call that took too long.
pub const LATE: &str = "was answered after";
/// How much later than its deadline an answer may come on a busy machine.
const LATENESS: Duration = Duration::from_millis(400);

/// What all callers share.
pub struct Workload {
    tier: Arc<Pkcs11Tier>,
    aes: Arc<dyn KeyHandle>,
    ec: Arc<dyn KeyHandle>,
    /// The two keys that all callers use.
    shared: [Vec<u8>; 2],
    /// Keys that were acknowledged and not destroyed since.
    keys: Mutex<BTreeMap<Vec<u8>, KeySpec>>,
    served: AtomicU64,
    failed: AtomicU64,
    /// Answers by kind and text.
    failures: Mutex<BTreeMap<String, u64>>,
    /// What must not be.
    wrong: Mutex<Vec<String>>,
    stop: AtomicBool,
}

impl Workload {
    pub async fn new(tier: Arc<Pkcs11Tier>) -> Arc<Self> {
        let (aes_id, aes) = key(&tier, KeySpec::Aes256, KeyUsage::EncryptDecrypt).await;
        let (ec_id, ec) = key(&tier, KeySpec::EcP256, KeyUsage::SignVerify).await;
        let keys = BTreeMap::from([(aes_id.clone(), KeySpec::Aes256), (ec_id.clone(), KeySpec::EcP256)]);
        Arc::new(Self {
            tier,
            aes,
            ec,
            shared: [aes_id, ec_id],
            keys: Mutex::new(keys),
            served: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            failures: Mutex::default(),
            wrong: Mutex::default(),
            stop: AtomicBool::new(false),
        })
    }

    /// Callers at work until they are stopped.
    pub fn start(self: &Arc<Self>, callers: usize) -> Vec<JoinHandle<()>> {
        self.stop.store(false, Ordering::SeqCst);
        (0..callers).map(|caller| tokio::spawn(Arc::clone(self).work(caller))).collect()
    }

    pub async fn stop(&self, callers: Vec<JoinHandle<()>>) {
        self.stop.store(true, Ordering::SeqCst);
        for caller in callers {
            if let Err(error) = caller.await {
                self.wrong(format!("a caller panicked: {error}"));
            }
        }
    }

    pub fn counts(&self) -> (u64, u64) {
        (self.served.load(Ordering::SeqCst), self.failed.load(Ordering::SeqCst))
    }

    pub fn take_failures(&self) -> BTreeMap<String, u64> {
        std::mem::take(&mut self.failures.lock().unwrap())
    }

    pub fn take_wrong(&self) -> Vec<String> {
        std::mem::take(&mut self.wrong.lock().unwrap())
    }

    fn wrong(&self, text: String) {
        self.wrong.lock().unwrap().push(text);
    }

    async fn work(self: Arc<Self>, caller: usize) {
        let mut round = caller;
        while !self.stop.load(Ordering::SeqCst) {
            // A few make keys: that has one lane.
            match (caller % 16, round % 3) {
                (0, 1) => self.one_key(caller).await,
                (0, 2) => self.one_import(caller).await,
                _ => self.operations(caller, round).await,
            }
            round += 1;
            tokio::task::yield_now().await;
        }
    }

    /// Watches one call: its answer's time and kind.
    async fn watch<T>(&self, what: &str, limit: Duration, call: impl Future<Output = Result<T, Error>>) -> Option<T> {
        let begun = Instant::now();
        let answer = call.await;
        let took = begun.elapsed();
        if took > limit + LATENESS {
            self.wrong(format!("{what} {LATE} {took:?}"));
        }
        match answer {
            Ok(value) => {
                self.served.fetch_add(1, Ordering::SeqCst);
                Some(value)
            }
            Err(error) => {
                self.failed.fetch_add(1, Ordering::SeqCst);
                // What the token cannot serve may be said; that the key or the caller's input is at fault may not.
                match error.kind() {
                    Kind::Throttled | Kind::Unavailable | Kind::Internal => {}
                    _ => self.wrong(format!("{what} was answered by {error:?}")),
                }
                *self.failures.lock().unwrap().entry(format!("{what}: {error:?}")).or_default() += 1;
                // A caller that is sent away does not come back in the same microsecond.
                tokio::time::sleep(Duration::from_millis(1)).await;
                None
            }
        }
    }

    async fn operations(&self, caller: usize, round: usize) {
        let text = format!("caller {caller}, round {round}").into_bytes();
        let cipher = self.aes.cipher().unwrap();
        let share = Share::new(caller as u64 % 4);
        let encryption = Encryption::AesGcm { aad: text.clone() };
        if let Some(sealed) =
            self.watch("encrypt", DEADLINE, cipher.encrypt(share, encryption, SecretBytes::new(text.clone()))).await
        {
            self.open_again(share, sealed, &text).await;
        }
        let digest = sha256(&text);
        let algorithm = SignatureAlgorithm::EcdsaSha256;
        if let Some(signature) = self.watch("sign", DEADLINE, self.ec.signer().unwrap().sign(share, algorithm, digest)).await
            && self.ec.public_key().unwrap().verify(algorithm, &digest, &signature).unwrap() != Validity::Valid
        {
            self.wrong("a signature is wrong".to_owned());
        }
    }

    async fn open_again(&self, share: Share, sealed: Encrypted, text: &[u8]) {
        let Iv::Gcm(iv) = sealed.iv else { return self.wrong("no IV".to_owned()) };
        let decryption = Decryption::AesGcm { iv, aad: text.to_vec() };
        if let Some(opened) =
            self.watch("decrypt", DEADLINE, self.aes.cipher().unwrap().decrypt(share, decryption, sealed.ciphertext)).await
            && !opened.constant_time_eq(text)
        {
            self.wrong("a plaintext is wrong".to_owned());
        }
    }

    async fn one_key(&self, caller: usize) {
        let (spec, usage) = if caller.is_multiple_of(32) {
            (KeySpec::Aes128, KeyUsage::EncryptDecrypt)
        } else {
            (KeySpec::EcP256k, KeyUsage::SignVerify)
        };
        let new = new_key(spec, usage);
        let id = new.id.clone();
        let Some(created) = self.watch("create", GENERATION_DEADLINE, self.tier.create(new)).await else { return };
        self.keep(id.clone(), spec);
        let stored = StoredKey { spec, usage, material: created.material, public_key: created.public_key, witness: None };
        self.watch("open", DEADLINE, self.tier.open(stored)).await;
        self.let_go(id).await;
    }

    async fn one_import(&self, caller: usize) {
        let new = new_key(KeySpec::Aes256, KeyUsage::EncryptDecrypt);
        let id = new.id.clone();
        let material = SecretBytes::new(vec![caller as u8; 32]);
        if self.watch("import", GENERATION_DEADLINE, self.tier.import(new, material)).await.is_some() {
            self.keep(id.clone(), KeySpec::Aes256);
            self.let_go(id).await;
        }
    }

    fn keep(&self, id: Vec<u8>, spec: KeySpec) {
        self.keys.lock().unwrap().insert(id, spec);
    }

    /// Destroys a key; if that fails it may be there or not, and is destroyed by whoever cleans up.
    async fn let_go(&self, id: Vec<u8>) {
        if self.watch("destroy", DEADLINE, self.tier.destroy(Material::Resident(id.clone()))).await.is_some() {
            self.keys.lock().unwrap().remove(&id);
        }
    }

    /// Destroys what is left of the callers' keys, but for the two that all use; then the token must hold those and nothing else.
    pub async fn clean_up(&self) -> Result<(), String> {
        let keys: Vec<_> = self.keys.lock().unwrap().keys().cloned().collect();
        let begun = Instant::now();
        for id in keys.into_iter().filter(|id| !self.shared.contains(id)) {
            while let Err(error) = self.tier.destroy(Material::Resident(id.clone())).await {
                if begun.elapsed() > Duration::from_secs(5) {
                    return Err(format!("a key cannot be destroyed: {error:?}"));
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            self.keys.lock().unwrap().remove(&id);
        }
        // What nobody was told of is destroyed behind the scenes.
        loop {
            match self.tier.residents().await {
                Ok(mut held) => {
                    held.sort();
                    let expected: Vec<_> = self.keys.lock().unwrap().keys().cloned().collect();
                    let missing = expected.iter().filter(|id| !held.contains(id)).count();
                    if missing > 0 {
                        return Err(format!("{missing} acknowledged keys are lost"));
                    }
                    if held == expected {
                        return Ok(());
                    }
                    if begun.elapsed() > Duration::from_secs(5) {
                        return Err(format!("{} keys are left over", held.len() - expected.len()));
                    }
                }
                Err(error) if begun.elapsed() > Duration::from_secs(5) => return Err(format!("no list of keys: {error:?}")),
                Err(_) => {}
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
