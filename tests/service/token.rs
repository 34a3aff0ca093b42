//! Imported material in a token that goes away, and a store that does, in the middle: nothing is used twice, lost or forgotten.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use keystead::base::{Error, FixedClock, Kind, Pin, SecretBytes};
use keystead::model::instance::InstanceKind;
use keystead::model::key::{KeyState, Material};
use keystead::service::{Kms, Parts, ServedInstance};
use keystead::store::Store;
use keystead::tier::pkcs11::{Pkcs11Tier, Settings};
use keystead::tier::software::SoftwareTier;
use keystead::tier::status::SlotStatus;
use keystead::tier::{Created, Description, KeyHandle, NewKey, Share, StoredKey, Tier, Work};

use crate::import::{Importing, kind};
use crate::{Bench, NOW, bench, softhsm, until};

/// A token that can be made not to destroy, and to outlive the store.
struct Token {
    inner: Pkcs11Tier,
    away: AtomicBool,
    /// What is closed when an object was made.
    closes: Mutex<Option<Store>>,
}

impl Token {
    async fn new() -> Arc<Self> {
        let uri = softhsm::uri(&softhsm::token()).parse().unwrap();
        let settings = Settings::new(softhsm::module(), uri, Pin::new(softhsm::PIN.to_owned()));
        let patient = std::time::Duration::from_secs(120);
        let settings = Settings { deadline: patient, generation_deadline: patient, ..settings };
        let inner = Pkcs11Tier::connect(settings).await.unwrap();
        Arc::new(Self { inner, away: AtomicBool::new(false), closes: Mutex::default() })
    }

    async fn start(self: &Arc<Self>, bench: &Bench, store: Store, clock: &Arc<FixedClock>) -> Arc<Kms> {
        Kms::start(Parts {
            store,
            clock: Arc::clone(clock) as _,
            instances: vec![ServedInstance {
                id: bench.instance.clone(),
                name: "token".to_owned(),
                kind: InstanceKind::Hardware,
                tier: Arc::clone(self) as _,
                key_quota: None,
                qps: None,
            }],
            default_instance: Some(bench.instance.clone()),
            pairs: Arc::new(SoftwareTier::new()),
            alerts: None,
        })
        .await
        .unwrap()
    }

    async fn count(&self) -> usize {
        self.inner.residents().await.unwrap().len()
    }
}

impl Tier for Token {
    fn describe(&self) -> Arc<Description> {
        self.inner.describe()
    }

    fn create(&self, key: NewKey) -> Work<'_, Created> {
        self.inner.create(key)
    }

    fn import(&self, key: NewKey, material: SecretBytes) -> Work<'_, Created> {
        Box::pin(async move {
            let made = self.inner.import(key, material).await;
            let closes = self.closes.lock().unwrap().take();
            if let Some(store) = closes {
                store.close().await;
            }
            made
        })
    }

    fn open(&self, key: StoredKey) -> Work<'_, Arc<dyn KeyHandle>> {
        self.inner.open(key)
    }

    fn destroy(&self, material: Material) -> Work<'_, ()> {
        if self.away.load(Ordering::SeqCst) {
            return Box::pin(async { Err(Error::new(Kind::Unavailable, "The token is away.")) });
        }
        self.inner.destroy(material)
    }

    fn residents(&self) -> Work<'_, Vec<Vec<u8>>> {
        self.inner.residents()
    }

    fn random(&self, share: Share, length: usize) -> Work<'_, SecretBytes> {
        self.inner.random(share, length)
    }

    fn health(&self) -> Work<'_, ()> {
        self.inner.health()
    }

    fn slots(&self) -> Vec<SlotStatus> {
        self.inner.slots()
    }

    fn close(&self) -> Work<'_, ()> {
        self.inner.close()
    }
}

/// The instance of the bench has its software tier no more: the token serves it from here on.
async fn importing(token: &Arc<Token>) -> Importing {
    // The store knows the instance as one of its kind; another id is one of another kind.
    let mut bench = bench().await;
    bench.instance = keystead::model::InstanceId::from_entropy(keystead::base::random::bytes());
    bench.caller.instance = bench.instance.clone();
    let clock = Arc::new(FixedClock::at(NOW));
    let kms = token.start(&bench, bench.store.clone(), &clock).await;
    Importing { bench, kms, clock }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_token_does_not_destroy_at_once_it_destroys_later() {
    let token = Token::new().await;
    let it = importing(&token).await;
    let key = it.aes().await;
    it.import(&key, &[7; 32], None).await.unwrap();
    assert_eq!((it.state(&key), token.count().await), (KeyState::Enabled, 1));
    let shown = it.described(&key);
    let attributes = shown.attributes.unwrap();
    assert!(attributes.sensitive && !attributes.extractable && !attributes.local);
    assert!(format!("{:?}", shown.import).contains("C_CreateObject"));
    token.away.store(true, Ordering::SeqCst);
    assert_eq!(kind(it.delete(&key).await), Kind::Unavailable);
    // The key has lost it all the same, and gets it back as another object.
    assert_eq!((it.state(&key), token.count().await), (KeyState::PendingImport, 1));
    it.import(&key, &[7; 32], None).await.unwrap();
    assert_eq!((it.state(&key), token.count().await), (KeyState::Enabled, 2));
    it.kms.spawn_background();
    token.away.store(false, Ordering::SeqCst);
    until("the old object is destroyed", async || token.count().await == 1).await;
    until("it is forgotten", async || it.bench.store.erased_objects().await.unwrap().is_empty()).await;
    let (_, versions) = it.bench.store.key(&key).await.unwrap().unwrap();
    let material = versions[0].material.as_ref().unwrap();
    assert_eq!(token.inner.residents().await.unwrap(), [material.id().to_vec()], "the new one stays");
    it.delete(&key).await.unwrap();
    assert_eq!(token.count().await, 0, "an answer says that it is destroyed");
    it.kms.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_is_cut_off_before_its_commit_is_found_and_repeated() {
    let token = Token::new().await;
    let it = importing(&token).await;
    let key = it.aes().await;
    *token.closes.lock().unwrap() = Some(it.bench.store.clone());
    assert_eq!(kind(it.import(&key, &[7; 32], None).await), Kind::Unavailable);
    // As a crash would leave it: the object is there, and the intent that names it.
    let store = Store::open(&it.bench.path(), &it.bench.root).await.unwrap();
    let left = token.inner.residents().await.unwrap();
    let intents = store.intents().await.unwrap();
    assert_eq!(left, [intents[0].version.as_str().as_bytes().to_vec()]);
    assert_eq!(intents[0].key, key);
    let kms = token.start(&it.bench, store.clone(), &it.clock).await;
    let it = Importing { bench: Bench { store, ..it.bench }, kms, clock: it.clock };
    assert_eq!(it.state(&key), KeyState::PendingImport);
    it.import(&key, &[7; 32], None).await.unwrap();
    let (_, versions) = it.bench.store.key(&key).await.unwrap().unwrap();
    assert_ne!(versions[0].material.as_ref().unwrap().id(), left[0], "an id is not used twice");
    assert_eq!(token.count().await, 2, "what was left behind is reported, not destroyed");
    it.kms.close().await;
}
