//! Finding out what a token can do: once, by a call of the service itself. A fault ends it, and it begins anew after a pause.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::Instant;

use crate::base::{Error, Kind, Result};
use crate::tier::pkcs11::key::is_inline;
use crate::tier::pkcs11::keys::learnt::Learnt;
use crate::tier::pkcs11::keys::probe;
use crate::tier::pkcs11::session::open::OpenSession;
use crate::tier::pkcs11::slot::capacity::InlineCalls;
use crate::tier::pkcs11::slot::order::{Order, Place};
use crate::tier::pkcs11::slot::slot::Slot;
use crate::tier::pkcs11::slot::status::Operation;
use crate::tier::{Description, Share, TierKind};

/// RSA pairs that the tests of what the token can do make, each of which may take as long as a caller's key.
pub(super) const PAIRS: u32 = 3;
/// How long after a fault what the token can do is tested again: at first, and at the most.
const LEARNING_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// What was found out when the token was reached for the first time.
pub(super) struct Known {
    pub(super) description: Arc<Description>,
    pub(super) learnt: Arc<Learnt>,
}

/// Tests what the token can do, in the background, until a test was ended by no fault.
pub(super) fn keep_learning(slot: &Arc<Slot>, known: &Arc<OnceLock<Known>>) {
    let (slot, known) = (Arc::downgrade(slot), Arc::clone(known));
    tokio::spawn(async move {
        let mut pause = LEARNING_PAUSE.0;
        while let Some(slot) = slot.upgrade() {
            if slot.serving().await.is_err() {
                return;
            }
            if learn(&slot, &known).await.is_ok() {
                return;
            }
            drop(slot);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LEARNING_PAUSE.1);
        }
    });
}

/// Tests what the token can do until a test was ended by no fault, at most until `deadline`.
pub(super) async fn learn_until(slot: &Arc<Slot>, known: &OnceLock<Known>, deadline: Instant) -> Result<()> {
    let mut pause = LEARNING_PAUSE.0;
    loop {
        match learn(slot, known).await {
            Err(error) if Instant::now() + pause >= deadline => {
                return Err(Error::new(Kind::Unavailable, "What the token can do could not be found out.").caused_by(error));
            }
            Err(_) => tokio::time::sleep(pause).await,
            Ok(()) => return Ok(()),
        }
        pause = (pause * 2).min(LEARNING_PAUSE.1);
    }
}

/// Nothing is known of the token yet.
pub(super) fn not_reached() -> Error {
    Error::new(Kind::Unavailable, "The hardware security module was not reached yet.")
}

/// The token is there, and nothing is refused yet for want of an ability.
pub(super) fn not_learnt() -> Error {
    Error::new(Kind::Throttled, "What the hardware security module can do is being found out; try again.")
}

/// Finds out what the token can do, once; logs the fault that ended the tests.
pub(super) async fn learn(slot: &Arc<Slot>, known: &OnceLock<Known>) -> Result<()> {
    let deadline = Instant::now() + slot.settings.generation_deadline * PAIRS;
    // Key pairs are made for it: that has a lane of its own.
    let order = Order { operation: Operation::Health, share: Share::default(), place: Place::Generation, deadline };
    let oaep = slot.settings.oaep;
    let tested = slot.run(order, move |session: &OpenSession<'_>| probe::probe(session, oaep)).await;
    let probed = tested.inspect_err(|error| {
        tracing::warn!(token = %slot.name(), ?error, "a fault ended the tests of what the token can do; they begin anew after a pause");
    })?;
    let token = slot.token().ok_or_else(not_reached)?;
    let name = format!("{} ({} {}, serial {})", token.label, token.manufacturer, token.model, token.serial);
    let inline = probed.learnt.capabilities.iter().any(|line| is_inline(line.cost));
    let inline = if inline { InlineCalls::Some } else { InlineCalls::None };
    let learnt = Arc::new(probed.learnt);
    slot.learn(Arc::<Learnt>::clone(&learnt), probed.computes, inline);
    tracing::info!(token = name, sessions = slot.capacity.sessions(), "connected to the token");
    let (capabilities, deadline) = (learnt.capabilities.clone(), slot.settings.deadline);
    let description = Arc::new(Description { kind: TierKind::Hardware, name, capabilities, deadline });
    let _ = known.set(Known { description, learnt });
    Ok(())
}
