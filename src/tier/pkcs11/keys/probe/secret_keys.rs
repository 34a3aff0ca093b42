//! Tests of AES and HMAC.

use cryptoki::object::ObjectHandle;

use super::{Prober, brought_in};
use crate::base::SecretBytes;
use crate::model::algorithm::{EncryptionAlgorithm, KeySpec, KeyUsage, MacAlgorithm};
use crate::tier::pkcs11::answer::fault::Fault;
use crate::tier::pkcs11::keys::bad_input::{forged_gcm, long_blocks, long_gcm, long_mac};
use crate::tier::pkcs11::keys::known_answers::{known_key, test_blocks, test_gcm, test_key, test_mac};
use crate::tier::pkcs11::keys::mechanism::BlockMode;
use crate::tier::pkcs11::keys::template::{self, Residence};
use crate::tier::{Ability, Support};

impl Prober<'_> {
    pub(super) fn aes(&mut self, spec: KeySpec, key_bytes: usize) -> Result<(), Fault> {
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

    pub(super) fn hmac(&mut self, spec: KeySpec, algorithm: MacAlgorithm) -> Result<(), Fault> {
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
}
