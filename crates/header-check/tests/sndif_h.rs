//! The sndif crate against `xen/io/sndif.h`.

use std::collections::BTreeMap;

use header_check::{Constants, Program};
use proptest::prelude::*;
use sndif::store::{self, Direction, node};
use sndif::test_utils::Pages;
use sndif::v2::{
    EVENT_SLOTS, EVENT_SLOTS_OFFSET, Event, EventConsumer, EventProducer, HwParams, Interval, OpenParams, Operation,
    PACKET_BYTES, RING_SLOTS, Request, Response, Span, Trigger, opcode,
};
use sndif::{
    DIRECTORY_REFS, DirectoryWriter, Errno, Format, FormatSet, GrantRef, PAGE_BYTES, SLOTS_OFFSET, XenbusState,
};

fn header() -> Constants {
    Constants::of("sndif")
}

#[test]
fn operations_triggers_and_events_have_the_headers_codes() {
    let header = header();
    for (name, code) in [
        ("OPEN", opcode::OPEN),
        ("CLOSE", opcode::CLOSE),
        ("READ", opcode::READ),
        ("WRITE", opcode::WRITE),
        ("SET_VOLUME", opcode::SET_VOLUME),
        ("GET_VOLUME", opcode::GET_VOLUME),
        ("MUTE", opcode::MUTE),
        ("UNMUTE", opcode::UNMUTE),
        ("TRIGGER", opcode::TRIGGER),
        ("HW_PARAM_QUERY", opcode::HW_PARAM_QUERY),
        ("TRIGGER_START", Trigger::Start as u8),
        ("TRIGGER_PAUSE", Trigger::Pause as u8),
        ("TRIGGER_STOP", Trigger::Stop as u8),
        ("TRIGGER_RESUME", Trigger::Resume as u8),
    ] {
        assert_eq!(u64::from(code), header.number(&format!("XENSND_OP_{name}")), "{name}");
    }
    assert_eq!(header.starting_with("XENSND_OP_").count(), 14, "none is missing");
    let kind = Event { id: 0, position_bytes: 0 }.emit()[2];
    assert_eq!(u64::from(kind), header.number("XENSND_EVT_CUR_POS"));
}

#[test]
fn formats_have_the_headers_codes_and_names() {
    let header = header();
    let theirs: BTreeMap<u64, &str> = header
        .starting_with("XENSND_PCM_FORMAT_")
        .filter(|(name, _)| !name.ends_with("_STR"))
        .map(|(name, code)| (code.parse().unwrap(), header.text(&format!("XENSND_PCM_FORMAT_{name}_STR"))))
        .collect();
    let ours: BTreeMap<u64, &str> = Format::all().map(|format| (format.code().into(), format.name())).collect();
    assert_eq!(ours, theirs);
    assert_eq!(ours.len(), 25);
}

#[test]
fn store_nodes_have_the_headers_names() {
    let header = header();
    let mut ours = [
        ("BE_VERSIONS", node::VERSIONS),
        ("FE_VERSION", node::VERSION),
        ("VCARD_SHORT_NAME", node::SHORT_NAME),
        ("VCARD_LONG_NAME", node::LONG_NAME),
        ("RING_REF", node::RING_REF),
        ("EVT_CHNL", node::EVENT_CHANNEL),
        ("EVT_RING_REF", node::EVT_RING_REF),
        ("EVT_EVT_CHNL", node::EVT_EVENT_CHANNEL),
        ("DEVICE_NAME", node::NAME),
        ("TYPE", node::TYPE),
        ("STREAM_UNIQUE_ID", node::UNIQUE_ID),
        ("CHANNELS_MIN", node::CHANNELS_MIN),
        ("CHANNELS_MAX", node::CHANNELS_MAX),
        ("SAMPLE_RATES", node::SAMPLE_RATES),
        ("SAMPLE_FORMATS", node::SAMPLE_FORMATS),
        ("BUFFER_SIZE", node::BUFFER_SIZE),
    ];
    ours.sort_unstable();
    let mut theirs: Vec<_> = header.starting_with("XENSND_FIELD_").collect();
    theirs.sort_unstable();
    assert_eq!(ours.as_slice(), theirs);
    assert_eq!(store::DEVICE_CLASS, header.text("XENSND_DRIVER_NAME"));
    assert_eq!(store::LIST_SEPARATOR.to_string(), header.text("XENSND_LIST_SEPARATOR"));
    assert_eq!(Direction::Playback.node(), header.text("XENSND_STREAM_TYPE_PLAYBACK"));
    assert_eq!(Direction::Capture.node(), header.text("XENSND_STREAM_TYPE_CAPTURE"));
    assert_eq!(store::RATE_MAX_LEN as u64, header.number("XENSND_SAMPLE_RATE_MAX_LEN"));
    assert_eq!(store::FORMAT_MAX_LEN as u64, header.number("XENSND_SAMPLE_FORMAT_MAX_LEN"));
    assert_eq!(header.number("XENSND_PROTOCOL_VERSION"), 2, "the module is called v2");
}

#[test]
fn pages_are_laid_out_as_in_the_headers() {
    let header = header();
    for packet in ["xensnd_req", "xensnd_resp", "xensnd_evt"] {
        assert_eq!(header.number(&format!("sizeof {packet}")), PACKET_BYTES as u64);
    }
    assert_eq!(header.number("ring slot"), PACKET_BYTES as u64);
    assert_eq!(header.number("ring slots"), u64::from(RING_SLOTS));
    assert_eq!(header.number("xen_sndif_sring.ring"), SLOTS_OFFSET as u64);
    assert_eq!(header.number("XENSND_EVENT_PAGE_SIZE"), PAGE_BYTES as u64);
    assert_eq!(header.number("XENSND_IN_RING_OFFS"), EVENT_SLOTS_OFFSET as u64);
    assert_eq!(header.number("XENSND_IN_RING_LEN"), u64::from(EVENT_SLOTS));

    let at = |name: &str| usize::try_from(header.number(name)).unwrap();
    let page = Pages::new(1);
    assert!(DirectoryWriter::write(&page, &[GrantRef(7)], &[GrantRef(8); DIRECTORY_REFS]));
    let bytes = page.page(0);
    let (next, first) = (at("xensnd_page_directory.gref_dir_next_page"), at("xensnd_page_directory.gref"));
    assert_eq!(bytes[next..next + 4], 0_u32.to_le_bytes());
    assert_eq!(bytes[first..first + 4], 8_u32.to_le_bytes());
    assert_eq!(first + 4 * DIRECTORY_REFS, PAGE_BYTES);
}

#[test]
fn errors_and_states_have_the_headers_numbers() {
    let header = header();
    for errno in [
        Errno::EPERM,
        Errno::EIO,
        Errno::ENOMEM,
        Errno::EACCES,
        Errno::EFAULT,
        Errno::EBUSY,
        Errno::ENODEV,
        Errno::EINVAL,
        Errno::EOPNOTSUPP,
    ] {
        let name = format!("XEN_{}", errno.name().unwrap());
        assert_eq!(u64::try_from(errno.number()).unwrap(), header.number(&name), "{name}");
    }
    let mut states = 0;
    for (name, number) in header.starting_with("XenbusState") {
        let state = XenbusState::from_number(number.parse().unwrap());
        assert_eq!(format!("{state:?}"), name);
        assert_eq!(state.node(), number);
        states += 1;
    }
    assert_eq!(states, 9);
}

/// The fields of a packet as the C structures see them.
fn fields(program: &mut Program, kind: u8, packet: &[u8; PACKET_BYTES]) -> Vec<u64> {
    program.send(&[kind]);
    program.send(packet);
    program.numbers()
}

fn params_fields(params: &HwParams) -> Vec<u64> {
    let intervals = [params.rates_hz, params.channels, params.buffer_frames, params.period_frames];
    let mut fields = vec![params.formats.bits()];
    fields.extend(intervals.iter().flat_map(|interval| [interval.min, interval.max].map(u64::from)));
    fields
}

fn request_fields(request: &Request) -> Vec<u64> {
    let mut fields = vec![request.id.into(), request.operation.opcode().into()];
    match &request.operation {
        Operation::Open(open) => fields.extend([
            u64::from(open.rate_hz),
            open.format.code().into(),
            open.channels.into(),
            open.buffer_bytes.into(),
            open.directory.0.into(),
            open.period_bytes.into(),
        ]),
        Operation::Close => {}
        Operation::Read(span)
        | Operation::Write(span)
        | Operation::SetVolume(span)
        | Operation::GetVolume(span)
        | Operation::Mute(span)
        | Operation::Unmute(span) => fields.extend([u64::from(span.offset), span.length.into()]),
        Operation::Trigger(trigger) => fields.push(*trigger as u64),
        Operation::QueryHwParams(params) => fields.extend(params_fields(params)),
        Operation::ReadAhead { .. } => unreachable!("the header does not have it"),
    }
    fields
}

fn hw_params() -> impl Strategy<Value = HwParams> {
    let interval = || any::<(u32, u32)>().prop_map(|(min, max)| Interval::new(min, max));
    (any::<u64>(), interval(), interval(), interval(), interval()).prop_map(
        |(bits, rates_hz, channels, buffer_frames, period_frames)| HwParams {
            formats: FormatSet::from_bits(bits),
            rates_hz,
            channels,
            buffer_frames,
            period_frames,
        },
    )
}

fn operation() -> impl Strategy<Value = Operation> {
    let span = || any::<(u32, u32)>().prop_map(|(offset, length)| Span { offset, length });
    let open = (any::<[u32; 4]>(), any::<u8>(), 0..25_u8).prop_map(|(words, channels, format)| {
        Operation::Open(OpenParams {
            rate_hz: words[0],
            format: Format::from_code(format).unwrap(),
            channels,
            buffer_bytes: words[1],
            directory: GrantRef(words[2]),
            period_bytes: words[3],
        })
    });
    prop_oneof![
        open,
        Just(Operation::Close),
        span().prop_map(Operation::Read),
        span().prop_map(Operation::Write),
        span().prop_map(Operation::SetVolume),
        span().prop_map(Operation::GetVolume),
        span().prop_map(Operation::Mute),
        span().prop_map(Operation::Unmute),
        prop::sample::select(vec![Trigger::Start, Trigger::Pause, Trigger::Stop, Trigger::Resume])
            .prop_map(Operation::Trigger),
        hw_params().prop_map(Operation::QueryHwParams),
    ]
}

fn check<S: Strategy>(strategy: S, test: impl Fn(S::Value)) {
    let config = ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    runner
        .run(&strategy, |value| {
            test(value);
            Ok(())
        })
        .unwrap();
}

#[test]
fn requests_that_we_emit_are_what_c_reads() {
    let program = std::cell::RefCell::new(Program::start("packets"));
    check((any::<u16>(), operation()), |(id, operation)| {
        let request = Request { id, operation };
        assert_eq!(fields(&mut program.borrow_mut(), b'q', &request.emit()), request_fields(&request));
    });
}

#[test]
fn any_packet_means_to_us_what_it_means_to_c() {
    let program = std::cell::RefCell::new(Program::start("packets"));
    check((any::<[[u8; 32]; 2]>(), 0..10_u8), |(halves, operation)| {
        let mut packet = [0; PACKET_BYTES];
        packet[..32].copy_from_slice(&halves[0]);
        packet[32..].copy_from_slice(&halves[1]);
        packet[2] = operation;
        // Formats and triggers are mostly refused, and unknown format bits dropped: make them valid.
        match operation {
            opcode::OPEN => packet[12] %= 25,
            opcode::TRIGGER => packet[8] %= 4,
            opcode::HW_PARAM_QUERY => {
                packet[11] &= 1;
                packet[12..16].fill(0);
            }
            _ => {}
        }
        let request = Request::parse(&packet).unwrap();
        assert_eq!(fields(&mut program.borrow_mut(), b'q', &packet), request_fields(&request));
    });
}

#[test]
fn responses_that_we_emit_are_what_c_reads() {
    let program = std::cell::RefCell::new(Program::start("packets"));
    let errno = prop::sample::select(vec![None, Some(Errno::EINVAL), Some(Errno::EOPNOTSUPP)]);
    check((any::<u16>(), 0..10_u8, errno, hw_params()), |(id, code, errno, params)| {
        let query = code == opcode::HW_PARAM_QUERY && errno.is_none();
        let response =
            Response { id, opcode: code, result: errno.map_or(Ok(()), Err), params: query.then_some(params) };
        let status = errno.map_or(0, |errno| errno.status());
        let mut wanted = vec![id.into(), code.into(), status.cast_unsigned().into()];
        wanted.extend(if query { params_fields(&params) } else { vec![0; 9] });
        let packet = response.emit();
        assert_eq!(fields(&mut program.borrow_mut(), b'r', &packet), wanted);
        assert_eq!(Response::parse(&packet), Ok(response));
    });
}

#[test]
fn events_lie_where_c_looks_for_them() {
    let mut program = Program::start("packets");
    let page = Pages::new(1);
    let mut producer = EventProducer::new(&page);
    let mut consumer = EventConsumer::new(&page);
    for index in 0..200_u32 {
        let position = 0x1_0000_0001 * u64::from(index);
        producer.push(position).unwrap();
        program.send(b"p");
        program.send(&index.to_ne_bytes());
        program.send(&page.page(0));
        assert_eq!(program.numbers(), [index.into(), u64::from(index) + 1, index.into(), 0, position]);
        assert!(consumer.take().unwrap().is_some());
        consumer.confirm();
    }
}
