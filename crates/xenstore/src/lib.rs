//! XenStore: wire codec, client and a small server.
//!
//! XenStore is Xen's tree of small values, through which domains find each other: a toolstack describes a device there,
//! and the two drivers of that device exchange their states, grant references and event channels through it.
//!
//! * [`wire`], [`path`], [`perm`] and [`StoreErrno`] are the protocol: total parsers, no I/O.
//! * [`Client`] speaks the protocol over a Unix socket or over `/dev/xen/xenbus`.
//! * [`hub`] shares one connection among clients that each see a part of the store.
//! * [`server`] is a store for machines without Xen: quotas, permissions, transactions and watches, driven by its
//!   owner's poll loop. Debian's `xenstore-ls` and its sisters work against it.
//!
//! Without the feature `std` only the protocol is there, for a kernel with an allocator; `examples/beep` is one.
//!
//! All data from the other side is untrusted: lengths are bounded before memory is reserved, watch
//! events are merged into a bounded set, and names are escaped before they are shown.
//!
//! Sources of facts: `xen/include/public/io/xs_wire.h`, `docs/misc/xenstore.txt` of the Xen project.
//!
//! ```
//! use vsnd_xenstore::{Client, server};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let socket = dir.path().join("socket");
//! let server = server::spawn(&socket)?;
//! let mut store = Client::connect(&socket)?;
//!
//! store.watch("/local/domain/1", "guest")?;
//! store.transaction(|t| {
//!     t.write("/local/domain/1/name", b"music")?;
//!     t.write("/local/domain/1/state", b"4")
//! })?;
//! assert_eq!(store.read_string("/local/domain/1/name")?, "music");
//!
//! let event = store.wait_event(std::time::Duration::from_secs(1))?.expect("watches fire once at the start");
//! assert_eq!(event.token, "guest");
//! # drop(server);
//! # Ok(())
//! # }
//! ```
#![cfg_attr(not(feature = "std"), no_std)]
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

extern crate alloc;

#[cfg(feature = "std")]
pub mod client;
#[cfg(feature = "std")]
mod dirty;
mod errno;
#[cfg(feature = "std")]
mod error;
#[cfg(feature = "std")]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "std")]
pub mod hub;
pub mod path;
pub mod perm;
#[cfg(feature = "std")]
pub mod server;
pub mod wire;

#[cfg(feature = "std")]
pub use client::{Client, Reply, Request, Ticket, Transaction, WatchEvent};
pub use errno::StoreErrno;
#[cfg(feature = "std")]
pub use error::{Error, Escaped, Result};
pub use path::PathError;
pub use perm::{Access, Perm};

/// The examples of the README are compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
