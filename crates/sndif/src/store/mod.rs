//! The XenStore schema: node names, and what a card's nodes say.
//!
//! A card's frontend directory holds PCM devices `0`, `1`, …, each of which holds streams `0`, `1`, ….
//! Channel counts, rates, formats and buffer size may stand at the card, the PCM device or the stream;
//! each level narrows the one above ([`Limits::narrowed_by`]).

mod address;
mod limits;

use crate::text::{Say, Sink, display};

pub use address::StreamAddress;
pub use limits::{BadNode, LimitNodes, Limits, MAX_RATES, Rates};

/// Device class in XenBus paths.
pub const DEVICE_CLASS: &str = "vsnd";

/// Separator in lists of rates, formats and versions.
pub const LIST_SEPARATOR: char = ',';

/// Longest rate in a list, in bytes.
pub const RATE_MAX_LEN: usize = 11;

/// Longest format name in a list, in bytes.
pub const FORMAT_MAX_LEN: usize = 24;

/// Node names.
pub mod node {
    /// Backend: list of protocol versions it speaks.
    pub const VERSIONS: &str = "versions";
    /// Frontend: the version it chose; Linux never writes it, absence means version 2.
    pub const VERSION: &str = "version";
    /// Card: short name, up to 32 bytes.
    pub const SHORT_NAME: &str = "short-name";
    /// Card: long name, up to 80 bytes.
    pub const LONG_NAME: &str = "long-name";
    /// Stream: grant reference of the ring page.
    pub const RING_REF: &str = "ring-ref";
    /// Stream: event channel of the ring.
    pub const EVENT_CHANNEL: &str = "event-channel";
    /// Stream: grant reference of the event page.
    pub const EVT_RING_REF: &str = "evt-ring-ref";
    /// Stream: event channel of the event page.
    pub const EVT_EVENT_CHANNEL: &str = "evt-event-channel";
    /// PCM device: name, up to 80 bytes.
    pub const NAME: &str = "name";
    /// Stream: `p` or `c`.
    pub const TYPE: &str = "type";
    /// Stream: a label. The guest can write it and it is not unique in the field.
    pub const UNIQUE_ID: &str = "unique-id";
    /// Any level: fewest channels.
    pub const CHANNELS_MIN: &str = "channels-min";
    /// Any level: most channels.
    pub const CHANNELS_MAX: &str = "channels-max";
    /// Any level: list of rates in Hz.
    pub const SAMPLE_RATES: &str = "sample-rates";
    /// Any level: list of format names.
    pub const SAMPLE_FORMATS: &str = "sample-formats";
    /// Any level: largest buffer in bytes.
    pub const BUFFER_SIZE: &str = "buffer-size";
    /// Stream, an extension of this project: bytes at the end of the buffer that a frontend keeps for
    /// volume and mute flags; the ring of frames ends before them. Missing means 0.
    pub const CONTROL_SIZE: &str = "control-size";
    /// Stream, an extension of this project: "1" when the frontend does not wait for the answers to WRITE and notifies the
    /// backend of everything else, so that the backend may ask to be notified of WRITEs later than at once.
    pub const WRITE_HOLD_OFF: &str = "write-hold-off";
    /// Stream, an extension of this project: "1" when the frontend writes to the event page from how many unread events on it is to
    /// be notified.
    pub const EVENT_HOLD_OFF: &str = "event-hold-off";
    /// Backend, an extension of this project: "1" when SET_VOLUME and GET_VOLUME work.
    pub const FEATURE_VOLUME: &str = "feature-volume";
    /// Backend, an extension of this project: "1" when MUTE and UNMUTE work.
    pub const FEATURE_MUTE: &str = "feature-mute";
    /// Backend, an extension of this project: "1" when it takes READs of what is still to be captured.
    pub const FEATURE_READ_AHEAD: &str = "feature-read-ahead";
}

/// Longest [`node::SHORT_NAME`] in bytes.
pub const SHORT_NAME_MAX_LEN: usize = 32;
/// Longest [`node::LONG_NAME`] and [`node::NAME`] in bytes.
pub const LONG_NAME_MAX_LEN: usize = 80;

/// Direction of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From guest to host.
    Playback,
    /// From host to guest.
    Capture,
}

impl Direction {
    /// The direction in a `type` node; Linux compares without regard to case.
    #[must_use]
    pub const fn from_node(value: &[u8]) -> Option<Self> {
        match value {
            b"p" | b"P" => Some(Self::Playback),
            b"c" | b"C" => Some(Self::Capture),
            _ => None,
        }
    }

    /// The value of the `type` node.
    #[must_use]
    pub const fn node(self) -> &'static str {
        match self {
            Self::Playback => "p",
            Self::Capture => "c",
        }
    }
}

impl Say for Direction {
    fn say(&self, out: &mut dyn Sink) {
        out.text(match self {
            Self::Playback => "playback",
            Self::Capture => "capture",
        });
    }
}

impl core::fmt::Display for Direction {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        display(self, f)
    }
}

/// A decimal number as XenStore holds it: digits only, no sign, no space, in range of `u32`.
#[must_use]
pub fn number(value: &[u8]) -> Option<u32> {
    if value.is_empty() || value.len() > 10 || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    core::str::from_utf8(value).ok()?.parse().ok()
}
