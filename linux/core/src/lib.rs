// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! The logic of the guest's Linux driver, without Linux: ALSA's operations on a stream of the protocol.
//!
//! * [`layout`] reads a card from the store: PCM devices, streams, names, limits.
//! * [`Substream`] is one substream: the operations `open`, `hw_params`, `prepare`, `trigger`, `ack`, `pointer` and
//!   `close`, and the handling of events on its channels. It is a [`PcmStream`] where the backend speaks version 2, and
//!   a [`v0::PcmStream`] where it speaks nothing newer than version 0: a [`Pcm`] with the state of that version.
//! * [`connect`] gives all streams of a card a transport and tells the backend of it.
//! * [`Space`] is the set of configurations that a substream allows.
//!
//! [`Platform`] is the kernel's part; tests implement it on ordinary memory. All allocations here go through it.
//!
//! # Locks
//!
//! Each stream has three, taken in this order; all may sleep, none is taken in atomic context:
//!
//! 1. *asking*: held by the thread that waits for an answer, so that one waits at a time. Never taken while the PCM
//!    stream is locked.
//! 2. the PCM stream's own lock, ALSA's (the driver is `nonatomic`).
//! 3. *state*: ring, event page, position. Held for some loads and stores, never while waiting.

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

mod buffer;
pub mod connect;
mod control;
mod error;
mod estimate;
mod guarded;
pub mod layout;
mod mixer;
mod pcm;
mod place;
mod platform;
mod show;
mod space;
mod state;
mod stream;
mod substream;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod text;
pub mod v0;
#[cfg(test)]
mod waiting;

pub use control::{Control, Knob};
pub use error::Error;
pub use mixer::{VOLUME_0_DB, VOLUME_MAX};
pub use pcm::Pcm;
pub use platform::{
    Boxed, Bus, Channel, ChannelKind, KEPT_MAX, Listener, Lock, LockClass, Pages, Platform, Signal, Stop, Writer,
};
pub use space::{Space, SpaceCache};
pub use stream::{PcmStream, Pointer};
pub use substream::Substream;
pub use text::{TEXT_MAX_LEN, Text};
