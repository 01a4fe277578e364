//! Times at which the guest is told the stream's position.
//!
//! Linux counts a period as elapsed only when a position is *past* its end (its test is `>`), so a position on a
//! boundary wakes nobody: an event is due once the position lies at least a frame behind a boundary that no earlier
//! event has passed. Events never come more often than once a millisecond; one then covers several periods.
//!
//! The end of a stream that ran dry is always told. If that wakes nobody, since no boundary lies before it, a position
//! past the next boundary follows: otherwise a Linux player that drains waits until ALSA gives up, and ends with EIO.
//! Whether it woke somebody depends on all events before it: Linux counts what they tell since the last wake-up. An
//! event that passes several boundaries and ends on one has woken, and nothing is left of that count.

/// Minimum time between two events.
const EVENT_INTERVAL_NS: u64 = 1_000_000;

/// Time from the event for the end of a stream that ran dry to the event past that end. A writer that is only late has
/// written by then or has an xrun.
const PAST_END_NS: u64 = 20_000_000;

/// Selects the positions that become events.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reporter {
    /// Bytes in a period; 0 = no events wanted.
    period_bytes: u64,
    frame_bytes: u64,
    reported: u64,
    /// Bytes told since the last wake-up, as the guest's driver counts them.
    unwoken: u64,
    /// True if the last event woke the guest.
    woke: bool,
    sent_ns: u64,
    next_allowed_ns: u64,
}

impl Reporter {
    pub(crate) fn new(period_bytes: u32, frame_bytes: u32) -> Self {
        Self {
            period_bytes: u64::from(period_bytes),
            frame_bytes: u64::from(frame_bytes),
            reported: 0,
            unwoken: 0,
            woke: false,
            sent_ns: 0,
            next_allowed_ns: 0,
        }
    }

    /// Returns the position that the guest was told last.
    pub(crate) fn reported(&self) -> u64 {
        self.reported
    }

    /// Returns true if the guest wants events at all.
    pub(crate) fn wanted(&self) -> bool {
        self.period_bytes > 0
    }

    /// Returns the first position that requires an event.
    pub(crate) fn next_due(&self) -> u64 {
        let next_boundary = match self.reported.checked_rem(self.period_bytes) {
            None => return u64::MAX,
            // The boundary at this position has not been told as passed yet.
            Some(0) if self.reported > 0 => self.reported,
            Some(into_period) => self.reported.saturating_sub(into_period).saturating_add(self.period_bytes),
        };
        next_boundary.saturating_add(self.frame_bytes)
    }

    /// Returns the earliest moment for the next event.
    pub(crate) fn next_allowed_ns(&self) -> u64 {
        self.next_allowed_ns
    }

    /// Returns the event to send for `position`, if one is due at `now_ns`.
    pub(crate) fn due(&self, position: u64, now_ns: u64) -> Option<u64> {
        (position >= self.next_due() && now_ns >= self.next_allowed_ns).then_some(position)
    }

    /// Returns the position to tell now of a stream that ran dry at `end`, if there is one.
    pub(crate) fn due_when_dry(&self, end: u64, now_ns: u64) -> Option<u64> {
        let (position, at_ns) = self.when_dry(end)?;
        (now_ns >= at_ns).then_some(position)
    }

    /// Returns the time when the guest has to be told more of a stream that ran dry at `end`; `None` when it knows all.
    pub(crate) fn wake_when_dry_ns(&self, end: u64) -> Option<u64> {
        self.when_dry(end).map(|(_, at_ns)| at_ns)
    }

    /// Returns the position and time of the next event: for the end itself, or a frame more where it is a boundary;
    /// then, if that woke nobody, for a frame past the next boundary.
    fn when_dry(&self, end: u64) -> Option<(u64, u64)> {
        let into_period = end.checked_rem(self.period_bytes)?;
        let position = if into_period == 0 { end.saturating_add(self.frame_bytes) } else { end };
        if end == 0 || (self.reported >= end && self.woke) {
            None
        } else if position > self.reported {
            Some((position, self.next_allowed_ns))
        } else if position == self.reported && !self.woke {
            let at_ns = self.sent_ns.saturating_add(PAST_END_NS).max(self.next_allowed_ns);
            Some((self.next_due(), at_ns))
        } else {
            None
        }
    }

    /// Delays events until `until_ns`.
    pub(crate) fn hold_until(&mut self, until_ns: u64) {
        self.next_allowed_ns = until_ns;
    }

    /// Notes that `position` was sent.
    pub(crate) fn sent(&mut self, position: u64, now_ns: u64) {
        self.unwoken = self.unwoken.saturating_add(position.saturating_sub(self.reported));
        self.woke = self.unwoken > self.period_bytes;
        if self.woke {
            self.unwoken = self.unwoken.checked_rem(self.period_bytes).unwrap_or(0);
        }
        self.reported = position;
        self.sent_ns = now_ns;
        self.next_allowed_ns = now_ns.saturating_add(EVENT_INTERVAL_NS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boundary_alone_calls_for_nothing_and_one_frame_past_it_does() {
        let reporter = Reporter::new(1920, 4);
        assert_eq!(reporter.due(1920, 0), None);
        assert_eq!(reporter.due(1924, 0), Some(1924));
    }

    #[test]
    fn one_event_covers_all_periods_passed() {
        let mut reporter = Reporter::new(1920, 4);
        reporter.sent(reporter.due(3 * 1920 + 4, 0).unwrap(), 0);
        assert_eq!(reporter.next_due(), 4 * 1920 + 4);
    }

    #[test]
    fn a_report_on_a_boundary_leaves_the_wake_up_owed() {
        let mut reporter = Reporter::new(1920, 4);
        reporter.sent(1920, 0);
        assert_eq!(reporter.next_due(), 1924);
    }

    #[test]
    fn events_come_once_a_millisecond_at_most() {
        let mut reporter = Reporter::new(64, 4);
        reporter.sent(reporter.due(68, 500).unwrap(), 500);
        assert_eq!(reporter.due(200, 999_999), None);
        assert_eq!(reporter.due(200, 1_000_500), Some(200));
    }

    #[test]
    fn running_dry_on_a_boundary_is_told_one_frame_past_it_and_only_once() {
        let mut reporter = Reporter::new(1920, 4);
        assert_eq!(reporter.due_when_dry(1920, 0), Some(1924));
        reporter.sent(1924, 0);
        assert_eq!(reporter.due_when_dry(1920, 5_000_000), None);
        assert_eq!(reporter.due_when_dry(2000, 5_000_000), Some(2000));
    }

    #[test]
    fn an_end_that_wakes_nobody_is_told_again_past_the_boundary() {
        let mut reporter = Reporter::new(1920, 4);
        reporter.sent(1924, 0);
        assert_eq!(reporter.due_when_dry(3000, 1_000_000), Some(3000));
        reporter.sent(3000, 1_000_000);
        assert_eq!(reporter.wake_when_dry_ns(3000), Some(21_000_000));
        assert_eq!(reporter.due_when_dry(3000, 20_999_999), None, "a writer that is late has its chance");
        assert_eq!(reporter.due_when_dry(3000, 21_000_000), Some(3844));
        reporter.sent(3844, 21_000_000);
        assert_eq!(reporter.wake_when_dry_ns(3000), None);
    }

    #[test]
    fn an_end_behind_a_boundary_wakes_by_itself() {
        let mut reporter = Reporter::new(1920, 4);
        reporter.sent(reporter.due_when_dry(3000, 0).unwrap(), 0);
        assert_eq!(reporter.wake_when_dry_ns(3000), None);
    }

    #[test]
    fn an_end_within_the_first_period_of_a_run_is_told_again_when_the_first_look_is_late() {
        let mut reporter = Reporter::new(1920, 4);
        // STOP tells the end of the ring, which passes several boundaries and is one itself.
        reporter.sent(19_200, 0);
        reporter.sent(reporter.due(20_160, 1_000_000).unwrap(), 1_000_000);
        assert_eq!(reporter.due_when_dry(20_160, 21_000_000), Some(21_124));
    }

    #[test]
    fn an_end_that_woke_somebody_on_its_boundary_is_told_once() {
        let mut reporter = Reporter::new(1920, 4);
        reporter.sent(reporter.due(3840, 0).unwrap(), 0);
        assert_eq!(reporter.wake_when_dry_ns(3840), None);
    }

    #[test]
    fn without_a_period_nothing_is_told() {
        let reporter = Reporter::new(0, 4);
        assert!(!reporter.wanted());
        assert_eq!(reporter.due(1 << 40, 1 << 40), None);
        assert_eq!(reporter.due_when_dry(4, 1 << 40), None);
    }
}
