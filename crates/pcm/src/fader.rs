//! A gain that changes without a click: the change takes 10 ms, or a second.

use crate::gain::apply_each;
use crate::{Gain, supports_gain};
use sndif::Format;

/// A change takes this part of a second (10 ms).
const FADE: u32 = 100;

/// A [`Gain`] on its way to another one, in a stream of frames.
///
/// [`apply`](Self::apply) scales frames, [`advance`](Self::advance) says how many of them have passed. While nothing
/// changes, the fader is the gain itself: unchanged samples stay as they are, bit by bit.
#[derive(Debug, Clone)]
pub struct Fader {
    target: Gain,
    /// Linear factors at the beginning of the change.
    from: Vec<f64>,
    /// Frames that the change takes.
    fade_frames: u32,
    rate_hz: u32,
    /// Frames of the change that have passed; all of them while nothing changes.
    passed: u32,
    /// True until a frame has passed: nothing was heard that could click.
    fresh: bool,
}

impl Fader {
    /// A fader at 0 dB for a stream of `channels` channels at `rate_hz`.
    #[must_use]
    pub fn new(channels: u8, rate_hz: u32) -> Self {
        let fade_frames = (rate_hz / FADE).max(1);
        let gain = Gain::new(channels);
        let from = vec![1.0; usize::from(channels)];
        Self { target: gain, from, fade_frames, rate_hz, passed: fade_frames, fresh: true }
    }

    /// Begins to change to another gain, made for as many channels; immediately where no frame has passed yet.
    pub fn set(&mut self, gain: Gain) {
        self.begin(gain, self.rate_hz / FADE);
    }

    /// Same as [`set`](Self::set), within a second: for a change that would startle.
    pub fn set_slowly(&mut self, gain: Gain) {
        self.begin(gain, self.rate_hz);
    }

    fn begin(&mut self, gain: Gain, frames: u32) {
        if gain == self.target {
            return;
        }
        for channel in 0..self.from.len() {
            self.from[channel] = self.factor(channel, self.passed);
        }
        self.target = gain;
        self.fade_frames = frames.max(1);
        self.passed = if self.fresh { self.fade_frames } else { 0 };
    }

    /// Returns true if the fader changes nothing.
    #[must_use]
    pub fn is_identity(&self) -> bool {
        self.passed >= self.fade_frames && self.target.is_identity()
    }

    /// The factor of a channel when `passed` frames of the change have passed.
    fn factor(&self, channel: usize, passed: u32) -> f64 {
        self.factor_at(channel, self.part(passed))
    }

    /// The part of the change that is done once `passed` of its frames have passed.
    fn part(&self, passed: u32) -> f64 {
        f64::from(passed.min(self.fade_frames)) / f64::from(self.fade_frames)
    }

    /// The factor of a channel when this part of the change is done.
    #[inline]
    fn factor_at(&self, channel: usize, part: f64) -> f64 {
        let to = self.target.factor(channel);
        self.from.get(channel).map_or(to, |from| from + (to - from) * part)
    }

    /// Scales the next frames, in place; a format that [cannot be scaled](supports_gain) is muted or not, without a
    /// fade.
    pub fn apply(&mut self, format: Format, channels: u8, frames: &mut [u8]) {
        let frame_bytes = format.frame_bytes(channels).unwrap_or_default() as usize;
        let fading = (self.fade_frames - self.passed) as usize;
        if fading == 0 || frame_bytes == 0 || !supports_gain(format) {
            return self.target.apply(format, channels, frames);
        }
        let (faded, rest) = frames.split_at_mut(frames.len().min(fading * frame_bytes));
        let (mut passed, mut channel, mut part) = (self.passed, usize::from(channels), 0.0);
        apply_each(format, faded, || {
            if channel == usize::from(channels) {
                (passed, channel) = (passed + 1, 0);
                part = self.part(passed);
            }
            channel += 1;
            self.factor_at(channel - 1, part)
        });
        self.target.apply(format, channels, rest);
    }

    /// Advances the change by `frames` of the scaled frames, which have passed.
    pub fn advance(&mut self, frames: usize) {
        self.fresh &= frames == 0;
        let left = self.fade_frames - self.passed;
        self.passed += u32::try_from(frames).unwrap_or(u32::MAX).min(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gain(millidecibels: i32) -> Gain {
        let mut gain = Gain::new(2);
        gain.set_volume(0, millidecibels);
        gain.set_volume(1, millidecibels);
        gain
    }

    /// 20 ms of a constant at 48 kHz, in blocks of 100 frames.
    fn run(fader: &mut Fader) -> Vec<i16> {
        let mut heard = Vec::new();
        for _ in 0..10 {
            let mut block: Vec<u8> = std::iter::repeat_n(10_000_i16.to_le_bytes(), 200).flatten().collect();
            fader.apply(Format::S16Le, 2, &mut block);
            fader.advance(100);
            heard.extend(block.as_chunks::<4>().0.iter().map(|frame| i16::from_le_bytes([frame[0], frame[1]])));
        }
        heard
    }

    #[test]
    fn a_change_takes_ten_milliseconds_in_even_steps_and_none_at_the_beginning() {
        let mut fader = Fader::new(2, 48_000);
        fader.set(gain(-6_021));
        assert!(run(&mut fader).iter().all(|&sample| sample == 5_000), "nothing was heard before");
        let mut muted = gain(-6_021);
        muted.set_mute(0, true);
        muted.set_mute(1, true);
        for (next, level) in [(gain(0), 10_000), (muted, 0), (gain(0), 10_000)] {
            let before = fader.target.factor(0) * 10_000.0;
            fader.set(next);
            let heard = run(&mut fader);
            let step = (f64::from(level) - before) / 480.0;
            for (at, &sample) in (1..).zip(&heard) {
                let expected = if at < 480 { before + step * f64::from(at) } else { f64::from(level) };
                assert!((f64::from(sample) - expected).abs() < 1.0, "frame {at}: {sample}, not {expected}");
            }
        }
        assert!(fader.is_identity());
    }

    #[test]
    fn a_change_within_a_change_goes_on_from_where_it_is() {
        let mut fader = Fader::new(2, 48_000);
        fader.advance(1);
        fader.set(gain(-100_000));
        fader.advance(240);
        fader.set(gain(0));
        let heard = run(&mut fader);
        assert!((heard[0] - 5_010).abs() < 3 && heard[479] == 10_000, "{} {}", heard[0], heard[479]);
    }

    #[test]
    fn a_slow_change_takes_a_second_and_the_next_one_is_quick_again() {
        let mut fader = Fader::new(2, 480);
        fader.set(gain(-20_000));
        fader.advance(1);
        fader.set_slowly(gain(0));
        fader.advance(240);
        assert!((fader.factor(0, fader.passed) - 0.55).abs() < 0.01 && !fader.is_identity());
        fader.advance(240);
        assert!(fader.is_identity());
        fader.set(gain(-6_021));
        fader.advance(4);
        assert!((fader.factor(0, fader.passed) - 0.5).abs() < 0.001);
    }

    #[test]
    fn what_was_not_taken_is_scaled_as_before() {
        let mut fader = Fader::new(1, 48_000);
        fader.advance(1);
        let mut silent = Gain::new(1);
        silent.set_mute(0, true);
        fader.set(silent);
        let block = [100_u8, 100, 100, 100].repeat(8);
        let (mut first, mut second) = (block.clone(), block);
        fader.apply(Format::S16Le, 1, &mut first);
        fader.apply(Format::S16Le, 1, &mut second);
        assert_eq!(first, second);
    }
}
