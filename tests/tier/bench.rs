//! What every test of the suite stands on: a tier, its facts, keys made with it, skips counted.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use keystead::base::{Error, Kind, Result, SecretBytes, random};
use keystead::model::algorithm::{EncryptionAlgorithm, KeySpec, KeyUsage, PaddingMode};
use keystead::model::key::{Material, SubjectPublicKeyInfo};
use keystead::tier::{
    Ability, Created, Decryption, Encrypted, Encryption, Iv, KeyHandle, NewKey, OaepHash, Share, StoredKey, Tier,
};

/// What the suite has to know of a tier and cannot read from its description.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// What it keeps.
    pub keeping: Keeping,
}

/// Whether key material stays in the tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeping {
    /// It goes out with `Created`; `residents` is empty.
    Nothing,
    /// In the tier: `residents` lists it, and what was destroyed cannot be opened.
    ItsKeys,
}

/// A tier under test.
pub struct Bench {
    pub tier: Arc<dyn Tier>,
    pub facts: Facts,
    skips: Mutex<Vec<String>>,
}

/// A key that was made.
pub struct Made {
    pub spec: KeySpec,
    pub usage: KeyUsage,
    pub id: Vec<u8>,
    pub material: Material,
    pub public_key: Option<SubjectPublicKeyInfo>,
}

/// Runs one test on a tier of its own, closes the tier, prints what was skipped.
pub fn run(name: &str, tier: impl AsyncFnOnce() -> Arc<dyn Tier>, facts: Facts, test: impl AsyncFnOnce(&Bench)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    runtime.block_on(async {
        let bench = Bench { tier: tier().await, facts, skips: Mutex::default() };
        test(&bench).await;
        bench.tier.close().await.expect("a tier closes, also twice");
        let skips = bench.skips.into_inner().unwrap();
        if !skips.is_empty() {
            note(&format!("{name}: {} skipped: {}", skips.len(), skips.join("; ")));
        }
    });
}

/// Prints past the test harness, which keeps the output of tests that pass to itself.
pub fn note(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// Bytes as a secret.
pub fn secret(bytes: &[u8]) -> SecretBytes {
    SecretBytes::new(bytes.to_vec())
}

/// The error of a decryption that fails: one kind, one text.
#[track_caller]
pub fn assert_mute<T>(result: Result<T>) {
    let Err(error) = result else { panic!("decrypted what cannot be decrypted") };
    assert_eq!(error.kind(), Kind::Undecryptable, "{error:?}");
    assert_eq!(error.message(), Error::undecryptable().message());
}

/// The kind that something was refused with.
#[track_caller]
pub fn assert_refused<T>(result: Result<T>, kind: Kind) {
    let Err(error) = result else { panic!("not refused; expected {kind:?}") };
    assert_eq!(error.kind(), kind, "{error:?}");
}

/// A key that is to be made, with an id that no other has.
pub fn new_key(spec: KeySpec, usage: KeyUsage) -> NewKey {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let run = u32::from_be_bytes(random::bytes());
    let key = format!("key-{run:010}{:011}", NEXT.fetch_add(1, Ordering::Relaxed));
    NewKey { id: format!("{key}-0000000000").into_bytes(), label: key, spec, usage }
}

impl Bench {
    /// Whether the tier can; when not, that is noted as a skip.
    pub fn can(&self, spec: KeySpec, ability: Ability) -> bool {
        match self.tier.describe().capabilities.require(spec, ability) {
            Ok(()) => true,
            Err(error) => {
                self.skips.lock().unwrap().push(error.message().to_owned());
                false
            }
        }
    }

    /// Whether the tier makes keys of this spec and usage; when not, that is noted as a skip.
    pub fn makes(&self, spec: KeySpec, usage: KeyUsage) -> bool {
        match self.tier.describe().capabilities.admits(spec, usage, Ability::Generate) {
            Ok(()) => true,
            Err(error) => {
                self.skips.lock().unwrap().push(error.message().to_owned());
                false
            }
        }
    }

    /// Makes a key.
    pub async fn make(&self, spec: KeySpec, usage: KeyUsage) -> Made {
        let key = new_key(spec, usage);
        let id = key.id.clone();
        let created = self.tier.create(key).await.unwrap_or_else(|error| panic!("{spec} for {usage}: {error:?}"));
        made(spec, usage, id, created)
    }

    /// Makes a key out of given material.
    pub async fn import(&self, spec: KeySpec, usage: KeyUsage, material: &[u8]) -> Result<Made> {
        let key = new_key(spec, usage);
        let id = key.id.clone();
        Ok(made(spec, usage, id, self.tier.import(key, secret(material)).await?))
    }

    /// A handle to a key.
    pub async fn open(&self, made: &Made) -> Arc<dyn KeyHandle> {
        self.try_open(made).await.unwrap_or_else(|error| panic!("{}: {error:?}", made.spec))
    }

    /// The same, where it may fail.
    pub async fn try_open(&self, made: &Made) -> Result<Arc<dyn KeyHandle>> {
        self.tier.open(made.stored()).await
    }

    /// Makes a key and opens it.
    pub async fn fresh(&self, spec: KeySpec, usage: KeyUsage) -> Arc<dyn KeyHandle> {
        self.open(&self.make(spec, usage).await).await
    }
}

fn made(spec: KeySpec, usage: KeyUsage, id: Vec<u8>, created: Created) -> Made {
    Made { spec, usage, id, material: created.material, public_key: created.public_key }
}

impl Made {
    /// A copy, as the store would give it.
    pub fn copy_of_material(&self) -> Material {
        self.material.duplicate()
    }

    fn stored(&self) -> StoredKey {
        StoredKey {
            spec: self.spec,
            usage: self.usage,
            material: self.copy_of_material(),
            public_key: self.public_key.clone(),
            witness: None,
        }
    }
}

/// How to encrypt with an algorithm: AAD for GCM, PKCS #7 for the block modes.
pub fn encryption(algorithm: EncryptionAlgorithm) -> Encryption {
    match algorithm {
        EncryptionAlgorithm::AesGcm => Encryption::AesGcm { aad: b"context".to_vec() },
        EncryptionAlgorithm::AesCbc => Encryption::AesCbc { padding: PaddingMode::Pkcs7 },
        EncryptionAlgorithm::AesEcb => Encryption::AesEcb { padding: PaddingMode::Pkcs7 },
        EncryptionAlgorithm::RsaesOaepSha256 => Encryption::RsaesOaep(OaepHash::Sha256),
        EncryptionAlgorithm::RsaesOaepSha1 => Encryption::RsaesOaep(OaepHash::Sha1),
        EncryptionAlgorithm::EciesDhSha1XorHmac => Encryption::Ecies,
    }
}

/// How to decrypt what was encrypted as [`encryption`] says.
pub fn decryption(algorithm: EncryptionAlgorithm, iv: Iv) -> Decryption {
    match (algorithm, iv) {
        (EncryptionAlgorithm::AesGcm, iv) => Decryption::AesGcm { iv: gcm_iv(iv), aad: b"context".to_vec() },
        (EncryptionAlgorithm::AesCbc, iv) => Decryption::AesCbc { iv: cbc_iv(iv), padding: PaddingMode::Pkcs7 },
        (EncryptionAlgorithm::AesEcb, _) => Decryption::AesEcb { padding: PaddingMode::Pkcs7 },
        (EncryptionAlgorithm::RsaesOaepSha256, _) => Decryption::RsaesOaep(OaepHash::Sha256),
        (EncryptionAlgorithm::RsaesOaepSha1, _) => Decryption::RsaesOaep(OaepHash::Sha1),
        (EncryptionAlgorithm::EciesDhSha1XorHmac, _) => Decryption::Ecies,
    }
}

/// The IV of an AES-GCM encryption; zeros for another, so that an algorithm that does not fit can be asked for.
pub fn gcm_iv(iv: Iv) -> [u8; 12] {
    match iv {
        Iv::Gcm(iv) => iv,
        Iv::None | Iv::Cbc(_) => [0; 12],
    }
}

/// The IV of an AES-CBC encryption; zeros for another.
pub fn cbc_iv(iv: Iv) -> [u8; 16] {
    match iv {
        Iv::Cbc(iv) => iv,
        Iv::None | Iv::Gcm(_) => [0; 16],
    }
}

/// Encrypts, with the cipher that the key must have.
pub async fn encrypt(key: &dyn KeyHandle, how: Encryption, plaintext: &[u8]) -> Result<Encrypted> {
    key.cipher().expect("a key that encrypts").encrypt(Share::default(), how, secret(plaintext)).await
}

/// Decrypts, with the cipher that the key must have.
pub async fn decrypt(key: &dyn KeyHandle, how: Decryption, ciphertext: &[u8]) -> Result<SecretBytes> {
    key.cipher().expect("a key that decrypts").decrypt(Share::default(), how, ciphertext.to_vec()).await
}

/// Encrypts and decrypts, and sees that the same comes out.
pub async fn round_trip(key: &dyn KeyHandle, algorithm: EncryptionAlgorithm, plaintext: &[u8]) {
    let encrypted = encrypt(key, encryption(algorithm), plaintext).await.unwrap();
    let decrypted = decrypt(key, decryption(algorithm, encrypted.iv), &encrypted.ciphertext).await.unwrap();
    assert_eq!(decrypted.expose(), plaintext, "{algorithm} of {}, {} bytes", key.spec(), plaintext.len());
}

/// A text of this length.
pub fn text(length: usize) -> Vec<u8> {
    (0..length).map(|position| u8::try_from(position % 251).unwrap()).collect()
}

/// Every variant with one byte changed.
pub fn flips(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..bytes.len()).map(|position| {
        let mut flipped = bytes.to_vec();
        flipped[position] ^= 1 << (position % 8);
        flipped
    })
}

/// Every shorter beginning.
pub fn cuts(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..bytes.len()).map(|length| bytes[..length].to_vec())
}
