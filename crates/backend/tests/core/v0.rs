//! Streams of protocol version 0, with a simulated clock.

use backend::v0::{Outcome, Ready, Stream, StreamConfig};
use backend::{DeviceLimits, Frames, Pace};
use sndif::store::Direction;
use sndif::test_utils::Pages;
use sndif::v0::{Level, OpenParams, Operation, Request, Response, Stereo, Transfer};
use sndif::{Format, GrantRef, SharedMemory};

const MS: u64 = 1_000_000;
/// Time that the 2015 driver waits for an answer.
const TIMEOUT_NS: u64 = 5000 * MS;

/// A daemon, a host device and a guest that has one request in flight at a time, like the driver of 2015.
struct World {
    core: Stream,
    now_ns: u64,
    pages: Pages,
    heard: Vec<u8>,
    /// Frames that a host device queues, if it sets the pace.
    device_queue: Option<usize>,
    queued: usize,
    source: u8,
}

fn config(direction: Option<Direction>) -> StreamConfig {
    let any = Some(DeviceLimits::ANY);
    StreamConfig { direction, playback: any, capture: any, lead_bytes_max: 4 << 20 }
}

fn params(format: Format, channels: u8, rate_hz: u32) -> Operation {
    Operation::Open(OpenParams { format, channels, rate_hz })
}

const STEREO: Operation = Operation::Open(OpenParams { format: Format::S16Le, channels: 2, rate_hz: 48_000 });

fn transfer(length: u32) -> Transfer {
    Transfer::new(length, &[GrantRef(1); 10]).unwrap()
}

impl World {
    fn new(config: StreamConfig) -> Self {
        Self {
            core: Stream::new(config),
            now_ns: 1,
            pages: Pages::new(10),
            heard: Vec::new(),
            device_queue: None,
            queued: 0,
            source: 0,
        }
    }

    fn start(&mut self, direction: Direction) {
        let pace = if self.device_queue.is_some() { Pace::Device } else { Pace::Clock };
        self.core.start(direction, pace, self.now_ns);
    }

    fn move_frames(&mut self) {
        let room = self.device_queue.map_or(usize::MAX, |most| most - self.queued.min(most));
        let mut room = room;
        while let Some(frames) = self.core.frames_to_play(self.now_ns, room) {
            self.heard.extend_from_slice(frames);
            let bytes = frames.len();
            self.core.played(bytes);
            if self.device_queue.is_some() {
                room -= bytes / 4;
                self.queued += bytes / 4;
            }
        }
        self.core.set_queued_frames(self.queued as u64);
        while let Some(room) = self.core.room_to_capture(self.now_ns, usize::MAX) {
            let bytes = room.len();
            for byte in room {
                *byte = self.source;
                self.source = self.source.wrapping_add(1);
            }
            self.core.captured(bytes);
        }
    }

    /// Sends a request and returns its answer and the time that it took.
    fn call(&mut self, operation: Operation) -> (Response, u64) {
        let request = Request { id: 7, operation };
        let sent_ns = self.now_ns;
        let response = match self.core.request(&request, self.now_ns) {
            Outcome::Respond(response) | Outcome::Refuse(response, _) | Outcome::VolumeChanged(response) => {
                return (response, 0);
            }
            Outcome::Open(response, direction) => {
                if let Some(direction) = direction {
                    self.start(direction);
                }
                return (response, 0);
            }
            Outcome::Start(direction) => {
                self.start(direction);
                None
            }
            Outcome::Wait => None,
        };
        assert_eq!(response, None::<Response>);
        for _ in 0..100_000 {
            self.move_frames();
            let answer = match self.core.ready(self.now_ns) {
                Some(Ready::Respond(response) | Ready::Refuse(response, _) | Ready::Closed(response)) => Some(response),
                Some(Ready::Copy(transfer)) => {
                    assert!(transfer.refs().len() <= 10);
                    self.core.copy(&self.pages, self.now_ns)
                }
                None => {
                    self.pass();
                    None
                }
            };
            if let Some(response) = answer {
                self.move_frames();
                assert_eq!((response.id, response.opcode), (7, operation.opcode()));
                return (response, self.now_ns - sent_ns);
            }
        }
        panic!("no answer to {operation:?}");
    }

    /// Lets time pass until the stream has to be checked, or the host device moves on.
    fn pass(&mut self) {
        let wake = self.core.next_wake_ns().expect("a waiting guest is looked at again");
        let wake = match self.device_queue {
            Some(_) => wake.min(self.now_ns + 10 * MS),
            None => wake,
        };
        assert!(wake > self.now_ns, "a wake-up that leads nowhere");
        self.advance(wake - self.now_ns);
    }

    fn advance(&mut self, ns: u64) {
        self.now_ns += ns;
        self.queued = self.queued.saturating_sub(usize::try_from(ns * 48 / MS).unwrap());
        self.core.set_queued_frames(self.queued as u64);
    }

    fn ok(&mut self, operation: Operation) -> u64 {
        let (response, took) = self.call(operation);
        assert!(response.success, "{operation:?}");
        took
    }

    fn write(&mut self, bytes: &[u8]) -> u64 {
        self.pages.write(0, bytes);
        let took = self.ok(Operation::Write(transfer(u32::try_from(bytes.len()).unwrap())));
        // Changes that the guest makes to its pages after the answer have no effect.
        self.pages.write(0, &vec![0xEE; bytes.len()]);
        took
    }
}

fn sound(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at / 7 % 251) as u8 + 1).collect()
}

#[test]
fn the_answer_to_write_keeps_the_guest_in_real_time_without_gaps() {
    for device_queue in [None, Some(960)] {
        let mut world = World::new(config(Some(Direction::Playback)));
        world.device_queue = device_queue;
        world.ok(STEREO);
        let sound = sound(48_000 * 4 * 3);
        let start = world.now_ns;
        for period in sound.chunks(4096) {
            assert!(world.write(period) < TIMEOUT_NS);
            // The guest needs some time, less than the lead.
            world.advance(15 * MS);
        }
        let took = world.now_ns - start;
        assert!((2800 * MS..3050 * MS).contains(&took), "3 s took {} ms", took / MS);
        assert_eq!(world.core.counters().xruns, 0);
        world.ok(Operation::Close);
        assert_eq!(world.heard, sound);
        let took = world.now_ns - start;
        assert!((2990 * MS..3250 * MS).contains(&took), "with its end 3 s took {} ms", took / MS);
    }
}

#[test]
fn the_end_is_played_before_close_is_answered() {
    let mut world = World::new(config(Some(Direction::Playback)));
    world.ok(STEREO);
    // The sound lasts 20 ms, less than the lead, so nothing is heard yet.
    world.write(&sound(3840));
    assert!(world.heard.is_empty());
    assert!(world.ok(Operation::Close) >= 20 * MS);
    assert_eq!(world.heard, sound(3840));
}

#[test]
fn a_short_sound_is_heard_though_its_guest_does_not_close() {
    let mut world = World::new(config(Some(Direction::Playback)));
    world.ok(STEREO);
    world.write(&sound(3840));
    for _ in 0..100 {
        if let Some(wake) = world.core.next_wake_ns().filter(|&wake| wake > world.now_ns) {
            world.advance(wake - world.now_ns);
        }
        world.move_frames();
    }
    assert_eq!(world.heard, sound(3840));
    assert_eq!(world.core.next_wake_ns(), None, "nobody looks at a stream that ran dry");
}

#[test]
fn a_write_longer_than_the_guests_patience_is_answered_before_it_ends() {
    let mut world = World::new(config(Some(Direction::Playback)));
    // Ten pages of this format last 7.4 s.
    world.ok(params(Format::U8, 1, 5500));
    let sound = sound(40_960);
    assert!(world.write(&sound) < TIMEOUT_NS);
    world.move_frames();
    assert!(world.heard.len() < 40_960);
    let mut refused = 0;
    for _ in 0..10 {
        let (response, took) = world.call(Operation::Write(transfer(40_960)));
        assert!(took < TIMEOUT_NS, "every answer comes in time");
        refused += u32::from(!response.success);
    }
    assert!(refused > 0, "a guest that brings more than can be played is told so");
}

#[test]
fn running_dry_is_counted_and_the_lead_is_gathered_again() {
    let mut world = World::new(config(Some(Direction::Playback)));
    world.ok(STEREO);
    let sound = sound(3840 * 40);
    let (first, second) = sound.split_at(3840 * 20);
    for part in [first, second] {
        for period in part.chunks(3840) {
            world.write(period);
        }
        for _ in 0..50 {
            world.advance(10 * MS);
            world.move_frames();
        }
    }
    assert_eq!(world.core.counters().xruns, 1);
    assert_eq!(world.heard, sound);
}

#[test]
fn a_guest_is_not_late_because_the_daemon_was() {
    let mut world = World::new(config(Some(Direction::Playback)));
    world.ok(STEREO);
    let sound = sound(3840 * 10);
    for period in sound.chunks(3840).take(5) {
        world.write(period);
    }
    // No frames were asked for during more than the lead; at the next request, the guest's next frames are in its ring.
    world.advance(110 * MS);
    for period in sound.chunks(3840).skip(5) {
        world.write(period);
    }
    world.ok(Operation::Close);
    assert_eq!(world.core.counters().xruns, 0);
    assert_eq!(world.heard, sound);
}

#[test]
fn capture_gives_what_the_host_heard_from_the_first_read_on() {
    let mut world = World::new(config(None));
    world.ok(STEREO);
    world.advance(1000 * MS);
    let mut expected = 0_u8;
    for _ in 0..50 {
        world.ok(Operation::Read(transfer(3840)));
        let bytes = world.pages.bytes();
        for byte in &bytes[..3840] {
            assert_eq!(*byte, expected);
            expected = expected.wrapping_add(1);
        }
        world.advance(5 * MS);
    }
    let at = world.now_ns - 1000 * MS;
    assert!((1000 * MS..1030 * MS).contains(&at), "1 s of frames took {} ms", at / MS);
    assert_eq!(world.core.counters().xruns, 0);
    // A guest that sleeps loses the oldest frames, and nothing grows without a bound.
    world.advance(60_000 * MS);
    world.move_frames();
    assert_eq!(world.core.counters().xruns, 1);
    assert!(world.ok(Operation::Read(transfer(3840))) == 0);
}

#[test]
fn a_read_that_cannot_be_filled_in_time_is_refused_at_once() {
    let mut world = World::new(config(None));
    world.ok(params(Format::U8, 1, 8000));
    let (response, took) = world.call(Operation::Read(transfer(40_960)));
    assert!(!response.success && took == 0);
    assert!(world.ok(Operation::Read(transfer(8000 * 2))) < TIMEOUT_NS);
}

#[test]
fn volume_is_kept_over_close_and_told() {
    let mut world = World::new(config(None));
    let ask = |world: &mut World| world.call(Operation::GetVolume).0.volume;
    assert_eq!(ask(&mut world), Some(Stereo::FULL));
    let volume = Stereo { left: Level::new(-50), right: Level::OFF };
    world.ok(Operation::SetVolume(volume));
    world.ok(STEREO);
    world.ok(Operation::Close);
    assert_eq!(ask(&mut world), Some(volume));
    assert_eq!(world.core.volume(), volume);
}

#[test]
fn what_does_not_fit_the_stream_is_refused() {
    let mut world = World::new(config(Some(Direction::Playback)));
    let refused = |world: &mut World, operation| {
        let (response, took) = world.call(operation);
        assert!(!response.success && took == 0, "{operation:?}");
    };
    refused(&mut world, Operation::Write(transfer(4)));
    refused(&mut world, Operation::Read(transfer(4)));
    world.ok(Operation::Close);
    for (channels, rate_hz) in [(0, 48_000), (2, 0), (2, 4_000_000_000)] {
        refused(&mut world, params(Format::S16Le, channels, rate_hz));
    }
    world.ok(STEREO);
    refused(&mut world, Operation::Write(transfer(5)));
    refused(&mut world, Operation::Read(transfer(4)));
    world.ok(Operation::Write(transfer(0)));
    assert!(world.heard.is_empty());

    let mut muted = World::new(StreamConfig { capture: None, ..config(None) });
    muted.ok(STEREO);
    refused(&mut muted, Operation::Read(transfer(4)));
    muted.write(&sound(400));
    let mut deaf = World::new(StreamConfig { capture: None, ..config(Some(Direction::Capture)) });
    refused(&mut deaf, STEREO);
}

#[test]
fn the_queue_is_bounded_by_the_hosts_limit() {
    let mut world = World::new(StreamConfig { lead_bytes_max: 4096, ..config(Some(Direction::Playback)) });
    world.ok(params(Format::F64Le, 255, 768_000));
    assert!(world.core.geometry().unwrap().ring_bytes <= 4096 + 2 * 40_960);
    world.write(&sound(255 * 8 * 20));
    world.ok(Operation::Close);
    assert_eq!(world.heard.len(), 255 * 8 * 20);
}
