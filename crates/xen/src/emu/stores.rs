//! The store of the emulated machine: its clients, and the work of a toolstack.

use std::collections::HashMap;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType};
use xenstore::server::{ConnId, Limits, Server, Store};
use xenstore::{Perm, StoreErrno};

use super::machine::ConnectionId;
use crate::DomainId;

/// Store connections that one connection of a domain may hold.
const CONNECTIONS_EACH: usize = 64;
/// Concurrent clients of the plain store socket.
const PLAIN_CONNECTIONS: usize = 256;

/// Quotas of a guest. Xen's own 1000 nodes are too few for a domain with a thousand streams; on a real host
/// the administrator raises that quota.
const GUEST_LIMITS: Limits = Limits { nodes: 65_536, watches: 8192, transaction_nodes: 65_536, ..Limits::guest() };

/// A toolstack's work when domains come and go: it attaches devices, and detaches them.
///
/// The methods are called in the hypervisor's loop, as domain 0; their changes are announced afterwards. They must
/// neither wait nor use the emulation as a client.
pub trait Toolstack: Send {
    /// A domain has just started: its own directory (`/local/domain/N`) exists, and the domain's
    /// process waits for the answer to its first message.
    fn domain_started(&mut self, domain: DomainId, store: &mut Store) {
        let _ = (domain, store);
    }

    /// A domain has died: its nodes are gone, `@releaseDomain` is announced. Nodes of others, such as
    /// the backend's half of its devices, still exist.
    fn domain_died(&mut self, domain: DomainId, store: &mut Store) {
        let _ = (domain, store);
    }
}

/// No toolstack: devices are attached by hand.
impl Toolstack for () {}

/// The store with its clients.
pub(super) struct Stores {
    server: Server,
    /// Clients that belong to a domain's connection, with that connection.
    owners: HashMap<ConnId, ConnectionId>,
    toolstack: Box<dyn Toolstack>,
}

impl Stores {
    pub fn new() -> Self {
        let mut store = Store::with_limits(Limits::privileged(), GUEST_LIMITS);
        make_host(&mut store);
        Self { server: Server::with_store(store), owners: HashMap::new(), toolstack: Box::new(()) }
    }

    pub fn set_toolstack(&mut self, toolstack: Box<dyn Toolstack>) {
        self.toolstack = toolstack;
    }

    pub fn server(&mut self) -> &mut Server {
        &mut self.server
    }

    /// Number of clients.
    pub fn connections(&self) -> usize {
        self.server.fds().count()
    }

    /// The client's end of a new store connection that belongs to `owner`; `None` if `owner` has
    /// too many of them, or no descriptors are left.
    pub fn open(&mut self, owner: ConnectionId, domain: DomainId) -> Option<OwnedFd> {
        if self.owners.values().filter(|other| **other == owner).count() >= CONNECTIONS_EACH {
            return None;
        }
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).ok()?;
        let id = self.server.add_connection(ours, domain.0);
        self.owners.insert(id, owner);
        Some(theirs)
    }

    /// Serves a client of the plain socket, or disconnects it if there are too many.
    pub fn accept(&mut self, client: OwnedFd) {
        // A domain's client that has ended may still be in `owners`.
        let plain = self.server.fds().filter(|interest| !self.owners.contains_key(&interest.conn)).count();
        if plain < PLAIN_CONNECTIONS {
            self.server.add_connection(client, 0);
        }
    }

    /// Ends the store connections of a domain's connection.
    pub fn close_all_of(&mut self, owner: ConnectionId) {
        let ids: Vec<ConnId> = self.owners.iter().filter(|(_, other)| **other == owner).map(|(id, _)| *id).collect();
        for id in ids {
            self.server.remove_connection(id);
        }
    }

    /// Forgets clients that have ended, and returns them.
    pub fn take_closed(&mut self) -> Vec<ConnId> {
        let closed = self.server.take_closed();
        for id in &closed {
            self.owners.remove(id);
        }
        closed
    }

    /// Sets up the nodes of a domain whose first connection was made.
    pub fn domain_started(&mut self, domain: DomainId) {
        if domain == DomainId(0) {
            return;
        }
        let mut store = self.server.store_mut();
        make_domain(&mut store, domain);
        store.domain_introduced(domain.0);
        self.toolstack.domain_started(domain, &mut store);
    }

    /// Removes the nodes of a domain whose last connection is gone.
    pub fn domain_died(&mut self, domain: DomainId) {
        if domain == DomainId(0) {
            return;
        }
        let mut store = self.server.store_mut();
        // Removing fails if a client of domain 0 has removed the directory already.
        let _: Result<(), StoreErrno> = store.rm(&home(domain));
        store.domain_released(domain.0);
        self.toolstack.domain_died(domain, &mut store);
    }
}

/// One client's descriptor and the events to wait for.
pub(super) struct Wanted<'a> {
    pub id: ConnId,
    pub fd: BorrowedFd<'a>,
    pub read: bool,
    pub write: bool,
}

impl Stores {
    pub fn wanted(&self) -> impl Iterator<Item = Wanted<'_>> {
        self.server.fds().map(|interest| Wanted {
            id: interest.conn,
            fd: interest.fd,
            read: interest.read,
            write: interest.write,
        })
    }
}

fn home(domain: DomainId) -> String {
    format!("/local/domain/{domain}")
}

/// Writes the nodes that the host's boot scripts write.
fn make_host(store: &mut Store) {
    put(store, "/local/domain/0/domid", "0", &[Perm::none(0)]);
    put(store, "/local/domain/0/name", "Domain-0", &[Perm::none(0)]);
    put(store, "/tool/xenstored", "", &[Perm::none(0)]);
}

/// Makes the nodes that libxl makes for a new domain: a directory that the domain may read, with nodes that it may
/// write.
fn make_domain(store: &mut Store, domain: DomainId) {
    let home = home(domain);
    let readable = [Perm::none(0), Perm::read(domain.0)];
    let own = [Perm::none(domain.0)];
    put(store, &home, "", &readable);
    put(store, &format!("{home}/domid"), &domain.to_string(), &readable);
    if store.read(&format!("{home}/name")).is_err() {
        put(store, &format!("{home}/name"), &format!("domain-{domain}"), &readable);
    }
    put(store, &format!("{home}/device"), "", &readable);
    put(store, &format!("{home}/control"), "", &readable);
    for name in ["control/shutdown", "data", "drivers", "feature", "attr", "error", "backend"] {
        put(store, &format!("{home}/{name}"), "", &own);
    }
}

/// Makes a node. An existing node keeps its value if the new one is empty.
fn put(store: &mut Store, path: &str, value: &str, perms: &[Perm]) {
    let written = if value.is_empty() { store.mkdir(path) } else { store.write(path, value.as_bytes()) };
    // Writing fails when domain 0 has used up its own quota: the domain then lacks a node, and reports that.
    let _: Result<(), StoreErrno> = written.and_then(|()| store.set_perms(path, perms));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_client_gets_in_while_a_dead_domains_clients_are_not_forgotten_yet() {
        let mut stores = Stores::new();
        let _theirs = stores.open(ConnectionId(1), DomainId(1)).expect("a connection");
        stores.close_all_of(ConnectionId(1));
        let (ours, _other) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
                .expect("sockets");
        stores.accept(ours);
        assert_eq!(stores.connections(), 1);
    }
}
