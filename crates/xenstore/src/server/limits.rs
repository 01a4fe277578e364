//! What one domain may use up. Each limit is there because a guest without it could exhaust the host's memory.

/// Bounds for one domain, over all its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Nodes it may own.
    pub nodes: usize,
    /// Watches it may have.
    pub watches: usize,
    /// Transactions it may have open.
    pub transactions: usize,
    /// Nodes that one transaction may touch, whether they exist or not.
    pub transaction_nodes: usize,
    /// Size of a node that it writes: value and names of children, in bytes.
    pub node_bytes: usize,
    /// Length of an absolute path that it names, in bytes. Bounds what a transaction that looks for many paths holds.
    pub path_bytes: usize,
    /// Entries of a permission list that it sets.
    pub perms: usize,
}

impl Limits {
    /// For domain 0, which is trusted but may run away.
    #[must_use]
    pub const fn privileged() -> Self {
        Self {
            nodes: 200_000,
            watches: 16_384,
            transactions: 1024,
            transaction_nodes: 65_536,
            node_bytes: 1 << 20,
            path_bytes: crate::path::ABS_PATH_MAX,
            perms: 256,
        }
    }

    /// For every other domain.
    #[must_use]
    pub const fn guest() -> Self {
        Self {
            nodes: 1000,
            watches: 128,
            transactions: 10,
            // More than a domain may own, so that it can remove all it has in one go.
            transaction_nodes: 1024 + 256,
            node_bytes: 2048,
            path_bytes: 1024,
            perms: 5,
        }
    }
}
