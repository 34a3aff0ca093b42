//! The modules of the process: each library is loaded once and stays mapped, since not every library survives being unloaded.
//!
//! Loading runs the library's constructors and C_GetFunctionList, and any of these may hang. So no lock is held over it: whoever
//! wants the same library meanwhile waits for as long as it likes to, and others do not notice.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, LazyLock, Mutex, PoisonError};
use std::time::Instant;

use crate::base::lock;
use crate::base::{Error, Kind, Result};
use crate::tier::pkcs11::library::module::Module;

static MODULES: LazyLock<Mutex<HashMap<PathBuf, Entry>>> = LazyLock::new(Mutex::default);
/// A library was loaded, or could not be.
static CHANGED: Condvar = Condvar::new();

enum Entry {
    /// Somebody loads it.
    Loading,
    Loaded(Arc<Module>),
}

/// The module at `path`, loaded if nobody did so before. Blocks; until `until` while somebody else loads it.
///
/// # Errors
/// The library is not there or is no PKCS #11 module, or does not get loaded in time.
pub(crate) fn module(path: &Path, until: Instant) -> Result<Arc<Module>> {
    let found = path.canonicalize().map_err(|error| {
        Error::new(Kind::Unavailable, format!("The PKCS#11 module {} cannot be opened: {error}.", path.display())).caused_by(error)
    })?;
    let mut modules = lock(&MODULES);
    loop {
        match modules.get(&found) {
            Some(Entry::Loaded(module)) => return Ok(Arc::clone(module)),
            Some(Entry::Loading) => {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(silent(path));
                }
                modules = CHANGED.wait_timeout(modules, left).unwrap_or_else(PoisonError::into_inner).0;
            }
            None => break,
        }
    }
    modules.insert(found.clone(), Entry::Loading);
    drop(modules);
    let loading = Loading { path: &found, module: None };
    loading.end(Module::load(&found)?)
}

/// The library does not come back from being loaded.
pub(crate) fn silent(path: &Path) -> Error {
    Error::new(Kind::Unavailable, format!("The PKCS#11 module {} does not answer while it is loaded.", path.display()))
}

/// A library that is being loaded here. If it cannot be, or loading panics, the next one may try.
struct Loading<'a> {
    path: &'a Path,
    module: Option<Arc<Module>>,
}

impl Loading<'_> {
    fn end(mut self, module: Module) -> Result<Arc<Module>> {
        let module = Arc::new(module);
        self.module = Some(Arc::clone(&module));
        Ok(module)
    }
}

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        let mut modules = lock(&MODULES);
        match self.module.take() {
            Some(module) => modules.insert(self.path.to_owned(), Entry::Loaded(module)),
            None => modules.remove(self.path),
        };
        drop(modules);
        CHANGED.notify_all();
    }
}

/// Whether a function of any module of this process runs: a call, C_Initialize, C_Finalize, or what loads a library.
pub(crate) fn any_call_runs() -> bool {
    lock(&MODULES).values().any(|entry| match entry {
        Entry::Loading => true,
        Entry::Loaded(module) => module.is_running(),
    })
}
