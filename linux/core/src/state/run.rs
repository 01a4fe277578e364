// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Where the run stands that `prepare` began, and where ALSA is shown that it is.

use sndif::store::Direction;

use super::State;
use crate::estimate::Estimate;
use crate::guarded::Requests;
use crate::place::{Accepted, Shown, frames, frames_in_ring};
use crate::{Platform, Signal, Stop};

/// Phase of a stream as ALSA wants it, whether or not there is a backend to do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Phase {
    /// To be prepared first.
    #[default]
    Stopped,
    Prepared,
    Running,
    Paused,
}

/// Where the run stands that `prepare` began; all in bytes since then.
#[derive(Default)]
pub(super) struct Run {
    pub(super) phase: Phase,
    /// Bytes that the application has written.
    pub(super) accepted: Accepted,
    /// Bytes that the backend has taken by WRITE: the application may overwrite them.
    pub(super) taken: u64,
    /// Captured bytes that READs have brought, and those lost before them.
    pub(super) captured: u64,
    /// Where the device is between the backend's positions.
    pub(super) estimate: Estimate,
    /// Up to where ALSA was told.
    pub(super) shown: Shown,
    /// Where the present connection counts from: 0 unless it has taken the run up.
    pub(super) origin: u64,
    /// The present connection was sent START.
    pub(super) started: bool,
    /// No connection can take it up: it has to be prepared again.
    pub(super) stale: bool,
    pub(super) draining: bool,
    /// Nobody tells how far the ring is written: it is handed over ahead of the device, whatever is in it.
    pub(super) free: bool,
    pub(super) stop: Option<Stop>,
}

impl<P: Platform> State<P> {
    /// Where the next connection begins to count.
    pub(super) fn next_origin(&self) -> u64 {
        match self.direction {
            // What the backend had and did not tell of is played once more; nothing is left out.
            Direction::Playback => self.whole_frames(self.position()).min(self.last_origin()).max(self.first_origin()),
            Direction::Capture => self.run.captured,
        }
    }

    /// How far at most a run has come that the next connection is to take up: not so far that ALSA sees an xrun, if the
    /// last backend has played all there was before it went.
    fn last_origin(&self) -> u64 {
        let period = match &self.buffer {
            Some(buffer) if !self.run.draining => u64::from(buffer.geometry.period_bytes()),
            _ => 0,
        };
        self.run.accepted.bytes.saturating_sub(period).max(self.run.shown.bytes)
    }

    /// How far at least: what lies before was overwritten in the ring, as ALSA was shown an estimate ahead of the last position.
    fn first_origin(&self) -> u64 {
        let ring = self.buffer.as_ref().map_or(0, |buffer| u64::from(buffer.geometry.ring_bytes()));
        self.run.accepted.bytes.saturating_sub(ring)
    }

    /// Bytes that the device has played or captured.
    pub(super) fn device_position(&self) -> u64 {
        let here = match &self.transport {
            Some(transport) if self.connected => transport.stream.run_position_bytes(),
            _ => 0,
        };
        self.run.origin.saturating_add(here)
    }

    /// Position that ALSA is shown: what is played, captured, or of a ring that nobody tells of, taken out.
    fn position(&self) -> u64 {
        match self.direction {
            Direction::Playback if self.run.free => self.handed_over(),
            Direction::Playback => self.device_position(),
            Direction::Capture => self.run.captured,
        }
    }

    /// Where the device is by now, as far as that can be known: not beyond what the backend has taken, and not at the end of that
    /// before it says so.
    pub(super) fn estimated(&self) -> u64 {
        let (position, Some(geometry)) = (self.device_position(), self.buffer_geometry()) else { return 0 };
        let most = match self.direction {
            Direction::Playback => self.run.taken.saturating_sub(geometry.frame_bytes().into()),
            Direction::Capture => u64::MAX,
        };
        self.run.estimate.position(P::Signal::now_ns(), &geometry).min(most).max(position)
    }

    pub(super) fn handed_over(&self) -> u64 {
        let here = match &self.transport {
            Some(transport) if self.connected => transport.stream.run_submitted_bytes(),
            _ => 0,
        };
        self.run.origin.saturating_add(here)
    }

    fn whole_frames(&self, bytes: u64) -> u64 {
        let frame = self.buffer.as_ref().map_or(1, |buffer| u64::from(buffer.geometry.frame_bytes()));
        bytes.saturating_sub(bytes.checked_rem(frame).unwrap_or(0))
    }

    /// The place in the ring, in frames, and how many more frames are on their way.
    pub(crate) fn pointer(&mut self) -> (u32, u32) {
        let Some(geometry) = self.buffer.as_ref().map(|buffer| buffer.geometry) else { return (0, 0) };
        if !self.run.stale {
            let position = match self.direction {
                Direction::Playback if !self.run.free => self.estimated(),
                _ => self.position(),
            };
            self.run.shown.show(position, &geometry);
        }
        let shown = self.run.shown.bytes;
        let on_their_way = match self.direction {
            Direction::Capture => self.estimated().saturating_sub(shown).min(geometry.ring_bytes().into()),
            Direction::Playback if self.run.free => shown.saturating_sub(self.device_position()),
            Direction::Playback => 0,
        };
        (frames_in_ring(shown, &geometry), frames(on_their_way, &geometry))
    }

    /// Whether ALSA has to be told of a period: see [`Shown::begin_telling`].
    pub(super) fn begin_showing(&mut self) -> bool {
        let Some(geometry) = self.buffer_geometry().filter(|_| !self.run.stale) else { return false };
        let end = (self.direction == Direction::Playback && !self.run.free).then_some(self.run.accepted.bytes);
        let position = self.position();
        self.run.shown.begin_telling(position, end, &geometry)
    }
}
