// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Estimate of the device's position between two positions that the backend tells: the last one, advanced at the
//! stream's rate.
//!
//! A position may be told late, where the backend or this domain has to wait for a processor, but never early. So the
//! estimate adopts early positions immediately and follows late ones slowly, since a device may be slower than its
//! rate.
//!
//! A backend that is late or gone does not let the estimate run away: it stops less than a period and a half after the
//! last position. A backend may look at a stream up to a quarter of a period after a period's end, and may be late. The
//! estimate may be ahead of the next position; the code that shows it to ALSA does not go back.

use frontend::Geometry;

/// Limit on elapsed time, longer than any period; nothing overflows below it.
const ELAPSED_NS_MAX: u64 = 1 << 40;

/// Divisor of a late position's delay: the estimate follows by this part of it. Where positions are told less often
/// than once a period, the part is larger, up to the second: the device may have drifted longer.
const LATE_PARTS: u64 = 16;
const LATE_PARTS_MIN: u64 = 4;

/// The last known position, and its time. Positions are bytes since `prepare`.
#[derive(Default)]
pub(crate) struct Estimate {
    told: u64,
    told_ns: u64,
    /// Last position whose time is known: the device started there, or the backend notified of it.
    timed: u64,
    moving: bool,
    /// True once the backend has told a position since the device began to move: the time of the start is known.
    followed: bool,
}

impl Estimate {
    /// Starts the estimate: the device begins to move, or goes on, at `position`.
    pub(crate) fn start(&mut self, position: u64, now_ns: u64) {
        *self = Self { told: position, told_ns: now_ns, timed: position, moving: true, followed: false };
    }

    /// Stops the estimate: the device stands still at `position`.
    pub(crate) fn stop(&mut self, position: u64) {
        *self = Self { told: position, ..Self::default() };
    }

    /// Takes a position that the backend has told. A repeated position says nothing about its time.
    pub(crate) fn tell(&mut self, position: u64, now_ns: u64, geometry: &Geometry) {
        if position == self.told {
            return;
        }
        let moved_ns = position.checked_sub(self.told).map(|moved| duration_ns(moved, geometry));
        let due_ns = moved_ns.map(|moved_ns| self.told_ns.saturating_add(moved_ns)).filter(|_| self.followed);
        self.told_ns = match due_ns.and_then(|due_ns| Some((due_ns, now_ns.checked_sub(due_ns)?))) {
            Some((due_ns, late_ns)) if late_ns < duration_ns(geometry.period_bytes().into(), geometry) => {
                let parts = LATE_PARTS.checked_div(self.periods_to(position, geometry)).unwrap_or(LATE_PARTS);
                due_ns.saturating_add(late_ns.checked_div(parts.max(LATE_PARTS_MIN)).unwrap_or(0))
            }
            // The position is ahead of the estimate, or so late that the device must have stood still.
            _ => now_ns,
        };
        (self.told, self.timed, self.followed) = (position, position, self.moving);
    }

    /// Returns the number of periods from the last position whose time is known.
    fn periods_to(&self, position: u64, geometry: &Geometry) -> u64 {
        position.saturating_sub(self.timed).checked_div(geometry.period_bytes().into()).unwrap_or(0)
    }

    /// Returns true once the time is known at which the device began to move.
    pub(crate) const fn is_followed(&self) -> bool {
        self.followed
    }

    /// Takes the last position in the event page, which was found there. The backend wrote it at some time before, but,
    /// as no other followed, less than a period and a half ago.
    pub(crate) fn find(&mut self, position: u64, now_ns: u64, geometry: &Geometry) {
        if position == self.told {
            return;
        }
        let moved_ns = position.checked_sub(self.told).map(|moved| duration_ns(moved, geometry));
        let due_ns = moved_ns.map(|moved_ns| self.told_ns.saturating_add(moved_ns)).filter(|_| self.followed);
        let least_ns = now_ns.saturating_sub(duration_ns(reach_bytes(geometry), geometry));
        self.told_ns = due_ns.map_or(now_ns, |due_ns| due_ns.max(least_ns).min(now_ns));
        (self.told, self.followed) = (position, self.moving);
    }

    /// The device stands, as it ran dry: the next position tells when it goes on.
    pub(crate) fn stand(&mut self) {
        self.followed = false;
    }

    /// Returns the estimated position, in bytes, a multiple of a frame.
    pub(crate) fn position(&self, now_ns: u64, geometry: &Geometry) -> u64 {
        if !self.moving {
            return self.told;
        }
        let frame = u64::from(geometry.frame_bytes());
        let elapsed_ns = now_ns.saturating_sub(self.told_ns).min(ELAPSED_NS_MAX);
        let frames = elapsed_ns.saturating_mul(geometry.rate_hz().into()) / 1_000_000_000;
        let most = reach_bytes(geometry).saturating_sub(frame);
        self.told.saturating_add(frames.saturating_mul(frame).min(most))
    }
}

/// Returns the bytes that the device moves until the next position is told at the latest.
fn reach_bytes(geometry: &Geometry) -> u64 {
    let (period, frame) = (u64::from(geometry.period_bytes()), u64::from(geometry.frame_bytes()));
    let half = (period / 2).checked_div(frame).unwrap_or(0).saturating_mul(frame);
    period.saturating_add(half)
}

/// Returns the duration of `bytes`.
fn duration_ns(bytes: u64, geometry: &Geometry) -> u64 {
    bytes.saturating_mul(1_000_000_000).checked_div(geometry.bytes_per_second()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use sndif::Format;

    use super::*;

    /// Geometry for tests: 48 kHz, frames of 4 bytes, periods of 480 frames.
    fn geometry() -> Geometry {
        Geometry::new(Format::S16Le, 2, 48_000, 480, 1920).unwrap()
    }

    const MS: u64 = 1_000_000;

    #[test]
    fn position_goes_on_at_the_streams_rate_from_what_was_told() {
        let geometry = geometry();
        let mut estimate = Estimate::default();
        assert_eq!(estimate.position(5 * MS, &geometry), 0, "nothing has started");
        estimate.start(0, 5 * MS);
        assert_eq!(estimate.position(6 * MS, &geometry), 48 * 4);
        estimate.tell(484 * 4, 15 * MS, &geometry);
        assert_eq!(estimate.position(15 * MS + MS / 2, &geometry), 508 * 4);
    }

    #[test]
    fn position_stops_short_of_a_period_and_a_half_behind_what_was_told() {
        let geometry = geometry();
        let mut estimate = Estimate::default();
        estimate.start(1920, 0);
        assert_eq!(estimate.position(12 * MS, &geometry), 1920 + 576 * 4, "the backend looks at other streams as well");
        for late_ns in [15 * MS, 60_000 * MS, u64::MAX] {
            assert_eq!(estimate.position(late_ns, &geometry), 1920 + 719 * 4, "{late_ns}");
        }
    }

    #[test]
    fn position_stands_still_while_paused_and_goes_on_from_there() {
        let geometry = geometry();
        let mut estimate = Estimate::default();
        estimate.start(0, 0);
        let paused = estimate.position(5 * MS, &geometry);
        estimate.stop(paused);
        assert_eq!(estimate.position(900 * MS, &geometry), 240 * 4);
        estimate.start(paused, 1000 * MS);
        assert_eq!(estimate.position(1001 * MS, &geometry), 288 * 4);
    }

    #[test]
    fn position_told_twice_says_nothing_of_when() {
        let geometry = geometry();
        let mut estimate = Estimate::default();
        estimate.start(0, 0);
        estimate.tell(1920, 10 * MS, &geometry);
        estimate.tell(1920, 14 * MS, &geometry);
        assert_eq!(estimate.position(15 * MS, &geometry), 1920 + 240 * 4);
    }

    /// Returns an estimate that the first event has corrected: the device was at 1920 bytes after 13 ms.
    fn followed(geometry: &Geometry) -> Estimate {
        let mut estimate = Estimate::default();
        // The backend needs 3 ms to start.
        estimate.start(0, 0);
        estimate.tell(1920, 13 * MS, geometry);
        estimate
    }

    #[test]
    fn what_comes_late_moves_the_estimate_by_a_part_of_it() {
        let geometry = geometry();
        let mut estimate = followed(&geometry);
        assert_eq!(
            estimate.position(14 * MS, &geometry),
            1920 + 48 * 4,
            "the start is where it was, not where it was asked for"
        );
        // The event is 8 ms late, so the estimate is half a millisecond behind.
        estimate.tell(2 * 1920, 31 * MS, &geometry);
        assert_eq!(estimate.position(31 * MS, &geometry), 2 * 1920 + 360 * 4);
        // The next event is in time, so the estimate is exact again.
        estimate.tell(3 * 1920, 33 * MS, &geometry);
        assert_eq!(estimate.position(34 * MS, &geometry), 3 * 1920 + 48 * 4);
    }

    #[test]
    fn a_device_that_stood_is_believed_at_once_and_a_slow_one_in_the_end() {
        let geometry = geometry();
        let mut stood = followed(&geometry);
        stood.tell(2 * 1920, 33 * MS, &geometry);
        assert_eq!(stood.position(34 * MS, &geometry), 2 * 1920 + 48 * 4);
        // The device is slower by 500 parts in a million: the estimate is never more than 0.1 ms ahead.
        let mut slow = followed(&geometry);
        for period in 2..2000 {
            let at_ns = 3 * MS + period * (10 * MS + 5_000);
            slow.tell(period * 1920, at_ns, &geometry);
            let ahead = slow.position(at_ns + MS, &geometry) - (period * 1920 + 48 * 4);
            assert!(ahead <= 5 * 4, "{ahead} bytes ahead in period {period}");
        }
    }

    #[test]
    fn positions_that_are_found_correct_the_estimate_where_they_are_early() {
        let geometry = geometry();
        let mut estimate = Estimate::default();
        // The backend needs 3 ms to start, and the application looks 4 ms after the event.
        estimate.start(0, 0);
        estimate.find(1920, 17 * MS, &geometry);
        assert_eq!(estimate.position(18 * MS, &geometry), 1920 + 48 * 4);
        // The application looks a millisecond after the next event, and 8 ms after the third.
        for (period, at_ms) in [(2, 24), (3, 41)] {
            estimate.find(period * 1920, at_ms * MS, &geometry);
            let since_ms = at_ms - 10 * period - 4;
            assert_eq!(estimate.position(at_ms * MS, &geometry), period * 1920 + since_ms * 48 * 4, "{period}");
        }
        estimate.find(3 * 1920, 50 * MS, &geometry);
        assert_eq!(estimate.position(50 * MS, &geometry), 1920 * 3 + 719 * 4, "found again: it has no other time");
    }

    #[test]
    fn a_position_that_is_told_nearly_half_a_period_late_is_found_where_it_is() {
        let geometry = geometry();
        let mut estimate = followed(&geometry);
        // The last one was told at 13 ms; this is what is reached at 27 ms, and the application looks at 41 ms.
        estimate.find(1920 + 672 * 4, 41 * MS, &geometry);
        assert_eq!(estimate.position(41 * MS, &geometry), 1920 + (672 + 672) * 4);
    }

    #[test]
    fn a_device_that_drifts_is_followed_by_each_thirtieth_event() {
        let geometry = geometry();
        // The device is slower, or faster, by 300 parts in a million, and the application looks at different times.
        for period_ns in [10 * MS + 3_000, 10 * MS - 3_000] {
            let mut estimate = followed(&geometry);
            for period in 2..3000_u64 {
                let at_ns = 3 * MS + period * period_ns;
                if period % 30 == 0 {
                    estimate.tell(period * 1920, at_ns, &geometry);
                } else {
                    let look_ns = at_ns + (period * 7 % 10) * MS;
                    estimate.find(period * 1920, look_ns, &geometry);
                }
                let device = period * 480 + 48;
                let off = (estimate.position(at_ns + MS, &geometry) / 4).abs_diff(device);
                assert!(off <= 24, "{off} frames off in period {period} of {period_ns} ns");
            }
        }
    }

    #[test]
    fn a_clock_that_goes_back_moves_nothing() {
        let geometry = geometry();
        let mut estimate = Estimate::default();
        estimate.start(1920, 10 * MS);
        assert_eq!(estimate.position(2 * MS, &geometry), 1920);
    }
}
