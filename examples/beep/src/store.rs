//! A client of XenStore over the ring that every guest has. Messages are made and understood by `crates/xenstore`.
//!
//! Source: `struct xenstore_domain_interface` in `xen/include/public/io/xs_wire.h` of the Xen project.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use sndif::SharedMemory;
use xenstore::wire::{Decoder, Message, Op};
use xenstore::{StoreErrno, path};

use crate::error::{Error, Result};
use crate::events::{self, SECOND_NS};
use crate::hypercall::{self, Port, Ring};
use crate::memory::Shared;

const RING_BYTES: u32 = 1024;
const REQUESTS: usize = 0;
const ANSWERS: usize = 1024;
const REQUESTS_CONSUMED: usize = 2048;
const REQUESTS_PRODUCED: usize = 2052;
const ANSWERS_CONSUMED: usize = 2056;
const ANSWERS_PRODUCED: usize = 2060;

const TIMEOUT_NS: u64 = 5 * SECOND_NS;

/// The connection to the store. Relative paths lie below this domain's own directory.
#[derive(Debug)]
pub struct Store {
    ring: Shared,
    port: Port,
    decoder: Decoder,
    last_id: u32,
    /// A watch has fired since somebody asked.
    fired: bool,
}

impl Store {
    /// The connection that Xen has prepared for this guest.
    pub fn new() -> Result<Self> {
        Ok(Self {
            ring: Shared::of_ring(Ring::Store)?,
            port: hypercall::ring_port(Ring::Store)?,
            decoder: Decoder::new(),
            last_id: 0,
            fired: false,
        })
    }

    /// The channel that is notified when the store has something to say.
    pub fn port(&self) -> Port {
        self.port
    }

    /// A node's value; `None` where there is no such node.
    pub fn read(&mut self, path: &str) -> Result<Option<Vec<u8>>> {
        match self.request(Op::Read, path, b"\0") {
            Ok(value) => Ok(Some(value)),
            Err(Error::Store { errno: StoreErrno::NoEnt, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes a node.
    pub fn write(&mut self, path: &str, value: &str) -> Result<()> {
        self.request(Op::Write, path, &[b"\0", value.as_bytes()].concat()).map(|_| ())
    }

    /// The names of a node's children; none where there is no such node.
    pub fn directory(&mut self, path: &str) -> Result<Vec<String>> {
        match self.request(Op::Directory, path, b"\0") {
            Ok(names) => Ok(String::from_utf8_lossy(&names).split_terminator('\0').map(str::to_string).collect()),
            Err(Error::Store { errno: StoreErrno::NoEnt, .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Has [`fired`](Self::fired) told of changes at a node and below.
    pub fn watch(&mut self, path: &str) -> Result<()> {
        self.request(Op::Watch, path, b"\0beep\0").map(|_| ())
    }

    /// Returns true if a watch has fired since the last call.
    pub fn fired(&mut self) -> Result<bool> {
        while let Some(message) = self.receive()? {
            self.fired |= message.op() == Some(Op::WatchEvent);
        }
        Ok(core::mem::take(&mut self.fired))
    }

    /// Sends a request and waits for its answer. `rest` follows the path.
    fn request(&mut self, op: Op, path: &str, rest: &[u8]) -> Result<Vec<u8>> {
        path::check(path.as_bytes())?;
        self.last_id = self.last_id.wrapping_add(1);
        let payload = [path.as_bytes(), rest].concat();
        let message = Message { kind: op.raw(), req_id: self.last_id, tx_id: 0, payload };
        let mut bytes = Vec::new();
        message.emit_into(&mut bytes)?;
        let until_ns = events::now_ns() + TIMEOUT_NS;
        self.send(&bytes, until_ns)?;
        loop {
            match self.receive()? {
                Some(event) if event.op() == Some(Op::WatchEvent) => self.fired = true,
                Some(answer) if answer.req_id != self.last_id => {
                    return Err(Error::StoreProtocol("an answer to a question that nobody asked"));
                }
                Some(answer) if answer.op() == Some(op) => return Ok(answer.payload),
                Some(answer) if answer.op() == Some(Op::Error) => {
                    let errno = StoreErrno::from_wire(&answer.payload).unwrap_or(StoreErrno::Inval);
                    return Err(Error::Store { op, path: path.to_string(), errno });
                }
                Some(_) => return Err(Error::StoreProtocol("an answer to another question")),
                None => self.wait(until_ns)?,
            }
        }
    }

    fn wait(&self, until_ns: u64) -> Result<()> {
        if !events::wait(&[self.port], until_ns)? {
            return Err(Error::Timeout("an answer of XenStore"));
        }
        events::take(self.port);
        Ok(())
    }

    fn send(&self, mut bytes: &[u8], until_ns: u64) -> Result<()> {
        while !bytes.is_empty() {
            let produced = self.ring.load_acquire(REQUESTS_PRODUCED);
            let used = produced.wrapping_sub(self.ring.load_acquire(REQUESTS_CONSUMED));
            let free = RING_BYTES.checked_sub(used).ok_or(Error::StoreProtocol("an impossible index"))?;
            let (at, len) = piece(produced, free, bytes.len());
            let (now, later) = bytes.split_at(len);
            self.ring.write(REQUESTS + at, now);
            self.ring.store_release(REQUESTS_PRODUCED, produced.wrapping_add(len as u32));
            hypercall::send(self.port)?;
            bytes = later;
            if free == 0 {
                self.wait(until_ns)?;
            }
        }
        Ok(())
    }

    /// The next message, if all of it has come.
    fn receive(&mut self) -> Result<Option<Message>> {
        loop {
            if let Some(message) = self.decoder.next_message()? {
                return Ok(Some(message));
            }
            let consumed = self.ring.load_acquire(ANSWERS_CONSUMED);
            let there = self.ring.load_acquire(ANSWERS_PRODUCED).wrapping_sub(consumed);
            if there == 0 {
                return Ok(None);
            }
            if there > RING_BYTES {
                return Err(Error::StoreProtocol("an impossible index"));
            }
            let mut bytes = [0; RING_BYTES as usize];
            let (at, len) = piece(consumed, there, self.decoder.space());
            let bytes = &mut bytes[..len];
            self.ring.read(ANSWERS + at, bytes);
            self.decoder.push(bytes);
            self.ring.store_release(ANSWERS_CONSUMED, consumed.wrapping_add(len as u32));
            // The store may have waited for room.
            hypercall::send(self.port)?;
        }
    }
}

/// Place of the byte with this index in its ring, and the number of bytes from there in one piece, of `count` and at
/// most `most`.
fn piece(index: u32, count: u32, most: usize) -> (usize, usize) {
    let at = index % RING_BYTES;
    (at as usize, (RING_BYTES - at).min(count).min(most as u32) as usize)
}
