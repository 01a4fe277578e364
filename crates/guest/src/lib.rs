//! The guest's driver in user space: a sound card over real or emulated Xen.
//!
//! [`Card::connect`] takes the card into use; [`Card::playback`] opens a stream that plays, [`Card::capture`] one that
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
//! let mut stream = card.playback(0, 0, &config)?;
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
//! Both versions of the protocol are behind the same types; [`Stream`] says what version 0 lacks. A stream that records
//! cannot be written to:
//!
//! ```compile_fail,E0599
//! fn play(stream: &mut guest::Capture) -> guest::Result<()> {
//!     stream.write(&[0; 4])
//! }
//! ```
#![forbid(unsafe_code)]

mod card;
mod connection;
mod error;
mod histogram;
mod hold;
mod layout;
mod lock;
mod protocol;
mod quarantine;
mod stats;
mod stream;
mod transport;
mod v0;
mod v2;
mod wait;

pub use card::Card;
pub use error::{Error, Result};
pub use frontend::{MixerFeatures, NegotiationError, Violation, Wanted as Config};
pub use histogram::Histogram;
pub use layout::StreamInfo;
pub use stats::Stats;
pub use stream::{Capture, ChannelKind, Playback, Playing, Recording, Stream, Wake};
