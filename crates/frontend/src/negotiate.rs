//! Search for a configuration that the backend accepts, with HW_PARAM_QUERY.
//!
//! The first question already names the wanted format, rate and channels, so the usual case takes two round trips: one
//! for the possible periods and buffers, and one to check the chosen pair. Only a refusal costs more: then the whole
//! space is asked for, so that the error can name the possible values.
//!
//! "Buffer" in a question means the ring without the control page, which only a backend with our extension knows.
#![expect(clippy::result_large_err, reason = "made once per open at most, and it carries the list of possible rates")]

use core::fmt;

use sndif::store::{Limits, Rates};
use sndif::v2::{HwParams, Interval};
use sndif::{Errno, Format, FormatSet};

use crate::Geometry;

/// Parameters that an application wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Sample format; never converted.
    pub format: Format,
    /// Frames per second.
    pub rate_hz: u32,
    /// Samples per frame.
    pub channels: u8,
    /// Frames per period; the nearest possible value is taken.
    pub period_frames: u32,
    /// Frames in the ring; the nearest possible number of periods is taken, at least 2 where possible.
    pub buffer_frames: u32,
}

/// Next step of a negotiation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Send HW_PARAM_QUERY with these parameters and give its result to [`Negotiation::answer`].
    Ask(HwParams),
    /// End: the backend accepts this geometry.
    Done(Geometry),
}

/// Reason why there is no such configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NegotiationError {
    /// The format is not among the possible ones.
    Format {
        /// Wanted format.
        wanted: Format,
        /// Possible formats.
        possible: FormatSet,
    },
    /// The rate is not possible.
    Rate {
        /// Wanted rate, in Hz.
        wanted: u32,
        /// Possible rates, in Hz.
        possible: Interval,
        /// The rates that the card's configuration lists.
        listed: Rates,
    },
    /// The number of channels is not possible.
    Channels {
        /// Wanted number of channels.
        wanted: u8,
        /// Possible numbers of channels.
        possible: Interval,
    },
    /// Each parameter is possible, but not together with the others.
    Combination(Wanted),
    /// No period and buffer fit each other.
    Sizes {
        /// Possible periods, in frames.
        period_frames: Interval,
        /// Possible buffers, in frames.
        buffer_frames: Interval,
    },
    /// The format has no whole bytes per frame with this number of channels, or a size is 0.
    Senseless,
    /// The backend refuses even the question about possible values.
    Refused(Errno),
}

impl fmt::Display for NegotiationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format { wanted, possible } => {
                write!(f, "format {wanted} is not possible; possible:")?;
                let mut formats = Format::all().filter(|&format| possible.contains(format));
                formats.try_for_each(|format| write!(f, " {format}"))
            }
            Self::Rate { wanted, possible, listed } => {
                write!(f, "rate {wanted} Hz is not possible; possible: ")?;
                if listed.list().is_empty() {
                    return write!(f, "{} to {} Hz", possible.min, possible.max);
                }
                let mut rates = listed.list().iter().filter(|&&rate| possible.contains(rate));
                rates.try_for_each(|rate| write!(f, "{rate} "))?;
                f.write_str("Hz")
            }
            Self::Channels { wanted, possible } => {
                write!(f, "{wanted} channels are not possible; possible: {} to {}", possible.min, possible.max)
            }
            Self::Combination(wanted) => write!(
                f,
                "the backend has {}, {} Hz and {} channels, but not together",
                wanted.format, wanted.rate_hz, wanted.channels
            ),
            Self::Sizes { period_frames, buffer_frames } => write!(
                f,
                "no buffer fits: the backend has periods of {} to {} and buffers of {} to {} frames",
                period_frames.min, period_frames.max, buffer_frames.min, buffer_frames.max
            ),
            Self::Senseless => f.write_str("a frame of this format and number of channels is not a number of bytes"),
            Self::Refused(errno) => write!(f, "the backend answers no question about its parameters ({errno})"),
        }
    }
}

impl core::error::Error for NegotiationError {}

#[derive(Debug, Clone, Copy)]
enum Asked {
    /// Format, rate and channels; period and buffer open.
    Sizes,
    /// All parameters are fixed.
    Whole(Geometry),
    /// The period is fixed, the buffer open.
    Buffer { period_frames: u32 },
    /// The whole space, for the error.
    Possible,
}

/// A negotiation; it takes at most five questions.
#[derive(Debug)]
pub struct Negotiation {
    wanted: Wanted,
    limits: Limits,
    frame_bytes: u32,
    asked: Asked,
}

impl Negotiation {
    /// Starts: checks the card's own configuration, and returns the first question.
    ///
    /// # Errors
    /// [`NegotiationError`] when the card's configuration excludes it already.
    pub fn start(wanted: Wanted, limits: &Limits) -> Result<(Self, HwParams), NegotiationError> {
        let frame_bytes =
            wanted.format.frame_bytes(wanted.channels).filter(|&bytes| bytes > 0).ok_or(NegotiationError::Senseless)?;
        let possible = HwParams {
            formats: limits.formats,
            rates_hz: limits.rates.within(Interval::ANY),
            channels: limits.channels,
            ..HwParams::ANY
        };
        let mut negotiation = Self { wanted, limits: *limits, frame_bytes, asked: Asked::Sizes };
        if !limits.rates.contains(wanted.rate_hz) {
            let narrowed = HwParams { rates_hz: Interval::new(1, 0), ..possible };
            negotiation.explain(&narrowed, &possible)?;
        }
        negotiation.explain(&possible, &possible)?;
        let question = negotiation.question(Interval::ANY, Interval::ANY);
        negotiation.asked = Asked::Sizes;
        Ok((negotiation, question))
    }

    /// Takes the answer to the last question: the result of the request, with its parameters.
    ///
    /// # Errors
    /// [`NegotiationError`], which names the possible values.
    pub fn answer(&mut self, answer: Result<HwParams, Errno>) -> Result<Step, NegotiationError> {
        match (self.asked, answer) {
            (Asked::Possible, Ok(possible)) => {
                self.explain(&possible, &possible)?;
                Err(NegotiationError::Combination(self.wanted))
            }
            (Asked::Possible, Err(errno)) => Err(NegotiationError::Refused(errno)),
            (Asked::Sizes, Ok(sizes)) if !sizes.is_empty() => {
                let geometry = self.choose(&sizes)?;
                let (period, ring) = self.frames(&geometry);
                self.asked = Asked::Whole(geometry);
                Ok(Step::Ask(self.question(Interval::exactly(period), Interval::exactly(ring))))
            }
            (Asked::Whole(geometry), Ok(whole)) if !whole.is_empty() => Ok(Step::Done(geometry)),
            // Both are possible and not together: the period has priority.
            (Asked::Whole(geometry), _) => {
                let (period_frames, _) = self.frames(&geometry);
                self.asked = Asked::Buffer { period_frames };
                Ok(Step::Ask(self.question(Interval::exactly(period_frames), Interval::ANY)))
            }
            (Asked::Buffer { period_frames }, Ok(sizes)) if !sizes.is_empty() => {
                let sizes = HwParams { period_frames: Interval::exactly(period_frames), ..sizes };
                self.choose(&sizes).map(Step::Done)
            }
            (Asked::Sizes | Asked::Buffer { .. }, _) => {
                self.asked = Asked::Possible;
                Ok(Step::Ask(HwParams::ANY))
            }
        }
    }

    fn question(&self, period_frames: Interval, buffer_frames: Interval) -> HwParams {
        HwParams {
            formats: FormatSet::EMPTY.with(self.wanted.format),
            rates_hz: Interval::exactly(self.wanted.rate_hz),
            channels: Interval::exactly(self.wanted.channels.into()),
            buffer_frames,
            period_frames,
        }
    }

    /// Returns the first parameter that `possible` excludes, as an error with the values of `shown`.
    fn explain(&self, possible: &HwParams, shown: &HwParams) -> Result<(), NegotiationError> {
        let wanted = self.wanted;
        if !possible.formats.contains(wanted.format) {
            return Err(NegotiationError::Format { wanted: wanted.format, possible: shown.formats });
        }
        if !possible.rates_hz.contains(wanted.rate_hz) {
            let listed = self.limits.rates;
            return Err(NegotiationError::Rate { wanted: wanted.rate_hz, possible: shown.rates_hz, listed });
        }
        if !possible.channels.contains(wanted.channels.into()) {
            return Err(NegotiationError::Channels { wanted: wanted.channels, possible: shown.channels });
        }
        Ok(())
    }

    fn frames(&self, geometry: &Geometry) -> (u32, u32) {
        let frames = |bytes: u32| bytes.checked_div(self.frame_bytes).unwrap_or(0);
        (frames(geometry.period_bytes()), frames(geometry.ring_bytes()))
    }

    /// Chooses the period and ring nearest to the wanted ones.
    fn choose(&self, sizes: &HwParams) -> Result<Geometry, NegotiationError> {
        let error = NegotiationError::Sizes { period_frames: sizes.period_frames, buffer_frames: sizes.buffer_frames };
        let configured = self.limits.buffer_bytes_max.checked_div(self.frame_bytes).unwrap_or(0);
        let ring_max = sizes.buffer_frames.max.min(configured);
        let ring_min = sizes.buffer_frames.min.max(1);
        let period = nearest(sizes.period_frames, self.wanted.period_frames, ring_max.checked_div(2).unwrap_or(0))
            .or_else(|| nearest(sizes.period_frames, self.wanted.period_frames, ring_max))
            .ok_or(error)?;
        let most = ring_max.checked_div(period).unwrap_or(0);
        let fewest = ring_min.div_ceil(period).max(2).min(most.max(1));
        let count = self.wanted.buffer_frames.checked_div(period).unwrap_or(0).min(most).max(fewest);
        let ring = period.saturating_mul(count);
        if ring < ring_min || ring > ring_max {
            return Err(error);
        }
        let wanted = &self.wanted;
        Geometry::new(wanted.format, wanted.channels, wanted.rate_hz, period, ring).ok_or(error)
    }
}

/// Returns the value of `interval` nearest to `wanted` that is at least 1 and at most `max`.
fn nearest(interval: Interval, wanted: u32, max: u32) -> Option<u32> {
    let interval = interval.intersection(Interval::new(1, max));
    (!interval.is_empty()).then(|| wanted.max(interval.min).min(interval.max))
}

#[cfg(test)]
mod tests;
