//! Volume and mute per channel, applied in place.
//!
//! Volumes are in the unit of SET_VOLUME: `i32` in 0.001 dB, 0 = 0 dB = unchanged.

use crate::lanes::{Companded, F32, F64, Factor, Narrow, Wide, scale, scale_each, with_kernel};
use crate::{fill_silence, is_decodable, sample_bytes, silence_pattern};
use sndif::Format;

/// The quietest volume in 0.001 dB (−100 dB); at it and below it a channel is silent.
pub const MIN_MILLIDECIBEL: i32 = -100_000;
/// The loudest volume in 0.001 dB (+20 dB); samples that would leave the range are saturated.
pub const MAX_MILLIDECIBEL: i32 = 20_000;

/// Converts decibels to 0.001 dB; `None` if the volume is out of range.
#[must_use]
pub fn millidecibels(decibels: f64) -> Option<i32> {
    let millidecibels = (decibels * 1000.0).round();
    (f64::from(MIN_MILLIDECIBEL)..=f64::from(MAX_MILLIDECIBEL)).contains(&millidecibels).then_some(millidecibels as i32)
}

/// `volume` (0.001 dB) brought into [`MIN_MILLIDECIBEL`]`..=`[`MAX_MILLIDECIBEL`].
#[must_use]
pub const fn clamp(volume: i32) -> i32 {
    if volume < MIN_MILLIDECIBEL {
        MIN_MILLIDECIBEL
    } else if volume > MAX_MILLIDECIBEL {
        MAX_MILLIDECIBEL
    } else {
        volume
    }
}

/// Returns true if [`Gain::apply`] can scale samples of `format`.
///
/// False for IEC 958 subframes (their content may be compressed), IMA ADPCM, MPEG and GSM: a volume for them must be
/// refused, and mute works only for the stream as a whole.
#[must_use]
pub const fn supports_gain(format: Format) -> bool {
    is_decodable(format)
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Channel {
    volume: i32,
    mute: bool,
    /// 0 when silent.
    factor: Factor,
}

impl Channel {
    const UNITY: Self = Self { volume: 0, mute: false, factor: Factor::UNITY };

    fn new(volume: i32, mute: bool) -> Self {
        let volume = clamp(volume);
        let factor = match volume {
            _ if mute => 0.0,
            MIN_MILLIDECIBEL => 0.0,
            0 => 1.0,
            _ => 10_f64.powf(f64::from(volume) / 20_000.0),
        };
        Self { volume, mute, factor: Factor::new(factor) }
    }

    fn is_unity(&self) -> bool {
        self.factor.linear == 1.0
    }
}

/// Volume and mute of each channel, with precomputed factors.
///
/// A channel beyond those that the gain was made for is left unchanged.
#[derive(Debug, Clone, PartialEq)]
pub struct Gain {
    channels: Vec<Channel>,
}

impl Gain {
    /// A gain of 0 dB, not muted, on `channels` channels.
    #[must_use]
    pub fn new(channels: u8) -> Self {
        Self { channels: vec![Channel::UNITY; usize::from(channels)] }
    }

    /// Number of channels that the gain was made for.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.channels.len()
    }

    /// Sets the volume of `channel` in 0.001 dB, [clamped](clamp); no effect if there is no such channel.
    pub fn set_volume(&mut self, channel: usize, volume: i32) {
        if let Some(entry) = self.channels.get_mut(channel) {
            *entry = Channel::new(volume, entry.mute);
        }
    }

    /// Mutes or unmutes `channel`, its volume is kept; no effect if there is no such channel.
    pub fn set_mute(&mut self, channel: usize, mute: bool) {
        if let Some(entry) = self.channels.get_mut(channel) {
            *entry = Channel::new(entry.volume, mute);
        }
    }

    /// The volume of `channel` in 0.001 dB; 0 if there is no such channel.
    #[must_use]
    pub fn volume(&self, channel: usize) -> i32 {
        self.channels.get(channel).map_or(0, |entry| entry.volume)
    }

    /// Returns true if `channel` is muted.
    #[must_use]
    pub fn is_muted(&self, channel: usize) -> bool {
        self.channels.get(channel).is_some_and(|entry| entry.mute)
    }

    /// Returns true if the gain changes nothing: every channel at 0 dB and not muted.
    #[must_use]
    pub fn is_identity(&self) -> bool {
        self.channels.iter().all(Channel::is_unity)
    }

    /// The linear factor of `channel`, 0 to 10.
    #[must_use]
    pub(crate) fn factor(&self, channel: usize) -> f64 {
        self.channels.get(channel).map_or(1.0, |entry| entry.factor.linear)
    }

    /// Applies the gain to `frames`, in place, rounded to the nearest value and saturated.
    ///
    /// Channels at 0 dB keep all of their bytes. Floats may exceed full scale, as the format allows. A format that
    /// [cannot be scaled](supports_gain) is left alone, unless all of `channels` are muted: then it becomes silence.
    pub fn apply(&self, format: Format, channels: u8, frames: &mut [u8]) {
        let channels = usize::from(channels);
        if channels == 0 || self.is_identity() {
            return;
        }
        let used = &self.channels[..channels.min(self.channels.len())];
        if used.len() == channels && used.iter().all(|entry| entry.factor.linear == 0.0) {
            if supports_gain(format) || used.iter().all(|entry| entry.mute) {
                fill_silence(format, frames);
            }
            return;
        }
        let factor = |channel| self.channels.get(channel).map_or(Factor::UNITY, |entry: &Channel| entry.factor);
        with_kernel!(format, scale(frames, channels, factor), {});
        self.silence_muted(format, channels, frames);
    }

    /// Channels with factor 0 get the format's exact silence (a NaN times 0 would stay a NaN).
    fn silence_muted(&self, format: Format, channels: usize, frames: &mut [u8]) {
        if !supports_gain(format) {
            return;
        }
        let width = sample_bytes(format);
        let pattern = silence_pattern(format);
        for (channel, _) in
            self.channels.iter().enumerate().take(channels).filter(|(_, entry)| entry.factor.linear == 0.0)
        {
            for sample in frames.chunks_exact_mut(width).skip(channel).step_by(channels) {
                sample.copy_from_slice(&pattern[..width]);
            }
        }
    }
}

/// Scales whole samples of a format that [can be](supports_gain), each with the next factor.
pub(crate) fn apply_each(format: Format, frames: &mut [u8], mut factor: impl FnMut() -> f64) {
    with_kernel!(format, scale_each(frames, || Factor::new(factor())), {});
}
