//! The software tier: keys in memory, made and used by aws-lc, for a store that seals them.
//!
//! Called through [`Tier`] only. It keeps no keys: material goes out with [`Created`] and comes back with
//! [`open`](Tier::open). It knows neither the store nor how material is sealed.

mod decrypting;
mod lives;
mod macs;
mod pairs;
mod signing;
mod symmetric;
mod workers;

use std::sync::Arc;
use std::time::Duration;

use crate::base::{Error, Kind, Result, SecretBytes, random};
use crate::model::algorithm::{Family, KeySpec, KeyUsage};
use crate::model::key::Material;
use crate::tier::{
    Ability, Capabilities, Created, Decryption, Description, Encryption, Iv, KeyHandle, NewKey, PublicKey, RANDOM_LIMIT, Share,
    StoredKey, Tier, TierKind, Unwrapper, Work,
};
use decrypting::DecryptingPair;
use lives::{Guard, Lives};
use macs::HmacKey;
use signing::SigningPair;
use symmetric::AesKey;
use workers::Workers;

/// Below the 10 s after which the clients give up.
const DEADLINE: Duration = Duration::from_secs(8);

/// Keys in memory.
pub struct SoftwareTier {
    description: Arc<Description>,
    workers: Arc<Workers>,
    lives: Lives,
}

impl Default for SoftwareTier {
    fn default() -> Self {
        Self::new()
    }
}

impl SoftwareTier {
    /// A tier whose calls end within 8 s, before the clients give up.
    pub fn new() -> Self {
        Self::with_deadline(DEADLINE)
    }

    /// A tier whose calls end within `deadline`, waiting included.
    pub fn with_deadline(deadline: Duration) -> Self {
        Self {
            description: Arc::new(Description {
                kind: TierKind::Software,
                name: "software".into(),
                capabilities: Capabilities::everything(),
                deadline,
            }),
            workers: Arc::new(Workers::new(deadline)),
            lives: Lives::new(),
        }
    }

    async fn create_now(&self, key: NewKey) -> Result<Created> {
        self.workers.check_open()?;
        self.description.capabilities.admits(key.spec, key.usage, Ability::Generate)?;
        match key.spec.family() {
            Family::Aes { key_bytes } => Ok(created(key.id, random_secret(key_bytes), None)),
            Family::Hmac(algorithm) => Ok(created(key.id, random_secret(algorithm.bytes()), None)),
            Family::Rsa { .. } | Family::Ec(_) => {
                let pair = self.workers.run(move || pairs::generate(key.spec)).await?;
                Ok(created(key.id, pair.material, Some(&pair.public)))
            }
        }
    }

    async fn import_now(&self, key: NewKey, material: SecretBytes) -> Result<Created> {
        self.workers.check_open()?;
        self.description.capabilities.admits(key.spec, key.usage, Ability::Import)?;
        match key.spec.family() {
            Family::Aes { .. } => {
                AesKey::expand(key.spec, &material, self.guard(&key.id, &material))?;
                Ok(created(key.id, material, None))
            }
            Family::Hmac(_) => {
                HmacKey::expand(key.spec, &material, self.guard(&key.id, &material))?;
                Ok(created(key.id, material, None))
            }
            Family::Rsa { .. } | Family::Ec(_) => {
                let pair = self.workers.run(move || pairs::parse(key.spec, &material)).await?;
                Ok(created(key.id, pair.material, Some(&pair.public)))
            }
        }
    }

    async fn open_now(&self, key: StoredKey) -> Result<Arc<dyn KeyHandle>> {
        self.workers.check_open()?;
        let (id, material) = match key.material {
            Material::Held { id, secret } => (id, secret),
            Material::Resident(_) => {
                return Err(Error::new(Kind::KeyNotFound, "The key's material is in a token, not in this software instance."));
            }
        };
        let (spec, guard) = (key.spec, self.guard(&id, &material));
        match (spec.family(), key.usage) {
            (Family::Aes { .. }, KeyUsage::EncryptDecrypt) => Ok(Arc::new(AesKey::expand(spec, &material, guard)?)),
            (Family::Rsa { .. } | Family::Ec(_), KeyUsage::SignVerify) => {
                Ok(Arc::new(self.workers.run(move || SigningPair::expand(spec, &material, guard)).await?))
            }
            (Family::Rsa { .. } | Family::Ec(_), KeyUsage::EncryptDecrypt) => {
                Ok(Arc::new(self.workers.run(move || DecryptingPair::expand(spec, &material, guard)).await?))
            }
            (Family::Hmac(_), KeyUsage::GenerateVerifyMac) => Ok(Arc::new(HmacKey::expand(spec, &material, guard)?)),
            (Family::Aes { .. }, usage @ (KeyUsage::SignVerify | KeyUsage::GenerateVerifyMac))
            | (Family::Hmac(_), usage @ (KeyUsage::EncryptDecrypt | KeyUsage::SignVerify))
            | (Family::Rsa { .. } | Family::Ec(_), usage @ KeyUsage::GenerateVerifyMac) => {
                Err(Error::unsupported(format!("The KeyUsage {usage} does not fit the KeySpec {spec}.")))
            }
        }
    }

    fn guard(&self, id: &[u8], material: &SecretBytes) -> Guard {
        Guard { workers: Arc::clone(&self.workers), life: self.lives.of(id, material) }
    }

    /// An AES key is made, encrypts, decrypts and has to give back what went in.
    fn round_trip(&self) -> Result<()> {
        let raw = random_secret(32);
        let key = AesKey::expand(KeySpec::Aes256, &raw, self.guard(&[], &raw))?;
        let content = random::bytes::<32>();
        let encrypted = key.encrypt_now(&Encryption::AesGcm { aad: Vec::new() }, SecretBytes::new(content.to_vec()))?;
        let Iv::Gcm(iv) = encrypted.iv else { return Err(Error::internal("AES-GCM drew no IV")) };
        let decrypted = key.decrypt_now(&Decryption::AesGcm { iv, aad: Vec::new() }, encrypted.ciphertext)?;
        if decrypted.constant_time_eq(&content) { Ok(()) } else { Err(Error::internal("AES-GCM does not give back what it got")) }
    }
}

/// Drawn in place, so that no copy stays behind.
fn random_secret(length: usize) -> SecretBytes {
    let mut bytes = SecretBytes::new(vec![0; length]);
    random::fill(bytes.expose_mut());
    bytes
}

fn created(id: Vec<u8>, secret: SecretBytes, public: Option<&PublicKey>) -> Created {
    let public_key = public.map(|key| key.spki().clone());
    Created { material: Material::Held { id, secret }, public_key, attributes: None, check_value: None }
}

impl Tier for SoftwareTier {
    fn describe(&self) -> Arc<Description> {
        Arc::clone(&self.description)
    }

    fn create(&self, key: NewKey) -> Work<'_, Created> {
        Box::pin(self.create_now(key))
    }

    fn import(&self, key: NewKey, material: SecretBytes) -> Work<'_, Created> {
        Box::pin(self.import_now(key, material))
    }

    fn unwrapper(&self) -> Option<&dyn Unwrapper> {
        None
    }

    fn open(&self, key: StoredKey) -> Work<'_, Arc<dyn KeyHandle>> {
        Box::pin(self.open_now(key))
    }

    fn destroy(&self, material: Material) -> Work<'_, ()> {
        Box::pin(async move {
            self.workers.check_open()?;
            match material {
                Material::Held { id, secret } => self.lives.end(&id, &secret),
                // Not ours, so it is gone as far as this tier can tell.
                Material::Resident(_) => {}
            }
            Ok(())
        })
    }

    fn residents(&self) -> Work<'_, Vec<Vec<u8>>> {
        Box::pin(async { self.workers.check_open().map(|()| Vec::new()) })
    }

    fn random(&self, _: Share, length: usize) -> Work<'_, SecretBytes> {
        Box::pin(async move {
            self.workers.check_open()?;
            if !(1..=RANDOM_LIMIT).contains(&length) {
                return Err(Error::invalid(format!("The length {length} is not between 1 and {RANDOM_LIMIT}.")));
            }
            Ok(random_secret(length))
        })
    }

    fn health(&self) -> Work<'_, ()> {
        Box::pin(async { self.round_trip() })
    }

    #[cfg(feature = "pkcs11")]
    fn slots(&self) -> Vec<crate::tier::status::SlotStatus> {
        Vec::new()
    }

    fn close(&self) -> Work<'_, ()> {
        Box::pin(async {
            self.workers.close().await;
            Ok(())
        })
    }
}
