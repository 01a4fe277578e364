//! Words that a shell offers while a command line is typed: live guests and streams, devices of the host, sample
//! formats, kinds of events. A daemon that does not answer offers nothing.

use std::ffi::OsString;

use ::control::{Client, Direction, EventKind, Guest, Status};
use clap_complete::{CompleteEnv, CompletionCandidate};
use host_audio::DeviceSpec;
use host_audio::libpulse::leave_nothing;
use sndif::Format;
use xen::XenSpec;

use crate::{daemon, text};

/// Environment variable with which the script that `vsnd completions` writes calls this program.
pub(crate) const VARIABLE: &str = "VSND_COMPLETE";

/// Answers a shell and ends the program, if a shell asks.
pub(crate) fn complete(command: fn() -> clap::Command) {
    if std::env::var_os(VARIABLE).is_some() {
        // Starts the program once more where a library would leave something behind: before the variable is removed,
        // which answering does.
        let _ = leave_nothing(false);
    }
    CompleteEnv::with_factory(command).var(VARIABLE).complete();
}

/// Guests with a card, and their streams.
pub(crate) fn targets() -> Vec<CompletionCandidate> {
    let words: Vec<OsString> = std::env::args_os().collect();
    let Some(status) = status(&words) else { return Vec::new() };
    status.guests.iter().flat_map(targets_of).collect()
}

/// Devices to play to or to capture from.
pub(crate) fn devices() -> Vec<CompletionCandidate> {
    let offers = crate::devices::all().into_iter().filter_map(|place| place.offers.ok()).flatten();
    offers
        .map(|offer| match offer.device {
            // The user adds the path.
            DeviceSpec::Wav(_) => ("wav:".to_owned(), offer.description),
            device => (device.to_string(), offer.description),
        })
        .filter(|(device, _)| is_one_word(device))
        .map(|(device, description)| candidate(device, &description))
        .collect()
}

/// Sample formats.
pub(crate) fn formats() -> Vec<CompletionCandidate> {
    Format::all().map(|format| CompletionCandidate::new(format.to_string())).collect()
}

/// Kinds of events.
pub(crate) fn event_kinds() -> Vec<CompletionCandidate> {
    EventKind::ALL.iter().map(|kind| CompletionCandidate::new(kind.to_string())).collect()
}

fn status(words: &[OsString]) -> Option<Status> {
    daemon::status(&mut Client::connect(&socket(words)?).ok()?, false).ok()
}

/// The socket of the daemon that the words of the command line are about.
fn socket(words: &[OsString]) -> Option<std::path::PathBuf> {
    let behind = |option: &str| {
        let at = words.iter().position(|word| word == option)?;
        words.get(at + 1).cloned()
    };
    if let Some(socket) = behind("--socket").or_else(|| std::env::var_os("VSND_SOCKET")) {
        return Some(socket.into());
    }
    let xen = behind("--xen").or_else(|| std::env::var_os("VSND_XEN")).unwrap_or_else(|| "dev".into());
    Some(::control::socket_of(&xen.to_str()?.parse::<XenSpec>().ok()?))
}

fn targets_of(guest: &Guest) -> Vec<CompletionCandidate> {
    let name = guest.name.clone().filter(|name| is_one_word(name)).unwrap_or_else(|| guest.domain.to_string());
    let mut targets = vec![candidate(name.clone(), &text::count(guest.cards.len() as u64, "card"))];
    for card in &guest.cards {
        targets.extend(card.streams.iter().map(|stream| {
            let direction = match stream.direction {
                Some(Direction::Playback) => "playback",
                Some(Direction::Capture) => "capture",
                None => "not used yet",
            };
            candidate(format!("{name}/{}/{}/{}", card.card, stream.pcm, stream.stream), direction)
        }));
    }
    targets
}

fn candidate(word: String, description: &str) -> CompletionCandidate {
    CompletionCandidate::new(word).help(Some(text::plain(description).into()))
}

/// Returns true if a shell takes the text as it stands: names come from toolstacks and sound servers.
fn is_one_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|sign| sign.is_alphanumeric() || "._-+:/@=,%".contains(sign))
}

#[cfg(test)]
mod tests {
    use ::control::{Card, Stream};

    use super::*;

    fn words(of: &Guest) -> Vec<String> {
        targets_of(of).iter().map(|word| word.get_value().to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_guest_and_its_streams_are_targets() {
        let streams = vec![Stream { pcm: 1, ..Stream::default() }, Stream { pcm: 1, stream: 2, ..Stream::default() }];
        let cards = vec![Card { card: 3, streams, ..Card::default() }];
        let guest = Guest { domain: 7, name: Some("studio".into()), cards, ..Guest::default() };
        assert_eq!(words(&guest), ["studio", "studio/3/1/0", "studio/3/1/2"]);
    }

    #[test]
    fn a_name_that_a_shell_would_read_otherwise_gives_way_to_the_number() {
        for name in ["my guest", "a;reboot", "$(reboot)", "*", "", "a\u{1b}[2J"] {
            let guest = Guest { domain: 7, name: Some(name.into()), ..Guest::default() };
            assert_eq!(words(&guest), ["7"], "{name}");
        }
    }

    #[test]
    fn the_daemon_is_that_of_the_line() {
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        assert_eq!(socket(&words("vsnd mute --socket /a/b ")), Some("/a/b".into()));
        assert_eq!(socket(&words("vsnd mute --xen emu:/x ")), Some("/x/control.sock".into()));
        assert_eq!(socket(&words("vsnd mute --xen nonsense ")), None);
    }
}
