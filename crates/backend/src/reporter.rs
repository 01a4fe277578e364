//! When the guest is told where the stream is.
//!
//! Linux counts a period as elapsed only when a position is *past* its end (its test is `>`), so a
//! position on a boundary wakes nobody: an event is due once the position lies at least a frame behind
//! a boundary that no earlier event has passed. Events never come more often than once a millisecond;
//! one then covers several periods.
//!
//! The end of a stream that ran dry is told in any case. Where that wakes nobody, since no boundary lies before it, a position past
//! the next boundary follows: otherwise a Linux player that drains waits until ALSA gives up, and ends with EIO.

/// Least time between two events.
const EVENT_INTERVAL_NS: u64 = 1_000_000;

/// How long after its end a stream that ran dry is told past it. A writer that is only late has written by then or has an xrun.
const PAST_END_NS: u64 = 20_000_000;

/// Decides which positions become events.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reporter {
    /// Bytes of a period; 0 = no events wanted.
    period_bytes: u64,
    frame_bytes: u64,
    reported: u64,
    /// The last event passed a boundary.
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
            woke: false,
            sent_ns: 0,
            next_allowed_ns: 0,
        }
    }

    /// The position that the guest was last told.
    pub(crate) fn reported(&self) -> u64 {
        self.reported
    }

    /// Whether the guest wants events at all.
    pub(crate) fn wanted(&self) -> bool {
        self.period_bytes > 0
    }

    /// The first position that calls for an event.
    pub(crate) fn next_due(&self) -> u64 {
        let next_boundary = match self.reported.checked_rem(self.period_bytes) {
            None => return u64::MAX,
            // Not told yet that this very boundary is passed.
            Some(0) if self.reported > 0 => self.reported,
            Some(into_period) => self.reported.saturating_sub(into_period).saturating_add(self.period_bytes),
        };
        next_boundary.saturating_add(self.frame_bytes)
    }

    /// The earliest moment for the next event.
    pub(crate) fn next_allowed_ns(&self) -> u64 {
        self.next_allowed_ns
    }

    /// The event to send for `position`, if one is due at `now_ns`.
    pub(crate) fn due(&self, position: u64, now_ns: u64) -> Option<u64> {
        (position >= self.next_due() && now_ns >= self.next_allowed_ns).then_some(position)
    }

    /// The position to tell now of a stream that ran dry at `end`, if any.
    pub(crate) fn due_when_dry(&self, end: u64, now_ns: u64) -> Option<u64> {
        let (position, at_ns) = self.when_dry(end)?;
        (now_ns >= at_ns).then_some(position)
    }

    /// When the guest is to be told more of a stream that ran dry at `end`; `None` when it knows all.
    pub(crate) fn wake_when_dry_ns(&self, end: u64) -> Option<u64> {
        self.when_dry(end).map(|(_, at_ns)| at_ns)
    }

    /// The end itself, or a frame more where it is a boundary; then, if that woke nobody, a frame past the next boundary.
    fn when_dry(&self, end: u64) -> Option<(u64, u64)> {
        let into_period = end.checked_rem(self.period_bytes)?;
        let position = if into_period == 0 { end.saturating_add(self.frame_bytes) } else { end };
        if end == 0 {
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

    /// Sends nothing before `until_ns`.
    pub(crate) fn hold_until(&mut self, until_ns: u64) {
        self.next_allowed_ns = until_ns;
    }

    /// Notes that `position` was sent.
    pub(crate) fn sent(&mut self, position: u64, now_ns: u64) {
        self.woke = position >= self.next_due();
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
    fn without_a_period_nothing_is_told() {
        let reporter = Reporter::new(0, 4);
        assert!(!reporter.wanted());
        assert_eq!(reporter.due(1 << 40, 1 << 40), None);
        assert_eq!(reporter.due_when_dry(4, 1 << 40), None);
    }
}
