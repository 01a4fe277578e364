//! Volume and mute of a stream, kept while it is closed and sent to the backend after OPEN.
//!
//! The protocol carries both in the shared buffer. The frontend has 4096 bytes behind the ring for them, the control
//! page: it is part of the buffer that OPEN names, and not of the ring. The node `control-size` announces it.

use sndif::SharedMemory;
use sndif::v2::{Operation, Span};

use crate::{Completion, RequestId, Stream, SubmitError};

/// Bytes behind the ring that hold volumes and flags.
pub const CONTROL_BYTES: u32 = 4096;

/// Channels that a stream may have (`channels-max` is a `uint8_t`).
const CHANNELS: usize = 255;

/// Places in the control page: volumes (4 bytes a channel), then the flags (a byte a channel).
const VOLUME_AT: u32 = 0;
const MUTE_AT: u32 = 1024;
const UNMUTE_AT: u32 = 1280;
/// Place of the volume with which the backend answers.
const ANSWER_AT: u32 = 2048;

/// Features that the backend announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MixerFeatures {
    /// `feature-volume`: SET_VOLUME works.
    pub volume: bool,
    /// `feature-mute`: MUTE and UNMUTE work.
    pub mute: bool,
}

/// Part of a setting that the backend knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// The setting was never made: the backend keeps its own.
    Unset,
    /// Unset, and the backend was asked for its own.
    Asked(RequestId),
    /// Unset, and the backend has answered with its own.
    Learnt,
    /// The setting has to be sent.
    Dirty,
    InFlight(RequestId),
    Done,
}

/// Volume and mute of one stream.
#[derive(Debug)]
pub struct Mixer {
    features: MixerFeatures,
    volume: [i32; CHANNELS],
    muted: [bool; CHANNELS],
    volume_told: Told,
    mute_told: Told,
    unmute_told: Told,
    refused: bool,
}

impl Mixer {
    /// Makes a mixer in which nothing is set.
    #[must_use]
    pub const fn new(features: MixerFeatures) -> Self {
        Self {
            features,
            volume: [0; CHANNELS],
            muted: [false; CHANNELS],
            volume_told: Told::Unset,
            mute_told: Told::Unset,
            unmute_told: Told::Unset,
            refused: false,
        }
    }

    /// Returns the settings that are possible.
    #[must_use]
    pub const fn features(&self) -> MixerFeatures {
        self.features
    }

    /// Sets the features, which may differ for a new backend.
    pub fn set_features(&mut self, features: MixerFeatures) {
        self.features = features;
    }

    /// Returns the volume of the first channels in 0.001 dB; 0 leaves the sound unchanged.
    #[must_use]
    pub fn volume(&self) -> &[i32] {
        &self.volume
    }

    /// Returns the mute flags of the first channels.
    #[must_use]
    pub fn muted(&self) -> &[bool] {
        &self.muted
    }

    /// Returns true if the backend refused the last setting it was told.
    #[must_use]
    pub const fn refused(&self) -> bool {
        self.refused
    }

    /// Returns true if the backend knows all settings.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        [self.volume_told, self.mute_told, self.unmute_told]
            .iter()
            .all(|told| !matches!(told, Told::Dirty | Told::InFlight(_)))
    }

    /// Sets the volume, one value per channel in 0.001 dB; the last value holds for all further channels. Returns true
    /// if the backend will be told (now or after OPEN).
    pub fn set_volume(&mut self, volume: &[i32]) -> bool {
        let Some(&last) = volume.last() else { return false };
        let values = volume.iter().copied().chain(core::iter::repeat(last));
        self.volume.iter_mut().zip(values).for_each(|(place, value)| *place = value);
        self.volume_told = Told::Dirty;
        self.features.volume
    }

    /// Mutes the channels whose flag is set and unmutes the others, like [`set_volume`](Self::set_volume).
    pub fn set_mute(&mut self, muted: &[bool]) -> bool {
        let Some(&last) = muted.last() else { return false };
        let values = muted.iter().copied().chain(core::iter::repeat(last));
        self.muted.iter_mut().zip(values).for_each(|(place, value)| *place = value);
        (self.mute_told, self.unmute_told) = (Told::Dirty, Told::Dirty);
        self.features.mute
    }

    /// Sets the volume of one channel, in 0.001 dB. Returns true if the volume changed.
    pub fn set_channel_volume(&mut self, channel: usize, volume: i32) -> bool {
        let changed = match self.volume.get_mut(channel) {
            Some(place) => core::mem::replace(place, volume) != volume,
            None => false,
        };
        if changed {
            self.volume_told = Told::Dirty;
        }
        changed
    }

    /// Mutes or unmutes one channel. Returns true if that changed it.
    pub fn set_channel_mute(&mut self, channel: usize, muted: bool) -> bool {
        let changed = match self.muted.get_mut(channel) {
            Some(place) => core::mem::replace(place, muted) != muted,
            None => false,
        };
        if changed {
            (self.mute_told, self.unmute_told) = (Told::Dirty, Told::Dirty);
        }
        changed
    }

    /// Marks all settings to be told again, because the stream is opened again.
    pub fn replay(&mut self) {
        for told in [&mut self.volume_told, &mut self.mute_told, &mut self.unmute_told] {
            *told = match *told {
                Told::Unset | Told::Asked(_) => Told::Unset,
                Told::Learnt => Told::Learnt,
                Told::Dirty | Told::InFlight(_) | Told::Done => Told::Dirty,
            };
        }
    }

    /// Submits the settings that the backend does not know; `buffer` is the stream's whole buffer. A setting that
    /// changes in flight is submitted again.
    ///
    /// # Errors
    /// [`SubmitError`] of the stream; the remaining settings are told later. A stream that is not open or has no
    /// control page is no error: nothing is submitted.
    pub fn flush<M: SharedMemory>(
        &mut self,
        stream: &mut Stream<M>,
        buffer: &impl SharedMemory,
    ) -> Result<(), SubmitError> {
        let (Some(base), Some(geometry)) = (stream.control_offset(), stream.geometry()) else { return Ok(()) };
        let channels = u32::from(geometry.channels());
        let count = usize::from(geometry.channels());
        let span = |at: u32, length| Span { offset: base.saturating_add(at), length };
        let place = |span: Span| usize::try_from(span.offset).unwrap_or(usize::MAX);

        if self.features.volume && self.volume_told == Told::Dirty {
            let span = span(VOLUME_AT, channels.saturating_mul(4));
            let id = stream.submit(Operation::SetVolume(span))?;
            for (index, volume) in self.volume.iter().take(count).enumerate() {
                buffer.write(place(span).saturating_add(index.saturating_mul(4)), &volume.to_le_bytes());
            }
            self.volume_told = Told::InFlight(id);
        }
        if !self.features.mute {
            return Ok(());
        }
        let write_flags = |span: Span, wanted| {
            for (at, &muted) in (place(span)..).zip(self.muted.iter().take(count)) {
                buffer.write(at, &[u8::from(muted == wanted)]);
            }
        };
        if self.mute_told == Told::Dirty {
            let span = span(MUTE_AT, channels);
            let id = stream.submit(Operation::Mute(span))?;
            write_flags(span, true);
            self.mute_told = Told::InFlight(id);
        }
        if self.unmute_told == Told::Dirty {
            let span = span(UNMUTE_AT, channels);
            let id = stream.submit(Operation::Unmute(span))?;
            write_flags(span, false);
            self.unmute_told = Told::InFlight(id);
        }
        Ok(())
    }

    /// Asks the backend for its volume, unless one was set or it was asked before. Its answer goes to
    /// [`learn`](Self::learn).
    ///
    /// # Errors
    /// [`SubmitError`] of the stream; the backend may be asked again then.
    pub fn ask<M: SharedMemory>(&mut self, stream: &mut Stream<M>) -> Result<(), SubmitError> {
        if self.volume_told == Told::Unset
            && let Some(span) = self.answer_span(stream)
        {
            self.volume_told = Told::Asked(stream.submit(Operation::GetVolume(span))?);
        }
        Ok(())
    }

    /// Takes over the volume of the backend's answer, unless one was set meanwhile; `buffer` is the stream's whole
    /// buffer. As with [`set_volume`](Self::set_volume), the last channel's holds for all further channels. Returns
    /// true if a volume was taken over.
    pub fn learn(&mut self, completion: &Completion, buffer: &impl SharedMemory) -> bool {
        let Operation::GetVolume(span) = completion.operation else { return false };
        if self.volume_told != Told::Asked(completion.id) {
            return false;
        }
        if completion.result.is_err() {
            self.volume_told = Told::Unset;
            return false;
        }
        self.volume_told = Told::Learnt;
        let end = span.offset.saturating_add(span.length);
        let places = (span.offset..end).step_by(4).chain(core::iter::repeat(end.saturating_sub(4)));
        for (volume, at) in self.volume.iter_mut().zip(places) {
            let mut bytes = [0; 4];
            buffer.read(usize::try_from(at).unwrap_or(usize::MAX), &mut bytes);
            *volume = i32::from_le_bytes(bytes);
        }
        true
    }

    /// Returns the range of GET_VOLUME's answer, an i32 per channel; `None` when the backend cannot be asked.
    #[must_use]
    pub fn answer_span<M: SharedMemory>(&self, stream: &Stream<M>) -> Option<Span> {
        let length = u32::from(stream.geometry()?.channels()).saturating_mul(4);
        let base = stream.control_offset().filter(|_| self.features.volume)?;
        Some(Span { offset: base.saturating_add(ANSWER_AT), length })
    }

    /// Takes note of an answer; returns true if it was one of the mixer's.
    pub fn completed(&mut self, completion: &Completion) -> bool {
        for told in [&mut self.volume_told, &mut self.mute_told, &mut self.unmute_told] {
            if *told == Told::InFlight(completion.id) {
                *told = Told::Done;
                self.refused = completion.result.is_err();
                return true;
            }
        }
        matches!(completion.operation, Operation::SetVolume(_) | Operation::Mute(_) | Operation::Unmute(_))
    }
}
