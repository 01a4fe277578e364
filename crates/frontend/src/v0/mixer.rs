//! The mixer of the 2015 driver: for each direction a stereo volume and a stereo switch.

use sndif::v0::{Level, Stereo};

/// Volume and switch of one stream, kept over CLOSE and over connections.
///
/// The protocol has one message for both, SET_VOLUME: a side that is switched off has a level below the scale. Nothing
/// is sent before a setting was made: until then the backend's own volume holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mixer {
    volume: [Level; 2],
    on: [bool; 2],
    /// True once a setting was made.
    set: bool,
    /// Volume that the backend was told in this connection.
    told: Option<Stereo>,
}

impl Default for Mixer {
    fn default() -> Self {
        Self { volume: [Level::FULL; 2], on: [true; 2], set: false, told: None }
    }
}

impl Mixer {
    /// Returns the volume of left and right, −50 to 100.
    #[must_use]
    pub fn volume(&self) -> [i32; 2] {
        self.volume.map(Level::steps)
    }

    /// Returns the switches of left and right; true is on.
    #[must_use]
    pub const fn switch(&self) -> [bool; 2] {
        self.on
    }

    /// Sets the volume, clamped to the scale; returns true if any side changed.
    pub fn set_volume(&mut self, steps: [i32; 2]) -> bool {
        self.set = true;
        let volume = steps.map(Level::new);
        core::mem::replace(&mut self.volume, volume) != volume
    }

    /// Sets the switches; returns true if any side changed.
    pub fn set_switch(&mut self, on: [bool; 2]) -> bool {
        self.set = true;
        core::mem::replace(&mut self.on, on) != on
    }

    /// Takes over the backend's answer to GET_VOLUME, unless a setting was made.
    pub fn heard(&mut self, volume: Stereo) {
        if self.set {
            return;
        }
        for ((level, on), heard) in self.volume.iter_mut().zip(&mut self.on).zip([volume.left, volume.right]) {
            *on = heard != Level::OFF;
            // The level behind a switch that is off is unknown.
            if *on {
                *level = heard;
            }
        }
    }

    /// Returns the volume to send with SET_VOLUME, if there is one. The caller reports with [`told`](Self::told) that
    /// it was sent.
    #[must_use]
    pub fn to_tell(&self) -> Option<Stereo> {
        let side = |level, on| if on { level } else { Level::OFF };
        let ([left, right], [left_on, right_on]) = (self.volume, self.on);
        let volume = Stereo { left: side(left, left_on), right: side(right, right_on) };
        (self.set && self.told != Some(volume)).then_some(volume)
    }

    /// Notes that SET_VOLUME was sent.
    pub fn told(&mut self, volume: Stereo) {
        self.told = Some(volume);
    }

    /// Notes a new connection, whose backend knows nothing yet.
    pub fn replay(&mut self) {
        self.told = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volume_is_clamped_and_any_changed_side_is_a_change() {
        let mut mixer = Mixer::default();
        assert!(mixer.set_volume([-1000, 1000]));
        assert_eq!(mixer.volume(), [-50, 100]);
        assert!(!mixer.set_volume([-50, 100]));
        assert!(mixer.set_volume([-50, 99]), "the right side alone");
        assert!(mixer.set_volume([-49, 99]), "the left side alone");
    }

    #[test]
    fn a_switch_of_one_side_is_a_change() {
        let mut mixer = Mixer::default();
        assert!(mixer.set_switch([false, true]), "the 2015 driver sees a change only where both sides do");
        assert!(!mixer.set_switch([false, true]));
        assert!(mixer.set_switch([false, false]));
        assert!(mixer.set_switch([true, true]));
    }

    #[test]
    fn what_is_told_holds_both_and_only_what_changed() {
        let mut mixer = Mixer::default();
        assert_eq!(mixer.to_tell(), None, "nothing was set");
        mixer.set_volume([10, 20]);
        mixer.set_switch([true, false]);
        let volume = Stereo { left: Level::new(10), right: Level::OFF };
        assert_eq!(mixer.to_tell(), Some(volume));
        mixer.told(volume);
        assert_eq!(mixer.to_tell(), None);
        mixer.set_volume([10, 30]);
        assert_eq!(mixer.to_tell(), None, "behind a switch that is off nothing changes");
        mixer.set_switch([true, true]);
        assert_eq!(mixer.to_tell(), Some(Stereo { left: Level::new(10), right: Level::new(30) }));
        mixer.replay();
        assert!(mixer.to_tell().is_some());
    }

    #[test]
    fn the_backends_volume_is_shown_until_somebody_sets_one() {
        let mut mixer = Mixer::default();
        mixer.heard(Stereo { left: Level::OFF, right: Level::new(-3) });
        assert_eq!((mixer.volume(), mixer.switch()), ([100, -3], [false, true]));
        assert_eq!(mixer.to_tell(), None);
        mixer.set_volume([1, 1]);
        mixer.heard(Stereo::FULL);
        assert_eq!(mixer.volume(), [1, 1]);
    }
}
