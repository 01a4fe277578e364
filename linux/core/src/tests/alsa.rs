// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Test that ALSA sees no false xrun, for any periods and buffers and however irregularly a backend tells its
//! positions.

use core::cell::RefCell;

use proptest::prelude::*;

use super::*;
use crate::testing::{on_elapsed, reset, set_now_ns};

const RATE_HZ: u64 = 48_000;
/// Jiffies of a second in Debian's kernels.
const HZ: u64 = 250;
const FRAME: u64 = 4;

/// Model of ALSA's use of a driver's pointer (`snd_pcm_update_hw_ptr0`), for counters that do not wrap. All counts are
/// frames.
#[derive(Debug, Default)]
struct Alsa {
    playback: bool,
    period: u64,
    buffer: u64,
    base: u64,
    hw: u64,
    /// End of the last period of which it was told.
    interrupt: u64,
    /// Time of its last look, in jiffies.
    looked: u64,
    appl: u64,
    now_ns: u64,
    xrun: bool,
}

impl Alsa {
    fn update(&mut self, frames: u32, told: bool) {
        let now = self.now_ns * HZ / 1_000_000_000;
        let place = u64::from(frames);
        let mut base = self.base;
        let half = self.buffer * HZ / RATE_HZ / 2 + 1;
        // A period that was told and has not passed yet is taken for one a whole ring further on, if so much time has
        // passed.
        let doubled = told && self.interrupt + self.period > base + place && now - self.looked > half;
        if doubled || base + place < self.hw {
            base += self.buffer;
        }
        let hw = base + place;
        self.looked = now;
        if hw - self.hw >= self.buffer + self.period || hw == self.hw {
            return;
        }
        if told {
            self.interrupt += (hw - self.interrupt) / self.period * self.period;
        }
        (self.base, self.hw) = (base, hw);
        let used =
            if self.playback { self.appl.saturating_sub(hw) } else { self.buffer.saturating_sub(hw - self.appl) };
        self.xrun |= used == 0;
    }

    /// Returns the frames that an application can write or read.
    fn available(&self) -> u64 {
        if self.playback { self.hw + self.buffer - self.appl } else { self.hw - self.appl }
    }
}

/// An application, ALSA and the driver with a backend.
struct Run {
    stream: Rc<Substream<TestKernel>>,
    alsa: Rc<RefCell<Alsa>>,
    /// Position of the device, in frames of this run.
    position: u64,
    /// Time when the run began.
    began_ns: u64,
}

impl Run {
    fn start(kind: &str, period: u32, buffer: u32) -> Self {
        reset();
        let (_bus, stream) = stream(kind);
        stream.hw_params(Format::S16Le, 2, 48_000, period, buffer).unwrap();
        stream.prepare().unwrap();
        let alsa = Alsa { playback: kind == "p", period: period.into(), buffer: buffer.into(), ..Alsa::default() };
        let run = Self { stream: Rc::new(stream), alsa: Rc::new(RefCell::new(alsa)), position: 0, began_ns: 0 };
        let (stream, alsa) = (Rc::downgrade(&run.stream), Rc::clone(&run.alsa));
        on_elapsed(move || {
            let Some(stream) = stream.upgrade() else { return };
            let frames = stream.pointer().frames;
            alsa.borrow_mut().update(frames, true);
        });
        run.transfer();
        run.stream.trigger(Trigger::Start).unwrap();
        backend(|backend| backend.serve());
        run
    }

    /// Lets the application write or read all it can, as soon as that is a period.
    fn transfer(&self) {
        let mut alsa = self.alsa.borrow_mut();
        if alsa.available() >= alsa.period {
            alsa.appl += alsa.available();
            self.stream.ack(alsa.appl, BOUNDARY).unwrap();
        }
    }

    /// Lets an application ask for its position.
    fn look(&self) {
        let frames = self.stream.pointer().frames;
        self.alsa.borrow_mut().update(frames, false);
    }

    /// Moves the device by `frames`, as far as it can without an xrun; the backend tells so `late_ns` later.
    fn step(&mut self, frames: u64, late_ns: u64, looks: bool) {
        let (playback, appl, buffer) = {
            let alsa = self.alsa.borrow();
            (alsa.playback, alsa.appl, alsa.buffer)
        };
        let limit = if playback { appl - 1 } else { appl + buffer - 1 };
        self.position = limit.min(self.position + frames);
        self.tell(self.position, late_ns, looks);
        self.transfer();
        backend(|backend| backend.serve());
    }

    /// Lets the backend tell a position, `late_ns` after the device was there.
    fn tell(&self, position: u64, late_ns: u64, looks: bool) {
        let at_ns = self.began_ns + position * 1_000_000_000 / RATE_HZ + late_ns;
        {
            let mut alsa = self.alsa.borrow_mut();
            alsa.now_ns = alsa.now_ns.max(at_ns);
            set_now_ns(alsa.now_ns);
        }
        if looks {
            self.look();
        }
        backend(|backend| backend.report(position * FRAME));
        self.stream.on_events();
        backend(|backend| backend.serve());
        self.stream.on_ring();
    }

    /// Lets the device run dry or full; the backend tells so when it is `past` frames further. Then the application
    /// begins the next run; at STOP the backend tells where its count goes on, or begins another.
    fn xrun(&mut self, past: u64, late_ns: u64, tells_at_stop: bool) {
        self.tell_last();
        let end = {
            let alsa = self.alsa.borrow();
            if alsa.playback { alsa.appl } else { alsa.appl + alsa.buffer }
        };
        self.tell(end + past, late_ns, false);
        assert!(self.alsa.borrow().xrun, "{past} frames past the end: {:?}", self.alsa);
        let ring = self.alsa.borrow().buffer;
        backend(|backend| {
            backend.rounds_to = tells_at_stop.then(|| (end + past).next_multiple_of(ring) * FRAME);
        });
        self.stream.trigger(Trigger::Stop).unwrap();
        self.stream.prepare().unwrap();
        {
            let mut alsa = self.alsa.borrow_mut();
            let Alsa { playback, period, buffer, now_ns, .. } = *alsa;
            (self.position, self.began_ns) = (0, now_ns);
            let looked = now_ns * HZ / 1_000_000_000;
            *alsa = Alsa { playback, period, buffer, now_ns, looked, ..Alsa::default() };
        }
        self.transfer();
        self.stream.trigger(Trigger::Start).unwrap();
        backend(|backend| backend.serve());
    }

    /// Tells the last position before the end: the device is where it was estimated to be, and all written frames are
    /// handed over.
    fn tell_last(&self) {
        let at = self.position.max(if self.alsa.borrow().playback { self.alsa.borrow().hw } else { 0 });
        self.tell(at, 0, false);
        backend(|backend| backend.serve());
    }

    /// Drains, and tells of the end when the device is `past` frames further.
    fn drain(&self, past: u64, late_ns: u64) {
        let appl = self.alsa.borrow().appl;
        self.stream.drain().unwrap();
        self.tell_last();
        self.tell(appl + past, late_ns, false);
        let alsa = self.alsa.borrow();
        assert!(alsa.hw >= alsa.appl, "{past} frames past the end: {alsa:?}");
    }

    fn check(&self) {
        let alsa = self.alsa.borrow();
        // An estimate may be ahead of the next position, by less than a period and a half, and not at the end of the
        // written frames.
        let ahead = if alsa.playback { alsa.period + alsa.period / 2 - 1 } else { 0 };
        let most = self.position + ahead;
        assert!(!alsa.xrun && alsa.hw <= most && stops().is_empty(), "at {}: {alsa:?}", self.position);
        let periods = |frames| frames / alsa.period * alsa.period;
        let told = if alsa.playback { periods(alsa.hw) } else { alsa.interrupt };
        assert!((periods(self.position)..=periods(most)).contains(&told), "every period is told: {alsa:?}");
    }
}

#[test]
fn a_position_a_few_frames_short_of_a_period_is_no_overrun() {
    for kind in ["c", "p"] {
        let mut run = Run::start(kind, 1024, 2048);
        for _ in 0..500 {
            // The timer counts whole milliseconds, 21 here, on a busy host.
            run.step(1008, 10_000_000, false);
            run.check();
        }
    }
}

#[test]
fn position_between_two_events_is_right_to_half_a_millisecond() {
    let mut run = Run::start("p", 480, 1920);
    for period in 0..200 {
        // Events come 0.2 ms late, some a few frames behind the boundary, and some much later, when another domain has
        // the processor.
        let late_ns = if period % 10 == 5 { 4_000_000 } else { 200_000 };
        run.step(480 + u64::from(period % 7 == 0), late_ns, false);
        run.check();
        let told_ns = run.alsa.borrow().now_ns;
        for tenth in 0..10 {
            let now_ns = told_ns + tenth * (10_000_000 - late_ns) / 10;
            set_now_ns(now_ns);
            run.look();
            let (is, expected) = (run.alsa.borrow().hw, now_ns * RATE_HZ / 1_000_000_000);
            assert!(is.abs_diff(expected) <= 24, "{is} frames, not {expected}");
        }
    }
}

#[test]
fn position_never_runs_back_however_early_the_backend_is_behind_it() {
    let mut run = Run::start("p", 480, 1920);
    let mut last = 0;
    for _ in 0..200 {
        let now_ns = run.alsa.borrow().now_ns;
        set_now_ns(now_ns + 9_900_000);
        run.look();
        // The device is slower than its rate.
        run.step(441, 0, true);
        run.check();
        let is = run.alsa.borrow().hw;
        assert!(is >= last && is < last + 960, "{is} after {last}");
        last = is;
    }
}

#[test]
fn a_position_that_is_paused_stands_and_goes_on_from_there() {
    let (_bus, stream) = prepared("p");
    stream.ack(1920, BOUNDARY).unwrap();
    stream.trigger(Trigger::Start).unwrap();
    backend(|backend| backend.serve());
    let at = |ms: u64| {
        set_now_ns(ms * 1_000_000);
        stream.pointer().frames
    };
    assert_eq!(at(5), 240);
    stream.trigger(Trigger::Pause).unwrap();
    assert_eq!(at(900), 240);
    stream.trigger(Trigger::Resume).unwrap();
    assert_eq!(at(901), 288);
}

#[test]
fn frames_that_an_application_may_have_overwritten_are_not_played_by_the_next_backend() {
    let (bus, stream) = prepared("p");
    stream.ack(1920, BOUNDARY).unwrap();
    stream.trigger(Trigger::Start).unwrap();
    backend(|backend| backend.serve());
    set_now_ns(5_000_000);
    let free = stream.pointer().frames;
    assert_eq!(free, 240, "no event yet");
    stream.ack(1920 + u64::from(free), BOUNDARY).unwrap();
    stream.detach();
    backend(|backend| backend.story());
    take_up(&bus, &stream);
    backend(|backend| backend.report(PERIOD + 4));
    stream.on_events();
    backend(|backend| backend.serve());
    assert_eq!(backend(|backend| backend.story()), "open 7680, write 0+7680, start", "a whole ring and no more");
    assert_eq!((stream.pointer().frames, stops()), (240 + 481, Vec::new()));
}

#[test]
fn only_played_positions_are_known_between_periods() {
    for (kind, batches) in [("p", false), ("c", true)] {
        let (_bus, stream) = stream(kind);
        assert_eq!(open(&stream).unwrap().batches, batches, "{kind}");
    }
}

#[test]
fn position_does_not_pass_what_the_backend_has_taken() {
    let (_bus, stream) = prepared("p");
    stream.ack(1920, BOUNDARY).unwrap();
    stream.trigger(Trigger::Start).unwrap();
    set_now_ns(5_000_000);
    assert_eq!(stream.pointer().frames, 0, "its application would overwrite what nobody has copied");
    backend(|backend| backend.serve());
    assert_eq!(stream.pointer().frames, 240);
}

#[test]
fn a_period_is_told_when_its_boundary_is_passed_and_once() {
    let (_bus, stream) = prepared("p");
    stream.ack(1920, BOUNDARY).unwrap();
    stream.trigger(Trigger::Start).unwrap();
    let stream = Rc::new(stream);
    let asked = Rc::clone(&stream);
    on_elapsed(move || {
        asked.pointer();
    });
    for (position, told) in [(1908, 0), (1912, 0), (1920, 1), (1924, 0), (3836, 0), (5764, 1)] {
        backend(|backend| {
            backend.serve();
            backend.report(position);
        });
        stream.on_events();
        assert_eq!(elapsed(), told, "at {position}");
    }
    // The end of the written frames is no boundary, but is told: an application that drains waits for it.
    stream.ack(2000, BOUNDARY).unwrap();
    backend(|backend| {
        backend.serve();
        backend.report(8000);
    });
    stream.on_events();
    assert_eq!((elapsed(), stream.pointer().frames), (1, 80));
    on_elapsed(|| {});
}

/// Periods and buffers: whole milliseconds and others, primes, a frame more than whole periods, and the smallest.
const SIZES: [(u32, u32); 14] = [
    (480, 1920),
    (480, 960),
    (1024, 2048),
    (1024, 4096),
    (4096, 8192),
    (441, 1764),
    (479, 1437),
    (997, 1994),
    (1009, 4093),
    (480, 1441),
    (480, 961),
    (64, 129),
    (16, 32),
    (2000, 7001),
];

/// Frames past the end that a device may report: a backend was seen to report 531 frames, 11 ms.
const PAST_FRAMES: u64 = 600;

proptest! {
    #[test]
    fn xruns_are_seen_where_they_are_and_periods_are_told_however_positions_come(
        capture: bool,
        (period, buffer) in prop::sample::select(&SIZES[..]),
        steps in prop::collection::vec((0..7_u8, 0..10_000_u64, 0..60_000_000_u64, any::<bool>()), 1..120),
        (past, late_ns) in (0..PAST_FRAMES, 0..60_000_000_u64),
    ) {
        let mut run = Run::start(if capture { "c" } else { "p" }, period, buffer);
        let whole = u64::from(period);
        for (kind, random, late_ns, looks) in steps {
            let frames = match kind {
                6 => {
                    run.xrun(random % PAST_FRAMES, late_ns, looks);
                    continue;
                }
                0 => whole,
                // A position is early by a part of a millisecond, late, the same twice, two periods at once, or random.
                1 => whole - (random % whole).min(47),
                2 => whole + random % whole.min(48),
                3 => 0,
                4 => 2 * whole,
                _ => random % (2 * whole),
            };
            run.step(frames, late_ns, looks);
            run.check();
        }
        if !capture {
            run.drain(past, late_ns);
        }
    }
}
