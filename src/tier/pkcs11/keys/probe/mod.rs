//! What a token can do: known-answer and round-trip tests of mechanism *and* parameters on session objects, before any key is made.
//!
//! Lists of mechanisms are not believed: SoftHSM lists RSA-OAEP and does it with SHA-1 only, and no list names curves. A test key
//! lives in the session that makes it, so nothing is left on the token. RSA pairs are generated with 2048 bits alone (4096 take
//! seconds); longer ones are taken from C_GetMechanismInfo.
//!
//! A fault ends the tests as a whole: it says nothing of what the token can do. Whoever asked for them asks again later.

mod pairs;
mod secret_keys;
mod unwrapping;

use std::time::{Duration, Instant};

use cryptoki::context::Function;
use cryptoki::error::Error as Failure;
use cryptoki::object::ObjectHandle;

use crate::base::{Error, Kind};
use crate::model::algorithm::{EncryptionAlgorithm, Family, KeySpec, KeyUsage};
use crate::tier::pkcs11::answer::fault::Fault;
use crate::tier::pkcs11::answer::{self, Finding};
use crate::tier::pkcs11::keys::known_answers::test_key;
use crate::tier::pkcs11::keys::learnt::{self, Answer, Learnt};
use crate::tier::pkcs11::keys::specimen::Specimen;
use crate::tier::pkcs11::keys::template::{self, Residence, Strictness};
use crate::tier::pkcs11::library::computes::Computes;
use crate::tier::pkcs11::session::open::OpenSession;
use crate::tier::pkcs11::settings::OaepPolicy;
use crate::tier::{Ability, Capabilities, Capability, PublicKey, Support};

/// What the probes found.
pub(crate) struct Probed {
    pub(crate) learnt: Learnt,
    /// Where the module's time goes.
    pub(crate) computes: Computes,
}

/// How much of its time the calling thread is on a core in most tests of a module that computes there. A machine that is busy
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
