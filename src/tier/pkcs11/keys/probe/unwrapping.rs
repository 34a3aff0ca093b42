//! Tests of C_UnwrapKey.

use super::Prober;
use crate::model::algorithm::{Family, KeySpec};
use crate::tier::pkcs11::answer::fault::Fault;
use crate::tier::pkcs11::keys::bad_input::{OaepFlaw, flawed_wrapping};
use crate::tier::pkcs11::keys::known_answers::{known_key, test_unwrapping, wrong};
use crate::tier::pkcs11::keys::template::{Residence, Strictness};
use crate::tier::pkcs11::keys::unwrapping;
use crate::tier::{Ability, OaepHash, Support};

impl Prober<'_> {
    /// Whether the token unwraps AES keys, and the strictest template that it takes for what it unwraps.
    pub(super) fn unwrapping(&mut self) -> Result<(), Fault> {
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
}
