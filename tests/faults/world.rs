//! A tier in front of a token in front of faults.

use std::sync::Arc;
use std::time::{Duration, Instant};

use keystead::base::{Kind, Pin, Result, random};
use keystead::model::algorithm::{KeySpec, KeyUsage};
use keystead::model::key::Material;
use keystead::model::{KeyId, KeyVersionId};
use keystead::tier::pkcs11::{Oversubscription, Pkcs11Tier, Settings};
use keystead::tier::status::SlotStatus;
use keystead::tier::{KeyHandle, NewKey, StoredKey, Tier};

use crate::calls::until;
use crate::fault::{self, Fault};
use crate::isolated::relief;
use crate::softhsm;

/// How long a call may take here: hangs are waited for.
pub const DEADLINE: Duration = Duration::from_millis(500);
/// How long making a key may take here.
pub const GENERATION_DEADLINE: Duration = Duration::from_millis(2_000);

/// How long after a connection that took too long the next one is tried.
const AGAIN: Duration = Duration::from_millis(300);
/// How long anything may take here that is tried again and again because the machine is busy.
const PATIENCE: Duration = Duration::from_secs(180);

/// The settings of a token of one's own, behind the faults.
pub fn settings(label: &str) -> Settings {
    let uri = softhsm::uri(label).parse().unwrap();
    let settings = Settings::new(fault::module(), uri, Pin::new(softhsm::PIN.to_owned()));
    // Faults are met by many calls at once, although this token is one in software.
    Settings { deadline: DEADLINE, oversubscription: Oversubscription::Allow, relief: relief(), ..settings }
}

/// Connects. What a token can do is found out by making key pairs, which on a busy machine may take longer than a test gives a call;
/// then once more, when the call that was given up has let go of the token.
pub async fn connect(settings: Settings) -> Arc<Pkcs11Tier> {
    let begun = Instant::now();
    loop {
        match Pkcs11Tier::connect(settings.clone()).await {
            Ok(tier) => return Arc::new(tier),
            Err(error) => {
                assert!(error.kind() == Kind::Unavailable && begun.elapsed() < PATIENCE, "the token is not connected: {error}");
                println!("once more: {error}");
                // The tests that took too long have the token until they end.
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

pub fn new_key(spec: KeySpec, usage: KeyUsage) -> NewKey {
    let key = KeyId::from_entropy(random::bytes());
    let version = KeyVersionId::from_entropy(&key, random::bytes());
    NewKey { id: version.as_str().as_bytes().to_vec(), label: key.to_string(), spec, usage }
}

/// What a call of the preparations gives. On a busy machine it may take longer than a test gives a call; then once more, when the
/// call that was given up is back.
pub async fn prepared<T>(tier: &Pkcs11Tier, call: impl AsyncFn() -> Result<T>) -> T {
    let begun = Instant::now();
    loop {
        match call().await {
            Ok(value) => return value,
            Err(error) => {
                let is_busy = matches!(error.kind(), Kind::Throttled | Kind::Unavailable);
                assert!(is_busy && begun.elapsed() < PATIENCE, "the preparations fail: {error}");
                println!("once more: {error}");
                until("what was given up is back", PATIENCE, async || tier.status().sessions.written_off == 0).await;
            }
        }
    }
}

/// Makes a key and opens it.
pub async fn key(tier: &Pkcs11Tier, spec: KeySpec, usage: KeyUsage) -> (Vec<u8>, Arc<dyn KeyHandle>) {
    let (id, created) = prepared(tier, async || {
        let new = new_key(spec, usage);
        Ok((new.id.clone(), tier.create(new).await?))
    })
    .await;
    let open = async || {
        let (material, public_key) = (Material::Resident(id.clone()), created.public_key.clone());
        tier.open(StoredKey { spec, usage, material, public_key, witness: None }).await
    };
    let opened = prepared(tier, open).await;
    (id, opened)
}

/// What the module counts as open on the slot, and what the tier says.
pub fn open_sessions(fault: &Fault, status: &SlotStatus) -> (u64, u64) {
    let slot = status.token.as_ref().map_or(0, |token| token.slot_id);
    (fault.sessions(slot), status.sessions.open as u64)
}

/// Module and tier agree on how many sessions are open: those that were given up are closed when they come back.
pub async fn sessions_agree(fault: &Fault, tier: &Pkcs11Tier) {
    until("module and tier count the same sessions", PATIENCE, async || {
        let (real, told) = open_sessions(fault, &tier.status());
        real == told
    })
    .await;
}
