// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! A stream's volume and switch, on the scale of ALSA's controls.

use frontend::MixerFeatures;

use crate::{PcmStream, Platform};

/// Value of 0 dB: the scale begins at −100 dB and goes on in hundredths of a decibel.
pub const VOLUME_0_DB: i32 = 10_000;

/// Largest value of the volume: +20 dB.
pub const VOLUME_MAX: i32 = 12_000;

/// Thousandths of a decibel, the protocol's unit, in a hundredth.
const MILLI_TO_CENTI: i32 = 10;

impl<P: Platform> PcmStream<P> {
    /// Returns the settings that the backend supports.
    pub fn mixer_features(&self) -> MixerFeatures {
        self.state.with(|state| state.mixer.features())
    }

    /// Returns the volume of channel `channel`, from 0 to [`VOLUME_MAX`].
    pub fn volume(&self, channel: usize) -> i32 {
        let milli = self.state.with(|state| state.mixer.volume().get(channel).copied().unwrap_or(0));
        milli.checked_div(MILLI_TO_CENTI).unwrap_or(0).saturating_add(VOLUME_0_DB).clamp(0, VOLUME_MAX)
    }

    /// Sets the volume of channel `channel`; [`tell_mixer`](Self::tell_mixer) tells the backend. Returns true if the
    /// volume changed.
    pub fn set_volume(&self, channel: usize, value: i32) -> bool {
        let milli = value.clamp(0, VOLUME_MAX).saturating_sub(VOLUME_0_DB).saturating_mul(MILLI_TO_CENTI);
        self.state.with(|state| state.mixer.set_channel_volume(channel, milli))
    }

    /// Returns true if channel `channel` is not muted.
    pub fn switch(&self, channel: usize) -> bool {
        self.state.with(|state| !state.mixer.muted().get(channel).copied().unwrap_or(false))
    }

    /// Mutes or unmutes channel `channel`, like [`set_volume`](Self::set_volume).
    pub fn set_switch(&self, channel: usize, on: bool) -> bool {
        self.state.with(|state| state.mixer.set_channel_mute(channel, !on))
    }

    /// Tells the backend volume and mute, as far as it does not know them; a stream that is not open is told when it is
    /// opened.
    pub fn tell_mixer(&self) {
        self.state.with(|state| {
            // Makes room for the requests.
            let _ = state.collect_answers();
            state.tell_mixer();
        });
    }
}
