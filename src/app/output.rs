//! What commands print: the one writer of standard output.
//!
//! The print macros of the standard library panic when the reader has gone away or the disk is full. Here a command that changes something
//! goes on to its end, whether or not somebody reads; one that only shows something may ask and end. [`finish`] tells at the end whether
//! something was not printed.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::sync::{Mutex, PoisonError};

use crate::base::{Error, Kind, Result};

/// Why nothing can be printed any more.
static FAILED: Mutex<Option<io::Error>> = Mutex::new(None);

/// How many bytes of many lines are printed at once.
const PAGE: usize = 64 * 1024;

/// What became of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::app) enum Shown {
    Yes,
    /// Nobody reads any more, or nothing can be written.
    Unread,
}

/// Prints a line.
macro_rules! say {
    ($($argument:tt)*) => {
        $crate::app::output::line(format_args!($($argument)*))
    };
}
pub(in crate::app) use say;

pub(in crate::app) fn line(text: fmt::Arguments<'_>) {
    print(format!("{text}\n").as_bytes());
}

/// Prints bytes, unless something could not be printed before.
pub(in crate::app) fn print(bytes: &[u8]) -> Shown {
    let mut failed = FAILED.lock().unwrap_or_else(PoisonError::into_inner);
    if failed.is_none() {
        let mut out = io::stdout().lock();
        *failed = out.write_all(bytes).and_then(|()| out.flush()).err();
    }
    if failed.is_none() { Shown::Yes } else { Shown::Unread }
}

/// Lines that are printed many at once.
#[derive(Default)]
pub(in crate::app) struct Lines(Vec<u8>);

impl Lines {
    /// Adds a line.
    pub(in crate::app) fn line(&mut self, line: &[u8]) -> Shown {
        self.0.extend_from_slice(line);
        self.0.push(b'\n');
        if self.0.len() < PAGE { Shown::Yes } else { self.finish() }
    }

    /// Prints what is left.
    pub(in crate::app) fn finish(&mut self) -> Shown {
        let shown = print(&self.0);
        self.0.clear();
        shown
    }
}

/// At the end of a command. A reader that has seen enough, as `head` has, is no failure.
///
/// # Errors
/// [`Kind::Unavailable`] when something could not be printed, as on a full disk.
pub(in crate::app) fn finish() -> Result<()> {
    match FAILED.lock().unwrap_or_else(PoisonError::into_inner).take() {
        Some(error) if error.kind() != ErrorKind::BrokenPipe => {
            let text = format!("Not everything could be printed: standard output cannot be written: {error}.");
            Err(Error::new(Kind::Unavailable, text))
        }
        Some(_) | None => Ok(()),
    }
}

/// Prints what the command line's parser says, help on standard output and mistakes on standard error, and gives the exit code.
pub(in crate::app) fn of_parser(error: &clap::Error) -> i32 {
    match error.print().and_then(|()| io::stdout().flush()) {
        Err(failed) if failed.kind() != ErrorKind::BrokenPipe => super::FAILURE,
        Ok(()) | Err(_) => error.exit_code(),
    }
}
