//! An open PCM as its thread uses it, and the meaning of its errors.

use super::behind::Behind;
use super::hw::{Device, io_error, title};
use super::tail::Tail;
use crate::live::{Fault, Input, Output, frames_to_time, time_to_frames, wait_for};
use crate::{Direction, Error, StreamSpec};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use sndif::Format;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::thread;
use std::time::{Duration, Instant};

/// States of a PCM as alsa-lib numbers them; `PCM::state` panics on one it does not know.
mod state {
    pub const PREPARED: i32 = 2;
    pub const RUNNING: i32 = 3;
    pub const DISCONNECTED: i32 = 8;
}

/// Longest wait for a PCM that reports an underrun to play what it still holds.
const LONGEST_TAIL: Duration = Duration::from_millis(500);

/// Part of a period that need not be silent: what a card plays while a guest's frames are moved makes that much room.
const LEAST_ROOM: u64 = 4;

/// Time for which a card's delay counts as known after it was asked. A card is served in two steps, some microseconds
/// apart: the position is told, then the frames that follow are written. The second one asks nothing of the kernel.
const KNOWN_FOR: Duration = Duration::from_micros(100);

/// A PCM in either direction.
pub(super) struct AlsaPcm {
    device: Device,
    /// Place of the wake-up descriptor, then the PCM's descriptors.
    fds: Vec<alsa::poll::pollfd>,
    name: String,
    direction: Direction,
    format: Format,
    frame_bytes: usize,
    /// Frames in the device's order, where that differs.
    ordered: Vec<u8>,
    /// Room, or frames, when the PCM was last asked, less those moved since.
    avail: u64,
    /// True if a card's room was asked for since its delay was.
    avail_known: bool,
    /// Frames not heard when the PCM was last asked, with those written since; the time of that.
    held: u64,
    held_at: Instant,
    /// True if a card may have made room since its room was made silent.
    uncovered: bool,
    /// Time of the last question for the delay that a running card has answered.
    asked_at: Option<Instant>,
    rate_hz: u32,
    /// Time at which a PCM that has reported an underrun has played everything: a plugin's server goes on for a while.
    dry_at: Option<Instant>,
    /// Frames of a plugin's server that are not heard yet.
    tail: Tail,
    /// Beginning of the pause: frames that the PCM holds are not heard meanwhile.
    paused_at: Option<Instant>,
    /// True while the PCM is stopped and empty. The PCM is prepared only when it is needed: a prepared stream of ALSA's
    /// plugin for PulseAudio keeps its server's card awake.
    emptied: bool,
}

impl AlsaPcm {
    pub fn new(mut device: Device, name: &str, direction: Direction, spec: &StreamSpec) -> Self {
        let mut fds = std::mem::take(&mut device.poll_fds);
        fds.insert(0, alsa::poll::pollfd { fd: -1, events: 0, revents: 0 });
        let (name, frame_bytes) = (name.to_owned(), spec.frame_bytes());
        Self {
            device,
            fds,
            name,
            direction,
            format: spec.format,
            frame_bytes,
            ordered: Vec::new(),
            avail: 0,
            avail_known: false,
            held: 0,
            held_at: Instant::now(),
            uncovered: false,
            asked_at: None,
            rate_hz: spec.rate_hz,
            dry_at: None,
            tail: Tail::default(),
            paused_at: None,
            emptied: true,
        }
    }

    /// Queues whole frames and returns how many.
    fn put(&mut self, frames: &[u8]) -> alsa::Result<usize> {
        let io = self.device.pcm.io_bytes();
        if !self.device.mapped {
            return io.writei(frames);
        }
        let place = self.device.behind.as_ref().and_then(Behind::place);
        let mut put = 0;
        // The ring continues at its beginning after its end.
        while put < frames.len() {
            let rest = &frames[put..];
            let copy = |room: &mut [u8]| {
                let bytes = rest.len().min(room.len());
                room[..bytes].copy_from_slice(&rest[..bytes]);
                bytes / self.frame_bytes
            };
            match io.mmap(rest.len() / self.frame_bytes, copy)? {
                0 => break,
                frames => put += frames * self.frame_bytes,
            }
        }
        let put = put / self.frame_bytes;
        if let Some(behind) = &mut self.device.behind {
            behind.moved(place, put);
        }
        Ok(put)
    }

    /// Fills `into` with whole frames and returns how many.
    fn get(&self, into: &mut [u8]) -> alsa::Result<usize> {
        let io = self.device.pcm.io_bytes();
        if !self.device.mapped {
            return io.readi(into);
        }
        let mut got = 0;
        // The ring continues at its beginning after its end.
        while got < into.len() {
            let rest = &mut into[got..];
            let wanted = rest.len() / self.frame_bytes;
            let copy = |frames: &mut [u8]| {
                let bytes = rest.len().min(frames.len());
                rest[..bytes].copy_from_slice(&frames[..bytes]);
                bytes / self.frame_bytes
            };
            match io.mmap(wanted, copy)? {
                0 => break,
                frames => got += frames * self.frame_bytes,
            }
        }
        Ok(got / self.frame_bytes)
    }

    /// Outcome of a call: an xrun or a suspend is recovered, any other error is the end.
    fn outcome<T>(&self, result: alsa::Result<T>) -> Result<T, Fault> {
        let pcm = &self.device.pcm;
        result.map_err(|error| {
            let disconnected = pcm.state_raw() == state::DISCONNECTED;
            match recovered(error, disconnected, || pcm.prepare()) {
                Ok(()) => Fault::Xrun,
                Err(error) => Fault::Lost(Error::lost(title(&self.name, self.direction), io_error(error))),
            }
        })
    }

    /// Frames yet to be heard from a PCM that reports that it ran dry; an xrun once they were heard. Preparing the PCM
    /// sooner would discard them.
    fn running_dry(&mut self, now: Instant) -> Result<Option<u64>, Fault> {
        let Some(dry_at) = self.dry_at else { return Ok(None) };
        let now = self.paused_at.unwrap_or(now);
        let left = time_to_frames(dry_at.saturating_duration_since(now), self.rate_hz);
        if left > 0 {
            return Ok(Some(left));
        }
        (self.dry_at, self.held) = (None, 0);
        self.outcome(self.device.pcm.prepare())?;
        Err(Fault::Xrun)
    }

    /// Returns true if the PCM reports that it ran dry, though the frames that it holds are heard for a while yet.
    fn runs_dry<T>(&mut self, result: &alsa::Result<T>, now: Instant) -> bool {
        if result.is_err() {
            self.asked_at = None;
        }
        let xrun = matches!(result, Err(error) if error.errno().abs() == Errno::PIPE.raw_os_error());
        if !xrun || self.device.pcm.state_raw() == state::DISCONNECTED {
            return false;
        }
        let now = self.paused_at.unwrap_or(now);
        let held = frames_to_time(self.held, self.rate_hz).min(LONGEST_TAIL);
        let left = held.saturating_sub(now.saturating_duration_since(self.held_at));
        self.dry_at = (!left.is_zero()).then(|| now + left);
        self.dry_at.is_some()
    }

    /// Returns true if a card was asked for its delay just now, which also brought its room up to date.
    fn is_known(&self, now: Instant) -> bool {
        self.asked_at.is_some_and(|asked_at| now.saturating_duration_since(asked_at) < KNOWN_FOR)
    }

    /// The PCM's answer to a question; `None` where the PCM cannot say. ALSA's plugin for PulseAudio returns EIO until
    /// its server has told the time, as after each underrun; a PCM that is gone is seen by its state, or by standing
    /// still.
    fn answer(&self, result: alsa::Result<alsa::pcm::Frames>) -> Result<Option<u64>, Fault> {
        self.outcome(known(result, || self.device.pcm.state_raw()))
    }

    /// Frames moved by a call, 0 if the call would have had to wait.
    fn moved(&mut self, result: alsa::Result<usize>) -> Result<usize, Fault> {
        let moved = match result {
            Err(error) if error.errno().abs() == Errno::AGAIN.raw_os_error() => 0,
            result => self.outcome(result)?,
        };
        self.avail = self.avail.saturating_sub(moved as u64);
        if moved > 0 {
            self.tail.restart();
        }
        Ok(moved)
    }

    fn prepare(&mut self) -> Result<(), Fault> {
        if std::mem::take(&mut self.emptied) {
            self.outcome(self.device.pcm.prepare())?;
        }
        Ok(())
    }

    fn run(&mut self) -> Result<(), Fault> {
        if self.device.pcm.state_raw() == state::PREPARED {
            return self.outcome(self.device.pcm.start());
        }
        Ok(())
    }

    fn empty(&mut self) -> Result<(), Fault> {
        (self.held, self.asked_at, self.dry_at, self.paused_at, self.emptied) = (0, None, None, None, true);
        self.uncovered = false;
        self.tail.restart();
        self.outcome(self.device.pcm.drop())
    }

    fn await_change(&mut self, wake: BorrowedFd<'_>, by_pcm: bool, timeout: Option<Duration>) -> bool {
        const ERROR: i16 =
            alsa::poll::Flags::ERR.bits() | alsa::poll::Flags::NVAL.bits() | alsa::poll::Flags::HUP.bits();
        // With `avail_min` frames there already, the PCM's descriptors are ready all the time.
        if !by_pcm || self.avail >= self.device.avail_min {
            return wait_for(&mut [PollFd::from_borrowed_fd(wake, PollFlags::IN)], timeout);
        }
        self.fds[0] = alsa::poll::pollfd { fd: wake.as_raw_fd(), events: alsa::poll::Flags::IN.bits(), revents: 0 };
        // The PCM signals by itself; the timeout is for a PCM that does not.
        let milliseconds = timeout.map_or(-1, |timeout| timeout.as_micros().div_ceil(1_000).min(10_000) as i32);
        match alsa::poll::poll(&mut self.fds, milliseconds) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(_) => thread::sleep(Duration::from_millis(1)),
        }
        if self.fds[1..].iter().any(|fd| fd.revents & ERROR != 0) {
            // The next call into ALSA reports the error; the sleep avoids spinning if it reports none.
            thread::sleep(Duration::from_millis(1));
        }
        false
    }
}

impl Output for AlsaPcm {
    fn is_immediate(&self) -> bool {
        !self.device.may_wait
    }

    fn attend(&mut self, _now: Instant) -> Result<(), Fault> {
        Ok(())
    }

    fn room(&mut self, now: Instant) -> Result<u64, Fault> {
        if self.emptied {
            return Ok(self.device.buffer);
        }
        if self.running_dry(now)?.is_some() {
            return Ok(0);
        }
        let pcm = &self.device.pcm;
        let avail = if self.is_known(now) { pcm.avail_update() } else { pcm.avail() };
        if self.runs_dry(&avail, now) {
            return Ok(0);
        }
        if let Some(avail) = self.answer(avail)? {
            (self.avail, self.avail_known) = (avail, true);
        }
        Ok(self.avail)
    }

    fn write(&mut self, frames: &[u8], now: Instant) -> Result<usize, Fault> {
        self.prepare()?;
        if self.running_dry(now)?.is_some() {
            return Ok(0);
        }
        let whole = frames.len() - frames.len() % self.frame_bytes;
        let written = if self.device.order.is_identity() {
            self.put(&frames[..whole])
        } else {
            let mut ordered = std::mem::take(&mut self.ordered);
            ordered.clear();
            ordered.extend_from_slice(&frames[..whole]);
            self.device.order.order_out(&mut ordered, pcm::sample_bytes(self.format));
            let written = self.put(&ordered);
            self.ordered = ordered;
            written
        };
        if self.runs_dry(&written, now) {
            return Ok(0);
        }
        let written = self.moved(written)?;
        (self.held, self.held_at) = (self.held + written as u64, self.paused_at.unwrap_or(now));
        Ok(written)
    }

    fn delay(&mut self, now: Instant) -> Result<u64, Fault> {
        if self.emptied {
            return Ok(0);
        }
        if let Some(left) = self.running_dry(now)? {
            return Ok(left);
        }
        if self.is_known(now) {
            return Ok(self.held);
        }
        (self.uncovered, self.avail_known) = (self.device.behind.is_some(), false);
        let delay = self.device.pcm.delay();
        if self.runs_dry(&delay, now) {
            return Ok(self.running_dry(now)?.unwrap_or_default());
        }
        if let Some(mut delay) = self.answer(delay).inspect_err(|_| self.held = 0)? {
            if self.device.may_wait {
                let avail = self.device.pcm.avail();
                if self.runs_dry(&avail, now) {
                    return Ok(self.running_dry(now)?.unwrap_or_default());
                }
                if let Some(avail) = self.answer(avail)? {
                    delay = self.tail.left(delay, (avail, self.device.buffer), self.rate_hz, now);
                }
            } else if self.paused_at.is_none() {
                self.asked_at = Some(now);
            }
            (self.held, self.held_at) = (delay, self.paused_at.unwrap_or(now));
        }
        Ok(self.held)
    }

    fn settle(&mut self) {
        if !std::mem::take(&mut self.uncovered) {
            return;
        }
        let Some(behind) = &self.device.behind else { return };
        if !self.avail_known {
            // An error is the next question's answer, too.
            self.avail = self.device.pcm.avail_update().unwrap_or(0).cast_unsigned();
        }
        if self.avail > self.device.period / LEAST_ROOM {
            let _ = behind.fill(&self.device.pcm.io_bytes());
        }
    }

    fn start(&mut self, _now: Instant) -> Result<(), Fault> {
        self.run()
    }

    fn pause(&mut self, on: bool, now: Instant) -> Result<bool, Fault> {
        if !self.device.can_pause {
            return Ok(false);
        }
        self.asked_at = None;
        if let Some(paused_at) = self.paused_at.take() {
            // ALSA's plugin for PulseAudio may report after a pause that it ran dry before the last frames that it was
            // given.
            let pause = now.saturating_duration_since(paused_at);
            self.held_at += pause;
            self.tail.restart();
            self.dry_at = self.dry_at.map(|dry_at| dry_at + pause);
        }
        match self.device.pcm.pause(on) {
            Ok(()) => {
                self.paused_at = on.then_some(now);
                Ok(true)
            }
            // The PCM plays on; a failed pause is no reason to lose it.
            Err(_) if on => Ok(false),
            Err(error) => self.outcome(Err(error)),
        }
    }

    fn reset(&mut self, _now: Instant) -> Result<(), Fault> {
        self.empty()
    }

    fn wait(&mut self, wake: BorrowedFd<'_>, room: bool, timeout: Option<Duration>) -> bool {
        self.await_change(wake, room, timeout)
    }
}

impl Input for AlsaPcm {
    fn is_immediate(&self) -> bool {
        !self.device.may_wait
    }

    fn attend(&mut self, _now: Instant) -> Result<(), Fault> {
        Ok(())
    }

    fn available(&mut self, _now: Instant) -> Result<u64, Fault> {
        if self.emptied {
            return Ok(0);
        }
        if let Some(avail) = self.answer(self.device.pcm.avail())? {
            self.avail = avail;
        }
        Ok(self.avail)
    }

    fn read(&mut self, into: &mut [u8], _now: Instant) -> Result<usize, Fault> {
        let whole = into.len() - into.len() % self.frame_bytes;
        let read = self.get(&mut into[..whole]);
        let read = self.moved(read)?;
        self.device.order.order_in(&mut into[..read * self.frame_bytes], pcm::sample_bytes(self.format));
        Ok(read)
    }

    fn start(&mut self, _now: Instant) -> Result<(), Fault> {
        self.prepare()?;
        self.run()
    }

    fn reset(&mut self, _now: Instant) -> Result<(), Fault> {
        self.empty()
    }

    fn wait(&mut self, wake: BorrowedFd<'_>, late: bool, timeout: Option<Duration>) -> bool {
        self.await_change(wake, late, timeout)
    }
}

/// The answer of a PCM in this state; `None` where the PCM only reports that it does not know. A negative number counts
/// as 0.
fn known(answer: alsa::Result<alsa::pcm::Frames>, state: impl FnOnce() -> i32) -> alsa::Result<Option<u64>> {
    match answer {
        Err(error)
            if error.errno().abs() == Errno::IO.raw_os_error()
                && matches!(state(), state::PREPARED | state::RUNNING) =>
        {
            Ok(None)
        }
        answer => answer.map(|frames| Some(frames.max(0).cast_unsigned())),
    }
}

/// Brings a PCM back to PREPARED after `error`.
///
/// # Errors
/// The error is not an xrun or a suspend, or the PCM does not come back.
fn recovered(
    error: alsa::Error,
    disconnected: bool,
    prepare: impl FnOnce() -> alsa::Result<()>,
) -> Result<(), alsa::Error> {
    let gone = Errno::NODEV.raw_os_error();
    match Errno::from_raw_os_error(error.errno().abs()) {
        _ if disconnected => Err(alsa::Error::new(error.func(), gone)),
        // Resuming would continue from where the machine was suspended; a new start has the same effect here.
        Errno::PIPE | Errno::STRPIPE | Errno::BADFD => prepare(),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(errno: Errno, disconnected: bool, prepared: Result<(), Errno>) -> (Result<(), i32>, bool) {
        let error = |errno: Errno| alsa::Error::new("test", errno.raw_os_error());
        let mut asked = false;
        let result = recovered(error(errno), disconnected, || {
            asked = true;
            prepared.map_err(error)
        });
        (result.map_err(|error| error.errno()), asked)
    }

    #[test]
    fn a_question_that_has_no_answer_yet_is_no_loss() {
        let known = |errno: Errno, state| known(Err(alsa::Error::new("test", errno.raw_os_error())), || state);
        for state in [state::RUNNING, state::PREPARED] {
            assert!(matches!(known(Errno::IO, state), Ok(None)), "{state}");
        }
        assert!(known(Errno::IO, state::DISCONNECTED).is_err());
        assert!(known(Errno::PIPE, state::RUNNING).is_err() && known(Errno::NODEV, state::RUNNING).is_err());
    }

    #[test]
    fn a_delay_of_less_than_nothing_is_nothing() {
        for (told, frames) in [(-480, 0), (-1, 0), (0, 0), (480, 480)] {
            assert!(matches!(known(Ok(told), || state::RUNNING), Ok(Some(left)) if left == frames), "{told}");
        }
    }

    #[test]
    fn what_a_card_has_said_just_now_is_not_asked_again() {
        let (period_frames, buffer_frames) = (480, 1_920);
        let spec = StreamSpec { format: Format::S16Le, rate_hz: 48_000, channels: 2, period_frames, buffer_frames };
        // `null` has always played everything.
        let device = super::super::hw::open("null", Direction::Playback, &spec).unwrap();
        let mut pcm = AlsaPcm::new(device, "null", Direction::Playback, &spec);
        let begin = Instant::now();
        let at = |us| begin + Duration::from_micros(us);
        let told = |pcm: &mut AlsaPcm, us| Output::delay(pcm, at(us)).ok();
        let written = |pcm: &mut AlsaPcm, us| pcm.write(&[0; 480 * 4], at(us)).ok();
        assert_eq!((written(&mut pcm, 0), told(&mut pcm, 0)), (Some(480), Some(0)));
        assert_eq!((written(&mut pcm, 20), told(&mut pcm, 20)), (Some(480), Some(480)), "not asked");
        assert_eq!((told(&mut pcm, 99), told(&mut pcm, 100)), (Some(480), Some(0)), "asked after 100 us");
        // After a pause and after a stop it is asked.
        assert!(written(&mut pcm, 120).is_some() && pcm.pause(true, at(130)).is_ok());
        assert_eq!(told(&mut pcm, 140), Some(0));
        assert!(Output::reset(&mut pcm, at(150)).is_ok());
        assert_eq!((written(&mut pcm, 160), told(&mut pcm, 160)), (Some(480), Some(0)));
    }

    #[test]
    fn the_room_that_a_card_has_made_is_silent_once_nothing_more_comes() {
        let (period_frames, buffer_frames) = (480, 1_920);
        let spec = StreamSpec { format: Format::S16Le, rate_hz: 48_000, channels: 2, period_frames, buffer_frames };
        // All of the ring of `null` is room at any time.
        let device = super::super::hw::open("null", Direction::Playback, &spec).unwrap();
        let mut pcm = AlsaPcm::new(device, "null", Direction::Playback, &spec);
        let now = Instant::now();
        assert_eq!(pcm.write(&[1; 480 * 4], now).ok(), Some(480));
        let room = |pcm: &AlsaPcm, touch: &dyn Fn(&mut [u8])| {
            let look = |room: &mut [u8]| {
                touch(room);
                0
            };
            pcm.device.pcm.io_bytes().mmap(1_920, look).unwrap();
        };
        let heard_before = |room: &mut [u8]| room.fill(1);
        let still = |room: &mut [u8]| assert!(room.iter().all(|&byte| byte == 1));
        room(&pcm, &heard_before);
        // A question makes nothing silent, since frames may follow at once.
        assert!(Output::delay(&mut pcm, now).is_ok());
        room(&pcm, &still);
        pcm.settle();
        room(&pcm, &|room| assert!(room.iter().all(|&byte| byte == 0)));
        // Nothing was asked since.
        room(&pcm, &heard_before);
        pcm.settle();
        room(&pcm, &still);
    }

    #[test]
    fn nothing_comes_from_memory_that_nobody_has_written() {
        let (period_frames, buffer_frames) = (480, 1_920);
        let spec = StreamSpec { format: Format::S16Le, rate_hz: 48_000, channels: 2, period_frames, buffer_frames };
        // The ring of `null` is such memory.
        let device = super::super::hw::open("null", Direction::Capture, &spec).unwrap();
        assert!(!device.mapped && device.behind.is_none());
        let mut pcm = AlsaPcm::new(device, "null", Direction::Capture, &spec);
        let mut frames = [1; 480 * 4];
        assert!(Input::start(&mut pcm, Instant::now()).is_ok());
        assert_eq!(pcm.read(&mut frames, Instant::now()).ok(), Some(480));
        assert!(frames.iter().all(|&byte| byte == 1), "they are left as they were");
    }

    #[test]
    fn an_xrun_and_a_suspend_are_made_good() {
        for errno in [Errno::PIPE, Errno::STRPIPE, Errno::BADFD] {
            assert_eq!(outcome(errno, false, Ok(())), (Ok(()), true), "{errno}");
        }
    }

    #[test]
    fn a_pcm_that_was_unplugged_is_lost_whatever_it_says() {
        for errno in [Errno::PIPE, Errno::BADFD, Errno::NODEV, Errno::IO] {
            assert_eq!(outcome(errno, true, Ok(())), (Err(Errno::NODEV.raw_os_error()), false), "{errno}");
        }
        assert_eq!(outcome(Errno::NODEV, false, Ok(())), (Err(Errno::NODEV.raw_os_error()), false));
    }

    #[test]
    fn a_pcm_that_does_not_come_back_is_lost() {
        let lost = (Err(Errno::NODEV.raw_os_error()), true);
        assert_eq!(outcome(Errno::PIPE, false, Err(Errno::NODEV)), lost);
    }
}
