//! Nodes, and the optimistic transactions over them.
//!
//! Every operation works on an [`Overlay`]: its own changes over the common tree. A single request's overlay is
//! committed at its end or dropped on an error, so no request is ever half done. A transaction's overlay lives from
//! start to end and also records the generation of every node it looked at. If one of those has changed by the end, the
//! transaction is refused with `EAGAIN` and none of its changes is made. So of two transactions that touch one node,
//! the first to end wins.

use std::collections::{BTreeMap, BTreeSet};

use super::limits::Limits;
use crate::errno::StoreErrno;
use crate::perm::Perm;

/// One node. `generation` is the number of the commit that last changed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) value: Vec<u8>,
    pub(super) perms: Vec<Perm>,
    pub(super) children: BTreeSet<String>,
    pub(super) generation: u64,
}

impl Node {
    pub(super) fn owner(&self) -> u16 {
        self.perms.first().map_or(0, |perm| perm.domain)
    }

    /// Size that counts against [`Limits::node_bytes`].
    pub(super) fn size_bytes(&self) -> usize {
        self.children.iter().fold(self.value.len(), |sum, name| sum.saturating_add(name.len()).saturating_add(1))
    }
}

/// A change that watches may report.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) path: String,
    /// True if only watches at exactly this path fire: the node was removed with one above it.
    pub(super) exact: bool,
    /// Permissions before and after the change; domains that may read under either are informed.
    pub(super) before: Option<Vec<Perm>>,
    pub(super) after: Option<Vec<Perm>>,
}

/// Changes in the order in which they were made, each path once even if it changed several times.
pub(super) type Changes = Vec<Change>;

/// One writer's changes, not yet seen by others.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    /// For transactions: the generation of each path when it was first looked at; `None` for a missing node.
    seen: Option<BTreeMap<String, Option<u64>>>,
    edits: BTreeMap<String, Option<Node>>,
    changes: Changes,
    change_at: BTreeMap<String, usize>,
    /// Change of the number of nodes that each domain owns.
    owned: BTreeMap<u16, i64>,
}

impl Overlay {
    /// An overlay for one request.
    pub(super) fn single() -> Self {
        Self::default()
    }

    /// An overlay for many requests, with detection of conflicts.
    pub(super) fn transaction() -> Self {
        Self { seen: Some(BTreeMap::new()), ..Self::default() }
    }

    pub(super) fn owned_more(&self, domain: u16) -> i64 {
        self.owned.get(&domain).copied().unwrap_or(0)
    }

    /// Records that `path` is looked at.
    pub(super) fn touch(&mut self, tree: &Tree, path: &str, limits: &Limits) -> Result<(), StoreErrno> {
        let Some(seen) = &mut self.seen else { return Ok(()) };
        if seen.contains_key(path) {
            return Ok(());
        }
        if seen.len() >= limits.transaction_nodes {
            return Err(StoreErrno::NoSpc);
        }
        seen.insert(path.to_owned(), tree.nodes.get(path).map(|node| node.generation));
        Ok(())
    }

    /// The node at `path` as this writer sees it.
    pub(super) fn get<'a>(&'a self, tree: &'a Tree, path: &str) -> Option<&'a Node> {
        match self.edits.get(path) {
            Some(edit) => edit.as_ref(),
            None => tree.nodes.get(path),
        }
    }

    pub(super) fn put(&mut self, tree: &Tree, path: &str, node: Option<Node>) {
        let owner_before = self.get(tree, path).map(Node::owner);
        let owner_after = node.as_ref().map(Node::owner);
        for (owner, step) in [(owner_before, -1), (owner_after, 1)] {
            if let Some(owner) = owner {
                let count = self.owned.entry(owner).or_default();
                *count = count.saturating_add(step);
            }
        }
        self.edits.insert(path.to_owned(), node);
    }

    /// Records a change for which watches fire after the commit.
    pub(super) fn changed(&mut self, path: &str, exact: bool, before: Option<Vec<Perm>>, after: Option<Vec<Perm>>) {
        let known = self.change_at.get(path).and_then(|at| self.changes.get_mut(*at));
        if let Some(change) = known {
            change.exact &= exact;
            change.before = change.before.take().or(before);
            change.after = after;
        } else {
            self.change_at.insert(path.to_owned(), self.changes.len());
            self.changes.push(Change { path: path.to_owned(), exact, before, after });
        }
    }
}

/// All nodes by absolute path. The root always exists.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: BTreeMap<String, Node>,
    owned: BTreeMap<u16, usize>,
    generation: u64,
}

impl Tree {
    pub(super) fn new() -> Self {
        let root = Node { value: Vec::new(), perms: vec![Perm::none(0)], children: BTreeSet::new(), generation: 0 };
        Self { nodes: BTreeMap::from([("/".to_owned(), root)]), owned: BTreeMap::from([(0, 1)]), generation: 0 }
    }

    /// Number of nodes that a domain owns.
    pub(super) fn owned(&self, domain: u16) -> usize {
        self.owned.get(&domain).copied().unwrap_or(0)
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.nodes.iter().map(|(path, node)| (path.as_str(), node))
    }

    /// Applies an overlay's changes to the tree.
    ///
    /// Fails with `EAGAIN` on a conflict, with `ENOSPC` if `domain` would own too many nodes; nothing is changed then.
    pub(super) fn commit(&mut self, overlay: Overlay, domain: u16, limits: &Limits) -> Result<Changes, StoreErrno> {
        let stale = |(path, seen): (&String, &Option<u64>)| self.nodes.get(path).map(|node| node.generation) != *seen;
        if overlay.seen.iter().flatten().any(stale) {
            return Err(StoreErrno::Again);
        }
        // Checked when each node was made, and here again: other overlays may have been committed since.
        let more = overlay.owned_more(domain);
        if more > 0 && add(self.owned(domain), more) > limits.nodes {
            return Err(StoreErrno::NoSpc);
        }
        self.generation = self.generation.wrapping_add(1);
        for (path, edit) in overlay.edits {
            match edit {
                Some(mut node) => {
                    node.generation = self.generation;
                    self.nodes.insert(path, node);
                }
                None => {
                    self.nodes.remove(&path);
                }
            }
        }
        for (domain, step) in overlay.owned {
            let count = add(self.owned(domain), step);
            if count == 0 {
                self.owned.remove(&domain);
            } else {
                self.owned.insert(domain, count);
            }
        }
        Ok(overlay.changes)
    }

    /// Returns true if the counters agree with the nodes, every child has its node and every node its parent. For tests
    /// and fuzzing.
    pub(super) fn is_consistent(&self) -> bool {
        let mut owned: BTreeMap<u16, usize> = BTreeMap::new();
        let mut links = 0_usize;
        for (path, node) in &self.nodes {
            let count = owned.entry(node.owner()).or_default();
            *count = count.saturating_add(1);
            links = links.saturating_add(node.children.len());
            let linked = crate::path::split(path)
                .is_none_or(|(dir, name)| self.nodes.get(dir).is_some_and(|dir| dir.children.contains(name)));
            if !linked || node.perms.is_empty() {
                return false;
            }
        }
        links.saturating_add(1) == self.nodes.len() && owned == self.owned
    }
}

/// `count + step`, saturating.
pub(super) fn add(count: usize, step: i64) -> usize {
    let size = usize::try_from(step.unsigned_abs()).unwrap_or(usize::MAX);
    if step < 0 { count.saturating_sub(size) } else { count.saturating_add(size) }
}
