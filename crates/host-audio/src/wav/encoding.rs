//! Layout of samples in a WAV file, and conversion from and to the protocol's formats.

use pcm::{Linear, linear};
use sndif::Format;

/// `wFormatTag` values of mmreg.h.
pub(super) const TAG_PCM: u16 = 1;
pub(super) const TAG_FLOAT: u16 = 3;
pub(super) const TAG_A_LAW: u16 = 6;
pub(super) const TAG_MU_LAW: u16 = 7;

/// Encoding of the samples of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Encoding {
    /// Format tag, or the one in the sub-format of WAVE_FORMAT_EXTENSIBLE.
    pub tag: u16,
    /// Bits of a sample in the file: a multiple of 8.
    pub bits: u16,
    /// True if 24 bits lie in the lower three of four bytes, as `arecord -f S24_LE` has them.
    pub wide: bool,
}

impl Encoding {
    /// The encoding of samples of `format` in a file; `None` for compressed streams.
    pub fn of(format: Format) -> Option<Self> {
        let (tag, bits) = match format {
            Format::F32Le | Format::F32Be => (TAG_FLOAT, 32),
            Format::F64Le | Format::F64Be => (TAG_FLOAT, 64),
            Format::MuLaw => (TAG_MU_LAW, 8),
            Format::ALaw => (TAG_A_LAW, 8),
            Format::Iec958SubframeLe | Format::Iec958SubframeBe => (TAG_PCM, 32),
            Format::ImaAdpcm | Format::Mpeg | Format::Gsm => return None,
            _ => (TAG_PCM, Linear::of(format)?.bits() as u16),
        };
        Some(Self { tag, bits, wide: false })
    }

    /// Bytes of a sample in the file.
    pub fn bytes(self) -> usize {
        usize::from(self.bits / 8) + usize::from(self.wide)
    }

    /// The formats in which a file's samples can be given without loss, at the same width.
    ///
    /// IEC 958 subframes are excluded: a file does not say that it holds them.
    pub fn readable_as(self) -> impl Iterator<Item = Format> {
        Format::all().filter(move |&format| {
            !matches!(format, Format::Iec958SubframeLe | Format::Iec958SubframeBe)
                && Self::of(format) == Some(Self { wide: false, ..self })
        })
    }

    /// The format that [`super::read_file`] returns: little-endian, and signed except for 8 bits.
    pub fn natural(self) -> Option<Format> {
        self.readable_as().find(|&format| format != Format::S8)
    }

    /// The integer layout in the file; `None` when the samples are not integers.
    fn layout(self) -> Option<Linear> {
        match (self.tag, self.bits) {
            (TAG_PCM, 8) => Linear::of(Format::U8),
            (TAG_PCM, 16) => Linear::of(Format::S16Le),
            (TAG_PCM, 24) if self.wide => Linear::of(Format::S24Le),
            (TAG_PCM, 24) => Some(Linear::S24_PACKED_LE),
            (TAG_PCM, 32) => Linear::of(Format::S32Le),
            _ => None,
        }
    }

    /// Appends `frames` of `format` to `out` in the file's encoding.
    pub fn encode(self, format: Format, frames: &[u8], out: &mut Vec<u8>) {
        match (Linear::of(format), self.layout()) {
            (Some(from), Some(to)) => linear::convert(from, frames, to, out),
            _ => self.copy(format, frames, out),
        }
    }

    /// Appends `data` of a file to `out` as samples of `format`, which is one of [`Self::readable_as`].
    pub fn decode(self, data: &[u8], format: Format, out: &mut Vec<u8>) {
        match (self.layout(), Linear::of(format)) {
            (Some(from), Some(to)) => linear::convert(from, data, to, out),
            _ => self.copy(format, data, out),
        }
    }

    /// Copies samples that differ from the file's at most in byte order.
    fn copy(self, format: Format, samples: &[u8], out: &mut Vec<u8>) {
        if matches!(format, Format::F32Be | Format::F64Be | Format::Iec958SubframeBe) {
            for sample in samples.chunks_exact(self.bytes()) {
                out.extend(sample.iter().rev());
            }
        } else {
            out.extend_from_slice(samples);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn files_are_given_in_their_natural_format() {
        for (format, natural) in [
            (Format::S8, Format::U8),
            (Format::U16Be, Format::S16Le),
            (Format::U24Le, Format::S24Le),
            (Format::S32Be, Format::S32Le),
            (Format::F32Be, Format::F32Le),
            (Format::F64Le, Format::F64Le),
            (Format::MuLaw, Format::MuLaw),
            (Format::ALaw, Format::ALaw),
        ] {
            assert_eq!(Encoding::of(format).unwrap().natural(), Some(natural), "{format}");
        }
        assert_eq!(Encoding::of(Format::Mpeg), None);
    }

    proptest! {
        #[test]
        fn what_a_file_holds_comes_back_in_every_format_it_can_be_read_as(data: Vec<u8>) {
            for format in Format::all() {
                let Some(encoding) = Encoding::of(format) else { continue };
                let data = &data[..data.len() / encoding.bytes() * encoding.bytes()];
                for other in encoding.readable_as() {
                    let (mut there, mut back) = (Vec::new(), Vec::new());
                    encoding.decode(data, other, &mut there);
                    encoding.encode(other, &there, &mut back);
                    prop_assert_eq!(&back[..], data);
                }
            }
        }
    }
}
