//! The hardware tier: keys in a token behind PKCS #11.
//!
//! The way of an encryption, downwards: `key` says what is asked of which key and where the call runs; `slot::door` admits the call and
//! answers by the deadline; `queue` says when it is its turn, and on which thread; `slot::tries` takes a session and calls, once or
//! twice; `session::objects` has the handle of the key, from the memory of the epoch; `keys::mechanism` says which C_ functions;
//! `library::functions` calls them. What a failure means is said by `answer`, whose fault it is by `slot::verdict`. A lost login, token
//! or module is mended by `slot::mend`, which `slot::watchdog` begins (`slot::attempts`); the call is repeated after that.
//!
//! A folder imports only from those before it here: `answer` (what a CK_RV means), `queue` (who is next), `library` (the loaded module),
//! `session` (one session in the hands of one call), then `keys` (objects and algorithms) and `slot` (one token in use), which do not
//! know each other. The files beside the folders join them: `tier` (the traits), `learning` (what a token can do), `creating` (a key is
//! made), `key` (a key is used), `settings`, `process` (the end of the process).
//!
//! The front page of the library has an example.

mod answer;
#[cfg(feature = "bench")]
pub mod bench;
mod creating;
mod key;
mod keys;
mod learning;
mod library;
mod process;
mod queue;
mod session;
mod settings;
mod slot;
mod tier;

pub use answer::Level;
pub use library::token::{PinState, TokenName, TokenSummary};
pub use library::uri::TokenUri;
pub use process::{end_process, list};
pub use queue::reserve::{Relief, Reserve};
pub use settings::*;
pub use slot::condition::Why;
pub use slot::notes::{LoginNotes, LoginNotesFile, LoginNotesInMemory, Note, Unclear};
pub use slot::pin::PinSource;
pub use slot::status;
pub use tier::Pkcs11Tier;
