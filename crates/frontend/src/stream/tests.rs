//! Streams against a correct backend and against a hostile one.

use std::vec::Vec;

use proptest::prelude::*;
use sndif::v2::opcode;
use sndif::{Errno, GrantRef, SharedMemory};

use super::*;
use crate::testing::{Backend, Pages, geometry, open};
use crate::{CONTROL_BYTES, Mixer, MixerFeatures, USELESS_MAX};

mod ahead;

struct Pair {
    stream: Stream<Pages>,
    backend: Backend,
    ring: Pages,
    events: Pages,
}

fn pair(direction: Direction, control_bytes: u32) -> Pair {
    let (ring, events) = (Pages::new(1), Pages::new(1));
    let stream = Stream::new(direction, ring.clone(), events.clone(), control_bytes);
    Pair { stream, backend: Backend::new(&ring, &events), ring, events }
}

impl Pair {
    fn run(&mut self, operation: Operation) -> Completion {
        let id = self.stream.submit(operation).unwrap();
        let _ = self.stream.publish();
        self.backend.serve();
        loop {
            let completion = self.stream.next_completion().unwrap().expect("an answer");
            if completion.id == id {
                return completion;
            }
        }
    }

    fn write(&mut self, bytes: u32) -> u32 {
        let mut done = 0;
        while let Some(span) = self.stream.next_span(bytes - done) {
            self.stream.submit(Operation::Write(span)).unwrap();
            done += span.length;
        }
        done
    }
}

fn playing() -> Pair {
    let mut pair = pair(Direction::Playback, 0);
    pair.run(open()).result.unwrap();
    pair.write(u32::MAX);
    pair.run(Operation::Trigger(Trigger::Start));
    pair
}

#[test]
fn a_period_costs_one_notification_each_way() {
    let mut pair = playing();
    let period = geometry().period_bytes();
    let before = pair.backend.notified;
    let mut to_backend = 0;
    for _ in 0..100 {
        pair.backend.play(u64::from(period));
        let progress = pair.stream.take_events().unwrap();
        assert_eq!(progress.moved_bytes, u64::from(period));
        assert!(!progress.xrun);
        while pair.stream.next_completion().unwrap().is_some() {}
        assert_eq!(pair.write(u32::MAX), period);
        to_backend += u32::from(pair.stream.publish());
        pair.backend.serve();
    }
    assert_eq!(pair.backend.notified, before, "answers to WRITE wake nobody");
    assert_eq!(to_backend, 100);
    assert_eq!(pair.stream.position_bytes(), 100 * u64::from(period));
}

#[test]
fn a_backend_that_does_not_want_to_hear_of_writes_hears_of_all_else_and_of_those_who_wait() {
    let mut pair = pair(Direction::Playback, 0);
    pair.run(open()).result.unwrap();
    pair.backend.awaits = 16;
    pair.backend.serve();
    let write = |pair: &mut Pair| {
        let span = pair.stream.next_span(40).unwrap();
        pair.stream.submit(Operation::Write(span)).unwrap();
        pair.stream.publish()
    };
    assert!(!pair.stream.hurry(), "all was told");
    assert!(!write(&mut pair) && !write(&mut pair));
    assert!(pair.stream.hurry(), "they wait for their answers");
    assert!(!pair.stream.hurry(), "it was notified");
    assert!(!write(&mut pair));
    pair.stream.submit(Operation::Trigger(Trigger::Start)).unwrap();
    assert!(pair.stream.publish(), "START");
    assert!(!pair.stream.publish() && !pair.stream.hurry(), "and with it the WRITE");
    // At last it hears of them, so that the ring does not fill.
    pair.backend.serve();
    while pair.stream.next_completion().unwrap().is_some() {}
    assert_eq!((1..=20).find(|_| write(&mut pair)), Some(16));
}

#[test]
fn somebody_who_waits_is_notified_once_of_all_the_answers() {
    let mut pair = pair(Direction::Playback, 0);
    pair.run(open()).result.unwrap();
    for _ in 0..10 {
        let span = pair.stream.next_span(400).unwrap();
        pair.stream.submit(Operation::Write(span)).unwrap();
    }
    let before = pair.backend.notified;
    assert!(pair.stream.publish());
    assert!(!pair.stream.arm(10));
    pair.backend.serve();
    assert_eq!(pair.backend.notified, before + 1);
    assert_eq!(std::iter::from_fn(|| pair.stream.next_completion().unwrap()).count(), 10);
}

#[test]
fn xsa_392_thirty_two_requests_fly_and_no_more() {
    let mut pair = pair(Direction::Playback, 0);
    for _ in 0..32 {
        pair.stream.query(HwParams::ANY).unwrap();
    }
    assert_eq!(pair.stream.query(HwParams::ANY), Err(SubmitError::Full));
    let _ = pair.stream.publish();
    pair.backend.serve();
    while let Some(completion) = pair.stream.next_completion().unwrap() {
        assert_eq!(completion.params, Some(HwParams::ANY));
    }
    pair.stream.query(HwParams::ANY).unwrap();
}

#[test]
fn xsa_216_requests_leave_nothing_of_what_stood_in_their_slots() {
    let (ring, events) = (Pages::new(1), Pages::new(1));
    let mut stream = Stream::new(Direction::Playback, ring.clone(), events, 0);
    ring.write(64, &[0xFF; 32 * 64]);
    stream.submit(open()).unwrap();
    stream.query(HwParams::ANY).unwrap();
    stream.submit(Operation::Close).unwrap_err();
    let mut slots = [0; 128];
    ring.read(64, &mut slots);
    let (opened, query) = slots.split_at(64);
    for (packet, fields) in [(opened, 28), (query, 48)] {
        assert!(packet[3..8].iter().chain(&packet[fields..]).all(|&byte| byte == 0), "{packet:?}");
    }
}

#[test]
fn running_dry_is_one_xrun_unless_the_stream_drains() {
    for draining in [false, true] {
        let mut pair = playing();
        pair.stream.set_draining(draining);
        for _ in 0..10 {
            pair.backend.play(5000);
        }
        pair.stream.take_events().unwrap();
        assert_eq!(pair.stream.counters().xruns, u64::from(!draining));
        assert_eq!(pair.stream.filled_bytes(), 0);
        assert_eq!(pair.stream.position_bytes(), u64::from(geometry().ring_bytes()));
    }
}

#[test]
fn a_stopped_stream_starts_again_at_offset_0_and_its_position_goes_on() {
    let mut pair = playing();
    pair.backend.play(1000);
    pair.run(Operation::Trigger(Trigger::Stop));
    assert_eq!(pair.stream.position_bytes(), 1000 + u64::from(geometry().ring_bytes() - 1000));
    let span = pair.stream.next_span(400).unwrap();
    assert_eq!(span.offset, 0);
    pair.write(4000);
    pair.run(Operation::Trigger(Trigger::Start));
    pair.backend.play(600);
    assert_eq!(pair.stream.take_events().unwrap().moved_bytes, 600);
    assert_eq!(pair.stream.run_position_bytes(), 600);
}

#[test]
fn a_refused_pause_leaves_the_stream_running_and_is_not_asked_for_again() {
    let mut pair = playing();
    assert!(pair.stream.can_pause());
    pair.backend.answer = Err(Errno::EOPNOTSUPP);
    assert_eq!(pair.run(Operation::Trigger(Trigger::Pause)).result, Err(Errno::EOPNOTSUPP));
    assert!(pair.stream.is_running() && !pair.stream.can_pause());
    assert_eq!(pair.stream.submit(Operation::Trigger(Trigger::Pause)), Err(SubmitError::CannotPause));
    pair.backend.answer = Ok(());
    pair.run(Operation::Trigger(Trigger::Stop));
    assert!(!pair.stream.is_running());
}

#[test]
fn offsets_nothing_is_submitted_that_the_backend_would_have_to_refuse() {
    let mut pair = pair(Direction::Playback, 0);
    let span = |offset, length| Span { offset, length };
    let ring = geometry().ring_bytes();
    for operation in
        [Operation::Write(span(0, 4)), Operation::Trigger(Trigger::Start), Operation::GetVolume(span(0, 4))]
    {
        assert_eq!(pair.stream.submit(operation), Err(SubmitError::NotOpen));
    }
    pair.run(Operation::Close).result.unwrap();
    pair.run(open()).result.unwrap();
    assert_eq!(pair.stream.submit(open()), Err(SubmitError::AlreadyOpen));
    assert_eq!(pair.stream.submit(Operation::Read(span(0, 4))), Err(SubmitError::WrongDirection));
    for bad in [span(ring, 4), span(ring - 2, 4), span(u32::MAX, 4)] {
        assert_eq!(pair.stream.submit(Operation::Write(bad)), Err(SubmitError::OutOfRange));
    }
    pair.stream.submit(Operation::Trigger(Trigger::Stop)).unwrap();
    assert_eq!(pair.stream.submit(Operation::Write(span(0, 4))), Err(SubmitError::Stopping));
    assert_eq!(pair.stream.counters().requests, 3);
}

#[test]
fn a_refused_open_leaves_the_stream_closed() {
    let mut pair = pair(Direction::Playback, 0);
    pair.backend.answer = Err(Errno::EINVAL);
    assert_eq!(pair.run(open()).result, Err(Errno::EINVAL));
    assert!(pair.stream.geometry().is_none() && !pair.stream.is_open());
    pair.backend.answer = Ok(());
    pair.run(open()).result.unwrap();
    assert!(pair.stream.is_open());
}

#[test]
fn volume_and_mute_set_while_closed_are_told_after_open() {
    let mut pair = pair(Direction::Playback, CONTROL_BYTES);
    let buffer = Pages::new(16);
    let mut mixer = Mixer::new(MixerFeatures { volume: true, mute: true });
    assert!(mixer.set_volume(&[-6000, -3000]) && mixer.set_mute(&[true, false]));
    mixer.flush(&mut pair.stream, &buffer).unwrap();
    assert_eq!(pair.stream.in_flight(), 0);
    let ring = geometry().ring_bytes();
    for _ in 0..2 {
        pair.run(Operation::Open(geometry().open_params(CONTROL_BYTES, GrantRef(8)).unwrap())).result.unwrap();
        mixer.replay();
        mixer.flush(&mut pair.stream, &buffer).unwrap();
        assert!(!mixer.is_settled());
        let _ = pair.stream.publish();
        pair.backend.seen.clear();
        pair.backend.serve();
        while let Some(completion) = pair.stream.next_completion().unwrap() {
            assert!(mixer.completed(&completion));
        }
        assert!(mixer.is_settled() && !mixer.refused());
        let Operation::SetVolume(span) = pair.backend.seen[0] else { panic!("{:?}", pair.backend.seen) };
        assert_eq!((span.offset, span.length), (ring, 8));
        let mut bytes = [0; 8];
        buffer.read(span.offset as usize, &mut bytes);
        assert_eq!(bytes, [(-6000_i32).to_le_bytes(), (-3000_i32).to_le_bytes()].concat()[..]);
        let Operation::Mute(span) = pair.backend.seen[1] else { panic!("{:?}", pair.backend.seen) };
        let mut flags = [9; 2];
        buffer.read(span.offset as usize, &mut flags);
        assert_eq!((span.length, flags), (2, [1, 0]));
        assert!(matches!(pair.backend.seen[2], Operation::Unmute(_)));
        pair.run(Operation::Close);
    }
}

#[test]
fn a_backend_without_the_features_is_told_nothing() {
    let mut pair = pair(Direction::Playback, 0);
    pair.run(open()).result.unwrap();
    let mut mixer = Mixer::new(MixerFeatures::default());
    assert!(!mixer.set_volume(&[-6000]) && !mixer.set_mute(&[true]));
    mixer.flush(&mut pair.stream, &Pages::new(1)).unwrap();
    assert_eq!(pair.stream.in_flight(), 0);
}

/// docs/threat-model.md, "A guest against a host daemon": ids looked up in our own table, first violation latches (CVE-2026-72380).
mod ids_are_looked_up_in_our_own_table {
    use super::*;

    fn violation(answer: impl FnOnce(&mut Pair, u16)) -> Violation {
        let mut pair = playing();
        let id = pair.stream.query(HwParams::ANY).unwrap();
        let _ = pair.stream.publish();
        answer(&mut pair, id.0);
        let violation = loop {
            match pair.stream.next_completion() {
                Ok(Some(_)) => {}
                Ok(None) => panic!("nothing was found wrong"),
                Err(violation) => break violation,
            }
        };
        // Latched: nothing goes on, though the backend answers correctly now.
        pair.backend.serve();
        assert_eq!(pair.stream.next_completion(), Err(violation));
        assert_eq!(pair.stream.take_events(), Err(violation));
        assert_eq!(pair.stream.submit(Operation::Close), Err(SubmitError::Broken(violation)));
        violation
    }

    #[test]
    fn cve_2026_72380_unknown_id() {
        assert_eq!(violation(|pair, id| pair.backend.answer_as(id ^ 0x4000, 9)), {
            let id = violation_id();
            Violation::UnknownId(id ^ 0x4000)
        });
    }

    fn violation_id() -> u16 {
        let mut pair = playing();
        pair.stream.query(HwParams::ANY).unwrap().0
    }

    #[test]
    fn cve_2026_72380_wrong_operation() {
        let found = violation(|pair, id| pair.backend.answer_as(id, opcode::WRITE));
        assert!(matches!(
            found,
            Violation::WrongOperation { asked: opcode::HW_PARAM_QUERY, answered: opcode::WRITE, .. }
        ));
    }

    #[test]
    fn cve_2026_72380_operation_that_does_not_exist() {
        assert_eq!(violation(|pair, id| pair.backend.answer_as(id, 11)), Violation::BadOperation(11));
    }

    #[test]
    fn cve_2026_72380_duplicate_answer() {
        let found = violation(|pair, id| {
            let second = pair.stream.query(HwParams::ANY).unwrap();
            let _ = pair.stream.publish();
            assert_ne!(second.0, id);
            pair.backend.answer_as(id, 9);
            pair.backend.answer_as(id, 9);
        });
        assert!(matches!(found, Violation::UnknownId(_)));
    }

    #[test]
    fn ring_overflow_more_answers_than_questions() {
        let found = violation(|pair, _| pair.ring.store_release(8, u32::MAX));
        assert!(matches!(found, Violation::Ring(_)));
    }

    #[test]
    fn ring_overflow_an_impossible_event_index() {
        let mut pair = playing();
        pair.events.store_release(4, 64);
        let violation = pair.stream.take_events().unwrap_err();
        pair.events.store_release(4, 0);
        assert_eq!(pair.stream.take_events(), Err(violation));
        assert_eq!(pair.stream.next_completion(), Err(violation));
    }
}

/// docs/threat-model.md, "A guest against a host daemon": CUR_POS before hw_params, positions that jump or rewind: ignored, counted, no division by
/// zero.
mod positions_that_cannot_be_true_are_ignored_and_counted {
    use super::*;

    #[test]
    fn cur_pos_before_open_and_after_close() {
        let mut pair = pair(Direction::Playback, 0);
        pair.backend.report(96);
        assert_eq!(pair.stream.take_events().unwrap().moved_bytes, 0);
        pair.run(open()).result.unwrap();
        pair.write(4000);
        pair.run(Operation::Close);
        pair.backend.report(96);
        pair.stream.take_events().unwrap();
        assert_eq!((pair.stream.counters().ignored_closed, pair.stream.position_bytes()), (2, 0));
        // Events that lie unread in the page belong to the closed stream.
        pair.backend.report(400);
        pair.run(open()).result.unwrap();
        pair.write(4000);
        assert_eq!(pair.stream.take_events().unwrap().events, 0);
        assert_eq!((pair.stream.counters().ignored_closed, pair.stream.position_bytes()), (3, 0));
    }

    #[test]
    fn cur_pos_rewinding_and_jumping() {
        let mut pair = playing();
        pair.backend.report(1000);
        pair.backend.report(996);
        pair.backend.report(u64::from(geometry().ring_bytes()) + geometry().bytes_per_second() / 10 + 8);
        pair.backend.report(u64::MAX);
        pair.backend.report(1200);
        let progress = pair.stream.take_events().unwrap();
        assert_eq!((progress.events, progress.moved_bytes), (5, 1200));
        let counters = pair.stream.counters();
        assert_eq!((counters.ignored_rewinds, counters.ignored_beyond), (1, 2));
    }

    #[test]
    fn a_gap_in_the_ids_is_counted_and_the_position_believed() {
        let mut pair = playing();
        pair.backend.report(400);
        pair.backend.report(800);
        pair.events.write(64, &7_u16.to_le_bytes());
        assert_eq!(pair.stream.take_events().unwrap().moved_bytes, 800);
        assert_eq!(pair.stream.counters().event_id_gaps, 2);
    }

    #[test]
    fn an_unknown_event_is_counted() {
        let mut pair = playing();
        pair.backend.report(400);
        pair.events.write(66, &[1]);
        assert_eq!(pair.stream.take_events().unwrap().moved_bytes, 0);
        assert_eq!((pair.stream.counters().unknown_events, pair.stream.counters().event_id_gaps), (1, 0));
    }

    /// Reports `position` so often, as a flood does: the page never fills.
    fn flood(pair: &mut Pair, position: u64, times: u32) -> Result<u32, Violation> {
        let mut believed = 0;
        for _ in 0..times {
            pair.backend.report(position);
            believed += pair.stream.take_events()?.believed;
        }
        Ok(believed)
    }

    #[test]
    fn events_that_are_not_believed_break_the_stream_unless_it_gets_on() {
        let mut pair = playing();
        assert_eq!(flood(&mut pair, u64::MAX, USELESS_MAX), Ok(0));
        // A position that moves makes up for the events before it.
        assert_eq!(flood(&mut pair, 400, 1), Ok(1));
        assert_eq!(flood(&mut pair, 200, USELESS_MAX), Ok(0));
        // An answer does so, too.
        pair.run(Operation::QueryHwParams(HwParams::ANY));
        assert_eq!(flood(&mut pair, u64::MAX, USELESS_MAX), Ok(0));
        assert_eq!(flood(&mut pair, u64::MAX, 1), Err(Violation::Disbelieved));
        assert_eq!(pair.stream.violation(), Some(Violation::Disbelieved));
        assert_eq!(flood(&mut pair, 800, 1), Err(Violation::Disbelieved), "for good");
    }

    #[test]
    fn events_of_a_closed_stream_and_unknown_ones_break_it_too() {
        let mut closed = pair(Direction::Playback, 0);
        assert_eq!(flood(&mut closed, 0, USELESS_MAX + 1), Err(Violation::Disbelieved));
        let mut pair = playing();
        let unknown = (0..=USELESS_MAX).find_map(|index| {
            pair.backend.report(400);
            pair.events.write(64 + (index % EVENT_SLOTS) as usize * PACKET_BYTES + 2, &[1]);
            pair.stream.take_events().err()
        });
        assert_eq!(unknown, Some(Violation::Disbelieved));
    }

    #[test]
    fn a_position_that_stands_still_breaks_nothing_and_is_no_reason_to_wake_after_a_while() {
        let mut pair = playing();
        assert_eq!(flood(&mut pair, 400, 1), Ok(1));
        assert_eq!(flood(&mut pair, 400, USELESS_MAX), Ok(USELESS_MAX));
        assert_eq!(flood(&mut pair, 400, if cfg!(miri) { 1_000 } else { 100_000 }), Ok(0));
        assert_eq!(flood(&mut pair, 800, 1), Ok(1));
        assert_eq!(flood(&mut pair, 800, 1), Ok(1), "counted from the start again");
    }

    #[test]
    fn xsa_331_332_391_notifications_for_nothing_break_the_stream_unless_something_comes() {
        let mut pair = playing();
        let woken = |pair: &mut Pair, times| (0..times).try_for_each(|_| pair.stream.woken());
        assert_eq!(woken(&mut pair, USELESS_MAX + 1), Ok(()), "seen at the next");
        assert_eq!(flood(&mut pair, 0, 1), Ok(1), "the position stands still");
        assert_eq!(woken(&mut pair, USELESS_MAX), Ok(()));
        pair.run(Operation::QueryHwParams(HwParams::ANY));
        assert_eq!(woken(&mut pair, USELESS_MAX), Ok(()));
        assert_eq!(flood(&mut pair, u64::MAX, 1), Ok(0), "counted as an event that is not believed");
        assert_eq!(woken(&mut pair, 2), Ok(()));
        assert_eq!(pair.stream.woken(), Err(Violation::EmptyWakeups));
        assert_eq!(pair.stream.next_completion(), Err(Violation::EmptyWakeups));
    }
}

#[derive(Debug, Clone)]
enum Move {
    Submit(u8, u32, u32),
    Publish,
    Serve,
    Take,
    Events,
    Report(u64),
    Scribble { event_page: bool, offset: usize, bytes: Vec<u8> },
    Answer(u16, u8),
}

fn hostile_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        4 => (0..12_u8, any::<u32>(), any::<u32>()).prop_map(|(kind, a, b)| Move::Submit(kind, a, b)),
        4 => Just(Move::Publish),
        2 => Just(Move::Serve),
        4 => Just(Move::Take),
        4 => Just(Move::Events),
        4 => prop_oneof![0..30_000_u64, any::<u64>()].prop_map(Move::Report),
        1 => (any::<bool>(), prop_oneof![0..16_usize, 0..4096_usize], prop::collection::vec(any::<u8>(), 0..80))
            .prop_map(|(event_page, offset, bytes)| Move::Scribble { event_page, offset, bytes }),
        1 => (any::<u16>(), 0..11_u8).prop_map(|(id, code)| Move::Answer(id, code)),
    ]
}

fn operation(kind: u8, a: u32, b: u32, stream: &Stream<Pages>) -> Operation {
    let anywhere = Span { offset: a, length: b };
    let next = stream.next_span(b % 8000).unwrap_or(anywhere);
    match kind {
        0 | 1 => open(),
        2 => Operation::Close,
        3 => Operation::Read(next),
        4 => Operation::Write(next),
        5 => Operation::Write(Span { offset: a % 8000, length: b % 8000 }),
        6 => Operation::SetVolume(anywhere),
        7 => Operation::Mute(anywhere),
        8 => Operation::Trigger(Trigger::Stop),
        9 => Operation::Trigger(Trigger::Start),
        10 => Operation::QueryHwParams(HwParams::ANY),
        _ => Operation::GetVolume(Span { offset: 0, length: 8 }),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 4 } else { 1000 }, ..ProptestConfig::default() })]

    /// A hostile backend neither ends nor hangs the core, and what the core says of itself stays true.
    #[test]
    fn a_hostile_backend_does_no_harm(capture: bool, moves in prop::collection::vec(hostile_move(), 0..150)) {
        let mut pair = pair(if capture { Direction::Capture } else { Direction::Playback }, 0);
        let mut broken = None;
        let mut backend_alive = true;
        for step in moves {
            match step {
                Move::Submit(kind, a, b) => {
                    let operation = operation(kind, a, b, &pair.stream);
                    let _ = pair.stream.submit(operation);
                }
                Move::Publish => { let _ = pair.stream.publish(); }
                // The model backend insists on a sound page; after scribbling there may be none.
                Move::Serve if backend_alive => pair.backend.serve(),
                Move::Serve => {}
                Move::Take => {
                    for _ in 0..33 {
                        if !matches!(pair.stream.next_completion(), Ok(Some(_))) { break; }
                    }
                }
                Move::Events => { let _ = pair.stream.take_events(); }
                Move::Report(position) => pair.backend.report(position),
                Move::Scribble { event_page, offset, bytes } => {
                    backend_alive = false;
                    let page = if event_page { &pair.events } else { &pair.ring };
                    page.write(offset, &bytes[..bytes.len().min(4096 - offset)]);
                }
                Move::Answer(id, code) => pair.backend.answer_as(id, code),
            }
            if let Some(first) = broken {
                prop_assert_eq!(pair.stream.violation(), Some(first));
            }
            broken = pair.stream.violation();
            prop_assert!(pair.stream.in_flight() <= 32);
            if let Some(geometry) = pair.stream.geometry() {
                prop_assert!(pair.stream.filled_bytes() <= geometry.ring_bytes());
                prop_assert!(pair.stream.available_bytes() <= geometry.ring_bytes());
                if let Some(span) = pair.stream.next_span(u32::MAX) {
                    prop_assert!(span.offset + span.length <= geometry.ring_bytes());
                }
            }
        }
    }
}
