// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! A stream's state behind its locks: waiting for answers, and telling ALSA about progress. All versions share it.

use frontend::Geometry;

use crate::{Error, Listener, Lock, LockClass, Platform, Signal, Stop};

/// Time that an operation waits for a backend that is away; ALSA gives up a transfer after ten seconds.
const RECONNECT_MS: u32 = 8000;

/// Maximum time that an operation waits for answers, however long the buffer lasts.
const ANSWERS_MAX_MS: u64 = 15_000;

/// Longest sleep of a wait with the PCM stream locked, before it checks again.
const LOOK_MS: u32 = 10;

/// The interface of a version's state. None of its functions waits.
pub trait Requests {
    /// Maximum time for the answers to an operation's requests together, beside the answers to earlier requests.
    const ANSWER_MS: u32;
    /// A request.
    type Operation;
    /// The answer to a request.
    type Completion;

    /// Returns true if requests can be sent.
    ///
    /// # Errors
    /// [`Error::Lost`] when they can never be sent again, since the card was taken away.
    fn is_connected(&self) -> Result<bool, Error>;

    /// Sends a request whose answer is awaited.
    fn begin(&mut self, operation: &Self::Operation) -> Result<(), Error>;

    /// Takes the awaited answer, or asks for a notification when it comes.
    ///
    /// # Errors
    /// [`Error::Lost`] when the backend that was asked is gone, even if the next one is there.
    fn answer(&mut self) -> Result<Option<Self::Completion>, Error>;

    /// Returns the number of unanswered requests; if there are any, asks for a notification.
    fn unanswered(&mut self) -> Result<u32, Error>;

    /// Returns the geometry of the buffer that requests in flight belong to.
    fn buffer_geometry(&self) -> Option<Geometry>;

    /// Returns true if ALSA has to be told that a period elapsed; [`end_telling`](Self::end_telling) follows.
    fn begin_telling(&mut self) -> bool;

    /// Ends the telling: ALSA was told.
    fn end_telling(&mut self);
}

/// News for ALSA, told without the state's lock.
#[derive(Debug, Clone, Copy)]
pub struct News {
    /// Reason why ALSA has to stop the stream.
    pub(crate) stop: Option<Stop>,
    /// True if the volume has changed.
    pub(crate) volume: bool,
}

/// Returns the reason to stop a stream after a notification with this outcome. A broken protocol is told once, since
/// the backend that broke it may notify any number of times.
pub(crate) fn stop_after(outcome: Result<bool, Error>, broken_told: &mut bool) -> Option<Stop> {
    match outcome {
        Ok(_) | Err(Error::Lost) => None,
        Err(Error::Broken(_)) if core::mem::replace(broken_told, true) => None,
        Err(error) => Some(Stop::Failed(error)),
    }
}

/// The time within which an operation has to end, for all its waits together. Only the clock decides: a backend can
/// wake the waiting thread any number of times.
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

/// A stream's state, the threads that wait for its backend, and the application that has it open.
pub struct Guarded<P: Platform, S> {
    /// Held by the thread that waits for an answer.
    asking: P::Lock<()>,
    state: P::Lock<S>,
    signal: P::Signal,
    /// Wakes the thread that waits while the PCM stream is locked.
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

    /// Lends the state to `access`, for some loads and stores.
    pub(crate) fn with<R>(&self, access: impl FnOnce(&mut S) -> R) -> R {
        self.state.with(access)
    }

    /// Returns the listener: the application that has the stream open.
    pub(crate) const fn listener(&self) -> &P::Listener {
        &self.listener
    }

    /// Wakes all waiting threads: an answer or a connection has come, or the backend is gone.
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

    /// Has ALSA ask for the pointer when a period elapsed; ALSA is told of less than a buffer at a time.
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

    /// Returns the deadline of an operation that begins now. A backend that answers a WRITE after playing it may need a
    /// buffer's time for requests in flight.
    pub(crate) fn answers_deadline(&self) -> Deadline {
        let lasts_ms = self.with(|state| {
            let geometry = state.buffer_geometry()?;
            u64::from(geometry.ring_bytes()).saturating_mul(1000).checked_div(geometry.bytes_per_second())
        });
        let length_ms = u64::from(S::ANSWER_MS).saturating_add(lasts_ms.unwrap_or(0)).min(ANSWERS_MAX_MS);
        Self::deadline(u32::try_from(length_ms).unwrap_or(u32::MAX))
    }

    /// Runs an attempt that needs a backend, and waits for one that is away: an application's card outlives its
    /// backend, and another application can open the card meanwhile. An attempt that a lost backend did not finish is
    /// repeated with the next one.
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

    /// Waits until `step` yields a result, at most `length_ms`.
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

    /// Waits until `step` yields a result, while the PCM stream is locked. The wait does not take the asking lock,
    /// which may be held for long; and it checks regularly, since the handler that would wake it may wait for the PCM
    /// stream.
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

    /// Waits until `step` yields a result; `step` is tried each time an answer or a connection has come.
    fn wait<R>(
        &self,
        deadline: Deadline,
        mut step: impl FnMut(&mut S) -> Result<Option<R>, Error>,
    ) -> Result<R, Error> {
        self.asking.with_unless_killed(|()| {
            loop {
                // Reset before the step: a signal after the step is not missed.
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
