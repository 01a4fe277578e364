//! A device for playback as a sink: its owner's side; the other side is the device's [`player`](super::player).

use super::Output;
use super::bridge::{Bridge, Mode};
use super::drive::Drive;
use super::most_frames;
use super::player::Player;
use super::reopen::Opener;
use crate::{Error, HostStream, Notice, Pacing, ServerVolume, Sink, StreamSpec};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Instant;

/// The ring holds this part of a second (200 ms), and at least two queues; of large frames no more than the guest has
/// room for.
const RING: u32 = 5;

/// The owner's side.
pub(super) struct LiveSink {
    bridge: Arc<Bridge>,
    drive: Drive<Player>,
    ring: rtrb::Producer<u8>,
    frame_bytes: usize,
    /// Frames ever put into the ring.
    pushed: u64,
}

impl LiveSink {
    pub fn open(mode: Mode, spec: &StreamSpec, opener: Opener<dyn Output>) -> Result<Self, Error> {
        let (mut sink, player, ring) = Self::prepare(mode, spec, opener)?;
        sink.drive.begin(player, ring);
        Ok(sink)
    }

    /// Both sides and the ring between them; nobody gives turns, and the player has not begun.
    pub fn prepare(
        mode: Mode,
        spec: &StreamSpec,
        opener: Opener<dyn Output>,
    ) -> Result<(Self, Player, rtrb::Consumer<u8>), Error> {
        let frame_bytes = spec.frame_bytes();
        let bridge = Bridge::new(mode)?;
        let player = Player::new(Arc::clone(&bridge), spec, opener);
        let frames =
            (bridge.target.load(Relaxed) as usize * 2).max((spec.rate_hz / RING) as usize).min(most_frames(spec));
        let (ring, consumer) = super::queue::ring(frames * frame_bytes)?;
        let drive = Drive::elsewhere(Arc::clone(&bridge));
        Ok((Self { bridge, drive, ring, frame_bytes, pushed: 0 }, player, consumer))
    }

    /// Makes the engine see immediately what the owner did.
    fn have_seen(&mut self) -> Result<(), Error> {
        self.drive.touch();
        self.drive.attend(Instant::now())
    }
}

impl HostStream for LiveSink {
    fn pacing(&self) -> Pacing<'_> {
        Pacing::Device(self.bridge.pace_fd())
    }

    fn opened(&mut self) -> Option<Result<(), Error>> {
        self.bridge.opened()
    }

    fn start(&mut self) -> Result<(), Error> {
        self.bridge.start();
        self.have_seen()
    }

    fn pause(&mut self, on: bool) -> Result<(), Error> {
        self.bridge.pause(on);
        self.have_seen()
    }

    fn stop(&mut self) -> Result<(), Error> {
        self.bridge.flush_until.store(self.pushed, Release);
        self.bridge.stop();
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

impl Sink for LiveSink {
    fn room_frames(&mut self) -> usize {
        let room = self.bridge.target.load(Relaxed).saturating_sub(self.queued_frames()) as usize;
        room.min(self.ring.slots() / self.frame_bytes)
    }

    fn write(&mut self, frames: &[u8]) -> Result<usize, Error> {
        let taken = self.room_frames().min(frames.len() / self.frame_bytes);
        if taken > 0 {
            // Cannot fail: there is that much room.
            let _ = self.ring.push_entire_slice(&frames[..taken * self.frame_bytes]);
            self.pushed += taken as u64;
            if self.bridge.running.load(Relaxed) {
                self.drive.touch();
            }
        }
        Ok(taken)
    }

    fn settle(&mut self) {
        self.drive.settle();
    }

    fn queued_frames(&mut self) -> u64 {
        let heard = self.bridge.heard.load(Acquire).max(self.bridge.flush_until.load(Relaxed));
        self.pushed.saturating_sub(heard)
    }

    fn finish(self: Box<Self>) {
        self.bridge.finish();
    }
}
