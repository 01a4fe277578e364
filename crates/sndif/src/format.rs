//! The 25 sample formats: wire code, XenStore name, size of a sample.
//!
//! Source: sndif.h, "PCM FORMATS". Widths are those of ALSA, which the codes mirror: 24-bit samples lie in the low
//! three bytes of a 4-byte container.

use core::fmt;

use crate::text::{Say, Sink};

/// A sample format of the protocol; the discriminant is its code on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[expect(missing_docs, reason = "the variants are the header's own names")]
pub enum Format {
    S8 = 0,
    U8 = 1,
    S16Le = 2,
    S16Be = 3,
    U16Le = 4,
    U16Be = 5,
    S24Le = 6,
    S24Be = 7,
    U24Le = 8,
    U24Be = 9,
    S32Le = 10,
    S32Be = 11,
    U32Le = 12,
    U32Be = 13,
    F32Le = 14,
    F32Be = 15,
    F64Le = 16,
    F64Be = 17,
    Iec958SubframeLe = 18,
    Iec958SubframeBe = 19,
    MuLaw = 20,
    ALaw = 21,
    ImaAdpcm = 22,
    Mpeg = 23,
    Gsm = 24,
}

/// Size of a sample of a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormatWidth {
    /// Number of bytes per sample.
    Bytes(u8),
    /// Half a byte per sample (IMA ADPCM).
    Nibble,
    /// A byte stream without a fixed sample size (MPEG, GSM); counted as one byte a "sample".
    Stream,
}

/// A format code or name that the protocol does not define.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownFormat;

impl fmt::Display for UnknownFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a sample format of sndif, such as s16_le or float_le")
    }
}

impl core::error::Error for UnknownFormat {}

/// Format, name in XenStore, and second spelling for xl.cfg(5).
const NAMES: [(Format, &str, Option<&str>); 25] = [
    (Format::S8, "s8", None),
    (Format::U8, "u8", None),
    (Format::S16Le, "s16_le", None),
    (Format::S16Be, "s16_be", None),
    (Format::U16Le, "u16_le", None),
    (Format::U16Be, "u16_be", None),
    (Format::S24Le, "s24_le", None),
    (Format::S24Be, "s24_be", None),
    (Format::U24Le, "u24_le", None),
    (Format::U24Be, "u24_be", None),
    (Format::S32Le, "s32_le", None),
    (Format::S32Be, "s32_be", None),
    (Format::U32Le, "u32_le", None),
    (Format::U32Be, "u32_be", None),
    (Format::F32Le, "float_le", Some("f32_le")),
    (Format::F32Be, "float_be", Some("f32_be")),
    (Format::F64Le, "float64_le", Some("f64_le")),
    (Format::F64Be, "float64_be", Some("f64_be")),
    (Format::Iec958SubframeLe, "iec958_subframe_le", None),
    (Format::Iec958SubframeBe, "iec958_subframe_be", None),
    (Format::MuLaw, "mu_law", None),
    (Format::ALaw, "a_law", None),
    (Format::ImaAdpcm, "ima_adpcm", None),
    (Format::Mpeg, "mpeg", None),
    (Format::Gsm, "gsm", None),
];

impl Format {
    /// Iterates over every format, in the order of their codes.
    pub fn all() -> impl Iterator<Item = Format> + Clone {
        NAMES.iter().map(|&(format, _, _)| format)
    }

    /// Returns the code on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Returns the format with this wire code.
    ///
    /// # Errors
    /// [`UnknownFormat`] for a code above 24; an unsupported ALSA format arrives from Linux as 0xEA.
    pub fn from_code(code: u8) -> Result<Self, UnknownFormat> {
        NAMES.get(usize::from(code)).map(|&(format, _, _)| format).ok_or(UnknownFormat)
    }

    /// Returns the name in sndif.h (`float_le`, not `f32_le`).
    #[must_use]
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|entry| entry.0 == self).map_or("", |entry| entry.1)
    }

    /// Returns the name that xl.cfg(5) accepts: xl knows the float formats only as `f32_le` and the like.
    #[must_use]
    pub fn xl_name(self) -> &'static str {
        NAMES.iter().find(|entry| entry.0 == self).map_or("", |entry| entry.2.unwrap_or(entry.1))
    }

    /// Returns the format with this name, in either spelling.
    ///
    /// # Errors
    /// [`UnknownFormat`] when no format has the name.
    pub fn from_name(name: &str) -> Result<Self, UnknownFormat> {
        NAMES.iter().find(|entry| entry.1 == name || entry.2 == Some(name)).map(|entry| entry.0).ok_or(UnknownFormat)
    }

    /// Returns the size of one sample.
    #[must_use]
    pub const fn width(self) -> FormatWidth {
        use Format as F;
        match self {
            F::S8 | F::U8 | F::MuLaw | F::ALaw => FormatWidth::Bytes(1),
            F::S16Le | F::S16Be | F::U16Le | F::U16Be => FormatWidth::Bytes(2),
            F::S24Le | F::S24Be | F::U24Le | F::U24Be | F::S32Le | F::S32Be | F::U32Le | F::U32Be => {
                FormatWidth::Bytes(4)
            }
            F::F32Le | F::F32Be | F::Iec958SubframeLe | F::Iec958SubframeBe => FormatWidth::Bytes(4),
            F::F64Le | F::F64Be => FormatWidth::Bytes(8),
            F::ImaAdpcm => FormatWidth::Nibble,
            F::Mpeg | F::Gsm => FormatWidth::Stream,
        }
    }

    /// Returns the bytes of one frame (one sample per channel), or `None` when that is not a whole number: IMA ADPCM
    /// with an odd channel count.
    #[must_use]
    pub const fn frame_bytes(self, channels: u8) -> Option<u32> {
        let channels = channels as u32;
        match self.width() {
            FormatWidth::Bytes(bytes) => channels.checked_mul(bytes as u32),
            FormatWidth::Stream => Some(channels),
            FormatWidth::Nibble if channels.is_multiple_of(2) => Some(channels / 2),
            FormatWidth::Nibble => None,
        }
    }
}

impl core::str::FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        Self::from_name(name)
    }
}

impl Say for Format {
    fn say(&self, out: &mut dyn Sink) {
        out.text(self.name());
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of formats, as encoded in HW_PARAM_QUERY: bit `1 << code`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FormatSet(u64);

impl FormatSet {
    /// No format.
    pub const EMPTY: Self = Self(0);
    /// All 25 formats.
    pub const ALL: Self = Self((1 << NAMES.len()) - 1);

    /// Makes the set with these bits; bits that name no format are dropped.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits & Self::ALL.0)
    }

    /// Returns the bits for the wire.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Returns true if `format` is in the set.
    #[must_use]
    pub const fn contains(self, format: Format) -> bool {
        self.0 & (1 << format.code()) != 0
    }

    /// Returns the set with `format` added.
    #[must_use]
    pub const fn with(self, format: Format) -> Self {
        Self(self.0 | 1 << format.code())
    }

    /// Returns the formats that are in both sets.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Returns true if no format is in the set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Iterates over the formats of the set, in the order of their codes.
    pub fn iter(self) -> impl Iterator<Item = Format> {
        Format::all().filter(move |&format| self.contains(format))
    }
}

impl FromIterator<Format> for FormatSet {
    fn from_iter<I: IntoIterator<Item = Format>>(formats: I) -> Self {
        formats.into_iter().fold(Self::EMPTY, Self::with)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_and_both_names_lead_back_to_the_format() {
        for (code, &(format, name, second)) in NAMES.iter().enumerate() {
            assert_eq!(usize::from(format.code()), code);
            assert_eq!(Format::from_code(format.code()), Ok(format));
            assert_eq!(Format::from_name(name), Ok(format));
            assert_eq!(Format::from_name(format.xl_name()), Ok(format));
            assert_eq!(second.is_some(), format.xl_name() != name);
        }
    }

    #[test]
    fn the_code_that_linux_sends_for_an_unsupported_format_is_refused() {
        assert_eq!(Format::from_code(0xEA), Err(UnknownFormat));
        assert_eq!(Format::from_code(25), Err(UnknownFormat));
    }

    #[test]
    fn frame_sizes() {
        assert_eq!(Format::S16Le.frame_bytes(2), Some(4));
        assert_eq!(Format::S24Be.frame_bytes(6), Some(24));
        assert_eq!(Format::F64Le.frame_bytes(255), Some(2040));
        assert_eq!(Format::ImaAdpcm.frame_bytes(1), None);
        assert_eq!(Format::ImaAdpcm.frame_bytes(2), Some(1));
        assert_eq!(Format::Gsm.frame_bytes(1), Some(1));
    }

    #[test]
    fn sets_drop_bits_that_name_no_format() {
        let set = FormatSet::from_bits(u64::MAX);
        assert_eq!(set, FormatSet::ALL);
        assert_eq!(set.iter().count(), 25);
        let two: FormatSet = [Format::S8, Format::Gsm].into_iter().collect();
        assert_eq!(two.bits(), 1 | 1 << 24);
    }
}
