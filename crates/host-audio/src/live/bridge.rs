//! State shared by the control thread and a device's thread: flags, counters, two eventfds.

use super::event::Event;
use crate::{Direction, Error, Fallback, Notice, ServerVolume};
use rustix::event::{PollFd, Timespec, poll};
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Time that opening a device waits for this program's previous use of it to end.
const CLOSING: Duration = Duration::from_millis(250);
/// The nice value that a device's thread tries to get.
const NICE: i32 = -11;
/// Maximum number of notices kept for a control thread that does not ask.
const MOST_NOTICES: usize = 16;

/// The device that a stream uses, and how.
#[derive(Debug, Clone)]
pub(crate) struct Mode {
    pub name: String,
    pub direction: Direction,
    pub absent: Fallback,
    /// Time that a stream waits for the device to open.
    pub patience: Duration,
}

impl Mode {
    /// Returns true if both use the same device in the same direction.
    pub(super) fn is_same_device(&self, other: &Self) -> bool {
        other.name == self.name && other.direction == self.direction
    }
}

/// State shared by both sides; counters are in frames since the stream was opened.
#[derive(Debug)]
pub(super) struct Bridge {
    mode: Mode,
    /// Control → thread: look at the flags, or at the ring.
    wake: Event,
    /// Thread → control: a period has passed, or something happened.
    pace: Arc<Event>,
    /// True while the control thread does the turns itself: it needs no signal of their results.
    driven_by_owner: AtomicBool,
    pub running: AtomicBool,
    pub paused: AtomicBool,
    quit: AtomicBool,
    /// True if queued frames are to be heard before the end.
    finish: AtomicBool,
    /// Playback: all frames before this one are discarded. Capture: the owner counts from this frame on.
    pub flush_until: AtomicU64,
    /// Playback: frames heard.
    pub heard: AtomicU64,
    /// Playback: number of frames to be queued, ring and device together.
    pub target: AtomicU64,
    pub xruns: AtomicU64,
    /// Outcome of opening the device for the first time.
    opened: Mutex<Option<Result<(), Error>>>,
    server_volume: Mutex<Option<ServerVolume>>,
    noticed: AtomicBool,
    notices: Mutex<Vec<Notice>>,
    ended: AtomicBool,
}

/// Streams that were dropped and whose thread has not ended.
static ENDING: Mutex<Vec<Arc<Bridge>>> = Mutex::new(Vec::new());
static ENDED: Condvar = Condvar::new();

fn ending() -> MutexGuard<'static, Vec<Arc<Bridge>>> {
    ENDING.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Bridge {
    pub fn new(mode: Mode) -> Result<Arc<Self>, Error> {
        Ok(Arc::new(Self {
            mode,
            wake: Event::new()?,
            pace: Arc::new(Event::new()?),
            driven_by_owner: AtomicBool::new(false),
            running: AtomicBool::new(false),
            paused: AtomicBool::new(false),
            quit: AtomicBool::new(false),
            finish: AtomicBool::new(false),
            flush_until: AtomicU64::new(0),
            heard: AtomicU64::new(0),
            target: AtomicU64::new(0),
            xruns: AtomicU64::new(0),
            opened: Mutex::new(None),
            server_volume: Mutex::new(None),
            noticed: AtomicBool::new(false),
            notices: Mutex::new(Vec::new()),
            ended: AtomicBool::new(false),
        }))
    }

    /// The device, and how it is used.
    pub fn mode(&self) -> &Mode {
        &self.mode
    }

    /// Waits a short time until this program's earlier uses of the device are over: the device may allow only one.
    pub fn wait_until_closed(&self) {
        let deadline = Instant::now() + CLOSING;
        let mut list = ending();
        while list.iter().any(|bridge| self.mode.is_same_device(&bridge.mode)) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            list = ENDED.wait_timeout(list, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    // The control thread's side.

    /// Runs `body` in a thread of its own. The device, which `body` owns, is closed when `body` ends.
    pub fn spawn(self: &Arc<Self>, body: impl FnOnce() + Send + 'static) -> Result<(), Error> {
        let bridge = Arc::clone(self);
        let run = move || {
            // Without the permission the thread runs at its usual priority.
            let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE);
            body();
            bridge.end();
        };
        thread::Builder::new()
            .name("vsnd-device".into())
            .spawn(run)
            .map(drop)
            .map_err(|reason| Error::resource("a thread for a device", reason))
    }

    /// Marks the device of a closed stream as closed.
    pub fn end(self: &Arc<Self>) {
        let mut list = ending();
        self.ended.store(true, Ordering::Release);
        list.retain(|other| !Arc::ptr_eq(other, self));
        ENDED.notify_all();
    }

    /// Sets who does the turns: the control thread itself, or a device's thread.
    pub fn set_driven_by_owner(&self, on: bool) {
        self.driven_by_owner.store(on, Ordering::Release);
    }

    pub fn pace_fd(&self) -> BorrowedFd<'_> {
        self.pace.fd()
    }

    /// The event that wakes the control thread.
    pub fn pace(&self) -> &Arc<Event> {
        &self.pace
    }

    /// Makes the pacing descriptor unreadable.
    pub fn acknowledge(&self) {
        self.pace.clear();
    }

    /// Outcome of opening the device; an error is returned once.
    pub fn opened(&self) -> Option<Result<(), Error>> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = opened.take()?;
        *opened = Some(Ok(()));
        Some(outcome)
    }

    /// The oldest notice that was not taken.
    pub fn take_notice(&self) -> Option<Notice> {
        if !self.noticed.load(Ordering::Acquire) {
            return None;
        }
        let mut notices = self.notices();
        let notice = if notices.is_empty() { None } else { Some(notices.remove(0)) };
        self.noticed.store(!notices.is_empty(), Ordering::Release);
        notice
    }

    /// Makes the thread look at its flags and its ring.
    pub fn wake(&self) {
        self.wake.set();
    }

    /// Makes the stream play or capture; a wake-up has to follow, as for the next two.
    pub fn start(&self) {
        self.paused.store(false, Ordering::Release);
        self.running.store(true, Ordering::Release);
    }

    /// Holds the stream, or lets it go on.
    pub fn pause(&self, on: bool) {
        self.paused.store(on, Ordering::Release);
    }

    /// Stops the stream.
    pub fn stop(&self) {
        self.running.store(false, Ordering::Release);
        self.paused.store(false, Ordering::Release);
    }

    /// Volume and mute on the server.
    pub fn server_volume(&self) -> Option<ServerVolume> {
        *self.server_volume.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the thread play queued frames when it is to end.
    pub fn finish(&self) {
        self.finish.store(true, Ordering::Release);
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

    // The device's thread's side.

    /// Publishes the outcome of opening the device.
    pub fn decide(&self, outcome: Result<(), Error>) {
        *self.opened.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        self.signal();
    }

    /// Makes the pacing descriptor readable.
    pub fn signal(&self) {
        if !self.driven_by_owner.load(Ordering::Acquire) {
            self.pace.set();
        }
    }

    /// Wakes the thread that does the turns: an attempt to open the device has an outcome.
    pub fn wake_for_outcome(&self) {
        if self.driven_by_owner.load(Ordering::Acquire) {
            self.pace.set();
        } else {
            self.wake();
        }
    }

    /// Reports `notice` to the control thread.
    pub fn notify(&self, notice: Notice) {
        let mut notices = self.notices();
        // The newest says how the device is now.
        let surplus = (notices.len() + 1).saturating_sub(MOST_NOTICES);
        notices.drain(..surplus);
        notices.push(notice);
        drop(notices);
        self.noticed.store(true, Ordering::Release);
        self.signal();
    }

    pub fn is_over(&self) -> bool {
        self.quit.load(Ordering::Acquire)
    }

    /// Returns true if the stream is to play or capture now.
    pub fn is_wanted(&self) -> bool {
        self.running.load(Ordering::Acquire) && !self.paused.load(Ordering::Acquire)
    }

    /// Returns true if queued frames are to be heard before the end.
    pub fn is_finishing(&self) -> bool {
        self.finish.load(Ordering::Acquire) && self.is_wanted()
    }

    /// Stores the volume that the server has for the stream.
    pub fn set_server_volume(&self, volume: Option<ServerVolume>) {
        *self.server_volume.lock().unwrap_or_else(PoisonError::into_inner) = volume;
    }

    /// The descriptor that [`Self::wake`] makes readable.
    pub fn wake_fd(&self) -> BorrowedFd<'_> {
        self.wake.fd()
    }

    /// Clears the wake-up; for use when its descriptor was readable.
    pub fn woken(&self) {
        self.wake.clear();
    }

    fn notices(&self) -> MutexGuard<'_, Vec<Notice>> {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until one of `fds` is ready or `timeout` has passed; returns true in the last case.
pub(crate) fn wait_for(fds: &mut [PollFd<'_>], timeout: Option<Duration>) -> bool {
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    matches!(poll(fds, timeout.as_ref()), Ok(0))
}
