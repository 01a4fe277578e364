// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! A substream of either version, as ALSA and the event channels use it.

use sndif::Format;
use sndif::store::Direction;
use sndif::text::Sink;
use sndif::v2::{HwParams, Trigger};

use crate::{Error, PcmStream, Platform, Pointer, Space, v0};

/// One substream of a card; or two, of which one can be open at a time, where a version 0 device has both directions.
pub enum Substream<P: Platform> {
    /// The backend speaks version 2.
    V2(PcmStream<P>),
    /// The backend speaks version 0.
    V0(v0::PcmStream<P>),
}

/// Calls the same method for either version.
macro_rules! either {
    ($self:ident, $stream:ident => $does:expr) => {
        match $self {
            Self::V2($stream) => $does,
            Self::V0($stream) => $does,
        }
    };
}

impl<P: Platform> Substream<P> {
    /// Returns ALSA's number of its PCM device.
    pub const fn pcm(&self) -> u8 {
        match self {
            Self::V2(stream) => stream.info().pcm,
            Self::V0(_) => 0,
        }
    }

    /// Returns ALSA's number of the substream, counted within its PCM device and direction.
    pub const fn number(&self) -> u8 {
        match self {
            Self::V2(stream) => stream.info().substream,
            Self::V0(_) => 0,
        }
    }

    /// Returns true if it can be opened in this direction.
    pub fn serves(&self, direction: Direction) -> bool {
        match self {
            Self::V2(stream) => stream.info().direction == direction,
            Self::V0(stream) => stream.serves(direction),
        }
    }

    /// Counts those of `streams` that belong to PCM device `pcm` and can be opened in this direction.
    pub fn count(streams: &[Self], pcm: u8, direction: Direction) -> u32 {
        let counted = streams.iter().filter(|stream| stream.pcm() == pcm && stream.serves(direction)).count();
        u32::try_from(counted).unwrap_or(u32::MAX)
    }

    /// Returns true if it has both directions, one at a time.
    pub fn is_half_duplex(&self) -> bool {
        self.serves(Direction::Playback) && self.serves(Direction::Capture)
    }

    /// Returns the rates that a list in the store names; empty without a list.
    pub fn rates(&self) -> &[u32] {
        match self {
            Self::V2(stream) => stream.info().limits.rates.list(),
            Self::V0(_) => &[],
        }
    }

    /// Returns the listener: the application that has the stream open.
    pub const fn listener(&self) -> &P::Listener {
        either!(self, stream => stream.listener())
    }

    /// Takes up the stream with a backend that is Connected: [`PcmStream::connected`].
    pub fn connected(&self) {
        either!(self, stream => stream.connected());
    }

    /// Notes that the backend is gone: [`PcmStream::lose`].
    pub fn lose(&self) {
        either!(self, stream => stream.lose());
    }

    /// Notes that the card is taken away: [`PcmStream::remove`].
    pub fn remove(&self) {
        either!(self, stream => stream.remove());
    }

    /// Frees the resources of the connection: [`PcmStream::detach`].
    pub fn detach(&self) {
        either!(self, stream => stream.detach());
    }

    /// `open`: returns the configurations that the stream allows.
    ///
    /// # Errors
    /// [`Error::Lost`] when the backend does not come back in time, and errors of a request.
    pub fn open(&self, direction: Direction) -> Result<Space, Error> {
        match self {
            Self::V2(stream) => stream.open(),
            Self::V0(stream) => stream.open(direction),
        }
    }

    /// A rule between the parameters: [`PcmStream::refine`]. Version 0 has none.
    ///
    /// # Errors
    /// Errors of [`PcmStream::refine`].
    pub fn refine(&self, params: &HwParams) -> Result<HwParams, Error> {
        match self {
            Self::V2(stream) => stream.refine(params),
            Self::V0(_) => Ok(*params),
        }
    }

    /// `hw_params`: makes the buffer.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::NoMemory`], [`Error::Lost`].
    pub fn hw_params(
        &self,
        format: Format,
        channels: u8,
        rate_hz: u32,
        period_frames: u32,
        buffer_frames: u32,
    ) -> Result<(), Error> {
        either!(self, stream => stream.hw_params(format, channels, rate_hz, period_frames, buffer_frames))
    }

    /// Sets whether the application wants to be woken for each period: [`PcmStream::set_attended`]. With version 0 each
    /// application is.
    pub fn set_attended(&self, attended: bool) {
        if let Self::V2(stream) = self {
            stream.set_attended(attended);
        }
    }

    /// Lends the memory of ALSA's ring to `access`.
    pub fn with_buffer<R>(&self, access: impl FnOnce(&P::Pages) -> R) -> Option<R> {
        either!(self, stream => stream.with_buffer(access))
    }

    /// `hw_free`: closes the stream and gives up the buffer.
    pub fn hw_free(&self) {
        either!(self, stream => stream.hw_free());
    }

    /// `prepare`: opens the stream if it is not open, and begins a run.
    ///
    /// # Errors
    /// [`Error::Lost`] when the backend does not come back in time; errors of a request.
    pub fn prepare(&self) -> Result<(), Error> {
        either!(self, stream => stream.prepare())
    }

    /// `trigger`. Version 0 knows no pause.
    ///
    /// # Errors
    /// [`Error::Stale`] after a connection was lost, [`Error::Busy`], [`Error::Broken`], [`Error::Invalid`].
    pub fn trigger(&self, trigger: Trigger) -> Result<(), Error> {
        match (self, trigger) {
            (Self::V2(stream), trigger) => stream.trigger(trigger),
            (Self::V0(stream), Trigger::Start) => stream.start(),
            (Self::V0(stream), Trigger::Stop) => {
                stream.stop();
                Ok(())
            }
            (Self::V0(_), Trigger::Pause | Trigger::Resume) => Err(Error::Invalid),
        }
    }

    /// `trigger` of DRAIN: nothing follows what was written.
    ///
    /// # Errors
    /// Errors of [`trigger`](Self::trigger).
    pub fn drain(&self) -> Result<(), Error> {
        either!(self, stream => stream.drain())
    }

    /// `ack`: the application has written up to `appl_frames`, a counter that wraps at `boundary_frames`.
    ///
    /// # Errors
    /// Errors of [`trigger`](Self::trigger).
    pub fn ack(&self, appl_frames: u64, boundary_frames: u64) -> Result<(), Error> {
        either!(self, stream => stream.ack(appl_frames, boundary_frames))
    }

    /// `pointer`: returns the position.
    pub fn pointer(&self) -> Pointer {
        match self {
            Self::V2(stream) => stream.pointer(),
            Self::V0(stream) => Pointer { frames: stream.pointer(), delay_frames: 0 },
        }
    }

    /// Handles an event of the ring's channel. Returns true if there was a reason for it.
    pub fn on_ring(&self) -> bool {
        either!(self, stream => stream.on_ring())
    }

    /// Handles an event of the event page's channel, which version 0 does not have. Returns true if there was a reason
    /// for it.
    pub fn on_events(&self) -> bool {
        match self {
            Self::V2(stream) => stream.on_events(),
            Self::V0(_) => false,
        }
    }

    /// Writes the state of the stream as text.
    pub fn show(&self, out: &mut dyn Sink) {
        either!(self, stream => stream.show(out));
    }
}
