//! A WAV file as a source: its frames from the first one on, then silence.

use super::Reader;
use crate::{Error, HostStream, Source, StreamSpec};
use sndif::Format;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

/// Bytes that are kept ready, and those that are read at a time.
const RING_BYTES: usize = 1 << 20;
const CHUNK_BYTES: usize = 1 << 14;
/// Interval at which the thread looks for room; the ring lasts longer than that.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Source of a WAV file; see the module's description.
pub(super) struct WavSource {
    path: PathBuf,
    format: Format,
    frame_bytes: usize,
    running: bool,
    /// Frames in the stream's format. The producer is dropped at the end of the file.
    ring: rtrb::Consumer<u8>,
    /// The error, if the producer was dropped before the end of the file.
    failure: Arc<OnceLock<io::Error>>,
    xruns: u64,
}

impl WavSource {
    pub(super) fn open(path: &Path, spec: &StreamSpec) -> Result<Self, Error> {
        let frame_bytes = spec.frame_bytes();
        let (producer, ring) = rtrb::RingBuffer::new(RING_BYTES / frame_bytes * frame_bytes);
        let mut file = Reader::open(path)?;
        file.format = spec.format;
        let mut filler = Filler { file, frames: Vec::new(), ring: producer, chunk: CHUNK_BYTES.div_ceil(frame_bytes) };
        let failure = Arc::<OnceLock<io::Error>>::default();
        // The ring is filled before the stream starts; a short file needs no thread.
        if filler.fill().map_err(|reason| Error::file("read", path, reason))? {
            let failure = Arc::clone(&failure);
            thread::Builder::new()
                .name("vsnd-wav-read".into())
                .spawn(move || {
                    if let Err(reason) = filler.run() {
                        // Cannot fail: nobody else sets it.
                        let _ = failure.set(reason);
                    }
                })
                .map_err(|reason| Error::resource("a thread that reads a WAV file", reason))?;
        }
        Ok(Self { path: path.to_owned(), format: spec.format, frame_bytes, running: false, ring, failure, xruns: 0 })
    }
}

/// Moves frames from the file into the ring.
struct Filler {
    file: Reader<BufReader<File>>,
    /// Frames that were read and are not in the ring yet.
    frames: Vec<u8>,
    ring: rtrb::Producer<u8>,
    /// Frames that are read at a time.
    chunk: usize,
}

impl Filler {
    /// Fills the ring as far as there is room; returns true if there is more.
    fn fill(&mut self) -> io::Result<bool> {
        loop {
            if self.frames.is_empty() {
                self.file.read(self.chunk, &mut self.frames)?;
            }
            if self.frames.is_empty() || self.ring.push_entire_slice(&self.frames).is_err() {
                return Ok(!self.frames.is_empty());
            }
            self.frames.clear();
        }
    }

    /// Fills the ring until the end of the file, or until nobody reads any more.
    fn run(&mut self) -> io::Result<()> {
        while self.fill()? && !self.ring.is_abandoned() {
            thread::sleep(LOOK_EVERY);
        }
        Ok(())
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
        match self.ring.is_abandoned() {
            _ if !self.running => 0,
            true => usize::MAX,
            false => self.ring.slots() / self.frame_bytes,
        }
    }

    fn read(&mut self, into: &mut [u8]) -> Result<usize, Error> {
        if !self.running {
            return Ok(0);
        }
        // Checked before the ring is read: the ring then holds the last frames that were pushed.
        let ended = self.ring.is_abandoned();
        let whole = into.len() / self.frame_bytes * self.frame_bytes;
        let there = self.ring.slots().min(whole) / self.frame_bytes * self.frame_bytes;
        let (frames, rest) = into[..whole].split_at_mut(there);
        // Cannot fail: the ring holds that much.
        let _ = self.ring.pop_entire_slice(frames);
        if !rest.is_empty() && !ended {
            self.xruns += 1;
            return Ok(there / self.frame_bytes);
        }
        if let Some(reason) = self.failure.get().filter(|_| !rest.is_empty()) {
            return Err(Error::file("read", &self.path, reason));
        }
        pcm::fill_silence(self.format, rest);
        Ok(whole / self.frame_bytes)
    }
}
