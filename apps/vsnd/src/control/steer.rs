//! `vsnd volume`, `mute`, `unmute`, `allow-capture`, `deny-capture`, `reload`: what changes something.

use std::str::FromStr;

use ::control::{Reply, Request, Target};
use clap::Args;
use program::{ExitStatus, Failure};
use serde::Serialize;

use super::{Daemon, Output, failure, list, text, unexpected};

/// What a volume may be, in decibels.
pub(crate) const VOLUME_DB: std::ops::RangeInclusive<f64> = -100.0..=20.0;

/// For a command that needs nothing but the daemon.
#[derive(Debug, Args)]
pub(crate) struct DaemonArguments {
    #[command(flatten)]
    daemon: Daemon,
    /// Prints the daemon's reply as JSON instead: {reply, message, streams}.
    #[arg(long)]
    json: bool,
}

/// For a command about some streams.
#[derive(Debug, Args)]
pub(crate) struct TargetArguments {
    /// The streams: DOMAIN[/CARD[/PCM[/STREAM]]], where DOMAIN is a guest's name, id or UUID. What is left out means all:
    /// `studio` is every stream of that guest, `studio/0/1` those of PCM device 1 of its card 0.
    target: Target,
    #[command(flatten)]
    common: DaemonArguments,
}

#[derive(Debug, Args)]
pub(crate) struct VolumeArguments {
    /// The streams: DOMAIN[/CARD[/PCM[/STREAM]]], where DOMAIN is a guest's name, id or UUID.
    target: Target,
    /// The volume in decibels, -100 to 20, such as `-6` or `-6dB`; it is added to the guest's own. Without it, the volume
    /// is shown.
    #[arg(value_name = "DB", allow_hyphen_values = true)]
    volume: Option<Decibels>,
    #[command(flatten)]
    daemon: Daemon,
    /// Prints JSON instead: the daemon's reply, {reply, message, streams}, or without DB a line for each stream, {target,
    /// volume_db, volume_max_db, muted, permitted, effective_volume_db, guest_volume_db, guest_muted, server_volume_db,
    /// server_muted}.
    #[arg(long)]
    json: bool,
}

/// A volume on the command line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Decibels(pub(crate) f64);

impl FromStr for Decibels {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix("dB").or_else(|| text.strip_suffix("db")).unwrap_or(text).trim();
        match number.parse::<f64>() {
            Ok(db) if VOLUME_DB.contains(&db) => Ok(Self(db)),
            Ok(_) => Err(format!("a volume is {} to {} dB", VOLUME_DB.start(), VOLUME_DB.end())),
            Err(_) => Err("expected decibels, such as -6 or -6dB".to_owned()),
        }
    }
}

pub(crate) fn volume(arguments: &VolumeArguments) -> Result<ExitStatus, Failure> {
    let VolumeArguments { target, volume, daemon, json } = arguments;
    match volume {
        Some(Decibels(volume_db)) => {
            change(daemon, *json, &Request::Volume { target: target.clone(), volume_db: *volume_db })
        }
        None => show(daemon, *json, target),
    }
}

pub(crate) fn mute(arguments: &TargetArguments, on: bool) -> Result<ExitStatus, Failure> {
    let TargetArguments { target, common } = arguments;
    change(&common.daemon, common.json, &Request::Mute { target: target.clone(), on })
}

pub(crate) fn capture(arguments: &TargetArguments, allow: bool) -> Result<ExitStatus, Failure> {
    let TargetArguments { target, common } = arguments;
    change(&common.daemon, common.json, &Request::Capture { target: target.clone(), allow })
}

pub(crate) fn reload(arguments: &DaemonArguments) -> Result<ExitStatus, Failure> {
    change(&arguments.daemon, arguments.json, &Request::Reload)
}

fn change(daemon: &Daemon, json: bool, request: &Request) -> Result<ExitStatus, Failure> {
    let reply = daemon.connect()?.ask(request).map_err(failure)?;
    let Reply::Done { message, streams } = &reply else { return Err(unexpected()) };
    let mut out = Output::new();
    if json {
        out.json(&reply)?;
    } else {
        out.line(done(request, message, *streams))?;
    }
    Ok(ExitStatus::Success)
}

/// The daemon's words for what was done, and how many streams it concerns where that is worth a word.
pub(crate) fn done(request: &Request, message: &str, streams: usize) -> String {
    let message = text::plain(message);
    match (request, streams) {
        (Request::Reload, _) => message,
        (_, 0) => format!("{message} (no stream is connected; it holds for those to come)"),
        (_, streams) => format!("{message} ({})", text::count(streams as u64, "connected stream")),
    }
}

/// What `vsnd volume TARGET --json` prints for a stream.
#[derive(Serialize)]
struct Volume<'a> {
    target: Target,
    volume_db: f64,
    volume_max_db: Option<f64>,
    muted: bool,
    permitted: bool,
    effective_volume_db: Option<f64>,
    guest_volume_db: &'a [f64],
    guest_muted: &'a [bool],
    server_volume_db: Option<f64>,
    server_muted: bool,
}

fn show(daemon: &Daemon, json: bool, target: &Target) -> Result<ExitStatus, Failure> {
    let status = list::status(&mut daemon.connect()?, false)?;
    let mut streams = Vec::new();
    for guest in &status.guests {
        if target.names_guest(guest.domain, guest.name.as_deref(), guest.uuid.as_deref()) {
            let domain = text::domain_of(&status, guest);
            let all = guest.cards.iter().flat_map(|card| card.streams.iter().map(move |stream| (card.card, stream)));
            let wanted = all.filter(|(card, stream)| target.covers(*card, stream.pcm, stream.stream));
            streams.extend(wanted.map(|(card, stream)| (text::target_of(&domain, card, stream), stream)));
        }
    }
    if streams.is_empty() {
        let message = format!("no stream of `{target}` is connected: `vsnd list` shows those that are");
        return Err(Failure::new(ExitStatus::NoCard, message));
    }
    let mut out = Output::new();
    for (target, stream) in streams {
        if json {
            out.json(&Volume {
                target,
                volume_db: stream.volume_db,
                volume_max_db: stream.volume_max_db,
                muted: stream.muted,
                permitted: stream.permitted,
                effective_volume_db: stream.effective_volume_db,
                guest_volume_db: &stream.guest_volume_db,
                guest_muted: &stream.guest_muted,
                server_volume_db: stream.server_volume_db,
                server_muted: stream.server_muted,
            })?;
            continue;
        }
        let mut line = format!("{}: {}", text::plain(&target.to_string()), text::decibels(stream.volume_db));
        if stream.muted {
            line += ", muted";
        }
        if let Some(guest) = text::guest_volume(stream) {
            line += &format!(", the guest's own {guest}");
        }
        if let Some(max) = stream.volume_max_db {
            let held = if text::capped(stream).is_some() { ", which holds it down" } else { "" };
            line += &format!(", together at most {}{held}", text::decibels(max));
        }
        if !stream.permitted {
            line += ", denied";
        }
        if let Some(server) = text::server_volume(stream) {
            line += &format!(", on the sound server {server}");
        }
        out.line(line)?;
    }
    Ok(ExitStatus::Success)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_read_with_and_without_its_unit() {
        for (text, db) in [("-6", -6.0), ("-6dB", -6.0), ("-6.5 dB", -6.5), ("+3db", 3.0), ("-100", -100.0)] {
            assert_eq!(text.parse(), Ok(Decibels(db)), "{text}");
        }
        for text in ["-100.1", "20.5", "inf"] {
            assert!(text.parse::<Decibels>().unwrap_err().contains("-100 to 20 dB"), "{text}");
        }
        for text in ["", "loud", "-6%", "--json"] {
            assert!(text.parse::<Decibels>().unwrap_err().contains("such as -6"), "{text}");
        }
        assert!("nan".parse::<Decibels>().is_err());
    }
}
