//! The last events, for clients that follow them.

use std::collections::VecDeque;
use std::time::{SystemTime, UNIX_EPOCH};

use control::{Event, EventKind, Part};
use sndif::store::StreamAddress;
use xen::DomainId;

use crate::device::DeviceId;
use crate::totals::Totals;

/// Number of events that are remembered: about guests, and, apart from them, of the audit, so that no guest pushes
/// those out.
const EVENTS: usize = 256;
const AUDITED: usize = 256;

/// Guest, card or stream that an event is about.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Subject {
    pub(crate) domain: Option<u16>,
    pub(crate) part: Part,
}

impl Subject {
    /// A guest, or a part of it.
    pub(crate) fn of(guest: DomainId, part: Part) -> Self {
        Self { domain: Some(guest.0), part }
    }
}

impl From<DeviceId> for Subject {
    fn from(id: DeviceId) -> Self {
        Self::of(id.guest, Part { card: Some(id.card), ..Part::default() })
    }
}

impl From<StreamAddress> for Subject {
    fn from(stream: StreamAddress) -> Self {
        Self::of(DomainId(stream.domain), stream.into())
    }
}

/// Record of events.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    /// Counts of everything that happened.
    pub(crate) totals: Totals,
    /// The last events with their numbers, ascending.
    events: VecDeque<(u64, Event)>,
    audited: VecDeque<(u64, Event)>,
    /// Number of all events so far.
    count: u64,
}

impl Journal {
    /// Remembers an event.
    pub(crate) fn push(&mut self, kind: EventKind, subject: impl Into<Subject>, text: impl Into<String>) {
        self.push_of(kind, subject, None, text);
    }

    /// Remembers an event about a host device.
    pub(crate) fn push_of(
        &mut self,
        kind: EventKind,
        subject: impl Into<Subject>,
        device: Option<&str>,
        text: impl Into<String>,
    ) {
        let Subject { domain, part: Part { card, pcm, stream } } = subject.into();
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let time_ms = u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX);
        self.take(Event {
            time_ms,
            kind,
            domain,
            card,
            pcm,
            stream,
            device: device.map(str::to_owned),
            text: text.into(),
        });
    }

    /// Remembers an event from another journal.
    pub(crate) fn take(&mut self, event: Event) {
        let (events, most) = match event.kind {
            EventKind::Audit => (&mut self.audited, AUDITED),
            _ => (&mut self.events, EVENTS),
        };
        if events.len() == most {
            events.pop_front();
        }
        events.push_back((self.count, event));
        self.count += 1;
    }

    /// Number of all events so far.
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
}
