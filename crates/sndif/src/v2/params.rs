//! The configuration space of a stream, which HW_PARAM_QUERY narrows.

use crate::FormatSet;
use crate::bytes::{Packet, put, u32_at, u64_at};

/// A closed interval; empty when `min > max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    /// Smallest value.
    pub min: u32,
    /// Largest value.
    pub max: u32,
}

impl Interval {
    /// Every value.
    pub const ANY: Self = Self { min: 0, max: u32::MAX };

    /// Makes the interval from `min` to `max`.
    #[must_use]
    pub const fn new(min: u32, max: u32) -> Self {
        Self { min, max }
    }

    /// Makes the interval of one value.
    #[must_use]
    pub const fn exactly(value: u32) -> Self {
        Self { min: value, max: value }
    }

    /// Returns true if the interval has no value.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.min > self.max
    }

    /// Returns true if the interval has `value`.
    #[must_use]
    pub const fn contains(self, value: u32) -> bool {
        self.min <= value && value <= self.max
    }

    /// Returns the values that are in both intervals.
    #[must_use]
    pub fn intersection(self, other: Self) -> Self {
        Self { min: self.min.max(other.min), max: self.max.min(other.max) }
    }
}

/// Question and answer of HW_PARAM_QUERY. Buffer and period count **frames** here, while OPEN counts bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HwParams {
    /// Formats.
    pub formats: FormatSet,
    /// Rates in Hz.
    pub rates_hz: Interval,
    /// Channel counts.
    pub channels: Interval,
    /// Buffer sizes in frames.
    pub buffer_frames: Interval,
    /// Period sizes in frames.
    pub period_frames: Interval,
}

impl HwParams {
    /// The whole space.
    pub const ANY: Self = Self {
        formats: FormatSet::ALL,
        rates_hz: Interval::ANY,
        channels: Interval::ANY,
        buffer_frames: Interval::ANY,
        period_frames: Interval::ANY,
    };

    /// Returns the intersection of both spaces, parameter by parameter.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self {
            formats: self.formats.intersection(other.formats),
            rates_hz: self.rates_hz.intersection(other.rates_hz),
            channels: self.channels.intersection(other.channels),
            buffer_frames: self.buffer_frames.intersection(other.buffer_frames),
            period_frames: self.period_frames.intersection(other.period_frames),
        }
    }

    /// Returns true if a parameter has no value left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.formats.is_empty()
            || [self.rates_hz, self.channels, self.buffer_frames, self.period_frames]
                .iter()
                .any(|interval| interval.is_empty())
    }

    pub(crate) fn parse(packet: &Packet) -> Self {
        Self {
            formats: FormatSet::from_bits(u64_at::<8>(packet)),
            rates_hz: Interval::new(u32_at::<16>(packet), u32_at::<20>(packet)),
            channels: Interval::new(u32_at::<24>(packet), u32_at::<28>(packet)),
            buffer_frames: Interval::new(u32_at::<32>(packet), u32_at::<36>(packet)),
            period_frames: Interval::new(u32_at::<40>(packet), u32_at::<44>(packet)),
        }
    }

    pub(crate) fn emit(&self, packet: &mut Packet) {
        put::<8, 8>(packet, self.formats.bits().to_le_bytes());
        put::<16, 4>(packet, self.rates_hz.min.to_le_bytes());
        put::<20, 4>(packet, self.rates_hz.max.to_le_bytes());
        put::<24, 4>(packet, self.channels.min.to_le_bytes());
        put::<28, 4>(packet, self.channels.max.to_le_bytes());
        put::<32, 4>(packet, self.buffer_frames.min.to_le_bytes());
        put::<36, 4>(packet, self.buffer_frames.max.to_le_bytes());
        put::<40, 4>(packet, self.period_frames.min.to_le_bytes());
        put::<44, 4>(packet, self.period_frames.max.to_le_bytes());
    }
}
