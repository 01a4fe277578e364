//! Parameters that a stream may be opened with: the limits of store, host policy and host device together.
//!
//! The functions are stateless and cheap: Linux asks dozens of times per open.

use std::fmt;

use sndif::store::{Limits, Rates};
use sndif::v2::{HwParams, Interval, OpenParams};
use sndif::{Errno, Format, FormatSet};

/// Capabilities of the host device, as far as the host lets the guest use them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceLimits {
    /// Formats.
    pub formats: FormatSet,
    /// Rates in Hz.
    pub rates_hz: Interval,
    /// Channel counts.
    pub channels: Interval,
    /// Rates that the host allows, if it does not allow all.
    pub only_rates: Option<Rates>,
}

impl DeviceLimits {
    /// A device that accepts everything.
    pub const ANY: Self = Self {
        formats: FormatSet::ALL,
        rates_hz: Interval::new(1, 1_536_000),
        channels: Interval::new(1, 255),
        only_rates: None,
    };

    /// Returns true if a stream may have this rate.
    #[must_use]
    pub fn takes_rate(&self, rate_hz: u32) -> bool {
        self.rates_hz.contains(rate_hz) && self.only_rates.is_none_or(|only| only.contains(rate_hz))
    }
}

/// Maximum bytes of frames of a stream in a second: enough for 192 kHz, 32 channels and 8 bytes a sample. Formats,
/// rates and channel counts are each bounded by Xen's header; all of them at their maximum are 1.6 GB, which no machine
/// plays in real time.
const BYTES_PER_SECOND_MAX: u64 = 64 << 20;

/// Limits of the host's configuration for a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostLimits {
    /// Largest shared buffer in bytes.
    pub buffer_bytes_max: u32,
    /// Shortest period in microseconds.
    pub period_us_min: u32,
}

impl Default for HostLimits {
    /// 4 MiB and 1 ms.
    fn default() -> Self {
        Self { buffer_bytes_max: 4 << 20, period_us_min: 1000 }
    }
}

/// All limits of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// Limits of the guest's store nodes.
    pub store: Limits,
    /// Limits of the host's device.
    pub device: DeviceLimits,
    /// Limits of the host's configuration.
    pub host: HostLimits,
    /// Bytes that the frontend reserves at the end of the buffer for volume and mute.
    pub control_bytes: u32,
}

/// Refusal of an OPEN: the answer for the guest and the reason for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// Error number for the response.
    pub errno: Errno,
    /// Reason for the log.
    pub reason: &'static str,
}

impl Refusal {
    /// The host does not let the guest use the stream.
    pub const DENIED: Self = Self { errno: Errno::EACCES, reason: "not allowed by the host's configuration" };
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.reason, self.errno)
    }
}

impl std::error::Error for Refusal {}

impl Offer {
    /// Returns the largest number of bytes of frames in the buffer.
    fn ring_bytes_max(&self) -> u32 {
        self.store.buffer_bytes_max.min(self.host.buffer_bytes_max.saturating_sub(self.control_bytes))
    }

    fn formats(&self) -> FormatSet {
        self.store.formats.intersection(self.device.formats)
    }

    /// Answers HW_PARAM_QUERY: never wider than the question, and never wider than OPEN accepts.
    ///
    /// # Errors
    /// `EINVAL` when nothing is left.
    pub fn narrow(&self, asked: &HwParams) -> Result<HwParams, Errno> {
        let channels = self.store.channels.intersection(self.device.channels).intersection(asked.channels);
        // OPEN would refuse a format with no whole frame at any of these channel counts.
        let formats = self.formats().intersection(asked.formats);
        let formats: FormatSet =
            formats.iter().filter(|&format| least_frame_bytes(format, channels).is_some()).collect();
        let rates = match &self.device.only_rates {
            None => Some(self.store.rates),
            Some(only) => self.store.rates.among(only.list()),
        };
        let rates_hz = rates.ok_or(Errno::EINVAL)?.within(self.device.rates_hz.intersection(asked.rates_hz));
        if formats.is_empty() || channels.is_empty() || rates_hz.is_empty() {
            return Err(Errno::EINVAL);
        }
        // The smallest possible frame gives the largest buffer.
        let frame_bytes = formats.iter().filter_map(|format| least_frame_bytes(format, channels)).min();
        let buffer_max = frame_bytes.and_then(|size| self.ring_bytes_max().checked_div(size)).ok_or(Errno::EINVAL)?;
        let period_min = self.period_frames_min(rates_hz.min);
        let answer = HwParams {
            formats,
            rates_hz,
            channels,
            buffer_frames: asked.buffer_frames.intersection(Interval::new(period_min.saturating_mul(2), buffer_max)),
            period_frames: asked.period_frames.intersection(Interval::new(period_min, buffer_max)),
        };
        if answer.is_empty() { Err(Errno::EINVAL) } else { Ok(answer) }
    }

    fn period_frames_min(&self, rate_hz: u32) -> u32 {
        let frames = u64::from(rate_hz).saturating_mul(u64::from(self.host.period_us_min)) / 1_000_000;
        u32::try_from(frames).unwrap_or(u32::MAX).max(1)
    }

    /// Checks the parameters of an OPEN.
    ///
    /// # Errors
    /// [`Refusal`], with `EINVAL` for everything that HW_PARAM_QUERY would not have offered, except a shorter period:
    /// that is harmless, since events come at most once a millisecond.
    pub fn check(&self, open: &OpenParams) -> Result<crate::Geometry, Refusal> {
        let refuse = |reason| Refusal { errno: Errno::EINVAL, reason };
        if !self.formats().contains(open.format) {
            return Err(refuse("format not offered"));
        }
        let channels = u32::from(open.channels);
        if !self.store.channels.contains(channels) || !self.device.channels.contains(channels) {
            return Err(refuse("channel count not offered"));
        }
        if !self.store.rates.contains(open.rate_hz) || !self.device.takes_rate(open.rate_hz) {
            return Err(refuse("rate not offered"));
        }
        let frame_bytes = open.format.frame_bytes(open.channels).filter(|&size| size > 0);
        let frame_bytes = frame_bytes.ok_or(refuse("no whole frames with this format and channel count"))?;
        if u64::from(frame_bytes).saturating_mul(u64::from(open.rate_hz)) > BYTES_PER_SECOND_MAX {
            return Err(refuse("more than 64 MiB of frames in a second"));
        }
        let ring_bytes = open.buffer_bytes.checked_sub(self.control_bytes).filter(|&size| size > 0);
        let ring_bytes = ring_bytes.ok_or(refuse("no room for frames in the buffer"))?;
        if ring_bytes > self.ring_bytes_max() {
            return Err(refuse("buffer larger than offered"));
        }
        if !ring_bytes.is_multiple_of(frame_bytes) || !open.period_bytes.is_multiple_of(frame_bytes) {
            return Err(refuse("buffer or period is no whole number of frames"));
        }
        if open.period_bytes > ring_bytes {
            return Err(refuse("period longer than the buffer"));
        }
        Ok(crate::Geometry {
            format: open.format,
            rate_hz: open.rate_hz,
            channels: open.channels,
            frame_bytes,
            ring_bytes,
            buffer_bytes: open.buffer_bytes,
            period_bytes: open.period_bytes,
        })
    }
}

/// Returns the bytes of the smallest frame with a channel count of `channels`: the first count or, as IMA ADPCM takes
/// only even ones, the second.
fn least_frame_bytes(format: Format, channels: Interval) -> Option<u32> {
    [channels.min, channels.min.saturating_add(1)]
        .into_iter()
        .filter(|&count| channels.contains(count))
        .find_map(|count| format.frame_bytes(u8::try_from(count).ok()?).filter(|&size| size > 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sndif::GrantRef;

    fn offer() -> Offer {
        Offer { store: Limits::DEFAULT, device: DeviceLimits::ANY, host: HostLimits::default(), control_bytes: 0 }
    }

    fn open() -> OpenParams {
        OpenParams {
            rate_hz: 48_000,
            format: Format::S16Le,
            channels: 2,
            buffer_bytes: 7680,
            directory: GrantRef(9),
            period_bytes: 1920,
        }
    }

    #[test]
    fn the_answer_is_never_wider_than_asked() {
        let asked = HwParams {
            formats: FormatSet::EMPTY.with(Format::S16Le),
            rates_hz: Interval::exactly(48_000),
            channels: Interval::exactly(2),
            buffer_frames: Interval::new(1, 5000),
            period_frames: Interval::new(200, 1_000_000),
        };
        let answer = offer().narrow(&asked).unwrap();
        assert_eq!(answer.intersection(&asked), answer);
        assert_eq!(answer.buffer_frames, Interval::new(96, 5000));
        assert_eq!(answer.period_frames, Interval::new(200, 16_384));
    }

    #[test]
    fn only_the_rates_that_the_host_allows_are_offered_and_opened() {
        let only_rates = Some(Rates::of(&[96_000, 48_000, 44_100]).unwrap());
        let offer = Offer { device: DeviceLimits { only_rates, ..DeviceLimits::ANY }, ..offer() };
        // The store's own default ends at 48 kHz.
        assert_eq!(offer.narrow(&HwParams::ANY).unwrap().rates_hz, Interval::new(44_100, 48_000));
        assert!(offer.check(&open()).is_ok());
        assert_eq!(offer.check(&OpenParams { rate_hz: 32_000, ..open() }).unwrap_err().reason, "rate not offered");
    }

    #[test]
    fn the_answer_is_never_empty_but_an_error() {
        let asked = HwParams { rates_hz: Interval::exactly(96_000), ..HwParams::ANY };
        assert_eq!(offer().narrow(&asked), Err(Errno::EINVAL));
    }

    #[test]
    fn open_is_held_to_the_offer() {
        let good = open();
        assert_eq!(offer().check(&good).unwrap().frame_bytes, 4);
        for (bad, reason) in [
            (OpenParams { format: Format::Gsm, ..good }, "format not offered"),
            (OpenParams { channels: 3, ..good }, "channel count not offered"),
            (OpenParams { rate_hz: 96_000, ..good }, "rate not offered"),
            (OpenParams { buffer_bytes: 0, ..good }, "no room for frames in the buffer"),
            (OpenParams { buffer_bytes: u32::MAX, ..good }, "buffer larger than offered"),
            (OpenParams { buffer_bytes: 7681, ..good }, "buffer or period is no whole number of frames"),
            (OpenParams { period_bytes: 7684, ..good }, "period longer than the buffer"),
        ] {
            assert_eq!(offer().check(&bad).unwrap_err(), Refusal { errno: Errno::EINVAL, reason });
        }
    }
}
