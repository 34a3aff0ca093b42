//! The control socket: one command a line, one line in answer. A thread listens for as long as the process runs; it knows nothing
//! of C_Initialize and C_Finalize.

mod command;
mod parse;
mod slots;
mod state;

pub use slots::Action;

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use crate::module::Module;

/// Names the socket. Without it the module passes everything through, for ever.
const CONTROL: &str = "KEYSTEAD_FAULT_CONTROL";

/// No command is longer.
const LONGEST_LINE: u64 = 64 * 1024;

/// Listens where the environment says.
///
/// # Errors
/// A text for the operator.
pub fn listen(module: &'static Module) -> Result<(), String> {
    let Some(path) = std::env::var_os(CONTROL) else { return Ok(()) };
    let path = Path::new(&path);
    let listener = bind(path).map_err(|failure| format!("the control socket {}: {failure}", path.display()))?;
    std::thread::Builder::new()
        .name("fault-control".to_owned())
        .spawn(move || {
            for connection in listener.incoming() {
                let Ok(connection) = connection else {
                    // The process has no descriptor to spare. It may have in a while.
                    std::thread::sleep(Duration::from_millis(10));
                    continue;
                };
                let spoken =
                    std::thread::Builder::new().name("fault-control".to_owned()).spawn(move || converse(module, &connection));
                if let Err(failure) = spoken {
                    eprintln!("keystead-fault-module: no thread for a control connection: {failure}");
                }
            }
        })
        .map(|_| ())
        .map_err(|failure| format!("no thread for the control socket: {failure}"))
}

/// Binds, in place of a socket that a process left behind.
fn bind(path: &Path) -> std::io::Result<UnixListener> {
    let left_behind = path.symlink_metadata().is_ok_and(|file| file.file_type().is_socket())
        && UnixStream::connect(path).is_err_and(|failure| failure.kind() == ErrorKind::ConnectionRefused);
    if left_behind {
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

fn converse(module: &Module, connection: &UnixStream) {
    let mut reader = BufReader::new(connection);
    loop {
        let mut line = Vec::new();
        match reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let line = String::from_utf8_lossy(&line);
        let answer = match answer(module, line.trim()) {
            Ok(serde_json::Value::Null) => "ok\n".to_owned(),
            Ok(value) => format!("ok {value}\n"),
            Err(text) => format!("error {}\n", text.replace('\n', " ")),
        };
        if (&*connection).write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn answer(module: &Module, line: &str) -> Result<serde_json::Value, String> {
    parse::command(line)?.run(module)
}
