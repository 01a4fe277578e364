//! Words for people about what the daemon reports.

use ::control::{Card, Direction, Guest, Run, Status, Stream, Target, Worker};
use sndif::store::StreamAddress;

/// Placeholder for a value that does not exist.
pub(crate) const NOTHING: &str = "-";

/// The text without characters that a terminal would obey: names and labels come from guests.
pub(crate) fn plain(text: &str) -> String {
    let harmless = |c: char| match c {
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => '\u{fffd}',
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    text.chars().map(harmless).collect()
}

/// Name of a guest in a target: its own name, if that means this guest and no other, else its id.
pub(crate) fn domain_of(status: &Status, guest: &Guest) -> String {
    let clear = |name: &&String| {
        !name.is_empty()
            && !name.contains('/')
            && !name.starts_with('-')
            && name.parse::<u16>().is_err()
            && status.guests.iter().filter(|other| other.name.as_ref() == Some(*name)).count() == 1
    };
    guest.name.as_ref().filter(clear).cloned().unwrap_or_else(|| guest.domain.to_string())
}

/// The target that names one stream; `domain` is a name of its guest.
pub(crate) fn target_of(domain: &str, stream: StreamAddress) -> Target {
    Target { domain: domain.to_owned(), part: stream.into() }
}

pub(crate) fn direction(stream: &Stream) -> &'static str {
    match stream.direction {
        Some(Direction::Playback) => "playback",
        Some(Direction::Capture) => "capture",
        None => NOTHING,
    }
}

/// A stream's state, or the reason why it does nothing; the host's denial comes first.
pub(crate) fn state(stream: &Stream) -> &'static str {
    match stream.run {
        _ if !stream.permitted => "denied",
        _ if stream.device_lost => "lost",
        Run::Running if stream.muted => "muted",
        Run::Running => "running",
        Run::Paused => "paused",
        Run::Open => "open",
        Run::Closed => "closed",
    }
}

/// Returns true if sound flows, even if it is muted.
pub(crate) fn runs(stream: &Stream) -> bool {
    stream.permitted && stream.run == Run::Running && !stream.device_lost
}

/// A card's XenBus state, in words.
pub(crate) fn card_state(card: &Card) -> String {
    let words = match card.state.as_str() {
        "Initialising" => "being set up",
        "InitWait" => "waiting for the guest's driver",
        "Initialised" => "being connected",
        "Connected" => "connected",
        "Closing" => "being closed",
        "Closed" => "closed",
        "Reconfiguring" | "Reconfigured" => "being changed",
        other => return plain(other),
    };
    words.to_owned()
}

/// State of a guest that no worker serves, in words.
pub(crate) fn worker_state(guest: &Guest) -> Option<&'static str> {
    match guest.worker {
        Worker::Serving => None,
        Worker::Starting => Some("starting, its cards are offered soon"),
        Worker::Restarting => Some("restarting, nothing is heard of it until another worker serves it"),
    }
}

/// A card's number, with its name if it has one.
pub(crate) fn card_name(card: &Card) -> String {
    match plain(&card.name) {
        name if name.is_empty() => format!("card {}", card.card),
        name => format!("card {} “{name}”", card.card),
    }
}

/// The names of a card and its PCM devices, if the guest's configuration has any.
pub(crate) fn names(card: &Card) -> Option<String> {
    let mut names = vec![card_name(card)];
    let mut pcms: Vec<_> = card.streams.iter().map(|stream| (stream.pcm, &stream.pcm_name)).collect();
    pcms.dedup();
    let named = pcms.into_iter().filter(|(_, name)| !name.is_empty());
    names.extend(named.map(|(pcm, name)| format!("PCM {pcm} “{}”", plain(name))));
    (names.len() > 1 || !card.name.is_empty()).then(|| names.join(", "))
}

/// The format with its rate and channels, while open.
pub(crate) fn format(stream: &Stream) -> Option<String> {
    let format = stream.format.as_ref()?;
    Some(format!("{} {} Hz {} ch", plain(format), stream.rate_hz, stream.channels))
}

/// A level or volume with its unit, in the syntax that `vsnd volume` reads.
pub(crate) fn decibels(db: f64) -> String {
    // Adding 0.0 turns negative zero into zero.
    format!("{:.1} dB", (db * 10.0).round() / 10.0 + 0.0)
}

/// The host's volume, or `muted`. If the ceiling limits the volume, what the ceiling leaves: `≤-12.0 dB`.
pub(crate) fn volume(stream: &Stream) -> String {
    match capped(stream) {
        _ if stream.muted => "muted".to_owned(),
        Some(max) => format!("≤{}", decibels(max)),
        None => decibels(stream.volume_db),
    }
}

/// The ceiling, if guest and host together would exceed it.
pub(crate) fn capped(stream: &Stream) -> Option<f64> {
    let guest = stream.guest_volume_db.iter().copied().reduce(f64::max).unwrap_or(0.0);
    stream.volume_max_db.filter(|max| stream.volume_db + guest > *max)
}

/// The volume that the users of the host have set on the sound server, if it changes anything.
pub(crate) fn server_volume(stream: &Stream) -> Option<String> {
    match stream.server_volume_db {
        _ if stream.server_muted => Some("muted".to_owned()),
        Some(db) if db.abs() >= 0.05 => Some(decibels(db)),
        Some(_) | None => None,
    }
}

/// The guest's own volume: one number, or one per channel if they differ.
pub(crate) fn guest_volume(stream: &Stream) -> Option<String> {
    let channels = stream.guest_volume_db.len().max(stream.guest_muted.len());
    let mut texts: Vec<String> = (0..channels)
        .map(|channel| match stream.guest_muted.get(channel) {
            Some(true) => "muted".to_owned(),
            _ => stream.guest_volume_db.get(channel).map_or_else(|| decibels(0.0), |db| decibels(*db)),
        })
        .collect();
    if texts.iter().all(|text| *text == texts[0]) {
        texts.truncate(1);
    }
    (!texts.is_empty()).then(|| texts.join(" / "))
}

/// A latency, in milliseconds while those are readable.
pub(crate) fn latency(microseconds: u64) -> String {
    let milliseconds = microseconds as f64 / 1e3;
    if milliseconds < 999.95 { format!("{milliseconds:.1} ms") } else { format!("{:.2} s", milliseconds / 1e3) }
}

/// Running time, in its two largest units.
pub(crate) fn uptime(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, _, _) => format!("{hours}h {}m", minutes % 60),
        _ => format!("{days}d {}h", hours % 24),
    }
}

/// A number with its noun.
pub(crate) fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_guest_writes_cannot_control_the_terminal() {
        assert_eq!(plain("a\x1b[2J\u{9b}1m\u{202e}b ä漢"), "a\u{fffd}[2J\u{fffd}1m\u{fffd}b ä漢");
    }

    #[test]
    fn a_guest_is_called_by_its_name_where_that_is_clear() {
        let guest = |domain, name: Option<&str>| Guest { domain, name: name.map(str::to_owned), ..Guest::default() };
        let guests = vec![
            guest(1, Some("studio")),
            guest(2, None),
            guest(3, Some("twin")),
            guest(4, Some("twin")),
            guest(5, Some("7")),
            guest(6, Some("a/b")),
            guest(8, Some("--json")),
        ];
        let status = Status { guests, ..Status::default() };
        let names: Vec<String> = status.guests.iter().map(|guest| domain_of(&status, guest)).collect();
        assert_eq!(names, ["studio", "2", "3", "4", "5", "6", "8"]);
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!([decibels(-6.0), decibels(-0.04), decibels(12.26)], ["-6.0 dB", "0.0 dB", "12.3 dB"]);
        assert_eq!([latency(21_340), latency(999_949), latency(1_234_567)], ["21.3 ms", "999.9 ms", "1.23 s"]);
        let times = [4_999, 784_000, 7_980_000, 180_000_000];
        assert_eq!(times.map(uptime), ["4s", "13m 4s", "2h 13m", "2d 2h"]);
        assert_eq!([count(1, "xrun"), count(0, "xrun")], ["1 xrun", "0 xruns"]);
    }

    #[test]
    fn the_servers_volume_is_told_where_it_changes_something() {
        let volume = |server_volume_db, server_muted| {
            server_volume(&Stream { server_volume_db, server_muted, ..Stream::default() })
        };
        assert_eq!((volume(None, false), volume(Some(0.0), false)), (None, None));
        assert_eq!(volume(Some(-12.0), false).as_deref(), Some("-12.0 dB"));
        assert_eq!(volume(Some(-12.0), true).as_deref(), Some("muted"));
    }

    #[test]
    fn the_guests_volume_is_one_figure_unless_channels_differ() {
        let volume = |db: &[f64], muted: &[bool]| {
            guest_volume(&Stream { guest_volume_db: db.into(), guest_muted: muted.into(), ..Stream::default() })
        };
        assert_eq!(volume(&[], &[]), None);
        assert_eq!(volume(&[-3.0, -3.0], &[]).as_deref(), Some("-3.0 dB"));
        assert_eq!(volume(&[-3.0, 0.0], &[false, true]).as_deref(), Some("-3.0 dB / muted"));
        assert_eq!(volume(&[], &[true, true]).as_deref(), Some("muted"));
    }

    #[test]
    fn what_keeps_a_stream_from_running_is_its_state() {
        let stream = |run, permitted, device_lost| Stream { run, permitted, device_lost, ..Stream::default() };
        assert_eq!(state(&stream(Run::Running, true, false)), "running");
        assert_eq!(state(&stream(Run::Running, true, true)), "lost");
        assert_eq!(state(&stream(Run::Closed, false, false)), "denied");
        assert_eq!(state(&stream(Run::Closed, true, false)), "closed");
        let muted = Stream { muted: true, ..stream(Run::Running, true, false) };
        assert!(state(&muted) == "muted" && runs(&muted));
    }

    #[test]
    fn what_the_host_denies_is_denied_whatever_the_guest_does() {
        for run in [Run::Running, Run::Paused, Run::Open, Run::Closed] {
            for device_lost in [false, true] {
                let stream = Stream { run, device_lost, ..Stream::default() };
                assert_eq!((state(&stream), runs(&stream)), ("denied", false), "{run:?}");
            }
        }
    }

    #[test]
    fn a_volume_above_the_ceiling_is_told_as_what_the_ceiling_leaves() {
        let stream = |volume_db, max, guest: &[f64]| Stream {
            volume_db,
            volume_max_db: max,
            guest_volume_db: guest.into(),
            ..Stream::default()
        };
        assert_eq!(volume(&stream(0.0, Some(-12.0), &[])), "≤-12.0 dB");
        assert_eq!(volume(&stream(-12.0, Some(-12.0), &[])), "-12.0 dB");
        assert_eq!(volume(&stream(0.0, Some(-12.0), &[-20.0, -14.0])), "0.0 dB");
        assert_eq!(volume(&Stream { muted: true, ..stream(0.0, Some(-12.0), &[]) }), "muted");
    }

    #[test]
    fn a_cards_state_is_told_in_words() {
        let told = |state: &str| card_state(&Card { state: state.into(), ..Card::default() });
        assert_eq!([told("InitWait"), told("Closed")], ["waiting for the guest's driver", "closed"]);
        assert_eq!(told("x\x1b"), "x\u{fffd}");
    }
}
