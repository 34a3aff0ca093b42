//! Log lines on their way to standard error: a queue with a bound, and a thread of its own that writes them.
//!
//! Whoever logs a line neither waits for its reader nor fails with it: when the reader stops, when the pipe or the terminal is closed, when
//! the disk is full, lines are dropped and counted. The program makes one of these and gives it to `tracing`; the telemetry asks it for the
//! count.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The most bytes of lines that wait: some 4,000 requests' worth.
pub const LOG_QUEUE: usize = 1024 * 1024;
/// How soon a descriptor that takes nothing at the moment (EAGAIN: somebody else made it non-blocking) is tried again.
const RETRY: Duration = Duration::from_millis(10);

/// The queue. Dropped, its thread ends when the lines that wait are written.
pub struct LogLines(Arc<Shared>);

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    written: Condvar,
    dropped: AtomicU64,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<u8>,
    /// The thread has lines in its hands.
    writing: bool,
    closed: bool,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for lines and swaps them into `lines`, which is empty; false at the end.
    fn take(&self, lines: &mut Vec<u8>) -> bool {
        let mut queue = self.queue();
        queue.writing = false;
        self.written.notify_all();
        while queue.waiting.is_empty() {
            if queue.closed {
                return false;
            }
            queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.writing = true;
        std::mem::swap(&mut queue.waiting, lines);
        true
    }

    /// Writes until the queue is dropped.
    fn run(&self, mut sink: impl Write) {
        let (mut lines, mut told) = (Vec::new(), 0);
        while self.take(&mut lines) {
            let unwritten = write_out(&mut sink, &lines);
            let lost = unwritten.iter().filter(|byte| **byte == b'\n').count();
            let dropped = self.dropped.fetch_add(lost as u64, Ordering::Relaxed) + lost as u64;
            lines.clear();
            if lost == 0 && dropped > told {
                tracing::warn!(
                    lines = dropped - told,
                    "log lines were dropped, because nobody read them or they could not be written"
                );
                told = dropped;
            }
        }
    }
}

/// Writes all of it, and gives what could not be written.
fn write_out<'a>(sink: &mut impl Write, mut lines: &'a [u8]) -> &'a [u8] {
    while !lines.is_empty() {
        match sink.write(lines) {
            Ok(0) => break,
            Ok(written) => lines = &lines[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(RETRY),
            Err(_) => break,
        }
    }
    lines
}

impl LogLines {
    /// Starts the thread, which writes to `sink`.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn to(sink: impl Write + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let lines = Self(Arc::clone(&shared));
        std::thread::Builder::new().name("log".to_owned()).spawn(move || shared.run(sink))?;
        Ok(lines)
    }

    /// How many lines were dropped so far.
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    /// Waits until the lines that were logged before are written, and no longer than `patience`.
    pub fn flush_within(&self, patience: Duration) {
        let unwritten = |queue: &mut Queue| queue.writing || !queue.waiting.is_empty();
        let _ = self.0.written.wait_timeout_while(self.0.queue(), patience, unwritten);
    }
}

/// One call is one line, as `tracing` writes them. It neither fails nor waits.
impl Write for &LogLines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut queue = self.0.queue();
        if queue.waiting.len() + line.len() > LOG_QUEUE {
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
        } else {
            queue.waiting.extend_from_slice(line);
            let idle = !queue.writing;
            drop(queue);
            if idle {
                self.0.wake.notify_one();
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LogLines {
    fn drop(&mut self) {
        self.0.queue().closed = true;
        self.0.wake.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// Answers each write as it is told to, and waits until it is told.
    struct Reader {
        answers: Receiver<io::Result<()>>,
        read: Sender<Vec<u8>>,
    }

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.answers.recv().unwrap_or(Ok(()))?;
            self.read.send(bytes.to_vec()).unwrap();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines() -> (LogLines, Sender<io::Result<()>>, Receiver<Vec<u8>>) {
        let ((answer, answers), (read, reading)) = (channel(), channel());
        (LogLines::to(Reader { answers, read }).unwrap(), answer, reading)
    }

    #[test]
    fn what_is_logged_is_written_in_its_order() {
        let (lines, answer, reading) = lines();
        drop(answer);
        for number in 0..1000 {
            (&lines).write_all(format!("{number}\n").as_bytes()).unwrap();
        }
        lines.flush_within(PATIENCE);
        let read: Vec<u8> = reading.try_iter().flatten().collect();
        assert_eq!(read, (0..1000).flat_map(|number| format!("{number}\n").into_bytes()).collect::<Vec<_>>());
        assert_eq!(lines.dropped(), 0);
    }

    #[test]
    fn a_reader_that_stops_holds_up_nobody_and_costs_what_does_not_fit() {
        let (lines, answer, reading) = lines();
        let line = [b"x".repeat(1023), b"\n".to_vec()].concat();
        // Nobody has read a byte when this ends: what does not fit into the queue and the thread's hands is dropped.
        let most = 2 * LOG_QUEUE / line.len();
        for _ in 0..most + 100 {
            (&lines).write_all(&line).unwrap();
        }
        let dropped = lines.dropped();
        assert!(dropped >= 100 && dropped < most as u64, "{dropped}");
        drop(answer);
        lines.flush_within(PATIENCE);
        let read: usize = reading.try_iter().map(|bytes| bytes.len()).sum();
        assert_eq!(read as u64, (most as u64 + 100 - dropped) * line.len() as u64);
    }

    #[test]
    fn a_closed_pipe_and_a_full_disk_cost_lines_and_nothing_else() {
        for failure in [io::ErrorKind::BrokenPipe, io::ErrorKind::StorageFull, io::ErrorKind::Other] {
            let (lines, answer, reading) = lines();
            answer.send(Err(failure.into())).unwrap();
            answer.send(Err(io::ErrorKind::Interrupted.into())).unwrap();
            answer.send(Err(io::ErrorKind::WouldBlock.into())).unwrap();
            answer.send(Ok(())).unwrap();
            (&lines).write_all(b"lost\n").unwrap();
            lines.flush_within(PATIENCE);
            assert_eq!(lines.dropped(), 1);
            (&lines).write_all(b"kept\n").unwrap();
            lines.flush_within(PATIENCE);
            assert_eq!((lines.dropped(), reading.try_iter().collect::<Vec<_>>()), (1, vec![b"kept\n".to_vec()]));
        }
    }
}
