//! Detection of a device that stands still: its stand-in goes on immediately, so that the guest's clock goes on.

use super::frames_to_time;
use std::time::{Duration, Instant};

/// Time after which a device that plays or captures nothing is as good as gone; a device that had no reason to move
/// gets as long to begin again.
pub(super) const STUCK: Duration = Duration::from_secs(1);
/// Time that a device that was just opened gets to begin to move.
pub(super) const STUCK_AT_FIRST: Duration = Duration::from_secs(4);
/// The shortest time without a move that means something, as a part of a second (50 ms).
const SHORTEST_GRACE: u32 = 20;
/// The longest time between two looks that counts as looked at, as a part of a second (25 ms): a thread that did not
/// run meanwhile has not seen the device stand still.
const LONGEST_LOOK: u32 = 40;
/// Follows the movement of a device.
#[derive(Debug)]
pub(super) struct Watch {
    /// Time at which the device last moved, or had no reason to; later by the time in which nobody looked.
    since: Instant,
    looked: Instant,
    longest_look: Duration,
    /// Time that the device may stand still: until it moves again after it had no reason to, and later (`grace`).
    patience: Duration,
    grace: Duration,
}

impl Watch {
    /// A watch of a device that plays or captures at most `grace` frames at a time. `first`: the device was just
    /// opened.
    pub fn new(grace: u64, rate_hz: u32, first: bool, now: Instant) -> Self {
        let grace = frames_to_time(grace.max(u64::from(rate_hz / SHORTEST_GRACE)), rate_hz);
        let longest_look = frames_to_time(u64::from(rate_hz / LONGEST_LOOK), rate_hz);
        Self {
            since: now,
            looked: now,
            longest_look,
            patience: if first { STUCK_AT_FIRST } else { STUCK }.max(grace),
            grace,
        }
    }

    /// Notes that the device is looked at; to be called before [`Self::moved`] or [`Self::idle`].
    pub fn look(&mut self, now: Instant) {
        let unseen = now.saturating_duration_since(self.looked).saturating_sub(self.longest_look);
        (self.since, self.looked) = (self.since + unseen, now);
    }

    /// Notes that the device moved.
    pub fn moved(&mut self, now: Instant) {
        (self.since, self.patience) = (now, self.grace);
    }

    /// Notes that the device had no reason to move.
    pub fn idle(&mut self, now: Instant) {
        (self.since, self.patience) = (now, self.patience.max(STUCK));
    }

    pub fn stands_still(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= self.patience
    }
}
