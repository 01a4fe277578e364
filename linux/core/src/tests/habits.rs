// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Habits of backends other than ours, one test each.

use super::*;

#[test]
fn a_backend_that_counts_anew_after_stop_is_closed_and_opened() {
    for kind in ["p", "c"] {
        let (_bus, stream) = prepared(kind);
        stream.ack(1440, BOUNDARY).unwrap();
        stream.trigger(Trigger::Start).unwrap();
        backend(|backend| {
            backend.serve();
            backend.report(2 * PERIOD + 4);
        });
        stream.on_events();
        stream.trigger(Trigger::Stop).unwrap();
        stream.prepare().unwrap();
        let story = backend(|backend| backend.story());
        assert!(story.ends_with("stop, close, open 7680"), "{story}");
        stream.ack(1440, BOUNDARY).unwrap();
        stream.trigger(Trigger::Start).unwrap();
        backend(|backend| {
            backend.serve();
            backend.report(PERIOD);
        });
        stream.on_events();
        backend(|backend| backend.serve());
        assert_eq!((stream.pointer().frames, stops()), (480, Vec::new()), "{kind}");
    }
}

#[test]
fn a_backend_that_tells_at_stop_where_it_goes_on_stays_open() {
    for kind in ["p", "c"] {
        let (_bus, stream) = prepared(kind);
        stream.ack(1440, BOUNDARY).unwrap();
        stream.trigger(Trigger::Start).unwrap();
        backend(|backend| {
            backend.serve();
            backend.report(2 * PERIOD + 4);
            backend.rounds_to = Some(RING);
        });
        stream.on_events();
        stream.trigger(Trigger::Stop).unwrap();
        stream.prepare().unwrap();
        assert!(backend(|backend| backend.story()).ends_with("stop"));
        stream.ack(1440, BOUNDARY).unwrap();
        stream.trigger(Trigger::Start).unwrap();
        backend(|backend| {
            backend.serve();
            backend.report(PERIOD);
        });
        stream.on_events();
        backend(|backend| backend.serve());
        assert_eq!((stream.pointer().frames, stops()), (480, Vec::new()), "{kind}");
    }
}

#[test]
fn a_refused_pause_is_told_to_alsa_and_pause_is_not_offered_again_on_that_connection() {
    let (bus, stream) = prepared("p");
    stream.ack(960, BOUNDARY).unwrap();
    stream.trigger(Trigger::Start).unwrap();
    assert!(open(&stream).unwrap().pauses);
    backend(|backend| {
        backend.serve();
        backend.answer = Err(Errno::EOPNOTSUPP);
    });
    assert_eq!(stream.trigger(Trigger::Pause), Err(Error::Refused(Errno::EOPNOTSUPP)));
    // As snd_pcm_undo_pause does.
    stream.trigger(Trigger::Resume).unwrap();
    backend(|backend| {
        backend.serve();
        backend.answer = Ok(());
        assert!(backend.story().ends_with("pause"), "nothing to resume");
        backend.report(PERIOD + 4);
    });
    // It plays on.
    stream.on_ring();
    stream.on_events();
    assert_eq!((stream.pointer().frames, stops()), (481, Vec::new()));
    assert_eq!(stream.trigger(Trigger::Pause), Err(Error::CannotPause));
    assert!(!open(&stream).unwrap().pauses);
    assert_eq!(backend(|backend| backend.story()), "");
    stream.detach();
    take_up(&bus, &stream);
    assert!(open(&stream).unwrap().pauses);
    stream.trigger(Trigger::Pause).unwrap();
    assert!(backend(|backend| backend.story()).ends_with("start, query, pause"));
}

#[test]
fn a_pause_that_is_not_answered_ends_in_time() {
    let (_bus, stream) = prepared("p");
    stream.ack(960, BOUNDARY).unwrap();
    stream.trigger(Trigger::Start).unwrap();
    backend(|backend| backend.serve());
    silence(true);
    let before = now_ms();
    assert_eq!(stream.trigger(Trigger::Pause), Err(Error::NoAnswer));
    assert_eq!(now_ms() - before, 3000);
    silence(false);
    // It may have paused all the same.
    stream.trigger(Trigger::Resume).unwrap();
    backend(|backend| {
        backend.serve();
        assert!(backend.story().ends_with("pause, resume"));
    });
}

#[test]
fn a_read_that_is_refused_after_others_is_an_overrun_and_no_end() {
    let (_bus, stream) = prepared("c");
    stream.trigger(Trigger::Start).unwrap();
    backend(|backend| backend.report(PERIOD));
    stream.on_events();
    backend(|backend| {
        backend.serve();
        backend.report(2 * PERIOD);
    });
    stream.on_events();
    backend(|backend| {
        backend.answer = Err(Errno::EIO);
        backend.serve();
        backend.answer = Ok(());
    });
    stream.on_ring();
    assert_eq!(stops(), [Stop::Xrun]);
}
