//! Lending a part of this process's access to Xen to another process: the pages and the event channels of one domain.
//!
//! The other process ([`Xen::borrowed`](crate::Xen::borrowed)) sends requests over a socket, in the emulated
//! hypervisor's own messages. The lender checks that a request concerns the one domain, then passes it to the emulated
//! hypervisor, or calls the real one: it makes references mappable on a new file, which the other process maps and
//! this one closes immediately; and it binds a channel on a file that can reach no other domain. Lent pages are neither
//! mapped nor read here.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::pipe::PipeFlags;

use crate::emu::socket::{self, Received};
use crate::emu::wire::{Reply, Request, VERSION, token_words};
use crate::emu::{REAL, Token};
use crate::{Backing, DomainId, Error, Port, Refusal, Result, Shared, Xen, dev};

/// Maximum number of requests answered in one turn, before the caller of [`Lender::serve`] does something else.
const TURN: usize = 64;

/// Lends another process the pages and event channels of one domain. When dropped, takes back everything that can be
/// taken back: pages of the real Xen stay mapped until the other process ends.
pub struct Lender {
    guest: DomainId,
    socket: OwnedFd,
    /// The other process's connection to the store, until that process requests it.
    store: Option<OwnedFd>,
    /// Number of pages of each mapping.
    mapped: BTreeMap<Token, usize>,
    ports: BTreeSet<Port>,
    /// Number of mappings of the real Xen so far.
    mappings: u64,
    pages_max: usize,
    owner: Arc<Shared>,
    /// Held, so that the other process notices our end.
    _alive: OwnedFd,
    sign_of_life: Option<OwnedFd>,
}

/// A reply and the descriptors that go with it.
type Answer = (Reply, Vec<OwnedFd>);

impl Xen {
    /// Lends another process `guest`: at most `pages_max` of its pages at the same time, its event channels, and
    /// `store` as a connection to the store. Returns the lender and the socket for the other process.
    ///
    /// # Errors
    /// If the system has no more descriptors.
    pub fn lend(&self, guest: DomainId, store: OwnedFd, pages_max: usize) -> Result<(Lender, OwnedFd)> {
        let flags = SocketFlags::CLOEXEC;
        let pair = rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None);
        let (socket, theirs) = pair.map_err(Error::system("make a pair of sockets"))?;
        rustix::io::ioctl_fionbio(&socket, true).map_err(Error::system("make a pair of sockets"))?;
        let pipe = rustix::pipe::pipe_with(PipeFlags::CLOEXEC);
        let (sign_of_life, alive) = pipe.map_err(Error::system("make a pipe"))?;
        let lender = Lender {
            guest,
            socket,
            store: Some(store),
            mapped: BTreeMap::new(),
            ports: BTreeSet::new(),
            mappings: 0,
            pages_max,
            owner: Arc::clone(&self.shared),
            _alive: alive,
            sign_of_life: Some(sign_of_life),
        };
        Ok((lender, theirs))
    }
}

impl Lender {
    /// Answers requests; returns true if there may be more. Never waits for the other process.
    ///
    /// # Errors
    /// If the other process is gone, or sends a malformed request: then it gets no further answer.
    pub fn serve(&mut self) -> io::Result<bool> {
        for _ in 0..TURN {
            let request = match socket::receive(self.socket.as_fd()) {
                Ok(Received::Packet(words, fds)) if fds.is_empty() => Request::parse(&words),
                Ok(Received::End) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(Errno::AGAIN | Errno::INTR) => return Ok(false),
                Ok(_) => None,
                Err(error) => return Err(error.into()),
            };
            let request = request.ok_or_else(|| io::Error::other("it does not speak our language"))?;
            let (reply, fds) = self.answer(request)?;
            let fds: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
            socket::send(self.socket.as_fd(), &reply.encode(), &fds)?;
        }
        Ok(true)
    }

    fn answer(&mut self, request: Request) -> io::Result<Answer> {
        let refused = |refusal| Ok((Reply::refused(refusal), Vec::new()));
        match &request {
            Request::Hello { version: VERSION, .. } => {
                let real = matches!(self.owner.backing, Backing::Dev(_));
                let words = if real { vec![REAL] } else { Vec::new() };
                Ok((Reply::Done(words), self.sign_of_life.take().into_iter().collect()))
            }
            Request::Store => match self.store.take() {
                Some(store) => Ok((Reply::Done(Vec::new()), vec![store])),
                None => refused(Refusal::Quota),
            },
            Request::Map { from, refs, .. } => {
                if *from != self.guest {
                    return refused(Refusal::GrantedToAnother);
                }
                let pages = refs.len();
                if self.mapped.values().sum::<usize>().saturating_add(pages) > self.pages_max {
                    return refused(Refusal::Quota);
                }
                let (reply, fds) = self.map(request).map_err(io::Error::other)?;
                if let Reply::Done(words) = &reply
                    && let [low, high, ..] = words[..]
                {
                    self.mapped.insert(crate::emu::wire::token(low, high), pages);
                    self.owner.counters.mapped_pages.add(pages);
                }
                Ok((reply, fds))
            }
            Request::Unmap { token } => {
                let Some(pages) = self.mapped.remove(token) else { return refused(Refusal::NoSuchGrant) };
                self.owner.counters.mapped_pages.sub(pages);
                self.pass_on(&request)
            }
            Request::BindInterdomain { remote, .. } => {
                if *remote != self.guest {
                    return refused(Refusal::ReservedForAnother);
                }
                let answer = self.bind(request).map_err(io::Error::other)?;
                if let Reply::Done(words) = &answer.0
                    && let [port] = words[..]
                {
                    self.ports.insert(Port(port));
                    self.owner.counters.ports.add(1);
                }
                Ok(answer)
            }
            Request::Close { port } => {
                if !self.ports.remove(port) {
                    return refused(Refusal::NoSuchPort);
                }
                self.owner.counters.ports.sub(1);
                self.pass_on(&request)
            }
            // A backend grants nothing.
            Request::Hello { .. }
            | Request::Stats
            | Request::Grant { .. }
            | Request::EndAccess { .. }
            | Request::AllocUnbound { .. } => refused(Refusal::BadArgument),
        }
    }

    /// Passes a request on to the emulated hypervisor; on the real Xen, closing the files is enough.
    fn pass_on(&self, request: &Request) -> io::Result<Answer> {
        match &self.owner.backing {
            Backing::Emu(own) => own.ask(request).map_err(io::Error::other),
            Backing::Dev(_) => Ok((Reply::Done(Vec::new()), Vec::new())),
        }
    }

    fn map(&mut self, request: Request) -> Result<Answer> {
        if let Backing::Emu(own) = &self.owner.backing {
            return own.ask(&request);
        }
        let Request::Map { from, refs, .. } = request else { return Err(Error::Malformed) };
        let (file, index) = match dev::Device::lend(from, &refs) {
            Ok(lent) => lent,
            Err(_) => return Ok((Reply::refused(Refusal::Unspecified), Vec::new())),
        };
        self.mappings += 1;
        let mut words = token_words(Token(self.mappings)).to_vec();
        let first = u32::try_from(index / sndif::PAGE_BYTES as u64).map_err(|_| Error::Malformed)?;
        words.extend((first..).take(refs.len()).flat_map(|page| [0, page]));
        Ok((Reply::Done(words), vec![file]))
    }

    fn bind(&self, request: Request) -> Result<Answer> {
        if let Backing::Emu(own) = &self.owner.backing {
            return own.ask(&request);
        }
        let Request::BindInterdomain { remote, port } = request else { return Err(Error::Malformed) };
        match dev::Device::bind_for_another(remote, port) {
            Ok(channel) => {
                let (file, port) = channel.into_parts();
                Ok((Reply::Done(vec![port.0]), vec![file]))
            }
            Err(Error::Bind { refusal, .. }) => Ok((Reply::refused(refusal), Vec::new())),
            Err(_) => Ok((Reply::refused(Refusal::NoResources), Vec::new())),
        }
    }
}

impl AsFd for Lender {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Lender {
    fn drop(&mut self) {
        self.owner.counters.ports.sub(self.ports.len());
        self.owner.counters.mapped_pages.sub(self.mapped.values().sum());
        if let Backing::Emu(own) = &self.owner.backing {
            let tokens: Vec<Token> = self.mapped.keys().copied().collect();
            own.unmap(&tokens);
            self.ports.iter().for_each(|port| own.close(*port));
        }
    }
}
