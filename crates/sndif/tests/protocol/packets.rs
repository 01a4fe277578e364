//! Requests, responses and events: what is emitted is understood, and nothing else goes out.

use proptest::prelude::*;
use sndif::Errno;
use sndif::v2::{Event, Operation, Request, Response, opcode};

use crate::values;

/// Bytes that the header reserves in a packet with this operation code, beside `header`.
fn reserved(code: u8, header: std::ops::Range<usize>) -> Vec<usize> {
    let payload: &[std::ops::Range<usize>] = match code {
        opcode::OPEN => &[8..14, 16..28],
        opcode::CLOSE => &[],
        opcode::TRIGGER => std::slice::from_ref(&(8..9)),
        opcode::HW_PARAM_QUERY => std::slice::from_ref(&(8..48)),
        opcode::READ_AHEAD => std::slice::from_ref(&(8..24)),
        _ => std::slice::from_ref(&(8..16)),
    };
    (header.end..64).filter(|at| payload.iter().all(|field| !field.contains(at))).collect()
}

proptest! {
    #[test]
    fn a_request_is_understood_as_it_was_meant(request in values::request()) {
        prop_assert_eq!(Request::parse(&request.emit()), Ok(request));
    }

    #[test]
    fn what_is_understood_of_any_packet_is_emitted_without_its_reserved_bytes(packet in values::packet()) {
        if let Ok(request) = Request::parse(&packet) {
            let mut canonical = packet;
            for at in reserved(packet[2], 0..3) {
                canonical[at] = 0;
            }
            let emitted = request.emit();
            // Bits of formats that do not exist are dropped, too.
            if let Operation::QueryHwParams(params) = request.operation {
                canonical[8..16].copy_from_slice(&params.formats.bits().to_le_bytes());
            }
            prop_assert_eq!(emitted, canonical);
            prop_assert_eq!(Request::parse(&emitted), Ok(request));
        }
    }

    #[test]
    fn xsa_216_requests_and_responses_are_zero_but_for_their_fields(request in values::request(), id: u16, code in 0..11_u8, failed: bool) {
        let emitted = request.emit();
        prop_assert!(reserved(emitted[2], 0..3).into_iter().all(|at| emitted[at] == 0));
        let result = if failed { Err(Errno::EINVAL) } else { Ok(()) };
        let response = Response { id, opcode: code, result, params: None }.emit();
        prop_assert!(response[3] == 0 && response[8..].iter().all(|&byte| byte == 0));
        let event = Event { id, position_bytes: u64::MAX }.emit();
        prop_assert!(event[3..8].iter().chain(&event[16..]).all(|&byte| byte == 0));
    }

    #[test]
    fn a_refused_request_can_be_answered(packet in values::packet()) {
        if let Err(rejected) = Request::parse(&packet) {
            prop_assert_eq!(rejected.id.to_le_bytes(), [packet[0], packet[1]]);
            prop_assert_eq!(rejected.opcode, packet[2]);
            let unknown = packet[2] > opcode::READ_AHEAD;
            prop_assert_eq!(rejected.errno, if unknown { Errno::EOPNOTSUPP } else { Errno::EINVAL });
        }
    }

    #[test]
    fn stale_bytes_in_reserved_fields_change_nothing(request in values::request(), stale: u8) {
        let mut packet = request.emit();
        for at in reserved(packet[2], 0..3) {
            packet[at] = stale;
        }
        prop_assert_eq!(Request::parse(&packet), Ok(request));
    }

    #[test]
    fn a_response_is_understood_as_it_was_meant(response in values::response()) {
        let packet = response.emit();
        prop_assert_eq!(Response::parse(&packet), Ok(response));
        let header = if response.params.is_some() { 8..48 } else { 4..8 };
        prop_assert_eq!(packet[3], 0);
        prop_assert!(packet[header.end..].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn any_response_is_understood_or_names_an_operation_that_does_not_exist(packet in values::packet()) {
        match Response::parse(&packet) {
            Ok(response) => {
                prop_assert_eq!(response.opcode, packet[2]);
                prop_assert_eq!(Response::parse(&response.emit()), Ok(response));
                prop_assert!(response.params.is_none() || response.result.is_ok());
            }
            Err(bad) => prop_assert!(bad.opcode == packet[2] && bad.opcode > opcode::READ_AHEAD),
        }
    }

    #[test]
    fn an_event_is_understood_as_it_was_meant(event in values::event()) {
        let packet = event.emit();
        prop_assert_eq!(Event::parse(&packet), Ok(event));
        prop_assert!(packet[2..8].iter().chain(&packet[16..]).all(|&byte| byte == 0));
    }

    #[test]
    fn any_event_is_a_position_or_names_a_type_that_does_not_exist(packet in values::packet()) {
        match Event::parse(&packet) {
            Ok(event) => prop_assert_eq!(Event::parse(&event.emit()), Ok(event)),
            Err(bad) => prop_assert!(bad.kind == packet[2] && bad.kind != 0),
        }
    }

    #[test]
    fn a_status_is_an_error_or_success_and_leads_back(status: i32) {
        match Errno::from_status(status) {
            None => prop_assert_eq!(status, 0),
            Some(errno) => {
                prop_assert!(errno.number() > 0 && errno.status() < 0);
                prop_assert_eq!(Errno::from_status(errno.status()), Some(errno));
                prop_assert!(status > 0 || status == i32::MIN || errno.status() == status);
            }
        }
    }

    #[test]
    fn an_intersection_is_in_both_spaces(a in values::hw_params(), b in values::hw_params(), value: u32) {
        let both = a.intersection(&b);
        prop_assert_eq!(both, b.intersection(&a));
        prop_assert_eq!(both.intersection(&a), both);
        prop_assert_eq!(a.intersection(&sndif::v2::HwParams::ANY), a);
        prop_assert_eq!(
            both.rates_hz.contains(value),
            a.rates_hz.contains(value) && b.rates_hz.contains(value)
        );
        prop_assert_eq!(both.rates_hz.is_empty(), both.rates_hz.min > both.rates_hz.max);
        prop_assert!(!both.is_empty() || [both.rates_hz, both.channels, both.buffer_frames, both.period_frames]
            .iter().any(|one| one.is_empty()) || both.formats.is_empty());
    }
}

/// An OPEN as `snd_xen_front` sends it, byte by byte: the layout of `struct xensnd_open_req`.
#[test]
fn an_open_in_bytes() {
    let mut packet = [0_u8; 64];
    packet[..3].copy_from_slice(&[0x34, 0x12, 0]);
    packet[8..12].copy_from_slice(&48_000_u32.to_le_bytes());
    packet[12] = 2;
    packet[13] = 6;
    packet[16..20].copy_from_slice(&65_536_u32.to_le_bytes());
    packet[20..24].copy_from_slice(&0x0102_0304_u32.to_le_bytes());
    packet[24..28].copy_from_slice(&4096_u32.to_le_bytes());
    let Ok(Request { id: 0x1234, operation: Operation::Open(open) }) = Request::parse(&packet) else {
        panic!("an OPEN");
    };
    assert_eq!((open.rate_hz, open.format, open.channels), (48_000, sndif::Format::S16Le, 6));
    assert_eq!((open.buffer_bytes, open.directory.0, open.period_bytes), (65_536, 0x0102_0304, 4096));
}
