//! Making a key object: made, read back, looked at, and then somebody's or nobody's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::base::{Error, Kind, Result};
use crate::model::key::{Arrival, KeyAttributes, Material};
use crate::tier::pkcs11::keys::identity::{self, Seen, Way};
use crate::tier::pkcs11::keys::template::{self, Made};
use crate::tier::pkcs11::session::find::{Form, Found};
use crate::tier::pkcs11::session::open::{Calling, Fault};
use crate::tier::pkcs11::slot::sessions::Place;
use crate::tier::pkcs11::slot::slot::{Order, Slot};
use crate::tier::pkcs11::slot::status::Operation;
use crate::tier::pkcs11::{Known, Pkcs11Tier, not_reached};
use crate::tier::{Created, NewKey, Share};
impl Pkcs11Tier {
    /// Makes the object, checks it, and gives it to the caller or to nobody.
    pub(super) async fn make<F>(&self, new: NewKey, arrival: Arrival, make: F) -> Result<Created>
    where
        F: Fn(&Calling<'_>, &NewKey, &Known) -> Result<Made, Fault> + Send + 'static,
    {
        let operation = match arrival {
            Arrival::Generated => Operation::Generate,
            Arrival::Created | Arrival::Unwrapped => Operation::Import,
        };
        let known = Arc::clone(&self.known);
        let deadline = self.slot.settings.generation_deadline;
        let order = Order { place: Place::Generation, ..self.order(operation, Share::default(), deadline) };
        let guard = Arc::new(Newborn { slot: Arc::clone(&self.slot), id: new.id.clone(), state: AtomicU8::new(Newborn::NOT_MADE) });
        let nurse = Arc::clone(&guard);
        let call = move |calling: &Calling<'_>| {
            // A key is never made blindly a second time: what a first try may have left is ours, since the id was free before.
            if nurse.may_be_there() {
                calling.destroy_leftover(&new.id)?;
            } else if calling.has_key(&new.id)? {
                return Err(Error::new(Kind::ResourceExists, "The token has a key of this id.").into());
            }
            nurse.is_being_made();
            let known = known.get().ok_or_else(not_reached)?;
            let made = make(calling, &new, known)?;
            let attributes = template::read_back(calling.session(), made.handle, arrival)?;
            check(attributes)?;
            let way = Way::of(new.spec, new.usage, &known.capabilities);
            let check_value = match identity::look_at(calling, made.handle, new.spec, way, made.public_key.as_ref())? {
                Seen::Value(value) => Some(value),
                Seen::Nothing => None,
                Seen::NotThePair => {
                    let text = "The token made a key that does not compute what it should; the key was destroyed.";
                    return Err(Error::new(Kind::Internal, text).into());
                }
            };
            calling.remember(&new.id, Found { handle: made.handle, form: Form::of(new.spec) });
            Ok((made.public_key, attributes, check_value))
        };
        let (public_key, attributes, check_value) = self.slot.run(order, call).await?;
        Ok(Created {
            material: Material::Resident(guard.claim()),
            public_key: public_key.map(|key| key.spki().clone()),
            attributes: Some(attributes),
            check_value,
        })
    }
}

/// What is claimed of a key must be what the token says of it.
pub(super) fn check(attributes: KeyAttributes) -> Result<()> {
    let KeyAttributes { arrival, local, sensitive, always_sensitive, extractable, never_extractable } = attributes;
    let holds = match arrival {
        Arrival::Generated => local && sensitive && always_sensitive && !extractable && never_extractable,
        Arrival::Created | Arrival::Unwrapped => sensitive && !extractable,
    };
    if holds {
        Ok(())
    } else {
        Err(Error::new(Kind::Internal, "The token made a key that it does not protect as it was told to; the key was destroyed.")
            .caused_by(format!("{attributes:?}")))
    }
}

/// A new object, held by its caller and by the job that makes it: when the last of them lets go and nobody claimed it, it is
/// destroyed. The caller may go away at any moment, and so may the token.
struct Newborn {
    slot: Arc<Slot>,
    id: Vec<u8>,
    state: AtomicU8,
}

impl Newborn {
    const NOT_MADE: u8 = 0;
    const MAY_BE_THERE: u8 = 1;
    const CLAIMED: u8 = 2;

    fn may_be_there(&self) -> bool {
        self.state.load(Ordering::Acquire) == Self::MAY_BE_THERE
    }

    fn is_being_made(&self) {
        self.state.store(Self::MAY_BE_THERE, Ordering::Release);
    }

    /// The id, now the caller's.
    fn claim(&self) -> Vec<u8> {
        self.state.store(Self::CLAIMED, Ordering::Release);
        self.id.clone()
    }
}

impl Drop for Newborn {
    fn drop(&mut self) {
        if self.may_be_there() {
            self.slot.orphan(std::mem::take(&mut self.id));
        }
    }
}
