//! A device for capture as a source: the control thread's side and the thread's.

use super::beat::Beat;
use super::clock::Clock;
use super::link::{Link, Mode};
use super::player::{MOST_RECOVERIES, SHORTEST_WAIT, Wish};
use super::reopen::Opener;
use super::silent::SilentInput;
use super::watch::{LOOK_EVERY, Trial, Watch};
use super::{Fault, Input, Opened, frames_to_time};
use crate::{Error, HostStream, Notice, Pacing, Source, StreamSpec};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::{Duration, Instant};

/// The ring holds this part of a second (200 ms), and at least four periods.
const RING: u32 = 5;
/// A stream's period counts to this part of a second (100 ms) when a device is watched.
const LONGEST_PERIOD: u32 = 10;
/// Where frames go that nobody has room for: this part of a second at once.
const LOST: u32 = 100;

/// The control thread's side.
pub(super) struct LiveSource {
    link: Arc<Link>,
    ring: rtrb::Consumer<u8>,
    frame_bytes: usize,
    /// Frames ever taken out of the ring.
    popped: u64,
}

impl LiveSource {
    pub fn open(mode: Mode, spec: &StreamSpec, opener: Opener<dyn Input>) -> Result<Self, Error> {
        let (source, recorder, ring) = Self::prepare(mode, spec, opener)?;
        source.link.spawn(move || recorder.run(ring))?;
        Ok(source)
    }

    /// Both sides and what lies between them; no thread runs, and the recorder has not begun.
    pub fn prepare(
        mode: Mode,
        spec: &StreamSpec,
        opener: Opener<dyn Input>,
    ) -> Result<(Self, Recorder, rtrb::Producer<u8>), Error> {
        let frame_bytes = spec.frame_bytes();
        let link = Link::new(mode)?;
        let recorder = Recorder::new(Arc::clone(&link), spec, opener);
        let frames = (spec.rate_hz / RING).max(spec.period_frames.min(spec.rate_hz) * 4) as usize;
        let (producer, ring) = rtrb::RingBuffer::new(frames * frame_bytes);
        Ok((Self { link, ring, frame_bytes, popped: 0 }, recorder, producer))
    }

    /// Forgets what was not read; what comes from here on counts anew.
    fn forget(&mut self) {
        let ready = self.available_frames();
        if let Ok(chunk) = self.ring.read_chunk(ready * self.frame_bytes) {
            chunk.commit_all();
            self.popped += ready as u64;
        }
        self.link.flush_until.store(self.popped, Release);
    }
}

impl HostStream for LiveSource {
    fn pacing(&self) -> Pacing<'_> {
        Pacing::Device(self.link.pace_fd())
    }

    fn opened(&mut self) -> Option<Result<(), Error>> {
        self.link.opened()
    }

    fn start(&mut self) -> Result<(), Error> {
        if !self.link.running.load(Relaxed) {
            self.forget();
        }
        self.link.start();
        Ok(())
    }

    fn pause(&mut self, on: bool) -> Result<(), Error> {
        self.link.pause(on);
        Ok(())
    }

    fn stop(&mut self) -> Result<(), Error> {
        self.link.stop();
        self.forget();
        Ok(())
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

impl Source for LiveSource {
    fn available_frames(&mut self) -> usize {
        self.ring.slots() / self.frame_bytes
    }

    fn read(&mut self, into: &mut [u8]) -> Result<usize, Error> {
        let frames = self.available_frames().min(into.len() / self.frame_bytes);
        // Cannot fail: that much is there.
        let _ = self.ring.pop_entire_slice(&mut into[..frames * self.frame_bytes]);
        self.popped += frames as u64;
        Ok(frames)
    }
}

impl Drop for LiveSource {
    fn drop(&mut self) {
        self.link.close();
    }
}

/// The thread's side. Everything in it takes the time as a parameter.
pub(super) struct Recorder {
    link: Arc<Link>,
    opener: Opener<dyn Input>,
    device: Box<dyn Input>,
    /// The device is there; otherwise `device` stands in for it.
    present: bool,
    /// The device's own period.
    period: u64,
    /// The device, where it is to prove that it captures before it is used (again).
    trial: Option<Trial<dyn Input>>,
    spec: StreamSpec,
    frame_bytes: usize,
    clock: Clock,
    beat: Beat,
    /// Frames taken from the device.
    taken: u64,
    /// Frames put into the ring.
    given: u64,
    /// Where the stream's owner began anew.
    base: u64,
    lost: Vec<u8>,
    /// Frames are being lost; one xrun until it ends.
    losing: bool,
    started: bool,
    watch: Watch,
    /// The last signal is overdue by the system's clock: the device's position moves in leaps.
    late: bool,
}

impl Recorder {
    pub fn new(link: Arc<Link>, spec: &StreamSpec, opener: Opener<dyn Input>) -> Self {
        let frame_bytes = spec.frame_bytes();
        let usual = u64::from(spec.rate_hz / LOST).max(1);
        Self {
            link,
            opener,
            device: Box::new(SilentInput::new(spec.format, frame_bytes, spec.rate_hz)),
            present: false,
            period: 0,
            trial: None,
            spec: *spec,
            frame_bytes,
            clock: Clock::new(spec.rate_hz, usual, Instant::now()),
            beat: Beat::new(spec.period_frames, usual * 5, spec.rate_hz),
            taken: 0,
            given: 0,
            base: 0,
            lost: vec![0; usual as usize * frame_bytes],
            losing: false,
            started: false,
            watch: Watch::new(usual, spec.rate_hz, true, Instant::now()),
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

    fn run(mut self, mut ring: rtrb::Producer<u8>) {
        let begun = self.begin(self.link.mode().patience, Instant::now());
        let refused = begun.is_err();
        self.link.decide(begun);
        if refused {
            return;
        }
        while !self.link.is_over() {
            let wish = self.step(&mut ring, Instant::now());
            self.late = self.device.wait(self.link.wake_fd(), wish.room, wish.timeout);
            self.link.woken();
        }
    }

    /// Does what is due, and says what to wait for.
    pub fn step(&mut self, ring: &mut rtrb::Producer<u8>, now: Instant) -> Wish {
        if !self.present {
            self.judge(now);
            match self.opener.poll(&self.link, now) {
                Some(Ok(opened)) if !self.started => {
                    self.take_up(opened, false, now);
                    self.link.notify(Notice::Back);
                }
                Some(Ok(opened)) => self.try_out(opened, true, now),
                Some(Err(_)) => self.opener.again(now),
                None => {}
            }
        }
        self.watch.look(now);
        match self.turn(ring, now) {
            Err(Fault::Lost(error)) => {
                drop(self.stand_in(now));
                self.give_up(error, false, now);
            }
            Ok(()) | Err(Fault::Xrun) if self.present && self.watch.stands_still(now) => self.set_aside(now),
            Ok(()) | Err(Fault::Xrun) => {}
        }
        self.wish(now)
    }

    /// From now on the device is there. `first`: it was just opened and did not prove that it captures.
    fn take_up(&mut self, opened: Opened<dyn Input>, first: bool, now: Instant) {
        let period = u64::from(self.spec.period_frames.min(self.spec.rate_hz / LONGEST_PERIOD));
        self.period = opened.period;
        self.device = opened.device;
        self.present = true;
        self.clock = Clock::new(self.spec.rate_hz, opened.period, now);
        self.watch = Watch::new(period.max(opened.period) * 2, self.spec.rate_hz, first, now);
        self.started = false;
    }

    /// From now on the stand-in is in use; gives the device.
    fn stand_in(&mut self, now: Instant) -> Box<dyn Input> {
        let mut stand_in = SilentInput::new(self.spec.format, self.frame_bytes, self.spec.rate_hz);
        if self.started {
            stand_in.begin(now);
        }
        self.present = false;
        self.clock = Clock::new(self.spec.rate_hz, u64::from(self.spec.rate_hz), now);
        self.clock.restart(self.taken, now);
        std::mem::replace(&mut self.device, Box::new(stand_in))
    }

    /// The device gives nothing: the stand-in goes on until it does.
    fn set_aside(&mut self, now: Instant) {
        let mut device = self.stand_in(now);
        match device.reset(now) {
            Ok(()) | Err(Fault::Xrun) => self.try_out(Opened { device, period: self.period, need: 0 }, false, now),
            Err(Fault::Lost(error)) => self.give_up(error, false, now),
        }
    }

    /// Has a device capture beside the stand-in, until it gives something. `told`: it was lost.
    fn try_out(&mut self, mut opened: Opened<dyn Input>, told: bool, now: Instant) {
        match opened.device.start(now) {
            Ok(()) | Err(Fault::Xrun) => self.trial = Some(Trial::new(opened, 0, told, now)),
            Err(Fault::Lost(error)) => self.give_up(error, told, now),
        }
    }

    /// Looks how the device on trial does.
    fn judge(&mut self, now: Instant) {
        let Some(mut trial) = self.trial.take() else { return };
        match self.proven(&mut trial, now) {
            Ok(Some(running)) => {
                self.take_up(trial.opened, false, now);
                self.started = running;
                self.clock.restart(self.taken, now);
                if trial.told {
                    self.link.notify(Notice::Back);
                } else {
                    self.link.xruns.fetch_add(1, Relaxed);
                }
            }
            Ok(None) if !trial.is_over(now) => self.trial = Some(trial),
            Ok(None) => self.give_up(Error::Stuck { device: self.link.mode().name.clone() }, trial.told, now),
            Err(error) => self.give_up(error, trial.told, now),
        }
    }

    /// Whether the device gives something, which is late and forgotten; if so, whether it goes on capturing.
    fn proven(&mut self, trial: &mut Trial<dyn Input>, now: Instant) -> Result<Option<bool>, Error> {
        let device = &mut trial.opened.device;
        let mut look = || {
            if device.available(now)? == 0 {
                return Ok(None);
            }
            if !self.started {
                return device.reset(now).map(|()| Some(false));
            }
            while device.read(&mut self.lost, now)? > 0 && device.available(now)? > 0 {}
            Ok(Some(true))
        };
        match look() {
            Ok(proven) => Ok(proven),
            Err(Fault::Xrun) => Ok(Some(false)),
            Err(Fault::Lost(error)) => Err(error),
        }
    }

    /// The device is to be opened again. `told`: its loss is known.
    fn give_up(&mut self, error: Error, told: bool, now: Instant) {
        if !told {
            self.link.notify(Notice::Lost(error));
        }
        self.opener.again(now);
    }

    fn turn(&mut self, ring: &mut rtrb::Producer<u8>, now: Instant) -> Result<(), Fault> {
        let base = self.link.flush_until.load(Acquire);
        if base != self.base {
            self.base = base;
            self.beat.restart(base);
        }
        if self.link.running.load(Acquire) && !self.link.paused.load(Acquire) {
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
            self.watch.idle(now);
            self.started = true;
        }
        Ok(())
    }

    /// Moves what the device has to the ring, as far as time allows.
    fn collect(&mut self, ring: &mut rtrb::Producer<u8>, now: Instant) -> Result<(), Fault> {
        let mut recoveries = 0;
        let before = self.taken;
        loop {
            match self.collect_once(ring, now) {
                Ok(true) => {}
                Ok(false) => break,
                Err(Fault::Xrun) if recoveries < MOST_RECOVERIES => {
                    recoveries += 1;
                    self.link.xruns.fetch_add(1, Relaxed);
                    self.started = false;
                    self.start(now)?;
                }
                Err(fault) => return Err(fault),
            }
        }
        if self.taken != before {
            self.watch.moved(now);
        }
        if self.beat.reached(self.given) {
            self.late = false;
            if self.present {
                self.opener.rest();
            }
            self.link.signal();
        }
        Ok(())
    }

    /// One stretch of the ring; false when there is no more to move.
    fn collect_once(&mut self, ring: &mut rtrb::Producer<u8>, now: Instant) -> Result<bool, Fault> {
        let there = self.device.available(now)?;
        let due = self.clock.limit(self.taken + there, now).saturating_sub(self.taken) as usize;
        if due == 0 {
            return Ok(false);
        }
        let frames = due.min(ring.slots() / self.frame_bytes);
        let read = if let Some(mut chunk) = ring.write_chunk(frames * self.frame_bytes).ok().filter(|_| frames > 0) {
            self.losing = false;
            // The ring's size is a multiple of a frame, so no frame is split.
            let read = self.device.read(chunk.as_mut_slices().0, now)?;
            chunk.commit(read * self.frame_bytes);
            self.given += read as u64;
            read
        } else {
            if !std::mem::replace(&mut self.losing, true) {
                self.link.xruns.fetch_add(1, Relaxed);
            }
            let octets = (due * self.frame_bytes).min(self.lost.len());
            self.device.read(&mut self.lost[..octets], now)?
        };
        self.taken += read as u64;
        Ok(read > 0 && read < due)
    }

    fn wish(&mut self, now: Instant) -> Wish {
        let look = match (&self.trial, self.present) {
            (Some(_), _) => Some(LOOK_EVERY),
            (None, false) => self.opener.due_in(now),
            (None, true) => None,
        };
        if !self.started {
            return Wish { room: false, timeout: look };
        }
        let to_signal = self.beat.next().saturating_sub(self.given).max(1);
        let signal = frames_to_time(to_signal, self.spec.rate_hz).max(SHORTEST_WAIT);
        let timeout = Some(look.map_or(signal, |look| look.min(signal)));
        Wish { room: self.late && !self.clock.is_exact(), timeout }
    }
}
