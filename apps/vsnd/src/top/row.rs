//! A stream as the list shows it.

use ::control::{Direction, Run, Stream, Target};
use sndif::store::StreamAddress;

use super::rates::Notifications;

/// A stream, ready to be drawn.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) id: StreamAddress,
    /// Name of the stream in requests.
    pub(super) target: Target,
    /// Name of the card; the guest can write that.
    pub(super) card_name: String,
    /// Protocol of the card.
    pub(super) protocol: String,
    /// Violations on the card.
    pub(super) violations: u64,
    /// Times that the card was connected.
    pub(super) connections: u64,
    pub(super) stream: Stream,
    pub(super) notifications: Option<Notifications>,
}

/// Returns true if the guest uses the stream.
pub(super) fn is_open(stream: &Stream) -> bool {
    stream.run != Run::Closed
}

/// Returns true if the stream is for playback, as far as is known.
pub(super) fn plays(stream: &Stream) -> bool {
    stream.direction == Some(Direction::Playback)
}
