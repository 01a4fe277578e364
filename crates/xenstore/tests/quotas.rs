//! Tests of a guest's quotas, and that domain 0 can continue when they are used up.

#[expect(dead_code, reason = "other tests use the rest")]
mod common;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use common::Fixture;
use vsnd_xenstore::server::{Limits, Store};
use vsnd_xenstore::wire::{Message, Op};
use vsnd_xenstore::{Perm, Request, StoreErrno};

const GUEST: Limits = Limits::guest();

#[test]
fn xsa_326_nodes_are_limited_and_a_request_over_the_limit_changes_nothing() {
    let fixture = Fixture::new();
    let (mut dom0, mut guest) = (fixture.dom0(), fixture.guest(1));
    // The home directory is one node, the directories of the other nodes are ten more.
    for n in 0..GUEST.nodes - 11 {
        guest.write(&format!("d{}/n{n}", n % 10), b"").unwrap();
    }
    let error = guest.write("one/too/many", b"").unwrap_err();
    assert_eq!(error.errno(), Some(StoreErrno::NoSpc));
    assert!(!dom0.exists("/local/domain/1/one").unwrap());
    assert_eq!(guest.mkdir("one-more").unwrap_err().errno(), Some(StoreErrno::NoSpc));
    guest.write("d0/n0", b"changing is allowed").unwrap();
    guest.rm("d1").unwrap();
    guest.write("one/more", b"").unwrap();
    dom0.write("/still/works", b"").unwrap();
}

#[test]
fn xsa_326_nodes_made_in_transactions_count_at_commit() {
    let mut store = Store::with_limits(Limits::privileged(), Limits { nodes: 5, ..GUEST });
    store.write("/d", b"").unwrap();
    store.set_perms("/d", &[Perm::none(0), Perm::both(1)]).unwrap();
    for name in ["/d/a", "/d/b"] {
        store.mkdir(name).unwrap();
    }
    let conn = store.connect(1);
    let mut ask = |op: Op, tx_id: u32, payload: &[u8]| {
        let mut bytes = Vec::new();
        Message { kind: op.raw(), req_id: 1, tx_id, payload: payload.to_vec() }.emit_into(&mut bytes).unwrap();
        store.input(conn, &bytes).unwrap();
        let output = store.output(conn).to_vec();
        store.sent(conn, output.len()).unwrap();
        output[16..].to_vec()
    };
    assert_eq!(ask(Op::TransactionStart, 0, b"\0"), b"1\0");
    assert_eq!(ask(Op::TransactionStart, 0, b"\0"), b"2\0");
    for n in 0..3 {
        assert_eq!(ask(Op::Write, 1, format!("/d/a/{n}\0").as_bytes()), b"OK\0");
        assert_eq!(ask(Op::Write, 2, format!("/d/b/{n}\0").as_bytes()), b"OK\0");
    }
    assert_eq!(ask(Op::TransactionEnd, 1, b"T\0"), b"OK\0");
    assert_eq!(ask(Op::TransactionEnd, 2, b"T\0"), b"ENOSPC\0");
    assert_eq!(ask(Op::Directory, 0, b"/d/b\0"), b"");
}

#[test]
fn xsa_326_watches_transactions_sizes_and_permission_lists_are_limited() {
    let fixture = Fixture::new();
    let mut guest = fixture.guest(1);
    for n in 0..GUEST.watches {
        guest.watch("data", &format!("{n}")).unwrap();
    }
    assert_eq!(guest.watch("data", "more").unwrap_err().errno(), Some(StoreErrno::TooBig));
    guest.unwatch("data", "0").unwrap();
    guest.watch("data", "more").unwrap();

    let start = || Request::raw(Op::TransactionStart, b"\0".to_vec()).unwrap();
    for _ in 0..GUEST.transactions {
        guest.call(&start()).unwrap();
    }
    assert_eq!(guest.call(&start()).unwrap_err().errno(), Some(StoreErrno::NoSpc));
    // A second connection of the same domain shares the limits.
    let mut second = vsnd_xenstore::Client::from_fd(fixture.handle.connect_domain(1).unwrap()).unwrap();
    assert_eq!(second.call(&start()).unwrap_err().errno(), Some(StoreErrno::NoSpc));
    guest.call(&Request::raw(Op::ResetWatches, b"\0".to_vec()).unwrap()).unwrap();
    second.call(&start()).unwrap();

    let long = "x".repeat(GUEST.path_bytes);
    assert_eq!(guest.read(&long).unwrap_err().errno(), Some(StoreErrno::Inval));
    assert_eq!(guest.watch(&long, "t").unwrap_err().errno(), Some(StoreErrno::Inval));

    guest.write("n", &[b'x'; 2048]).unwrap();
    assert_eq!(guest.write("n", &[b'x'; 2049]).unwrap_err().errno(), Some(StoreErrno::NoSpc));
    assert_eq!(guest.set_perms("n", &[Perm::none(1); 6]).unwrap_err().errno(), Some(StoreErrno::NoSpc));
    guest.set_perms("n", &[Perm::none(1); 5]).unwrap();
}

#[test]
fn xsa_416_one_transaction_cannot_look_at_nodes_without_end() {
    let fixture = Fixture::new();
    let mut guest = fixture.guest(1);
    let result = guest.transaction(|t| (0..3000).try_for_each(|n| t.read_opt(&format!("none-{n}")).map(drop)));
    assert_eq!(result.unwrap_err().errno(), Some(StoreErrno::NoSpc));
}

#[test]
fn xsa_416_a_client_that_never_reads_is_held_up_in_bounded_memory_and_others_go_on() {
    let fixture = Fixture::new();
    let mut dom0 = fixture.dom0();
    drop(fixture.guest(1));
    let mut deaf = UnixStream::from(fixture.handle.connect_domain(1).unwrap());
    dom0.write("/local/domain/1/big", &[b'x'; 2000]).unwrap();
    let mut read = Vec::new();
    Message { kind: Op::Read.raw(), req_id: 1, tx_id: 0, payload: b"big\0".to_vec() }.emit_into(&mut read).unwrap();
    let mut watch = Vec::new();
    Message { kind: Op::Watch.raw(), req_id: 2, tx_id: 0, payload: b"big\0t\0".to_vec() }
        .emit_into(&mut watch)
        .unwrap();
    deaf.write_all(&watch).unwrap();
    deaf.set_write_timeout(Some(common::QUIET)).unwrap();
    let mut asked = 0_usize;
    while deaf.write(&read).is_ok_and(|count| count == read.len()) {
        asked += 1;
        assert!(asked < 1_000_000, "the server took requests without end");
    }
    for n in 0..5000 {
        dom0.write(&format!("/local/domain/1/big/{}", n % 700), b"").unwrap();
    }
    let waiting = fixture.handle.with(|server| {
        let fds: Vec<_> = server.fds().map(|interest| interest.conn).collect();
        fds.iter().map(|conn| server.store().output(*conn).len()).max().unwrap()
    });
    assert!(waiting.unwrap() < 70_000, "{waiting:?}");
    // A client that reads again gets every reply to its requests, and continues.
    deaf.set_read_timeout(Some(common::QUIET)).unwrap();
    let (mut got, mut replies, mut buffer) = (vsnd_xenstore::wire::Decoder::new(), 0, [0; 4096]);
    while let Ok(count) = deaf.read(&mut buffer) {
        assert_eq!(got.push(&buffer[..count]), count);
        while let Some(message) = got.next_message().unwrap() {
            replies += usize::from(message.op() == Some(Op::Read));
        }
    }
    assert_eq!(replies, asked);
}
