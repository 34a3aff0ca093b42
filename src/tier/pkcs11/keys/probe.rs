//! What a token can do: known-answer and round-trip tests of mechanism *and* parameters on session objects, before any key is made.
//!
//! Lists of mechanisms are not believed: SoftHSM lists RSA-OAEP and does it with SHA-1 only, and no list names curves. A test key
//! lives in the session that makes it, so nothing is left on the token. RSA pairs are generated with 2048 bits alone (4096 take
//! seconds); longer ones are taken from C_GetMechanismInfo.
//!
//! A fault ends the tests as a whole: it says nothing of what the token can do. Whoever asked for them asks again later.

use std::time::{Duration, Instant};

use cryptoki::context::Function;
use cryptoki::error::Error as Failure;
use cryptoki::mechanism::MechanismType;
use cryptoki::object::ObjectHandle;

use crate::base::{Error, Kind, SecretBytes};
use crate::model::algorithm::{EncryptionAlgorithm, Family, KeySpec, KeyUsage, MacAlgorithm, SignatureAlgorithm};
use crate::tier::pkcs11::OaepPolicy;
use crate::tier::pkcs11::answer::fault::Fault;
use crate::tier::pkcs11::answer::{self, Finding};
use crate::tier::pkcs11::keys::bad_input::{OaepFlaw, flawed_oaep, flawed_wrapping, forged_gcm, long_blocks, long_gcm, long_mac};
use crate::tier::pkcs11::keys::known_answers::{
    known_key, test_blocks, test_ecies, test_gcm, test_key, test_mac, test_oaep, test_signature, test_unwrapping, wrong,
};
use crate::tier::pkcs11::keys::learnt::{self, Answer, Learnt};
use crate::tier::pkcs11::keys::mechanism::{BlockMode, OaepDecoding};
use crate::tier::pkcs11::keys::specimen::{self, Specimen};
use crate::tier::pkcs11::keys::template::{self, Residence, Strictness};
use crate::tier::pkcs11::keys::unwrapping;
use crate::tier::pkcs11::library::computes::Computes;
use crate::tier::pkcs11::session::open::OpenSession;
use crate::tier::{Ability, Capabilities, Capability, OaepHash, PublicKey, Support, modulus_bytes};

/// What the probes found.
pub(crate) struct Probed {
    pub(crate) learnt: Learnt,
    /// Where the module's time goes.
    pub(crate) computes: Computes,
}

/// How much of its time the session thread is on a core in most tests of a module that computes there. A machine that is busy
/// otherwise takes some of it; a device on the bus leaves the thread a tenth at most.
const COMPUTING: f64 = 0.5;

/// How often a fast mechanism is timed; the least counts.
const TIMINGS: usize = 5;

/// Tests everything. Blocks for as long as the token needs to make three RSA-2048 pairs, or six.
///
/// Modules answer CKR_GENERAL_ERROR and its like to what they lack as well as in a fault. After such an answer everything is tested once
/// more: the token lacks what it refuses in the same words again, while the same function works with other parameters.
///
/// # Errors
/// The first fault; or that an answer was given once and not again.
pub(crate) fn probe(session: &OpenSession<'_>, oaep: OaepPolicy) -> Result<Probed, Fault> {
    let first = Prober::run(session, oaep)?;
    if first.unclear.is_empty() {
        return Ok(first.probed());
    }
    let second = Prober::run(session, oaep)?;
    match second.doubt(&first) {
        None => Ok(second.probed()),
        Some(failure) => {
            let text = "The hardware security module failed while what it can do was tested.";
            Err(Error::new(Kind::Throttled, text).caused_by(answer::name(failure)).into())
        }
    }
}

/// One pass of all tests.
struct Prober<'a> {
    session: &'a OpenSession<'a>,
    strictness: Strictness,
    /// Of what is unwrapped.
    unwrapping: Strictness,
    oaep: OaepPolicy,
    lines: Vec<Capability>,
    /// For each timed test, how much of its time the thread was on a core.
    computing: Vec<f64>,
    /// Answers that may be about what was asked for, or faults.
    unclear: Vec<Failure>,
    answers: Vec<Answer>,
    specimens: Vec<Specimen>,
}

/// How long this thread has been on a core.
fn on_a_core() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

impl<'a> Prober<'a> {
    fn run(session: &'a OpenSession<'a>, oaep: OaepPolicy) -> Result<Self, Fault> {
        let mut prober = Self {
            session,
            strictness: Strictness::Basic,
            unwrapping: Strictness::Basic,
            oaep,
            lines: Vec::new(),
            computing: Vec::new(),
            unclear: Vec::new(),
            answers: Vec::new(),
            specimens: Vec::new(),
        };
        prober.strictness()?;
        for spec in KeySpec::ALL {
            match spec.family() {
                Family::Aes { key_bytes } => prober.aes(*spec, key_bytes)?,
                Family::Rsa { modulus_bytes: 256 } => prober.rsa(*spec)?,
                Family::Rsa { .. } => prober.longer_rsa(*spec)?,
                Family::Ec(_) => prober.ec(*spec)?,
                Family::Hmac(algorithm) => prober.hmac(*spec, algorithm)?,
            }
        }
        prober.unwrapping()?;
        prober.specimens()?;
        Ok(prober)
    }

    fn probed(self) -> Probed {
        Probed {
            computes: computes(self.computing),
            learnt: Learnt {
                answers: self.answers,
                specimens: self.specimens,
                capabilities: Capabilities::new(self.lines),
                strictness: self.strictness,
                unwrapping: self.unwrapping,
            },
        }
    }

    /// What still may be a fault after two passes: a function that works with nothing, or an answer that was given once.
    fn doubt<'f>(&'f self, first: &'f Self) -> Option<&'f Failure> {
        let never_works = self.unclear.iter().find(|failure| match failure {
            Failure::Pkcs11(_, function) => !self.works(*function),
            _ => false,
        });
        let supports = |pass: &Self| -> Vec<Support> { pass.lines.iter().map(|line| line.support.clone()).collect() };
        let same = (self.strictness, self.unwrapping) == (first.strictness, first.unwrapping) && supports(self) == supports(first);
        never_works.or_else(|| if same { None } else { self.unclear.last().or(first.unclear.last()) })
    }

    /// Whether a function did what it should in any test.
    fn works(&self, function: Function) -> bool {
        let is_it = |other: &Function| std::mem::discriminant(other) == std::mem::discriminant(&function);
        let works = |line: &Capability| !matches!(line.support, Support::Missing(_));
        let everywhere = [Function::GetMechanismInfo, Function::GetAttributeValue, Function::DestroyObject];
        self.lines
            .iter()
            .filter(|line| works(line))
            .any(|line| everywhere.iter().chain(functions(line.spec, line.ability)).any(is_it))
    }

    /// Why a test failed, if it says what the token lacks.
    ///
    /// # Errors
    /// It says nothing of that: something is broken.
    fn lack(&mut self, fault: Fault) -> Result<String, Fault> {
        match fault {
            Fault::Ours(error) if !matches!(error.kind(), Kind::Throttled | Kind::Unavailable) => {
                Ok(error.message().trim_end_matches('.').to_owned())
            }
            broken @ (Fault::Ours(_) | Fault::Broken(..)) => Err(broken),
            Fault::Module(failure) | Fault::Key(failure) => {
                let reason = format!("the token's {}", answer::name(&failure));
                match answer::finding(&failure, self.session.profile()) {
                    Finding::Lacks => Ok(reason),
                    Finding::Unclear => {
                        self.unclear.push(failure);
                        Ok(reason)
                    }
                    Finding::Fault => Err(failure.into()),
                }
            }
        }
    }

    /// The strictest template that the module takes. A token without AES keys says nothing about templates: the least strict one serves
    /// its key pairs.
    fn strictness(&mut self) -> Result<(), Fault> {
        let binding = self.session.binding();
        for strictness in Strictness::ALL {
            let key = test_key(KeySpec::Aes256, KeyUsage::EncryptDecrypt);
            match template::generate(binding, &key, Residence::Session, strictness) {
                Ok(made) => {
                    binding.destroy_object(made.handle)?;
                    self.strictness = strictness;
                    break;
                }
                Err(fault) => drop(self.lack(fault)?),
            }
        }
        self.unwrapping = self.strictness;
        Ok(())
    }

    /// Runs a test and says how long it took.
    fn clocked(&mut self, test: impl FnOnce() -> Result<Support, Fault>) -> (Result<Support, Fault>, Duration) {
        let (begun, before) = (Instant::now(), on_a_core());
        let tested = test();
        let (computed, took) = (on_a_core().saturating_sub(before), begun.elapsed());
        self.computing.push(computed.as_secs_f64() / took.as_secs_f64().max(f64::MIN_POSITIVE));
        (tested, took)
    }

    fn note(
        &mut self,
        spec: KeySpec,
        ability: Ability,
        tested: Result<Support, Fault>,
        cost: Option<Duration>,
    ) -> Result<(), Fault> {
        let support = match tested {
            Ok(support) => support,
            Err(fault) => Support::Missing(self.lack(fault)?),
        };
        self.lines.push(Capability { spec, ability, support, cost });
        Ok(())
    }

    /// Notes a test of what is fast enough to be repeated and timed.
    fn timed(&mut self, spec: KeySpec, ability: Ability, test: impl Fn() -> Result<Support, Fault>) -> Result<(), Fault> {
        let mut least = None;
        for _ in 0..TIMINGS {
            let (tested, took) = self.clocked(&test);
            if let Err(fault) = tested {
                return self.note(spec, ability, Err(fault), None);
            }
            least = Some(least.map_or(took, |least: Duration| least.min(took)));
        }
        self.note(spec, ability, test(), least)
    }

    fn supports(&self, spec: KeySpec, ability: Ability) -> bool {
        let line = self.lines.iter().find(|line| line.spec == spec && line.ability == ability);
        line.is_some_and(|line| !matches!(line.support, Support::Missing(_)))
    }

    /// Learns what the module answers to input that is no good, if it does so each time, and serves what is good in between.
    fn learn(
        &mut self,
        ability: Ability,
        bad: impl Fn() -> Result<(), Fault>,
        good: impl Fn() -> Result<Support, Fault>,
    ) -> Result<(), Fault> {
        let mut said = None;
        for _ in 0..2 {
            let failure = match bad() {
                // It takes it, or the process sees what is wrong.
                Ok(()) | Err(Fault::Ours(_)) => return Ok(()),
                Err(broken @ Fault::Broken(..)) => return Err(broken),
                Err(Fault::Module(failure) | Fault::Key(failure)) => failure,
            };
            good()?;
            let answer = Answer::of(&failure, ability);
            match said.replace(answer) {
                Some(before) if before != answer => return Err(failure.into()),
                Some(_) | None => {}
            }
        }
        self.answers.extend(said.flatten());
        Ok(())
    }

    /// Which keys of the process's own the token takes and uses.
    fn specimens(&mut self) -> Result<(), Fault> {
        let mut abilities: Vec<_> = self.lines.iter().map(|line| (line.spec, line.ability)).collect();
        abilities.retain(|(spec, ability)| self.supports(*spec, *ability) && self.supports(*spec, Ability::Import));
        let capabilities = Capabilities::new(self.lines.clone());
        for (spec, ability) in abilities {
            let specimen = Specimen::of(ability, |spec| learnt::decoding(&capabilities, spec, ability));
            let Some(specimen) = specimen.filter(|specimen| specimen.spec() == spec) else { continue };
            match specimen.works(self.session, self.strictness) {
                Ok(()) => self.specimens.push(specimen),
                Err(fault) => drop(self.lack(fault)?),
            }
        }
        Ok(())
    }

    /// Makes a session object and notes whether that worked; `None` when not.
    fn generated(&mut self, spec: KeySpec, usage: KeyUsage) -> Result<Option<(ObjectHandle, Option<PublicKey>)>, Fault> {
        match template::generate(self.session.binding(), &test_key(spec, usage), Residence::Session, self.strictness) {
            Ok(made) => Ok(Some((made.handle, made.public_key))),
            Err(fault) => {
                let why = self.lack(fault)?;
                for ability in crate::tier::abilities(spec).filter(|ability| *ability != Ability::Import) {
                    if !self.lines.iter().any(|line| line.spec == spec && line.ability == ability) {
                        self.note(spec, ability, Ok(Support::Missing(why.clone())), None)?;
                    }
                }
                Ok(None)
            }
        }
    }

    fn drop_key(&self, key: ObjectHandle) {
        let _ = self.session.binding().destroy_object(key);
    }

    fn aes(&mut self, spec: KeySpec, key_bytes: usize) -> Result<(), Fault> {
        let session = self.session;
        let Some((generated, _)) = self.generated(spec, KeyUsage::EncryptDecrypt)? else { return Ok(()) };
        self.note(spec, Ability::Generate, Ok(Support::Full), None)?;
        let known = known_key(key_bytes);
        let imported = self.imported(spec, KeyUsage::EncryptDecrypt, &known)?;
        let (key, reference) = imported.map_or((generated, None), |imported| (imported, Some(&known)));
        self.timed(spec, Ability::Encrypt(EncryptionAlgorithm::AesGcm), || test_gcm(session, key, reference))?;
        for (algorithm, mode) in [(EncryptionAlgorithm::AesCbc, BlockMode::Cbc), (EncryptionAlgorithm::AesEcb, BlockMode::Ecb)] {
            self.timed(spec, Ability::Encrypt(algorithm), || test_blocks(session, key, mode, reference))?;
            self.learn_of_aes(spec, algorithm, || long_blocks(session, key, mode), || test_blocks(session, key, mode, None))?;
        }
        let good = || test_gcm(session, key, None);
        self.learn_of_aes(spec, EncryptionAlgorithm::AesGcm, || long_gcm(session, key), good)?;
        self.learn_of_aes(spec, EncryptionAlgorithm::AesGcm, || forged_gcm(session, key), good)?;
        self.drop_key(generated);
        if reference.is_some() {
            self.drop_key(key);
        }
        Ok(())
    }

    /// What is learnt of one length of keys holds for the others.
    fn learn_of_aes(
        &mut self,
        spec: KeySpec,
        algorithm: EncryptionAlgorithm,
        bad: impl Fn() -> Result<(), Fault>,
        good: impl Fn() -> Result<Support, Fault>,
    ) -> Result<(), Fault> {
        let ability = Ability::Encrypt(algorithm);
        if spec == KeySpec::Aes256 && self.supports(spec, ability) { self.learn(ability, bad, good) } else { Ok(()) }
    }

    /// A known key where the token takes one, so that answers are compared and not only reversed; notes whether it does.
    fn imported(&mut self, spec: KeySpec, usage: KeyUsage, known: &SecretBytes) -> Result<Option<ObjectHandle>, Fault> {
        let binding = self.session.binding();
        match template::import(binding, &test_key(spec, usage), known, Residence::Session, self.strictness) {
            Ok(made) => {
                self.note(spec, Ability::Import, Ok(brought_in()), None)?;
                Ok(Some(made.handle))
            }
            Err(fault) => {
                self.note(spec, Ability::Import, Err(fault), None)?;
                Ok(None)
            }
        }
    }

    fn hmac(&mut self, spec: KeySpec, algorithm: MacAlgorithm) -> Result<(), Fault> {
        let session = self.session;
        let Some((generated, _)) = self.generated(spec, KeyUsage::GenerateVerifyMac)? else { return Ok(()) };
        self.note(spec, Ability::Generate, Ok(Support::Full), None)?;
        let known = known_key(algorithm.bytes());
        let imported = self.imported(spec, KeyUsage::GenerateVerifyMac, &known)?;
        let reference = imported.map(|key| (key, &known));
        self.timed(spec, Ability::Mac(algorithm), || test_mac(session, generated, algorithm, reference))?;
        if self.supports(spec, Ability::Mac(algorithm)) {
            let good = || test_mac(session, generated, algorithm, None);
            self.learn(Ability::Mac(algorithm), || long_mac(session, generated, algorithm), good)?;
        }
        self.drop_key(generated);
        if let Some(imported) = imported {
            self.drop_key(imported);
        }
        Ok(())
    }

    fn rsa(&mut self, spec: KeySpec) -> Result<(), Fault> {
        let session = self.session;
        let begun = Instant::now();
        let Some((key, public)) = self.generated(spec, KeyUsage::SignVerify)? else { return Ok(()) };
        self.note(spec, Ability::Generate, Ok(Support::Full), Some(begun.elapsed()))?;
        self.import_pair(spec)?;
        for algorithm in spec.signature_algorithms() {
            let (tested, took) = self.clocked(|| test_signature(session, key, spec, *algorithm, public.as_ref()));
            self.note(spec, Ability::Sign(*algorithm), tested, Some(took))?;
        }
        self.drop_key(key);
        let Some((key, public)) = self.generated(spec, KeyUsage::EncryptDecrypt)? else { return Ok(()) };
        for (algorithm, hash) in
            [(EncryptionAlgorithm::RsaesOaepSha256, OaepHash::Sha256), (EncryptionAlgorithm::RsaesOaepSha1, OaepHash::Sha1)]
        {
            self.oaep((key, public.as_ref()), spec, Ability::Encrypt(algorithm), hash)?;
            self.learn_of_oaep((key, public.as_ref()), spec, Ability::Encrypt(algorithm), hash)?;
        }
        self.drop_key(key);
        Ok(())
    }

    /// What the module answers to ciphertexts that were not made by the public half.
    fn learn_of_oaep(
        &mut self,
        (key, public): (ObjectHandle, Option<&PublicKey>),
        spec: KeySpec,
        ability: Ability,
        hash: OaepHash,
    ) -> Result<(), Fault> {
        if !self.supports(spec, ability) {
            return Ok(());
        }
        let session = self.session;
        let decoding = learnt::decoding(&Capabilities::new(self.lines.clone()), spec, ability);
        for flaw in OaepFlaw::ALL {
            let bad = || flawed_oaep(session, key, (spec, hash, decoding), public, flaw);
            self.learn(ability, bad, || test_oaep(session, key, spec, hash, decoding, public))?;
        }
        Ok(())
    }

    /// In the token; or, where it lacks the hash, decoded in the process if the policy says so.
    fn oaep(
        &mut self,
        (key, public): (ObjectHandle, Option<&PublicKey>),
        spec: KeySpec,
        ability: Ability,
        hash: OaepHash,
    ) -> Result<(), Fault> {
        let session = self.session;
        let (in_token, took) = self.clocked(|| test_oaep(session, key, spec, hash, OaepDecoding::Token, public));
        let fault = match in_token {
            Ok(support) => return self.note(spec, ability, Ok(support), Some(took)),
            Err(fault) => fault,
        };
        self.lack(fault)?;
        let (tested, took) = match self.oaep {
            OaepPolicy::TokenOnly => {
                (Err(wrong("does RSA-OAEP with other hashes only, and decoding in the process is not allowed")), took)
            }
            OaepPolicy::Assisted => self.clocked(|| test_oaep(session, key, spec, hash, OaepDecoding::Process, public)),
        };
        self.note(spec, ability, tested, Some(took))
    }

    /// What RSA_2048 can do, if the token generates pairs of that length.
    fn longer_rsa(&mut self, spec: KeySpec) -> Result<(), Fault> {
        let bits = modulus_bytes(spec).map_or(0, |bytes| bytes * 8);
        let generates = match self.session.key_sizes(MechanismType::RSA_PKCS_KEY_PAIR_GEN) {
            Ok((least, most)) => (least..=most).contains(&bits),
            Err(failure) => {
                self.lack(failure.into())?;
                false
            }
        };
        let shorter: Vec<_> = self.lines.iter().filter(|line| line.spec == KeySpec::Rsa2048).cloned().collect();
        for line in shorter {
            let support = if generates || line.ability == Ability::Import {
                line.support
            } else {
                Support::Missing(format!("the token generates no RSA pairs of {bits} bits"))
            };
            self.note(spec, line.ability, Ok(support), None)?;
        }
        Ok(())
    }

    fn ec(&mut self, spec: KeySpec) -> Result<(), Fault> {
        let session = self.session;
        let Some((key, public)) = self.generated(spec, KeyUsage::SignVerify)? else { return Ok(()) };
        self.note(spec, Ability::Generate, Ok(Support::Full), None)?;
        self.import_pair(spec)?;
        self.timed(spec, Ability::Sign(SignatureAlgorithm::EcdsaSha256), || {
            test_signature(session, key, spec, SignatureAlgorithm::EcdsaSha256, public.as_ref())
        })?;
        self.drop_key(key);
        let Some((key, public)) = self.generated(spec, KeyUsage::EncryptDecrypt)? else { return Ok(()) };
        let ability = Ability::Encrypt(EncryptionAlgorithm::EciesDhSha1XorHmac);
        self.note(spec, ability, test_ecies(session, key, spec, public.as_ref()), None)?;
        self.drop_key(key);
        Ok(())
    }

    /// Whether the token unwraps AES keys, and the strictest template that it takes for what it unwraps.
    fn unwrapping(&mut self) -> Result<(), Fault> {
        let session = self.session;
        let pair = unwrapping::pair(b"keystead-probe".to_vec(), "keystead-probe".to_owned());
        let pair = match unwrapping::generate_pair(session, &pair, Residence::Session, self.strictness) {
            Ok(pair) => Some(pair),
            Err(fault) => {
                self.lack(fault)?;
                None
            }
        };
        for spec in KeySpec::ALL {
            let Family::Aes { key_bytes } = spec.family() else { continue };
            for hash in [OaepHash::Sha256, OaepHash::Sha1] {
                let ability = Ability::Unwrap(hash);
                let Some(pair) = &pair else {
                    self.note(*spec, ability, Err(wrong("makes no pair that unwraps")), None)?;
                    continue;
                };
                let known = known_key(key_bytes);
                let test = |strictness| test_unwrapping(session, pair, (*spec, &known), hash, strictness);
                let strict = match test(self.unwrapping) {
                    Ok(support) => {
                        self.note(*spec, ability, Ok(support), None)?;
                        let strictness = self.unwrapping;
                        for flaw in OaepFlaw::ALL.into_iter().filter(|_| *spec == KeySpec::Aes256) {
                            self.learn(ability, || flawed_wrapping(session, pair, hash, strictness, flaw), || test(strictness))?;
                        }
                        continue;
                    }
                    Err(fault) => self.lack(fault)?,
                };
                let support = match test(Strictness::Basic) {
                    Ok(support) => {
                        self.unwrapping = Strictness::Basic;
                        support
                    }
                    Err(fault) => {
                        self.lack(fault)?;
                        Support::Missing(strict)
                    }
                };
                self.note(*spec, ability, Ok(support), None)?;
            }
        }
        if let Some(pair) = pair {
            self.drop_key(pair.handle);
        }
        Ok(())
    }

    fn import_pair(&mut self, spec: KeySpec) -> Result<(), Fault> {
        let tested = specimen::material(spec).map_err(Fault::from).and_then(|material| {
            let made = template::import(
                self.session.binding(),
                &test_key(spec, KeyUsage::SignVerify),
                &material,
                Residence::Session,
                self.strictness,
            )?;
            let algorithm = spec.signature_algorithms()[0];
            let tested = test_signature(self.session, made.handle, spec, algorithm, made.public_key.as_ref());
            self.drop_key(made.handle);
            tested
        });
        self.note(spec, Ability::Import, tested.map(|_| brought_in()), None)
    }
}

/// What most tests say: one alone may have been interrupted.
fn computes(mut computing: Vec<f64>) -> Computes {
    computing.sort_by(f64::total_cmp);
    match computing.get(computing.len() / 2) {
        Some(median) if *median >= COMPUTING => Computes::Here,
        Some(_) | None => Computes::Elsewhere,
    }
}

/// How material gets into the token that no key in it unwraps.
fn brought_in() -> Support {
    Support::Assisted("decoded in the process, brought into the token by C_CreateObject".to_owned())
}

/// The functions that a key of this spec showed to work when it passed the test of an ability.
fn functions(spec: KeySpec, ability: Ability) -> &'static [Function] {
    match ability {
        Ability::Generate if spec.is_symmetric() => &[Function::GenerateKey],
        Ability::Generate => &[Function::GenerateKeyPair],
        Ability::Import => &[Function::CreateObject],
        Ability::Unwrap(_) => &[Function::UnwrapKey],
        Ability::Encrypt(EncryptionAlgorithm::AesGcm | EncryptionAlgorithm::AesCbc | EncryptionAlgorithm::AesEcb) => {
            &[Function::EncryptInit, Function::Encrypt, Function::DecryptInit, Function::Decrypt]
        }
        Ability::Encrypt(EncryptionAlgorithm::RsaesOaepSha256 | EncryptionAlgorithm::RsaesOaepSha1) => {
            &[Function::DecryptInit, Function::Decrypt]
        }
        Ability::Encrypt(EncryptionAlgorithm::EciesDhSha1XorHmac) => &[Function::DeriveKey],
        Ability::Sign(_) | Ability::Mac(_) => &[Function::SignInit, Function::Sign],
    }
}
