// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! What the driver's logic borrows from a kernel.

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
    /// What an answer wakes.
    type Signal: Signal;
    /// ALSA's side of a substream.
    type Listener: Listener;
}

/// A value of its own allocation.
pub trait Boxed<T>: Sized + DerefMut<Target = T> {
    /// Allocates room, and has `make` make the value there.
    ///
    /// # Errors
    /// [`Error::NoMemory`].
    fn new(make: impl FnOnce() -> T) -> Result<Self, Error>;
}

/// Whoever has a substream open, if anybody has. Called without any lock of ours.
pub trait Listener: Sized {
    /// # Errors
    /// [`Error::NoMemory`].
    fn new() -> Result<Self, Error>;

    /// The device got on: a period elapsed.
    fn elapsed(&self);

    /// The stream has to stop.
    fn stop(&self, stop: Stop);

    /// The volume is another, and no application has set it.
    fn volume_changed(&self);
}

/// Why a running stream has to be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The application has to prepare it again: its connection was lost.
    Xrun,
    /// It cannot go on.
    Failed(Error),
}

/// Zeroed pages, which nothing else of the kernel shares, granted to a backend. Dropping them ends the access; a page that
/// the backend still maps is not used again before it does not.
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

    /// How many pages, of all streams and devices, a backend still maps although their access was to end.
    fn kept() -> usize;

    /// A grant reference for each page, in order; none of ordinary pages.
    fn refs(&self) -> &[GrantRef];

    /// Ends the access and grants the same pages with new references: after a connection was lost.
    ///
    /// # Errors
    /// [`Error::NoMemory`]; no page is granted then.
    fn grant_again(&mut self, backend: u16) -> Result<(), Error>;
}

/// Kept pages with which nothing more is granted: 16 MiB, more where each keeps a larger page of the kernel's. There can be a
/// connection's own more of them.
pub const KEPT_MAX: usize = 4096;

/// Allocates and grants pages, unless backends keep too many: one that never gives pages back does not get all memory.
pub(crate) fn grant<P: Pages>(backend: u16, pages: usize) -> Result<P, Error> {
    if P::kept() > KEPT_MAX { Err(Error::Kept) } else { P::new(backend, pages) }
}

/// An event channel whose event calls [`Substream::on_ring`] or [`Substream::on_events`]. Dropping it closes it, after the
/// call that is under way.
pub trait Channel {
    /// Its port in this domain.
    fn port(&self) -> u32;

    /// Wakes the backend.
    fn notify(&self);
}

/// Which of a stream's channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Answers have come.
    Ring,
    /// Events have come.
    Events,
}

/// What a lock is for, for those who check their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockClass {
    /// Held by whoever waits for an answer.
    Asking,
    /// Protects a stream's state.
    State,
}

/// A value that one thread has at a time.
pub trait Lock<T>: Sized {
    /// Allocates room, and has `make` make the value there.
    ///
    /// # Errors
    /// [`Error::NoMemory`].
    fn new(class: LockClass, make: impl FnOnce() -> T) -> Result<Self, Error>;

    /// Waits for the value, and has `access` use it.
    fn with<R>(&self, access: impl FnOnce(&mut T) -> R) -> R;

    /// The same for a value that somebody may have for long: who is killed does not wait for it.
    ///
    /// # Errors
    /// [`Error::Killed`].
    fn with_unless_killed<R>(&self, access: impl FnOnce(&mut T) -> R) -> Result<R, Error>;
}

/// Wakes the one who waits. A signal raised while nobody waits is kept for the next who does.
pub trait Signal: Sized {
    /// # Errors
    /// [`Error::NoMemory`].
    fn new() -> Result<Self, Error>;

    /// Forgets what was raised.
    fn reset(&self);

    /// Wakes who waits.
    fn raise(&self);

    /// Waits at most `ms` milliseconds.
    ///
    /// # Errors
    /// [`Error::Killed`] when whoever waits was killed.
    fn wait(&self, ms: u32) -> Result<(), Error>;

    /// A clock in milliseconds that nobody sets; it starts anywhere and wraps.
    fn now_ms() -> u32;

    /// The same clock in nanoseconds, which do not wrap.
    fn now_ns() -> u64;
}

/// A card's connection to the store and to its backend; used where connections come and go, not by streams.
pub trait Bus<P: Platform> {
    /// A transaction.
    type Writer: Writer;

    /// The domain of the backend.
    fn backend_id(&self) -> u16;

    /// Reads `node` of the directory `path` below our own (empty: our own) into `into`; `None` when it is missing or longer.
    fn read<'a>(&self, path: &str, node: &str, into: &'a mut [u8]) -> Option<&'a [u8]>;

    /// Reads a node of the backend's directory.
    fn read_backend<'a>(&self, node: &str, into: &'a mut [u8]) -> Option<&'a [u8]>;

    /// Names each entry of the directory `path` below our own.
    fn list(&self, path: &str, each: &mut dyn FnMut(&[u8]));

    /// Has `write` write, all at once.
    ///
    /// # Errors
    /// Those of the store, and of `write`.
    fn transaction(&self, write: &mut dyn FnMut(&Self::Writer) -> Result<(), Error>) -> Result<(), Error>;

    /// Makes an event channel for a stream.
    ///
    /// # Errors
    /// Those of the hypervisor.
    fn channel(&self, stream: &Substream<P>, source: Source) -> Result<P::Channel, Error>;

    /// Writes our `state` node.
    fn set_state(&self, state: XenbusState);
}

/// Nodes of our own directory, within a transaction.
pub trait Writer {
    /// Writes a number.
    ///
    /// # Errors
    /// Those of the store.
    fn number(&self, path: &Text, node: &str, value: u32) -> Result<(), Error>;

    /// Removes a node, which may be missing.
    ///
    /// # Errors
    /// Those of the store.
    fn remove(&self, path: &Text, node: &str) -> Result<(), Error>;
}
