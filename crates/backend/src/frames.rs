//! What a host device sees of an open stream, whatever protocol the guest speaks.

use sndif::store::Direction;

use crate::{Geometry, Pace};

/// What a guest does with a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Run {
    /// Nothing.
    Closed,
    /// It is open and was not started.
    Open,
    /// Frames flow.
    Running,
    /// It is held.
    Paused,
}

/// The frames of a stream that may be open.
pub trait Frames {
    /// Playback or capture, as far as that is settled.
    fn direction(&self) -> Option<Direction>;

    /// Shape of the open stream.
    fn geometry(&self) -> Option<&Geometry>;

    /// The next frames to play, at most `room_frames`: a stretch that lies together. Say how many were taken
    /// with [`played`](Self::played) and ask again.
    fn frames_to_play(&mut self, now_ns: u64, room_frames: usize) -> Option<&[u8]>;

    /// Notes that the host device took `bytes` of the last stretch.
    fn played(&mut self, bytes: usize);

    /// Notes how many frames the host device has taken but not let be heard.
    fn set_queued_frames(&mut self, frames: u64);

    /// Where the next captured frames go, at most `available_frames`: a stretch that lies together. Say how many
    /// were filled with [`captured`](Self::captured) and ask again.
    fn room_to_capture(&mut self, now_ns: u64, available_frames: usize) -> Option<&mut [u8]>;

    /// Notes that `bytes` of the last stretch were filled.
    fn captured(&mut self, bytes: usize);

    /// The host device failed or was changed for another: from now on `pace` says how many frames are due, and nothing is
    /// queued.
    fn set_pace(&mut self, pace: Pace, now_ns: u64);

    /// What the guest does with it.
    fn run(&self) -> Run;

    /// Frames that the guest has written and nobody has heard, or that were captured and the guest does not know of.
    fn backlog_frames(&self) -> u64;

    /// How long a frame takes on its way now, in microseconds; `None` unless frames flow.
    fn latency_us(&self) -> Option<u64> {
        let rate_hz = self.geometry()?.rate_hz;
        let backlog_us = self.backlog_frames().saturating_mul(1_000_000).checked_div(u64::from(rate_hz))?;
        (self.run() == Run::Running).then_some(backlog_us)
    }
}
