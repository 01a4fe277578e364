//! A device for capture as a source: its owner's side; the other side is the device's [`recorder`](super::recorder).

use super::Input;
use super::bridge::{Bridge, Mode};
use super::drive::Drive;
use super::most_frames;
use super::recorder::Recorder;
use super::reopen::Opener;
use crate::{Error, HostStream, Notice, Pacing, ServerVolume, Source, StreamSpec};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::time::Instant;

/// The ring holds this part of a second (200 ms), and at least four periods; of large frames no more than the guest has
/// room for.
const RING: u32 = 5;
/// The owner's side.
pub(super) struct LiveSource {
    bridge: Arc<Bridge>,
    drive: Drive<Recorder>,
    ring: rtrb::Consumer<u8>,
    frame_bytes: usize,
    /// Frames ever taken out of the ring.
    popped: u64,
}

impl LiveSource {
    pub fn open(mode: Mode, spec: &StreamSpec, opener: Opener<dyn Input>) -> Result<Self, Error> {
        let (mut source, recorder, ring) = Self::prepare(mode, spec, opener)?;
        source.drive.begin(recorder, ring);
        Ok(source)
    }

    /// Both sides and the ring between them; nobody gives turns, and the recorder has not begun.
    pub fn prepare(
        mode: Mode,
        spec: &StreamSpec,
        opener: Opener<dyn Input>,
    ) -> Result<(Self, Recorder, rtrb::Producer<u8>), Error> {
        let frame_bytes = spec.frame_bytes();
        let bridge = Bridge::new(mode)?;
        let recorder = Recorder::new(Arc::clone(&bridge), spec, opener);
        let frames = (spec.rate_hz / RING).max(spec.period_frames.min(spec.rate_hz) * 4) as usize;
        let frames = frames.min(most_frames(spec));
        let (producer, ring) = super::queue::ring(frames * frame_bytes)?;
        let drive = Drive::elsewhere(Arc::clone(&bridge));
        Ok((Self { bridge, drive, ring, frame_bytes, popped: 0 }, recorder, producer))
    }

    /// Discards frames that were not read, and counts from here again.
    fn forget(&mut self) {
        let ready = self.available_frames();
        if let Ok(chunk) = self.ring.read_chunk(ready * self.frame_bytes) {
            chunk.commit_all();
            self.popped += ready as u64;
        }
        self.bridge.flush_until.store(self.popped, Release);
    }

    /// Makes the engine see immediately what the owner did.
    fn have_seen(&mut self) -> Result<(), Error> {
        self.drive.touch();
        self.drive.attend(Instant::now())
    }
}

impl HostStream for LiveSource {
    fn pacing(&self) -> Pacing<'_> {
        Pacing::Device(self.bridge.pace_fd())
    }

    fn opened(&mut self) -> Option<Result<(), Error>> {
        self.bridge.opened()
    }

    fn start(&mut self) -> Result<(), Error> {
        if !self.bridge.running.load(Relaxed) {
            self.forget();
        }
        self.bridge.start();
        self.have_seen()
    }

    fn pause(&mut self, on: bool) -> Result<(), Error> {
        self.bridge.pause(on);
        self.have_seen()
    }

    fn stop(&mut self) -> Result<(), Error> {
        self.bridge.stop();
        self.forget();
        self.have_seen()
    }

    fn xruns(&self) -> u64 {
        self.bridge.xruns.load(Relaxed)
    }

    fn server_volume(&self) -> Option<ServerVolume> {
        self.bridge.server_volume()
    }

    fn notice(&mut self) -> Option<Notice> {
        self.bridge.take_notice()
    }

    fn acknowledge(&mut self) -> Result<(), Error> {
        self.bridge.acknowledge();
        self.have_seen()
    }

    fn wake_at(&self) -> Option<Instant> {
        self.drive.wake_at()
    }

    fn attend(&mut self) -> Result<(), Error> {
        self.drive.attend(Instant::now())
    }
}

impl Source for LiveSource {
    fn available_frames(&mut self) -> usize {
        self.ring.slots() / self.frame_bytes
    }

    fn read(&mut self, into: &mut [u8]) -> Result<usize, Error> {
        let frames = self.available_frames().min(into.len() / self.frame_bytes);
        // Cannot fail: the ring holds that much.
        let _ = self.ring.pop_entire_slice(&mut into[..frames * self.frame_bytes]);
        self.popped += frames as u64;
        Ok(frames)
    }
}
