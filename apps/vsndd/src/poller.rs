//! File descriptors and moments that the control thread waits for.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use rustix::event::{Timespec, epoll};

/// Moments are rounded up to a multiple of this, so that many streams are served by one wake-up.
const GRID_NS: u64 = 250_000;

/// Maximum number of events taken from the kernel in one call.
const BATCH: usize = 128;

/// Epoll and the clock.
#[derive(Debug)]
pub(crate) struct Poller {
    epoll: Arc<OwnedFd>,
    start: Instant,
}

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { epoll: Arc::new(epoll::create(epoll::CreateFlags::CLOEXEC)?), start: Instant::now() })
    }

    /// Nanoseconds since the daemon started.
    pub(crate) fn now_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// `moment` in nanoseconds since the daemon started.
    pub(crate) fn ns_of(&self, moment: Instant) -> u64 {
        u64::try_from(moment.saturating_duration_since(self.start).as_nanos()).unwrap_or(u64::MAX)
    }

    /// Reports as long as `fd` is readable (level-triggered), until it is closed.
    pub(crate) fn add_level(&self, fd: impl AsFd, token: u64) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, fd, epoll::EventData::new_u64(token), epoll::EventFlags::IN)?)
    }

    /// Ends what [`add_level`](Self::add_level) began.
    pub(crate) fn remove(&self, fd: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, fd)?)
    }

    /// Reports every time that `fd` is written to. An eventfd needs no reading then, which saves a system
    /// call per event.
    pub(crate) fn add_edge(&self, fd: impl AsFd, token: u64) -> io::Result<()> {
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        Ok(epoll::add(&self.epoll, fd, epoll::EventData::new_u64(token), flags)?)
    }

    /// Works as [`add_edge`](Self::add_edge) until the value is dropped: another holder of the open file cannot wake us
    /// after that.
    pub(crate) fn watch_edge(&self, fd: BorrowedFd<'_>, token: u64) -> io::Result<Watched> {
        let fd = fd.try_clone_to_owned()?;
        self.add_edge(&fd, token)?;
        Ok(Watched { epoll: Arc::clone(&self.epoll), fd })
    }

    /// Reports every time that `fd` gets something to read or room to write, until it is closed.
    pub(crate) fn add_both_edges(&self, fd: impl AsFd, token: u64) -> io::Result<()> {
        let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        Ok(epoll::add(&self.epoll, fd, epoll::EventData::new_u64(token), flags)?)
    }

    /// Waits until something is readable or `until_ns`; gives the tokens to `ready`.
    pub(crate) fn wait(&self, until_ns: Option<u64>, mut ready: impl FnMut(u64)) -> io::Result<()> {
        let timeout = until_ns.map(|until| {
            let left = until.saturating_sub(self.now_ns());
            // Both fit: the seconds of a u64 of nanoseconds, and a remainder below 10^9.
            Timespec { tv_sec: (left / 1_000_000_000).cast_signed(), tv_nsec: (left % 1_000_000_000).cast_signed() }
        });
        let mut events = [const { MaybeUninit::uninit() }; BATCH];
        match epoll::wait(&self.epoll, &mut events[..], timeout.as_ref()) {
            Ok((events, _)) => events.iter().for_each(|event| ready(event.data.u64())),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

/// A descriptor that is waited for until this is dropped.
#[derive(Debug)]
pub(crate) struct Watched {
    epoll: Arc<OwnedFd>,
    fd: OwnedFd,
}

impl Drop for Watched {
    fn drop(&mut self) {
        // The watch exists as long as we hold the descriptor.
        let _ = epoll::delete(&self.epoll, &self.fd);
    }
}

/// Moments at which keys are due; each key has at most one in effect.
#[derive(Debug)]
pub(crate) struct Timers<K> {
    heap: BinaryHeap<Reverse<(u64, K)>>,
}

impl<K: Ord + Copy> Timers<K> {
    pub(crate) fn new() -> Self {
        Self { heap: BinaryHeap::new() }
    }

    /// Sets `scheduled`, the moment in effect for `key`, to `wanted` if that is earlier. The replaced entry of the key
    /// stays in the heap and is skipped later.
    pub(crate) fn schedule(&mut self, key: K, scheduled: &mut Option<u64>, wanted: Option<u64>) {
        let wanted = wanted.map(|at| at.next_multiple_of(GRID_NS));
        // A later moment needs no entry: at the earlier one the key is asked again.
        if let Some(at) = wanted
            && scheduled.is_none_or(|already| at < already)
        {
            *scheduled = Some(at);
            self.heap.push(Reverse((at, key)));
        }
    }

    /// The earliest moment.
    pub(crate) fn next_ns(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// The next key whose moment has come, with that moment.
    pub(crate) fn pop_due(&mut self, now_ns: u64) -> Option<(u64, K)> {
        if self.next_ns()? > now_ns {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_let_go_of_wakes_nobody_though_others_hold_it_open() {
        let poller = Poller::new().unwrap();
        let event = rustix::event::eventfd(0, rustix::event::EventfdFlags::NONBLOCK).unwrap();
        let woken = || {
            let mut tokens = Vec::new();
            rustix::io::write(&event, &1_u64.to_ne_bytes()).unwrap();
            poller.wait(Some(0), |token| tokens.push(token)).unwrap();
            tokens
        };
        let watched = poller.watch_edge(event.as_fd(), 7).unwrap();
        assert_eq!(woken(), [7]);
        drop(watched);
        assert!(woken().is_empty());
    }

    #[test]
    fn the_heap_does_not_grow_while_a_key_only_postpones() {
        let mut timers = Timers::new();
        let mut scheduled = None;
        for at in 1..10_000 {
            timers.schedule(7, &mut scheduled, Some(at * GRID_NS));
        }
        assert_eq!(timers.heap.len(), 1);
        assert_eq!(timers.pop_due(GRID_NS), Some((GRID_NS, 7)));
        assert_eq!(timers.pop_due(u64::MAX), None);
    }
}
