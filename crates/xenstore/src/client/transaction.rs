//! Transactions: several changes that happen together or not at all.

use std::time::Duration;

use super::Client;
use super::engine::one_string;
use super::request::Request;
use crate::errno::StoreErrno;
use crate::error::{Error, Result};
use crate::perm::Perm;
use crate::wire::Op;

/// Number of tries of a transaction before [`Error::Conflict`].
pub const TRIES: u32 = 32;
/// Number of tries without a pause between them; most conflicts are short.
const EAGER_TRIES: u32 = 4;

/// An open transaction, see [`Client::transaction`]. Other clients see its changes only after the commit.
pub struct Transaction<'a> {
    client: &'a mut Client,
    id: u32,
}

impl Client {
    /// Runs `body` in a transaction and commits it. On a conflict everything is repeated, [`TRIES`] times at most, so
    /// `body` must not rely on being called once. If `body` fails, none of its changes is made.
    ///
    /// # Errors
    /// Errors of `body`; [`Error::Conflict`]; errors of starting and ending a transaction.
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
        // The body's own error is more useful than that of a failed abort.
        let value = result?;
        ended?;
        Ok(value)
    }
}

/// Operations of [`Client`] inside the transaction, with the same errors.
impl Transaction<'_> {
    /// The transaction's number, for requests made by hand.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Reads a value.
    ///
    /// # Errors
    /// Same as [`Client::read`].
    pub fn read(&mut self, path: &str) -> Result<Vec<u8>> {
        Ok(self.call(Request::read(path)?)?.payload)
    }

    /// Reads a value; `None` if there is no such node.
    ///
    /// # Errors
    /// Same as [`Client::read_opt`].
    pub fn read_opt(&mut self, path: &str) -> Result<Option<Vec<u8>>> {
        super::found(self.read(path))
    }

    /// Reads a value that is text.
    ///
    /// # Errors
    /// Same as [`Client::read_string`].
    pub fn read_string(&mut self, path: &str) -> Result<String> {
        super::text(path, self.read(path)?)
    }

    /// Returns true if the node exists.
    ///
    /// # Errors
    /// Same as [`Client::exists`].
    pub fn exists(&mut self, path: &str) -> Result<bool> {
        Ok(self.read_opt(path)?.is_some())
    }

    /// Replaces a value.
    ///
    /// # Errors
    /// Same as [`Client::write`].
    pub fn write(&mut self, path: &str, value: &[u8]) -> Result<()> {
        self.call(Request::write(path, value)?).map(drop)
    }

    /// Creates an empty node.
    ///
    /// # Errors
    /// Same as [`Client::mkdir`].
    pub fn mkdir(&mut self, path: &str) -> Result<()> {
        self.call(Request::mkdir(path)?).map(drop)
    }

    /// Removes a node and all nodes below it.
    ///
    /// # Errors
    /// Same as [`Client::rm`].
    pub fn rm(&mut self, path: &str) -> Result<()> {
        self.call(Request::rm(path)?).map(drop)
    }

    /// Lists children.
    ///
    /// # Errors
    /// Same as [`Client::directory`].
    pub fn directory(&mut self, path: &str) -> Result<Vec<String>> {
        self.client.directory_in(self.id, path)
    }

    /// Reads a permission list.
    ///
    /// # Errors
    /// Same as [`Client::get_perms`].
    pub fn get_perms(&mut self, path: &str) -> Result<Vec<Perm>> {
        super::perms(&self.call(Request::get_perms(path)?)?)
    }

    /// Replaces a permission list.
    ///
    /// # Errors
    /// Same as [`Client::set_perms`].
    pub fn set_perms(&mut self, path: &str, perms: &[Perm]) -> Result<()> {
        self.call(Request::set_perms(path, perms)?).map(drop)
    }

    fn call(&mut self, request: Request) -> Result<super::Reply> {
        self.client.call(&request.in_transaction(self.id))
    }
}
