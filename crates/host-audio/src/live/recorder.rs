//! Recorder of a device: empties it, and says what to wait for in between.

use super::beat::Beat;
use super::bridge::Bridge;
use super::clock::Clock;
use super::drive::{Engine, Wish};
use super::player::{RETRY, SHORTEST_WAIT};
use super::playing::MOST_RECOVERIES;
use super::reopen::Opener;
use super::silent::SilentInput;
use super::supply::{Progress, Side, Supply};
use super::{Fault, Input, Opened, block_frames, frames_to_time, until_leap};
use crate::StreamSpec;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::time::{Duration, Instant};

/// Longest period of a stream that counts when a device is watched, as a part of a second (100 ms).
const LONGEST_PERIOD: u32 = 10;
/// Longest time between two turns, as a part of a second (50 ms), for a device that may not keep frames for longer.
const COLLECT: u32 = 20;
/// Block that takes the frames that nobody has room for, as a part of a second (10 ms).
const LOST: u32 = 100;

/// The recorder of a stream.
pub(super) struct Recorder {
    bridge: Arc<Bridge>,
    supply: Supply<dyn Input>,
    capturing: Capturing,
    rate_hz: u32,
    /// True if the last signal is overdue by the system's clock: the device's position moves in leaps.
    late: bool,
}

impl Recorder {
    pub fn new(bridge: Arc<Bridge>, spec: &StreamSpec, opener: Opener<dyn Input>) -> Self {
        let capturing = Capturing::new(Arc::clone(&bridge), spec);
        let supply = Supply::new(Arc::clone(&bridge), opener, spec.rate_hz);
        Self { bridge, supply, capturing, rate_hz: spec.rate_hz, late: false }
    }

    fn wish(&self, now: Instant) -> Wish {
        let (capturing, look) = (&self.capturing, self.supply.due_in(now));
        let within = |time: Duration| Some(look.map_or(time, |look| look.min(time)));
        if capturing.started {
            let to_signal = capturing.beat.next().saturating_sub(capturing.given).max(1);
            let signal = frames_to_time(to_signal, self.rate_hz).max(SHORTEST_WAIT);
            let room = (self.late && !capturing.clock.is_exact())
                .then(|| until_leap(capturing.measures.0, self.rate_hz, capturing.moved_at, now));
            Wish { room, timeout: within(signal) }
        } else if self.bridge.is_wanted() {
            Wish { room: None, timeout: within(RETRY) }
        } else {
            Wish { room: None, timeout: look }
        }
    }
}

impl Engine for Recorder {
    type Ring = rtrb::Producer<u8>;

    fn begin(&mut self, patience: Duration, now: Instant) {
        self.supply.begin(patience, now);
    }

    fn turn(&mut self, ring: &mut Self::Ring, overdue: bool, now: Instant) -> Wish {
        self.supply.step(&mut self.capturing, now);
        let progress = self.capturing.turn(ring, now);
        self.late = overdue && !progress.told;
        self.supply.settle(&mut self.capturing, progress, now);
        self.wish(now)
    }

    fn needs_thread(&self) -> bool {
        let devices = [Some(&*self.capturing.device), self.supply.on_trial()];
        devices.into_iter().flatten().any(|device| !device.is_immediate())
    }

    fn has_device(&self) -> bool {
        self.supply.has_device()
    }

    fn run(mut self, mut ring: Self::Ring) {
        let mut overdue = false;
        while !self.bridge.is_over() {
            let wish = self.turn(&mut ring, overdue, Instant::now());
            overdue = self.capturing.device.wait(self.bridge.wake_fd(), wish.room.is_some(), wish.timeout);
            self.bridge.woken();
        }
        self.supply.end();
    }
}

/// A device, or its stand-in, and the stream's position. Every method takes the time as a parameter.
struct Capturing {
    bridge: Arc<Bridge>,
    device: Box<dyn Input>,
    /// Period and need of the device, from [`Opened`].
    measures: (u64, u64),
    spec: StreamSpec,
    frame_bytes: usize,
    clock: Clock,
    beat: Beat,
    /// Frames taken from the device; `moved_at` is the time of the last ones.
    taken: u64,
    moved_at: Instant,
    /// Frames put into the ring.
    given: u64,
    /// Position at which the stream's owner began again.
    base: u64,
    lost: Vec<u8>,
    /// True while frames are being lost; one xrun until that ends.
    losing: bool,
    started: bool,
    /// True if the device that has proven itself captures already.
    runs_already: bool,
}

impl Capturing {
    fn new(bridge: Arc<Bridge>, spec: &StreamSpec) -> Self {
        let frame_bytes = spec.frame_bytes();
        let usual = u64::from(spec.rate_hz / LOST).max(1);
        Self {
            bridge,
            device: Box::new(SilentInput::new(spec.format, frame_bytes, spec.rate_hz)),
            measures: (0, 0),
            spec: *spec,
            frame_bytes,
            clock: Clock::new(spec.rate_hz, usual, Instant::now()),
            beat: Beat::new(spec.period_frames, u64::from(spec.rate_hz / COLLECT), spec.rate_hz),
            taken: 0,
            moved_at: Instant::now(),
            given: 0,
            base: 0,
            lost: vec![0; block_frames(spec.rate_hz / LOST, frame_bytes) * frame_bytes],
            losing: false,
            started: false,
            runs_already: false,
        }
    }

    /// Gives device and ring a turn.
    fn turn(&mut self, ring: &mut rtrb::Producer<u8>, now: Instant) -> Progress {
        let before = self.taken;
        let result = self.serve(ring, now);
        let told = result.is_ok() && self.started && self.beat.reached(self.given);
        if told {
            self.bridge.signal();
        }
        let moved = self.taken != before;
        if moved {
            self.moved_at = now;
        }
        Progress { result, moved, told }
    }

    fn serve(&mut self, ring: &mut rtrb::Producer<u8>, now: Instant) -> Result<(), Fault> {
        self.device.attend(now)?;
        if let Some(volume) = self.device.take_volume() {
            self.bridge.set_server_volume(Some(volume));
        }
        let base = self.bridge.flush_until.load(Acquire);
        if base != self.base {
            self.base = base;
            self.beat.restart(base);
        }
        if self.bridge.is_wanted() {
            self.start(now)?;
            self.collect(ring, now)
        } else if self.started {
            self.started = false;
            self.device.reset(now)
        } else {
            Ok(())
        }
    }

    fn start(&mut self, now: Instant) -> Result<(), Fault> {
        if !self.started {
            self.device.start(now)?;
            self.clock.restart(self.taken, now);
            self.started = true;
        }
        Ok(())
    }

    /// Moves the device's frames to the ring, as far as time allows.
    fn collect(&mut self, ring: &mut rtrb::Producer<u8>, now: Instant) -> Result<(), Fault> {
        let mut recoveries = 0;
        loop {
            match self.collect_once(ring, now) {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(Fault::Xrun) if recoveries < MOST_RECOVERIES => {
                    recoveries += 1;
                    self.bridge.xruns.fetch_add(1, Relaxed);
                    self.started = false;
                    self.start(now)?;
                }
                Err(fault) => return Err(fault),
            }
        }
    }

    /// Moves one stretch of the ring; false when there is no more to move.
    fn collect_once(&mut self, ring: &mut rtrb::Producer<u8>, now: Instant) -> Result<bool, Fault> {
        let there = self.device.available(now)?;
        let due = self.clock.limit(self.taken + there, now).saturating_sub(self.taken) as usize;
        if due == 0 {
            return Ok(false);
        }
        let frames = due.min(ring.slots() / self.frame_bytes);
        let mut fault = Ok(());
        let read = if let Some(mut chunk) = ring.write_chunk(frames * self.frame_bytes).ok().filter(|_| frames > 0) {
            self.losing = false;
            // The ring's size is a multiple of a frame, so no frame is split. To ask the device again would cost more
            // than to read twice.
            let (first, second) = chunk.as_mut_slices();
            let mut read = self.device.read(first, now)?;
            if read * self.frame_bytes == first.len() && !second.is_empty() {
                fault = self.device.read(second, now).map(|more| read += more);
            }
            chunk.commit(read * self.frame_bytes);
            self.given += read as u64;
            read
        } else {
            if !std::mem::replace(&mut self.losing, true) {
                self.bridge.xruns.fetch_add(1, Relaxed);
            }
            let bytes = (due * self.frame_bytes).min(self.lost.len());
            self.device.read(&mut self.lost[..bytes], now)?
        };
        self.taken += read as u64;
        fault?;
        Ok(read > 0 && read < due)
    }
}

impl Side<dyn Input> for Capturing {
    fn is_busy(&self) -> bool {
        self.started
    }

    fn has_to_move(&self) -> bool {
        self.bridge.is_wanted()
    }

    fn take_up(&mut self, opened: Opened<dyn Input>, now: Instant) -> u64 {
        let period = u64::from(self.spec.period_frames.min(self.spec.rate_hz / LONGEST_PERIOD));
        self.measures = (opened.period, opened.need);
        self.device = opened.device;
        self.beat.refill_every(opened.need.max(u64::from(self.spec.rate_hz / COLLECT)));
        self.device.report_to(self.bridge.pace());
        self.clock = Clock::new(self.spec.rate_hz, opened.period, now);
        self.clock.restart(self.taken, now);
        self.started = std::mem::take(&mut self.runs_already);
        period.max(opened.period) * 2
    }

    fn stand_in(&mut self, now: Instant) -> Opened<dyn Input> {
        let mut stand_in = SilentInput::new(self.spec.format, self.frame_bytes, self.spec.rate_hz);
        if self.started {
            stand_in.begin(now);
        }
        self.bridge.set_server_volume(None);
        self.clock = Clock::new(self.spec.rate_hz, u64::from(self.spec.rate_hz), now);
        self.clock.restart(self.taken, now);
        let (period, need) = self.measures;
        Opened { device: std::mem::replace(&mut self.device, Box::new(stand_in)), period, need }
    }

    fn reset(&mut self, opened: &mut Opened<dyn Input>, now: Instant) -> Result<(), Fault> {
        opened.device.reset(now)
    }

    fn try_out(&mut self, opened: &mut Opened<dyn Input>, now: Instant) -> Result<(), Fault> {
        opened.device.start(now)
    }

    /// Discards the first frames of the device, which are late.
    fn has_proven(&mut self, opened: &mut Opened<dyn Input>, now: Instant) -> Result<bool, Fault> {
        let device = &mut opened.device;
        let mut look = || {
            if device.available(now)? == 0 {
                return Ok((false, false));
            }
            if !self.started {
                return device.reset(now).map(|()| (true, false));
            }
            while device.read(&mut self.lost, now)? > 0 && device.available(now)? > 0 {}
            Ok((true, true))
        };
        let (proven, running) = match look() {
            Err(Fault::Xrun) => (true, false),
            outcome => outcome?,
        };
        self.runs_already = running;
        Ok(proven)
    }
}
