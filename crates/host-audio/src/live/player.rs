//! A device for playback: the thread's side.

use super::beat::Beat;
use super::clock::Clock;
use super::link::Link;
use super::reopen::Opener;
use super::silent::SilentOutput;
use super::watch::{LOOK_EVERY, Trial, Watch};
use super::{Fault, Opened, Output, frames_to_time};
use crate::{Error, Notice, StreamSpec};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::thread;
use std::time::{Duration, Instant};

/// A device that fails more often than this without taking a frame has its turn ended.
pub(super) const MOST_RECOVERIES: u32 = 3;
/// A device whose position moves in leaps is not asked more often.
pub(super) const SHORTEST_WAIT: Duration = Duration::from_micros(500);

/// The period of a stream whose owner wishes none, and the longest that is queued twice, as parts of a second: 20 and
/// 100 ms.
const USUAL_PERIOD: u32 = 50;
const LONGEST_PERIOD: u32 = 10;
/// No stream is taken to have less queued than this part of a second (10 ms) where its buffer allows it.
const SHORTEST_QUEUE: u32 = 100;
/// The queue may grow to this part of a second (40 ms) where the stream's buffer allows it. What is taken out of that buffer
/// early is heard no later for it, and what the host is late by is not heard.
const RESERVE: u32 = 25;
/// How long the end of a stream that is closed may take to be heard.
const TAIL: Duration = Duration::from_secs(1);

/// A device on trial has played this part of a second (50 ms): less may be a guess of its position.
const PROOF: u32 = 20;

/// What the thread waits for besides its link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wish {
    /// Room in the device, or a position that is overdue.
    pub room: bool,
    pub timeout: Option<Duration>,
}

/// Silence in a stream's format.
struct Silence {
    frames: Vec<u8>,
    frame_bytes: usize,
}

impl Silence {
    fn new(spec: &StreamSpec) -> Self {
        let frame_bytes = spec.frame_bytes();
        let mut frames = vec![0; (spec.rate_hz / USUAL_PERIOD).max(1) as usize * frame_bytes];
        pcm::fill_silence(spec.format, &mut frames);
        Self { frames, frame_bytes }
    }

    /// Queues silence until the device holds `frames`, as far as it takes them.
    fn fill_up(&self, device: &mut dyn Output, frames: u64, now: Instant) -> Result<(), Fault> {
        let mut missing = frames.saturating_sub(device.delay(now)?) as usize;
        while missing > 0 {
            let octets = (missing * self.frame_bytes).min(self.frames.len());
            match device.write(&self.frames[..octets], now)? {
                0 => break,
                written => missing = missing.saturating_sub(written),
            }
        }
        Ok(())
    }
}

/// The thread's side. Everything in it takes the time as a parameter.
pub(super) struct Player {
    link: Arc<Link>,
    opener: Opener<dyn Output>,
    device: Box<dyn Output>,
    /// The device is there; otherwise `device` stands in for it.
    present: bool,
    /// The device's own period and need, of which [`Opened`] tells.
    measures: (u64, u64),
    /// The device, where it is to prove that it moves before it is used (again).
    trial: Option<Trial<dyn Output>>,
    spec: StreamSpec,
    frame_bytes: usize,
    clock: Clock,
    beat: Beat,
    silence: Silence,
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
        let queue = reserve_frames(spec, 0);
        link.target.store(queue, Relaxed);
        Self {
            link,
            opener,
            device: Box::new(SilentOutput::new(frame_bytes, spec.rate_hz, 0, queue)),
            present: false,
            measures: (0, 0),
            trial: None,
            spec: *spec,
            frame_bytes,
            clock: Clock::new(spec.rate_hz, queue / 4, Instant::now()),
            beat: Beat::new(spec.period_frames, queue / 2, spec.rate_hz),
            silence: Silence::new(spec),
            lead: 0,
            popped: 0,
            heard: 0,
            flushed: 0,
            watch: Watch::new(queue, spec.rate_hz, true, Instant::now()),
            started: false,
            held: false,
            dry: false,
            full: false,
            late: false,
        }
    }

    /// Opens the device, but does not wait for it longer than `patience`.
    pub fn begin(&mut self, patience: Duration, now: Instant) -> Result<(), Error> {
        match self.opener.first(&self.link, patience)? {
            Ok(opened) => self.take_up(opened, true, now),
            Err(error) => self.give_up(error, false, now),
        }
        Ok(())
    }

    pub fn run(mut self, mut ring: rtrb::Consumer<u8>) {
        let begun = self.begin(self.link.mode().patience, Instant::now());
        let refused = begun.is_err();
        self.link.decide(begun);
        if refused {
            return;
        }
        let mut deadline = None;
        while !self.link.is_over() || self.has_to_finish(&ring, &mut deadline) {
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

    /// What is queued is to be heard before the end, and there is time left for it.
    fn has_to_finish(&self, ring: &rtrb::Consumer<u8>, deadline: &mut Option<Instant>) -> bool {
        let queued = self.heard < self.popped || !ring.is_empty();
        let now = Instant::now();
        queued && self.link.is_finishing() && now < *deadline.get_or_insert(now + TAIL)
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
            self.judge(now);
            match self.opener.poll(&self.link, now) {
                Some(Ok(opened)) if self.is_idle() => {
                    self.take_up(opened, false, now);
                    self.link.notify(Notice::Back);
                }
                Some(Ok(opened)) => self.try_out(opened, true, now),
                Some(Err(_)) => self.opener.again(now),
                None => {}
            }
        }
        self.watch.look(now);
        if !self.has_to_move() {
            // Since the last look, however long ago that was.
            self.watch.idle(now);
        }
        match self.turn(ring, now) {
            Ok(()) if self.present && self.watch.stands_still(now) => self.set_aside(now),
            Ok(()) => {}
            // It is stopped and empty, the next turn starts it again.
            Err(Fault::Xrun) => self.ran_dry(),
            Err(Fault::Lost(error)) => self.lose(error, now),
        }
        self.wish(now)
    }

    /// There is nothing to play by the stream's owner's will.
    fn is_idle(&self) -> bool {
        !self.started || self.held
    }

    /// The device has frames to play, or is to be given some.
    fn has_to_move(&self) -> bool {
        let waiting = self.full && !self.link.paused.load(Acquire);
        self.present && !self.is_idle() && (self.heard < self.popped || waiting)
    }

    /// How many frames are to be queued with a device of such `measures`, and how many more it needs as silence.
    fn shares(&self, measures: (u64, u64)) -> (u64, u64) {
        let (period, need) = measures;
        (reserve_frames(&self.spec, period), need.saturating_sub(queue_frames(&self.spec, period)))
    }

    /// From now on the device is there. What its stand-in had queued, it plays as silence. `first`: it was just opened
    /// and did not prove that it moves.
    fn take_up(&mut self, opened: Opened<dyn Output>, first: bool, now: Instant) {
        let queued = self.popped - self.heard;
        self.measures = (opened.period, opened.need);
        self.device = opened.device;
        self.present = true;
        let (target, lead) = self.shares(self.measures);
        self.lead = lead;
        let at_once = target.max(opened.period * 2).max(opened.need);
        self.watch = Watch::new(at_once, self.spec.rate_hz, first, now);
        self.clock = Clock::new(self.spec.rate_hz, target / 4, now);
        self.clock.restart(self.heard, now);
        self.beat.refill_every(opened.period.min(target / 2).max(1));
        self.link.target.store(target, Relaxed);
        (self.started, self.held, self.full) = (false, false, false);
        let _ = self.silence.fill_up(self.device.as_mut(), lead + queued, now);
        if let Some(gain) = self.link.take_gain(true) {
            let _ = self.device.set_gain(&gain);
        }
    }

    /// From now on the stand-in is in use; gives the device.
    fn stand_in(&mut self, now: Instant) -> Box<dyn Output> {
        let queued = self.popped - self.heard;
        let target = self.link.target.load(Relaxed);
        let mut stand_in = SilentOutput::new(self.frame_bytes, self.spec.rate_hz, queued, target);
        if !self.is_idle() {
            stand_in.begin(now);
        }
        self.present = false;
        (self.full, self.lead) = (false, 0);
        self.clock = Clock::new(self.spec.rate_hz, target, now);
        self.clock.restart(self.heard, now);
        std::mem::replace(&mut self.device, Box::new(stand_in))
    }

    /// The device does not move: the stand-in goes on until it does.
    fn set_aside(&mut self, now: Instant) {
        let (period, need) = self.measures;
        let mut device = self.stand_in(now);
        match device.reset(now) {
            Ok(()) | Err(Fault::Xrun) => self.try_out(Opened { device, period, need }, false, now),
            Err(Fault::Lost(error)) => self.give_up(error, false, now),
        }
    }

    /// Has a device play silence beside the stand-in, until it is so far that it can take over. `told`: it was lost.
    fn try_out(&mut self, mut opened: Opened<dyn Output>, told: bool, now: Instant) {
        let (_, lead) = self.shares((opened.period, opened.need));
        let frames = lead + (self.popped - self.heard) + u64::from(self.spec.rate_hz / PROOF);
        let device = opened.device.as_mut();
        let begun = self.silence.fill_up(device, frames, now);
        let begun = begun.and_then(|()| device.start(now)).and_then(|()| device.delay(now));
        match begun {
            Ok(held) => self.trial = Some(Trial::new(opened, held, told, now)),
            // It has played all that within no time.
            Err(Fault::Xrun) => self.trial = Some(Trial::new(opened, 0, told, now)),
            Err(Fault::Lost(error)) => self.give_up(error, told, now),
        }
    }

    /// Looks how the device on trial does.
    fn judge(&mut self, now: Instant) {
        let Some(mut trial) = self.trial.take() else { return };
        // How far the stand-in is by now.
        let _ = self.follow(now);
        let (_, lead) = self.shares((trial.opened.period, trial.opened.need));
        let proof = u64::from(self.spec.rate_hz / PROOF).min(trial.held / 2);
        let proven = match trial.opened.device.delay(now) {
            Ok(held) => held + proof <= trial.held && (self.is_idle() || held <= lead + (self.popped - self.heard)),
            Err(Fault::Xrun) => true,
            Err(Fault::Lost(error)) => return self.give_up(error, trial.told, now),
        };
        if proven {
            if self.is_idle()
                && let Err(Fault::Lost(error)) = trial.opened.device.reset(now)
            {
                return self.give_up(error, trial.told, now);
            }
            self.take_up(trial.opened, false, now);
            if trial.told {
                self.link.notify(Notice::Back);
            } else {
                self.link.xruns.fetch_add(1, Relaxed);
            }
        } else if trial.is_over(now) {
            self.give_up(Error::Stuck { device: self.link.mode().name.clone() }, trial.told, now);
        } else {
            self.trial = Some(trial);
        }
    }

    /// From now on the device is not there.
    fn lose(&mut self, error: Error, now: Instant) {
        drop(self.stand_in(now));
        self.give_up(error, false, now);
    }

    /// The device is to be opened again. `told`: its loss is known.
    fn give_up(&mut self, error: Error, told: bool, now: Instant) {
        if !told {
            self.link.notify(Notice::Lost(error));
        }
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
        if frames > 0 {
            // Its owner may wait for room in the ring.
            self.link.signal();
        }
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

    /// Pauses; a device that cannot pause plays what it has and gets no more.
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
            self.link.xruns.fetch_add(1, Relaxed);
        }
        Ok(written > 0)
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
        if self.heard != before {
            self.watch.moved(now);
        } else if !self.has_to_move() {
            self.watch.idle(now);
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
        let look = match (&self.trial, self.present) {
            (Some(_), _) => Some(LOOK_EVERY),
            (None, false) => self.opener.due_in(now),
            (None, true) => None,
        };
        let queued = self.popped - self.heard;
        if self.is_idle() || (queued == 0 && !self.full) {
            return Wish { room: false, timeout: look };
        }
        let to_signal = self.beat.next().saturating_sub(self.heard).clamp(1, queued.max(1));
        let signal = frames_to_time(to_signal, self.spec.rate_hz).max(SHORTEST_WAIT);
        let timeout = Some(look.map_or(signal, |look| look.min(signal)));
        Wish { room: (self.full || self.late) && !self.clock.is_exact(), timeout }
    }
}

/// What a stream's owner keeps queued for a device with this `period`, in frames: two periods, but not more than it has
/// room for.
pub(crate) fn queue_frames(spec: &StreamSpec, period: u64) -> u64 {
    let wish = match spec.period_frames {
        0 => spec.rate_hz / USUAL_PERIOD,
        period => period.min(spec.rate_hz / LONGEST_PERIOD),
    };
    let queue = (u64::from(wish).max(period) * 2).max(u64::from(spec.rate_hz / SHORTEST_QUEUE));
    let most = if spec.buffer_frames == 0 { u64::MAX } else { u64::from(spec.buffer_frames) };
    queue.min(most).max(2)
}

/// How many frames the queue takes at most.
fn reserve_frames(spec: &StreamSpec, period: u64) -> u64 {
    let most = if spec.buffer_frames == 0 { u64::MAX } else { u64::from(spec.buffer_frames) };
    queue_frames(spec, period).max(u64::from(spec.rate_hz / RESERVE)).min(most)
}
