//! No room at any statement of any use case that writes: the use case fails and changes nothing, and with room again it works, on the same
//! store. A trigger does what SQLite does when a write fails: it ends the transaction, and the statement with an error.

use keystead::model::algorithm::WrappingAlgorithm;
use keystead::model::operator::{AttachedPolicy, BuiltIn, Identity};
use keystead::model::rotation::RotationAttempt;
use keystead::model::tags::TaggedResource;
use keystead::store::{OidcProviderChange, Placement, Sending, WrappingKey};

use sqlx::sqlite::SqlitePoolOptions;

use super::alerts::alert;
use super::oidc_providers::provider;
use super::roles::role;
use super::*;

/// A disk without room for any change of any table.
struct Disk {
    raw: SqlitePool,
    /// What was done, and how many of its statements found no room.
    failures: Vec<(&'static str, usize)>,
}

/// A statement that changes a table.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Change {
    operation: String,
    table: String,
}

impl Change {
    fn text(&self) -> String {
        format!("no room: {} {}.", self.operation, self.table)
    }

    async fn refuse(&self, raw: &SqlitePool) {
        let Self { operation, table } = self;
        let text = self.text();
        let statement = format!(
            "CREATE TRIGGER no_room_{operation}_{table} BEFORE {operation} ON {table} BEGIN SELECT RAISE(ROLLBACK, '{text}'); END"
        );
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(raw).await.unwrap();
    }

    async fn let_through(&self, raw: &SqlitePool) {
        let statement = format!("DROP TRIGGER no_room_{}_{}", self.operation, self.table);
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(raw).await.unwrap();
    }
}

async fn changes(raw: &SqlitePool) -> Vec<Change> {
    let statement =
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_sqlx%' ESCAPE '\\' AND name NOT LIKE 'sqlite%'";
    let tables: Vec<String> = sqlx::query_scalar(statement).fetch_all(raw).await.unwrap();
    let of_table = |table: &String| {
        ["INSERT", "UPDATE", "DELETE"].map(|operation| Change { operation: operation.to_owned(), table: table.clone() })
    };
    tables.iter().flat_map(of_table).collect()
}

impl Disk {
    async fn of(bench: &Bench) -> Self {
        // One connection: another one may think that a trigger is there that was dropped.
        let options = SqliteConnectOptions::new().filename(bench.path());
        let raw = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
        for change in changes(&raw).await {
            change.refuse(&raw).await;
        }
        Self { raw, failures: Vec::new() }
    }

    /// Does `write` again and again: each time one more of its statements finds room.
    async fn step<T>(&mut self, name: &'static str, mut write: impl AsyncFnMut() -> Result<T, Error>) -> T {
        let all = changes(&self.raw).await;
        let mut roomy = Vec::new();
        let done = loop {
            match write().await {
                Ok(done) => break done,
                Err(error) => {
                    let causes = error.causes();
                    let change = all.iter().find(|change| causes.contains(&change.text()));
                    let change = change.unwrap_or_else(|| panic!("{name}: {error:?} after room for {roomy:?}"));
                    assert_eq!(error.kind(), Kind::Unavailable, "{name}");
                    change.let_through(&self.raw).await;
                    roomy.push(change.clone());
                }
            }
        };
        for change in &roomy {
            change.refuse(&self.raw).await;
        }
        self.failures.push((name, roomy.len()));
        done
    }
}

/// `step!(disk, store.create_policy(&policy))`: one use case.
macro_rules! step {
    ($disk:ident, $store:ident.$door:ident($($argument:expr),* $(,)?)) => {
        $disk.step(stringify!($door), async || $store.$door($($argument),*).await).await
    };
}

#[tokio::test]
async fn whichever_statement_finds_no_room_the_use_case_works_when_there_is_room() {
    let bench = bench().await;
    let store = &bench.store;
    let mut disk = Disk::of(&bench).await;
    step!(disk, store.register_instance(&instance(), "a", InstanceKind::Hardware, NOW));
    step!(disk, store.contexts_bound_since(NOW));
    let authorities = Authorities {
        root_certificate: vec![1],
        root_key: SecretBytes::new(SECRET.to_vec()),
        issuing_certificate: vec![2],
        issuing_key: SecretBytes::new(SECRET.to_vec()),
    };
    step!(disk, store.put_authorities(&authorities));
    access(&mut disk, store).await;
    operators(&mut disk, store).await;
    keys(&mut disk, store).await;
    imports(&mut disk, &bench).await;
    outbox(&mut disk, store).await;
    step!(disk, store.remember_audit_position("server", (1, [1; 32])));
    for (name, failures) in disk.failures {
        assert!(failures > 0, "{name} writes nothing");
    }
}

async fn access(disk: &mut Disk, store: &Store) {
    step!(disk, store.create_network_rule(&rule("rule_a")));
    step!(disk, store.update_network_rule(&name("rule_a"), None, Some("another")));
    step!(disk, store.create_policy(&policy("policy_a")));
    step!(disk, store.update_policy(&name("policy_a"), &PolicyChange::default()));
    step!(disk, store.create_access_point(&access_point("a")));
    step!(disk, store.update_access_point(&name("a"), None, Some("another")));
    let client_key = client_key("a");
    step!(disk, store.create_client_key(&client_key));
    step!(disk, store.record_uses(&[(client_key.id.clone(), NOW)]));
    let (rule, policy, point) = (rule("rule_b"), policy("policy_b"), access_point("b"));
    let other = super::client_key("b");
    step!(disk, store.create_access(Some(&rule), &policy, &point, Some(&other)));
    step!(disk, store.delete_client_key(&client_key.id));
    step!(disk, store.delete_access_point(&name("b")));
    step!(disk, store.delete_policy(&name("policy_b")));
    step!(disk, store.delete_network_rule(&name("rule_b")));
}

async fn operators(disk: &mut Disk, store: &Store) {
    let administrator = access_key("administrator");
    step!(disk, store.replace_administrator(&administrator));
    let built_in = AttachedPolicy::BuiltIn(BuiltIn::ALL[0]);
    let identity = |called: &str, kind| Identity {
        name: name(called),
        kind,
        policies: vec![built_in.clone()],
        description: String::new(),
        created: NOW,
    };
    step!(disk, store.create_identity(&identity("alice", IdentityKind::User)));
    step!(disk, store.attach_policy(&name("alice"), &AttachedPolicy::BuiltIn(BuiltIn::ALL[1])));
    step!(disk, store.detach_policy(&name("alice"), &name(BuiltIn::ALL[1].name())));
    let key = access_key("alice");
    step!(disk, store.create_access_key(&key));
    step!(disk, store.set_access_key_state(&key.info.id, AccessKeyState::Inactive));
    step!(disk, store.delete_access_key(&key.info.id));
    step!(disk, store.delete_identity(&name("alice")));
    let (identity, role) = role("r", "acs:ram::0:user/alice");
    step!(disk, store.create_role(&identity, &role));
    step!(disk, store.change_role(&name("r"), None, Some(role.max_session)));
    let provider = provider("o");
    step!(disk, store.create_oidc_provider(&provider));
    let change = OidcProviderChange { client_ids: Some(provider.client_ids.clone()), ..OidcProviderChange::default() };
    step!(disk, store.change_oidc_provider(&name("o"), &change));
    step!(disk, store.delete_oidc_provider(&name("o")));
}

async fn keys(disk: &mut Disk, store: &Store) {
    let (one, version) = key();
    step!(disk, store.intend_key(&intent(&one)));
    step!(disk, store.withdraw_intent(&version));
    step!(disk, store.intend_key(&intent(&one)));
    let tags = || Tags::from_list([("a".parse().unwrap(), "1".parse().unwrap())]).unwrap();
    step!(disk, store.commit_key(&one, &held(&version), &tags(), None));
    let next = KeyVersionId::from_entropy(&one.id, random::bytes());
    let attempt = |_: &Key, _, _| Some(RotationAttempt { number: 1, ends_at: NOW });
    step!(disk, store.claim_rotation(&one.id, attempt));
    step!(disk, store.commit_version(&one.id, &held(&next), None, |_, _| Ok(())));
    step!(disk, store.record_encryptions(&[(version.clone(), 7)]));
    let schedule = |key: &mut Key| {
        key.schedule_deletion(NOW)?;
        Ok(Some(alert("scheduled")))
    };
    step!(disk, store.change_key_and_raise(&one.id, Sending::Queue, schedule));
    let (other, other_version) = key();
    step!(disk, store.commit_key(&other, &held(&other_version), &Tags::default(), None));
    step!(disk, store.change_tags(&[TaggedResource::Key(other.id.clone())], |present| present.add(&tags())));
    let alias: Alias = "alias/a".parse().unwrap();
    step!(disk, store.create_alias(&alias, &one.id, |_| Ok(())));
    step!(disk, store.update_alias(&alias, &other.id, |_| Ok(())));
    step!(disk, store.delete_alias(&alias));
    let deleted = alert("deleted");
    step!(disk, store.create_alias(&alias, &one.id, |_| Ok(())));
    step!(disk, store.delete_key(&one.id, (&deleted, Sending::Queue), |_| Ok(())));
    assert!(store.key(&one.id).await.unwrap().is_none());
}

async fn imports(disk: &mut Disk, bench: &Bench) {
    let store = &bench.store;
    let (made, version) = key();
    let key = Key { origin: Origin::External, state: KeyState::PendingImport, presence: Presence::Absent, ..made };
    let empty = || KeyVersion { material: None, public_key: None, ..held(&version) };
    step!(disk, store.commit_key(&key, &empty(), &Tags::default(), None));
    let object = || KeyVersionId::from_entropy(&key.id, random::bytes());
    let resident = |id: &KeyVersionId| Material::Resident(id.as_str().as_bytes().to_vec());
    let pair = |object: &KeyVersionId| WrappingKey {
        key: key.id.clone(),
        algorithm: WrappingAlgorithm::RsaesOaepSha256,
        private_key: resident(object),
        expires: NOW,
    };
    // Of more than eight the oldest go.
    for _ in 0..9 {
        let object = object();
        store_intent(disk, store, &key, &object).await;
        step!(disk, store.keep_wrapping_key(&pair(&object)));
    }
    step!(disk, store.drop_wrapping_keys(NOW));
    let material = object();
    store_intent(disk, store, &key, &material).await;
    let fingerprint = store.material_fingerprint(&key.id, &SecretBytes::new(SECRET.to_vec()));
    let placed = KeyVersion { material: Some(resident(&material)), ..empty() };
    let change = |key: &mut Key| key.import_material(None);
    let placement = step!(disk, store.place_material(&key.id, &[fingerprint], Some((&material, &placed)), change));
    assert_eq!(placement, Placement::Placed);
    step!(disk, store.erase_material(&key.id, Key::delete_material));
    let erased = store.erased_objects().await.unwrap();
    assert_eq!(erased.len(), 10, "nine pairs and the material");
    step!(disk, store.forget_erased_object(&erased[0].id));
}

async fn store_intent(disk: &mut Disk, store: &Store, key: &Key, object: &KeyVersionId) {
    let intent = KeyIntent { version: object.clone(), ..intent(key) };
    step!(disk, store.intend_key(&intent));
}

async fn outbox(disk: &mut Disk, store: &Store) {
    step!(disk, store.raise_alert(&alert("a"), Sending::Queue));
    let claim = |_| keystead::model::alert::SendingAttempt::next(None, NOW);
    let (claimed, _) = step!(disk, store.claim_alert(claim)).unwrap();
    step!(disk, store.alert_refused(&claimed.id));
    step!(disk, store.alert_sent(&claimed.id));
    step!(disk, store.forget_alert(&claimed.id));
    step!(disk, store.raise_alert(&alert("b"), Sending::Nowhere));
    step!(disk, store.queue_unsent(|_| true));
}
