//! `vsnd devices`: the devices that a host offers for `sink` and `source`.

use std::time::Duration;

use clap::Args;
use host_audio::DeviceOptions;
use host_audio::catalogue::{Offer, Place, places};
use host_audio::libpulse::leave_nothing;
use program::{ExitStatus, Failure};
use serde::Serialize;

use crate::output::Output;
use crate::text;

/// Time that a sound server may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
#[command(
    after_help = "The devices are those that the user who asks can reach; the daemon is another user, and in a sandbox: `vsnd doctor` \
    tells how it fares with the ones that are configured. PipeWire's own nodes are listed where the package vsndd-pipewire is installed, or by a build \
    with the feature `pipewire`."
)]
pub(crate) struct Arguments {
    /// Prints a line of JSON for each device instead, {place, device, description, sink, source}, or for a place whose devices
    /// are not known {place, error}.
    #[arg(long)]
    json: bool,
}

/// A line of JSON.
#[derive(Serialize)]
#[serde(untagged)]
enum Line<'a> {
    Device { place: &'a str, device: String, description: &'a str, sink: bool, source: bool },
    Unknown { place: &'a str, error: &'a str },
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitStatus, Failure> {
    let places = all();
    let mut out = Output::new();
    if !arguments.json {
        out.line(table(&places).trim_end())?;
        return Ok(ExitStatus::Success);
    }
    for Place { title, offers } in &places {
        match offers {
            Err(error) => out.json(&Line::Unknown { place: title, error })?,
            Ok(offers) => {
                for Offer { device, description, playback, capture } in offers {
                    let device = device.to_string();
                    out.json(&Line::Device { place: title, device, description, sink: *playback, source: *capture })?;
                }
            }
        }
    }
    Ok(ExitStatus::Success)
}

/// The devices of this host, by the places where they are; looking for them leaves nothing behind.
pub(crate) fn all() -> Vec<Place> {
    // On failure the user's home gets a directory, as from any player.
    let _ = leave_nothing(false);
    places(&DeviceOptions { patience: PATIENCE, ..DeviceOptions::default() })
}

/// A paragraph for each place.
fn table(places: &[Place]) -> String {
    let mut lines = Vec::new();
    for Place { title, offers } in places {
        lines.push(format!("{}:", text::plain(title)));
        match offers {
            Err(error) => lines.push(format!("  not known: {}", text::plain(error))),
            Ok(offers) if offers.is_empty() => lines.push("  none".to_owned()),
            Ok(offers) => {
                let names: Vec<String> = offers.iter().map(|offer| text::plain(&offer.device.to_string())).collect();
                let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).min(60);
                lines.extend(offers.iter().zip(&names).map(|(offer, name)| {
                    let used = match (offer.playback, offer.capture) {
                        (true, true) => "sink, source",
                        (true, false) => "sink",
                        _ => "source",
                    };
                    format!("  {name:width$}  {used:12}  {}", text::plain(&offer.description)).trim_end().to_owned()
                }));
            }
        }
        lines.push(String::new());
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_paragraphs_and_nothing_in_them_controls_the_terminal() {
        let offer = |device: &str, description: &str, capture| Offer {
            device: device.parse().unwrap(),
            description: description.into(),
            playback: true,
            capture,
        };
        let offers = vec![offer("alsa:hw:1", "Card\x1b[2J", true), offer("null", "", false)];
        let places = [
            Place { title: "ALSA".into(), offers: Ok(offers) },
            Place { title: "PulseAudio".into(), offers: Err("it is not there".into()) },
            Place { title: "PipeWire".into(), offers: Ok(Vec::new()) },
        ];
        let expected = "ALSA:\n  alsa:hw:1  sink, source  Card\u{fffd}[2J\n  null       sink\n\n\
            PulseAudio:\n  not known: it is not there\n\nPipeWire:\n  none\n";
        assert_eq!(table(&places), expected);
    }
}
