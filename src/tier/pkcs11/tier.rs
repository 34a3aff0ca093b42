//! The traits of a tier, on one token.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::Instant;

use crate::base::{Error, Kind, Result, SecretBytes};
use crate::model::key::{Arrival, Material};
use crate::tier::pkcs11::answer::fault::Fault;
use crate::tier::pkcs11::key::TokenKey;
use crate::tier::pkcs11::keys::identity::{KnownBy, Wanted, Way};
use crate::tier::pkcs11::keys::known_good::KeyUse;
use crate::tier::pkcs11::keys::template::{self, Residence};
use crate::tier::pkcs11::keys::unwrapping;
use crate::tier::pkcs11::learning::{Known, PAIRS, keep_learning, learn, learn_until, not_learnt, not_reached};
use crate::tier::pkcs11::library::token::TokenSummary;
use crate::tier::pkcs11::session::find;
use crate::tier::pkcs11::session::open::OpenSession;
use crate::tier::pkcs11::settings::Settings;
use crate::tier::pkcs11::slot::order::{Order, Place};
use crate::tier::pkcs11::slot::slot::Slot;
use crate::tier::pkcs11::slot::status::{Operation, SlotStatus};
use crate::tier::pkcs11::slot::watchdog;
use crate::tier::{
    Ability, Capabilities, Created, Description, KeyHandle, NewKey, PublicKey, RANDOM_LIMIT, Share, StoredKey, Tier, TierKind,
    Unwrapper, Work, Wrapped,
};

/// Keys in one token.
pub struct Pkcs11Tier {
    pub(super) slot: Arc<Slot>,
    pub(super) known: Arc<OnceLock<Known>>,
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
            Ok(()) => learn_until(&tier.slot, &tier.known, probing).await,
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
                keep_learning(&tier.slot, &tier.known);
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
        watchdog::watch(&slot).map_err(Error::internal)?;
        Ok(Self { slot, known: Arc::default(), unknown })
    }

    /// What the token said of itself when it was found last; nothing before that.
    pub fn token(&self) -> Option<Arc<TokenSummary>> {
        self.slot.token()
    }

    /// How many sessions may work at once.
    pub fn sessions(&self) -> usize {
        self.slot.capacity.sessions()
    }

    /// All that there is to know of the slot at the moment.
    pub fn status(&self) -> SlotStatus {
        self.slot.status()
    }

    fn known(&self) -> Result<&Known> {
        self.known.get().ok_or_else(|| if self.slot.token().is_some() { not_learnt() } else { not_reached() })
    }

    pub(super) fn order(&self, operation: Operation, share: Share, deadline: Duration) -> Order {
        Order { operation, share, place: Place::Thread, deadline: Instant::now() + deadline }
    }

    /// For calls of the service itself.
    fn own(&self, operation: Operation) -> Order {
        self.order(operation, Share::default(), self.slot.settings.deadline)
    }
}

/// How long a service waits at its start for the tests of what the token can do, which make key pairs.
const PATIENCE: Duration = Duration::from_secs(20);

impl Tier for Pkcs11Tier {
    fn describe(&self) -> Arc<Description> {
        self.known.get().map_or_else(|| Arc::clone(&self.unknown), |known| Arc::clone(&known.description))
    }

    fn create(&self, key: NewKey) -> Work<'_, Created> {
        Box::pin(async move {
            self.known()?.learnt.capabilities.admits(key.spec, key.usage, Ability::Generate)?;
            self.make(key, Arrival::Generated, None, |session, new, learnt| {
                template::generate(session.binding(), new, Residence::Token, learnt.strictness)
            })
            .await
        })
    }

    fn import(&self, key: NewKey, material: SecretBytes) -> Work<'_, Created> {
        Box::pin(async move {
            self.known()?.learnt.capabilities.admits(key.spec, key.usage, Ability::Import)?;
            self.make(key, Arrival::Created, None, move |session, new, learnt| {
                template::import(session.binding(), new, &material, Residence::Token, learnt.strictness)
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
            let learnt = Arc::clone(&self.known()?.learnt);
            let way = Way::of(key.spec, key.usage, &learnt.capabilities);
            let known_by = key.witness.map_or_else(|| KnownBy::FirstSeen(OnceLock::new()), KnownBy::Witness);
            let wanted = Arc::new(Wanted { id, spec: key.spec, usage: key.usage, public_key, way, known_by });
            let opened = Arc::clone(&wanted);
            self.slot.run(self.own(Operation::Find), move |session: &OpenSession<'_>| session.open(&*opened)).await?;
            Ok(Arc::new(TokenKey { slot: Arc::clone(&self.slot), learnt, wanted }) as Arc<dyn KeyHandle>)
        })
    }

    fn destroy(&self, material: Material) -> Work<'_, ()> {
        Box::pin(async move {
            let Material::Resident(id) = material else {
                return Err(Error::invalid("The key's material is not in a token."));
            };
            self.slot.run(self.own(Operation::Destroy), move |session: &OpenSession<'_>| session.destroy(&id)).await
        })
    }

    fn residents(&self) -> Work<'_, Vec<Vec<u8>>> {
        Box::pin(async move {
            let order = self.order(Operation::Find, Share::default(), self.slot.settings.generation_deadline);
            let call = |session: &OpenSession<'_>| {
                let mut swept = find::sweep(session.binding(), None)?.found;
                // Without the login there is nothing to see, and without the storage.
                session.check_login()?;
                if swept.is_empty() {
                    session.believe_emptiness()?;
                    // A first key may have come meanwhile.
                    swept = find::sweep(session.binding(), None)?.found;
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
            self.slot.run(order, move |session: &OpenSession<'_>| session.random(length)).await
        })
    }

    fn health(&self) -> Work<'_, ()> {
        Box::pin(async move {
            let slot = Arc::clone(&self.slot);
            self.slot.run(self.own(Operation::Health), move |session: &OpenSession<'_>| slot.check_health(session)).await
        })
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
            self.make(unwrapping::pair(id, label), Arrival::Generated, None, |session, new, learnt| {
                unwrapping::generate_pair(session, new, Residence::Token, learnt.strictness)
            })
            .await
        })
    }

    fn unwrap(&self, key: NewKey, wrapped: Wrapped) -> Work<'_, Created> {
        Box::pin(async move {
            let Wrapped { pair: Material::Resident(pair), hash, ciphertext } = wrapped else {
                return Err(Error::invalid("The pair that unwraps is not in a token."));
            };
            self.known()?.learnt.capabilities.admits(key.spec, key.usage, Ability::Unwrap(hash))?;
            let learnt = Arc::clone(&self.known()?.learnt);
            let pair = Arc::new(unwrapping::wanted(pair));
            let subject = KeyUse { key: Arc::clone(&pair), ability: Ability::Unwrap(hash), learnt };
            self.make(key, Arrival::Unwrapped, Some(subject), move |session, new, learnt| {
                let unwrapped = session.with_key(&*pair, |pair| {
                    unwrapping::unwrap(session, new, pair, hash, &ciphertext, Residence::Token, learnt.unwrapping)
                });
                unwrapped.map_err(Fault::of_key)
            })
            .await
        })
    }
}
