//! Choice of a stream's device: its own, or a stand-in while its own is gone or stands still.
//!
//! The module decides and does nothing itself. Its inputs are time, the outcome of opening the device and the device's
//! progress; its output is the work to be done.
//!
//! | state | what happens | next state | to be done |
//! |---|---|---|---|
//! | used | the device stands still | on trial | the stand-in goes on, the device plays or captures beside it |
//! | on trial | the device moves | used | the device goes on; the loss of sound is counted, or "back" is told |
//! | on trial | the device does not move for too long | gone | the device is let go, its loss is told once |
//! | any | the device fails | gone | as before |
//! | gone | the pause is over | opening | an attempt is made |
//! | opening | the device cannot be opened | gone | a longer pause |
//! | opening | the device is open, and nothing plays or captures | used | the device goes on, "back" is told |
//! | opening | the device is open in the middle of a stream | on trial | it plays or captures beside the stand-in |

use super::watch::{STUCK, STUCK_AT_FIRST};
use std::time::{Duration, Instant};

/// The first pause between two attempts to open a device, and the longest: each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Interval at which a device on trial is checked.
const LOOK_EVERY: Duration = Duration::from_millis(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The device is in use.
    Used,
    /// The device has to prove that it moves. `told`: the stream's owner knows that it was lost.
    OnTrial { until: Instant, told: bool },
    /// The device is being opened. `told`: the stream's owner knows that it is absent.
    Opening { told: bool },
    /// The device is to be opened again at `until`.
    Gone { until: Instant },
}

/// Work that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    /// The device is to be checked: [`Failover::proven`] if it moves.
    Judge,
    /// The device did not prove that it moves: [`Failover::lost`].
    GiveUp,
    /// An attempt to open the device.
    Open,
    /// The outcome of the attempt, if it is there.
    Collect,
}

/// Way in which a device comes into use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    /// Immediately.
    Use,
    /// Once the device has proven that it moves.
    Try,
}

/// Report about a device that is used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Return {
    /// The device is back.
    Back,
    /// The device stood still for a while: an xrun.
    Xrun,
}

/// The state of a stream's device.
#[derive(Debug)]
pub(super) struct Failover {
    state: State,
    pause: Duration,
}

impl Failover {
    /// The state of a device that is being opened for the first time.
    pub fn new() -> Self {
        Self { state: State::Opening { told: false }, pause: FIRST_PAUSE }
    }

    /// Returns true while the device is in use; otherwise its stand-in is.
    pub fn is_used(&self) -> bool {
        self.state == State::Used
    }

    /// Returns true while an attempt to open the device has no outcome yet.
    pub fn is_opening(&self) -> bool {
        matches!(self.state, State::Opening { .. })
    }

    /// The first attempt succeeded.
    pub fn begin(&mut self) {
        self.state = State::Used;
    }

    /// The first attempt takes longer than the stream waits for, which its owner is told.
    pub fn late(&mut self) {
        self.state = State::Opening { told: true };
    }

    /// The work that is due at `now`.
    pub fn due(&mut self, now: Instant) -> Due {
        match self.state {
            State::Used => Due::Nothing,
            State::OnTrial { until, .. } if now >= until => Due::GiveUp,
            State::OnTrial { .. } => Due::Judge,
            State::Opening { .. } => Due::Collect,
            State::Gone { until } if now >= until => {
                self.state = State::Opening { told: true };
                Due::Open
            }
            State::Gone { .. } => Due::Nothing,
        }
    }

    /// Time until something has to be done, if nothing happens.
    pub fn due_in(&self, now: Instant) -> Option<Duration> {
        match self.state {
            State::Used | State::Opening { .. } => None,
            State::OnTrial { .. } => Some(LOOK_EVERY),
            State::Gone { until } => Some(until.saturating_duration_since(now)),
        }
    }

    /// The device was opened again. `busy`: a stream plays or captures.
    pub fn opened(&mut self, busy: bool, now: Instant) -> Entry {
        if busy {
            self.state = State::OnTrial { until: now + STUCK_AT_FIRST, told: true };
            Entry::Try
        } else {
            self.state = State::Used;
            Entry::Use
        }
    }

    /// The device moves, and goes on.
    pub fn proven(&mut self) -> Return {
        let told = matches!(self.state, State::OnTrial { told: true, .. });
        self.state = State::Used;
        if told { Return::Back } else { Return::Xrun }
    }

    /// The device stands still: it is on trial from now on.
    pub fn stood_still(&mut self, now: Instant) {
        self.state = State::OnTrial { until: now + STUCK, told: false };
    }

    /// The device is gone, or could not be opened. Returns true if the stream's owner has to be told.
    pub fn lost(&mut self, now: Instant) -> bool {
        let untold = match self.state {
            State::Used => true,
            State::OnTrial { told, .. } | State::Opening { told } => !told,
            State::Gone { .. } => false,
        };
        self.state = State::Gone { until: now + self.pause };
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        untold
    }

    /// The device has worked for a while.
    pub fn worked(&mut self) {
        if self.is_used() {
            self.pause = FIRST_PAUSE;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    #[test]
    fn a_device_that_fails_is_told_once_and_opened_again_and_again_with_growing_pauses() {
        let (mut failover, mut now) = (Failover::new(), Instant::now());
        failover.begin();
        assert_eq!(failover.due(now), Due::Nothing);
        assert!(failover.lost(now));
        let mut pause = FIRST_PAUSE;
        for _ in 0..10 {
            assert_eq!(failover.due_in(now), Some(pause));
            assert_eq!(failover.due(now + pause - MILLISECOND), Due::Nothing);
            now += pause;
            assert_eq!((failover.due(now), failover.due(now)), (Due::Open, Due::Collect));
            assert!(!failover.lost(now), "it is known");
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        assert_eq!(failover.opened(true, now), Entry::Try);
        assert_eq!((failover.due(now), failover.proven()), (Due::Judge, Return::Back));
        failover.worked();
        assert!(failover.lost(now));
        assert_eq!(failover.due_in(now), Some(FIRST_PAUSE));
    }

    #[test]
    fn a_device_that_stands_still_is_used_when_it_moves_and_lost_when_it_does_not() {
        let (mut failover, now) = (Failover::new(), Instant::now());
        failover.begin();
        failover.stood_still(now);
        assert!(!failover.is_used());
        assert_eq!((failover.due(now), failover.due_in(now)), (Due::Judge, Some(LOOK_EVERY)));
        assert_eq!((failover.proven(), failover.is_used()), (Return::Xrun, true));
        failover.stood_still(now);
        assert_eq!(failover.due(now + STUCK), Due::GiveUp);
        assert!(failover.lost(now + STUCK), "nobody knows yet");
        assert!(!failover.is_used());
    }

    #[test]
    fn a_device_that_is_opened_while_nothing_plays_is_used_at_once() {
        let (mut failover, now) = (Failover::new(), Instant::now());
        failover.begin();
        failover.lost(now);
        assert_eq!(failover.due(now + FIRST_PAUSE), Due::Open);
        assert_eq!((failover.opened(false, now), failover.is_used()), (Entry::Use, true));
    }

    #[test]
    fn a_device_that_does_not_move_after_it_was_opened_again_is_not_told_again() {
        let (mut failover, now) = (Failover::new(), Instant::now());
        failover.begin();
        failover.lost(now);
        failover.due(now + FIRST_PAUSE);
        failover.opened(true, now);
        assert_eq!(failover.due(now + STUCK_AT_FIRST), Due::GiveUp);
        assert!(!failover.lost(now + STUCK_AT_FIRST));
        // The device never worked: the pause keeps growing.
        failover.worked();
        assert_eq!(failover.due_in(now + STUCK_AT_FIRST), Some(FIRST_PAUSE * 2));
    }

    #[test]
    fn a_device_that_could_not_be_had_at_first_is_told_once() {
        let (mut failover, now) = (Failover::new(), Instant::now());
        assert!(failover.lost(now));
        let mut failover = Failover::new();
        failover.late();
        assert_eq!(failover.due(now), Due::Collect);
        assert!(!failover.lost(now));
    }
}
