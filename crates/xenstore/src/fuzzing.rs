//! Entry points for fuzz targets: no bytes may cause a panic or unbounded memory. Not part of the API.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::server::{ConnId, Store};
use crate::wire::{Decoder, Message, Op};
use crate::{Client, Request, path, perm};

/// Parses any bytes as a stream of messages, and each payload as a path and as permissions.
pub fn decoder(mut bytes: &[u8]) {
    let mut decoder = Decoder::new();
    while !bytes.is_empty() {
        let taken = decoder.push(bytes);
        bytes = bytes.get(taken..).unwrap_or_default();
        loop {
            match decoder.next_message() {
                Ok(Some(message)) => payload(&message.payload),
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
}

fn payload(bytes: &[u8]) {
    let _ = path::check(bytes);
    let _ = path::check_watchable(bytes);
    let _ = perm::parse_list(bytes);
    let _ = crate::StoreErrno::from_wire(bytes);
}

/// Runs any sequence of requests of two guests and domain 0. The first byte of a command selects the domain, the second
/// the operation, the third the transaction; the fourth is the number of payload bytes that follow.
pub fn server(mut bytes: &[u8]) {
    let mut store = Store::new();
    for domain in [1, 2] {
        store.domain_introduced(domain);
        let home = path::domain_dir(domain);
        let _ = store.write(&home, b"").and_then(|()| store.set_perms(&home, &[perm::Perm::none(domain)]));
    }
    let mut conns: [ConnId; 3] = [0, 1, 2].map(|domain| store.connect(domain));
    while let Some(([who, what, tx_id, len], rest)) = bytes.split_first_chunk::<4>() {
        let (payload, rest) = rest.split_at_checked(usize::from(*len)).unwrap_or((rest, &[]));
        bytes = rest;
        let domain = u16::from(who % 3);
        let Some(conn) = conns.get_mut(usize::from(domain)) else { return };
        if !store.is_connected(*conn) {
            *conn = store.connect(domain);
        }
        let message =
            Message { kind: u32::from(*what), req_id: 1, tx_id: u32::from(*tx_id), payload: payload.to_vec() };
        let mut request = Vec::new();
        let _ = message.emit_into(&mut request);
        if store.input(*conn, &request).is_err() {
            store.disconnect(*conn);
        }
        // The highest bit set means that this client reads nothing for now.
        let count = if who & 0x80 == 0 { store.output(*conn).len() } else { 0 };
        let _ = store.sent(*conn, count);
        assert!(store.is_within_bounds(), "limits are kept");
    }
}

/// Gives a client any bytes as the answers of a store.
pub fn client(bytes: &[u8]) {
    let Ok((mut store, end)) = UnixStream::pair() else { return };
    let bytes = bytes.get(..bytes.len().min(64 << 10)).unwrap_or_default();
    if store.write_all(bytes).is_err() || store.shutdown(Shutdown::Write).is_err() {
        return;
    }
    let Ok(mut client) = Client::from_fd(end.into()) else { return };
    client.set_timeout(Duration::from_millis(100));
    let _ = client.watch("/a", "t");
    let _ = client.watch("b", "t");
    let _ = client.read("/a");
    let _ = client.directory("/a");
    let _ = client.get_perms("/a");
    let _ = client.read_many(&["/a", "b", "/c"]);
    let _ = client.transaction(|t| t.read("/a"));
    if let Ok(ticket) = Request::raw(Op::Control, Vec::new()).and_then(|request| client.submit(request)) {
        let _ = client.wait(ticket);
    }
    let _ = client.process();
    let _ = client.take_events();
    let _ = client.unwatch("/a", "t");
    drop(client);
    let _ = store.read_to_end(&mut Vec::new());
}
