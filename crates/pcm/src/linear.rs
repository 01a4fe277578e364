//! Layout of integer samples in memory, and lossless conversion between layouts.
//!
//! A sample is always handled as an `i32` that is *left-justified*: full scale is `i32::MIN` to
//! `i32::MAX` whatever the width, so that two layouts differ only in how many low bits are zero.

use sndif::Format;

/// The layout of one integer sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Linear {
    /// Bytes that the sample takes, 1 to 4.
    bytes: u8,
    /// Significant bits, in the low end of those bytes.
    bits: u8,
    signed: bool,
    big_endian: bool,
}

impl Linear {
    /// 24 bits signed in three bytes, as WAV files have it; the protocol has no such format.
    pub const S24_PACKED_LE: Self = Self::new(3, 24, true, false);

    const fn new(bytes: u8, bits: u8, signed: bool, big_endian: bool) -> Self {
        Self { bytes, bits, signed, big_endian }
    }

    /// The layout of `format`, or `None` for one whose samples are not integers.
    #[must_use]
    pub const fn of(format: Format) -> Option<Self> {
        Some(match format {
            Format::S8 => Self::new(1, 8, true, false),
            Format::U8 => Self::new(1, 8, false, false),
            Format::S16Le => Self::new(2, 16, true, false),
            Format::S16Be => Self::new(2, 16, true, true),
            Format::U16Le => Self::new(2, 16, false, false),
            Format::U16Be => Self::new(2, 16, false, true),
            Format::S24Le => Self::new(4, 24, true, false),
            Format::S24Be => Self::new(4, 24, true, true),
            Format::U24Le => Self::new(4, 24, false, false),
            Format::U24Be => Self::new(4, 24, false, true),
            Format::S32Le => Self::new(4, 32, true, false),
            Format::S32Be => Self::new(4, 32, true, true),
            Format::U32Le => Self::new(4, 32, false, false),
            Format::U32Be => Self::new(4, 32, false, true),
            _ => return None,
        })
    }

    /// Bytes that one sample takes.
    #[must_use]
    pub const fn bytes(self) -> usize {
        self.bytes as usize
    }

    /// Significant bits of a sample.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.bits as u32
    }

    /// The sample at the start of `bytes`, left-justified.
    ///
    /// The container's top byte of a 24-bit sample is ignored; bytes that are missing count as 0.
    #[must_use]
    #[inline(always)]
    pub fn decode(self, bytes: &[u8]) -> i32 {
        let bytes = &bytes[..bytes.len().min(self.bytes())];
        let join = |raw: u32, &byte: &u8| raw << 8 | u32::from(byte);
        let raw = if self.big_endian { bytes.iter().fold(0, join) } else { bytes.iter().rev().fold(0, join) };
        let left = raw << (32 - self.bits());
        (if self.signed { left } else { left ^ SIGN }).cast_signed()
    }

    /// Writes the left-justified `sample` to the start of `bytes`; bits that do not fit are cut off.
    ///
    /// The container's top byte of a 24-bit sample becomes the sign (S24) or 0 (U24), as ALSA has it.
    #[inline(always)]
    pub fn encode(self, sample: i32, bytes: &mut [u8]) {
        let shift = 32 - self.bits();
        let raw =
            if self.signed { (sample >> shift).cast_unsigned() } else { (sample.cast_unsigned() ^ SIGN) >> shift };
        let put = |(place, byte): (&mut u8, u8)| *place = byte;
        if self.big_endian {
            let low = raw.to_be_bytes();
            bytes.iter_mut().zip(low.into_iter().skip(4 - self.bytes())).for_each(put);
        } else {
            let low = raw.to_le_bytes();
            bytes.iter_mut().zip(low.into_iter().take(self.bytes())).for_each(put);
        }
    }

    /// [`decode`](Self::decode) of a layout that the compiler knows: a loop of it becomes vector instructions.
    #[inline(always)]
    pub(crate) fn decode_as<const BYTES: usize, const BITS: u32, const SIGNED: bool, const BIG: bool>(
        sample: [u8; BYTES],
    ) -> i32 {
        let mut container = [0; 4];
        let raw = if BIG {
            container[4 - BYTES..].copy_from_slice(&sample);
            u32::from_be_bytes(container)
        } else {
            container[..BYTES].copy_from_slice(&sample);
            u32::from_le_bytes(container)
        };
        let left = raw << (32 - BITS);
        (if SIGNED { left } else { left ^ SIGN }).cast_signed()
    }

    /// [`encode`](Self::encode) to a layout that the compiler knows.
    #[inline(always)]
    pub(crate) fn encode_as<const BYTES: usize, const BITS: u32, const SIGNED: bool, const BIG: bool>(
        sample: i32,
    ) -> [u8; BYTES] {
        let shift = 32 - BITS;
        let raw = if SIGNED { (sample >> shift).cast_unsigned() } else { (sample.cast_unsigned() ^ SIGN) >> shift };
        let mut bytes = [0; BYTES];
        if BIG {
            bytes.copy_from_slice(&raw.to_be_bytes()[4 - BYTES..]);
        } else {
            bytes.copy_from_slice(&raw.to_le_bytes()[..BYTES]);
        }
        bytes
    }
}

const SIGN: u32 = 1 << 31;

/// Appends the samples of `input` (layout `from`) to `out` in layout `to`.
///
/// Lossless if `to` has as many bits as `from`; otherwise low bits are cut off. Bytes at the end
/// that fill no sample are dropped.
pub fn convert(from: Linear, input: &[u8], to: Linear, out: &mut Vec<u8>) {
    out.reserve(input.len() / from.bytes() * to.bytes());
    let mut bytes = [0; 4];
    for sample in input.chunks_exact(from.bytes()) {
        to.encode(from.decode(sample), &mut bytes);
        out.extend_from_slice(&bytes[..to.bytes()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const INTEGERS: usize = 14;

    fn layouts() -> impl Iterator<Item = Linear> {
        Format::all().filter_map(Linear::of).chain([Linear::S24_PACKED_LE])
    }

    #[test]
    fn layouts_are_as_wide_as_the_protocol_says() {
        assert_eq!(Format::all().filter_map(Linear::of).count(), INTEGERS);
        for format in Format::all() {
            if let Some(layout) = Linear::of(format) {
                assert_eq!(format.frame_bytes(1), Some(u32::from(layout.bytes)), "{format}");
            }
        }
    }

    #[test]
    fn bytes_stand_where_alsa_puts_them() {
        let cases: [(Format, i32, &[u8]); 8] = [
            (Format::S16Le, 0x1234_0000, &[0x34, 0x12]),
            (Format::S16Be, 0x1234_0000, &[0x12, 0x34]),
            (Format::U16Le, 0, &[0x00, 0x80]),
            (Format::S24Le, -256, &[0xff, 0xff, 0xff, 0xff]),
            (Format::S24Be, i32::MIN, &[0xff, 0x80, 0x00, 0x00]),
            (Format::U24Le, -256, &[0xff, 0xff, 0x7f, 0x00]),
            (Format::U24Be, 0x1234_5600, &[0x00, 0x92, 0x34, 0x56]),
            (Format::U32Be, i32::MIN, &[0, 0, 0, 0]),
        ];
        for (format, sample, bytes) in cases {
            let layout = Linear::of(format).unwrap();
            let mut written = [0xAA; 4];
            layout.encode(sample, &mut written);
            assert_eq!(&written[..layout.bytes()], bytes, "{format}");
            assert_eq!(layout.decode(bytes), sample, "{format}");
        }
    }

    #[test]
    fn rubbish_in_the_top_byte_of_a_24_bit_container_is_ignored() {
        let s24 = Linear::of(Format::S24Le).unwrap();
        assert_eq!(s24.decode(&[1, 0, 0, 0x77]), 256);
        let u24 = Linear::of(Format::U24Be).unwrap();
        assert_eq!(u24.decode(&[0x77, 0x80, 0, 1]), 256);
    }

    /// Checks both directions of a layout, for a sample.
    fn check<const BYTES: usize, const BITS: u32, const SIGNED: bool, const BIG: bool>(layout: Linear, sample: i32) {
        assert_eq!((layout.bytes(), layout.bits()), (BYTES, BITS));
        let mut bytes = [0; 4];
        layout.encode(sample, &mut bytes);
        assert_eq!(Linear::encode_as::<BYTES, BITS, SIGNED, BIG>(sample)[..], bytes[..BYTES]);
        let bytes = sample.to_ne_bytes();
        let bytes = bytes.first_chunk::<BYTES>().unwrap();
        assert_eq!(Linear::decode_as::<BYTES, BITS, SIGNED, BIG>(*bytes), layout.decode(bytes));
    }

    proptest! {
        #[test]
        fn a_layout_known_beforehand_is_the_same_layout(sample: i32) {
            for format in Format::all() {
                if let Some(layout) = Linear::of(format) {
                    with_layout!(format, check(layout, sample), unreachable!());
                }
            }
        }

        #[test]
        fn a_wider_or_equal_layout_loses_nothing(samples: Vec<i32>) {
            for from in layouts() {
                for to in layouts().filter(|&to| to.bits >= from.bits) {
                    let mut input = Vec::new();
                    for &sample in &samples {
                        let mut bytes = [0; 4];
                        from.encode(sample, &mut bytes);
                        input.extend_from_slice(&bytes[..from.bytes()]);
                    }
                    let (mut there, mut back) = (Vec::new(), Vec::new());
                    convert(from, &input, to, &mut there);
                    convert(to, &there, from, &mut back);
                    prop_assert_eq!(&back, &input);
                }
            }
        }

        #[test]
        fn any_bytes_convert_without_panic(input: Vec<u8>) {
            for from in layouts() {
                for to in layouts() {
                    let mut out = Vec::new();
                    convert(from, &input, to, &mut out);
                    prop_assert_eq!(out.len() / to.bytes(), input.len() / from.bytes());
                }
            }
        }
    }
}
