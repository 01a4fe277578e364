//! Reading WAV files frame by frame, from anything that can be read: a file, or a pipe that is still being written.
//!
//! Other programs leave sizes open, promise more than there is, and pack samples in their own ways; `symphonia` and
//! `hound` misread such files.

use super::encoding::{Encoding, TAG_A_LAW, TAG_FLOAT, TAG_MU_LAW, TAG_PCM};
use super::header::{SUB_FORMAT_TAIL, TAG_EXTENSIBLE};
use crate::Error;
use crate::speakers::Order;
use sndif::Format;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::Path;

/// A WAV file's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WavAudio {
    /// Format of the samples: little-endian; packed 24-bit samples become `S24Le`, four bytes each.
    pub format: Format,
    /// Frames per second.
    pub rate_hz: u32,
    /// Samples per frame.
    pub channels: u8,
    /// Whole interleaved frames, the channels in the order of the wire (ALSA's).
    pub data: Vec<u8>,
}

/// An error that says what is wrong with the file.
fn refused<T>(reason: impl Into<String>) -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::InvalidData, reason.into()))
}

/// Reads the whole file.
///
/// # Errors
/// The file cannot be read, is not a WAV file, ends within its header, or holds samples that no format of the protocol
/// can carry.
pub fn read_file(path: &Path) -> Result<WavAudio, Error> {
    let mut reader = Reader::open(path)?;
    let mut data = Vec::new();
    reader.read(usize::MAX, &mut data).map_err(|reason| Error::file("read", path, reason))?;
    Ok(WavAudio { format: reader.format, rate_hz: reader.rate_hz, channels: reader.channels, data })
}

/// A WAV file's frames, one after the other; the channels come in the order of the wire (ALSA's).
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    pub(super) encoding: Encoding,
    /// Format of the frames that are returned: little-endian, `S24Le` for packed 24 bits, until another of the same
    /// width is set.
    pub format: Format,
    /// Frames per second.
    pub rate_hz: u32,
    /// Samples per frame.
    pub channels: u8,
    /// Order of the file's channels.
    order: Order,
    /// Bytes of samples that the header promises and that were not read yet: after the end, those that are missing.
    /// `None`: all bytes up to the end.
    pub bytes_left: Option<u64>,
    /// Samples in the file's encoding.
    samples: Vec<u8>,
}

impl Reader<BufReader<File>> {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// Same as [`read_file`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        let failed = |reason| Error::file("read", path, reason);
        // Opening a FIFO would wait for its writer.
        if !fs::metadata(path).map_err(failed)?.is_file() {
            return Err(Error::content(path, "not a regular file"));
        }
        Self::new(BufReader::new(File::open(path).map_err(failed)?), path)
    }
}

impl<R: Read> Reader<R> {
    /// Reads the header from `input`; `path` is named in errors.
    ///
    /// # Errors
    /// Same as [`read_file`].
    pub fn new(input: R, path: &Path) -> Result<Self, Error> {
        Self::parse(input).map_err(|reason| match reason.kind() {
            io::ErrorKind::InvalidData => Error::content(path, reason),
            io::ErrorKind::UnexpectedEof => Error::content(path, "truncated: it ends within its header"),
            _ => Error::file("read", path, reason),
        })
    }

    /// Frames that the header promises and that were not read yet; `None` where the header leaves that open.
    pub fn frames_left(&self) -> Option<u64> {
        self.bytes_left.map(|bytes| bytes / self.frame_bytes())
    }

    /// Bytes of a frame in the file.
    fn frame_bytes(&self) -> u64 {
        (self.encoding.bytes() * usize::from(self.channels)) as u64
    }

    /// Appends whole frames to `frames`, at most `most`; fewer only at the end.
    ///
    /// # Errors
    /// Errors of the input.
    pub fn read(&mut self, most: usize, frames: &mut Vec<u8>) -> io::Result<()> {
        let frame_bytes = self.frame_bytes();
        let wanted = (most as u64).saturating_mul(frame_bytes).min(self.bytes_left.unwrap_or(u64::MAX));
        self.samples.clear();
        let read = self.input.by_ref().take(wanted).read_to_end(&mut self.samples)? as u64;
        if let Some(promised) = &mut self.bytes_left {
            *promised -= read;
        }
        self.samples.truncate((read / frame_bytes * frame_bytes) as usize);
        let first = frames.len();
        self.encoding.decode(&self.samples, self.format, frames);
        self.order.order_in(&mut frames[first..], pcm::sample_bytes(self.format));
        Ok(())
    }

    fn parse(mut input: R) -> io::Result<Self> {
        let riff: [u8; 12] = take(&mut input)?;
        match (&riff[..4], &riff[8..]) {
            (b"RIFF" | b"RF64" | b"BW64", b"WAVE") => {}
            _ => return refused("not a WAV file: it does not begin with RIFF and WAVE"),
        }
        let mut description = None;
        // Sizes of 64 bits, where the others have no room for them (EBU Tech 3306).
        let mut long_data_bytes = None;
        loop {
            let chunk: [u8; 8] = match take(&mut input) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return refused("truncated: it has no samples (no `data` chunk)");
                }
                chunk => chunk?,
            };
            let bytes = u64::from(le32(&chunk[4..]));
            match &chunk[..4] {
                b"fmt " => description = Some(parse_fmt(&mut input, bytes)?),
                b"ds64" if bytes >= 16 => {
                    let sizes: [u8; 16] = take(&mut input)?;
                    long_data_bytes = Some(u64::from(le32(&sizes[8..])) | u64::from(le32(&sizes[12..])) << 32);
                    io::copy(&mut input.by_ref().take(bytes - 16 + bytes % 2), &mut io::sink())?;
                }
                b"data" => {
                    let Some((encoding, rate_hz, channels, mask)) = description else {
                        return refused("its samples come before their description (`data` before `fmt `)");
                    };
                    let Some(format) = encoding.natural() else { return refused(unsupported(encoding)) };
                    let bytes_left = match (bytes, long_data_bytes) {
                        (0xffff_ffff, Some(long)) => Some(long),
                        // Written to a pipe, or by a program that was killed. The second is `arecord`'s.
                        (0 | 0x7fff_ffff | 0xffff_ffff, _) => None,
                        (bytes, _) => Some(bytes),
                    };
                    let (order, samples) = (Order::of(channels, mask), Vec::new());
                    let sound = Self { input, encoding, format, rate_hz, channels, order, bytes_left, samples };
                    return Ok(sound);
                }
                _ => drop(io::copy(&mut input.by_ref().take(bytes + bytes % 2), &mut io::sink())?),
            }
        }
    }
}

/// Encoding of the samples, their rate, the number of channels and their mask.
fn parse_fmt(input: &mut impl Read, bytes: u64) -> io::Result<(Encoding, u32, u8, u32)> {
    if bytes < 16 {
        return refused("its `fmt ` chunk is too short");
    }
    let mut fmt = [0; 40];
    let known = bytes.min(40);
    input.read_exact(&mut fmt[..known as usize])?;
    io::copy(&mut input.take(bytes - known + bytes % 2), &mut io::sink())?;

    let word = |at: usize| u16::from_le_bytes([fmt[at], fmt[at + 1]]);
    let (mut tag, mut mask) = (word(0), 0);
    if tag == TAG_EXTENSIBLE {
        if known < 40 || fmt[26..] != SUB_FORMAT_TAIL {
            return refused("its samples are of an extended kind that is not known here");
        }
        (tag, mask) = (word(24), le32(&fmt[20..]));
    }
    let (channels, rate_hz, frame_bytes, bits) = (word(2), le32(&fmt[4..]), word(12), word(14));
    let Some(channels) = u8::try_from(channels).ok().filter(|&channels| channels > 0) else {
        return refused(format!("it has {channels} channels; 1 to 255 are possible"));
    };
    if rate_hz == 0 {
        return refused("its rate is 0 Hz");
    }
    // Fewer bits than the container has stand at its upper end: the container is what counts. An alignment that fits
    // neither is ignored: nothing else reads it.
    let wide = (tag, bits.div_ceil(8)) == (TAG_PCM, 3) && frame_bytes == u16::from(channels) * 4;
    let encoding = Encoding { tag, bits: bits.div_ceil(8).saturating_mul(8), wide };
    match (tag, encoding.bits) {
        (TAG_PCM, 8 | 16 | 24 | 32) | (TAG_FLOAT, 32 | 64) | (TAG_A_LAW | TAG_MU_LAW, 8) => {
            Ok((encoding, rate_hz, channels, mask))
        }
        _ => refused(unsupported(Encoding { bits, ..encoding })),
    }
}

fn unsupported(Encoding { tag, bits, .. }: Encoding) -> String {
    let name = match tag {
        0x02 => "Microsoft ADPCM, ",
        0x11 => "IMA ADPCM, ",
        0x31 => "GSM 6.10, ",
        0x50 => "MPEG, ",
        0x55 => "MP3, ",
        _ => "",
    };
    format!(
        "its samples ({name}format tag {tag}, {bits} bits) are not read here; PCM of 8, 16, 24 or 32 bits, float of 32 or \
         64 bits, A-law and mu-law are"
    )
}

fn take<const N: usize>(input: &mut impl Read) -> io::Result<[u8; N]> {
    let mut taken = [0; N];
    input.read_exact(&mut taken)?;
    Ok(taken)
}

fn le32(four: &[u8]) -> u32 {
    u32::from_le_bytes([four[0], four[1], four[2], four[3]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse_bytes(bytes: &[u8]) -> io::Result<Reader<&[u8]>> {
        Reader::parse(bytes)
    }

    fn reason(bytes: &[u8]) -> String {
        match parse_bytes(bytes) {
            Err(reason) => reason.to_string(),
            Ok(reader) => panic!("{reader:?}"),
        }
    }

    fn sound(format: Format, samples: &[u8]) -> Vec<u8> {
        let encoding = Encoding::of(format).unwrap();
        let mut bytes = super::super::header::open_header(encoding, 48_000, 1);
        let sizes = bytes.len() - 4;
        bytes[sizes..].copy_from_slice(&(samples.len() as u32).to_le_bytes());
        bytes.extend_from_slice(samples);
        bytes
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said() {
        let good = sound(Format::S16Le, &[1, 2, 3, 4]);
        assert_eq!(sizes(&good), (4, 0));
        assert!(reason(b"OggS and so on and on").contains("not a WAV file"));
        assert!(reason(&good[..36]).contains("no `data` chunk"));
        let with = |at: usize, byte: u8| {
            let mut bad = good.clone();
            bad[at] = byte;
            reason(&bad)
        };
        assert!(with(20, 2).contains("format tag 2, 16 bits"));
        assert!(with(22, 0).contains("0 channels"));
        assert!(with(20, 0x11).contains("IMA ADPCM, format tag 17, 16 bits"));
        let mut narrow = good.clone();
        (narrow[20], narrow[34]) = (0x11, 4);
        assert!(reason(&narrow).contains("format tag 17, 4 bits"), "{}", reason(&narrow));
    }

    /// Bytes of whole frames, and number of missing bytes.
    fn sizes(bytes: &[u8]) -> (usize, u64) {
        let mut reader = parse_bytes(bytes).unwrap();
        let mut frames = Vec::new();
        reader.read(2, &mut frames).unwrap();
        reader.read(usize::MAX, &mut frames).unwrap();
        (frames.len(), reader.bytes_left.unwrap_or(0))
    }

    #[test]
    fn a_file_that_ends_early_or_whose_size_is_not_known_is_read_to_its_end() {
        let good = sound(Format::S16Le, &[1, 2, 3, 4, 5, 6]);
        assert_eq!(sizes(&good), (6, 0));
        assert_eq!(sizes(&good[..good.len() - 1]), (4, 1));
        assert_eq!(sizes(&good[..good.len() - 6]), (0, 6));
        for unknown in [0_u32, 0x7fff_ffff, 0xffff_ffff] {
            let mut piped = good.clone();
            piped[40..44].copy_from_slice(&unknown.to_le_bytes());
            assert_eq!(sizes(&piped), (6, 0), "{unknown:#x}");
        }
        let mut long = b"RF64\xff\xff\xff\xffWAVEds64\x1c\0\0\0".to_vec();
        long.extend([&[0; 8][..], &4_u64.to_le_bytes(), &[0; 12]].concat());
        long.extend_from_slice(&good[12..40]);
        long.extend([&[0xff; 4][..], &[1, 2, 3, 4], b"LIST"].concat());
        assert_eq!(sizes(&long), (4, 0));
    }

    #[test]
    fn alignments_are_taken_as_they_are_meant() {
        // 24 bits in four bytes, as arecord has them.
        let mut wide = sound(Format::S16Le, &[1, 2, 3, 0, 0xff, 0xff, 0xff, 0xff]);
        (wide[32], wide[34]) = (4, 24);
        let mut samples = Vec::new();
        parse_bytes(&wide).unwrap().read(9, &mut samples).unwrap();
        assert_eq!(samples, [1, 2, 3, 0, 0xff, 0xff, 0xff, 0xff]);
        let mut wrong = sound(Format::S16Le, &[1, 2, 3, 4]);
        wrong[32] = 1;
        assert_eq!(sizes(&wrong), (4, 0));
    }

    #[test]
    fn chunks_that_are_not_known_are_skipped_with_their_padding() {
        let good = sound(Format::U8, &[1, 2]);
        let mut odd = good[..12].to_vec();
        odd.extend_from_slice(b"LIST\x03\0\0\0abc\0");
        odd.extend_from_slice(&good[12..]);
        assert_eq!(sizes(&odd), (2, 0));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_file_or_an_error(bytes: Vec<u8>) {
            let _ = parse_bytes(&bytes);
        }

        #[test]
        fn any_damage_to_a_header_is_a_file_or_an_error(at in 0..88_usize, byte: u8, cut in 0..100_usize) {
            for format in [Format::S16Le, Format::S24Le, Format::F32Le, Format::MuLaw] {
                let mut bytes = sound(format, &[0; 24]);
                if let Some(place) = bytes.get_mut(at) {
                    *place = byte;
                }
                bytes.truncate(bytes.len().saturating_sub(cut));
                if let Ok(mut reader) = parse_bytes(&bytes) {
                    let mut frames = Vec::new();
                    reader.read(usize::MAX, &mut frames).unwrap();
                    prop_assert!(frames.len() <= bytes.len() / 3 * 4, "more than there is");
                }
            }
        }
    }
}
