//! Peak of each channel since it was last read, measured where the frames pass anyway.

use crate::block::decode_f32;
use crate::{is_decodable, sample_bytes};
use sndif::Format;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

/// Samples that are measured together: at least a frame, which has up to 255 channels.
const BLOCK: usize = 256;

/// A level meter. One thread [passes](Self::pass) frames, any other may read the peaks; neither waits, and passing
/// costs almost nothing while nobody watches.
#[derive(Debug)]
pub struct Meter {
    watched: AtomicBool,
    /// Magnitudes as the bits of an `f32`: the bits of positive numbers sort like the numbers.
    peaks: Box<[AtomicU32]>,
}

impl Meter {
    /// A meter of frames with `channels` channels, unwatched.
    #[must_use]
    pub fn new(channels: u8) -> Self {
        Self { watched: AtomicBool::new(false), peaks: (0..channels).map(|_| AtomicU32::new(0)).collect() }
    }

    /// Begins or ends measuring.
    pub fn watch(&self, on: bool) {
        self.watched.store(on, Relaxed);
    }

    /// Returns true if the meter measures.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.watched.load(Relaxed)
    }

    /// Measures whole frames, if the meter is watched. Samples that are not numbers count as silence.
    pub fn pass(&self, format: Format, frames: &[u8]) {
        if !self.is_watched() || self.peaks.is_empty() {
            return;
        }
        if !is_decodable(format) {
            return;
        }
        let channels = self.peaks.len();
        // Each turn takes as many frames as fit into a block: each of their samples has a peak of its own, so that none
        // waits for the one before.
        let mut width = channels << (BLOCK / channels).ilog2();
        let (mut block, mut highest) = ([0.0; BLOCK], [0.0; BLOCK]);
        for bytes in frames.chunks(width * sample_bytes(format)) {
            let samples = &mut block[..bytes.len() / sample_bytes(format)];
            decode_f32(format, bytes, samples);
            raise(&mut highest, samples);
        }
        // Merges the second half of the frames into the first, until one is left.
        while width > channels {
            width /= 2;
            let (first, second) = highest.split_at_mut(width);
            raise(first, &second[..width]);
        }
        for (peak, highest) in self.peaks.iter().zip(highest) {
            peak.fetch_max(highest.to_bits(), Relaxed);
        }
    }

    /// The peak of each channel since the last call, full scale = 1.0.
    pub fn take(&self) -> impl Iterator<Item = f32> + '_ {
        self.peaks.iter().map(|peak| f32::from_bits(peak.swap(0, Relaxed)))
    }
}

/// Raises each of `highest` to the magnitude of its sample. A comparison instead of `max`: one vector instruction.
fn raise(highest: &mut [f32], samples: &[f32]) {
    for (highest, sample) in highest.iter_mut().zip(samples) {
        let sample = sample.abs();
        *highest = if sample > *highest { sample } else { *highest };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(samples: &[i16]) -> Vec<u8> {
        samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
    }

    #[test]
    fn each_channel_has_its_peak_since_it_was_last_asked_for() {
        let meter = Meter::new(2);
        meter.watch(true);
        meter.pass(Format::S16Le, &bytes(&[16_384, 0, -8_192, 4_096]));
        meter.pass(Format::S16Le, &bytes(&[0, i16::MIN]));
        assert_eq!(meter.take().collect::<Vec<_>>(), [0.5, 1.0]);
        meter.pass(Format::S16Le, &bytes(&[8_192, 0]));
        assert_eq!(meter.take().collect::<Vec<_>>(), [0.25, 0.0]);
    }

    #[test]
    fn nothing_is_measured_while_nobody_watches() {
        let meter = Meter::new(1);
        meter.pass(Format::S16Le, &bytes(&[i16::MIN]));
        assert_eq!(meter.take().collect::<Vec<_>>(), [0.0]);
        meter.watch(true);
        meter.watch(false);
        meter.pass(Format::S16Le, &bytes(&[i16::MIN]));
        assert_eq!(meter.take().collect::<Vec<_>>(), [0.0]);
    }

    proptest! {
        #[test]
        fn peaks_are_those_of_the_level_over_any_bytes(bytes: Vec<u8>, channels: u8) {
            for format in Format::all() {
                let meter = Meter::new(channels);
                meter.watch(true);
                meter.pass(format, &bytes);
                let mut levels = vec![crate::Level::default(); channels.into()];
                crate::level(format, &bytes, &mut levels);
                prop_assert!(meter.take().eq(levels.iter().map(|level| level.peak)));
            }
        }
    }
}
