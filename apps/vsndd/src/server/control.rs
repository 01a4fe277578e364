//! The control socket: requests come in, replies and events go out, one line each.

use std::fmt;
use std::io;

use control::{LINE_BYTES_MAX, Reply, Request};

use super::listener::Listener;
use super::longest_silent;
use crate::connection::{Connection, Socket};
use crate::journal::Journal;
use crate::poller::Poller;

/// Maximum number of connections at the same time.
const CLIENTS_MAX: usize = 32;

/// Time that a client that follows no events may be silent.
const IDLE_NS_MAX: u64 = 60_000_000_000;

/// User and process of a client, for the audit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    uid: u32,
    pid: i32,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "user {} (process {})", self.uid, self.pid)
    }
}

/// Client that is to be answered: a slot, and the serial number of the client in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClientId {
    slot: usize,
    serial: u64,
}

/// A connected client.
#[derive(Debug)]
struct Client {
    connection: Connection,
    peer: Peer,
    serial: u64,
    /// True while the client waits for an answer.
    waits: bool,
    /// Number of events that the client has seen, if it follows them.
    seen: Option<u64>,
}

/// The control socket.
#[derive(Debug)]
pub(crate) struct Control {
    listener: Listener,
    clients: [Option<Client>; CLIENTS_MAX],
    /// Token of the listener; those of the clients follow.
    token: u64,
    /// Number of clients so far.
    count: u64,
}

impl Control {
    /// Number of tokens that this socket takes up.
    pub(crate) const TOKENS: u64 = CLIENTS_MAX as u64 + 1;

    /// Serves `listener`; `token` and the [`TOKENS`](Self::TOKENS) from there on are its own.
    pub(crate) fn new(listener: Listener, token: u64, poller: &Poller) -> io::Result<Self> {
        // Edge-triggered: if this process is out of descriptors, clients that wait must not keep it busy.
        poller.add_edge(&listener, token)?;
        Ok(Self { listener, clients: [const { None }; CLIENTS_MAX], token, count: 0 })
    }

    /// Serves what became ready under `token`; returns true if the token is one of ours.
    pub(crate) fn woke(&mut self, token: u64, poller: &Poller) -> bool {
        let Some(index) = token.checked_sub(self.token).filter(|&index| index < Self::TOKENS) else { return false };
        let now_ns = poller.now_ns();
        if index == 0 {
            self.accept(poller, now_ns);
        } else if let Some(Some(client)) = usize::try_from(index - 1).ok().and_then(|index| self.clients.get_mut(index))
        {
            client.connection.active_ns = now_ns;
            client.connection.flush();
            client.connection.receive(LINE_BYTES_MAX);
        }
        true
    }

    /// Accepts connections. If no slot is free, the client that was silent longest makes room.
    fn accept(&mut self, poller: &Poller, now_ns: u64) {
        while let Ok(Some(Socket::Unix(stream))) = self.listener.accept() {
            let active_ns = |client: &Client| client.connection.active_ns;
            let index = longest_silent(self.clients.iter().map(|slot| slot.as_ref().map(active_ns)));
            self.clients[index] = None;
            let Ok(credentials) = rustix::net::sockopt::socket_peercred(&stream) else { continue };
            let peer = Peer { uid: credentials.uid.as_raw(), pid: credentials.pid.as_raw_nonzero().get() };
            if poller.add_both_edges(&stream, self.token + 1 + index as u64).is_ok() {
                let connection = Connection::new(Socket::Unix(stream), now_ns);
                self.count += 1;
                self.clients[index] = Some(Client { connection, peer, serial: self.count, waits: false, seen: None });
            }
        }
    }

    /// The next request of each client, at most one, and none of a client that waits: answers come in the order of the
    /// questions.
    pub(crate) fn requests(&mut self) -> Vec<(ClientId, Peer, Request)> {
        let mut requests = Vec::new();
        for (slot, place) in self.clients.iter_mut().enumerate() {
            let Some(client) = place else { continue };
            client.connection.receive_more(LINE_BYTES_MAX);
            match client.next_line() {
                Some(line) => match serde_json::from_slice(&line) {
                    Ok(request) => {
                        client.waits = true;
                        requests.push((ClientId { slot, serial: client.serial }, client.peer, request));
                    }
                    Err(error) => client.send(&Reply::Refused { message: format!("not a request: {error}") }),
                },
                None if client.connection.is_flooded(LINE_BYTES_MAX) && !client.connection.has_line() => {
                    let message = format!("a request is a line of at most {LINE_BYTES_MAX} bytes");
                    client.send(&Reply::Refused { message });
                    client.connection.finish();
                }
                None => {}
            }
            if client.connection.is_over() && !client.waits {
                *place = None;
            }
        }
        requests
    }

    /// Answers the client that asked, if it is still there; with `follow`, it gets every event after that many.
    pub(crate) fn reply(&mut self, id: ClientId, reply: &Reply, follow: Option<u64>) {
        if let Some(Some(client)) = self.clients.get_mut(id.slot)
            && client.serial == id.serial
        {
            client.waits = false;
            client.send(reply);
            client.seen = follow.or(client.seen);
            if client.connection.is_over()
                && let Some(place) = self.clients.get_mut(id.slot)
            {
                *place = None;
            }
        }
    }

    /// Sends the followers the events that they have not seen.
    pub(crate) fn tell(&mut self, journal: &Journal) {
        for client in self.clients.iter_mut().flatten() {
            // A client that is slow to read gets, once it has read, the events that are still remembered.
            let Some(seen) = client.seen.filter(|_| client.connection.is_idle()) else { continue };
            for event in journal.since(seen) {
                client.send(event);
            }
            client.seen = Some(journal.count());
        }
    }

    /// Closes connections that were silent for too long.
    pub(crate) fn expire(&mut self, now_ns: u64) {
        for slot in &mut self.clients {
            slot.take_if(|client| client.ends_ns().is_some_and(|ends_ns| now_ns >= ends_ns));
        }
    }

    /// Time at which [`expire`](Self::expire) has something to do.
    pub(crate) fn next_wake_ns(&self) -> Option<u64> {
        self.clients.iter().flatten().filter_map(Client::ends_ns).min()
    }

    /// Returns true if requests may be waiting for which there will be no event.
    pub(crate) fn is_busy(&self) -> bool {
        self.clients.iter().flatten().any(|client| !client.waits && client.connection.has_line())
    }
}

impl Client {
    /// Time at which the client has been silent for too long.
    fn ends_ns(&self) -> Option<u64> {
        self.seen.is_none().then_some(self.connection.active_ns + IDLE_NS_MAX)
    }

    fn next_line(&mut self) -> Option<Vec<u8>> {
        if self.waits { None } else { self.connection.take_until(b"\n") }
    }

    fn send(&mut self, message: &impl serde::Serialize) {
        // Our messages have no maps with keys that are not text: they can always be serialized.
        if let Ok(mut line) = serde_json::to_vec(message) {
            line.push(b'\n');
            self.connection.send(&line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::ListenAddress;
    use std::io::{ErrorKind, Read, Write};
    use std::os::unix::net::UnixStream;

    const TOKEN: u64 = 100;

    #[test]
    fn those_who_say_nothing_are_closed_after_a_while_and_followers_of_events_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        let poller = Poller::new().unwrap();
        let listener = Listener::bind(&ListenAddress::Unix(path.clone()), None).unwrap();
        let mut control = Control::new(listener, TOKEN, &poller).unwrap();
        let mut clients: Vec<UnixStream> = (0..2).map(|_| UnixStream::connect(&path).unwrap()).collect();
        control.woke(TOKEN, &poller);
        let [silent, follower] = clients.as_mut_slice() else { panic!("two clients") };
        let mut byte = [0];
        silent.set_nonblocking(true).unwrap();
        follower.set_nonblocking(true).unwrap();
        assert_eq!(control.next_wake_ns(), control.clients[0].as_ref().and_then(Client::ends_ns));

        follower.write_all(b"{\"request\":\"events\",\"follow\":true}\n").unwrap();
        control.woke(TOKEN + 2, &poller);
        let requests = control.requests();
        let [(id, _, Request::Events { follow: true })] = requests.as_slice() else { panic!("{requests:?}") };
        control.reply(*id, &Reply::Events { events: Vec::new() }, Some(0));
        let mut answer = [0; 256];
        assert!(follower.read(&mut answer).unwrap() > 0);

        let ends_ns = control.next_wake_ns().unwrap();
        control.expire(ends_ns - 1);
        assert_eq!(silent.read(&mut byte).unwrap_err().kind(), ErrorKind::WouldBlock, "its time is not over");
        control.expire(ends_ns);
        assert_eq!(silent.read(&mut byte).unwrap(), 0, "it is closed");
        control.expire(ends_ns + 100 * IDLE_NS_MAX);
        assert_eq!(follower.read(&mut byte).unwrap_err().kind(), ErrorKind::WouldBlock, "it waits for events");
        assert_eq!(control.next_wake_ns(), None);
    }
}
