//! A virtual sound card as its configuration describes it.

use sndif::Format;
use sndif::store::Direction;

/// Limits that may stand at a card, a PCM device or a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Params {
    /// `sample-rates`, in Hz, as listed.
    pub sample_rates: Vec<u32>,
    /// `sample-formats`, as listed.
    pub sample_formats: Vec<Format>,
    /// `channels-min`
    pub channels_min: Option<u32>,
    /// `channels-max`
    pub channels_max: Option<u32>,
    /// `buffer-size`, in bytes.
    pub buffer_size: Option<u32>,
}

/// A card with its PCM devices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Card {
    /// `backend`: domain that serves it, by name or number; domain 0 if not given.
    pub backend: Option<String>,
    /// `short-name`
    pub short_name: Option<String>,
    /// `long-name`
    pub long_name: Option<String>,
    /// Limits for the whole card.
    pub params: Params,
    /// PCM devices, numbered from 0.
    pub pcms: Vec<Pcm>,
}

/// A PCM device with its streams.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pcm {
    /// `name`
    pub name: Option<String>,
    /// Limits for the device.
    pub params: Params,
    /// Streams, numbered from 0.
    pub streams: Vec<Stream>,
}

/// A stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// `unique-id`
    pub unique_id: Option<String>,
    /// `type`
    pub direction: Direction,
    /// Limits for the stream.
    pub params: Params,
}
