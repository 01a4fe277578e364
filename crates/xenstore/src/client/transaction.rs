//! Transactions: several changes that happen together or not at all.

use std::time::Duration;

use super::Client;
use super::engine::one_string;
use super::request::Request;
use crate::errno::StoreErrno;
use crate::error::{Error, Result};
use crate::perm::Perm;
use crate::wire::Op;

/// How often a transaction is tried before [`Error::Conflict`].
pub const TRIES: u32 = 32;
/// Tries without a pause between them; conflicts are short, mostly.
const EAGER_TRIES: u32 = 4;

/// An open transaction, see [`Client::transaction`]. Its changes are seen by others only once it is committed.
pub struct Transaction<'a> {
    client: &'a mut Client,
    id: u32,
}

impl Client {
    /// Runs `body` in a transaction and commits it. On a conflict all is done again, [`TRIES`] times at most, so
    /// `body` must not count on being called once. If it fails, nothing of it happens.
    ///
    /// # Errors
    /// What `body` gave; [`Error::Conflict`]; whatever start and end of a transaction may give.
    pub fn transaction<T>(&mut self, mut body: impl FnMut(&mut Transaction<'_>) -> Result<T>) -> Result<T> {
        for tried in 0..TRIES {
            if tried >= EAGER_TRIES {
                std::thread::sleep(Duration::from_millis(1));
            }
            match self.try_transaction(&mut body) {
                Err(error) if error.errno() == Some(StoreErrno::Again) => {}
                other => return other,
            }
        }
        Err(Error::Conflict { tries: TRIES })
    }

    fn try_transaction<T>(&mut self, body: &mut impl FnMut(&mut Transaction<'_>) -> Result<T>) -> Result<T> {
        let reply = self.call(&Request::raw(Op::TransactionStart, b"\0".to_vec())?)?;
        let id = one_string(&reply.payload)?.parse().ok().filter(|id| *id != 0);
        let id = id.ok_or(Error::Protocol("transaction without a number"))?;
        let result = body(&mut Transaction { client: self, id });
        let verdict: &[u8] = if result.is_ok() { b"T\0" } else { b"F\0" };
        let ended = self.call(&Request::raw(Op::TransactionEnd, verdict.to_vec())?.in_transaction(id));
        // The body's own error says more than a failed abort.
        let value = result?;
        ended?;
        Ok(value)
    }
}

/// The same operations as on [`Client`], inside the transaction, with the same errors.
impl Transaction<'_> {
    /// The transaction's number, for requests made by hand.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Reads a value.
    ///
    /// # Errors
    /// As [`Client::read`].
    pub fn read(&mut self, path: &str) -> Result<Vec<u8>> {
        Ok(self.call(Request::read(path)?)?.payload)
    }

    /// Reads a value; `None` if there is no such node.
    ///
    /// # Errors
    /// As [`Client::read_opt`].
    pub fn read_opt(&mut self, path: &str) -> Result<Option<Vec<u8>>> {
        super::found(self.read(path))
    }

    /// Reads a value that is text.
    ///
    /// # Errors
    /// As [`Client::read_string`].
    pub fn read_string(&mut self, path: &str) -> Result<String> {
        super::text(path, self.read(path)?)
    }

    /// True if there is such a node.
    ///
    /// # Errors
    /// As [`Client::exists`].
    pub fn exists(&mut self, path: &str) -> Result<bool> {
        Ok(self.read_opt(path)?.is_some())
    }

    /// Replaces a value.
    ///
    /// # Errors
    /// As [`Client::write`].
    pub fn write(&mut self, path: &str, value: &[u8]) -> Result<()> {
        self.call(Request::write(path, value)?).map(drop)
    }

    /// Creates an empty node.
    ///
    /// # Errors
    /// As [`Client::mkdir`].
    pub fn mkdir(&mut self, path: &str) -> Result<()> {
        self.call(Request::mkdir(path)?).map(drop)
    }

    /// Removes a node and all below it.
    ///
    /// # Errors
    /// As [`Client::rm`].
    pub fn rm(&mut self, path: &str) -> Result<()> {
        self.call(Request::rm(path)?).map(drop)
    }

    /// Lists children.
    ///
    /// # Errors
    /// As [`Client::directory`].
    pub fn directory(&mut self, path: &str) -> Result<Vec<String>> {
        self.client.directory_in(self.id, path)
    }

    /// Reads a permission list.
    ///
    /// # Errors
    /// As [`Client::get_perms`].
    pub fn get_perms(&mut self, path: &str) -> Result<Vec<Perm>> {
        super::perms(&self.call(Request::get_perms(path)?)?)
    }

    /// Replaces a permission list.
    ///
    /// # Errors
    /// As [`Client::set_perms`].
    pub fn set_perms(&mut self, path: &str, perms: &[Perm]) -> Result<()> {
        self.call(Request::set_perms(path, perms)?).map(drop)
    }

    fn call(&mut self, request: Request) -> Result<super::Reply> {
        self.client.call(&request.in_transaction(self.id))
    }
}
