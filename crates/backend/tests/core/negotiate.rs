//! HW_PARAM_QUERY and OPEN agree with each other.

use backend::{DeviceLimits, HostLimits, Offer};
use proptest::prelude::*;
use sndif::store::{LimitNodes, Limits};
use sndif::v2::{HwParams, Interval, OpenParams};
use sndif::{Format, FormatSet, GrantRef};

fn interval(most: u32) -> impl Strategy<Value = Interval> {
    prop_oneof![
        Just(Interval::ANY),
        (0..most, 0..most).prop_map(|(a, b)| Interval::new(a.min(b), a.max(b))),
        (0..most).prop_map(Interval::exactly),
        (any::<u32>(), any::<u32>()).prop_map(|(min, max)| Interval::new(min, max)),
    ]
}

fn formats() -> impl Strategy<Value = FormatSet> {
    prop_oneof![
        Just(FormatSet::ALL),
        any::<u64>().prop_map(FormatSet::from_bits),
        (0..25_u64).prop_map(|bit| FormatSet::from_bits(1 << bit))
    ]
}

fn asked() -> impl Strategy<Value = HwParams> {
    (formats(), interval(200_000), interval(10), interval(40_000), interval(20_000)).prop_map(
        |(formats, rates_hz, channels, buffer_frames, period_frames)| HwParams {
            formats,
            rates_hz,
            channels,
            buffer_frames,
            period_frames,
        },
    )
}

fn offer() -> impl Strategy<Value = Offer> {
    let device = (formats(), interval(200_000), (1..10_u32, 1..10_u32));
    let store = (1..9_u32, prop_oneof![Just(None), Just(Some("8000,44100,48000,192000"))], 64..200_000_u32);
    (device, store, 4096..400_000_u32, 1..20_000_u32, prop_oneof![Just(0), Just(4096_u32)]).prop_map(
        |((formats, rates_hz, (a, b)), (channels, rates, buffer), buffer_bytes_max, period_us_min, control_bytes)| {
            let (channels, buffer) = (channels.to_string(), buffer.to_string());
            let every_format = Format::all().map(Format::name).collect::<Vec<_>>().join(",");
            let nodes = LimitNodes {
                channels_max: Some(channels.as_bytes()),
                sample_rates: rates.map(str::as_bytes),
                sample_formats: Some(every_format.as_bytes()),
                buffer_size: Some(buffer.as_bytes()),
                ..LimitNodes::default()
            };
            Offer {
                store: Limits::DEFAULT.narrowed_by(&nodes).expect("legal nodes"),
                device: DeviceLimits {
                    formats,
                    rates_hz,
                    channels: Interval::new(a.min(b), a.max(b)),
                    only_rates: None,
                },
                host: HostLimits { buffer_bytes_max, period_us_min },
                control_bytes,
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 1000 }))]

    #[test]
    fn an_answer_is_never_empty_never_wider_and_stays_when_asked_again(offer in offer(), asked in asked()) {
        let Ok(answer) = offer.narrow(&asked) else { return Ok(()) };
        prop_assert!(!answer.is_empty());
        prop_assert_eq!(answer.intersection(&asked), answer);
        let again = offer.narrow(&answer);
        prop_assert!(again.is_ok_and(|again| again.intersection(&answer) == again));
    }

    /// Linux pins one parameter after the other, asking each time, and then opens.
    #[test]
    fn what_is_left_when_everything_is_pinned_can_be_opened(
        offer in offer(), asked in asked(), order in Just([0, 1, 2, 3, 4]).prop_shuffle(), largest in proptest::array::uniform5(any::<bool>()),
    ) {
        let Ok(mut space) = offer.narrow(&asked) else { return Ok(()) };
        for parameter in order {
            let pin = |interval: Interval, largest| Interval::exactly(if largest { interval.max } else { interval.min });
            let mut pinned = space;
            match parameter {
                0 => {
                    let mut formats = space.formats.iter();
                    let format = if largest[0] { formats.last() } else { formats.next() };
                    pinned.formats = format.into_iter().collect();
                }
                1 => pinned.rates_hz = pin(space.rates_hz, largest[1]),
                2 => pinned.channels = pin(space.channels, largest[2]),
                3 => pinned.buffer_frames = pin(space.buffer_frames, largest[3]),
                _ => pinned.period_frames = pin(space.period_frames, largest[4]),
            }
            // A corner of the space may be empty; the answer is an error then.
            let Ok(answer) = offer.narrow(&pinned) else { return Ok(()) };
            space = answer;
        }
        let format = space.formats.iter().next().expect("one format");
        let channels = u8::try_from(space.channels.min).expect("up to 255");
        let Some(frame) = format.frame_bytes(channels) else { panic!("{format} offered with {channels} channels") };
        let open = |period_frames: u32| OpenParams {
            rate_hz: space.rates_hz.min,
            format,
            channels,
            buffer_bytes: space.buffer_frames.min * frame + offer.control_bytes,
            directory: GrantRef(8),
            period_bytes: period_frames * frame,
        };
        // Buffer and period are offered separately; ALSA itself keeps the period within the buffer.
        let period = space.period_frames.min.min(space.buffer_frames.min);
        let geometry = offer.check(&open(period));
        prop_assert!(geometry.is_ok(), "{:?} for {:?}", geometry, space);
        let geometry = geometry.unwrap();
        prop_assert_eq!(geometry.ring_frames(), space.buffer_frames.min);
        prop_assert!(period == 0 || geometry.period_frames() == period);
    }

    #[test]
    fn any_open_is_refused_or_of_a_shape_that_fits(
        offer in offer(), rate_hz in prop_oneof![Just(48_000_u32), any::<u32>()], code in 0..25_u8, channels: u8,
        buffer_bytes in prop_oneof![0..10_000_u32, any::<u32>()], period_bytes in prop_oneof![0..5000_u32, any::<u32>()],
    ) {
        let format = Format::from_code(code).expect("25 formats");
        let open = OpenParams { rate_hz, format, channels, buffer_bytes, directory: GrantRef(8), period_bytes };
        if let Ok(geometry) = offer.check(&open) {
            prop_assert_eq!(geometry.ring_bytes + offer.control_bytes, geometry.buffer_bytes);
            prop_assert!(geometry.ring_bytes > 0 && geometry.ring_bytes.is_multiple_of(geometry.frame_bytes));
            prop_assert!(geometry.period_bytes.is_multiple_of(geometry.frame_bytes));
            prop_assert!(geometry.buffer_bytes <= offer.host.buffer_bytes_max);
            prop_assert!(geometry.rate_hz > 0 && geometry.channels > 0);
        }
    }
}
