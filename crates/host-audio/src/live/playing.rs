//! A device for playback: moves frames to it, and follows its position. Every method takes the time as a parameter.

use super::beat::Beat;
use super::bridge::Bridge;
use super::clock::Clock;
use super::queue::{Silence, queue_frames, reserve_frames};
use super::silent::SilentOutput;
use super::supply::{Progress, Side};
use super::{Fault, Opened, Output};
use crate::StreamSpec;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::{Duration, Instant};

/// Most xruns of a device in one turn; another one ends the turn.
pub(super) const MOST_RECOVERIES: u32 = 3;
/// Part of a second (50 ms) that a device on trial has to play: less may be a guess of its position.
const PROOF: u32 = 20;
/// Time after which a device that has played everything rests, until more comes: the host may suspend its card then.
/// Frames that count as heard may still be queued, and frames that come soon go on without a pause.
const REST: Duration = Duration::from_millis(500);

/// State of a device in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Run {
    /// Not started, or run dry since.
    Stopped,
    /// Playing.
    Running,
    /// Paused by its own means.
    Held,
}

/// A device, or its stand-in, and the stream's position.
pub(super) struct Playing {
    bridge: Arc<Bridge>,
    pub device: Box<dyn Output>,
    /// Period and need of the device, from [`Opened`].
    measures: (u64, u64),
    spec: StreamSpec,
    frame_bytes: usize,
    pub clock: Clock,
    pub beat: Beat,
    silence: Silence,
    /// Frames of silence that the device holds ahead of the stream's frames: the device needs more than the stream's
    /// owner has room for. Frames of silence count neither as queued nor as heard.
    pub lead: u64,
    /// Frames taken out of the ring, including flushed ones.
    popped: u64,
    /// Frames heard or flushed; never more than `popped`, never goes back. `moved_at` is the time of the last change.
    pub heard: u64,
    pub moved_at: Instant,
    /// The last flush that was done.
    flushed: u64,
    pub run: Run,
    /// True if the device ran dry while running; an xrun if more comes.
    dry: bool,
    /// True if the ring holds frames that the device did not take.
    pub full: bool,
    /// Time since which a device that was started has nothing to play.
    idle_since: Option<Instant>,
    /// True if the device may be running: it has not been reset since it was last started.
    active: bool,
    /// Frames of silence that the device held when its trial began.
    trial_frames: u64,
}

impl Playing {
    pub fn new(bridge: Arc<Bridge>, spec: &StreamSpec) -> Self {
        let frame_bytes = spec.frame_bytes();
        let queue = reserve_frames(spec, 0);
        bridge.target.store(queue, Relaxed);
        Self {
            bridge,
            device: Box::new(SilentOutput::new(frame_bytes, spec.rate_hz, 0, queue)),
            measures: (0, 0),
            spec: *spec,
            frame_bytes,
            clock: Clock::new(spec.rate_hz, queue / 4, Instant::now()),
            beat: Beat::new(spec.period_frames, queue / 2, spec.rate_hz),
            silence: Silence::new(spec),
            lead: 0,
            popped: 0,
            heard: 0,
            moved_at: Instant::now(),
            flushed: 0,
            run: Run::Stopped,
            dry: false,
            full: false,
            idle_since: None,
            active: false,
            trial_frames: 0,
        }
    }

    /// Frames that the device has and that are not heard yet.
    pub fn queued(&self) -> u64 {
        self.popped - self.heard
    }

    /// The device's own period.
    pub fn period(&self) -> u64 {
        self.measures.0
    }

    /// Returns true if something was played, and all of it was heard.
    pub fn is_all_heard(&self) -> bool {
        self.popped > 0 && self.heard == self.popped
    }

    /// Returns true if the stream's owner wants to hear frames that were not heard.
    pub fn has_frames_to_play(&self) -> bool {
        (self.queued() > 0 || self.full) && self.bridge.is_wanted()
    }

    /// Number of frames to be queued with a device of such `measures`, and number of frames of silence that it needs in
    /// addition.
    fn shares(&self, (period, need): (u64, u64)) -> (u64, u64) {
        (reserve_frames(&self.spec, period), need.saturating_sub(queue_frames(&self.spec, period)))
    }

    /// Frames after which the device is refilled: its period; but one that has room for the whole queue may first lose
    /// half of what it does not need, and where no thread has to be woken for it, a period of the owner's: the owner is
    /// told then anyway.
    fn refill_frames(&mut self, target: u64, now: Instant) -> u64 {
        let (period, need) = self.measures;
        let room = self.device.room(now).unwrap_or(0) + self.device.delay(now).unwrap_or(0);
        let spare = if room >= target + self.lead { target.saturating_sub(need) } else { 0 };
        let owners = u64::from(self.spec.period_frames);
        let at_once = self.device.is_immediate() && owners <= spare;
        (spare / 2).max(if at_once { owners } else { 0 }).max(period).min(target / 2).max(1)
    }

    /// Gives device and ring a turn.
    pub fn turn(&mut self, ring: &mut rtrb::Consumer<u8>, now: Instant) -> Progress {
        let before = self.heard;
        let result = match self.serve(ring, now) {
            // The device is stopped and empty; a later turn starts it again.
            Err(Fault::Xrun) => {
                self.ran_dry();
                Ok(())
            }
            result => result,
        };
        let (told, result) = match result {
            Ok(()) => self.follow(now),
            lost => (false, lost),
        };
        let is_idle = self.active && self.run != Run::Held && self.queued() == 0 && ring.is_empty();
        self.idle_since = if is_idle { self.idle_since.or(Some(now)) } else { None };
        let moved = self.heard != before;
        if moved {
            self.moved_at = now;
        }
        Progress { result, moved, told }
    }

    fn serve(&mut self, ring: &mut rtrb::Consumer<u8>, now: Instant) -> Result<(), Fault> {
        self.device.attend(now)?;
        self.flush(ring, now)?;
        self.rest(now)?;
        if let Some(volume) = self.device.take_volume() {
            self.bridge.set_server_volume(Some(volume));
        }
        if self.bridge.is_wanted() {
            self.go_on(now)?;
            self.feed(ring, now)?;
        } else if self.bridge.running.load(Acquire) {
            self.hold(now)?;
        }
        Ok(())
    }

    /// Discards what was queued before the last flush.
    fn flush(&mut self, ring: &mut rtrb::Consumer<u8>, now: Instant) -> Result<(), Fault> {
        let until = self.bridge.flush_until.load(Acquire);
        if until <= self.flushed {
            return Ok(());
        }
        self.flushed = until;
        // The end of what counts as heard may still be on its way: the device runs dry by itself.
        let tail = self.heard >= until;
        let frames = until.saturating_sub(self.popped);
        if let Ok(chunk) = ring.read_chunk(frames as usize * self.frame_bytes) {
            chunk.commit_all();
            self.popped += frames;
        }
        (self.run, self.dry) = (Run::Stopped, false);
        self.full = !ring.is_empty();
        self.heard = self.popped;
        self.beat.restart(self.heard);
        self.bridge.heard.store(self.heard, Release);
        if frames > 0 {
            // The owner may wait for room in the ring.
            self.bridge.signal();
        }
        if tail {
            return Ok(());
        }
        self.active = false;
        self.device.reset(now)
    }

    /// Lets a device rest that had nothing to play for a while.
    fn rest(&mut self, now: Instant) -> Result<(), Fault> {
        if self.rest_in(now) == Some(Duration::ZERO) {
            (self.active, self.idle_since, self.run) = (false, None, Run::Stopped);
            self.device.reset(now)?;
        }
        Ok(())
    }

    /// Time until the device is to rest, if nothing comes.
    pub fn rest_in(&self, now: Instant) -> Option<Duration> {
        self.idle_since.map(|since| REST.saturating_sub(now.saturating_duration_since(since)))
    }

    /// Ends a pause.
    fn go_on(&mut self, now: Instant) -> Result<(), Fault> {
        if self.run == Run::Held {
            self.run = Run::Running;
            self.clock.restart(self.heard, now);
            self.device.pause(false, now)?;
        }
        Ok(())
    }

    /// Pauses; a device that cannot pause plays what it has and gets no more.
    fn hold(&mut self, now: Instant) -> Result<(), Fault> {
        self.dry = false;
        if self.run == Run::Running && self.device.pause(true, now)? {
            self.run = Run::Held;
        }
        Ok(())
    }

    /// Moves frames from the ring to the device, and starts it.
    fn feed(&mut self, ring: &mut rtrb::Consumer<u8>, now: Instant) -> Result<(), Fault> {
        let mut recoveries = 0;
        loop {
            match self.feed_once(ring, now) {
                Ok(true) => {}
                Ok(false) => break,
                Err(Fault::Xrun) if recoveries < MOST_RECOVERIES => {
                    recoveries += 1;
                    self.ran_dry();
                }
                Err(fault) => return Err(fault),
            }
        }
        if self.run == Run::Stopped && self.queued() > 0 {
            self.clock.restart(self.heard, now);
            self.device.start(now)?;
            (self.run, self.active) = (Run::Running, true);
        }
        Ok(())
    }

    /// Moves one stretch of the ring; false when there is no more to move.
    fn feed_once(&mut self, ring: &mut rtrb::Consumer<u8>, now: Instant) -> Result<bool, Fault> {
        let ready = ring.slots() / self.frame_bytes;
        if self.bridge.flush_until.load(Acquire) > self.flushed {
            // Frames behind the flushed ones must not be lost with them.
            self.flush(ring, now)?;
            return Ok(true);
        }
        self.full = ready > 0;
        if ready == 0 {
            return Ok(false);
        }
        if self.queued() == 0 {
            self.silence.fill_up(self.device.as_mut(), self.lead, now)?;
            self.clock.restart(self.heard, now);
        }
        let room = self.device.room(now)?;
        let frames = ready.min(room as usize);
        self.full = ready > frames;
        if frames == 0 {
            return Ok(false);
        }
        let Ok(chunk) = ring.read_chunk(frames * self.frame_bytes) else { return Ok(false) };
        // The ring's size is a multiple of a frame, so no frame is split.
        let written = self.device.write(chunk.as_slices().0, now)?;
        chunk.commit(written * self.frame_bytes);
        self.popped += written as u64;
        if written > 0 && std::mem::take(&mut self.dry) {
            self.bridge.xruns.fetch_add(1, Relaxed);
        }
        Ok(written > 0)
    }

    /// The device ran dry: all that it had was heard.
    fn ran_dry(&mut self) {
        self.dry |= self.run != Run::Stopped;
        self.run = Run::Stopped;
        self.heard = self.popped;
    }

    /// Follows the device's position, publishes it, and signals each period; returns true if it signalled.
    fn follow(&mut self, now: Instant) -> (bool, Result<(), Fault>) {
        let mut outcome = Ok(());
        if self.run == Run::Running {
            match self.device.delay(now) {
                Ok(delay) => {
                    let claimed = self.popped.saturating_sub(delay.saturating_sub(self.lead));
                    self.heard = self.heard.max(self.clock.limit(claimed, now));
                }
                Err(Fault::Xrun) => self.ran_dry(),
                Err(fault) => outcome = Err(fault),
            }
        }
        self.bridge.heard.store(self.heard, Release);
        let ran_out = self.heard == self.popped && self.beat.told() != self.heard;
        // A device without a clock does not report that it ran dry.
        self.dry |= ran_out && self.run == Run::Running;
        if ran_out && self.run == Run::Running && outcome.is_ok() {
            outcome = self.device.ran_out(now);
        }
        let told = self.beat.reached(self.heard) || ran_out;
        if told {
            self.beat.tell(self.heard);
            self.bridge.signal();
        }
        (told, outcome)
    }
}

impl Side<dyn Output> for Playing {
    fn is_busy(&self) -> bool {
        self.run == Run::Running
    }

    fn has_to_move(&self) -> bool {
        self.has_frames_to_play()
    }

    /// Plays as silence what the stand-in had queued.
    fn take_up(&mut self, opened: Opened<dyn Output>, now: Instant) -> u64 {
        let queued = self.queued();
        self.measures = (opened.period, opened.need);
        self.device = opened.device;
        self.device.report_to(self.bridge.pace());
        let (target, lead) = self.shares(self.measures);
        self.lead = lead;
        self.clock = Clock::new(self.spec.rate_hz, target / 4, now);
        self.clock.restart(self.heard, now);
        let refill = self.refill_frames(target, now);
        self.beat.refill_every(refill);
        self.bridge.target.store(target, Relaxed);
        // The device may run: it has played silence on trial.
        (self.run, self.active, self.idle_since) = (Run::Stopped, true, None);
        let _ = self.silence.fill_up(self.device.as_mut(), lead + queued, now);
        target.max(opened.period * 2).max(opened.need)
    }

    fn stand_in(&mut self, now: Instant) -> Opened<dyn Output> {
        let target = self.bridge.target.load(Relaxed);
        let mut stand_in = SilentOutput::new(self.frame_bytes, self.spec.rate_hz, self.queued(), target);
        if self.run == Run::Running {
            stand_in.begin(now);
        }
        self.bridge.set_server_volume(None);
        self.lead = 0;
        self.clock = Clock::new(self.spec.rate_hz, target, now);
        self.clock.restart(self.heard, now);
        let (period, need) = self.measures;
        Opened { device: std::mem::replace(&mut self.device, Box::new(stand_in)), period, need }
    }

    fn reset(&mut self, opened: &mut Opened<dyn Output>, now: Instant) -> Result<(), Fault> {
        opened.device.reset(now)
    }

    /// Plays silence, until the device is far enough to take over.
    fn try_out(&mut self, opened: &mut Opened<dyn Output>, now: Instant) -> Result<(), Fault> {
        let (_, lead) = self.shares((opened.period, opened.need));
        let frames = lead + self.queued() + u64::from(self.spec.rate_hz / PROOF);
        let device = opened.device.as_mut();
        // Stays 0 where the device plays all of that within no time.
        self.trial_frames = 0;
        self.silence.fill_up(device, frames, now)?;
        device.start(now)?;
        self.trial_frames = device.delay(now)?;
        Ok(())
    }

    fn has_proven(&mut self, opened: &mut Opened<dyn Output>, now: Instant) -> Result<bool, Fault> {
        // Position of the stand-in by now.
        let _ = self.follow(now);
        let (_, lead) = self.shares((opened.period, opened.need));
        let proof = u64::from(self.spec.rate_hz / PROOF).min(self.trial_frames / 2);
        let busy = self.is_busy();
        let proven = match opened.device.delay(now) {
            Ok(held) => held + proof <= self.trial_frames && (!busy || held <= lead + self.queued()),
            Err(Fault::Xrun) => true,
            Err(lost) => return Err(lost),
        };
        if proven && !busy {
            opened.device.reset(now)?;
        }
        Ok(proven)
    }
}
