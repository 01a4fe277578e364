//! The bytes before a WAV file's samples.
//!
//! Sources: Microsoft's "Multiple channel audio data and WAVE files" (which form of `fmt ` is due), the
//! RIFF/WAVE specification of 1991 (chunks, padding, `fact`) and EBU Tech 3306 (RF64, for 4 GiB and more).

use super::encoding::{Encoding, TAG_PCM};
use crate::{Error, StreamSpec, speakers};

/// `wFormatTag` of a file whose tag is in the sub-format.
pub(super) const TAG_EXTENSIBLE: u16 = 0xfffe;
/// Bytes after the tag in the GUID of a sub-format.
pub(super) const SUB_FORMAT_TAIL: [u8; 14] = [0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71];

/// The encoding of frames of `spec` in a file; errors call the file `name`.
///
/// # Errors
/// A WAV file cannot hold the format, or there is no channel.
pub(super) fn writable(spec: &StreamSpec, name: &str) -> Result<Encoding, Error> {
    Encoding::of(spec.format)
        .filter(|_| spec.frame_bytes() > 0)
        .ok_or_else(|| Error::unsupported(name, spec, "a WAV file holds uncompressed samples of one channel or more"))
}

/// Bytes of a `ds64` chunk: its name, its size, sizes of 64 bits, and the length of a table that it does not have.
const DS64_BYTES: usize = 8 + 28;

/// The header of a file with `data_bytes` bytes of samples; its length does not depend on that number.
///
/// The file is plain RIFF, with room for a `ds64` chunk, until 32 bits are too few for its size, and RF64 from there
/// on.
pub(super) fn header(encoding: Encoding, rate_hz: u32, channels: u8, data_bytes: u64) -> Vec<u8> {
    let fmt = fmt(encoding, rate_hz, channels);
    let frames = data_bytes / (encoding.bytes() as u64 * u64::from(channels)).max(1);
    let header_bytes = assemble(b"RIFF", &[0; DS64_BYTES], encoding, &fmt, [0; 3]).len() as u64;
    let riff_bytes = header_bytes - 8 + data_bytes + data_bytes % 2;

    let mut ds64 = Vec::with_capacity(DS64_BYTES);
    let (riff, sizes) = if riff_bytes < u64::from(u32::MAX) {
        ds64.extend_from_slice(b"JUNK\x1c\0\0\0");
        (b"RIFF", [riff_bytes, frames, data_bytes].map(|size| size as u32))
    } else {
        ds64.extend_from_slice(b"ds64\x1c\0\0\0");
        ds64.extend([riff_bytes, data_bytes, frames].iter().flat_map(|size| size.to_le_bytes()));
        (b"RF64", [u32::MAX; 3])
    };
    ds64.resize(DS64_BYTES, 0);
    assemble(riff, &ds64, encoding, &fmt, sizes)
}

/// The header of samples that go on to the end, wherever that is.
pub(super) fn open_header(encoding: Encoding, rate_hz: u32, channels: u8) -> Vec<u8> {
    assemble(b"RIFF", &[], encoding, &fmt(encoding, rate_hz, channels), [u32::MAX; 3])
}

/// All chunks up to the samples; the sizes are RIFF's, `fact`'s and those of `data`.
fn assemble(riff: &[u8; 4], ds64: &[u8], encoding: Encoding, fmt: &[u8], sizes: [u32; 3]) -> Vec<u8> {
    let [riff_bytes, frames, data_bytes] = sizes;
    let mut out = Vec::with_capacity(128);
    out.extend_from_slice(riff);
    put32(&mut out, riff_bytes);
    out.extend_from_slice(b"WAVE");
    out.extend_from_slice(ds64);
    out.extend_from_slice(b"fmt ");
    put32(&mut out, fmt.len() as u32);
    out.extend_from_slice(fmt);
    if encoding.tag != TAG_PCM {
        out.extend_from_slice(b"fact");
        put32(&mut out, 4);
        put32(&mut out, frames);
    }
    out.extend_from_slice(b"data");
    put32(&mut out, data_bytes);
    out
}

/// Content of the `fmt ` chunk.
fn fmt(encoding: Encoding, rate_hz: u32, channels: u8) -> Vec<u8> {
    let frame_bytes = encoding.bytes() as u32 * u32::from(channels);
    let plain_pcm = encoding.tag == TAG_PCM;
    let extensible = channels > 2 || (plain_pcm && encoding.bits > 16);

    let mut out = Vec::with_capacity(40);
    put16(&mut out, if extensible { TAG_EXTENSIBLE } else { encoding.tag });
    put16(&mut out, u16::from(channels));
    put32(&mut out, rate_hz);
    put32(&mut out, rate_hz.saturating_mul(frame_bytes));
    put16(&mut out, frame_bytes as u16);
    put16(&mut out, encoding.bits);
    if extensible {
        put16(&mut out, 22);
        put16(&mut out, encoding.bits);
        put32(&mut out, speakers::mask(channels));
        put16(&mut out, encoding.tag);
        out.extend_from_slice(&SUB_FORMAT_TAIL);
    } else if !plain_pcm {
        put16(&mut out, 0);
    }
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
    fn sixteen_bit_stereo_is_plain_pcm_behind_the_room_for_larger_sizes() {
        let bytes = header(Encoding::of(Format::S16Le).unwrap(), 48_000, 2, 8);
        assert_eq!(bytes.len(), 80);
        assert_eq!(&bytes[..4], b"RIFF");
        assert_eq!(bytes[4..8], 80_u32.to_le_bytes());
        assert_eq!(bytes[12..48], [b"JUNK\x1c\0\0\0".as_slice(), &[0; 28]].concat());
        assert_eq!(bytes[52..60], [16, 0, 0, 0, 1, 0, 2, 0]);
        assert_eq!(bytes[64..72], [0x00, 0xee, 0x02, 0x00, 4, 0, 16, 0]);
        assert_eq!(bytes[76..80], [8, 0, 0, 0]);
        let open = open_header(Encoding::of(Format::S16Le).unwrap(), 48_000, 2);
        assert_eq!((open.len(), &open[12..40], &open[40..44]), (44, &bytes[48..76], &[0xff; 4][..]));
    }

    #[test]
    fn an_odd_number_of_bytes_counts_its_padding_in_riff_but_not_in_data() {
        let bytes = header(Encoding::of(Format::U8).unwrap(), 8_000, 1, 3);
        assert_eq!(bytes[4..8], (72 + 4_u32).to_le_bytes());
        assert_eq!(bytes[76..80], [3, 0, 0, 0]);
    }

    #[test]
    fn sizes_that_need_more_than_32_bits_stand_in_ds64() {
        let encoding = Encoding::of(Format::MuLaw).unwrap();
        let most = u64::from(u32::MAX) - 1 - (header(encoding, 8_000, 1, 0).len() as u64 - 8);
        let plain = header(encoding, 8_000, 1, most);
        assert_eq!((&plain[..4], &plain[12..16]), (b"RIFF".as_slice(), b"JUNK".as_slice()));
        assert_eq!(plain[4..8], (u32::MAX - 1).to_le_bytes());
        let long = header(encoding, 8_000, 1, most + 1);
        assert_eq!((&long[..8], &long[12..20]), (b"RF64\xff\xff\xff\xff".as_slice(), b"ds64\x1c\0\0\0".as_slice()));
        let sizes = [u64::from(u32::MAX) + 1, most + 1, most + 1];
        assert_eq!(long[20..44], sizes.map(u64::to_le_bytes).concat());
        assert_eq!(long[44..48], [0; 4]);
        assert_eq!(
            (&long[74..86], &long[86..]),
            (b"fact\x04\0\0\0\xff\xff\xff\xff".as_slice(), b"data\xff\xff\xff\xff".as_slice())
        );
        assert_eq!(long.len(), plain.len());
    }

    #[test]
    fn wide_samples_many_channels_and_floats_have_the_forms_that_are_due() {
        let tag = |format, channels| {
            let bytes = header(Encoding::of(format).unwrap(), 48_000, channels, 0);
            let fact = bytes.windows(4).any(|window| window == b"fact");
            (u16::from_le_bytes([bytes[56], bytes[57]]), bytes[52], fact)
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
