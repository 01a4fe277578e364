// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! The controls of a substream, as ALSA sees them.

use sndif::store::Direction;
use sndif::v0::Level;

use crate::{Error, Platform, Substream, VOLUME_MAX};

/// Selection of one control of a substream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Knob {
    /// Direction of the control, where a stream has both.
    pub direction: Direction,
    /// True for the switch, false for the volume.
    pub switch: bool,
}

/// A control: a value for each channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Control {
    /// Name of the control.
    pub name: &'static str,
    /// Number of channels that have a value.
    pub channels: u32,
    /// The smallest value.
    pub min: i32,
    /// The largest value.
    pub max: i32,
    /// Level of a volume's smallest value, in hundredths of a decibel.
    pub min_millibel: i32,
    /// The step of a volume, in hundredths of a decibel.
    pub step_millibel: u32,
    /// True if the smallest value of a volume is silence.
    pub min_is_silence: bool,
}

/// Maximum number of a control's values, the capacity of ALSA's `struct snd_ctl_elem_value`. The store may give a
/// stream 255 channels.
const VALUES_MAX: u32 = 128;

/// The channels of version 0's mixer.
const STEREO: u32 = 2;

impl<P: Platform> Substream<P> {
    /// Returns the control, if the backend has it.
    pub fn control(&self, knob: Knob) -> Option<Control> {
        let capture = knob.direction == Direction::Capture;
        let named = |playback, captured| if capture { captured } else { playback };
        let control = match self {
            Self::V2(stream) => {
                let features = stream.mixer_features();
                let there = if knob.switch { features.mute } else { features.volume };
                if !there || !self.serves(knob.direction) {
                    return None;
                }
                Control {
                    name: match knob.switch {
                        true => named("PCM Playback Switch", "PCM Capture Switch"),
                        false => named("PCM Playback Volume", "PCM Capture Volume"),
                    },
                    channels: stream.info().limits.channels.max.min(VALUES_MAX),
                    min: 0,
                    max: VOLUME_MAX,
                    min_millibel: -10_000,
                    step_millibel: 1,
                    min_is_silence: true,
                }
            }
            Self::V0(_) if !self.serves(knob.direction) => return None,
            Self::V0(_) => Control {
                name: match knob.switch {
                    true => named("Master Out Switch", "Master In Switch"),
                    false => named("Master Out Volume", "Master In Volume"),
                },
                channels: STEREO,
                min: *Level::RANGE.start(),
                max: *Level::RANGE.end(),
                min_millibel: -4500,
                step_millibel: 30,
                min_is_silence: false,
            },
        };
        Some(if knob.switch { Control { min: 0, max: 1, ..control } } else { control })
    }

    /// Returns the control's value for a channel.
    pub fn value(&self, knob: Knob, channel: usize) -> i32 {
        match (self, knob.switch) {
            (Self::V2(stream), true) => stream.switch(channel).into(),
            (Self::V2(stream), false) => stream.volume(channel),
            (Self::V0(stream), true) => stream.switch(knob.direction, channel).into(),
            (Self::V0(stream), false) => stream.volume(knob.direction, channel),
        }
    }

    /// Sets the control's values for the first channels, and tells the backend without waiting for it. Returns true if
    /// any value changed.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a value out of range, in version 2; version 0 clamps values, as the driver of 2015 did.
    pub fn set_values(&self, knob: Knob, values: &[i64]) -> Result<bool, Error> {
        let control = self.control(knob).ok_or(Error::Invalid)?;
        let clamped = |value: i64| i32::try_from(value.clamp(control.min.into(), control.max.into())).unwrap_or(0);
        if matches!(self, Self::V2(_)) && values.iter().any(|&value| i64::from(clamped(value)) != value) {
            return Err(Error::Invalid);
        }
        let mut changed = false;
        for (channel, value) in values.iter().map(|&value| clamped(value)).enumerate() {
            changed |= match (self, knob.switch) {
                (Self::V2(stream), true) => stream.set_switch(channel, value != 0),
                (Self::V2(stream), false) => stream.set_volume(channel, value),
                (Self::V0(stream), true) => stream.set_switch(knob.direction, channel, value != 0),
                (Self::V0(stream), false) => stream.set_volume(knob.direction, channel, value),
            };
        }
        if changed {
            match self {
                Self::V2(stream) => stream.tell_mixer(),
                Self::V0(stream) => stream.tell_mixer(),
            }
        }
        Ok(changed)
    }
}
