//! Protocol version 0: the sound system of the 2015 driver (`xen-sndfront`, LP64 guests).
//!
//! A device is one stream: a ring of 32 slots for 80-byte requests and 16-byte responses, one event channel, and at
//! most ten granted pages of frames in each READ or WRITE. There are no position events: the answer to a WRITE says
//! that the next one may come, and so is the stream's clock. Offsets are those that a compiler gives the structures of
//! the driver's `sndif.h` (`crates/header-check` compares them).
//!
//! The driver left some things open; [`Level`] and [`Response`] describe this project's definitions.

mod request;
mod response;
mod volume;

pub use request::{OpenParams, Operation, Rejected, Request, Transfer, opcode};
pub use response::Response;
pub use volume::{Level, Stereo};

/// Bytes of a request, and of a slot of the ring.
pub const PACKET_BYTES: usize = 80;

/// Bytes of a response; it stands at the start of its slot.
pub const RESPONSE_BYTES: usize = 16;

/// Maximum number of pages of a READ or WRITE (`SNDIF_MAX_PAGES_PER_REQUEST`).
pub const PAGES_MAX: usize = 10;

/// Maximum number of bytes of a READ or WRITE.
pub const TRANSFER_BYTES_MAX: u32 = 40_960;

/// Time that the 2015 driver waits for an answer, in milliseconds.
pub const ANSWER_TIMEOUT_MS: u32 = 5000;

/// Number of slots of the ring.
pub const RING_SLOTS: u32 = crate::ring_slots(PACKET_BYTES);

/// The backend's end of a ring.
pub type BackRing<M> = crate::BackRing<M, PACKET_BYTES>;

/// The frontend's end of a ring.
pub type FrontRing<M> = crate::FrontRing<M, PACKET_BYTES>;

/// Node names; `ring-ref` and `event-channel` are directly in the frontend's directory.
pub mod node {
    pub use crate::store::node::{EVENT_CHANNEL, RING_REF};

    /// Backend: number of the stream, which the frontend puts into its requests.
    pub const STREAM_ID: &str = "stream_id";
    /// Backend, an extension of this project: `p` or `c` if the toolstack gives the stream a direction. Without it, the
    /// first READ or WRITE after OPEN decides.
    pub const TYPE: &str = "type";
}
