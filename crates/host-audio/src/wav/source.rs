//! A WAV file as a source: its frames from the first one on, then silence.

use super::reader;
use crate::speakers::Order;
use crate::wav::encoding::Encoding;
use crate::{Error, HostStream, Source, StreamSpec};
use sndif::Format;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// Octets of the file that are read when it is opened; shorter files need no thread.
const AT_ONCE_BYTES: u64 = 1 << 20;
/// Octets that the thread keeps ready.
const RING_BYTES: usize = 1 << 20;
/// How often the thread looks whether there is room again; the ring lasts longer than that.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// See the module's description.
pub(super) struct WavSource {
    path: PathBuf,
    format: Format,
    frame_bytes: usize,
    running: bool,
    /// The file's beginning, in the stream's format, and how much of it was given.
    head: Vec<u8>,
    given: usize,
    /// What follows, from the thread.
    ring: rtrb::Consumer<u8>,
    /// Octets that the ring will still give before the file's end.
    rest_bytes: u64,
    xruns: u64,
}

impl WavSource {
    pub(super) fn open(path: &Path, spec: &StreamSpec) -> Result<Self, Error> {
        let (mut file, info) = reader::open(path)?;
        let encoding = info.encoding;
        let frame_bytes = spec.frame_bytes();
        let file_frame_bytes = (encoding.bytes() * usize::from(info.channels)) as u64;
        let frames = info.data_bytes / file_frame_bytes;
        let at_once = frames.min(AT_ONCE_BYTES / file_frame_bytes);

        let mut samples = vec![0; (at_once * file_frame_bytes) as usize];
        let failed = |reason| Error::file("read", path, reason);
        file.read_exact(&mut samples).map_err(failed)?;
        let mut head = Vec::new();
        encoding.decode(&samples, spec.format, &mut head);
        let sample_bytes = pcm::sample_bytes(spec.format);
        info.order.order_in(&mut head, sample_bytes);

        let (producer, ring) = rtrb::RingBuffer::new(RING_BYTES / frame_bytes * frame_bytes);
        let rest = frames - at_once;
        if rest > 0 {
            let (order, rest_bytes) = (info.order, rest * file_frame_bytes);
            let reader = Reader { file, encoding, order, format: spec.format, sample_bytes, rest_bytes, producer };
            thread::Builder::new()
                .name("vsnd-wav-read".into())
                .spawn(move || reader.run(file_frame_bytes as usize))
                .map_err(|reason| Error::resource("a thread that reads a WAV file", reason))?;
        }
        Ok(Self {
            path: path.to_owned(),
            format: spec.format,
            frame_bytes,
            running: false,
            head,
            given: 0,
            ring,
            rest_bytes: rest * frame_bytes as u64,
            xruns: 0,
        })
    }
}

/// The thread's side.
struct Reader {
    file: BufReader<File>,
    encoding: Encoding,
    order: Order,
    format: Format,
    sample_bytes: usize,
    rest_bytes: u64,
    producer: rtrb::Producer<u8>,
}

impl Reader {
    /// Fills the ring until the file's end; a failed read abandons the ring, which the source notices.
    fn run(mut self, file_frame_bytes: usize) {
        let mut samples = vec![0; 16_384 / file_frame_bytes.min(16_384) * file_frame_bytes];
        let mut frames = Vec::new();
        while self.rest_bytes > 0 {
            let now = samples.len().min(self.rest_bytes as usize);
            let read: io::Result<()> = self.file.read_exact(&mut samples[..now]);
            if read.is_err() {
                return;
            }
            self.rest_bytes -= now as u64;
            frames.clear();
            self.encoding.decode(&samples[..now], self.format, &mut frames);
            self.order.order_in(&mut frames, self.sample_bytes);
            while self.producer.push_entire_slice(&frames).is_err() {
                if self.producer.is_abandoned() {
                    return;
                }
                thread::sleep(LOOK_EVERY);
            }
        }
    }
}

impl HostStream for WavSource {
    fn start(&mut self) -> Result<(), Error> {
        self.running = true;
        Ok(())
    }

    fn pause(&mut self, on: bool) -> Result<(), Error> {
        self.running = !on;
        Ok(())
    }

    fn stop(&mut self) -> Result<(), Error> {
        self.running = false;
        Ok(())
    }

    fn xruns(&self) -> u64 {
        self.xruns
    }
}

impl Source for WavSource {
    fn available_frames(&mut self) -> usize {
        let head = self.head.len() - self.given;
        match (self.running, self.rest_bytes) {
            (false, _) => 0,
            (true, 0) => usize::MAX,
            (true, _) => (head + self.ring.slots()) / self.frame_bytes,
        }
    }

    fn read(&mut self, into: &mut [u8]) -> Result<usize, Error> {
        if !self.running {
            return Ok(0);
        }
        let whole = into.len() / self.frame_bytes * self.frame_bytes;
        let mut into = &mut into[..whole];

        let head = &self.head[self.given..];
        let now = head.len().min(into.len());
        into[..now].copy_from_slice(&head[..now]);
        self.given += now;
        into = &mut into[now..];

        if self.rest_bytes > 0 && !into.is_empty() {
            let abandoned = self.ring.is_abandoned();
            let now = self.ring.slots().min(into.len()) / self.frame_bytes * self.frame_bytes;
            // Cannot fail: that much is there.
            let _ = self.ring.pop_entire_slice(&mut into[..now]);
            self.rest_bytes -= now as u64;
            into = &mut into[now..];
            if self.rest_bytes > 0 && !into.is_empty() {
                self.xruns += 1;
                if abandoned && self.ring.is_empty() {
                    return Err(Error::file("read", &self.path, "the file became shorter, or its medium failed"));
                }
                return Ok((whole - into.len()) / self.frame_bytes);
            }
        }
        pcm::fill_silence(self.format, into);
        Ok(whole / self.frame_bytes)
    }
}
