//! A stream whose host device neither takes nor gives does not keep the daemon busy.

use std::collections::BTreeSet;

use backend::{Pace, StreamConfig};
use sndif::store::Direction;
use sndif::v2::Trigger;

use crate::guest::Guest;
use crate::host::{Device, Host, MILLISECOND, config};
use sndif::test_utils::Pages;

#[test]
fn a_device_that_stalls_is_looked_at_once_a_millisecond() {
    for direction in [Direction::Playback, Direction::Capture] {
        let memory = Pages::of_bytes(4 * 960);
        let mut host = Host::new(direction, Pace::Clock);
        host.open(48_000, 960, 240, memory.clone());
        if direction == Direction::Playback {
            Guest::new(memory).write(&mut host, u64::MAX);
        }
        host.trigger(Trigger::Start);
        let mut looks = 0;
        while host.now_ns < 50 * MILLISECOND {
            host.look(Device { frames: 0, ..Device::READY });
            host.now_ns = host.core.next_wake_ns().expect("running");
            looks += 1;
        }
        assert!(looks <= 51, "{direction}: {looks} looks");
        host.look(Device::READY);
        assert!(host.taken > 0, "{direction}: goes on");
    }
}

#[test]
fn a_stream_that_played_all_is_woken_twice_more_and_then_not_again() {
    let memory = Pages::of_bytes(4 * 960);
    let mut host = Host::new(Direction::Playback, Pace::Clock);
    host.open(48_000, 960, 240, memory.clone());
    Guest::new(memory).write(&mut host, 4 * 300);
    host.trigger(Trigger::Start);
    let mut looks = 0;
    while let Some(at) = host.core.next_wake_ns() {
        host.now_ns = at;
        host.look(Device::READY);
        looks += 1;
        assert!(looks < 8);
    }
    // The end at 300 frames wakes nobody, since 241 were told; so the next boundary is told as passed.
    assert_eq!((host.taken, host.told), (4 * 300, 4 * 481));
}

/// Makes a stream of 48 kHz whose guest leaves WRITEs in the ring if `held_off`.
fn stream(direction: Direction, held_off: bool, period: u32, periods: u32) -> (Host<Pages>, Guest) {
    let memory = Pages::of_bytes((4 * period * periods) as usize);
    let mut host = Host::new(direction, Pace::Clock);
    host.core.reconfigure(StreamConfig { write_hold_off: held_off, ..config(direction) });
    host.open(48_000, period * periods, period, memory.clone());
    (host, Guest::new(memory))
}

#[test]
fn a_guest_that_is_far_ahead_is_not_to_notify_of_writes_and_nothing_is_late() {
    for (frames, periods) in [(480, 4), (480, 8), (480, 30), (240, 6), (4_800, 3)] {
        let (mut host, mut guest) = stream(Direction::Playback, true, frames, periods);
        assert_eq!(host.core.requests_awaited(), 1, "closed to now");
        guest.write(&mut host, u64::MAX);
        assert_eq!(host.core.requests_awaited(), 1, "START is not to wait");
        host.trigger(Trigger::Start);
        for period in 0..200 {
            // Frames that the guest has written since lie in the ring until the next look.
            host.now_ns = host.core.next_wake_ns().expect("running");
            guest.write(&mut host, u64::MAX);
            host.look(Device::READY);
            assert_eq!(host.core.requests_awaited(), 16, "{periods} periods of {frames}: {period}");
        }
        assert_eq!((host.core.counters().xruns, host.events), (0, 200));
        // The guest writes nothing more: the WRITE in the ring is seen, and the next one is notified.
        let mut awaited = Vec::new();
        while host.taken < guest.written {
            host.now_ns = host.core.next_wake_ns().expect("running");
            host.look(Device::READY);
            awaited.push(host.core.requests_awaited());
        }
        assert!(awaited.ends_with(&[1, 1]), "{awaited:?}");
        guest.write(&mut host, u64::MAX);
        host.look(Device::READY);
        assert_eq!(host.core.requests_awaited(), 16);
        // The host is late by nearly a whole ring: nobody will look before the next WRITE.
        host.now_ns += u64::from(frames * (periods - 1)) * 1_000_000_000 / 48_000;
        host.look(Device::READY);
        assert_eq!(host.core.requests_awaited(), 1);
        guest.write(&mut host, u64::MAX);
        host.look(Device::READY);
        assert_eq!(host.core.requests_awaited(), 16);
        host.trigger(Trigger::Pause);
        assert_eq!(host.core.requests_awaited(), 1, "nobody looks at a stream that stands");
    }
}

#[test]
fn looks_at_guests_that_are_far_ahead_come_together() {
    // Twenty streams that start at different moments, and end at five in each period; two periods are too little ahead.
    for (frames, periods, most) in [(480, 4, 5), (960, 4, 10), (480, 2, 20)] {
        let mut moments = BTreeSet::new();
        for number in 0..20 {
            let (mut host, mut guest) = stream(Direction::Playback, true, frames, periods);
            guest.write(&mut host, u64::MAX);
            host.now_ns = number * 523_000;
            host.trigger(Trigger::Start);
            let mut heard = 0;
            while host.now_ns < 500 * MILLISECOND {
                host.now_ns = host.core.next_wake_ns().expect("running");
                guest.write(&mut host, u64::MAX);
                host.look(Device::READY);
                let late = (host.taken - heard).saturating_sub(u64::from(4 * frames));
                assert!(late <= u64::from(4 * frames / 4), "{late} bytes late at {}", host.now_ns);
                heard = host.taken / u64::from(4 * frames) * u64::from(4 * frames);
                if (400 * MILLISECOND..400 * MILLISECOND + u64::from(frames) * 1000 * MILLISECOND / 48_000)
                    .contains(&host.now_ns)
                {
                    moments.insert(host.now_ns);
                }
            }
            assert_eq!(host.core.counters().xruns, 0);
        }
        assert!((most / 2..=most).contains(&moments.len()), "{periods} periods of {frames}: {moments:?}");
    }
}

#[test]
fn every_request_is_awaited_of_a_guest_that_waits_or_has_little_time() {
    for (direction, held_off, periods) in
        [(Direction::Playback, false, 8), (Direction::Playback, true, 3), (Direction::Capture, true, 8)]
    {
        let (mut host, mut guest) = stream(direction, held_off, 480, periods);
        if direction == Direction::Playback {
            guest.write(&mut host, u64::MAX);
        }
        host.trigger(Trigger::Start);
        for _ in 0..20 {
            host.now_ns = host.core.next_wake_ns().expect("running");
            if direction == Direction::Playback {
                guest.write(&mut host, u64::MAX);
            }
            host.look(Device::READY);
            assert_eq!(host.core.requests_awaited(), 1, "{direction} {held_off} {periods}");
        }
    }
    // Four periods of a millisecond are too short for a hold-off; with periods of a second, an answer would take too
    // long.
    for (ring, period) in [(240, 48), (192_000, 48_000)] {
        let memory = Pages::of_bytes(4 * ring as usize);
        let mut host = Host::new(Direction::Playback, Pace::Clock);
        host.core.reconfigure(StreamConfig { write_hold_off: true, ..config(Direction::Playback) });
        host.open(48_000, ring, period, memory.clone());
        Guest::new(memory).write(&mut host, u64::MAX);
        host.trigger(Trigger::Start);
        assert_eq!(host.core.requests_awaited(), 1, "{period}");
    }
}
