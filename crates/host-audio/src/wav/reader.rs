//! Reading WAV files: the header, and whole files.
//!
//! `hound` reads integers and 32-bit floats; this also reads what [`Writer`](super::Writer) writes
//! besides (64-bit floats, mu-law, A-law) and says what is wrong with a file. The tests hold it against
//! `hound`.

use super::encoding::{Encoding, TAG_A_LAW, TAG_FLOAT, TAG_MU_LAW, TAG_PCM};
use super::header::{SUB_FORMAT_TAIL, TAG_EXTENSIBLE};
use crate::Error;
use crate::speakers::Order;
use sndif::Format;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

/// A WAV file's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WavAudio {
    /// Little-endian; packed 24-bit samples become `S24Le`, four octets each.
    pub format: Format,
    /// Frames per second.
    pub rate_hz: u32,
    /// Samples per frame.
    pub channels: u8,
    /// Whole interleaved frames, the channels in the order of the wire (ALSA's).
    pub data: Vec<u8>,
    /// Octets of samples that the header promises and the file does not have: it ended early.
    pub missing_bytes: u64,
}

/// What a file's header says; `data_bytes` are whole frames, and are there.
#[derive(Debug, Clone)]
pub(super) struct Info {
    pub encoding: Encoding,
    pub rate_hz: u32,
    pub channels: u8,
    /// Where its channels belong.
    pub order: Order,
    pub data_bytes: u64,
    /// Octets that the header promises besides.
    pub missing_bytes: u64,
}

/// Why a file cannot be read.
#[derive(Debug)]
enum Fault {
    Io(io::Error),
    Format(String),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Format("truncated: it ends within its header".into()),
            _ => Self::Io(error),
        }
    }
}

impl Fault {
    fn format<T>(reason: impl Into<String>) -> Result<T, Self> {
        Err(Self::Format(reason.into()))
    }

    fn at(self, path: &Path) -> Error {
        match self {
            Self::Io(reason) => Error::file("read", path, reason),
            Self::Format(reason) => Error::content(path, reason),
        }
    }
}

/// Reads the whole file.
///
/// # Errors
/// It cannot be read, is not a WAV file, ends within its header, or holds samples that no format of the protocol can carry.
pub fn read_file(path: &Path) -> Result<WavAudio, Error> {
    let (mut file, info) = open(path)?;
    let format = info.encoding.natural().ok_or_else(|| Fault::Format(unsupported(info.encoding)).at(path))?;
    let mut samples = vec![0; info.data_bytes as usize];
    file.read_exact(&mut samples).map_err(|error| Fault::from(error).at(path))?;
    let mut data = Vec::new();
    info.encoding.decode(&samples, format, &mut data);
    info.order.order_in(&mut data, pcm::sample_bytes(format));
    let Info { rate_hz, channels, missing_bytes, .. } = info;
    Ok(WavAudio { format, rate_hz, channels, data, missing_bytes })
}

/// Opens a file, reads its header and leaves it at its first sample.
pub(super) fn open(path: &Path) -> Result<(BufReader<File>, Info), Error> {
    let attempt = || {
        // Opening a FIFO would wait for its writer.
        if !fs::metadata(path)?.is_file() {
            return Fault::format("not a regular file");
        }
        let mut file = BufReader::new(File::open(path)?);
        let info = parse(&mut file)?;
        Ok((file, info))
    };
    attempt().map_err(|fault: Fault| fault.at(path))
}

/// Sizes of samples that say: to the end of the file. The second is what `arecord` and others write into a pipe.
const UNKNOWN: u64 = u32::MAX as u64;
const PLAYERS_UNKNOWN: u64 = 0x7fff_ffff;

/// Reads a header and leaves `file` at its first sample.
fn parse(file: &mut (impl Read + Seek)) -> Result<Info, Fault> {
    let riff: [u8; 12] = take(file)?;
    match (&riff[..4], &riff[8..]) {
        (b"RIFF" | b"RF64" | b"BW64", b"WAVE") => {}
        (b"RIFX", b"WAVE") => return Fault::format("a kind of WAV file that is not read here (RIFX)"),
        _ => return Fault::format("not a WAV file: it does not begin with RIFF and WAVE"),
    }
    let mut format = None;
    // Sizes of 64 bits, where the others have no room for them (EBU Tech 3306).
    let mut long_data_bytes = None;
    loop {
        let chunk: [u8; 8] = match take(file) {
            Err(Fault::Format(_)) => return Fault::format("truncated: it has no samples (no `data` chunk)"),
            chunk => chunk?,
        };
        let bytes = u64::from(le32(&chunk[4..]));
        match &chunk[..4] {
            b"fmt " => {
                format = Some(parse_fmt(file, bytes)?);
            }
            b"ds64" if bytes >= 16 => {
                let sizes: [u8; 16] = take(file)?;
                long_data_bytes = Some(u64::from(le32(&sizes[8..])) | u64::from(le32(&sizes[12..])) << 32);
                file.seek(SeekFrom::Current((bytes - 16 + bytes % 2).cast_signed()))?;
            }
            b"data" => {
                let Some((encoding, rate_hz, channels, mask)) = format else {
                    return Fault::format("its samples come before their description (`data` before `fmt `)");
                };
                // Not before the header was read: a file that is being written grows first.
                let first = file.stream_position()?;
                let there = file.seek(SeekFrom::End(0))?.saturating_sub(first);
                file.seek(SeekFrom::Start(first))?;
                let promised = match (bytes, long_data_bytes) {
                    (UNKNOWN, Some(long)) => long,
                    // Written to a pipe, or by a program that was killed.
                    (0 | PLAYERS_UNKNOWN | UNKNOWN, _) => there,
                    (bytes, _) => bytes,
                };
                let frame_bytes = (encoding.bytes() * usize::from(channels)) as u64;
                let data_bytes = promised.min(there) / frame_bytes * frame_bytes;
                let missing_bytes = promised.saturating_sub(there);
                let order = Order::of(channels, mask);
                return Ok(Info { encoding, rate_hz, channels, order, data_bytes, missing_bytes });
            }
            _ => {
                file.seek(SeekFrom::Current((bytes + bytes % 2).cast_signed()))?;
            }
        }
    }
}

/// How its samples are coded, their rate, the number of channels and their mask.
fn parse_fmt(file: &mut (impl Read + Seek), bytes: u64) -> Result<(Encoding, u32, u8, u32), Fault> {
    if bytes < 16 {
        return Fault::format("its `fmt ` chunk is too short");
    }
    let mut fmt = [0; 40];
    let known = bytes.min(40);
    file.read_exact(&mut fmt[..known as usize])?;
    file.seek(SeekFrom::Current((bytes - known + bytes % 2).cast_signed()))?;

    let (mut tag, mut mask) = (le16(&fmt), 0);
    if tag == TAG_EXTENSIBLE {
        if known < 40 || fmt[26..] != SUB_FORMAT_TAIL {
            return Fault::format("its samples are of an extended kind that is not known here");
        }
        (tag, mask) = (le16(&fmt[24..]), le32(&fmt[20..]));
    }
    let (channels, rate_hz, frame_bytes, bits) = (le16(&fmt[2..]), le32(&fmt[4..]), le16(&fmt[12..]), le16(&fmt[14..]));
    let Some(channels) = u8::try_from(channels).ok().filter(|&channels| channels > 0) else {
        return Fault::format(format!("it has {channels} channels; 1 to 255 are possible"));
    };
    if rate_hz == 0 {
        return Fault::format("its rate is 0 Hz");
    }
    // Fewer bits than the container has stand at its upper end: the container is what counts. An alignment that fits neither is
    // one that nothing else reads.
    let wide = (tag, bits.div_ceil(8)) == (TAG_PCM, 3) && frame_bytes == u16::from(channels) * 4;
    let encoding = Encoding { tag, bits: bits.div_ceil(8).saturating_mul(8), wide };
    match (tag, encoding.bits) {
        (TAG_PCM, 8 | 16 | 24 | 32) | (TAG_FLOAT, 32 | 64) | (TAG_A_LAW | TAG_MU_LAW, 8) => {
            Ok((encoding, rate_hz, channels, mask))
        }
        _ => Fault::format(unsupported(encoding)),
    }
}

fn unsupported(encoding: Encoding) -> String {
    let name = match encoding.tag {
        0x02 => "Microsoft ADPCM",
        0x11 => "IMA ADPCM",
        0x31 => "GSM 6.10",
        0x50 => "MPEG",
        0x55 => "MP3",
        _ => "",
    };
    let (space, Encoding { tag, bits, .. }) = (if name.is_empty() { "" } else { ", " }, encoding);
    format!(
        "its samples ({name}{space}format tag {tag}, {bits} bits) are not read here; PCM of 8, 16, 24 or 32 bits, float of 32 or \
         64 bits, A-law and mu-law are"
    )
}

fn take<const N: usize>(file: &mut impl Read) -> Result<[u8; N], Fault> {
    let mut octets = [0; N];
    file.read_exact(&mut octets)?;
    Ok(octets)
}

fn le16(octets: &[u8]) -> u16 {
    u16::from_le_bytes([octets[0], octets[1]])
}

fn le32(octets: &[u8]) -> u32 {
    u32::from_le_bytes([octets[0], octets[1], octets[2], octets[3]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Cursor;

    fn parse_octets(octets: &[u8]) -> Result<Info, Fault> {
        parse(&mut Cursor::new(octets))
    }

    fn reason(octets: &[u8]) -> String {
        match parse_octets(octets) {
            Err(Fault::Format(reason)) => reason,
            other => panic!("{other:?}"),
        }
    }

    fn sound(format: Format, samples: &[u8]) -> Vec<u8> {
        let encoding = Encoding::of(format).unwrap();
        let mut octets = super::super::header::header(encoding, 48_000, 1, samples.len() as u32);
        octets.extend_from_slice(samples);
        octets
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said() {
        let good = sound(Format::S16Le, &[1, 2, 3, 4]);
        assert_eq!(parse_octets(&good).unwrap().data_bytes, 4);
        assert!(reason(b"OggS and so on and on").contains("not a WAV file"));
        assert!(reason(&good[..7]).contains("truncated"));
        assert!(reason(&good[..36]).contains("no `data` chunk"));
        let with = |at: usize, octet: u8| {
            let mut bad = good.clone();
            bad[at] = octet;
            reason(&bad)
        };
        assert!(with(20, 2).contains("format tag 2, 16 bits"));
        assert!(with(22, 0).contains("0 channels"));
        assert!(with(20, 0x11).contains("IMA ADPCM"));
    }

    /// Whole octets of samples, and those that are missing.
    fn sizes(octets: &[u8]) -> (u64, u64) {
        let info = parse_octets(octets).unwrap();
        (info.data_bytes, info.missing_bytes)
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
        // 24 bits in four octets, as arecord has them.
        let mut wide = sound(Format::S16Le, &[1, 2, 3, 0, 0xff, 0xff, 0xff, 0xff]);
        (wide[32], wide[34]) = (4, 24);
        let info = parse_octets(&wide).unwrap();
        let mut samples = Vec::new();
        info.encoding.decode(&wide[44..], Format::S24Le, &mut samples);
        assert_eq!((info.data_bytes, samples), (8, vec![1, 2, 3, 0, 0xff, 0xff, 0xff, 0xff]));
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
        assert_eq!(parse_octets(&odd).unwrap().data_bytes, 2);
    }

    proptest! {
        #[test]
        fn any_octets_are_a_file_or_an_error(octets: Vec<u8>) {
            let _ = parse_octets(&octets);
        }

        #[test]
        fn any_damage_to_a_header_is_a_file_or_an_error(at in 0..88_usize, octet: u8, cut in 0..100_usize) {
            for format in [Format::S16Le, Format::S24Le, Format::F32Le, Format::MuLaw] {
                let mut octets = sound(format, &[0; 24]);
                if let Some(place) = octets.get_mut(at) {
                    *place = octet;
                }
                octets.truncate(octets.len().saturating_sub(cut));
                if let Ok(info) = parse_octets(&octets) {
                    prop_assert!(info.data_bytes <= octets.len() as u64);
                }
            }
        }
    }
}
