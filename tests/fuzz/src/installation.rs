//! A small installation in the process: a software instance, a key of each family with an alias, one policy that grants everything.
//!
//! What changes it is done to a copy of the database that is thrown away: an input finds the same installation each time.

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Arc;

use keystead::base::{FixedClock, SecretBytes, Timestamp};
use keystead::model::algorithm::KeySpec;
use keystead::model::instance::{DefaultInstances, InstanceKind};
use keystead::model::key::SubjectPublicKeyInfo;
use keystead::model::operator::{
    AccessKeyInfo, AccessKeyState, AttachedPolicy, BuiltIn, Identity, IdentityKind, Role, SHORTEST_LIMIT,
};
use keystead::model::{AccessKeyId, InstanceId, RoleId};
use keystead::server::in_process::{self, Failed};
use keystead::service::requests::{Caller, Operator, Reach};
use keystead::service::{FIVE_YEARS, Kms, NewAccess, Parts, ServedInstance, certificates};
use keystead::store::{ADMINISTRATOR, AccessKey, Authorities, RootKey, Store};
use keystead::tier::software::SoftwareTier;
use keystead::tier::{Encryption, OaepHash, PublicKey};
use keystead::wire::openapi::{Action, Parameters};
use keystead::wire::signing::instance_signature;
use keystead::wire::sts;
use serde_json::Value;
use tokio::runtime::Runtime;

use super::{LONGEST_ERROR, forms};

const NOW: Timestamp = Timestamp::from_unix(1_790_000_000);
/// The instance and its endpoint.
pub const INSTANCE: &str = "kst-aaaaaaaaaaaaaaaaaaaaa";

/// The role.
pub const ROLE: &str = "deployer";

/// The installation, as it is for every input.
pub struct Installation {
    runtime: Runtime,
    root: RootKey,
    store: Store,
    kms: Arc<Kms>,
    operator: Operator,
    caller: Caller,
    /// What stands for ids that no input can know, and for ciphertexts: `@aes`, `@ec-version`, ….
    names: Vec<(&'static str, String)>,
    directory: tempfile::TempDir,
}

/// Whether an operation that succeeded left something behind.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It did not.
    None,
    /// It may have.
    Lasting,
}

/// Runs something against this thread's installation.
pub fn with<T>(work: impl FnOnce(&mut Installation) -> T) -> T {
    thread_local! {
        static INSTALLATION: RefCell<Option<Installation>> = const { RefCell::new(None) };
    }
    INSTALLATION.with_borrow_mut(|installation| work(installation.get_or_insert_with(Installation::new)))
}

impl Installation {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let directory = tempfile::tempdir().expect("a folder");
        let root = RootKey::generate();
        let instance: InstanceId = INSTANCE.parse().expect("an id");
        let source = "127.0.0.1".parse().expect("an address");
        let operator = Operator {
            access_key: AccessKeyId::from_entropy([7; 20]),
            session: None,
            source,
            reach: Reach::Everything,
            trace: Arc::default(),
        };
        let path = directory.path().join("template.db");
        let (client_key, store, kms) = runtime.block_on(async {
            let store = Store::create(&path, &root).await.expect("a database");
            let made = certificates::new_authorities(NOW).expect("authorities");
            let authorities = Authorities {
                root_certificate: made.root_certificate,
                root_key: made.root_key,
                issuing_certificate: made.issuing_certificate,
                issuing_key: made.issuing_key,
            };
            store.put_authorities(&authorities).await.expect("authorities");
            let info = AccessKeyInfo {
                id: operator.access_key.clone(),
                owner: ADMINISTRATOR.parse().expect("a name"),
                state: AccessKeyState::Active,
                created: NOW,
            };
            let key = AccessKey { info, secret: SecretBytes::new(b"testsecret".to_vec()) };
            store.replace_administrator(&key).await.expect("an operator");
            keep_role(&store).await;
            let access = NewAccess::everything("app".parse().expect("a name"), instance.clone()).expect("access");
            let made = Kms::create_access(&store, access, FIVE_YEARS, NOW, |_| Ok(())).await.expect("access");
            (made.client_key.id, store.clone(), start(store).await)
        });
        let caller = Caller { instance, client_key, source, trace: Arc::default() };
        let mut new = Self { runtime, root, store, kms, operator, caller, names: Vec::new(), directory };
        new.furnish();
        new.close();
        new.reset();
        new
    }

    /// Makes the keys, and notes what inputs name.
    fn furnish(&mut self) {
        let mut names = Vec::new();
        for (name, version, parameters) in [
            ("@aes", "@aes-version", "KeySpec=Aliyun_AES_256"),
            ("@rsa", "@rsa-version", "KeySpec=RSA_2048&KeyUsage=ENCRYPT/DECRYPT"),
            ("@mac", "@mac-version", "KeySpec=HMAC_SHA_256&KeyUsage=GENERATE_VERIFY_MAC"),
            ("@ec", "@ec-version", "KeySpec=EC_P256&KeyUsage=SIGN/VERIFY"),
        ] {
            let id = self.told(Action::CreateKey, parameters, "/KeyMetadata/KeyId");
            self.told(Action::CreateAlias, &format!("AliasName=alias/{}&KeyId={id}", &name[1..]), "/RequestId");
            names.push((
                version,
                self.told(Action::ListKeyVersions, &format!("KeyId={id}"), "/KeyVersions/KeyVersion/0/KeyVersionId"),
            ));
            names.push((name, id));
        }
        let encrypt = "KeyId=alias/aes&Plaintext=42+EUR&EncryptionContext={\"a\":\"b\"}";
        names.push(("@blob", forms::encoded(&self.told(Action::Encrypt, encrypt, "/CiphertextBlob"))));
        let session = {
            let operator = Operator { access_key: user(), ..self.operator.clone() };
            let parameters = format!("RoleArn=acs:ram::0:role/{ROLE}&RoleSessionName=fuzz");
            let parameters = Parameters::parse(parameters.as_bytes()).expect("parameters");
            in_process::sts(&self.kms, &operator, sts::Action::AssumeRole, &parameters)
        };
        let session: Value = serde_json::from_slice(&session.expect("it succeeds")).expect("JSON");
        let credentials = |name: &str| session["Credentials"][name].as_str().expect("a text").to_owned();
        names.push(("@session-token", credentials("SecurityToken")));
        names.push(("@session", credentials("AccessKeyId")));
        let external = self.told(Action::CreateKey, "KeySpec=Aliyun_AES_256&Origin=EXTERNAL", "/KeyMetadata/KeyId");
        let (token, material) = self.material_for(&external);
        names.push(("@import-token", token));
        names.push(("@material", material));
        names.push(("@external", external));
        names.push(("@client-key", self.caller.client_key.to_string()));
        self.names = names;
    }

    /// An import token for a key, and material wrapped for it.
    fn material_for(&self, key: &str) -> (String, String) {
        let parameters = format!("KeyId={key}&WrappingKeySpec=RSA_2048&WrappingAlgorithm=RSAES_OAEP_SHA_256");
        let given = self.answer(Action::GetParametersForImport, &parameters);
        let told = |name: &str| given[name].as_str().expect("a text");
        let public_key = SubjectPublicKeyInfo::from_der(from_base64(told("PublicKey")));
        let public_key = PublicKey::from_spki(KeySpec::Rsa2048, &public_key).expect("a public key");
        let wrapped =
            public_key.encrypt(Encryption::RsaesOaep(OaepHash::Sha256), &SecretBytes::new(vec![7; 32])).expect("it encrypts");
        (forms::encoded(told("ImportToken")), forms::encoded(&to_base64(&wrapped.ciphertext)))
    }

    /// What an operation that must succeed answers.
    fn answer(&self, action: Action, parameters: &str) -> Value {
        let parameters = Parameters::parse(parameters.as_bytes()).expect("parameters");
        let answer = self.runtime.block_on(in_process::openapi(&self.kms, &self.operator, action, &parameters));
        serde_json::from_slice(&answer.expect("it succeeds")).expect("JSON")
    }

    /// What it says at this place.
    fn told(&self, action: Action, parameters: &str, place: &str) -> String {
        let answer = self.answer(action, parameters);
        answer.pointer(place).and_then(Value::as_str).unwrap_or_else(|| panic!("{place} of {answer}")).to_owned()
    }

    fn close(&self) {
        self.runtime.block_on(async {
            self.kms.close().await;
            self.store.close().await;
        });
    }

    /// Begins anew with a copy of the database as it was left.
    fn reset(&mut self) {
        let path = |name: &str| -> PathBuf { self.directory.path().join(name) };
        for old in ["now.db-wal", "now.db-shm"] {
            let _ = std::fs::remove_file(path(old));
        }
        std::fs::copy(path("template.db"), path("now.db")).expect("a copy");
        (self.store, self.kms) = self.runtime.block_on(async {
            let store = Store::open(&path("now.db"), &self.root).await.expect("a database");
            (store.clone(), start(store).await)
        });
    }

    /// The service.
    pub fn kms(&self) -> &Kms {
        &self.kms
    }

    /// The input with ids where it has names for them.
    pub fn named(&self, input: &str) -> String {
        self.names.iter().fold(input.to_owned(), |text, (name, id)| text.replace(name, id))
    }

    /// Lets somebody do something; what was changed is undone.
    pub fn serve<F>(&mut self, effect: Effect, serve: impl FnOnce(Arc<Kms>, Operator, Caller) -> F) -> Result<Vec<u8>, Failed>
    where
        F: Future<Output = Result<Vec<u8>, Failed>>,
    {
        let served = self.runtime.block_on(serve(Arc::clone(&self.kms), self.operator.clone(), self.caller.clone()));
        if served.is_ok() && effect == Effect::Lasting {
            self.close();
            self.reset();
        }
        if let Err(Failed { code, message }) = &served {
            // The caller's fault or, when a key takes too long to make, the machine's; never ours.
            assert!(!["InternalFailure", "ServiceUnavailableTemporary"].contains(code), "{code}: {message}");
            assert!(!message.is_empty() && message.chars().count() <= LONGEST_ERROR, "{message:.200}");
            assert!(!message.chars().any(char::is_control), "{message:?}");
        }
        served
    }
}

/// The AccessKey of a user, who may assume the role.
pub fn user() -> AccessKeyId {
    AccessKeyId::from_entropy([8; 20])
}

async fn keep_role(store: &Store) {
    let identity = |name: &str, kind| Identity {
        name: name.parse().expect("a name"),
        kind,
        policies: vec![AttachedPolicy::BuiltIn(BuiltIn::FullAccess)],
        description: String::new(),
        created: NOW,
    };
    store.create_identity(&identity("alice", IdentityKind::User)).await.expect("a user");
    let info = AccessKeyInfo { id: user(), owner: "alice".parse().expect("a name"), state: AccessKeyState::Active, created: NOW };
    let key = AccessKey { info, secret: SecretBytes::new(b"testsecret".to_vec()) };
    store.create_access_key(&key).await.expect("an AccessKey");
    let trust =
        r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"RAM":"acs:ram::0:user/alice"}}]}"#;
    let role = Role {
        name: ROLE.parse().expect("a name"),
        id: RoleId::from_entropy([7; 8]),
        trust: trust.parse().expect("a trust policy"),
        max_session: SHORTEST_LIMIT,
    };
    store.create_role(&identity(ROLE, IdentityKind::Role), &role).await.expect("a role");
}

pub use super::authorization::base64 as to_base64;

/// The bytes of base64, which may be percent-encoded.
pub fn from_base64(text: &str) -> Vec<u8> {
    // The signature of the instance protocol is base64, too.
    let [(text, _)] = &forms::pairs(text.as_bytes())[..] else { panic!("no base64: {text}") };
    instance_signature(&format!("Bearer {}", text.replace(' ', "+"))).expect("base64")
}

async fn start(store: Store) -> Arc<Kms> {
    let instance: InstanceId = INSTANCE.parse().expect("an id");
    Kms::start(Parts {
        store,
        clock: Arc::new(FixedClock::at(NOW)),
        instances: vec![ServedInstance {
            id: instance.clone(),
            name: "fuzz".to_owned(),
            kind: InstanceKind::Software,
            tier: Arc::new(SoftwareTier::new()),
            key_quota: None,
            qps: None,
            unbound_until: None,
        }],
        default_instances: DefaultInstances::new(vec![(InstanceKind::Software, instance)]).expect("one"),
        pairs: Arc::new(SoftwareTier::new()),
        alerts: None,
    })
    .await
    .expect("a service")
}
