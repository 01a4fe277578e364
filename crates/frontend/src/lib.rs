//! Guest side of sndif: connection and stream state machines without I/O.
//!
//! * [`Handshake`] follows sndif.h's XenBus state diagram and returns the next actions.
//! * [`Stream`] is one stream's ring and event page: requests in flight, position, place of the next WRITE or READ.
//! * [`Negotiation`] finds a configuration that the backend accepts; its result is a [`Geometry`].
//! * [`Mixer`] keeps volume and mute over CLOSE and OPEN.
//! * [`v0`] has the streams of protocol version 0; everything else serves both versions, except for [`Handshake`]'s
//!   rules.
//!
//! Nothing here reads a clock, allocates, waits or logs: the driver around it maps pages, sends notifications and
//! decides when to sleep. The same code runs in a process over emulated Xen and in a kernel.
//!
//! The backend is not trusted. Whatever it writes into the shared pages, no call panics or loops without a bound. Data
//! that cannot be an answer is a [`Violation`], which stays (the stream is broken until the next connection); a
//! position that cannot be true is ignored and counted. [`USELESS_MAX`] such positions in a row, or as many wake-ups
//! for nothing, are a violation, too: a backend cannot keep the frontend busy for ever.
//!
//! A running stream needs one notification each way per period: no code waits for answers to WRITE and READ (nobody
//! [arms](Stream::arm) the ring); they are collected when a position event wakes the frontend.

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

/// The examples of the README are compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
