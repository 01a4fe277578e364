// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Recording with a backend that takes READs of what is still to be captured.

use super::*;

/// A prepared recording; the backend wants no notification of the next READs.
fn recording() -> (TestBus, Substream<TestKernel>) {
    let bus = TestBus::new(&[("0/0/type", "c"), ("backend/feature-read-ahead", "1")]);
    let stream = streams(&bus).pop().unwrap();
    reconnect(&bus, &stream);
    stream.hw_params(Format::S16Le, 2, 48_000, 480, 1920).unwrap();
    stream.prepare().unwrap();
    assert_eq!(backend(|backend| backend.story()), "open 7680");
    (bus, stream)
}

fn started() -> (TestBus, Substream<TestKernel>) {
    let (bus, stream) = recording();
    stream.trigger(Trigger::Start).unwrap();
    backend(|backend| {
        backend.awaits = 16;
        backend.serve();
        let reads =
            "read 0+1920 until 1920, read 1920+1920 until 3840, read 3840+1920 until 5760, read 5760+1920 until 7680";
        assert_eq!(backend.story(), format!("start, {reads}"));
    });
    notifications();
    (bus, stream)
}

/// The backend looks at the ring, and tells that a period has passed.
fn period(number: u64) -> u32 {
    backend(|backend| {
        let before = backend.notified;
        backend.serve();
        backend.report(number * PERIOD + 4);
        backend.notified - before
    })
}

#[test]
fn recorded_periods_are_there_with_their_events_and_nobody_notifies() {
    let (_bus, stream) = started();
    for number in 1..=100 {
        assert_eq!(period(number), 0, "the event alone wakes the guest");
        assert!(stream.on_events());
        assert!(elapsed() > 0);
        assert_eq!(stream.pointer(), Pointer { frames: (number * 480 % 1920) as u32, delay_frames: 1 });
    }
    assert_eq!((notifications(), stops()), (0, Vec::new()));
    backend(|backend| {
        backend.serve();
        assert!(backend.story().ends_with("read 3840+1920 until 197760, read 5760+1920 until 199680"));
    });
}

#[test]
fn recording_ends_and_begins_again_with_reads_laid_out() {
    let (_bus, stream) = started();
    period(1);
    assert!(stream.on_events());
    backend(|backend| backend.rounds_to = Some(RING));
    stream.trigger(Trigger::Stop).unwrap();
    stream.prepare().unwrap();
    assert_eq!(stops(), [], "what was not captured is no failure");
    stream.trigger(Trigger::Start).unwrap();
    backend(|backend| {
        backend.serve();
        let story = backend.story();
        assert!(story.contains("stop, start, read 0+1920 until 9600, read 1920+1920 until 11520"), "{story}");
    });
    period(1);
    assert!(stream.on_events());
    assert_eq!((elapsed() > 0, stream.pointer().frames), (true, 480));
    stream.hw_free();
    let story = backend(|backend| backend.story());
    assert!(story.ends_with("close"), "{story}");
    assert_eq!(stops(), []);
}

#[test]
fn a_recording_that_is_paused_keeps_its_reads() {
    let (_bus, stream) = started();
    period(1);
    assert!(stream.on_events());
    stream.trigger(Trigger::Pause).unwrap();
    stream.trigger(Trigger::Resume).unwrap();
    assert_eq!(period(2), 0);
    assert!(stream.on_events());
    assert_eq!((stream.pointer().frames, stops()), (960, Vec::new()));
    backend(|backend| assert!(backend.story().ends_with("read 0+1920 until 9600, pause, resume")));
}

#[test]
fn a_read_that_is_found_late_is_told_of_and_waited_for() {
    let (_bus, stream) = started();
    // The guest is late by more than it has laid out; the backend sees its next READs only when it is told.
    for number in 1..=5 {
        period(number);
    }
    assert!(stream.on_events());
    assert_eq!((stream.pointer().frames, notifications()), (1919, 1));
    backend(|backend| {
        let before = backend.notified;
        backend.serve();
        assert!(backend.story().starts_with("read 0+1920 until 9600, read 1920+1920 until 11520"));
        assert_eq!(backend.notified, before + 1, "the guest waits for it");
    });
    assert!(stream.on_ring());
    assert_eq!(stream.pointer().frames, 480);
    // All is as before.
    for number in 6..20 {
        assert_eq!(period(number), 0);
        assert!(stream.on_events());
        assert_eq!(stream.pointer().frames, (number * 480 % 1920) as u32);
    }
    assert_eq!((notifications(), stops()), (0, Vec::new()));
}

#[test]
fn a_read_that_lies_in_the_ring_when_it_is_due_is_told_of() {
    let (_bus, stream) = started();
    period(1);
    assert!(stream.on_events());
    // The backend looks at the ring no more, until it is told to.
    for number in 2..=4 {
        backend(|backend| backend.report(number * PERIOD + 4));
        assert!(stream.on_events());
        assert_eq!((stream.pointer().frames, notifications()), (number as u32 * 480 % 1920, 0));
    }
    backend(|backend| backend.report(5 * PERIOD + 4));
    assert!(stream.on_events());
    assert_eq!((stream.pointer().frames, notifications()), (0, 1));
    backend(|backend| {
        let before = backend.notified;
        backend.serve();
        assert_eq!(backend.notified, before + 1, "the guest waits for it");
    });
    assert!(stream.on_ring());
    assert_eq!((stream.pointer().frames, stops()), (480, Vec::new()));
}

#[test]
fn a_backend_that_keeps_reads_for_ever_stalls_no_more_than_the_recording() {
    let (_bus, stream) = started();
    backend(|backend| backend.keeps = true);
    for number in 1..200 {
        period(number);
        assert!(stream.on_events());
    }
    assert!(notifications() <= 24, "nobody shouts for what does not come");
    assert_eq!(stops(), []);
    // STOP ends them.
    stream.trigger(Trigger::Stop).unwrap();
    stream.prepare().unwrap();
    stream.hw_free();
    assert_eq!(stops(), []);
}

#[test]
fn a_recording_goes_on_with_a_backend_that_has_nothing_of_the_kind() {
    let (bus, stream) = started();
    period(1);
    assert!(stream.on_events());
    stream.lose();
    bus.set("backend/feature-read-ahead", "0");
    take_up(&bus, &stream);
    backend(|backend| {
        assert_eq!(backend.story(), "open 7680, start");
        backend.report(PERIOD + 4);
    });
    assert!(stream.on_events());
    backend(|backend| {
        backend.serve();
        assert_eq!(backend.story(), "read 0+1924");
    });
    assert!(stream.on_ring());
    assert_eq!(stream.pointer().frames, 961);
}
