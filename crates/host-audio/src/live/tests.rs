//! Players and recorders over scripted devices, in simulated time.

use super::drive::Engine;
use super::input::LiveSource;
use super::output::LiveSink;
use super::player::Player;
use super::recorder::Recorder;
use super::reopen::Opener;
use super::*;
use crate::{ErrorKind, Fallback, HostStream, Notice};
use sndif::Format;
use std::collections::VecDeque;

mod day;

const SPEC: StreamSpec =
    StreamSpec { format: Format::S16Le, rate_hz: 48_000, channels: 2, period_frames: 480, buffer_frames: 1_920 };
const FRAME_BYTES: usize = 4;
const STEP: Duration = Duration::from_millis(1);
/// Time limit for work in real time, such as a thread that opens a device.
const PATIENCE: Duration = Duration::from_secs(120);

/// Behavior of the devices of a test.
#[derive(Debug)]
struct Script {
    spec: StreamSpec,
    /// Excess of a device's speed over the system's clock, in millionths.
    ppm: i64,
    /// Results of the next calls that ask a device for its position.
    faults: VecDeque<Fault>,
    /// Result of the next read that follows another one with no question between: the ring wraps there.
    fault_where_ring_wraps: Option<Fault>,
    /// Number of devices opened so far; `absent`: opening one fails.
    opened: u32,
    absent: bool,
    /// Frames that the last device has played or captured.
    passed: u64,
    /// True if the device takes frames and does not move.
    frozen: bool,
    /// Frames of the guest that devices took, or that devices gave.
    heard: u64,
    /// Time that a device takes to begin to move.
    lag: Duration,
    /// Frames that devices were told to discard.
    thrown: u64,
    /// Frames that a device has room for.
    capacity: u64,
    /// Period of a device.
    period: u64,
    /// True if no call of a device waits.
    immediate: bool,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            spec: SPEC,
            ppm: 0,
            faults: VecDeque::new(),
            fault_where_ring_wraps: None,
            opened: 0,
            absent: false,
            passed: 0,
            frozen: false,
            heard: 0,
            lag: Duration::ZERO,
            thrown: 0,
            capacity: 1 << 20,
            period: 480,
            immediate: false,
        }
    }
}

type Shared = Arc<Mutex<Script>>;

/// A device that plays, or captures, by its own clock.
struct Scripted {
    script: Shared,
    frame_bytes: usize,
    since: Option<Instant>,
    moved: u64,
    /// True if the last call was a read.
    has_read: bool,
}

impl Scripted {
    fn passed(&mut self, now: Instant) -> Result<u64, Fault> {
        let mut script = self.script.lock().unwrap();
        if let Some(fault) = script.faults.pop_front() {
            if matches!(fault, Fault::Xrun) {
                (self.since, self.moved) = (None, 0);
            }
            return Err(fault);
        }
        let since = self.since.map(|since| since + script.lag);
        let elapsed = since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        let ppm = u128::from((1_000_000 + script.ppm).cast_unsigned());
        let passed = elapsed.as_nanos() * u128::from(script.spec.rate_hz) * ppm / 1_000_000_000_000_000;
        script.passed = if script.frozen { 0 } else { passed as u64 };
        Ok(script.passed)
    }
}

impl Output for Scripted {
    fn is_immediate(&self) -> bool {
        self.script.lock().unwrap().immediate
    }
    fn attend(&mut self, _now: Instant) -> Result<(), Fault> {
        Ok(())
    }
    fn room(&mut self, now: Instant) -> Result<u64, Fault> {
        let passed = self.passed(now)?;
        Ok((self.script.lock().unwrap().capacity + passed).saturating_sub(self.moved))
    }
    fn write(&mut self, frames: &[u8], _now: Instant) -> Result<usize, Fault> {
        let frames = &frames[..frames.len().min(self.script.lock().unwrap().capacity as usize * self.frame_bytes)];
        self.moved += (frames.len() / self.frame_bytes) as u64;
        if frames[0] == 7 {
            self.script.lock().unwrap().heard += (frames.len() / self.frame_bytes) as u64;
        }
        Ok(frames.len() / self.frame_bytes)
    }
    fn delay(&mut self, now: Instant) -> Result<u64, Fault> {
        let passed = self.passed(now)?;
        if self.since.is_some() && passed > self.moved {
            (self.since, self.moved) = (None, 0);
            return Err(Fault::Xrun);
        }
        Ok(self.moved - passed)
    }
    fn start(&mut self, now: Instant) -> Result<(), Fault> {
        self.since.get_or_insert(now);
        Ok(())
    }
    fn pause(&mut self, _on: bool, _now: Instant) -> Result<bool, Fault> {
        Ok(false)
    }
    fn reset(&mut self, now: Instant) -> Result<(), Fault> {
        let passed = self.passed(now)?.min(self.moved);
        self.script.lock().unwrap().thrown += self.moved - passed;
        (self.since, self.moved) = (None, 0);
        Ok(())
    }
    fn wait(&mut self, _wake: BorrowedFd<'_>, _room: bool, _timeout: Option<Duration>) -> bool {
        false
    }
}

impl Input for Scripted {
    fn attend(&mut self, _now: Instant) -> Result<(), Fault> {
        Ok(())
    }
    fn available(&mut self, now: Instant) -> Result<u64, Fault> {
        self.has_read = false;
        Ok(self.passed(now)?.saturating_sub(self.moved))
    }
    fn read(&mut self, into: &mut [u8], _now: Instant) -> Result<usize, Fault> {
        let mut script = self.script.lock().unwrap();
        if std::mem::replace(&mut self.has_read, true)
            && let Some(fault) = script.fault_where_ring_wraps.take()
        {
            (self.since, self.moved) = (None, 0);
            return Err(fault);
        }
        script.heard += (into.len() / self.frame_bytes) as u64;
        into.fill(7);
        self.moved += (into.len() / self.frame_bytes) as u64;
        Ok(into.len() / self.frame_bytes)
    }
    fn start(&mut self, now: Instant) -> Result<(), Fault> {
        self.since.get_or_insert(now);
        Ok(())
    }
    fn reset(&mut self, _now: Instant) -> Result<(), Fault> {
        (self.since, self.moved) = (None, 0);
        Ok(())
    }
    fn wait(&mut self, _wake: BorrowedFd<'_>, _late: bool, _timeout: Option<Duration>) -> bool {
        false
    }
}

fn lost() -> Fault {
    Fault::Lost(Error::stands_still("the scripted one"))
}

fn is_lost(notice: Option<Notice>, kind: &ErrorKind) -> bool {
    matches!(notice, Some(Notice::Lost(error)) if error.kind() == kind)
}

fn mode(direction: Direction) -> Mode {
    // Each mode has a name of its own: opening waits for devices closed under the same name.
    Mode { name: format!("{:?}", Instant::now()), direction, absent: Fallback::Silence, patience: PATIENCE }
}

fn open(script: &Shared) -> Result<Scripted, Error> {
    let mut opening = script.lock().unwrap();
    if opening.absent {
        return Err(Error::slow("the scripted one"));
    }
    opening.opened += 1;
    let frame_bytes = opening.spec.frame_bytes();
    Ok(Scripted { script: Arc::clone(script), frame_bytes, since: None, moved: 0, has_read: false })
}

/// Waits for the thread that opens the device, which runs in real time.
fn await_open<T>(stream: &mut dyn HostStream, mut turn: impl FnMut() -> T) -> Result<(), Error> {
    loop {
        turn();
        if let Some(outcome) = stream.opened() {
            return outcome;
        }
        std::thread::sleep(Duration::from_micros(50));
    }
}

/// A guest that keeps its buffer full, over a player in simulated time.
struct Playing {
    script: Shared,
    sink: LiveSink,
    player: Player,
    ring: rtrb::Consumer<u8>,
    now: Instant,
    accepted: u64,
    position: u64,
}

impl Playing {
    fn new(spec: StreamSpec, need: u64, script: Script) -> Self {
        let script = Script { spec, ..script };
        let period = script.period;
        let script = Shared::new(Mutex::new(script));
        let shared = Arc::clone(&script);
        let opener =
            Opener::new(move || Ok(Opened { device: Box::new(open(&shared)?) as Box<dyn Output>, period, need }));
        let (mut sink, mut player, mut ring) = LiveSink::prepare(mode(Direction::Playback), &spec, opener).unwrap();
        player.begin(PATIENCE, Instant::now());
        await_open(&mut sink, || player.turn(&mut ring, false, Instant::now())).unwrap();
        sink.start().unwrap();
        Self { script, sink, player, ring, now: Instant::now(), accepted: 0, position: 0 }
    }

    /// Takes a step of time; the position follows it, and goes neither back nor too far.
    fn step(&mut self, feed: bool) {
        self.now += STEP;
        if feed {
            self.accepted += self.sink.write(&[7; 1_920 * FRAME_BYTES]).unwrap() as u64;
        }
        self.player.turn(&mut self.ring, false, self.now);
        let position = self.accepted - self.sink.queued_frames();
        assert!(position >= self.position, "back from {} to {position}", self.position);
        assert!(position <= self.position + 3 * 48, "a leap from {} to {position}", self.position);
        self.position = position;
    }

    fn steps(&mut self, count: u32) {
        for _ in 0..count {
            self.step(true);
        }
    }

    /// Waits for the thread that opens the device, which runs in real time.
    fn step_until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < deadline, "{what}");
            self.step(true);
            std::thread::sleep(Duration::from_micros(50));
        }
    }
}

#[test]
fn an_xrun_is_made_good_and_counted() {
    let mut playing = Playing::new(SPEC, 960, Script::default());
    playing.steps(100);
    assert_eq!(playing.sink.xruns(), 0);
    // The xrun hits the queue, all of which counts as heard then.
    playing.script.lock().unwrap().faults.push_back(Fault::Xrun);
    playing.now += STEP;
    playing.player.turn(&mut playing.ring, false, playing.now);
    playing.position = playing.accepted - playing.sink.queued_frames();
    let before = playing.position;
    playing.steps(100);
    assert_eq!(playing.sink.xruns(), 1);
    assert!(playing.position > before + 4_000, "{before}: {}", playing.position);
    assert_eq!(playing.script.lock().unwrap().opened, 1);
}

#[test]
fn a_device_that_is_lost_stops_no_clock_and_is_opened_again() {
    let mut playing = Playing::new(SPEC, 960, Script::default());
    playing.steps(100);
    playing.script.lock().unwrap().absent = true;
    playing.script.lock().unwrap().faults.push_back(lost());
    let before = playing.position;
    playing.steps(1_000);
    assert!(matches!(playing.sink.notice(), Some(Notice::Lost(_))));
    // A second in real time, except for the frame or so that a step may lack.
    assert!(playing.position.abs_diff(before + 48_000) < 100, "{before}: {}", playing.position);
    assert_eq!(playing.script.lock().unwrap().opened, 1);
    playing.script.lock().unwrap().absent = false;
    playing.step_until("it is opened again", |playing| playing.script.lock().unwrap().opened == 2);
    playing.step_until("that is told", |playing| matches!(playing.sink.notice(), Some(Notice::Back)));
    let before = playing.position;
    playing.steps(1_000);
    assert!(playing.position.abs_diff(before + 48_000) < 1_000, "{before}: {}", playing.position);
    assert_eq!(playing.sink.xruns(), 0);
}

#[test]
fn a_device_with_room_for_the_whole_queue_wakes_nobody_between_two_periods() {
    let wakes = |capacity| {
        let mut playing = Playing::new(SPEC, 512, Script { period: 256, capacity, ..Script::default() });
        playing.steps(100);
        let until = playing.now + Duration::from_secs(1);
        let mut wakes = 0;
        while playing.now < until {
            playing.sink.write(&[7; 1_920 * FRAME_BYTES]).unwrap();
            playing.now += playing.player.turn(&mut playing.ring, false, playing.now).timeout.unwrap();
            wakes += 1;
        }
        assert_eq!(playing.sink.xruns(), 0);
        wakes
    };
    // A time that was rounded down costs a second look.
    assert!((99..=110).contains(&wakes(1 << 20)), "{}", wakes(1 << 20));
    // The rest of the queue does not fit in.
    assert!(wakes(1_024) >= 187, "{}", wakes(1_024));
}

/// A stream with periods of 100 ms, for a card with four of 50 ms.
const LONG: StreamSpec = StreamSpec { period_frames: 4_800, buffer_frames: 38_400, ..SPEC };

#[test]
fn a_card_is_refilled_once_in_a_long_period() {
    let wakes = |immediate| {
        let script = Script { period: 2_400, capacity: 9_600, immediate, ..Script::default() };
        let mut playing = Playing::new(LONG, 4_800, script);
        playing.steps(400);
        let until = playing.now + Duration::from_secs(10);
        let mut wakes = 0;
        while playing.now < until {
            playing.sink.write(&[7; 9_600 * FRAME_BYTES]).unwrap();
            playing.now += playing.player.turn(&mut playing.ring, false, playing.now).timeout.unwrap();
            wakes += 1;
        }
        assert_eq!(playing.sink.xruns(), 0);
        wakes
    };
    assert!((99..=110).contains(&wakes(true)), "{}", wakes(true));
    // A thread that is woken late has the other half of what the device can spare.
    assert!(wakes(false) >= 199, "{}", wakes(false));
}

/// Ways in which a guest gives no frames for a while.
const RESTS: [&str; 4] = ["runs dry", "is paused", "stops", "stands still with all of it"];

impl Playing {
    /// Waits until all accepted frames are heard.
    fn run_dry(&mut self) {
        while self.sink.queued_frames() > 0 {
            self.step(false);
        }
        // The device notices that it ran dry.
        (0..50).for_each(|_| self.step(false));
    }

    /// Half a second of sound, a rest, half a second, after which nothing may be lost.
    fn play_around(&mut self, way: &str, rest: Duration) {
        self.steps(500);
        match way {
            "runs dry" => self.run_dry(),
            "is paused" => self.sink.pause(true).unwrap(),
            "stops" => {
                self.run_dry();
                self.sink.stop().unwrap();
            }
            _ => {}
        }
        // The player sees that, and sleeps until something is to be done.
        self.player.turn(&mut self.ring, false, self.now);
        self.now += rest;
        match way {
            "is paused" => self.sink.pause(false).unwrap(),
            "stops" => self.sink.start().unwrap(),
            _ => {}
        }
        // Frames that were played meanwhile are no leap.
        self.player.turn(&mut self.ring, false, self.now);
        self.position = self.accepted - self.sink.queued_frames();
        self.steps(500);
        self.run_dry();
        let script = self.script.lock().unwrap();
        assert_eq!(script.thrown, 0, "a guest {way} for {rest:?}");
        assert_eq!(script.heard, self.accepted, "a guest {way} for {rest:?}");
        assert_eq!(script.opened, 1, "a guest {way} for {rest:?}");
    }
}

#[test]
fn a_gap_of_any_length_loses_nothing() {
    for gap_ms in [10, 200, 900, 990, 1_010, 1_500, 2_000, 6_000, 60_000] {
        for way in RESTS {
            let lag = Duration::from_millis(100);
            let mut playing = Playing::new(SPEC, 960, Script { lag, ..Script::default() });
            playing.play_around(way, Duration::from_millis(gap_ms));
        }
    }
}

/// One stream, which rests in every way, for 0.2 to 60 s each time, half of them up to 2 s.
#[test]
fn over_hours_of_gaps_of_every_length_nothing_is_lost() {
    let mut playing = Playing::new(SPEC, 960, Script { lag: Duration::from_millis(20), ppm: 100, ..Script::default() });
    let begin = playing.now;
    let mut number = 0_u64;
    while playing.now - begin < Duration::from_secs(3 * 3_600) {
        let scattered = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let most_ms = if scattered.is_multiple_of(2) { 2_000 } else { 60_000 };
        let gap = Duration::from_millis(200 + (scattered >> 1) % (most_ms - 199));
        playing.play_around(RESTS[number as usize % RESTS.len()], gap);
        number += 1;
    }
    assert!(number > 500, "{number} rests");
}

#[test]
fn what_is_left_behind_an_xrun_is_played_though_nobody_writes_any_more() {
    // A device that reports that it ran dry when it is asked for its position: before it has frames, or with some left
    // in the ring.
    for faults in 1..12 {
        let mut playing = Playing::new(SPEC, 960, Script { capacity: 480, ..Script::default() });
        playing.step(true);
        playing.script.lock().unwrap().faults.extend((0..faults).map(|_| Fault::Xrun));
        let mut waited = 0;
        while playing.sink.queued_frames() > 0 {
            // The player wakes by its own timeout alone.
            let wish = playing.player.turn(&mut playing.ring, false, playing.now);
            if playing.sink.queued_frames() > 0 {
                playing.now += wish.timeout.expect("it goes on by itself");
            }
            waited += 1;
            assert!(waited < 1_000, "{} frames are left after {faults} faults", playing.sink.queued_frames());
        }
    }
}

/// The longest time that a device may stand still before its stand-in goes on: 50 ms, in frames.
const GRACE: u64 = 2_400;

#[test]
fn a_device_that_stands_still_is_as_good_as_lost() {
    let mut playing = Playing::new(SPEC, 960, Script::default());
    playing.steps(100);
    {
        let mut script = playing.script.lock().unwrap();
        (script.frozen, script.absent) = (true, true);
    }
    let before = playing.position;
    playing.steps(2_000);
    assert!(is_lost(playing.sink.notice(), &ErrorKind::StandsStill));
    // The position goes on before that is found out.
    assert!(playing.position + GRACE + 200 > before + 96_000, "{before}: {}", playing.position);
}

#[test]
fn a_device_that_freezes_for_a_while_stops_no_clock_and_is_used_again() {
    let mut playing = Playing::new(SPEC, 960, Script::default());
    playing.steps(100);
    let before = playing.position;
    playing.script.lock().unwrap().frozen = true;
    playing.steps(500);
    assert!(playing.position + GRACE + 200 > before + 24_000, "{before}: {}", playing.position);
    playing.script.lock().unwrap().frozen = false;
    let before = playing.position;
    playing.steps(1_000);
    assert!(playing.position.abs_diff(before + 48_000) < 200, "{before}: {}", playing.position);
    let script = playing.script.lock().unwrap();
    assert_eq!((script.opened, playing.sink.xruns()), (1, 1));
    assert!(script.heard > 40_000, "{} frames heard", script.heard);
    drop(script);
    assert!(playing.sink.notice().is_none());
}

#[test]
fn trying_a_frozen_device_again_stops_no_clock() {
    let mut playing = Playing::new(SPEC, 960, Script::default());
    playing.steps(100);
    playing.script.lock().unwrap().frozen = true;
    let (mut last, mut stood) = (playing.position, 0);
    playing.step_until("it is opened again", |playing| {
        stood = if playing.position == last { stood + 1 } else { 0 };
        last = playing.position;
        assert!(stood <= 52, "the position stands still for {stood} ms");
        playing.script.lock().unwrap().opened == 4
    });
    playing.script.lock().unwrap().frozen = false;
    let before = playing.position;
    playing.steps(1_000);
    assert!(playing.position.abs_diff(before + 48_000) < 200, "{before}: {}", playing.position);
    assert!(is_lost(playing.sink.notice(), &ErrorKind::StandsStill));
    // The device is opened in another thread, which may not have had a processor for all of that second.
    playing.step_until("it is back", |playing| matches!(playing.sink.notice(), Some(Notice::Back)));
    assert!(playing.sink.notice().is_none());
}

#[test]
fn a_device_that_needs_more_than_the_guest_has_gets_silence_ahead() {
    // 10 ms of buffer, and a device that runs dry below 40 ms.
    let spec = StreamSpec { period_frames: 240, buffer_frames: 480, ..SPEC };
    let mut playing = Playing::new(spec, 1_920, Script::default());
    for _ in 0..200 {
        playing.step(true);
        let passed = playing.script.lock().unwrap().passed;
        assert!(playing.position.abs_diff(passed) < 144, "{} and {passed}", playing.position);
    }
    // The guest is late by 30 ms: nobody hears it, because the device has 40.
    for _ in 0..30 {
        playing.step(false);
    }
    playing.steps(200);
    assert!(playing.position > 16_000);
}

#[test]
fn of_a_large_buffer_forty_milliseconds_are_queued_lest_a_late_host_is_heard() {
    let spec = StreamSpec { period_frames: 480, buffer_frames: 9_600, ..SPEC };
    let mut playing = Playing::new(spec, 960, Script::default());
    playing.steps(100);
    assert!((1_872..=1_920).contains(&playing.sink.queued_frames()), "{}", playing.sink.queued_frames());
    let before = playing.position;
    // Nobody moves frames for 35 ms.
    for _ in 0..35 {
        playing.step(false);
    }
    assert_eq!(playing.position, before + 35 * 48);
    playing.steps(100);
    assert_eq!(playing.sink.xruns(), 0);
}

#[test]
fn a_stopped_stream_begins_a_new_run() {
    let mut playing = Playing::new(SPEC, 960, Script::default());
    playing.steps(100);
    playing.sink.stop().unwrap();
    assert_eq!(playing.sink.queued_frames(), 0);
    playing.player.turn(&mut playing.ring, false, playing.now);
    playing.position = playing.accepted;
    let stopped = playing.position;
    playing.steps(100);
    assert_eq!(playing.position, stopped, "what it is given waits");
    playing.sink.start().unwrap();
    playing.steps(100);
    assert!(playing.position > stopped + 4_000);
}

/// A guest that captures, like [`Playing`].
struct Capturing {
    script: Shared,
    source: LiveSource,
    recorder: Recorder,
    ring: rtrb::Producer<u8>,
    now: Instant,
    captured: u64,
}

impl Capturing {
    fn new(spec: StreamSpec, need: u64, script: Script) -> Self {
        let script = Script { spec, ..script };
        let period = script.period;
        let script = Shared::new(Mutex::new(script));
        let shared = Arc::clone(&script);
        let opener =
            Opener::new(move || Ok(Opened { device: Box::new(open(&shared)?) as Box<dyn Input>, period, need }));
        let (mut source, mut recorder, mut ring) =
            LiveSource::prepare(mode(Direction::Capture), &spec, opener).unwrap();
        recorder.begin(PATIENCE, Instant::now());
        await_open(&mut source, || recorder.turn(&mut ring, false, Instant::now())).unwrap();
        source.start().unwrap();
        Self { script, source, recorder, ring, now: Instant::now(), captured: 0 }
    }

    fn step(&mut self, read: bool) {
        self.now += STEP;
        self.recorder.turn(&mut self.ring, false, self.now);
        if read {
            let mut block = [0; 4_096];
            self.captured += self.source.read(&mut block).unwrap() as u64;
        }
    }
}

#[test]
fn a_card_that_keeps_frames_is_emptied_once_in_a_long_period() {
    let wakes = |need| {
        let mut capturing = Capturing::new(LONG, need, Script { period: 2_400, ..Script::default() });
        let until = capturing.now + Duration::from_secs(10);
        let (mut wakes, mut block) = (0, vec![0; 9_600 * FRAME_BYTES]);
        while capturing.now < until {
            capturing.now += capturing.recorder.turn(&mut capturing.ring, false, capturing.now).timeout.unwrap();
            capturing.captured += capturing.source.read(&mut block).unwrap() as u64;
            wakes += 1;
        }
        assert!(capturing.captured >= 470_000, "{}", capturing.captured);
        assert_eq!(capturing.source.xruns(), 0);
        wakes
    };
    assert!((99..=110).contains(&wakes(4_800)), "{}", wakes(4_800));
    assert!(wakes(0) >= 199, "{}", wakes(0));
}

#[test]
fn a_source_that_is_lost_gives_silence_in_real_time_and_is_opened_again() {
    let mut capturing = Capturing::new(SPEC, 0, Script::default());
    for _ in 0..100 {
        capturing.step(true);
    }
    capturing.script.lock().unwrap().faults.extend([Fault::Xrun, lost()]);
    capturing.script.lock().unwrap().absent = true;
    capturing.step(true);
    let before = capturing.captured;
    for _ in 0..1_000 {
        capturing.step(true);
    }
    assert_eq!(capturing.source.xruns(), 1);
    assert!(matches!(capturing.source.notice(), Some(Notice::Lost(_))));
    assert!(capturing.captured.abs_diff(before + 48_000) < 100, "{before}: {}", capturing.captured);
    capturing.script.lock().unwrap().absent = false;
    let deadline = Instant::now() + PATIENCE;
    while !matches!(capturing.source.notice(), Some(Notice::Back)) {
        assert!(Instant::now() < deadline);
        capturing.step(true);
        std::thread::sleep(Duration::from_micros(50));
    }
}

#[test]
fn an_xrun_where_the_ring_wraps_loses_nothing_that_was_captured_before() {
    // A device that is a little fast gives a frame more at times, so that not each wrap is between two reads.
    let script = Script { ppm: 300, fault_where_ring_wraps: Some(Fault::Xrun), ..Script::default() };
    let mut capturing = Capturing::new(SPEC, 0, script);
    (0..4_000).for_each(|_| capturing.step(true));
    let mut block = [0; 4_096];
    while let frames @ 1.. = capturing.source.read(&mut block).unwrap() {
        capturing.captured += frames as u64;
    }
    // All that the device gave is there, and it gives on after the xrun.
    assert_eq!((capturing.source.xruns(), capturing.captured), (1, capturing.script.lock().unwrap().heard));
    assert!(capturing.captured > 190_000, "{}", capturing.captured);
}

#[test]
fn a_source_that_freezes_stops_no_clock_and_is_used_again() {
    let mut capturing = Capturing::new(SPEC, 0, Script::default());
    let run = |capturing: &mut Capturing, milliseconds: u64| {
        let before = capturing.captured;
        (0..milliseconds).for_each(|_| capturing.step(true));
        let short = (before + milliseconds * 48).saturating_sub(capturing.captured);
        assert!(short < GRACE + 600, "{short} frames short after {milliseconds} ms");
    };
    run(&mut capturing, 100);
    capturing.script.lock().unwrap().frozen = true;
    run(&mut capturing, 500);
    assert_eq!(capturing.source.xruns(), 0);
    capturing.script.lock().unwrap().frozen = false;
    run(&mut capturing, 500);
    assert_eq!((capturing.source.xruns(), capturing.script.lock().unwrap().opened), (1, 1));
    assert!(capturing.source.notice().is_none());
    capturing.script.lock().unwrap().frozen = true;
    run(&mut capturing, 3_000);
    assert!(is_lost(capturing.source.notice(), &ErrorKind::StandsStill));
}

/// Playback and capture on devices that differ by 400 ppm: within two hours that is 2.9 seconds.
#[test]
fn over_hours_each_position_follows_its_device_and_nothing_accumulates() {
    // 50 ms.
    let (format, rate_hz) = (Format::U8, 8_000);
    let spec = StreamSpec { format, rate_hz, channels: 1, period_frames: 400, buffer_frames: 1_600 };
    let mut playing = Playing::new(spec, 800, Script { ppm: 200, ..Script::default() });
    let mut capturing = Capturing::new(spec, 0, Script { ppm: -200, ..Script::default() });
    let (begin, hours) = (playing.now, Duration::from_secs(2 * 3_600));
    // Steps of a period: a guest acts no more often than that.
    let mut longest = 0;
    while playing.now - begin < hours {
        for now in [&mut playing.now, &mut capturing.now] {
            *now += Duration::from_millis(49);
        }
        playing.position = playing.position.max(playing.accepted - playing.sink.queued_frames());
        playing.now += STEP;
        playing.accepted += playing.sink.write(&[7; 800]).unwrap() as u64;
        playing.player.turn(&mut playing.ring, false, playing.now);
        capturing.step(true);
        longest = longest.max(playing.sink.queued_frames());
        assert!(capturing.source.available_frames() < 800);
    }
    let (position, captured) = (playing.accepted - playing.sink.queued_frames(), capturing.captured);
    let expected = |ppm: i64| (hours.as_secs() as i64 * 8_000 * (1_000_000 + ppm) / 1_000_000).cast_unsigned();
    assert!(position.abs_diff(expected(200)) < 1_200, "{position}, expected {}", expected(200));
    assert!(captured.abs_diff(expected(-200)) < 1_200, "{captured}, expected {}", expected(-200));
    assert!(longest <= 800, "{longest} frames queued");
    assert_eq!((playing.sink.xruns(), capturing.source.xruns()), (0, 0));
}

/// A stream whose device opens only when it is told to, and that does not wait for the device.
fn slow(absent: Fallback) -> (Playing, std::sync::mpsc::Sender<()>, Result<(), Error>) {
    let script = Shared::default();
    let shared = Arc::clone(&script);
    let (let_it, held) = std::sync::mpsc::channel();
    let held = Mutex::new(held);
    let opener = Opener::new(move || {
        held.lock().unwrap().recv().unwrap();
        Ok(Opened { device: Box::new(open(&shared)?) as Box<dyn Output>, period: 480, need: 960 })
    });
    let mode = Mode { absent, ..mode(Direction::Playback) };
    let (mut sink, mut player, mut ring) = LiveSink::prepare(mode, &SPEC, opener).unwrap();
    player.begin(Duration::from_millis(1), Instant::now());
    let begun = await_open(&mut sink, || player.turn(&mut ring, false, Instant::now()));
    sink.start().unwrap();
    (Playing { script, sink, player, ring, now: Instant::now(), accepted: 0, position: 0 }, let_it, begun)
}

#[test]
fn a_device_that_opens_too_slowly_is_refused_or_used_when_it_is_open() {
    let (_playing, let_it, begun) = slow(Fallback::Refuse);
    assert!(matches!(&begun, Err(error) if *error.kind() == ErrorKind::Slow), "{begun:?}");
    let_it.send(()).unwrap();
    let (mut playing, let_it, begun) = slow(Fallback::Silence);
    begun.unwrap();
    assert!(is_lost(playing.sink.notice(), &ErrorKind::Slow));
    playing.steps(1_000);
    assert!(playing.position.abs_diff(48_000) < 100, "{}", playing.position);
    let_it.send(()).unwrap();
    playing.step_until("it is used", |playing| matches!(playing.sink.notice(), Some(Notice::Back)));
    assert_eq!(playing.script.lock().unwrap().opened, 1);
}
