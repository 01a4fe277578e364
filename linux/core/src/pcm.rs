// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! A stream whatever its version: its life with connections, and the operations that no version does differently.

use sndif::text::Sink;

use crate::guarded::{Guarded, News, Requests, stop_after};
use crate::{Error, Platform, Stop};

/// Extra time to wait for the end of a run that was stopped, beyond its duration.
const TAIL_MS: u32 = 200;

/// The state of a stream, as far as every version has it. None of its functions waits.
pub trait StreamState<P: Platform>: Requests {
    /// Description of the stream in the store.
    type Info;
    /// Resources of a connection.
    type Transport;
    /// The buffer, from `hw_params` to `hw_free`.
    type Buffer;
    /// The state at one moment, for people.
    type Snapshot;
    /// Request that ends an OPEN.
    const CLOSE: Self::Operation;

    /// Takes up the run that an application has prepared, with a backend that is Connected.
    fn connect(&mut self);

    /// Notes that the backend is gone; what applications hold stays.
    fn lose(&mut self);

    /// Notes that the card is taken away.
    fn remove(&mut self);

    /// Takes the transport, which is dropped without the lock.
    fn take_transport(&mut self) -> Option<Self::Transport>;

    /// Returns true if there is a buffer, and the backend has the stream open.
    fn has_open_buffer(&mut self) -> bool;

    /// Forgets the run and takes the buffer.
    fn take_buffer(&mut self) -> Option<Self::Buffer>;

    /// Returns the memory of ALSA's ring.
    fn ring(&self) -> Option<&P::Pages>;

    /// Time that a run goes on after it was stopped; `None` where it ends with the stop.
    fn tail_ms(&self) -> Option<u32> {
        None
    }

    /// Returns `Some` once such a run has ended.
    fn tail_heard(&mut self) -> Result<Option<()>, Error> {
        Ok(Some(()))
    }

    /// Notes that the application writes nothing more.
    fn drain(&mut self) -> Result<(), Error>;

    /// Notes that the application has written up to `appl_frames`, which wraps at `boundary_frames`.
    fn ack(&mut self, appl_frames: u64, boundary_frames: u64) -> Result<(), Error>;

    /// The backend has notified us: takes in answers, and sends what follows. Returns true if there were any.
    fn answers(&mut self) -> Result<bool, Error>;

    /// The reason why ALSA has to stop the stream, and whether ALSA was told that the backend has broken the protocol.
    fn verdict(&mut self) -> (&mut Option<Stop>, &mut bool);

    /// Takes the news that ALSA is to be told.
    fn take_news(&mut self) -> News;

    /// Result of a notification: whether there was a reason for it, and the news for ALSA.
    fn notified(&mut self, reason: Result<bool, Error>) -> (bool, News) {
        let (stop, broken_told) = self.verdict();
        if let Some(failed) = stop_after(reason, broken_told) {
            stop.get_or_insert(failed);
        }
        (reason == Ok(true), self.take_news())
    }

    /// Returns the state of this moment.
    fn snapshot(&self) -> Self::Snapshot;

    /// Writes a state as text.
    fn show(out: &mut dyn Sink, info: &Self::Info, now: &Self::Snapshot);
}

/// One stream of a card, with the state of its version; it lives as long as the card.
pub struct Pcm<P: Platform, S: StreamState<P>> {
    pub(crate) info: S::Info,
    pub(crate) state: Guarded<P, S>,
}

impl<P: Platform, S: StreamState<P>> Pcm<P, S> {
    /// Returns the listener: the application that has the stream open.
    pub const fn listener(&self) -> &P::Listener {
        self.state.listener()
    }

    // --- the connection; called when connections begin and end -----------------------------------------------

    /// Takes up the stream with a backend that is Connected. An open stream goes on where it was, once the backend has
    /// answered the OPEN; if it cannot, the application has to prepare it again.
    pub fn connected(&self) {
        let news = self.state.with(|state| {
            state.connect();
            state.take_news()
        });
        self.state.wake();
        self.state.tell(news);
    }

    /// Notes that the backend is gone: nothing more is sent, and threads that wait for it are woken.
    pub fn lose(&self) {
        self.state.with(S::lose);
        self.state.wake();
    }

    /// Notes that the card is taken away: as [`lose`](Self::lose), and nothing waits for another backend.
    pub fn remove(&self) {
        self.state.with(S::remove);
        self.lose();
    }

    /// Ends the access to the pages of the lost connection and closes its channels. Dropping a stream does the same.
    pub fn detach(&self) {
        self.lose();
        // Dropped without the lock: closing a channel waits for its handler, which takes it.
        let transport = self.state.with(S::take_transport);
        drop(transport);
    }

    // --- ALSA's operations -----------------------------------------------------------------------------------

    /// Lends the buffer's memory to `access`.
    pub fn with_buffer<R>(&self, access: impl FnOnce(&P::Pages) -> R) -> Option<R> {
        self.state.with(|state| state.ring().map(access))
    }

    /// `hw_free`: closes the stream and gives up the buffer. A backend of version 0 answers when it has played all frames
    /// that it has.
    pub fn hw_free(&self) {
        if self.state.with(S::has_open_buffer) {
            self.hear_out();
            // Without an answer the pages stay the backend's until it unmaps them.
            let deadline = self.state.answers_deadline();
            let _ = self.state.settle(deadline).and_then(|()| self.state.ask(&S::CLOSE, deadline));
        }
        let buffer = self.state.with(S::take_buffer);
        drop(buffer);
    }

    /// Waits until a stopped run is heard to its end. For a backend that does not report the end, the wait is limited to
    /// the duration of the rest and [`TAIL_MS`].
    pub(crate) fn hear_out(&self) {
        if let Some(ms) = self.state.with(|state| state.tail_ms()) {
            let _ = self.state.wait_within(ms.saturating_add(TAIL_MS), S::tail_heard);
        }
    }

    /// `trigger` of DRAIN: nothing follows what was written.
    ///
    /// # Errors
    /// [`Error::Stale`] after a lost connection whose run no other could take up, [`Error::Broken`].
    pub fn drain(&self) -> Result<(), Error> {
        self.state.with(S::drain)
    }

    /// `ack`: the application has written up to `appl_frames`, a counter that wraps at `boundary_frames`.
    ///
    /// # Errors
    /// Errors of [`drain`](Self::drain).
    pub fn ack(&self, appl_frames: u64, boundary_frames: u64) -> Result<(), Error> {
        self.state.with(|state| state.ack(appl_frames, boundary_frames))
    }

    // --- event channels, and people ----------------------------------------------------------------------------

    /// Handles an event of the ring's channel. Returns true if there was a reason for it.
    pub fn on_ring(&self) -> bool {
        self.on_event(S::answers)
    }

    /// Has `take` take in what an event announced, and tells ALSA.
    pub(crate) fn on_event(&self, take: impl FnOnce(&mut S) -> Result<bool, Error>) -> bool {
        let (reason, news) = self.state.with(|state| {
            let reason = take(state);
            state.notified(reason)
        });
        self.state.wake();
        // Answers to READ bring captured frames.
        self.state.tell_progress();
        self.state.tell(news);
        reason
    }

    /// Writes the state of the stream as text.
    pub fn show(&self, out: &mut dyn Sink) {
        let now = self.state.with(|state| state.snapshot());
        S::show(out, &self.info, &now);
    }
}

/// The channels' handlers use locks and listener, so the channels are closed first.
impl<P: Platform, S: StreamState<P>> Drop for Pcm<P, S> {
    fn drop(&mut self) {
        self.detach();
    }
}
