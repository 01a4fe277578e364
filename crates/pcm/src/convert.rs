//! Any sample that is a number in any other format.
//!
//! Integers go through a left-justified `i32`, so what is wide enough loses nothing; where a float is one of the
//! two, through `f64`, rounded to the nearest value and saturated. Nothing is dithered: silence stays silence.

use crate::{Linear, g711, is_decodable, sample_bytes};
use sndif::Format;

/// 2³¹, full scale of a left-justified sample.
const FULL_SCALE: f64 = 2_147_483_648.0;

/// Bits that tell the samples of `format` apart: 16 for G.711, 24 and 53 for floats; `None` for what is no number.
#[must_use]
pub const fn significant_bits(format: Format) -> Option<u32> {
    match format {
        Format::F32Le | Format::F32Be => Some(24),
        Format::F64Le | Format::F64Be => Some(53),
        Format::MuLaw | Format::ALaw => Some(16),
        _ => match Linear::of(format) {
            Some(layout) => Some(layout.bits()),
            None => None,
        },
    }
}

/// Converts samples from one format to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Converter {
    from: Format,
    to: Format,
}

impl Converter {
    /// `None` if the samples of either are no numbers: IEC 958 subframes and compressed streams.
    #[must_use]
    pub const fn new(from: Format, to: Format) -> Option<Self> {
        if is_decodable(from) && is_decodable(to) { Some(Self { from, to }) } else { None }
    }

    /// Octets of a sample before.
    #[must_use]
    pub const fn from_bytes(&self) -> usize {
        sample_bytes(self.from)
    }

    /// Octets of a sample after.
    #[must_use]
    pub const fn to_bytes(&self) -> usize {
        sample_bytes(self.to)
    }

    /// Fills `out` with the samples of `input`; ends where either does. Does not allocate.
    pub fn convert(&self, input: &[u8], out: &mut [u8]) {
        let samples = input.chunks_exact(self.from_bytes()).zip(out.chunks_exact_mut(self.to_bytes()));
        if is_float(self.from) || is_float(self.to) {
            for (from, to) in samples {
                encode_f64(self.to, decode_f64(self.from, from), to);
            }
        } else {
            for (from, to) in samples {
                encode_i32(self.to, decode_i32(self.from, from), to);
            }
        }
    }
}

const fn is_float(format: Format) -> bool {
    matches!(format, Format::F32Le | Format::F32Be | Format::F64Le | Format::F64Be)
}

/// A sample that is no float, left-justified.
fn decode_i32(format: Format, octets: &[u8]) -> i32 {
    match (Linear::of(format), format) {
        (Some(layout), _) => layout.decode(octets),
        (None, Format::MuLaw) => g711::mu_law_decode(octets[0]) << 16,
        (None, Format::ALaw) => g711::a_law_decode(octets[0]) << 16,
        (None, _) => 0,
    }
}

fn encode_i32(format: Format, sample: i32, octets: &mut [u8]) {
    match (Linear::of(format), format) {
        (Some(layout), _) => layout.encode(sample, octets),
        (None, Format::MuLaw) => octets[0] = g711::mu_law_encode(sample >> 16),
        (None, Format::ALaw) => octets[0] = g711::a_law_encode(sample >> 16),
        (None, _) => {}
    }
}

/// A sample, full scale −1 to 1; what is not finite is 0.
fn decode_f64(format: Format, octets: &[u8]) -> f64 {
    let value = match format {
        Format::F32Le => octets.try_into().map(f32::from_le_bytes).unwrap_or(0.0).into(),
        Format::F32Be => octets.try_into().map(f32::from_be_bytes).unwrap_or(0.0).into(),
        Format::F64Le => octets.try_into().map(f64::from_le_bytes).unwrap_or(0.0),
        Format::F64Be => octets.try_into().map(f64::from_be_bytes).unwrap_or(0.0),
        _ => f64::from(decode_i32(format, octets)) / FULL_SCALE,
    };
    if value.is_finite() { value } else { 0.0 }
}

fn encode_f64(format: Format, value: f64, octets: &mut [u8]) {
    match format {
        Format::F32Le => octets.copy_from_slice(&(value as f32).to_le_bytes()),
        Format::F32Be => octets.copy_from_slice(&(value as f32).to_be_bytes()),
        Format::F64Le => octets.copy_from_slice(&value.to_le_bytes()),
        Format::F64Be => octets.copy_from_slice(&value.to_be_bytes()),
        _ => {
            let bits = significant_bits(format).unwrap_or(32);
            let steps = f64::from(2_u32.pow(bits - 1));
            // A cast saturates.
            let sample = ((value * steps).round().clamp(-steps, steps - 1.0)) as i32;
            encode_i32(format, sample << (32 - bits), octets);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn numbers() -> impl Iterator<Item = Format> {
        Format::all().filter(|&format| is_decodable(format))
    }

    fn convert(from: Format, to: Format, input: &[u8]) -> Vec<u8> {
        let converter = Converter::new(from, to).unwrap();
        let mut out = vec![0; input.len() / converter.from_bytes() * converter.to_bytes()];
        converter.convert(input, &mut out);
        out
    }

    #[test]
    fn what_is_no_number_is_not_converted() {
        for format in [Format::Iec958SubframeLe, Format::ImaAdpcm, Format::Mpeg, Format::Gsm] {
            assert_eq!(Converter::new(format, Format::S16Le), None);
            assert_eq!(Converter::new(Format::S16Le, format), None);
            assert_eq!(significant_bits(format), None);
        }
    }

    #[test]
    fn half_scale_is_a_half_in_every_format() {
        for format in numbers() {
            let half = convert(Format::F64Le, format, &0.5_f64.to_le_bytes());
            let back = convert(format, Format::F64Le, &half);
            let value = f64::from_le_bytes(back.try_into().unwrap());
            // A step of G.711 at this level is a 32nd.
            let most = if matches!(format, Format::MuLaw | Format::ALaw) { 0.5 / 32.0 } else { 0.0 };
            assert!((value - 0.5).abs() <= most, "{format}: {value}");
        }
    }

    #[test]
    fn silence_stays_silence() {
        for from in numbers() {
            for to in numbers() {
                let mut silence = vec![0; sample_bytes(from)];
                crate::fill_silence(from, &mut silence);
                let mut expected = vec![0; sample_bytes(to)];
                crate::fill_silence(to, &mut expected);
                let converted = convert(from, to, &silence);
                // A-law has no zero: its silence is 8 of 32768, and whatever is nearest to that.
                if from != Format::ALaw && to != Format::ALaw {
                    assert_eq!(converted, expected, "{from} to {to}");
                }
            }
        }
    }

    #[test]
    fn what_is_beyond_full_scale_is_saturated() {
        let loud: Vec<u8> = [7.0_f32, -7.0, f32::NAN].iter().flat_map(|value| value.to_le_bytes()).collect();
        let expected: Vec<u8> = [i16::MAX, i16::MIN, 0].iter().flat_map(|value| value.to_le_bytes()).collect();
        assert_eq!(convert(Format::F32Le, Format::S16Le, &loud), expected);
    }

    proptest! {
        #[test]
        fn a_format_with_as_many_bits_loses_nothing(samples: Vec<i16>) {
            let input: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
            for to in numbers().filter(|&to| significant_bits(to) >= Some(16)) {
                if !matches!(to, Format::MuLaw | Format::ALaw) {
                    prop_assert_eq!(&convert(to, Format::S16Le, &convert(Format::S16Le, to, &input)), &input);
                }
            }
        }

        #[test]
        fn any_octets_convert_without_panic(input: Vec<u8>) {
            for from in numbers() {
                for to in numbers() {
                    prop_assert_eq!(convert(from, to, &input).len() / sample_bytes(to), input.len() / sample_bytes(from));
                }
            }
        }
    }
}
