//! The volumes of a stream together: its guest's and its host's.

use pcm::Gain;

use crate::endpoint::Device;
use crate::policy::HostVolume;

/// What is done to the level of a stream, and where.
pub(crate) struct Volumes {
    guest: Gain,
    host: HostVolume,
    /// What is left to be done in software.
    software: Option<Gain>,
}

impl Volumes {
    /// Of a stream whose guest has set nothing.
    pub(crate) fn new(channels: u8, host: HostVolume) -> Self {
        Self { guest: Gain::new(channels), host, software: None }
    }

    /// Takes what the guest has set.
    pub(crate) fn set_guest(&mut self, gain: Gain) {
        self.guest = gain;
    }

    /// Takes what the host has decided.
    pub(crate) fn set_host(&mut self, volume: HostVolume) {
        self.host = volume;
    }

    /// Both together, under the host's ceiling.
    fn combined(&self) -> Gain {
        let mut gain = self.guest.clone();
        for channel in 0..gain.channels() {
            let sum = self.guest.volume(channel).saturating_add(self.host.millidecibels);
            gain.set_volume(channel, sum.min(self.host.max.unwrap_or(i32::MAX)));
            gain.set_mute(channel, self.guest.is_muted(channel) || self.host.muted);
        }
        gain
    }

    /// Hands them to the device, or keeps them for scaling in software.
    pub(crate) fn apply(&mut self, device: &mut Device) {
        let gain = self.combined();
        let in_device = match device {
            Device::Sink(sink) => sink.set_gain(&gain),
            Device::Source(_) | Device::Closed => false,
        };
        self.software = (!in_device && !gain.is_identity()).then_some(gain);
    }

    /// What is to be done in software.
    pub(crate) fn software(&self) -> Option<&Gain> {
        self.software.as_ref()
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
