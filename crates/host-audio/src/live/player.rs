//! Player of a device: moves frames to it, and says what to wait for in between.

use super::bridge::Bridge;
use super::drive::{Engine, Wish};
use super::frames_to_time;
use super::playing::{Playing, Run};
use super::reopen::Opener;
use super::supply::Supply;
use super::{Output, until_leap};
use crate::StreamSpec;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// Shortest wait for a device whose position moves in leaps.
pub(super) const SHORTEST_WAIT: Duration = Duration::from_micros(500);
/// Time until a device that ran dry, or did not start, with frames left for it is tried again.
pub(super) const RETRY: Duration = Duration::from_millis(5);
/// Time that the end of a closed stream may take to be heard.
const TAIL: Duration = Duration::from_secs(1);

/// The player of a stream.
pub(super) struct Player {
    bridge: Arc<Bridge>,
    supply: Supply<dyn Output>,
    playing: Playing,
    rate_hz: u32,
    /// True if the last signal is overdue by the system's clock: the device's position moves in leaps.
    late: bool,
}

impl Player {
    pub fn new(bridge: Arc<Bridge>, spec: &StreamSpec, opener: Opener<dyn Output>) -> Self {
        let playing = Playing::new(Arc::clone(&bridge), spec);
        let supply = Supply::new(Arc::clone(&bridge), opener, spec.rate_hz);
        Self { bridge, supply, playing, rate_hz: spec.rate_hz, late: false }
    }

    /// Returns true while queued frames are to be heard before the end, and there is time left for them.
    fn has_to_finish(&self, ring: &rtrb::Consumer<u8>, deadline: &mut Option<Instant>) -> bool {
        let queued = self.playing.queued() > 0 || !ring.is_empty();
        let now = Instant::now();
        queued && self.bridge.is_finishing() && now < *deadline.get_or_insert(now + TAIL)
    }

    /// Waits until the device has played what counts as heard: up to [`Playing::lead`] frames of it may still be
    /// queued.
    fn play_tail(&mut self) {
        let deadline = Instant::now() + TAIL;
        while self.playing.lead > 0 && Instant::now() < deadline {
            match self.playing.device.delay(Instant::now()) {
                Ok(1..) => thread::sleep(Duration::from_millis(5)),
                _ => break,
            }
        }
        self.playing.device.finish();
    }

    /// The next event to wait for: a command, the next signal, or room in the device where room is missing.
    ///
    /// The time of the next signal follows from the position, so nobody waits for a device that reports its position
    /// well.
    fn wish(&self, now: Instant) -> Wish {
        let playing = &self.playing;
        let look = [self.supply.due_in(now), playing.rest_in(now)].into_iter().flatten().min();
        let within = |time: Duration| Some(look.map_or(time, |look| look.min(time)));
        let queued = playing.queued();
        match playing.run {
            Run::Running if queued > 0 || playing.full => {
                let to_signal = playing.beat.next().saturating_sub(playing.heard).clamp(1, queued.max(1));
                let signal = frames_to_time(to_signal, self.rate_hz).max(SHORTEST_WAIT);
                let room = ((playing.full || self.late) && !playing.clock.is_exact())
                    .then(|| until_leap(playing.period(), self.rate_hz, playing.moved_at, now));
                Wish { room, timeout: within(signal) }
            }
            Run::Stopped if playing.has_frames_to_play() => Wish { room: None, timeout: within(RETRY) },
            Run::Running | Run::Held | Run::Stopped => Wish { room: None, timeout: look },
        }
    }
}

impl Engine for Player {
    type Ring = rtrb::Consumer<u8>;

    fn begin(&mut self, patience: Duration, now: Instant) {
        self.supply.begin(patience, now);
    }

    fn turn(&mut self, ring: &mut Self::Ring, overdue: bool, now: Instant) -> Wish {
        self.supply.step(&mut self.playing, now);
        let progress = self.playing.turn(ring, now);
        self.late = overdue && !progress.told;
        self.supply.settle(&mut self.playing, progress, now);
        self.wish(now)
    }

    fn settle(&mut self) {
        self.playing.device.settle();
    }

    fn needs_thread(&self) -> bool {
        let devices = [Some(&*self.playing.device), self.supply.on_trial()];
        devices.into_iter().flatten().any(|device| !device.is_immediate())
    }

    fn has_device(&self) -> bool {
        self.supply.has_device()
    }

    fn run(mut self, mut ring: Self::Ring) {
        let (mut deadline, mut overdue) = (None, false);
        while !self.bridge.is_over() || self.has_to_finish(&ring, &mut deadline) {
            let wish = self.turn(&mut ring, overdue, Instant::now());
            self.settle();
            overdue = self.playing.device.wait(self.bridge.wake_fd(), wish.room.is_some(), wish.timeout);
            self.bridge.woken();
        }
        if self.playing.is_all_heard() {
            self.play_tail();
        }
        // Queued frames are not to be heard any more; an error changes nothing about that.
        let _ = self.playing.device.reset(Instant::now());
        self.supply.end();
    }
}
