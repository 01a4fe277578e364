//! Tests of the client against a good server, a bad one, and none.

#[expect(dead_code, reason = "other tests use the rest")]
mod common;

use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use common::{Fixture, SOON};
use proptest::prelude::*;
use vsnd_xenstore::wire::{Decoder, Message, Op};
use vsnd_xenstore::{Client, Error, Request, StoreErrno};

/// A client of a fake store that answers every request with the messages of `answer`.
fn fake(answer: impl Fn(&Message) -> Vec<Message> + Send + 'static) -> Client {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    std::thread::spawn(move || {
        let (mut decoder, mut buffer) = (Decoder::new(), [0; 4096]);
        while let Ok(count) = ours.read(&mut buffer) {
            if count == 0 {
                return;
            }
            decoder.push(&buffer[..count]);
            while let Some(request) = decoder.next_message().unwrap() {
                let mut bytes = Vec::new();
                for reply in answer(&request) {
                    reply.emit_into(&mut bytes).unwrap();
                }
                // A few bytes at a time, as the device may return them.
                for piece in bytes.chunks(7) {
                    if ours.write_all(piece).is_err() {
                        return;
                    }
                }
            }
        }
    });
    let mut client = Client::from_fd(OwnedFd::from(theirs)).unwrap();
    client.set_timeout(SOON);
    client
}

fn reply(request: &Message, payload: &[u8]) -> Message {
    Message { payload: payload.to_vec(), ..request.clone() }
}

#[test]
fn values_of_every_size_and_content_come_back() {
    let fixture = Fixture::new();
    let mut client = fixture.dom0();
    for value in [&b""[..], b"x", b"a\0b", &[0xff; 4000]] {
        client.write("/v", value).unwrap();
        assert_eq!(client.read("/v").unwrap(), value);
    }
    assert!(matches!(client.read_string("/v"), Err(Error::NotUtf8 { .. })));
    assert!(matches!(client.write("/v", &[0; 4096]), Err(Error::TooLarge { .. })));
    assert!(matches!(client.read("/a b"), Err(Error::Path { .. })));
    assert!(matches!(client.watch("/v", "a\0b"), Err(Error::Argument { .. })));
    assert_eq!(client.read_opt("/none").unwrap(), None);
    let error = client.read("/none").unwrap_err();
    assert_eq!(error.to_string(), "XenStore: READ /none: ENOENT (does not exist)");
}

#[test]
fn large_directories_are_listed_in_parts() {
    let fixture = Fixture::new();
    let mut client = fixture.dom0();
    let mut expected: Vec<String> = (0..1500).map(|n| format!("{n}-{}", "x".repeat(n % 30))).collect();
    for name in &expected {
        client.mkdir(&format!("/big/{name}")).unwrap();
    }
    expected.sort();
    let raw = client.call(&Request::directory("/big").unwrap());
    assert_eq!(raw.unwrap_err().errno(), Some(StoreErrno::TooBig), "else this test shows nothing");
    assert_eq!(client.directory("/big").unwrap(), expected);
    client.mkdir("/empty").unwrap();
    assert!(client.directory("/empty").unwrap().is_empty());
}

#[test]
fn many_reads_are_under_way_at_once_and_answered_in_order() {
    let fixture = Fixture::new();
    let mut client = fixture.dom0();
    for n in 0..300 {
        client.write(&format!("/v/{n}"), &vec![b'x'; 10 * n]).unwrap();
    }
    let mut paths: Vec<String> = (0..300).map(|n| format!("/v/{n}")).collect();
    paths[17] = "/v/none".into();
    paths[18] = "not a path".into();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let values = client.read_many(&paths);
    assert_eq!(values.len(), 300);
    for (n, value) in values.into_iter().enumerate() {
        match n {
            17 => assert_eq!(value.unwrap(), None),
            18 => assert!(matches!(value, Err(Error::Path { .. }))),
            _ => assert_eq!(value.unwrap().unwrap().len(), 10 * n),
        }
    }
}

#[test]
fn tickets_may_be_waited_for_in_any_order_and_once() {
    let fixture = Fixture::new();
    let mut client = fixture.dom0();
    client.write("/a", b"a").unwrap();
    client.write("/b", b"b").unwrap();
    let a = client.submit(Request::read("/a").unwrap()).unwrap();
    let b = client.submit(Request::read("/b").unwrap()).unwrap();
    assert_eq!(client.wait(b).unwrap().payload, b"b");
    assert_eq!(client.wait(a).unwrap().payload, b"a");
    let mut lost = 0;
    let error = loop {
        match client.submit(Request::read("/a").unwrap()) {
            Ok(_unclaimed) => lost += 1,
            Err(error) => break error,
        }
        assert!(lost < 5000, "unclaimed replies must be bounded");
    };
    assert!(matches!(error, Error::Backlog(_)));
}

#[test]
fn a_killed_server_is_closed_for_every_later_call() {
    let fixture = Fixture::new();
    let mut client = fixture.dom0();
    client.watch("/a", "t").unwrap();
    let Fixture { handle, dir } = fixture;
    let socket = dir.path().join("socket");
    handle.stop();
    for _ in 0..3 {
        assert!(matches!(client.read("/a"), Err(Error::Closed)));
    }
    assert!(matches!(client.process(), Err(Error::Closed)));
    assert!(client.is_closed());
    assert_eq!(client.take_events().len(), 1, "what came before the end can be taken");
    assert!(matches!(client.wait_event(SOON), Err(Error::Closed)));
    assert!(matches!(client.read_many(&["/a", "/b"])[..], [Err(Error::Closed), Err(Error::Closed)]));
    let error = Client::connect(&socket).unwrap_err();
    assert!(error.to_string().contains("socket"), "{error}");
}

#[test]
fn a_silent_store_is_a_timeout_and_its_late_reply_is_dropped() {
    let (mut store, end) = UnixStream::pair().unwrap();
    let mut client = Client::from_fd(end.into()).unwrap();
    client.set_timeout(Duration::from_millis(30));
    let error = client.read("/slow").unwrap_err();
    assert!(matches!(error, Error::Timeout { op: Op::Read, .. }), "{error}");
    assert!(error.to_string().contains("READ /slow: no reply within 30ms"), "{error}");
    let mut bytes = Vec::new();
    for (id, value) in [(1, b"late"), (2, b"good")] {
        let late = Message { kind: Op::Read.raw(), req_id: id, tx_id: 0, payload: value.to_vec() };
        late.emit_into(&mut bytes).unwrap();
    }
    let ticket = client.submit(Request::read("/next").unwrap()).unwrap();
    store.write_all(&bytes).unwrap();
    assert_eq!(client.wait(ticket).unwrap().payload, b"good");
}

#[test]
fn events_without_end_do_not_hold_off_the_timeout() {
    let (mut store, end) = UnixStream::pair().unwrap();
    let flood = std::thread::spawn(move || {
        let event = Message { kind: Op::WatchEvent.raw(), req_id: 0, tx_id: 0, payload: b"/other\0t\0".to_vec() };
        let mut bytes = Vec::new();
        for _ in 0..1000 {
            event.emit_into(&mut bytes).unwrap();
        }
        while store.write_all(&bytes).is_ok() {}
    });
    let mut client = Client::from_fd(end.into()).unwrap();
    client.set_timeout(Duration::from_millis(100));
    // Without a time-out, each of these calls would never return.
    assert!(matches!(client.read("/a"), Err(Error::Timeout { .. })));
    assert!(client.wait_event(Duration::from_millis(100)).unwrap().is_none());
    drop(client);
    flood.join().unwrap();
}

/// A client on a pseudo-terminal, which is a character device, too: reads come in pieces, and writes wait.
fn on_a_device() -> (Client, std::fs::File) {
    use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    let client = Client::connect(std::path::Path::new(&name)).unwrap();
    let mut settings = rustix::termios::tcgetattr(client.as_fd()).unwrap();
    settings.make_raw();
    rustix::termios::tcsetattr(client.as_fd(), rustix::termios::OptionalActions::Now, &settings).unwrap();
    (client, std::fs::File::from(master))
}

#[test]
fn over_a_device_a_request_waits_for_the_answer_to_the_one_before() {
    let (mut client, mut device) = on_a_device();
    client.set_timeout(Duration::from_millis(200));
    let values = client.read_many(&["/a", "/b"]);
    assert!(values.iter().all(Result::is_err), "nobody answers");
    drop(client);
    let mut sent = vec![0; 4096];
    let count = device.read(&mut sent).unwrap();
    let mut decoder = Decoder::new();
    assert_eq!(decoder.push(&sent[..count]), count);
    assert!(decoder.next_message().unwrap().is_some());
    assert!(decoder.next_message().unwrap().is_none(), "the second was never sent");
}

#[test]
fn a_character_device_is_used_with_plain_reads_and_writes() {
    let fixture = Fixture::new();
    let (mut client, device) = on_a_device();
    let store = UnixStream::connect(fixture.socket()).unwrap();
    let pump = |mut from: Box<dyn Read + Send>, mut to: Box<dyn Write + Send>| {
        std::thread::spawn(move || std::io::copy(&mut from, &mut to))
    };
    pump(Box::new(device.try_clone().unwrap()), Box::new(store.try_clone().unwrap()));
    pump(Box::new(store), Box::new(device));

    client.set_timeout(SOON);
    client.watch("/d", "t").unwrap();
    let value = vec![b'x'; 4000];
    client.transaction(|t| t.write("/d/a", &value)).unwrap();
    assert_eq!(client.read("/d/a").unwrap(), value);
    let values = client.read_many(&["/d/a"; 40]);
    assert!(values.into_iter().all(|found| found.unwrap() == Some(value.clone())));
    let mut paths: Vec<String> = client.take_events().into_iter().map(|event| event.path).collect();
    paths.sort();
    assert_eq!(paths, ["/d", "/d/a"]);
}

#[test]
fn a_reply_that_does_not_fit_its_request_ends_the_connection() {
    type Twist = fn(&Message) -> Message;
    let twists: [Twist; 4] = [
        |request| Message { req_id: request.req_id + 1, ..request.clone() },
        |request| Message { kind: Op::Write.raw(), ..request.clone() },
        |request| Message { kind: 4711, ..request.clone() },
        |request| Message { kind: Op::WatchEvent.raw(), payload: b"/a".to_vec(), ..request.clone() },
    ];
    for twist in twists {
        let mut client = fake(move |request| vec![twist(request)]);
        assert!(matches!(client.read("/a"), Err(Error::Protocol(_))));
        assert!(matches!(client.read("/a"), Err(Error::Closed)));
    }
}

#[test]
fn replies_to_watch_without_an_id_are_taken_as_linux_sends_them() {
    let mut client = fake(|request| match request.op() {
        Some(Op::Watch | Op::Unwatch) => vec![
            Message { kind: Op::WatchEvent.raw(), req_id: 0, tx_id: 0, payload: b"/a\0t\0".to_vec() },
            Message { req_id: 0, tx_id: 0, ..reply(request, b"OK\0") },
        ],
        _ => vec![reply(request, b"value")],
    });
    client.watch("/a", "t").unwrap();
    assert_eq!(client.take_events().len(), 1, "an event ahead of the reply is kept");
    assert_eq!(client.read("/a").unwrap(), b"value");
    client.unwatch("/a", "t").unwrap();
    assert!(client.take_events().is_empty());
}

#[test]
fn a_directory_that_never_ends_or_has_bad_names_is_refused() {
    let mut client = fake(|request| match request.op() {
        Some(Op::Directory) => vec![Message { kind: Op::Error.raw(), ..reply(request, b"E2BIG\0") }],
        _ => vec![reply(request, b"1\0name\0")],
    });
    assert!(matches!(client.directory("/a"), Err(Error::Protocol(_))));
    let mut client = fake(|request| vec![reply(request, b"../x\0")]);
    assert!(matches!(client.directory("/a"), Err(Error::Protocol(_))));
}

#[test]
fn an_unknown_error_name_is_taken_for_einval() {
    let mut client = fake(|request| vec![Message { kind: Op::Error.raw(), ..reply(request, b"EWHAT\0") }]);
    assert_eq!(client.read("/a").unwrap_err().errno(), Some(StoreErrno::Inval));
}

#[test]
fn the_descriptor_is_readable_when_process_has_work() {
    use rustix::event::{PollFd, PollFlags, poll};
    let fixture = Fixture::new();
    let (mut watcher, mut writer) = (fixture.dom0(), fixture.dom0());
    watcher.watch("/w", "t").unwrap();
    watcher.wait_event(SOON).unwrap().unwrap();
    let ready = |client: &Client, ms: i64| {
        let time = rustix::event::Timespec { tv_sec: 0, tv_nsec: ms * 1_000_000 };
        poll(&mut [PollFd::from_borrowed_fd(client.as_fd(), PollFlags::IN)], Some(&time)).unwrap() > 0
    };
    assert!(!ready(&watcher, 20));
    assert!(!watcher.process().unwrap(), "nothing there: returns at once");
    writer.write("/w", b"").unwrap();
    assert!(ready(&watcher, 900));
    assert!(watcher.process().unwrap());
    assert_eq!(watcher.take_events().len(), 1);
}

#[test]
fn a_second_server_on_a_used_socket_is_refused_and_a_dead_socket_is_replaced() {
    let fixture = Fixture::new();
    assert!(vsnd_xenstore::server::spawn(&fixture.socket()).is_err());
    fixture.dom0().write("/still", b"here").unwrap();
    let dead = fixture.dir.path().join("dead");
    drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
    let handle = vsnd_xenstore::server::spawn(&dead).unwrap();
    Client::connect(handle.path()).unwrap().mkdir("/x").unwrap();
    handle.stop();
    assert!(!dead.exists());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bytes_of_a_store_panic_the_client(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        vsnd_xenstore::fuzzing::client(&bytes);
    }

    #[test]
    fn no_messages_of_a_store_panic_the_client(
        messages in prop::collection::vec(
            (0..23u32, 0..6u32, prop_oneof!["/a\0t\0", "b\0t\0", "[n-r][0-9]\0", "1\0", "\0", "", "ENOENT\0", "EAGAIN\0", "OK\0"]),
            0..12,
        )
    ) {
        let mut bytes = Vec::new();
        for (kind, req_id, payload) in messages {
            Message { kind, req_id, tx_id: 0, payload: payload.into_bytes() }.emit_into(&mut bytes).unwrap();
        }
        vsnd_xenstore::fuzzing::client(&bytes);
    }
}
