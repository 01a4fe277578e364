// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! One substream of version 2: ALSA's operations, and the handling of the event channels.

use frontend::{Completion, Geometry, Mixer, MixerFeatures};
use sndif::Format;
use sndif::store::Direction;
use sndif::v2::{HwParams, Operation, Trigger};

use crate::buffer::Buffer;
use crate::guarded::{Deadline, Guarded};
use crate::layout::StreamInfo;
use crate::pcm::Pcm;
use crate::state::{State, Transport};
use crate::{Boxed, Error, Platform, Space, SpaceCache};

/// An empty mixer; a constant, so that it is not made on the stack.
const NEW_MIXER: Mixer = Mixer::new(MixerFeatures { volume: false, mute: false });

/// Position of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pointer {
    /// Place in the ring, in frames.
    pub frames: u32,
    /// Frames captured by the device and not yet in the ring.
    pub delay_frames: u32,
}

impl Pointer {
    /// The run has ended, as with an xrun. Only told where the application wants no wake-ups.
    pub const ENDED: Self = Self { frames: u32::MAX, delay_frames: 0 };
}

/// One substream of a card of version 2.
pub type PcmStream<P> = Pcm<P, State<P>>;

impl<P: Platform> PcmStream<P> {
    /// Makes a stream without a connection.
    ///
    /// # Errors
    /// [`Error::NoMemory`].
    // Not inlined: the values are made on the stack first.
    #[inline(never)]
    pub fn new(info: &StreamInfo) -> Result<Self, Error> {
        let cache = P::Boxed::new(SpaceCache::default)?;
        let mixer = P::Boxed::new(|| NEW_MIXER)?;
        Ok(Self { state: Guarded::new(|| State::new(info.direction, cache, mixer))?, info: *info })
    }

    /// Returns the store's description of the stream.
    pub const fn info(&self) -> &StreamInfo {
        &self.info
    }

    // --- the connection; called when connections begin and end -----------------------------------------------

    pub(crate) fn attach(&self, transport: Transport<P>, features: MixerFeatures) {
        self.state.with(|state| {
            state.mixer.set_features(features);
            state.transport = Some(transport);
        });
    }

    /// Returns the nodes of the transport for the store.
    pub(crate) fn transport_nodes(&self) -> Option<[(&'static str, u32); 6]> {
        self.state.with(|state| state.transport.as_ref().map(Transport::nodes))
    }

    // --- ALSA's operations that may wait ---------------------------------------------------------------------

    /// `open`: returns the configurations that the stream allows.
    ///
    /// # Errors
    /// [`Error::Lost`] when the backend does not come back in time, and errors of a request.
    pub fn open(&self) -> Result<Space, Error> {
        let limits = &self.info.limits;
        let whole = match self.state.with(|state| state.cache.whole()) {
            Some(whole) => whole,
            None => {
                let whole = self.query(SpaceCache::whole_question(limits))?;
                self.state.with(|state| state.cache.keep_whole(whole));
                whole
            }
        };
        let pauses = self.state.with(State::can_pause);
        // Captured frames arrive once a period.
        let batches = self.info.direction == Direction::Capture;
        // READs that are not laid out follow the events.
        let wakes_always = batches && !self.state.with(|state| state.reads_ahead());
        Ok(Space { pauses, batches, wakes_always, ..Space::of_backend(whole, limits) })
    }

    /// A rule between the parameters: returns the periods and buffers that are possible within `params`.
    ///
    /// # Errors
    /// [`Error::Refused`] when none is possible; errors of a request.
    pub fn refine(&self, params: &HwParams) -> Result<HwParams, Error> {
        let Some(question) = SpaceCache::settled_question(params) else { return Ok(*params) };
        if let Some(known) = self.state.with(|state| state.cache.settled(&question)) {
            return known;
        }
        let answer = self.query(question);
        if matches!(answer, Ok(_) | Err(Error::Refused(_))) {
            self.state.with(|state| state.cache.keep_settled(question, answer));
        }
        answer
    }

    fn query(&self, question: HwParams) -> Result<HwParams, Error> {
        let asked = || self.ask(Operation::QueryHwParams(question), self.state.answers_deadline());
        let completion = self.state.with_backend(asked)?;
        completion.params.filter(|params| !params.is_empty()).ok_or(Error::Invalid)
    }

    /// `hw_params`: makes the buffer. The stream is opened by [`prepare`](Self::prepare).
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::NoMemory`]; [`Error::Lost`] when the backend does not come back in time.
    pub fn hw_params(
        &self,
        format: Format,
        channels: u8,
        rate_hz: u32,
        period_frames: u32,
        buffer_frames: u32,
    ) -> Result<(), Error> {
        let geometry = Geometry::new(format, channels, rate_hz, period_frames, buffer_frames).ok_or(Error::Invalid)?;
        self.hw_free();
        // The buffer is granted to this backend.
        let backend = || self.state.with(|state| state.transport.as_ref().map(|transport| transport.backend));
        let buffer = Buffer::new(self.state.with_backend(|| backend().ok_or(Error::Lost))?, geometry)?;
        self.state.with(|state| {
            state.buffer = Some(buffer);
            state.rewind();
        });
        Ok(())
    }

    /// Sets whether the application wants to be woken for each period; otherwise it sleeps by a clock of its own.
    pub fn set_attended(&self, attended: bool) {
        self.state.with(|state| state.unattended = !attended);
    }

    /// `prepare`: opens the stream if it is not open, and begins a run.
    ///
    /// # Errors
    /// [`Error::Lost`] when the backend does not come back in time; errors of a request. All waiting ends in time, with
    /// [`Error::NoAnswer`] or [`Error::Killed`].
    pub fn prepare(&self) -> Result<(), Error> {
        self.state.with_backend(|| self.prepare_with_backend())
    }

    fn prepare_with_backend(&self) -> Result<(), Error> {
        let deadline = self.state.answers_deadline();
        self.state.settle(deadline)?;
        self.hear_out();
        if self.state.with(State::has_other_open) {
            self.ask(Operation::Close, deadline)?;
        }
        let open = self.state.with(|state| state.stream().map(|stream| stream.is_open()))?;
        if open && !self.state.with(|state| state.is_fresh()) {
            self.ask(Operation::Trigger(Trigger::Stop), deadline)?;
        }
        if self.state.with(State::has_lost_count) {
            self.ask(Operation::Close, deadline)?;
        }
        let open = self.state.with(|state| -> Result<Option<Operation>, Error> {
            if state.stream()?.is_open() { Ok(None) } else { state.open(0).map(Some) }
        })?;
        if let Some(open) = open {
            self.ask(open, deadline)?;
            self.state.with(|state| {
                state.mixer.replay();
                state.tell_mixer();
            });
        }
        self.state.with(State::prepared);
        Ok(())
    }

    /// Sends a request and waits for its success.
    fn ask(&self, operation: Operation, deadline: Deadline) -> Result<Completion, Error> {
        let completion = self.state.ask(&operation, deadline)?;
        completion.result.map_err(Error::Refused)?;
        Ok(completion)
    }

    // --- ALSA's operations under the PCM stream's lock --------------------------------------------------------

    /// `trigger`. PAUSE waits for its answer: not every backend can pause. START waits if nothing was written and the
    /// backend has to be given copies of the ring.
    ///
    /// # Errors
    /// [`Error::Stale`] after a connection was lost, [`Error::Busy`], [`Error::Broken`]; of PAUSE [`Error::Refused`]
    /// and, when it was refused before, [`Error::CannotPause`].
    pub fn trigger(&self, trigger: Trigger) -> Result<(), Error> {
        match trigger {
            Trigger::Pause => {
                self.state.with(State::pause)?;
                self.state.wait_locked(State::pause_answer)
            }
            Trigger::Start if self.state.with(State::begin_free_run)? => self.state.wait_locked(State::start_free_run),
            _ => self.state.with(|state| state.trigger(trigger)),
        }
    }

    /// `pointer`: returns the position, or [`Pointer::ENDED`].
    pub fn pointer(&self) -> Pointer {
        self.state.with(|state| {
            // Answers to READ may have come without a notification.
            if !state.look() {
                return Pointer::ENDED;
            }
            let (frames, delay_frames) = state.pointer();
            Pointer { frames, delay_frames }
        })
    }

    // --- event channels ----------------------------------------------------------------------------------------

    /// Handles an event of the event page's channel. Returns true if there was a reason for it: an event that is not
    /// believed is none.
    pub fn on_events(&self) -> bool {
        self.on_event(State::events)
    }
}
