//! Format, rate and channels of frames, and the choice of those that a card takes and that are nearest to a file's.

use std::fmt;

use guest::NegotiationError;
use sndif::store::{Limits, Rates};
use sndif::v2::Interval;
use sndif::{Format, FormatSet};

/// Format, rate and channels of the frames of a file or a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) format: Format,
    pub(crate) rate_hz: u32,
    pub(crate) channels: u8,
}

impl Shape {
    /// Bytes of a frame; 0 if a frame is no whole number of bytes.
    pub(crate) fn frame_bytes(self) -> usize {
        self.format.frame_bytes(self.channels).unwrap_or(0) as usize
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { format, rate_hz, channels } = self;
        write!(f, "{format} {rate_hz} Hz {channels} channel{}", if *channels == 1 { "" } else { "s" })
    }
}

/// Formats, rates and channels that a stream takes, as far as is known.
#[derive(Debug, Clone)]
pub(crate) struct Possible {
    pub(crate) formats: FormatSet,
    rates: Rates,
    rates_hz: Interval,
    channels: Interval,
}

impl Possible {
    /// Everything that the card's configuration lists.
    pub(crate) fn of(limits: &Limits) -> Self {
        let Limits { formats, rates, channels, .. } = *limits;
        Self { formats, rates, rates_hz: Interval::new(0, u32::MAX), channels }
    }

    /// Narrows the choice by a stream's refusal of a shape; `false` if that leaves nothing else to try.
    pub(crate) fn learn(&mut self, refusal: &NegotiationError) -> bool {
        match refusal {
            NegotiationError::Format { wanted, possible } => {
                self.formats = self.formats.intersection(*possible);
                !self.formats.contains(*wanted)
            }
            NegotiationError::Rate { wanted, possible, .. } => {
                self.rates_hz = self.rates_hz.intersection(*possible);
                !self.rates_hz.contains(*wanted)
            }
            NegotiationError::Channels { wanted, possible } => {
                self.channels = self.channels.intersection(*possible);
                !self.channels.contains(u32::from(*wanted))
            }
            _ => false,
        }
    }

    /// The shape that loses least of `own`; `None` if there is none that `own` can be converted to.
    pub(crate) fn nearest(&self, own: Shape) -> Option<Shape> {
        let Shape { format, rate_hz, channels } = own;
        Some(Shape { format: self.format(format)?, rate_hz: self.rate(rate_hz)?, channels: self.channels(channels)? })
    }

    /// The same format; or the narrowest that keeps every sample apart; or the widest.
    fn format(&self, own: Format) -> Option<Format> {
        if self.formats.contains(own) {
            return Some(own);
        }
        let own_bits = pcm::significant_bits(own)?;
        let bits = |format: &Format| pcm::significant_bits(*format).unwrap_or(0);
        let numbers = || self.formats.iter().filter(|&format| pcm::significant_bits(format).is_some());
        let keeping = numbers().filter(|format| bits(format) >= own_bits).min_by_key(bits);
        keeping.or_else(|| numbers().max_by_key(bits))
    }

    /// The same rate; or the next higher one; or the highest.
    fn rate(&self, own: u32) -> Option<u32> {
        let allowed = self.rates.within(self.rates_hz);
        let list = self.rates.list();
        if list.is_empty() {
            return (allowed.min <= allowed.max).then(|| own.clamp(allowed.min, allowed.max));
        }
        let fitting = || list.iter().copied().filter(|rate| allowed.contains(*rate));
        fitting().find(|&rate| rate >= own).or_else(|| fitting().next_back())
    }

    fn channels(&self, own: u8) -> Option<u8> {
        let Interval { min, max } = self.channels;
        (min <= max).then(|| u32::from(own).clamp(min, max)).and_then(|channels| u8::try_from(channels).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(format: Format, rate_hz: u32, channels: u8) -> Shape {
        Shape { format, rate_hz, channels }
    }

    fn possible(formats: &[Format], rates: &[u32], channels: (u32, u32)) -> Possible {
        Possible {
            formats: formats.iter().copied().collect(),
            rates: Rates::of(rates).unwrap_or(Rates::DEFAULT),
            rates_hz: Interval::new(0, u32::MAX),
            channels: Interval::new(channels.0, channels.1),
        }
    }

    #[test]
    fn what_loses_nothing_is_preferred_to_what_is_widest() {
        let card = possible(&[Format::U8, Format::S16Le, Format::S24Le, Format::S32Le], &[], (1, 8));
        assert_eq!(card.format(Format::S24Be), Some(Format::S24Le));
        assert_eq!(card.format(Format::S16Be), Some(Format::S16Le));
        assert_eq!(card.format(Format::F64Le), Some(Format::S32Le));
        assert_eq!(card.format(Format::S16Le), Some(Format::S16Le));
        assert_eq!(card.format(Format::MuLaw), Some(Format::S16Le));
        assert_eq!(card.format(Format::Mpeg), None);
        assert_eq!(possible(&[Format::Mpeg], &[], (1, 8)).format(Format::S16Le), None);
    }

    #[test]
    fn the_next_higher_rate_is_taken_and_channels_are_as_near_as_can_be() {
        let card = possible(&[Format::S16Le], &[44_100, 48_000, 96_000], (2, 6));
        for (own, taken) in [(8_000, 44_100), (44_100, 44_100), (88_200, 96_000), (192_000, 96_000)] {
            assert_eq!(card.rate(own), Some(taken));
        }
        assert_eq!([1, 2, 5, 8].map(|own| card.channels(own)), [2, 2, 5, 6].map(Some));
        let continuous = possible(&[Format::S16Le], &[], (1, 2));
        assert_eq!([4_000, 11_025, 96_000].map(|own| continuous.rate(own)), [5_512, 11_025, 48_000].map(Some));
    }

    #[test]
    fn a_refusal_rules_out_what_was_refused_and_ends_where_nothing_is_left() {
        let mut card = possible(&[Format::S16Le, Format::S32Le], &[44_100, 48_000], (1, 8));
        let own = shape(Format::S32Le, 44_100, 6);
        assert_eq!(card.nearest(own), Some(own));
        let format = NegotiationError::Format { wanted: own.format, possible: [Format::S16Le].into_iter().collect() };
        assert!(card.learn(&format));
        let listed = Rates::of(&[44_100, 48_000]).unwrap();
        let rate = NegotiationError::Rate { wanted: 44_100, possible: Interval::exactly(48_000), listed };
        assert!(card.learn(&rate));
        let channels = NegotiationError::Channels { wanted: 6, possible: Interval::new(1, 2) };
        assert!(card.learn(&channels));
        assert_eq!(card.nearest(own), Some(shape(Format::S16Le, 48_000, 2)));
        assert!(!card.learn(&NegotiationError::Senseless));
        let none = NegotiationError::Channels { wanted: 2, possible: Interval::new(4, 2) };
        assert!(card.learn(&none));
        assert_eq!(card.nearest(own), None);
    }
}
