//! Resources of a stream's connection: two pages and two event channels, and the signal of its end to all threads.

pub(crate) mod v0;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use frontend::Stream;
use rustix::event::EventfdFlags;
use sndif::store::Direction;
use xen::{Access, DomainId, EventChannel, Granted, Xen};

use crate::{Error, Result, quarantine};

/// One connection of the card, from publishing the transport to losing it. A lost connection never comes back.
#[derive(Debug)]
pub(crate) struct Epoch {
    lost: AtomicBool,
    /// Readable for ever once the connection is lost, so that every waiting thread wakes up.
    signal: OwnedFd,
}

impl Epoch {
    pub(crate) fn new() -> Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let signal = rustix::event::eventfd(0, flags).map_err(Error::system("make an eventfd"))?;
        Ok(Self { lost: AtomicBool::new(false), signal })
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    pub(crate) fn lose(&self) {
        self.lost.store(true, Ordering::Release);
        // Writing to a fresh eventfd can only fail if it was written 2^64 times.
        let _ = rustix::io::write(&self.signal, &1_u64.to_ne_bytes());
    }
}

impl AsFd for Epoch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.signal.as_fd()
    }
}

/// A stream's ring and event page with their channels. Dropping it ends the access; the `xen` crate quarantines pages
/// that the backend still maps.
#[derive(Debug)]
pub(crate) struct Transport {
    pub(crate) stream: Stream<Granted>,
    pub(crate) ring: EventChannel,
    pub(crate) events: EventChannel,
    pub(crate) epoch: Arc<Epoch>,
    /// References of the ring page and the event page.
    pub(crate) refs: [u32; 2],
}

impl Transport {
    pub(crate) fn new(
        xen: &Xen,
        backend: DomainId,
        direction: Direction,
        control_bytes: u32,
        epoch: &Arc<Epoch>,
    ) -> Result<Self> {
        let ring_page = quarantine::grant(xen, backend, 1, Access::ReadWrite)?;
        let event_page = quarantine::grant(xen, backend, 1, Access::ReadWrite)?;
        let reference = |page: &Granted| page.refs().first().map_or(0, |reference| reference.0);
        Ok(Self {
            refs: [reference(&ring_page), reference(&event_page)],
            stream: Stream::new(direction, ring_page, event_page, control_bytes),
            ring: xen.alloc_unbound(backend)?,
            events: xen.alloc_unbound(backend)?,
            epoch: Arc::clone(epoch),
        })
    }

    /// Returns true if another open can use it: closed, and nothing unanswered.
    pub(crate) fn is_reusable(&self) -> bool {
        !self.epoch.is_lost()
            && self.stream.violation().is_none()
            && self.stream.in_flight() == 0
            && self.stream.geometry().is_none()
    }
}
