//! Host side of sndif, without I/O.
//!
//! The daemon brings requests, store states and the time; this crate decides. [`Handshake`] is a
//! device's XenBus state machine, [`Stream`] one stream of a connected card: it owns the private
//! mirror of the guest's buffer, knows how far it is written and how far it is played, and when the
//! guest is to be told. [`v0::Stream`] is the same for guests of protocol version 0; [`Frames`] is what a host device
//! sees of both. Nothing here reads a clock, opens a file or starts a thread, so the daemon, the
//! tests and the fuzzers run the same code.
//!
//! Time is a `u64` of nanoseconds since any fixed moment; it must not run backwards.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

mod ahead;
mod clock;
mod frames;
mod frontier;
mod handshake;
mod hold_off;
mod negotiate;
mod open;
mod reporter;
mod stream;
mod volume;

pub mod v0;

pub use frames::{Frames, Pace, Run};
pub use handshake::{Action, Handshake};
pub use negotiate::{DeviceLimits, HostLimits, Offer, Refusal};
pub use open::Geometry;
pub use stream::{Counters, Outcome, PART_BYTES, Stream, StreamConfig};
pub use volume::VOLUME_RANGE_MDB;
