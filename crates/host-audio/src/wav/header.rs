//! The octets before a WAV file's samples.
//!
//! Sources: Microsoft's "Multiple channel audio data and WAVE files" (which form of `fmt ` is due) and
//! the RIFF/WAVE specification of 1991 (chunks, padding, `fact`).

use super::encoding::{Encoding, TAG_PCM};
use crate::{Error, StreamSpec, speakers};

/// `wFormatTag` that says: look at the sub-format.
pub(super) const TAG_EXTENSIBLE: u16 = 0xfffe;
/// What follows the tag in the GUID of a sub-format.
pub(super) const SUB_FORMAT_TAIL: [u8; 14] = [0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71];

/// How a file holds frames of `spec`; `name` is what the error calls it.
///
/// # Errors
/// A WAV file cannot hold the format, or there is no channel.
pub(super) fn writable(spec: &StreamSpec, name: &str) -> Result<Encoding, Error> {
    Encoding::of(spec.format)
        .filter(|_| spec.frame_bytes() > 0)
        .ok_or_else(|| Error::unsupported(name, spec, "a WAV file holds uncompressed samples of one channel or more"))
}

/// The header of a file with `data_bytes` octets of samples; its length does not depend on that number.
pub(super) fn header(encoding: Encoding, rate_hz: u32, channels: u8, data_bytes: u32) -> Vec<u8> {
    let frame_bytes = encoding.bytes() as u32 * u32::from(channels);
    let plain_pcm = encoding.tag == TAG_PCM;
    let extensible = channels > 2 || (plain_pcm && encoding.bits > 16);

    let mut fmt = Vec::with_capacity(40);
    put16(&mut fmt, if extensible { TAG_EXTENSIBLE } else { encoding.tag });
    put16(&mut fmt, u16::from(channels));
    put32(&mut fmt, rate_hz);
    put32(&mut fmt, rate_hz.saturating_mul(frame_bytes));
    put16(&mut fmt, frame_bytes as u16);
    put16(&mut fmt, encoding.bits);
    if extensible {
        put16(&mut fmt, 22);
        put16(&mut fmt, encoding.bits);
        put32(&mut fmt, speakers::mask(channels));
        put16(&mut fmt, encoding.tag);
        fmt.extend_from_slice(&SUB_FORMAT_TAIL);
    } else if !plain_pcm {
        put16(&mut fmt, 0);
    }

    let mut out = Vec::with_capacity(80);
    out.extend_from_slice(b"RIFF\0\0\0\0WAVEfmt ");
    put32(&mut out, fmt.len() as u32);
    out.extend_from_slice(&fmt);
    if !plain_pcm {
        out.extend_from_slice(b"fact");
        put32(&mut out, 4);
        put32(&mut out, data_bytes / frame_bytes.max(1));
    }
    out.extend_from_slice(b"data");
    put32(&mut out, data_bytes);
    let riff_bytes = (out.len() as u32 - 8).saturating_add(data_bytes).saturating_add(data_bytes % 2);
    out[4..8].copy_from_slice(&riff_bytes.to_le_bytes());
    out
}

fn put16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use sndif::Format;

    #[test]
    fn sixteen_bit_stereo_is_the_plain_44_octet_header() {
        let octets = header(Encoding::of(Format::S16Le).unwrap(), 48_000, 2, 8);
        assert_eq!(octets.len(), 44);
        assert_eq!(&octets[..4], b"RIFF");
        assert_eq!(octets[4..8], 44_u32.to_le_bytes());
        assert_eq!(octets[16..24], [16, 0, 0, 0, 1, 0, 2, 0]);
        assert_eq!(octets[28..36], [0x00, 0xee, 0x02, 0x00, 4, 0, 16, 0]);
        assert_eq!(octets[40..44], [8, 0, 0, 0]);
    }

    #[test]
    fn an_odd_number_of_octets_counts_its_padding_in_riff_but_not_in_data() {
        let octets = header(Encoding::of(Format::U8).unwrap(), 8_000, 1, 3);
        assert_eq!(octets[4..8], (36 + 4_u32).to_le_bytes());
        assert_eq!(octets[40..44], [3, 0, 0, 0]);
    }

    #[test]
    fn wide_samples_many_channels_and_floats_have_the_forms_that_are_due() {
        let tag = |format, channels| {
            let octets = header(Encoding::of(format).unwrap(), 48_000, channels, 0);
            let fact = octets.windows(4).any(|window| window == b"fact");
            (u16::from_le_bytes([octets[20], octets[21]]), octets[16], fact)
        };
        assert_eq!(tag(Format::S16Le, 2), (1, 16, false));
        assert_eq!(tag(Format::S16Le, 6), (TAG_EXTENSIBLE, 40, false));
        assert_eq!(tag(Format::S24Le, 1), (TAG_EXTENSIBLE, 40, false));
        assert_eq!(tag(Format::F32Le, 2), (3, 18, true));
        assert_eq!(tag(Format::F32Le, 3), (TAG_EXTENSIBLE, 40, true));
        assert_eq!(tag(Format::MuLaw, 1), (7, 18, true));
        assert_eq!(tag(Format::ALaw, 1), (6, 18, true));
    }
}
