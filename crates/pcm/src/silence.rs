//! Filling a buffer with a format's silence, as ALSA defines it.

use sndif::Format;

/// The bytes of one sample of silence, repeated to fill eight bytes.
///
/// For signed and float formats that is 0, for unsigned ones half scale. mu-law is 0xFF (+0; ALSA's
/// own choice is 0x7F, the code for −0, which sounds the same), A-law 0x55, its smallest value. IEC 958
/// subframes and compressed streams have no silence of their own: 0, as ALSA fills them.
#[must_use]
pub const fn silence_pattern(format: Format) -> [u8; 8] {
    match format {
        Format::U8 => [0x80; 8],
        Format::U16Le => [0, 0x80, 0, 0x80, 0, 0x80, 0, 0x80],
        Format::U16Be => [0x80, 0, 0x80, 0, 0x80, 0, 0x80, 0],
        Format::U24Le => [0, 0, 0x80, 0, 0, 0, 0x80, 0],
        Format::U24Be => [0, 0x80, 0, 0, 0, 0x80, 0, 0],
        Format::U32Le => [0, 0, 0, 0x80, 0, 0, 0, 0x80],
        Format::U32Be => [0x80, 0, 0, 0, 0x80, 0, 0, 0],
        Format::MuLaw => [0xff; 8],
        Format::ALaw => [0x55; 8],
        _ => [0; 8],
    }
}

/// Fills `frames` with silence; they must start at a sample's start, and may end anywhere.
pub fn fill_silence(format: Format, frames: &mut [u8]) {
    let pattern = silence_pattern(format);
    if pattern == [pattern[0]; 8] {
        frames.fill(pattern[0]);
        return;
    }
    let (whole, rest) = frames.as_chunks_mut();
    whole.fill(pattern);
    rest.copy_from_slice(&pattern[..rest.len()]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;
    use proptest::prelude::*;

    #[test]
    fn silence_of_each_format_decodes_to_zero() {
        for format in Format::all() {
            let mut buffer = [0xAA; 48];
            fill_silence(format, &mut buffer);
            // A-law has no zero: its smallest step is 8 of 32768.
            let most = if format == Format::ALaw { 8.0 / 32768.0 } else { 0.0 };
            assert!(samples(format, &buffer).all(|sample| sample.abs() <= most), "{format}");
        }
    }

    #[test]
    fn the_bytes_of_unsigned_and_companded_silence() {
        let mut buffer = [0; 4];
        for (format, bytes) in [
            (Format::U8, [0x80, 0x80, 0x80, 0x80]),
            (Format::U16Le, [0, 0x80, 0, 0x80]),
            (Format::U24Le, [0, 0, 0x80, 0]),
            (Format::U24Be, [0, 0x80, 0, 0]),
            (Format::U32Be, [0x80, 0, 0, 0]),
            (Format::MuLaw, [0xff; 4]),
            (Format::ALaw, [0x55; 4]),
            (Format::Iec958SubframeLe, [0; 4]),
        ] {
            fill_silence(format, &mut buffer);
            assert_eq!(buffer, bytes, "{format}");
        }
    }

    proptest! {
        #[test]
        fn filling_in_pieces_is_filling_at_once(samples in 0..40_usize, cut in 0..40_usize) {
            for format in Format::all() {
                let width = format.frame_bytes(2).map_or(1, |two| (two as usize / 2).max(1));
                let mut whole = vec![0xAA; samples * width];
                let mut pieces = whole.clone();
                fill_silence(format, &mut whole);
                let (left, right) = pieces.split_at_mut(cut.min(samples) * width);
                fill_silence(format, left);
                fill_silence(format, right);
                prop_assert_eq!(whole, pieces);
            }
        }
    }
}
