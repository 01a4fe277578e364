//! Tests of round trips and explanations.

use std::string::ToString;

use proptest::prelude::*;
use sndif::store::LimitNodes;

use super::*;

fn limits() -> Limits {
    let nodes = LimitNodes {
        channels_max: Some(b"8"),
        sample_rates: Some(b"44100,48000,96000"),
        sample_formats: Some(b"s16_le,s32_le"),
        buffer_size: Some(b"262144"),
        ..LimitNodes::default()
    };
    Limits::DEFAULT.narrowed_by(&nodes).unwrap()
}

const WANTED: Wanted =
    Wanted { format: Format::S16Le, rate_hz: 48_000, channels: 2, period_frames: 480, buffer_frames: 1920 };

fn backend() -> HwParams {
    HwParams {
        formats: FormatSet::EMPTY.with(Format::S16Le),
        rates_hz: Interval::new(44_100, 48_000),
        channels: Interval::new(1, 2),
        buffer_frames: Interval::new(128, 16_384),
        period_frames: Interval::new(64, 8192),
    }
}

/// Runs a negotiation against a backend with a fixed space; returns the result and the number of questions.
fn run(
    wanted: Wanted,
    answer: impl Fn(&HwParams) -> Result<HwParams, Errno>,
) -> (Result<Geometry, NegotiationError>, u32) {
    let (mut negotiation, mut question) = match Negotiation::start(wanted, &limits()) {
        Ok(started) => started,
        Err(error) => return (Err(error), 0),
    };
    for questions in 1..=5 {
        match negotiation.answer(answer(&question)) {
            Ok(Step::Ask(next)) => question = next,
            Ok(Step::Done(geometry)) => return (Ok(geometry), questions),
            Err(error) => return (Err(error), questions),
        }
    }
    panic!("more than five questions");
}

fn narrow(question: &HwParams) -> Result<HwParams, Errno> {
    let space = question.intersection(&backend());
    if space.is_empty() { Err(Errno::EINVAL) } else { Ok(space) }
}

#[test]
fn the_usual_case_takes_two_round_trips() {
    let (geometry, questions) = run(WANTED, narrow);
    assert_eq!(geometry, Ok(Geometry::new(Format::S16Le, 2, 48_000, 480, 1920).unwrap()));
    assert_eq!(questions, 2);
}

#[test]
fn the_nearest_sizes_are_taken() {
    let (geometry, _) = run(Wanted { period_frames: 1, buffer_frames: 1, ..WANTED }, narrow);
    assert_eq!(geometry, Ok(Geometry::new(Format::S16Le, 2, 48_000, 64, 128).unwrap()));
    let (geometry, _) = run(Wanted { period_frames: 4096, buffer_frames: u32::MAX, ..WANTED }, narrow);
    assert_eq!(geometry, Ok(Geometry::new(Format::S16Le, 2, 48_000, 4096, 4 * 4096).unwrap()));
}

#[test]
fn errors_say_what_is_possible() {
    let error = |wanted| run(wanted, narrow).0.unwrap_err().to_string();
    // The configuration excludes these.
    assert_eq!(error(Wanted { format: Format::U8, ..WANTED }), "format u8 is not possible; possible: s16_le s32_le");
    assert_eq!(
        error(Wanted { rate_hz: 45_000, ..WANTED }),
        "rate 45000 Hz is not possible; possible: 44100 48000 96000 Hz"
    );
    assert_eq!(error(Wanted { channels: 9, ..WANTED }), "9 channels are not possible; possible: 1 to 8");
    // The backend excludes these.
    assert_eq!(error(Wanted { format: Format::S32Le, ..WANTED }), "format s32_le is not possible; possible: s16_le");
    assert_eq!(error(Wanted { rate_hz: 96_000, ..WANTED }), "rate 96000 Hz is not possible; possible: 44100 48000 Hz");
    assert_eq!(error(Wanted { channels: 4, ..WANTED }), "4 channels are not possible; possible: 1 to 2");
    let refused = run(WANTED, |_| Err(Errno::ENODEV)).0;
    assert_eq!(refused, Err(NegotiationError::Refused(Errno::ENODEV)));
}

#[test]
fn sizes_that_depend_on_each_other_are_found() {
    // The backend has at most four periods.
    let (geometry, questions) = run(Wanted { buffer_frames: 4800, ..WANTED }, |question| {
        let mut space = narrow(question)?;
        if space.period_frames.min == space.period_frames.max {
            space.buffer_frames.max = space.buffer_frames.max.min(4 * space.period_frames.max + 2048);
        }
        if space.is_empty() { Err(Errno::EINVAL) } else { Ok(space) }
    });
    assert!(questions <= 3, "{questions}");
    assert_eq!(geometry.unwrap().ring_bytes() % geometry.unwrap().period_bytes(), 0);
}

fn interval() -> impl Strategy<Value = Interval> {
    prop_oneof![
        (any::<u32>(), any::<u32>()).prop_map(|(min, max)| Interval::new(min, max)),
        (0..5000_u32, 0..50_000_u32).prop_map(|(min, max)| Interval::new(min, max)),
        Just(Interval::ANY),
    ]
}

prop_compose! {
    fn params()(bits: u64, all: bool, rates_hz in interval(), channels in interval(), buffer_frames in interval(),
        period_frames in interval()) -> HwParams {
        let formats = if all { FormatSet::ALL } else { FormatSet::from_bits(bits) };
        HwParams { formats, rates_hz, channels, buffer_frames, period_frames }
    }
}

proptest! {
    /// For any answers, the negotiation ends, and its result has valid sizes.
    #[test]
    fn a_negotiation_ends(answers in prop::collection::vec(prop::option::of(params()), 5),
        period_frames: u32, buffer_frames: u32) {
        let left = std::cell::Cell::new(0);
        let wanted = Wanted { period_frames, buffer_frames, ..WANTED };
        let (result, _) = run(wanted, |question| {
            let answer = answers[left.replace(left.get() + 1)].ok_or(Errno::EINVAL)?;
            Ok(question.intersection(&answer))
        });
        match result {
            Ok(geometry) => prop_assert!(geometry.ring_bytes() <= 262_144),
            Err(error) => { let _ = error.to_string(); }
        }
    }
}
