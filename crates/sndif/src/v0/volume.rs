//! The scale of SET_VOLUME and GET_VOLUME.

use core::ops::RangeInclusive;

/// The level of one side, on the scale of the 2015 driver's mixer: −50 to 100, in steps of 0.30 dB that end at 0 dB.
///
/// The driver has a switch beside each volume and no operation for it. In this project a level below the scale,
/// [`Level::OFF`], means that the switch is off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Level(i32);

/// Size of a step, in 0.001 dB.
const STEP_MDB: i32 = 300;

impl Level {
    /// Levels that are not silent.
    pub const RANGE: RangeInclusive<i32> = -50..=100;
    /// Silence.
    pub const OFF: Self = Self(-51);
    /// 0 dB: unchanged samples.
    pub const FULL: Self = Self(100);

    /// Returns the level with this number, clamped to the scale.
    #[must_use]
    pub fn new(steps: i32) -> Self {
        Self(steps.clamp(*Self::RANGE.start(), *Self::RANGE.end()))
    }

    /// Returns the level nearest to a gain in 0.001 dB, [`Level::OFF`] below the scale's end.
    #[must_use]
    pub fn from_millidecibels(gain: i32) -> Self {
        Self::or_off(gain.saturating_add(STEP_MDB / 2).div_euclid(STEP_MDB).saturating_add(Self::FULL.0))
    }

    /// Returns the level with this number, [`Level::OFF`] below the scale. [`Level::OFF`] is the number before the
    /// scale's first, so this is one clamp; a comparison before [`Level::new`] is miscompiled by rustc 1.95 (optimised,
    /// `i32::MIN` passed unchanged).
    fn or_off(steps: i32) -> Self {
        Self(steps.clamp(Self::OFF.0, Self::FULL.0))
    }

    /// Returns the gain in 0.001 dB; `None` is silence.
    #[must_use]
    pub fn millidecibels(self) -> Option<i32> {
        (self != Self::OFF).then(|| self.0.saturating_sub(Self::FULL.0).saturating_mul(STEP_MDB))
    }

    /// Returns the number on the scale.
    #[must_use]
    pub const fn steps(self) -> i32 {
        self.0
    }

    /// Parses the number on the wire, a two's complement.
    pub(super) fn from_wire(word: u32) -> Self {
        Self::or_off(word.cast_signed())
    }

    pub(super) const fn to_wire(self) -> u32 {
        self.0.cast_unsigned()
    }
}

/// Volume of both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stereo {
    /// Level of the first channel, and of every second from there.
    pub left: Level,
    /// Level of the second channel, and of every second from there.
    pub right: Level,
}

impl Stereo {
    /// Unchanged samples.
    pub const FULL: Self = Self { left: Level::FULL, right: Level::FULL };

    /// Returns the level for a channel of a stream with `channels` channels. A single channel is heard on both sides,
    /// so the louder side decides.
    #[must_use]
    pub fn of_channel(&self, channel: u8, channels: u8) -> Level {
        match (channels, channel.is_multiple_of(2)) {
            (1, _) => self.left.max(self.right),
            (_, true) => self.left,
            (_, false) => self.right,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_ends_at_minus_45_and_0_decibel_and_below_it_is_silence() {
        assert_eq!(Level::new(100).millidecibels(), Some(0));
        assert_eq!(Level::new(0).millidecibels(), Some(-30_000));
        assert_eq!(Level::new(-50).millidecibels(), Some(-45_000));
        assert_eq!(Level::from_wire(0xFFFF_FFCE), Level::new(-50));
        assert_eq!(Level::from_wire(0xFFFF_FFCD), Level::OFF);
        assert_eq!(Level::from_wire(0x8000_0000).millidecibels(), None);
        assert_eq!(Level::from_wire(101), Level::FULL);
        assert_eq!(Level::from_wire(0x7FFF_FFFF), Level::FULL);
    }

    #[test]
    fn every_level_leads_back_from_its_gain() {
        for steps in Level::RANGE {
            let level = Level::new(steps);
            assert_eq!(level.millidecibels().map(Level::from_millidecibels), Some(level));
            assert_eq!(Level::from_wire(level.to_wire()), level);
        }
        assert_eq!(Level::from_millidecibels(-45_200), Level::OFF);
        assert_eq!(Level::from_millidecibels(-45_100), Level::new(-50));
        assert_eq!(Level::from_millidecibels(i32::MIN), Level::OFF);
        assert_eq!(Level::from_millidecibels(i32::MAX), Level::FULL);
    }

    #[test]
    fn a_single_channel_follows_the_louder_side() {
        let volume = Stereo { left: Level::OFF, right: Level::new(7) };
        assert_eq!(volume.of_channel(0, 1), Level::new(7));
        assert_eq!([0, 1, 2, 3].map(|channel| volume.of_channel(channel, 4).steps()), [-51, 7, -51, 7]);
    }
}
