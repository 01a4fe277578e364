//! The store itself, without I/O: bytes in, bytes out, for any number of connections.

use std::collections::{BTreeMap, BTreeSet};

use super::conn::{Conn, ConnId};
use super::limits::Limits;
use super::tree::{Change, Changes, Overlay, Tree};
use super::view::View;
use crate::errno::StoreErrno;
use crate::path::{self, INTRODUCE_DOMAIN, RELEASE_DOMAIN};
use crate::perm::{self, Perm};
use crate::wire::WireError;

type Result<T, E = StoreErrno> = std::result::Result<T, E>;

/// A store: its tree, the domains it knows, and its connections.
///
/// Methods with a path act as domain 0, and watches fire for their changes. Their errors are those that a
/// client of domain 0 would get.
#[derive(Debug)]
pub struct Store {
    pub(super) tree: Tree,
    pub(super) privileged: Limits,
    pub(super) guest: Limits,
    pub(super) introduced: BTreeSet<u16>,
    pub(super) special: BTreeMap<&'static str, Vec<Perm>>,
    pub(super) conns: BTreeMap<ConnId, Conn>,
    next_conn: u64,
}

impl Default for Store {
    fn default() -> Self {
        Self::new()
    }
}

impl Store {
    /// An empty store with the usual limits.
    #[must_use]
    pub fn new() -> Self {
        Self::with_limits(Limits::privileged(), Limits::guest())
    }

    /// An empty store with other limits for domain 0 and for each guest.
    #[must_use]
    pub fn with_limits(privileged: Limits, guest: Limits) -> Self {
        let special = [INTRODUCE_DOMAIN, RELEASE_DOMAIN].map(|name| (name, vec![Perm::none(0)]));
        Self {
            tree: Tree::new(),
            privileged,
            guest,
            introduced: BTreeSet::from([0]),
            special: BTreeMap::from(special),
            conns: BTreeMap::new(),
            next_conn: 0,
        }
    }

    /// Adds a client that acts as `domid`.
    pub fn connect(&mut self, domid: u16) -> ConnId {
        let id = ConnId(self.next_conn);
        self.next_conn = self.next_conn.wrapping_add(1);
        self.conns.insert(id, Conn::new(domid));
        id
    }

    /// Forgets a client with its watches and open transactions.
    pub fn disconnect(&mut self, conn: ConnId) {
        self.conns.remove(&conn);
    }

    /// Returns true until the client is forgotten, by [`disconnect`](Self::disconnect) or with its domain.
    #[must_use]
    pub fn is_connected(&self, conn: ConnId) -> bool {
        self.conns.contains_key(&conn)
    }

    /// Number of bytes that [`input`](Self::input) accepts from this client now; 0 while the client should read its
    /// output first.
    #[must_use]
    pub fn input_space(&self, conn: ConnId) -> usize {
        self.conns.get(&conn).map_or(0, |conn| if conn.is_full() { 0 } else { conn.decoder.space() })
    }

    /// Takes at most [`input_space`](Self::input_space) bytes from a client, and handles complete requests.
    ///
    /// # Errors
    /// If the bytes are no messages; the caller should then disconnect the client.
    pub fn input(&mut self, conn: ConnId, bytes: &[u8]) -> Result<(), WireError> {
        if let Some(conn) = self.conns.get_mut(&conn) {
            conn.decoder.push(bytes);
        }
        self.handle_pending(conn)
    }

    /// Bytes to send to this client.
    #[must_use]
    pub fn output(&self, conn: ConnId) -> &[u8] {
        self.conns.get(&conn).map_or(&[], |conn| &conn.output)
    }

    /// Records that `count` bytes of the output were sent, and continues with requests and events that waited for room.
    ///
    /// # Errors
    /// Same as [`input`](Self::input).
    pub fn sent(&mut self, conn: ConnId, count: usize) -> Result<(), WireError> {
        if let Some(conn) = self.conns.get_mut(&conn) {
            conn.output.drain(..count.min(conn.output.len()));
        }
        self.handle_pending(conn)?;
        if let Some(conn) = self.conns.get_mut(&conn) {
            conn.pump_events();
        }
        Ok(())
    }

    fn handle_pending(&mut self, id: ConnId) -> Result<(), WireError> {
        loop {
            let Some(conn) = self.conns.get_mut(&id).filter(|conn| !conn.is_full()) else { return Ok(()) };
            let Some(message) = conn.decoder.next_message()? else { return Ok(()) };
            self.handle(id, &message);
        }
    }

    /// Informs the store of a domain: `@introduceDomain` fires if the domain is new.
    pub fn domain_introduced(&mut self, domid: u16) {
        if self.introduced.insert(domid) {
            self.fire_special(INTRODUCE_DOMAIN);
        }
    }

    /// Informs the store that a domain is gone: its connections, with their watches and transactions, and its nodes are
    /// removed, and `@releaseDomain` fires. Domain 0 is never removed.
    pub fn domain_released(&mut self, domid: u16) {
        if domid == 0 {
            return;
        }
        self.conns.retain(|_, conn| conn.domain != domid);
        let known = self.introduced.remove(&domid);
        let mut overlay = Overlay::single();
        let limits = self.privileged;
        let mut view = View { tree: &self.tree, overlay: &mut overlay, domain: 0, limits: &limits };
        if view.forget_domain(domid).is_ok()
            && let Ok(changes) = self.tree.commit(overlay, 0, &limits)
        {
            self.fire(&changes);
        }
        for perms in self.special.values_mut() {
            perms.retain(|perm| perm.domain != domid);
            if perms.is_empty() {
                perms.push(Perm::none(0));
            }
        }
        if known {
            self.fire_special(RELEASE_DOMAIN);
        }
    }

    /// Returns true between [`domain_introduced`](Self::domain_introduced) and
    /// [`domain_released`](Self::domain_released), and always for domain 0.
    #[must_use]
    pub fn is_domain_introduced(&self, domid: u16) -> bool {
        self.introduced.contains(&domid)
    }

    /// Reads a value.
    ///
    /// # Errors
    /// `ENOENT`; `EINVAL` for an invalid path, here and below.
    pub fn read(&self, path: &str) -> Result<Vec<u8>> {
        self.look(path, |view, path| view.read(path))
    }

    /// Lists the names of a node's children.
    ///
    /// # Errors
    /// `ENOENT`, `EINVAL`.
    pub fn directory(&self, path: &str) -> Result<Vec<String>> {
        let (_, list) = self.look(path, |view, path| view.directory(path))?;
        let names = list.split(|byte| *byte == 0).filter(|name| !name.is_empty());
        Ok(names.map(|name| String::from_utf8_lossy(name).into_owned()).collect())
    }

    /// Reads a permission list.
    ///
    /// # Errors
    /// `ENOENT`, `EINVAL`.
    pub fn get_perms(&self, path: &str) -> Result<Vec<Perm>> {
        self.look(path, |view, path| view.get_perms(path))
    }

    /// Replaces a value, creating the node and its parents.
    ///
    /// # Errors
    /// `EINVAL`; `ENOSPC` over domain 0's limits.
    pub fn write(&mut self, path: &str, value: &[u8]) -> Result<()> {
        self.change(path, |view, path| view.write(path, value))
    }

    /// Creates an empty node and its parents.
    ///
    /// # Errors
    /// `EINVAL`, `ENOSPC`.
    pub fn mkdir(&mut self, path: &str) -> Result<()> {
        self.change(path, |view, path| view.mkdir(path))
    }

    /// Removes a node and all nodes below it.
    ///
    /// # Errors
    /// `EINVAL` for the root; `ENOENT` if the directory does not exist either.
    pub fn rm(&mut self, path: &str) -> Result<()> {
        self.change(path, |view, path| view.rm(path))
    }

    /// Replaces a permission list.
    ///
    /// # Errors
    /// `ENOENT`; `EINVAL` for an empty list; `ENOSPC` for too long a list.
    pub fn set_perms(&mut self, path: &str, perms: &[Perm]) -> Result<()> {
        self.change(path, |view, path| view.set_perms(path, perms.to_vec()))
    }

    fn look<T>(&self, path: &str, body: impl FnOnce(&mut View<'_>, &str) -> Result<T>) -> Result<T> {
        let path = path::check(path.as_bytes()).map_err(|_| StoreErrno::Inval)?;
        let mut overlay = Overlay::single();
        let mut view = View { tree: &self.tree, overlay: &mut overlay, domain: 0, limits: &self.privileged };
        body(&mut view, &path::absolute(path, 0))
    }

    fn change(&mut self, path: &str, body: impl FnOnce(&mut View<'_>, &str) -> Result<()>) -> Result<()> {
        let path = path::check(path.as_bytes()).map_err(|_| StoreErrno::Inval)?;
        let changes = self.commit_single(0, |view| body(view, &path::absolute(path, 0)))?;
        self.fire(&changes);
        Ok(())
    }

    /// Runs one operation outside of transactions: all of its changes are made, or none.
    pub(super) fn commit_single(
        &mut self,
        domain: u16,
        body: impl FnOnce(&mut View<'_>) -> Result<()>,
    ) -> Result<Changes> {
        let limits = *self.limits(domain);
        let mut overlay = Overlay::single();
        body(&mut View { tree: &self.tree, overlay: &mut overlay, domain, limits: &limits })?;
        self.tree.commit(overlay, domain, &limits)
    }

    pub(super) fn limits(&self, domain: u16) -> &Limits {
        if domain == 0 { &self.privileged } else { &self.guest }
    }

    /// Returns true if no domain exceeds its limits of watches and transactions, no connection's memory
    /// exceeds its bounds, and the tree is consistent. For tests and fuzzing.
    pub(crate) fn is_within_bounds(&self) -> bool {
        let domains: BTreeSet<u16> = self.conns.values().map(|conn| conn.domain).collect();
        let sum = |domain: u16, size: fn(&Conn) -> usize| {
            let conns = self.conns.values().filter(|conn| conn.domain == domain);
            conns.fold(0_usize, |sum, conn| sum.saturating_add(size(conn)))
        };
        self.tree.is_consistent()
            && self.conns.values().all(Conn::is_within_bounds)
            && domains.into_iter().all(|domain| {
                let limits = self.limits(domain);
                sum(domain, |conn| conn.watches.len()) <= limits.watches
                    && sum(domain, |conn| conn.transactions.len()) <= limits.transactions
            })
    }

    /// Fires all watches of committed changes, as far as the watches' owners may read the nodes.
    pub(super) fn fire(&mut self, changes: &[Change]) {
        for conn in self.conns.values_mut() {
            for change in changes {
                let path = &change.path;
                if !may_know(change, conn.domain) {
                    continue;
                }
                let hit = |at: &str| if change.exact { at == path } else { path::covers(at, path) };
                let keys: Vec<u64> =
                    conn.watches.iter().filter(|(_, watch)| hit(&watch.absolute)).map(|(key, _)| *key).collect();
                for key in keys {
                    conn.note(key, path);
                }
            }
            conn.pump_events();
        }
    }

    fn fire_special(&mut self, name: &str) {
        let perms = self.special.get(name).cloned();
        self.fire(&[Change { path: name.to_owned(), exact: true, before: None, after: perms }]);
    }
}

fn may_know(change: &Change, domain: u16) -> bool {
    [&change.before, &change.after].into_iter().flatten().any(|perms| perm::access(perms, domain).reads())
}
