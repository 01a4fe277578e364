//! Volume and mute per channel, applied in place.
//!
//! Volumes are what SET_VOLUME carries: `i32` in 0.001 dB, 0 = 0 dB = unchanged.

use crate::{Linear, fill_silence, g711, is_decodable, sample_bytes, silence_pattern};
use sndif::Format;

/// The quietest volume in 0.001 dB (−100 dB); at it and below it a channel is silent.
pub const MIN_MILLIDECIBEL: i32 = -100_000;
/// The loudest volume in 0.001 dB (+20 dB); samples that would leave the range are saturated.
pub const MAX_MILLIDECIBEL: i32 = 20_000;

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

/// Whether [`Gain::apply`] can scale samples of `format`.
///
/// False for IEC 958 subframes (their content may be compressed), IMA ADPCM, MPEG and GSM: a volume for
/// them is to be refused, and mute works only for the stream as a whole.
#[must_use]
pub const fn supports_gain(format: Format) -> bool {
    is_decodable(format)
}

/// Fraction bits of a fixed-point factor: its error times a 24-bit sample is far below one.
const FRACTION: u32 = 28;

#[derive(Debug, Clone, Copy, PartialEq)]
struct Channel {
    volume: i32,
    mute: bool,
    /// Linear factor; 0 when silent.
    factor: f64,
    /// `factor` with [`FRACTION`] fraction bits.
    fixed: i64,
}

impl Channel {
    const UNITY: Self = Self { volume: 0, mute: false, factor: 1.0, fixed: 1 << FRACTION };

    fn new(volume: i32, mute: bool) -> Self {
        let volume = clamp(volume);
        let factor = match volume {
            _ if mute => 0.0,
            MIN_MILLIDECIBEL => 0.0,
            0 => 1.0,
            _ => 10_f64.powf(f64::from(volume) / 20_000.0),
        };
        Self { volume, mute, factor, fixed: (factor * f64::from(1 << FRACTION)).round() as i64 }
    }

    /// In the middle of a change.
    fn at(factor: f64) -> Self {
        let fixed = (factor * f64::from(1 << FRACTION)).round() as i64;
        Self { volume: 0, mute: false, factor, fixed }
    }

    fn is_unity(&self) -> bool {
        self.factor == 1.0
    }
}

/// Volume and mute of each channel, with the factors worked out beforehand.
///
/// A channel beyond those it was made for is left unchanged.
#[derive(Debug, Clone, PartialEq)]
pub struct Gain {
    channels: Vec<Channel>,
}

impl Gain {
    /// 0 dB, not muted, on `channels` channels.
    #[must_use]
    pub fn new(channels: u8) -> Self {
        Self { channels: vec![Channel::UNITY; usize::from(channels)] }
    }

    /// How many channels it was made for.
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

    /// Whether `channel` is muted.
    #[must_use]
    pub fn is_muted(&self, channel: usize) -> bool {
        self.channels.get(channel).is_some_and(|entry| entry.mute)
    }

    /// Sets the linear factor of `channel` for a moment, whatever its volume is.
    pub(crate) fn set_factor(&mut self, channel: usize, factor: f64) {
        if let Some(entry) = self.channels.get_mut(channel) {
            *entry = Channel::at(factor);
        }
    }

    /// Whether it changes nothing: every channel at 0 dB and not muted.
    #[must_use]
    pub fn is_identity(&self) -> bool {
        self.channels.iter().all(Channel::is_unity)
    }

    /// The linear factor of `channel`, 0 to 10.
    #[must_use]
    pub(crate) fn factor(&self, channel: usize) -> f64 {
        self.channels.get(channel).map_or(1.0, |entry| entry.factor)
    }

    /// Applies the gain to `frames`, in place, rounded to the nearest value and saturated.
    ///
    /// Channels at 0 dB are not touched, whatever their octets are. Floats may exceed full scale, as
    /// the format allows. A format that [cannot be scaled](supports_gain) is left alone, unless all of
    /// `channels` are muted: then it becomes silence.
    pub fn apply(&self, format: Format, channels: u8, frames: &mut [u8]) {
        let channels = usize::from(channels);
        if channels == 0 || self.is_identity() {
            return;
        }
        let used = &self.channels[..channels.min(self.channels.len())];
        if used.len() == channels && used.iter().all(|entry| entry.factor == 0.0) {
            if supports_gain(format) || used.iter().all(|entry| entry.mute) {
                fill_silence(format, frames);
            }
            return;
        }
        match format {
            Format::S8 => integers::<1>(const { Linear::of(Format::S8) }, used, channels, frames),
            Format::U8 => integers::<1>(const { Linear::of(Format::U8) }, used, channels, frames),
            Format::S16Le => integers::<2>(const { Linear::of(Format::S16Le) }, used, channels, frames),
            Format::S16Be => integers::<2>(const { Linear::of(Format::S16Be) }, used, channels, frames),
            Format::U16Le => integers::<2>(const { Linear::of(Format::U16Le) }, used, channels, frames),
            Format::U16Be => integers::<2>(const { Linear::of(Format::U16Be) }, used, channels, frames),
            Format::S24Le => integers::<4>(const { Linear::of(Format::S24Le) }, used, channels, frames),
            Format::S24Be => integers::<4>(const { Linear::of(Format::S24Be) }, used, channels, frames),
            Format::U24Le => integers::<4>(const { Linear::of(Format::U24Le) }, used, channels, frames),
            Format::U24Be => integers::<4>(const { Linear::of(Format::U24Be) }, used, channels, frames),
            Format::S32Le => integers::<4>(const { Linear::of(Format::S32Le) }, used, channels, frames),
            Format::S32Be => integers::<4>(const { Linear::of(Format::S32Be) }, used, channels, frames),
            Format::U32Le => integers::<4>(const { Linear::of(Format::U32Le) }, used, channels, frames),
            Format::U32Be => integers::<4>(const { Linear::of(Format::U32Be) }, used, channels, frames),
            Format::F32Le => {
                each(used, channels, frames, |octets, gain| f32_scaled(f32::from_le_bytes(octets), gain).to_le_bytes())
            }
            Format::F32Be => {
                each(used, channels, frames, |octets, gain| f32_scaled(f32::from_be_bytes(octets), gain).to_be_bytes())
            }
            Format::F64Le => {
                each(used, channels, frames, |octets, gain| (f64::from_le_bytes(octets) * gain.factor).to_le_bytes())
            }
            Format::F64Be => {
                each(used, channels, frames, |octets, gain| (f64::from_be_bytes(octets) * gain.factor).to_be_bytes())
            }
            Format::MuLaw => each(used, channels, frames, |[octet]: [u8; 1], gain| {
                [g711::mu_law_encode(scaled(g711::mu_law_decode(octet), gain, 16))]
            }),
            Format::ALaw => each(used, channels, frames, |[octet]: [u8; 1], gain| {
                [g711::a_law_encode(scaled(g711::a_law_decode(octet), gain, 16))]
            }),
            Format::Iec958SubframeLe | Format::Iec958SubframeBe | Format::ImaAdpcm | Format::Mpeg | Format::Gsm => {}
        }
        self.silence_muted(format, channels, frames);
    }

    /// Channels with factor 0 get the format's exact silence (a NaN times 0 would stay a NaN).
    fn silence_muted(&self, format: Format, channels: usize, frames: &mut [u8]) {
        if !supports_gain(format) {
            return;
        }
        let width = sample_bytes(format);
        let pattern = silence_pattern(format);
        for (channel, _) in self.channels.iter().enumerate().take(channels).filter(|(_, entry)| entry.factor == 0.0) {
            for sample in frames.chunks_exact_mut(width).skip(channel).step_by(channels) {
                sample.copy_from_slice(&pattern[..width]);
            }
        }
    }
}

/// Replaces every whole sample of a channel that has a gain other than 0 dB.
#[inline(always)]
fn each<const BYTES: usize>(
    gains: &[Channel],
    channels: usize,
    frames: &mut [u8],
    scale: impl Fn([u8; BYTES], &Channel) -> [u8; BYTES],
) {
    let (samples, _) = frames.as_chunks_mut::<BYTES>();
    for frame in samples.chunks_mut(channels) {
        for (sample, gain) in frame.iter_mut().zip(gains) {
            if !gain.is_unity() {
                *sample = scale(*sample, gain);
            }
        }
    }
}

#[inline(always)]
fn integers<const BYTES: usize>(layout: Option<Linear>, gains: &[Channel], channels: usize, frames: &mut [u8]) {
    let Some(layout) = layout else { return };
    let shift = 32 - layout.bits();
    each::<BYTES>(gains, channels, frames, |mut octets, gain| {
        let sample = scaled(layout.decode(&octets) >> shift, gain, layout.bits());
        layout.encode(sample << shift, &mut octets);
        octets
    });
}

/// A `bits`-wide sample times the gain, rounded to the nearest value and saturated to that width.
#[inline(always)]
fn scaled(sample: i32, gain: &Channel, bits: u32) -> i32 {
    let most = (1_i64 << (bits - 1)) - 1;
    if bits > 24 {
        // A fixed-point factor that leaves room for the sample is not exact enough for its last bits.
        return (f64::from(sample) * gain.factor).round().clamp(-(most as f64) - 1.0, most as f64) as i32;
    }
    let product = (i64::from(sample) * gain.fixed + (1 << (FRACTION - 1))) >> FRACTION;
    product.clamp(-most - 1, most) as i32
}

fn f32_scaled(sample: f32, gain: &Channel) -> f32 {
    (f64::from(sample) * gain.factor) as f32
}
