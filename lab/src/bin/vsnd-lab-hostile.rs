//! `vsnd-lab-hostile`: a guest that keeps no rule, on a real Xen.
//!
//! The program runs as root in a guest without a sound driver, and ends when it has tried everything. Its output says
//! what was refused; the host and the other guests have to tell if they took harm. An argument may give the number of
//! times that it does what it does many times.

use std::io::Write;
use std::process::ExitCode;

use sndif::v2::{OpenParams, Operation, PACKET_BYTES, Span};
use sndif::{GrantRef, PAGE_BYTES, SharedMemory, XenbusState};
use testkit::hostile::{HostileGuest, IN_CONS, REQ_PROD, directory, write_directory};
use xen::{Xen, XenSpec};

const BUFFER_BYTES: usize = 16_384;
/// Number of times that a node is rewritten, a channel signalled, an arbitrary packet sent, unless the argument gives
/// another.
const MANY: u32 = 10_000;

fn main() -> ExitCode {
    let many = match std::env::args().nth(1).map_or(Ok(MANY), |argument| argument.parse()) {
        Ok(many) => many,
        Err(error) => {
            say(&format!("how often is a number: {error}"));
            return ExitCode::from(2);
        }
    };
    let xen = match Xen::open(&XenSpec::Dev, None) {
        Ok(xen) => xen,
        Err(error) => {
            say(&format!("cannot reach Xen: {error}"));
            return ExitCode::from(2);
        }
    };
    let mut hostile = HostileGuest::in_domain(xen);
    hostile.connect_alone(1);
    // First, while the host still logs every refusal: its log says that it was for this reason.
    circle(&mut hostile);
    offsets(&mut hostile);
    references(&mut hostile);
    packets(&mut hostile, many);
    indices(&mut hostile);
    storm(&mut hostile, many);
    nodes(&mut hostile, many);
    // In the end the host serves even this guest, once it keeps the rules.
    hostile.connect_alone(1);
    let xen = hostile.xen.clone();
    let _buffer = hostile.streams[0].play(&xen, BUFFER_BYTES, &[1; BUFFER_BYTES]);
    say("served again");
    ExitCode::SUCCESS
}

fn say(line: &str) {
    // Without a reader there is nobody to tell.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// A page directory that leads back to itself, for a buffer that is allowed and has one page more than a directory
/// page names.
fn circle(hostile: &mut HostileGuest) {
    let buffer = hostile.buffer(BUFFER_BYTES);
    let own = directory(&hostile.xen, GrantRef(0), &[]);
    write_directory(&own, own.refs()[0], &[buffer.pages.refs()[0]; 1023]);
    let buffer_bytes = 1024 * PAGE_BYTES as u32;
    let circular = OpenParams { directory: own.refs()[0], buffer_bytes, period_bytes: 4096, ..buffer.open_params() };
    let refused = hostile.streams[0].open(circular).is_err();
    say(if refused { "circular directory: refused" } else { "circular directory: taken" });
}

/// Ranges that lie outside of the buffer, and sums that wrap.
fn offsets(hostile: &mut HostileGuest) {
    let buffer = hostile.buffer(BUFFER_BYTES);
    let stream = &mut hostile.streams[0];
    stream.open(buffer.open_params()).expect("a proper OPEN");
    let end = BUFFER_BYTES as u32;
    let bad =
        [(0, end + 1), (end, 1), (end + 1, 0), (u32::MAX, 1), (1, u32::MAX), (u32::MAX, u32::MAX), (end / 2, end)];
    let refused = bad
        .iter()
        .flat_map(|&(offset, length)| {
            let span = Span { offset, length };
            let ahead = Operation::ReadAhead { span, until_bytes: offset.wrapping_add(length).into() };
            [Operation::Write(span), Operation::Read(span), ahead, Operation::SetVolume(span), Operation::Mute(span)]
        })
        .filter(|operation| stream.call(*operation).is_err())
        .count();
    stream.close().expect("a proper CLOSE");
    say(&format!("offsets: {refused} of {} refused", bad.len() * 5));
}

/// Grant references that are none, directories that are too short.
fn references(hostile: &mut HostileGuest) {
    let buffer = hostile.buffer(BUFFER_BYTES);
    let proper = buffer.open_params();
    let own = directory(&hostile.xen, GrantRef(0), &[]);
    let mut refused = 0;
    let mut tried = 0;
    let stream = &mut hostile.streams[0];
    let mut open = |params: OpenParams| {
        tried += 1;
        refused += usize::from(stream.open(params).is_err());
    };
    for reference in [0, 3, 7, 400, 0x00FF_FFFF, u32::MAX] {
        open(OpenParams { directory: GrantRef(reference), ..proper });
        write_directory(&own, GrantRef(0), &[GrantRef(reference); 4]);
        open(OpenParams { directory: own.refs()[0], ..proper });
        let mut mixed = [buffer.pages.refs()[0]; 4];
        mixed[2] = GrantRef(reference);
        write_directory(&own, GrantRef(0), &mixed);
        open(OpenParams { directory: own.refs()[0], ..proper });
    }
    // A circle, and buffers of a size that nobody offered.
    write_directory(&own, own.refs()[0], &[buffer.pages.refs()[0]; 1023]);
    open(OpenParams { directory: own.refs()[0], buffer_bytes: u32::MAX, period_bytes: 4096, ..proper });
    open(OpenParams { directory: own.refs()[0], buffer_bytes: 1 << 31, period_bytes: 4096, ..proper });
    open(OpenParams { directory: own.refs()[0], buffer_bytes: 0, period_bytes: 0, ..proper });
    say(&format!("references: {refused} of {tried} refused"));
}

/// Packets of any content.
fn packets(hostile: &mut HostileGuest, many: u32) {
    let stream = &mut hostile.streams[0];
    let mut seed: u32 = 1;
    for _ in 0..many {
        let mut packet = [0; PACKET_BYTES];
        for byte in &mut packet {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = (seed >> 24) as u8;
        }
        // All of them operations that there are, or nearly.
        packet[2] %= 12;
        let _ = stream.call_raw(&packet);
    }
    say(&format!("packets: {many} answered"));
}

/// Ring indices out of range: the card is closed, and comes back when we step back.
fn indices(hostile: &mut HostileGuest) {
    let bad = [34, 1 << 31, u32::MAX];
    for index in bad {
        hostile.connect_alone(1);
        let stream = &hostile.streams[0];
        stream.events.store_release(IN_CONS, index);
        stream.ring.store_release(REQ_PROD, index);
        stream.notify();
        assert!(hostile.sees_backend(XenbusState::Closed), "the backend goes on with index {index}");
    }
    say(&format!("indices: closed after {} of {}", bad.len(), bad.len()));
}

/// Signals without a reason.
fn storm(hostile: &mut HostileGuest, many: u32) {
    hostile.connect_alone(1);
    let stream = &hostile.streams[0];
    for _ in 0..many * 2 {
        stream.notify();
        stream.event_channel.notify().expect("the channel lives");
    }
    say(&format!("storm: {} signals", many * 4));
}

/// The store's nodes, rewritten without an end.
fn nodes(hostile: &mut HostileGuest, many: u32) {
    let long = vec![b'x'; PAGE_BYTES / 4];
    for round in 0..many / 4 {
        hostile.put("state", [&b"3"[..], b"1", b"4", b"999", b"", b"6"][round as usize % 6]);
        hostile.put("0/0/ring-ref", (round.wrapping_mul(77)).to_string().as_bytes());
        hostile.put("0/0/event-channel", b"-1");
        hostile.put("0/0/type", if round % 2 == 0 { &long } else { b"p" });
    }
    hostile.put("0/0/type", b"p");
    say(&format!("nodes: {many} writes"));
}
