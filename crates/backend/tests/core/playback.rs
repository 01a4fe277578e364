//! Playback: the written frames are played, and positions tell how many of them.

use backend::{Frames, Outcome, Pace};
use proptest::collection::vec;
use proptest::prelude::*;
use sndif::SharedMemory;
use sndif::store::Direction;
use sndif::v2::{Operation, Request, Span, Trigger};

use crate::guest::Guest;
use crate::host::{Device, Host, MILLISECOND, few};
use sndif::test_utils::Pages;

/// Step of a guest's application or of the host's device.
#[derive(Debug, Clone, Copy)]
enum Step {
    Write(u64),
    Rewind(u64),
    Skip(u64),
    Trigger(Trigger),
    Pass(u64),
    Look(Device),
}

fn device() -> impl Strategy<Value = Device> {
    let frames = prop_oneof![Just(usize::MAX), 0..300_usize];
    (frames, 0..400_u64, proptest::bool::weighted(0.15)).prop_map(|(frames, queued, page_full)| Device {
        frames,
        queued,
        page_full,
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..600_u64).prop_map(Step::Write),
        2 => (1..400_u64).prop_map(Step::Rewind),
        1 => (1..200_u64).prop_map(Step::Skip),
        2 => proptest::sample::select(vec![Trigger::Start, Trigger::Pause, Trigger::Resume]).prop_map(Step::Trigger),
        1 => Just(Step::Trigger(Trigger::Stop)),
        6 => prop_oneof![1..3 * MILLISECOND, 1..40 * MILLISECOND].prop_map(Step::Pass),
        8 => device().prop_map(Step::Look),
    ]
}

fn pace() -> impl Strategy<Value = Pace> {
    prop_oneof![Just(Pace::Clock), Just(Pace::Device)]
}

fn rate() -> impl Strategy<Value = u32> {
    proptest::sample::select(vec![8000, 44_100, 48_000, 192_000])
}

fn open(pace: Pace, rate_hz: u32, periods: u32, period: u32, events: bool) -> (Host<Pages>, Guest) {
    let ring_frames = period * periods;
    let memory = Pages::of_bytes((ring_frames * 4) as usize);
    let mut host = Host::new(Direction::Playback, pace);
    host.open(rate_hz, ring_frames, if events { period } else { 0 }, memory.clone());
    (host, Guest::new(memory))
}

fn run(host: &mut Host<Pages>, guest: &mut Guest, steps: &[Step]) {
    let frame = host.frame_bytes;
    for &step in steps {
        match step {
            Step::Write(frames) => guest.write(host, frames * frame),
            Step::Rewind(frames) => guest.rewind(host, frames * frame),
            Step::Skip(frames) => guest.skip(host, frames * frame),
            Step::Trigger(trigger) => {
                host.trigger(trigger);
                if trigger == Trigger::Stop {
                    host.look(Device::READY);
                    guest.stopped(host);
                }
            }
            Step::Pass(ns) => host.now_ns += ns,
            Step::Look(device) => {
                let before = host.taken;
                let played = host.look(device);
                assert_eq!(host.taken - before, played.len() as u64);
                guest.check(&played, host.taken);
                let period = u64::from(host.core.geometry().expect("open").period_bytes);
                let most = guest.written + period + frame;
                assert!(host.told <= most, "told {}, written {}", host.told, guest.written);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 400 }))]

    #[test]
    fn any_program_of_an_application_plays_what_it_wrote(
        pace in pace(), rate_hz in rate(), periods in 2..6_u32, period in 1..200_u32, events: bool,
        steps in vec(step(), 1..few(150)),
    ) {
        let (mut host, mut guest) = open(pace, rate_hz, periods, period, events);
        host.trigger(Trigger::Start);
        run(&mut host, &mut guest, &steps);
        prop_assert!(events || host.events == 0);
    }

    /// A guest that only appends hears everything once and in order, however often it runs dry, and is
    /// told that the last of it was played.
    #[test]
    fn everything_written_is_played_once_and_in_order(
        pace in pace(), rate_hz in rate(), periods in 2..6_u32, period in 1..200_u32,
        steps in vec((1..500_u64, 0..30 * MILLISECOND, device()), 1..few(80)),
    ) {
        let (mut host, mut guest) = open(pace, rate_hz, periods, period, true);
        let (mut written, mut played) = (Vec::new(), Vec::new());
        host.trigger(Trigger::Start);
        for (frames, pass_ns, device) in steps {
            let from = guest.writes_at;
            guest.write(&mut host, frames * 4);
            written.extend((from..guest.writes_at).map(|at| guest.ring[at as usize % guest.ring.len()]));
            host.now_ns += pass_ns;
            played.extend(host.look(device));
        }
        for _ in 0..40 {
            host.now_ns += 20 * MILLISECOND;
            played.extend(host.look(Device::READY));
        }
        prop_assert_eq!(played.len(), written.len());
        prop_assert_eq!(played, written);
        prop_assert_eq!(host.core.counters().frames * host.frame_bytes, guest.written);
        let past_the_boundary = guest.written.next_multiple_of(u64::from(period) * 4) + 4;
        prop_assert!(host.told <= past_the_boundary, "told {}, written {}", host.told, guest.written);
        prop_assert!(host.woken_at >= guest.written, "woken at {}, written {}", host.woken_at, guest.written);
    }

    /// In each run, and however late the host looks at the stream. STOP between two runs tells a position, too.
    #[test]
    fn a_player_that_drains_is_woken_at_the_end(
        pace in pace(), rate_hz in rate(), periods in 2..6_u32, period in 1..1000_u32,
        runs in vec((1..5000_u64, vec((0..50 * MILLISECOND, device()), 0..4)), 1..6),
    ) {
        let (mut host, mut guest) = open(pace, rate_hz, periods, period, true);
        for (frames, looks) in runs {
            guest.write(&mut host, frames * 4);
            host.trigger(Trigger::Start);
            for (pass_ns, device) in looks {
                host.now_ns += pass_ns;
                host.look(device);
            }
            for _ in 0..50 {
                host.now_ns += 20 * MILLISECOND;
                host.look(Device::READY);
            }
            prop_assert!(host.woken_at >= guest.written, "woken at {}, written {}", host.woken_at, guest.written);
            host.trigger(Trigger::Stop);
            host.look(Device::READY);
            guest.stopped(&host);
        }
    }

    /// An application that waits for each period as Linux does (a position *past* its end) is always woken.
    #[test]
    fn nobody_waits_for_a_period_for_ever(rate_hz in rate(), periods in 2..5_u32, period in 8..400_u32) {
        let (mut host, mut guest) = open(Pace::Clock, rate_hz, periods, period, true);
        let period_bytes = u64::from(period) * 4;
        guest.write(&mut host, u64::MAX);
        host.trigger(Trigger::Start);
        let mut ended = 0;
        for _ in 0..200 {
            // The guest sleeps until the stream has to be checked; nothing else happens.
            let at = host.core.next_wake_ns().expect("a running stream wakes up");
            host.now_ns = host.now_ns.max(at);
            let played = host.look(Device::READY);
            guest.check(&played, host.taken);
            while host.told > (ended + 1) * period_bytes {
                ended += 1;
                guest.write(&mut host, period_bytes);
            }
            if ended >= 20 {
                break;
            }
        }
        prop_assert!(ended >= 20, "{} periods ended", ended);
    }
}

#[test]
fn each_time_that_data_comes_late_is_one_xrun() {
    let (mut host, mut guest) = open(Pace::Clock, 48_000, 2, 48, true);
    host.trigger(Trigger::Start);
    for late in 0..5 {
        guest.write(&mut host, 48 * 4);
        assert_eq!(host.core.counters().xruns, late);
        for _ in 0..5 {
            host.now_ns += MILLISECOND;
            host.look(Device::READY);
        }
    }
    host.trigger(Trigger::Stop);
    host.look(Device::READY);
    guest.stopped(&host);
    guest.write(&mut host, 48 * 4);
    assert_eq!(host.core.counters().xruns, 4, "the end of a run is none");
}

#[test]
fn a_device_that_still_plays_its_queue_makes_nobody_late() {
    let (mut host, mut guest) = open(Pace::Device, 48_000, 4, 48, true);
    host.trigger(Trigger::Start);
    guest.write(&mut host, 48 * 4);
    host.look(Device { queued: 48, ..Device::READY });
    guest.write(&mut host, 48 * 4);
    assert_eq!(host.core.counters().xruns, 0);
    host.look(Device { queued: 0, ..Device::READY });
    guest.write(&mut host, 48 * 4);
    assert_eq!(host.core.counters().xruns, 1);
}

#[test]
fn a_rewind_without_events_keeps_what_is_pending() {
    let (mut host, mut guest) = open(Pace::Device, 48_000, 4, 250, false);
    host.trigger(Trigger::Start);
    for _ in 0..3 {
        guest.write(&mut host, 2400);
        let played = host.look(Device { frames: 600, ..Device::READY });
        guest.check(&played, host.taken);
    }
    guest.write(&mut host, 2000);
    guest.rewind(&host, 1200);
    guest.write(&mut host, 400);
    let before = host.taken;
    let played = host.look(Device::READY);
    assert_eq!(played.len() as u64, guest.written - before);
    guest.check(&played, host.taken);
    assert_eq!(played.len(), 1200);
}

#[test]
fn pausing_holds_the_position_and_resuming_goes_on_there() {
    let (mut host, mut guest) = open(Pace::Clock, 48_000, 4, 480, true);
    guest.write(&mut host, 4 * 480 * 4);
    host.trigger(Trigger::Start);
    host.now_ns += 15 * MILLISECOND;
    assert_eq!(host.look(Device::READY).len(), 720 * 4);
    host.trigger(Trigger::Pause);
    host.now_ns += 1000 * MILLISECOND;
    assert!(host.look(Device::READY).is_empty());
    host.trigger(Trigger::Resume);
    host.now_ns += MILLISECOND;
    let played = host.look(Device::READY);
    assert_eq!(played.len(), 48 * 4);
    guest.check(&played, host.taken);
}

#[test]
fn a_long_write_is_copied_in_parts_and_counts_when_it_is_whole() {
    let (size, length) = (900_000, 900_000);
    let memory = Pages::of_bytes(size);
    let pattern: Vec<u8> = (0..size).map(|at| (at / 7 % 251) as u8).collect();
    assert!(memory.write(0, &pattern));
    let mut host = Host::new(Direction::Playback, Pace::Device);
    host.open(48_000, 225_000, 0, memory.clone());
    host.request(Operation::Trigger(Trigger::Start), |_| unreachable!()).unwrap();
    let write = Request { id: 700, operation: Operation::Write(Span { offset: 0, length }) };
    let Outcome::Copying(_) = host.core.request(&write, host.now_ns) else { panic!("copied at once") };
    for _ in 0..3 {
        assert_eq!(host.core.copy(host.now_ns), None);
        assert!(host.core.frames_to_play(host.now_ns, 1_000).is_none_or(<[u8]>::is_empty), "nothing counts yet");
    }
    assert_eq!(host.core.copy(host.now_ns).map(|response| (response.id, response.result)), Some((700, Ok(()))));
    // Changes that the guest makes to its pages now are not heard.
    assert!(memory.write(0, &vec![0xAA; size]));
    let mut heard = Vec::new();
    while let Some(frames) = host.core.frames_to_play(host.now_ns, 100_000)
        && !frames.is_empty()
        && heard.len() < size
    {
        heard.extend_from_slice(frames);
        let taken = frames.len();
        host.core.played(taken);
    }
    assert!(heard == pattern, "{} bytes", heard.len());
}
