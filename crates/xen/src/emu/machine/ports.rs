//! Event channels: pairs of ports, each an eventfd to receive from and one to send to.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::event::EventfdFlags;

use super::{ConnectionId, Machine, limit};
use crate::{DomainId, Port, Refusal};

enum PortState {
    Unbound { remote: DomainId },
    Bound { remote: DomainId, port: Port },
}

pub(super) struct PortEntry {
    pub(super) owner: ConnectionId,
    state: PortState,
    receive: Arc<OwnedFd>,
    send: Arc<OwnedFd>,
}

/// A new port for its owner.
pub(in crate::emu) struct NewPort {
    pub port: Port,
    pub receive: Arc<OwnedFd>,
    pub send: Arc<OwnedFd>,
}

impl Machine {
    /// Allocates a port that `remote` may bind.
    pub fn alloc_unbound(&mut self, owner: ConnectionId, remote: DomainId) -> Result<NewPort, Refusal> {
        let receive = Arc::new(event().map_err(|_| Refusal::NoResources)?);
        let send = Arc::new(event().map_err(|_| Refusal::NoResources)?);
        self.insert_port(owner, PortState::Unbound { remote }, receive, send)
    }

    /// Binds the other end of a port that `remote` reserved for `owner`'s domain.
    ///
    /// The new end has an event pending from the start, as on Xen: notifications sent before it was
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
    pub(super) fn remove_port(&mut self, domain: DomainId, port: Port) {
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
}

fn event() -> rustix::io::Result<OwnedFd> {
    rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
}
