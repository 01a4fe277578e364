//! What can go wrong for a client, said so that a log line needs nothing else.

use std::fmt;
use std::time::Duration;

use crate::errno::StoreErrno;
use crate::path::PathError;
use crate::wire::{Op, WireError};

/// Result of a client's call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a client's call failed. Paths are escaped when shown, since guests choose them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store refused.
    #[error("XenStore: {op} {}: {errno}", Escaped(path))]
    Store {
        /// What was asked.
        op: Op,
        /// Of which node; empty where the request names none.
        path: String,
        /// The answer.
        errno: StoreErrno,
    },
    /// The path cannot be a store path; nothing was sent.
    #[error("XenStore path {}: {reason}", Escaped(path))]
    Path {
        /// The path as it was given.
        path: String,
        /// What is wrong with it.
        reason: PathError,
    },
    /// Path and value do not fit one message; nothing was sent.
    #[error("XenStore: {op} {}: {bytes} bytes do not fit one message", Escaped(path))]
    TooLarge {
        /// What was asked.
        op: Op,
        /// Of which node.
        path: String,
        /// Size of the payload that would be needed.
        bytes: usize,
    },
    /// A string that must not hold a NUL, or be empty, does; nothing was sent.
    #[error("XenStore: {op} {}: argument holds a NUL byte or is empty", Escaped(path))]
    Argument {
        /// What was asked.
        op: Op,
        /// Of which node.
        path: String,
    },
    /// No reply within the time allowed. The connection stays usable; the late reply will be dropped.
    #[error("XenStore: {op} {}: no reply within {after:?}", Escaped(path))]
    Timeout {
        /// What was asked.
        op: Op,
        /// Of which node.
        path: String,
        /// The time that was allowed.
        after: Duration,
    },
    /// The transaction met a conflict at every try.
    #[error("XenStore: transaction met a conflict {tries} times in a row, given up")]
    Conflict {
        /// How often it was tried.
        tries: u32,
    },
    /// The value is not UTF-8.
    #[error("XenStore: value of {} is not UTF-8", Escaped(path))]
    NotUtf8 {
        /// The node.
        path: String,
    },
    /// The store answered something that is not the protocol. The connection is given up.
    #[error("XenStore: protocol violation: {0}")]
    Protocol(&'static str),
    /// The store's messages cannot be told apart any more. The connection is given up.
    #[error("XenStore: protocol violation: {0}")]
    Wire(WireError),
    /// Too many replies lie there that nobody has waited for.
    #[error("XenStore: {0} requests submitted without waiting for their replies")]
    Backlog(usize),
    /// This ticket was waited for already, or is another client's.
    #[error("XenStore: no request is outstanding for this ticket")]
    Ticket,
    /// The connection is lost; this client stays useless.
    #[error("XenStore: connection closed")]
    Closed,
    /// The connection could not be made or used.
    #[error("XenStore: {what}: {cause}")]
    Io {
        /// What was tried.
        what: String,
        /// The system's answer.
        cause: std::io::Error,
    },
}

// By hand: the message has its cause already, and a source would say it twice.
impl From<WireError> for Error {
    fn from(cause: WireError) -> Self {
        Self::Wire(cause)
    }
}

impl Error {
    /// The store's own answer, where there was one.
    #[must_use]
    pub fn errno(&self) -> Option<StoreErrno> {
        match self {
            Self::Store { errno, .. } => Some(*errno),
            _ => None,
        }
    }

    /// True if the store says that there is no such node.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.errno() == Some(StoreErrno::NoEnt)
    }

    pub(crate) fn io(what: impl Into<String>, cause: impl Into<std::io::Error>) -> Self {
        Self::Io { what: what.into(), cause: cause.into() }
    }
}

/// Shows a name that somebody else chose without letting it write control characters into a log.
///
/// Cut after 256 characters, so that one name cannot fill the log either.
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
