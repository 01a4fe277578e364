//! Errors in a store's replies. They are sent as names ("ENOENT"), so that they mean the same in every OS.

/// An error returned by the store; `xsd_errors` in `xs_wire.h` is the complete list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum StoreErrno {
    /// The request is invalid.
    #[error("EINVAL (invalid request)")]
    Inval,
    /// The node's permissions forbid it.
    #[error("EACCES (permission denied)")]
    Acces,
    /// The node or watch exists already.
    #[error("EEXIST (exists already)")]
    Exist,
    /// The node is a directory.
    #[error("EISDIR (is a directory)")]
    IsDir,
    /// There is no such node, watch or transaction.
    #[error("ENOENT (does not exist)")]
    NoEnt,
    /// The store is out of memory.
    #[error("ENOMEM (store is out of memory)")]
    NoMem,
    /// A quota on nodes, sizes, permissions or transactions is used up.
    #[error("ENOSPC (quota used up)")]
    NoSpc,
    /// The store could not read or write its data.
    #[error("EIO (store failed)")]
    Io,
    /// The directory has entries.
    #[error("ENOTEMPTY (directory has entries)")]
    NotEmpty,
    /// The store does not know this operation.
    #[error("ENOSYS (operation not supported)")]
    NoSys,
    /// The store cannot be changed.
    #[error("EROFS (store is read-only)")]
    RoFs,
    /// A transaction is open, but must not be.
    #[error("EBUSY (busy)")]
    Busy,
    /// The transaction met a conflict and has to be repeated from its start.
    #[error("EAGAIN (transaction conflict)")]
    Again,
    /// The domain is connected already.
    #[error("EISCONN (connected already)")]
    IsConn,
    /// The answer does not fit one message, or a quota on watches is used up.
    #[error("E2BIG (too large)")]
    TooBig,
    /// The operation is allowed only to a privileged domain.
    #[error("EPERM (not permitted)")]
    Perm,
}

const NAMES: [(StoreErrno, &str); 16] = [
    (StoreErrno::Inval, "EINVAL"),
    (StoreErrno::Acces, "EACCES"),
    (StoreErrno::Exist, "EEXIST"),
    (StoreErrno::IsDir, "EISDIR"),
    (StoreErrno::NoEnt, "ENOENT"),
    (StoreErrno::NoMem, "ENOMEM"),
    (StoreErrno::NoSpc, "ENOSPC"),
    (StoreErrno::Io, "EIO"),
    (StoreErrno::NotEmpty, "ENOTEMPTY"),
    (StoreErrno::NoSys, "ENOSYS"),
    (StoreErrno::RoFs, "EROFS"),
    (StoreErrno::Busy, "EBUSY"),
    (StoreErrno::Again, "EAGAIN"),
    (StoreErrno::IsConn, "EISCONN"),
    (StoreErrno::TooBig, "E2BIG"),
    (StoreErrno::Perm, "EPERM"),
];

impl StoreErrno {
    /// All errors.
    pub fn all() -> impl Iterator<Item = Self> {
        NAMES.iter().map(|(errno, _)| *errno)
    }

    /// The name on the wire, without a terminator.
    #[must_use]
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(errno, _)| *errno == self).map_or("EINVAL", |(_, name)| name)
    }

    /// The error in an error reply's payload, with or without its NUL; `None` for an unknown name.
    #[must_use]
    pub fn from_wire(payload: &[u8]) -> Option<Self> {
        let name = payload.strip_suffix(b"\0").unwrap_or(payload);
        NAMES.iter().find(|(_, known)| known.as_bytes() == name).map(|(errno, _)| *errno)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_errno_is_found_by_its_own_name() {
        for errno in StoreErrno::all() {
            assert_eq!(StoreErrno::from_wire(errno.name().as_bytes()), Some(errno));
            assert!(errno.to_string().starts_with(errno.name()));
        }
        assert_eq!(StoreErrno::from_wire(b"ENOENT\0"), Some(StoreErrno::NoEnt));
        assert_eq!(StoreErrno::from_wire(b"EWHAT"), None);
        assert_eq!(StoreErrno::from_wire(b""), None);
    }
}
