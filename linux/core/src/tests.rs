// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! A card from its nodes to its end, with a backend of ordinary memory.

use std::format;
use std::rc::Rc;
use std::vec::Vec;

use frontend::{USELESS_MAX, Violation};
use sndif::store::Direction;
use sndif::v2::{HwParams, Interval, Trigger};
use sndif::{Errno, Format, FormatSet, SharedMemory};

use crate::layout::{self, StreamInfo};
use crate::testing::{
    TestBus, TestKernel, backend, dropped, elapsed, granted, keep, kept, kill, mapped, notifications, now_ms, silence,
    stops, storm, volume_changes, when_waited, with_granted,
};
use crate::{Error, KEPT_MAX, Knob, PcmStream, Pointer, Space, Stop, Substream, VOLUME_0_DB, VOLUME_MAX, connect};

mod ahead;
mod alsa;
mod habits;
mod hostile;
mod unattended;

/// 48 kHz stereo s16, four periods of 480 frames.
const PERIOD: u64 = 480 * 4;
const RING: u64 = 4 * PERIOD;
/// ALSA's application pointer wraps here.
const BOUNDARY: u64 = 1920 << 40;

fn streams(bus: &TestBus) -> Vec<Substream<TestKernel>> {
    let mut streams = Vec::new();
    let read = layout::streams::<TestKernel>(bus, &mut |info| {
        streams.push(Substream::V2(PcmStream::new(info).unwrap()));
    });
    read.unwrap();
    streams
}

/// A connected stream of a card with one; the rest of its store.
fn stream(kind: &str) -> (TestBus, Substream<TestKernel>) {
    let bus = TestBus::new(&[("0/0/type", kind)]);
    let stream = streams(&bus).pop().unwrap();
    reconnect(&bus, &stream);
    (bus, stream)
}

/// The stream, which has to be of version 2.
fn v2(stream: &Substream<TestKernel>) -> &PcmStream<TestKernel> {
    let Substream::V2(stream) = stream else { panic!("version 0") };
    stream
}

fn open(stream: &Substream<TestKernel>) -> Result<Space, Error> {
    stream.open(v2(stream).info().direction)
}

fn reconnect(bus: &TestBus, stream: &Substream<TestKernel>) {
    connect::publish(bus, core::slice::from_ref(stream), connect::features::<TestKernel>(bus)).unwrap();
    bus.attach("0/0");
    stream.connected();
}

fn prepared(kind: &str) -> (TestBus, Substream<TestKernel>) {
    let (bus, stream) = stream(kind);
    stream.hw_params(Format::S16Le, 2, 48_000, 480, 1920).unwrap();
    stream.prepare().unwrap();
    assert_eq!(backend(|backend| backend.story()), "open 7680");
    notifications();
    (bus, stream)
}

fn settled() -> HwParams {
    HwParams {
        formats: FormatSet::EMPTY.with(Format::S16Le),
        rates_hz: Interval::exactly(48_000),
        channels: Interval::exactly(2),
        ..HwParams::ANY
    }
}

#[test]
fn a_card_is_read_with_holes_inheritance_and_substreams_counted_by_direction() {
    let bus = TestBus::new(&[
        ("short-name", "Lab\x1b[0m"),
        ("sample-rates", "44100,48000"),
        ("0/0/type", "p"),
        ("0/2/type", "C"),
        ("0/7/type", "p"),
        ("0/7/sample-rates", "48000"),
        ("0/9/unique-id", "no stream"),
        ("3/name", "third"),
        ("3/0/type", "p"),
        ("backend", "no PCM device"),
    ]);
    assert_eq!(layout::names::<TestKernel>(&bus).short.as_str(), "Lab?[0m");
    assert_eq!(layout::pcm_name::<TestKernel>(&bus, 3).as_str(), "third");
    let streams = streams(&bus);
    let told =
        |info: &StreamInfo| (info.pcm, info.node, info.direction, info.substream, info.limits.rates.list().len());
    let told: Vec<_> = streams.iter().map(|stream| told(v2(stream).info())).collect();
    let (play, capture) = (Direction::Playback, Direction::Capture);
    assert_eq!(told, [(0, 0, play, 0, 2), (0, 2, capture, 0, 2), (0, 7, play, 1, 1), (3, 0, play, 0, 2)]);
    assert_eq!([play, capture].map(|direction| Substream::count(&streams, 0, direction)), [2, 1]);
    assert!(layout::streams_max::<TestKernel>(&bus) >= streams.len());
}

#[test]
fn store_values_a_bad_limit_is_named_with_its_place() {
    let bus = TestBus::new(&[("0/0/type", "p"), ("0/0/channels-max", "many")]);
    let bad = layout::streams::<TestKernel>(&bus, &mut |_| {}).unwrap_err();
    assert_eq!((bad.path.as_str(), bad.node.node), ("0/0", "channels-max"));
}

#[test]
fn opening_asks_the_backend_twice_however_often_alsa_refines() {
    let (_bus, stream) = stream("p");
    backend(|backend| backend.space.period_frames = Interval::new(48, 8192));
    let space = open(&stream).unwrap();
    assert_eq!((space.params.period_frames.min, space.buffer_bytes_max), (48, 65_536));
    for period in 100..200 {
        let asked = HwParams { period_frames: Interval::exactly(period), ..settled() };
        assert_eq!(stream.refine(&asked).unwrap().period_frames, Interval::new(48, 8192));
    }
    let unsettled = HwParams { channels: Interval::new(1, 2), ..settled() };
    assert_eq!(stream.refine(&unsettled), Ok(unsettled));
    assert_eq!(open(&stream).unwrap(), space);
    assert_eq!(backend(|backend| backend.queries()), 2);
}

#[test]
fn a_backend_that_does_not_want_to_hear_of_writes_is_told_of_all_else_and_when_somebody_waits() {
    let (bus, stream) = prepared("p");
    assert_eq!(bus.node("0/0/write-hold-off").as_deref(), Some("1"));
    backend(|backend| {
        backend.awaits = 16;
        backend.serve();
    });
    stream.ack(960, BOUNDARY).unwrap();
    assert_eq!(notifications(), 0, "WRITE");
    stream.trigger(Trigger::Start).unwrap();
    assert_eq!(notifications(), 1, "START");
    for period in 0..8 {
        backend(|backend| {
            backend.serve();
            backend.report(period * PERIOD + 4);
        });
        stream.on_events();
        stream.ack(960 + (period + 1) * 480, BOUNDARY).unwrap();
        assert_eq!(notifications(), 0, "WRITE");
    }
    stream.trigger(Trigger::Stop).unwrap();
    assert_eq!(notifications(), 1, "STOP");
    stream.prepare().unwrap();
    notifications();
    stream.ack(480, BOUNDARY).unwrap();
    assert_eq!(notifications(), 0, "WRITE");
    stream.hw_free();
    assert_eq!(notifications(), 2, "somebody waits for the answer to WRITE, then CLOSE");
}

#[test]
fn writing_does_not_wait_and_is_not_told_of_answers() {
    let (_bus, stream) = prepared("p");
    stream.ack(1440, BOUNDARY).unwrap();
    stream.trigger(Trigger::Start).unwrap();
    backend(|backend| {
        let before = backend.notified;
        backend.serve();
        assert_eq!(backend.notified, before, "nobody waits for these answers");
        assert_eq!(backend.story(), "write 0+5760, start");
        backend.report(PERIOD + 4);
    });
    assert!(stream.on_events());
    assert_eq!((elapsed(), stream.pointer().frames), (2, 481));
    notifications();
    // A period of room, and the frame that is too much waits with the next.
    stream.ack(1920, BOUNDARY).unwrap();
    stream.ack(1921, BOUNDARY).unwrap();
    backend(|backend| {
        backend.serve();
        assert_eq!(backend.story(), "write 5760+1920");
        backend.report(2 * PERIOD + 4);
    });
    assert_eq!(notifications(), 1);
    assert!(stream.on_events());
    backend(|backend| {
        backend.serve();
        assert_eq!(backend.story(), "write 0+4");
    });
    assert!(stream.on_events(), "the answer to the last WRITE");
    assert!(!stream.on_events(), "and nothing more");
    assert_eq!(stops(), []);
}

/// The backend tells a position some frames behind a period's end, not always as many.
#[test]
fn what_a_player_writes_into_the_room_of_an_event_does_not_wait_for_the_next_one() {
    let (_bus, stream) = prepared("p");
    stream.ack(1920, BOUNDARY).unwrap();
    stream.trigger(Trigger::Start).unwrap();
    backend(|backend| {
        backend.serve();
        assert_eq!(backend.story(), "write 0+7680, start");
    });
    let (mut told, mut written) = (0, 0);
    for (period, behind) in (1..8).zip([3, 1, 2, 1, 1, 4, 1]) {
        let room = period * 480 + behind - told;
        told += room;
        backend(|backend| backend.report(told * 4));
        stream.on_events();
        // A player's blocks end anywhere in this room.
        stream.ack(1920 + told - 200, BOUNDARY).unwrap();
        stream.ack(1920 + told, BOUNDARY).unwrap();
        let story = backend(|backend| {
            backend.serve();
            backend.story()
        });
        let lengths = story.split('+').skip(1).filter_map(|word| word.split(',').next()?.parse::<u64>().ok());
        written += lengths.sum::<u64>() / 4;
        assert_eq!(written, told, "period {period}: room of {room} frames, {story}");
    }
}

#[test]
fn alsa_is_told_of_a_whole_ring_in_two_steps() {
    let (_bus, stream) = prepared("p");
    stream.ack(1920, BOUNDARY).unwrap();
    stream.trigger(Trigger::Start).unwrap();
    stream.drain().unwrap();
    backend(|backend| {
        backend.serve();
        backend.report(RING + 4);
    });
    stream.on_events();
    assert_eq!(stream.pointer().frames, 1919);
    assert_eq!(stream.pointer().frames, 0);
    assert_eq!(stream.pointer().frames, 0);
}

#[test]
fn after_stop_everything_starts_at_offset_0() {
    let (_bus, stream) = prepared("p");
    stream.ack(960, BOUNDARY).unwrap();
    stream.trigger(Trigger::Start).unwrap();
    stream.trigger(Trigger::Stop).unwrap();
    stream.prepare().unwrap();
    stream.ack(480, BOUNDARY).unwrap();
    // Dropped without having been started.
    stream.prepare().unwrap();
    stream.ack(480, BOUNDARY).unwrap();
    stream.hw_free();
    let story = "write 0+3840, start, stop, write 0+1920, stop, write 0+1920, close";
    assert_eq!(backend(|backend| backend.story()), story);
}

#[test]
fn the_application_pointer_wraps_at_its_boundary() {
    let (_bus, stream) = prepared("p");
    let boundary = 3840;
    for appl in [1900, 0] {
        stream.ack(appl, boundary).unwrap();
    }
    backend(|backend| {
        backend.serve();
        assert_eq!(backend.story(), "write 0+7600, write 7600+80");
    });
}

#[test]
fn captured_frames_are_asked_for_and_shown_as_soon_as_they_are_there() {
    let (_bus, stream) = prepared("c");
    stream.trigger(Trigger::Start).unwrap();
    backend(|backend| {
        backend.serve();
        backend.report(PERIOD + 4);
    });
    assert!(stream.on_events());
    assert_eq!(stream.pointer(), Pointer { frames: 0, delay_frames: 481 });
    assert_eq!(elapsed(), 0);
    backend(|backend| {
        let before = backend.notified;
        backend.serve();
        assert_eq!(backend.story(), "start, read 0+1924");
        assert_eq!(backend.notified, before + 1, "the answer to READ raises a notification");
    });
    // Without the next event.
    assert!(stream.on_ring());
    assert!(elapsed() > 0);
    assert_eq!(stream.pointer(), Pointer { frames: 481, delay_frames: 0 });
    // Two READs around the ring's end are told of once.
    for periods in [2, 3, 4, 5] {
        backend(|backend| backend.report(periods * PERIOD + 4));
        assert!(stream.on_events());
        backend(|backend| {
            let before = backend.notified;
            backend.serve();
            assert_eq!(backend.notified, before + 1);
        });
        assert!(stream.on_ring());
    }
    backend(|backend| assert!(backend.story().ends_with("read 5764+1916, read 0+4, read 4+1920")));
}

/// Marks each period of the application's memory with its number, from 1 on.
fn mark(stream: &Substream<TestKernel>) {
    stream
        .with_buffer(|pages| (0..4).for_each(|number| assert!(pages.write(number * 1920, &[number as u8 + 1; 1920]))));
}

/// The first byte of each period of `memory`, and its last.
fn marks(memory: &impl SharedMemory) -> Vec<(u8, u8)> {
    let byte = |at| {
        let mut byte = [0];
        assert!(memory.read(at, &mut byte));
        byte[0]
    };
    (0..4).map(|number| (byte(number * 1920), byte(number * 1920 + 1919))).collect()
}

/// The next connection, whose backend answers what it is asked.
fn take_up(bus: &TestBus, stream: &Substream<TestKernel>) {
    reconnect(bus, stream);
    for _ in 0..2 {
        backend(|backend| backend.serve());
        stream.on_ring();
    }
    assert_eq!(stops(), []);
}

#[test]
fn a_running_stream_goes_on_over_the_next_connection_where_it_was() {
    let (bus, stream) = prepared("p");
    mark(&stream);
    stream.ack(1920, BOUNDARY).unwrap();
    stream.trigger(Trigger::Start).unwrap();
    backend(|backend| {
        backend.serve();
        backend.report(PERIOD + 4);
    });
    stream.on_events();
    assert_eq!(stream.pointer().frames, 481);
    stream.detach();
    // The pointer stands; what is written waits.
    assert_eq!((stream.pointer().frames, stops()), (481, Vec::new()));
    stream.ack(2400, BOUNDARY).unwrap();
    assert_eq!(granted(), 4, "three pages of the buffer and its directory");
    reconnect(&bus, &stream);
    assert_eq!(backend(|backend| backend.story()), "");
    stream.ack(2401, BOUNDARY).unwrap();
    // Lost, too, before it answered.
    stream.detach();
    take_up(&bus, &stream);
    assert_eq!(backend(|backend| backend.story()), "open 7680, write 0+7680, start");
    assert_eq!(marks(&mapped()), [(2, 3), (3, 4), (4, 1), (1, 2)], "from the place of the pointer on");
    assert_eq!(stream.pointer().frames, 481);
    elapsed();
    backend(|backend| backend.report(PERIOD + 4));
    stream.on_events();
    assert_eq!((elapsed(), stream.pointer().frames), (2, 962));
    // A period of room, which wraps in the application's ring.
    mark(&stream);
    stream.ack(2882, BOUNDARY).unwrap();
    backend(|backend| {
        backend.serve();
        assert_eq!(backend.story(), "write 0+1924");
    });
    // And is lost and found once more, a whole turn later.
    stream.drain().unwrap();
    backend(|backend| backend.report(RING));
    stream.on_events();
    assert_eq!(stream.pointer().frames, 481);
    stream.detach();
    take_up(&bus, &stream);
    assert_eq!(backend(|backend| backend.story()), "open 7680, write 0+1924, start");
    backend(|backend| backend.report(1928));
    stream.on_events();
    assert_eq!((stream.pointer().frames, stops()), (962, Vec::new()));
    // The next run has the application's own memory again.
    stream.trigger(Trigger::Stop).unwrap();
    stream.prepare().unwrap();
    stream.ack(480, BOUNDARY).unwrap();
    stream.hw_free();
    assert_eq!(backend(|backend| backend.story()), "stop, close, open 7680, write 0+1920, close");
    stream.detach();
    assert_eq!(granted(), 0);
}

#[test]
fn a_recording_goes_on_over_the_next_connection_where_it_was() {
    let (bus, stream) = prepared("c");
    stream.trigger(Trigger::Start).unwrap();
    backend(|backend| backend.report(PERIOD + 4));
    stream.on_events();
    backend(|backend| {
        backend.serve();
        // Not asked for yet.
        backend.report(2 * PERIOD);
    });
    stream.on_ring();
    assert_eq!(stream.pointer(), Pointer { frames: 481, delay_frames: 0 });
    stream.detach();
    take_up(&bus, &stream);
    assert_eq!(backend(|backend| backend.story()), "open 7680, start");
    assert_eq!(stream.pointer(), Pointer { frames: 481, delay_frames: 0 });
    mapped().write(0, &[9; 1920]);
    backend(|backend| backend.report(PERIOD));
    stream.on_events();
    backend(|backend| backend.serve());
    assert_eq!(stream.pointer(), Pointer { frames: 961, delay_frames: 0 });
    stream.with_buffer(|pages| assert_eq!(marks(pages), [(0, 0), (0, 9), (9, 0), (0, 0)]));
}

#[test]
fn what_alsa_wants_while_there_is_no_backend_is_done_by_the_next() {
    let (bus, stream) = prepared("p");
    stream.ack(480, BOUNDARY).unwrap();
    stream.detach();
    take_up(&bus, &stream);
    assert_eq!(backend(|backend| backend.story()), "open 7680, write 0+1920", "prepared");
    stream.detach();
    stream.ack(960, BOUNDARY).unwrap();
    stream.trigger(Trigger::Start).unwrap();
    take_up(&bus, &stream);
    assert_eq!(backend(|backend| backend.story()), "open 7680, write 0+3840, start", "started");
    stream.trigger(Trigger::Pause).unwrap();
    stream.detach();
    take_up(&bus, &stream);
    assert_eq!(backend(|backend| backend.story()), "open 7680, write 0+3840", "paused");
    stream.trigger(Trigger::Resume).unwrap();
    backend(|backend| {
        backend.serve();
        assert_eq!(backend.story(), "start");
    });
    stream.detach();
    stream.drain().unwrap();
    take_up(&bus, &stream);
    backend(|backend| {
        assert_eq!(backend.story(), "open 7680, write 0+3840, start");
        backend.report(3844);
    });
    stream.on_events();
    assert_eq!(stream.pointer().frames, 960, "drained");
    stream.detach();
    stream.trigger(Trigger::Stop).unwrap();
    take_up(&bus, &stream);
    assert_eq!(backend(|backend| backend.story()), "", "stopped");
    stream.prepare().unwrap();
    assert_eq!(backend(|backend| backend.story()), "open 7680");
}

/// One of ALSA's operations on a stream.
type StreamOperation = fn(&Substream<TestKernel>) -> Result<(), Error>;

/// ALSA's operations that cannot do without a backend.
fn waiting_operations() -> [StreamOperation; 4] {
    [
        |stream| open(stream).map(drop),
        |stream| stream.refine(&settled()).map(drop),
        |stream| stream.hw_params(Format::S16Le, 2, 48_000, 480, 1920),
        |stream| stream.prepare(),
    ]
}

#[test]
fn opening_a_card_that_another_application_keeps_waits_for_its_next_backend() {
    for operation in waiting_operations() {
        let (bus, stream) = prepared("p");
        stream.detach();
        let stream = Rc::new(stream);
        let next = Rc::clone(&stream);
        when_waited(move || reconnect(&bus, &next));
        assert_eq!(operation(&stream), Ok(()));
        assert!(now_ms() < 100, "{} ms", now_ms());
    }
}

/// ALSA's operations that ask a backend something, of a stream with a buffer that is not open.
fn asking_operations() -> [StreamOperation; 3] {
    let [open, refine, _, prepare] = waiting_operations();
    [open, refine, prepare]
}

fn not_open() -> (Rc<TestBus>, Rc<Substream<TestKernel>>) {
    let (bus, stream) = stream("p");
    stream.hw_params(Format::S16Le, 2, 48_000, 480, 1920).unwrap();
    (Rc::new(bus), Rc::new(stream))
}

#[test]
fn what_a_backend_was_asked_when_it_went_is_asked_of_the_next() {
    for operation in asking_operations() {
        // With and without a look at the stream while there was no backend.
        for at_once in [true, false] {
            let (bus, stream) = not_open();
            let asked = Rc::clone(&stream);
            when_waited(move || {
                asked.detach();
                let again = move || reconnect(&bus, &asked);
                if at_once { again() } else { when_waited(again) }
            });
            assert_eq!(operation(&stream), Ok(()), "{at_once}");
            assert!(now_ms() < 100, "{} ms", now_ms());
        }
    }
}

/// Lets the backend go, and the next one come, whenever somebody waits.
fn come_and_go(bus: Rc<TestBus>, stream: Rc<Substream<TestKernel>>) {
    when_waited(move || {
        stream.detach();
        reconnect(&bus, &stream);
        come_and_go(bus, stream);
    });
}

#[test]
fn backends_that_come_and_go_are_not_asked_for_ever() {
    storm();
    for operation in asking_operations() {
        let (bus, stream) = not_open();
        come_and_go(bus, Rc::clone(&stream));
        let before_ms = now_ms();
        assert_eq!(operation(&stream), Err(Error::Lost));
        assert!((8000..8100).contains(&(now_ms() - before_ms)), "{} ms", now_ms() - before_ms);
        when_waited(|| {});
    }
}

#[test]
fn nobody_waits_for_a_card_that_is_taken_away() {
    silence(true);
    for operation in waiting_operations() {
        let (_bus, stream) = stream("p");
        let stream = Rc::new(stream);
        stream.detach();
        let removed = Rc::clone(&stream);
        when_waited(move || removed.remove());
        let before_ms = now_ms();
        assert_eq!(operation(&stream), Err(Error::Lost));
        assert_eq!(operation(&stream), Err(Error::Lost));
        assert_eq!(now_ms() - before_ms, 0);
    }
}

#[test]
fn a_mixer_waits_for_no_backend() {
    let bus = TestBus::new(&[("0/0/type", "p"), ("backend/feature-volume", "1")]);
    let stream = streams(&bus).pop().unwrap();
    reconnect(&bus, &stream);
    stream.hw_params(Format::S16Le, 2, 48_000, 480, 1920).unwrap();
    stream.prepare().unwrap();
    stream.detach();
    let knob = Knob { direction: Direction::Playback, switch: false };
    assert!(stream.control(knob).is_some());
    let before_ms = now_ms();
    assert_eq!(stream.set_values(knob, &[3000, 4000]), Ok(true));
    assert_eq!(([0, 1].map(|channel| stream.value(knob, channel)), now_ms()), ([3000, 4000], before_ms));
    take_up(&bus, &stream);
    assert!(backend(|backend| backend.story()).contains("SetVolume"), "the next is told");
}

#[test]
fn what_was_played_while_the_domain_was_suspended_is_no_xrun_and_heard_once() {
    let (bus, stream) = prepared("p");
    stream.ack(1920, BOUNDARY).unwrap();
    stream.trigger(Trigger::Start).unwrap();
    backend(|backend| {
        backend.serve();
        backend.report(2 * PERIOD + 4);
        backend.report(RING);
    });
    // Nobody is there to take the events, until the domain is restored.
    stream.detach();
    take_up(&bus, &stream);
    assert_eq!(backend(|backend| backend.story()), "open 7680, write 0+1920, start", "the last period once more");
    assert_eq!(stream.pointer().frames, 1440);
}

#[test]
fn a_ring_whose_writers_do_not_tell_is_handed_over_ahead_of_the_device() {
    let (bus, stream) = prepared("p");
    mark(&stream);
    // ALSA's dmix does the same: nothing is written before START, and nothing is told afterwards.
    stream.trigger(Trigger::Start).unwrap();
    backend(|backend| backend.serve());
    stream.on_ring();
    backend(|backend| {
        backend.serve();
        assert_eq!(backend.story(), "close, open 7680, write 0+3840, start");
    });
    assert_eq!(marks(&mapped()), [(1, 1), (2, 2), (0, 0), (0, 0)]);
    assert_eq!(elapsed(), 2, "ALSA asks for the pointer");
    assert_eq!(stream.pointer(), Pointer { frames: 960, delay_frames: 960 });
    // Behind the pointer the ring is free: ALSA fills it with silence.
    stream.with_buffer(|pages| assert!(pages.write(0, &[0; 3840])));
    backend(|backend| backend.report(PERIOD + 4));
    stream.on_events();
    assert_eq!(stream.pointer(), Pointer { frames: 1440, delay_frames: 959 });
    backend(|backend| {
        backend.serve();
        assert_eq!(backend.story(), "write 3840+1920");
    });
    assert_eq!(marks(&mapped()), [(1, 1), (2, 2), (3, 3), (0, 0)]);
    // The ring goes round for ever.
    for period in 2..40 {
        backend(|backend| {
            backend.report(period * PERIOD + 4);
        });
        stream.on_events();
        backend(|backend| backend.serve());
        assert_eq!(u64::from(stream.pointer().frames), (period + 2) * 480 % 1920);
    }
    assert_eq!(stops(), []);
    // The next backend goes on at the pointer.
    backend(|backend| backend.story());
    let before = stream.pointer().frames;
    stream.detach();
    take_up(&bus, &stream);
    assert_eq!(backend(|backend| backend.story()), "open 7680, write 0+3840, start");
    assert_eq!(stream.pointer().frames, (before + 960) % 1920);
    // And the next run has the application's own memory.
    stream.trigger(Trigger::Stop).unwrap();
    stream.prepare().unwrap();
    assert_eq!(backend(|backend| backend.story()), "close, open 7680");
}

#[test]
fn the_end_of_a_ring_whose_writers_do_not_tell_is_heard_before_it_is_closed() {
    for told in [false, true] {
        let (_bus, stream) = prepared("p");
        stream.trigger(Trigger::Start).unwrap();
        backend(|backend| backend.serve());
        stream.on_ring();
        backend(|backend| {
            backend.serve();
            backend.story();
        });
        stream.trigger(Trigger::Stop).unwrap();
        // The stream goes on, and nothing more is handed over.
        backend(|backend| backend.report(if told { 2 * PERIOD } else { PERIOD + 4 }));
        stream.on_events();
        backend(|backend| {
            backend.serve();
            assert_eq!(backend.story(), "");
        });
        let began_ms = now_ms();
        stream.hw_free();
        assert_eq!(backend(|backend| backend.story()), "close");
        // 10 ms are left; a backend that does not tell of them is waited for a little longer.
        let waited_ms = now_ms().wrapping_sub(began_ms);
        assert!(if told { waited_ms < 5 } else { (9..250).contains(&waited_ms) }, "{told}: {waited_ms} ms");
    }
}

/// A stream that played, on a connection whose backend has answered nothing yet.
fn reconnected_while_playing() -> (TestBus, Substream<TestKernel>) {
    let (bus, stream) = prepared("p");
    stream.ack(960, BOUNDARY).unwrap();
    stream.trigger(Trigger::Start).unwrap();
    stream.detach();
    reconnect(&bus, &stream);
    (bus, stream)
}

#[test]
fn what_is_stopped_before_the_backend_has_taken_it_up_does_not_start() {
    let (_bus, stream) = reconnected_while_playing();
    stream.trigger(Trigger::Stop).unwrap();
    backend(|backend| backend.serve());
    stream.on_ring();
    assert_eq!(backend(|backend| backend.story()), "open 7680");
    stream.prepare().unwrap();
    stream.ack(480, BOUNDARY).unwrap();
    stream.hw_free();
    assert_eq!(backend(|backend| backend.story()), "write 0+1920, close");
    stream.detach();
    assert_eq!(granted(), 0);
}

#[test]
fn a_stream_that_cannot_go_on_is_prepared_again() {
    let (_bus, stream) = reconnected_while_playing();
    backend(|backend| {
        backend.answer = Err(Errno::ENODEV);
        backend.serve();
        backend.answer = Ok(());
    });
    // ALSA is told when the notification comes, no matter which call sees the answer first.
    assert_eq!((stream.pointer().frames, stops()), (0, Vec::new()));
    stream.on_ring();
    assert_eq!(stops(), [Stop::Xrun]);
    assert_eq!(stream.ack(1010, BOUNDARY), Err(Error::Stale));
    assert_eq!(stream.trigger(Trigger::Pause), Err(Error::Stale));
    stream.trigger(Trigger::Stop).unwrap();
    stream.prepare().unwrap();
    stream.ack(480, BOUNDARY).unwrap();
    stream.hw_free();
    assert_eq!(backend(|backend| backend.story()), "open 7680, open 7680, write 0+1920, close");
    stream.detach();
    assert_eq!(granted(), 0);
}

#[test]
fn with_a_mixer_the_buffer_has_a_control_page() {
    let bus = TestBus::new(&[("0/0/type", "p"), ("backend/feature-volume", "1")]);
    let stream = streams(&bus).pop().unwrap();
    reconnect(&bus, &stream);
    assert_eq!(bus.node("0/0/control-size").as_deref(), Some("4096"));
    stream.hw_params(Format::S16Le, 2, 48_000, 480, 1920).unwrap();
    stream.prepare().unwrap();
    assert_eq!(backend(|backend| backend.story()), "open 11776");
    stream.ack(480, BOUNDARY).unwrap();
    // A volume that nobody has set is the backend's, which is asked for it once.
    mapped().write(7680 + 2048, &[(-10_000_i32).to_le_bytes(), 3_000_i32.to_le_bytes()].concat());
    backend(|backend| {
        backend.serve();
        assert_eq!(backend.story(), "GetVolume(Span { offset: 9728, length: 8 }), write 0+1920");
    });
    stream.pointer();
    assert_eq!([0, 1, 2].map(|channel| v2(&stream).volume(channel)), [9_000, 10_300, 10_300]);
    stream.on_events();
    stream.on_events();
    assert_eq!(volume_changes(), 1, "an open mixer is told");
    stream.detach();
    take_up(&bus, &stream);
    assert_eq!(backend(|backend| backend.story()), "open 11776, write 0+1920");
    // A volume that was set is told to the next backend.
    assert!(v2(&stream).set_volume(0, VOLUME_0_DB));
    stream.detach();
    take_up(&bus, &stream);
    assert_eq!(
        backend(|backend| backend.story()),
        "open 11776, SetVolume(Span { offset: 7680, length: 8 }), write 0+1920"
    );
    let mut told = [0; 8];
    mapped().read(7680, &mut told);
    assert_eq!(told, [0, 0, 0, 0, 0xb8, 0x0b, 0, 0]);
}

#[test]
fn a_control_is_there_where_the_backend_has_it_and_refuses_what_is_out_of_range() {
    let bus = TestBus::new(&[("0/0/type", "c"), ("backend/feature-volume", "1")]);
    let stream = streams(&bus).pop().unwrap();
    reconnect(&bus, &stream);
    let knob = |direction, switch| Knob { direction, switch };
    let volume = stream.control(knob(Direction::Capture, false)).unwrap();
    assert_eq!((volume.name, volume.channels, volume.max), ("PCM Capture Volume", 2, VOLUME_MAX));
    assert_eq!(stream.control(knob(Direction::Capture, true)), None, "no feature-mute");
    assert_eq!(stream.control(knob(Direction::Playback, false)), None);
    let knob = knob(Direction::Capture, false);
    assert_eq!(stream.set_values(knob, &[0, i64::from(VOLUME_MAX) + 1]), Err(Error::Invalid));
    assert_eq!(stream.value(knob, 0), VOLUME_0_DB, "none of them was set");
    assert_eq!(stream.set_values(knob, &[0, 12_000]), Ok(true));
    assert_eq!([0, 1].map(|channel| stream.value(knob, channel)), [0, 12_000]);
    assert_eq!(stream.set_values(knob, &[0, 12_000]), Ok(false));
}

#[test]
fn a_control_has_no_more_values_than_alsa_has_room_for() {
    let bus = TestBus::new(&[("0/0/type", "p"), ("0/0/channels-max", "255"), ("backend/feature-mute", "1")]);
    let stream = streams(&bus).pop().unwrap();
    reconnect(&bus, &stream);
    let control = stream.control(Knob { direction: Direction::Playback, switch: true }).unwrap();
    assert_eq!(control.channels, 128, "the length of `value` in struct snd_ctl_elem_value");
}

#[test]
fn the_next_backend_may_have_volume_where_the_last_had_none() {
    let (bus, stream) = prepared("p");
    stream.ack(480, BOUNDARY).unwrap();
    stream.trigger(Trigger::Start).unwrap();
    for (feature, bytes) in [("1", 11_776), ("0", 7680)] {
        stream.detach();
        bus.set("backend/feature-volume", feature);
        take_up(&bus, &stream);
        let story = backend(|backend| backend.story());
        assert!(story.starts_with(&format!("open {bytes}, ")) && story.ends_with("write 0+1920, start"), "{story}");
    }
    assert_eq!(stops(), []);
}

#[test]
fn a_volume_that_is_set_while_the_backend_is_asked_stays() {
    let bus = TestBus::new(&[("0/0/type", "p"), ("backend/feature-volume", "1")]);
    let stream = streams(&bus).pop().unwrap();
    reconnect(&bus, &stream);
    stream.hw_params(Format::S16Le, 2, 48_000, 480, 1920).unwrap();
    stream.prepare().unwrap();
    assert!(v2(&stream).set_volume(0, 0));
    v2(&stream).tell_mixer();
    backend(|backend| backend.serve());
    mapped().write(7680 + 2048, &[1; 8]);
    stream.pointer();
    assert_eq!(v2(&stream).volume(0), 0);
}
