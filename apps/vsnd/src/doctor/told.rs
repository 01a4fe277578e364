//! The running daemon's own word: its devices' last openings, and its recent refusals.

use std::path::Path;

use control::{Client, ClientError, Event, EventKind, Reply, Request};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::advice::Context;
use super::cards::ANSWER_TIME;
use super::report::Finding;
use super::within;

/// Maximum number of refusals that are shown, the last ones.
const REFUSALS: usize = 3;

/// The events that a daemon remembers, oldest first.
#[derive(Debug, Default)]
pub(super) struct Told {
    events: Vec<Event>,
    /// Finding that the daemon could not be asked.
    failure: Option<Finding>,
}

/// The daemon's last word about a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Word {
    /// A stream opened the device, at this time.
    Opened(String),
    /// The device could not be opened or went away: time and reason.
    Failed(String, String),
}

impl Told {
    /// Asks the daemon that listens at `socket`.
    pub(super) fn by(socket: &Path, context: &Context) -> Self {
        let path = socket.to_owned();
        let ask = move || Client::connect(&path).and_then(|mut client| client.ask(&Request::Events { follow: false }));
        let failure = |found: String, next: String| Self {
            failure: Some(Finding::note("control socket", found, Some(next))),
            ..Self::default()
        };
        match within(ANSWER_TIME, ask) {
            Some(Ok(Reply::Events { events })) => Self { events, failure: None },
            Some(Ok(_)) => failure("the daemon answered something else".into(), "use the same version of vsnd".into()),
            Some(Err(error @ ClientError::Denied { .. })) => {
                failure(error.to_string(), "ask again as root: it knows what became of its devices".into())
            }
            Some(Err(error)) => failure(error.to_string(), context.daemon_log()),
            None => failure(format!("{} does not answer", socket.display()), context.daemon_log()),
        }
    }

    #[cfg(test)]
    pub(super) fn of(events: Vec<Event>) -> Self {
        Self { events, failure: None }
    }

    /// The last word about a device.
    pub(super) fn of_device(&self, device: &str) -> Option<Word> {
        let last = self.events.iter().rev().find(|event| event.device.as_deref() == Some(device))?;
        let time = time(last.time_ms);
        match last.kind {
            EventKind::Open | EventKind::Back => Some(Word::Opened(time)),
            EventKind::Refused | EventKind::Lost => Some(Word::Failed(time, last.text.clone())),
            _ => None,
        }
    }

    /// Findings: a daemon that could not be asked, and recent refusals that no success has followed.
    pub(super) fn findings(self) -> Vec<Finding> {
        let stream = |event: &Event| (event.domain, event.part());
        let open = |event: &Event| matches!(event.kind, EventKind::Open | EventKind::Refused);
        let mut refusals: Vec<&Event> = Vec::new();
        for event in self.events.iter().filter(|event| open(event)) {
            refusals.retain(|earlier| stream(earlier) != stream(event));
            if event.kind == EventKind::Refused {
                refusals.push(event);
            }
        }
        let last = refusals.split_off(refusals.len().saturating_sub(REFUSALS));
        let told = last.into_iter().map(|event| {
            let numbers =
                [event.domain.map(u32::from), event.card, event.pcm.map(u32::from), event.stream.map(u32::from)];
            let about: Vec<String> = numbers.into_iter().flatten().map(|number| number.to_string()).collect();
            let found = format!("{} at {}: {}", about.join("/"), time(event.time_ms), event.text);
            Finding::note(
                "refused",
                found,
                Some("`vsnd events` has more; docs/policy.md says what is refused".to_owned()),
            )
        });
        self.failure.into_iter().chain(told).collect()
    }
}

/// A moment in the local time zone.
fn time(milliseconds: u64) -> String {
    let time = i64::try_from(milliseconds).ok().and_then(|time| Timestamp::from_millisecond(time).ok());
    time.map_or_else(
        || format!("{milliseconds} ms"),
        |time| time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(time_ms: u64, kind: EventKind, device: Option<&str>) -> Event {
        let device = device.map(str::to_owned);
        let text = format!("event {time_ms}");
        Event { time_ms, kind, domain: Some(5), card: Some(0), pcm: Some(0), stream: Some(1), device, text }
    }

    #[test]
    fn the_last_word_about_a_device_counts() {
        let told = |kinds: &[EventKind]| {
            let events = (0..).zip(kinds).map(|(at, kind)| event(at, *kind, Some("alsa:x"))).collect();
            Told::of(events).of_device("alsa:x")
        };
        assert!(matches!(told(&[EventKind::Lost, EventKind::Open]), Some(Word::Opened(_))));
        assert!(
            matches!(told(&[EventKind::Open, EventKind::Refused]), Some(Word::Failed(_, text)) if text == "event 1")
        );
        assert!(matches!(told(&[EventKind::Lost, EventKind::Back]), Some(Word::Opened(_))));
        assert_eq!(told(&[]), None);
        assert_eq!(Told::of(vec![event(0, EventKind::Open, Some("alsa:y"))]).of_device("alsa:x"), None);
    }

    #[test]
    fn a_refusal_is_told_until_the_stream_is_opened() {
        let told = |events: Vec<Event>| Told::of(events).findings().len();
        assert_eq!(told(vec![event(0, EventKind::Refused, None), event(1, EventKind::Refused, None)]), 1);
        assert_eq!(told(vec![event(0, EventKind::Refused, None), event(1, EventKind::Open, None)]), 0);
    }
}
