//! The volumes of a stream together: its guest's and its host's. They are applied to the samples here, on every device:
//! a sound server's volume belongs to the users of the host.

use pcm::{Fader, Gain};

use crate::policy::HostVolume;

/// Rise of the volume that startles a listener, in 0.001 dB.
const STARTLING_MDB: i32 = 12_000;

/// The volumes of a stream, and the gain that they make together.
pub(crate) struct Volumes {
    guest: Gain,
    host: HostVolume,
    /// Gain of both volumes together.
    fader: Fader,
}

impl Volumes {
    /// Volumes of a stream whose guest has set nothing.
    pub(crate) fn new(channels: u8, rate_hz: u32, host: HostVolume) -> Self {
        let mut volumes = Self { guest: Gain::new(channels), host, fader: Fader::new(channels, rate_hz) };
        volumes.combine(false);
        volumes
    }

    /// Sets the guest's gain.
    pub(crate) fn set_guest(&mut self, gain: Gain) {
        self.guest = gain;
        self.combine(false);
    }

    /// Sets the host's volume. A rise above `STARTLING_MDB` is spread over a second.
    pub(crate) fn set_host(&mut self, volume: HostVolume) {
        let before = self.loudest();
        self.host = volume;
        let startles =
            before.zip(self.loudest()).is_some_and(|(before, now)| now.saturating_sub(before) > STARTLING_MDB);
        self.combine(startles);
    }

    /// Combines both volumes, under the host's ceiling.
    fn combine(&mut self, slowly: bool) {
        let mut gain = self.guest.clone();
        for channel in 0..gain.channels() {
            gain.set_volume(channel, self.host.under_ceiling(self.guest.volume(channel)));
            gain.set_mute(channel, self.guest.is_muted(channel) || self.host.muted);
        }
        if slowly { self.fader.set_slowly(gain) } else { self.fader.set(gain) }
    }

    /// The gain for the samples.
    pub(crate) fn fader(&mut self) -> &mut Fader {
        &mut self.fader
    }

    /// Volume of the loudest channel, both volumes together; `None` if every channel is muted.
    pub(crate) fn loudest(&self) -> Option<i32> {
        let channels = (0..self.guest.channels()).filter(|&channel| !self.guest.is_muted(channel));
        let loudest = channels.map(|channel| self.guest.volume(channel)).max();
        self.host.with(loudest?)
    }

    /// Writes the guest's volumes into `stream`.
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

/// Converts 0.001 dB to decibels.
pub(crate) fn decibels(millidecibels: i32) -> f64 {
    f64::from(millidecibels) / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The samples of a tenth of a second after the host's volume changed from one to another.
    fn heard(from: i32, to: i32) -> Vec<i16> {
        let host = |millidecibels| HostVolume { millidecibels, ..HostVolume::default() };
        let mut volumes = Volumes::new(1, 48_000, host(from));
        volumes.fader().advance(1);
        volumes.set_host(host(to));
        let mut frames: Vec<u8> = std::iter::repeat_n(10_000_i16.to_le_bytes(), 4_800).flatten().collect();
        volumes.fader().apply(sndif::Format::S16Le, 1, &mut frames);
        frames.as_chunks::<2>().0.iter().map(|sample| i16::from_le_bytes(*sample)).collect()
    }

    #[test]
    fn what_is_raised_by_more_than_12_db_at_once_is_raised_within_a_second() {
        let (little, much) = (heard(-12_000, 0), heard(-20_000, 0));
        assert_eq!(little[480], 10_000, "10 ms");
        assert!((1_800..2_000).contains(&much[4_799]), "a tenth of a second: {}", much[4_799]);
        assert!(heard(0, -40_000)[480] < 101, "nobody is startled by less");
    }
}
