//! Writing a WAV file that is valid after every write, even when the writer is killed.
//!
//! Samples are appended first, then the header's sizes are brought up to date, so that the header never
//! promises more than there is.

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

/// Octets of samples after which the next file begins: RIFF sizes are 32 bits, less room for the header.
const MOST_DATA_BYTES: u32 = u32::MAX - 1024;
/// Names tried before giving up.
const MOST_NUMBERS: u32 = 100_000;

/// Writes frames to a WAV file, and to further numbered ones before the first reaches 4 GiB.
///
/// An existing file is never overwritten.
#[derive(Debug)]
pub struct Writer {
    /// The name without a number.
    base: PathBuf,
    number: u32,
    path: PathBuf,
    file: File,
    format: Format,
    encoding: Encoding,
    rate_hz: u32,
    channels: u8,
    order: Order,
    frame_bytes: usize,
    header_bytes: u64,
    /// Octets of samples in the current file.
    data_bytes: u32,
    most_data_bytes: u32,
    /// Frames in all files.
    frames: u64,
    /// Samples in the file's form; kept to be used again.
    scratch: Vec<u8>,
}

impl Writer {
    /// Creates the file `path`.
    ///
    /// # Errors
    /// It exists already or cannot be created; WAV cannot hold the format; no channel.
    pub fn create(path: &Path, format: Format, rate_hz: u32, channels: u8) -> Result<Self, Error> {
        Self::open(path, format, rate_hz, channels, 1)
    }

    /// Creates the file `path`, or the next free one of `x-2.wav`, `x-3.wav`, …
    ///
    /// # Errors
    /// None can be created; WAV cannot hold the format; no channel.
    pub fn create_numbered(path: &Path, format: Format, rate_hz: u32, channels: u8) -> Result<Self, Error> {
        Self::open(path, format, rate_hz, channels, MOST_NUMBERS)
    }

    fn open(path: &Path, format: Format, rate_hz: u32, channels: u8, most: u32) -> Result<Self, Error> {
        let spec = StreamSpec { format, rate_hz, channels, period_frames: 0, buffer_frames: 0 };
        let frame_bytes = spec.frame_bytes();
        let encoding = header::writable(&spec, &format!("`{}`", path.display()))?;
        let (number, numbered_path, file) = create_next(path, 1, most)?;
        let mut writer = Self {
            base: path.to_owned(),
            number,
            path: numbered_path,
            file,
            format,
            encoding,
            rate_hz,
            channels,
            order: Order::of(channels, speakers::mask(channels)),
            frame_bytes,
            header_bytes: 0,
            data_bytes: 0,
            most_data_bytes: MOST_DATA_BYTES,
            frames: 0,
            scratch: Vec::new(),
        };
        writer.update_header()?;
        Ok(writer)
    }

    /// The file that is being written now.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Frames written so far.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Appends the whole frames of `frames`; when this returns they are in the file and in its header.
    ///
    /// # Errors
    /// The file cannot be written, or the next one not be created.
    pub fn write(&mut self, frames: &[u8]) -> Result<(), Error> {
        let file_frame_bytes = (self.encoding.bytes() * usize::from(self.channels)) as u32;
        let mut rest = &frames[..frames.len() / self.frame_bytes * self.frame_bytes];
        while !rest.is_empty() {
            let room = ((self.most_data_bytes - self.data_bytes) / file_frame_bytes) as usize;
            if room == 0 {
                self.next_file()?;
                continue;
            }
            let (now, later) = rest.split_at(rest.len().min(room * self.frame_bytes));
            self.append(now)?;
            rest = later;
        }
        Ok(())
    }

    fn append(&mut self, frames: &[u8]) -> Result<(), Error> {
        self.scratch.clear();
        self.encoding.encode(self.format, frames, &mut self.scratch);
        self.order.order_out(&mut self.scratch, self.encoding.bytes());
        let bytes = self.scratch.len() as u32;
        if (self.data_bytes + bytes) % 2 == 1 {
            self.scratch.push(0);
        }
        let end = self.header_bytes + u64::from(self.data_bytes);
        self.file.write_all_at(&self.scratch, end).map_err(|reason| self.failed(reason))?;
        self.data_bytes += bytes;
        self.frames += (frames.len() / self.frame_bytes) as u64;
        self.update_header()
    }

    fn next_file(&mut self) -> Result<(), Error> {
        let (number, path, file) = create_next(&self.base, self.number + 1, MOST_NUMBERS)?;
        (self.number, self.path, self.file, self.data_bytes) = (number, path, file, 0);
        self.update_header()
    }

    fn update_header(&mut self) -> Result<(), Error> {
        let header = header(self.encoding, self.rate_hz, self.channels, self.data_bytes);
        self.header_bytes = header.len() as u64;
        self.file.write_all_at(&header, 0).map_err(|reason| self.failed(reason))
    }

    fn failed(&self, reason: io::Error) -> Error {
        Error::file("write", &self.path, reason)
    }

    /// Closes the file, and removes it if not one frame was written.
    pub fn finish(self) {
        if self.frames == 0 {
            // Nobody misses it if it cannot be removed.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Creates the first of the numbered files that does not exist yet.
fn create_next(base: &Path, first: u32, most: u32) -> Result<(u32, PathBuf, File), Error> {
    let mut last = io::Error::from(io::ErrorKind::AlreadyExists);
    for number in first..=most {
        let path = numbered(base, number);
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((number, path, file)),
            Err(reason) if reason.kind() == io::ErrorKind::AlreadyExists => last = reason,
            Err(reason) => return Err(Error::file("create", &path, reason)),
        }
    }
    Err(Error::file("create", base, last))
}

#[cfg(test)]
mod tests {
    use super::super::read_file;
    use super::*;

    #[test]
    fn a_file_that_is_full_is_followed_by_the_next_free_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.wav");
        fs::write(dir.path().join("x-2.wav"), "taken").unwrap();
        let mut writer = Writer::create(&path, Format::S16Le, 8_000, 2).unwrap();
        writer.most_data_bytes = 10;
        let frames: Vec<u8> = (0..20).collect();
        writer.write(&frames).unwrap();
        assert_eq!((writer.frames(), writer.path()), (5, dir.path().join("x-4.wav").as_path()));
        let parts = ["x.wav", "x-3.wav", "x-4.wav"].map(|name| read_file(&dir.path().join(name)).unwrap().data);
        assert_eq!(parts.map(|data| data.len()), [8, 8, 4]);
        assert_eq!(fs::read(dir.path().join("x-2.wav")).unwrap(), b"taken");
    }

    #[test]
    fn an_odd_number_of_octets_is_padded_until_more_comes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.wav");
        let mut writer = Writer::create(&path, Format::U8, 8_000, 1).unwrap();
        for (octet, file_bytes) in [(1, 46), (2, 46), (3, 48)] {
            writer.write(&[octet]).unwrap();
            let octets = fs::read(&path).unwrap();
            assert_eq!(octets.len(), file_bytes);
            assert_eq!(octets[4..8], (file_bytes as u32 - 8).to_le_bytes());
        }
        assert_eq!(read_file(&path).unwrap().data, [1, 2, 3]);
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
