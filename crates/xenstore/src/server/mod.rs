//! A small store for machines without Xen: emulated domains, tests, development.
//!
//! [`Store`] is the store without I/O. [`Server`] adds descriptors and is driven by its owner's poll loop; it never
//! waits. [`spawn`] runs one in a thread behind a Unix socket.
//!
//! Not supported: stubdomain targets, `CONTROL`, `RESUME`, the depth of watches, live update, persistence.

mod conn;
mod limits;
mod request;
mod store;
mod thread;
mod tree;
mod view;

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::wire::MESSAGE_MAX;
pub use conn::ConnId;
pub use limits::Limits;
pub use store::Store;
pub use thread::{Handle, spawn};

/// A connection's descriptor, and the events that the owner should poll it for.
#[derive(Clone, Copy, Debug)]
pub struct Interest<'a> {
    /// The connection.
    pub conn: ConnId,
    /// The connection's descriptor, a stream socket. The server closes it when the connection ends, which also removes
    /// it from an epoll set.
    pub fd: BorrowedFd<'a>,
    /// True if requests are accepted now: poll for reading. False while the client has to read its replies first.
    pub read: bool,
    /// True if output waits: poll for writing.
    pub write: bool,
}

/// A store with its connections' descriptors.
///
/// The owner polls the descriptors of [`fds`](Self::fds) and calls [`on_readable`](Self::on_readable) and
/// [`on_writable`](Self::on_writable). Every call immediately sends all output that can be sent, so events that one
/// connection causes for another need no further call. Interests may change at any call: read them before each poll, or
/// use a level-triggered poll and drop the connections that [`take_closed`](Self::take_closed) names.
///
/// The owner limits the number of connections; the memory of each is bounded.
#[derive(Debug, Default)]
pub struct Server {
    store: Store,
    fds: BTreeMap<ConnId, OwnedFd>,
    closed: Vec<ConnId>,
}

impl Server {
    /// A server with an empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A server for this store, which should have no connections yet.
    #[must_use]
    pub fn with_store(store: Store) -> Self {
        Self { store, ..Self::default() }
    }

    /// Serves a client on a connected stream socket, as domain `domid`. The socket's flags stay unchanged.
    pub fn add_connection(&mut self, fd: OwnedFd, domid: u16) -> ConnId {
        let id = self.store.connect(domid);
        self.fds.insert(id, fd);
        id
    }

    /// Ends a connection.
    pub fn remove_connection(&mut self, conn: ConnId) {
        self.store.disconnect(conn);
        self.sync();
    }

    /// All connections and the events to poll them for.
    pub fn fds(&self) -> impl Iterator<Item = Interest<'_>> {
        self.fds.iter().map(|(conn, fd)| Interest {
            conn: *conn,
            fd: fd.as_fd(),
            read: self.store.input_space(*conn) > 0,
            write: self.wants_write(*conn),
        })
    }

    /// Returns true while output waits for this connection.
    #[must_use]
    pub fn wants_write(&self, conn: ConnId) -> bool {
        !self.store.output(conn).is_empty()
    }

    /// Takes a bounded amount of requests from a connection and answers them. Never waits, and is harmless if there is
    /// nothing to read. Returns false if the connection has ended.
    pub fn on_readable(&mut self, conn: ConnId) -> bool {
        let space = self.store.input_space(conn).min(MESSAGE_MAX);
        let mut buffer = [0_u8; MESSAGE_MAX];
        if let (Some(fd), Some(buffer)) = (self.fds.get(&conn), buffer.get_mut(..space))
            && space > 0
        {
            match recv(fd, &mut *buffer, RecvFlags::DONTWAIT) {
                Ok((0, _)) => self.store.disconnect(conn),
                Ok((count, _)) => {
                    if self.store.input(conn, buffer.get(..count).unwrap_or_default()).is_err() {
                        self.store.disconnect(conn);
                    }
                }
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(_) => self.store.disconnect(conn),
            }
        }
        self.sync();
        self.fds.contains_key(&conn)
    }

    /// Sends all output that can be sent. Returns false if the connection has ended.
    pub fn on_writable(&mut self, conn: ConnId) -> bool {
        self.sync();
        self.fds.contains_key(&conn)
    }

    /// See [`Store::domain_introduced`].
    pub fn domain_introduced(&mut self, domid: u16) {
        self.store_mut().domain_introduced(domid);
    }

    /// See [`Store::domain_released`].
    pub fn domain_released(&mut self, domid: u16) {
        self.store_mut().domain_released(domid);
    }

    /// The store, for reading.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The store, for changes as domain 0. Events are sent when the guard is dropped.
    pub fn store_mut(&mut self) -> StoreMut<'_> {
        StoreMut { server: self }
    }

    /// Connections that have ended since the last call, for owners that keep tables of their own.
    pub fn take_closed(&mut self) -> Vec<ConnId> {
        std::mem::take(&mut self.closed)
    }

    /// Sends as much output as the sockets accept, and closes connections that the store has dropped.
    fn sync(&mut self) {
        let waiting: Vec<ConnId> = self.fds.keys().copied().filter(|conn| self.wants_write(*conn)).collect();
        for conn in waiting {
            self.flush(conn);
        }
        let (store, closed) = (&self.store, &mut self.closed);
        self.fds.retain(|conn, _| {
            let stays = store.is_connected(*conn);
            if !stays {
                closed.push(*conn);
            }
            stays
        });
    }

    fn flush(&mut self, conn: ConnId) {
        let Some(fd) = self.fds.get(&conn) else { return };
        // Sending makes room, and with room, waiting requests are answered, and so on. The loop is bounded by the
        // socket's buffer and by the few requests in the decoder.
        while !self.store.output(conn).is_empty() {
            match send(fd, self.store.output(conn), SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(count) => {
                    if self.store.sent(conn, count).is_err() {
                        self.store.disconnect(conn);
                    }
                }
                Err(Errno::AGAIN | Errno::INTR) => return,
                Err(_) => self.store.disconnect(conn),
            }
        }
    }
}

/// Mutable access to a server's store; sends events when dropped.
#[derive(Debug)]
pub struct StoreMut<'a> {
    server: &'a mut Server,
}

impl Deref for StoreMut<'_> {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.server.store
    }
}

impl DerefMut for StoreMut<'_> {
    fn deref_mut(&mut self) -> &mut Store {
        &mut self.server.store
    }
}

impl Drop for StoreMut<'_> {
    fn drop(&mut self) {
        self.server.sync();
    }
}
