//! The volumes of a stream together: its guest's and its host's. They are applied to the samples here, on every device: a sound
//! server's volume belongs to the host's people.

use pcm::{Fader, Gain};

use crate::policy::HostVolume;

/// The volumes of a stream, and the gain that they make together.
pub(crate) struct Volumes {
    guest: Gain,
    host: HostVolume,
    /// Both together.
    fader: Fader,
}

impl Volumes {
    /// Of a stream whose guest has set nothing.
    pub(crate) fn new(channels: u8, rate_hz: u32, host: HostVolume) -> Self {
        let mut volumes = Self { guest: Gain::new(channels), host, fader: Fader::new(channels, rate_hz) };
        volumes.combine();
        volumes
    }

    /// Takes what the guest has set.
    pub(crate) fn set_guest(&mut self, gain: Gain) {
        self.guest = gain;
        self.combine();
    }

    /// Takes what the host has decided.
    pub(crate) fn set_host(&mut self, volume: HostVolume) {
        self.host = volume;
        self.combine();
    }

    /// Both together, under the host's ceiling.
    fn combine(&mut self) {
        let mut gain = self.guest.clone();
        for channel in 0..gain.channels() {
            gain.set_volume(channel, self.host.under_ceiling(self.guest.volume(channel)));
            gain.set_mute(channel, self.guest.is_muted(channel) || self.host.muted);
        }
        self.fader.set(gain);
    }

    /// The gain for the samples.
    pub(crate) fn fader(&mut self) -> &mut Fader {
        &mut self.fader
    }

    /// The loudest channel of both together; `None` where every channel is muted.
    pub(crate) fn loudest(&self) -> Option<i32> {
        let channels = (0..self.guest.channels()).filter(|&channel| !self.guest.is_muted(channel));
        let loudest = channels.map(|channel| self.guest.volume(channel)).max();
        self.host.with(loudest?)
    }

    /// Says what the guest has set.
    pub(crate) fn describe(&self, stream: &mut control::Stream) {
        let channels = 0..self.guest.channels();
        let volumes = channels.clone().map(|channel| self.guest.volume(channel));
        if volumes.clone().any(|volume| volume != 0) {
            stream.guest_volume_db = volumes.map(decibels).collect();
        }
        let muted = channels.map(|channel| self.guest.is_muted(channel));
        if muted.clone().any(|muted| muted) {
            stream.guest_muted = muted.collect();
        }
    }
}

/// 0.001 dB as decibels.
pub(crate) fn decibels(millidecibels: i32) -> f64 {
    f64::from(millidecibels) / 1000.0
}
