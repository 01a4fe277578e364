//! An emulated Xen: domains are processes, and one process is the hypervisor.
//!
//! In a directory of its own the hypervisor listens at two Unix sockets: at [`HYPERVISOR_SOCKET`]
//! domains connect and get memory (memfds) and event channels (eventfds) handed over; at
//! [`STORE_SOCKET`] everybody is domain 0 and speaks XenStore's own protocol, so that Xen's tools work
//! with `XENSTORED_PATH`. Whoever may enter the directory may be any domain: the emulation keeps
//! Xen's rules among programs that keep to its interface, it is no security boundary.
//!
//! Rules kept: a grant can be mapped by the domain it names only, for writing only if it says so; its
//! access cannot be ended while it is mapped; pages of a dead domain stay with those who map them; a
//! port can be bound by the domain it is reserved for, once; a domain lives while it has a connection,
//! and its death is announced in the store (`@releaseDomain`). References and ports are never used
//! twice, so a number kept from a dead domain means nothing. Domain 0 never dies: there, as under
//! Xen, the end of a process takes along what that process owned and nothing else.
//!
//! Real memory and real system calls carry all of it, so a frontend and a backend that work here
//! differ from those on Xen by the few lines in [`Xen`](crate::Xen) that choose.

mod directory;
mod guest;
mod handle;
mod hypervisor;
mod machine;
pub(crate) mod socket;
mod stores;
pub(crate) mod wire;

pub use guest::stats;
pub use handle::{Handle, spawn, spawn_with};
pub use hypervisor::Hypervisor;
pub use machine::Stats;
pub use stores::Toolstack;

pub(crate) use guest::{ChannelFds, Guest, REAL};
pub(crate) use wire::Token;

/// Name of the socket in the emulation's directory where domains connect.
pub const HYPERVISOR_SOCKET: &str = "hypervisor.sock";
/// Name of the socket in the emulation's directory where XenStore is served, to everybody as domain 0.
pub const STORE_SOCKET: &str = "xenstored.sock";
