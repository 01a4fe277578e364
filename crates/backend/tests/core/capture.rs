//! Capture: READ gives the captured frames, at the offsets that the positions told.

use backend::{Outcome, PART_BYTES, Pace};
use proptest::collection::vec;
use proptest::prelude::*;
use sndif::store::Direction;
use sndif::v2::{OpenParams, Operation, Request, Span, Trigger};
use sndif::{Format, GrantRef, SharedMemory};

use crate::host::{Device, Host, MILLISECOND, few, next_byte};
use sndif::test_utils::Pages;

/// Reads the frames that the guest was told of and has not read; `read` is the end of the last read.
fn read(host: &mut Host<Pages>, memory: &Pages, read: &mut u64, heard: &mut Vec<u8>) {
    let ring = host.ring_bytes;
    while *read < host.told.min(host.taken) {
        let offset = *read % ring;
        let length = (host.told.min(host.taken) - *read).min(ring - offset);
        let span = Span { offset: offset as u32, length: length as u32 };
        host.request(Operation::Read(span), |_| unreachable!("no OPEN")).expect("a legal READ");
        let mut bytes = vec![0; length as usize];
        assert!(memory.read(offset as usize, &mut bytes));
        heard.extend(bytes);
        *read += length;
    }
}

proptest! {
    #[test]
    fn a_guest_that_keeps_up_hears_everything_in_order(
        device_paced: bool, periods in 3..8_u32, period in 48..400_u32, steps in vec((1..1000_u64, any::<bool>()), 1..few(200)),
    ) {
        let pace = if device_paced { Pace::Device } else { Pace::Clock };
        let memory = Pages::of_bytes((periods * period * 4) as usize);
        let mut host = Host::new(Direction::Capture, pace);
        host.open(48_000, periods * period, period, memory.clone());
        host.trigger(Trigger::Start);
        let (mut heard, mut position) = (Vec::new(), 0);
        let step_ns = u64::from(period) * 1_000_000_000 / 48_000;
        for (share, page_full) in steps {
            host.now_ns += step_ns * share / 1000 + 1;
            // A full page delays the news for several periods only on a ring with room for them.
            let page_full = page_full && host.taken - position < host.ring_bytes / 4;
            let frames = period as usize / 2;
            host.look(Device { frames, queued: 0, page_full });
            prop_assert!(host.told <= host.taken);
            if host.taken - position > host.ring_bytes - u64::from(period) * 4 {
                // The guest is too far behind to be sure of the oldest frames: as after an overrun, it goes on at the
                // told position.
                heard.clear();
                position = host.told;
            }
            let before = heard.len();
            read(&mut host, &memory, &mut position, &mut heard);
            prop_assert!(heard[before.saturating_sub(1)..].windows(2).all(|pair| pair[1] == next_byte(pair[0])));
        }
        prop_assert!(heard.windows(2).all(|pair| pair[1] == next_byte(pair[0])), "nothing missing, nothing twice");
        prop_assert_eq!(host.core.counters().frames * host.frame_bytes, host.taken);
    }
}

#[test]
fn a_stream_carries_one_direction() {
    let none = |_| unreachable!("no OPEN");
    let span = Span { offset: 0, length: 4 };
    let mut capture = Host::new(Direction::Capture, Pace::Clock);
    capture.open(48_000, 480, 48, Pages::of_bytes(1920));
    assert_eq!(capture.request(Operation::Write(span), none), Err(sndif::Errno::EINVAL));
    let mut playback = Host::new(Direction::Playback, Pace::Clock);
    playback.open(48_000, 480, 48, Pages::of_bytes(1920));
    assert_eq!(playback.request(Operation::Read(span), none), Err(sndif::Errno::EINVAL));
}

#[test]
fn stopping_goes_on_at_the_start_of_the_ring() {
    let memory = Pages::of_bytes(1920);
    let mut host = Host::new(Direction::Capture, Pace::Clock);
    host.open(48_000, 480, 48, memory.clone());
    host.trigger(Trigger::Start);
    host.now_ns += 3 * MILLISECOND;
    host.look(Device::READY);
    host.trigger(Trigger::Stop);
    host.look(Device::READY);
    assert_eq!(host.told, 1920);
    host.trigger(Trigger::Start);
    host.now_ns += 2 * MILLISECOND;
    host.look(Device::READY);
    let (mut heard, mut position) = (Vec::new(), 1920);
    read(&mut host, &memory, &mut position, &mut heard);
    assert_eq!(heard.len(), 96 * 4);
    assert!(heard.windows(2).all(|pair| pair[1] == next_byte(pair[0])));
}

#[test]
fn the_silence_that_a_large_stream_begins_with_is_made_in_parts() {
    const SIZE: u32 = 900_000;
    let memory = Pages::of_bytes(SIZE as usize);
    let mut host = Host::new(Direction::Capture, Pace::Device);
    let open = OpenParams {
        rate_hz: 48_000,
        format: Format::S16Le,
        channels: 2,
        buffer_bytes: SIZE,
        directory: GrantRef(8),
        period_bytes: 0,
    };
    let ask = |id, operation| Request { id, operation };
    let outcome = host.core.request(&ask(1, Operation::Open(open)), host.now_ns);
    let Outcome::Open(geometry, _) = outcome else { panic!("{outcome:?}") };
    for _ in 0..3 {
        let whole = host.core.prepare(&geometry, |part| {
            assert_eq!(part.len(), PART_BYTES as usize);
            part.fill(7);
        });
        assert!(!whole);
    }
    host.core.opened(geometry, memory.clone(), Pace::Device, |rest| {
        assert!(rest.len() < PART_BYTES as usize);
        rest.fill(7);
    });
    let read = ask(2, Operation::Read(Span { offset: 0, length: SIZE }));
    assert!(matches!(host.core.request(&read, host.now_ns), Outcome::Copying(_)));
    while host.core.copy(host.now_ns).is_none() {}
    let mut bytes = vec![0; SIZE as usize];
    assert!(memory.read(0, &mut bytes));
    assert!(bytes.iter().all(|&byte| byte == 7), "a part is no silence");
}
