//! Stand-ins for a device that is gone: they take frames, or give silence, at the rate of the system's clock.

use super::bridge::wait_for;
use super::{Fault, Input, Output, time_to_frames};
use rustix::event::{PollFd, PollFlags};
use sndif::Format;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

/// Counts frames by the system's clock while it runs.
#[derive(Debug)]
struct Ticker {
    rate_hz: u32,
    /// Frames that had passed at `since`, or in all while the ticker does not run.
    before: u64,
    since: Option<Instant>,
}

impl Ticker {
    fn new(rate_hz: u32) -> Self {
        Self { rate_hz, before: 0, since: None }
    }

    fn passed(&self, now: Instant) -> u64 {
        let running = |since| time_to_frames(now.saturating_duration_since(since), self.rate_hz);
        self.before + self.since.map_or(0, running)
    }

    fn start(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    fn stop(&mut self, now: Instant) {
        self.before = self.passed(now);
        self.since = None;
    }
}

/// Stand-in that plays to nobody.
#[derive(Debug)]
pub(super) struct SilentOutput {
    ticker: Ticker,
    frame_bytes: usize,
    written: u64,
    most: u64,
}

impl SilentOutput {
    /// A stand-in that has `queued` frames to play and is not started. Up to `most` frames are taken ahead.
    pub fn new(frame_bytes: usize, rate_hz: u32, queued: u64, most: u64) -> Self {
        Self { ticker: Ticker::new(rate_hz), frame_bytes, written: queued, most }
    }

    /// Begins to play.
    pub fn begin(&mut self, now: Instant) {
        self.ticker.start(now);
    }
}

impl Output for SilentOutput {
    fn is_immediate(&self) -> bool {
        true
    }

    fn attend(&mut self, _now: Instant) -> Result<(), Fault> {
        Ok(())
    }

    fn room(&mut self, now: Instant) -> Result<u64, Fault> {
        Ok(self.most.saturating_sub(self.delay(now)?))
    }

    fn write(&mut self, frames: &[u8], now: Instant) -> Result<usize, Fault> {
        let taken = (frames.len() / self.frame_bytes).min(self.room(now)? as usize);
        self.written += taken as u64;
        Ok(taken)
    }

    fn delay(&mut self, now: Instant) -> Result<u64, Fault> {
        let passed = self.ticker.passed(now);
        if passed >= self.written {
            // Time without frames is not made up for.
            self.ticker.before = self.written;
            self.ticker.since = self.ticker.since.map(|_| now);
        }
        Ok(self.written.saturating_sub(passed))
    }

    fn start(&mut self, now: Instant) -> Result<(), Fault> {
        self.begin(now);
        Ok(())
    }

    fn pause(&mut self, on: bool, now: Instant) -> Result<bool, Fault> {
        if on {
            self.ticker.stop(now);
        } else {
            self.ticker.start(now);
        }
        Ok(true)
    }

    fn reset(&mut self, _now: Instant) -> Result<(), Fault> {
        self.ticker = Ticker::new(self.ticker.rate_hz);
        self.written = 0;
        Ok(())
    }

    fn wait(&mut self, wake: BorrowedFd<'_>, _room: bool, timeout: Option<Duration>) -> bool {
        wait_for(&mut [PollFd::from_borrowed_fd(wake, PollFlags::IN)], timeout)
    }
}

/// Stand-in that gives silence.
#[derive(Debug)]
pub(super) struct SilentInput {
    ticker: Ticker,
    format: Format,
    frame_bytes: usize,
    read: u64,
}

impl SilentInput {
    pub fn new(format: Format, frame_bytes: usize, rate_hz: u32) -> Self {
        Self { ticker: Ticker::new(rate_hz), format, frame_bytes, read: 0 }
    }

    /// Begins to give silence.
    pub fn begin(&mut self, now: Instant) {
        self.ticker.start(now);
    }
}

impl Input for SilentInput {
    fn is_immediate(&self) -> bool {
        true
    }

    fn attend(&mut self, _now: Instant) -> Result<(), Fault> {
        Ok(())
    }

    fn available(&mut self, now: Instant) -> Result<u64, Fault> {
        Ok(self.ticker.passed(now).saturating_sub(self.read))
    }

    fn read(&mut self, into: &mut [u8], now: Instant) -> Result<usize, Fault> {
        let frames = self.available(now)?.min((into.len() / self.frame_bytes) as u64);
        pcm::fill_silence(self.format, &mut into[..frames as usize * self.frame_bytes]);
        self.read += frames;
        Ok(frames as usize)
    }

    fn start(&mut self, now: Instant) -> Result<(), Fault> {
        self.begin(now);
        Ok(())
    }

    fn reset(&mut self, _now: Instant) -> Result<(), Fault> {
        self.ticker = Ticker::new(self.ticker.rate_hz);
        self.read = 0;
        Ok(())
    }

    fn wait(&mut self, wake: BorrowedFd<'_>, _late: bool, timeout: Option<Duration>) -> bool {
        wait_for(&mut [PollFd::from_borrowed_fd(wake, PollFlags::IN)], timeout)
    }
}
