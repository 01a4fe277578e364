//! A stream whose host device neither takes nor gives does not keep the daemon busy.

use backend::Pace;
use sndif::store::Direction;
use sndif::v2::Trigger;

use crate::guest::Guest;
use crate::host::{Device, Host, MILLISECOND};
use sndif::test_utils::Pages;

#[test]
fn a_device_that_stalls_is_looked_at_once_a_millisecond() {
    for direction in [Direction::Playback, Direction::Capture] {
        let memory = Pages::of_octets(4 * 960);
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
    let memory = Pages::of_octets(4 * 960);
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
    // The end at 300 frames wakes nobody, since 241 were told: the next boundary is told as passed.
    assert_eq!((host.taken, host.told), (4 * 300, 4 * 481));
}
