//! Counters of a stream, over all its connections.

use frontend::Counters;

use crate::Histogram;

/// Counters of an opened stream, over all its connections.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    /// Requests sent.
    pub requests: u64,
    /// Responses taken.
    pub responses: u64,
    /// Responses that carried an error.
    pub errors: u64,
    /// Notifications sent to the backend.
    pub notifications: u64,
    /// Wake-ups by the ring's event channel.
    pub ring_wakeups: u64,
    /// Wake-ups by the event page's event channel.
    pub event_wakeups: u64,
    /// Position events.
    pub events: u64,
    /// Gaps in the numbering of events.
    pub event_id_gaps: u64,
    /// Positions that could not be true: back, beyond the written frames, on a closed stream.
    pub ignored_positions: u64,
    /// Times that playback ran dry or captured frames were lost.
    pub xruns: u64,
    /// Violations of the protocol; each ends a connection's use of the stream.
    pub violations: u64,
    /// Number of times that the stream was recovered on a new connection.
    pub reconnects: u64,
    /// Time from WRITE to its answer, if it was measured.
    pub write_latency: Histogram,
}

impl Stats {
    /// Adds the core's counts of one connection.
    pub(crate) fn add(&mut self, counters: &Counters) {
        self.requests += counters.requests;
        self.responses += counters.responses;
        self.errors += counters.errors;
        self.events += counters.events;
        self.event_id_gaps += counters.event_id_gaps;
        self.ignored_positions += counters.ignored_closed + counters.ignored_rewinds + counters.ignored_beyond;
        self.xruns += counters.xruns;
    }
}

/// Returns the difference of two readings: a transport serves several opens, and each has its own counts.
pub(crate) fn since(now: &Counters, then: &Counters) -> Counters {
    Counters {
        requests: now.requests - then.requests,
        responses: now.responses - then.responses,
        errors: now.errors - then.errors,
        events: now.events - then.events,
        event_id_gaps: now.event_id_gaps - then.event_id_gaps,
        unknown_events: now.unknown_events - then.unknown_events,
        ignored_closed: now.ignored_closed - then.ignored_closed,
        ignored_rewinds: now.ignored_rewinds - then.ignored_rewinds,
        ignored_beyond: now.ignored_beyond - then.ignored_beyond,
        xruns: now.xruns - then.xruns,
    }
}
