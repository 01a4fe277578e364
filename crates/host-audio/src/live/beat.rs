//! Times at which a device's thread tells the stream's owner that the position has moved on.
//!
//! A guest is told of a period once the position lies a frame past its end (docs/protocol.md, "Positions"), so the
//! owner is woken then: a frame sooner the owner could report nothing and would have to wait for the next period. A
//! queue that is shorter than a period is refilled in between.

/// Positions, in frames, at which the owner is told.
#[derive(Debug)]
pub(crate) struct Beat {
    /// The owner's period.
    period: u64,
    /// Frames after which the queue has to be refilled, from each time that the owner is told.
    refill: u64,
    /// Frames of a millisecond, the shortest step.
    shortest: u64,
    /// Position from which periods are counted.
    base: u64,
    /// The last position that was told.
    told: u64,
}

impl Beat {
    /// A beat that tells of each of the owner's periods (0: none), but at most once a millisecond, and each time that
    /// `refill` frames have passed.
    pub fn new(period: u32, refill: u64, rate_hz: u32) -> Self {
        let shortest = u64::from(rate_hz / 1_000).max(1);
        let refill = refill.max(shortest);
        let period = if period == 0 { refill } else { u64::from(period).max(shortest) };
        Self { period, refill, shortest, base: 0, told: 0 }
    }

    /// Tells each time that `refill` frames have passed.
    pub fn refill_every(&mut self, refill: u64) {
        self.refill = refill.max(self.shortest);
    }

    /// Counts periods from `base` on, where the owner begins again.
    pub fn restart(&mut self, base: u64) {
        (self.base, self.told) = (base, base);
    }

    /// The next position at which the owner is told.
    pub fn next(&self) -> u64 {
        let passed = self.told.saturating_sub(self.base).saturating_sub(1);
        let boundary = (passed / self.period + 1) * self.period;
        (self.base + boundary).min(self.told.max(self.base) + self.refill) + 1
    }

    /// The last position that was told.
    pub fn told(&self) -> u64 {
        self.told
    }

    /// Returns true if `position` has to be told, and notes that it is.
    pub fn reached(&mut self, position: u64) -> bool {
        let due = position >= self.next();
        if due {
            self.told = position;
        }
        due
    }

    /// Notes that `position` is told, though it is not due.
    pub fn tell(&mut self, position: u64) {
        self.told = self.told.max(position);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_is_told_one_frame_behind_its_end() {
        let mut beat = Beat::new(480, 960, 48_000);
        assert!(!beat.reached(480));
        assert!(beat.reached(481));
        assert!(!beat.reached(960));
        assert_eq!(beat.next(), 961);
        assert!(beat.reached(2_000));
        assert_eq!(beat.next(), 2_401);
    }

    #[test]
    fn a_position_told_on_a_boundary_leaves_that_boundary_open() {
        let mut beat = Beat::new(480, 960, 48_000);
        beat.tell(480);
        assert!(beat.reached(481));
    }

    #[test]
    fn a_short_queue_is_refilled_within_a_long_period() {
        let mut beat = Beat::new(2_000, 960, 48_000);
        let told = [961, 1_922, 2_001, 2_962, 3_923, 4_001];
        for position in told {
            assert_eq!(beat.next(), position);
            assert!(beat.reached(position));
        }
    }

    #[test]
    fn periods_are_counted_from_where_the_owner_begins_again() {
        let mut beat = Beat::new(480, 960, 48_000);
        assert!(beat.reached(700));
        beat.restart(700);
        assert_eq!(beat.next(), 1_181);
    }

    #[test]
    fn nobody_is_told_more_than_once_a_millisecond() {
        assert_eq!(Beat::new(1, 960, 48_000).next(), 49);
        assert_eq!(Beat::new(0, 960, 48_000).next(), 961);
    }
}
