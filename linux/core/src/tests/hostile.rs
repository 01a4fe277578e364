// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Backends that break the rules, keep pages that are not theirs, or do not answer.

use super::*;

#[test]
fn a_backend_that_breaks_the_protocol_instead_of_taking_a_stream_up_ends_it() {
    let (_bus, stream) = reconnected_while_playing();
    backend(|backend| backend.answer_nobody());
    stream.on_ring();
    assert_eq!(stops(), [Stop::Xrun]);
    assert!(matches!(stream.prepare(), Err(Error::Broken(_))));
}

#[test]
fn a_backend_that_is_away_or_silent_is_not_waited_for_forever() {
    let (_bus, stream) = stream("p");
    stream.hw_params(Format::S16Le, 2, 48_000, 480, 1920).unwrap();
    silence(true);
    assert_eq!(stream.prepare(), Err(Error::NoAnswer));
    stream.detach();
    for operation in waiting_operations() {
        let before_ms = now_ms();
        assert_eq!(operation(&stream), Err(Error::Lost));
        assert_eq!(now_ms() - before_ms, 8000);
    }
    let before_ms = now_ms();
    stream.hw_free();
    assert_eq!((granted(), now_ms() - before_ms), (0, 0), "closing waits for nobody");
}

#[test]
fn an_operation_has_one_end_however_often_the_backend_wakes_who_waits() {
    let (_bus, stream) = prepared("p");
    let start = now_ms();
    storm();
    assert_eq!(open(&stream).map(drop), Err(Error::NoAnswer));
    // The query is still in flight, and there is nothing that a STOP or CLOSE could wait for.
    assert_eq!(stream.prepare(), Err(Error::NoAnswer));
    stream.hw_free();
    assert_eq!(now_ms() - start, 3040 + 3040 + 3040, "three seconds, and the time of the buffer");
}

#[test]
fn who_is_killed_does_not_wait() {
    let (bus, stream) = prepared("p");
    stream.ack(480, BOUNDARY).unwrap();
    kill(true);
    assert_eq!(open(&stream).map(drop), Err(Error::Killed));
    assert_eq!(stream.prepare(), Err(Error::Killed));
    stream.hw_free();
    stream.detach();
    for operation in waiting_operations() {
        assert_eq!(operation(&stream), Err(Error::Killed), "not for a backend that is away either");
    }
    assert_eq!((now_ms(), granted()), (1, 0));
    // The next application finds the stream usable.
    kill(false);
    reconnect(&bus, &stream);
    stream.hw_params(Format::S16Le, 2, 48_000, 480, 1920).unwrap();
    stream.prepare().unwrap();
}

#[test]
fn what_was_not_closed_in_time_is_closed_before_the_next_open() {
    let (_bus, stream) = prepared("p");
    stream.ack(480, BOUNDARY).unwrap();
    kill(true);
    stream.hw_free();
    kill(false);
    stream.hw_params(Format::S16Le, 2, 48_000, 480, 1920).unwrap();
    stream.prepare().unwrap();
    assert_eq!(backend(|backend| backend.story()), "write 0+1920, close, open 7680");
}

#[test]
#[cfg_attr(miri, ignore = "it grants thousands of pages")]
fn xsa_396_a_backend_that_keeps_pages_gets_no_more_of_them_after_a_while() {
    let (bus, stream) = stream("p");
    keep(true);
    let refused = (0..10_000).find_map(|_| {
        let prepared = stream.hw_params(Format::S16Le, 2, 48_000, 480, 1920).and_then(|()| stream.prepare());
        stream.hw_free();
        prepared.err()
    });
    assert_eq!(refused, Some(Error::Kept));
    assert!(kept() <= KEPT_MAX + 4, "{}", kept());
    stream.detach();
    let publish = || connect::publish(&bus, core::slice::from_ref(&stream), connect::features::<TestKernel>(&bus));
    for _ in 0..10_000 {
        assert_eq!(publish(), Err(Error::Kept), "nor a connection");
        stream.detach();
    }
    assert!(kept() <= KEPT_MAX + 6, "{}", kept());
    keep(false);
    assert_eq!(publish(), Ok(()));
}

#[test]
fn xsa_465_a_stream_that_is_dropped_closes_its_channels_before_what_their_handlers_use() {
    let (_bus, stream) = prepared("p");
    dropped();
    drop(stream);
    assert_eq!(dropped(), ["channel", "channel", "lock", "lock", "signal", "signal", "listener"]);
    assert_eq!(granted(), 0);
}

#[test]
fn what_the_backend_refuses_ends_the_stream_or_the_operation() {
    let (_bus, stream) = prepared("p");
    stream.ack(480, BOUNDARY).unwrap();
    backend(|backend| backend.serve());
    backend(|backend| backend.answer = Err(Errno::EIO));
    stream.trigger(Trigger::Start).unwrap();
    backend(|backend| backend.serve());
    stream.on_events();
    assert_eq!(stops(), [Stop::Failed(Error::Refused(Errno::EIO))]);
    assert_eq!(stream.refine(&settled()), Err(Error::Refused(Errno::EIO)));
    assert_eq!(stream.refine(&settled()), Err(Error::Refused(Errno::EIO)));
    assert_eq!(backend(|backend| backend.queries()), 1);
}

#[test]
fn cve_2026_72380_a_violation_ends_the_stream() {
    let (_bus, stream) = prepared("p");
    stream.ack(480, BOUNDARY).unwrap();
    stream.trigger(Trigger::Start).unwrap();
    backend(|backend| backend.answer_nobody());
    assert!(!stream.on_events());
    assert!(matches!(stops()[..], [Stop::Failed(Error::Broken(Violation::UnknownId(_)))]));
    assert_eq!(open(&stream).map(drop), Err(Error::Broken(Violation::UnknownId(0xFFFF))));
}

#[test]
fn ring_overflow_a_response_or_event_index_past_its_limit_ends_the_stream() {
    for (events, offset, index) in [(false, 8, 40_u32), (true, 4, 64), (true, 4, u32::MAX)] {
        let (_bus, stream) = prepared("p");
        stream.ack(480, BOUNDARY).unwrap();
        stream.trigger(Trigger::Start).unwrap();
        backend(|backend| backend.scribble(events, offset, &index.to_le_bytes()));
        assert!(!stream.on_events());
        let Some(Stop::Failed(Error::Broken(violation))) = stops().first().copied() else { panic!("it goes on") };
        assert_eq!(matches!(violation, Violation::Events(_)), events);
        // Repaired memory does not mend the stream.
        backend(|backend| backend.scribble(events, offset, &0_u32.to_le_bytes()));
        assert_eq!(open(&stream).map(drop), Err(Error::Broken(violation)));
    }
}

#[test]
fn cur_pos_before_hw_params_and_backwards_is_ignored() {
    let (_bus, stream) = stream("p");
    backend(|backend| backend.report(u64::MAX / 2));
    assert!(!stream.on_events(), "no stream is open");
    assert_eq!(stream.pointer().frames, 0);
    stream.hw_params(Format::S16Le, 2, 48_000, 480, 1920).unwrap();
    stream.prepare().unwrap();
    stream.ack(960, BOUNDARY).unwrap();
    stream.trigger(Trigger::Start).unwrap();
    backend(|backend| backend.serve());
    backend(|backend| backend.report(PERIOD));
    assert!(stream.on_events());
    assert_eq!(stream.pointer().frames, 480);
    for untrue in [PERIOD - 4, 0, 100 * RING, u64::MAX / 2] {
        backend(|backend| backend.report(untrue));
        stream.on_events();
        assert_eq!(stream.pointer().frames, 480, "{untrue}");
    }
    assert_eq!(stops(), []);
}

#[test]
fn xsa_403_granted_pages_are_whole_zero_and_hold_nothing_of_an_earlier_stream() {
    let (_bus, stream) = stream("p");
    for round in 0..3 {
        stream.hw_params(Format::S16Le, 2, 48_000, 480, 1920).unwrap();
        stream.prepare().unwrap();
        let buffer = mapped();
        assert_eq!(buffer.len(), 3 * sndif::PAGE_BYTES, "whole pages, also where the buffer ends before they do");
        assert!(buffer.bytes().iter().all(|&byte| byte == 0), "round {round}");
        buffer.write(0, &std::vec![0xAA; buffer.len()]);
        stream.hw_free();
    }
    // Ring and event page contain nothing behind the indices but requests, which are made of zeroes.
    with_granted(|granted| {
        assert_eq!(granted.len(), 2);
        for (memory, page) in granted.values() {
            assert!(memory.page(*page)[16..64].iter().all(|&byte| byte == 0));
        }
    });
}

#[test]
fn cve_2026_72085_refused_opens_leave_nothing_granted() {
    let (_bus, stream) = stream("p");
    let before = granted();
    for _ in 0..200 {
        backend(|backend| backend.answer = Err(Errno::EINVAL));
        let opened = stream.hw_params(Format::S16Le, 2, 48_000, 480, 1920).and_then(|()| stream.prepare());
        assert!(opened.is_err());
        stream.hw_free();
        assert_eq!(granted(), before);
    }
    backend(|backend| backend.answer = Ok(()));
    stream.hw_params(Format::S16Le, 2, 48_000, 480, 1920).and_then(|()| stream.prepare()).unwrap();
    stream.hw_free();
    assert_eq!(granted(), before);
}

#[test]
fn cur_pos_events_that_are_not_believed_are_spurious_and_break_the_stream_once() {
    let (bus, stream) = prepared("p");
    stream.ack(480, BOUNDARY).unwrap();
    stream.trigger(Trigger::Start).unwrap();
    backend(|backend| backend.serve());
    stream.pointer();
    let beyond = PERIOD + 48_000 * 4 / 10 + 8;
    for _ in 0..USELESS_MAX {
        backend(|backend| backend.report(beyond));
        assert!(!stream.on_events(), "for Xen this was no reason to notify");
    }
    assert_eq!(stops(), []);
    for _ in 0..10 {
        backend(|backend| backend.report(beyond));
        assert!(!stream.on_events() && !stream.on_ring());
    }
    assert_eq!(stops(), [Stop::Failed(Error::Broken(Violation::Disbelieved))], "told once, however often it notifies");
    assert_eq!(stream.trigger(Trigger::Stop), Err(Error::Broken(Violation::Disbelieved)));
    // The next connection does not inherit the failure.
    stream.detach();
    reconnect(&bus, &stream);
    stream.hw_params(Format::S16Le, 2, 48_000, 480, 1920).unwrap();
    stream.prepare().unwrap();
}

#[test]
fn xsa_331_332_391_notifications_without_a_reason_are_spurious_and_break_the_stream() {
    for events in [false, true] {
        let (_bus, stream) = prepared("p");
        let notify = || if events { stream.on_events() } else { stream.on_ring() };
        assert!((0..USELESS_MAX).all(|_| !notify()));
        // An answer comes, and the earlier failures are forgotten.
        stream.ack(480, BOUNDARY).unwrap();
        backend(|backend| backend.serve());
        assert!(notify());
        assert!((0..=USELESS_MAX).all(|_| !notify()));
        assert_eq!(stops(), []);
        assert!(!notify());
        assert_eq!(stops(), [Stop::Failed(Error::Broken(Violation::EmptyWakeups))]);
    }
}

#[test]
fn a_position_that_stands_still_is_spurious_after_a_while_and_breaks_nothing() {
    let (_bus, stream) = prepared("p");
    stream.ack(480, BOUNDARY).unwrap();
    stream.trigger(Trigger::Start).unwrap();
    backend(|backend| backend.serve());
    stream.pointer();
    let report = |position| {
        backend(|backend| backend.report(position));
        stream.on_events()
    };
    assert!(report(400));
    assert_eq!((0..5000).filter(|_| report(400)).count(), USELESS_MAX as usize);
    assert!(report(800));
    assert_eq!(stops(), []);
}

#[test]
fn a_backend_of_random_bytes_does_no_harm() {
    // Miri takes a second for each seed.
    for seed in 1..=if cfg!(miri) { 4 } else { 300_u64 } {
        silence(false);
        let (bus, stream) = prepared(if seed % 2 == 0 { "p" } else { "c" });
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
            match random(11) {
                0 | 1 => {
                    // Indices a little ahead are those that pass for valid.
                    let (events, index) = (random(2) == 1, u32::try_from(random(70)).unwrap());
                    let offset = if events { 4 } else { 8 };
                    backend(|backend| backend.scribble(events, offset, &index.to_le_bytes()));
                }
                2 | 3 => {
                    let (events, offset) = (random(2) == 1, usize::try_from(random(512)).unwrap() * 8);
                    let value = random(u64::MAX) >> (8 * random(8));
                    backend(|backend| backend.scribble(events, offset, &value.to_le_bytes()));
                }
                4 => {
                    appl += random(1921);
                    let _ = stream.ack(appl, BOUNDARY);
                }
                5 => {
                    let triggers = [Trigger::Start, Trigger::Pause, Trigger::Stop, Trigger::Resume];
                    let _ = stream.trigger(triggers[usize::try_from(random(4)).unwrap()]);
                }
                6 => assert!(stream.pointer().frames < 1920),
                7 => drop(stream.drain()),
                8 if random(8) == 0 => {
                    stream.detach();
                    reconnect(&bus, &stream);
                    if random(4) > 0 {
                        backend(|backend| backend.serve());
                    }
                }
                8 | 9 => drop(stream.on_ring()),
                _ => drop(stream.on_events()),
            }
        }
        let _ = stream.prepare();
        stream.hw_free();
        stream.detach();
        assert_eq!(granted(), 0);
    }
}
