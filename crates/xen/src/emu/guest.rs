//! A domain's end of the emulation: its connection to the hypervisor, or to a process that lends part of its own access
//! to Xen (`lend.rs`).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rustix::io::Errno;
use sndif::GrantRef;

use super::socket::{self, Received};
use super::wire::{MAX_GRANT_PAGES, MAX_MAP_REFS, Reply, Request, Token, VERSION, token};
use super::{HYPERVISOR_SOCKET, Stats};
use crate::channel::{ChannelFds, Kind};
use crate::memory::{Run, SharedPages};
use crate::{Access, DomainId, Error, Port, Refusal, Result, dev};

/// Word in the reply to `Hello`: later replies carry files of the real Xen.
pub(crate) const REAL: u32 = 1;

/// One connection to the emulated hypervisor, as one domain.
///
/// Requests are answered one by one; a lock keeps two threads' requests apart. Requests are made
/// when devices come, change and go, never on the path of a stream's data.
pub(crate) struct Guest {
    domain: DomainId,
    socket: Mutex<OwnedFd>,
    liveness: OwnedFd,
    /// True if replies carry files of the real Xen.
    real: bool,
}

impl Guest {
    /// Connects to the hypervisor in `dir` as `domain`.
    pub fn connect(dir: &Path, domain: DomainId) -> Result<Self> {
        Self::enter(connect(dir)?, domain)
    }

    /// Enters as `domain` over `socket`, whose other end answers this domain's requests.
    pub fn enter(socket: OwnedFd, domain: DomainId) -> Result<Self> {
        let (reply, fds) = exchange(socket.as_fd(), &Request::Hello { version: VERSION, domain })?;
        let real = reply == Reply::Done(vec![REAL]);
        if !real {
            expect(&reply, &[], "enter the emulated Xen")?;
        }
        let [liveness] = exactly(fds)?;
        Ok(Self { domain, socket: Mutex::new(socket), liveness, real })
    }

    pub fn domain(&self) -> DomainId {
        self.domain
    }

    pub fn liveness(&self) -> BorrowedFd<'_> {
        self.liveness.as_fd()
    }

    /// A connection to the store with this domain's rights.
    pub fn store(&self) -> Result<OwnedFd> {
        let (reply, fds) = self.ask(&Request::Store)?;
        expect(&reply, &[], "connect to XenStore")?;
        let [store] = exactly(fds)?;
        Ok(store)
    }

    pub fn grant(&self, to: DomainId, pages: usize, access: Access) -> Result<(Token, Vec<GrantRef>, SharedPages)> {
        const DOING: &str = "grant pages";
        let bad = Error::Refused { doing: DOING, refusal: Refusal::BadArgument };
        let Some(count) = u32::try_from(pages).ok().filter(|count| (1..=MAX_GRANT_PAGES).contains(count)) else {
            return Err(bad);
        };
        let (reply, fds) = self.ask(&Request::Grant { to, pages: count, access })?;
        let [low, high, lowest] = results(reply, DOING)?;
        let token = token(low, high);
        let [memory] = exactly(fds)?;
        let run = Run { file: memory.as_fd(), page: 0, pages };
        // Our own pages are always writable for ourselves; `access` is about the other domain.
        let shared = match SharedPages::map_memfds(&[run], Access::ReadWrite) {
            Ok(shared) => shared,
            Err(error) => {
                self.end_access(token, false)?;
                return Err(Error::system("map granted pages")(error));
            }
        };
        let end = lowest.checked_add(count).ok_or(Error::Malformed)?;
        Ok((token, (lowest..end).rev().map(GrantRef).collect(), shared))
    }

    /// True if the pages are ours alone again, false if they are still mapped.
    pub fn end_access(&self, token: Token, deferred: bool) -> Result<bool> {
        let (reply, _) = self.ask(&Request::EndAccess { token, deferred })?;
        match reply {
            Reply::Refused { refusal: Refusal::StillMapped, .. } => Ok(false),
            reply => expect(&reply, &[], "end access to granted pages").map(|()| true),
        }
    }

    /// Maps all of `refs` into one contiguous range, or nothing.
    pub fn map(&self, from: DomainId, refs: &[GrantRef], access: Access) -> Result<(Vec<Token>, SharedPages)> {
        if refs.is_empty() {
            return Err(Error::Refused { doing: "map grants", refusal: Refusal::BadArgument });
        }
        let mut tokens = Vec::new();
        let mapped = self.map_batches(from, refs, access, &mut tokens);
        match mapped {
            Ok(shared) => Ok((tokens, shared)),
            Err(error) => {
                self.unmap(&tokens);
                Err(error)
            }
        }
    }

    fn map_batches(
        &self,
        from: DomainId,
        refs: &[GrantRef],
        access: Access,
        tokens: &mut Vec<Token>,
    ) -> Result<SharedPages> {
        let mut files: Vec<OwnedFd> = Vec::new();
        let mut places: Vec<(usize, u32)> = Vec::with_capacity(refs.len());
        for batch in refs.chunks(MAX_MAP_REFS) {
            let (reply, fds) = self.ask(&Request::Map { from, access, refs: batch.to_vec() })?;
            let words = match reply {
                Reply::Done(words) => words,
                Reply::Refused { refusal, index } => {
                    let reference = *usize::try_from(index).ok().and_then(|i| batch.get(i)).ok_or(Error::Malformed)?;
                    return Err(Error::Map { from, reference, refusal });
                }
            };
            let [low, high, pages @ ..] = &words[..] else { return Err(Error::Malformed) };
            tokens.push(token(*low, *high));
            let (pages, rest) = pages.as_chunks::<2>();
            if !rest.is_empty() || pages.len() != batch.len() {
                return Err(Error::Malformed);
            }
            for [file, page] in pages {
                let file = usize::try_from(*file).ok().filter(|file| *file < fds.len()).ok_or(Error::Malformed)?;
                places.push((files.len() + file, *page));
            }
            files.extend(fds);
        }
        let runs = runs(&files, &places);
        if !self.real {
            return SharedPages::map_memfds(&runs, access).map_err(Error::system("map the pages of another domain"));
        }
        // The driver does not tell which reference failed; the error names the first one.
        SharedPages::map_grants(&runs, access).map_err(|error| match (error.kind(), refs.first()) {
            (std::io::ErrorKind::InvalidInput, Some(first)) => {
                Error::Map { from, reference: *first, refusal: Refusal::Unspecified }
            }
            _ => Error::system("map the pages of another domain")(error),
        })
    }

    /// Tells the hypervisor that these mappings are gone. The hypervisor forgets them anyway when we end, so an
    /// error here (the hypervisor is gone) has no consequence.
    pub fn unmap(&self, tokens: &[Token]) {
        for token in tokens {
            let _: Result<_> = self.ask(&Request::Unmap { token: *token });
        }
    }

    pub fn alloc_unbound(&self, remote: DomainId) -> Result<ChannelFds> {
        let (reply, fds) = self.ask(&Request::AllocUnbound { remote })?;
        let [port] = results(reply, "allocate an event channel")?;
        channel(port, fds)
    }

    pub fn bind_interdomain(&self, remote: DomainId, port: Port) -> Result<Kind> {
        let (reply, fds) = self.ask(&Request::BindInterdomain { remote, port })?;
        if let Reply::Refused { refusal, .. } = reply {
            return Err(Error::Bind { remote, port, refusal });
        }
        let [port] = results(reply, "bind an event channel")?;
        if self.real {
            let [file] = exactly(fds)?;
            return Ok(Kind::Dev(dev::Channel::of(file, Port(port))));
        }
        Ok(Kind::Emu(channel(port, fds)?))
    }

    /// Closes a port; as with `unmap`, an error has no consequence.
    pub fn close(&self, port: Port) {
        let _: Result<_> = self.ask(&Request::Close { port });
    }

    /// Sends one request and returns the reply with its descriptors.
    pub fn ask(&self, request: &Request) -> Result<(Reply, Vec<OwnedFd>)> {
        // A panic leaves nothing half-done behind the lock, which guards whole exchanges.
        let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        exchange(socket.as_fd(), request)
    }
}

/// Counters of the emulation in `dir`.
///
/// # Errors
///
/// [`Error::NoEmulation`] if no process emulates Xen there.
pub fn stats(dir: &Path) -> Result<Stats> {
    let socket = connect(dir)?;
    let (reply, _) = exchange(socket.as_fd(), &Request::Stats)?;
    let [domains, connections, granted_pages, mapped_pages, ports, store_connections] =
        results(reply, "read counters")?;
    Ok(Stats { domains, connections, granted_pages, mapped_pages, ports, store_connections })
}

fn connect(dir: &Path) -> Result<OwnedFd> {
    socket::connect(&dir.join(HYPERVISOR_SOCKET)).map_err(|error| match error {
        Errno::NOENT | Errno::CONNREFUSED | Errno::NOTDIR => Error::NoEmulation { dir: dir.to_path_buf() },
        error => Error::system("connect to the emulated Xen")(error),
    })
}

/// One request, one reply.
fn exchange(socket: BorrowedFd<'_>, request: &Request) -> Result<(Reply, Vec<OwnedFd>)> {
    let gone = |error| match error {
        Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN => Error::HypervisorGone,
        error => Error::system("talk to the emulated Xen")(error),
    };
    rustix::io::retry_on_intr(|| socket::send(socket, &request.encode(), &[])).map_err(gone)?;
    match rustix::io::retry_on_intr(|| socket::receive(socket)).map_err(gone)? {
        Received::Packet(bytes, fds) => Ok((Reply::parse(&bytes).ok_or(Error::Malformed)?, fds)),
        Received::WithoutDescriptors(bytes) => {
            // The granted resource cannot be used; give it back, so that the error leaves nothing behind.
            let undo = Reply::parse(&bytes).and_then(|reply| undo(request, &reply));
            if let Some(undo) = undo {
                exchange(socket, &undo)?;
            }
            Err(Error::system("receive descriptors from the emulated Xen")(Errno::MFILE))
        }
        Received::TooLong => Err(Error::Malformed),
        Received::End => Err(Error::HypervisorGone),
    }
}

/// The request that takes back what `reply` gave; the reply to that request has no descriptors.
fn undo(request: &Request, reply: &Reply) -> Option<Request> {
    match (request, reply) {
        (Request::Grant { .. }, Reply::Done(words)) => match words[..] {
            [low, high, _] => Some(Request::EndAccess { token: token(low, high), deferred: true }),
            _ => None,
        },
        (Request::Map { .. }, Reply::Done(words)) => match words[..] {
            [low, high, ..] => Some(Request::Unmap { token: token(low, high) }),
            _ => None,
        },
        (Request::AllocUnbound { .. } | Request::BindInterdomain { .. }, Reply::Done(words)) => match words[..] {
            [port] => Some(Request::Close { port: Port(port) }),
            _ => None,
        },
        _ => None,
    }
}

fn results<const N: usize>(reply: Reply, doing: &'static str) -> Result<[u32; N]> {
    match reply {
        Reply::Done(words) => words.try_into().map_err(|_| Error::Malformed),
        Reply::Refused { refusal, .. } => Err(Error::Refused { doing, refusal }),
    }
}

fn expect(reply: &Reply, wanted: &[u32], doing: &'static str) -> Result<()> {
    match reply {
        Reply::Done(words) if words == wanted => Ok(()),
        Reply::Done(_) => Err(Error::Malformed),
        Reply::Refused { refusal, .. } => Err(Error::Refused { doing, refusal: *refusal }),
    }
}

fn exactly<const N: usize>(fds: Vec<OwnedFd>) -> Result<[OwnedFd; N]> {
    fds.try_into().map_err(|_| Error::Malformed)
}

fn channel(port: u32, fds: Vec<OwnedFd>) -> Result<ChannelFds> {
    let [receive, send] = exactly(fds)?;
    Ok(ChannelFds { port: Port(port), receive, send })
}

/// Joins pages that follow one another in the same file, so that each run costs one `mmap`.
fn runs<'fd>(files: &'fd [OwnedFd], places: &[(usize, u32)]) -> Vec<Run<'fd>> {
    let mut runs: Vec<Run<'fd>> = Vec::new();
    let mut last = None;
    for (file, page) in places {
        let page = u64::from(*page);
        match runs.last_mut() {
            Some(run) if last == Some((*file, page)) => run.pages += 1,
            _ => runs.push(Run { file: files[*file].as_fd(), page, pages: 1 }),
        }
        last = Some((*file, page + 1));
    }
    runs
}
