//! Event channels: one bit from domain to domain.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use rustix::io::Errno;

use crate::emu::ChannelFds;
use crate::{Backing, Port, Shared, dev};

/// One end of an event channel.
///
/// Its descriptor (`AsFd`) becomes readable when the other end notifies; several notifications may
/// merge into one. How to wait:
///
/// * level-triggered: wait, [`acknowledge`](Self::acknowledge), then do the work that the event is
///   about. Acknowledging first loses nothing: an event that comes meanwhile makes the descriptor
///   readable again.
/// * edge-triggered (`EPOLLET`): wait, do the work, and [`rearm`](Self::rearm), in whichever order. In the
///   emulation every notification is an edge by itself and `rearm` does nothing, so an event costs no
///   system call but the wait; on Xen the kernel masks a port until it is re-armed, and what comes
///   meanwhile is told afterwards. Only once for each time that the wait reported it: a port that is not
///   masked has nothing to be re-armed, and an event that just came would be consumed unseen.
///
/// Dropping it closes the port. The other end's notifications then reach nobody and do no harm.
pub struct EventChannel {
    kind: Kind,
    owner: Arc<Shared>,
}

pub(crate) enum Kind {
    Emu(ChannelFds),
    Dev(dev::Channel),
}

impl EventChannel {
    pub(crate) fn new(kind: Kind, owner: Arc<Shared>) -> Self {
        owner.counters.ports.add(1);
        Self { kind, owner }
    }

    /// The local port: what the other domain binds to.
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
    /// What the system call gives; none is expected while the channel lives.
    pub fn notify(&self) -> io::Result<()> {
        match &self.kind {
            Kind::Emu(channel) => match rustix::io::write(&channel.send, &1_u64.to_ne_bytes()) {
                // The counter is full: the other end has an event pending, which is all we want.
                Ok(_) | Err(Errno::AGAIN) => Ok(()),
                Err(error) => Err(error.into()),
            },
            Kind::Dev(channel) => channel.notify(),
        }
    }

    /// Consumes what is pending, lets the next event come, and says whether anything was pending.
    /// Never blocks.
    ///
    /// One `read` in the emulation, `read` and `write` on Xen.
    ///
    /// # Errors
    ///
    /// What the system call gives; none is expected while the channel lives.
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

    /// Lets the next event come, for those who wait edge-triggered: nothing to do in the emulation,
    /// the same as [`acknowledge`](Self::acknowledge) on Xen.
    ///
    /// # Errors
    ///
    /// As [`acknowledge`](Self::acknowledge).
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
        // Of a port that was lent, the lender hears as well.
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
