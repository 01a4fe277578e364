//! Lines that workers print, passed on to the daemon's own log.
//!
//! A worker counts what its guest causes. These limits hold even for a broken worker: one for a guest, one for all of
//! them together.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use tracing::{Level, warn};

use crate::limiter::Window;
use crate::poller::Watched;

/// Lines in a window of the limiter: of one worker, and of all.
const LINES: u32 = 100;
const LINES_OF_ALL: u32 = 300;
/// Bytes of a line; a longer one is cut into several.
const LINE_BYTES: usize = 2048;
/// Bytes that are read in a turn.
const TURN_BYTES: usize = 1 << 16;

/// The limit of all workers together.
#[derive(Debug)]
pub(super) struct Limit(Window);

impl Default for Limit {
    fn default() -> Self {
        Self(Window::of(LINES_OF_ALL))
    }
}

/// The lines of one worker.
pub(super) struct WorkerLog {
    pipe: File,
    /// Watch of the pipe, until the worker is abandoned.
    pub(super) watched: Option<Watched>,
    window: Window,
    /// Bytes of a line that is not complete yet.
    line: Vec<u8>,
}

impl WorkerLog {
    /// Log of a worker that prints into the other end of `pipe`, which does not block.
    pub(super) fn new(pipe: OwnedFd) -> Self {
        Self { pipe: pipe.into(), watched: None, window: Window::of(LINES), line: Vec::new() }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    /// Passes on what was printed, up to a bound; returns true if there may be more.
    pub(super) fn relay(&mut self, limit: &mut Limit, now_ns: u64) -> bool {
        let mut into = io::stderr().lock();
        self.relay_to(&mut into, limit, now_ns)
    }

    fn relay_to(&mut self, into: &mut impl Write, limit: &mut Limit, now_ns: u64) -> bool {
        let mut block = [0; 4096];
        let mut read = 0;
        while read < TURN_BYTES {
            match self.pipe.read(&mut block) {
                Ok(0) => {
                    self.pass(into, limit, now_ns);
                    return false;
                }
                Ok(bytes) => {
                    read += bytes;
                    self.take(&block[..bytes], into, limit, now_ns);
                }
                Err(_) => return false,
            }
        }
        true
    }

    fn take(&mut self, bytes: &[u8], into: &mut impl Write, limit: &mut Limit, now_ns: u64) {
        for &byte in bytes {
            if byte != b'\n' {
                self.line.push(byte);
            }
            if byte == b'\n' || self.line.len() >= LINE_BYTES {
                self.pass(into, limit, now_ns);
            }
        }
    }

    /// Passes the line on, if the limits allow it.
    fn pass(&mut self, into: &mut impl Write, limit: &mut Limit, now_ns: u64) {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            return;
        }
        // At level debug no line is kept back.
        if !tracing::enabled!(Level::DEBUG) {
            if self.window.pass(now_ns).is_none() {
                limit.0.keep_back();
                return;
            }
            let Some(kept_back) = limit.0.pass(now_ns) else { return };
            if kept_back > 0 {
                warn!("{kept_back} lines of guests' workers were not logged");
            }
        }
        // Without control characters, which could control a terminal or look like another line.
        let mut text: String = String::from_utf8_lossy(&line).replace(char::is_control, "\u{fffd}");
        text.push('\n');
        // A failure means that nobody reads the log any more.
        let _ = into.write_all(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pipe::{PipeFlags, pipe_with};

    fn log() -> (WorkerLog, File) {
        let (ours, theirs) = pipe_with(PipeFlags::NONBLOCK).unwrap();
        (WorkerLog::new(ours), theirs.into())
    }

    #[test]
    fn lines_are_passed_on_whole_and_without_what_controls_a_terminal() {
        let ((mut log, mut worker), mut limit, mut heard) = (log(), Limit::default(), Vec::new());
        worker.write_all(b"one\ntw").unwrap();
        assert!(!log.relay_to(&mut heard, &mut limit, 0));
        worker.write_all(b"o\x1b[2J\n").unwrap();
        log.relay_to(&mut heard, &mut limit, 0);
        worker.write_all(b"its last word").unwrap();
        drop(worker);
        log.relay_to(&mut heard, &mut limit, 0);
        assert_eq!(String::from_utf8(heard).unwrap(), "one\ntwo\u{fffd}[2J\nits last word\n");
    }

    #[test]
    fn all_guests_together_have_a_limit() {
        let (mut limit, mut heard) = (Limit::default(), Vec::new());
        let mut workers: Vec<_> = (0..8).map(|_| log()).collect();
        for (log, worker) in &mut workers {
            worker.write_all(&b"fault\n".repeat(1_000)).unwrap();
            while log.relay_to(&mut heard, &mut limit, 5) {}
        }
        assert_eq!(heard.len(), 6 * LINES_OF_ALL as usize);
        let (log, worker) = &mut workers[7];
        worker.write_all(b"later\n").unwrap();
        log.relay_to(&mut heard, &mut limit, 5 + 10_000_000_000);
        assert!(heard.ends_with(b"fault\nlater\n"));
    }

    #[test]
    fn one_guest_has_a_limit_and_leaves_room_for_the_others() {
        let (mut limit, mut heard) = (Limit::default(), Vec::new());
        let (mut log, mut worker) = log();
        for _ in 0..20 {
            worker.write_all(&b"fault\n".repeat(1_000)).unwrap();
            while log.relay_to(&mut heard, &mut limit, 5) {}
        }
        assert_eq!(heard.len(), 6 * LINES as usize);
        let (mut other, mut worker) = self::log();
        worker.write_all(b"I play\n").unwrap();
        other.relay_to(&mut heard, &mut limit, 5);
        assert!(heard.ends_with(b"I play\n"));
    }
}
