//! Imported material in a token that goes away, and a store that does, in the middle: nothing is used twice, lost or forgotten.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use keystead::base::{Error, FixedClock, Kind, Pin, SecretBytes, Timestamp, random};
use keystead::model::KeyId;
use keystead::model::algorithm::WrappingAlgorithm;
use keystead::model::instance::{DefaultInstances, InstanceKind};
use keystead::model::key::{Arrival, KeyState, Material};
use keystead::service::{Kms, Parts, ServedInstance};
use keystead::store::Store;
use keystead::tier::pkcs11::{Pkcs11Tier, Settings};
use keystead::tier::software::SoftwareTier;
use keystead::tier::status::SlotStatus;
use keystead::tier::{Created, Description, Encryption, KeyHandle, NewKey, Share, StoredKey, Tier, Unwrapper, Work};

use crate::import::{Importing, kind, opens_outside, wrap};
use crate::{Bench, NOW, bench, fault, softhsm, until};

/// A token that can be made not to destroy, and to outlive the store.
pub struct Token {
    inner: Pkcs11Tier,
    away: AtomicBool,
    /// What is closed when an object was made.
    closes: Mutex<Option<Store>>,
}

impl Token {
    pub async fn new() -> Arc<Self> {
        // SoftHSM as it is, but that it tells the length of what it unwraps.
        let uri = softhsm::uri(&softhsm::token()).parse().unwrap();
        let settings = Settings::new(fault::module(), uri, Pin::new(softhsm::PIN.to_owned()));
        let patient = std::time::Duration::from_secs(120);
        let settings = Settings { deadline: patient, generation_deadline: patient, ..settings };
        let inner = Pkcs11Tier::connect(settings).await.unwrap();
        Arc::new(Self { inner, away: AtomicBool::new(false), closes: Mutex::default() })
    }

    pub async fn start(self: &Arc<Self>, bench: &Bench, store: Store, clock: &Arc<FixedClock>) -> Arc<Kms> {
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
                unbound_until: None,
            }],
            default_instances: DefaultInstances::new(vec![(InstanceKind::Hardware, bench.instance.clone())]).unwrap(),
            pairs: Arc::new(SoftwareTier::new()),
            alerts: None,
        })
        .await
        .unwrap()
    }

    async fn count(&self) -> usize {
        self.inner.residents().await.unwrap().len()
    }

    /// The key in the token is that of this material.
    async fn has_as(&self, it: &Importing, key: &KeyId, material: &[u8; 32]) {
        let (stored, versions) = it.bench.store.key(key).await.unwrap().unwrap();
        let resident = versions[0].material.as_ref().unwrap().duplicate();
        let stored = StoredKey { spec: stored.spec, usage: stored.usage, material: resident, public_key: None, witness: None };
        let opened = self.inner.open(stored).await.unwrap();
        let how = Encryption::AesGcm { aad: Vec::new() };
        let text = SecretBytes::new(b"hello".to_vec());
        let sealed = opened.cipher().unwrap().encrypt(Share::default(), how, text).await.unwrap();
        opens_outside(material, sealed.iv, &sealed.ciphertext);
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

    fn unwrapper(&self) -> Option<&dyn Unwrapper> {
        self.inner.unwrapper()
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
pub async fn importing(token: &Arc<Token>) -> Importing {
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

/// SoftHSM unwraps RSAES_OAEP_SHA_1 only, which is for keys of the default instance.
const IN_TOKEN: WrappingAlgorithm = WrappingAlgorithm::RsaesOaepSha1;
const IN_PROCESS: WrappingAlgorithm = WrappingAlgorithm::RsaesOaepSha256;

fn arrival(it: &Importing, key: &KeyId) -> Option<Arrival> {
    it.described(key).attributes.map(|attributes| attributes.arrival)
}

#[tokio::test(flavor = "multi_thread")]
async fn material_is_unwrapped_in_the_token_where_that_can_and_known_again_whichever_way_it_comes() {
    let token = Token::new().await;
    let it = importing(&token).await;
    let key = it.aes().await;
    let material: [u8; 32] = random::bytes();
    assert_eq!(arrival(&it, &key), None);
    it.import_by(IN_TOKEN, &key, &material, None).await.unwrap();
    assert_eq!((arrival(&it, &key), token.count().await), (Some(Arrival::Unwrapped), 2), "the key and the pair that unwrapped it");
    token.has_as(&it, &key, &material).await;
    for (algorithm, arrives) in [(IN_PROCESS, Arrival::Created), (IN_TOKEN, Arrival::Unwrapped)] {
        // While it is there nothing changes, whichever way it comes.
        let before = arrival(&it, &key);
        let objects = token.inner.residents().await.unwrap().len();
        it.import_by(algorithm, &key, &material, None).await.unwrap();
        assert_eq!(arrival(&it, &key), before);
        let other: [u8; 32] = random::bytes();
        assert_eq!(kind(it.import_by(algorithm, &key, &other, None).await), Kind::InvalidKeyMaterial);
        it.delete(&key).await.unwrap();
        assert_eq!(kind(it.import_by(algorithm, &key, &other, None).await), Kind::InvalidKeyMaterial);
        it.import_by(algorithm, &key, &material, None).await.unwrap();
        assert_eq!(arrival(&it, &key), Some(arrives));
        token.has_as(&it, &key, &material).await;
        let pairs = if algorithm == IN_TOKEN { 4 } else { 0 };
        assert_eq!(token.count().await, objects + pairs, "nothing is left of what was refused");
    }
    assert!(it.bench.store.intents().await.unwrap().is_empty());
    it.kms.close().await;
}

/// As databases of before have it: what was imported first is known by its bytes, which only the process sees.
#[tokio::test(flavor = "multi_thread")]
async fn material_that_was_imported_before_tokens_unwrapped_is_known_by_its_bytes() {
    let token = Token::new().await;
    let it = importing(&token).await;
    let key = it.aes().await;
    let (material, other): ([u8; 32], [u8; 32]) = (random::bytes(), random::bytes());
    it.import_by(IN_PROCESS, &key, &material, None).await.unwrap();
    let of_bytes = it.bench.store.material_fingerprint(&key, &SecretBytes::new(material.to_vec()));
    let raw = sqlx::sqlite::SqlitePool::connect(&format!("sqlite:{}", it.bench.path().display())).await.unwrap();
    let statement = "UPDATE imported_material SET of_bytes = 1, fingerprint = $1";
    sqlx::query(statement).bind(of_bytes.as_slice()).execute(&raw).await.unwrap();
    raw.close().await;
    for _ in 0..2 {
        for algorithm in [IN_TOKEN, IN_PROCESS] {
            assert_eq!(kind(it.import_by(algorithm, &key, &other, None).await), Kind::InvalidKeyMaterial);
            it.import_by(algorithm, &key, &material, None).await.unwrap();
            assert_eq!((arrival(&it, &key), token.count().await), (Some(Arrival::Created), 1), "no pair is made in the token");
        }
        it.delete(&key).await.unwrap();
        assert_eq!(kind(it.import_by(IN_TOKEN, &key, &other, None).await), Kind::InvalidKeyMaterial);
        it.import_by(IN_TOKEN, &key, &material, None).await.unwrap();
        token.has_as(&it, &key, &material).await;
    }
    it.kms.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_token_does_not_unwrap_has_the_answer_of_the_process() {
    let token = Token::new().await;
    let it = importing(&token).await;
    let key = it.aes().await;
    let mut texts = std::collections::BTreeSet::new();
    for algorithm in [IN_TOKEN, IN_PROCESS] {
        let parameters = it.parameters_for(&key, algorithm).await;
        let mut wrong = wrap(&parameters, algorithm, &[7; 32]);
        wrong[100] ^= 1;
        for wrong in [wrong, vec![1; 256], vec![1; 255], Vec::new()] {
            let error = it.send(&key, &parameters.token, wrong, None).await.unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidKeyMaterial);
            texts.insert(error.message().to_owned());
        }
    }
    assert_eq!(texts.len(), 1, "{texts:?}");
    let parameters = it.parameters_for(&key, IN_TOKEN).await;
    let envelope = it.send(&key, &parameters.token, vec![1; 300], None).await.unwrap_err();
    assert_eq!(envelope.kind(), Kind::InvalidKeyMaterial);
    assert!(envelope.message().contains("without an envelope"), "{envelope}");
    let lengths = [IN_TOKEN, IN_PROCESS].map(async |algorithm| it.import_by(algorithm, &key, &[7; 31], None).await.unwrap_err());
    let [in_token, in_process] = lengths;
    let (in_token, in_process) = (in_token.await, in_process.await);
    assert_eq!((in_token.kind(), in_token.message()), (in_process.kind(), in_process.message()));
    assert_eq!(it.state(&key), KeyState::PendingImport);
    it.kms.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pairs_in_the_token_go_with_their_time_with_later_ones_and_with_their_key() {
    let token = Token::new().await;
    let it = importing(&token).await;
    let (key, other) = (it.aes().await, it.aes().await);
    let at = |seconds| Timestamp::from_unix(NOW.unix() + seconds);
    let (day, deleted) = (86_400, 7 * 86_400 + 9);
    let first = it.parameters_for(&key, IN_TOKEN).await;
    for second in 1..9 {
        it.clock.set(at(second));
        it.parameters_for(&key, IN_TOKEN).await;
    }
    it.clock.set(at(9));
    it.parameters_for(&other, IN_TOKEN).await;
    assert!(it.bench.store.intents().await.unwrap().is_empty());
    assert_eq!(it.bench.store.erased_objects().await.unwrap().len(), 1, "of nine one was superseded");
    assert_eq!(kind(it.send(&key, &first.token, vec![1; 256], None).await), Kind::InvalidImportToken);
    it.kms.spawn_background();
    until("it is destroyed", async || token.count().await == 9).await;
    it.kms.schedule_key_deletion(&it.bench.operator, other.as_str(), 7).await.unwrap();
    it.clock.set(at(day + 9));
    until("all are destroyed", async || token.count().await == 0).await;
    // And of a key that goes before them.
    it.clock.set(at(deleted - 1));
    it.parameters_for(&other, IN_TOKEN).await;
    assert_eq!(token.count().await, 1);
    it.clock.set(at(deleted));
    until("the key is gone", async || it.kms.describe_key(&it.bench.operator, other.as_str()).is_err()).await;
    until("its pair, too", async || token.count().await == 0).await;
    until("nothing is left to do", async || it.bench.store.erased_objects().await.unwrap().is_empty()).await;
    it.kms.close().await;
}
