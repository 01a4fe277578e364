//! The emulated machine's state: the domain of each connection, and everything that a connection owns.
//!
//! No sockets here: requests come in as calls and go out as results, so that the rules can be read
//! and tested on their own. Everything that a connection owns carries the connection's id, and
//! [`Machine::disconnect`] releases all of it, no matter why the connection ended. `grants` and `ports` hold the
//! two kinds of objects that domains share.

mod grants;
mod ports;

use std::collections::{BTreeMap, HashMap};

use super::wire::Token;
use crate::{DomainId, Port, Refusal};

use grants::{Allocation, AllocationKey, Mapping};
use ports::PortEntry;

/// Limits of one domain, all its connections together.
///
/// A stream takes two ports and some ten grants, so these limits allow far more than a thousand streams.
pub(super) mod limit {
    /// Connections at the same time.
    pub const CONNECTIONS: u32 = 256;
    /// Pages granted to others, revoked ones that are still mapped included.
    pub const GRANTED_PAGES: u32 = 262_144;
    /// Allocations of granted pages, each with a descriptor of the hypervisor.
    pub const ALLOCATIONS: u32 = 65_536;
    /// Mapped pages of others, each mapping counted.
    pub const MAPPED_PAGES: u32 = 1_048_576;
    /// Ports, each pair with two descriptors.
    pub const PORTS: u32 = 16_384;
}

/// Id of a domain's connection; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ConnectionId(pub u64);

/// Effect of a connection's `Hello`, or of its end, on its domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// The domain stays alive, or stays dead.
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
    /// Connections that have sent `Hello`.
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
    /// Next reference and port to use. Both outlive the domain, so that a number kept from a dead domain never
    /// names an object of its successor.
    next_reference: u32,
    next_port: u32,
}

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
    /// Registers a connection as one of `domain`.
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

    /// Removes a connection and everything it owned.
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

    /// The domain of a connection that sent `Hello`.
    pub fn domain_of(&self, id: ConnectionId) -> Option<DomainId> {
        self.connections.get(&id).copied()
    }

    /// Counters, without those of the store.
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

    fn next_token(&mut self) -> Token {
        self.last_token += 1;
        Token(self.last_token)
    }
}
