//! Limits of one domain. Without any one of them, a guest could exhaust the host's memory.

/// Limits for one domain, over all its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Nodes that the domain may own.
    pub nodes: usize,
    /// Watches of the domain.
    pub watches: usize,
    /// Open transactions of the domain.
    pub transactions: usize,
    /// Nodes that one transaction may touch, whether they exist or not.
    pub transaction_nodes: usize,
    /// Size of a node that the domain writes: value and names of children, in bytes.
    pub node_bytes: usize,
    /// Length of an absolute path in a request, in bytes. Bounds the memory of a transaction that looks up many paths.
    pub path_bytes: usize,
    /// Entries of a permission list that the domain sets.
    pub perms: usize,
}

impl Limits {
    /// Limits for domain 0, which is trusted but may have faulty programs.
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

    /// Limits for every other domain.
    #[must_use]
    pub const fn guest() -> Self {
        Self {
            nodes: 1000,
            watches: 128,
            transactions: 10,
            // More than a domain may own, so that it can remove all its nodes in one transaction.
            transaction_nodes: 1024 + 256,
            node_bytes: 2048,
            path_bytes: 1024,
            perms: 5,
        }
    }
}
