//! A stream's two channels: requests with one in flight, and the event page.
//!
//! Offsets are literals here and do not come from `sndif`, so that the model does not share that
//! crate's mistakes.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sndif::SharedMemory;
use xen::{Access, DomainId, EventChannel, Granted, Xen};

use super::errno::Errno;

const REQ_PROD: usize = 0;
const REQ_EVENT: usize = 4;
const RSP_PROD: usize = 8;
const RSP_EVENT: usize = 12;
const IN_CONS: usize = 0;
const IN_PROD: usize = 4;
const SLOTS: usize = 64;
const SLOT: usize = 64;
const RING_SLOTS: u32 = 32;
const EVENT_SLOTS: u32 = 63;

/// Operation codes.
pub(super) mod op {
    pub const OPEN: u8 = 0;
    pub const CLOSE: u8 = 1;
    pub const READ: u8 = 2;
    pub const WRITE: u8 = 3;
    pub const TRIGGER: u8 = 8;
    pub const HW_PARAM_QUERY: u8 = 9;
}

/// Contents of a slot before a request is written: the driver sets only the fields it needs.
const STALE: [u8; SLOT] = [0xA5; SLOT];

/// The driver's release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// Up to Linux 6.12: ids of events are counted over the connection.
    Older,
    /// Linux 7.3: ids start from 0 when a stream is cleared, unread events are skipped then, and events are handled
    /// only while the stream is open.
    Linux7,
}

/// A sent request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Id of the request.
    pub id: u16,
    /// Operation code.
    pub operation: u8,
    /// First operand: offset, trigger type, rate.
    pub first: u32,
    /// Second operand: length.
    pub second: u32,
}

/// Traffic observed on a stream's channels since they were made.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// Requests in order, queries left out.
    pub requests: Vec<Sent>,
    /// Number of HW_PARAM_QUERY requests.
    pub queries: usize,
    /// Number of answers to queries that were wider than the query.
    pub wider_answers: usize,
    /// Positions of the accepted events.
    pub positions: Vec<u64>,
    /// Number of events ignored because of an unexpected id.
    pub ignored_events: usize,
    /// Number of reserved bytes of responses and events that were not zero.
    pub leaked_bytes: usize,
    /// Longest wait for an answer.
    pub slowest_answer: Duration,
}

/// The answer to a request.
pub(super) struct Answer {
    pub packet: [u8; SLOT],
}

impl Answer {
    pub fn u32_at(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.packet[at..at + 4].try_into().expect("four bytes"))
    }

    pub fn u64_at(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.packet[at..at + 8].try_into().expect("eight bytes"))
    }
}

/// Writes a request's fields into its slot, one by one.
pub(super) struct Slot<'a> {
    page: &'a Granted,
    at: usize,
}

impl Slot<'_> {
    pub fn put(&self, at: usize, bytes: &[u8]) {
        self.page.write(self.at + at, bytes);
    }

    pub fn put_u32(&self, at: usize, value: u32) {
        self.put(at, &value.to_le_bytes());
    }
}

/// Both channels of a stream.
pub(super) struct Pair {
    ring: Granted,
    ring_channel: EventChannel,
    page: Granted,
    page_channel: EventChannel,
    /// True between ALSA's open and close; interrupts are handled only then.
    connected: bool,
    /// The same for events; in Linux 7.3 only between OPEN and CLOSE.
    events_connected: bool,
    release: Release,
    req_prod: u32,
    rsp_cons: u32,
    /// Id of the next request; starts over at 0 when a stream is cleared.
    next_id: u16,
    /// Id of the request that waits for its answer.
    awaited_id: u16,
    answer: Option<Answer>,
    /// Expected id of the next event; counts over the whole connection, in Linux 7.3 from each clear on.
    event_id: u16,
    /// Positions taken from the page that wait for their handler.
    pub positions: std::collections::VecDeque<u64>,
    pub observed: Observed,
}

impl Pair {
    pub fn new(xen: &Xen, backend: DomainId, release: Release) -> xen::Result<Self> {
        let ring = xen.grant(backend, 1, Access::ReadWrite)?;
        ring.store_release(REQ_EVENT, 1);
        ring.store_release(RSP_EVENT, 1);
        Ok(Self {
            ring,
            ring_channel: xen.alloc_unbound(backend)?,
            page: xen.grant(backend, 1, Access::ReadWrite)?,
            page_channel: xen.alloc_unbound(backend)?,
            connected: false,
            events_connected: false,
            release,
            req_prod: 0,
            rsp_cons: 0,
            next_id: 0,
            awaited_id: 0,
            answer: None,
            event_id: 0,
            positions: std::collections::VecDeque::new(),
            observed: Observed::default(),
        })
    }

    /// Values of `ring-ref`, `event-channel`, `evt-ring-ref`, `evt-event-channel`.
    pub fn nodes(&self) -> [u32; 4] {
        [self.ring.refs()[0].0, self.ring_channel.port().0, self.page.refs()[0].0, self.page_channel.port().0]
    }

    pub fn set_connected(&mut self, connected: bool) {
        // Pending interrupts belong to the channel's earlier state and are dropped.
        let _ = self.ring_channel.acknowledge();
        let _ = self.page_channel.acknowledge();
        self.connected = connected;
        self.events_connected = connected && self.release == Release::Older;
    }

    /// A stream was opened, or is about to be closed.
    pub fn set_stream_open(&mut self, open: bool) {
        if self.release == Release::Linux7 {
            self.events_connected = open;
        }
    }

    /// Number of unread events in the page.
    pub fn unread_events(&self) -> u32 {
        self.page.load_acquire(IN_PROD).wrapping_sub(self.page.load_acquire(IN_CONS))
    }

    /// Resets the channels' state when a stream is cleared.
    pub fn clear(&mut self) {
        self.next_id = 0;
        self.positions.clear();
        if self.release == Release::Linux7 {
            self.event_id = 0;
            self.page.store_release(IN_CONS, self.page.load_acquire(IN_PROD));
        }
    }

    /// Sends a request and waits for its answer, `timeout` at most. Events that come meanwhile wait for
    /// their handler.
    pub fn request(
        &mut self,
        operation: u8,
        timeout: Duration,
        fields: impl FnOnce(&Slot<'_>),
    ) -> Result<Answer, Errno> {
        let slot = Slot { page: &self.ring, at: SLOTS + (self.req_prod % RING_SLOTS) as usize * SLOT };
        slot.put(0, &STALE);
        slot.put(2, &[operation]);
        let id = self.next_id;
        slot.put(0, &id.to_le_bytes());
        self.next_id = id.wrapping_add(1);
        self.awaited_id = id;
        fields(&slot);
        if operation == op::HW_PARAM_QUERY {
            self.observed.queries += 1;
        } else {
            let mut operands = [0; 8];
            self.ring.read(slot.at + 8, &mut operands);
            let word = |at: usize| u32::from_le_bytes(operands[at..at + 4].try_into().expect("four bytes"));
            let first = if operation == op::TRIGGER { u32::from(operands[0]) } else { word(0) };
            self.observed.requests.push(Sent { id, operation, first, second: word(4) });
        }
        if !self.connected {
            return Err(Errno::EIO);
        }
        self.answer = None;
        self.push();
        let sent = Instant::now();
        loop {
            if let Some(answer) = self.answer.take() {
                self.observed.slowest_answer = self.observed.slowest_answer.max(sent.elapsed());
                return match answer.u32_at(4).cast_signed() {
                    0.. => Ok(answer),
                    status => Err(Errno(-status)),
                };
            }
            let left = timeout.saturating_sub(sent.elapsed());
            if left.is_zero() {
                return Err(Errno::ETIMEDOUT);
            }
            self.interrupts(left);
        }
    }

    fn push(&mut self) {
        let old = self.req_prod;
        self.req_prod = old.wrapping_add(1);
        self.ring.store_release(REQ_PROD, self.req_prod);
        self.ring.full_fence();
        let mark = self.ring.load_acquire(REQ_EVENT);
        if self.req_prod.wrapping_sub(mark) < self.req_prod.wrapping_sub(old) {
            self.ring_channel.notify().expect("the channel lives");
        }
    }

    /// Waits for interrupts, `timeout` at most, and handles them: events before answers, the order
    /// in which the backend has to notify.
    pub fn interrupts(&mut self, timeout: Duration) {
        let timeout = Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        };
        let mut fds = [
            PollFd::from_borrowed_fd(self.page_channel.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.ring_channel.as_fd(), PollFlags::IN),
        ];
        let _ = poll(&mut fds, Some(&timeout));
        if self.page_channel.acknowledge().expect("the channel lives") {
            self.event_interrupt();
        }
        if self.ring_channel.acknowledge().expect("the channel lives") {
            self.ring_interrupt();
        }
    }

    fn ring_interrupt(&mut self) {
        if !self.connected {
            return;
        }
        loop {
            let producer = self.ring.load_acquire(RSP_PROD);
            while self.rsp_cons != producer {
                let mut packet = [0; SLOT];
                self.ring.read(SLOTS + (self.rsp_cons % RING_SLOTS) as usize * SLOT, &mut packet);
                self.rsp_cons = self.rsp_cons.wrapping_add(1);
                let reserved = if packet[2] == op::HW_PARAM_QUERY { 48 } else { 8 };
                self.observed.leaked_bytes += usize::from(packet[3] != 0);
                self.observed.leaked_bytes += packet[reserved..].iter().filter(|&&byte| byte != 0).count();
                let known = matches!(packet[2], op::OPEN..=op::WRITE | op::TRIGGER | op::HW_PARAM_QUERY);
                if u16::from_le_bytes([packet[0], packet[1]]) == self.awaited_id && known {
                    self.answer = Some(Answer { packet });
                }
            }
            self.ring.store_release(RSP_EVENT, self.rsp_cons.wrapping_add(1));
            self.ring.full_fence();
            if self.rsp_cons == self.req_prod || self.ring.load_acquire(RSP_PROD) == self.rsp_cons {
                return;
            }
        }
    }

    fn event_interrupt(&mut self) {
        if !self.events_connected {
            return;
        }
        let producer = self.page.load_acquire(IN_PROD);
        let mut consumer = self.page.load_acquire(IN_CONS);
        while consumer != producer {
            let mut packet = [0; SLOT];
            self.page.read(SLOTS + (consumer % EVENT_SLOTS) as usize * SLOT, &mut packet);
            consumer = consumer.wrapping_add(1);
            let expected = self.event_id;
            // Incremented even if the id was another one: from then on no event matches.
            self.event_id = expected.wrapping_add(1);
            if u16::from_le_bytes([packet[0], packet[1]]) != expected {
                self.observed.ignored_events += 1;
                continue;
            }
            let stray = [&packet[3..8], &packet[16..]].concat().iter().filter(|&&byte| byte != 0).count();
            self.observed.leaked_bytes += stray;
            if packet[2] == 0 {
                let position = u64::from_le_bytes(packet[8..16].try_into().expect("eight bytes"));
                self.observed.positions.push(position);
                self.positions.push_back(position);
            }
        }
        self.page.store_release(IN_CONS, consumer);
    }
}
