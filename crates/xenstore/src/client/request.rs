//! Requests as values, so that several can be pending at the same time.

use crate::error::{Error, Result};
use crate::path;
use crate::perm::{self, Perm};
use crate::wire::{Message, Op, PAYLOAD_MAX};

/// One request, checked but not sent. Give it to [`Client::submit`](crate::Client::submit).
#[derive(Clone, Debug)]
pub struct Request {
    pub(super) op: Op,
    pub(super) tx_id: u32,
    pub(super) payload: Vec<u8>,
    /// Path for error messages about this request.
    pub(super) path: String,
}

/// A store's answer to a successful request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The request's operation.
    pub op: Op,
    /// The answer, in the operation's format.
    pub payload: Vec<u8>,
}

/// Claim to the reply of one request, for one call of [`Client::wait`](crate::Client::wait).
#[must_use = "a reply that nobody waits for takes up room"]
#[derive(Debug, PartialEq, Eq)]
pub struct Ticket(pub(super) u32);

impl Request {
    /// Reads a value.
    ///
    /// # Errors
    /// [`Error::Path`] if `path` is no valid path; the same for all requests below that take one.
    pub fn read(path: &str) -> Result<Self> {
        Self::of_node(Op::Read, path)
    }

    /// Lists children; the reply is their names, each ended by a NUL.
    ///
    /// # Errors
    /// [`Error::Path`].
    pub fn directory(path: &str) -> Result<Self> {
        Self::of_node(Op::Directory, path)
    }

    pub(super) fn directory_part(path: &str, offset: usize) -> Result<Self> {
        let mut request = Self::of_node(Op::DirectoryPart, path)?;
        request.payload.extend_from_slice(format!("{offset}\0").as_bytes());
        Ok(request)
    }

    /// Replaces a value, creating the node and its parents.
    ///
    /// # Errors
    /// [`Error::Path`]; [`Error::TooLarge`] if path and value do not fit one message.
    pub fn write(path: &str, value: &[u8]) -> Result<Self> {
        let mut request = Self::of_node(Op::Write, path)?;
        request.payload.extend_from_slice(value);
        request.sized()
    }

    /// Creates an empty node and its parents.
    ///
    /// # Errors
    /// [`Error::Path`].
    pub fn mkdir(path: &str) -> Result<Self> {
        Self::of_node(Op::Mkdir, path)
    }

    /// Removes a node and all nodes below it.
    ///
    /// # Errors
    /// [`Error::Path`].
    pub fn rm(path: &str) -> Result<Self> {
        Self::of_node(Op::Rm, path)
    }

    /// Reads a permission list.
    ///
    /// # Errors
    /// [`Error::Path`].
    pub fn get_perms(path: &str) -> Result<Self> {
        Self::of_watchable(Op::GetPerms, path)
    }

    /// Replaces a permission list. `path` may also be a special name.
    ///
    /// # Errors
    /// [`Error::Path`]; [`Error::TooLarge`]; [`Error::Argument`] for an empty list.
    pub fn set_perms(path: &str, perms: &[Perm]) -> Result<Self> {
        let mut request = Self::of_watchable(Op::SetPerms, path)?;
        if perms.is_empty() {
            return Err(Error::Argument { op: Op::SetPerms, path: path.to_owned() });
        }
        request.payload.extend_from_slice(&perm::emit_list(perms));
        request.sized()
    }

    pub(super) fn watch(op: Op, path: &str, token: &str) -> Result<Self> {
        let mut request = Self::of_watchable(op, path)?;
        if token.contains('\0') {
            return Err(Error::Argument { op, path: path.to_owned() });
        }
        request.payload.extend_from_slice(format!("{token}\0").as_bytes());
        request.sized()
    }

    /// Any operation with any payload, for operations without a method of their own.
    ///
    /// # Errors
    /// [`Error::TooLarge`].
    pub fn raw(op: Op, payload: Vec<u8>) -> Result<Self> {
        Self { op, tx_id: 0, payload, path: String::new() }.sized()
    }

    /// The same request as a part of transaction `tx_id`.
    #[must_use]
    pub fn in_transaction(mut self, tx_id: u32) -> Self {
        self.tx_id = tx_id;
        self
    }

    fn of_node(op: Op, path: &str) -> Result<Self> {
        path::check(path.as_bytes()).map_err(|reason| Error::Path { path: path.to_owned(), reason })?;
        Ok(Self { op, tx_id: 0, payload: format!("{path}\0").into_bytes(), path: path.to_owned() })
    }

    fn of_watchable(op: Op, path: &str) -> Result<Self> {
        path::check_watchable(path.as_bytes()).map_err(|reason| Error::Path { path: path.to_owned(), reason })?;
        Ok(Self { op, tx_id: 0, payload: format!("{path}\0").into_bytes(), path: path.to_owned() })
    }

    fn sized(self) -> Result<Self> {
        if self.payload.len() > PAYLOAD_MAX {
            return Err(Error::TooLarge { op: self.op, path: self.path, bytes: self.payload.len() });
        }
        Ok(self)
    }

    pub(super) fn message(&self, req_id: u32) -> Message {
        Message { kind: self.op.raw(), req_id, tx_id: self.tx_id, payload: self.payload.clone() }
    }
}
