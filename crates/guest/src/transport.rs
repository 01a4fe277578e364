//! Resources of a stream's connection, whatever its protocol, and the signal of the connection's end to all threads.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use frontend::Counters;
use rustix::event::EventfdFlags;
use xen::EventChannel;

use crate::{Error, Result, v0, v2};

/// Transport of a stream in one connection. Dropping it ends the access; the `xen` crate quarantines pages that the
/// backend still maps.
pub(crate) trait Transport: Sized {
    /// Takes this protocol's transport out of a slot; `None` if the slot has the other's.
    fn from_wire(wire: Wire) -> Option<Self>;

    /// Puts it back.
    fn into_wire(self) -> Wire;

    /// Connection that the transport belongs to.
    fn epoch(&self) -> &Arc<Epoch>;

    /// Channel of the ring.
    fn ring(&self) -> &EventChannel;

    /// Counts of all opens that the transport has served.
    fn counters(&self) -> Counters;

    /// Returns true if the backend has broken the protocol.
    fn is_broken(&self) -> bool;

    /// Returns true if nothing is open and nothing unanswered.
    fn is_idle(&self) -> bool;

    /// Returns true if another open can use it.
    fn is_reusable(&self) -> bool {
        !self.epoch().is_lost() && !self.is_broken() && self.is_idle()
    }
}

/// Transport of either protocol, as it lies in a slot of the card.
pub(crate) enum Wire {
    V0(Box<v0::Transport>),
    V2(Box<v2::Transport>),
}

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
