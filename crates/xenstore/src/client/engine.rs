//! Sending of requests and receiving of replies and events: the part of a client that tracks pending requests.
//!
//! Replies are matched to requests by their id and checked against the request's operation. Events go into a bounded
//! set immediately, so a reply never waits behind events that were not taken.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::byte_stream::{ByteStream, Sent};
use super::request::{Reply, Request, Ticket};
use crate::dirty::{DirtySet, PATHS_IN_TOTAL, PATHS_PER_WATCH};
use crate::errno::StoreErrno;
use crate::error::{Error, Result};
use crate::path;
use crate::wire::{self, Decoder, MESSAGE_MAX, Message, Op};

/// Maximum number of pending requests. Both ends' socket buffers hold that many whole messages, so the two ends cannot
/// both be stuck writing.
pub(super) const WINDOW: usize = 16;
/// Maximum number of unclaimed replies.
const UNCLAIMED_MAX: usize = 1024;
/// Maximum number of bytes received per call of `process`, so that a busy store cannot keep the owner's loop from its
/// other work.
const BUDGET_BYTES: usize = 16 * MESSAGE_MAX;

/// A request that has no reply yet.
struct Flight {
    op: Op,
    path: String,
    // The reply is not waited for any more: drop it when it comes.
    abandoned: bool,
}

pub(super) struct Watched {
    pub(super) path: String,
    pub(super) token: String,
}

pub(super) struct Engine {
    pub(super) stream: ByteStream,
    decoder: Decoder,
    last_id: u32,
    flights: BTreeMap<u32, Flight>,
    replies: BTreeMap<u32, Result<Reply>>,
    pub(super) watches: BTreeMap<u64, Watched>,
    pub(super) next_watch: u64,
    pub(super) dirty: DirtySet<u64>,
    pub(super) timeout: Duration,
    closed: bool,
}

impl Engine {
    pub(super) fn new(stream: ByteStream) -> Self {
        Self {
            stream,
            decoder: Decoder::new(),
            last_id: 0,
            flights: BTreeMap::new(),
            replies: BTreeMap::new(),
            watches: BTreeMap::new(),
            next_watch: 0,
            dirty: DirtySet::new(PATHS_PER_WATCH, PATHS_IN_TOTAL),
            timeout: Duration::from_secs(10),
            closed: false,
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    fn deadline(&self) -> Instant {
        let now = Instant::now();
        // Some 34 years, for a time-out that the clock cannot express.
        now.checked_add(self.timeout).or_else(|| now.checked_add(Duration::from_secs(1 << 30))).unwrap_or(now)
    }

    fn timed_out(&self, op: Op, path: &str) -> Error {
        Error::Timeout { op, path: path.to_owned(), after: self.timeout }
    }

    /// Passes `result` on. An error ends the connection: this caller gets the error, all later ones get `Closed`.
    fn fatal<T>(&mut self, result: Result<T>) -> Result<T> {
        if result.is_err() {
            self.closed = true;
        }
        result
    }

    /// Maximum number of pending requests. Over a device it is one: the store of Xen 4.17 was seen to die of an
    /// assertion (`conn->in == NULL`) when a guest's requests came while earlier ones were pending in its ring.
    fn window(&self) -> usize {
        if self.stream.is_device() { 1 } else { WINDOW }
    }

    pub(super) fn submit(&mut self, request: &Request) -> Result<Ticket> {
        if self.closed {
            return Err(Error::Closed);
        }
        if self.replies.len() >= UNCLAIMED_MAX {
            return Err(Error::Backlog(self.replies.len()));
        }
        let deadline = self.deadline();
        while self.flights.len() >= self.window() {
            if !self.receive(Some(deadline))? || Instant::now() >= deadline {
                return Err(self.timed_out(request.op, &request.path));
            }
        }
        let id = self.free_id();
        let mut bytes = Vec::with_capacity(MESSAGE_MAX);
        request.message(id).emit_into(&mut bytes)?;
        let flight = Flight { op: request.op, path: request.path.clone(), abandoned: false };
        self.flights.insert(id, flight);
        match self.send(&bytes, deadline) {
            Ok(None) => {}
            Ok(Some(errno)) => self.refused(id, errno)?,
            Err(error) => {
                self.flights.remove(&id);
                return Err(match error {
                    Error::Timeout { .. } => self.timed_out(request.op, &request.path),
                    other => other,
                });
            }
        }
        Ok(Ticket(id))
    }

    // Id 0 is kept free: events have it, and Linux uses it in its own answers to WATCH.
    fn free_id(&mut self) -> u32 {
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            let id = self.last_id;
            if id != 0 && !self.flights.contains_key(&id) && !self.replies.contains_key(&id) {
                return id;
            }
        }
    }

    /// Writes one message, and reads meanwhile. A partly written message makes the stream unusable.
    fn send(&mut self, bytes: &[u8], deadline: Instant) -> Result<Option<Errno>> {
        let mut rest = bytes;
        loop {
            let sent = self.stream.write(rest);
            match self.fatal(sent)? {
                Sent::All => return Ok(None),
                Sent::Refused(errno) if rest.len() == bytes.len() => return Ok(Some(errno)),
                Sent::Refused(errno) => {
                    self.closed = true;
                    return Err(Error::io("write to the store", errno));
                }
                Sent::Some(count) => rest = rest.get(count..).unwrap_or_default(),
            }
            let ready = self.stream.wait(true, Some(deadline));
            // The clock is checked, too: with a store that only sends, `wait` would never time out.
            if !self.fatal(ready)? || Instant::now() >= deadline {
                self.closed |= rest.len() != bytes.len();
                return Err(Error::Timeout { op: Op::Control, path: String::new(), after: self.timeout });
            }
            self.receive(Some(Instant::now()))?;
        }
    }

    /// Linux answers a WATCH that the store refused with an errno of `write`, not with a reply.
    fn refused(&mut self, id: u32, errno: Errno) -> Result<()> {
        let known = [
            (Errno::INVAL, StoreErrno::Inval),
            (Errno::ACCESS, StoreErrno::Acces),
            (Errno::EXIST, StoreErrno::Exist),
            (Errno::NOENT, StoreErrno::NoEnt),
            (Errno::NOMEM, StoreErrno::NoMem),
            (Errno::NOSPC, StoreErrno::NoSpc),
            (Errno::TOOBIG, StoreErrno::TooBig),
            (Errno::PERM, StoreErrno::Perm),
            (Errno::NOSYS, StoreErrno::NoSys),
        ];
        let Some(flight) = self.flights.remove(&id) else { return Ok(()) };
        match known.iter().find(|(known, _)| *known == errno) {
            Some((_, errno)) => {
                self.replies.insert(id, Err(Error::Store { op: flight.op, path: flight.path, errno: *errno }));
                Ok(())
            }
            None => {
                self.closed = true;
                Err(Error::io("write to the store", errno))
            }
        }
    }

    pub(super) fn wait(&mut self, ticket: &Ticket) -> Result<Reply> {
        let deadline = self.deadline();
        loop {
            if let Some(reply) = self.replies.remove(&ticket.0) {
                return reply;
            }
            if self.closed {
                return Err(Error::Closed);
            }
            if self.flights.get(&ticket.0).is_none_or(|flight| flight.abandoned) {
                return Err(Error::Ticket);
            }
            // Endless events must not extend the time allowed for the reply.
            let over = !self.receive(Some(deadline))? || Instant::now() >= deadline;
            if let Some(flight) = self.flights.get_mut(&ticket.0).filter(|_| over) {
                flight.abandoned = true;
                let (op, path) = (flight.op, flight.path.clone());
                return Err(self.timed_out(op, &path));
            }
        }
    }

    /// Waits until `until` for bytes and handles those that have come. Returns false if there were none.
    pub(super) fn receive(&mut self, until: Option<Instant>) -> Result<bool> {
        if self.closed {
            return Err(Error::Closed);
        }
        let ready = self.stream.wait(false, until);
        if !self.fatal(ready)? {
            return Ok(false);
        }
        let mut buffer = [0; MESSAGE_MAX];
        let mut taken = 0_usize;
        while taken < BUDGET_BYTES {
            let count = self.stream.read(&mut buffer);
            let Some(count) = self.fatal(count)? else { break };
            if count == 0 {
                self.closed = true;
                // Bytes from before the end are still valid; only a caller without any new bytes sees the end.
                return if taken > 0 { Ok(true) } else { Err(Error::Closed) };
            }
            taken = taken.saturating_add(count);
            let bytes = buffer.get(..count).unwrap_or_default();
            let done = self.take_in(bytes);
            self.fatal(done)?;
        }
        Ok(true)
    }

    fn take_in(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let count = self.decoder.push(bytes);
            bytes = bytes.get(count..).unwrap_or_default();
            while let Some(message) = self.decoder.next_message()? {
                self.arrived(message)?;
            }
        }
        Ok(())
    }

    fn arrived(&mut self, message: Message) -> Result<()> {
        let op = message.op().ok_or(Error::Protocol("message of an unknown type"))?;
        if op == Op::WatchEvent {
            return self.event(&message.payload);
        }
        let id = if message.req_id == 0 && matches!(op, Op::Watch | Op::Unwatch) {
            // Linux makes these replies itself and leaves the id out. The replies come in the order of the requests.
            self.flights.iter().find(|(_, flight)| flight.op == op).map(|(id, _)| *id)
        } else {
            Some(message.req_id)
        };
        let flight = id.and_then(|id| self.flights.remove(&id));
        let (Some(id), Some(flight)) = (id, flight) else {
            return Err(Error::Protocol("reply to a request that was not made"));
        };
        let reply = if op == Op::Error {
            // An unknown name counts as EINVAL, as in other clients of the store.
            let errno = StoreErrno::from_wire(&message.payload).unwrap_or(StoreErrno::Inval);
            Err(Error::Store { op: flight.op, path: flight.path, errno })
        } else if op == flight.op {
            Ok(Reply { op, payload: message.payload })
        } else {
            return Err(Error::Protocol("reply of another type than its request"));
        };
        if !flight.abandoned {
            self.replies.insert(id, reply);
        }
        Ok(())
    }

    fn event(&mut self, payload: &[u8]) -> Result<()> {
        // Newer stores may append fields: take the first two.
        let mut fields = payload.split(|byte| *byte == 0);
        let (Some(at), Some(token), Some(_)) = (fields.next(), fields.next(), fields.next()) else {
            return Err(Error::Protocol("watch event without path and token"));
        };
        let at = path::check_watchable(at).map_err(|_| Error::Protocol("watch event with a bad path"))?;
        let best = self
            .watches
            .iter()
            .filter(|(_, watch)| watch.token.as_bytes() == token && path::covers(&watch.path, at))
            .max_by_key(|(_, watch)| watch.path.len());
        // Without such a watch, the event was for one that has just been removed.
        if let Some((key, watch)) = best {
            self.dirty.push(*key, at, &watch.path);
        }
        Ok(())
    }
}

/// The single string of a reply; the string's NUL may be missing.
pub(super) fn one_string(payload: &[u8]) -> Result<&str> {
    let text = wire::strings::<1>(payload).map_or(payload, |[text]| text);
    std::str::from_utf8(text).map_err(|_| Error::Protocol("reply is not text"))
}
