//! Making a key object: made, read back, looked at, and then somebody's or nobody's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::base::{Error, Kind, Result};
use crate::model::key::{Arrival, Material};
use crate::tier::pkcs11::answer::fault::Fault;
use crate::tier::pkcs11::keys::identity::{self, Seen, Way};
use crate::tier::pkcs11::keys::known_good::KeyUse;
use crate::tier::pkcs11::keys::learnt::Learnt;
use crate::tier::pkcs11::keys::read_back;
use crate::tier::pkcs11::keys::template::Made;
use crate::tier::pkcs11::learning::not_reached;
use crate::tier::pkcs11::session::find::{Form, Found};
use crate::tier::pkcs11::session::known_good::Subject;
use crate::tier::pkcs11::session::open::OpenSession;
use crate::tier::pkcs11::slot::order::{Call, Order, Place};
use crate::tier::pkcs11::slot::slot::Slot;
use crate::tier::pkcs11::slot::status::Operation;
use crate::tier::pkcs11::tier::Pkcs11Tier;
use crate::tier::{Created, NewKey, Share};
impl Pkcs11Tier {
    /// Makes the object, checks it, and gives it to the caller or to nobody.
    ///
    /// `subject` is the key that the object comes out of, if it does so.
    pub(super) async fn make<F>(&self, new: NewKey, arrival: Arrival, subject: Option<KeyUse>, make: F) -> Result<Created>
    where
        F: Fn(&OpenSession<'_>, &NewKey, &Learnt) -> Result<Made, Fault> + Send + 'static,
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
        let run = move |session: &OpenSession<'_>| {
            // A key is never made blindly a second time: what a first try may have left is ours, since the id was free before.
            if nurse.may_be_there() {
                session.destroy_leftover(&new.id)?;
            } else if session.has_key(&new.id)? {
                return Err(Error::new(Kind::ResourceExists, "The token has a key of this id.").into());
            }
            nurse.is_being_made();
            let learnt = &known.get().ok_or_else(not_reached)?.learnt;
            let made = make(session, &new, learnt)?;
            let attributes = read_back::read_back(session.binding(), made.handle, arrival)?;
            read_back::check(attributes)?;
            let way = Way::of(new.spec, new.usage, &learnt.capabilities);
            let check_value = match identity::look_at(session, made.handle, new.spec, way, made.public_key.as_ref())? {
                Seen::Value(value) => Some(value),
                Seen::Nothing => None,
                Seen::NotThePair => {
                    let text = "The token made a key that does not compute what it should; the key was destroyed.";
                    return Err(Error::new(Kind::Internal, text).into());
                }
            };
            session.remember(&new.id, Found { handle: made.handle, form: Form::of(new.spec) });
            Ok((made.public_key, attributes, check_value))
        };
        let (public_key, attributes, check_value) = self.slot.run(order, Making { subject, run }).await?;
        Ok(Created {
            material: Material::Resident(guard.claim()),
            public_key: public_key.map(|key| key.spki().clone()),
            attributes: Some(attributes),
            check_value,
        })
    }
}

/// A call that makes an object.
struct Making<F> {
    subject: Option<KeyUse>,
    run: F,
}

impl<T, F: Fn(&OpenSession<'_>) -> Result<T, Fault> + Send> Call<T> for Making<F> {
    fn run(&self, session: &OpenSession<'_>) -> Result<T, Fault> {
        (self.run)(session)
    }

    fn subject(&self) -> Option<&dyn Subject> {
        self.subject.as_ref().map(|subject| subject as &dyn Subject)
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
