//! Tests of the packets of protocol version 0 against structures that a C compiler laid out.

use header_check::Constants;
use sndif::v0::{
    Level, OpenParams, Operation, PACKET_BYTES, PAGES_MAX, RESPONSE_BYTES, RING_SLOTS, Request, Response, Stereo,
    TRANSFER_BYTES_MAX, Transfer,
};
use sndif::{Format, GrantRef, PAGE_BYTES, SLOTS_OFFSET};

const ID: u64 = 0x0102_0304_0506_0708;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn v0_sizes_are_those_of_the_c_structures() {
    let c = Constants::of("v0");
    assert_eq!(c.number("request"), PACKET_BYTES as u64);
    assert_eq!(c.number("response"), RESPONSE_BYTES as u64);
    assert_eq!(c.number("slots"), u64::from(RING_SLOTS));
    assert_eq!(c.number("slot0"), SLOTS_OFFSET as u64);
    assert_eq!(c.number("slot1"), (SLOTS_OFFSET + PACKET_BYTES) as u64);
    assert_eq!(c.number("pages"), PAGES_MAX as u64);
    assert_eq!(TRANSFER_BYTES_MAX as usize, PAGES_MAX * PAGE_BYTES);
}

#[test]
fn v0_packets_are_those_of_the_c_structures_byte_by_byte() {
    let c = Constants::of("v0");
    let refs: [GrantRef; PAGES_MAX] = std::array::from_fn(|index| GrantRef(0x1000 + index as u32));
    for (name, operation) in [
        ("open", Operation::Open(OpenParams { format: Format::S16Le, channels: 6, rate_hz: 44_100 })),
        ("rw", Operation::Write(Transfer::new(TRANSFER_BYTES_MAX, &refs).unwrap())),
        ("vol", Operation::SetVolume(Stereo { left: Level::new(-50), right: Level::new(99) })),
    ] {
        let packet = Request { id: ID, operation }.emit();
        assert_eq!(hex(&packet), c.text(name), "{name}");
        assert_eq!(Request::parse(&packet).unwrap().operation, operation);
    }
    let failed = Response { id: ID, opcode: 3, success: false, volume: None };
    assert_eq!(hex(&failed.emit()[..RESPONSE_BYTES]), c.text("failed"));
}
