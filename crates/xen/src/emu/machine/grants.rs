//! Grants and their mappings: the rights to map pages, and their return to the owner.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};
use sndif::{GrantRef, PAGE_BYTES};

use super::super::wire::{MAX_GRANT_PAGES, Token};
use super::{ConnectionId, Machine, limit};
use crate::{Access, DomainId, Refusal};

/// First reference for grants; lower ones belong to the toolstack on real Xen (console, XenStore).
const FIRST_REFERENCE: u32 = 8;

pub(super) struct Allocation {
    token: Token,
    pub(super) owner: ConnectionId,
    to: DomainId,
    access: Access,
    pages: u32,
    /// Number of mappings of each page.
    mapped: Vec<u32>,
    /// True if the owner has ended the access; the allocation is removed with its last mapping.
    revoked: bool,
    memory: Arc<OwnedFd>,
}

impl Allocation {
    /// The descriptor for a mapper with this right: a read-only one for [`Access::ReadOnly`].
    fn file(&self, access: Access) -> Result<Arc<OwnedFd>, Refusal> {
        match access {
            Access::ReadWrite => Ok(Arc::clone(&self.memory)),
            Access::ReadOnly => reopen_read_only(&self.memory).map(Arc::new).map_err(|_| Refusal::NoResources),
        }
    }

    fn is_mapped(&self) -> bool {
        self.mapped.iter().any(|count| *count > 0)
    }
}

/// Key of an allocation: its domain and its lowest reference.
pub(super) type AllocationKey = (DomainId, u32);

pub(super) struct Mapping {
    pub(super) mapper: ConnectionId,
    mapper_domain: DomainId,
    /// Allocation and page number of each mapped page. The allocation may be gone by now.
    pages: Vec<(AllocationKey, Token, u32)>,
}

/// Granted pages for their owner. Page `i` of `n` has reference `lowest + n - 1 - i`: downwards, as
/// the free list of a real grant table tends to give them, so that no program comes to rely on the order.
pub(in crate::emu) struct NewGrant {
    pub token: Token,
    pub lowest: u32,
    pub memory: Arc<OwnedFd>,
}

/// Mapped pages for their mapper, in the order of its references.
pub(in crate::emu) struct NewMapping {
    pub token: Token,
    /// Index into `files`, and page within that file.
    pub pages: Vec<(u32, u32)>,
    pub files: Vec<Arc<OwnedFd>>,
}

/// A refusal and the index of the reference that caused it.
pub(in crate::emu) type MapRefusal = (Refusal, u32);

impl Machine {
    /// Allocates zeroed pages of `owner` that `to` may map.
    pub fn grant(
        &mut self,
        owner: ConnectionId,
        to: DomainId,
        pages: u32,
        access: Access,
    ) -> Result<NewGrant, Refusal> {
        let domain = self.domain_of(owner).ok_or(Refusal::BadArgument)?;
        if pages == 0 || pages > MAX_GRANT_PAGES {
            return Err(Refusal::BadArgument);
        }
        let books = self.domains.entry(domain).or_default();
        if books.allocations >= limit::ALLOCATIONS || books.granted_pages + pages > limit::GRANTED_PAGES {
            return Err(Refusal::Quota);
        }
        let memory = Arc::new(sealed_memory(pages).map_err(|_| Refusal::NoResources)?);
        let lowest = free_references(&self.allocations, domain, books.next_reference, pages);
        books.next_reference = lowest.saturating_add(pages);
        books.allocations += 1;
        books.granted_pages += pages;
        let token = self.next_token();
        let allocation = Allocation {
            token,
            owner,
            to,
            access,
            pages,
            mapped: vec![0; pages as usize],
            revoked: false,
            memory: Arc::clone(&memory),
        };
        self.allocations.insert((domain, lowest), allocation);
        self.by_token.insert(token, (domain, lowest));
        Ok(NewGrant { token, lowest, memory })
    }

    /// Takes an allocation back from the domain it was granted to.
    pub fn end_access(&mut self, owner: ConnectionId, token: Token, deferred: bool) -> Result<(), Refusal> {
        let key = *self.by_token.get(&token).ok_or(Refusal::NoSuchGrant)?;
        let allocation = self.allocations.get_mut(&key).ok_or(Refusal::NoSuchGrant)?;
        if allocation.owner != owner || allocation.revoked {
            return Err(Refusal::NoSuchGrant);
        }
        if !allocation.is_mapped() {
            self.remove_allocation(key);
            return Ok(());
        }
        if deferred {
            allocation.revoked = true;
        }
        Err(Refusal::StillMapped)
    }

    /// Maps pages of `from`, all or none.
    pub fn map(
        &mut self,
        mapper: ConnectionId,
        from: DomainId,
        access: Access,
        refs: &[GrantRef],
    ) -> Result<NewMapping, MapRefusal> {
        let mapper_domain = self.domain_of(mapper).ok_or((Refusal::BadArgument, 0))?;
        let count = u32::try_from(refs.len()).map_err(|_| (Refusal::BadArgument, 0))?;
        let books = self.domains.entry(mapper_domain).or_default();
        if books.mapped_pages.saturating_add(count) > limit::MAPPED_PAGES {
            return Err((Refusal::Quota, 0));
        }
        let mut files: Vec<Arc<OwnedFd>> = Vec::new();
        let mut file_of: HashMap<Token, u32> = HashMap::new();
        let mut places = Vec::with_capacity(refs.len());
        let mut pages = Vec::with_capacity(refs.len());
        for (index, reference) in (0..count).zip(refs) {
            let (key, page) =
                self.granted_page(from, *reference, mapper_domain, access).map_err(|refusal| (refusal, index))?;
            let allocation = &self.allocations[&key];
            let file = match file_of.get(&allocation.token) {
                Some(file) => *file,
                None => {
                    let file = file_of.len() as u32;
                    files.push(allocation.file(access).map_err(|refusal| (refusal, index))?);
                    file_of.insert(allocation.token, file);
                    file
                }
            };
            places.push((file, page));
            pages.push((key, allocation.token, page));
        }
        for (key, _, page) in &pages {
            if let Some(allocation) = self.allocations.get_mut(key) {
                allocation.mapped[*page as usize] += 1;
            }
        }
        if let Some(books) = self.domains.get_mut(&mapper_domain) {
            books.mapped_pages += count;
        }
        let token = self.next_token();
        self.mappings.insert(token, Mapping { mapper, mapper_domain, pages });
        Ok(NewMapping { token, pages: places, files })
    }

    /// The page behind a reference, if this domain may map it.
    fn granted_page(
        &self,
        from: DomainId,
        reference: GrantRef,
        mapper: DomainId,
        access: Access,
    ) -> Result<(AllocationKey, u32), Refusal> {
        let (key, allocation) = self
            .allocations
            .range((from, 0)..=(from, reference.0))
            .next_back()
            .filter(|((_, lowest), allocation)| reference.0 - lowest < allocation.pages)
            .ok_or(Refusal::NoSuchGrant)?;
        if allocation.to != mapper {
            return Err(Refusal::GrantedToAnother);
        }
        if allocation.revoked {
            return Err(Refusal::Revoked);
        }
        if !allocation.access.covers(access) {
            return Err(Refusal::ReadOnly);
        }
        Ok((*key, allocation.pages - 1 - (reference.0 - key.1)))
    }

    /// Undoes a mapping of this connection.
    pub fn unmap(&mut self, mapper: ConnectionId, token: Token) -> Result<(), Refusal> {
        if self.mappings.get(&token).is_none_or(|mapping| mapping.mapper != mapper) {
            return Err(Refusal::NoSuchGrant);
        }
        self.remove_mapping(token);
        Ok(())
    }

    pub(super) fn remove_mapping(&mut self, token: Token) {
        let Some(mapping) = self.mappings.remove(&token) else {
            return;
        };
        if let Some(books) = self.domains.get_mut(&mapping.mapper_domain) {
            books.mapped_pages -= mapping.pages.len() as u32;
        }
        for (key, of, page) in mapping.pages {
            let Some(allocation) = self.allocations.get_mut(&key).filter(|allocation| allocation.token == of) else {
                continue;
            };
            allocation.mapped[page as usize] -= 1;
            if allocation.revoked && !allocation.is_mapped() {
                self.remove_allocation(key);
            }
        }
    }

    pub(super) fn remove_allocation(&mut self, key: AllocationKey) {
        if let Some(allocation) = self.allocations.remove(&key) {
            self.by_token.remove(&allocation.token);
            if let Some(books) = self.domains.get_mut(&key.0) {
                books.allocations -= 1;
                books.granted_pages -= allocation.pages;
            }
        }
    }
}

/// The lowest of `pages` consecutive free references at or after `from`. The search continues at the first
/// reference when the numbers run out.
fn free_references(allocations: &BTreeMap<AllocationKey, Allocation>, domain: DomainId, from: u32, pages: u32) -> u32 {
    let mut lowest = from.max(FIRST_REFERENCE);
    loop {
        // Reference u32::MAX is never used, so that the end of a range is a `u32`.
        let Some(end) = lowest.checked_add(pages) else {
            lowest = FIRST_REFERENCE;
            continue;
        };
        match allocations.range((domain, 0)..(domain, end)).next_back() {
            Some(((_, taken), allocation)) if taken + allocation.pages > lowest => {
                lowest = taken + allocation.pages;
            }
            _ => return lowest,
        }
    }
}

/// Zeroed memory whose size is sealed.
fn sealed_memory(pages: u32) -> rustix::io::Result<OwnedFd> {
    let memory = rustix::fs::memfd_create("xen-grant", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    rustix::fs::ftruncate(&memory, u64::from(pages) * PAGE_BYTES as u64)?;
    rustix::fs::fcntl_add_seals(&memory, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(memory)
}

fn reopen_read_only(memory: &OwnedFd) -> rustix::io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", memory.as_raw_fd());
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}
