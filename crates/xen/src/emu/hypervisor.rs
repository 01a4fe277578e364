//! The hypervisor's loop: reads requests from sockets, applies them to the machine's state, sends replies.
//!
//! The loop is single-threaded, waits only in `epoll_wait`, and handles one message of a connection per turn.
//! A connection that sends malformed messages, or does not read its replies, is dropped together with everything
//! it owned; no other connection notices.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{SocketFlags, SocketType};
use rustix::pipe::PipeFlags;
use xenstore::server::ConnId;

use super::directory::Directory;
use super::machine::{ConnectionId, Life, Machine, Stats};
use super::socket::{self, Received};
use super::stores::{Stores, Toolstack};
use super::wire::{Reply, Request, VERSION, token_words};
use super::{HYPERVISOR_SOCKET, STORE_SOCKET};
use crate::{DomainId, Error, Refusal, Result, raise_fd_limit};

/// Maximum number of connections: those of all domains, and those that have not sent `Hello` yet.
const MAX_CONNECTIONS: usize = 4096;
/// Maximum number of events taken from one `epoll_wait`.
const EVENTS: usize = 64;

/// Keys of the descriptors in the epoll set; connections count on from `FIRST_KEY`.
const SHUTDOWN: u64 = 0;
const DOMAINS: u64 = 1;
const STORE: u64 = 2;
const FIRST_KEY: u64 = 16;

/// An emulated hypervisor that is about to run.
pub struct Hypervisor {
    epoll: OwnedFd,
    domains: OwnedFd,
    store_listener: OwnedFd,
    machine: Machine,
    stores: Stores,
    connections: HashMap<u64, Connection>,
    store_keys: HashMap<ConnId, StoreKey>,
    store_conns: HashMap<u64, ConnId>,
    next_key: u64,
    /// A descriptor to close when the process has no more, so that a client can be accepted and disconnected
    /// instead of waking the loop forever.
    reserve: Option<OwnedFd>,
    /// Dropped last: the directory is released when the sockets are closed.
    directory: Directory,
}

struct Connection {
    socket: OwnedFd,
    /// Our end of the pipe that tells the other end when we die.
    liveness: Option<OwnedFd>,
}

struct StoreKey {
    key: u64,
    flags: EventFlags,
}

/// A reply and the descriptors to send with it.
type Answer = (Reply, Vec<Passed>);

/// A descriptor that goes with a reply.
enum Passed {
    /// Shared with the machine.
    Kept(std::sync::Arc<OwnedFd>),
    /// Owned by the other end alone.
    Given(OwnedFd),
}

impl AsFd for Passed {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Passed::Kept(fd) => fd.as_fd(),
            Passed::Given(fd) => fd.as_fd(),
        }
    }
}

impl Hypervisor {
    /// Locks `dir` (created, for this user only, if missing) and listens there. Raises the process's
    /// limit of open files, since memory and event channels of all domains are descriptors here.
    ///
    /// From now on domains can connect; [`run`](Self::run) serves them.
    ///
    /// # Errors
    ///
    /// [`Error::DirectoryInUse`] if another process emulates Xen there; otherwise the system's error.
    pub fn bind(dir: &Path) -> Result<Self> {
        raise_fd_limit();
        let directory = Directory::take(dir)?;
        let listen = |name, kind| {
            socket::listen(&directory.path().join(name), kind)
                .map_err(Error::system("listen in the emulation's directory"))
        };
        let domains = listen(HYPERVISOR_SOCKET, SocketType::SEQPACKET)?;
        let store_listener = listen(STORE_SOCKET, SocketType::STREAM)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(Error::system("make an epoll set"))?;
        watch(&epoll, domains.as_fd(), DOMAINS)?;
        watch(&epoll, store_listener.as_fd(), STORE)?;
        Ok(Self {
            epoll,
            domains,
            store_listener,
            machine: Machine::default(),
            stores: Stores::new(),
            connections: HashMap::new(),
            store_keys: HashMap::new(),
            store_conns: HashMap::new(),
            next_key: FIRST_KEY,
            reserve: reserve(),
            directory,
        })
    }

    /// Informs `toolstack` of domains that start and die.
    #[must_use]
    pub fn with_toolstack(mut self, toolstack: impl Toolstack + 'static) -> Self {
        self.stores.set_toolstack(Box::new(toolstack));
        self
    }

    /// The emulation's directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.directory.path()
    }

    /// Serves domains until `shutdown` becomes readable. All domains then lose their hypervisor together.
    ///
    /// # Errors
    ///
    /// If waiting for events fails; no action of a domain ends the loop.
    pub fn run(mut self, shutdown: BorrowedFd<'_>) -> Result<()> {
        watch(&self.epoll, shutdown, SHUTDOWN)?;
        let mut events = Vec::with_capacity(EVENTS);
        loop {
            self.refresh_stores();
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(Error::system("wait for events")(error)),
            }
            for event in &events {
                match event.data.u64() {
                    SHUTDOWN => return Ok(()),
                    DOMAINS => self.accept_domain(),
                    STORE => self.accept_store(),
                    key if self.connections.contains_key(&key) => self.serve(key),
                    key => self.serve_store(key, event.flags),
                }
            }
        }
    }

    fn next_key(&mut self) -> u64 {
        self.next_key += 1;
        self.next_key
    }

    fn accept_domain(&mut self) {
        let Some(socket) = accept(&self.domains, &mut self.reserve) else {
            return;
        };
        if self.connections.len() >= MAX_CONNECTIONS {
            return;
        }
        let key = self.next_key();
        if watch(&self.epoll, socket.as_fd(), key).is_ok() {
            self.connections.insert(key, Connection { socket, liveness: None });
        }
    }

    fn accept_store(&mut self) {
        if let Some(client) = accept(&self.store_listener, &mut self.reserve) {
            self.stores.accept(client);
        }
    }

    /// Handles one message of a domain, or its disconnection.
    fn serve(&mut self, key: u64) {
        let Some(connection) = self.connections.get(&key) else {
            return;
        };
        let request = match socket::receive(connection.socket.as_fd()) {
            Ok(Received::Packet(bytes, fds)) if fds.is_empty() => Request::parse(&bytes),
            Err(Errno::AGAIN | Errno::INTR) => return,
            Ok(_) | Err(_) => None,
        };
        let answer = request.and_then(|request| self.answer(key, request));
        let sent = answer.is_some_and(|(reply, passed)| {
            let fds: Vec<BorrowedFd<'_>> = passed.iter().map(AsFd::as_fd).collect();
            self.connections
                .get(&key)
                .is_some_and(|connection| socket::send(connection.socket.as_fd(), &reply.encode(), &fds).is_ok())
        });
        if !sent {
            self.disconnect(key);
        }
    }

    /// The answer to a request; `None` if the request breaks the protocol.
    fn answer(&mut self, key: u64, request: Request) -> Option<Answer> {
        let id = ConnectionId(key);
        match request {
            Request::Stats => return Some((Reply::Done(self.stats()), Vec::new())),
            Request::Hello { version, domain } => return self.hello(key, version, domain),
            _ => {}
        }
        let domain = self.machine.domain_of(id)?;
        let kept = |fds: Vec<std::sync::Arc<OwnedFd>>| fds.into_iter().map(Passed::Kept).collect();
        let result = match request {
            Request::Stats | Request::Hello { .. } => return None,
            Request::Store => match self.stores.open(id, domain) {
                Some(client) => Ok((Vec::new(), vec![Passed::Given(client)])),
                None => Err(Refusal::Quota),
            },
            Request::Grant { to, pages, access } => self.machine.grant(id, to, pages, access).map(|new| {
                let [low, high] = token_words(new.token);
                (vec![low, high, new.lowest], kept(vec![new.memory]))
            }),
            Request::EndAccess { token, deferred } => {
                self.machine.end_access(id, token, deferred).map(|()| (Vec::new(), Vec::new()))
            }
            Request::Map { from, access, refs } => match self.machine.map(id, from, access, &refs) {
                Ok(new) => {
                    let mut words = token_words(new.token).to_vec();
                    words.extend(new.pages.into_iter().flat_map(|(file, page)| [file, page]));
                    Ok((words, kept(new.files)))
                }
                Err((refusal, index)) => return Some((Reply::Refused { refusal, index }, Vec::new())),
            },
            Request::Unmap { token } => self.machine.unmap(id, token).map(|()| (Vec::new(), Vec::new())),
            Request::AllocUnbound { remote } => {
                self.machine.alloc_unbound(id, remote).map(|new| (vec![new.port.0], kept(vec![new.receive, new.send])))
            }
            Request::BindInterdomain { remote, port } => self
                .machine
                .bind_interdomain(id, remote, port)
                .map(|new| (vec![new.port.0], kept(vec![new.receive, new.send]))),
            Request::Close { port } => self.machine.close(id, port).map(|()| (Vec::new(), Vec::new())),
        };
        Some(match result {
            Ok((words, fds)) => (Reply::Done(words), fds),
            Err(refusal) => (Reply::refused(refusal), Vec::new()),
        })
    }

    fn hello(&mut self, key: u64, version: u32, domain: DomainId) -> Option<Answer> {
        let id = ConnectionId(key);
        if version != VERSION || self.machine.domain_of(id).is_some() {
            return None;
        }
        let Ok((theirs, ours)) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC) else {
            return Some((Reply::refused(Refusal::NoResources), Vec::new()));
        };
        match self.machine.connect(id, domain) {
            Ok(Life::Started(domain)) => self.stores.domain_started(domain),
            Ok(_) => {}
            Err(refusal) => return Some((Reply::refused(refusal), Vec::new())),
        }
        self.connections.get_mut(&key)?.liveness = Some(ours);
        Some((Reply::Done(Vec::new()), vec![Passed::Given(theirs)]))
    }

    fn disconnect(&mut self, key: u64) {
        let id = ConnectionId(key);
        self.connections.remove(&key);
        self.stores.close_all_of(id);
        if let Life::Died(domain) = self.machine.disconnect(id) {
            self.stores.domain_died(domain);
        }
    }

    fn stats(&self) -> Vec<u32> {
        let store_connections = u32::try_from(self.stores.connections()).unwrap_or(u32::MAX);
        let stats = Stats { store_connections, ..self.machine.stats() };
        vec![
            stats.domains,
            stats.connections,
            stats.granted_pages,
            stats.mapped_pages,
            stats.ports,
            stats.store_connections,
        ]
    }

    fn serve_store(&mut self, key: u64, ready: EventFlags) {
        let Some(&id) = self.store_conns.get(&key) else {
            return;
        };
        let ended = EventFlags::HUP | EventFlags::ERR;
        let mut alive = true;
        if ready.intersects(EventFlags::IN | ended) {
            alive = self.stores.server().on_readable(id);
        }
        if alive && ready.contains(EventFlags::OUT) {
            alive = self.stores.server().on_writable(id);
        }
        if alive && ready.intersects(ended) && !ready.contains(EventFlags::IN) {
            self.stores.server().remove_connection(id);
        }
    }

    /// Updates the epoll set to the events that the store's server waits for.
    fn refresh_stores(&mut self) {
        for id in self.stores.take_closed() {
            if let Some(known) = self.store_keys.remove(&id) {
                self.store_conns.remove(&known.key);
            }
        }
        for wanted in self.stores.wanted() {
            let mut flags = EventFlags::empty();
            flags.set(EventFlags::IN, wanted.read);
            flags.set(EventFlags::OUT, wanted.write);
            // A client whose descriptor cannot be watched is not served; its requests time out.
            match self.store_keys.get_mut(&wanted.id) {
                Some(known) if known.flags == flags => {}
                Some(known) => {
                    if epoll::modify(&self.epoll, wanted.fd, EventData::new_u64(known.key), flags).is_ok() {
                        known.flags = flags;
                    }
                }
                None => {
                    self.next_key += 1;
                    let key = self.next_key;
                    if epoll::add(&self.epoll, wanted.fd, EventData::new_u64(key), flags).is_ok() {
                        self.store_keys.insert(wanted.id, StoreKey { key, flags });
                        self.store_conns.insert(key, wanted.id);
                    }
                }
            }
        }
    }
}

fn watch(epoll: &OwnedFd, fd: BorrowedFd<'_>, key: u64) -> Result<()> {
    epoll::add(epoll, fd, EventData::new_u64(key), EventFlags::IN).map_err(Error::system("watch a descriptor"))
}

fn reserve() -> Option<OwnedFd> {
    rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).ok()
}

/// Accepts a client. When no descriptors are left, the client is disconnected.
fn accept(listener: &OwnedFd, spare: &mut Option<OwnedFd>) -> Option<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    match rustix::net::accept_with(listener, flags) {
        Ok(socket) => Some(socket),
        Err(Errno::MFILE | Errno::NFILE) => {
            *spare = None;
            drop(rustix::net::accept_with(listener, flags));
            *spare = reserve();
            None
        }
        Err(_) => None,
    }
}
