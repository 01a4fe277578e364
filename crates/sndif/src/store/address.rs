//! Address of a stream, as the directories of the store number it.

use core::fmt;

/// A stream of a guest, whose nodes are in `/local/domain/DOMAIN/device/vsnd/CARD/PCM/STREAM`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamAddress {
    /// Domain id.
    pub domain: u16,
    /// Number of the card within the domain, which is its XenBus device id.
    pub card: u32,
    /// Index of the PCM device on the card.
    pub pcm: u8,
    /// Index of the stream on the PCM device.
    pub stream: u8,
}

impl fmt::Display for StreamAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.domain, self.card, self.pcm, self.stream)
    }
}
