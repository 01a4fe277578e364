//! Both ends of a shared request/response ring (`xen/io/ring.h`), with notification hold-off.
//!
//! The page has `req_prod`, `req_event`, `rsp_prod`, `rsp_event` (u32 each), padding to 64 bytes, then a power of two
//! of slots which requests and responses share. Producer and consumer indices run freely; each end keeps its own
//! indices in private and only compares with them the words that the other end wrote.
//!
//! Hold-off: an end that is about to sleep first writes into `req_event`/`rsp_event` the index at which it has to be
//! woken, then checks once more (`arm`); the other end, after publishing, notifies only if the index passed that mark
//! (`publish`). Both need a full fence between the store and the load.

use core::fmt;

use crate::text::{Say, Sink, display, say};
use crate::{PAGE_BYTES, SharedMemory};

const REQ_PROD: usize = 0;
const REQ_EVENT: usize = 4;
const RSP_PROD: usize = 8;
const RSP_EVENT: usize = 12;

/// Offset of the slots in the page.
pub const SLOTS_OFFSET: usize = 64;

/// Number of slots of `slot_bytes` in one page: the largest power of two that fits.
#[must_use]
pub const fn ring_slots(slot_bytes: usize) -> u32 {
    match (PAGE_BYTES - SLOTS_OFFSET).checked_div(slot_bytes) {
        // The value is at most the number of bytes in a page, so the shift loses nothing.
        Some(fitting @ 1..) => 1_u32.wrapping_shl(fitting.ilog2()),
        Some(0) | None => 1,
    }
}

/// The other end's producer index claims more than the ring can hold (or more than was requested). The ring stays
/// broken: every later call returns the violation again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingViolation {
    /// Index that the other end wrote.
    pub producer: u32,
    /// The furthest index that it may have reached.
    pub limit: u32,
}

impl Say for RingViolation {
    fn say(&self, out: &mut dyn Sink) {
        say(out, &[&"producer index ", &self.producer, &" is past its limit ", &self.limit]);
    }
}

impl fmt::Display for RingViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        display(self, f)
    }
}

impl core::error::Error for RingViolation {}

/// No free slot: responses have to be taken first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingFull;

impl fmt::Display for RingFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("every slot of the ring is in use")
    }
}

impl core::error::Error for RingFull {}

#[expect(clippy::arithmetic_side_effects, reason = "the number of slots is not 0, and they end within the page")]
const fn slot_offset<const SLOT: usize>(index: u32) -> usize {
    const { assert!(SLOT > 0 && SLOTS_OFFSET + ring_slots(SLOT) as usize * SLOT <= PAGE_BYTES) };
    SLOTS_OFFSET + (index % ring_slots(SLOT)) as usize * SLOT
}

/// Returns true if a step from `old` to `new` passes the mark at which the sleeping end has to be woken.
const fn passes(old: u32, new: u32, mark: u32) -> bool {
    new.wrapping_sub(mark) < new.wrapping_sub(old)
}

/// The backend's end: takes requests, gives responses.
#[derive(Debug)]
pub struct BackRing<M, const SLOT: usize> {
    memory: M,
    /// Next request to take; private.
    req_cons: u32,
    /// Next response to give; private, and ahead of the shared index until published.
    rsp_prod: u32,
    published: u32,
    broken: Option<RingViolation>,
}

impl<M: SharedMemory, const SLOT: usize> BackRing<M, SLOT> {
    /// Attaches to a page that a frontend has initialised; both indices start at 0.
    pub fn new(memory: M) -> Self {
        Self { memory, req_cons: 0, rsp_prod: 0, published: 0, broken: None }
    }

    /// Attaches to a page that a frontend has used with an earlier backend: unanswered requests are taken again.
    pub fn taken_over(memory: M) -> Self {
        let answered = memory.load_acquire(RSP_PROD);
        Self { memory, req_cons: answered, rsp_prod: answered, published: answered, broken: None }
    }

    /// Takes the next request, copied out of the page once.
    ///
    /// # Errors
    /// [`RingViolation`] when the frontend's producer index is impossible; latched.
    pub fn take(&mut self) -> Result<Option<[u8; SLOT]>, RingViolation> {
        if let Some(violation) = self.broken {
            return Err(violation);
        }
        let producer = self.memory.load_acquire(REQ_PROD);
        let slots = ring_slots(SLOT);
        // A slot is free for a request only once its response was given, so the limit counts from our response index
        // (RING_REQUEST_PROD_OVERFLOW); an index behind `req_cons` is impossible, too.
        if producer.wrapping_sub(self.rsp_prod) > slots
            || producer.wrapping_sub(self.rsp_prod) < self.req_cons.wrapping_sub(self.rsp_prod)
        {
            let violation = RingViolation { producer, limit: self.rsp_prod.wrapping_add(slots) };
            self.broken = Some(violation);
            return Err(violation);
        }
        if producer == self.req_cons {
            return Ok(None);
        }
        let mut slot = [0; SLOT];
        self.memory.read(slot_offset::<SLOT>(self.req_cons), &mut slot);
        self.req_cons = self.req_cons.wrapping_add(1);
        Ok(Some(slot))
    }

    /// Puts a response into the next slot; the frontend sees it after [`publish`](Self::publish). Each taken request
    /// has one response: a further one is not written, and the function returns false.
    pub fn respond(&mut self, response: &[u8; SLOT]) -> bool {
        if self.rsp_prod == self.req_cons {
            return false;
        }
        let written = self.memory.write(slot_offset::<SLOT>(self.rsp_prod), response);
        self.rsp_prod = self.rsp_prod.wrapping_add(1);
        written
    }

    /// Shows the responses to the frontend; returns true when it asked to be notified of them.
    #[must_use = "the frontend sleeps until it is notified"]
    pub fn publish(&mut self) -> bool {
        if self.published == self.rsp_prod {
            return false;
        }
        self.memory.store_release(RSP_PROD, self.rsp_prod);
        self.memory.full_fence();
        let old = core::mem::replace(&mut self.published, self.rsp_prod);
        passes(old, self.rsp_prod, self.memory.load_acquire(RSP_EVENT))
    }

    /// Asks for a notification once `requests` (at least 1) more have come; returns true when one is there already.
    #[must_use = "a request that came before the mark was set raises no notification"]
    pub fn arm(&mut self, requests: u32) -> bool {
        self.memory.store_release(REQ_EVENT, self.req_cons.wrapping_add(requests.max(1)));
        self.memory.full_fence();
        self.memory.load_acquire(REQ_PROD) != self.req_cons
    }
}

/// The frontend's end: gives requests, takes responses.
#[derive(Debug)]
pub struct FrontRing<M, const SLOT: usize> {
    memory: M,
    req_prod: u32,
    published: u32,
    rsp_cons: u32,
    broken: Option<RingViolation>,
}

impl<M: SharedMemory, const SLOT: usize> FrontRing<M, SLOT> {
    /// Initialises the page, which contains zeroes and is not granted yet: both event marks become 1.
    pub fn new(memory: M) -> Self {
        memory.store_release(REQ_PROD, 0);
        memory.store_release(REQ_EVENT, 1);
        memory.store_release(RSP_PROD, 0);
        memory.store_release(RSP_EVENT, 1);
        Self { memory, req_prod: 0, published: 0, rsp_cons: 0, broken: None }
    }

    /// Returns the number of requests that can be put before a response has to be taken.
    #[must_use]
    pub fn free(&self) -> u32 {
        ring_slots(SLOT).saturating_sub(self.in_flight())
    }

    /// Returns the number of requests put whose response was not taken yet.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.req_prod.wrapping_sub(self.rsp_cons)
    }

    /// Puts a request into the next slot; the backend sees it after [`publish`](Self::publish).
    ///
    /// # Errors
    /// [`RingFull`] when no slot is free.
    pub fn put(&mut self, request: &[u8; SLOT]) -> Result<(), RingFull> {
        if self.free() == 0 {
            return Err(RingFull);
        }
        self.memory.write(slot_offset::<SLOT>(self.req_prod), request);
        self.req_prod = self.req_prod.wrapping_add(1);
        Ok(())
    }

    /// Returns true if there are requests that the backend was not shown.
    #[must_use]
    pub const fn has_unpublished(&self) -> bool {
        self.published != self.req_prod
    }

    /// Shows the requests to the backend; returns true when it asked to be notified of them.
    #[must_use = "the backend sleeps until it is notified"]
    pub fn publish(&mut self) -> bool {
        if self.published == self.req_prod {
            return false;
        }
        self.memory.store_release(REQ_PROD, self.req_prod);
        self.memory.full_fence();
        let old = core::mem::replace(&mut self.published, self.req_prod);
        passes(old, self.req_prod, self.memory.load_acquire(REQ_EVENT))
    }

    /// Takes the next response, copied out of the page once.
    ///
    /// # Errors
    /// [`RingViolation`] when the backend claims more responses than requests were published; latched.
    pub fn take(&mut self) -> Result<Option<[u8; SLOT]>, RingViolation> {
        if let Some(violation) = self.broken {
            return Err(violation);
        }
        let producer = self.memory.load_acquire(RSP_PROD);
        if producer.wrapping_sub(self.rsp_cons) > self.published.wrapping_sub(self.rsp_cons) {
            let violation = RingViolation { producer, limit: self.published };
            self.broken = Some(violation);
            return Err(violation);
        }
        if producer == self.rsp_cons {
            return Ok(None);
        }
        let mut slot = [0; SLOT];
        self.memory.read(slot_offset::<SLOT>(self.rsp_cons), &mut slot);
        self.rsp_cons = self.rsp_cons.wrapping_add(1);
        Ok(Some(slot))
    }

    /// Asks for a notification once `responses` (at least 1) more have come; returns true when one is there already.
    #[must_use = "a response that came before the mark was set raises no notification"]
    pub fn arm(&mut self, responses: u32) -> bool {
        self.memory.store_release(RSP_EVENT, self.rsp_cons.wrapping_add(responses.max(1)));
        self.memory.full_fence();
        self.memory.load_acquire(RSP_PROD) != self.rsp_cons
    }
}

#[cfg(test)]
mod tests;
