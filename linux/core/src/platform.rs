// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Services of a kernel that the driver's logic needs.

use core::ops::DerefMut;

use sndif::{GrantRef, SharedMemory, XenbusState};

use crate::{Error, Substream, Text};

/// The kernel's types.
pub trait Platform: Sized {
    /// Memory granted to the backend.
    type Pages: Pages;
    /// An event channel to the backend.
    type Channel: Channel;
    /// A lock whose holder may sleep.
    type Lock<T>: Lock<T>;
    /// A value of its own allocation: kernel stacks are small.
    type Boxed<T>: Boxed<T>;
    /// Wakes a thread that waits for an answer.
    type Signal: Signal;
    /// ALSA's side of a substream.
    type Listener: Listener;
}

/// A value of its own allocation.
pub trait Boxed<T>: Sized + DerefMut<Target = T> {
    /// Allocates room, and lets `make` make the value there.
    ///
    /// # Errors
    /// [`Error::NoMemory`].
    fn new(make: impl FnOnce() -> T) -> Result<Self, Error>;
}

/// The application that has a substream open, if there is one. Called without any lock of ours.
pub trait Listener: Sized {
    /// # Errors
    /// [`Error::NoMemory`].
    fn new() -> Result<Self, Error>;

    /// Tells that the device moved: a period elapsed.
    fn elapsed(&self);

    /// Stops the stream.
    fn stop(&self, stop: Stop);

    /// Tells that the volume has changed, and not by an application.
    fn volume_changed(&self);
}

/// Reason why a running stream has to be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The connection was lost: the application has to prepare the stream again.
    Xrun,
    /// The stream cannot go on.
    Failed(Error),
}

/// Zeroed pages, which nothing else of the kernel shares, granted to a backend. Dropping them ends the access; a page
/// that the backend still maps is not used again until it is unmapped.
pub trait Pages: SharedMemory + Sized {
    /// Allocates and grants `pages` pages.
    ///
    /// # Errors
    /// [`Error::NoMemory`]; nothing is left allocated.
    fn new(backend: u16, pages: usize) -> Result<Self, Error>;

    /// Allocates `pages` pages that are granted to nobody.
    ///
    /// # Errors
    /// [`Error::NoMemory`].
    fn ordinary(pages: usize) -> Result<Self, Error>;

    /// Returns the number of pages, of all streams and devices, that a backend still maps although their access was to
    /// end.
    fn kept() -> usize;

    /// Returns a grant reference for each page, in order; ordinary pages have none.
    fn refs(&self) -> &[GrantRef];

    /// Ends the access and grants the same pages with new references, after a connection was lost.
    ///
    /// # Errors
    /// [`Error::NoMemory`]; no page is granted then.
    fn grant_again(&mut self, backend: u16) -> Result<(), Error>;
}

/// Maximum number of kept pages; with more, nothing is granted. The limit is 16 MiB, or more where each page keeps a
/// larger page of the kernel's. One connection's pages can exceed it.
pub const KEPT_MAX: usize = 4096;

/// Allocates and grants pages, unless backends keep too many: a backend that never gives pages back does not get all
/// memory.
pub(crate) fn grant<P: Pages>(backend: u16, pages: usize) -> Result<P, Error> {
    if P::kept() > KEPT_MAX { Err(Error::Kept) } else { P::new(backend, pages) }
}

/// An event channel whose event calls [`Substream::on_ring`] or [`Substream::on_events`]. Dropping it closes it, after
/// the call that is under way.
pub trait Channel {
    /// Returns its port in this domain.
    fn port(&self) -> u32;

    /// Wakes the backend.
    fn notify(&self);
}

/// Kind of a stream's event channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelKind {
    /// The ring's channel: answers have come.
    Ring,
    /// The event page's channel: events have come.
    Events,
}

/// Purpose of a lock, for checks of the lock order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockClass {
    /// Held by the thread that waits for an answer.
    Asking,
    /// Protects a stream's state.
    State,
}

/// A value that one thread uses at a time.
pub trait Lock<T>: Sized {
    /// Allocates room, and lets `make` make the value there.
    ///
    /// # Errors
    /// [`Error::NoMemory`].
    fn new(class: LockClass, make: impl FnOnce() -> T) -> Result<Self, Error>;

    /// Waits for the value, and lets `access` use it.
    fn with<R>(&self, access: impl FnOnce(&mut T) -> R) -> R;

    /// Like [`with`](Self::with), for a value that may be in use for long: a killed task stops waiting.
    ///
    /// # Errors
    /// [`Error::Killed`].
    fn with_unless_killed<R>(&self, access: impl FnOnce(&mut T) -> R) -> Result<R, Error>;
}

/// Wakes the waiting thread. A signal raised while no thread waits is kept for the next that does.
pub trait Signal: Sized {
    /// # Errors
    /// [`Error::NoMemory`].
    fn new() -> Result<Self, Error>;

    /// Forgets earlier raises.
    fn reset(&self);

    /// Wakes the waiting thread.
    fn raise(&self);

    /// Waits at most `ms` milliseconds.
    ///
    /// # Errors
    /// [`Error::Killed`] when the waiting task was killed.
    fn wait(&self, ms: u32) -> Result<(), Error>;

    /// Reads a clock in milliseconds that is never set; it starts anywhere and wraps.
    fn now_ms() -> u32;

    /// Reads the same clock in nanoseconds, which do not wrap.
    fn now_ns() -> u64;
}

/// A card's connection to the store and to its backend; used when connections begin and end, not by streams.
pub trait Bus<P: Platform> {
    /// A transaction.
    type Writer: Writer;

    /// Returns the backend's domain.
    fn backend_id(&self) -> u16;

    /// Reads `node` of the directory `path` below our own (empty: our own) into `into`; `None` when it is missing or
    /// longer.
    fn read<'a>(&self, path: &str, node: &str, into: &'a mut [u8]) -> Option<&'a [u8]>;

    /// Reads a node of the backend's directory.
    fn read_backend<'a>(&self, node: &str, into: &'a mut [u8]) -> Option<&'a [u8]>;

    /// Calls `each` with the name of each entry of the directory `path` below our own.
    fn list(&self, path: &str, each: &mut dyn FnMut(&[u8]));

    /// Lets `write` write nodes, all in one transaction.
    ///
    /// # Errors
    /// Errors of the store, and of `write`.
    fn transaction(&self, write: &mut dyn FnMut(&Self::Writer) -> Result<(), Error>) -> Result<(), Error>;

    /// Makes an event channel for a stream.
    ///
    /// # Errors
    /// Errors of the hypervisor.
    fn channel(&self, stream: &Substream<P>, kind: ChannelKind) -> Result<P::Channel, Error>;

    /// Writes our `state` node.
    fn set_state(&self, state: XenbusState);
}

/// Writes nodes of our own directory, within a transaction.
pub trait Writer {
    /// Writes a number.
    ///
    /// # Errors
    /// Errors of the store.
    fn number(&self, path: &Text, node: &str, value: u32) -> Result<(), Error>;

    /// Removes a node, which may be missing.
    ///
    /// # Errors
    /// Errors of the store.
    fn remove(&self, path: &Text, node: &str) -> Result<(), Error>;
}
