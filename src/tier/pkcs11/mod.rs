//! The hardware tier: keys in a token behind PKCS #11.
//!
//! Folders, from the bottom up: `answer` says what a failure means; `queue` who is next and on which thread; `library` is the loaded
//! module; `session` is one session in the hands of one call; `keys` has objects and algorithms; `slot` is one token in use. The files
//! beside them join those: `learning` and `creating`, `key` for a key in use, `process` for the end of the process.
//!
//! The front page of the library has an example.

mod answer;
#[cfg(feature = "bench")]
pub mod bench;
mod creating;
mod key;
mod keys;
mod learning;
mod library;
mod process;
mod queue;
mod session;
mod slot;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::Instant;

use crate::base::{Error, Kind, Pin, Result, SecretBytes};
use crate::model::key::{Arrival, Material};
use crate::tier::{
    Ability, Capabilities, Created, Description, KeyHandle, NewKey, PublicKey, RANDOM_LIMIT, Share, StoredKey, Tier, TierKind,
    Unwrapper, Work, Wrapped,
};

use key::TokenKey;
use keys::identity::{KnownBy, Wanted, Way};
use keys::known_good::Subject;
use keys::template::{self, Residence};
use keys::unwrapping;
use learning::{Known, PAIRS, learn, not_learnt};
use session::find;
use session::open::Calling;
use slot::sessions::Place;
use slot::slot::{Order, Slot};
use slot::status::{Operation, SlotStatus};

pub use answer::Level;
pub use library::token::{PinState, TokenName, TokenSummary};
pub use library::uri::TokenUri;
pub use process::{end_process, list};
pub use queue::reserve::{Relief, Reserve};
pub use slot::health::Why;
pub use slot::notes::{LoginNotes, LoginNotesFile, LoginNotesInMemory, Note, Unclear};
pub use slot::pin::PinSource;
pub use slot::status;

/// Working sessions of a slot, unless it says otherwise.
pub const SESSIONS: usize = 64;
/// Callers that may wait for a session, unless it says otherwise.
pub const QUEUE: usize = 1024;
/// How long a call may take, waiting included: below the 10 s that the clients wait.
pub const DEADLINE: Duration = Duration::from_secs(8);
/// How long making a key may take: RSA-4096 takes seconds.
pub const GENERATION_DEADLINE: Duration = Duration::from_secs(60);
/// Calls that may hang at once before the slot is down, unless it says otherwise: each costs a thread and a session.
pub const WRITTEN_OFF: usize = 16;
/// How long a session may be idle before it is used once: below the 30 s after which a YubiHSM drops it, and the minutes after
/// which a firewall forgets a connection.
pub const KEEPALIVE: Duration = Duration::from_secs(20);
/// How long after a login that got no clear answer another one is tried, unless it says otherwise.
pub const LOGIN_PAUSE: Duration = Duration::from_secs(10);

/// How to reach a token.
#[derive(Clone)]
pub struct Settings {
    /// The module's library; a path, not a name to be searched for.
    pub module: PathBuf,
    /// Which token; exactly one must match.
    pub token: TokenUri,
    /// Where the PIN of its user comes from; asked at every login.
    pub pin: Arc<dyn PinSource>,
    /// What is known of PINs that the token refused, or may have refused: they are not tried again.
    pub login_notes: Arc<dyn LoginNotes>,
    /// How long after a login that got no clear answer another one is tried, in whole seconds.
    pub login_pause: Duration,
    /// Whether the token's word that its PIN is locked, or about to be, keeps it from being logged in to.
    pub pin_flags: FlagsPolicy,
    /// The most sessions that work at once; less when the token allows less.
    pub sessions: usize,
    /// Whether so many work at once in a module that computes on the cores of this machine, too.
    pub oversubscription: Oversubscription,
    /// The most callers that wait for a session; one more is refused at once.
    pub queue: usize,
    /// How long a call may take, waiting included.
    pub deadline: Duration,
    /// How long making a key may take.
    pub generation_deadline: Duration,
    /// The most calls that may hang before the slot is down.
    pub written_off: usize,
    /// How long a session may be idle before it is used once.
    pub keepalive: Duration,
    /// What happens when the token lacks a hash of RSA-OAEP.
    pub oaep: OaepPolicy,
    /// What lets the spare workers of the runtime go when calls hang; `None` when they are not kept back.
    pub relief: Option<Relief>,
}

impl Settings {
    /// With the defaults of this module.
    pub fn new(module: impl Into<PathBuf>, token: TokenUri, pin: Pin) -> Self {
        Self {
            module: module.into(),
            token,
            pin: Arc::new(pin),
            login_notes: Arc::new(LoginNotesInMemory::default()),
            login_pause: LOGIN_PAUSE,
            pin_flags: FlagsPolicy::Obey,
            sessions: SESSIONS,
            oversubscription: Oversubscription::Avoid,
            queue: QUEUE,
            deadline: DEADLINE,
            generation_deadline: GENERATION_DEADLINE,
            written_off: WRITTEN_OFF,
            keepalive: KEEPALIVE,
            oaep: OaepPolicy::Assisted,
            relief: None,
        }
    }
}

/// What happens when a module computes on the cores of this machine, as a token in software does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oversubscription {
    /// No more calls work at once than keep the cores busy. More would not be served sooner, and the operating system, which knows
    /// no [`Share`], would say whose turn it is.
    Avoid,
    /// As many as there are sessions.
    Allow,
}

/// What CKF_USER_PIN_FINAL_TRY and CKF_USER_PIN_LOCKED do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagsPolicy {
    /// Nobody logs in: a wrong PIN would lock the token, and a locked one refuses every PIN.
    Obey,
    /// The operator knows better: some modules set them wrongly.
    Ignore,
}

/// What happens when the token lacks a hash of RSA-OAEP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OaepPolicy {
    /// Keys that need it are refused.
    TokenOnly,
    /// Raw RSA in the token, OAEP decoded in the process, in constant time. The plaintext is seen by the process either way.
    Assisted,
}

/// Keys in one token.
pub struct Pkcs11Tier {
    slot: Arc<Slot>,
    known: Arc<OnceLock<Known>>,
    unknown: Arc<Description>,
}

impl Pkcs11Tier {
    /// Loads the module, finds the token, logs in once, tests what the token can do, and sweeps it for keys.
    ///
    /// A fault during the tests makes them begin anew, for as long as making three keys may take.
    ///
    /// On a runtime of several threads fast calls run on its workers; give it two more than there are cores, so that deadlines
    /// are kept when a module hangs.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] with one line that names the module, the token or the PIN. A wrong PIN is tried once.
    pub async fn connect(settings: Settings) -> Result<Self> {
        let probing = Instant::now() + settings.generation_deadline * PAIRS;
        let tier = Self::begin(settings)?;
        let overdue =
            || Error::new(Kind::Unavailable, "The hardware security module did not answer in time when it was connected.");
        let connected = tokio::time::timeout_at(probing, tier.slot.connected()).await.map_err(|_| overdue()).flatten();
        let learnt = match connected {
            Ok(()) => tier.learn_until(probing).await,
            Err(error) => Err(error),
        };
        if let Err(error) = learnt {
            let _ = tier.slot.close().await;
            return Err(error);
        }
        Ok(tier)
    }

    /// The same for a server that does not give up: what cannot be reached at the first attempt is tried again and again, and
    /// calls are refused until then. That goes for a library that is not there and for several tokens that match, too.
    ///
    /// # Errors
    /// The system gives no thread.
    pub async fn start(settings: Settings) -> Result<Self> {
        let deadline = settings.deadline;
        let tier = Self::begin(settings)?;
        let overdue = |_| Error::new(Kind::Unavailable, "The hardware security module does not answer.");
        let connected = tokio::time::timeout(deadline, tier.slot.connected()).await.map_err(overdue).flatten();
        let learnt = match connected {
            Ok(()) => tokio::time::timeout(PATIENCE, learn(&tier.slot, &tier.known)).await.map_err(overdue).flatten(),
            Err(error) => Err(error),
        };
        match learnt {
            Ok(()) => {}
            Err(error) => {
                tracing::error!(token = %tier.slot.name(), ?error, "the token does not serve yet; it is tried again and again");
                tier.keep_learning();
            }
        }
        Ok(tier)
    }

    fn begin(settings: Settings) -> Result<Self> {
        let unknown = Arc::new(Description {
            kind: TierKind::Hardware,
            name: settings.token.to_string(),
            capabilities: Capabilities::unknown(),
            deadline: settings.deadline,
        });
        let slot = Slot::new(settings);
        slot::supervisor::watch(&slot).map_err(Error::internal)?;
        Ok(Self { slot, known: Arc::default(), unknown })
    }

    /// What the token said of itself when it was found last; nothing before that.
    pub fn token(&self) -> Option<Arc<TokenSummary>> {
        self.slot.token()
    }

    /// How many sessions may work at once.
    pub fn sessions(&self) -> usize {
        self.slot.capacity()
    }

    /// All that there is to know of the slot at the moment.
    pub fn status(&self) -> SlotStatus {
        self.slot.status()
    }

    fn known(&self) -> Result<&Known> {
        self.known.get().ok_or_else(|| if self.slot.token().is_some() { not_learnt() } else { not_reached() })
    }

    fn order(&self, operation: Operation, share: Share, deadline: Duration) -> Order {
        Order { operation, share, place: Place::Thread, deadline: Instant::now() + deadline }
    }

    /// For calls of the service itself.
    fn own(&self, operation: Operation) -> Order {
        self.order(operation, Share::default(), self.slot.settings.deadline)
    }
}

/// How long a service waits at its start for the tests of what the token can do, which make key pairs.
const PATIENCE: Duration = Duration::from_secs(20);
fn not_reached() -> Error {
    Error::new(Kind::Unavailable, "The hardware security module was not reached yet.")
}

impl Tier for Pkcs11Tier {
    fn describe(&self) -> Arc<Description> {
        self.known.get().map_or_else(|| Arc::clone(&self.unknown), |known| Arc::clone(&known.description))
    }

    fn create(&self, key: NewKey) -> Work<'_, Created> {
        Box::pin(async move {
            self.known()?.capabilities.admits(key.spec, key.usage, Ability::Generate)?;
            self.make(key, Arrival::Generated, |calling, new, known| {
                template::generate(calling.session(), new, Residence::Token, known.strictness)
            })
            .await
        })
    }

    fn import(&self, key: NewKey, material: SecretBytes) -> Work<'_, Created> {
        Box::pin(async move {
            self.known()?.capabilities.admits(key.spec, key.usage, Ability::Import)?;
            self.make(key, Arrival::Created, move |calling, new, known| {
                template::import(calling.session(), new, &material, Residence::Token, known.strictness)
            })
            .await
        })
    }

    fn unwrapper(&self) -> Option<&dyn Unwrapper> {
        Some(self)
    }

    fn open(&self, key: StoredKey) -> Work<'_, Arc<dyn KeyHandle>> {
        Box::pin(async move {
            let Material::Resident(id) = key.material else {
                return Err(Error::invalid("The key's material is not in a token."));
            };
            let public_key = key.public_key.as_ref().map(|spki| PublicKey::from_spki(key.spec, spki)).transpose()?;
            let capabilities = Arc::clone(&self.known()?.capabilities);
            let way = Way::of(key.spec, key.usage, &capabilities);
            let known_by = key.witness.map_or_else(|| KnownBy::FirstSeen(OnceLock::new()), KnownBy::Witness);
            let wanted = Arc::new(Wanted { id, spec: key.spec, usage: key.usage, public_key, way, known_by });
            let opened = Arc::clone(&wanted);
            self.slot.run(self.own(Operation::Find), move |calling| calling.open(&opened)).await?;
            Ok(Arc::new(TokenKey { slot: Arc::clone(&self.slot), capabilities, wanted }) as Arc<dyn KeyHandle>)
        })
    }

    fn destroy(&self, material: Material) -> Work<'_, ()> {
        Box::pin(async move {
            let Material::Resident(id) = material else {
                return Err(Error::invalid("The key's material is not in a token."));
            };
            self.slot.run(self.own(Operation::Destroy), move |calling| calling.destroy(&id)).await
        })
    }

    fn residents(&self) -> Work<'_, Vec<Vec<u8>>> {
        Box::pin(async move {
            let order = self.order(Operation::Find, Share::default(), self.slot.settings.generation_deadline);
            let call = |calling: &Calling<'_>| {
                let mut swept = find::sweep(calling.session(), None)?.found;
                // Without the login there is nothing to see, and without the storage.
                calling.check_login()?;
                if swept.is_empty() {
                    calling.believe_emptiness()?;
                    // A first key may have come meanwhile.
                    swept = find::sweep(calling.session(), None)?.found;
                }
                let ids: BTreeSet<_> = swept.into_iter().map(|(id, _)| id).collect();
                Ok(ids.into_iter().collect())
            };
            self.slot.run(order, call).await
        })
    }

    fn random(&self, share: Share, length: usize) -> Work<'_, SecretBytes> {
        Box::pin(async move {
            if !(1..=RANDOM_LIMIT).contains(&length) {
                return Err(Error::invalid(format!("Between 1 and {RANDOM_LIMIT} random bytes can be asked for.")));
            }
            let order = self.order(Operation::Random, share, self.slot.settings.deadline);
            self.slot.run(order, move |calling| calling.random(length)).await
        })
    }

    fn health(&self) -> Work<'_, ()> {
        Box::pin(async move { self.slot.run(self.own(Operation::Health), |calling| calling.check_health()).await })
    }

    fn slots(&self) -> Vec<SlotStatus> {
        vec![self.status()]
    }

    fn close(&self) -> Work<'_, ()> {
        Box::pin(async move { self.slot.close().await })
    }
}

impl Unwrapper for Pkcs11Tier {
    fn create_pair(&self, id: Vec<u8>, label: String) -> Work<'_, Created> {
        Box::pin(async move {
            self.known()?;
            self.make(unwrapping::pair(id, label), Arrival::Generated, |calling, new, known| {
                unwrapping::generate_pair(calling, new, Residence::Token, known.strictness)
            })
            .await
        })
    }

    fn unwrap(&self, key: NewKey, wrapped: Wrapped) -> Work<'_, Created> {
        Box::pin(async move {
            let Wrapped { pair: Material::Resident(pair), hash, ciphertext } = wrapped else {
                return Err(Error::invalid("The pair that unwraps is not in a token."));
            };
            self.known()?.capabilities.admits(key.spec, key.usage, Ability::Unwrap(hash))?;
            let subject = Subject { key: Arc::new(unwrapping::wanted(pair)), ability: Ability::Unwrap(hash) };
            self.make(key, Arrival::Unwrapped, move |calling, new, known| {
                let unwrapped = calling.with_key(&subject.key, |pair| {
                    unwrapping::unwrap(calling, new, pair, hash, &ciphertext, Residence::Token, known.unwrapping)
                });
                unwrapped.map_err(|fault| fault.at(&subject))
            })
            .await
        })
    }
}
