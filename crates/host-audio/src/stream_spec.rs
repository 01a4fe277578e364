//! Parameters of a stream.

use sndif::Format;
use std::fmt;

/// Parameters that a stream wants of a device; the device's own period and buffer may differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamSpec {
    /// Format of a sample.
    pub format: Format,
    /// Frames per second.
    pub rate_hz: u32,
    /// Samples per frame.
    pub channels: u8,
    /// Frames after which the stream's owner wants to hear of progress; 0 for no wish.
    pub period_frames: u32,
    /// Frames that the stream's owner has room for.
    pub buffer_frames: u32,
}

impl StreamSpec {
    /// Bytes of a frame; 0 for IMA ADPCM with an odd number of channels, which no device opens.
    #[must_use]
    pub const fn frame_bytes(&self) -> usize {
        match self.format.frame_bytes(self.channels) {
            Some(bytes) => bytes as usize,
            None => 0,
        }
    }
}

impl fmt::Display for StreamSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} Hz {} channel(s)", self.format, self.rate_hz, self.channels)
    }
}
