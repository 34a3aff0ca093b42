//! What a token can do: known-answer and round-trip tests of mechanism *and* parameters on session objects, before any key is made.
//!
//! Lists of mechanisms are not believed: SoftHSM lists RSA-OAEP and does it with SHA-1 only, and no list names curves. A test key
//! lives in the session that makes it, so nothing is left on the token. RSA pairs are generated with 2048 bits alone (4096 take
//! seconds); longer ones are taken from C_GetMechanismInfo.

use std::time::{Duration, Instant};

use cryptoki::mechanism::MechanismType;
use cryptoki::object::ObjectHandle;

use super::call::Mechanism;
use super::calling::{Calling, Fault};
use super::mechanism::{self, BlockMode, OaepDecoding};
use super::objects::{self, Made, Residence, Strictness};
use super::{OaepPolicy, rv, unwrapping};
use crate::base::{Error, Kind, SecretBytes, random};
use crate::model::algorithm::{EncryptionAlgorithm, Family, KeySpec, KeyUsage, MacAlgorithm, PaddingMode, SignatureAlgorithm};
use crate::model::key::Arrival;
use crate::tier::public_key::{Validity, sha256};
use crate::tier::{
    Ability, Capabilities, Capability, Encryption, Iv, NewKey, OaepHash, PublicKey, Support, modulus_bytes, padding,
};

/// What the probes found.
pub(super) struct Probed {
    pub(super) capabilities: Capabilities,
    pub(super) strictness: Strictness,
    /// Of what is unwrapped.
    pub(super) unwrapping: Strictness,
    /// Where the module's time goes.
    pub(super) computes: Computes,
}

/// Where a module computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Computes {
    /// On the cores of this machine, in the thread of the caller: a token in software.
    Here,
    /// Elsewhere: its callers wait.
    Elsewhere,
}

/// How much of its time the calling thread is on a core in most tests of a module that computes there. A machine that is busy
/// otherwise takes some of it; a device on the bus leaves the thread a tenth at most.
const COMPUTING: f64 = 0.5;

/// How often a fast mechanism is timed; the least counts.
const TIMINGS: usize = 5;

const PLAINTEXT: &[u8; 32] = b"known-answer test of a mechanism";

/// Tests everything. Blocks for as long as the token needs to make three RSA-2048 pairs.
///
/// # Errors
/// The token makes no object at all, or stopped answering.
pub(super) fn probe(calling: &Calling<'_>, oaep: OaepPolicy) -> Result<Probed, Fault> {
    let strictness = strictness(calling)?;
    let mut prober = Prober { calling, strictness, oaep, lines: Vec::new(), computing: Vec::new() };
    for spec in KeySpec::ALL {
        match spec.family() {
            Family::Aes { key_bytes } => prober.aes(*spec, key_bytes),
            Family::Rsa { modulus_bytes: 256 } => prober.rsa(*spec),
            Family::Rsa { .. } => prober.longer_rsa(*spec),
            Family::Ec(_) => prober.ec(*spec),
            Family::Hmac(algorithm) => prober.hmac(*spec, algorithm),
        }
    }
    let unwrapping = prober.unwrapping();
    let computes = prober.computes();
    Ok(Probed { capabilities: Capabilities::new(prober.lines), strictness, unwrapping, computes })
}

fn test_key(spec: KeySpec, usage: KeyUsage) -> NewKey {
    NewKey { id: b"keystead-probe".to_vec(), label: "keystead-probe".to_owned(), spec, usage }
}

/// The strictest template that the module takes.
fn strictness(calling: &Calling<'_>) -> Result<Strictness, Fault> {
    let mut refused = None;
    for strictness in Strictness::ALL {
        match objects::generate(
            calling.session(),
            &test_key(KeySpec::Aes256, KeyUsage::EncryptDecrypt),
            Residence::Session,
            strictness,
        ) {
            Ok(made) => {
                calling.session().destroy_object(made.handle)?;
                return Ok(strictness);
            }
            Err(fault) => refused = Some(fault),
        }
    }
    // A token without AES keys says nothing about templates: the least strict one serves its key pairs.
    match refused {
        Some(Fault::Module(failure)) if rv::is_fault(&failure) => Err(failure.into()),
        _ => Ok(Strictness::Basic),
    }
}

struct Prober<'a> {
    calling: &'a Calling<'a>,
    strictness: Strictness,
    oaep: OaepPolicy,
    lines: Vec<Capability>,
    /// For each timed test, how much of its time the thread was on a core.
    computing: Vec<f64>,
}

/// How long this thread has been on a core.
fn on_a_core() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

impl Prober<'_> {
    /// Runs a test and says how long it took.
    fn clocked(&mut self, test: impl FnOnce() -> Result<Support, Fault>) -> (Result<Support, Fault>, Duration) {
        let (begun, before) = (Instant::now(), on_a_core());
        let tested = test();
        let (computed, took) = (on_a_core().saturating_sub(before), begun.elapsed());
        self.computing.push(computed.as_secs_f64() / took.as_secs_f64().max(f64::MIN_POSITIVE));
        (tested, took)
    }

    /// What most tests say: one alone may have been interrupted.
    fn computes(&mut self) -> Computes {
        self.computing.sort_by(f64::total_cmp);
        match self.computing.get(self.computing.len() / 2) {
            Some(median) if *median >= COMPUTING => Computes::Here,
            Some(_) | None => Computes::Elsewhere,
        }
    }

    fn note(&mut self, spec: KeySpec, ability: Ability, tested: Result<Support, Fault>, cost: Option<Duration>) {
        let support = tested.unwrap_or_else(|fault| Support::Missing(reason(fault)));
        self.lines.push(Capability { spec, ability, support, cost });
    }

    /// Notes a test of what is fast enough to be repeated and timed.
    fn timed(&mut self, spec: KeySpec, ability: Ability, test: impl Fn() -> Result<Support, Fault>) {
        let mut least = None;
        for _ in 0..TIMINGS {
            let (tested, took) = self.clocked(&test);
            if let Err(fault) = tested {
                return self.note(spec, ability, Err(fault), None);
            }
            least = Some(least.map_or(took, |least: Duration| least.min(took)));
        }
        self.note(spec, ability, test(), least);
    }

    /// Makes a session object and notes whether that worked; `None` when not.
    fn generated(&mut self, spec: KeySpec, usage: KeyUsage) -> Option<(ObjectHandle, Option<PublicKey>)> {
        match objects::generate(self.calling.session(), &test_key(spec, usage), Residence::Session, self.strictness) {
            Ok(made) => Some((made.handle, made.public_key)),
            Err(fault) => {
                let why = reason(fault);
                for ability in crate::tier::abilities(spec).filter(|ability| *ability != Ability::Import) {
                    if !self.lines.iter().any(|line| line.spec == spec && line.ability == ability) {
                        self.note(spec, ability, Ok(Support::Missing(why.clone())), None);
                    }
                }
                None
            }
        }
    }

    fn drop_key(&self, key: ObjectHandle) {
        let _ = self.calling.session().destroy_object(key);
    }

    fn aes(&mut self, spec: KeySpec, key_bytes: usize) {
        let calling = self.calling;
        let Some((generated, _)) = self.generated(spec, KeyUsage::EncryptDecrypt) else { return };
        self.note(spec, Ability::Generate, Ok(Support::Full), None);
        let known = known_key(key_bytes);
        let imported = self.imported(spec, KeyUsage::EncryptDecrypt, &known);
        let (key, reference) = imported.map_or((generated, None), |imported| (imported, Some(&known)));
        self.timed(spec, Ability::Encrypt(EncryptionAlgorithm::AesGcm), || test_gcm(calling, key, reference));
        for (algorithm, mode) in [(EncryptionAlgorithm::AesCbc, BlockMode::Cbc), (EncryptionAlgorithm::AesEcb, BlockMode::Ecb)] {
            self.timed(spec, Ability::Encrypt(algorithm), || test_blocks(calling, key, mode, reference));
        }
        self.drop_key(generated);
        if reference.is_some() {
            self.drop_key(key);
        }
    }

    /// A known key where the token takes one, so that answers are compared and not only reversed; notes whether it does.
    fn imported(&mut self, spec: KeySpec, usage: KeyUsage, known: &SecretBytes) -> Option<ObjectHandle> {
        let session = self.calling.session();
        match objects::import(session, &test_key(spec, usage), known, Residence::Session, self.strictness) {
            Ok(made) => {
                self.note(spec, Ability::Import, Ok(brought_in()), None);
                Some(made.handle)
            }
            Err(fault) => {
                self.note(spec, Ability::Import, Err(fault), None);
                None
            }
        }
    }

    fn hmac(&mut self, spec: KeySpec, algorithm: MacAlgorithm) {
        let calling = self.calling;
        let Some((generated, _)) = self.generated(spec, KeyUsage::GenerateVerifyMac) else { return };
        self.note(spec, Ability::Generate, Ok(Support::Full), None);
        let known = known_key(algorithm.bytes());
        let imported = self.imported(spec, KeyUsage::GenerateVerifyMac, &known);
        let reference = imported.map(|key| (key, &known));
        self.timed(spec, Ability::Mac(algorithm), || test_mac(calling, generated, algorithm, reference));
        self.drop_key(generated);
        if let Some(imported) = imported {
            self.drop_key(imported);
        }
    }

    fn rsa(&mut self, spec: KeySpec) {
        let calling = self.calling;
        let begun = Instant::now();
        let Some((key, public)) = self.generated(spec, KeyUsage::SignVerify) else { return };
        self.note(spec, Ability::Generate, Ok(Support::Full), Some(begun.elapsed()));
        self.import_pair(spec);
        for algorithm in spec.signature_algorithms() {
            let (tested, took) = self.clocked(|| test_signature(calling, key, spec, *algorithm, public.as_ref()));
            self.note(spec, Ability::Sign(*algorithm), tested, Some(took));
        }
        self.drop_key(key);
        let Some((key, public)) = self.generated(spec, KeyUsage::EncryptDecrypt) else { return };
        for (algorithm, hash) in
            [(EncryptionAlgorithm::RsaesOaepSha256, OaepHash::Sha256), (EncryptionAlgorithm::RsaesOaepSha1, OaepHash::Sha1)]
        {
            let policy = self.oaep;
            let (tested, took) = self.clocked(|| test_oaep(calling, key, spec, hash, policy, public.as_ref()));
            self.note(spec, Ability::Encrypt(algorithm), tested, Some(took));
        }
        self.drop_key(key);
    }

    /// What RSA_2048 can do, if the token generates pairs of that length.
    fn longer_rsa(&mut self, spec: KeySpec) {
        let bits = modulus_bytes(spec).map_or(0, |bytes| bytes * 8);
        let range = self.calling.key_sizes(MechanismType::RSA_PKCS_KEY_PAIR_GEN);
        let generates = range.is_some_and(|(least, most)| (least..=most).contains(&bits));
        let shorter: Vec<_> = self.lines.iter().filter(|line| line.spec == KeySpec::Rsa2048).cloned().collect();
        for line in shorter {
            let support = if generates || line.ability == Ability::Import {
                line.support
            } else {
                Support::Missing(format!("the token generates no RSA pairs of {bits} bits"))
            };
            self.lines.push(Capability { spec, ability: line.ability, support, cost: None });
        }
    }

    fn ec(&mut self, spec: KeySpec) {
        let calling = self.calling;
        let Some((key, public)) = self.generated(spec, KeyUsage::SignVerify) else { return };
        self.note(spec, Ability::Generate, Ok(Support::Full), None);
        self.import_pair(spec);
        self.timed(spec, Ability::Sign(SignatureAlgorithm::EcdsaSha256), || {
            test_signature(calling, key, spec, SignatureAlgorithm::EcdsaSha256, public.as_ref())
        });
        self.drop_key(key);
        let Some((key, public)) = self.generated(spec, KeyUsage::EncryptDecrypt) else { return };
        let ability = Ability::Encrypt(EncryptionAlgorithm::EciesDhSha1XorHmac);
        let tested = test_ecies(calling, key, spec, public.as_ref());
        self.note(spec, ability, tested, None);
        self.drop_key(key);
    }

    /// Whether the token unwraps AES keys, and the strictest template that it takes for what it unwraps.
    fn unwrapping(&mut self) -> Strictness {
        let calling = self.calling;
        let pair = unwrapping::pair(b"keystead-probe".to_vec(), "keystead-probe".to_owned());
        let pair = unwrapping::generate_pair(calling, &pair, Residence::Session, self.strictness);
        let mut unwrapping = self.strictness;
        for spec in KeySpec::ALL {
            let Family::Aes { key_bytes } = spec.family() else { continue };
            for hash in [OaepHash::Sha256, OaepHash::Sha1] {
                let tested = match &pair {
                    Ok(pair) => {
                        let known = known_key(key_bytes);
                        let test = |strictness| test_unwrapping(calling, pair, (*spec, &known), hash, strictness);
                        test(unwrapping).or_else(|fault| match test(Strictness::Basic) {
                            Ok(support) => {
                                unwrapping = Strictness::Basic;
                                Ok(support)
                            }
                            Err(_) => Err(fault),
                        })
                    }
                    Err(_) => Err(wrong("makes no pair that unwraps")),
                };
                self.note(*spec, Ability::Unwrap(hash), tested, None);
            }
        }
        if let Ok(pair) = pair {
            self.drop_key(pair.handle);
        }
        unwrapping
    }

    fn import_pair(&mut self, spec: KeySpec) {
        let tested = new_pair(spec).map_err(Fault::from).and_then(|material| {
            let made = objects::import(
                self.calling.session(),
                &test_key(spec, KeyUsage::SignVerify),
                &material,
                Residence::Session,
                self.strictness,
            )?;
            let algorithm = spec.signature_algorithms()[0];
            let tested = test_signature(self.calling, made.handle, spec, algorithm, made.public_key.as_ref());
            self.drop_key(made.handle);
            tested
        });
        self.note(spec, Ability::Import, tested.map(|_| brought_in()), None);
    }
}

/// A secret key of the process's own, to be imported.
fn known_key(bytes: usize) -> SecretBytes {
    let mut key = SecretBytes::new(vec![0; bytes]);
    random::fill(key.expose_mut());
    key
}

/// How material gets into the token that no key in it unwraps.
fn brought_in() -> Support {
    Support::Assisted("decoded in the process, brought into the token by C_CreateObject".to_owned())
}

/// A pair of the process's own, PKCS #8, to be imported.
fn new_pair(spec: KeySpec) -> Result<SecretBytes, Error> {
    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256K1_SHA256_ASN1_SIGNING, EcdsaKeyPair};

    let pkcs8 = |der: Pkcs8V1Der<'static>| SecretBytes::new(der.as_ref().to_vec());
    let ec = |algorithm| {
        EcdsaKeyPair::generate(algorithm).and_then(|pair| pair.to_pkcs8v1()).map(|der| SecretBytes::new(der.as_ref().to_vec()))
    };
    let rsa =
        |size| aws_lc_rs::rsa::KeyPair::generate(size).and_then(|pair| AsDer::<Pkcs8V1Der<'static>>::as_der(&pair)).map(pkcs8);
    match spec {
        KeySpec::EcP256 => ec(&ECDSA_P256_SHA256_ASN1_SIGNING),
        KeySpec::EcP256k => ec(&ECDSA_P256K1_SHA256_ASN1_SIGNING),
        KeySpec::Rsa2048 => rsa(KeySize::Rsa2048),
        KeySpec::Rsa3072 => rsa(KeySize::Rsa3072),
        KeySpec::Rsa4096 => rsa(KeySize::Rsa4096),
        KeySpec::Aes256
        | KeySpec::Aes192
        | KeySpec::Aes128
        | KeySpec::HmacSha224
        | KeySpec::HmacSha256
        | KeySpec::HmacSha384
        | KeySpec::HmacSha512 => Err(aws_lc_rs::error::Unspecified),
    }
    .map_err(Error::internal)
}

fn reason(fault: Fault) -> String {
    match fault {
        Fault::Module(failure) => format!("the token's {}", rv::name(&failure)),
        Fault::Broken(_, text) => text.to_owned(),
        Fault::Ours(error) => error.message().trim_end_matches('.').to_owned(),
    }
}

fn wrong(what: &str) -> Fault {
    Fault::Ours(Error::unsupported(format!("the token {what}")))
}

fn test_gcm(calling: &Calling<'_>, key: ObjectHandle, reference: Option<&SecretBytes>) -> Result<Support, Fault> {
    let aad = b"aad";
    let plaintext = SecretBytes::new(PLAINTEXT.to_vec());
    let encrypted = mechanism::gcm_encrypt(calling, key, aad, &plaintext)?;
    let Iv::Gcm(iv) = encrypted.iv else { return Err(wrong("gave no IV")) };
    if let Some(key) = reference
        && reference_gcm(key, &iv, aad) != Some(encrypted.ciphertext.clone())
    {
        return Err(wrong("encrypts AES-GCM in a way of its own"));
    }
    let decrypted = mechanism::gcm_decrypt(calling, key, &iv, aad, &encrypted.ciphertext)?;
    if !decrypted.constant_time_eq(PLAINTEXT) {
        return Err(wrong("decrypts AES-GCM to something else"));
    }
    Ok(Support::Full)
}

/// AES-GCM of the test's plaintext in the process.
fn reference_gcm(key: &SecretBytes, iv: &[u8; 12], aad: &[u8]) -> Option<Vec<u8>> {
    use aws_lc_rs::aead::{AES_128_GCM, AES_192_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

    let algorithm = match key.len() {
        16 => &AES_128_GCM,
        24 => &AES_192_GCM,
        _ => &AES_256_GCM,
    };
    let key = LessSafeKey::new(UnboundKey::new(algorithm, key.expose()).ok()?);
    let mut sealed = PLAINTEXT.to_vec();
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(*iv), Aad::from(aad), &mut sealed).ok()?;
    Some(sealed)
}

/// A generated key gives codes, the same for the same message; a known one gives what the process computes.
fn test_mac(
    calling: &Calling<'_>,
    generated: ObjectHandle,
    algorithm: MacAlgorithm,
    reference: Option<(ObjectHandle, &SecretBytes)>,
) -> Result<Support, Fault> {
    let message = SecretBytes::new(PLAINTEXT.to_vec());
    if let Some((key, known)) = reference {
        let code = mechanism::mac(calling, key, algorithm, &message)?;
        return match code.constant_time_eq(reference_mac(algorithm, known).as_ref()) {
            true => Ok(Support::Full),
            false => Err(wrong("computes HMAC in a way of its own")),
        };
    }
    let [one, two] =
        [mechanism::mac(calling, generated, algorithm, &message)?, mechanism::mac(calling, generated, algorithm, &message)?];
    if one.constant_time_eq(two.expose()) { Ok(Support::Full) } else { Err(wrong("gives two codes for one message")) }
}

/// The code of the test's plaintext in the process.
fn reference_mac(algorithm: MacAlgorithm, key: &SecretBytes) -> aws_lc_rs::hmac::Tag {
    use aws_lc_rs::hmac::{HMAC_SHA224, HMAC_SHA256, HMAC_SHA384, HMAC_SHA512, Key, sign};

    let hash = match algorithm {
        MacAlgorithm::HmacSha224 => HMAC_SHA224,
        MacAlgorithm::HmacSha256 => HMAC_SHA256,
        MacAlgorithm::HmacSha384 => HMAC_SHA384,
        MacAlgorithm::HmacSha512 => HMAC_SHA512,
    };
    sign(&Key::new(hash, key.expose()), PLAINTEXT)
}

fn test_blocks(
    calling: &Calling<'_>,
    key: ObjectHandle,
    mode: BlockMode,
    reference: Option<&SecretBytes>,
) -> Result<Support, Fault> {
    let padded = padding::pad(SecretBytes::new(PLAINTEXT.to_vec()), PaddingMode::Pkcs7)?;
    let encrypted = mechanism::blocks_encrypt(calling, key, mode, &padded)?;
    if let Some(key) = reference
        && reference_first_block(key, &encrypted.iv).is_none_or(|block| !encrypted.ciphertext.starts_with(&block))
    {
        return Err(wrong("encrypts blocks in a way of its own"));
    }
    let how = match &encrypted.iv {
        Iv::Cbc(iv) => Mechanism::AesCbc { iv },
        Iv::None | Iv::Gcm(_) => Mechanism::AesEcb,
    };
    let decrypted = mechanism::blocks_decrypt(calling, key, how, &encrypted.ciphertext, PaddingMode::Pkcs7)?;
    if decrypted.constant_time_eq(PLAINTEXT) { Ok(Support::Full) } else { Err(wrong("decrypts blocks to something else")) }
}

/// The first block of the test's plaintext, chained with the IV if there is one, encrypted in the process.
fn reference_first_block(key: &SecretBytes, iv: &Iv) -> Option<Vec<u8>> {
    use aws_lc_rs::cipher::{AES_128, AES_192, AES_256, EncryptingKey, UnboundCipherKey};

    let algorithm = match key.len() {
        16 => &AES_128,
        24 => &AES_192,
        _ => &AES_256,
    };
    let mut block = PLAINTEXT[..16].to_vec();
    block.iter_mut().zip(iv.as_bytes()).for_each(|(byte, iv)| *byte ^= iv);
    EncryptingKey::ecb(UnboundCipherKey::new(algorithm, key.expose()).ok()?).ok()?.encrypt(&mut block).ok()?;
    Some(block)
}

/// A known key that was wrapped in the process encrypts as it does there, and is protected.
fn test_unwrapping(
    calling: &Calling<'_>,
    pair: &Made,
    (spec, known): (KeySpec, &SecretBytes),
    hash: OaepHash,
    strictness: Strictness,
) -> Result<Support, Fault> {
    let public = pair.public_key.as_ref().ok_or_else(|| wrong("shows no public key"))?;
    let wrapped = public.encrypt(Encryption::RsaesOaep(hash), known)?.ciphertext;
    let new = test_key(spec, KeyUsage::EncryptDecrypt);
    let made = unwrapping::unwrap(calling, &new, pair.handle, hash, &wrapped, Residence::Session, strictness);
    let made = made.map_err(|fault| match fault {
        // SoftHSM tells 0: what a caller wrapped might be a key of any length.
        Fault::Ours(error) if error.kind() == Kind::InvalidParameter => wrong("does not tell the length of what it unwrapped"),
        other => other,
    })?;
    let tested = test_blocks(calling, made.handle, BlockMode::Ecb, Some(known)).and_then(|support| {
        let attributes = objects::read_back(calling.session(), made.handle, Arrival::Unwrapped)?;
        super::check(attributes).map_err(|_| wrong("does not protect what it unwraps"))?;
        Ok(support)
    });
    calling.session().destroy_object(made.handle)?;
    tested
}

fn test_signature(
    calling: &Calling<'_>,
    key: ObjectHandle,
    spec: KeySpec,
    algorithm: SignatureAlgorithm,
    public: Option<&PublicKey>,
) -> Result<Support, Fault> {
    let public = public.ok_or_else(|| wrong("shows no public key"))?;
    let digest = sha256(PLAINTEXT);
    let signature = mechanism::sign(calling, key, algorithm, &digest, mechanism::signature_length(spec))?;
    match public.verify(algorithm, &digest, &signature)? {
        Validity::Valid => Ok(Support::Full),
        Validity::Invalid => Err(wrong("makes signatures that do not verify")),
    }
}

fn test_oaep(
    calling: &Calling<'_>,
    key: ObjectHandle,
    spec: KeySpec,
    hash: OaepHash,
    policy: OaepPolicy,
    public: Option<&PublicKey>,
) -> Result<Support, Fault> {
    let public = public.ok_or_else(|| wrong("shows no public key"))?;
    let modulus = modulus_bytes(spec).ok_or_else(|| wrong("has no modulus"))?;
    let encrypted = public.encrypt(Encryption::RsaesOaep(hash), &SecretBytes::new(PLAINTEXT.to_vec()))?;
    let decrypts = |decoding| {
        mechanism::oaep_decrypt(calling, key, modulus, hash, decoding, &encrypted.ciphertext)
            .map(|text| text.constant_time_eq(PLAINTEXT))
    };
    let in_token = decrypts(OaepDecoding::Token);
    match (in_token, policy) {
        (Ok(true), _) => Ok(Support::Full),
        (_, OaepPolicy::TokenOnly) => {
            Err(wrong("does RSA-OAEP with other hashes only, and decoding in the process is not allowed"))
        }
        (_, OaepPolicy::Assisted) => match decrypts(OaepDecoding::Process)? {
            true => Ok(Support::Assisted("raw RSA in the token, OAEP decoded in the process".to_owned())),
            false => Err(wrong("does neither RSA-OAEP with this hash nor raw RSA")),
        },
    }
}

fn test_ecies(calling: &Calling<'_>, key: ObjectHandle, spec: KeySpec, public: Option<&PublicKey>) -> Result<Support, Fault> {
    let public = public.ok_or_else(|| wrong("shows no public key"))?;
    let encrypted = public.encrypt(Encryption::Ecies, &SecretBytes::new(PLAINTEXT.to_vec()))?;
    let decrypted = mechanism::ecies_decrypt(calling, key, spec, &encrypted.ciphertext)?;
    if decrypted.constant_time_eq(PLAINTEXT) {
        Ok(Support::Assisted("key agreement in the token, the rest of ECIES in the process".to_owned()))
    } else {
        Err(wrong("agrees on another secret"))
    }
}
