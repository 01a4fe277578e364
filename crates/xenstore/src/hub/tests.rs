use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::*;
use crate::client::Request;
use crate::{Client, StoreErrno, server};

const OURS: &str = "/local/domain/0/backend/vsnd/3";
const THEIRS: &str = "/local/domain/3/device/vsnd";
const FORBIDDEN: Option<StoreErrno> = Some(StoreErrno::Acces);

fn scope(guest: u16) -> Scope {
    Scope {
        readable: vec![format!("/local/domain/{guest}/device/vsnd")],
        writable: vec![format!("/local/domain/0/backend/vsnd/{guest}")],
    }
}

/// A store, and a hub in a thread of its own.
struct World {
    all: Client,
    orders: Sender<(u16, Option<OwnedFd>)>,
    _thread: JoinHandle<()>,
    _server: Box<dyn std::any::Any>,
    _dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("socket");
        let server = server::spawn(&socket).unwrap();
        let (orders, ordered) = channel::<(u16, Option<OwnedFd>)>();
        let mut hub = Hub::new(crate::client::connect(&socket).unwrap()).unwrap();
        let thread = std::thread::spawn(move || {
            while hub.relay().is_ok() {
                for (client, link) in ordered.try_iter() {
                    match link {
                        Some(link) => hub.add(client, link, scope(client)).unwrap(),
                        None => hub.remove(client),
                    }
                }
                while hub.take_gone().is_some() {}
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let all = Client::connect(Path::new(&socket)).unwrap();
        Self { all, orders, _thread: thread, _server: Box::new(server), _dir: dir }
    }

    fn client(&self, guest: u16) -> Client {
        let (client, theirs) = UnixStream::pair().unwrap();
        self.orders.send((guest, Some(theirs.into()))).unwrap();
        Client::from_fd(client.into()).unwrap()
    }
}

fn errno<T: std::fmt::Debug>(result: Result<T>) -> Option<StoreErrno> {
    result.unwrap_err().errno()
}

#[test]
fn a_client_reaches_its_own_part_and_nothing_else() {
    let mut world = World::new();
    let mut client = world.client(3);
    client.write(&format!("{OURS}/0/state"), b"2").unwrap();
    assert_eq!(world.all.read(&format!("{OURS}/0/state")).unwrap(), b"2");
    world.all.write(&format!("{THEIRS}/0/state"), b"3").unwrap();
    assert_eq!(client.read(&format!("{THEIRS}/0/state")).unwrap(), b"3");
    client.transaction(|t| t.write(&format!("{OURS}/0/x"), b"1")).unwrap();
    client.rm(&format!("{OURS}/0/x")).unwrap();
    world.all.write("/local/domain/4/device/vsnd/0/state", b"1").unwrap();
    for other in [
        "/local/domain/4/device/vsnd/0/state",
        "/local/domain/33/device/vsnd",
        "/local/domain/0/backend/vsnd",
        "/local/domain/0/backend/vsnd/33",
        "/",
        "/vm",
        "data",
    ] {
        assert_eq!(errno(client.read(other)), FORBIDDEN, "{other}");
        assert_eq!(errno(client.directory(other)), FORBIDDEN, "{other}");
        assert_eq!(errno(client.watch(other, "t")), FORBIDDEN, "{other}");
        assert_eq!(errno(client.write(other, b"x")), FORBIDDEN, "{other}");
        assert_eq!(errno(client.rm(other)), FORBIDDEN, "{other}");
    }
    assert_eq!(errno(client.write(&format!("{THEIRS}/0/state"), b"6")), FORBIDDEN);
    for op in [Op::SetPerms, Op::Control, Op::Introduce, Op::Release, Op::SetTarget, Op::Resume, Op::GetDomainPath] {
        let request = Request::raw(op, format!("{OURS}\0").into_bytes()).unwrap();
        assert_eq!(errno(client.call(&request)), FORBIDDEN, "{op}");
    }
    assert_eq!(world.all.read("/local/domain/4/device/vsnd/0/state").unwrap(), b"1");
}

#[test]
fn clients_hear_of_their_own_watches_and_many_requests_at_once_are_answered() {
    let mut world = World::new();
    let (mut one, mut other) = (world.client(3), world.client(4));
    for (client, guest) in [(&mut one, 3), (&mut other, 4)] {
        client.watch(&format!("/local/domain/{guest}/device/vsnd"), "f").unwrap();
        client.watch(RELEASE_DOMAIN, "r").unwrap();
        while client.wait_event(Duration::from_millis(200)).unwrap().is_some() {}
    }
    let node = format!("{THEIRS}/0/state");
    world.all.write(&node, b"3").unwrap();
    let event = one.wait_event(Duration::from_secs(10)).unwrap().unwrap();
    assert_eq!((event.path.as_str(), event.token.as_str()), (node.as_str(), "f"));
    assert_eq!(other.wait_event(Duration::from_millis(200)).unwrap(), None);
    let paths = vec![node.as_str(); 2000];
    assert!(one.read_many(&paths).into_iter().all(|value| value.unwrap().unwrap() == b"3"));
}

#[test]
fn a_transaction_is_its_clients_and_ends_with_it() {
    let mut world = World::new();
    let (mut one, mut other) = (world.client(3), world.client(4));
    let begun = one.call(&Request::raw(Op::TransactionStart, vec![0]).unwrap()).unwrap().payload;
    let begun: u32 = std::str::from_utf8(&begun[..begun.len() - 1]).unwrap().parse().unwrap();
    let read = Request::read("/local/domain/0/backend/vsnd/4").unwrap().in_transaction(begun);
    assert_eq!(errno(other.call(&read)), FORBIDDEN);
    one.call(&Request::write(OURS, b"x").unwrap().in_transaction(begun)).unwrap();
    // The next client of that number cannot use the transaction, and nothing written in it exists.
    let mut next = world.client(3);
    assert_eq!(errno(next.call(&Request::write(OURS, b"y").unwrap().in_transaction(begun))), FORBIDDEN);
    assert!(!world.all.exists(OURS).unwrap());
    world.orders.send((3, None)).unwrap();
}

#[test]
fn xsa_349_events_that_a_client_of_the_hub_does_not_read_are_merged() {
    let (client, _theirs) = UnixStream::pair().unwrap();
    let mut hub = Hub::new(client.try_clone().unwrap().into()).unwrap();
    hub.add(3, client.into(), scope(3)).unwrap();
    let client = hub.clients.get_mut(&3).unwrap();
    client.watches.insert((THEIRS.into(), b"f".to_vec()));
    for number in 0..100_000 {
        client.note(&format!("{THEIRS}/{number}"), b"f");
        assert!(client.events.len() <= EVENTS_MAX);
    }
    assert!(client.events.contains(&(THEIRS.into(), b"f".to_vec())));
}

#[test]
fn a_watch_that_the_store_refuses_is_not_remembered() {
    let (ours, mut store) = UnixStream::pair().unwrap();
    let (mut client, theirs) = UnixStream::pair().unwrap();
    let mut hub = Hub::new(ours.into()).unwrap();
    hub.add(3, theirs.into(), scope(3)).unwrap();
    let bytes = |kind: Op, req_id, payload: &[u8]| {
        let mut bytes = Vec::new();
        let message = Message { kind: kind.raw(), req_id, tx_id: 0, payload: payload.to_vec() };
        message.emit_into(&mut bytes).unwrap();
        bytes
    };
    let watches = |hub: &Hub| hub.clients[&3].watches.len();
    // The last is refused because it is there already.
    for (token, accepted, remembered) in [(b"a", false, 0), (b"b", true, 1), (b"c", false, 1), (b"b", false, 1)] {
        client.write_all(&bytes(Op::Watch, 7, &watch_payload(THEIRS, token))).unwrap();
        while hub.relay().unwrap() {}
        let mut decoder = Decoder::new();
        let mut buffer = [0; 256];
        let length = store.read(&mut buffer).unwrap();
        decoder.push(&buffer[..length]);
        let asked = decoder.next_message().unwrap().unwrap();
        assert_eq!(asked.op(), Some(Op::Watch));
        let (kind, answer) = if accepted { (Op::Watch, &b"OK\0"[..]) } else { (Op::Error, &b"E2BIG\0"[..]) };
        store.write_all(&bytes(kind, asked.req_id, answer)).unwrap();
        while hub.relay().unwrap() {}
        assert_eq!(watches(&hub), remembered, "{}", char::from(token[0]));
    }
}

/// Sends `requests` again and again and reads no reply; `serve` is the store. Returns the bytes that wait for the client.
fn waiting_for_a_client_that_does_not_read(request: &[u8], mut serve: impl FnMut(&mut UnixStream)) -> usize {
    let (ours, mut store) = UnixStream::pair().unwrap();
    let (mut client, theirs) = UnixStream::pair().unwrap();
    client.set_nonblocking(true).unwrap();
    store.set_nonblocking(true).unwrap();
    let mut hub = Hub::new(ours.into()).unwrap();
    hub.add(3, theirs.into(), scope(3)).unwrap();
    for _ in 0..2_000 {
        // A request that does not fit is cut, and ends the client's connection: whole requests only.
        let _ = client.write(request);
        let _ = hub.relay().unwrap();
        serve(&mut store);
    }
    assert!(!hub.clients[&3].gone);
    hub.clients[&3].to.len()
}

fn message(kind: Op, req_id: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let message = Message { kind: kind.raw(), req_id, tx_id: 0, payload: payload.to_vec() };
    message.emit_into(&mut bytes).unwrap();
    bytes
}

#[test]
fn replies_that_a_client_does_not_read_are_bounded() {
    const MOST: usize = (WINDOW + 2) * MESSAGE_MAX;
    let forbidden = message(Op::Read, 1, b"/vm\0");
    let waiting = waiting_for_a_client_that_does_not_read(&forbidden, |_| {});
    assert!(waiting <= MOST, "{waiting} bytes of refusals");
    let allowed = message(Op::Read, 1, format!("{THEIRS}\0").as_bytes());
    let mut decoder = Decoder::new();
    let waiting = waiting_for_a_client_that_does_not_read(&allowed, |store| {
        let mut buffer = [0; MESSAGE_MAX];
        if let Ok(length) = store.read(&mut buffer) {
            decoder.push(&buffer[..length]);
        }
        while let Some(asked) = decoder.next_message().unwrap() {
            store.write_all(&message(Op::Read, asked.req_id, &[b'x'; 4_000])).unwrap();
        }
    });
    assert!(waiting <= MOST, "{waiting} bytes of replies");
}

#[test]
fn the_watches_transactions_and_nodes_of_a_client_are_bounded() {
    const FULL: Option<StoreErrno> = Some(StoreErrno::NoSpc);
    let mut world = World::new();
    let mut client = world.client(3);
    let begin = Request::raw(Op::TransactionStart, vec![0]).unwrap();
    let begun: Vec<u32> = (0..TRANSACTIONS_MAX)
        .map(|_| {
            let id = client.call(&begin).unwrap().payload;
            std::str::from_utf8(&id[..id.len() - 1]).unwrap().parse().unwrap()
        })
        .collect();
    assert_eq!(errno(client.call(&begin)), FULL);
    let end = Request::raw(Op::TransactionEnd, b"F\0".to_vec()).unwrap();
    client.call(&end.clone().in_transaction(begun[0])).unwrap();
    assert!(client.call(&begin).is_ok());

    let watch = |number: usize| Request::raw(Op::Watch, watch_payload(THEIRS, number.to_string().as_bytes())).unwrap();
    let tickets: Vec<_> = (0..WATCHES_MAX).map(|number| client.submit(watch(number)).unwrap()).collect();
    tickets.into_iter().for_each(|ticket| drop(client.wait(ticket).unwrap()));
    assert_eq!(errno(client.call(&watch(WATCHES_MAX))), FULL);
    client.call(&Request::raw(Op::Unwatch, watch_payload(THEIRS, b"0")).unwrap()).unwrap();
    client.call(&watch(WATCHES_MAX)).unwrap();

    // Each node makes those above it.
    let deep = "/a".repeat((WRITTEN_PATH_BYTES_MAX - OURS.len() - "/9999".len()) / 2);
    let node = |number: usize| format!("{OURS}/{number}{deep}");
    let refused = (0..NODES_MAX).position(|number| client.write(&node(number), b"x").is_err()).unwrap();
    assert!(refused <= NODES_MAX / (deep.len() / 2), "{refused}");
    assert_eq!(errno(client.write(&node(refused), b"x")), FULL);
    client.write(&node(0), b"y").unwrap();
    // A transaction that is given up removes nothing.
    let rm = Request::raw(Op::Rm, format!("{OURS}\0").into_bytes()).unwrap();
    client.call(&rm.in_transaction(begun[1])).unwrap();
    client.call(&end.in_transaction(begun[1])).unwrap();
    assert_eq!(errno(client.write(&node(refused), b"x")), FULL);
    client.rm(&format!("{OURS}/0")).unwrap();
    client.write(&node(refused), b"x").unwrap();
    assert_eq!(errno(client.write(&format!("{OURS}/{}", "b".repeat(WRITTEN_PATH_BYTES_MAX)), b"x")), FULL);
    assert!(!world.all.exists(&node(refused + 1)).unwrap());
}
