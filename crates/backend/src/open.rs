//! The shape of an open stream.

use sndif::Format;
use sndif::v2::Span;

/// Parameters that OPEN settled; all sizes are bytes unless their name says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Sample format.
    pub format: Format,
    /// Frames per second.
    pub rate_hz: u32,
    /// Samples per frame.
    pub channels: u8,
    /// Size of a frame.
    pub frame_bytes: u32,
    /// Size of the ring of frames: the buffer without the frontend's control area.
    pub ring_bytes: u32,
    /// Size of the shared buffer.
    pub buffer_bytes: u32,
    /// Size of a period; 0 = no position events.
    pub period_bytes: u32,
}

impl Geometry {
    /// Returns the frames in the ring.
    #[must_use]
    pub fn ring_frames(&self) -> u32 {
        self.frames(self.ring_bytes)
    }

    /// Returns the frames in a period, or in the ring when the guest wants no events.
    #[must_use]
    pub fn period_frames(&self) -> u32 {
        if self.period_bytes == 0 { self.ring_frames() } else { self.frames(self.period_bytes) }
    }

    /// Rounds `bytes` down to whole frames.
    pub(crate) fn whole_frames(&self, bytes: u64) -> u64 {
        bytes.saturating_sub(bytes.checked_rem(u64::from(self.frame_bytes)).unwrap_or(0))
    }

    /// Returns the number of whole frames in `bytes`.
    pub(crate) fn frames_in(&self, bytes: u64) -> u64 {
        bytes.checked_div(u64::from(self.frame_bytes)).unwrap_or(0)
    }

    fn frames(&self, bytes: u32) -> u32 {
        bytes.checked_div(self.frame_bytes).unwrap_or(0)
    }

    /// Returns true if `span` lies within the first `size` bytes of the buffer.
    pub(crate) fn holds(span: Span, size: u32) -> bool {
        span.offset.checked_add(span.length).is_some_and(|end| end <= size)
    }
}
