//! Bounds of what a guest may open.

use serde::Deserialize;
use sndif::FormatSet;
use sndif::store::Rates;

use crate::value;

/// Bounds of what a guest may open; a bound that is `None` keeps its earlier value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Limits {
    /// Largest shared buffer of a stream in bytes, 4096 to 64 MiB.
    #[serde(deserialize_with = "value::buffer_bytes")]
    pub buffer_bytes_max: Option<u32>,
    /// Shortest period in microseconds.
    #[serde(deserialize_with = "value::period_us")]
    pub period_us_min: Option<u32>,
    /// Shared buffers of all open streams of one guest, in bytes.
    pub buffer_bytes_per_domain: Option<u64>,
    /// Streams of one card.
    pub streams_per_card: Option<usize>,
    /// Streams of all cards of one guest.
    pub streams_per_domain: Option<usize>,
    /// Sample formats that a guest may use.
    #[serde(deserialize_with = "value::formats")]
    pub formats: Option<FormatSet>,
    /// Rates that a guest may use.
    #[serde(deserialize_with = "value::rates")]
    pub rates_hz: Option<Rates>,
    /// Maximum number of samples in a frame.
    #[serde(deserialize_with = "value::channels")]
    pub channels_max: Option<u32>,
}

impl Limits {
    /// Default of [`buffer_bytes_max`](Self::buffer_bytes_max).
    pub const BUFFER_BYTES_MAX: u32 = 4 << 20;
    /// Default of [`buffer_bytes_per_domain`](Self::buffer_bytes_per_domain).
    pub const BUFFER_BYTES_PER_DOMAIN: u64 = 64 << 20;
    /// Default of [`period_us_min`](Self::period_us_min).
    pub const PERIOD_US_MIN: u32 = 1000;
    /// Default of [`streams_per_card`](Self::streams_per_card).
    pub const STREAMS_PER_CARD: usize = 64;
    /// Default of [`streams_per_domain`](Self::streams_per_domain).
    pub const STREAMS_PER_DOMAIN: usize = 256;

    /// Returns these bounds with those that `narrower` sets in their place.
    pub(crate) fn replaced_by(&self, narrower: &Self) -> Self {
        Self {
            buffer_bytes_max: narrower.buffer_bytes_max.or(self.buffer_bytes_max),
            buffer_bytes_per_domain: narrower.buffer_bytes_per_domain.or(self.buffer_bytes_per_domain),
            period_us_min: narrower.period_us_min.or(self.period_us_min),
            streams_per_card: narrower.streams_per_card.or(self.streams_per_card),
            streams_per_domain: narrower.streams_per_domain.or(self.streams_per_domain),
            formats: narrower.formats.or(self.formats),
            rates_hz: narrower.rates_hz.or(self.rates_hz),
            channels_max: narrower.channels_max.or(self.channels_max),
        }
    }
}
