//! Guest side of sndif: connection and stream state machines without I/O.
//!
//! * [`Handshake`] follows sndif.h's XenBus state diagram and says what to do next.
//! * [`Stream`] is one stream's ring and event page: requests in flight, position, where the next WRITE or READ goes.
//! * [`Negotiation`] finds a configuration that the backend accepts; its result is a [`Geometry`].
//! * [`Mixer`] keeps volume and mute over CLOSE and OPEN.
//! * [`v0`] has the streams of protocol version 0; the rest is the same for both but for what [`Handshake`] says.
//!
//! Nothing here reads a clock, allocates, waits or logs: the driver around it maps pages, sends notifications and decides
//! when to sleep. The same code runs in a process over emulated Xen and in a kernel.
//!
//! The backend is not trusted. Whatever it writes into the shared pages, no call panics or loops without a bound; what
//! cannot be an answer is a [`Violation`], which stays (the stream is broken until the next connection), and a position
//! that cannot be true is ignored and counted. So many of those in a row, or of wake-ups for nothing ([`USELESS_MAX`]), are a
//! violation, too: a backend cannot keep the frontend busy for ever.
//!
//! A running stream needs one notification each way per period: answers to WRITE and READ are not waited for (nobody
//! [arms](Stream::arm) the ring) but collected when a position event wakes the frontend.

#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic
    )
)]

#[cfg(test)]
extern crate std;

mod cursor;
mod flight;
mod geometry;
mod handshake;
mod mixer;
mod negotiate;
mod patience;
mod stream;
#[cfg(test)]
mod testing;
pub mod v0;
mod violation;

pub use flight::{Completion, RequestId};
pub use geometry::Geometry;
pub use handshake::{Action, Actions, Handshake, UNHEEDED_MS};
pub use mixer::{CONTROL_BYTES, Mixer, MixerFeatures};
pub use negotiate::{Negotiation, NegotiationError, Step, Wanted};
pub use patience::USELESS_MAX;
pub use stream::{Counters, Progress, Stream, SubmitError};
pub use violation::Violation;
