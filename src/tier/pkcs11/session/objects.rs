//! Which object of the token a key is: its handle is remembered or found, the object shows that it is the key, and an object that is
//! not there is told from a login or a token that is lost.

use cryptoki::object::ObjectHandle;

use crate::base::{Error, Kind};
use crate::tier::pkcs11::answer::fault::Fault;
use crate::tier::pkcs11::answer::{self, Level};
use crate::tier::pkcs11::session::find::{self, Form, Found};
use crate::tier::pkcs11::session::handles::{Known, Refusal, Standing};
use crate::tier::pkcs11::session::open::OpenSession;

/// A key as its owner knows it: what it is found by, and what it is recognised by.
pub(crate) trait Recognise: Send + Sync {
    /// Its CKA_ID.
    fn id(&self) -> &[u8];

    /// Its class and type.
    fn form(&self) -> Form;

    /// Whether an object that has its id must show that it is this key before it is used.
    fn must_be_recognised(&self) -> bool;

    /// Has an object that has its id show which key it is.
    ///
    /// # Errors
    /// The module fails, for another reason than that the object is another key.
    fn recognise(&self, session: &OpenSession<'_>, object: ObjectHandle) -> Result<Recognised, Fault>;
}

/// What an object showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recognised {
    /// It is the key.
    Yes,
    /// The token lacks what it takes to show that, and nothing is known to compare with.
    Unable,
    /// It is another key.
    Another,
}

impl OpenSession<'_> {
    /// Notes where an object is that was made here.
    pub(crate) fn remember(&self, id: &[u8], made: Found) {
        self.memory().handles().prove(self.epoch(), id, made);
    }

    /// Runs `operation` with the handle of a key: remembered or found, and looked at if this is its first use in the epoch. A handle
    /// that the module no longer knows is looked up again, once; the operation had not begun then.
    ///
    /// # Errors
    /// [`Kind::KeyNotFound`] when the token does not have it; [`Kind::Internal`] when it has several, or another one instead.
    pub(crate) fn with_key<T>(
        &self,
        wanted: &dyn Recognise,
        operation: impl Fn(ObjectHandle) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let id = wanted.id();
        let known = self.memory().handles().get(self.epoch(), id);
        if let Some(Known::At(found, standing @ (Standing::Alone | Standing::Proven))) = known
            && found.form == wanted.form()
        {
            let proven =
                if standing == Standing::Proven || !wanted.must_be_recognised() { Ok(()) } else { self.prove(wanted, found) };
            match proven.and_then(|()| operation(found.handle)) {
                Err(Fault::Module(failure)) if answer::is_stale_handle(&failure) => self.memory().handles().lose(self.epoch(), id),
                result => return result,
            }
        }
        let found = self.look_up(wanted)?;
        if wanted.must_be_recognised() {
            self.prove(wanted, found)?;
        }
        operation(found.handle)
    }

    /// Finds a key and has it show which one it is, if it can.
    ///
    /// # Errors
    /// As [`OpenSession::with_key`].
    pub(crate) fn open(&self, wanted: &dyn Recognise) -> Result<(), Fault> {
        let known = self.memory().handles().get(self.epoch(), wanted.id());
        if let Some(Known::At(found, Standing::Alone | Standing::Proven)) = known
            && found.form == wanted.form()
        {
            match self.prove(wanted, found) {
                Err(Fault::Module(failure)) if answer::is_stale_handle(&failure) => {
                    self.memory().handles().lose(self.epoch(), wanted.id());
                }
                result => return result,
            }
        }
        let found = self.look_up(wanted)?;
        self.prove(wanted, found)
    }

    /// The one key of this id, class and type.
    fn look_up(&self, wanted: &dyn Recognise) -> Result<Found, Fault> {
        let form = wanted.form();
        match find::keys(self.binding(), wanted.id(), form)?.as_slice() {
            [handle] => {
                let found = Found { handle: *handle, form };
                self.memory().handles().put(self.epoch(), wanted.id(), found, Standing::Alone);
                Ok(found)
            }
            [] => {
                self.believe_absence(wanted.id(), Some(form))?;
                Err(Error::new(Kind::KeyNotFound, "The token does not have the key.").into())
            }
            [_, _, ..] => Err(self.refuse(wanted.id(), Refusal::Several)),
        }
    }

    /// Has an object show that it is the key that it is taken for.
    fn prove(&self, wanted: &dyn Recognise, found: Found) -> Result<(), Fault> {
        match wanted.recognise(self, found.handle)? {
            Recognised::Yes => self.memory().handles().prove(self.epoch(), wanted.id(), found),
            Recognised::Unable => {}
            Recognised::Another => return Err(self.refuse(wanted.id(), Refusal::Another)),
        }
        Ok(())
    }

    /// Names a key that is not used.
    fn refuse(&self, id: &[u8], why: Refusal) -> Fault {
        let new = self.memory().handles().refuse(self.epoch(), id, why);
        if new {
            self.memory().tell_refusal(id, why);
        }
        why.error(id).into()
    }

    /// Whether the token has a key of this id, of whatever class and type.
    pub(crate) fn has_key(&self, id: &[u8]) -> Result<bool, Fault> {
        Ok(!find::keys_of_any_form(self.binding(), id)?.is_empty())
    }

    /// Destroys the key that the token has of this id. Of several nobody knows which is ours: none is destroyed.
    pub(crate) fn destroy(&self, id: &[u8]) -> Result<(), Fault> {
        // Before it is gone: who misses it meanwhile takes it for no loss.
        self.memory().handles().leaving(id);
        let destroyed = self.destroy_alone(id);
        let mut handles = self.memory().handles();
        match destroyed {
            Ok(()) => handles.destroy(id),
            Err(_) => handles.stays(id),
        }
        destroyed
    }

    /// Destroys what a try to make a key may have left. Its id was free before.
    pub(crate) fn destroy_leftover(&self, id: &[u8]) -> Result<(), Fault> {
        for left in find::keys_of_any_form(self.binding(), id)? {
            self.binding().destroy_object(left)?;
        }
        self.check_login()
    }

    fn destroy_alone(&self, id: &[u8]) -> Result<(), Fault> {
        match find::keys_of_any_form(self.binding(), id)?.as_slice() {
            [] => self.believe_absence(id, None),
            [key] => Ok(self.binding().destroy_object(*key)?),
            [_, _, ..] => Err(self.refuse(id, Refusal::Several)),
        }
    }

    /// An empty find is a lost login or a token without its storage as well as a key that is gone. A key that was there in this
    /// epoch does not vanish on its own; a token that has lost its storage shows none of the other keys either.
    ///
    /// `form` is the class and type that was looked for, if it was one: an object of another one may well be there.
    fn believe_absence(&self, id: &[u8], form: Option<Form>) -> Result<(), Fault> {
        self.check_login()?;
        if self.functions().token(self.epoch().slot_id).is_err() {
            return Err(Fault::Broken(Level::Module, "the token shows no key and tells nothing of itself"));
        }
        let (known, another) = {
            let mut handles = self.memory().handles();
            (handles.get(self.epoch(), id), handles.another(self.epoch(), id))
        };
        if let Some(another) = another {
            return match self.has_key(&another)? {
                true => Ok(()),
                false => Err(Fault::Broken(Level::Module, "the token shows none of its keys")),
            };
        }
        match known {
            Some(Known::At(found, _)) if form.is_some_and(|form| form != found.form) => Ok(()),
            Some(Known::Lost | Known::At(..)) => Err(Fault::Broken(Level::Module, "a key vanished that was there")),
            // An epoch does not begin with an empty token that was not empty before.
            Some(Known::Destroyed) | None => Ok(()),
        }
    }

    /// A token that shows no object has none, unless one is known to be there.
    pub(crate) fn believe_emptiness(&self) -> Result<(), Fault> {
        let known = self.memory().handles().any(self.epoch());
        match known {
            Some(id) if !self.has_key(&id)? => self.believe_absence(&id, None),
            Some(_) | None => Ok(()),
        }
    }
}
