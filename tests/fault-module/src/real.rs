//! The module behind this one: where it is, how it is loaded, how its functions are called.

#![expect(unsafe_code, reason = "PKCS #11 is a C interface")]

use std::path::PathBuf;
use std::ptr;

use cryptoki_sys::{
    CK_ATTRIBUTE, CK_BBOOL, CK_FALSE, CK_FUNCTION_LIST, CK_OBJECT_HANDLE, CK_RV, CK_SESSION_HANDLE, CK_SLOT_ID, CK_TOKEN_INFO,
    CK_TRUE, CK_ULONG, CKA_ID, CKR_BUFFER_TOO_SMALL, CKR_FUNCTION_NOT_SUPPORTED, CKR_OK, Pkcs11,
};

use crate::rv;

/// Names the real module.
const TARGET: &str = "KEYSTEAD_FAULT_TARGET";

/// Where SoftHSM is, when nothing is named.
const USUAL_PLACES: &[&str] = &[
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
];

/// The longest CKA_ID that a rule can name, in bytes.
const LONGEST_ID: usize = 256;

/// A loaded module.
pub struct Real {
    /// Its functions.
    pub list: CK_FUNCTION_LIST,
    /// Keeps the library mapped for as long as `list` is used.
    _library: Pkcs11,
}

/// Calls a function of the real module, with the arguments of the program's call: `real!(module, C_Sign(session, …))`.
macro_rules! real {
    ($module:expr, $name:ident($($argument:expr),* $(,)?)) => {
        match $module.real.list.$name {
            // SAFETY: the arguments are those that the program gave for this very function, with handles that the real module
            // gave out, or valid places of ours; the caller of a PKCS #11 function answers for the rest.
            Some(function) => unsafe { function($($argument),*) },
            None => cryptoki_sys::CKR_FUNCTION_NOT_SUPPORTED,
        }
    };
}
pub(crate) use real;

impl Real {
    /// Loads the module that the environment names, or SoftHSM.
    ///
    /// # Errors
    /// A text for the operator.
    pub fn load() -> Result<Self, String> {
        let path = path()?;
        let failed = |why: String| format!("the module {} cannot be loaded: {why}", path.display());
        // SAFETY: loading runs the library's constructors; the operator named it.
        let library = unsafe { Pkcs11::new(&path) }.map_err(|error| failed(error.to_string()))?;
        if let Err(error) = &library.C_GetFunctionList {
            return Err(failed(error.to_string()));
        }
        let mut list = ptr::null_mut();
        // SAFETY: the symbol is there, and `list` is a valid place for one pointer.
        let answer = unsafe { library.C_GetFunctionList(&mut list) };
        if answer != CKR_OK || list.is_null() {
            return Err(failed(format!("C_GetFunctionList: {}", rv::name(answer))));
        }
        // SAFETY: C_GetFunctionList succeeded: `list` points to the module's static CK_FUNCTION_LIST (PKCS #11, section 5.4).
        let list = unsafe { *list };
        Ok(Self { list, _library: library })
    }

    /// All slots. The module is initialised and stays so for the length of the call.
    pub fn slots(&self, present: Present) -> Result<Vec<CK_SLOT_ID>, CK_RV> {
        let list = self.list.C_GetSlotList.ok_or(CKR_FUNCTION_NOT_SUPPORTED)?;
        loop {
            let mut count: CK_ULONG = 0;
            // SAFETY: `count` is a valid place, and a null list asks for the count only.
            let answer = unsafe { list(present.raw(), ptr::null_mut(), &mut count) };
            if answer != CKR_OK {
                return Err(answer);
            }
            let mut slots = vec![0; count as usize];
            // SAFETY: `slots` has room for `count` numbers.
            let answer = unsafe { list(present.raw(), slots.as_mut_ptr(), &mut count) };
            match answer {
                CKR_OK => {
                    slots.truncate(count as usize);
                    return Ok(slots);
                }
                // One more came in between.
                CKR_BUFFER_TOO_SMALL => {}
                other => return Err(other),
            }
        }
    }

    /// The label of the token in a slot. The module is initialised and stays so for the length of the call.
    pub fn label(&self, slot: CK_SLOT_ID) -> Option<String> {
        let mut info = CK_TOKEN_INFO::default();
        // SAFETY: `info` is a valid place for one CK_TOKEN_INFO.
        let answer = unsafe { self.list.C_GetTokenInfo?(slot, &mut info) };
        let end = info.label.iter().position(|byte| *byte == 0).unwrap_or(info.label.len());
        (answer == CKR_OK).then(|| String::from_utf8_lossy(&info.label[..end]).trim_end().to_owned())
    }

    /// The CKA_ID of an object. The session is open and stays so for the length of the call.
    pub fn id(&self, session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE) -> Option<Vec<u8>> {
        let mut id = vec![0_u8; LONGEST_ID];
        let mut asked = CK_ATTRIBUTE { type_: CKA_ID, pValue: id.as_mut_ptr().cast(), ulValueLen: id.len() as CK_ULONG };
        // SAFETY: `asked` is one attribute with room for as many bytes as it says.
        let answer = unsafe { self.list.C_GetAttributeValue?(session, object, &mut asked, 1) };
        id.truncate(asked.ulValueLen as usize);
        (answer == CKR_OK).then_some(id)
    }

    /// C_Logout, on command.
    pub fn log_out(&self, session: CK_SESSION_HANDLE) -> CK_RV {
        // SAFETY: no pointer is given; a handle that is not valid is an error of the call.
        self.list.C_Logout.map_or(CKR_FUNCTION_NOT_SUPPORTED, |log_out| unsafe { log_out(session) })
    }

    /// C_CloseAllSessions, on command. No call with such a session is under way: SoftHSM crashes otherwise.
    pub fn close_all_sessions(&self, slot: CK_SLOT_ID) -> CK_RV {
        // SAFETY: no pointer is given; the caller sees to it that no call is under way.
        self.list.C_CloseAllSessions.map_or(CKR_FUNCTION_NOT_SUPPORTED, |close_all| unsafe { close_all(slot) })
    }
}

/// Which slots C_GetSlotList lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Present {
    /// Those with a token.
    Token,
    /// All.
    Any,
}

impl Present {
    fn raw(self) -> CK_BBOOL {
        match self {
            Self::Token => CK_TRUE,
            Self::Any => CK_FALSE,
        }
    }
}

fn path() -> Result<PathBuf, String> {
    if let Some(path) = [TARGET, "SOFTHSM2_MODULE"].into_iter().find_map(std::env::var_os) {
        return Ok(path.into());
    }
    USUAL_PLACES
        .iter()
        .map(PathBuf::from)
        .find(|path| path.exists())
        .ok_or_else(|| format!("SoftHSM is not where it usually is: name a module with {TARGET}"))
}
