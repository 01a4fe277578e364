//! A frontend that can do anything with ring, event page, directory and store.
//!
//! [`HostileGuest`] has the pages and channels of a card and leaves every step to the test;
//! [`RawStream`] puts any bytes into the ring, including well-formed requests.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sndif::v2::{EVENT_SLOTS, OpenParams, Operation, PACKET_BYTES, RING_SLOTS, Request, Response, Span, Trigger};
use sndif::{DirectoryWriter, Errno, Format, GrantRef, PAGE_BYTES, SharedMemory, XenbusState};
use xen::{Access, DomainId, EventChannel, Granted, Xen};

use crate::wait::{PATIENCE, eventually};
use crate::world::{Guest, World, backend_path, frontend_path};

/// The attacked domain.
const HOST: DomainId = DomainId(0);

/// Offset of the guest's producer index in the ring's page.
pub const REQ_PROD: usize = 0;
/// Offset of the host's producer index in the ring's page.
pub const RSP_PROD: usize = 8;
/// Offset of the guest's consumer index in the event page.
pub const IN_CONS: usize = 0;
/// Offset of the host's producer index in the event page.
pub const IN_PROD: usize = 4;
/// Offset of the first slot in both pages.
pub const SLOTS: usize = 64;

/// A guest's card without any driver.
pub struct HostileGuest {
    /// The guest's handle to Xen.
    pub xen: Xen,
    /// The guest's connection to the store.
    pub store: xenstore::Client,
    /// Pages and channels of the streams, once granted.
    pub streams: Vec<RawStream>,
    card: u32,
}

impl HostileGuest {
    /// Enters as a guest whose card is attached.
    ///
    /// # Panics
    /// If the store cannot be reached.
    #[must_use]
    pub fn enter(world: &World, guest: Guest) -> Self {
        let xen = world.enter(guest);
        Self::in_domain(xen)
    }

    /// The guest in the domain of `xen`, emulated or real. The guest's card is attached.
    ///
    /// # Panics
    /// If the store cannot be reached.
    #[must_use]
    pub fn in_domain(xen: Xen) -> Self {
        let store = xen.store().expect("the store");
        Self { xen, store, streams: Vec::new(), card: 0 }
    }

    /// Enters, and connects the first `streams` streams of PCM device 0.
    ///
    /// # Panics
    /// If the backend does not connect.
    #[must_use]
    pub fn connected(world: &mut World, guest: Guest, streams: usize) -> Self {
        let mut hostile = Self::enter(world, guest);
        hostile.connect(world, streams);
        hostile
    }

    /// Connects with new rings.
    ///
    /// # Panics
    /// If the backend does not connect.
    pub fn connect(&mut self, world: &mut World, streams: usize) {
        let (guest, card) = (self.xen.domain(), self.card);
        self.connect_with(streams, |_, state| world.wait_backend(guest, card, state));
    }

    /// Connects with new rings; reads the backend's state as a guest, without a [`World`].
    ///
    /// # Panics
    /// If the backend does not connect.
    pub fn connect_alone(&mut self, streams: usize) {
        self.connect_with(streams, |hostile, state| {
            assert!(hostile.sees_backend(state), "the backend does not become {state}");
        });
    }

    fn connect_with(&mut self, streams: usize, mut wait: impl FnMut(&mut Self, XenbusState)) {
        self.set_state(XenbusState::Initialising);
        wait(self, XenbusState::InitWait);
        self.grant(streams);
        self.publish();
        self.set_state(XenbusState::Initialised);
        wait(self, XenbusState::Connected);
        self.set_state(XenbusState::Connected);
    }

    /// Waits for the backend to reach `state`; returns true if it does in time.
    pub fn sees_backend(&mut self, state: XenbusState) -> bool {
        let path = format!("{}/state", backend_path(self.xen.domain(), self.card));
        eventually(PATIENCE, || {
            let now = self.store.read_opt(&path).ok().flatten().unwrap_or_default();
            XenbusState::from_node(&now) == state
        })
    }

    /// Grants pages and allocates channels for `streams` streams.
    ///
    /// # Panics
    /// If the emulation refuses.
    pub fn grant(&mut self, streams: usize) {
        self.streams = (0..streams).map(|_| RawStream::new(&self.xen)).collect();
    }

    /// Writes the streams' transport nodes.
    ///
    /// # Panics
    /// If the store refuses.
    pub fn publish(&mut self) {
        for stream in 0..self.streams.len() {
            let nodes = self.streams[stream].nodes();
            for (name, value) in ["ring-ref", "event-channel", "evt-ring-ref", "evt-event-channel"].iter().zip(nodes) {
                self.put(&format!("0/{stream}/{name}"), value.to_string().as_bytes());
            }
        }
    }

    /// Writes a node below the card's frontend directory.
    ///
    /// # Panics
    /// If the store refuses.
    pub fn put(&mut self, path: &str, value: &[u8]) {
        let path = format!("{}/{path}", frontend_path(self.xen.domain(), self.card));
        self.store.write(&path, value).expect("a guest may write its own nodes");
    }

    /// Removes a node below the card's frontend directory.
    pub fn remove(&mut self, path: &str) {
        let path = format!("{}/{path}", frontend_path(self.xen.domain(), self.card));
        let _ = self.store.rm(&path);
    }

    /// Writes the frontend's state.
    ///
    /// # Panics
    /// If the store refuses.
    pub fn set_state(&mut self, state: XenbusState) {
        self.put("state", state.node().as_bytes());
    }

    /// A buffer with a valid directory.
    ///
    /// # Panics
    /// If the emulation refuses.
    #[must_use]
    pub fn buffer(&self, bytes: usize) -> Buffer {
        Buffer::new(&self.xen, bytes)
    }
}

/// A buffer and its page directory.
pub struct Buffer {
    /// The buffer's pages.
    pub pages: Granted,
    /// The directory's pages.
    pub directory: Granted,
    bytes: u32,
}

impl Buffer {
    /// A buffer with a valid directory.
    ///
    /// # Panics
    /// If the emulation refuses.
    #[must_use]
    pub fn new(xen: &Xen, bytes: usize) -> Self {
        let count = bytes.div_ceil(PAGE_BYTES);
        let pages = xen.grant(HOST, count, Access::ReadWrite).expect("pages");
        let directory = xen.grant(HOST, DirectoryWriter::pages(count), Access::ReadWrite).expect("pages");
        assert!(DirectoryWriter::write(&directory, directory.refs(), pages.refs()));
        Self { pages, directory, bytes: u32::try_from(bytes).expect("below 4 GiB") }
    }

    /// OPEN's operands for this buffer: 16-bit stereo at 48 kHz, four periods.
    #[must_use]
    pub fn open_params(&self) -> OpenParams {
        OpenParams {
            rate_hz: 48_000,
            format: Format::S16Le,
            channels: 2,
            buffer_bytes: self.bytes,
            directory: self.directory.refs()[0],
            period_bytes: self.bytes / 16 * 4,
        }
    }
}

/// A stream's ring and event page, for a frontend that keeps no rules.
pub struct RawStream {
    /// The ring's page.
    pub ring: Granted,
    /// The ring's channel.
    pub channel: EventChannel,
    /// The event page.
    pub events: Granted,
    /// The event page's channel.
    pub event_channel: EventChannel,
    /// Index of the next request.
    pub req_prod: u32,
    rsp_cons: u32,
    next_id: u16,
}

impl RawStream {
    fn new(xen: &Xen) -> Self {
        let page = || xen.grant(HOST, 1, Access::ReadWrite).expect("a page");
        let channel = || xen.alloc_unbound(HOST).expect("a port");
        let (ring, events) = (page(), page());
        ring.store_release(4, 1);
        ring.store_release(12, 1);
        Self { ring, channel: channel(), events, event_channel: channel(), req_prod: 0, rsp_cons: 0, next_id: 0 }
    }

    fn nodes(&self) -> [u32; 4] {
        [self.ring.refs()[0].0, self.channel.port().0, self.events.refs()[0].0, self.event_channel.port().0]
    }

    /// Offset in the ring's page of the slot with this index.
    #[must_use]
    pub const fn slot(index: u32) -> usize {
        SLOTS + (index % RING_SLOTS) as usize * PACKET_BYTES
    }

    /// Puts any bytes into the next slot and publishes them; the caller notifies.
    pub fn put(&mut self, packet: &[u8; PACKET_BYTES]) {
        self.ring.write(Self::slot(self.req_prod), packet);
        self.req_prod = self.req_prod.wrapping_add(1);
        self.ring.store_release(REQ_PROD, self.req_prod);
    }

    /// Signals the ring's channel.
    ///
    /// # Panics
    /// If the channel is gone.
    pub fn notify(&self) {
        self.channel.notify().expect("the channel lives");
    }

    /// Waits for the next response and returns its bytes; `None` after `timeout`.
    #[must_use]
    pub fn take(&mut self, timeout: Duration) -> Option<[u8; PACKET_BYTES]> {
        take_response(&self.ring, &self.channel, &mut self.rsp_cons, timeout)
    }

    /// Sends any bytes and waits for the response.
    ///
    /// # Panics
    /// If no response comes.
    pub fn call_raw(&mut self, packet: &[u8; PACKET_BYTES]) -> [u8; PACKET_BYTES] {
        self.put(packet);
        self.notify();
        self.take(PATIENCE).unwrap_or_else(|| panic!("no answer to {packet:?}"))
    }

    /// Sends a request and waits for its response.
    ///
    /// # Errors
    /// The backend's error.
    ///
    /// # Panics
    /// If no response comes, or one to another request.
    pub fn call(&mut self, operation: Operation) -> Result<Response, Errno> {
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        let request = Request { id, operation };
        let response = Response::parse(&self.call_raw(&request.emit())).expect("a response");
        assert_eq!((response.id, response.opcode), (id, operation.opcode()));
        response.result.map(|()| response)
    }

    /// Sends OPEN.
    ///
    /// # Errors
    /// Same as [`call`](Self::call).
    pub fn open(&mut self, params: OpenParams) -> Result<(), Errno> {
        self.call(Operation::Open(params)).map(drop)
    }

    /// Sends CLOSE.
    ///
    /// # Errors
    /// Same as [`call`](Self::call).
    pub fn close(&mut self) -> Result<(), Errno> {
        self.call(Operation::Close).map(drop)
    }

    /// Sends WRITE.
    ///
    /// # Errors
    /// Same as [`call`](Self::call).
    pub fn write(&mut self, offset: u32, length: u32) -> Result<(), Errno> {
        self.call(Operation::Write(Span { offset, length })).map(drop)
    }

    /// Sends TRIGGER.
    ///
    /// # Errors
    /// Same as [`call`](Self::call).
    pub fn trigger(&mut self, trigger: Trigger) -> Result<(), Errno> {
        self.call(Operation::Trigger(trigger)).map(drop)
    }

    /// Opens the stream with a new buffer of `bytes` bytes, writes `sound` to it and starts. `sound` must fit the
    /// buffer.
    ///
    /// # Panics
    /// If the backend refuses.
    pub fn play(&mut self, xen: &Xen, bytes: usize, sound: &[u8]) -> Buffer {
        let buffer = Buffer::new(xen, bytes);
        self.open(buffer.open_params()).expect("OPEN");
        assert!(buffer.pages.write(0, sound));
        self.write(0, u32::try_from(sound.len()).expect("below 4 GiB")).expect("WRITE");
        self.trigger(Trigger::Start).expect("START");
        buffer
    }

    /// Bytes of the event with this index in the page.
    #[must_use]
    pub fn event(&self, index: u32) -> [u8; PACKET_BYTES] {
        let mut packet = [0; PACKET_BYTES];
        self.events.read(SLOTS + (index % EVENT_SLOTS) as usize * PACKET_BYTES, &mut packet);
        packet
    }

    /// Number of events that the backend sent, with the first, which no notification tells of.
    #[must_use]
    pub fn events_sent(&self) -> u32 {
        self.events.load_acquire(IN_PROD)
    }
}

/// Waits for the next response of a ring with slots of `SLOT` bytes and returns its bytes.
pub(crate) fn take_response<const SLOT: usize>(
    ring: &Granted,
    channel: &EventChannel,
    rsp_cons: &mut u32,
    timeout: Duration,
) -> Option<[u8; SLOT]> {
    let deadline = Instant::now() + timeout;
    while ring.load_acquire(RSP_PROD) == *rsp_cons {
        ring.store_release(12, rsp_cons.wrapping_add(1));
        ring.full_fence();
        if ring.load_acquire(RSP_PROD) != *rsp_cons {
            break;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        let timeout = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        let _ = poll(&mut [PollFd::from_borrowed_fd(channel.as_fd(), PollFlags::IN)], Some(&timeout));
        let _ = channel.acknowledge();
    }
    let mut packet = [0; SLOT];
    ring.read(SLOTS + (*rsp_cons % sndif::ring_slots(SLOT)) as usize * SLOT, &mut packet);
    *rsp_cons = rsp_cons.wrapping_add(1);
    Some(packet)
}

/// A directory page with these words.
///
/// # Panics
/// If the emulation refuses.
#[must_use]
pub fn directory(xen: &Xen, next: GrantRef, refs: &[GrantRef]) -> Granted {
    let page = xen.grant(HOST, 1, Access::ReadWrite).expect("a page");
    write_directory(&page, next, refs);
    page
}

/// Writes the words of a directory page.
///
/// # Panics
/// If there are too many words.
pub fn write_directory(page: &Granted, next: GrantRef, refs: &[GrantRef]) {
    let bytes: Vec<u8> = std::iter::once(&next).chain(refs).flat_map(|word| word.0.to_le_bytes()).collect();
    assert!(page.write(0, &bytes));
}
