//! An emulated Xen: domains are processes, and one process is the hypervisor.
//!
//! The hypervisor listens at two Unix sockets in a directory of its own. At [`HYPERVISOR_SOCKET`]
//! domains connect and receive memory (memfds) and event channels (eventfds). At [`STORE_SOCKET`] every client is
//! domain 0 and speaks XenStore's own protocol, so that Xen's tools work with `XENSTORED_PATH`. A process that
//! may enter the directory may be any domain: the emulation keeps Xen's rules among programs that use its
//! interface, but it is no security boundary.
//!
//! The rules: a grant can be mapped only by the domain that it names, and for writing only if it permits that; the
//! access cannot be ended while the grant is mapped; pages of a dead domain stay with the domains that map them; a
//! port can be bound once, by the domain it is reserved for; a domain lives while it has a connection,
//! and its death is announced in the store (`@releaseDomain`). References and ports are never used
//! twice, so a number kept from a dead domain names nothing. Domain 0 never dies: as under
//! Xen, the end of one of its processes releases only the resources of that process.
//!
//! The emulation uses real memory and real system calls, so a frontend and a backend that work here
//! differ from those on Xen only by the few lines in [`Xen`](crate::Xen) that choose.

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

pub(crate) use guest::{Guest, REAL};
pub(crate) use wire::Token;

/// Name of the socket in the emulation's directory where domains connect.
pub const HYPERVISOR_SOCKET: &str = "hypervisor.sock";
/// Name of the socket in the emulation's directory where XenStore is served, to every client as domain 0.
pub const STORE_SOCKET: &str = "xenstored.sock";
