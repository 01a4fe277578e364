//! Samples as `f32`, full scale −1 to 1, for meters and pictures.

use crate::{Linear, g711};
use sndif::{Format, FormatWidth};

/// Full scale of a left-justified integer sample, 2³¹.
const FULL_SCALE: f32 = 2_147_483_648.0;

/// Returns true if the samples of `format` are numbers: all formats but IEC 958 subframes and compressed streams.
#[must_use]
pub const fn is_decodable(format: Format) -> bool {
    matches!(format, Format::F32Le | Format::F32Be | Format::F64Le | Format::F64Be | Format::MuLaw | Format::ALaw)
        || Linear::of(format).is_some()
}

/// Bytes of one sample; 1 for a format without a fixed size in whole bytes.
#[must_use]
pub const fn sample_bytes(format: Format) -> usize {
    match format.width() {
        FormatWidth::Bytes(bytes) => bytes as usize,
        FormatWidth::Nibble | FormatWidth::Stream => 1,
    }
}

/// Significant bits of a sample of `format`: 16 for G.711, 24 and 53 for floats; `None` if samples are not numbers.
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

/// The samples of `frames` in order, full scale −1.0 to 1.0; none for a format that is not [decodable](is_decodable).
/// Floats are unchanged, even beyond full scale; a value that is not finite becomes 0.
pub fn samples(format: Format, frames: &[u8]) -> impl Iterator<Item = f32> + Clone + '_ {
    let frames = if is_decodable(format) { frames } else { &[] };
    frames.chunks_exact(sample_bytes(format)).map(move |sample| sample_f32(format, sample))
}

fn sample_f32(format: Format, sample: &[u8]) -> f32 {
    if let Some(layout) = Linear::of(format) {
        return layout.decode(sample) as f32 / FULL_SCALE;
    }
    let value = match format {
        Format::F32Le => sample.try_into().map(f32::from_le_bytes).unwrap_or(0.0),
        Format::F32Be => sample.try_into().map(f32::from_be_bytes).unwrap_or(0.0),
        Format::F64Le => sample.try_into().map(f64::from_le_bytes).unwrap_or(0.0) as f32,
        Format::F64Be => sample.try_into().map(f64::from_be_bytes).unwrap_or(0.0) as f32,
        Format::MuLaw => g711::mu_law_decode(sample[0]) as f32 / 32768.0,
        Format::ALaw => g711::a_law_decode(sample[0]) as f32 / 32768.0,
        _ => 0.0,
    };
    if value.is_finite() { value } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn half_scale_is_a_half_in_every_linear_format() {
        for format in Format::all() {
            if let Some(layout) = Linear::of(format) {
                let mut bytes = [0; 4];
                layout.encode(1 << 30, &mut bytes);
                let decoded: Vec<f32> = samples(format, &bytes[..layout.bytes()]).collect();
                assert_eq!(decoded, [0.5], "{format}");
            }
        }
        assert_eq!(samples(Format::F64Be, &0.5_f64.to_be_bytes()).collect::<Vec<_>>(), [0.5]);
        assert_eq!(samples(Format::F32Le, &f32::NAN.to_le_bytes()).collect::<Vec<_>>(), [0.0]);
    }

    proptest! {
        #[test]
        fn any_bytes_decode_without_panic(bytes: Vec<u8>) {
            for format in Format::all() {
                let count = samples(format, &bytes).filter(|sample| sample.is_finite()).count();
                let expected = if is_decodable(format) { bytes.len() / sample_bytes(format) } else { 0 };
                prop_assert_eq!(count, expected);
            }
        }
    }
}
