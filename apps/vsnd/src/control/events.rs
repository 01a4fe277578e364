//! `vsnd events`: what happened, one line each.

use std::collections::BTreeMap;

use ::control::{Event, EventKind, Reply, Request, Target};
use clap::Args;
use clap_complete::ArgValueCandidates;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use program::{ExitStatus, Failure};

use crate::daemon::{self, Daemon, failure, unexpected};
use crate::output::Output;
use crate::{complete, text};

#[derive(Debug, Args)]
#[command(after_help = after_help())]
pub(crate) struct Arguments {
    /// Shows only events about these guests, cards or streams: DOMAIN[/CARD[/PCM[/STREAM]]], also with a pattern.
    #[arg(add = ArgValueCandidates::new(complete::targets))]
    target: Option<Target>,
    /// Shows only events of these kinds, such as `xrun,lost`.
    #[arg(long, short, value_name = "KIND", value_delimiter = ',', add = ArgValueCandidates::new(complete::event_kinds))]
    kind: Vec<EventKind>,
    /// Continues with new events, until interrupted.
    #[arg(long, short)]
    follow: bool,
    #[command(flatten)]
    daemon: Daemon,
    /// Prints each event as a line of JSON instead: {time_ms, kind, domain, card, pcm, stream, device, text}, with the
    /// time in milliseconds since 1970 and without the fields that do not apply.
    #[arg(long)]
    json: bool,
}

fn after_help() -> String {
    let kinds = EventKind::ALL.map(|kind| kind.to_string()).join(", ");
    format!(
        "A line is: date and time in the local time zone (TZ), the kind of event, what it is about as \
         DOMAIN[/CARD[/PCM[/STREAM]]] with the domain's id (`-` for the daemon itself), and what happened in words. Kinds: {kinds}."
    )
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitStatus, Failure> {
    let mut client = arguments.daemon.connect()?;
    let reply = client.ask(&Request::Events { follow: arguments.follow }).map_err(failure)?;
    let Reply::Events { events } = reply else { return Err(unexpected()) };
    let zone = TimeZone::system();
    let mut out = Output::new();
    let mut filter = Filter { arguments, guests: BTreeMap::new() };
    let mut print = |event: &Event| match filter.passes(event)? {
        false => Ok(()),
        true if arguments.json => out.json(event),
        true => out.line(line(event, &zone)),
    };
    for event in &events {
        print(event)?;
    }
    if !arguments.follow {
        return Ok(ExitStatus::Success);
    }
    loop {
        print(&client.next_event().map_err(failure)?)?;
    }
}

/// Filter of the events that are shown.
struct Filter<'a> {
    arguments: &'a Arguments,
    /// Guests that events were about; true if the target names them.
    guests: BTreeMap<u16, bool>,
}

impl Filter<'_> {
    fn passes(&mut self, event: &Event) -> Result<bool, Failure> {
        let Arguments { target, kind, .. } = self.arguments;
        if !kind.is_empty() && !kind.contains(&event.kind) {
            return Ok(false);
        }
        let Some(target) = target else { return Ok(true) };
        let Some(domain) = event.domain else { return Ok(false) };
        Ok(self.names(target, domain)? && target.part.covers(&event.part()))
    }

    /// Returns true if the target names a guest, by its present name in the daemon; a guest that is gone is known by
    /// its id.
    fn names(&mut self, target: &Target, domain: u16) -> Result<bool, Failure> {
        if let Some(known) = self.guests.get(&domain) {
            return Ok(*known);
        }
        let status = daemon::status(&mut self.arguments.daemon.connect()?, false)?;
        let guest = status.guests.iter().find(|guest| guest.domain == domain);
        let (name, uuid) = guest.map_or((None, None), |guest| (guest.name.as_deref(), guest.uuid.as_deref()));
        let named = target.names_guest(domain, name, uuid);
        self.guests.insert(domain, named);
        Ok(named)
    }
}

fn line(event: &Event, zone: &TimeZone) -> String {
    let time = i64::try_from(event.time_ms).ok().and_then(|time| Timestamp::from_millisecond(time).ok());
    let time = time.map_or_else(
        || format!("{} ms", event.time_ms),
        |time| time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
    );
    let numbers = [event.domain.map(u32::from), event.card, event.pcm.map(u32::from), event.stream.map(u32::from)];
    let about: Vec<String> = numbers.into_iter().map_while(|number| Some(number?.to_string())).collect();
    let about = if about.is_empty() { text::NOTHING.to_owned() } else { about.join("/") };
    format!("{time} {:<9} {about:<8} {}", event.kind, text::plain(&event.text))
}

#[cfg(test)]
mod tests {
    use jiff::tz;

    use super::*;

    #[test]
    fn an_event_is_told_in_local_time() {
        let event = Event {
            time_ms: 1_795_281_631_999,
            kind: EventKind::Audit,
            domain: Some(5),
            card: Some(0),
            pcm: None,
            stream: None,
            device: None,
            text: "uid 0: volume -6.0 dB\x07".into(),
        };
        assert_eq!(
            line(&event, &TimeZone::UTC),
            "2026-11-21 17:20:31 audit     5/0      uid 0: volume -6.0 dB\u{fffd}"
        );
        let tokyo = TimeZone::fixed(tz::offset(9));
        let event = Event { domain: None, card: None, kind: EventKind::Violation, ..event };
        assert!(line(&event, &tokyo).starts_with("2026-11-22 02:20:31 violation -        uid 0"));
        let event = Event { time_ms: u64::MAX, ..event };
        assert!(line(&event, &tokyo).starts_with("18446744073709551615 ms violation"));
    }

    #[test]
    fn the_help_names_every_kind() {
        let help = after_help();
        EventKind::ALL.iter().for_each(|kind| assert!(help.contains(&kind.to_string()), "{kind}"));
    }
}
