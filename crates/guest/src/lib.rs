//! The guest's driver in user space: a sound card over real or emulated Xen.
//!
//! [`Card::connect`] takes the card into use, [`Card::open`] opens one of its streams, and the [`OpenStream`] plays or
//! records. The `frontend` crate, which the kernel's driver shares, makes all protocol decisions; this crate has the
//! pages, the event channels, the store, and the waiting.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use guest::{Card, Config};
//! use xen::{DomainId, Xen, XenSpec};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let spec: XenSpec = "emu:xen.d".parse()?;
//! let xen = Xen::open(&spec, Some(DomainId(1)))?;
//! let card = Card::connect(&xen, &spec, 0, Duration::from_secs(5))?;
//! let config = Config {
//!     format: sndif::Format::S16Le, rate_hz: 48_000, channels: 2, period_frames: 480, buffer_frames: 1920,
//! };
//! let mut stream = card.open(0, 0, &config)?;
//! stream.write(&vec![0; 48_000 * 4])?;
//! stream.drain()?;
//! stream.close()?;
//! # Ok(()) }
//! ```
//!
//! A period takes at most one notification each way: no call waits for answers to WRITE and READ; they are collected
//! when the next position comes.
//!
//! A blocking call that finds the backend gone (its daemon restarts) waits for it to come back, opens the stream again,
//! writes the unplayed frames again, and goes on: the caller sees a pause.
//!
//! A backend that speaks only protocol version 0 gives a card whose streams are [`v0::OpenStream`]s; [`Stream`] is the
//! common trait.
#![forbid(unsafe_code)]

mod api;
mod buffer;
mod captured;
mod card;
mod connection;
mod error;
mod histogram;
mod layout;
mod link;
mod lock;
mod quarantine;
mod recovery;
mod stats;
mod stream;
mod transport;
pub mod v0;
mod wait;

pub use api::Stream;
pub use card::Card;
pub use error::{Error, Result};
pub use frontend::{MixerFeatures, NegotiationError, Violation, Wanted as Config};
pub use histogram::Histogram;
pub use layout::StreamInfo;
pub use link::Source;
pub use stats::Stats;
pub use stream::{OpenStream, Wake};
