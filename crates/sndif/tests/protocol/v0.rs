//! Tests of version 0: emitted packets parse, any packet parses or is refused, and no others are sent.

use proptest::prelude::*;
use sndif::v0::{
    Level, OpenParams, Operation, PACKET_BYTES, RESPONSE_BYTES, Request, Response, Stereo, TRANSFER_BYTES_MAX,
    Transfer, opcode,
};
use sndif::{Format, GrantRef, PAGE_BYTES};

fn level() -> impl Strategy<Value = Level> {
    prop_oneof![(-50..=100).prop_map(Level::new), Just(Level::OFF)]
}

fn stereo() -> impl Strategy<Value = Stereo> {
    (level(), level()).prop_map(|(left, right)| Stereo { left, right })
}

fn transfer() -> impl Strategy<Value = Transfer> {
    (0..=TRANSFER_BYTES_MAX, any::<[u32; 10]>())
        .prop_map(|(length, refs)| Transfer::new(length, &refs.map(GrantRef)).expect("ten pages are enough"))
}

fn request() -> impl Strategy<Value = Request> {
    let format = (0..25_u8).prop_map(|code| Format::from_code(code).expect("a format"));
    let open = (format, any::<u8>(), any::<u32>())
        .prop_map(|(format, channels, rate_hz)| Operation::Open(OpenParams { format, channels, rate_hz }));
    let operation = prop_oneof![
        open,
        Just(Operation::Close),
        transfer().prop_map(Operation::Read),
        transfer().prop_map(Operation::Write),
        stereo().prop_map(Operation::SetVolume),
        Just(Operation::GetVolume),
    ];
    (any::<u64>(), operation).prop_map(|(id, operation)| Request { id, operation })
}

fn packet() -> impl Strategy<Value = [u8; PACKET_BYTES]> {
    (proptest::collection::vec(any::<u8>(), PACKET_BYTES), 0..8_u8).prop_map(|(bytes, code)| {
        let mut packet: [u8; PACKET_BYTES] = bytes.try_into().expect("as many");
        packet[0] = code;
        packet[8] = code;
        packet
    })
}

proptest! {
    #[test]
    fn a_v0_request_is_understood_as_it_was_meant(request in request()) {
        prop_assert_eq!(Request::parse(&request.emit()), Ok(request));
    }

    #[test]
    fn any_v0_packet_is_understood_or_can_be_refused(packet in packet()) {
        match Request::parse(&packet) {
            Ok(request) => {
                prop_assert_eq!(request.operation.opcode(), packet[0]);
                prop_assert_eq!(Request::parse(&request.emit()), Ok(request));
                if let Operation::Read(transfer) | Operation::Write(transfer) = request.operation {
                    prop_assert_eq!(transfer.refs().len(), (transfer.length() as usize).div_ceil(PAGE_BYTES));
                }
            }
            Err(rejected) => {
                prop_assert_eq!(rejected.id.to_le_bytes(), <[u8; 8]>::try_from(&packet[8..16]).unwrap());
                prop_assert_eq!(rejected.opcode, packet[0]);
            }
        }
    }

    #[test]
    fn a_v0_transfer_of_more_than_ten_pages_is_refused(length in TRANSFER_BYTES_MAX + 1.., transfer in transfer()) {
        let mut packet = Request { id: 7, operation: Operation::Write(transfer) }.emit();
        packet[28..32].copy_from_slice(&length.to_le_bytes());
        prop_assert!(Request::parse(&packet).is_err());
        prop_assert_eq!(Transfer::new(length, &[GrantRef(1); 11]), None);
    }

    #[test]
    fn xsa_216_a_v0_response_takes_its_16_bytes_and_what_get_volume_adds(
        id: u64, code in 0..=opcode::GET_VOLUME, success: bool, volume in stereo(),
    ) {
        let volume = (success && code == opcode::GET_VOLUME).then_some(volume);
        let response = Response { id, opcode: code, success, volume };
        let slot = response.emit();
        prop_assert_eq!(Response::parse(&slot), Ok(response));
        let behind = if volume.is_some() { 36 } else { RESPONSE_BYTES };
        prop_assert!(slot[12..RESPONSE_BYTES].iter().chain(&slot[behind..]).all(|&byte| byte == 0));
    }

    #[test]
    fn any_v0_response_is_understood_or_names_an_operation_that_does_not_exist(packet in packet()) {
        match Response::parse(&packet) {
            Ok(response) => prop_assert_eq!(Response::parse(&response.emit()), Ok(response)),
            Err(bad) => prop_assert!(bad.opcode == packet[8] && bad.opcode > opcode::GET_VOLUME),
        }
    }
}
