//! One connection to a store for several clients, each of which sees and changes only a part of the store.
//!
//! A client speaks the store's own protocol; everything outside of its part is forbidden to it (`EACCES`). Every
//! request is checked as a whole before it is passed on, under an id of ours. A transaction can be used only by the
//! client that began it, a watch only by the client that set it. The memory for a client that does not read is bounded:
//! no request is taken before its replies have gone, and events are merged. Watches, transactions and nodes of a client
//! are bounded as well: the store does not limit a connection of domain 0. When a client ends, its watches and
//! transactions end.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::client::byte_stream::{ByteStream, Sent};
use crate::errno::StoreErrno;
use crate::error::{Error, Result};
use crate::path::{self, RELEASE_DOMAIN};
use crate::wire::{Decoder, MESSAGE_MAX, Message, Op, strings};

/// Maximum number of rounds over all clients in one call of [`Hub::relay`].
const ROUNDS: usize = 32;
/// Maximum number of pending requests of one client.
const WINDOW: usize = 16;
/// Maximum number of events kept for one client; beyond it, those of a watch are merged into one.
const EVENTS_MAX: usize = 256;
/// Maximum number of watches of one client.
const WATCHES_MAX: usize = 1024;
/// Number of transactions of one client above which it begins no other.
const TRANSACTIONS_MAX: usize = 16;
/// Maximum number of nodes that one client writes, and length of their paths in bytes.
const NODES_MAX: usize = 4096;
const WRITTEN_PATH_BYTES_MAX: usize = 256;

/// Nodes that a client may access, each with all nodes below it.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Nodes to read and watch.
    pub readable: Vec<String>,
    /// Nodes to read, watch, write and remove.
    pub writable: Vec<String>,
}

/// The connection to the store and its clients, each with a number.
pub struct Hub {
    store: ByteStream,
    to_store: Vec<u8>,
    from_store: Decoder,
    clients: BTreeMap<u16, Client>,
    /// Requests that the store has not answered.
    flights: BTreeMap<u32, Flight>,
    last_id: u32,
}

/// Path and token of a watch, or of an event of one.
type Watch = (String, Vec<u8>);

/// The payload of an admitted request for the store, and the watch that its client does not have yet.
type Admitted = (Vec<u8>, Option<Watch>);

struct Client {
    link: ByteStream,
    scope: Scope,
    from: Decoder,
    to: Vec<u8>,
    in_flight: usize,
    transactions: BTreeSet<u32>,
    watches: BTreeSet<Watch>,
    /// Nodes that the client wrote, and the nodes above them that may have been made with them.
    written: BTreeSet<String>,
    /// Events that were not sent yet.
    events: BTreeSet<Watch>,
    gone: bool,
}

struct Flight {
    /// The client and its request id; `None` if the client is gone.
    asker: Option<(u16, u32)>,
    begins_transaction: bool,
    /// The watch that the request adds to those of its client; forgotten if the store refuses it.
    adds_watch: Option<Watch>,
}

impl Hub {
    /// Shares the store behind `store`.
    ///
    /// # Errors
    /// [`Error::Io`] if the descriptor cannot be examined.
    pub fn new(store: OwnedFd) -> Result<Self> {
        Ok(Self {
            store: ByteStream::from_fd(store)?,
            to_store: Vec::new(),
            from_store: Decoder::new(),
            clients: BTreeMap::new(),
            flights: BTreeMap::new(),
            last_id: 0,
        })
    }

    /// The store's descriptor; call [`relay`](Self::relay) when it is readable or writable.
    #[must_use]
    pub fn store(&self) -> BorrowedFd<'_> {
        self.store.as_fd()
    }

    /// Adds the client behind `link` as number `client`; replaces an earlier client with that number.
    ///
    /// # Errors
    /// [`Error::Io`] if the descriptor cannot be examined.
    pub fn add(&mut self, client: u16, link: OwnedFd, scope: Scope) -> Result<()> {
        self.remove(client);
        let new = Client {
            link: ByteStream::from_fd(link)?,
            scope,
            from: Decoder::new(),
            to: Vec::new(),
            in_flight: 0,
            transactions: BTreeSet::new(),
            watches: BTreeSet::new(),
            written: BTreeSet::new(),
            events: BTreeSet::new(),
            gone: false,
        };
        self.clients.insert(client, new);
        Ok(())
    }

    /// A client's descriptor; call [`relay`](Self::relay) when it is readable or writable.
    #[must_use]
    pub fn client(&self, client: u16) -> Option<BorrowedFd<'_>> {
        self.clients.get(&client).map(|client| client.link.as_fd())
    }

    /// Removes a client and ends its watches and transactions.
    pub fn remove(&mut self, client: u16) {
        let Some(gone) = self.clients.remove(&client) else { return };
        for flight in self.flights.values_mut() {
            flight.asker.take_if(|(asker, _)| *asker == client);
        }
        for (path, token) in gone.watches {
            let payload = watch_payload(&path, &own_token(client, &token));
            self.ask_for_nobody(Op::Unwatch, 0, payload);
        }
        for transaction in gone.transactions {
            self.ask_for_nobody(Op::TransactionEnd, transaction, b"F\0".to_vec());
        }
    }

    /// Passes on messages in both directions, without waiting; returns true if there may be more.
    ///
    /// # Errors
    /// [`Error::Closed`] if the store is gone, [`Error::Wire`] or [`Error::Protocol`] if it violates the protocol.
    pub fn relay(&mut self) -> Result<bool> {
        for _ in 0..ROUNDS {
            let mut moved = self.take_reply()?;
            let clients: Vec<u16> = self.clients.keys().copied().collect();
            for client in clients {
                moved |= self.serve(client)?;
            }
            moved |= flush(&self.store, &mut self.to_store)?;
            if !moved {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Removes a client that is gone or violates the protocol, and returns its number.
    pub fn take_gone(&mut self) -> Option<u16> {
        let gone = self.clients.iter().find(|(_, client)| client.gone).map(|(number, _)| *number)?;
        self.remove(gone);
        Some(gone)
    }

    /// Handles one request of a client and sends it waiting replies and events; returns true if anything moved.
    fn serve(&mut self, number: u16) -> Result<bool> {
        // A device accepts a message only as a whole, and the store of Xen 4.17 dies if a second one is pending.
        let room = if self.store.is_device() { self.flights.is_empty() } else { self.to_store.len() < MESSAGE_MAX };
        let Some(client) = self.clients.get_mut(&number) else { return Ok(false) };
        if client.gone {
            return Ok(false);
        }
        let told = client.tell();
        let room = room && client.in_flight < WINDOW && client.to.len() < MESSAGE_MAX;
        let asked = if room { client.next() } else { Ok(None) };
        let (Ok(told), Ok(asked)) = (told, asked) else {
            client.gone = true;
            return Ok(true);
        };
        let Some(message) = asked else { return Ok(told) };
        match client.admit(number, &message) {
            Ok((payload, adds_watch)) => {
                client.in_flight = client.in_flight.saturating_add(1);
                let id = self.free_id();
                let begins_transaction = message.op() == Some(Op::TransactionStart);
                let asker = Some((number, message.req_id));
                self.flights.insert(id, Flight { asker, begins_transaction, adds_watch });
                Message { req_id: id, payload, ..message }.emit_into(&mut self.to_store)?;
            }
            Err(errno) => {
                let payload = [errno.name().as_bytes(), b"\0"].concat();
                let refusal = Message { kind: Op::Error.raw(), payload, ..message };
                refusal.emit_into(&mut client.to)?;
            }
        }
        Ok(true)
    }

    fn take_reply(&mut self) -> Result<bool> {
        let Some(message) = next(&self.store, &mut self.from_store)? else { return Ok(false) };
        if message.op() == Some(Op::WatchEvent) {
            self.take_event(&message);
            return Ok(true);
        }
        let Some(flight) = self.flights.remove(&message.req_id) else {
            return Err(Error::Protocol("reply to no request"));
        };
        let begun = if flight.begins_transaction && message.op() != Some(Op::Error) {
            let text = message.payload.strip_suffix(b"\0").unwrap_or(&message.payload);
            std::str::from_utf8(text).ok().and_then(|text| text.parse::<u32>().ok())
        } else {
            None
        };
        match flight.asker.and_then(|(number, req_id)| Some((self.clients.get_mut(&number)?, req_id))) {
            Some((client, req_id)) => {
                client.in_flight = client.in_flight.saturating_sub(1);
                client.transactions.extend(begun);
                if let Some(watch) = flight.adds_watch.filter(|_| message.op() == Some(Op::Error)) {
                    client.watches.remove(&watch);
                }
                Message { req_id, ..message }.emit_into(&mut client.to)?;
            }
            None => {
                if let Some(transaction) = begun {
                    self.ask_for_nobody(Op::TransactionEnd, transaction, b"F\0".to_vec());
                }
            }
        }
        Ok(true)
    }

    fn take_event(&mut self, message: &Message) {
        let Some([path, token]) = strings::<2>(&message.payload) else { return };
        let Some((number, token)) = asker_of(token) else { return };
        if let (Some(client), Ok(path)) = (self.clients.get_mut(&number), std::str::from_utf8(path)) {
            client.note(path, token);
        }
    }

    /// Sends a request whose reply no client waits for.
    fn ask_for_nobody(&mut self, op: Op, tx_id: u32, payload: Vec<u8>) {
        let req_id = self.free_id();
        let message = Message { kind: op.raw(), req_id, tx_id, payload };
        // The payload comes from an earlier message, so it is not too long.
        if message.emit_into(&mut self.to_store).is_ok() {
            self.flights.insert(req_id, Flight { asker: None, begins_transaction: false, adds_watch: None });
        }
    }

    fn free_id(&mut self) -> u32 {
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            if self.last_id != 0 && !self.flights.contains_key(&self.last_id) {
                return self.last_id;
            }
        }
    }
}

impl Client {
    /// The next received request.
    fn next(&mut self) -> Result<Option<Message>> {
        next(&self.link, &mut self.from)
    }

    /// Sends replies and events as far as there is room; returns true if anything was sent.
    fn tell(&mut self) -> Result<bool> {
        while self.to.len() < MESSAGE_MAX
            && let Some((path, token)) = self.events.pop_first()
        {
            let payload = watch_payload(&path, &token);
            Message { kind: Op::WatchEvent.raw(), req_id: 0, tx_id: 0, payload }.emit_into(&mut self.to)?;
        }
        flush(&self.link, &mut self.to)
    }

    /// Records an event. If there are too many, the events of its watch become one at the watched node.
    fn note(&mut self, path: &str, token: &[u8]) {
        self.events.insert((path.to_owned(), token.to_vec()));
        if self.events.len() > EVENTS_MAX {
            self.events.retain(|(_, other)| other != token);
            let watched = self.watches.iter().find(|(_, other)| other == token);
            self.events.extend(watched.cloned());
        }
    }

    /// Admits a request; returns its payload for the store.
    ///
    /// # Errors
    /// [`StoreErrno::Acces`] for what the client may not do, [`StoreErrno::NoSpc`] above its limits.
    fn admit(&mut self, number: u16, request: &Message) -> std::result::Result<Admitted, StoreErrno> {
        const FORBIDDEN: StoreErrno = StoreErrno::Acces;
        if request.tx_id != 0 && !self.transactions.contains(&request.tx_id) {
            return Err(FORBIDDEN);
        }
        let op = request.op().ok_or(FORBIDDEN)?;
        match op {
            Op::TransactionStart if self.transactions.len() >= TRANSACTIONS_MAX => return Err(StoreErrno::NoSpc),
            Op::TransactionStart => {}
            Op::TransactionEnd => drop(self.transactions.remove(&request.tx_id)),
            Op::Watch | Op::Unwatch => {
                let [path, token] = strings::<2>(&request.payload).ok_or(FORBIDDEN)?;
                let path = std::str::from_utf8(path).map_err(|_| FORBIDDEN)?;
                if path != RELEASE_DOMAIN && !self.scope.reads(path.as_bytes()) {
                    return Err(FORBIDDEN);
                }
                if op == Op::Watch && self.watches.len() >= WATCHES_MAX {
                    return Err(StoreErrno::NoSpc);
                }
                let watch = (path.to_owned(), token.to_vec());
                let payload = watch_payload(path, &own_token(number, token));
                let adds = match op {
                    Op::Watch => self.watches.insert(watch.clone()).then_some(watch),
                    _ => {
                        self.watches.remove(&watch);
                        None
                    }
                };
                return Ok((payload, adds));
            }
            Op::Directory | Op::DirectoryPart | Op::Read if self.scope.reads(first(&request.payload)) => {}
            Op::Write | Op::Mkdir | Op::Rm if self.scope.writes(first(&request.payload)) => {
                let path = std::str::from_utf8(first(&request.payload)).map_err(|_| FORBIDDEN)?;
                self.note_written(op, path, request.tx_id)?;
            }
            _ => return Err(FORBIDDEN),
        }
        Ok((request.payload.clone(), None))
    }

    /// Keeps count of the nodes that the client writes and removes. What a transaction removes may come back.
    fn note_written(&mut self, op: Op, path: &str, transaction: u32) -> std::result::Result<(), StoreErrno> {
        if op == Op::Rm {
            if transaction == 0 {
                self.written.retain(|node| !path::covers(path, node));
            }
            return Ok(());
        }
        let nodes = std::iter::successors(Some(path), |node| path::split(node).map(|(above, _)| above));
        let new: Vec<&str> = nodes.take_while(|node| !self.written.contains(*node)).collect();
        let full = self.written.len().saturating_add(new.len()) > NODES_MAX;
        if !new.is_empty() && (full || path.len() > WRITTEN_PATH_BYTES_MAX) {
            return Err(StoreErrno::NoSpc);
        }
        self.written.extend(new.into_iter().map(str::to_owned));
        Ok(())
    }
}

impl Scope {
    fn reads(&self, path: &[u8]) -> bool {
        self.writes(path) || covered(&self.readable, path)
    }

    fn writes(&self, path: &[u8]) -> bool {
        covered(&self.writable, path)
    }
}

fn covered(nodes: &[String], path: &[u8]) -> bool {
    path::check(path).is_ok_and(|path| nodes.iter().any(|node| path::covers(node, path)))
}

/// The path of a request.
fn first(payload: &[u8]) -> &[u8] {
    payload.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn watch_payload(path: &str, token: &[u8]) -> Vec<u8> {
    [path.as_bytes(), b"\0", token, b"\0"].concat()
}

/// A client's token, made unique among those of all clients.
fn own_token(client: u16, token: &[u8]) -> Vec<u8> {
    [format!("{client}:").as_bytes(), token].concat()
}

/// The client of a unique token, and the client's own token.
fn asker_of(token: &[u8]) -> Option<(u16, &[u8])> {
    let colon = token.iter().position(|byte| *byte == b':')?;
    let (client, rest) = token.split_at_checked(colon)?;
    Some((std::str::from_utf8(client).ok()?.parse().ok()?, rest.get(1..)?))
}

/// The next whole message of `link`, if it has come.
fn next(link: &ByteStream, decoder: &mut Decoder) -> Result<Option<Message>> {
    if let Some(message) = decoder.next_message()? {
        return Ok(Some(message));
    }
    let mut buffer = [0; MESSAGE_MAX];
    match link.read(&mut buffer)? {
        None => return Ok(None),
        Some(0) => return Err(Error::Closed),
        // The decoder has room: it does not hold even one whole message.
        Some(count) => decoder.push(buffer.get(..count).unwrap_or_default()),
    };
    Ok(decoder.next_message()?)
}

/// Writes pending bytes as far as possible; returns true if any were written.
fn flush(link: &ByteStream, pending: &mut Vec<u8>) -> Result<bool> {
    if pending.is_empty() {
        return Ok(false);
    }
    match link.write(pending)? {
        Sent::All => pending.clear(),
        Sent::Some(0) => return Ok(false),
        Sent::Some(count) => drop(pending.drain(..count.min(pending.len()))),
        Sent::Refused(error) => return Err(Error::io("write to the store", error)),
    }
    Ok(true)
}

#[cfg(test)]
mod tests;
