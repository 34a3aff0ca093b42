//! What the matrix is about: two instances with keys in and out of scope, callers of every kind, and new things for the operations that
//! would use up what they are about.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keystead::base::{Clock, SecretBytes, Timestamp, random};
use keystead::model::access::{AuthenticationMethod, ClientKey, NetworkRuleKind, Permission, Scope};
use keystead::model::algorithm::{EncryptionAlgorithm, KeySpec, KeyUsage, WrappingAlgorithm};
use keystead::model::ciphertext::SelfContained;
use keystead::model::key::{Key, Origin};
use keystead::model::operator::{AccessKeyState, Identity, IdentityKind};
use keystead::model::proxies::Proxies;
use keystead::model::{ClientKeyId, InstanceId, KeyId, KeyVersionId, Name};
use keystead::service;
use keystead::service::requests::{Assumed, CreateAccessPoint, CreateKey, CreateNetworkRule, CreatePolicy, Operator};
use keystead::store::AccessKey;
use serde_json::{Value, json};

use super::{Credential, Resource, sessions};
use crate::bench::{Bench, Client, bench_behind};

/// The addresses that policies and statements speak of.
const INSIDE: &str = "192.0.2.0/24";

/// Keys of each kind, of one instance.
pub(super) struct Keys {
    pub(super) aes: KeyId,
    /// Something that it encrypted.
    pub(super) sealed: SelfContained,
    pub(super) rsa: KeyId,
    pub(super) rsa_version: KeyVersionId,
    /// Something that it encrypted, in base64.
    pub(super) rsa_ciphertext: String,
    pub(super) ec: KeyId,
    pub(super) ec_version: KeyVersionId,
    pub(super) hmac: KeyId,
}

impl Keys {
    /// What the AES key encrypted, as the OpenAPI has it.
    pub(super) fn blob(&self) -> String {
        STANDARD.encode(self.sealed.to_blob())
    }
}

/// Things that are read by their names.
pub(super) struct Named {
    pub(super) instance: String,
    pub(super) rule: String,
    pub(super) policy: String,
    pub(super) access_point: String,
}

/// Things of which there can be new ones.
#[derive(Clone, Copy)]
pub(super) enum Kept {
    NetworkRule,
    Policy,
    AccessPoint,
}

pub(super) struct World {
    pub(super) bench: Bench,
    in_scope: Keys,
    out_of_scope: Keys,
    elsewhere: Keys,
    absent: Keys,
    named_in_scope: Named,
    named_out_of_scope: Named,
    named_absent: Named,
    /// A client key, with whose certificate many are made.
    client_key: ClientKey,
    clients: Vec<(Credential, Client)>,
    access_keys: Vec<(Credential, AccessKey)>,
    /// Who assumes roles, once it is made.
    pub(super) assumer: Option<Operator>,
    /// The sessions that were begun last.
    pub(super) sessions: RwLock<HashMap<Credential, Arc<Assumed>>>,
    /// A public key in base64, to export data keys to.
    pub(super) recipient: String,
    count: AtomicU64,
}

impl World {
    pub(super) async fn new() -> Self {
        let addresses = vec!["127.0.0.0/8".parse().unwrap()];
        let bench = bench_behind(Proxies::Header { addresses, header: "X-Forwarded-For".parse().unwrap() }).await;
        let (own, other) = (bench.instance.clone(), bench.other.clone());
        let in_scope = keys(&bench, &own).await;
        let public = bench.kms.public_key_of_version(&bench.operator, in_scope.rsa.as_str(), &in_scope.rsa_version).await.unwrap();
        let mut world = Self {
            out_of_scope: keys(&bench, &own).await,
            elsewhere: keys(&bench, &other).await,
            absent: absent_keys(),
            named_in_scope: named("in-scope", &own),
            named_out_of_scope: named("out-of-scope", &other),
            named_absent: named("absent", &InstanceId::from_entropy(random::bytes())),
            client_key: bench.kms.describe_client_key(&bench.operator, &bench.client.id.parse().unwrap()).unwrap(),
            clients: Vec::new(),
            access_keys: Vec::new(),
            assumer: None,
            sessions: RwLock::default(),
            recipient: public.pem.lines().filter(|line| !line.starts_with("-----")).collect(),
            count: AtomicU64::new(0),
            in_scope,
            bench,
        };
        for Named { rule, policy, access_point, .. } in [&world.named_in_scope, &world.named_out_of_scope] {
            world.make(Kept::NetworkRule, rule).await;
            world.make(Kept::Policy, policy).await;
            world.make(Kept::AccessPoint, access_point).await;
        }
        world.make_clients().await;
        world.make_operators().await;
        world.make_roles().await;
        world
    }

    pub(super) fn keys(&self, resource: Resource) -> Option<&Keys> {
        match resource {
            Resource::None => None,
            Resource::InScope => Some(&self.in_scope),
            Resource::OutOfScope => Some(&self.out_of_scope),
            Resource::Elsewhere => Some(&self.elsewhere),
            Resource::Absent => Some(&self.absent),
        }
    }

    /// What has a name belongs to no instance.
    pub(super) fn named(&self, resource: Resource) -> Option<&Named> {
        match resource {
            Resource::None | Resource::Elsewhere => None,
            Resource::InScope => Some(&self.named_in_scope),
            Resource::OutOfScope => Some(&self.named_out_of_scope),
            Resource::Absent => Some(&self.named_absent),
        }
    }

    /// A name that nothing has.
    pub(super) fn new_name(&self) -> String {
        format!("thing-{}", self.count.fetch_add(1, Ordering::Relaxed))
    }

    /// A new key, of the instance that the resource is in; its id.
    pub(super) async fn new_key(&self, resource: Resource, origin: Origin) -> Option<String> {
        let instance = match resource {
            Resource::None => return None,
            Resource::Absent => return Some(self.absent.aes.to_string()),
            Resource::InScope | Resource::OutOfScope => &self.bench.instance,
            Resource::Elsewhere => &self.bench.other,
        };
        let request = CreateKey { instance: Some(instance.clone()), origin: Some(origin), ..CreateKey::default() };
        Some(self.bench.kms.create_key(&self.bench.operator, request).await.unwrap().key.id.to_string())
    }

    /// A new key that waits for its deletion.
    pub(super) async fn new_doomed_key(&self, resource: Resource) -> Option<String> {
        let key = self.new_key(resource, Origin::Service).await?;
        if resource != Resource::Absent {
            self.bench.kms.schedule_key_deletion(&self.bench.operator, &key, 7).await.unwrap();
        }
        Some(key)
    }

    /// A token to import material of a key by, and the material wrapped, in base64.
    pub(super) async fn wrapped_material(&self, resource: Resource, key: &str) -> (String, String) {
        if resource == Resource::Absent {
            return ("eA==".to_owned(), "eA==".to_owned());
        }
        let algorithm = WrappingAlgorithm::RsaesOaepSha256;
        let given = self.bench.kms.parameters_for_import(&self.bench.operator, key, algorithm).await.unwrap();
        let public_key = PublicEncryptingKey::from_der(given.public_key.as_der()).unwrap();
        let public_key = OaepPublicEncryptingKey::new(public_key).unwrap();
        let mut wrapped = vec![0; public_key.ciphertext_size()];
        public_key.encrypt(&OAEP_SHA256_MGF1SHA256, &[7; 32], &mut wrapped, None).unwrap();
        (STANDARD.encode(given.token), STANDARD.encode(wrapped))
    }

    /// The name of a new alias, without its prefix.
    pub(super) async fn new_alias(&self, resource: Resource) -> String {
        let name = self.new_name();
        if resource != Resource::Absent {
            let alias = format!("alias/{name}").parse().unwrap();
            let key = self.keys(resource).map_or(&self.in_scope.aes, |keys| &keys.aes);
            self.bench.kms.create_alias(&self.bench.operator, &alias, key.as_str()).await.unwrap();
        }
        name
    }

    /// The name of a new thing.
    pub(super) async fn new_named(&self, resource: Resource, kind: Kept) -> Option<String> {
        self.named(resource)?;
        let name = self.new_name();
        if resource != Resource::Absent {
            self.make(kind, &name).await;
        }
        Some(name)
    }

    /// A new client key of a new access point.
    pub(super) async fn new_client_key(&self, resource: Resource) -> Option<(String, String)> {
        let access_point = self.new_named(resource, Kept::AccessPoint).await?;
        let id = ClientKeyId::from_entropy(random::bytes());
        if resource != Resource::Absent {
            let key = ClientKey { id: id.clone(), access_point: access_point.parse().unwrap(), ..self.client_key.clone() };
            self.bench.store.create_client_key(&key).await.unwrap();
            self.bench.kms.refresh().await.unwrap();
        }
        Some((access_point, id.to_string()))
    }

    async fn make(&self, kind: Kept, called: &str) {
        match kind {
            Kept::NetworkRule => {
                let rule = CreateNetworkRule {
                    name: name(called),
                    kind: NetworkRuleKind::Private,
                    sources: vec![INSIDE.to_owned()],
                    description: String::new(),
                };
                self.bench.kms.create_network_rule(&self.bench.operator, rule).await.unwrap();
            }
            Kept::Policy => {
                let scope = Scope::Instance(self.bench.instance.clone());
                self.policy(called, scope, Permission::CryptoServiceKeyUser, &["key/*".to_owned()], &[]).await;
            }
            Kept::AccessPoint => self.access_point(called, "everything", AuthenticationMethod::ClientKey).await,
        }
    }

    pub(super) async fn policy(&self, called: &str, scope: Scope, permission: Permission, resources: &[String], rules: &[&str]) {
        let policy = CreatePolicy {
            name: name(called),
            scope,
            permissions: vec![permission],
            resources: resources.iter().map(|resource| resource.parse().unwrap()).collect(),
            rules: rules.iter().map(|rule| name(rule)).collect(),
            rules_text: if rules.is_empty() { String::new() } else { json!({ "NetworkRules": rules }).to_string() },
            description: String::new(),
        };
        self.bench.kms.create_policy(&self.bench.operator, policy).await.unwrap();
    }

    pub(super) async fn access_point(&self, called: &str, policy: &str, method: AuthenticationMethod) {
        let point = CreateAccessPoint { name: name(called), method, policies: vec![name(policy)], description: String::new() };
        self.bench.kms.create_access_point(&self.bench.operator, point).await.unwrap();
    }

    /// Callers of the instance protocol: an access point for each, with a policy that is called like it.
    async fn make_clients(&mut self) {
        let own = Scope::Instance(self.bench.instance.clone());
        let some: Vec<_> = [&self.in_scope, &self.elsewhere]
            .into_iter()
            .flat_map(|keys| [&keys.aes, &keys.ec])
            .map(|key| format!("key/{key}"))
            .collect();
        let every = ["key/*".to_owned(), "secret/*".to_owned()];
        let secrets = ["secret/*".to_owned()];
        self.policy("key-user", own.clone(), Permission::CryptoServiceKeyUser, &some, &["in-scope"]).await;
        self.policy("key-user-of-all", own.clone(), Permission::CryptoServiceKeyUser, &every, &[]).await;
        self.policy("no-policy", own.clone(), Permission::CryptoServiceKeyUser, &every, &[]).await;
        self.policy("secret-user", own, Permission::CryptoServiceSecretUser, &every, &[]).await;
        self.policy("shared", Scope::Shared, Permission::SecretUser, &secrets, &[]).await;
        let now = self.bench.clock.now().unix();
        let dated = |from: i64, until: i64| Some((Timestamp::from_unix(now + from), Timestamp::from_unix(now + until)));
        for (credential, called, validity) in [
            (Credential::KeyUser, "key-user", None),
            (Credential::KeyUserOfAll, "key-user-of-all", None),
            (Credential::NoPolicy, "no-policy", None),
            (Credential::SecretUser, "secret-user", None),
            (Credential::Shared, "shared", None),
            (Credential::FutureClientKey, "key-user-of-all", dated(1000, 2000)),
            (Credential::ExpiredClientKey, "key-user-of-all", dated(-1000, 1)),
        ] {
            if validity.is_none() {
                self.access_point(called, called, AuthenticationMethod::ClientKey).await;
            }
            self.clients.push((credential, self.bench.client_key(called, validity).await));
        }
        // The one that is to have expired is made while it is good.
        self.bench.clock.set(Timestamp::from_unix(now + 2));
        self.bench.kms.delete_policy(&self.bench.operator, &name("no-policy")).await.unwrap();
    }

    /// Callers of the OpenAPI.
    async fn make_operators(&mut self) {
        let operators = [
            (Credential::NoStatement, "nobody"),
            (Credential::DisabledAccessKey, "disabled"),
            (Credential::Exactly, "exactly"),
            (Credential::OtherActions, "other-actions"),
            (Credential::OtherResource, "other-resource"),
            (Credential::Denied, "denied"),
        ];
        for (credential, called) in operators {
            let key = self.user(called).await;
            self.access_keys.push((credential, key));
        }
        let disabled = &self.access_key(Credential::DisabledAccessKey).info.id;
        self.bench.store.set_access_key_state(disabled, AccessKeyState::Inactive).await.unwrap();
        self.allow(Credential::DisabledAccessKey, &json!([{ "Effect": "Allow", "Action": "*", "Resource": "*" }])).await;
        self.bench.kms.refresh().await.unwrap();
    }

    /// A user without policies; its AccessKey.
    pub(super) async fn user(&self, called: &str) -> AccessKey {
        let identity = self.identity(called, IdentityKind::User);
        self.bench.store.create_identity(&identity).await.unwrap();
        let key = service::new_access_key(identity.name, self.bench.kms.now());
        self.bench.store.create_access_key(&key).await.unwrap();
        key
    }

    pub(super) fn identity(&self, called: &str, kind: IdentityKind) -> Identity {
        Identity { name: name(called), kind, policies: Vec::new(), description: String::new(), created: self.bench.kms.now() }
    }

    /// Gives an operator or a role these statements instead of those that it had; they hold after the next refresh.
    pub(super) async fn allow(&self, credential: Credential, statements: &Value) {
        let text = json!({ "Version": "1", "Statement": statements }).to_string();
        let policy = service::policy_of(name("own"), &text).unwrap();
        let owner = match sessions::role_of(credential) {
            Some(role) => name(role),
            None => self.access_key(credential).info.owner.clone(),
        };
        self.bench.store.attach_policy(&owner, &policy).await.unwrap();
    }

    pub(super) fn client(&self, credential: Credential) -> &Client {
        &self.clients.iter().find(|(of, _)| *of == credential).expect("it has a client key").1
    }

    pub(super) fn access_key(&self, credential: Credential) -> &AccessKey {
        &self.access_keys.iter().find(|(of, _)| *of == credential).expect("it has an AccessKey").1
    }
}

/// A statement that speaks of requests from inside alone.
pub(super) fn allow_inside(actions: &[&str], resources: &[&str]) -> Value {
    json!({
        "Effect": "Allow", "Action": actions, "Resource": resources,
        "Condition": { "IpAddress": { "acs:SourceIp": [INSIDE] } },
    })
}

pub(super) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn named(called: &str, instance: &InstanceId) -> Named {
    let name = called.to_owned();
    Named { instance: instance.to_string(), rule: name.clone(), policy: name.clone(), access_point: name }
}

async fn keys(bench: &Bench, instance: &InstanceId) -> Keys {
    let operator = &bench.operator;
    let make = async |spec, usage| -> Key {
        let request = CreateKey { instance: Some(instance.clone()), spec: Some(spec), usage: Some(usage), ..CreateKey::default() };
        bench.kms.create_key(operator, request).await.unwrap().key
    };
    let aes = make(KeySpec::Aes256, KeyUsage::EncryptDecrypt).await;
    let rsa = make(KeySpec::Rsa2048, KeyUsage::EncryptDecrypt).await;
    let ec = make(KeySpec::EcP256, KeyUsage::SignVerify).await;
    let hmac = make(KeySpec::HmacSha256, KeyUsage::GenerateVerifyMac).await;
    let secret = || SecretBytes::new(b"eA==".to_vec());
    let sealed = bench.kms.operator_encrypt(operator, aes.id.as_str(), Vec::new(), secret()).await.unwrap().ciphertext;
    let version = (rsa.id.as_str(), &rsa.primary_version);
    let oaep = EncryptionAlgorithm::RsaesOaepSha256;
    let rsa_ciphertext = bench.kms.asymmetric_encrypt(operator, version, oaep, secret()).await.unwrap().ciphertext;
    Keys {
        aes: aes.id,
        sealed: SelfContained::parse_blob(&sealed).unwrap(),
        rsa_ciphertext: STANDARD.encode(rsa_ciphertext),
        rsa: rsa.id,
        rsa_version: rsa.primary_version,
        ec: ec.id,
        ec_version: ec.primary_version,
        hmac: hmac.id,
    }
}

/// What looks like keys, and is not there.
fn absent_keys() -> Keys {
    let id = KeyId::from_entropy(random::bytes());
    let version = KeyVersionId::from_entropy(&id, random::bytes());
    Keys {
        sealed: SelfContained { version: version.clone(), iv: [7; 12], ciphertext: vec![7; 20] },
        rsa_ciphertext: STANDARD.encode([7; 256]),
        aes: id.clone(),
        rsa: id.clone(),
        rsa_version: version.clone(),
        ec: id.clone(),
        ec_version: version,
        hmac: id,
    }
}
