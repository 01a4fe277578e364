//! Level meter of one channel: the peak, the highest peak of the last moments, and a mark for clipping.

use std::time::Duration;

/// The quietest level that a meter shows, in decibels of full scale.
pub(super) const FLOOR_DB: f32 = -60.0;

/// Level from which on a sample counts as full scale: half a step of 16 bits below it.
const CLIP_DB: f32 = -0.0001;

/// Time that the highest peak stays.
const HOLD: Duration = Duration::from_millis(1500);

/// Time that the mark for clipping stays.
const CLIP_HOLD: Duration = Duration::from_secs(4);

/// The meter of one channel. Times are counted from a fixed moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Meter {
    /// The peak since the last look; `None` is silence.
    pub(super) level_db: Option<f32>,
    held: Option<(f32, Duration)>,
    clipped: Option<Duration>,
}

impl Meter {
    /// Takes the peak that was measured until `now`.
    pub(super) fn update(&mut self, level_db: Option<f32>, now: Duration) {
        let level_db = level_db.filter(|level| !level.is_nan());
        self.level_db = level_db;
        let kept = self.held.filter(|(_, since)| now.saturating_sub(*since) < HOLD);
        self.held = match (kept, level_db) {
            (Some(kept), Some(level)) if level < kept.0 => Some(kept),
            (Some(kept), None) => Some(kept),
            (_, level) => level.map(|level| (level, now)),
        };
        if level_db.is_some_and(|level| level >= CLIP_DB) {
            self.clipped = Some(now);
        } else if self.clipped.is_some_and(|since| now.saturating_sub(since) >= CLIP_HOLD) {
            self.clipped = None;
        }
    }

    /// The highest peak of the last moments.
    pub(super) fn held_db(&self) -> Option<f32> {
        self.held.map(|(level, _)| level)
    }

    /// Returns true if a sample was at full scale a moment ago.
    pub(super) fn is_clipped(&self) -> bool {
        self.clipped.is_some()
    }
}

/// Position of a level between the floor, 0, and full scale, 1.
pub(super) fn fraction(level_db: f32) -> f32 {
    ((level_db - FLOOR_DB) / -FLOOR_DB).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn the_highest_peak_is_held_for_a_while() {
        let mut meter = Meter::default();
        meter.update(Some(-6.0), at(10.0));
        meter.update(Some(-20.0), at(11.0));
        assert_eq!((meter.level_db, meter.held_db()), (Some(-20.0), Some(-6.0)));
        meter.update(None, at(11.4));
        assert_eq!((meter.level_db, meter.held_db()), (None, Some(-6.0)));
        meter.update(Some(-30.0), at(11.6));
        assert_eq!(meter.held_db(), Some(-30.0));
        meter.update(Some(-3.0), at(11.7));
        assert_eq!(meter.held_db(), Some(-3.0));
    }

    #[test]
    fn clipping_is_marked_for_a_while() {
        let mut meter = Meter::default();
        meter.update(Some(-0.01), at(0.0));
        assert!(!meter.is_clipped());
        meter.update(Some(0.0), at(1.0));
        meter.update(Some(-40.0), at(4.9));
        assert!(meter.is_clipped());
        meter.update(None, at(5.0));
        assert!(!meter.is_clipped());
    }

    #[test]
    fn a_level_that_is_no_number_is_silence() {
        let mut meter = Meter::default();
        meter.update(Some(f32::NAN), at(0.0));
        assert_eq!((meter.level_db, meter.held_db()), (None, None));
    }

    #[test]
    fn levels_lie_between_floor_and_full_scale() {
        assert_eq!([-90.0, -60.0, -30.0, 0.0, 6.0].map(fraction), [0.0, 0.0, 0.5, 1.0, 1.0]);
    }
}
