//! The peak of each channel since somebody last looked, kept on the way that the frames take anyway.

use crate::samples;
use sndif::Format;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

/// Channels of a frame at most: a channel count is an octet.
const CHANNELS_MAX: usize = u8::MAX as usize;

/// A level meter. One thread has frames [pass](Self::pass), any other may look; neither waits, and while nobody watches,
/// passing costs next to nothing.
#[derive(Debug)]
pub struct Meter {
    watched: AtomicBool,
    /// Magnitudes as the bits of an `f32`: those of positive numbers are in the numbers' order.
    peaks: Box<[AtomicU32]>,
}

impl Meter {
    /// A meter of frames with so many channels, unwatched.
    #[must_use]
    pub fn new(channels: u8) -> Self {
        Self { watched: AtomicBool::new(false), peaks: (0..channels).map(|_| AtomicU32::new(0)).collect() }
    }

    /// Begins to measure, or ends it.
    pub fn watch(&self, on: bool) {
        self.watched.store(on, Relaxed);
    }

    /// Whether it measures.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.watched.load(Relaxed)
    }

    /// Takes in whole frames, if it is watched. Samples that are not numbers count as silence.
    pub fn pass(&self, format: Format, frames: &[u8]) {
        if !self.is_watched() || self.peaks.is_empty() {
            return;
        }
        let mut highest = [0.0_f32; CHANNELS_MAX];
        let Some(highest) = highest.get_mut(..self.peaks.len()) else { return };
        let mut channel = 0;
        for sample in samples(format, frames) {
            highest[channel] = highest[channel].max(sample.abs());
            channel = if channel + 1 == highest.len() { 0 } else { channel + 1 };
        }
        for (peak, highest) in self.peaks.iter().zip(highest) {
            peak.fetch_max(highest.to_bits(), Relaxed);
        }
    }

    /// The peak of each channel since this was last called, full scale = 1.0.
    pub fn take(&self) -> impl Iterator<Item = f32> + '_ {
        self.peaks.iter().map(|peak| f32::from_bits(peak.swap(0, Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn octets(samples: &[i16]) -> Vec<u8> {
        samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
    }

    #[test]
    fn each_channel_has_its_peak_since_it_was_last_asked_for() {
        let meter = Meter::new(2);
        meter.watch(true);
        meter.pass(Format::S16Le, &octets(&[16_384, 0, -8_192, 4_096]));
        meter.pass(Format::S16Le, &octets(&[0, i16::MIN]));
        assert_eq!(meter.take().collect::<Vec<_>>(), [0.5, 1.0]);
        meter.pass(Format::S16Le, &octets(&[8_192, 0]));
        assert_eq!(meter.take().collect::<Vec<_>>(), [0.25, 0.0]);
    }

    #[test]
    fn nothing_is_measured_while_nobody_watches() {
        let meter = Meter::new(1);
        meter.pass(Format::S16Le, &octets(&[i16::MIN]));
        assert_eq!(meter.take().collect::<Vec<_>>(), [0.0]);
        meter.watch(true);
        meter.watch(false);
        meter.pass(Format::S16Le, &octets(&[i16::MIN]));
        assert_eq!(meter.take().collect::<Vec<_>>(), [0.0]);
    }

    proptest! {
        #[test]
        fn peaks_are_those_of_the_level_over_any_octets(octets: Vec<u8>, channels: u8) {
            for format in Format::all() {
                let meter = Meter::new(channels);
                meter.watch(true);
                meter.pass(format, &octets);
                let mut levels = vec![crate::Level::default(); channels.into()];
                crate::level(format, &octets, &mut levels);
                prop_assert!(meter.take().eq(levels.iter().map(|level| level.peak)));
            }
        }
    }
}
