//! Tests of transactions: all or nothing, with the result of running one after the other.

#[expect(dead_code, reason = "other tests use the rest")]
mod common;

use std::collections::BTreeMap;

use common::Fixture;
use proptest::prelude::*;
use vsnd_xenstore::client::TRIES;
use vsnd_xenstore::server::{ConnId, Store};
use vsnd_xenstore::wire::{Decoder, Message, Op};
use vsnd_xenstore::{Error, StoreErrno};

#[test]
fn others_see_a_transaction_all_at_once_at_its_end() {
    let fixture = Fixture::new();
    let (mut one, mut other) = (fixture.dom0(), fixture.dom0());
    one.transaction(|t| {
        t.write("/a/x", b"1")?;
        t.write("/a/y", b"2")?;
        assert_eq!(t.read("/a/x")?, b"1", "it sees its own changes");
        assert_eq!(t.directory("/a")?, ["x", "y"]);
        assert!(!other.exists("/a").unwrap());
        Ok(())
    })
    .unwrap();
    assert_eq!(other.directory("/a").unwrap(), ["x", "y"]);
}

#[test]
fn of_two_writers_the_first_to_end_wins_and_the_other_tries_again() {
    let fixture = Fixture::new();
    let (mut one, mut other) = (fixture.dom0(), fixture.dom0());
    one.write("/count", b"0").unwrap();
    let mut calls = 0;
    one.transaction(|t| {
        calls += 1;
        let count: u32 = t.read_string("/count")?.parse().unwrap();
        if calls == 1 {
            other.write("/count", b"10").unwrap();
        }
        t.write("/count", (count + 1).to_string().as_bytes())
    })
    .unwrap();
    assert_eq!(calls, 2);
    assert_eq!(one.read("/count").unwrap(), b"11");
}

#[test]
fn a_conflict_at_every_try_ends_after_the_bound_and_says_so() {
    let fixture = Fixture::new();
    let (mut one, mut other) = (fixture.dom0(), fixture.dom0());
    let mut calls = 0;
    let error = one
        .transaction(|t| {
            calls += 1;
            t.write("/n", b"mine")?;
            other.write("/n", b"theirs").map(drop)
        })
        .unwrap_err();
    assert!(matches!(error, Error::Conflict { tries: TRIES }));
    assert!(error.to_string().contains("32 times"), "{error}");
    assert_eq!(calls, TRIES);
    assert_eq!(one.read("/n").unwrap(), b"theirs");
}

#[test]
fn a_node_that_was_looked_for_and_appears_is_a_conflict() {
    let fixture = Fixture::new();
    let (mut one, mut other) = (fixture.dom0(), fixture.dom0());
    let mut saw = Vec::new();
    one.transaction(|t| {
        saw.push(t.exists("/flag")?);
        if saw.len() == 1 {
            other.write("/flag", b"").unwrap();
        }
        t.write("/other", b"")
    })
    .unwrap();
    assert_eq!(saw, [false, true]);
}

#[test]
fn an_unknown_transaction_is_enoent_and_nesting_is_ebusy() {
    let fixture = Fixture::new();
    let mut dom0 = fixture.dom0();
    let request = vsnd_xenstore::Request::read("/").unwrap().in_transaction(77);
    assert_eq!(dom0.call(&request).unwrap_err().errno(), Some(StoreErrno::NoEnt));
    let nested = dom0
        .transaction(|t| Ok(t.id()))
        .map(|id| vsnd_xenstore::Request::raw(Op::TransactionStart, b"\0".to_vec()).unwrap().in_transaction(id));
    assert_eq!(dom0.call(&nested.unwrap()).unwrap_err().errno(), Some(StoreErrno::NoEnt), "it has ended");
    let start = dom0.call(&vsnd_xenstore::Request::raw(Op::TransactionStart, b"\0".to_vec()).unwrap()).unwrap();
    let id = String::from_utf8(start.payload).unwrap().trim_end_matches('\0').parse().unwrap();
    let nested = vsnd_xenstore::Request::raw(Op::TransactionStart, b"\0".to_vec()).unwrap().in_transaction(id);
    assert_eq!(dom0.call(&nested).unwrap_err().errno(), Some(StoreErrno::Busy));
}

/// One step of a writer, of which there are three.
#[derive(Clone, Debug)]
enum Step {
    Read(u8),
    Write(u8, u8),
    Remove(u8),
    End(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..3u8).prop_map(Step::Read),
        3 => (0..3u8, any::<u8>()).prop_map(|(node, value)| Step::Write(node, value)),
        1 => (0..3u8).prop_map(Step::Remove),
        1 => any::<bool>().prop_map(Step::End),
    ]
}

/// Operations of a transaction and their results, to be repeated in the order of commits.
#[derive(Debug)]
enum Did {
    Saw(u8, Option<u8>),
    Wrote(u8, u8),
    Removed(u8),
}

struct Asker<'a> {
    store: &'a mut Store,
    conn: ConnId,
}

impl Asker<'_> {
    fn ask(&mut self, op: Op, tx_id: u32, payload: &[u8]) -> Message {
        let mut bytes = Vec::new();
        Message { kind: op.raw(), req_id: 5, tx_id, payload: payload.to_vec() }.emit_into(&mut bytes).unwrap();
        self.store.input(self.conn, &bytes).unwrap();
        let output = self.store.output(self.conn).to_vec();
        self.store.sent(self.conn, output.len()).unwrap();
        let mut decoder = Decoder::new();
        decoder.push(&output);
        decoder.next_message().unwrap().unwrap()
    }
}

proptest! {
    #[test]
    fn committed_transactions_are_as_if_run_one_after_the_other(
        steps in prop::collection::vec((0..3usize, step()), 1..80)
    ) {
        let mut store = Store::new();
        let conns = [0; 3].map(|domain| store.connect(domain));
        let mut open: [Option<(u32, Vec<Did>)>; 3] = [None, None, None];
        let mut model: BTreeMap<u8, u8> = BTreeMap::new();
        store.mkdir("/t").unwrap();
        for (who, step) in steps {
            let mut asker = Asker { store: &mut store, conn: conns[who] };
            let (id, did) = open[who].get_or_insert_with(|| {
                let reply = asker.ask(Op::TransactionStart, 0, b"\0");
                (String::from_utf8(reply.payload).unwrap().trim_end_matches('\0').parse().unwrap(), Vec::new())
            });
            match step {
                Step::Read(node) => {
                    let reply = asker.ask(Op::Read, *id, format!("/t/{node}\0").as_bytes());
                    did.push(Did::Saw(node, (reply.op() == Some(Op::Read)).then(|| reply.payload[0])));
                }
                Step::Write(node, value) => {
                    let payload = [format!("/t/{node}\0").as_bytes(), &[value]].concat();
                    prop_assert_eq!(asker.ask(Op::Write, *id, &payload).payload, b"OK\0");
                    did.push(Did::Wrote(node, value));
                }
                Step::Remove(node) => {
                    prop_assert_eq!(asker.ask(Op::Rm, *id, format!("/t/{node}\0").as_bytes()).payload, b"OK\0");
                    did.push(Did::Removed(node));
                }
                Step::End(commit) => {
                    let (id, did) = open[who].take().unwrap();
                    let reply = asker.ask(Op::TransactionEnd, id, if commit { b"T\0" } else { b"F\0" });
                    if reply.op() == Some(Op::Error) {
                        prop_assert_eq!(reply.payload, b"EAGAIN\0");
                    } else if commit {
                        for done in did {
                            match done {
                                Did::Saw(node, value) => prop_assert_eq!(model.get(&node).copied(), value),
                                Did::Wrote(node, value) => drop(model.insert(node, value)),
                                Did::Removed(node) => drop(model.remove(&node)),
                            }
                        }
                    }
                    let now: BTreeMap<u8, u8> = store
                        .directory("/t")
                        .unwrap()
                        .iter()
                        .map(|name| (name.parse().unwrap(), store.read(&format!("/t/{name}")).unwrap()[0]))
                        .collect();
                    prop_assert_eq!(&now, &model);
                }
            }
        }
    }

    #[test]
    fn xsa_326_no_requests_of_two_guests_panic_the_store_or_pass_its_limits(
        commands in prop::collection::vec(
            (any::<u8>(), 0..24u8, 0..4u8, prop_oneof!["[/a-c]{0,6}\0[a-z]{0,3}\0?", "[nrwb][0-3]\0", "T\0|F\0|\0|@releaseDomain\0t\0"]),
            0..200,
        )
    ) {
        let bytes: Vec<u8> = commands
            .iter()
            .flat_map(|(who, what, tx, payload)| [&[*who, *what, *tx, payload.len() as u8], payload.as_bytes()].concat())
            .collect();
        vsnd_xenstore::fuzzing::server(&bytes);
    }

    #[test]
    fn xsa_416_no_bytes_panic_the_store(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        vsnd_xenstore::fuzzing::server(&bytes);
    }
}
