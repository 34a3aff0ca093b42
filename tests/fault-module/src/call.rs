//! The way of every call: counted, whatever the rules say, through its gate, into the real module, and back.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use cryptoki_sys::{
    CK_OBJECT_HANDLE, CK_RV, CK_SESSION_HANDLE, CK_SLOT_ID, CK_ULONG, CKR_BUFFER_TOO_SMALL, CKR_CRYPTOKI_NOT_INITIALIZED, CKR_OK,
    CKR_SESSION_HANDLE_INVALID, CKR_SLOT_ID_INVALID,
};

use crate::function::Function;
use crate::lie::Lie;
use crate::module::Module;
use crate::rule::{Operation, Subject};
use crate::session::Session;
use crate::slot::Slot;

/// What a call is for.
enum Target<'a> {
    /// The life of the library: C_Initialize and C_Finalize, which pass no gate.
    Life,
    /// The library.
    Library,
    /// A slot, as the program numbers it.
    Slot(CK_SLOT_ID),
    /// A session, as the program numbers it, and what the call is made with.
    Session(CK_SESSION_HANDLE, Option<&'a Arc<Session>>, With),
}

/// What a call for a session is made with.
#[derive(Clone, Copy)]
pub enum With {
    /// Nothing that a rule can name.
    Nothing,
    /// So many bytes of data.
    Data(CK_ULONG),
    /// A key, as the program numbers it.
    Key(CK_OBJECT_HANDLE),
}

/// C_Initialize and C_Finalize.
pub fn life(module: &Module, function: Function, work: impl FnOnce() -> CK_RV) -> CK_RV {
    guided(module, function, &Target::Life, work, || {}, |_| {})
}

/// A call that belongs to no slot.
pub fn library(module: &Module, function: Function, work: impl FnOnce() -> CK_RV) -> CK_RV {
    guided(module, function, &Target::Library, || inside_library(module, work), || {}, |_| {})
}

/// A call for a slot.
pub fn slot(module: &Module, function: Function, number: CK_SLOT_ID, work: impl FnOnce(&Arc<Slot>) -> CK_RV) -> CK_RV {
    let work = || {
        inside_library(module, || match module.slot(number) {
            Some(slot) => work(&slot),
            None => CKR_SLOT_ID_INVALID,
        })
    };
    guided(module, function, &Target::Slot(number), work, || {}, |_| {})
}

/// A call for a session.
pub fn session(module: &Module, function: Function, number: CK_SESSION_HANDLE, work: impl FnOnce(&Arc<Session>) -> CK_RV) -> CK_RV {
    operation(module, function, number, With::Nothing, work, |_| {})
}

/// A call for a session with a key, as the program numbers it.
pub fn keyed(
    module: &Module,
    function: Function,
    number: CK_SESSION_HANDLE,
    key: CK_OBJECT_HANDLE,
    work: impl FnOnce(&Arc<Session>) -> CK_RV,
) -> CK_RV {
    operation(module, function, number, With::Key(key), work, |_| {})
}

/// A call for a session that ends an operation there, or would. `end` ends it when a rule has answered the call instead.
pub fn operation(
    module: &Module,
    function: Function,
    number: CK_SESSION_HANDLE,
    with: With,
    work: impl FnOnce(&Arc<Session>) -> CK_RV,
    end: impl FnOnce(&Session),
) -> CK_RV {
    result(module, function, number, with, work, end, |_| {})
}

/// A call for a session that gives a result. `lie` makes that wrong when the real module has succeeded and a rule says so.
pub fn result(
    module: &Module,
    function: Function,
    number: CK_SESSION_HANDLE,
    with: With,
    work: impl FnOnce(&Arc<Session>) -> CK_RV,
    end: impl FnOnce(&Session),
    lie: impl FnOnce(Lie),
) -> CK_RV {
    // Looked up before anything can take time: afterwards the number may be somebody else's.
    let session = module.sessions.find(number);
    let session = session.as_ref();
    let end = || {
        if let Some(session) = session
            && let Ok(_inside) = session.gate.enter()
        {
            end(session);
        }
    };
    guided(module, function, &Target::Session(number, session, with), || inside_session(module, session, work), end, lie)
}

fn inside_library(module: &Module, work: impl FnOnce() -> CK_RV) -> CK_RV {
    match module.gate.enter() {
        Ok(_inside) => work(),
        Err(_) => CKR_CRYPTOKI_NOT_INITIALIZED,
    }
}

fn inside_session(module: &Module, session: Option<&Arc<Session>>, work: impl FnOnce(&Arc<Session>) -> CK_RV) -> CK_RV {
    if let Some(session) = session
        && let Ok(inside) = session.gate.enter()
    {
        if inside.others != 0 {
            module.overlaps.fetch_add(1, Ordering::Relaxed);
        }
        return work(session);
    }
    refusal(module, session)
}

/// What a call is told that has no session, or one that is closed.
fn refusal(module: &Module, session: Option<&Arc<Session>>) -> CK_RV {
    if module.gate.is_shut() {
        return CKR_CRYPTOKI_NOT_INITIALIZED;
    }
    let Some(session) = session else { return CKR_SESSION_HANDLE_INVALID };
    let refusal = session.refusal();
    // The table kept it so that it could be told. One that is being closed may yet stay open.
    if session.gate.is_dead() {
        module.sessions.remove(session);
    }
    refusal
}

fn guided(
    module: &Module,
    function: Function,
    target: &Target<'_>,
    work: impl FnOnce() -> CK_RV,
    end: impl FnOnce(),
    lie: impl FnOnce(Lie),
) -> CK_RV {
    module.counts.called(function);
    let answer = if module.rules.concern(function) { ruled(module, function, target, work, end, lie) } else { work() };
    module.counts.answered(function, answer);
    answer
}

fn ruled(
    module: &Module,
    function: Function,
    target: &Target<'_>,
    work: impl FnOnce() -> CK_RV,
    end: impl FnOnce(),
    lie: impl FnOnce(Lie),
) -> CK_RV {
    let plan = module.rules.plan(function, &target.subject(module));
    if !plan.latency.is_zero() {
        std::thread::sleep(plan.latency);
    }
    if plan.hangs_before {
        module.hang.here();
    }
    if plan.crashes_before {
        std::process::abort();
    }
    if let Some((answer, operation)) = plan.instead {
        // A real module ends the operation with every error but this one.
        if operation == Operation::Ends && answer != CKR_BUFFER_TOO_SMALL {
            end();
        }
        return answer;
    }
    let answer = work();
    if let (CKR_OK, Some(told)) = (answer, plan.lie) {
        lie(told);
    }
    if plan.crashes_after {
        std::process::abort();
    }
    if plan.hangs_after {
        let generation = module.generation();
        module.hang.here();
        if let Some(lost) = target.lost_since(module, function, generation) {
            return lost;
        }
    }
    let rephrased = plan.rephrased.iter().find(|(from, _)| *from == answer).map(|(_, to)| *to);
    plan.afterwards.or(rephrased).unwrap_or(answer)
}

impl<'a> Target<'a> {
    fn subject(&self, module: &'a Module) -> Subject<'a> {
        let nothing = Subject { session: None, slot: None, label: Box::new(|| None), data: None, key: Box::new(|| None) };
        match *self {
            Self::Life | Self::Library => nothing,
            Self::Slot(number) => Subject {
                slot: Some(number),
                label: Box::new(move || module.slot(number).and_then(|slot| label(module, &slot))),
                ..nothing
            },
            Self::Session(number, None, _) => Subject { session: Some(number), ..nothing },
            Self::Session(number, Some(session), with) => Subject {
                session: Some(number),
                slot: Some(session.slot.visible()),
                label: Box::new(move || label(module, &session.slot)),
                data: match with {
                    With::Data(bytes) => Some(bytes),
                    With::Nothing | With::Key(_) => None,
                },
                key: Box::new(move || match with {
                    With::Key(key) => session.key_id(&module.real, key),
                    With::Nothing | With::Data(_) => None,
                }),
            },
        }
    }

    /// What is answered instead, if what the call was for has gone while the answer hung.
    fn lost_since(&self, module: &Module, function: Function, generation: u64) -> Option<CK_RV> {
        match self {
            Self::Life => None,
            // Closed is what it was to be.
            Self::Session(..) if function == Function::C_CloseSession => None,
            Self::Library | Self::Slot(_) => (module.generation() != generation).then_some(CKR_CRYPTOKI_NOT_INITIALIZED),
            Self::Session(_, None, _) => None,
            Self::Session(_, Some(session), _) => session.gate.is_shut().then(|| refusal(module, Some(session))),
        }
    }
}

/// The label of a slot's token, while the real module can be asked.
fn label(module: &Module, slot: &Slot) -> Option<String> {
    let _inside = module.gate.enter().ok()?;
    slot.label(&module.real)
}
