//! The hardware tier: keys in a token behind PKCS #11.
//!
//! Files, from the bottom up: `call` the two C calls of an operation, `module` the loaded library, `token` and `uri` which slot is
//! meant, `slot` login, sessions and where calls run, `calling` a session in the hands of one call, `lane`, `threads` and `random`
//! its parts, `objects` templates, `mechanism` the algorithms, `capability` what the token was found to do, `key` a key in use,
//! `rv` what a failure means.
//!
//! The front page of the library has an example.

mod call;
mod calling;
mod capability;
mod key;
#[allow(dead_code, reason = "used by the slot in the next commit")]
mod lane;
mod mechanism;
mod module;
mod objects;
mod random;
mod rv;
mod slot;
mod threads;
mod token;
mod uri;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::base::{Error, Kind, Pin, Result, SecretBytes};
use crate::model::key::{KeyAttributes, Material};
use crate::tier::{
    Ability, Capabilities, Created, Description, KeyHandle, NewKey, PublicKey, RANDOM_LIMIT, StoredKey, Tier, TierKind, Work,
};

use calling::{Calling, Fault};
use key::TokenKey;
use objects::{Made, Residence, Strictness};
use slot::{Place, Slot};

pub use rv::Level;
pub use token::{PinState, TokenSummary};
pub use uri::TokenUri;

/// Working sessions of a slot, unless it says otherwise.
pub const SESSIONS: usize = 64;
/// Callers that may wait for a session, unless it says otherwise.
pub const QUEUE: usize = 1024;
/// How long a call may take, waiting included: below the 10 s that the clients wait.
pub const DEADLINE: Duration = Duration::from_secs(8);
/// How long making a key may take: RSA-4096 takes seconds.
pub const GENERATION_DEADLINE: Duration = Duration::from_secs(60);

/// How to reach a token.
pub struct Settings {
    /// The module's library; a path, not a name to be searched for.
    pub module: PathBuf,
    /// Which token; exactly one must match.
    pub token: TokenUri,
    /// The PIN of its user.
    pub pin: Pin,
    /// The most sessions that work at once; less when the token allows less.
    pub sessions: usize,
    /// The most callers that wait for a session; one more is refused at once.
    pub queue: usize,
    /// How long a call may take, waiting included.
    pub deadline: Duration,
    /// How long making a key may take.
    pub generation_deadline: Duration,
    /// What happens when the token lacks a hash of RSA-OAEP.
    pub oaep: OaepPolicy,
}

impl Settings {
    /// With the defaults of this module.
    pub fn new(module: impl Into<PathBuf>, token: TokenUri, pin: Pin) -> Self {
        Self {
            module: module.into(),
            token,
            pin,
            sessions: SESSIONS,
            queue: QUEUE,
            deadline: DEADLINE,
            generation_deadline: GENERATION_DEADLINE,
            oaep: OaepPolicy::Assisted,
        }
    }
}

/// What happens when the token lacks a hash of RSA-OAEP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OaepPolicy {
    /// Keys that need it are refused.
    TokenOnly,
    /// Raw RSA in the token, OAEP decoded in the process, in constant time. The plaintext is seen by the process either way.
    Assisted,
}

/// The tokens of a module. Blocks; loads and initialises the module if nobody does yet.
///
/// # Errors
/// The library is not there or is no PKCS #11 module.
pub fn list(module: &Path) -> Result<Vec<TokenSummary>> {
    module::Lease::acquire(module)?.tokens()
}

/// Keys in one token.
pub struct Pkcs11Tier {
    slot: Arc<Slot>,
    description: Description,
    capabilities: Arc<Capabilities>,
    strictness: Strictness,
    deadline: Duration,
    generation_deadline: Duration,
}

impl Pkcs11Tier {
    /// Loads the module, finds the token, logs in once, tests what the token can do, and sweeps it for keys.
    ///
    /// On a runtime of several threads fast calls run on its workers; give it two more than there are cores, so that deadlines
    /// are kept when a module hangs.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] with one line that names the module, the token or the PIN. A wrong PIN is tried once.
    pub async fn connect(settings: Settings) -> Result<Self> {
        let deadline = settings.deadline;
        let generation_deadline = settings.generation_deadline;
        let oaep = settings.oaep;
        let overdue =
            || Error::new(Kind::Unavailable, "The hardware security module did not answer in time when it was connected.");
        let probing = Instant::now() + generation_deadline;
        let connecting = tokio::task::spawn_blocking(move || Slot::connect(&settings));
        let slot = Arc::new(tokio::time::timeout_at(probing, connecting).await.map_err(|_| overdue())?.map_err(Error::internal)??);
        let generation = tokio::time::timeout_at(probing, slot.generation().lock_owned()).await.map_err(|_| overdue())?;
        let probed = slot.run(Place::Thread, probing, move |calling| capability::probe(calling, oaep)).await;
        drop(generation);
        let swept = slot.run(Place::Thread, probing, |calling| {
            for (id, handle) in objects::sweep(calling.session())? {
                calling.slot().remember(id, handle);
            }
            Ok(())
        });
        let probed = match async { swept.await.and(probed) }.await {
            Ok(probed) => probed,
            Err(error) => {
                slot.close(Instant::now() + deadline).await?;
                return Err(error);
            }
        };
        let token = slot.token();
        let description = Description {
            kind: TierKind::Hardware,
            name: format!("{} ({} {}, serial {})", token.label, token.manufacturer, token.model, token.serial),
            capabilities: probed.capabilities.clone(),
            deadline,
        };
        tracing::info!(token = %description.name, sessions = slot.capacity(), "connected to the token");
        Ok(Self {
            capabilities: Arc::new(probed.capabilities),
            strictness: probed.strictness,
            slot,
            description,
            deadline,
            generation_deadline,
        })
    }

    /// What the token said of itself when it was connected.
    pub fn token(&self) -> &TokenSummary {
        self.slot.token()
    }

    /// How many sessions may work at once.
    pub fn sessions(&self) -> usize {
        self.slot.capacity()
    }

    /// Makes the object, checks it, and gives it to the caller or to nobody.
    async fn make<F>(&self, new: NewKey, origin: Ability, make: F) -> Result<Created>
    where
        F: Fn(&Calling<'_>, &NewKey) -> Result<Made, Fault> + Send + 'static,
    {
        self.capabilities.admits(new.spec, new.usage, origin)?;
        let deadline = Instant::now() + self.generation_deadline;
        let generation = tokio::time::timeout_at(deadline, self.slot.generation().lock_owned())
            .await
            .map_err(|_| Error::new(Kind::Throttled, "Other keys are being made; try again."))?;
        let owner = Arc::clone(&self.slot);
        let call = move |calling: &Calling<'_>| {
            let _one_at_a_time = &generation;
            if objects::find_key(calling.session(), &new.id)?.is_some() {
                return Err(Error::new(Kind::ResourceExists, "The token has a key of this id.").into());
            }
            let made = make(calling, &new)?;
            // From here on the object is there: it ends up with the caller or is destroyed.
            let mut unclaimed = Unclaimed { slot: Arc::clone(&owner), id: Some(new.id.clone()) };
            let attributes = objects::read_back(calling.session(), made.handle)?;
            check(attributes, origin)?;
            calling.slot().remember(new.id.clone(), made.handle);
            Ok((made.public_key, attributes, unclaimed.take_over()))
        };
        let (public_key, attributes, mut unclaimed) = self.slot.run(Place::Thread, deadline, call).await?;
        let id = unclaimed.claim();
        Ok(Created {
            material: Material::Resident(id),
            public_key: public_key.map(|key| key.spki().clone()),
            attributes: Some(attributes),
        })
    }
}

/// What is claimed of a key must be what the token says of it.
fn check(attributes: KeyAttributes, origin: Ability) -> Result<()> {
    let KeyAttributes { local, sensitive, always_sensitive, extractable, never_extractable } = attributes;
    let holds = match origin {
        Ability::Generate => local && sensitive && always_sensitive && !extractable && never_extractable,
        Ability::Import | Ability::Encrypt(_) | Ability::Sign(_) => sensitive && !extractable,
    };
    if holds {
        Ok(())
    } else {
        Err(Error::new(Kind::Internal, "The token made a key that it does not protect as it was told to; the key was destroyed.")
            .caused_by(format!("{attributes:?}")))
    }
}

/// A new object that is destroyed unless somebody claims it: its caller may have gone away at any moment.
struct Unclaimed {
    slot: Arc<Slot>,
    id: Option<Vec<u8>>,
}

impl Unclaimed {
    /// The same in another place.
    fn take_over(&mut self) -> Self {
        Self { slot: Arc::clone(&self.slot), id: self.id.take() }
    }

    /// The id, now the caller's.
    fn claim(&mut self) -> Vec<u8> {
        self.id.take().unwrap_or_default()
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            self.slot.forget(&id);
            self.slot.run_behind(move |calling| objects::destroy(calling.session(), &id));
        }
    }
}

impl Tier for Pkcs11Tier {
    fn describe(&self) -> &Description {
        &self.description
    }

    fn create(&self, key: NewKey) -> Work<'_, Created> {
        let strictness = self.strictness;
        Box::pin(self.make(key, Ability::Generate, move |calling, new| {
            objects::generate(calling.session(), new, Residence::Token, strictness)
        }))
    }

    fn import(&self, key: NewKey, material: SecretBytes) -> Work<'_, Created> {
        let strictness = self.strictness;
        Box::pin(self.make(key, Ability::Import, move |calling, new| {
            objects::import(calling.session(), new, &material, Residence::Token, strictness)
        }))
    }

    fn open(&self, key: StoredKey) -> Work<'_, Arc<dyn KeyHandle>> {
        Box::pin(async move {
            let Material::Resident(id) = key.material else {
                return Err(Error::invalid("The key's material is not in a token."));
            };
            let public_key = key.public_key.as_ref().map(|spki| PublicKey::from_spki(key.spec, spki)).transpose()?;
            let wanted = id.clone();
            let deadline = Instant::now() + self.deadline;
            self.slot.run(Place::Thread, deadline, move |calling| calling.with_key(&wanted, |_| Ok(()))).await?;
            Ok(Arc::new(TokenKey {
                slot: Arc::clone(&self.slot),
                capabilities: Arc::clone(&self.capabilities),
                id,
                spec: key.spec,
                usage: key.usage,
                public_key,
                deadline: self.deadline,
            }) as Arc<dyn KeyHandle>)
        })
    }

    fn destroy(&self, material: Material) -> Work<'_, ()> {
        Box::pin(async move {
            let Material::Resident(id) = material else {
                return Err(Error::invalid("The key's material is not in a token."));
            };
            self.slot.forget(&id);
            let deadline = Instant::now() + self.deadline;
            self.slot.run(Place::Thread, deadline, move |calling| objects::destroy(calling.session(), &id)).await
        })
    }

    fn residents(&self) -> Work<'_, Vec<Vec<u8>>> {
        Box::pin(async move {
            let deadline = Instant::now() + self.generation_deadline;
            let call = |calling: &Calling<'_>| Ok(objects::sweep(calling.session())?.into_iter().map(|(id, _)| id).collect());
            self.slot.run(Place::Thread, deadline, call).await
        })
    }

    fn random(&self, length: usize) -> Work<'_, SecretBytes> {
        Box::pin(async move {
            if !(1..=RANDOM_LIMIT).contains(&length) {
                return Err(Error::invalid(format!("Between 1 and {RANDOM_LIMIT} random bytes can be asked for.")));
            }
            let deadline = Instant::now() + self.deadline;
            self.slot.run(Place::Thread, deadline, move |calling| calling.random(length)).await
        })
    }

    fn health(&self) -> Work<'_, ()> {
        Box::pin(async move {
            let deadline = Instant::now() + self.deadline;
            self.slot.run(Place::Thread, deadline, |calling| calling.check_health()).await
        })
    }

    fn close(&self) -> Work<'_, ()> {
        Box::pin(async move { self.slot.close(Instant::now() + self.generation_deadline).await })
    }
}
