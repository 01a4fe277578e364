// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! The stream of a version 0 device: ALSA's operations, and the handling of the event channel.

use frontend::v0::{BadLimit, Completion, Hardware};
use sndif::store::Direction;
use sndif::text::{Say, Sink};
use sndif::v0::{Operation, node};
use sndif::{Errno, Format};

use super::buffer::Buffer;
use super::state::{State, Transport};
use crate::guarded::{Deadline, Guarded};
use crate::pcm::Pcm;
use crate::{Channel, Error, Platform, Space};

/// The stream of a version 0 device.
pub type PcmStream<P> = Pcm<P, State<P>>;

impl<P: Platform> PcmStream<P> {
    // Not inlined: the values are made on the stack first.
    #[inline(never)]
    pub(crate) fn new(only: Option<Direction>, hardware: Hardware) -> Result<Self, Error> {
        let direction = only.unwrap_or(Direction::Playback);
        Ok(Self { info: only, state: Guarded::new(|| State::new(direction, hardware))? })
    }

    /// Returns true if it can be opened in this direction.
    pub fn serves(&self, direction: Direction) -> bool {
        self.info.is_none_or(|only| only == direction)
    }

    // --- the connection; called when connections begin and end -----------------------------------------------

    pub(crate) fn attach(
        &self,
        backend: u16,
        stream_id: Option<u32>,
        channel: impl FnOnce() -> Result<P::Channel, Error>,
    ) -> Result<(), Error> {
        let id = self.state.with(|state| state.learn_id(stream_id));
        // Made without the lock, which the channel's handler takes.
        let transport = Transport::new(backend, id, channel()?)?;
        self.state.with(|state| state.transport = Some(transport));
        Ok(())
    }

    /// Returns the nodes of the transport for the store.
    pub(crate) fn transport_nodes(&self) -> Option<[(&'static str, u32); 2]> {
        self.state.with(|state| {
            let transport = state.transport.as_ref()?;
            Some([(node::RING_REF, transport.ring_ref), (node::EVENT_CHANNEL, transport.channel.port())])
        })
    }

    // --- ALSA's operations that may wait ---------------------------------------------------------------------

    /// `open`: returns the configurations that the stream allows, which the backend does not tell.
    ///
    /// # Errors
    /// [`Error::Lost`] when the backend does not come back in time.
    pub fn open(&self, direction: Direction) -> Result<Space, Error> {
        if !self.serves(direction) {
            return Err(Error::Invalid);
        }
        self.state.with_backend(|| {
            Ok(self.state.with(|state| {
                // No other application has it: ALSA lets one at a time have a half-duplex device.
                state.direction = direction;
                Space::of_hardware(&state.hardware)
            }))
        })
    }

    /// `hw_params`: makes the buffer. The stream is opened by [`prepare`](Self::prepare).
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::NoMemory`].
    pub fn hw_params(
        &self,
        format: Format,
        channels: u8,
        rate_hz: u32,
        period_frames: u32,
        buffer_frames: u32,
    ) -> Result<(), Error> {
        self.hw_free();
        let direction = self.state.with(|state| state.direction);
        let buffer = Buffer::new(direction, format, channels, rate_hz, period_frames, buffer_frames)?;
        self.state.with(|state| {
            state.buffer = Some(buffer);
            state.rewind();
        });
        Ok(())
    }

    fn close(&self, deadline: Deadline) -> Result<(), Error> {
        self.state.settle(deadline)?;
        self.state.ask(&Operation::Close, deadline).map(drop)
    }

    /// `prepare`: opens the stream if it is not open, and begins a run.
    ///
    /// # Errors
    /// [`Error::Lost`] when the backend does not come back in time; errors of a request.
    pub fn prepare(&self) -> Result<(), Error> {
        self.state.with_backend(|| self.prepare_with_backend())
    }

    fn prepare_with_backend(&self) -> Result<(), Error> {
        let deadline = self.state.answers_deadline();
        self.state.settle(deadline)?;
        // A recording begins without the frames that were captured since the stop.
        if self.state.with(|state| state.has_other_open()) {
            self.close(deadline)?;
        }
        if !self.state.with(|state| state.is_open()) {
            let open = self.state.with(State::open)?;
            let Completion { success, .. } = self.state.ask(&open, deadline)?;
            if !success {
                return Err(Error::Refused(Errno::EIO));
            }
            self.state.with(State::opened);
        }
        self.state.with(State::prepared);
        Ok(())
    }

    // --- ALSA's operations under the PCM stream's lock --------------------------------------------------------

    /// `trigger` of START.
    ///
    /// # Errors
    /// [`Error::Stale`] after a lost connection whose run no other could take up, [`Error::Broken`].
    pub fn start(&self) -> Result<(), Error> {
        self.state.with(State::start)
    }

    /// `trigger` of STOP.
    pub fn stop(&self) {
        self.state.with(State::stop);
    }

    /// `pointer`: the place in the ring, in frames.
    pub fn pointer(&self) -> u32 {
        self.state.with(State::pointer)
    }

    // --- the event channel, and people -------------------------------------------------------------------------

    /// Returns the volume of channel `channel`, −50 to 100.
    pub fn volume(&self, direction: Direction, channel: usize) -> i32 {
        self.state.with(|state| state.mixer(direction).volume().get(channel).copied().unwrap_or(0))
    }

    /// Sets the volume of channel `channel`, clamped to the scale; [`tell_mixer`](Self::tell_mixer) tells the backend.
    /// Returns true if the volume changed.
    pub fn set_volume(&self, direction: Direction, channel: usize, value: i32) -> bool {
        self.state.with(|state| {
            let mixer = state.mixer(direction);
            mixer.set_volume(with_side(mixer.volume(), channel, value))
        })
    }

    /// Returns true if channel `channel` is switched on.
    pub fn switch(&self, direction: Direction, channel: usize) -> bool {
        self.state.with(|state| state.mixer(direction).switch().get(channel).copied().unwrap_or(false))
    }

    /// Switches channel `channel`, like [`set_volume`](Self::set_volume).
    pub fn set_switch(&self, direction: Direction, channel: usize, on: bool) -> bool {
        self.state.with(|state| {
            let mixer = state.mixer(direction);
            mixer.set_switch(with_side(mixer.switch(), channel, on))
        })
    }

    /// Tells the backend volume and switch; a stream that is not open is told when it is opened.
    pub fn tell_mixer(&self) {
        self.state.with(State::tell_mixer);
    }

    /// Writes the hardware limits of the stream, as lines of a name and a value.
    pub fn show_hardware(&self, out: &mut dyn Sink) {
        let hardware = self.state.with(|state| state.hardware);
        hardware.say(out);
    }

    /// Sets the hardware limits, from lines as [`show_hardware`](Self::show_hardware) writes them: all of them, or
    /// none. An open stream stays as it is.
    ///
    /// # Errors
    /// [`BadLimit`] for the first invalid line.
    pub fn set_hardware(&self, lines: &str) -> Result<(), BadLimit> {
        self.state.with(|state| state.hardware.set(lines))
    }
}

fn with_side<T>(mut sides: [T; 2], channel: usize, value: T) -> [T; 2] {
    if let Some(side) = sides.get_mut(channel) {
        *side = value;
    }
    sides
}
