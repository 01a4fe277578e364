//! A guest with the driver of 2015, and the raw ring of a guest that keeps no rules.
//!
//! [`Guest2015`] models that driver, mistakes included: it publishes its ring without waiting for an offer,
//! shares ten pages once for all requests and names all of them in each, has one pending request, gives up after five
//! seconds, counts written bytes as played, sends nothing at the end of a run, and assumes a connection
//! after a resume. Reading and volume, which the driver lacks, are added in the same manner.

use std::time::Duration;

use sndif::v0::{
    ANSWER_TIMEOUT_MS, OpenParams, Operation, PACKET_BYTES, PAGES_MAX, RING_SLOTS, Request, Response, Stereo,
    TRANSFER_BYTES_MAX, Transfer,
};
use sndif::{GrantRef, SharedMemory, XenbusState};
use xen::{Access, DomainId, EventChannel, Granted, Xen};

use crate::hostile::{REQ_PROD, SLOTS, take_response};
use crate::wait::{PATIENCE, eventually};
use crate::world::{Guest, World, backend_path, frontend_path};

/// The serving domain.
const HOST: DomainId = DomainId(0);

/// Time that the driver waits for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(ANSWER_TIMEOUT_MS as u64);

/// Reason why a call of the driver fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failed {
    /// The frames need more than ten pages.
    TooLong,
    /// No answer came within five seconds.
    TimedOut,
    /// The backend answered −1.
    Refused,
}

/// The ring of a device, for a guest that keeps no rules.
pub struct RawRing {
    /// The ring's page.
    pub page: Granted,
    /// The ring's channel.
    pub channel: EventChannel,
    /// Index of the next request.
    pub req_prod: u32,
    rsp_cons: u32,
}

impl RawRing {
    /// Makes a new ring.
    ///
    /// # Panics
    /// If the emulation refuses.
    #[must_use]
    pub fn new(xen: &Xen) -> Self {
        let page = xen.grant(HOST, 1, Access::ReadWrite).expect("a page");
        page.store_release(4, 1);
        page.store_release(12, 1);
        Self { page, channel: xen.alloc_unbound(HOST).expect("a port"), req_prod: 0, rsp_cons: 0 }
    }

    /// Puts any bytes into the next slot and notifies.
    ///
    /// # Panics
    /// If the channel is gone.
    pub fn put(&mut self, packet: &[u8; PACKET_BYTES]) {
        self.page.write(SLOTS + (self.req_prod % RING_SLOTS) as usize * PACKET_BYTES, packet);
        self.req_prod = self.req_prod.wrapping_add(1);
        self.page.store_release(REQ_PROD, self.req_prod);
        self.channel.notify().expect("the channel lives");
    }

    /// Waits for the next response and returns its bytes; `None` after `timeout`.
    #[must_use]
    pub fn take(&mut self, timeout: Duration) -> Option<[u8; PACKET_BYTES]> {
        take_response(&self.page, &self.channel, &mut self.rsp_cons, timeout)
    }
}

/// A guest with the driver of 2015.
pub struct Guest2015 {
    /// The guest's handle to Xen.
    pub xen: Xen,
    /// The guest's connection to the store.
    pub store: xenstore::Client,
    /// The device's ring.
    pub ring: RawRing,
    /// The pages shared for frames.
    pub pages: Granted,
    card: u32,
    stream_id: u64,
    /// Parameters with which the driver considers the stream open.
    opened: Option<OpenParams>,
    /// Bytes that the driver counts as played.
    pub position: u64,
}

impl Guest2015 {
    /// Loads the driver: publishes a ring and waits until the backend is Connected.
    ///
    /// # Panics
    /// If the backend does not become Connected, or has no `stream_id`.
    #[must_use]
    pub fn probe(world: &mut World, guest: Guest, card: u32) -> Self {
        let mut driver = Self::published(world, guest, card);
        world.wait_backend(guest, card, XenbusState::Connected);
        driver.connected();
        driver
    }

    /// Loads the driver without waiting for the backend.
    ///
    /// # Panics
    /// If the emulation refuses.
    #[must_use]
    pub fn published(world: &World, guest: Guest, card: u32) -> Self {
        let xen = world.enter(guest);
        let mut driver = Self {
            store: xen.store().expect("the store"),
            ring: RawRing::new(&xen),
            pages: xen.grant(HOST, PAGES_MAX, Access::ReadWrite).expect("pages"),
            xen,
            card,
            stream_id: 0,
            opened: None,
            position: 0,
        };
        driver.publish();
        driver
    }

    fn publish(&mut self) {
        let nodes = [("ring-ref", self.ring.page.refs()[0].0), ("event-channel", self.ring.channel.port().0)];
        for (name, value) in nodes {
            self.put(name, &value.to_string());
        }
        self.put("state", XenbusState::Initialised.node());
    }

    /// Writes a node of the frontend's directory.
    ///
    /// # Panics
    /// If the store refuses.
    pub fn put(&mut self, name: &str, value: &str) {
        let path = format!("{}/{name}", frontend_path(self.xen.domain(), self.card));
        self.store.write(&path, value.as_bytes()).expect("a guest may write its own nodes");
    }

    /// Becomes Connected and reads the stream's id, after the backend is Connected.
    ///
    /// # Panics
    /// If there is no `stream_id`.
    pub fn connected(&mut self) {
        self.put("state", XenbusState::Connected.node());
        let path = format!("{}/stream_id", backend_path(self.xen.domain(), self.card));
        let id = self.store.read(&path).expect("the backend names its stream");
        self.stream_id = sndif::store::number(&id).expect("a number").into();
    }

    /// Resumes the guest after a suspend: a new ring, the same pages, no wait.
    pub fn resume(&mut self) {
        self.ring = RawRing::new(&self.xen);
        self.publish();
    }

    /// Removes the driver.
    pub fn remove(mut self) {
        self.put("state", XenbusState::Closed.node());
    }

    /// Sends a request and waits for its answer as long as the driver does.
    ///
    /// # Errors
    /// [`Failed`].
    ///
    /// # Panics
    /// If the answer is to another request: then the driver stops the guest.
    pub fn call(&mut self, operation: Operation) -> Result<Response, Failed> {
        self.ring.put(&Request { id: self.stream_id, operation }.emit());
        let slot = self.ring.take(ANSWER_TIMEOUT).ok_or(Failed::TimedOut)?;
        let response = Response::parse(&slot).expect("an operation that exists");
        assert_eq!((response.id, response.opcode), (self.stream_id, operation.opcode()));
        if response.success { Ok(response) } else { Err(Failed::Refused) }
    }

    /// `prepare`: opens the stream, unless it is open with `params` already.
    ///
    /// # Errors
    /// Same as [`call`](Self::call).
    pub fn prepare(&mut self, params: OpenParams) -> Result<(), Failed> {
        if self.opened == Some(params) {
            return Ok(());
        }
        if self.opened.is_some() {
            self.call(Operation::Close)?;
            self.opened = None;
        }
        self.call(Operation::Open(params))?;
        self.opened = Some(params);
        Ok(())
    }

    /// A transfer that names all ten pages, for any length.
    fn transfer(&self, bytes: usize) -> Transfer {
        Transfer::new(u32::try_from(bytes).expect("below 4 GiB"), self.pages.refs()).expect("ten pages")
    }

    /// `copy`: writes frames to play.
    ///
    /// # Errors
    /// Same as [`call`](Self::call); [`Failed::TooLong`].
    pub fn write(&mut self, frames: &[u8]) -> Result<(), Failed> {
        if frames.len() > TRANSFER_BYTES_MAX as usize {
            return Err(Failed::TooLong);
        }
        self.pages.write(0, frames);
        self.position += frames.len() as u64;
        let transfer = self.transfer(frames.len());
        self.call(Operation::Write(transfer)).map(drop)
    }

    /// Plays a sound like `aplay`: opens the stream, and writes in periods.
    ///
    /// # Errors
    /// Same as [`call`](Self::call).
    pub fn play(&mut self, params: OpenParams, sound: &[u8], period_bytes: usize) -> Result<(), Failed> {
        self.prepare(params)?;
        sound.chunks(period_bytes).try_for_each(|period| self.write(period))
    }

    /// Reads captured frames.
    ///
    /// # Errors
    /// Same as [`call`](Self::call).
    pub fn read(&mut self, frames: &mut [u8]) -> Result<(), Failed> {
        let transfer = self.transfer(frames.len());
        self.call(Operation::Read(transfer))?;
        self.pages.read(0, frames);
        Ok(())
    }

    /// Sets the volume.
    ///
    /// # Errors
    /// Same as [`call`](Self::call).
    pub fn set_volume(&mut self, volume: Stereo) -> Result<(), Failed> {
        self.call(Operation::SetVolume(volume)).map(drop)
    }

    /// Reads the volume.
    ///
    /// # Errors
    /// Same as [`call`](Self::call).
    ///
    /// # Panics
    /// If a successful answer has no volume.
    pub fn volume(&mut self) -> Result<Stereo, Failed> {
        Ok(self.call(Operation::GetVolume)?.volume.expect("a volume"))
    }

    /// `close`: closes the stream.
    ///
    /// # Errors
    /// Same as [`call`](Self::call).
    pub fn close(&mut self) -> Result<(), Failed> {
        self.call(Operation::Close)?;
        self.opened = None;
        Ok(())
    }

    /// Waits for the backend to reach `state`; returns true if it does in time.
    pub fn sees_backend(&mut self, state: XenbusState) -> bool {
        let path = format!("{}/state", backend_path(self.xen.domain(), self.card));
        eventually(PATIENCE, || {
            let now = self.store.read_opt(&path).ok().flatten().unwrap_or_default();
            XenbusState::from_node(&now) == state
        })
    }

    /// A request of this stream with any operation, length and references.
    #[must_use]
    pub fn packet(&self, opcode: u8, length: u32, refs: &[GrantRef]) -> [u8; PACKET_BYTES] {
        let mut packet = [0; PACKET_BYTES];
        packet[0] = opcode;
        packet[8..16].copy_from_slice(&self.stream_id.to_le_bytes());
        packet[28..32].copy_from_slice(&length.to_le_bytes());
        for (place, reference) in packet[36..76].as_chunks_mut::<4>().0.iter_mut().zip(refs) {
            *place = reference.0.to_le_bytes();
        }
        packet
    }
}
