//! Tests of ring arithmetic and of the checks of positions.

use proptest::prelude::*;
use sndif::Format;

use super::*;

const RING: u32 = 4000;
const FRAME: u64 = 4;

fn cursor(direction: Direction) -> Cursor {
    Cursor::new(direction, &Geometry::new(Format::S16Le, 2, 48_000, 250, 1000).unwrap())
}

fn append(cursor: &mut Cursor, bytes: u32) -> u32 {
    let mut done = 0;
    while let Some(span) = cursor.next_span(bytes - done) {
        cursor.submitted(span);
        done += span.length;
    }
    done
}

#[test]
fn a_write_is_split_at_the_end_of_the_ring() {
    let mut cursor = cursor(Direction::Playback);
    assert_eq!(append(&mut cursor, 3000), 3000);
    cursor.report(2000).unwrap();
    assert_eq!(cursor.available(), 3000);
    assert_eq!(cursor.next_span(2000), Some(Span { offset: 3000, length: 1000 }));
    assert_eq!(append(&mut cursor, 5000), 3000);
    assert_eq!(cursor.next_span(100), None);
}

#[test]
fn only_whole_frames_are_offered() {
    let cursor = cursor(Direction::Playback);
    assert_eq!(cursor.next_span(3), None);
    assert_eq!(cursor.next_span(7), Some(Span { offset: 0, length: 4 }));
}

#[test]
fn a_position_behind_the_end_is_the_end_up_to_a_tenth_of_a_second_and_then_is_not_believed() {
    const TENTH: u64 = 4800 * FRAME;
    for past in [FRAME, 37 * FRAME, 1000 + FRAME, TENTH + FRAME] {
        let mut cursor = cursor(Direction::Playback);
        append(&mut cursor, 1000);
        assert_eq!(cursor.report(1000 + TENTH + 2 * FRAME), Err(Disbelief::Beyond));
        assert_eq!(cursor.report(1000 + past), Ok(Moved { bytes: 1000, lost_bytes: 0 }));
        assert_eq!((cursor.device(), cursor.available()), (1000, RING));
        append(&mut cursor, 2000);
        // The count goes on from there, so an earlier position is no news.
        let next = if past < 1500 { Ok(Moved { bytes: 1500, lost_bytes: 0 }) } else { Err(Disbelief::Rewinds) };
        assert_eq!(cursor.report(2500), next);
    }
}

#[test]
fn a_period_longer_than_that_is_how_far_behind_the_end_a_position_may_be() {
    let mut cursor = Cursor::new(Direction::Playback, &Geometry::new(Format::U8, 1, 8000, 2000, 8000).unwrap());
    append(&mut cursor, 100);
    assert_eq!(cursor.report(2102), Err(Disbelief::Beyond));
    assert_eq!(cursor.report(2101), Ok(Moved { bytes: 100, lost_bytes: 0 }));
}

#[test]
fn the_first_position_after_a_stop_may_be_behind_the_end() {
    for past in [FRAME, 1000, 4000, 4800 * FRAME] {
        let mut cursor = cursor(Direction::Playback);
        append(&mut cursor, 4000);
        cursor.report(1000).unwrap();
        cursor.stop();
        cursor.report(4000).unwrap();
        cursor.stopped();
        append(&mut cursor, 4000);
        assert_eq!(cursor.report(8000 + past), Ok(Moved { bytes: 4000, lost_bytes: 0 }), "{past}");
    }
}

#[test]
fn an_end_that_is_known_may_be_told_again_past_it() {
    let mut cursor = cursor(Direction::Playback);
    append(&mut cursor, 900);
    assert_eq!(cursor.report(900), Ok(Moved { bytes: 900, lost_bytes: 0 }));
    let overshoot = cursor.overshoot;
    assert_eq!(cursor.report(900 + overshoot + 2 * FRAME), Err(Disbelief::Beyond));
    assert_eq!(cursor.report(900 + overshoot), Ok(Moved::default()));
    assert_eq!((cursor.device(), cursor.available()), (900, RING));
    // Once more is written, the same position moves the cursor again.
    append(&mut cursor, RING);
    assert_eq!(cursor.report(900 + overshoot), Ok(Moved { bytes: u64::from(RING), lost_bytes: 0 }));
}

#[test]
fn after_stop_the_next_write_goes_to_offset_0_whether_or_not_the_backend_reports_the_rounding() {
    for told in [false, true] {
        let mut cursor = cursor(Direction::Playback);
        append(&mut cursor, 3000);
        cursor.report(1000).unwrap();
        cursor.stop();
        if told {
            cursor.report(u64::from(RING)).unwrap();
        }
        cursor.stopped();
        assert_eq!(cursor.next_span(8), Some(Span { offset: 0, length: 8 }));
        append(&mut cursor, 2000);
        assert_eq!(cursor.report(u64::from(RING) + 500), Ok(Moved { bytes: 500, lost_bytes: 0 }));
        assert_eq!(cursor.total(), if told { 3500 } else { 1500 });
    }
}

#[test]
fn a_backend_further_on_at_stop_than_we_knew_is_followed() {
    let mut cursor = cursor(Direction::Playback);
    append(&mut cursor, 4000);
    cursor.report(3500).unwrap();
    append(&mut cursor, 2000);
    cursor.stop();
    cursor.stopped();
    append(&mut cursor, 4000);
    // The backend had passed 4000 when STOP came, so the run starts at 8000 and not at 4000.
    assert_eq!(cursor.report(8500), Ok(Moved { bytes: 500, lost_bytes: 0 }));
    assert_eq!(cursor.report(7000), Err(Disbelief::Rewinds));
}

#[test]
fn a_backend_that_does_not_round_at_stop_is_followed() {
    let mut cursor = cursor(Direction::Playback);
    append(&mut cursor, 1000);
    cursor.report(1000).unwrap();
    cursor.stop();
    cursor.stopped();
    append(&mut cursor, 1000);
    assert_eq!(cursor.report(1250), Ok(Moved { bytes: 250, lost_bytes: 0 }));
    assert_eq!(cursor.report(2000), Ok(Moved { bytes: 750, lost_bytes: 0 }));
}

#[test]
fn a_backend_that_does_not_round_the_extra_frame_at_stop_is_followed() {
    let mut cursor = cursor(Direction::Playback);
    append(&mut cursor, RING);
    cursor.report(u64::from(RING) + FRAME).unwrap();
    cursor.stop();
    cursor.stopped();
    append(&mut cursor, 1000);
    assert_eq!(cursor.report(u64::from(RING) + 1000), Ok(Moved { bytes: 1000, lost_bytes: 0 }));
}

#[test]
fn a_backend_that_counts_from_0_at_start_is_followed() {
    for direction in [Direction::Playback, Direction::Capture] {
        let mut cursor = cursor(direction);
        append(&mut cursor, 3000);
        cursor.report(2500).unwrap();
        cursor.stop();
        cursor.stopped();
        append(&mut cursor, 3000);
        assert_eq!(cursor.report(992), Ok(Moved { bytes: 992, lost_bytes: 0 }));
        assert_eq!((cursor.device(), cursor.total()), (992, 3492));
        // Only the first position after STOP begins a count.
        assert_eq!(cursor.report(900), Err(Disbelief::Rewinds));
        assert_eq!(cursor.report(1992), Ok(Moved { bytes: 1000, lost_bytes: 0 }));
    }
}

#[test]
fn a_run_starts_where_is_known_after_open_and_after_a_stop_that_was_told_of() {
    for direction in [Direction::Playback, Direction::Capture] {
        let mut cursor = cursor(direction);
        append(&mut cursor, 3000);
        assert!(cursor.is_origin_known());
        // Nothing was played, so nothing has changed.
        cursor.stop();
        cursor.stopped();
        assert!(cursor.is_origin_known());
        append(&mut cursor, 3000);
        cursor.report(1000).unwrap();
        cursor.stop();
        cursor.report(u64::from(RING)).unwrap();
        cursor.stopped();
        assert!(cursor.is_origin_known(), "told");
        append(&mut cursor, 3000);
        cursor.report(u64::from(RING) + 1000).unwrap();
        cursor.stop();
        cursor.report(u64::from(RING) + 1500).unwrap();
        cursor.stopped();
        assert!(!cursor.is_origin_known(), "a position as any other");
        cursor.stop();
        cursor.stopped();
        assert!(!cursor.is_origin_known(), "nor does another STOP tell more");
    }
}

#[test]
fn a_rewound_write_moves_the_frontier_and_keeps_what_may_still_be_reported() {
    let mut cursor = cursor(Direction::Playback);
    append(&mut cursor, 3000);
    cursor.report(500).unwrap();
    cursor.submitted(Span { offset: 1000, length: 400 });
    assert_eq!(cursor.filled(), 900);
    assert_eq!(cursor.report(2800), Ok(Moved { bytes: 2300, lost_bytes: 0 }));
    assert_eq!(cursor.filled(), 0);
}

#[test]
fn capture_offers_what_was_captured_and_counts_what_was_overrun() {
    let mut cursor = cursor(Direction::Capture);
    assert_eq!(cursor.next_span(100), None);
    cursor.report(1000).unwrap();
    assert_eq!(append(&mut cursor, 4000), 1000);
    let moved = cursor.report(1000 + u64::from(RING) + 600).unwrap();
    assert_eq!(moved, Moved { bytes: u64::from(RING) + 600, lost_bytes: 600 });
    assert_eq!(cursor.next_span(4000), Some(Span { offset: 1600, length: 2400 }));
    cursor.stop();
    cursor.report(8000).unwrap();
    cursor.stopped();
    cursor.report(8400).unwrap();
    assert_eq!(cursor.next_span(4000), Some(Span { offset: 0, length: 400 }));
}

#[derive(Debug, Clone)]
enum Step {
    Append(u32),
    Anywhere(Span),
    Report(u64),
    Stop,
    Stopped,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..9000_u32).prop_map(Step::Append),
        (any::<u32>(), any::<u32>()).prop_map(|(offset, length)| Step::Anywhere(Span { offset, length })),
        prop_oneof![0..20_000_u64, any::<u64>()].prop_map(Step::Report),
        Just(Step::Stop),
        Just(Step::Stopped),
    ]
}

proptest! {
    #[test]
    fn cur_pos_no_report_breaks_the_arithmetic(capture: bool, steps in prop::collection::vec(step(), 0..60)) {
        let direction = if capture { Direction::Capture } else { Direction::Playback };
        let mut cursor = cursor(direction);
        let (mut total, mut reported, mut restarted) = (0, 0, false);
        for step in steps {
            match step {
                Step::Append(bytes) => { append(&mut cursor, bytes); }
                Step::Anywhere(span) => cursor.submitted(span),
                Step::Report(position) => {
                    if cursor.report(position).is_ok() {
                        prop_assert!(position >= reported || restarted);
                        (reported, restarted) = (position, false);
                    }
                }
                Step::Stop => cursor.stop(),
                Step::Stopped => { cursor.stopped(); restarted = true; }
            }
            prop_assert!(cursor.total() >= total);
            total = cursor.total();
            prop_assert!(cursor.filled() <= RING && cursor.available() <= RING);
            if let Some(span) = cursor.next_span(u32::MAX) {
                prop_assert!(span.offset + span.length <= RING);
            }
        }
    }

    /// The positions of a backend that tells where it stopped are believed, whatever is written and whenever it stops.
    #[test]
    fn a_correct_playback_is_followed_exactly(rounds in prop::collection::vec((0..1500_u32, 0..1500_u64, 0..10_u8), 1..100)) {
        let mut cursor = cursor(Direction::Playback);
        // State of the backend: origin of the run, bytes written and played in it.
        let (mut origin, mut written, mut played) = (0_u64, 0_u64, 0_u64);
        for (write, play, stop) in rounds {
            written += u64::from(append(&mut cursor, write * 4));
            played = written.min(played + play * 4);
            if stop == 0 {
                cursor.report(origin + played).unwrap();
                cursor.stop();
                cursor.stopped();
                origin = (origin + played).next_multiple_of(u64::from(RING));
                (written, played) = (0, 0);
            } else if stop > 4 {
                cursor.report(origin + played).unwrap();
                prop_assert_eq!(cursor.device(), played);
                prop_assert_eq!(u64::from(cursor.filled()), written - played);
            }
        }
    }
}
