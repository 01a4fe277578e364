//! Xen as user space sees it: the store, grants and event channels.
//!
//! One interface for two Xens: the real one through `/dev/xen/*` ([`dev`]), and an emulation for machines
//! without Xen ([`emu`]) that keeps Xen's rules — permission by domain, no taking back of pages that are still
//! mapped, and a domain's death releases everything it owned. [`XenSpec`] selects one; everything else is
//! the same:
//!
//! ```no_run
//! use xen::{Access, DomainId, Xen, XenSpec};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let guest = Xen::open(&"emu:/run/user/1000/xen".parse::<XenSpec>()?, Some(DomainId(1)))?;
//! let page = guest.grant(DomainId(0), 1, Access::ReadWrite)?;
//! let channel = guest.alloc_unbound(DomainId(0))?;
//! println!("ring-ref {}, event-channel {}", page.refs()[0].0, channel.port());
//! # Ok(()) }
//! ```
//!
//! All of user space's unsafe code is here: `memory.rs` (mapping and accessing shared
//! pages), `dev/ioctl.rs` (the device files), `counter.rs` (a register), `library.rs` (libraries that are loaded before a
//! sandbox is entered) and `attempt.rs` (operations that a sandbox forbids, for its tests). On the path of a stream's data, only [`SharedMemory`]'s accesses, [`EventChannel::notify`]
//! and [`EventChannel::rearm`] are used.

pub mod attempt;
mod channel;
mod counter;
pub mod dev;
pub mod emu;
mod error;
mod grant;
mod lend;
pub mod library;
mod limits;
mod memory;
mod spec;

use std::fmt;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

pub use channel::EventChannel;
pub use counter::processor_counter;
pub use error::{Error, Refusal, Result};
pub use grant::{Granted, Mapped, StillMapped};
pub use lend::Lender;
pub use limits::raise_fd_limit;
pub use memory::Access;
pub use sndif::{GrantRef, SharedMemory};
pub use spec::{BadXenSpec, XenSpec};

use channel::Kind;
use grant::{GrantToken, MapToken};

/// Number of a domain: 0 is the host's, guests count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DomainId(pub u16);

impl fmt::Display for DomainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Time between two attempts to find an emulation that is being started.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// First of the numbers that Xen reserves (`DOMID_FIRST_RESERVED`).
const DOMAINS_END: u16 = 0x7FF0;

/// Error: a text is no domain's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a domain's number is 0 to 32751")]
pub struct BadDomainId;

impl FromStr for DomainId {
    type Err = BadDomainId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.parse().ok().filter(|number| *number < DOMAINS_END);
        number.map(DomainId).ok_or(BadDomainId)
    }
}

/// An event channel's port: its number within its domain. 0 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Port(pub u32);

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Handle of this process to Xen, as one domain. Clones are the same handle.
///
/// Every grant, mapping and channel keeps the handle open. When the last of all is dropped, or the process
/// ends, everything is released.
#[derive(Clone)]
pub struct Xen {
    shared: Arc<Shared>,
}

/// State shared by a handle and all its grants, mappings and channels.
pub(crate) struct Shared {
    backing: Backing,
    counters: Counters,
}

pub(crate) enum Backing {
    Emu(emu::Guest),
    Dev(dev::Device),
}

#[derive(Default)]
pub(crate) struct Counters {
    granted_pages: Counter,
    mapped_pages: Counter,
    ports: Counter,
    quarantined_pages: Counter,
}

/// A number for diagnostics, without memory ordering.
#[derive(Default)]
pub(crate) struct Counter(AtomicUsize);

impl Counter {
    pub fn add(&self, count: usize) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub fn sub(&self, count: usize) {
        self.0.fetch_sub(count, Ordering::Relaxed);
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Resources that a handle and its clones hold at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Pages granted to others.
    pub granted_pages: usize,
    /// Pages of others that are mapped.
    pub mapped_pages: usize,
    /// Event channels.
    pub ports: usize,
    /// Pages that were dropped while still mapped, since the handle was opened.
    pub quarantined_pages: usize,
}

impl Xen {
    /// Opens Xen as `domain`.
    ///
    /// The emulation accepts any domain; `None` means 0. The real Xen knows which domain this
    /// is; another one is an error.
    ///
    /// # Errors
    ///
    /// [`Error::NoEmulation`], [`Error::DeviceMissing`] and [`Error::OtherDomain`] tell the user what to do;
    /// others come from the system.
    pub fn open(spec: &XenSpec, domain: Option<DomainId>) -> Result<Self> {
        let backing = match spec {
            XenSpec::Dev => Backing::Dev(dev::Device::open(domain)?),
            XenSpec::Emu(dir) => Backing::Emu(emu::Guest::connect(dir, domain.unwrap_or(DomainId(0)))?),
        };
        Ok(Self { shared: Arc::new(Shared { backing, counters: Counters::default() }) })
    }

    /// Like [`open`](Self::open), and waits for an emulation that is being started at the same time.
    ///
    /// # Errors
    /// Same as [`open`](Self::open), after `patience` if there is no emulation.
    pub fn open_within(patience: Duration, spec: &XenSpec, domain: Option<DomainId>) -> Result<Self> {
        let ends = Instant::now() + patience;
        loop {
            match Self::open(spec, domain) {
                Err(Error::NoEmulation { .. }) if Instant::now() < ends => std::thread::sleep(LOOK_AGAIN),
                opened => return opened,
            }
        }
    }

    /// Opens the part of Xen that another process lends over `socket` ([`Xen::lend`]), as `domain`. The handle maps
    /// pages, binds channels and opens one connection to the store; it cannot grant pages.
    ///
    /// # Errors
    /// If the other process does not answer.
    pub fn borrowed(socket: OwnedFd, domain: DomainId) -> Result<Self> {
        let backing = Backing::Emu(emu::Guest::enter(socket, domain)?);
        Ok(Self { shared: Arc::new(Shared { backing, counters: Counters::default() }) })
    }

    /// The domain that this process is, or runs in.
    #[must_use]
    pub fn domain(&self) -> DomainId {
        match &self.shared.backing {
            Backing::Emu(guest) => guest.domain(),
            Backing::Dev(device) => device.domain(),
        }
    }

    /// A new connection to XenStore with this domain's rights. In the emulation it ends with this handle.
    ///
    /// # Errors
    ///
    /// If the store cannot be reached.
    pub fn store(&self) -> Result<xenstore::Client> {
        Ok(xenstore::Client::from_fd(self.store_fd()?)?)
    }

    /// Like [`store`](Self::store), as a descriptor over which nothing was sent yet.
    ///
    /// # Errors
    ///
    /// Same as [`store`](Self::store).
    pub fn store_fd(&self) -> Result<OwnedFd> {
        match &self.shared.backing {
            Backing::Emu(guest) => guest.store(),
            Backing::Dev(_) => dev::store(),
        }
    }

    /// Allocates `pages` zeroed pages that `to` may map.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] for no pages, too many (more than 4096 in the emulation), or a reached limit.
    pub fn grant(&self, to: DomainId, pages: usize, access: Access) -> Result<Granted> {
        let (token, refs, shared) = match &self.shared.backing {
            Backing::Emu(guest) => {
                let (token, refs, shared) = guest.grant(to, pages, access)?;
                (GrantToken::Emu(token), refs, shared)
            }
            Backing::Dev(device) => {
                let (allocation, refs, shared) = device.grant(to, pages, access)?;
                (GrantToken::Dev(allocation), refs, shared)
            }
        };
        Ok(Granted::new(shared, refs, token, Arc::clone(&self.shared)))
    }

    /// Maps pages that `from` granted us, contiguously in the order of `refs`.
    ///
    /// # Errors
    ///
    /// [`Error::Map`] names the first reference that was refused; then nothing stays mapped.
    pub fn map(&self, from: DomainId, refs: &[GrantRef], access: Access) -> Result<Mapped> {
        let (token, shared) = match &self.shared.backing {
            Backing::Emu(guest) => {
                let (tokens, shared) = guest.map(from, refs, access)?;
                (MapToken::Emu(tokens), shared)
            }
            Backing::Dev(device) => {
                let (mapping, shared) = device.map(from, refs, access)?;
                (MapToken::Dev(mapping), shared)
            }
        };
        Ok(Mapped::new(shared, token, Arc::clone(&self.shared)))
    }

    /// Allocates an event channel whose other end `remote` may bind.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] if this domain has too many ports.
    pub fn alloc_unbound(&self, remote: DomainId) -> Result<EventChannel> {
        let kind = match &self.shared.backing {
            Backing::Emu(guest) => Kind::Emu(guest.alloc_unbound(remote)?),
            Backing::Dev(device) => Kind::Dev(device.alloc_unbound(remote)?),
        };
        Ok(EventChannel::new(kind, Arc::clone(&self.shared)))
    }

    /// Binds the other end of a channel that `remote` allocated for us. The new end has an event pending from the
    /// start, since notifications may have been sent before it was bound.
    ///
    /// # Errors
    ///
    /// [`Error::Bind`] if the port does not exist, is reserved for another domain, or is bound.
    pub fn bind_interdomain(&self, remote: DomainId, port: Port) -> Result<EventChannel> {
        let kind = match &self.shared.backing {
            Backing::Emu(guest) => guest.bind_interdomain(remote, port)?,
            Backing::Dev(device) => Kind::Dev(device.bind_interdomain(remote, port)?),
        };
        Ok(EventChannel::new(kind, Arc::clone(&self.shared)))
    }

    /// Checks that more can be lent after this process gave up rights: each channel and each mapping opens a new file.
    ///
    /// # Errors
    ///
    /// [`Error::System`] names the file that this process may not open.
    pub fn check_devices(&self) -> Result<()> {
        match &self.shared.backing {
            Backing::Emu(_) => Ok(()),
            Backing::Dev(device) => device.check(),
        }
    }

    /// Resources that this handle and its clones hold.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let counters = &self.shared.counters;
        Usage {
            granted_pages: counters.granted_pages.get(),
            mapped_pages: counters.mapped_pages.get(),
            ports: counters.ports.get(),
            quarantined_pages: counters.quarantined_pages.get(),
        }
    }

    /// A descriptor that reports `POLLHUP` when the emulated hypervisor ends, or disconnects us; `None`
    /// on real Xen, which does neither.
    #[must_use]
    pub fn liveness(&self) -> Option<BorrowedFd<'_>> {
        match &self.shared.backing {
            Backing::Emu(guest) => Some(guest.liveness()),
            Backing::Dev(_) => None,
        }
    }
}

impl fmt::Debug for Xen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Xen").field("domain", &self.domain()).field("usage", &self.usage()).finish_non_exhaustive()
    }
}
