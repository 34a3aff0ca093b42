//! The program's log and last words: lines to standard error, through a queue that neither waits for a reader nor fails without one.
//!
//! There is one for the process, as there is one standard error and one `tracing` subscriber.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt;
use std::io::{IsTerminal, Write};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::base::log_lines::LogLines;
use crate::tier::pkcs11;

/// How long the end of the process waits for whoever reads the log.
const LAST_LINES: Duration = Duration::from_millis(500);
/// How long a thread that panics waits for the same.
const PANIC_LINES: Duration = Duration::from_millis(50);

static LINES: OnceLock<Arc<LogLines>> = OnceLock::new();

/// Starts the log. Panics are told in it, too.
///
/// # Errors
/// One line: the filter is none, or the system gives no thread.
pub(super) fn start(filter: &str) -> Result<(), String> {
    let lines = LogLines::to(std::io::stderr()).map_err(|error| format!("the log cannot be started: {error}"))?;
    let lines = Arc::clone(LINES.get_or_init(|| Arc::new(lines)));
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let backtrace = Backtrace::capture();
        match backtrace.status() {
            BacktraceStatus::Captured => complain(format_args!("thread {:?} {panic}\n{backtrace}", thread.name())),
            _ => complain(format_args!("thread {:?} {panic}", thread.name())),
        }
        flush(PANIC_LINES);
    }));
    let filter = tracing_subscriber::EnvFilter::try_new(filter).map_err(|error| format!("--log {filter}: {error}"))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(lines)
        .with_ansi(std::io::stderr().is_terminal())
        // It would tell of them by `eprintln!`, which waits for the reader and panics without one.
        .log_internal_errors(false)
        .init();
    Ok(())
}

/// The queue, for its figures.
pub(super) fn lines() -> Option<Arc<LogLines>> {
    LINES.get().cloned()
}

/// Tells something on standard error, whatever is logged.
pub(super) fn complain(text: fmt::Arguments<'_>) {
    let line = format!("{text}\n");
    // Nobody is left to hear of a failure.
    let _ = match LINES.get() {
        Some(lines) => (&**lines).write_all(line.as_bytes()),
        None => std::io::stderr().write_all(line.as_bytes()),
    };
}

/// Ends the process with this status. A module that hangs holds a thread: the program ends without waiting for it.
pub(super) fn end(status: i32) -> ! {
    pkcs11::end_process(status, || flush(LAST_LINES))
}

fn flush(patience: Duration) {
    if let Some(lines) = LINES.get() {
        lines.flush_within(patience);
    }
}
