//! Event channels: one bit from domain to domain.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::io::Errno;

use crate::{Backing, Port, Shared, dev};

/// One end of an event channel.
///
/// The channel's descriptor (`AsFd`) becomes readable when the other end notifies; several notifications may
/// merge into one. Two ways to wait:
///
/// * level-triggered: wait, [`acknowledge`](Self::acknowledge), then do the work that the event announces.
///   Acknowledging first loses nothing: an event that comes meanwhile makes the descriptor readable again.
/// * edge-triggered (`EPOLLET`): wait, do the work, and [`rearm`](Self::rearm), in either order. In the
///   emulation every notification is an edge by itself and `rearm` does nothing, so an event costs no
///   system call but the wait. On Xen the kernel masks a port until it is re-armed, and reports events that
///   came meanwhile afterwards. Call `rearm` only once for each event that the wait reported: on a port that
///   is not masked, it would consume an event that just came, unseen.
///
/// Dropping the channel closes the port. The other end's notifications then reach nobody and do no harm.
pub struct EventChannel {
    kind: Kind,
    owner: Arc<Shared>,
}

pub(crate) enum Kind {
    Emu(ChannelFds),
    Dev(dev::Channel),
}

/// Two eventfds: one to wait for, one to write.
pub(crate) struct ChannelFds {
    pub port: Port,
    pub receive: OwnedFd,
    pub send: OwnedFd,
}

impl EventChannel {
    pub(crate) fn new(kind: Kind, owner: Arc<Shared>) -> Self {
        owner.counters.ports.add(1);
        Self { kind, owner }
    }

    /// The local port, to which the other domain binds.
    #[must_use]
    pub fn port(&self) -> Port {
        match &self.kind {
            Kind::Emu(channel) => channel.port,
            Kind::Dev(channel) => channel.port(),
        }
    }

    /// Signals the other end. One system call; never blocks. A closed other end is no error.
    ///
    /// # Errors
    ///
    /// The system call's error; none is expected while the channel lives.
    pub fn notify(&self) -> io::Result<()> {
        match &self.kind {
            Kind::Emu(channel) => match rustix::io::write(&channel.send, &1_u64.to_ne_bytes()) {
                // The counter is full: the other end has an event pending already, and needs no second one.
                Ok(_) | Err(Errno::AGAIN) => Ok(()),
                Err(error) => Err(error.into()),
            },
            Kind::Dev(channel) => channel.notify(),
        }
    }

    /// Consumes the pending event, enables the next one, and returns true if an event was pending.
    /// Never blocks.
    ///
    /// One `read` in the emulation, `read` and `write` on Xen.
    ///
    /// # Errors
    ///
    /// The system call's error; none is expected while the channel lives.
    pub fn acknowledge(&self) -> io::Result<bool> {
        match &self.kind {
            Kind::Emu(channel) => match rustix::io::read(&channel.receive, &mut [0_u8; 8]) {
                Ok(_) => Ok(true),
                Err(Errno::AGAIN) => Ok(false),
                Err(error) => Err(error.into()),
            },
            Kind::Dev(channel) => channel.acknowledge(),
        }
    }

    /// Enables the next event of a channel that is waited for edge-triggered. Does nothing in the emulation;
    /// on Xen, does the same as [`acknowledge`](Self::acknowledge).
    ///
    /// # Errors
    ///
    /// Same as [`acknowledge`](Self::acknowledge).
    pub fn rearm(&self) -> io::Result<()> {
        match &self.kind {
            Kind::Emu(_) => Ok(()),
            Kind::Dev(channel) => channel.acknowledge().map(|_| ()),
        }
    }
}

impl AsFd for EventChannel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.kind {
            Kind::Emu(channel) => channel.receive.as_fd(),
            Kind::Dev(channel) => channel.as_fd(),
        }
    }
}

impl Drop for EventChannel {
    fn drop(&mut self) {
        self.owner.counters.ports.sub(1);
        // If the port was lent, this request goes to the lender.
        if let Backing::Emu(guest) = &self.owner.backing {
            guest.close(self.port());
        }
    }
}

impl fmt::Debug for EventChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventChannel").field("port", &self.port()).finish_non_exhaustive()
    }
}
