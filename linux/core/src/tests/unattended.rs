// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Applications that sleep by a clock of their own: `SNDRV_PCM_INFO_NO_PERIOD_WAKEUP`.

use super::*;
use crate::testing::set_now_ns;

/// Periods that are written ahead.
const AHEAD: u64 = 3;

const MS: u64 = 1_000_000;

/// Events after which a stream with periods of 10 ms is notified.
const SELDOM: u64 = 30;

/// A stream that plays without wake-ups.
fn playing() -> (TestBus, Substream<TestKernel>) {
    let (bus, stream) = prepared("p");
    assert_eq!(bus.node("0/0/event-hold-off").as_deref(), Some("1"));
    assert!(!open(&stream).unwrap().wakes_always);
    stream.set_attended(false);
    stream.ack(AHEAD * 480, BOUNDARY).unwrap();
    stream.trigger(Trigger::Start).unwrap();
    backend(|backend| backend.serve());
    (bus, stream)
}

/// The same after its first period, of which it is notified.
fn steady() -> (TestBus, Substream<TestKernel>) {
    let (bus, stream) = playing();
    set_now_ns(13 * MS);
    assert!(period(1));
    assert!(stream.on_events());
    assert!(!period_only_told(2));
    let _ = stream.pointer();
    backend(|backend| backend.story());
    (bus, stream)
}

/// The backend tells of the end of period `number`; returns whether it notified.
fn period(number: u64) -> bool {
    backend(|backend| backend.serve());
    period_only_told(number)
}

/// The same by a backend that does not look at its ring.
fn period_only_told(number: u64) -> bool {
    backend(|backend| {
        let before = backend.told_events;
        backend.report(number * PERIOD + 4);
        backend.told_events > before
    })
}

#[test]
fn it_is_woken_seldom_and_the_position_is_right_between_all_events() {
    let (_bus, stream) = playing();
    let mut woken = 0;
    for number in 1..=310 {
        // The backend needs 3 ms to start.
        set_now_ns((3 + number * 10) * MS);
        if period(number) {
            woken += 1;
            assert!(stream.on_events());
        }
        for ms in [0, 4, 9] {
            set_now_ns((3 + number * 10 + ms) * MS);
            let expected = number * 480 + 1 + ms * 48;
            assert_eq!(u64::from(stream.pointer().frames), expected % 1920, "period {number}, {ms} ms later");
            stream.ack((number + AHEAD) * 480 - 480 + ms * 53, BOUNDARY).unwrap();
        }
        stream.ack((number + AHEAD) * 480, BOUNDARY).unwrap();
    }
    assert_eq!(woken, 1 + 309 / SELDOM, "the first event, then each thirtieth");
    assert_eq!(stops(), Vec::new());
}

/// A stream with so many periods of so many frames that starts with all of them written.
fn full(frames: u32, periods: u32) -> (TestBus, Substream<TestKernel>) {
    let (bus, stream) = stream("p");
    stream.hw_params(Format::S16Le, 2, 48_000, frames, frames * periods).unwrap();
    stream.set_attended(false);
    stream.prepare().unwrap();
    stream.ack(u64::from(frames * periods), BOUNDARY).unwrap();
    stream.trigger(Trigger::Start).unwrap();
    (bus, stream)
}

/// The device has played `frames`, which is told with one more; returns whether the guest was notified and had a
/// reason.
fn played(stream: &Substream<TestKernel>, frames: u64) -> bool {
    set_now_ns(frames * MS / 48);
    let told = backend(|backend| {
        let before = backend.told_events;
        backend.serve();
        backend.report(frames * 4 + 4);
        backend.told_events > before
    });
    assert!(!told || stream.on_events());
    told
}

#[test]
fn short_and_long_periods_wake_it_four_times_a_second_at_most() {
    for (frames, periods) in [(48, 40), (240, 16), (1024, 4), (4800, 3), (7680, 2)] {
        let (_bus, stream) = full(frames, periods);
        let (mut woken, mut looked_at) = (0, 0);
        for number in 1..480_000 / u64::from(frames) {
            let at = number * u64::from(frames);
            woken += u32::from(played(&stream, at));
            // The application looks each 10 ms at most.
            if at >= looked_at + 480 {
                looked_at = at;
                let _ = stream.pointer();
                stream.ack(at + u64::from(frames * periods), BOUNDARY).unwrap();
            }
        }
        assert!((20..=40).contains(&woken), "periods of {frames} frames: woken {woken} times in 10 s");
        assert_eq!(stops(), Vec::new());
    }
}

#[test]
fn a_buffer_that_is_filled_up_to_the_estimate_needs_no_more_wake_ups() {
    let (_bus, stream) = full(480, 32);
    let ring = 32 * 480;
    let mut woken = 0;
    let mut written = 0;
    for number in 1..300 {
        woken += u32::from(played(&stream, number * 480));
        // 4 ms later there is room for 4 ms, of which no event tells.
        set_now_ns((number * 10 + 4) * MS);
        assert_eq!(u64::from(stream.pointer().frames), (number * 480 + 193) % ring);
        written = number * 480 + 193 + ring;
        stream.ack(written, BOUNDARY).unwrap();
    }
    assert!((9..=11).contains(&woken), "woken {woken} times in 3 s");
    // The application sleeps; what it has written is sent before a quarter of it is left.
    assert!((300..=324).any(|number| played(&stream, number * 480)));
    backend(|backend| {
        backend.serve();
        let story = backend.story();
        let (offset, length) = story.rsplit_once("write ").unwrap().1.split_once('+').unwrap();
        let end = offset.parse::<u64>().unwrap() + length.parse::<u64>().unwrap();
        assert_eq!(end, written * 4 % (ring * 4), "{story}");
    });
}

#[test]
fn an_application_that_does_not_look_is_woken_before_the_page_is_full() {
    let stream = recording();
    let mut late = 0;
    for number in 1..1000 {
        set_now_ns((3 + number * 10) * MS);
        if period(number) || late > 0 {
            late += 1;
        }
        // The handler comes 25 events late.
        if late == 25 {
            late = 0;
            assert!(stream.on_events());
        }
    }
    assert_eq!(stops(), Vec::new());
}

#[test]
fn what_it_writes_is_sent_at_once_for_the_next_event_may_be_far() {
    let (_bus, stream) = steady();
    stream.ack(AHEAD * 480 + 7, BOUNDARY).unwrap();
    backend(|backend| {
        backend.serve();
        assert_eq!(backend.story(), "write 5760+28");
    });
}

#[test]
fn what_finds_no_room_in_the_ring_of_requests_is_sent_with_the_next_event() {
    let (_bus, stream) = steady();
    for frames in 1..=40 {
        stream.ack(AHEAD * 480 + frames, BOUNDARY).unwrap();
    }
    assert!(period(3), "each event, while something is left");
    assert!(stream.on_events());
    backend(|backend| {
        backend.serve();
        assert!(backend.story().ends_with("write 5868+4, write 5872+48"));
    });
    assert!(!period(4), "and then no more");
    // The next look does the same.
    for frames in 1..=40 {
        stream.ack(4 * 480 + frames, BOUNDARY).unwrap();
    }
    backend(|backend| backend.serve());
    let _ = stream.pointer();
    backend(|backend| {
        backend.serve();
        let story = backend.story();
        let last = story.rsplit_once("write ").unwrap().1;
        let (offset, length) = last.split_once('+').unwrap();
        assert_eq!(offset.parse::<u64>().unwrap() + length.parse::<u64>().unwrap(), 160, "{story}");
    });
}

#[test]
fn draining_it_is_told_of_each_event_and_of_the_end() {
    for looks in [false, true] {
        let (_bus, stream) = steady();
        stream.drain().unwrap();
        assert!(period(3), "each event from now on");
        if looks {
            let _ = stream.pointer();
        }
        assert!(stream.on_events());
        assert!(elapsed() > 0);
    }
}

#[test]
fn draining_it_is_told_of_an_end_that_came_before() {
    for looks in [false, true] {
        let (_bus, stream) = steady();
        backend(|backend| backend.report_end(AHEAD * PERIOD + 4));
        if looks {
            assert_eq!(stream.pointer().frames, 1440);
        }
        elapsed();
        stream.drain().unwrap();
        assert!(stream.on_events());
        assert!(elapsed() > 0, "ALSA asks for the pointer");
        assert_eq!(stream.pointer().frames, 1440);
    }
}

#[test]
fn a_stream_that_ran_dry_is_told_of_at_once() {
    for looks in [false, true] {
        let (_bus, stream) = steady();
        elapsed();
        backend(|backend| backend.report_end(AHEAD * PERIOD + 4));
        if looks {
            let _ = stream.pointer();
        }
        assert!(stream.on_events());
        assert!(elapsed() > 0, "ALSA asks for the pointer, and sees the xrun");
    }
}

#[test]
fn after_an_xrun_the_position_is_timed_again() {
    let (_bus, stream) = steady();
    set_now_ns(34 * MS);
    backend(|backend| backend.report_end(AHEAD * PERIOD + 4));
    assert!(stream.on_events());
    // The application of a sound server goes on after 5 ms, and the device with it.
    set_now_ns(39 * MS);
    assert_eq!(stream.pointer().frames, 1440);
    stream.ack(6 * 480, BOUNDARY).unwrap();
    set_now_ns(49 * MS);
    assert!(period(4), "tells when it went on");
    assert!(stream.on_events());
    set_now_ns(54 * MS);
    assert_eq!(stream.pointer().frames, 1 + 240);
    assert!(!period(5));
}

#[test]
fn a_pause_needs_no_wake_ups_and_after_it_the_position_is_timed_again() {
    let (_bus, stream) = steady();
    stream.ack(5 * 480, BOUNDARY).unwrap();
    stream.trigger(Trigger::Pause).unwrap();
    set_now_ns(900 * MS);
    let paused = stream.pointer().frames;
    set_now_ns(950 * MS);
    assert_eq!(stream.pointer().frames, paused);
    stream.trigger(Trigger::Resume).unwrap();
    assert!(period(3), "tells when it went on");
    assert!(stream.on_events());
    assert!(!period(4));
}

#[test]
fn it_goes_on_without_wake_ups_over_the_next_connection() {
    let (bus, stream) = steady();
    stream.lose();
    take_up(&bus, &stream);
    stream.ack(6 * 480, BOUNDARY).unwrap();
    backend(|backend| backend.serve());
    assert!(period(1));
    assert!(stream.on_events());
    assert!(!period(2));
}

#[test]
fn a_request_that_fails_ends_the_run_where_the_application_looks() {
    let (_bus, stream) = steady();
    stream.ack(AHEAD * 480 + 480, BOUNDARY).unwrap();
    backend(|backend| {
        backend.answer = Err(Errno::EIO);
        backend.serve();
        backend.answer = Ok(());
    });
    assert_eq!(stream.pointer(), Pointer::ENDED);
    assert_eq!(stops(), Vec::new(), "ALSA knows it");
    stream.trigger(Trigger::Stop).unwrap();
    stream.prepare().unwrap();
    assert_eq!(stream.pointer().frames, 0);
}

#[test]
fn a_broken_protocol_ends_the_run_where_the_application_looks() {
    let (_bus, stream) = steady();
    backend(|backend| backend.scribble(true, 4, &1000_u32.to_le_bytes()));
    assert_eq!(stream.pointer(), Pointer::ENDED);
    assert_ne!(stream.pointer(), Pointer::ENDED, "once");
    // Others are told as ever.
    let (_bus, stream) = playing();
    stream.set_attended(true);
    backend(|backend| backend.scribble(true, 4, &1000_u32.to_le_bytes()));
    assert_ne!(stream.pointer(), Pointer::ENDED);
    assert!(!stream.on_events());
    assert!(matches!(stops()[..], [Stop::Failed(Error::Broken(_))]));
}

#[test]
fn the_next_user_of_the_stream_is_woken_for_each_period() {
    let (_bus, stream) = steady();
    stream.trigger(Trigger::Stop).unwrap();
    backend(|backend| backend.serve());
    stream.on_ring();
    stream.hw_params(Format::S16Le, 2, 48_000, 480, 1920).unwrap();
    stream.set_attended(true);
    stream.prepare().unwrap();
    stream.ack(AHEAD * 480, BOUNDARY).unwrap();
    stream.trigger(Trigger::Start).unwrap();
    backend(|backend| backend.serve());
    for number in 1..=AHEAD {
        assert!(period(number));
        assert!(stream.on_events());
    }
}

/// A stream that records without wake-ups.
fn recording() -> Substream<TestKernel> {
    let bus = TestBus::new(&[("0/0/type", "c"), ("backend/feature-read-ahead", "1")]);
    let stream = streams(&bus).pop().unwrap();
    reconnect(&bus, &stream);
    assert!(!open(&stream).unwrap().wakes_always);
    stream.hw_params(Format::S16Le, 2, 48_000, 480, 1920).unwrap();
    stream.set_attended(false);
    stream.prepare().unwrap();
    stream.trigger(Trigger::Start).unwrap();
    backend(|backend| {
        backend.awaits = 16;
        backend.serve();
    });
    notifications();
    stream
}

#[test]
fn recorded_periods_are_there_when_it_looks_and_nobody_notifies() {
    let stream = recording();
    let mut woken = 0;
    for number in 1..=310 {
        set_now_ns((3 + number * 10) * MS);
        if period(number) {
            woken += 1;
            assert!(stream.on_events());
        }
        assert_eq!(u64::from(stream.pointer().frames), number * 480 % 1920, "period {number}");
    }
    assert_eq!(woken, 1 + 309 / SELDOM);
    assert_eq!((notifications(), stops()), (0, Vec::new()));
}

#[test]
fn a_recording_that_it_looks_at_too_late_ends_in_an_xrun_and_begins_again() {
    let stream = recording();
    assert!(period(1));
    assert!(stream.on_events());
    backend(|backend| {
        backend.answer = Err(Errno::EIO);
        backend.report(2 * PERIOD + 4);
        backend.answer = Ok(());
    });
    assert_eq!(stream.pointer(), Pointer::ENDED);
    stream.trigger(Trigger::Stop).unwrap();
    stream.prepare().unwrap();
    stream.trigger(Trigger::Start).unwrap();
    assert_eq!((stream.pointer().frames, stops()), (0, Vec::new()));
}

#[test]
fn recording_without_wake_ups_needs_a_backend_that_takes_reads_ahead() {
    let (_bus, stream) = stream("c");
    assert!(open(&stream).unwrap().wakes_always);
    // The next backend may be another, which notifies of each event.
    let stream = recording();
    assert!(period(1));
    assert!(stream.on_events());
    stream.lose();
    let bus = TestBus::new(&[("0/0/type", "c")]);
    take_up(&bus, &stream);
    for number in 1..4 {
        assert!(period(number));
        assert!(stream.on_events());
        backend(|backend| backend.serve());
        assert!(stream.on_ring());
        assert_eq!(u64::from(stream.pointer().frames), (480 + number * 480 + 1) % 1920);
    }
}
