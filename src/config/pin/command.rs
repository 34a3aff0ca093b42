//! A command that prints a PIN, run within bounds of time and of output.
//!
//! The command has a process group of its own. However the run ends, the whole group is ended, so that nothing of it goes on in the
//! background. `std` starts it by posix_spawn, because only safe settings are made: a fork would run the fork handlers of the PKCS #11
//! modules that are loaded.

use std::io::{ErrorKind, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::unavailable;
use crate::base::{Result, SecretBytes};

/// How long a command may take to print the PIN and to end.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);
/// How often it is looked whether the command has ended.
const LOOK: Duration = Duration::from_millis(10);

/// What the command is called in messages. Its arguments may be secret.
pub(super) fn name(command: &[String]) -> String {
    format!("The pin_command {}", command.first().map_or("", String::as_str))
}

/// What the command prints.
///
/// # Errors
/// [`Kind::Unavailable`](crate::base::Kind::Unavailable), naming the command: it cannot be run, fails, prints more than `limit` bytes,
/// or has not ended by the deadline.
pub(super) fn output(command: &[String], limit: usize, deadline: Duration) -> Result<SecretBytes> {
    let failed = |why: String| unavailable(format!("{} {why}.", name(command)));
    let (program, arguments) = command.split_first().ok_or_else(|| failed("is empty".to_owned()))?;
    let overdue = Instant::now() + deadline;
    let mut starting = Command::new(program);
    starting.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).process_group(0);
    let child = starting.spawn().map_err(|error| failed(format!("cannot be run: {error}")))?;
    let mut running = Running { child, reaped: false };
    let mut stdout = running.child.stdout.take();
    let mut bytes = SecretBytes::new(vec![0; limit + 1]);
    let mut filled = 0;
    loop {
        // Asked first: what the command printed before it ended is in the pipe then.
        let ended = running.has_ended().map_err(|error| failed(format!("cannot be waited for: {error}")))?;
        let heard = match &mut stdout {
            Some(pipe) => hear(pipe, &mut bytes.expose_mut()[filled..], if ended { Duration::ZERO } else { LOOK }),
            None => Ok(Heard::Nothing),
        };
        match heard.map_err(|error| failed(format!("cannot be read: {error}")))? {
            Heard::Bytes(more) => filled += more,
            Heard::End => stdout = None,
            // A process that the command left behind may keep the pipe open.
            Heard::Nothing if ended => break,
            Heard::Nothing if stdout.is_none() => std::thread::sleep(LOOK),
            Heard::Nothing => {}
        }
        if filled > limit {
            return Err(failed(format!("prints more than {limit} bytes, which is no PIN, and was ended")));
        }
        if Instant::now() >= overdue {
            return Err(failed(format!("did not end within {} s and was ended", deadline.as_secs_f64())));
        }
    }
    let status = running.end().map_err(|error| failed(format!("cannot be waited for: {error}")))?;
    if !status.success() {
        return Err(failed(format!("failed: {status}")));
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// What came out of a pipe.
enum Heard {
    /// So many bytes.
    Bytes(usize),
    /// Nothing for as long as it was waited.
    Nothing,
    /// Nobody can write into it any more.
    End,
}

/// Reads what comes within `patience`.
fn hear(pipe: &mut ChildStdout, into: &mut [u8], patience: Duration) -> std::io::Result<Heard> {
    let patience = Timespec::try_from(patience).map_err(std::io::Error::other)?;
    match poll(&mut [PollFd::new(pipe, PollFlags::IN)], Some(&patience)) {
        Ok(0) | Err(Errno::INTR) => return Ok(Heard::Nothing),
        Ok(_) => {}
        Err(error) => return Err(error.into()),
    }
    match pipe.read(into) {
        Ok(0) => Ok(Heard::End),
        Ok(bytes) => Ok(Heard::Bytes(bytes)),
        Err(error) if error.kind() == ErrorKind::Interrupted => Ok(Heard::Nothing),
        Err(error) => Err(error),
    }
}

/// A command that was started, with its process group. Both are ended when this is dropped.
struct Running {
    child: Child,
    /// Whether the system was told that the command's end is known: the number of its group may be another one's after that.
    reaped: bool,
}

impl Running {
    /// Whether the command has ended. It is not reaped.
    fn has_ended(&self) -> std::io::Result<bool> {
        let how = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        Ok(waitid(WaitId::Pid(Pid::from_child(&self.child)), how)?.is_some())
    }

    /// Ends what is left of the group, and says how the command ended. A command that runs as another user cannot be ended; its end
    /// is waited for, which keeps a second one from being started beside it.
    fn end(&mut self) -> std::io::Result<ExitStatus> {
        if let Err(error) = kill_process_group(Pid::from_child(&self.child), Signal::KILL) {
            tracing::warn!(process = self.child.id(), %error, "a pin_command cannot be ended");
        }
        let status = self.child.wait();
        self.reaped = true;
        status
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.reaped {
            let _ = self.end();
        }
    }
}
