// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! A card of version 0 from its nodes to its end, with a backend of ordinary memory.

use std::rc::Rc;
use std::string::String;
use std::vec::Vec;

use frontend::v0::{BadLimit, Field, Hardware};
use frontend::{USELESS_MAX, Violation};
use sndif::store::Direction;
use sndif::text::Writer;
use sndif::v2::{Interval, Trigger};
use sndif::{Errno, Format, Protocol, SharedMemory};

use super::{recognise, stream as read};
use crate::testing::{
    TestBus, TestKernel, dropped, elapsed, granted, keep, notifications, now_ms, silence, stops, v0_attach,
    v0_backend as backend, when_waited,
};
use crate::{Error, Knob, Pointer, Stop, Substream, connect};

const PLAY: Direction = Direction::Playback;
const CAPTURE: Direction = Direction::Capture;

/// 48 kHz stereo s16, four periods of 480 frames.
const PERIOD: u64 = 480 * 4;
/// ALSA's application pointer wraps here.
const BOUNDARY: u64 = 1920 << 40;

/// Makes a connected stream, for whose backend `kind` is the direction; also returns its store.
fn stream(kind: Option<&str>) -> (TestBus, Substream<TestKernel>) {
    let bus = TestBus::new(&[("backend/stream_id", "7")]);
    if let Some(kind) = kind {
        bus.set("backend/type", kind);
    }
    let stream = Substream::V0(read(&bus, Hardware::AC97).unwrap());
    reconnect(&bus, &stream);
    (bus, stream)
}

fn publish(bus: &TestBus, stream: &Substream<TestKernel>) -> Result<(), Error> {
    connect::publish(bus, core::slice::from_ref(stream), connect::features::<TestKernel>(bus))
}

fn reconnect(bus: &TestBus, stream: &Substream<TestKernel>) {
    publish(bus, stream).unwrap();
    v0_attach(bus.node("ring-ref").unwrap().parse().unwrap());
    stream.connected();
}

fn prepared(direction: Direction) -> (TestBus, Substream<TestKernel>) {
    let (bus, stream) = stream(None);
    stream.open(direction).unwrap();
    stream.hw_params(Format::S16Le, 2, 48_000, 480, 1920).unwrap();
    stream.prepare().unwrap();
    assert_eq!(story(), "open s16_le 2 48000");
    notifications();
    (bus, stream)
}

fn story() -> String {
    backend(|backend| backend.story())
}

/// Lets the backend answer `count` requests, and notify if it was asked to; ALSA asks for the pointer.
fn answer(stream: &Substream<TestKernel>, count: usize) {
    for _ in 0..count {
        let notified = backend(|backend| {
            let before = backend.notified;
            backend.serve_one();
            backend.notified > before
        });
        assert!(notified, "each answer keeps the time");
        assert!(stream.on_ring());
        stream.pointer();
    }
}

/// Fills the ring with bytes that count from `first` on.
fn fill(stream: &Substream<TestKernel>, first: u8) -> Vec<u8> {
    let bytes: Vec<u8> = (0..7680_u32).map(|at| first.wrapping_add((at % 251) as u8)).collect();
    assert_eq!(stream.with_buffer(|pages| pages.write(0, &bytes)), Some(true));
    bytes
}

#[test]
fn version_0_is_spoken_where_the_backend_has_nothing_newer() {
    let told = |nodes: &[(&str, &str)]| recognise::<TestKernel>(&TestBus::new(nodes));
    assert_eq!(told(&[("backend/stream_id", "0")]), Protocol::V0);
    assert_eq!(told(&[("backend/stream_id", "0"), ("backend/versions", "2")]), Protocol::V2);
    assert_eq!(told(&[("backend/stream_id", "first")]), Protocol::V2);
    assert_eq!(told(&[]), Protocol::V2);
}

#[test]
fn a_device_goes_either_way_unless_the_backend_says_which() {
    let (bus, either) = stream(None);
    assert!(either.is_half_duplex());
    assert!(bus.node("event-channel").is_some());
    let streams = [either];
    assert_eq!([PLAY, CAPTURE].map(|direction| Substream::count(&streams, 0, direction)), [1, 1]);
    let (_bus, capture) = stream(Some("c"));
    assert!(!capture.is_half_duplex() && capture.serves(CAPTURE) && !capture.serves(PLAY));
    assert_eq!(capture.open(PLAY).map(drop), Err(Error::Invalid));
    assert!(capture.control(Knob { direction: PLAY, switch: false }).is_none());
    assert_eq!(capture.control(Knob { direction: CAPTURE, switch: true }).unwrap().name, "Master In Switch");
}

#[test]
fn an_open_that_a_backend_left_unanswered_is_asked_of_the_next() {
    let (bus, stream) = stream(Some("p"));
    stream.hw_params(Format::S16Le, 2, 48_000, 480, 1920).unwrap();
    let stream = Rc::new(stream);
    let asked = Rc::clone(&stream);
    when_waited(move || {
        asked.detach();
        reconnect(&bus, &asked);
    });
    assert_eq!(stream.prepare(), Ok(()));
    assert_eq!(story(), "open s16_le 2 48000");
    assert!(now_ms() < 100, "{} ms", now_ms());
}

#[test]
fn what_is_written_is_heard_and_each_answer_moves_the_pointer() {
    let (_bus, stream) = prepared(PLAY);
    let bytes = fill(&stream, 1);
    stream.ack(1920, BOUNDARY).unwrap();
    assert_eq!(story(), "", "a WRITE would start the device");
    stream.trigger(Trigger::Start).unwrap();
    assert_eq!(notifications(), 1);
    assert_eq!(story(), "write 1920, write 1920, write 1920, write 1916");
    assert_eq!(backend(|backend| backend.id), 7);
    answer(&stream, 1);
    assert_eq!((elapsed(), stream.pointer()), (2, Pointer { frames: 480, delay_frames: 0 }));
    let next = fill(&stream, 101);
    // Half a period waits for the rest: the backend has enough.
    stream.ack(2160, BOUNDARY).unwrap();
    assert_eq!(story(), "");
    stream.ack(2400, BOUNDARY).unwrap();
    assert_eq!(story(), "write 1920");
    answer(&stream, 4);
    assert_eq!(stream.pointer().frames, 479, "to have no frame left would be an xrun");
    let heard = backend(|backend| core::mem::take(&mut backend.heard));
    assert!(heard[..7676] == bytes[..7676], "copied when they were sent");
    assert!(heard[7676..] == [&next[7676..], &next[..1916]].concat());
    assert_eq!(stops(), []);
    assert!(!stream.on_ring(), "nothing new");
}

#[test]
fn the_rest_of_a_period_is_sent_when_nothing_follows() {
    let (_bus, stream) = prepared(PLAY);
    fill(&stream, 1);
    stream.ack(500, BOUNDARY).unwrap();
    stream.trigger(Trigger::Start).unwrap();
    assert_eq!(story(), "write 1920");
    answer(&stream, 1);
    assert_eq!(story(), "write 76", "the backend had nothing else");
    stream.ack(600, BOUNDARY).unwrap();
    stream.drain().unwrap();
    assert_eq!(story(), "write 404");
    answer(&stream, 2);
    assert_eq!(stream.pointer().frames, 600);
    stream.hw_free();
    assert_eq!(story(), "close");
}

#[test]
fn no_more_is_in_flight_than_there_are_areas_and_a_long_period_is_cut() {
    let (_bus, stream) = stream(None);
    stream.open(PLAY).unwrap();
    // A period of 64 KiB, longer than ten pages.
    stream.hw_params(Format::S16Le, 2, 48_000, 16_384, 65_536).unwrap();
    stream.prepare().unwrap();
    story();
    stream.ack(65_536, BOUNDARY).unwrap();
    stream.trigger(Trigger::Start).unwrap();
    let sent = story();
    assert!(sent.starts_with("write 40960, write 40960"), "{sent}");
    let count = sent.split(", ").count();
    answer(&stream, count);
    assert_eq!(u64::from(stream.pointer().frames), count as u64 * 10_240 % 65_536);
    stream.trigger(Trigger::Stop).unwrap();
    stream.hw_free();
    stream.hw_params(Format::S16Le, 2, 48_000, 48, 1920).unwrap();
    stream.prepare().unwrap();
    story();
    stream.ack(1920, BOUNDARY).unwrap();
    stream.trigger(Trigger::Start).unwrap();
    assert_eq!(story().split(", ").count(), 8, "not much is played after a stop");
}

#[test]
fn what_is_captured_lies_in_the_ring_when_alsa_is_told() {
    let (_bus, stream) = prepared(CAPTURE);
    assert_eq!(story(), "", "READs start the device");
    stream.trigger(Trigger::Start).unwrap();
    assert_eq!(story(), "read 1920, read 1920");
    answer(&stream, 5);
    assert_eq!((elapsed(), stream.pointer().frames), (10, 480));
    let mut ring = [0; 7680];
    stream.with_buffer(|pages| pages.read(0, &mut ring));
    let captured = |at: u64| (at % 256) as u8;
    assert!((0..PERIOD).all(|at| ring[at as usize] == captured(4 * PERIOD + at)), "the second turn");
    assert!((PERIOD..4 * PERIOD).all(|at| ring[at as usize] == captured(at)));
    story();
    // The next recording does not contain frames that were captured meanwhile.
    stream.trigger(Trigger::Stop).unwrap();
    stream.prepare().unwrap();
    assert_eq!(story(), "close, open s16_le 2 48000");
    stream.prepare().unwrap();
    assert_eq!(story(), "");
}

#[test]
fn after_stop_the_rest_is_played_and_the_next_run_begins_at_0() {
    let (_bus, stream) = prepared(PLAY);
    let bytes = fill(&stream, 1);
    stream.ack(960, BOUNDARY).unwrap();
    stream.trigger(Trigger::Start).unwrap();
    stream.trigger(Trigger::Stop).unwrap();
    assert_eq!(stream.trigger(Trigger::Pause), Err(Error::Invalid));
    stream.prepare().unwrap();
    assert_eq!(stream.pointer().frames, 0);
    stream.ack(480, BOUNDARY).unwrap();
    stream.trigger(Trigger::Start).unwrap();
    stream.hw_free();
    assert_eq!(story(), "write 1920, write 1916, write 1916, close");
    let heard = backend(|backend| core::mem::take(&mut backend.heard));
    assert!(heard == [&bytes[..3836], &bytes[..1916]].concat());
}

#[test]
fn what_was_not_answered_is_sent_to_the_next_backend() {
    let (bus, stream) = prepared(PLAY);
    let bytes = fill(&stream, 1);
    stream.ack(1920, BOUNDARY).unwrap();
    stream.trigger(Trigger::Start).unwrap();
    answer(&stream, 1);
    stream.detach();
    assert_eq!((stream.pointer().frames, stops()), (480, Vec::new()));
    assert_eq!(granted(), 0);
    // A period of room is written meanwhile.
    stream.with_buffer(|pages| pages.write(0, &[9; 1920]));
    stream.ack(2400, BOUNDARY).unwrap();
    bus.set("backend/stream_id", "8");
    reconnect(&bus, &stream);
    assert_eq!(story(), "open s16_le 2 48000");
    answer(&stream, 1);
    stream.drain().unwrap();
    assert_eq!(story(), "write 1920, write 1920, write 1920, write 1916");
    assert_eq!(backend(|backend| backend.id), 8);
    answer(&stream, 1);
    assert_eq!(story(), "write 4", "there is an area for it now");
    answer(&stream, 4);
    assert_eq!(stream.pointer().frames, 480);
    assert!(backend(|backend| core::mem::take(&mut backend.heard)) == [&bytes[1920..], &[9; 1920]].concat());
    assert_eq!(stops(), []);
    stream.hw_free();
    stream.detach();
    assert_eq!(granted(), 0);
}

#[test]
fn a_recording_goes_on_with_the_next_backend() {
    let (bus, stream) = prepared(CAPTURE);
    stream.trigger(Trigger::Start).unwrap();
    answer(&stream, 3);
    stream.detach();
    // The backend has forgotten its number, as a new one may.
    bus.set("backend/stream_id", "");
    reconnect(&bus, &stream);
    answer(&stream, 1);
    assert_eq!(story(), "open s16_le 2 48000, read 1920, read 1920");
    assert_eq!(backend(|backend| backend.id), 7);
    answer(&stream, 1);
    assert_eq!(stream.pointer().frames, 0);
    let mut fourth = [0; 4];
    stream.with_buffer(|pages| pages.read(5760, &mut fourth));
    assert_eq!(fourth, [0, 1, 2, 3], "the first that the next one captured");
}

#[test]
fn a_run_that_cannot_go_on_is_prepared_again() {
    let (bus, stream) = prepared(PLAY);
    stream.ack(1920, BOUNDARY).unwrap();
    stream.trigger(Trigger::Start).unwrap();
    stream.detach();
    reconnect(&bus, &stream);
    backend(|backend| backend.success = false);
    answer(&stream, 1);
    assert_eq!(stops(), [Stop::Xrun]);
    assert_eq!(stream.ack(1930, BOUNDARY), Err(Error::Stale));
    assert_eq!(stream.trigger(Trigger::Start), Err(Error::Stale));
    stream.trigger(Trigger::Stop).unwrap();
    assert_eq!(stream.prepare(), Err(Error::Refused(Errno::EIO)));
    backend(|backend| backend.success = true);
    stream.prepare().unwrap();
    stream.ack(480, BOUNDARY).unwrap();
    story();
    stream.trigger(Trigger::Start).unwrap();
    assert_eq!(story(), "write 1916");
}

#[test]
fn a_backend_that_comes_back_with_another_version_gets_no_stream() {
    let (bus, stream) = stream(None);
    stream.detach();
    bus.set("backend/versions", "2");
    assert_eq!(publish(&bus, &stream), Err(Error::OtherVersion));
}

#[test]
fn a_backend_that_is_away_or_silent_is_not_waited_for_forever() {
    let (_bus, stream) = stream(None);
    stream.open(PLAY).unwrap();
    stream.hw_params(Format::S16Le, 2, 48_000, 480, 1920).unwrap();
    silence(true);
    assert_eq!(stream.prepare(), Err(Error::NoAnswer));
    stream.detach();
    let before_ms = now_ms();
    assert_eq!(stream.open(PLAY).map(drop), Err(Error::Lost));
    assert_eq!(stream.prepare(), Err(Error::Lost));
    assert_eq!(now_ms() - before_ms, 16_000);
    stream.remove();
    assert_eq!(stream.open(PLAY).map(drop), Err(Error::Lost));
    assert_eq!(now_ms() - before_ms, 16_000, "nobody waits for a card that is taken away");
    stream.hw_free();
    assert_eq!(granted(), 0);
}

#[test]
fn an_operation_has_one_end_however_slowly_answers_come() {
    let (_bus, stream) = prepared(PLAY);
    stream.ack(1920, BOUNDARY).unwrap();
    stream.trigger(Trigger::Start).unwrap();
    stream.trigger(Trigger::Stop).unwrap();
    backend(|backend| backend.slow = true);
    let start = now_ms();
    assert_eq!(stream.prepare(), Err(Error::NoAnswer), "four seconds for each of four WRITEs");
    assert_eq!(now_ms() - start, 8000, "five seconds, and the time of the buffer");
    // The rest may take the same time again.
    assert_eq!(stream.prepare(), Ok(()));
}

#[test]
fn a_backend_that_plays_before_it_answers_has_the_time_of_the_buffer() {
    let (_bus, stream) = stream(None);
    stream.open(PLAY).unwrap();
    // Each of eight periods lasts a second.
    stream.hw_params(Format::U8, 1, 8000, 8000, 64_000).unwrap();
    stream.prepare().unwrap();
    stream.ack(64_000, 64_000 << 30).unwrap();
    stream.trigger(Trigger::Start).unwrap();
    stream.trigger(Trigger::Stop).unwrap();
    backend(|backend| backend.slow = true);
    assert_eq!(stream.prepare(), Err(Error::NoAnswer));
    assert_eq!(now_ms(), 1 + 16_000, "thirteen seconds, and the answer that ends the last wait");
}

#[test]
#[cfg_attr(miri, ignore = "it grants thousands of pages")]
fn xsa_396_a_v0_backend_that_keeps_pages_gets_no_more_of_them_after_a_while() {
    let (bus, stream) = stream(None);
    keep(true);
    stream.open(PLAY).unwrap();
    let refused = (0..10_000).find_map(|_| {
        let prepared = stream.hw_params(Format::S16Le, 2, 48_000, 480, 1920).and_then(|()| stream.prepare());
        stream.hw_free();
        prepared.err()
    });
    assert_eq!(refused, Some(Error::Kept));
    stream.detach();
    assert_eq!(publish(&bus, &stream), Err(Error::Kept), "nor a connection");
}

#[test]
fn xsa_465_a_v0_stream_that_is_dropped_closes_its_channel_before_what_its_handler_uses() {
    let (_bus, stream) = prepared(PLAY);
    dropped();
    drop(stream);
    assert_eq!(dropped(), ["channel", "lock", "lock", "signal", "signal", "listener"]);
}

#[test]
fn what_was_not_closed_in_time_is_closed_before_the_next_open() {
    let (_bus, stream) = prepared(PLAY);
    stream.set_values(Knob { direction: PLAY, switch: false }, &[1, 1]).unwrap();
    silence(true);
    stream.hw_free();
    silence(false);
    stream.hw_params(Format::S16Le, 2, 48_000, 480, 1920).unwrap();
    stream.prepare().unwrap();
    assert_eq!(story(), "volume 1 1, close, open s16_le 2 48000, volume 1 1");
}

#[test]
fn waiting_for_many_answers_ends_with_the_last() {
    let (_bus, stream) = prepared(PLAY);
    stream.ack(1920, BOUNDARY).unwrap();
    stream.trigger(Trigger::Start).unwrap();
    stream.trigger(Trigger::Stop).unwrap();
    stream.prepare().unwrap();
    assert_eq!(backend(|backend| backend.heard.len()), 7676);
    backend(|backend| backend.moves = false);
    stream.prepare().unwrap();
    stream.ack(480, BOUNDARY).unwrap();
    stream.trigger(Trigger::Start).unwrap();
    stream.trigger(Trigger::Stop).unwrap();
    assert_eq!(stream.prepare(), Err(Error::NoAnswer), "a WRITE that is never answered");
}

#[test]
fn cve_2026_72380_what_is_refused_or_answered_wrongly_stops_the_stream() {
    let (_bus, stream) = prepared(PLAY);
    stream.ack(480, BOUNDARY).unwrap();
    stream.trigger(Trigger::Start).unwrap();
    backend(|backend| backend.success = false);
    answer(&stream, 1);
    assert_eq!((stops(), stream.pointer().frames), (std::vec![Stop::Failed(Error::Refused(Errno::EIO))], 0));
    let (_bus, stream) = prepared(PLAY);
    stream.ack(480, BOUNDARY).unwrap();
    stream.trigger(Trigger::Start).unwrap();
    backend(|backend| backend.answer_nonsense());
    assert!(!stream.on_ring());
    assert!(matches!(stops()[..], [Stop::Failed(Error::Broken(Violation::OutOfOrder { .. }))]));
    let mut text = String::new();
    stream.show(&mut Writer::new(&mut text));
    assert!(text.contains("violation: "), "{text}");
    stream.hw_free();
}

#[test]
fn ring_overflow_a_v0_response_index_past_the_requests_ends_the_stream() {
    let (_bus, stream) = prepared(PLAY);
    stream.ack(480, BOUNDARY).unwrap();
    stream.trigger(Trigger::Start).unwrap();
    backend(|backend| backend.scribble(8, &40_u32.to_le_bytes()));
    assert!(!stream.on_ring());
    assert!(matches!(stops()[..], [Stop::Failed(Error::Broken(Violation::Ring(_)))]));
    stream.hw_free();
}

#[test]
fn xsa_331_332_391_v0_notifications_without_a_reason_are_spurious_and_break_the_stream_once() {
    let (_bus, stream) = prepared(PLAY);
    stream.ack(480, BOUNDARY).unwrap();
    stream.trigger(Trigger::Start).unwrap();
    assert!((0..USELESS_MAX).all(|_| !stream.on_ring()));
    answer(&stream, 1);
    assert!((0..=USELESS_MAX).all(|_| !stream.on_ring()));
    assert_eq!(stops(), []);
    assert!((0..10).all(|_| !stream.on_ring()));
    assert_eq!(stops(), [Stop::Failed(Error::Broken(Violation::EmptyWakeups))]);
}

#[test]
fn volume_and_switch_are_told_together_clamped_and_again_after_each_open() {
    let (bus, stream) = prepared(PLAY);
    let knob = |direction, switch| Knob { direction, switch };
    let volume = stream.control(knob(PLAY, false)).unwrap();
    assert_eq!((volume.name, volume.channels, volume.min, volume.max), ("Master Out Volume", 2, -50, 100));
    assert_eq!((volume.min_millibel, volume.step_millibel), (-4500, 30));
    assert_eq!(stream.value(knob(PLAY, false), 1), 100);
    assert_eq!(stream.set_values(knob(PLAY, false), &[-1000, 20]), Ok(true));
    assert_eq!(story(), "volume -50 20");
    assert_eq!(stream.set_values(knob(PLAY, false), &[-50, 20]), Ok(false));
    assert_eq!(stream.set_values(knob(PLAY, true), &[1, 0]), Ok(true), "one side alone");
    assert_eq!(stream.set_values(knob(PLAY, true), &[1, 0]), Ok(false));
    assert_eq!(story(), "volume -50 -51");
    assert_eq!([0, 1].map(|channel| stream.value(knob(PLAY, false), channel)), [-50, 20]);
    assert_eq!([0, 1].map(|channel| stream.value(knob(PLAY, true), channel)), [1, 0]);
    // The value is set while the stream is closed, and told at the next OPEN; capture has another volume.
    stream.hw_free();
    assert_eq!(stream.set_values(knob(PLAY, true), &[1, 1]), Ok(true));
    assert_eq!(story(), "close");
    stream.open(CAPTURE).unwrap();
    stream.hw_params(Format::S16Le, 2, 48_000, 480, 1920).unwrap();
    stream.prepare().unwrap();
    assert_eq!(story(), "open s16_le 2 48000, volume 100 100");
    stream.hw_free();
    stream.open(PLAY).unwrap();
    stream.hw_params(Format::S16Le, 2, 48_000, 480, 1920).unwrap();
    stream.prepare().unwrap();
    assert_eq!(story(), "close, open s16_le 2 48000, volume -50 20");
    stream.detach();
    reconnect(&bus, &stream);
    answer(&stream, 1);
    assert_eq!(story(), "open s16_le 2 48000, volume -50 20");
}

#[test]
fn what_root_sets_applies_to_the_next_open() {
    let (_bus, stream) = stream(None);
    let Substream::V0(v0) = &stream else { panic!("version 2") };
    let space = stream.open(PLAY).unwrap();
    assert_eq!((space.params.rates_hz, space.buffer_bytes_max), (Interval::new(8000, 48_000), 65_536));
    assert_eq!((space.period_bytes, space.periods), (Interval::new(64, 4096), Interval::new(2, 1024)));
    assert!(!space.pauses && space.batches && space.rates == 0xfe);
    v0.set_hardware("rate_max 32000\nformats 2").unwrap();
    assert_eq!(v0.set_hardware("rate_max 44100\nrate_min 44101"), Err(BadLimit::Empty(Field::RateMin)));
    let space = stream.open(PLAY).unwrap();
    assert_eq!((space.params.rates_hz.max, space.params.formats.bits()), (32_000, 2));
    let mut text = String::new();
    v0.show_hardware(&mut Writer::new(&mut text));
    assert!(text.starts_with("formats 0x2 U8\n"), "{text}");
}

#[test]
fn the_state_of_a_stream_can_be_read() {
    let (_bus, stream) = prepared(PLAY);
    stream.ack(960, BOUNDARY).unwrap();
    stream.trigger(Trigger::Start).unwrap();
    answer(&stream, 1);
    let mut text = String::new();
    stream.show(&mut Writer::new(&mut text));
    let expected = "protocol version 0, stream 7: playback or capture, playback last\n  state: connected, running\n  \
        open: s16_le 48000 Hz 2 channels, period 480 frames, buffer 1920 frames\n  \
        position: 480 frames answered since prepare, 479 more in flight\n  \
        since connected: 3 requests, 2 responses (0 errors), 2 notifications sent\n";
    assert_eq!(text, expected);
}

#[test]
fn a_backend_of_random_bytes_does_no_harm() {
    // Miri takes a second for each seed.
    for seed in 1..=if cfg!(miri) { 4 } else { 300_u64 } {
        silence(false);
        let (bus, stream) = prepared(if seed % 2 == 0 { PLAY } else { CAPTURE });
        silence(true);
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut random = |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let mut appl = 0;
        for _ in 0..200 {
            match random(10) {
                0 => {
                    // Indices a little ahead are those that pass for valid.
                    let index = u32::try_from(random(40)).unwrap();
                    backend(|backend| backend.scribble(8, &index.to_le_bytes()));
                }
                1 => {
                    let offset = usize::try_from(random(512)).unwrap() * 8;
                    let value = random(u64::MAX) >> (8 * random(8));
                    backend(|backend| backend.scribble(offset, &value.to_le_bytes()));
                }
                2 | 3 => {
                    appl += random(1921);
                    let _ = stream.ack(appl, BOUNDARY);
                }
                4 => {
                    let triggers = [Trigger::Start, Trigger::Pause, Trigger::Stop, Trigger::Resume];
                    let _ = stream.trigger(triggers[usize::try_from(random(4)).unwrap()]);
                }
                5 => assert!(stream.pointer().frames < 1920),
                6 => drop(stream.drain()),
                7 if random(8) == 0 => {
                    stream.detach();
                    reconnect(&bus, &stream);
                }
                7 => {
                    let values = [0, 1].map(|_| i64::try_from(random(200)).unwrap() - 80);
                    let _ = stream.set_values(Knob { direction: PLAY, switch: random(2) == 1 }, &values);
                }
                _ => drop(stream.on_ring()),
            }
        }
        let _ = stream.prepare();
        stream.hw_free();
        stream.detach();
        assert_eq!(granted(), 0);
    }
}
