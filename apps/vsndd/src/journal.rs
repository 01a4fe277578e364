//! What happened: the last events for whoever follows them, and how often things happened since the start.

use std::collections::VecDeque;
use std::time::{SystemTime, UNIX_EPOCH};

use control::{Event, EventKind};
use host_audio::StreamLabel;
use sndif::store::Direction;

use crate::device::DeviceId;
use crate::limiter::Logs;

/// Events that are remembered: of guests, and of what the host's people did, which no guest pushes out.
const EVENTS: usize = 256;
const AUDITED: usize = 256;

/// Upper bounds of the latency histogram's buckets in microseconds; a last one has no bound.
pub(crate) const LATENCY_BOUNDS_US: [u64; 12] =
    [1_000, 2_500, 5_000, 7_500, 10_000, 15_000, 20_000, 30_000, 50_000, 100_000, 250_000, 1_000_000];

/// How a guest broke the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Violation {
    /// Its ring's indices are impossible.
    Ring,
    /// A request that cannot be understood.
    Request,
    /// A page directory that cannot be.
    Directory,
    /// Pages that cannot be mapped.
    Grant,
    /// Store nodes that cannot be.
    Nodes,
}

impl Violation {
    pub(crate) const ALL: [(Self, &'static str); 5] = [
        (Self::Ring, "ring"),
        (Self::Request, "request"),
        (Self::Directory, "directory"),
        (Self::Grant, "grant"),
        (Self::Nodes, "nodes"),
    ];
}

/// How long sound took.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Latencies {
    /// By [`LATENCY_BOUNDS_US`], not cumulated.
    pub(crate) buckets: [u64; LATENCY_BOUNDS_US.len() + 1],
    pub(crate) sum_us: u64,
}

/// What an event is about.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Subject {
    pub(crate) domain: Option<u16>,
    pub(crate) card: Option<u32>,
    pub(crate) pcm: Option<u8>,
    pub(crate) stream: Option<u8>,
}

impl From<DeviceId> for Subject {
    fn from(id: DeviceId) -> Self {
        Self { domain: Some(id.guest.0), card: Some(id.card), ..Self::default() }
    }
}

impl From<StreamLabel> for Subject {
    fn from(label: StreamLabel) -> Self {
        let StreamLabel { domain, card, pcm, stream } = label;
        Self { domain: Some(domain), card: Some(card.into()), pcm: Some(pcm), stream: Some(stream) }
    }
}

/// What happened.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    /// Limits of the log, by guest.
    pub(crate) logs: Logs,
    /// With their numbers, ascending.
    events: VecDeque<(u64, Event)>,
    audited: VecDeque<(u64, Event)>,
    /// Events that there were.
    count: u64,
    violations: [u64; Violation::ALL.len()],
    /// Times that a host device went away from under a stream.
    pub(crate) devices_lost: u64,
    /// Times that one came back.
    pub(crate) devices_back: u64,
    /// OPENs that were refused.
    pub(crate) opens_refused: u64,
    /// Times that a card was connected.
    pub(crate) connections: u64,
    /// Playback and capture.
    latencies: [Latencies; 2],
}

impl Journal {
    /// Remembers an event.
    pub(crate) fn push(&mut self, kind: EventKind, subject: impl Into<Subject>, text: impl Into<String>) {
        let (events, most) = match kind {
            EventKind::Audit => (&mut self.audited, AUDITED),
            _ => (&mut self.events, EVENTS),
        };
        if events.len() == most {
            events.pop_front();
        }
        let Subject { domain, card, pcm, stream } = subject.into();
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let time_ms = u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX);
        events.push_back((self.count, Event { time_ms, kind, domain, card, pcm, stream, text: text.into() }));
        self.count += 1;
    }

    /// Counts a violation.
    pub(crate) fn violation(&mut self, kind: Violation) {
        self.violations[kind as usize] += 1;
    }

    /// How often the protocol was broken, by kind.
    pub(crate) fn violations(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Violation::ALL.into_iter().map(|(kind, name)| (name, self.violations[kind as usize]))
    }

    /// Notes how long sound took.
    pub(crate) fn latency(&mut self, direction: Direction, latency_us: u64) {
        let latencies = &mut self.latencies[direction as usize];
        latencies.buckets[LATENCY_BOUNDS_US.partition_point(|&bound| bound < latency_us)] += 1;
        latencies.sum_us += latency_us;
    }

    pub(crate) fn latencies(&self, direction: Direction) -> &Latencies {
        &self.latencies[direction as usize]
    }

    /// How many events there were so far.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The events that came after the first `seen` ones, as far as they are remembered.
    pub(crate) fn since(&self, seen: u64) -> impl Iterator<Item = &Event> {
        let unseen = |events: &'_ VecDeque<(u64, Event)>| events.partition_point(|(number, _)| *number < seen);
        let mut events = self.events.range(unseen(&self.events)..).peekable();
        let mut audited = self.audited.range(unseen(&self.audited)..).peekable();
        std::iter::from_fn(move || {
            let audit_is_next = match (events.peek(), audited.peek()) {
                (Some((event, _)), Some((audit, _))) => audit < event,
                (event, _) => event.is_none(),
            };
            let next = if audit_is_next { audited.next() } else { events.next() };
            next.map(|(_, event)| event)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_events_are_remembered() {
        let mut journal = Journal::default();
        for number in 0..EVENTS + 10 {
            journal.push(EventKind::Card, Subject::default(), number.to_string());
        }
        assert_eq!(journal.since(0).next().unwrap().text, "10");
        assert_eq!(journal.since(journal.count() - 2).map(|event| &*event.text).collect::<Vec<_>>(), ["264", "265"]);
        assert_eq!(journal.since(journal.count()).count(), 0);
    }

    #[test]
    fn no_guest_pushes_out_what_was_audited_and_all_come_in_their_order() {
        let mut journal = Journal::default();
        journal.push(EventKind::Card, Subject::default(), "before");
        journal.push(EventKind::Audit, Subject::default(), "muted");
        for number in 0..2 * EVENTS {
            journal.push(EventKind::Violation, Subject::default(), number.to_string());
        }
        journal.push(EventKind::Audit, Subject::default(), "unmuted");
        journal.push(EventKind::Card, Subject::default(), "after");
        let texts: Vec<&str> = journal.since(0).map(|event| &*event.text).collect();
        assert_eq!((texts[0], texts.len()), ("muted", EVENTS + 2));
        assert_eq!(texts[EVENTS - 1..], ["511", "unmuted", "after"]);
        assert_eq!(
            journal.since(journal.count() - 2).map(|event| &*event.text).collect::<Vec<_>>(),
            ["unmuted", "after"]
        );
    }

    #[test]
    fn a_latency_falls_into_the_first_bucket_that_holds_it() {
        let mut journal = Journal::default();
        for latency in [0, 1_000, 1_001, 2_000_000] {
            journal.latency(Direction::Playback, latency);
        }
        let latencies = journal.latencies(Direction::Playback);
        assert_eq!((latencies.buckets[0], latencies.buckets[1], latencies.buckets[12]), (2, 1, 1));
        assert_eq!(latencies.sum_us, 2_002_001);
        assert_eq!(journal.latencies(Direction::Capture).sum_us, 0);
    }
}
