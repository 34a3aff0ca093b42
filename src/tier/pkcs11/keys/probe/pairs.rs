//! Tests of RSA and of elliptic curves.

use std::time::Instant;

use cryptoki::mechanism::MechanismType;
use cryptoki::object::ObjectHandle;

use super::{Prober, brought_in};
use crate::model::algorithm::{EncryptionAlgorithm, KeySpec, KeyUsage, SignatureAlgorithm};
use crate::tier::pkcs11::answer::fault::Fault;
use crate::tier::pkcs11::keys::bad_input::{OaepFlaw, flawed_oaep};
use crate::tier::pkcs11::keys::known_answers::{test_ecies, test_key, test_oaep, test_signature, wrong};
use crate::tier::pkcs11::keys::mechanism::OaepDecoding;
use crate::tier::pkcs11::keys::template::{self, Residence};
use crate::tier::pkcs11::keys::{learnt, specimen};
use crate::tier::pkcs11::settings::OaepPolicy;
use crate::tier::{Ability, Capabilities, OaepHash, PublicKey, Support, modulus_bytes};

impl Prober<'_> {
    pub(super) fn rsa(&mut self, spec: KeySpec) -> Result<(), Fault> {
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
    pub(super) fn longer_rsa(&mut self, spec: KeySpec) -> Result<(), Fault> {
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

    pub(super) fn ec(&mut self, spec: KeySpec) -> Result<(), Fault> {
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
