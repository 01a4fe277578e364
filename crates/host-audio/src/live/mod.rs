//! Devices with a clock of their own.
//!
//! A [`Driver`] opens an [`Output`] or an [`Input`], which is fed from, or emptied into, a ring: in the turns of the
//! stream's owner, or where calls of the device may wait, by a thread that outlives the device ([`drive`]). The owner
//! sees counters of such a thread, and an eventfd that is signalled once a period.
//!
//! Path of a frame: the daemon writes it to a sink ([`output`]), and a [`player`] moves it from the sink's ring to the
//! device ([`playing`]), perhaps in another format ([`convert`]). Captured frames go the other way: [`recorder`],
//! [`input`]. When the device stands still or goes away, a [`silent`] one takes its place, so that time goes on:
//! [`watch`] says when, [`failover`] decides, [`supply`] does it, and [`reopen`] opens the device again.
//!
//! A position is the device's own, but never ahead of time (see [`clock`]).

mod beat;
mod bridge;
mod clock;
mod convert;
mod drive;
mod event;
mod failover;
mod input;
mod known;
mod minimums;
mod output;
mod player;
mod playing;
mod queue;
mod recorder;
mod reopen;
mod silent;
mod supply;
#[cfg(test)]
mod tests;
mod watch;

pub(crate) use bridge::{Mode, wait_for};
pub(crate) use event::Event;
#[cfg(feature = "pipewire")]
pub(crate) use queue::queue_frames;

use crate::{
    Capabilities, DeviceOptions, Direction, Error, Fallback, HostDevice, Minimums, ServerVolume, Sink, Source,
    StreamAddress, StreamSpec,
};
use known::Known;
use minimums::MinimumsCache;
use reopen::Opener;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Faults of a device in use.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The device ran dry or could not keep up; it has nothing queued and can be started again.
    Xrun,
    /// The device is gone.
    Lost(Error),
}

/// A device for playback as its player uses it. No method waits for long but [`wait`](Self::wait).
pub(crate) trait Output: Send {
    /// Returns true if no call but [`wait`](Self::wait) waits for another program, and time alone says when there is
    /// something to do: the device then needs no thread.
    fn is_immediate(&self) -> bool {
        false
    }

    /// Names what an immediate device makes readable when it has something to report at another time than its turns.
    fn report_to(&mut self, _owner: &Arc<Event>) {}

    /// Takes in the device's reports: in each turn, also while the stream stands.
    fn attend(&mut self, now: Instant) -> Result<(), Fault>;

    /// Frames that the device would take now.
    fn room(&mut self, now: Instant) -> Result<u64, Fault>;

    /// Takes whole frames from the start of `frames` and returns how many; 0: none now.
    fn write(&mut self, frames: &[u8], now: Instant) -> Result<usize, Fault>;

    /// Frames written and not yet heard.
    fn delay(&mut self, now: Instant) -> Result<u64, Fault>;

    /// Ends the turns of a moment: nothing more is written before the next ones. A device that plays on behind its last
    /// frame sees to it that silence is there.
    fn settle(&mut self) {}

    /// Begins to play what is queued; no effect while the device plays.
    fn start(&mut self, now: Instant) -> Result<(), Fault>;

    /// Pauses or continues, queued frames are kept; false: the device cannot.
    fn pause(&mut self, on: bool, now: Instant) -> Result<bool, Fault>;

    /// Discards what is queued; the device can be started again.
    fn reset(&mut self, now: Instant) -> Result<(), Fault>;

    /// Plays what is left, though it fills no block of the device's: nothing more is queued for now.
    fn ran_out(&mut self, _now: Instant) -> Result<(), Fault> {
        Ok(())
    }

    /// Waits until frames that count as heard were heard, before the device is closed.
    fn finish(&mut self) {}

    /// Volume and mute that the server has for the stream, if they are known and were not taken yet.
    fn take_volume(&mut self) -> Option<ServerVolume> {
        None
    }

    /// Waits until `wake` is readable, the device has something to report, or `timeout` has passed (returns true).
    /// `room`: the stream waits for room, or for a position that is overdue.
    fn wait(&mut self, wake: BorrowedFd<'_>, room: bool, timeout: Option<Duration>) -> bool;
}

/// A device for capture as its recorder uses it. No method waits for long but [`wait`](Self::wait).
pub(crate) trait Input: Send {
    /// Same as [`Output::is_immediate`].
    fn is_immediate(&self) -> bool {
        false
    }

    /// Same as [`Output::report_to`].
    fn report_to(&mut self, _owner: &Arc<Event>) {}

    /// Same as [`Output::attend`].
    fn attend(&mut self, now: Instant) -> Result<(), Fault>;

    /// Frames captured and not read.
    fn available(&mut self, now: Instant) -> Result<u64, Fault>;

    /// Fills the start of `into` with whole frames and returns how many.
    fn read(&mut self, into: &mut [u8], now: Instant) -> Result<usize, Fault>;

    /// Begins to capture.
    fn start(&mut self, now: Instant) -> Result<(), Fault>;

    /// Stops, and discards frames that were captured and not read.
    fn reset(&mut self, now: Instant) -> Result<(), Fault>;

    /// Same as [`Output::take_volume`].
    fn take_volume(&mut self) -> Option<ServerVolume> {
        None
    }

    /// Same as [`Output::wait`]; `late`: the stream waits for frames that are overdue.
    fn wait(&mut self, wake: BorrowedFd<'_>, late: bool, timeout: Option<Duration>) -> bool;
}

/// An open device and what it needs; sizes in frames.
pub(crate) struct Opened<D: ?Sized> {
    pub device: Box<D>,
    /// Period of the device: frames after which it has to be refilled or emptied.
    pub period: u64,
    /// Playback: frames to be queued so that the device never runs dry. Capture: frames that it may keep for a while; 0
    /// where that is not known.
    pub need: u64,
}

/// A kind of device with a clock of its own.
pub(crate) trait Driver: Send + Sync + 'static {
    /// Name of the device, as users write it.
    fn name(&self) -> String;

    /// Capabilities of the device, without conversion.
    fn capabilities(&self, direction: Direction) -> Result<Capabilities, Error>;

    /// Checks that the device is there, for a message at the start of a program; may wait a second.
    fn check(&self, direction: Direction) -> Result<(), Error> {
        self.capabilities(direction).map(drop)
    }

    /// The minimum period and buffer for a stream; the device is not held open.
    fn minimums(&self, _direction: Direction, _spec: &StreamSpec) -> Result<Minimums, Error> {
        Ok(Minimums::default())
    }

    /// Opens the device for playback; in a thread that may wait.
    fn open_output(&self, who: &StreamAddress, spec: &StreamSpec) -> Result<Opened<dyn Output>, Error>;

    /// Opens the device for capture; in a thread that may wait.
    fn open_input(&self, who: &StreamAddress, spec: &StreamSpec) -> Result<Opened<dyn Input>, Error>;
}

/// A driver's device as a [`HostDevice`].
pub(crate) struct LiveDevice<D> {
    driver: Arc<D>,
    absent: Fallback,
    patience: Duration,
    known: Arc<Known>,
    minimums: Mutex<MinimumsCache>,
}

impl<D: Driver> LiveDevice<D> {
    pub fn new(driver: D, options: &DeviceOptions) -> Self {
        let (absent, patience) = (options.absent, options.patience);
        let known = Known::of(driver.name());
        Self { driver: Arc::new(driver), absent, patience, known, minimums: Mutex::default() }
    }

    fn mode(&self, direction: Direction) -> Mode {
        Mode { name: self.driver.name(), direction, absent: self.absent, patience: self.patience }
    }

    fn native(&self, direction: Direction) -> Result<Capabilities, Error> {
        self.known.get(direction, || self.driver.capabilities(direction))
    }

    /// The spec with which the device is opened for a stream of `spec`: if the device does not take the stream's
    /// format, with one that it takes. An absent device is opened with the stream's own spec.
    fn carried(&self, direction: Direction, spec: &StreamSpec) -> Result<StreamSpec, Error> {
        if spec.frame_bytes() == 0 || spec.rate_hz == 0 {
            return Err(self.unsupported(spec, "a stream has at least one channel and 1 Hz"));
        }
        let native = match self.native(direction) {
            Ok(native) => native,
            Err(_) if pcm::is_decodable(spec.format) => return Ok(*spec),
            Err(error) => return Err(error),
        };
        let format = convert::nearest(spec.format, native.formats)
            .ok_or_else(|| self.unsupported(spec, "neither it nor any conversion takes such samples"))?;
        Ok(StreamSpec { format, ..*spec })
    }

    fn unsupported(&self, spec: &StreamSpec, reason: &str) -> Error {
        Error::unsupported(format_args!("`{}`", self.driver.name()), spec, reason)
    }
}

impl<D: Driver> HostDevice for LiveDevice<D> {
    fn capabilities(&self, _who: &StreamAddress, direction: Direction) -> Result<Capabilities, Error> {
        let native = self.native(direction)?;
        Ok(Capabilities { formats: convert::reachable(native.formats), ..native })
    }

    fn check(&self, _who: &StreamAddress, direction: Direction) -> Result<(), Error> {
        self.driver.check(direction)
    }

    fn minimums(&self, direction: Direction, spec: &StreamSpec) -> Minimums {
        let mut cache = self.minimums.lock().unwrap_or_else(PoisonError::into_inner);
        cache.get(direction, spec, Instant::now(), || self.driver.minimums(direction, &self.carried(direction, spec)?))
    }

    fn begin_sink(&self, who: &StreamAddress, spec: &StreamSpec) -> Result<Box<dyn Sink>, Error> {
        let carried = self.carried(Direction::Playback, spec)?;
        let (driver, who, wanted) = (Arc::clone(&self.driver), *who, *spec);
        let known = Arc::clone(&self.known);
        let open = move || {
            let opened = driver.open_output(&who, &carried).inspect_err(|_| known.forget())?;
            Ok(convert::output(opened, &wanted, carried.format))
        };
        let mode = self.mode(Direction::Playback);
        Ok(Box::new(output::LiveSink::open(mode, spec, Opener::new(open))?))
    }

    fn begin_source(&self, who: &StreamAddress, spec: &StreamSpec) -> Result<Box<dyn Source>, Error> {
        let carried = self.carried(Direction::Capture, spec)?;
        let (driver, who, wanted) = (Arc::clone(&self.driver), *who, *spec);
        let known = Arc::clone(&self.known);
        let open = move || {
            let opened = driver.open_input(&who, &carried).inspect_err(|_| known.forget())?;
            Ok(convert::input(opened, &wanted, carried.format))
        };
        let mode = self.mode(Direction::Capture);
        Ok(Box::new(input::LiveSource::open(mode, spec, Opener::new(open))?))
    }
}

/// Time until the position of a device with this `period` is likely to move on, if it moves in leaps and last did so at
/// `moved_at`.
fn until_leap(period: u64, rate_hz: u32, moved_at: Instant, now: Instant) -> Duration {
    (moved_at + frames_to_time(period, rate_hz)).saturating_duration_since(now).max(player::SHORTEST_WAIT)
}

/// Most bytes of a block of silence, or of discarded frames.
const BLOCK_BYTES: usize = 1 << 16;

/// Frames in a block that lasts for `frames`, and is no larger than a block may be.
fn block_frames(frames: u32, frame_bytes: usize) -> usize {
    (frames as usize).min(BLOCK_BYTES / frame_bytes).max(1)
}

/// Most frames that a ring has room for. A guest chooses rate and frame, which say nothing about the memory that the
/// guest gives for them; the guest's buffer does.
fn most_frames(spec: &StreamSpec) -> usize {
    const ORDINARY_BYTES: usize = 1 << 20;
    (spec.buffer_frames as usize * 2).max(ORDINARY_BYTES / spec.frame_bytes()).max(2)
}

/// Duration of `frames`.
pub(crate) fn frames_to_time(frames: u64, rate_hz: u32) -> Duration {
    Duration::from_nanos(frames.saturating_mul(1_000_000_000) / u64::from(rate_hz.max(1)))
}

/// Number of whole frames that pass in `time`.
pub(crate) fn time_to_frames(time: Duration, rate_hz: u32) -> u64 {
    (time.as_nanos() * u128::from(rate_hz) / 1_000_000_000) as u64
}
