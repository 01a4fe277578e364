//! An open stream's hold on its card's connection: the transport while the connection lasts, and the counters.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use frontend::{Counters, MixerFeatures};

use crate::connection::{Shared, Slot};
use crate::stats::since;
use crate::transport::Transport;
use crate::{Error, Result, Stats};

pub(crate) struct Hold<T: Transport> {
    pub(crate) shared: Arc<Shared>,
    /// Place of the stream's slot.
    index: usize,
    /// `None` between losing a connection and having the next.
    transport: Option<T>,
    /// The transport's counters when it was taken.
    before: Counters,
    /// Counts of earlier connections, and counts that are made here and not in the core.
    pub(crate) stats: Stats,
}

impl<T: Transport> Hold<T> {
    pub(crate) fn new(shared: Arc<Shared>, index: usize, transport: T) -> Self {
        let before = transport.counters();
        Self { shared, index, transport: Some(transport), before, stats: Stats::default() }
    }

    /// Returns the transport while its connection lasts.
    pub(crate) fn lasting(&self) -> Result<&T> {
        self.transport.as_ref().filter(|transport| !transport.epoch().is_lost()).ok_or(Error::Lost)
    }

    /// Like [`lasting`](Self::lasting), to be changed.
    pub(crate) fn transport(&mut self) -> Result<&mut T> {
        match &mut self.transport {
            Some(transport) if !transport.epoch().is_lost() => Ok(transport),
            _ => Err(Error::Lost),
        }
    }

    /// Returns the transport, also that of a connection that was lost.
    pub(crate) fn latest(&self) -> Option<&T> {
        self.transport.as_ref()
    }

    /// Like [`latest`](Self::latest), to be changed.
    pub(crate) fn latest_mut(&mut self) -> Option<&mut T> {
        self.transport.as_mut()
    }

    /// Takes the next connection's transport; returns the backend's features.
    pub(crate) fn attach(&mut self, deadline: Instant, timeout: Duration) -> Result<MixerFeatures> {
        let mut connection = self.shared.lock();
        connection.wait_connected(deadline, timeout)?;
        let features = connection.features;
        let wire = connection.slots.get_mut(self.index).and_then(|slot| slot.transport.take());
        drop(connection);
        let transport = wire.and_then(T::from_wire).ok_or(Error::Lost)?;
        self.before = transport.counters();
        self.transport = Some(transport);
        Ok(features)
    }

    /// Releases the transport of a lost connection.
    pub(crate) fn detach(&mut self) {
        self.stats = self.stats();
        self.transport = None;
    }

    pub(crate) fn stats(&self) -> Stats {
        let mut stats = self.stats.clone();
        if let Some(transport) = &self.transport {
            stats.add(&since(&transport.counters(), &self.before));
            stats.violations += u64::from(transport.is_broken());
        }
        stats
    }

    /// Notifies the backend if `wanted` says so.
    pub(crate) fn notify_if(&mut self, wanted: impl FnOnce(&mut T) -> bool) -> Result<()> {
        let transport = self.transport()?;
        if wanted(transport) {
            transport.ring().notify().map_err(Error::system("notify the backend"))?;
            self.stats.notifications += 1;
        }
        Ok(())
    }

    /// Descriptors that tell of changes of the connection: the store's, and the signal of the connection's end.
    pub(crate) fn fds<'a>(&'a self, transport: &'a T) -> [BorrowedFd<'a>; 2] {
        [self.shared.store_fd.as_fd(), transport.epoch().as_fd()]
    }

    /// Takes in what the store has to say; an error if the connection is lost.
    pub(crate) fn look_at_store(&mut self) -> Result<()> {
        self.shared.lock().pump()?;
        self.transport().map(drop)
    }

    /// Gives the transport back to the card for the next open, and what `put` puts into the slot.
    pub(crate) fn give_back(&mut self, put: impl FnOnce(&mut Slot)) {
        let mut connection = self.shared.lock();
        if let Some(slot) = connection.slots.get_mut(self.index) {
            slot.open = false;
            put(slot);
            if let Some(transport) = self.transport.take().filter(T::is_reusable) {
                slot.transport = Some(transport.into_wire());
            }
        }
        // An error is the store's; the next user of the store will see it.
        let _: Result<()> = connection.update_held();
    }
}
