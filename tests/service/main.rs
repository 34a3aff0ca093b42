//! The use cases without a server: counting, refresh, outages of the store, leftovers, filters, quick creation.

mod alerts;
mod clock;
mod damaged;
mod destruction;
#[path = "../common/fault.rs"]
#[allow(dead_code, reason = "a part of it is used")]
mod fault;
mod import;
mod quotas;
mod rotation;
#[path = "../common/softhsm.rs"]
#[allow(dead_code, reason = "a part of it is used")]
mod softhsm;
mod strangers;
mod tags;
mod token;
mod unclaimed;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keystead::base::{Clock, FixedClock, Kind, SecretBytes, Timestamp, random};
use keystead::model::access::{AuthenticationMethod, NetworkRuleKind, Permission, Scope};
use keystead::model::algorithm::{
    EncryptionAlgorithm, KeySpec, KeyUsage, MacAlgorithm, MessageType, PaddingMode, SignatureAlgorithm,
};
use keystead::model::instance::{DefaultInstances, InstanceKind, ProtectionLevel};
use keystead::model::key::{Key, KeyState, Material};
use keystead::model::tags::Tags;
use keystead::model::{AccessKeyId, InstanceId, KeyId, KeyVersionId, Name};
use keystead::service::requests::*;
use keystead::service::{FIVE_YEARS, Kms, NewAccess, Parts, REFRESH, ServedInstance, certificates};
use keystead::store::{Authorities, KeyVersion, RootKey, Store};
use keystead::tier::Tier;
use keystead::tier::public_key::Validity;
use keystead::tier::software::SoftwareTier;

const NOW: Timestamp = Timestamp::from_unix(1_790_000_000);

struct Bench {
    kms: Arc<Kms>,
    store: Store,
    operator: Operator,
    caller: Caller,
    instance: InstanceId,
    root: RootKey,
    directory: tempfile::TempDir,
}

async fn start(store: Store, instance: &InstanceId) -> Arc<Kms> {
    start_at(store, instance, Arc::new(FixedClock::at(NOW))).await
}

async fn start_at(store: Store, instance: &InstanceId, clock: Arc<FixedClock>) -> Arc<Kms> {
    start_on(store, instance, clock, Arc::new(SoftwareTier::new())).await
}

async fn start_on(store: Store, instance: &InstanceId, clock: Arc<FixedClock>, tier: Arc<dyn Tier>) -> Arc<Kms> {
    Kms::start(parts(store, instance, clock, tier)).await.unwrap()
}

fn parts(store: Store, instance: &InstanceId, clock: Arc<FixedClock>, tier: Arc<dyn Tier>) -> Parts {
    Parts {
        store,
        clock: clock as Arc<dyn Clock>,
        instances: vec![ServedInstance {
            id: instance.clone(),
            name: "test".to_owned(),
            kind: InstanceKind::Software,
            tier,
            key_quota: None,
            qps: None,
            unbound_until: None,
        }],
        default_instances: DefaultInstances::new(vec![(InstanceKind::Software, instance.clone())]).unwrap(),
        pairs: Arc::new(SoftwareTier::new()),
        alerts: None,
    }
}

async fn bench() -> Bench {
    let directory = tempfile::tempdir().unwrap();
    let root = RootKey::generate();
    let store = Store::create(&directory.path().join("keystead.db"), &root).await.unwrap();
    let made = certificates::new_authorities(NOW).unwrap();
    store
        .put_authorities(&Authorities {
            root_certificate: made.root_certificate,
            root_key: made.root_key,
            issuing_certificate: made.issuing_certificate,
            issuing_key: made.issuing_key,
        })
        .await
        .unwrap();
    let instance = InstanceId::from_entropy(random::bytes());
    let access = NewAccess::everything(name("app"), instance.clone()).unwrap();
    let made = Kms::create_access(&store, access, FIVE_YEARS, NOW, |_| Ok(())).await.unwrap();
    let kms = start(store.clone(), &instance).await;
    let source = "127.0.0.1".parse().unwrap();
    Bench {
        operator: Operator {
            access_key: AccessKeyId::from_entropy(random::bytes()),
            session: None,
            source,
            reach: Reach::Everything,
            trace: Arc::default(),
        },
        caller: Caller { instance: instance.clone(), client_key: made.client_key.id, source, trace: Arc::default() },
        kms,
        store,
        instance,
        root,
        directory,
    }
}

impl Bench {
    fn path(&self) -> PathBuf {
        self.directory.path().join("keystead.db")
    }

    async fn key(&self, spec: KeySpec, usage: KeyUsage) -> KeyId {
        let request = CreateKey { spec: Some(spec), usage: Some(usage), ..CreateKey::default() };
        self.kms.create_key(&self.operator, request).await.unwrap().key.id
    }

    async fn encrypt(&self, key: &KeyId) -> keystead::base::Result<Encrypted> {
        self.kms.encrypt(&self.caller, Form::Plain, encrypt(key)).await
    }
}

fn encrypt(key: &KeyId) -> Encrypt {
    Encrypt {
        key: key.as_str().into(),
        algorithm: None,
        padding: None,
        aad: Vec::new(),
        plaintext: SecretBytes::new(b"hello".to_vec()),
    }
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// Waits until something holds, at most for a time that no test should need.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}");
        tokio::time::sleep(REFRESH / 10).await;
    }
}

#[tokio::test]
async fn every_algorithm_of_every_key_goes_there_and_back() {
    let bench = bench().await;
    for spec in KeySpec::ALL.iter().filter(|spec| **spec != KeySpec::Rsa4096 && **spec != KeySpec::Rsa3072) {
        for usage in spec.usages() {
            let key = bench.key(*spec, *usage).await;
            match usage {
                KeyUsage::EncryptDecrypt => {
                    for algorithm in spec.encryption_algorithms() {
                        goes_there_and_back(&bench, &key, *algorithm).await;
                    }
                }
                KeyUsage::SignVerify => {
                    for algorithm in spec.signature_algorithms() {
                        signs_and_verifies(&bench, &key, *algorithm).await;
                    }
                }
                KeyUsage::GenerateVerifyMac => generates_and_verifies(&bench, &key, spec.mac_algorithm().unwrap()).await,
            }
        }
    }
}

async fn generates_and_verifies(bench: &Bench, key: &KeyId, algorithm: MacAlgorithm) {
    let message = || SecretBytes::new(b"hello".to_vec());
    let made = bench.kms.generate_mac(&bench.operator, key.as_str(), algorithm, message()).await.unwrap();
    let mut code = made.code.expose().to_vec();
    for right in [Validity::Valid, Validity::Invalid] {
        let verified = bench.kms.verify_mac(&bench.operator, key.as_str(), algorithm, (message(), &code)).await.unwrap();
        assert_eq!((verified.validity, verified.key), (right, key.clone()));
        code[0] ^= 1;
    }
}

async fn goes_there_and_back(bench: &Bench, key: &KeyId, algorithm: EncryptionAlgorithm) {
    let request = Encrypt { algorithm: Some(algorithm), ..encrypt(key) };
    let sealed = bench.kms.encrypt(&bench.caller, Form::Plain, request).await.unwrap();
    let blocks = matches!(algorithm, EncryptionAlgorithm::AesCbc | EncryptionAlgorithm::AesEcb);
    assert_eq!(sealed.padding, blocks.then_some(PaddingMode::Pkcs7));
    let decrypt = Decrypt {
        key: KeyReference::Key(key.to_string()),
        algorithm: Some(algorithm),
        padding: None,
        iv: sealed.iv.as_bytes().to_vec(),
        aads: vec![Vec::new()],
        ciphertext: sealed.ciphertext,
    };
    let opened = bench.kms.decrypt(&bench.caller, decrypt).await.unwrap();
    assert!(opened.plaintext.constant_time_eq(b"hello"));
    assert_eq!((opened.key, opened.algorithm), (key.clone(), algorithm));
}

async fn signs_and_verifies(bench: &Bench, key: &KeyId, algorithm: SignatureAlgorithm) {
    let sign = |message: &[u8]| Sign {
        key: key.as_str().into(),
        algorithm: Some(algorithm),
        message_type: MessageType::Raw,
        message: message.to_vec(),
    };
    let signed = bench.kms.sign(&bench.caller, sign(b"message")).await.unwrap();
    for (message, value) in [(b"message", true), (b"massage", false)] {
        let verify = Verify { sign: sign(message), signature: signed.signature.clone() };
        assert_eq!(bench.kms.verify(&bench.caller, verify).await.unwrap().value, value);
    }
    let pem = bench.kms.public_key(&bench.caller, &key.as_str().into()).await.unwrap().pem;
    assert!(pem.starts_with("-----BEGIN PUBLIC KEY-----\n") && pem.ends_with("-----END PUBLIC KEY-----\n"));
    assert!(pem.lines().all(|line| line.len() <= 64));
}

#[tokio::test]
async fn encryptions_end_at_two_to_the_thirty_second() {
    let bench = bench().await;
    let key = bench.key(KeySpec::Aes256, KeyUsage::EncryptDecrypt).await;
    let version = bench.encrypt(&key).await.unwrap().version;
    bench.kms.close().await;
    let store = Store::open(&bench.path(), &bench.root).await.unwrap();
    store.record_encryptions(&[(version, (1 << 32) - 2)]).await.unwrap();
    let kms = start(store, &bench.instance).await;
    for _ in 0..2 {
        kms.encrypt(&bench.caller, Form::Plain, encrypt(&key)).await.unwrap();
    }
    for form in [Form::Plain, Form::Advance] {
        let error = kms.encrypt(&bench.caller, form, encrypt(&key)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::LimitExceeded);
        assert!(error.message().contains(key.as_str()), "{error}");
    }
    let data_key = GenerateDataKey { key: key.as_str().into(), algorithm: None, number_of_bytes: None, aad: Vec::new() };
    assert_eq!(kms.generate_data_key(&bench.caller, Form::Plain, data_key).await.unwrap_err().kind(), Kind::LimitExceeded);
    // Other modes have no such end, and what was encrypted still decrypts.
    let blocks = Encrypt { algorithm: Some(EncryptionAlgorithm::AesCbc), ..encrypt(&key) };
    kms.encrypt(&bench.caller, Form::Plain, blocks).await.unwrap();
}

#[tokio::test]
async fn counts_are_written_ahead() {
    let bench = bench().await;
    bench.kms.spawn_background();
    let key = bench.key(KeySpec::Aes256, KeyUsage::EncryptDecrypt).await;
    for _ in 0..3 {
        bench.encrypt(&key).await.unwrap();
    }
    let store = bench.store.clone();
    until("the count is written", async || {
        let (_, versions) = store.key(&key).await.unwrap().unwrap();
        versions[0].encryptions > 3
    })
    .await;
    assert_eq!(bench.kms.describe_key(&bench.operator, key.as_str()).unwrap().encryptions, 3);
}

#[tokio::test]
async fn a_change_by_another_process_holds_here() {
    let bench = bench().await;
    bench.kms.spawn_background();
    let key = bench.key(KeySpec::Aes256, KeyUsage::EncryptDecrypt).await;
    bench.encrypt(&key).await.unwrap();
    let other = Store::open(&bench.path(), &bench.root).await.unwrap();
    // A key of the other process works here.
    let elsewhere = start(other.clone(), &bench.instance).await;
    let made = elsewhere.create_key(&bench.operator, CreateKey::default()).await.unwrap().key.id;
    until("the key of the other process is known", async || bench.encrypt(&made).await.is_ok()).await;
    // A revocation of the other process holds here.
    other.delete_policy(&name("app")).await.unwrap();
    until("the policy is gone", async || bench.encrypt(&key).await.is_err_and(|error| error.kind() == Kind::NoPermission)).await;
}

#[tokio::test]
async fn cryptography_goes_on_without_the_store() {
    let bench = bench().await;
    bench.kms.spawn_background();
    let aes = bench.key(KeySpec::Aes256, KeyUsage::EncryptDecrypt).await;
    let signer = bench.key(KeySpec::EcP256, KeyUsage::SignVerify).await;
    bench.store.close().await;
    for _ in 0..3 {
        bench.encrypt(&aes).await.unwrap();
        signs_and_verifies(&bench, &signer, SignatureAlgorithm::EcdsaSha256).await;
        bench.kms.generate_random(&bench.caller, 8).await.unwrap();
    }
    let error = bench.kms.create_key(&bench.operator, CreateKey::default()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    bench.encrypt(&aes).await.unwrap();
}

#[tokio::test]
async fn a_creation_that_nobody_waits_for_is_whole_or_not_there() {
    let bench = bench().await;
    for wait in 0..10 {
        let request = CreateKey { spec: Some(KeySpec::EcP256), ..CreateKey::default() };
        let creation = bench.kms.create_key(&bench.operator, request);
        let _ = tokio::time::timeout(Duration::from_millis(wait), creation).await;
    }
    until("no intent is left", async || bench.store.intents().await.unwrap().is_empty()).await;
    for (key, versions) in bench.store.keys().await.unwrap() {
        assert_eq!(versions.len(), 1);
        until("the key is known", async || bench.kms.describe_key(&bench.operator, key.id.as_str()).is_ok()).await;
    }
}

#[tokio::test]
async fn lists_are_filtered_and_paged() {
    let bench = bench().await;
    let mut all = Vec::new();
    for spec in [KeySpec::Aes256, KeySpec::Aes128, KeySpec::EcP256, KeySpec::Aes256] {
        all.push(bench.key(spec, spec.usages()[0]).await);
    }
    let page = |number, size| Page { number, size };
    let list = |filters: &[KeyFilter], page| bench.kms.list_keys(&bench.operator, filters, page).unwrap();
    let mut seen = Vec::new();
    for number in 1..=3 {
        let listed = list(&[], page(number, 2));
        assert_eq!(listed.total, 4);
        seen.extend(listed.items);
    }
    seen.sort();
    let mut sorted = all.clone();
    sorted.sort();
    assert_eq!(seen, sorted);
    let count = |filters: &[KeyFilter]| list(filters, page(1, 100)).total;
    assert_eq!(count(&[KeyFilter::Spec(vec![KeySpec::Aes256, KeySpec::EcP256])]), 3);
    assert_eq!(count(&[KeyFilter::Spec(vec![KeySpec::Aes256]), KeyFilter::Usage(vec![KeyUsage::SignVerify])]), 0);
    assert_eq!(count(&[KeyFilter::ProtectionLevel(vec![ProtectionLevel::Software])]), 4);
    assert_eq!(count(&[KeyFilter::ProtectionLevel(vec![ProtectionLevel::Hsm])]), 0);
    assert_eq!(count(&[KeyFilter::Id(vec![all[1].to_string()])]), 1);
    assert_eq!(list(&[], page(u32::MAX, 100)).items, []);
}

#[tokio::test]
async fn what_access_refers_to_must_be_there() {
    let bench = bench().await;
    let kms = &bench.kms;
    let policy = |called: &str, rules: &[&str]| CreatePolicy {
        name: name(called),
        scope: Scope::Instance(bench.instance.clone()),
        permissions: vec![Permission::CryptoServiceKeyUser],
        resources: vec!["key/*".parse().unwrap()],
        rules: rules.iter().map(|text| name(text)).collect(),
        rules_text: String::new(),
        description: String::new(),
    };
    let kind = |result: keystead::base::Result<keystead::model::access::Policy>| result.unwrap_err().kind();
    assert_eq!(kind(kms.create_policy(&bench.operator, policy("a", &["gone"])).await), Kind::ResourceNotFound);
    let elsewhere = CreatePolicy { scope: Scope::Instance(InstanceId::from_entropy(random::bytes())), ..policy("a", &[]) };
    assert_eq!(kind(kms.create_policy(&bench.operator, elsewhere).await), Kind::InstanceNotFound);
    let shared = CreatePolicy { scope: Scope::Shared, ..policy("a", &[]) };
    assert_eq!(kind(kms.create_policy(&bench.operator, shared).await), Kind::InvalidParameter);
    let nothing = CreatePolicy { resources: Vec::new(), ..policy("a", &[]) };
    assert_eq!(kind(kms.create_policy(&bench.operator, nothing).await), Kind::InvalidParameter);
    let rule = CreateNetworkRule {
        name: name("r"),
        kind: NetworkRuleKind::Private,
        sources: vec!["10.0.0.0/8".to_owned()],
        description: String::new(),
    };
    kms.create_network_rule(&bench.operator, rule).await.unwrap();
    kms.create_policy(&bench.operator, policy("a", &["r"])).await.unwrap();
    for policies in [vec![], vec!["gone"], vec!["a", "a"], vec!["a", "app", "b", "c"]] {
        let access_point = CreateAccessPoint {
            name: name("p"),
            method: AuthenticationMethod::ClientKey,
            policies: policies.iter().map(|text| name(text)).collect(),
            description: String::new(),
        };
        assert!(kms.create_access_point(&bench.operator, access_point).await.is_err(), "{policies:?}");
    }
    for validity in [(10, 10), (10, 9), (-20, -10)] {
        let at = |seconds: i64| Timestamp::from_unix(NOW.unix() + seconds);
        let request = CreateClientKey {
            access_point: name("app"),
            password: SecretBytes::new(b"Example-Pass1".to_vec()),
            validity: Some((at(validity.0), at(validity.1))),
        };
        let error = kms.create_client_key(&bench.operator, request).await.err().unwrap();
        assert_eq!(error.kind(), Kind::InvalidParameter, "{validity:?}");
    }
}

#[tokio::test]
async fn a_key_is_used_in_the_state_enabled_only() {
    let bench = bench().await;
    let id = bench.key(KeySpec::Aes256, KeyUsage::EncryptDecrypt).await;
    let (key, versions) = bench.store.key(&id).await.unwrap().unwrap();
    let version = versions.into_iter().next().unwrap();
    for (state, kind) in [
        (KeyState::Disabled, Kind::KeyDisabled),
        (KeyState::PendingDeletion, Kind::KeyPendingDeletion),
        (KeyState::PendingImport, Kind::KeyPendingImport),
    ] {
        let id = KeyId::from_entropy(random::bytes());
        let of = KeyVersionId::from_entropy(&id, random::bytes());
        let other = Key { id: id.clone(), state, initial_version: of.clone(), primary_version: of.clone(), ..key.clone() };
        let material = version.material.as_ref().map(Material::duplicate);
        let kept =
            KeyVersion { id: of, created: NOW, material, public_key: None, attributes: None, fingerprint: None, encryptions: 0 };
        bench.store.commit_key(&other, &kept, &Tags::default(), None).await.unwrap();
        let kms = start(bench.store.clone(), &bench.instance).await;
        for form in [Form::Plain, Form::Advance] {
            assert_eq!(kms.encrypt(&bench.caller, form, encrypt(&id)).await.unwrap_err().kind(), kind);
        }
        assert_eq!(kms.public_key(&bench.caller, &id.as_str().into()).await.unwrap_err().kind(), kind);
        assert_eq!(kms.describe_key(&bench.operator, id.as_str()).unwrap().key.state, state);
    }
}

#[tokio::test]
async fn a_key_whose_window_has_ended_is_destroyed_on_every_node() {
    let bench = bench().await;
    let clock = Arc::new(FixedClock::at(NOW));
    let kms = start_at(bench.store.clone(), &bench.instance, Arc::clone(&clock)).await;
    let other = start_at(bench.store.clone(), &bench.instance, Arc::clone(&clock)).await;
    let made = async || {
        let request = CreateKey { spec: Some(KeySpec::Aes256), ..CreateKey::default() };
        kms.create_key(&bench.operator, request).await.unwrap().key.id
    };
    let (saved, lost) = (made().await, made().await);
    kms.create_alias(&bench.operator, &"alias/lost".parse().unwrap(), lost.as_str()).await.unwrap();
    let sealed = kms.encrypt(&bench.caller, Form::Advance, encrypt(&lost)).await.unwrap().ciphertext;
    for key in [&saved, &lost] {
        for days in [6, 367] {
            let refused = kms.schedule_key_deletion(&bench.operator, key.as_str(), days).await;
            assert_eq!(refused.unwrap_err().kind(), Kind::InvalidParameter);
        }
        kms.schedule_key_deletion(&bench.operator, key.as_str(), 7).await.unwrap();
        assert_eq!(kms.encrypt(&bench.caller, Form::Plain, encrypt(key)).await.unwrap_err().kind(), Kind::KeyPendingDeletion);
    }
    kms.spawn_background();
    other.spawn_background();
    clock.set(Timestamp::from_unix(NOW.unix() + 7 * 86_400 - 1));
    kms.cancel_key_deletion(&bench.operator, saved.as_str()).await.unwrap();
    clock.set(Timestamp::from_unix(NOW.unix() + 7 * 86_400));
    for node in [&kms, &other] {
        until("it is gone", async || node.describe_key(&bench.operator, lost.as_str()).is_err()).await;
        assert_eq!(node.describe_key(&bench.operator, "alias/lost").unwrap_err().kind(), Kind::AliasNotFound);
        assert_eq!(node.describe_key(&bench.operator, saved.as_str()).unwrap().key.state, KeyState::Enabled);
    }
    let request =
        AdvanceDecrypt { key: None, algorithm: None, padding: None, iv: Vec::new(), aads: vec![Vec::new()], ciphertext: sealed };
    assert!(kms.advance_decrypt(&bench.caller, request).await.is_err());
    kms.encrypt(&bench.caller, Form::Plain, encrypt(&saved)).await.unwrap();
    assert!(bench.store.key(&lost).await.unwrap().is_none());
    let late = kms.cancel_key_deletion(&bench.operator, lost.as_str()).await;
    assert_eq!(late.unwrap_err().kind(), Kind::KeyNotFound, "nothing brings it back");
}

#[tokio::test]
async fn an_alias_is_as_good_as_the_id() {
    let bench = bench().await;
    let alias = "alias/pay/roll".parse().unwrap();
    let (one, two) =
        (bench.key(KeySpec::Aes256, KeyUsage::EncryptDecrypt).await, bench.key(KeySpec::Aes256, KeyUsage::EncryptDecrypt).await);
    let by_alias = || Encrypt { key: "alias/pay/roll".into(), ..encrypt(&one) };
    let unknown = bench.kms.encrypt(&bench.caller, Form::Plain, by_alias()).await;
    assert_eq!(unknown.unwrap_err().kind(), Kind::AliasNotFound);
    bench.kms.create_alias(&bench.operator, &alias, one.as_str()).await.unwrap();
    let sealed = bench.kms.encrypt(&bench.caller, Form::Advance, by_alias()).await.unwrap();
    assert_eq!(sealed.key, one);
    let request = AdvanceDecrypt {
        key: Some("alias/pay/roll".into()),
        algorithm: None,
        padding: None,
        iv: Vec::new(),
        aads: vec![Vec::new()],
        ciphertext: sealed.ciphertext,
    };
    assert!(bench.kms.advance_decrypt(&bench.caller, request).await.unwrap().plaintext.constant_time_eq(b"hello"));
    bench.kms.update_alias(&bench.operator, &alias, two.as_str()).await.unwrap();
    assert_eq!(bench.kms.encrypt(&bench.caller, Form::Plain, by_alias()).await.unwrap().key, two);
    let arn = "acs:kms:cn-hangzhou:1:alias/pay/roll";
    assert_eq!(bench.kms.describe_key(&bench.operator, arn).unwrap().key.id, two);
    bench.kms.schedule_key_deletion(&bench.operator, one.as_str(), 7).await.unwrap();
    let refused = bench.kms.update_alias(&bench.operator, &alias, one.as_str()).await;
    assert_eq!(refused.unwrap_err().kind(), Kind::KeyPendingDeletion);
    let refused = bench.kms.create_alias(&bench.operator, &"alias/x".parse().unwrap(), one.as_str()).await;
    assert_eq!(refused.unwrap_err().kind(), Kind::StateForbids);
    let page = Page { number: 1, size: 10 };
    assert_eq!(bench.kms.list_aliases(&bench.operator, Some(one.as_str()), page).unwrap().total, 0);
    assert_eq!(bench.kms.list_aliases(&bench.operator, None, page).unwrap().items, [AliasOf { alias, key: two }]);
}

#[tokio::test]
async fn a_name_is_quick_created_once() {
    let bench = bench().await;
    let new = |text: &str| NewAccess::everything(name(text), bench.instance.clone()).unwrap();
    let refused = async |access: NewAccess, seconds: i64| {
        Kms::create_access(&bench.store, access, seconds, NOW, |_| Ok(())).await.err().unwrap().kind()
    };
    assert_eq!(refused(new("app"), FIVE_YEARS).await, Kind::ResourceExists);
    let missing = NewAccess { resources: vec!["key/key-hzz62f1cb66fa42qo0001".parse().unwrap()], ..new("b") };
    assert_eq!(refused(missing, FIVE_YEARS).await, Kind::KeyNotFound);
    for (wrong, seconds) in [
        (NewAccess { resources: Vec::new(), ..new("b") }, FIVE_YEARS),
        (NewAccess { sources: vec!["10.0.0.256".to_owned()], ..new("b") }, FIVE_YEARS),
        (new("b"), 0),
        (new("b"), i64::MAX),
    ] {
        assert_eq!(refused(wrong, seconds).await, Kind::InvalidParameter);
    }
    let without_role = Kms::create_access_of_role(&bench.store, new("b")).await.err().unwrap();
    assert_eq!(without_role.kind(), Kind::ResourceNotFound);
    assert!(without_role.message().contains("keystead role create b"), "{without_role}");
    assert_eq!(bench.store.access().await.unwrap().client_keys.len(), 1);
    let years = bench.store.access().await.unwrap().client_keys[0].not_after.unix() - NOW.unix();
    assert_eq!(years, 5 * 365 * 86_400);
}
