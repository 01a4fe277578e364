//! The sound device behind a stream, which plays the written frames, or captures, in real time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use host_audio::wav::Writer;
use sndif::store::Direction;

use super::Error;

/// Maximum number of frames by which a position exceeds the written frames: the device detects an underrun that late.
const UNDERRUN_FRAMES: u64 = 37;

/// Destination or origin of the sound.
pub(super) enum Sound {
    Played(Writer),
    Captured(Arc<[u8]>),
}

/// Parameters of the opened device.
pub(super) struct Shape {
    pub(super) frame_bytes: usize,
    pub(super) rate_hz: u64,
    pub(super) buffer_frames: u64,
    pub(super) period_frames: u64,
}

pub(super) struct Device {
    shape: Shape,
    sound: Sound,
    state: State,
    /// Written bytes that are not played yet.
    queue: VecDeque<u8>,
    /// Frames played or captured in this run, and frames written or read in it.
    moved: u64,
    handed: u64,
    /// Captured frames of earlier runs.
    before: u64,
    /// Start of this run's count, and frames by which an underrun exceeded the written ones.
    origin: u64,
    underrun: u64,
    runs: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Stopped,
    /// Start of the run, and frames moved before.
    Runs(Instant, u64),
    /// The device has played all frames and waits.
    Dry,
    /// The captured frames were not read in time.
    Overrun,
}

/// Error: the device is overrun and must be started again.
pub(super) struct IsOverrun;

impl Device {
    pub(super) fn new(shape: Shape, sound: Sound) -> Self {
        Self {
            shape,
            sound,
            state: State::Stopped,
            queue: VecDeque::new(),
            moved: 0,
            handed: 0,
            before: 0,
            origin: 0,
            underrun: 0,
            runs: 0,
        }
    }

    fn direction(&self) -> Direction {
        match self.sound {
            Sound::Played(_) => Direction::Playback,
            Sound::Captured(_) => Direction::Capture,
        }
    }

    /// Time between two positions: whole milliseconds.
    pub(super) fn period(&self) -> Duration {
        Duration::from_millis((self.shape.period_frames * 1000 / self.shape.rate_hz).max(1))
    }

    /// Starts a run. `from`: frames from which a run other than the first counts; 0 for the count left by an underrun.
    pub(super) fn start(&mut self, from: u64) {
        self.origin = match (self.runs, from) {
            (0, _) => 0,
            (_, 0) => self.underrun,
            (_, from) => from,
        };
        self.runs += 1;
        self.state = State::Runs(Instant::now(), 0);
    }

    pub(super) fn is_overrun(&self) -> bool {
        self.state == State::Overrun
    }

    /// Ends a run: drops the frames that were not played, or not read.
    pub(super) fn stop(&mut self) {
        self.before += self.moved;
        self.queue.clear();
        (self.moved, self.handed) = (0, 0);
        self.state = State::Stopped;
    }

    pub(super) fn write(&mut self, frames: &[u8]) {
        self.queue.extend(frames);
        self.handed += (frames.len() / self.shape.frame_bytes) as u64;
        if self.state == State::Dry {
            self.state = State::Runs(Instant::now(), self.moved);
        }
    }

    /// Reads the next captured frames.
    pub(super) fn read(&mut self, frames: &mut [u8]) -> Result<(), IsOverrun> {
        let Sound::Captured(source) = &self.sound else { return Ok(()) };
        if self.state == State::Overrun {
            return Err(IsOverrun);
        }
        let first = (self.before + self.handed) as usize * self.shape.frame_bytes;
        for (at, place) in frames.iter_mut().enumerate() {
            *place = source.get((first + at) % source.len().max(1)).copied().unwrap_or(0);
        }
        self.handed += (frames.len() / self.shape.frame_bytes) as u64;
        Ok(())
    }

    /// Plays or captures the frames that are due, and returns the device's position in bytes of its own count; `None`
    /// while the device does not run.
    pub(super) fn advance(&mut self) -> Result<Option<u64>, Error> {
        let State::Runs(since, base) = self.state else { return Ok(None) };
        let elapsed = u64::try_from(since.elapsed().as_nanos())?;
        let due = base + elapsed.saturating_mul(self.shape.rate_hz) / 1_000_000_000;
        let mut past = 0;
        match self.direction() {
            Direction::Playback => {
                if due > self.handed {
                    past = (due - self.handed).min(UNDERRUN_FRAMES);
                    self.state = State::Dry;
                }
                self.underrun = past;
                self.play(due.min(self.handed))?;
            }
            Direction::Capture => {
                let most = self.handed + self.shape.buffer_frames;
                if due > most {
                    self.state = State::Overrun;
                }
                self.moved = due.min(most + UNDERRUN_FRAMES);
            }
        }
        Ok(Some((self.origin + self.moved + past) * self.shape.frame_bytes as u64))
    }

    fn play(&mut self, until: u64) -> Result<(), Error> {
        let length = (until - self.moved) as usize * self.shape.frame_bytes;
        let frames: Vec<u8> = self.queue.drain(..length).collect();
        self.moved = until;
        match &mut self.sound {
            Sound::Played(file) => Ok(file.write(&frames)?),
            Sound::Captured(_) => Ok(()),
        }
    }

    /// Closes the device. The played sound is in its file.
    pub(super) fn close(self) {
        if let Sound::Played(file) = self.sound {
            file.finish();
        }
    }
}
