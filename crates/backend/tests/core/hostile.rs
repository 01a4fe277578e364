//! Guests that send anything, on memory that says something else at every look.

use backend::{Frames, Pace};
use proptest::collection::vec;
use proptest::prelude::*;
use sndif::store::Direction;
use sndif::v2::{HwParams, Interval, OpenParams, Operation, Span, Trigger};
use sndif::{Format, FormatSet, GrantRef};

use crate::host::{Device, Host, few};
use crate::memory::Hostile;

fn span() -> impl Strategy<Value = Span> {
    let edge = prop_oneof![0..5000_u32, any::<u32>(), Just(u32::MAX), Just(0)];
    (edge.clone(), edge).prop_map(|(offset, length)| Span { offset, length })
}

fn open() -> impl Strategy<Value = OpenParams> {
    let size = || prop_oneof![8 => (1..1200_u32).prop_map(|frames| frames * 4), 1 => any::<u32>()];
    let rate = prop_oneof![8 => proptest::sample::select(vec![8000, 48_000, 192_000]), 1 => any::<u32>()];
    let format = prop_oneof![
        4 => Just(Format::S16Le),
        1 => proptest::sample::select(Format::all().collect::<Vec<_>>()),
    ];
    (rate, format, prop_oneof![4 => Just(2), 1 => any::<u8>()], size(), size()).prop_map(
        |(rate_hz, format, channels, buffer_bytes, period_bytes)| OpenParams {
            rate_hz,
            format,
            channels,
            buffer_bytes,
            directory: GrantRef(9),
            period_bytes,
        },
    )
}

fn query() -> impl Strategy<Value = HwParams> {
    let interval = || (any::<u32>(), any::<u32>()).prop_map(|(min, max)| Interval::new(min, max));
    (any::<u64>(), interval(), interval(), interval(), interval()).prop_map(
        |(formats, rates_hz, channels, buffer_frames, period_frames)| HwParams {
            formats: FormatSet::from_bits(formats),
            rates_hz,
            channels,
            buffer_frames,
            period_frames,
        },
    )
}

/// READs laid out ahead that fit a ring of 2000 bytes.
fn read_ahead() -> impl Strategy<Value = Operation> {
    (0..10_u64, 0..500_u32, 1..500_u32).prop_map(|(turn, offset, length)| {
        let span = Span { offset: offset * 4, length: (length * 4).min(2000 - offset * 4) };
        Operation::ReadAhead { span, until_bytes: turn * 2000 + u64::from(span.offset + span.length) }
    })
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        3 => open().prop_map(Operation::Open),
        1 => Just(Operation::Close),
        6 => span().prop_map(Operation::Write),
        6 => span().prop_map(Operation::Read),
        6 => (span(), 0..20_000_u64).prop_map(|(span, until_bytes)| Operation::ReadAhead { span, until_bytes }),
        3 => read_ahead(),
        1 => span().prop_map(Operation::SetVolume),
        1 => span().prop_map(Operation::GetVolume),
        1 => span().prop_map(Operation::Mute),
        1 => span().prop_map(Operation::Unmute),
        4 => proptest::sample::select(vec![Trigger::Start, Trigger::Pause, Trigger::Stop, Trigger::Resume])
            .prop_map(Operation::Trigger),
        1 => query().prop_map(Operation::QueryHwParams),
    ]
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Request(Operation),
    Pass(u64),
    Look(Device),
    DeviceFails,
}

fn step() -> impl Strategy<Value = Step> {
    let device = (prop_oneof![Just(usize::MAX), 0..300_usize], any::<u16>(), any::<bool>())
        .prop_map(|(frames, queued, page_full)| Device { frames, queued: u64::from(queued), page_full });
    prop_oneof![
        8 => operation().prop_map(Step::Request),
        3 => (0..30_000_000_u64).prop_map(Step::Pass),
        5 => device.prop_map(Step::Look),
        1 => Just(Step::DeviceFails),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 400 }))]

    #[test]
    fn offsets_whatever_a_guest_sends_the_stream_keeps_its_promises(
        capture: bool, device_paced: bool, missing in prop_oneof![Just(0_u32), 0..4000_u32], noise: u32,
        steps in vec(step(), 1..few(200)),
    ) {
        let direction = if capture { Direction::Capture } else { Direction::Playback };
        let mut host = Host::new(direction, if device_paced { Pace::Device } else { Pace::Clock });
        for step in steps {
            match step {
                Step::Request(operation) => {
                    let _ = host.request(operation, |bytes| Hostile::new(bytes, bytes.saturating_sub(missing), noise));
                }
                Step::Pass(ns) => host.now_ns += ns,
                Step::Look(device) => {
                    host.look(device);
                }
                Step::DeviceFails => host.fails(),
            }
            if let Some(geometry) = host.core.geometry() {
                prop_assert!(geometry.frame_bytes > 0 && geometry.ring_bytes.is_multiple_of(geometry.frame_bytes));
                prop_assert!(geometry.ring_bytes <= 1_000_000 && geometry.period_bytes <= geometry.ring_bytes);
            }
            if let Some((volumes, _)) = host.core.volume() {
                prop_assert!(volumes.iter().all(|volume| backend::VOLUME_RANGE_MDB.contains(volume)));
            }
        }
    }
}

#[test]
fn a_stream_that_is_not_allowed_never_opens() {
    let mut config = crate::host::config(Direction::Capture);
    config.permitted = false;
    let mut stream = backend::Stream::<Hostile>::new(config);
    let open = OpenParams {
        rate_hz: 48_000,
        format: Format::S16Le,
        channels: 2,
        buffer_bytes: 1920,
        directory: GrantRef(9),
        period_bytes: 480,
    };
    for id in 0..1000 {
        let request = sndif::v2::Request { id, operation: Operation::Open(open) };
        let backend::Outcome::Respond(response) = stream.request(&request, 0) else { panic!("opened") };
        assert_eq!(response.result, Err(sndif::Errno::EACCES));
        assert!(stream.take_refusal().is_some() && stream.take_refusal().is_none());
    }
    assert_eq!(stream.counters().errors, 1000);
}
