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

/// A connection's descriptor, and what its owner should poll it for.
#[derive(Clone, Copy, Debug)]
pub struct Interest<'a> {
    /// Which connection.
    pub conn: ConnId,
    /// Its descriptor, a stream socket. It is closed when the connection ends, which also takes it out of an epoll.
    pub fd: BorrowedFd<'a>,
    /// Requests are taken now: poll for reading. False while the client has to read its replies first.
    pub read: bool,
    /// Output waits: poll for writing.
    pub write: bool,
}

/// A store with its connections' descriptors.
///
/// The owner polls what [`fds`](Self::fds) says and calls [`on_readable`](Self::on_readable) and
/// [`on_writable`](Self::on_writable). Every call sends at once what can be sent, so events that one connection causes
/// for another need nothing more. Interests may change at any call: ask for them before each poll, or level-triggered
/// with the connections named by [`take_closed`](Self::take_closed) dropped.
///
/// How many connections there are is the owner's decision; the memory of each is bounded.
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

    /// Serves a client on a connected stream socket, as domain `domid`. Its flags are left alone.
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

    /// All connections and what to poll them for.
    pub fn fds(&self) -> impl Iterator<Item = Interest<'_>> {
        self.fds.iter().map(|(conn, fd)| Interest {
            conn: *conn,
            fd: fd.as_fd(),
            read: self.store.input_space(*conn) > 0,
            write: self.wants_write(*conn),
        })
    }

    /// True while output waits for this connection.
    #[must_use]
    pub fn wants_write(&self, conn: ConnId) -> bool {
        !self.store.output(conn).is_empty()
    }

    /// Takes a bounded amount of requests from a connection and answers them. Never waits, and is harmless if there is
    /// nothing to read. False if the connection has ended.
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

    /// Sends what can be sent. False if the connection has ended.
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

    /// The store, to look at.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The store, to change as domain 0. When the guard goes, events are sent.
    pub fn store_mut(&mut self) -> StoreMut<'_> {
        StoreMut { server: self }
    }

    /// Connections that have ended since the last call, for owners that keep tables of their own.
    pub fn take_closed(&mut self) -> Vec<ConnId> {
        std::mem::take(&mut self.closed)
    }

    /// Sends what the sockets take, and lets go of connections that the store has dropped.
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
        // Sending makes room, room lets waiting requests be answered, and so on: bounded by what the socket takes and
        // by the few requests that the decoder holds.
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

/// Access to a server's store that sends events when it ends.
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
