//! Tests of the xenstore crate against `xen/io/xs_wire.h`.

use std::collections::BTreeSet;

use header_check::Constants;
use xenstore::wire::{HEADER_BYTES, Header, Op, PAYLOAD_MAX};
use xenstore::{StoreErrno, path};

#[test]
fn operations_have_the_headers_numbers_and_none_is_missing() {
    let header = Constants::of("xs_wire");
    for op in Op::ALL {
        assert_eq!(u64::from(op.raw()), header.number(&format!("XS_{op}")), "{op}");
        assert_eq!(Op::from_raw(op.raw()), Some(*op));
    }
    let not_operations = ["TYPE_COUNT", "INVALID"];
    let named = header.starting_with("XS_").map(|(name, _)| name).filter(|name| !not_operations.contains(name));
    let named: BTreeSet<String> = named.map(String::from).collect();
    assert_eq!(named, Op::ALL.iter().map(Op::to_string).collect());
    let count = u32::try_from(header.number("XS_TYPE_COUNT")).unwrap();
    assert!((count..count + 100).all(|raw| Op::from_raw(raw).is_none()));
    assert_eq!(Op::from_raw(u32::try_from(header.number("XS_INVALID")).unwrap()), None);
}

#[test]
fn messages_start_with_the_headers_structure() {
    let header = Constants::of("xs_wire");
    assert_eq!(HEADER_BYTES as u64, header.number("sizeof xsd_sockmsg"));
    let bytes = Header { kind: 1, req_id: 2, tx_id: 3, len: 4 }.emit();
    for (member, value) in [("type", 1_u32), ("req_id", 2), ("tx_id", 3), ("len", 4)] {
        let at = usize::try_from(header.number(&format!("xsd_sockmsg.{member}"))).unwrap();
        assert_eq!(bytes[at..at + 4], value.to_ne_bytes(), "{member}");
    }
}

#[test]
fn limits_are_those_of_the_header() {
    let header = Constants::of("xs_wire");
    assert_eq!(PAYLOAD_MAX as u64, header.number("XENSTORE_PAYLOAD_MAX"));
    assert_eq!(path::ABS_PATH_MAX as u64, header.number("XENSTORE_ABS_PATH_MAX"));
    assert_eq!(path::REL_PATH_MAX as u64, header.number("XENSTORE_REL_PATH_MAX"));
}

#[test]
fn every_error_of_the_header_has_a_name_of_ours() {
    let header = Constants::of("xs_wire");
    let theirs: BTreeSet<&str> = header.starting_with("error ").map(|(name, _)| name).collect();
    let ours: BTreeSet<&str> = StoreErrno::all().map(StoreErrno::name).collect();
    assert_eq!(ours, theirs);
    for name in theirs {
        let payload = format!("{name}\0");
        assert_eq!(StoreErrno::from_wire(payload.as_bytes()).map(StoreErrno::name), Some(name));
    }
}
