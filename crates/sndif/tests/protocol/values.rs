//! Strategies for every legal value of the protocol.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use sndif::v2::{Event, HwParams, Interval, OpenParams, Operation, Request, Response, Span, Trigger, opcode};
use sndif::{Errno, Format, FormatSet, GrantRef};

pub fn format() -> impl Strategy<Value = Format> {
    select(Format::all().collect::<Vec<_>>())
}

pub fn format_set() -> impl Strategy<Value = FormatSet> {
    any::<u64>().prop_map(FormatSet::from_bits)
}

pub fn interval() -> impl Strategy<Value = Interval> {
    (any::<u32>(), any::<u32>()).prop_map(|(min, max)| Interval::new(min, max))
}

pub fn hw_params() -> impl Strategy<Value = HwParams> {
    (format_set(), interval(), interval(), interval(), interval()).prop_map(
        |(formats, rates_hz, channels, buffer_frames, period_frames)| HwParams {
            formats,
            rates_hz,
            channels,
            buffer_frames,
            period_frames,
        },
    )
}

fn open() -> impl Strategy<Value = OpenParams> {
    (any::<u32>(), format(), any::<u8>(), any::<u32>(), any::<u32>(), any::<u32>()).prop_map(
        |(rate_hz, format, channels, buffer_bytes, directory, period_bytes)| OpenParams {
            rate_hz,
            format,
            channels,
            buffer_bytes,
            directory: GrantRef(directory),
            period_bytes,
        },
    )
}

fn span() -> impl Strategy<Value = Span> {
    (any::<u32>(), any::<u32>()).prop_map(|(offset, length)| Span { offset, length })
}

pub fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        open().prop_map(Operation::Open),
        Just(Operation::Close),
        span().prop_map(Operation::Read),
        span().prop_map(Operation::Write),
        span().prop_map(Operation::SetVolume),
        span().prop_map(Operation::GetVolume),
        span().prop_map(Operation::Mute),
        span().prop_map(Operation::Unmute),
        select(vec![Trigger::Start, Trigger::Pause, Trigger::Stop, Trigger::Resume]).prop_map(Operation::Trigger),
        hw_params().prop_map(Operation::QueryHwParams),
        (span(), any::<u64>()).prop_map(|(span, until_bytes)| Operation::ReadAhead { span, until_bytes }),
    ]
}

pub fn request() -> impl Strategy<Value = Request> {
    (any::<u16>(), operation()).prop_map(|(id, operation)| Request { id, operation })
}

fn result() -> impl Strategy<Value = Result<(), Errno>> {
    any::<i32>().prop_map(|status| Errno::from_status(status).map_or(Ok(()), Err))
}

pub fn response() -> impl Strategy<Value = Response> {
    prop_oneof![
        (any::<u16>(), opcode::OPEN..opcode::HW_PARAM_QUERY, prop_oneof![Just(Ok(())), result()])
            .prop_map(|(id, opcode, result)| Response { id, opcode, result, params: None }),
        (any::<u16>(), result()).prop_map(|(id, result)| Response {
            id,
            opcode: opcode::READ_AHEAD,
            result,
            params: None
        }),
        (any::<u16>(), hw_params()).prop_map(|(id, params)| Response {
            id,
            opcode: opcode::HW_PARAM_QUERY,
            result: Ok(()),
            params: Some(params),
        }),
        (any::<u16>(), i32::MIN..0).prop_map(|(id, status)| Response {
            id,
            opcode: opcode::HW_PARAM_QUERY,
            result: Errno::from_status(status).map_or(Ok(()), Err),
            params: None,
        }),
    ]
}

pub fn event() -> impl Strategy<Value = Event> {
    (any::<u16>(), any::<u64>()).prop_map(|(id, position_bytes)| Event { id, position_bytes })
}

/// Any bytes, with the operation or type code often one that exists.
pub fn packet() -> impl Strategy<Value = [u8; 64]> {
    (vec(any::<u8>(), 64), prop_oneof![Just(None), (0..11_u8).prop_map(Some)]).prop_map(|(bytes, code)| {
        let mut packet: [u8; 64] = bytes.try_into().expect("64 bytes");
        if let Some(code) = code {
            packet[2] = code;
        }
        packet
    })
}
