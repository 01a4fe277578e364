// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Progress of the run that `prepare` began, and the position that ALSA is shown.

use sndif::store::Direction;

use super::State;
use crate::estimate::Estimate;
use crate::guarded::Requests;
use crate::place::{Accepted, Shown, frames, frames_in_ring};
use crate::{Platform, Signal, Stop};

/// Phase of a stream that ALSA has asked for, whether or not a backend is there for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Phase {
    /// The stream has to be prepared first.
    #[default]
    Stopped,
    Prepared,
    Running,
    Paused,
}

/// Progress of the run that `prepare` began; all counts are bytes since then.
#[derive(Default)]
pub(super) struct Run {
    pub(super) phase: Phase,
    /// Bytes that the application has written.
    pub(super) accepted: Accepted,
    /// Bytes that the backend has taken by WRITE: the application may overwrite them.
    pub(super) taken: u64,
    /// Captured bytes that READs have brought, and those lost before them.
    pub(super) captured: u64,
    /// Estimate of the device's position between the backend's positions.
    pub(super) estimate: Estimate,
    /// Position that ALSA was told.
    pub(super) shown: Shown,
    /// Origin of the present connection's counts: 0 unless the connection has taken the run up.
    pub(super) origin: u64,
    /// True once the present connection was sent START.
    pub(super) started: bool,
    /// True if no connection can take the run up: the stream has to be prepared again.
    pub(super) stale: bool,
    pub(super) draining: bool,
    /// True if nobody tells how far the ring is written: its contents are handed over ahead of the device.
    pub(super) free: bool,
    pub(super) stop: Option<Stop>,
}

impl<P: Platform> State<P> {
    /// Returns the origin of the next connection's counts.
    pub(super) fn next_origin(&self) -> u64 {
        match self.direction {
            // Frames that the backend had and did not report are played again; none is left out.
            Direction::Playback => self.whole_frames(self.position()).min(self.last_origin()).max(self.first_origin()),
            Direction::Capture => self.run.captured,
        }
    }

    /// Returns the maximum origin of a run that the next connection takes up: not so far that ALSA sees an xrun, if the
    /// last backend has played everything before it went.
    fn last_origin(&self) -> u64 {
        let period = match &self.buffer {
            Some(buffer) if !self.run.draining => u64::from(buffer.geometry.period_bytes()),
            _ => 0,
        };
        self.run.accepted.bytes.saturating_sub(period).max(self.run.shown.bytes)
    }

    /// Returns the minimum origin: earlier bytes were overwritten in the ring, as ALSA was shown an estimate ahead of
    /// the last position.
    fn first_origin(&self) -> u64 {
        let ring = self.buffer.as_ref().map_or(0, |buffer| u64::from(buffer.geometry.ring_bytes()));
        self.run.accepted.bytes.saturating_sub(ring)
    }

    /// Returns the number of bytes that the device has played or captured.
    pub(super) fn device_position(&self) -> u64 {
        let here = match &self.transport {
            Some(transport) if self.connected => transport.stream.run_position_bytes(),
            _ => 0,
        };
        self.run.origin.saturating_add(here)
    }

    /// Returns the position that ALSA is shown: of bytes played, captured, or, in a free run, handed over.
    fn position(&self) -> u64 {
        match self.direction {
            Direction::Playback if self.run.free => self.handed_over(),
            Direction::Playback => self.device_position(),
            Direction::Capture => self.run.captured,
        }
    }

    /// Returns the estimated position of the device: not beyond the bytes that the backend has taken, and not at their
    /// end before the backend says so.
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

    /// Returns the place in the ring, in frames, and the number of frames that are on their way.
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

    /// Returns true if ALSA has to be told of a period: see [`Shown::begin_telling`].
    pub(super) fn begin_showing(&mut self) -> bool {
        let Some(geometry) = self.buffer_geometry().filter(|_| !self.run.stale) else { return false };
        let end = (self.direction == Direction::Playback && !self.run.free).then_some(self.run.accepted.bytes);
        let position = self.position();
        self.run.shown.begin_telling(position, end, &geometry)
    }
}
