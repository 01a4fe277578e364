//! What the control thread and a PCM's thread share: flags, counters, two eventfds.

use crate::{Direction, Error};
use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long opening a PCM waits for this program's previous use of it to end.
const CLOSING: Duration = Duration::from_millis(250);
/// The nice value that a PCM's thread tries to get.
const NICE: i32 = -11;

/// Shared by both sides; counters are in frames since the PCM was opened.
#[derive(Debug)]
pub(super) struct Link {
    name: String,
    direction: Direction,
    /// Control → thread: look at the flags, or at the ring.
    wake: OwnedFd,
    /// Thread → control: a period has passed, or something happened.
    pace: OwnedFd,
    pub running: AtomicBool,
    pub paused: AtomicBool,
    quit: AtomicBool,
    /// Playback: all before this frame is forgotten. Capture: the owner counts from this frame on.
    pub flush_until: AtomicU64,
    /// Playback: frames heard.
    pub heard: AtomicU64,
    pub xruns: AtomicU64,
    /// Why the thread gave up: an errno, or 0.
    failed: AtomicI32,
    ended: AtomicBool,
}

/// PCMs that were dropped and whose thread has not ended.
static ENDING: Mutex<Vec<Arc<Link>>> = Mutex::new(Vec::new());
static ENDED: Condvar = Condvar::new();

fn ending() -> MutexGuard<'static, Vec<Arc<Link>>> {
    ENDING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits, not long, until this program's earlier uses of the PCM are over: it may allow but one.
pub(super) fn wait_until_closed(name: &str, direction: Direction) {
    let deadline = Instant::now() + CLOSING;
    let mut list = ending();
    while list.iter().any(|link| link.name == name && link.direction == direction) {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        list = ENDED.wait_timeout(list, left).unwrap_or_else(PoisonError::into_inner).0;
    }
}

impl Link {
    pub fn new(name: &str, direction: Direction) -> Result<Arc<Self>, Error> {
        let event = || {
            eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
                .map_err(|errno| Error::Resource { what: "an event descriptor", reason: errno.into() })
        };
        Ok(Arc::new(Self {
            name: name.to_owned(),
            direction,
            wake: event()?,
            pace: event()?,
            running: AtomicBool::new(false),
            paused: AtomicBool::new(false),
            quit: AtomicBool::new(false),
            flush_until: AtomicU64::new(0),
            heard: AtomicU64::new(0),
            xruns: AtomicU64::new(0),
            failed: AtomicI32::new(0),
            ended: AtomicBool::new(false),
        }))
    }

    // The control thread's side.

    /// Runs `body` in a thread of its own. What it returns as an error is kept for [`Self::check`]; the PCM,
    /// which it owns, is closed when it ends.
    pub fn spawn(self: &Arc<Self>, body: impl FnOnce() -> alsa::Result<()> + Send + 'static) -> Result<(), Error> {
        let link = Arc::clone(self);
        let run = move || {
            // Without the right to it the thread runs as any other.
            let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE);
            if let Err(error) = body() {
                link.failed.store(error.errno().abs().max(1), Ordering::Release);
                link.signal();
            }
            let mut list = ending();
            link.ended.store(true, Ordering::Release);
            list.retain(|other| !Arc::ptr_eq(other, &link));
            ENDED.notify_all();
        };
        thread::Builder::new()
            .name("vsnd-alsa".into())
            .spawn(run)
            .map(drop)
            .map_err(|reason| Error::Resource { what: "a thread for an ALSA PCM", reason })
    }

    pub fn pace_fd(&self) -> BorrowedFd<'_> {
        self.pace.as_fd()
    }

    /// Whether the thread still works.
    pub fn check(&self) -> Result<(), Error> {
        match self.failed.load(Ordering::Acquire) {
            0 => Ok(()),
            errno => Err(Error::AlsaLost {
                name: self.name.clone(),
                direction: self.direction,
                reason: io::Error::from_raw_os_error(errno),
            }),
        }
    }

    /// Makes the pacing descriptor unreadable.
    pub fn acknowledge(&self) -> Result<(), Error> {
        clear(&self.pace);
        self.check()
    }

    /// Makes the thread look at its flags and its ring.
    pub fn wake(&self) {
        set(&self.wake);
    }

    /// Ends the thread, without waiting for that.
    pub fn close(self: &Arc<Self>) {
        let mut list = ending();
        if !self.ended.load(Ordering::Acquire) {
            list.push(Arc::clone(self));
        }
        drop(list);
        self.quit.store(true, Ordering::Release);
        self.wake();
    }

    // The PCM's thread's side.

    /// Makes the pacing descriptor readable.
    pub fn signal(&self) {
        set(&self.pace);
    }

    pub fn is_over(&self) -> bool {
        self.quit.load(Ordering::Acquire)
    }

    /// Waits until it is woken, one of `fds` is ready, or `timeout` has passed; true in the last case. `fds[0]`
    /// is room for the wake-up descriptor, and `pcm` says whether the others count this time.
    pub fn wait(&self, fds: &mut [alsa::poll::pollfd], pcm: bool, timeout: Option<Duration>) -> alsa::Result<bool> {
        const ERROR: i16 =
            alsa::poll::Flags::ERR.bits() | alsa::poll::Flags::NVAL.bits() | alsa::poll::Flags::HUP.bits();
        fds[0] = alsa::poll::pollfd { fd: self.wake.as_raw_fd(), events: alsa::poll::Flags::IN.bits(), revents: 0 };
        let used = if pcm { fds.len() } else { 1 };
        let milliseconds = timeout.map_or(-1, |timeout| timeout.as_micros().div_ceil(1_000).min(10_000) as i32);
        let ready = match alsa::poll::poll(&mut fds[..used], milliseconds) {
            Err(error) if error.errno().abs() != rustix::io::Errno::INTR.raw_os_error() => return Err(error),
            Err(_) => 1,
            Ok(ready) => ready,
        };
        if ready == 0 {
            return Ok(true);
        }
        if fds[1..used].iter().any(|fd| fd.revents & ERROR != 0) {
            // What it is the next call into ALSA says; if it says nothing, do not spin.
            thread::sleep(Duration::from_millis(1));
        }
        clear(&self.wake);
        Ok(false)
    }
}

/// Room for the wake-up descriptor, then those of the PCM.
pub(super) fn with_wake_fd(mut fds: Vec<alsa::poll::pollfd>) -> Vec<alsa::poll::pollfd> {
    fds.insert(0, alsa::poll::pollfd { fd: -1, events: 0, revents: 0 });
    fds
}

fn set(event: &OwnedFd) {
    // Fails only when the counter is full, and then it is set anyway.
    let _ = rustix::io::write(event, &1_u64.to_ne_bytes());
}

fn clear(event: &OwnedFd) {
    // Fails only when it is clear already.
    let _ = rustix::io::read(event, &mut [0; 8]);
}

/// States of a PCM as alsa-lib numbers them; `PCM::state` panics on one it does not know.
pub(super) mod state {
    pub const PREPARED: i32 = 2;
    pub const DISCONNECTED: i32 = 8;
}

/// Brings a PCM back to PREPARED after `error`.
///
/// # Errors
/// The error is not an xrun or a suspend, or the PCM does not come back.
pub(super) fn recover(pcm: &alsa::PCM, error: alsa::Error) -> alsa::Result<()> {
    use rustix::io::Errno;
    let gone = || alsa::Error::new(error.func(), Errno::NODEV.raw_os_error());
    match Errno::from_raw_os_error(error.errno().abs()) {
        // Resuming would play on from where the machine was suspended; starting afresh is the same to us.
        Errno::PIPE | Errno::STRPIPE => {}
        Errno::BADFD if pcm.state_raw() == state::DISCONNECTED => return Err(gone()),
        Errno::BADFD => {}
        _ => return Err(error),
    }
    if pcm.state_raw() == state::DISCONNECTED {
        return Err(gone());
    }
    pcm.prepare()
}
