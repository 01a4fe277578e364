//! A part of a guest.

use serde::{Deserialize, Serialize};
use sndif::store::StreamAddress;

/// A card, a PCM device or a stream of a guest; a field that is `None` means all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Part {
    /// The card's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub card: Option<u32>,
    /// The PCM device's index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pcm: Option<u8>,
    /// The stream's index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<u8>,
}

impl From<StreamAddress> for Part {
    fn from(address: StreamAddress) -> Self {
        let StreamAddress { card, pcm, stream, .. } = address;
        Self { card: Some(card), pcm: Some(pcm), stream: Some(stream) }
    }
}

impl Part {
    /// Returns true if a stream is in the part; the part is one of the stream's guest.
    #[must_use]
    pub fn has(&self, stream: StreamAddress) -> bool {
        self.covers(&stream.into())
    }

    /// Returns true if everything in `other` is in the part.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        fn holds<T: PartialEq>(ours: Option<T>, theirs: Option<T>) -> bool {
            ours.is_none() || ours == theirs
        }
        holds(self.card, other.card) && holds(self.pcm, other.pcm) && holds(self.stream, other.stream)
    }
}
