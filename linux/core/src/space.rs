// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Configurations that a substream allows, asked for with few requests.
//!
//! ALSA refines a configuration dozens of times for one open. The backend is asked twice: once per connection for all
//! configurations, and once for the periods and buffers of a format, rate and channel count, as soon as these three are
//! settled. The answers are kept.

use frontend::v0::{Field, Hardware};
use sndif::store::Limits;
use sndif::v2::{HwParams, Interval};
use sndif::{Format, FormatSet, FormatWidth};

use crate::Error;

/// Number of answers that are kept: applications try some configurations before they settle.
const KEPT: usize = 4;

/// Configurations with which a substream may be opened; period and buffer count frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Limits of the store and of the backend, together.
    pub params: HwParams,
    /// ALSA's bits of rates, `SNDRV_PCM_RATE_*`, within those of `params`.
    pub rates: u32,
    /// Largest buffer in bytes.
    pub buffer_bytes_max: u32,
    /// Bytes in a period.
    pub period_bytes: Interval,
    /// Periods in a buffer.
    pub periods: Interval,
    /// True if the stream can be paused.
    pub pauses: bool,
    /// True if the position moves once a period, and not between.
    pub batches: bool,
    /// True if applications cannot do without being woken for each period.
    pub wakes_always: bool,
}

/// `SNDRV_PCM_RATE_CONTINUOUS`: any rate between the smallest and the largest.
const RATE_CONTINUOUS: u32 = 1 << 30;

/// Minimum number of periods in a buffer: one is written while the other is played.
const PERIODS_MIN: u32 = 2;

impl Space {
    /// Returns the space of a card of version 0, whose backend does not tell any.
    pub(crate) fn of_hardware(hardware: &Hardware) -> Self {
        let limit = |field| u32::try_from(hardware.get(field)).unwrap_or(u32::MAX);
        let limits = |min, max| Interval::new(limit(min), limit(max));
        let periods = limits(Field::PeriodsMin, Field::PeriodsMax);
        Self {
            params: HwParams {
                formats: frame_formats(hardware.formats()),
                rates_hz: limits(Field::RateMin, Field::RateMax),
                channels: limits(Field::ChannelsMin, Field::ChannelsMax),
                ..HwParams::ANY
            },
            rates: limit(Field::Rates),
            buffer_bytes_max: limit(Field::BufferBytesMax),
            period_bytes: limits(Field::PeriodBytesMin, Field::PeriodBytesMax),
            periods: Interval::new(periods.min.max(PERIODS_MIN), periods.max),
            pauses: false,
            batches: true,
            wakes_always: true,
        }
    }

    /// Returns the space of a backend of version 2, within the store's limits.
    pub(crate) const fn of_backend(params: HwParams, limits: &Limits) -> Self {
        let buffer_bytes_max = limits.buffer_bytes_max;
        Self {
            params,
            rates: RATE_CONTINUOUS,
            buffer_bytes_max,
            period_bytes: Interval::new(1, buffer_bytes_max),
            periods: Interval::new(PERIODS_MIN, buffer_bytes_max),
            pauses: true,
            batches: false,
            wakes_always: false,
        }
    }
}

/// The backend's answers, for one connection.
#[derive(Debug, Default)]
pub struct SpaceCache {
    whole: Option<HwParams>,
    settled: [Option<(HwParams, Result<HwParams, Error>)>; KEPT],
    oldest: usize,
}

impl SpaceCache {
    /// Returns the question about all configurations.
    #[must_use]
    pub fn whole_question(limits: &Limits) -> HwParams {
        HwParams {
            formats: frame_formats(limits.formats),
            rates_hz: limits.rates.within(Interval::ANY),
            channels: limits.channels,
            ..HwParams::ANY
        }
    }

    /// Returns the answer about all configurations, if it is known.
    #[must_use]
    pub const fn whole(&self) -> Option<HwParams> {
        self.whole
    }

    /// Keeps the answer about all configurations.
    pub fn keep_whole(&mut self, answer: HwParams) {
        self.whole = Some(answer);
    }

    /// Returns the question about periods and buffers for a configuration whose format, rate and channels are settled;
    /// `None` while one of them is not.
    #[must_use]
    pub fn settled_question(params: &HwParams) -> Option<HwParams> {
        let single = |interval: Interval| interval.min == interval.max;
        let settled = params.formats.iter().count() == 1 && single(params.rates_hz) && single(params.channels);
        settled.then_some(HwParams { buffer_frames: Interval::ANY, period_frames: Interval::ANY, ..*params })
    }

    /// Returns the answer to a question, if it is known.
    #[must_use]
    pub fn settled(&self, question: &HwParams) -> Option<Result<HwParams, Error>> {
        self.settled.iter().flatten().find(|(asked, _)| asked == question).map(|&(_, answer)| answer)
    }

    /// Keeps the answer to a question.
    pub fn keep_settled(&mut self, question: HwParams, answer: Result<HwParams, Error>) {
        if let Some(place) = self.settled.get_mut(self.oldest) {
            *place = Some((question, answer));
        }
        self.oldest = self.oldest.saturating_add(1).checked_rem(KEPT).unwrap_or(0);
    }
}

/// Returns the formats whose frames can be counted: MPEG and GSM are streams of bytes, without frames for ALSA.
fn frame_formats(formats: FormatSet) -> FormatSet {
    formats.iter().filter(|format: &Format| format.width() != FormatWidth::Stream).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_asked_once_all_three_are_settled() {
        let mut params = HwParams {
            formats: FormatSet::EMPTY.with(Format::S16Le),
            rates_hz: Interval::exactly(48_000),
            channels: Interval::new(1, 2),
            ..HwParams::ANY
        };
        assert_eq!(SpaceCache::settled_question(&params), None);
        params.channels = Interval::exactly(2);
        params.period_frames = Interval::exactly(480);
        let question = SpaceCache::settled_question(&params).unwrap();
        assert_eq!(question.period_frames, Interval::ANY);
        let mut cache = SpaceCache::default();
        assert_eq!(cache.settled(&question), None);
        cache.keep_settled(question, Ok(question));
        assert_eq!(cache.settled(&question), Some(Ok(question)));
        for rate in 1..=4 {
            cache.keep_settled(HwParams { rates_hz: Interval::exactly(rate), ..question }, Err(Error::Invalid));
        }
        assert_eq!(cache.settled(&question), None, "the oldest answer makes room");
    }

    #[test]
    fn formats_without_frames_are_not_offered() {
        let mut limits = Limits::DEFAULT;
        limits.formats = FormatSet::ALL;
        assert_eq!(SpaceCache::whole_question(&limits).formats.iter().count(), 23);
    }
}
