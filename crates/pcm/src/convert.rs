//! Conversion of numeric samples from any format to any other.
//!
//! Integers go through a left-justified `i32`: a format that is wide enough loses nothing, a narrower one has the low
//! bits cut off. If either format is a float, samples go through a float that holds both exactly, and are rounded to
//! the nearest value (ties to even) and saturated. There is no dither: silence stays silence.

use crate::block::{self, SAMPLES};
use crate::{is_decodable, sample_bytes, significant_bits};
use sndif::Format;

/// Converts samples from one format to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Converter {
    from: Format,
    to: Format,
}

impl Converter {
    /// Returns `None` if the samples of either format are not numbers: IEC 958 subframes and compressed streams.
    #[must_use]
    pub const fn new(from: Format, to: Format) -> Option<Self> {
        if is_decodable(from) && is_decodable(to) { Some(Self { from, to }) } else { None }
    }

    /// Bytes of an input sample.
    #[must_use]
    pub const fn from_bytes(&self) -> usize {
        sample_bytes(self.from)
    }

    /// Bytes of an output sample.
    #[must_use]
    pub const fn to_bytes(&self) -> usize {
        sample_bytes(self.to)
    }

    /// Fills `out` with the converted samples of `input`; ends where either does. Does not allocate.
    pub fn convert(&self, input: &[u8], out: &mut [u8]) {
        let blocks = input.chunks(SAMPLES * self.from_bytes()).zip(out.chunks_mut(SAMPLES * self.to_bytes()));
        for (input, out) in blocks {
            let samples = (input.len() / self.from_bytes()).min(out.len() / self.to_bytes());
            if !is_float(self.from) && !is_float(self.to) {
                let mut block = [0; SAMPLES];
                block::decode_i32(self.from, input, &mut block[..samples]);
                block::encode_i32(self.to, &block[..samples], out);
            } else if self.is_exact_in_f32() {
                let mut block = [0.0; SAMPLES];
                block::decode_f32(self.from, input, &mut block[..samples]);
                block::encode_f32(self.to, &block[..samples], out);
            } else {
                let mut block = [0.0; SAMPLES];
                block::decode_f64(self.from, input, &mut block[..samples]);
                block::encode_f64(self.to, &block[..samples], out);
            }
        }
    }

    /// Returns true if a conversion through `f32` rounds at most once; an output of 24 bits is rounded in `f64`.
    fn is_exact_in_f32(&self) -> bool {
        let to_f32 = matches!(self.to, Format::F32Le | Format::F32Be);
        significant_bits(self.from) <= Some(if to_f32 { 32 } else { 24 })
            && (to_f32 || significant_bits(self.to) <= Some(16))
    }
}

const fn is_float(format: Format) -> bool {
    matches!(format, Format::F32Le | Format::F32Be | Format::F64Le | Format::F64Be)
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
            // A step of G.711 at this level is a 32nd of full scale.
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
                // A-law has no zero: its silence is 8 of 32768, and converts to the value nearest to that.
                if from != Format::ALaw && to != Format::ALaw {
                    assert_eq!(converted, expected, "{from} to {to}");
                }
            }
        }
    }

    #[test]
    fn a_number_between_two_is_rounded_to_the_nearest_and_of_two_to_the_even_one() {
        // In steps of s16; f32 and f64 have to agree.
        for (value, expected) in [(0.49_f64, 0_i16), (0.5, 0), (0.51, 1), (1.5, 2), (-0.5, 0), (-0.51, -1), (-2.5, -2)]
        {
            let fraction = value / 32_768.0;
            assert_eq!(convert(Format::F32Le, Format::S16Le, &(fraction as f32).to_le_bytes()), expected.to_le_bytes());
            assert_eq!(convert(Format::F64Le, Format::S16Le, &fraction.to_le_bytes()), expected.to_le_bytes());
        }
        let s24 = 8_388_606.5_f64 / 8_388_608.0;
        assert_eq!(convert(Format::F64Le, Format::S24Le, &s24.to_le_bytes()), 8_388_606_i32.to_le_bytes());
        let odd = 8_388_607.0_f32 / 8_388_608.0;
        assert_eq!(convert(Format::F32Le, Format::S24Le, &odd.to_le_bytes()), 8_388_607_i32.to_le_bytes());
    }

    #[test]
    fn blocks_of_every_length_are_converted_sample_by_sample() {
        let input: Vec<u8> = (0..200_u32 * 8).map(|at| (at * 37 + at / 7) as u8).collect();
        for from in numbers() {
            for to in numbers() {
                let (from_bytes, to_bytes) = (sample_bytes(from), sample_bytes(to));
                let one_by_one: Vec<u8> =
                    input[..200 * from_bytes].chunks(from_bytes).flat_map(|sample| convert(from, to, sample)).collect();
                for samples in [0, 1, 63, 64, 65, 200] {
                    let all = convert(from, to, &input[..samples * from_bytes]);
                    assert_eq!(all, one_by_one[..samples * to_bytes], "{from} to {to}");
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
        fn any_bytes_convert_without_panic(input: Vec<u8>) {
            for from in numbers() {
                for to in numbers() {
                    prop_assert_eq!(convert(from, to, &input).len() / sample_bytes(to), input.len() / sample_bytes(from));
                }
            }
        }
    }
}
