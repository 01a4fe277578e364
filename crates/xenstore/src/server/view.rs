//! One domain's view of the tree: permissions, quotas and the operations on nodes.

use super::limits::Limits;
use super::tree::{Node, Overlay, Tree, add};
use crate::errno::StoreErrno;
use crate::path;
use crate::perm::{self, Access, Perm};

/// Right to a node that an operation requires.
#[derive(Clone, Copy)]
enum Need {
    Read,
    Write,
}

impl Need {
    fn granted(self, access: Access) -> bool {
        match self {
            Self::Read => access.reads(),
            Self::Write => access.writes(),
        }
    }
}

/// The tree through one overlay, as domain `domain`. All paths are checked and absolute.
pub(super) struct View<'a> {
    pub(super) tree: &'a Tree,
    pub(super) overlay: &'a mut Overlay,
    pub(super) domain: u16,
    pub(super) limits: &'a Limits,
}

impl View<'_> {
    fn node(&mut self, path: &str) -> Result<Option<&Node>, StoreErrno> {
        self.overlay.touch(self.tree, path, self.limits)?;
        Ok(self.overlay.get(self.tree, path))
    }

    /// The node at `path`, if it exists and grants `need`.
    ///
    /// For a missing node, the permissions of the nearest existing directory above decide if the domain may know that
    /// it is missing: `ENOENT` or `EACCES`. With [`Need::Write`], `ENOENT` therefore means that the node may be made.
    fn lookup(&mut self, path: &str, need: Need) -> Result<&Node, StoreErrno> {
        let domain = self.domain;
        let mut at = path;
        loop {
            if let Some(node) = self.node(at)? {
                if !need.granted(perm::access(&node.perms, domain)) {
                    return Err(StoreErrno::Acces);
                }
                break;
            }
            at = path::split(at).ok_or(StoreErrno::Io)?.0;
        }
        if at == path { self.node(path)?.ok_or(StoreErrno::Io) } else { Err(StoreErrno::NoEnt) }
    }

    pub(super) fn read(&mut self, path: &str) -> Result<Vec<u8>, StoreErrno> {
        Ok(self.lookup(path, Need::Read)?.value.clone())
    }

    /// Generation of the list of children, and the list in its wire format.
    pub(super) fn directory(&mut self, path: &str) -> Result<(u64, Vec<u8>), StoreErrno> {
        let node = self.lookup(path, Need::Read)?;
        let list = node.children.iter().flat_map(|name| name.bytes().chain([0])).collect();
        Ok((node.generation, list))
    }

    pub(super) fn get_perms(&mut self, path: &str) -> Result<Vec<Perm>, StoreErrno> {
        Ok(self.lookup(path, Need::Read)?.perms.clone())
    }

    pub(super) fn write(&mut self, path: &str, value: &[u8]) -> Result<(), StoreErrno> {
        match self.lookup(path, Need::Write) {
            Ok(node) => {
                let node = Node { value: value.to_vec(), ..node.clone() };
                let perms = node.perms.clone();
                self.store(path, node)?;
                self.overlay.changed(path, false, Some(perms.clone()), Some(perms));
                Ok(())
            }
            Err(StoreErrno::NoEnt) => self.create(path, value),
            Err(error) => Err(error),
        }
    }

    pub(super) fn mkdir(&mut self, path: &str) -> Result<(), StoreErrno> {
        match self.lookup(path, Need::Write) {
            Ok(_) => Ok(()),
            Err(StoreErrno::NoEnt) => self.create(path, b""),
            Err(error) => Err(error),
        }
    }

    /// Makes a node and the missing nodes above it. The caller has found the nearest existing directory writable.
    fn create(&mut self, path: &str, value: &[u8]) -> Result<(), StoreErrno> {
        let mut missing = Vec::new();
        let mut at = path;
        let mut parent = loop {
            if let Some(node) = self.node(at)? {
                break node.clone();
            }
            let (dir, name) = path::split(at).ok_or(StoreErrno::Io)?;
            missing.push((at, name));
            at = dir;
        };
        let owned = add(self.tree.owned(self.domain), self.overlay.owned_more(self.domain));
        if owned.saturating_add(missing.len()) > self.limits.nodes {
            return Err(StoreErrno::NoSpc);
        }
        // From the top down: a new node has its parent's permissions, but belongs to the domain that made it.
        let mut parent_path = at;
        for (path, name) in missing.into_iter().rev() {
            let mut perms = parent.perms.clone();
            if self.domain != 0
                && let Some(first) = perms.first_mut()
            {
                first.domain = self.domain;
            }
            parent.children.insert(name.to_owned());
            self.store(parent_path, parent)?;
            parent = Node { value: Vec::new(), perms, children: Default::default(), generation: 0 };
            parent_path = path;
        }
        parent.value = value.to_vec();
        let perms = parent.perms.clone();
        self.store(path, parent)?;
        self.overlay.changed(path, false, None, Some(perms));
        Ok(())
    }

    fn store(&mut self, path: &str, node: Node) -> Result<(), StoreErrno> {
        if node.size_bytes() > self.limits.node_bytes {
            return Err(StoreErrno::NoSpc);
        }
        self.overlay.put(self.tree, path, Some(node));
        Ok(())
    }

    pub(super) fn rm(&mut self, path: &str) -> Result<(), StoreErrno> {
        let (dir, name) = path::split(path).ok_or(StoreErrno::Inval)?;
        match self.lookup(path, Need::Write).map(drop) {
            Ok(()) => self.remove_tree(path, dir, name),
            // A missing node counts as removed if its directory exists.
            Err(StoreErrno::NoEnt) if self.node(dir)?.is_some() => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn remove_tree(&mut self, path: &str, dir: &str, name: &str) -> Result<(), StoreErrno> {
        let mut todo = vec![path.to_owned()];
        while let Some(at) = todo.pop() {
            let Some(node) = self.node(&at)? else { continue };
            let perms = node.perms.clone();
            todo.extend(node.children.iter().map(|child| format!("{at}/{child}")));
            self.overlay.put(self.tree, &at, None);
            self.overlay.changed(&at, at != path, Some(perms), None);
        }
        if let Some(node) = self.node(dir)? {
            let mut node = node.clone();
            node.children.remove(name);
            self.overlay.put(self.tree, dir, Some(node));
        }
        Ok(())
    }

    pub(super) fn set_perms(&mut self, path: &str, perms: Vec<Perm>) -> Result<(), StoreErrno> {
        let domain = self.domain;
        let node = self.lookup(path, Need::Write)?.clone();
        check_new_perms(&node.perms, &perms, domain, self.limits)?;
        let before = node.perms.clone();
        self.overlay.put(self.tree, path, Some(Node { perms: perms.clone(), ..node }));
        self.overlay.changed(path, false, Some(before), Some(perms));
        Ok(())
    }

    /// Removes all nodes of `gone`, and its entries in other nodes' permissions, so that a later domain of the same
    /// number inherits nothing.
    pub(super) fn forget_domain(&mut self, gone: u16) -> Result<(), StoreErrno> {
        let owned: Vec<String> =
            self.tree.nodes().filter(|(_, node)| node.owner() == gone).map(|(path, _)| path.to_owned()).collect();
        for path in &owned {
            if let Some((dir, name)) = path::split(path)
                && self.node(path)?.is_some()
            {
                self.remove_tree(path, dir, name)?;
            }
        }
        let named = |perms: &[Perm]| perms.iter().any(|perm| perm.domain == gone);
        let named: Vec<String> =
            self.tree.nodes().filter(|(_, node)| named(&node.perms)).map(|(path, _)| path.to_owned()).collect();
        for path in named {
            if let Some(node) = self.node(&path)? {
                let mut node = node.clone();
                node.perms.retain(|perm| perm.domain != gone);
                if node.perms.is_empty() {
                    node.perms.push(Perm::none(0));
                }
                self.overlay.put(self.tree, &path, Some(node));
            }
        }
        Ok(())
    }
}

/// Checks that `domain` may replace the permission list `old` by `new`.
pub(super) fn check_new_perms(old: &[Perm], new: &[Perm], domain: u16, limits: &Limits) -> Result<(), StoreErrno> {
    let old_owner = old.first().map_or(0, |perm| perm.domain);
    let new_owner = new.first().ok_or(StoreErrno::Inval)?.domain;
    if new.len() > limits.perms {
        return Err(StoreErrno::NoSpc);
    }
    if domain == 0 {
        return Ok(());
    }
    if old_owner != domain {
        return Err(StoreErrno::Acces);
    }
    // Otherwise a domain could give its nodes away and own new ones, beyond any quota.
    if new_owner != old_owner { Err(StoreErrno::Perm) } else { Ok(()) }
}
