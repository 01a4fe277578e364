//! Pages that another domain may map.
//!
//! Source: `struct grant_entry_v1` in `xen/include/public/grant_table.h` of the Xen project.

use core::sync::atomic::{AtomicU32, Ordering};

use alloc::vec::Vec;
use sndif::{GrantRef, PAGE_BYTES, SharedMemory};

use crate::arch;
use crate::error::{Error, Result};
use crate::hypercall::{self, DomainId, Space};
use crate::memory::Shared;

/// Bytes of an entry: flags u16, domain u16, frame u32.
const ENTRY_BYTES: usize = 8;
/// Flag: the domain may map the page. While it does, Xen sets others beside it.
const PERMIT_ACCESS: u32 = 1;
/// The references before belong to the console and the store.
const FIRST: u32 = 8;
/// The first page of the table has more entries than beep has pages.
const END: u32 = (PAGE_BYTES / ENTRY_BYTES) as u32;

static NEXT: AtomicU32 = AtomicU32::new(FIRST);

/// Has Xen put the table in place; to be called before anything is granted.
pub fn prepare() -> Result<()> {
    hypercall::map(Space::GrantTable, arch::grant_table())
}

/// Zeroed pages of ours that a domain may map.
#[derive(Debug)]
pub struct Granted {
    /// The pages.
    pub memory: Shared,
    /// By which the domain names them.
    pub refs: Vec<GrantRef>,
    to: DomainId,
}

impl Granted {
    /// Grants pages that hold nothing of ours.
    pub fn new(to: DomainId, pages: usize) -> Result<Self> {
        let memory = Shared::take(pages)?;
        let first = NEXT.fetch_add(pages as u32, Ordering::Relaxed);
        if first.saturating_add(pages as u32) > END {
            return Err(Error::NoMemory);
        }
        let refs: Vec<_> = (first..).map(GrantRef).take(pages).collect();
        let table = arch::grant_table();
        for (reference, frame) in refs.iter().zip(memory.frames()) {
            let entry = entry(*reference);
            // The entry counts as soon as its flags are there, so they come last.
            table.store_release(entry + 4, frame.0 as u32);
            table.store_release(entry, permission(to));
        }
        Ok(Self { memory, refs, to })
    }

    /// Takes the permission back; returns how many pages the domain has mapped still, for which it stays.
    pub fn end_access(self) -> usize {
        let table = arch::grant_table();
        let mapped = |reference: &&GrantRef| !table.replace(entry(**reference), permission(self.to), 0);
        self.refs.iter().filter(mapped).count()
    }
}

fn entry(reference: GrantRef) -> usize {
    reference.0 as usize * ENTRY_BYTES
}

/// The first word of an entry.
fn permission(to: DomainId) -> u32 {
    PERMIT_ACCESS | u32::from(to) << 16
}
