//! Frontends that say of which events they are to be notified, and one that does not.

use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sndif::SharedMemory;
use sndif::v2::{Event, OpenParams, Trigger};
use testkit::hostile::{Buffer, HostileGuest, RawStream};
use testkit::{PATIENCE, World, eventually};
use xen::DomainId;

const GUEST: DomainId = DomainId(1);

/// Offset of the number of unread events from which on the guest is to be notified.
const IN_AWAITED: usize = 8;

/// Four seconds, in periods of 80 ms: no machine stands still for that long.
const RING_BYTES: u32 = 4 * 48_000 * 4;
const PERIOD_BYTES: u32 = RING_BYTES / 50;

/// A guest with one playback stream that says in `node` whether it holds events off.
fn connected(node: Option<&[u8]>) -> (World, HostileGuest) {
    let mut world = World::new();
    world.attach(GUEST, "[['CARD, buffer-size=1048576', 'PCM', 'STREAM, unique-id=p0, type=p']]");
    let mut guest = HostileGuest::enter(&world, GUEST);
    if let Some(value) = node {
        guest.put("0/0/event-hold-off", value);
    }
    guest.connect(&mut world, 1);
    (world, guest)
}

/// Starts a stream that asks for notifications from `awaited` unread events on, with so many bytes written.
fn play(guest: &mut HostileGuest, awaited: u32, bytes: u32) -> Buffer {
    let buffer = guest.buffer(RING_BYTES as usize);
    let stream = &mut guest.streams[0];
    stream.events.store_release(IN_AWAITED, awaited);
    stream.open(OpenParams { period_bytes: PERIOD_BYTES, ..buffer.open_params() }).unwrap();
    stream.write(0, bytes).unwrap();
    stream.trigger(Trigger::Start).unwrap();
    buffer
}

/// Waits until the guest is notified of events; returns true if that happens within `timeout`.
fn is_notified(stream: &RawStream, timeout: Duration) -> bool {
    let timeout = Timespec { tv_sec: timeout.as_secs().cast_signed(), tv_nsec: timeout.subsec_nanos().into() };
    let mut channel = [PollFd::from_borrowed_fd(stream.event_channel.as_fd(), PollFlags::IN)];
    poll(&mut channel, Some(&timeout)).unwrap() > 0
}

fn wait_events(stream: &RawStream, events: u32) {
    assert!(eventually(PATIENCE, || stream.events_sent() >= events));
}

/// Position of the last event.
fn position(stream: &RawStream) -> u64 {
    Event::parse(&stream.event(stream.events_sent().wrapping_sub(1))).unwrap().position_bytes
}

#[test]
fn a_frontend_without_the_node_is_notified_of_each_event() {
    for node in [None, Some(&b"0"[..])] {
        let (_world, mut guest) = connected(node);
        // An old frontend does not zero this word for a backend that reads it.
        let _buffer = play(&mut guest, u32::MAX, RING_BYTES);
        let stream = &guest.streams[0];
        assert!(is_notified(stream, PATIENCE));
        assert!(position(stream) < u64::from(RING_BYTES), "long before the end");
    }
}

#[test]
fn a_frontend_is_notified_from_as_many_events_on_as_it_says() {
    let (_world, mut guest) = connected(Some(b"1"));
    let _buffer = play(&mut guest, 5, RING_BYTES);
    let stream = &guest.streams[0];
    wait_events(stream, 1);
    let early = is_notified(stream, Duration::ZERO);
    assert!(!early || stream.events_sent() >= 5, "of one event");
    assert!(is_notified(stream, PATIENCE));
    assert!(stream.events_sent() >= 5);
    assert!(position(stream) < u64::from(RING_BYTES), "long before the end");
}

#[test]
fn a_frontend_that_wants_no_notification_has_the_events_and_none_until_it_wants_one() {
    let (_world, mut guest) = connected(Some(b"1"));
    let _buffer = play(&mut guest, u32::MAX, RING_BYTES);
    let stream = &guest.streams[0];
    wait_events(stream, 4);
    assert!(!is_notified(stream, Duration::ZERO));
    for awaited in [0x8000_0000, 63, 64, 0x7FFF_FFFF, u32::MAX] {
        stream.events.store_release(IN_AWAITED, awaited);
        wait_events(stream, stream.events_sent() + 1);
        assert!(!is_notified(stream, Duration::ZERO), "{awaited}");
    }
    stream.events.store_release(IN_AWAITED, 0);
    assert!(is_notified(stream, PATIENCE));
    assert!(position(stream) < u64::from(RING_BYTES), "long before the end");
}

#[test]
fn a_stream_that_ran_dry_is_told_of_at_once_whatever_the_frontend_said() {
    let (_world, mut guest) = connected(Some(b"1"));
    let _buffer = play(&mut guest, u32::MAX, 2 * PERIOD_BYTES);
    let stream = &guest.streams[0];
    assert!(is_notified(stream, PATIENCE));
    assert!(position(stream) >= u64::from(2 * PERIOD_BYTES));
}
