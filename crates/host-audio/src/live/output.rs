//! A device for playback as a sink: the control thread's side and the thread's.

use super::beat::Beat;
use super::clock::Clock;
use super::link::{Link, Mode};
use super::reopen::Opener;
use super::silent::SilentOutput;
use super::{Fault, Opened, Output, frames_to_time};
use crate::{Error, Notice, Pacing, Sink, StreamSpec, WhenAbsent};
use pcm::Gain;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::thread;
use std::time::{Duration, Instant};

/// A device that fails more often than this without taking a frame has its turn ended.
pub(super) const MOST_RECOVERIES: u32 = 3;
/// How long opening a stream waits for a device to open.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);
/// The period of a stream whose owner wishes none, and the longest that is queued twice, as parts of a second: 20 and
/// 100 ms.
const USUAL_PERIOD: u32 = 50;
const LONGEST_PERIOD: u32 = 10;
/// The queue is not shorter than this part of a second (10 ms) where the stream's buffer allows it: what its owner
/// is late by must not be heard.
const SHORTEST_QUEUE: u32 = 100;
/// A device that plays nothing for so long is as good as gone.
const STUCK: Duration = Duration::from_secs(1);
/// The same before it has played anything, unless it stood still the last time.
const STUCK_AT_FIRST: Duration = Duration::from_secs(4);
/// How long the end of a stream that is closed may take to be heard.
const TAIL: Duration = Duration::from_secs(1);
/// The ring holds this part of a second (200 ms), and at least two queues.
const RING: u32 = 5;

/// The control thread's side.
pub(super) struct LiveSink {
    link: Arc<Link>,
    ring: rtrb::Producer<u8>,
    frame_bytes: usize,
    has_volume: bool,
    /// Frames ever put into the ring.
    pushed: u64,
}

impl LiveSink {
    pub fn open(mode: Mode, has_volume: bool, spec: &StreamSpec, opener: Opener<dyn Output>) -> Result<Self, Error> {
        let (sink, player, ring) = Self::prepare(mode, has_volume, spec, opener)?;
        sink.link.spawn(move || player.run(ring))?;
        Ok(sink)
    }

    /// Both sides and what lies between them; no thread runs.
    pub fn prepare(
        mode: Mode,
        has_volume: bool,
        spec: &StreamSpec,
        opener: Opener<dyn Output>,
    ) -> Result<(Self, Player, rtrb::Consumer<u8>), Error> {
        let frame_bytes = spec.frame_bytes();
        let link = Link::new(mode)?;
        let mut player = Player::new(Arc::clone(&link), spec, opener);
        let first = player.opener.attempt(&link, PATIENCE);
        player.begin(first, Instant::now())?;
        let frames = (link.target.load(Relaxed) as usize * 2).max((spec.rate_hz / RING) as usize);
        let (ring, consumer) = rtrb::RingBuffer::new(frames * frame_bytes);
        Ok((Self { link, ring, frame_bytes, has_volume, pushed: 0 }, player, consumer))
    }
}

impl Sink for LiveSink {
    fn pacing(&self) -> Pacing<'_> {
        Pacing::Device(self.link.pace_fd())
    }

    fn room_frames(&mut self) -> usize {
        let room = self.link.target.load(Relaxed).saturating_sub(self.queued_frames()) as usize;
        room.min(self.ring.slots() / self.frame_bytes)
    }

    fn write(&mut self, frames: &[u8]) -> Result<usize, Error> {
        let taken = self.room_frames().min(frames.len() / self.frame_bytes);
        if taken > 0 {
            // Cannot fail: there is that much room.
            let _ = self.ring.push_entire_slice(&frames[..taken * self.frame_bytes]);
            self.pushed += taken as u64;
            if self.link.running.load(Relaxed) {
                self.link.wake();
            }
        }
        Ok(taken)
    }

    fn queued_frames(&mut self) -> u64 {
        let heard = self.link.heard.load(Acquire).max(self.link.flush_until.load(Relaxed));
        self.pushed.saturating_sub(heard)
    }

    fn start(&mut self) -> Result<(), Error> {
        self.link.paused.store(false, Release);
        self.link.running.store(true, Release);
        self.link.wake();
        Ok(())
    }

    fn pause(&mut self, on: bool) -> Result<(), Error> {
        self.link.paused.store(on, Release);
        self.link.wake();
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.link.flush_until.store(self.pushed, Release);
        self.link.wake();
        Ok(())
    }

    fn stop(&mut self) -> Result<(), Error> {
        self.link.running.store(false, Release);
        self.link.paused.store(false, Release);
        self.flush()
    }

    fn set_gain(&mut self, gain: &Gain) -> bool {
        if self.has_volume {
            self.link.set_gain(gain);
        }
        self.has_volume
    }

    fn xruns(&self) -> u64 {
        self.link.xruns.load(Relaxed)
    }

    fn notice(&mut self) -> Option<Notice> {
        self.link.take_notice()
    }

    fn acknowledge(&mut self) -> Result<(), Error> {
        self.link.acknowledge();
        Ok(())
    }
}

impl Drop for LiveSink {
    fn drop(&mut self) {
        self.link.close();
    }
}

/// Notes whether a device moves.
#[derive(Debug)]
pub(super) struct Watch {
    /// When it last did, or had no reason to.
    since: Instant,
    ever: bool,
}

impl Watch {
    /// `patient`: it may be busy with what it was asked for before.
    pub fn new(now: Instant, patient: bool) -> Self {
        Self { since: now, ever: !patient }
    }

    /// It moved (`really`), or had no reason to.
    pub fn moved(&mut self, now: Instant, really: bool) {
        self.since = now;
        self.ever |= really;
    }

    pub fn is_stuck(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= if self.ever { STUCK } else { STUCK_AT_FIRST }
    }
}

/// What the thread waits for besides its link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wish {
    /// Room in the device, or a position that is overdue.
    pub room: bool,
    pub timeout: Option<Duration>,
}

/// The thread's side. Everything in it takes the time as a parameter.
pub(super) struct Player {
    link: Arc<Link>,
    opener: Opener<dyn Output>,
    device: Box<dyn Output>,
    /// The device is there; otherwise `device` stands in for it.
    present: bool,
    spec: StreamSpec,
    frame_bytes: usize,
    clock: Clock,
    beat: Beat,
    /// A frame of silence after the other, for [`Self::lead`].
    silence: Vec<u8>,
    /// Frames of silence that the device holds ahead of the stream's frames: it needs more than the stream's
    /// owner has room for. They count neither as queued nor as heard.
    lead: u64,
    /// Frames taken out of the ring, those that were flushed included.
    popped: u64,
    /// Frames heard or flushed; never more than `popped`, never goes back.
    heard: u64,
    /// The last flush that was done.
    flushed: u64,
    watch: Watch,
    /// The device was last lost because it stood still.
    was_stuck: bool,
    /// The device was started and has not run dry since.
    started: bool,
    /// The device is paused by its own means.
    held: bool,
    /// It ran dry while running; an xrun if more comes.
    dry: bool,
    /// The ring holds frames that the device has no room for.
    full: bool,
    /// The last signal is overdue by the system's clock: the device's position moves in leaps.
    late: bool,
}

impl Player {
    pub fn new(link: Arc<Link>, spec: &StreamSpec, opener: Opener<dyn Output>) -> Self {
        let frame_bytes = spec.frame_bytes();
        let queue = queue(spec, 0);
        let mut silence = vec![0; (spec.rate_hz / USUAL_PERIOD).max(1) as usize * frame_bytes];
        pcm::fill_silence(spec.format, &mut silence);
        link.target.store(queue, Relaxed);
        Self {
            link,
            opener,
            device: Box::new(SilentOutput::new(frame_bytes, spec.rate_hz, 0, queue)),
            present: false,
            spec: *spec,
            frame_bytes,
            clock: Clock::new(spec.rate_hz, queue / 4, Instant::now()),
            beat: Beat::new(spec.period_frames, queue / 2, spec.rate_hz),
            silence,
            lead: 0,
            popped: 0,
            heard: 0,
            flushed: 0,
            watch: Watch::new(Instant::now(), true),
            was_stuck: false,
            started: false,
            held: false,
            dry: false,
            full: false,
            late: false,
        }
    }

    /// Takes up the outcome of the first attempt to open the device.
    pub fn begin(&mut self, first: Option<Result<Opened<dyn Output>, Error>>, now: Instant) -> Result<(), Error> {
        let outcome = match first {
            Some(outcome) => outcome,
            None => Err(Error::Slow { device: self.link.mode().name.clone() }),
        };
        match outcome {
            Ok(opened) => self.take_up(opened, now),
            Err(error) if self.link.mode().absent == WhenAbsent::Refuse => return Err(error),
            Err(error) => {
                self.link.notify(Notice::Lost(error));
                self.opener.again(now);
            }
        }
        Ok(())
    }

    fn run(mut self, mut ring: rtrb::Consumer<u8>) {
        while !self.link.is_over() {
            let wish = self.step(&mut ring, Instant::now());
            self.late = self.device.wait(self.link.wake_fd(), wish.room, wish.timeout);
            self.link.woken();
        }
        if self.popped > 0 && self.heard == self.popped {
            self.play_tail();
        }
        // What is queued is not to be heard any more; an error changes nothing about that.
        let _ = self.device.reset(Instant::now());
    }

    /// Waits until the device has played what counts as heard: it may lie behind [`Self::lead`].
    fn play_tail(&mut self) {
        let deadline = Instant::now() + TAIL;
        while self.lead > 0 && Instant::now() < deadline {
            match self.device.delay(Instant::now()) {
                Ok(1..) => thread::sleep(Duration::from_millis(5)),
                _ => break,
            }
        }
        self.device.finish();
    }

    /// Does what is due, and says what to wait for.
    pub fn step(&mut self, ring: &mut rtrb::Consumer<u8>, now: Instant) -> Wish {
        if !self.present {
            match self.opener.poll(&self.link, now) {
                Some(Ok(opened)) => {
                    self.take_up(opened, now);
                    self.link.notify(Notice::Back);
                }
                Some(Err(_)) => self.opener.again(now),
                None => {}
            }
        }
        match self.turn(ring, now) {
            Ok(()) => {}
            // It is stopped and empty, the next turn starts it again.
            Err(Fault::Xrun) => self.ran_dry(),
            Err(Fault::Lost(error)) => self.lose(error, now),
        }
        self.wish(now)
    }

    /// From now on the device is there. What its stand-in had queued, it plays as silence.
    fn take_up(&mut self, opened: Opened<dyn Output>, now: Instant) {
        let queued = self.popped - self.heard;
        self.device = opened.device;
        self.present = true;
        self.watch = Watch::new(now, !self.was_stuck);
        let target = queue(&self.spec, opened.period);
        self.lead = opened.need.saturating_sub(target);
        self.clock = Clock::new(self.spec.rate_hz, target / 4, now);
        self.clock.restart(self.heard, now);
        self.beat.refill_every(opened.period.min(target / 2).max(1));
        self.link.target.store(target, Relaxed);
        (self.started, self.held, self.full) = (false, false, false);
        let _ = self.fill_up(self.lead + queued, now);
        if let Some(gain) = self.link.take_gain(true) {
            let _ = self.device.set_gain(&gain);
        }
    }

    /// From now on the device is not there.
    fn lose(&mut self, error: Error, now: Instant) {
        let queued = self.popped - self.heard;
        let target = self.link.target.load(Relaxed);
        self.device = Box::new(SilentOutput::new(self.frame_bytes, self.spec.rate_hz, queued, target));
        self.present = false;
        (self.started, self.held, self.full, self.lead) = (false, false, false, 0);
        self.clock = Clock::new(self.spec.rate_hz, target, now);
        self.clock.restart(self.heard, now);
        self.was_stuck = matches!(error, Error::Stuck { .. });
        self.link.notify(Notice::Lost(error));
        self.opener.again(now);
    }

    fn turn(&mut self, ring: &mut rtrb::Consumer<u8>, now: Instant) -> Result<(), Fault> {
        self.flush(ring, now)?;
        if let Some(gain) = self.link.take_gain(false) {
            self.device.set_gain(&gain)?;
        }
        let running = self.link.running.load(Acquire);
        if running && !self.link.paused.load(Acquire) {
            self.go_on(now)?;
            self.feed(ring, now)?;
        } else if running {
            self.hold(now)?;
        }
        self.follow(now)
    }

    /// Forgets what was queued before the last flush.
    fn flush(&mut self, ring: &mut rtrb::Consumer<u8>, now: Instant) -> Result<(), Fault> {
        let until = self.link.flush_until.load(Acquire);
        if until <= self.flushed {
            return Ok(());
        }
        self.flushed = until;
        // Of what counts as heard the end may still be on its way: let it run dry by itself.
        let tail = self.heard >= until;
        let frames = until.saturating_sub(self.popped);
        if let Ok(chunk) = ring.read_chunk(frames as usize * self.frame_bytes) {
            chunk.commit_all();
            self.popped += frames;
        }
        (self.started, self.held, self.dry) = (false, false, false);
        self.heard = self.popped;
        self.beat.restart(self.heard);
        self.link.heard.store(self.heard, Release);
        if tail { Ok(()) } else { self.device.reset(now) }
    }

    /// Ends a pause.
    fn go_on(&mut self, now: Instant) -> Result<(), Fault> {
        if self.held {
            self.held = false;
            self.clock.restart(self.heard, now);
            self.device.pause(false, now)?;
        }
        Ok(())
    }

    /// Pauses; a device that cannot pause plays what it has, about two periods, and gets no more.
    fn hold(&mut self, now: Instant) -> Result<(), Fault> {
        self.dry = false;
        if self.started && !self.held {
            self.held = self.device.pause(true, now)?;
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
        if !self.started && self.heard < self.popped {
            self.clock.restart(self.heard, now);
            self.device.start(now)?;
            self.started = true;
        }
        Ok(())
    }

    /// One stretch of the ring; false when there is no more to move.
    fn feed_once(&mut self, ring: &mut rtrb::Consumer<u8>, now: Instant) -> Result<bool, Fault> {
        let ready = ring.slots() / self.frame_bytes;
        if self.link.flush_until.load(Acquire) > self.flushed {
            // What lies behind the flushed frames must not be lost with them.
            self.flush(ring, now)?;
            return Ok(true);
        }
        if ready == 0 {
            self.full = false;
            return Ok(false);
        }
        if self.heard == self.popped {
            self.fill_up(self.lead, now)?;
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
            self.link.xruns.fetch_add(1, Relaxed);
        }
        Ok(written > 0)
    }

    /// Queues silence until the device holds `frames`.
    fn fill_up(&mut self, frames: u64, now: Instant) -> Result<(), Fault> {
        let mut missing = frames.saturating_sub(self.device.delay(now)?) as usize;
        while missing > 0 {
            let octets = (missing * self.frame_bytes).min(self.silence.len());
            match self.device.write(&self.silence[..octets], now)? {
                0 => break,
                written => missing -= written,
            }
        }
        Ok(())
    }

    /// The device ran dry: all that it had was heard.
    fn ran_dry(&mut self) {
        self.dry |= self.started;
        (self.started, self.held) = (false, false);
        self.heard = self.popped;
    }

    /// Finds out how far the device is, publishes it, and signals each period.
    fn follow(&mut self, now: Instant) -> Result<(), Fault> {
        let mut outcome = Ok(());
        let before = self.heard;
        if self.started && !self.held {
            match self.device.delay(now) {
                Ok(delay) => {
                    let claimed = self.popped.saturating_sub(delay.saturating_sub(self.lead));
                    self.heard = self.heard.max(self.clock.limit(claimed, now));
                }
                Err(Fault::Xrun) => self.ran_dry(),
                Err(fault) => outcome = Err(fault),
            }
        }
        if self.heard != before || !self.present || !self.started || self.held || self.heard == self.popped {
            self.watch.moved(now, self.heard != before);
        } else if self.watch.is_stuck(now) {
            outcome = Err(Fault::Lost(Error::Stuck { device: self.link.mode().name.clone() }));
        }
        self.link.heard.store(self.heard, Release);
        let ran_out = self.heard == self.popped && self.beat.told() != self.heard;
        // A device without a clock does not say that it ran dry.
        self.dry |= ran_out && self.started && !self.held;
        if ran_out && self.started && !self.held && outcome.is_ok() {
            outcome = self.device.ran_out(now);
        }
        if self.beat.reached(self.heard) || ran_out {
            self.beat.tell(self.heard);
            self.late = false;
            if self.present {
                self.opener.rest();
            }
            self.link.signal();
        }
        outcome
    }

    /// A command, the next signal, room in the device where that is what is missing.
    ///
    /// The time of the next signal follows from the position, so a device that tells it well is not waited for.
    fn wish(&mut self, now: Instant) -> Wish {
        let reopen = if self.present { None } else { self.opener.due_in(now) };
        let queued = self.popped - self.heard;
        if self.held || !self.started || queued == 0 {
            return Wish { room: false, timeout: reopen };
        }
        let to_signal = self.beat.next().saturating_sub(self.heard).clamp(1, queued);
        let signal = frames_to_time(to_signal, self.spec.rate_hz).max(SHORTEST_WAIT);
        let timeout = Some(reopen.map_or(signal, |reopen| reopen.min(signal)));
        Wish { room: (self.full || self.late) && !self.clock.is_exact(), timeout }
    }
}

/// A device whose position moves in leaps is not asked more often.
pub(super) const SHORTEST_WAIT: Duration = Duration::from_micros(500);

/// How long the queue is kept for a device with this `period`, in frames: two periods, but not more than the
/// stream's owner has room for.
fn queue(spec: &StreamSpec, period: u64) -> u64 {
    let wish = match spec.period_frames {
        0 => spec.rate_hz / USUAL_PERIOD,
        period => period.min(spec.rate_hz / LONGEST_PERIOD),
    };
    let queue = (u64::from(wish).max(period) * 2).max(u64::from(spec.rate_hz / SHORTEST_QUEUE));
    let most = if spec.buffer_frames == 0 { u64::MAX } else { u64::from(spec.buffer_frames) };
    queue.min(most).max(2)
}
