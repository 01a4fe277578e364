//! Granted and mapped pages: ownership as types.
//!
//! A page granted to another domain can be touched only word by word until its access is ended; a
//! page mapped from another domain is unmapped when its value is dropped.

use std::fmt;
use std::sync::Arc;

use sndif::{GrantRef, SharedMemory};

use crate::memory::SharedPages;
use crate::{Backing, Shared, dev, emu};

/// Identification of an allocation of granted pages.
pub(crate) enum GrantToken {
    /// The hypervisor's name for the allocation.
    Emu(emu::Token),
    /// An allocation of `/dev/xen/gntalloc`; frees itself when dropped.
    Dev(#[expect(dead_code, reason = "held for its drop")] dev::Allocation),
}

/// Identification of mapped pages.
pub(crate) enum MapToken {
    /// The hypervisor's names for the mappings, one for each batch of references.
    Emu(Vec<emu::Token>),
    /// A mapping of `/dev/xen/gntdev`; frees itself when dropped.
    Dev(#[expect(dead_code, reason = "held for its drop")] dev::Mapping),
}

/// Pages of our own that another domain may map.
///
/// The pages were zeroed when allocated. Dropping them tries to end the access; pages that the
/// other domain still maps are then quarantined: their references are dead, their memory is never
/// used for anything else, and it is freed when the last mapping goes.
pub struct Granted {
    // Fields are dropped in this order: our mapping goes before the allocation behind it.
    pages: SharedPages,
    refs: Vec<GrantRef>,
    hold: GrantHold,
}

/// Pages of another domain.
///
/// The pages stay valid until dropped, even if that domain dies; their contents may change at any moment.
pub struct Mapped {
    // Fields are dropped in this order: the mapping goes before we report it as gone.
    pages: SharedPages,
    /// Held for its drop.
    _hold: MapHold,
}

struct GrantHold {
    token: GrantToken,
    owner: Arc<Shared>,
    count: usize,
    ended: bool,
}

struct MapHold {
    token: MapToken,
    owner: Arc<Shared>,
    count: usize,
}

impl Granted {
    pub(crate) fn new(pages: SharedPages, refs: Vec<GrantRef>, token: GrantToken, owner: Arc<Shared>) -> Self {
        let count = refs.len();
        owner.counters.granted_pages.add(count);
        Self { pages, refs, hold: GrantHold { token, owner, count, ended: false } }
    }

    /// The references, one for each page, in the order of the pages. None is 0, and they have no particular
    /// numeric order.
    #[must_use]
    pub fn refs(&self) -> &[GrantRef] {
        &self.refs
    }

    /// Takes the pages back from the other domain and frees them.
    ///
    /// # Errors
    ///
    /// [`StillMapped`] gives the pages back if the other domain maps any of them. Only the emulation
    /// reports this; the kernel behind `/dev/xen/gntalloc` accepts and keeps such pages aside by itself.
    pub fn end_access(mut self) -> Result<(), StillMapped> {
        if let (Backing::Emu(guest), GrantToken::Emu(token)) = (&self.hold.owner.backing, &self.hold.token) {
            // An error means that the hypervisor is gone: then nobody can map the pages any more, and
            // nothing is left to take back.
            self.hold.ended = guest.end_access(*token, false).unwrap_or(true);
            if !self.hold.ended {
                return Err(StillMapped { granted: self });
            }
        }
        Ok(())
    }
}

impl Mapped {
    pub(crate) fn new(pages: SharedPages, token: MapToken, owner: Arc<Shared>) -> Self {
        let count = pages.pages();
        owner.counters.mapped_pages.add(count);
        Self { pages, _hold: MapHold { token, owner, count } }
    }
}

impl Drop for GrantHold {
    fn drop(&mut self) {
        self.owner.counters.granted_pages.sub(self.count);
        if self.ended {
            return;
        }
        if let (Backing::Emu(guest), GrantToken::Emu(token)) = (&self.owner.backing, &self.token)
            && let Ok(false) = guest.end_access(*token, true)
        {
            self.owner.counters.quarantined_pages.add(self.count);
        }
    }
}

impl Drop for MapHold {
    fn drop(&mut self) {
        self.owner.counters.mapped_pages.sub(self.count);
        if let (Backing::Emu(guest), MapToken::Emu(tokens)) = (&self.owner.backing, &self.token) {
            guest.unmap(tokens);
        }
    }
}

impl fmt::Debug for Granted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Granted").field("refs", &self.refs).finish_non_exhaustive()
    }
}

impl fmt::Debug for Mapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapped").field("pages", &self.pages.pages()).finish_non_exhaustive()
    }
}

/// Error: the other domain still maps the pages. They stay granted, and this value holds them.
#[derive(Debug, thiserror::Error)]
#[error("granted pages are still mapped by the other domain")]
pub struct StillMapped {
    /// The pages, to try again later or to drop into quarantine.
    pub granted: Granted,
}

macro_rules! shared_memory {
    ($type:ty) => {
        impl SharedMemory for $type {
            fn len(&self) -> usize {
                self.pages.len()
            }
            fn load_acquire(&self, offset: usize) -> u32 {
                self.pages.load_acquire(offset)
            }
            fn store_release(&self, offset: usize, value: u32) {
                self.pages.store_release(offset, value);
            }
            fn full_fence(&self) {
                self.pages.full_fence();
            }
            fn read(&self, offset: usize, into: &mut [u8]) -> bool {
                self.pages.read(offset, into)
            }
            fn write(&self, offset: usize, from: &[u8]) -> bool {
                self.pages.write(offset, from)
            }
        }
    };
}

shared_memory!(Granted);
shared_memory!(Mapped);
