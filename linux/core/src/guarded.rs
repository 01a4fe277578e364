// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! A stream's state behind its locks: waiting for answers, and telling ALSA what has come. The same for every version.

use frontend::Geometry;

use crate::{Error, Listener, Lock, LockClass, Platform, Signal, Stop};

/// How long an operation waits for a backend that is away; ALSA gives up a transfer after ten seconds.
const RECONNECT_MS: u32 = 8000;

/// How long an operation waits for answers at most, however long the buffer lasts.
const ANSWERS_MAX_MS: u64 = 15_000;

/// How long whoever waits while the PCM stream is locked sleeps at most before it looks.
const LOOK_MS: u32 = 10;

/// What a version's state has to offer. Nothing of it waits.
pub(crate) trait Requests {
    /// How long the answers to an operation's requests may take together, beside those to requests before it.
    const ANSWER_MS: u32;
    /// A request.
    type Operation;
    /// Its answer.
    type Completion;

    /// Whether requests can be sent.
    ///
    /// # Errors
    /// [`Error::Lost`] when they never can be any more, since the card was taken away.
    fn is_connected(&self) -> Result<bool, Error>;

    /// Sends a request that is waited for.
    fn begin(&mut self, operation: &Self::Operation) -> Result<(), Error>;

    /// Takes the awaited answer, or asks for a notification when one comes.
    ///
    /// # Errors
    /// [`Error::Lost`] when the backend that was asked is gone, also where the next one is there.
    fn answer(&mut self) -> Result<Option<Self::Completion>, Error>;

    /// How many requests are not answered; if any, a notification is asked for.
    fn unanswered(&mut self) -> Result<u32, Error>;

    /// The sizes of the buffer that requests in flight are part of.
    fn buffer_geometry(&self) -> Option<Geometry>;

    /// Whether ALSA has to be told that a period elapsed; [`end_telling`](Self::end_telling) follows.
    fn begin_telling(&mut self) -> bool;

    /// ALSA was told.
    fn end_telling(&mut self);
}

/// What ALSA is to be told without the state's lock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct News {
    /// Why it has to stop the stream.
    pub(crate) stop: Option<Stop>,
    /// The volume is another.
    pub(crate) volume: bool,
}

/// Why a stream stops after a notification with this outcome. A broken protocol is told once: whoever broke it may notify as often
/// as they like.
pub(crate) fn stop_after(outcome: Result<bool, Error>, broken_told: &mut bool) -> Option<Stop> {
    match outcome {
        Ok(_) | Err(Error::Lost) => None,
        Err(Error::Broken(_)) if core::mem::replace(broken_told, true) => None,
        Err(error) => Some(Stop::Failed(error)),
    }
}

/// The time within which an operation has to end, for all that it waits for. Only the clock moves it on: not the backend,
/// which can wake who waits as often as it likes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    start_ms: u32,
    length_ms: u32,
}

impl Deadline {
    fn left_ms(self, now_ms: u32) -> u32 {
        self.length_ms.saturating_sub(now_ms.wrapping_sub(self.start_ms))
    }
}

/// A stream's state, whoever waits for its backend, and whoever has it open.
pub(crate) struct Guarded<P: Platform, S> {
    /// Held by whoever waits for an answer.
    asking: P::Lock<()>,
    state: P::Lock<S>,
    signal: P::Signal,
    /// For the one who waits while the PCM stream is locked.
    locked_signal: P::Signal,
    listener: P::Listener,
}

impl<P: Platform, S: Requests> Guarded<P, S> {
    pub(crate) fn new(make: impl FnOnce() -> S) -> Result<Self, Error> {
        Ok(Self {
            asking: P::Lock::new(LockClass::Asking, || ())?,
            state: P::Lock::new(LockClass::State, make)?,
            signal: P::Signal::new()?,
            locked_signal: P::Signal::new()?,
            listener: P::Listener::new()?,
        })
    }

    /// The state, for some loads and stores.
    pub(crate) fn with<R>(&self, access: impl FnOnce(&mut S) -> R) -> R {
        self.state.with(access)
    }

    /// Who has it open.
    pub(crate) const fn listener(&self) -> &P::Listener {
        &self.listener
    }

    /// Wakes whoever waits: an answer or a connection has come, or the backend is gone.
    pub(crate) fn wake(&self) {
        self.signal.raise();
        self.locked_signal.raise();
    }

    pub(crate) fn tell(&self, news: News) {
        if news.volume {
            self.listener.volume_changed();
        }
        if let Some(stop) = news.stop {
            self.listener.stop(stop);
        }
    }

    /// Has ALSA ask for the pointer, when a period elapsed; it is told of less than a buffer at a time.
    pub(crate) fn tell_progress(&self) {
        for _ in 0..2 {
            if self.with(S::begin_telling) {
                self.listener.elapsed();
                self.with(S::end_telling);
            }
        }
    }

    fn deadline(length_ms: u32) -> Deadline {
        Deadline { start_ms: P::Signal::now_ms(), length_ms }
    }

    /// For an operation that begins now. A backend may take a buffer's time for what is in flight, where it answers a WRITE
    /// when that is played.
    pub(crate) fn answers_deadline(&self) -> Deadline {
        let lasts_ms = self.with(|state| {
            let geometry = state.buffer_geometry()?;
            u64::from(geometry.ring_bytes()).saturating_mul(1000).checked_div(geometry.bytes_per_second())
        });
        let length_ms = u64::from(S::ANSWER_MS).saturating_add(lasts_ms.unwrap_or(0)).min(ANSWERS_MAX_MS);
        Self::deadline(u32::try_from(length_ms).unwrap_or(u32::MAX))
    }

    /// Does what needs a backend, and waits for one that is away: the card of an application outlives it, and another one can
    /// open it meanwhile. What the backend left undone when it went is done with the next one, as if it had been asked later.
    pub(crate) fn with_backend<R>(&self, mut attempt: impl FnMut() -> Result<R, Error>) -> Result<R, Error> {
        let deadline = Self::deadline(RECONNECT_MS);
        loop {
            self.wait(deadline, |state| Ok(state.is_connected()?.then_some(())))
                .map_err(|error| if error == Error::NoAnswer { Error::Lost } else { error })?;
            match attempt() {
                Err(Error::Lost) if deadline.left_ms(P::Signal::now_ms()) > 0 => {}
                result => return result,
            }
        }
    }

    /// Waits until `step` yields something, not longer than `length_ms`.
    pub(crate) fn wait_within<R>(
        &self,
        length_ms: u32,
        step: impl FnMut(&mut S) -> Result<Option<R>, Error>,
    ) -> Result<R, Error> {
        self.wait(Self::deadline(length_ms), step)
    }

    /// Waits until nothing is in flight.
    pub(crate) fn settle(&self, deadline: Deadline) -> Result<(), Error> {
        self.wait(deadline, |state| Ok((state.unanswered()? == 0).then_some(())))
    }

    /// Sends a request and waits for its answer.
    pub(crate) fn ask(&self, operation: &S::Operation, deadline: Deadline) -> Result<S::Completion, Error> {
        let mut sent = false;
        self.wait(deadline, |state| {
            if !sent {
                state.begin(operation)?;
                sent = true;
            }
            state.answer()
        })
    }

    /// Waits until `step` yields something, while the PCM stream is locked. So it does not take the lock of those who ask, who may
    /// wait for long; and it looks every so often, since the handler that would wake it may wait for the PCM stream.
    pub(crate) fn wait_locked<R>(&self, mut step: impl FnMut(&mut S) -> Result<Option<R>, Error>) -> Result<R, Error> {
        let deadline = Self::deadline(S::ANSWER_MS);
        loop {
            self.locked_signal.reset();
            if let Some(result) = self.with(&mut step)? {
                return Ok(result);
            }
            match deadline.left_ms(P::Signal::now_ms()) {
                0 => return Err(Error::NoAnswer),
                left_ms => self.locked_signal.wait(left_ms.min(LOOK_MS))?,
            }
        }
    }

    /// Waits until `step` yields something, which is tried each time an answer or a connection has come.
    fn wait<R>(
        &self,
        deadline: Deadline,
        mut step: impl FnMut(&mut S) -> Result<Option<R>, Error>,
    ) -> Result<R, Error> {
        self.asking.with_unless_killed(|()| {
            loop {
                // Before the step: what comes after it is not missed.
                self.signal.reset();
                if let Some(result) = self.with(&mut step)? {
                    return Ok(result);
                }
                match deadline.left_ms(P::Signal::now_ms()) {
                    0 => return Err(Error::NoAnswer),
                    left_ms => self.signal.wait(left_ms)?,
                }
            }
        })?
    }
}
