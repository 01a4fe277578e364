//! Keeps a PCM that has no clock of its own from running ahead of time.
//!
//! ALSA's `null` and `file` take all frames immediately, and `null` gives silence without end. Their position is
//! therefore held to what the system's clock allows. A real device runs a few hundred ppm fast at most, which a margin
//! of 1000 ppm lets through; a PCM that presses against that limit for [`PROOF`] has no clock, and gets exactly the
//! system's.

use std::time::{Duration, Instant};

/// Time that a PCM must be ahead before it counts as one without a clock.
const PROOF: Duration = Duration::from_secs(1);
/// Nanoseconds per second, and the same with the margin for real devices.
const SECOND: u128 = 1_000_000_000;
const SECOND_WITH_MARGIN: u128 = 999_000_000;

/// Limits a position in frames by time.
#[derive(Debug)]
pub(super) struct Clock {
    rate_hz: u32,
    /// Frames by which a PCM must be ahead to be suspected.
    suspicious_frames: u64,
    anchor: Instant,
    anchor_frames: u64,
    ahead_since: Option<Instant>,
    exact: bool,
}

impl Clock {
    pub fn new(rate_hz: u32, suspicious_frames: u64, now: Instant) -> Self {
        Self {
            rate_hz,
            suspicious_frames: suspicious_frames.max(1),
            anchor: now,
            anchor_frames: 0,
            ahead_since: None,
            exact: false,
        }
    }

    /// Counts from `frames` at `now`: the PCM stood still, or was without data.
    pub fn restart(&mut self, frames: u64, now: Instant) {
        (self.anchor, self.anchor_frames, self.ahead_since) = (now, frames, None);
    }

    /// Returns true if the PCM turned out to have no clock: waiting for it is useless.
    pub fn is_exact(&self) -> bool {
        self.exact
    }

    /// The position `frames` that the PCM claims, or what time allows if that is less.
    pub fn limit(&mut self, frames: u64, now: Instant) -> u64 {
        let second = if self.exact { SECOND } else { SECOND_WITH_MARGIN };
        let elapsed = now.saturating_duration_since(self.anchor).as_nanos();
        let due = self.anchor_frames + (elapsed * u128::from(self.rate_hz) / second) as u64;
        if frames < due + self.suspicious_frames {
            self.ahead_since = None;
        } else {
            let since = *self.ahead_since.get_or_insert(now);
            self.exact |= now.saturating_duration_since(since) >= PROOF;
        }
        frames.min(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_slightly_fast_keeps_its_own_time() {
        let start = Instant::now();
        let mut clock = Clock::new(48_000, 480, start);
        for second in 1..10_000_u64 {
            let frames = second * 48_024; // 500 ppm
            assert_eq!(clock.limit(frames, start + Duration::from_secs(second)), frames);
        }
        assert!(!clock.is_exact());
    }

    #[test]
    fn a_pcm_without_a_clock_is_held_to_the_systems() {
        let start = Instant::now();
        let mut clock = Clock::new(48_000, 240, start);
        let mut position = 0;
        for tick in 1..6_000_u64 {
            let now = start + Duration::from_millis(tick * 10);
            // The queue is kept 20 ms long, and all of it is claimed to be heard.
            position = clock.limit(position + 960, now).max(position);
            assert!(position <= tick * 480 + 60, "{tick}: {position}");
        }
        assert!(clock.is_exact());
        assert_eq!(position, 5_999 * 480);
    }

    #[test]
    fn time_without_data_is_not_made_up_for() {
        let start = Instant::now();
        let mut clock = Clock::new(1_000, 20, start);
        let later = start + Duration::from_secs(60);
        clock.restart(500, later);
        assert_eq!(clock.limit(9_999, later + Duration::from_millis(10)), 510);
    }
}
