//! Writing a WAV file that is valid after every write, even when the writer is killed.
//!
//! Samples are appended first, then the header's sizes are updated, so that the header never promises more than there
//! is. The first header is written with the first samples: to many readers a size of 0 means that the samples go on to
//! the end of the file, and they would play the padding byte as a sample.

use super::encoding::Encoding;
use super::header::{self, header};
use super::numbered;
use crate::speakers::{self, Order};
use crate::{Error, StreamSpec};
use sndif::Format;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Maximum number of names that are tried.
const MOST_NUMBERS: u32 = 100_000;

/// Writes frames to a WAV file, which becomes RF64 where it reaches 4 GiB.
///
/// An existing file is never overwritten.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    file: File,
    format: Format,
    encoding: Encoding,
    rate_hz: u32,
    channels: u8,
    order: Order,
    frame_bytes: usize,
    header_bytes: usize,
    /// Bytes of samples in the file.
    data_bytes: u64,
    frames: u64,
    /// The next bytes of the file; kept to be used again.
    scratch: Vec<u8>,
}

impl Writer {
    /// Creates the file `path`.
    ///
    /// # Errors
    /// The file exists already or cannot be created; WAV cannot hold the format; there is no channel.
    pub fn create(path: &Path, format: Format, rate_hz: u32, channels: u8) -> Result<Self, Error> {
        Self::open(path, format, rate_hz, channels, 1)
    }

    /// Creates the file `path`, or the next free one of `x-2.wav`, `x-3.wav`, …
    ///
    /// # Errors
    /// No file can be created; WAV cannot hold the format; there is no channel.
    pub fn create_numbered(path: &Path, format: Format, rate_hz: u32, channels: u8) -> Result<Self, Error> {
        Self::open(path, format, rate_hz, channels, MOST_NUMBERS)
    }

    fn open(path: &Path, format: Format, rate_hz: u32, channels: u8, most: u32) -> Result<Self, Error> {
        let spec = StreamSpec { format, rate_hz, channels, period_frames: 0, buffer_frames: 0 };
        let frame_bytes = spec.frame_bytes();
        let encoding = header::writable(&spec, &format!("`{}`", path.display()))?;
        let (path, file) = create(path, most)?;
        Ok(Self {
            path,
            file,
            format,
            encoding,
            rate_hz,
            channels,
            order: Order::of(channels, speakers::mask(channels)),
            frame_bytes,
            header_bytes: header(encoding, rate_hz, channels, 0).len(),
            data_bytes: 0,
            frames: 0,
            scratch: Vec::new(),
        })
    }

    /// Path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Frames written so far.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Appends the whole frames of `frames`; on return they are in the file and in its header.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&mut self, frames: &[u8]) -> Result<(), Error> {
        let whole = frames.len() / self.frame_bytes;
        if whole == 0 {
            return Ok(());
        }
        let is_first = self.data_bytes == 0;
        let samples_at = if is_first { self.header_bytes } else { 0 };
        self.scratch.clear();
        self.scratch.resize(samples_at, 0);
        self.encoding.encode(self.format, &frames[..whole * self.frame_bytes], &mut self.scratch);
        self.order.order_out(&mut self.scratch[samples_at..], self.encoding.bytes());
        let data_bytes = self.data_bytes + (self.scratch.len() - samples_at) as u64;
        if data_bytes % 2 == 1 {
            self.scratch.push(0);
        }
        let header = header(self.encoding, self.rate_hz, self.channels, data_bytes);
        if is_first {
            self.scratch[..samples_at].copy_from_slice(&header);
            self.put(&self.scratch, 0)?;
        } else {
            self.put(&self.scratch, self.header_bytes as u64 + self.data_bytes)?;
            self.put(&header, 0)?;
        }
        self.data_bytes = data_bytes;
        self.frames += whole as u64;
        Ok(())
    }

    fn put(&self, bytes: &[u8], at: u64) -> Result<(), Error> {
        self.file.write_all_at(bytes, at).map_err(|reason| Error::file("write", &self.path, reason))
    }

    /// Closes the file, and removes it if not one frame was written.
    pub fn finish(self) {
        if self.frames == 0 {
            // An empty file that cannot be removed does no harm.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Creates the first of `most` numbered files that does not exist yet.
fn create(base: &Path, most: u32) -> Result<(PathBuf, File), Error> {
    let mut last = io::Error::from(io::ErrorKind::AlreadyExists);
    for number in 1..=most {
        let path = numbered(base, number);
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((path, file)),
            Err(reason) if reason.kind() == io::ErrorKind::AlreadyExists => last = reason,
            Err(reason) => return Err(Error::file("create", &path, reason)),
        }
    }
    Err(Error::file("create", base, last))
}

#[cfg(test)]
mod tests {
    use super::super::{Reader, read_file};
    use super::*;
    use std::io::{Read, Seek, SeekFrom};

    /// Content that another program finds in the file: promised bytes of samples, and the samples from `at` on.
    fn read_from(path: &Path, at: u64) -> (u64, Vec<u8>) {
        let file = File::open(path).unwrap();
        let mut reader = Reader::new(&file, path).unwrap();
        let begin = (&file).stream_position().unwrap();
        let promised = reader.bytes_left.unwrap_or(0);
        (&file).seek(SeekFrom::Start(begin + at)).unwrap();
        let mut frames = Vec::new();
        reader.read(usize::MAX, &mut frames).unwrap();
        (promised, frames)
    }

    #[test]
    fn a_file_grows_on_beyond_4_gib_and_is_valid_at_every_write() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.wav");
        let mut writer = Writer::create(&path, Format::S16Le, 8_000, 2).unwrap();
        // The file has a hole in place of earlier samples.
        let first = (u64::from(u32::MAX) - 95) / 4 * 4;
        writer.data_bytes = first;
        let mut long = Vec::new();
        for number in 1..=10_u8 {
            writer.write(&[number; 8]).unwrap();
            let (promised, samples) = read_from(&path, first);
            assert_eq!(promised, first + 8 * u64::from(number));
            assert_eq!(samples, (1..=number).flat_map(|number| [number; 8]).collect::<Vec<_>>());
            assert_eq!(fs::metadata(&path).unwrap().len(), 80 + promised);
            let mut id = [0; 4];
            File::open(&path).unwrap().read_exact(&mut id).unwrap();
            long.push(&id == b"RF64");
        }
        assert_eq!(long.iter().position(|long| *long), Some(2), "{long:?}");
        assert!(long[2..].iter().all(|long| *long));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_odd_number_of_bytes_is_padded_until_more_comes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.wav");
        let mut writer = Writer::create(&path, Format::U8, 8_000, 1).unwrap();
        for (byte, file_bytes) in [(1, 82), (2, 82), (3, 84)] {
            writer.write(&[byte]).unwrap();
            let bytes = fs::read(&path).unwrap();
            assert_eq!(bytes.len(), file_bytes);
            assert_eq!(bytes[4..8], (file_bytes as u32 - 8).to_le_bytes());
        }
        assert_eq!(read_file(&path).unwrap().data, [1, 2, 3]);
    }

    #[test]
    fn no_reader_takes_the_padding_for_a_sample() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.wav");
        let mut writer = Writer::create(&path, Format::U8, 8_000, 1).unwrap();
        // A reader that looks before the first samples finds no header that leaves the size open.
        let early = Reader::open(&path).map(|mut reader| {
            writer.write(&[7]).unwrap();
            let mut frames = Vec::new();
            reader.read(usize::MAX, &mut frames).unwrap();
            frames
        });
        assert!(early.as_ref().is_err_and(|error| error.to_string().contains("ends within its header")), "{early:?}");
        writer.write(&[7]).unwrap();
        assert_eq!(read_file(&path).unwrap().data, [7]);
    }

    #[test]
    fn a_compressed_stream_is_refused_and_leaves_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.wav");
        let error = Writer::create(&path, Format::Gsm, 8_000, 1).unwrap_err().to_string();
        assert!(error.contains("cannot carry gsm 8000 Hz 1 channel(s)"), "{error}");
        assert!(!path.exists());
    }
}
