//! Builds the OPEN request of a stream and reads it as a backend does. Needs no Xen.
//!
//!     cargo run -p sndif --example open_request

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use sndif::v2::{OpenParams, Operation, Request, Response};
use sndif::{Errno, Format, GrantRef};

fn main() {
    let open = OpenParams {
        rate_hz: 48_000,
        format: Format::S16Le,
        channels: 2,
        buffer_bytes: 7680,
        directory: GrantRef(8),
        period_bytes: 1920,
    };
    let request = Request { id: 1, operation: Operation::Open(open) };

    // The 64 bytes that a frontend puts into a slot of the ring.
    let mut packet = request.emit();
    for line in packet.chunks(16) {
        println!("{line:02x?}");
    }

    // A backend copies the slot and parses the copy.
    let received = Request::parse(&packet).expect("a packet of our own");
    assert_eq!(received, request);
    println!("request {}: {:?}", received.id, received.operation);

    // Every packet can be answered, also one that makes no sense.
    packet[2] = 200;
    let rejected = Request::parse(&packet).expect_err("operation 200 does not exist");
    assert_eq!(rejected.errno, Errno::EOPNOTSUPP);
    let answer = Response { id: rejected.id, opcode: rejected.opcode, result: Err(rejected.errno), params: None };
    println!("{rejected}: {:02x?}", &answer.emit()[..8]);
}
