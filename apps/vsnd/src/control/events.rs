//! `vsnd events`: what happened, a line each.

use ::control::{Event, Reply, Request};
use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use program::{ExitStatus, Failure};

use super::{Daemon, Output, failure, text, unexpected};

#[derive(Debug, Args)]
#[command(after_help = "A line is: date and time in the local time zone (TZ), the kind of event, what it is about as \
    DOMAIN[/CARD[/PCM[/STREAM]]] with the domain's id (`-` for the daemon itself), and what happened in words. Kinds: card, \
    open, close, refused, xrun, violation, lost, back, audit, reload.")]
pub(crate) struct Arguments {
    /// Goes on with what happens from now on, until interrupted.
    #[arg(long, short)]
    follow: bool,
    #[command(flatten)]
    daemon: Daemon,
    /// Prints each event as a line of JSON instead: {time_ms, kind, domain, card, pcm, stream, text}, with the time in
    /// milliseconds since 1970 and without what it is not about.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitStatus, Failure> {
    let mut client = arguments.daemon.connect()?;
    let reply = client.ask(&Request::Events { follow: arguments.follow }).map_err(failure)?;
    let Reply::Events { events } = reply else { return Err(unexpected()) };
    let zone = TimeZone::system();
    let mut out = Output::new();
    let mut print = |event: &Event| if arguments.json { out.json(event) } else { out.line(line(event, &zone)) };
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
    use ::control::EventKind;
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
}
