//! Tests of XenStore's contents: numbers, states, limits and their inheritance.

use proptest::collection::vec;
use proptest::prelude::*;
use sndif::store::{Direction, LimitNodes, Limits, MAX_RATES, node, number};
use sndif::v2::Interval;
use sndif::{Format, FormatSet, XenbusState};

/// Nodes of a card, a PCM device and a stream, and the stream's resulting limits.
struct Case {
    what: &'static str,
    levels: [LimitNodes<'static>; 3],
    channels: (u32, u32),
    rates: &'static [u32],
    formats: &'static [Format],
    buffer: u32,
}

const NONE: LimitNodes<'static> =
    LimitNodes { channels_min: None, channels_max: None, sample_rates: None, sample_formats: None, buffer_size: None };

const DEFAULT: Case = Case {
    what: "nothing stands anywhere",
    levels: [NONE; 3],
    channels: (1, 2),
    rates: &[],
    formats: &[Format::U8, Format::S16Le],
    buffer: 65_536,
};

#[test]
fn a_level_narrows_the_one_above_and_replaces_only_a_default() {
    let cases = [
        DEFAULT,
        Case {
            what: "the card alone",
            levels: [
                LimitNodes {
                    channels_min: Some(b"2"),
                    channels_max: Some(b"8"),
                    sample_rates: Some(b"8000,48000,44100"),
                    sample_formats: Some(b"s8,s32_le"),
                    buffer_size: Some(b"1000000"),
                },
                NONE,
                NONE,
            ],
            channels: (2, 8),
            rates: &[8000, 44_100, 48_000],
            formats: &[Format::S8, Format::S32Le],
            buffer: 1_000_000,
        },
        Case {
            what: "the stream alone",
            levels: [
                NONE,
                NONE,
                LimitNodes {
                    channels_max: Some(b"6"),
                    sample_rates: Some(b"96000"),
                    sample_formats: Some(b"gsm"),
                    buffer_size: Some(b"4096"),
                    ..NONE
                },
            ],
            channels: (1, 6),
            rates: &[96_000],
            formats: &[Format::Gsm],
            buffer: 4096,
        },
        Case {
            what: "each level narrows another limit",
            levels: [
                LimitNodes { channels_max: Some(b"8"), sample_rates: Some(b"8000, 16000 ,48000"), ..NONE },
                LimitNodes { channels_min: Some(b"2"), sample_rates: Some(b"16000,48000,96000"), ..NONE },
                LimitNodes { channels_max: Some(b"4"), sample_rates: Some(b"48000,16000"), ..NONE },
            ],
            channels: (2, 4),
            rates: &[16_000, 48_000],
            ..DEFAULT
        },
        Case {
            what: "what goes beyond the level above is cut off",
            levels: [
                LimitNodes {
                    channels_min: Some(b"2"),
                    channels_max: Some(b"4"),
                    sample_formats: Some(b"s8,u8"),
                    buffer_size: Some(b"10000"),
                    ..NONE
                },
                LimitNodes {
                    channels_min: Some(b"1"),
                    channels_max: Some(b"16"),
                    sample_formats: Some(b"u8,s16_le"),
                    buffer_size: Some(b"20000"),
                    ..NONE
                },
                LimitNodes { buffer_size: Some(b"15000"), ..NONE },
            ],
            channels: (2, 4),
            formats: &[Format::U8],
            buffer: 10_000,
            ..DEFAULT
        },
        Case {
            what: "the same rate twice, floats in either spelling",
            levels: [
                LimitNodes { sample_rates: Some(b"48000,48000"), sample_formats: Some(b"f32_le,float64_be"), ..NONE },
                LimitNodes { sample_formats: Some(b"float_le"), ..NONE },
                NONE,
            ],
            rates: &[48_000],
            formats: &[Format::F32Le],
            ..DEFAULT
        },
    ];
    for case in cases {
        let limits = case.levels.iter().try_fold(Limits::DEFAULT, |limits, nodes| limits.narrowed_by(nodes));
        let limits = limits.unwrap_or_else(|bad| panic!("{}: {bad}", case.what));
        assert_eq!(limits.channels, Interval::new(case.channels.0, case.channels.1), "{}", case.what);
        assert_eq!(limits.rates.list(), case.rates, "{}", case.what);
        assert_eq!(limits.formats, case.formats.iter().copied().collect::<FormatSet>(), "{}", case.what);
        assert_eq!(limits.buffer_bytes_max, case.buffer, "{}", case.what);
    }
}

#[test]
fn a_level_that_leaves_nothing_is_named() {
    let upper = LimitNodes {
        channels_min: Some(b"3"),
        channels_max: Some(b"4"),
        sample_rates: Some(b"48000"),
        sample_formats: Some(b"u8"),
        ..NONE
    };
    let card = Limits::DEFAULT.narrowed_by(&upper).unwrap();
    for (nodes, name) in [
        (LimitNodes { channels_max: Some(b"2"), ..NONE }, node::CHANNELS_MAX),
        (LimitNodes { channels_min: Some(b"5"), ..NONE }, node::CHANNELS_MIN),
        (LimitNodes { sample_rates: Some(b"44100"), ..NONE }, node::SAMPLE_RATES),
        (LimitNodes { sample_formats: Some(b"s8"), ..NONE }, node::SAMPLE_FORMATS),
        (LimitNodes { sample_formats: Some(b"u8,"), ..NONE }, node::SAMPLE_FORMATS),
        (LimitNodes { sample_formats: Some(b"U8"), ..NONE }, node::SAMPLE_FORMATS),
        (LimitNodes { sample_rates: Some(b""), ..NONE }, node::SAMPLE_RATES),
        (LimitNodes { sample_rates: Some(b"48000;44100"), ..NONE }, node::SAMPLE_RATES),
        (LimitNodes { sample_rates: Some(b"000000048000"), ..NONE }, node::SAMPLE_RATES),
        (LimitNodes { sample_rates: Some(b"\xff"), ..NONE }, node::SAMPLE_RATES),
        (LimitNodes { channels_max: Some(b"256"), ..NONE }, node::CHANNELS_MAX),
        (LimitNodes { channels_min: Some(b"0"), ..NONE }, node::CHANNELS_MIN),
        (LimitNodes { buffer_size: Some(b"0"), ..NONE }, node::BUFFER_SIZE),
        (LimitNodes { buffer_size: Some(b"4294967296"), ..NONE }, node::BUFFER_SIZE),
        (LimitNodes { buffer_size: Some(b"-1"), ..NONE }, node::BUFFER_SIZE),
    ] {
        assert_eq!(card.narrowed_by(&nodes).unwrap_err().node, name, "{nodes:?}");
    }
}

#[test]
fn a_list_longer_than_any_sensible_one_is_refused() {
    let list = |count: usize| (1..=count).map(|rate| (rate * 1000).to_string()).collect::<Vec<_>>().join(",");
    let limits = |list: &str| {
        Limits::DEFAULT
            .narrowed_by(&LimitNodes { sample_rates: Some(list.as_bytes()), ..NONE })
            .map(|limits| limits.rates)
    };
    assert_eq!(limits(&list(MAX_RATES)).unwrap().list().len(), MAX_RATES);
    assert!(limits(&list(MAX_RATES + 1)).is_err());
}

/// Strategy for a node's value: sensible values, mixed with any others.
fn value() -> impl Strategy<Value = Option<Vec<u8>>> {
    let names = Format::all().flat_map(|format| [format.name(), format.xl_name()]).collect::<Vec<_>>();
    prop_oneof![
        Just(None),
        (0..300_u32).prop_map(|number| Some(number.to_string().into_bytes())),
        vec(4000..60_000_u32, 1..6)
            .prop_map(|list| { Some(list.iter().map(ToString::to_string).collect::<Vec<_>>().join(",").into_bytes()) }),
        vec(proptest::sample::select(names), 1..6).prop_map(|list| Some(list.join(" , ").into_bytes())),
        "[0-9a-z_, -]{0,40}".prop_map(|text| Some(text.into_bytes())),
        vec(any::<u8>(), 0..40).prop_map(Some),
    ]
}

fn nodes(values: &[Option<Vec<u8>>; 5]) -> LimitNodes<'_> {
    let [channels_min, channels_max, sample_rates, sample_formats, buffer_size] =
        values.each_ref().map(|value| value.as_deref());
    LimitNodes { channels_min, channels_max, sample_rates, sample_formats, buffer_size }
}

proptest! {
    #[test]
    fn store_values_limits_are_never_empty_and_below_a_choice_never_wider(levels in vec(proptest::array::uniform5(value()), 1..4)) {
        let mut limits = Limits::DEFAULT;
        let mut chosen = [false; 4];
        for values in &levels {
            let nodes = nodes(values);
            let Ok(below) = limits.narrowed_by(&nodes) else { continue };
            prop_assert!(!below.channels.is_empty() && below.channels.min >= 1 && below.channels.max <= 255);
            prop_assert!(!below.formats.is_empty() && below.buffer_bytes_max > 0);
            prop_assert!(below.channels.min >= limits.channels.min);
            prop_assert!(below.rates.list().is_sorted_by(|a, b| a < b), "ascending, none twice");
            prop_assert!(!below.rates.within(Interval::ANY).is_empty());
            if chosen[0] {
                prop_assert!(below.channels.max <= limits.channels.max);
            }
            if chosen[1] {
                prop_assert!(below.rates.list().iter().all(|&rate| limits.rates.contains(rate)));
                prop_assert!(!below.rates.list().is_empty());
            }
            if chosen[2] {
                prop_assert_eq!(below.formats.intersection(limits.formats), below.formats);
            }
            if chosen[3] {
                prop_assert!(below.buffer_bytes_max <= limits.buffer_bytes_max);
            }
            chosen[0] |= nodes.channels_max.is_some();
            chosen[1] |= nodes.sample_rates.is_some();
            chosen[2] |= nodes.sample_formats.is_some();
            chosen[3] |= nodes.buffer_size.is_some();
            limits = below;
        }
    }

    #[test]
    fn rates_within_bounds_are_the_first_and_the_last_that_fit(
        list in vec(1000..100_000_u32, 0..10), min in 0..100_000_u32, max in 0..100_000_u32, rate in 0..100_000_u32,
    ) {
        let text = list.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let nodes = LimitNodes { sample_rates: (!list.is_empty()).then_some(text.as_bytes()), ..NONE };
        let rates = Limits::DEFAULT.narrowed_by(&nodes).unwrap().rates;
        prop_assert_eq!(rates.contains(rate), if list.is_empty() { (5512..=48_000).contains(&rate) } else { list.contains(&rate) });
        let within = rates.within(Interval::new(min, max));
        let fitting = (min..=max).filter(|&rate| rates.contains(rate));
        match (fitting.clone().min(), fitting.max()) {
            (Some(first), Some(last)) => prop_assert_eq!(within, Interval::new(first, last)),
            _ => prop_assert!(within.is_empty()),
        }
    }

    #[test]
    fn store_values_a_number_is_digits_in_range(value: u32, zeroes in 0..3_usize) {
        let text = value.to_string();
        prop_assert_eq!(number(text.as_bytes()), Some(value));
        let padded = format!("{}{text}", "0".repeat(zeroes));
        prop_assert_eq!(number(padded.as_bytes()), (padded.len() <= 10).then_some(value));
        for damaged in [format!("+{text}"), format!("-{text}"), format!(" {text}"), format!("{text}\0"), format!("{text}.")] {
            prop_assert_eq!(number(damaged.as_bytes()), None);
        }
    }

    #[test]
    fn any_bytes_are_a_number_only_if_all_are_digits(bytes in vec(any::<u8>(), 0..14)) {
        if let Some(value) = number(&bytes) {
            prop_assert!(bytes.iter().all(u8::is_ascii_digit));
            prop_assert_eq!(std::str::from_utf8(&bytes).unwrap().parse::<u64>(), Ok(u64::from(value)));
        }
    }

    #[test]
    fn any_bytes_are_a_state(bytes in vec(any::<u8>(), 0..4), number: u8) {
        let state = XenbusState::from_node(&bytes);
        prop_assert!(state == XenbusState::Unknown || state.node().as_bytes() == bytes);
        let state = XenbusState::from_number(number);
        prop_assert_eq!(XenbusState::from_node(state.node().as_bytes()), state);
        prop_assert_eq!(state == XenbusState::Unknown, number == 0 || number > 8);
    }

    #[test]
    fn any_bytes_are_a_direction_or_none(bytes in vec(any::<u8>(), 0..3)) {
        if let Some(direction) = Direction::from_node(&bytes) {
            prop_assert_eq!(direction.node().as_bytes(), bytes.to_ascii_lowercase());
        }
    }
}
