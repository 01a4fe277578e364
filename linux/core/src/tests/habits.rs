// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Habits of backends other than ours, one test each.

use sndif::v2::{EVENT_SLOTS_OFFSET, Event};

use super::*;

#[test]
fn a_backend_that_counts_from_0_after_stop_is_closed_and_opened() {
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
    // ALSA's snd_pcm_undo_pause does the same.
    stream.trigger(Trigger::Resume).unwrap();
    backend(|backend| {
        backend.serve();
        backend.answer = Ok(());
        assert!(backend.story().ends_with("pause"), "nothing to resume");
        backend.report(PERIOD + 4);
    });
    // The backend plays on.
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
    // The backend may have paused all the same.
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

#[test]
fn a_format_that_a_query_allows_may_be_refused_at_open() {
    let (_bus, stream) = stream("p");
    stream.refine(&settled()).unwrap();
    stream.hw_params(Format::U16Le, 2, 48_000, 480, 1920).unwrap();
    backend(|backend| backend.answer = Err(Errno::EINVAL));
    assert_eq!(stream.prepare(), Err(Error::Refused(Errno::EINVAL)));
    backend(|backend| backend.answer = Ok(()));
    stream.hw_params(Format::S16Le, 2, 48_000, 480, 1920).unwrap();
    assert_eq!((stream.prepare(), stops()), (Ok(()), Vec::new()));
}

#[test]
fn a_refused_volume_keeps_its_value_and_the_stream_plays_on() {
    let bus = TestBus::new(&[("0/0/type", "p"), ("backend/feature-volume", "1"), ("backend/feature-mute", "1")]);
    let stream = streams(&bus).pop().unwrap();
    reconnect(&bus, &stream);
    stream.hw_params(Format::S16Le, 2, 48_000, 480, 1920).unwrap();
    stream.prepare().unwrap();
    stream.ack(960, BOUNDARY).unwrap();
    stream.trigger(Trigger::Start).unwrap();
    backend(|backend| {
        backend.serve();
        backend.answer = Err(Errno::EINVAL);
    });
    for (switch, values) in [(false, [3000, 3000]), (true, [0, 0])] {
        let knob = Knob { direction: Direction::Playback, switch };
        assert_eq!(stream.set_values(knob, &values), Ok(true));
        backend(|backend| backend.serve());
        stream.on_ring();
        assert_eq!([0, 1].map(|channel| i64::from(stream.value(knob, channel))), values);
    }
    backend(|backend| {
        let story = backend.story();
        assert!(story.contains("SetVolume") && story.contains("Mute"), "{story}");
        backend.report(PERIOD + 4);
    });
    stream.on_events();
    assert_eq!((stream.pointer().frames, stops()), (481, Vec::new()));
}

#[test]
fn ids_that_a_full_page_used_up_are_missing_and_nothing_else() {
    let (_bus, stream) = prepared("p");
    stream.ack(960, BOUNDARY).unwrap();
    stream.trigger(Trigger::Start).unwrap();
    backend(|backend| {
        backend.serve();
        let event = Event { id: 64, position_bytes: PERIOD + 4 };
        backend.scribble(true, EVENT_SLOTS_OFFSET, &event.emit());
        backend.scribble(true, 4, &1_u32.to_le_bytes());
    });
    assert!(stream.on_events());
    assert_eq!((stream.pointer().frames, stops()), (481, Vec::new()));
}
