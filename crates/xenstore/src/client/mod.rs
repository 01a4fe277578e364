//! A client of the store, for one thread.
//!
//! Calls wait for their reply, [`Client::timeout`](Client::set_timeout) at most. Watch events that come meanwhile are
//! kept, merged and bounded, until [`Client::take_events`]. In an event loop: register the descriptor ([`AsFd`]) for
//! reading, and when it is readable call [`Client::process`] and take the events. Since any call may receive events,
//! take them after other calls as well ([`Client::has_events`]); the descriptor does not become readable for those.

pub(crate) mod byte_stream;
mod engine;
mod request;
mod transaction;

use std::collections::VecDeque;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::errno::StoreErrno;
use crate::error::{Error, Result};
use crate::path;
use crate::perm::{self, Perm};
use crate::wire::Op;
use byte_stream::ByteStream;
use engine::{Engine, WINDOW, Watched, one_string};
pub use request::{Reply, Request, Ticket};
pub use transaction::{TRIES, Transaction};

/// Maximum number of parts in which a large directory is read (some megabytes of names), against a store that sends
/// parts without end.
const DIRECTORY_PARTS_MAX: usize = 2048;
/// Maximum number of times that a large directory is read again because it changed meanwhile.
const DIRECTORY_TRIES: usize = 32;

/// A change at `path`, or, if there were too many changes to name, somewhere below it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WatchEvent {
    /// The path, relative if the watched one was.
    pub path: String,
    /// The token given to [`Client::watch`].
    pub token: String,
}

/// Connects to a store's socket, or opens a store device if `path` is a character device: for [`Client::from_fd`], here
/// or in another process.
///
/// # Errors
/// [`Error::Io`], naming the path.
pub fn connect(path: &Path) -> Result<OwnedFd> {
    Ok(ByteStream::open(path)?.into())
}

/// A connection to a store.
pub struct Client {
    engine: Engine,
}

impl Client {
    /// Connects to a store's socket, or opens a store device if `path` is a character device.
    ///
    /// # Errors
    /// [`Error::Io`], naming the path.
    pub fn connect(path: &Path) -> Result<Self> {
        Ok(Self { engine: Engine::new(ByteStream::open(path)?) })
    }

    /// Uses a connected stream socket, or an open store device.
    ///
    /// # Errors
    /// [`Error::Io`] if the descriptor cannot be examined.
    pub fn from_fd(fd: OwnedFd) -> Result<Self> {
        Ok(Self { engine: Engine::new(ByteStream::from_fd(fd)?) })
    }

    /// Sets the time that a call waits for its reply; 10 s by default.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.engine.timeout = timeout;
    }

    /// Returns true once the connection is lost. All calls that need it then return [`Error::Closed`].
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.engine.is_closed()
    }

    /// Reads a value.
    ///
    /// # Errors
    /// [`Error::Store`] with `ENOENT`, `EACCES`; [`Error::Path`]; and, like all calls: [`Error::Timeout`],
    /// [`Error::Closed`], and once before it [`Error::Io`], [`Error::Protocol`] or [`Error::Wire`].
    pub fn read(&mut self, path: &str) -> Result<Vec<u8>> {
        Ok(self.call(&Request::read(path)?)?.payload)
    }

    /// Reads a value; `None` if there is no such node.
    ///
    /// # Errors
    /// Same as [`read`](Self::read), without `ENOENT`.
    pub fn read_opt(&mut self, path: &str) -> Result<Option<Vec<u8>>> {
        found(self.read(path))
    }

    /// Reads a value that is text.
    ///
    /// # Errors
    /// Same as [`read`](Self::read), and [`Error::NotUtf8`].
    pub fn read_string(&mut self, path: &str) -> Result<String> {
        text(path, self.read(path)?)
    }

    /// Reads many values with several requests pending at a time. Results are in the order of `paths`; `Ok(None)` means
    /// no such node.
    pub fn read_many(&mut self, paths: &[&str]) -> Vec<Result<Option<Vec<u8>>>> {
        let mut results = Vec::with_capacity(paths.len());
        let mut under_way: VecDeque<Result<Ticket>> = VecDeque::new();
        for path in paths {
            if under_way.len() >= WINDOW
                && let Some(oldest) = under_way.pop_front()
            {
                results.push(self.read_result(oldest));
            }
            under_way.push_back(Request::read(path).and_then(|request| self.submit(request)));
        }
        for ticket in under_way {
            results.push(self.read_result(ticket));
        }
        results
    }

    fn read_result(&mut self, ticket: Result<Ticket>) -> Result<Option<Vec<u8>>> {
        found(ticket.and_then(|ticket| self.wait(ticket)).map(|reply| reply.payload))
    }

    /// Replaces a value, creating the node and its parents.
    ///
    /// # Errors
    /// Same as [`read`](Self::read), without `ENOENT`; `ENOSPC` over a quota; [`Error::TooLarge`] above about 4000
    /// bytes.
    pub fn write(&mut self, path: &str, value: &[u8]) -> Result<()> {
        self.call(&Request::write(path, value)?).map(drop)
    }

    /// Creates an empty node and its parents; an existing node stays unchanged.
    ///
    /// # Errors
    /// Same as [`write`](Self::write).
    pub fn mkdir(&mut self, path: &str) -> Result<()> {
        self.call(&Request::mkdir(path)?).map(drop)
    }

    /// Removes a node and all nodes below it. A missing node is no error if its directory exists.
    ///
    /// # Errors
    /// Same as [`read`](Self::read).
    pub fn rm(&mut self, path: &str) -> Result<()> {
        self.call(&Request::rm(path)?).map(drop)
    }

    /// Lists the names of a node's children, of any number.
    ///
    /// # Errors
    /// Same as [`read`](Self::read).
    pub fn directory(&mut self, path: &str) -> Result<Vec<String>> {
        self.directory_in(0, path)
    }

    /// Returns true if the node exists.
    ///
    /// # Errors
    /// Same as [`read`](Self::read), without `ENOENT`.
    pub fn exists(&mut self, path: &str) -> Result<bool> {
        Ok(self.read_opt(path)?.is_some())
    }

    /// Reads a permission list: owner and default first.
    ///
    /// # Errors
    /// Same as [`read`](Self::read).
    pub fn get_perms(&mut self, path: &str) -> Result<Vec<Perm>> {
        perms(&self.call(&Request::get_perms(path)?)?)
    }

    /// Replaces a permission list. Only the owner and domain 0 may, and only domain 0 may change the owner.
    ///
    /// # Errors
    /// Same as [`write`](Self::write); `EPERM`.
    pub fn set_perms(&mut self, path: &str, perms: &[Perm]) -> Result<()> {
        self.call(&Request::set_perms(path, perms)?).map(drop)
    }

    /// Requests events about `path` and all nodes below it. The first event comes immediately. Each event carries
    /// `token`, which must not hold a NUL.
    ///
    /// # Errors
    /// `EEXIST` if this path is watched with this token already; `E2BIG` over the quota; [`Error::Path`],
    /// [`Error::TooLarge`], [`Error::Argument`].
    pub fn watch(&mut self, path: &str, token: &str) -> Result<()> {
        let request = Request::watch(Op::Watch, path, token)?;
        // Registered before the request is sent, since the first event may come before the reply.
        let known = self.watch_key(path, token).is_some();
        let key = self.engine.next_watch;
        if !known {
            self.engine.next_watch = key.wrapping_add(1);
            self.engine.watches.insert(key, Watched { path: path.to_owned(), token: token.to_owned() });
        }
        let result = self.call(&request);
        if result.is_err() && !known {
            self.forget_watch(key);
        }
        result.map(drop)
    }

    /// Ends a watch. After this returned `Ok`, no further event of the watch is delivered.
    ///
    /// # Errors
    /// `ENOENT` if there is no such watch; [`Error::Path`].
    pub fn unwatch(&mut self, path: &str, token: &str) -> Result<()> {
        self.call(&Request::watch(Op::Unwatch, path, token)?)?;
        if let Some(key) = self.watch_key(path, token) {
            self.forget_watch(key);
        }
        Ok(())
    }

    fn watch_key(&self, path: &str, token: &str) -> Option<u64> {
        let mut watches = self.engine.watches.iter();
        watches.find(|(_, watch)| watch.path == path && watch.token == token).map(|(key, _)| *key)
    }

    fn forget_watch(&mut self, key: u64) {
        self.engine.watches.remove(&key);
        self.engine.dirty.forget(key);
    }

    /// A domain's directory, `/local/domain/<domid>` on every known store.
    ///
    /// # Errors
    /// Errors of all calls.
    pub fn domain_path(&mut self, domid: u16) -> Result<String> {
        let reply = self.call(&Request::raw(Op::GetDomainPath, format!("{domid}\0").into_bytes())?)?;
        let found = one_string(&reply.payload)?;
        match path::check(found.as_bytes()) {
            Ok(found) => Ok(found.to_owned()),
            Err(_) => Err(Error::Protocol("domain path is no path")),
        }
    }

    /// Returns true if the store knows this domain.
    ///
    /// # Errors
    /// Errors of all calls.
    pub fn is_domain_introduced(&mut self, domid: u16) -> Result<bool> {
        let reply = self.call(&Request::raw(Op::IsDomainIntroduced, format!("{domid}\0").into_bytes())?)?;
        Ok(one_string(&reply.payload)? == "T")
    }

    /// Sends a request without waiting for its reply. Waits only while too many others are pending.
    ///
    /// # Errors
    /// [`Error::Backlog`] if too many replies are unclaimed; [`Error::Timeout`]; [`Error::Closed`].
    pub fn submit(&mut self, request: Request) -> Result<Ticket> {
        self.engine.submit(&request)
    }

    /// Waits for the reply to a submitted request. After [`Error::Timeout`] the reply is dropped when it comes.
    ///
    /// # Errors
    /// [`Error::Store`] if the store refused; errors of all calls.
    pub fn wait(&mut self, ticket: Ticket) -> Result<Reply> {
        self.engine.wait(&ticket)
    }

    /// Sends a request and waits for its reply.
    ///
    /// # Errors
    /// Same as [`submit`](Self::submit) and [`wait`](Self::wait).
    pub fn call(&mut self, request: &Request) -> Result<Reply> {
        let ticket = self.engine.submit(request)?;
        self.engine.wait(&ticket)
    }

    /// Handles a bounded amount of received bytes, without waiting. Returns true if there are events to take.
    ///
    /// # Errors
    /// [`Error::Closed`] at the end of the connection; events that came before it can still be taken.
    pub fn process(&mut self) -> Result<bool> {
        self.engine.receive(Some(Instant::now()))?;
        Ok(self.has_events())
    }

    /// Returns true if there are events to take.
    #[must_use]
    pub fn has_events(&self) -> bool {
        self.engine.dirty.len() > 0
    }

    /// Returns the events that have come so far, each pair of path and token once.
    pub fn take_events(&mut self) -> Vec<WatchEvent> {
        std::iter::from_fn(|| self.next_event()).collect()
    }

    fn next_event(&mut self) -> Option<WatchEvent> {
        let (key, path) = self.engine.dirty.pop()?;
        let token = self.engine.watches.get(&key).map(|watch| watch.token.clone()).unwrap_or_default();
        Some(WatchEvent { path, token })
    }

    /// Waits for one event; `None` when the time is over.
    ///
    /// # Errors
    /// Same as [`process`](Self::process).
    pub fn wait_event(&mut self, timeout: Duration) -> Result<Option<WatchEvent>> {
        let until = Instant::now().checked_add(timeout);
        loop {
            if let Some(event) = self.next_event() {
                return Ok(Some(event));
            }
            let came = self.engine.receive(until)?;
            let over = until.is_some_and(|until| Instant::now() >= until);
            if !self.has_events() && (!came || over) {
                return Ok(None);
            }
        }
    }

    fn directory_in(&mut self, tx_id: u32, path: &str) -> Result<Vec<String>> {
        match self.call(&Request::directory(path)?.in_transaction(tx_id)) {
            Ok(reply) => names(&reply.payload),
            Err(error) if error.errno() == Some(StoreErrno::TooBig) => self.directory_in_parts(tx_id, path),
            Err(error) => Err(error),
        }
    }

    /// Reads a directory in parts. Each part starts with the directory's generation; if that changes, the parts do not
    /// belong together.
    fn directory_in_parts(&mut self, tx_id: u32, path: &str) -> Result<Vec<String>> {
        let mut generation = Vec::new();
        let mut list = Vec::new();
        let mut restarts = 0_usize;
        for _ in 0..DIRECTORY_PARTS_MAX {
            let request = Request::directory_part(path, list.len())?.in_transaction(tx_id);
            let reply = self.call(&request)?;
            let end = reply.payload.iter().position(|byte| *byte == 0);
            let (now, part) = end
                .and_then(|end| reply.payload.split_at_checked(end))
                .and_then(|(now, part)| Some((now, part.strip_prefix(b"\0")?)))
                .ok_or(Error::Protocol("part of a directory without a generation"))?;
            if !list.is_empty() && now != generation.as_slice() {
                restarts = restarts.saturating_add(1);
                if restarts > DIRECTORY_TRIES {
                    return Err(Error::Store {
                        op: Op::DirectoryPart,
                        path: path.to_owned(),
                        errno: StoreErrno::Again,
                    });
                }
                list.clear();
                continue;
            }
            now.clone_into(&mut generation);
            // An empty name ends the last part.
            let last = part == b"\0" || part.ends_with(b"\0\0");
            list.extend_from_slice(if last { part.strip_suffix(b"\0").unwrap_or(part) } else { part });
            if last {
                return names(&list);
            }
        }
        Err(Error::Protocol("directory without an end"))
    }
}

fn found(result: Result<Vec<u8>>) -> Result<Option<Vec<u8>>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

fn text(path: &str, value: Vec<u8>) -> Result<String> {
    String::from_utf8(value).map_err(|_| Error::NotUtf8 { path: path.to_owned() })
}

fn perms(reply: &Reply) -> Result<Vec<Perm>> {
    perm::parse_list(&reply.payload).map_err(|_| Error::Protocol("permissions that are none"))
}

fn names(list: &[u8]) -> Result<Vec<String>> {
    let Some(body) = list.strip_suffix(b"\0") else {
        return if list.is_empty() { Ok(Vec::new()) } else { Err(Error::Protocol("directory without an end")) };
    };
    let name = |name: &[u8]| match std::str::from_utf8(name) {
        Ok(text) if path::is_leaf_name(name) => Ok(text.to_owned()),
        _ => Err(Error::Protocol("directory with a bad name")),
    };
    body.split(|byte| *byte == 0).map(name).collect()
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.engine.stream.as_fd()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("closed", &self.is_closed()).field("events", &self.engine.dirty.len()).finish()
    }
}
