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
/// Methods that name a path act as domain 0, and watches fire for what they change. Their errors are those that a
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
    /// A store with nothing in it, and the usual limits.
    #[must_use]
    pub fn new() -> Self {
        Self::with_limits(Limits::privileged(), Limits::guest())
    }

    /// The same with other limits for domain 0 and for each guest.
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

    /// A new client that speaks for `domid`.
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

    /// True until the client is forgotten, by [`disconnect`](Self::disconnect) or with its domain.
    #[must_use]
    pub fn is_connected(&self, conn: ConnId) -> bool {
        self.conns.contains_key(&conn)
    }

    /// How many bytes [`input`](Self::input) takes from this client now; 0 while it should read its output first.
    #[must_use]
    pub fn input_space(&self, conn: ConnId) -> usize {
        self.conns.get(&conn).map_or(0, |conn| if conn.is_full() { 0 } else { conn.decoder.space() })
    }

    /// Takes bytes from a client, at most [`input_space`](Self::input_space) of them, and handles what is complete.
    ///
    /// # Errors
    /// If the bytes are no messages; the client is to be disconnected then.
    pub fn input(&mut self, conn: ConnId, bytes: &[u8]) -> Result<(), WireError> {
        if let Some(conn) = self.conns.get_mut(&conn) {
            conn.decoder.push(bytes);
        }
        self.handle_pending(conn)
    }

    /// What this client is to be sent.
    #[must_use]
    pub fn output(&self, conn: ConnId) -> &[u8] {
        self.conns.get(&conn).map_or(&[], |conn| &conn.output)
    }

    /// Notes that `count` bytes of the output were sent, and goes on with requests and events that waited for room.
    ///
    /// # Errors
    /// As [`input`](Self::input).
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

    /// Tells the store of a domain: `@introduceDomain` fires if it is a new one.
    pub fn domain_introduced(&mut self, domid: u16) {
        if self.introduced.insert(domid) {
            self.fire_special(INTRODUCE_DOMAIN);
        }
    }

    /// Tells the store that a domain is gone: its connections with their watches and transactions go, the nodes it
    /// owned go, and `@releaseDomain` fires. Domain 0 does not go.
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

    /// True between [`domain_introduced`](Self::domain_introduced) and [`domain_released`](Self::domain_released),
    /// and always for domain 0.
    #[must_use]
    pub fn is_domain_introduced(&self, domid: u16) -> bool {
        self.introduced.contains(&domid)
    }

    /// Reads a value.
    ///
    /// # Errors
    /// `ENOENT`; `EINVAL` for what is no path, here and below.
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

    /// Removes a node and all below it.
    ///
    /// # Errors
    /// `EINVAL` for the root; `ENOENT` if not even the directory is there.
    pub fn rm(&mut self, path: &str) -> Result<()> {
        self.change(path, |view, path| view.rm(path))
    }

    /// Replaces a permission list.
    ///
    /// # Errors
    /// `ENOENT`; `EINVAL` for an empty list; `ENOSPC` for a long one.
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

    /// Runs one operation outside of transactions: all of it happens, or nothing.
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

    /// For tests and fuzzing: no domain is over its limits of watches and
    /// transactions, no connection's memory over its bounds, the tree is whole.
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

    /// Tells all watches of committed changes, as far as their owners may read the nodes.
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
