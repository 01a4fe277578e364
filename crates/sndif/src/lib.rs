//! The sndif protocol of Xen para-virtual sound, and nothing else.
//!
//! A guest's sound card (the *frontend*) and the host's sound daemon (the *backend*) share pages and signal each other
//! with event channels. This crate defines the contents of those pages and of XenStore: packets, ring and event-page
//! arithmetic, the page directory, sample formats, node names. It performs no I/O, allocates nothing and depends on
//! nothing, so that a kernel module, a daemon, a unikernel and a fuzzer use the same code.
//!
//! The crate has two generations of the protocol: version 2 of Xen's public header `xen/io/sndif.h` (since Xen 4.11) in
//! [`v2`], and the protocol of the 2015 driver, called version 0, in [`v0`]. Parts that do not depend on the version —
//! rings, pages, formats, states — are outside of both.
//!
//! Shared memory is reached only through [`SharedMemory`]: a packet is copied out once, checked, and
//! never read again.

#![no_std]
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

#[cfg(any(test, feature = "test-utils"))]
extern crate std;

mod bytes;
mod directory;
mod errno;
mod format;
mod memory;
mod protocol;
mod ring;
pub mod store;
pub mod text;
mod xenbus;

pub mod v0;
pub mod v2;

#[cfg(any(test, feature = "test-utils"))]
pub mod test_utils;

pub use directory::{
    DIRECTORY_REFS, DirectoryWalk, DirectoryWriter, Step as DirectoryStep, Violation as DirectoryViolation, pages_for,
};
pub use errno::Errno;
pub use format::{Format, FormatSet, FormatWidth, UnknownFormat};
pub use memory::SharedMemory;
pub use protocol::{BadResponse, Protocol, UnknownProtocol};
pub use ring::{BackRing, FrontRing, RingFull, RingViolation, SLOTS_OFFSET, ring_slots};
pub use xenbus::XenbusState;

/// Size in bytes of a page in every Xen interface, regardless of the guest's own page size.
pub const PAGE_BYTES: usize = 4096;

/// A grant reference: the right, numbered by the granting domain, to map one of its pages.
///
/// Reference 0 exists but never reaches a driver (the console owns it), so sndif uses it for "none".
#[repr(transparent)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GrantRef(pub u32);

/// The examples of the README are compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
