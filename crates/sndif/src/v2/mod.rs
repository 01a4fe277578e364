//! Protocol version 2: 64-byte packets, one ring and one event page per stream.
//!
//! Source: `xen/io/sndif.h` (Xen 4.11 and later). Reserved bytes are sent as zeroes and never
//! looked at: Linux leaves stale data in them.

mod event;
mod event_page;
mod params;
mod request;
mod response;

pub use event::{BadEvent, Event};
pub use event_page::{EVENT_SLOTS, EVENT_SLOTS_OFFSET, EventConsumer, EventPageFull, EventProducer, EventViolation};
pub use params::{HwParams, Interval};
pub use request::{OpenParams, Operation, Rejected, Request, Span, Trigger, opcode};
pub use response::Response;

/// Bytes of a request, a response and an event.
pub const PACKET_BYTES: usize = crate::bytes::PACKET_BYTES;

/// Number of slots of the request ring.
pub const RING_SLOTS: u32 = crate::ring_slots(PACKET_BYTES);

/// Bytes that one [`Operation::ReadAhead`] may ask for.
pub const READ_AHEAD_BYTES_MAX: u32 = 1 << 18;

/// The backend's end of a stream's ring.
pub type BackRing<M> = crate::BackRing<M, PACKET_BYTES>;

/// The frontend's end of a stream's ring.
pub type FrontRing<M> = crate::FrontRing<M, PACKET_BYTES>;
