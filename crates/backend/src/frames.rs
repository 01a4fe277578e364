//! Frames of an open stream for a host device, in any version of the protocol.

use sndif::store::Direction;

use crate::Geometry;

/// State in which a guest has put a stream. In version 2 (sndif.h, `XENSND_OP_OPEN`, `_CLOSE` and `_TRIGGER`):
///
/// ```text
///           OPEN             START, RESUME              PAUSE
///  Closed ───────▶ Open ───────────────────▶ Running ──────────▶ Paused
///     ▲             ▲ ▲         STOP          │   ▲ START, RESUME │  │
///     │             │ └───────────────────────┘   └───────────────┘  │
///     │             └──────────────────── STOP ──────────────────────┘
///     └── CLOSE, or the end of the connection, in any state
/// ```
///
/// In version 0 a capturing stream runs as soon as its direction is known. A playing one runs while frames are queued:
/// from enough of them, or 100 ms after the first, until none is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Run {
    /// The stream is not open.
    Closed,
    /// The stream is open and was not started.
    Open,
    /// Frames flow.
    Running,
    /// The stream is paused.
    Paused,
}

/// Pace of a stream: the clock or the host device says how many frames are due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// The clock: as many as the time since START.
    Clock,
    /// The host device: as many as it takes or gives.
    Device,
}

/// The frames of a stream that may be open.
pub trait Frames {
    /// Returns playback or capture, as far as that is settled.
    fn direction(&self) -> Option<Direction>;

    /// Returns the shape of the open stream.
    fn geometry(&self) -> Option<&Geometry>;

    /// Returns the next frames to play, at most `room_frames`, as one contiguous stretch. The caller reports the bytes
    /// that were taken with [`played`](Self::played) and calls again.
    fn frames_to_play(&mut self, now_ns: u64, room_frames: usize) -> Option<&[u8]>;

    /// Notes that the host device took `bytes` of the last stretch.
    fn played(&mut self, bytes: usize);

    /// Notes the number of frames that the host device has taken and that are not heard yet.
    fn set_queued_frames(&mut self, frames: u64);

    /// Returns the room for the next captured frames, at most `available_frames`, as one contiguous stretch. The caller
    /// reports the bytes that were filled with [`captured`](Self::captured) and calls again.
    fn room_to_capture(&mut self, now_ns: u64, available_frames: usize) -> Option<&mut [u8]>;

    /// Notes that `bytes` of the last stretch were filled.
    fn captured(&mut self, bytes: usize);

    /// Notes that the host device failed or was changed for another: from now on `pace` determines the frames that are
    /// due, and nothing is queued.
    fn set_pace(&mut self, pace: Pace, now_ns: u64);

    /// Returns the state in which the guest has put the stream.
    fn run(&self) -> Run;

    /// Returns the frames that the guest has written and that are not heard yet, or that were captured and the guest
    /// does not know of.
    fn backlog_frames(&self) -> u64;

    /// Returns the latency of a frame now, in microseconds; `None` unless frames flow.
    fn latency_us(&self) -> Option<u64> {
        let rate_hz = self.geometry()?.rate_hz;
        let backlog_us = self.backlog_frames().saturating_mul(1_000_000).checked_div(u64::from(rate_hz))?;
        (self.run() == Run::Running).then_some(backlog_us)
    }
}
