//! Tests of 24 simulated hours of playback and capture at 48 and 44.1 kHz: both cores, their ring and event page, an
//! application that pauses, stops and leaves gaps, and two devices whose clocks differ by 200 ppm: 17 seconds in a day.

use backend::{DeviceLimits, Frames, HostLimits, Offer, Outcome, Pace, Run, StreamConfig};
use frontend::Geometry;
use sndif::store::{Direction, LimitNodes, Limits};
use sndif::test_utils::Pages;
use sndif::v2::{BackRing, EventProducer, Operation, Request, Response, Trigger};
use sndif::{Format, GrantRef, SharedMemory};

const SECOND: u64 = 1_000_000_000;
const STEP_NS: u64 = SECOND / 20;
const DAY_NS: u64 = 24 * 3600 * SECOND;
/// Periods in the buffer, of 100 ms each.
const PERIODS: u32 = 4;

/// Numbered frames of one byte, so that a missing or doubled frame is noticed.
fn sound() -> Vec<u8> {
    (0..251_u8).cycle().take(251 + 4 * 4800).collect()
}

/// State of a device.
#[derive(Default)]
struct Device {
    /// Deviation of the device's clock from the system's, in ppm; `None` if the system's clock paces the stream.
    ppm: Option<i64>,
    running: bool,
    /// Time that the device ran, in nanoseconds, and frames counted by its own clock in that time.
    ran_ns: u64,
    passed: u64,
    /// Frames that the device took and has not played yet.
    queued: u64,
    heard: u64,
}

impl Device {
    /// Advances the device by one step and returns the frames that its clock counted.
    fn tick(&mut self, rate_hz: u32) -> u64 {
        if !self.running {
            return 0;
        }
        self.ran_ns += STEP_NS;
        let ppm = u128::from((1_000_000 + self.ppm.unwrap_or(0)).cast_unsigned());
        let passed = u128::from(self.ran_ns) * u128::from(rate_hz) * ppm / u128::from(SECOND) / 1_000_000;
        let passed = u64::try_from(passed).expect("a day");
        passed - std::mem::replace(&mut self.passed, passed)
    }
}

/// A stream, from the application to the device.
struct Line {
    direction: Direction,
    rate_hz: u32,
    buffer: Pages,
    front: frontend::Stream<Pages>,
    ring: BackRing<Pages>,
    events: EventProducer<Pages>,
    core: backend::Stream<Pages>,
    device: Device,
    sound: Vec<u8>,
    /// Frames moved by the application, and frames moved by the device.
    application: u64,
    moved: u64,
    now_ns: u64,
}

impl Line {
    fn new(direction: Direction, rate_hz: u32, ppm: Option<i64>) -> Self {
        let (ring, events) = (Pages::new(1), Pages::new(1));
        let period = rate_hz / 10;
        let nodes =
            LimitNodes { sample_rates: Some(b"44100,48000"), sample_formats: Some(b"u8"), ..LimitNodes::default() };
        let store = Limits::DEFAULT.narrowed_by(&nodes).expect("legal nodes");
        let offer = Offer { store, device: DeviceLimits::ANY, host: HostLimits::default(), control_bytes: 0 };
        let mut line = Self {
            direction,
            rate_hz,
            buffer: Pages::of_bytes((PERIODS * period) as usize),
            front: frontend::Stream::new(direction, ring.clone(), events.clone(), 0),
            ring: BackRing::new(ring),
            events: EventProducer::new(events),
            core: backend::Stream::new(StreamConfig { direction, offer, permitted: true, write_hold_off: false }),
            device: Device { ppm, ..Device::default() },
            sound: sound(),
            application: 0,
            moved: 0,
            now_ns: 0,
        };
        let geometry = Geometry::new(Format::U8, 1, rate_hz, period, PERIODS * period).expect("sizes");
        line.ask(Operation::Open(geometry.open_params(0, GrantRef(9)).expect("sizes")));
        line
    }

    fn ask(&mut self, operation: Operation) {
        self.front.submit(operation).unwrap_or_else(|error| panic!("{operation:?}: {error}"));
        let _ = self.front.publish();
        self.serve();
        while let Some(completion) = self.front.next_completion().expect("an honest backend") {
            assert_eq!(completion.result, Ok(()), "{:?}", completion.operation);
        }
    }

    fn serve(&mut self) {
        while let Some(packet) = self.ring.take().expect("an honest frontend") {
            let request = Request::parse(&packet).expect("a request");
            let answer = Response { id: request.id, opcode: request.operation.opcode(), result: Ok(()), params: None };
            let response = match self.core.request(&request, self.now_ns) {
                Outcome::Open(geometry, _) => {
                    let pace = if self.device.ppm.is_some() { Pace::Device } else { Pace::Clock };
                    self.core.opened(geometry, self.buffer.clone(), pace, |mirror| mirror.fill(0));
                    answer
                }
                Outcome::Started(response) | Outcome::Resumed(response) => {
                    self.device.running = true;
                    response
                }
                Outcome::Paused(response) => {
                    self.device.running = false;
                    response
                }
                Outcome::Stopped(response) => {
                    (self.device.running, self.device.queued) = (false, 0);
                    self.tell();
                    response
                }
                Outcome::Respond(response) | Outcome::Closed(response) => response,
                other => panic!("{other:?}"),
            };
            assert!(self.ring.respond(&response.emit()));
        }
        let _ = self.ring.publish();
        let _ = self.ring.arm(1);
    }

    fn tell(&mut self) {
        if let Some(position) = self.core.event(self.now_ns) {
            self.events.push(position).expect("the frontend reads its events");
            self.core.event_sent(position, self.now_ns);
        }
    }

    /// `count` frames from number `first` on.
    fn numbered(sound: &[u8], first: u64, count: usize) -> &[u8] {
        &sound[(first % 251) as usize..][..count]
    }

    /// The device's part of a step.
    fn look(&mut self) {
        self.now_ns += STEP_NS;
        let passed = self.device.tick(self.rate_hz);
        if self.direction == Direction::Playback {
            // A device without frames waits.
            let heard = passed.min(self.device.queued);
            self.device.queued -= heard;
            self.device.heard += heard;
            let room =
                self.device.ppm.map_or(usize::MAX, |_| (u64::from(self.rate_hz / 5) - self.device.queued) as usize);
            let mut room_left = room;
            while let Some(frames) = self.core.frames_to_play(self.now_ns, room_left) {
                let count = frames.len();
                assert_eq!(frames, Self::numbered(&self.sound, self.moved, count), "at frame {}", self.moved);
                self.core.played(count);
                self.moved += count as u64;
                room_left -= count;
                if self.device.ppm.is_some() {
                    self.device.queued += count as u64;
                } else {
                    self.device.heard += count as u64;
                }
            }
            if self.device.ppm.is_some() {
                self.core.set_queued_frames(self.device.queued);
            }
        } else {
            let mut left = self.device.ppm.map_or(usize::MAX >> 1, |_| passed as usize);
            while let Some(room) = self.core.room_to_capture(self.now_ns, left) {
                let count = room.len();
                room.copy_from_slice(Self::numbered(&self.sound, self.moved, count));
                self.core.captured(count);
                self.moved += count as u64;
                left -= count;
                self.device.heard += count as u64;
            }
            assert!(self.device.ppm.is_none() || left == 0, "{left} frames that nobody took");
        }
        self.tell();
    }

    /// The application's part of a step: writes or reads as much as possible.
    fn transfer(&mut self) {
        self.front.take_events().expect("an honest backend");
        while let Some(span) = self.front.next_span(u32::MAX) {
            let count = span.length as usize;
            if self.direction == Direction::Playback {
                self.buffer.write(span.offset as usize, Self::numbered(&self.sound, self.application, count));
                self.ask(Operation::Write(span));
            } else {
                self.ask(Operation::Read(span));
                let mut got = vec![0; count];
                self.buffer.read(span.offset as usize, &mut got);
                assert_eq!(got, Self::numbered(&self.sound, self.application, count), "at frame {}", self.application);
            }
            self.application += count as u64;
        }
        self.check();
    }

    /// Checks that the guest's position equals the device's, apart from frames in transit, after any time.
    fn check(&self) {
        let (believed, did) = (self.front.position_bytes(), self.device.heard);
        let period = u64::from(self.rate_hz / 10);
        assert!(believed <= did + 1, "told {believed} of {did}");
        assert!(did - believed.min(did) <= period + u64::from(self.rate_hz / 20) + 50, "told {believed} of {did}");
    }

    fn steps(&mut self, count: u64) {
        for _ in 0..count {
            self.look();
            self.transfer();
        }
    }

    /// For playback, waits until all written frames are heard.
    fn finish(&mut self) {
        if self.direction == Direction::Playback {
            for _ in 0..40 {
                self.look();
                self.front.take_events().expect("an honest backend");
            }
            assert_eq!((self.moved, self.device.heard), (self.application, self.application), "frames are lost");
        }
    }

    fn rest(&mut self, way: u64, steps: u64) {
        match way {
            0 => {
                self.ask(Operation::Trigger(Trigger::Pause));
                assert_eq!(self.core.run(), Run::Paused);
                let before = self.device.heard;
                (0..steps).for_each(|_| self.look());
                assert_eq!(self.device.heard, before, "nothing moves while it is held");
                self.ask(Operation::Trigger(Trigger::Resume));
            }
            1 => {
                self.finish();
                self.ask(Operation::Trigger(Trigger::Stop));
                self.front.take_events().expect("an honest backend");
                (0..steps).for_each(|_| self.look());
                if self.direction == Direction::Playback {
                    self.transfer();
                } else {
                    // Frames captured before the stop, but not reported yet, are lost: less than a period.
                    self.check();
                    (self.application, self.device.heard) = (self.moved, self.front.position_bytes());
                }
                self.ask(Operation::Trigger(Trigger::Start));
            }
            // The application is late. A recorder that is away for longer than a buffer loses frames, and is told so.
            2 if self.direction == Direction::Playback => {
                self.finish();
                (0..steps).for_each(|_| self.look());
            }
            _ => (0..steps % 3).for_each(|_| self.look()),
        }
    }

    fn day(mut self, day_ns: u64) {
        if self.direction == Direction::Playback {
            self.transfer();
        }
        self.ask(Operation::Trigger(Trigger::Start));
        let mut noise = u64::from(self.rate_hz);
        let mut rests = 0;
        while self.now_ns < day_ns {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // Sound for up to ten minutes, a rest for up to 20 seconds.
            let (sound, rest) = (20 + (noise >> 33) % 12_000, 1 + (noise >> 50) % 400);
            let xruns = self.core.counters().xruns;
            self.steps(sound);
            assert_eq!(self.core.counters().xruns, xruns.max(rests), "sound without a gap has none");
            let way = noise >> 20 & 3;
            self.rest(way, rest);
            rests = self.core.counters().xruns;
            // The steps after a rest may still belong to its xrun.
            self.steps(2);
            rests = rests.max(self.core.counters().xruns);
        }
        self.finish();
        // By the device's own clock: at most the frames that the clock counted were heard.
        assert!(self.device.heard <= self.device.passed || self.device.ppm.is_none());
        assert!(self.moved > u64::from(self.rate_hz) * (day_ns / SECOND) / 2, "{} frames", self.moved);
        assert_eq!(self.front.counters().ignored_beyond + self.front.counters().ignored_rewinds, 0);
        assert_eq!(self.core.counters().frames, self.moved);
    }

    /// Runs sound without any rest: each frame that the device's clock counts is heard.
    fn without_rest(mut self, day_ns: u64) {
        if self.direction == Direction::Playback {
            self.transfer();
        }
        self.ask(Operation::Trigger(Trigger::Start));
        self.steps(day_ns / STEP_NS);
        assert_eq!((self.core.counters().xruns, self.front.counters().xruns), (0, 0));
        let by_clock = if self.device.ppm.is_some() {
            self.device.passed
        } else {
            day_ns / 1000 * u64::from(self.rate_hz) / 1_000_000
        };
        // Playback starts later by the first step, in which the device takes its first frames.
        let least = by_clock - if self.direction == Direction::Playback { u64::from(self.rate_hz / 20) + 1 } else { 0 };
        assert!((least..=by_clock).contains(&self.device.heard), "{} frames of {by_clock}", self.device.heard);
    }
}

fn lines() -> Vec<Line> {
    let both = |rate_hz| {
        [
            Line::new(Direction::Playback, rate_hz, Some(100)),
            Line::new(Direction::Capture, rate_hz, Some(-100)),
            Line::new(Direction::Playback, rate_hz, None),
            Line::new(Direction::Capture, rate_hz, None),
        ]
    };
    [48_000, 44_100].into_iter().flat_map(both).collect()
}

#[test]
fn over_a_day_with_gaps_and_pauses_no_frame_is_lost_and_no_position_drifts() {
    for line in lines() {
        line.day(DAY_NS);
    }
}

#[test]
fn over_a_day_without_a_rest_each_frame_of_the_devices_clock_is_heard() {
    for line in lines() {
        line.without_rest(DAY_NS);
    }
}
