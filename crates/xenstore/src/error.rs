//! A client's errors; each message is complete, so that a log line needs nothing else.

use std::fmt;
use std::time::Duration;

use crate::errno::StoreErrno;
use crate::path::PathError;
use crate::wire::{Op, WireError};

/// Result of a client's call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Reason why a client's call failed. Paths are escaped when shown, since guests choose them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store refused the request.
    #[error("XenStore: {op} {}: {errno}", Escaped(path))]
    Store {
        /// Operation of the request.
        op: Op,
        /// Path of the node; empty if the request names none.
        path: String,
        /// The store's error.
        errno: StoreErrno,
    },
    /// The path cannot be a store path; nothing was sent.
    #[error("XenStore path {}: {reason}", Escaped(path))]
    Path {
        /// The invalid path.
        path: String,
        /// The fault of the path.
        reason: PathError,
    },
    /// Path and value do not fit one message; nothing was sent.
    #[error("XenStore: {op} {}: {bytes} bytes do not fit one message", Escaped(path))]
    TooLarge {
        /// Operation of the request.
        op: Op,
        /// Path of the node.
        path: String,
        /// Size of the required payload.
        bytes: usize,
    },
    /// A string holds a NUL, or a list is empty; nothing was sent.
    #[error("XenStore: {op} {}: argument holds a NUL byte or is empty", Escaped(path))]
    Argument {
        /// Operation of the request.
        op: Op,
        /// Path of the node.
        path: String,
    },
    /// No reply came within the allowed time. The connection stays usable; a late reply will be dropped.
    #[error("XenStore: {op} {}: no reply within {after:?}", Escaped(path))]
    Timeout {
        /// Operation of the request.
        op: Op,
        /// Path of the node.
        path: String,
        /// The allowed time.
        after: Duration,
    },
    /// The transaction met a conflict at every try.
    #[error("XenStore: transaction met a conflict {tries} times in a row, given up")]
    Conflict {
        /// Number of tries.
        tries: u32,
    },
    /// The value is not UTF-8.
    #[error("XenStore: value of {} is not UTF-8", Escaped(path))]
    NotUtf8 {
        /// Path of the value's node.
        path: String,
    },
    /// The store violated the protocol. The connection is closed.
    #[error("XenStore: protocol violation: {0}")]
    Protocol(&'static str),
    /// The store's byte stream cannot be split into messages any more. The connection is closed.
    #[error("XenStore: protocol violation: {0}")]
    Wire(WireError),
    /// Too many replies are unclaimed.
    #[error("XenStore: {0} requests submitted without waiting for their replies")]
    Backlog(usize),
    /// The ticket was waited for already, or belongs to another client.
    #[error("XenStore: no request is outstanding for this ticket")]
    Ticket,
    /// The connection is lost; this client stays unusable.
    #[error("XenStore: connection closed")]
    Closed,
    /// The connection could not be made or used.
    #[error("XenStore: {what}: {cause}")]
    Io {
        /// The attempted operation.
        what: String,
        /// The system's error.
        cause: std::io::Error,
    },
}

// Not derived: the message contains its cause already, and a source would repeat it.
impl From<WireError> for Error {
    fn from(cause: WireError) -> Self {
        Self::Wire(cause)
    }
}

impl Error {
    /// The store's own error, if this is one.
    #[must_use]
    pub fn errno(&self) -> Option<StoreErrno> {
        match self {
            Self::Store { errno, .. } => Some(*errno),
            _ => None,
        }
    }

    /// Returns true if the store reports that the node does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.errno() == Some(StoreErrno::NoEnt)
    }

    pub(crate) fn io(what: impl Into<String>, cause: impl Into<std::io::Error>) -> Self {
        Self::Io { what: what.into(), cause: cause.into() }
    }
}

/// Displays an untrusted name with its control characters escaped, for the log.
///
/// The text is cut after 256 characters, so that one name cannot fill the log either.
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 256;
        for c in self.0.chars().take(SHOWN) {
            write!(f, "{}", c.escape_default())?;
        }
        if self.0.chars().nth(SHOWN).is_some() { f.write_str("...") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn store_values_hostile_names_are_escaped_and_cut_in_messages() {
        let path = format!("/a\n\x1b[31m{}", "x".repeat(5000));
        let text = Error::Store { op: Op::Read, path, errno: StoreErrno::NoEnt }.to_string();
        assert!(text.starts_with("XenStore: READ /a\\n\\u{1b}[31mxxx"), "{text}");
        assert!(text.ends_with("...: ENOENT (does not exist)"), "{text}");
        assert!(text.len() < 400);
    }
}
