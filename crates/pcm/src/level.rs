//! Peak and RMS per channel over a block of frames.

use crate::samples;
use sndif::Format;

/// Loudness of a channel, full scale = 1.0.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Level {
    /// The greatest magnitude.
    pub peak: f32,
    /// The root of the mean square.
    pub rms: f32,
}

/// An amplitude in dB of full scale; silence is −∞.
#[must_use]
pub fn dbfs(amplitude: f32) -> f32 {
    20.0 * amplitude.log10()
}

/// Measures `frames` into `levels`, one entry per channel; `levels.len()` is the channel count.
///
/// Without frames, and for a format whose samples are not numbers, every level is 0.
pub fn level(format: Format, frames: &[u8], levels: &mut [Level]) {
    levels.fill(Level::default());
    let channels = levels.len();
    if channels == 0 {
        return;
    }
    let mut count = 0_usize;
    for (index, sample) in samples(format, frames).enumerate() {
        let level = &mut levels[index % channels];
        level.peak = level.peak.max(sample.abs());
        level.rms += sample * sample;
        count = index + 1;
    }
    for (channel, level) in levels.iter_mut().enumerate() {
        let samples = count.saturating_sub(channel).div_ceil(channels).max(1);
        level.rms = (level.rms / samples as f32).sqrt();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn channels_are_measured_apart() {
        let frames: Vec<u8> = [i16::MIN, 0, i16::MIN, 16384].iter().flat_map(|s| s.to_le_bytes()).collect();
        let mut levels = [Level::default(); 2];
        level(Format::S16Le, &frames, &mut levels);
        assert_eq!(levels[0], Level { peak: 1.0, rms: 1.0 });
        assert_eq!(levels[1].peak, 0.5);
        assert!((levels[1].rms - 0.125_f32.sqrt()).abs() < 1e-6);
        assert_eq!(dbfs(1.0), 0.0);
        assert!((dbfs(0.5) + 6.0206).abs() < 1e-4);
    }

    #[test]
    fn nothing_is_silent() {
        let mut levels = [Level { peak: 1.0, rms: 1.0 }; 2];
        level(Format::S16Le, &[], &mut levels);
        assert_eq!(levels, [Level::default(); 2]);
        level(Format::Gsm, &[1, 2, 3], &mut levels);
        assert_eq!(levels, [Level::default(); 2]);
    }

    proptest! {
        #[test]
        fn any_bytes_and_channel_count_are_measured(bytes: Vec<u8>, channels in 0..9_usize) {
            for format in Format::all() {
                level(format, &bytes, &mut vec![Level::default(); channels]);
            }
        }
    }
}
