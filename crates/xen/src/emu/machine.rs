//! The emulated machine's books: which connection belongs to which domain, and what it owns.
//!
//! No sockets here: requests come in as calls and go out as results, so that the rules can be read,
//! and tested, on their own. Everything a connection owns carries its id, and [`Machine::disconnect`]
//! takes all of it away, however the connection ended.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use rustix::event::EventfdFlags;
use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};
use sndif::{GrantRef, PAGE_BYTES};

use super::wire::{MAX_GRANT_PAGES, Token};
use crate::{Access, DomainId, Port, Refusal};

/// References below this one are the toolstack's on real Xen (console, XenStore).
const FIRST_REFERENCE: u32 = 8;

/// Bounds of one domain, all its connections together.
///
/// A stream takes two ports and some ten grants, so these are good for far more than a thousand.
pub(super) mod limit {
    /// Connections at the same time.
    pub const CONNECTIONS: u32 = 256;
    /// Pages granted to others, revoked ones that are still mapped included.
    pub const GRANTED_PAGES: u32 = 262_144;
    /// Allocations of granted pages: each is a descriptor of the hypervisor.
    pub const ALLOCATIONS: u32 = 65_536;
    /// Pages of others that are mapped, each mapping counted.
    pub const MAPPED_PAGES: u32 = 1_048_576;
    /// Ports: each pair costs two descriptors.
    pub const PORTS: u32 = 16_384;
}

/// A connection of a domain; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ConnectionId(pub u64);

/// What a connection's end, or its `Hello`, means for its domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// The domain was alive, or dead, before and still is.
    Unchanged,
    /// The first connection came.
    Started(DomainId),
    /// The last connection went.
    Died(DomainId),
}

/// Counters of the whole machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Domains with at least one connection.
    pub domains: u32,
    /// Connections that said which domain they are.
    pub connections: u32,
    /// Pages granted, revoked ones that are still mapped included.
    pub granted_pages: u32,
    /// Pages mapped, each mapping counted.
    pub mapped_pages: u32,
    /// Ports, bound or not.
    pub ports: u32,
    /// Store connections, those of the plain store socket included.
    pub store_connections: u32,
}

#[derive(Default)]
struct Domain {
    connections: u32,
    allocations: u32,
    granted_pages: u32,
    mapped_pages: u32,
    ports: u32,
    /// Next reference and port to give out. They outlive the domain, so that a number somebody kept
    /// from a dead domain never means something of its successor.
    next_reference: u32,
    next_port: u32,
}

struct Allocation {
    token: Token,
    owner: ConnectionId,
    to: DomainId,
    access: Access,
    pages: u32,
    /// How often each page is mapped.
    mapped: Vec<u32>,
    /// The owner is done with it; it goes with its last mapping.
    revoked: bool,
    memory: Arc<OwnedFd>,
}

impl Allocation {
    /// What a mapper with this right gets to map: for reading only, a descriptor that cannot do more.
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

/// Where an allocation stands in the books: its domain and its lowest reference.
type AllocationKey = (DomainId, u32);

struct Mapping {
    mapper: ConnectionId,
    mapper_domain: DomainId,
    /// For each mapped page: its allocation and page number. The allocation may be gone by now.
    pages: Vec<(AllocationKey, Token, u32)>,
}

enum PortState {
    Unbound { remote: DomainId },
    Bound { remote: DomainId, port: Port },
}

struct PortEntry {
    owner: ConnectionId,
    state: PortState,
    receive: Arc<OwnedFd>,
    send: Arc<OwnedFd>,
}

/// A port as its owner gets it.
pub(super) struct NewPort {
    pub port: Port,
    pub receive: Arc<OwnedFd>,
    pub send: Arc<OwnedFd>,
}

/// Pages as their owner gets them. Page `i` of `n` has reference `lowest + n - 1 - i`: downwards, as
/// the free list of a real grant table tends to give them, so that nobody comes to rely on the order.
pub(super) struct NewGrant {
    pub token: Token,
    pub lowest: u32,
    pub memory: Arc<OwnedFd>,
}

/// Pages as their mapper gets them, in the order of its references.
pub(super) struct NewMapping {
    pub token: Token,
    /// Index into `files`, and page within that file.
    pub pages: Vec<(u32, u32)>,
    pub files: Vec<Arc<OwnedFd>>,
}

/// A refusal and the index of the reference that caused it.
pub(super) type MapRefusal = (Refusal, u32);

/// The emulated machine.
#[derive(Default)]
pub(super) struct Machine {
    domains: HashMap<DomainId, Domain>,
    connections: HashMap<ConnectionId, DomainId>,
    allocations: BTreeMap<AllocationKey, Allocation>,
    by_token: HashMap<Token, AllocationKey>,
    mappings: HashMap<Token, Mapping>,
    ports: HashMap<(DomainId, Port), PortEntry>,
    last_token: u64,
}

impl Machine {
    /// A connection says which domain it is.
    pub fn connect(&mut self, id: ConnectionId, domain: DomainId) -> Result<Life, Refusal> {
        let books = self.domains.entry(domain).or_default();
        if books.connections >= limit::CONNECTIONS {
            return Err(Refusal::Quota);
        }
        books.connections += 1;
        let first = books.connections == 1;
        self.connections.insert(id, domain);
        Ok(if first { Life::Started(domain) } else { Life::Unchanged })
    }

    /// A connection is gone: so is everything it owned.
    pub fn disconnect(&mut self, id: ConnectionId) -> Life {
        let Some(domain) = self.connections.remove(&id) else {
            return Life::Unchanged;
        };
        let ports: Vec<Port> = self
            .ports
            .iter()
            .filter(|((owner, _), entry)| *owner == domain && entry.owner == id)
            .map(|((_, port), _)| *port)
            .collect();
        for port in ports {
            self.remove_port(domain, port);
        }
        let mappings: Vec<Token> =
            self.mappings.iter().filter(|(_, mapping)| mapping.mapper == id).map(|(token, _)| *token).collect();
        for token in mappings {
            self.remove_mapping(token);
        }
        let allocations: Vec<AllocationKey> = self
            .allocations
            .range((domain, 0)..=(domain, u32::MAX))
            .filter(|(_, allocation)| allocation.owner == id)
            .map(|(key, _)| *key)
            .collect();
        for key in allocations {
            self.remove_allocation(key);
        }
        let Some(books) = self.domains.get_mut(&domain) else {
            return Life::Unchanged;
        };
        books.connections -= 1;
        if books.connections == 0 { Life::Died(domain) } else { Life::Unchanged }
    }

    /// The domain of a connection that said `Hello`.
    pub fn domain_of(&self, id: ConnectionId) -> Option<DomainId> {
        self.connections.get(&id).copied()
    }

    /// Counters, without the store's.
    pub fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        for books in self.domains.values() {
            stats.domains += u32::from(books.connections > 0);
            stats.connections += books.connections;
            stats.granted_pages += books.granted_pages;
            stats.mapped_pages += books.mapped_pages;
            stats.ports += books.ports;
        }
        stats
    }

    /// Zeroed pages of `owner` that `to` may map.
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

    /// A port that `remote` may bind.
    pub fn alloc_unbound(&mut self, owner: ConnectionId, remote: DomainId) -> Result<NewPort, Refusal> {
        let receive = Arc::new(event().map_err(|_| Refusal::NoResources)?);
        let send = Arc::new(event().map_err(|_| Refusal::NoResources)?);
        self.insert_port(owner, PortState::Unbound { remote }, receive, send)
    }

    /// The other end of a port that `remote` keeps for us.
    ///
    /// As on Xen, the new end has an event pending from the start: notifications sent before it was
    /// bound would otherwise be lost.
    pub fn bind_interdomain(&mut self, owner: ConnectionId, remote: DomainId, port: Port) -> Result<NewPort, Refusal> {
        let domain = self.domain_of(owner).ok_or(Refusal::BadArgument)?;
        let entry = self.ports.get(&(remote, port)).ok_or(Refusal::NoSuchPort)?;
        match entry.state {
            PortState::Bound { .. } => return Err(Refusal::Bound),
            PortState::Unbound { remote: reserved } if reserved != domain => return Err(Refusal::ReservedForAnother),
            PortState::Unbound { .. } => {}
        }
        let (receive, send) = (Arc::clone(&entry.send), Arc::clone(&entry.receive));
        let new = self.insert_port(owner, PortState::Bound { remote, port }, receive, send)?;
        if let Some(entry) = self.ports.get_mut(&(remote, port)) {
            entry.state = PortState::Bound { remote: domain, port: new.port };
        }
        let pending = rustix::io::write(&new.receive, &1_u64.to_ne_bytes());
        debug_assert!(pending.is_ok() || pending == Err(rustix::io::Errno::AGAIN));
        Ok(new)
    }

    /// Closes a port of this connection.
    pub fn close(&mut self, owner: ConnectionId, port: Port) -> Result<(), Refusal> {
        let domain = self.domain_of(owner).ok_or(Refusal::BadArgument)?;
        if self.ports.get(&(domain, port)).is_none_or(|entry| entry.owner != owner) {
            return Err(Refusal::NoSuchPort);
        }
        self.remove_port(domain, port);
        Ok(())
    }

    fn insert_port(
        &mut self,
        owner: ConnectionId,
        state: PortState,
        receive: Arc<OwnedFd>,
        send: Arc<OwnedFd>,
    ) -> Result<NewPort, Refusal> {
        let domain = self.domain_of(owner).ok_or(Refusal::BadArgument)?;
        let books = self.domains.entry(domain).or_default();
        if books.ports >= limit::PORTS {
            return Err(Refusal::Quota);
        }
        let mut port = Port(books.next_port.max(1));
        while self.ports.contains_key(&(domain, port)) {
            port = Port(port.0.wrapping_add(1).max(1));
        }
        books.next_port = port.0.wrapping_add(1);
        books.ports += 1;
        let entry = PortEntry { owner, state, receive: Arc::clone(&receive), send: Arc::clone(&send) };
        self.ports.insert((domain, port), entry);
        Ok(NewPort { port, receive, send })
    }

    /// Forgets a port. As on Xen, a bound other end falls back to unbound, still reserved for the
    /// same domain, and its notifications reach nobody.
    fn remove_port(&mut self, domain: DomainId, port: Port) {
        let Some(entry) = self.ports.remove(&(domain, port)) else {
            return;
        };
        if let Some(books) = self.domains.get_mut(&domain) {
            books.ports -= 1;
        }
        if let PortState::Bound { remote, port: other } = entry.state
            && let Some(peer) = self.ports.get_mut(&(remote, other))
        {
            peer.state = PortState::Unbound { remote: domain };
        }
    }

    fn remove_mapping(&mut self, token: Token) {
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

    fn remove_allocation(&mut self, key: AllocationKey) {
        if let Some(allocation) = self.allocations.remove(&key) {
            self.by_token.remove(&allocation.token);
            if let Some(books) = self.domains.get_mut(&key.0) {
                books.allocations -= 1;
                books.granted_pages -= allocation.pages;
            }
        }
    }

    fn next_token(&mut self) -> Token {
        self.last_token += 1;
        Token(self.last_token)
    }
}

/// The lowest of `pages` consecutive free references at or after `from`, starting over at the first
/// one when the numbers run out.
fn free_references(allocations: &BTreeMap<AllocationKey, Allocation>, domain: DomainId, from: u32, pages: u32) -> u32 {
    let mut lowest = from.max(FIRST_REFERENCE);
    loop {
        // Reference u32::MAX is never given out, so that the end of a range is a `u32`.
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

/// Zeroed memory of a size that nobody can change.
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

fn event() -> rustix::io::Result<OwnedFd> {
    rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
}
