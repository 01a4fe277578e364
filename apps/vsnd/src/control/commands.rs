//! `vsnd volume`, `mute`, `unmute`, `allow-capture`, `deny-capture`, `disconnect`, `reload`: commands that change
//! something.

use std::str::FromStr;

use ::control::{Client, FOR_SECONDS_MAX, Reply, Request, Status, Stream, Target};
use clap::Args;
use clap_complete::ArgValueCandidates;
use program::{ExitStatus, Failure};
use serde::Serialize;

use super::change::{self, Change};
use crate::daemon::{self, Daemon, failure, unexpected};
use crate::output::Output;
use crate::{complete, text};

/// Arguments of a command that needs only the daemon.
#[derive(Debug, Args)]
pub(crate) struct DaemonArguments {
    #[command(flatten)]
    pub(super) daemon: Daemon,
    /// Prints the daemon's reply as JSON instead: {reply, message, streams}.
    #[arg(long)]
    pub(super) json: bool,
}

/// Arguments of a command about some streams.
#[derive(Debug, Args)]
pub(crate) struct TargetArguments {
    /// The streams: DOMAIN[/CARD[/PCM[/STREAM]]], where DOMAIN is a guest's name, id or UUID, in which `*`, `?` and
    /// `[a-z]` stand for others. A part that is left out means all: `studio` is every stream of that guest,
    /// `studio/0/1` those of PCM device 1 of its card 0, `'*'` every stream of every guest.
    #[arg(add = ArgValueCandidates::new(complete::targets))]
    pub(super) target: Target,
    #[command(flatten)]
    pub(super) common: DaemonArguments,
}

/// Arguments of a command about some cards.
#[derive(Debug, Args)]
pub(crate) struct CardArguments {
    /// The cards: DOMAIN[/CARD], where DOMAIN is a guest's name, id or UUID, also as a pattern: `'*'`. Without CARD, all cards of the
    /// guest.
    #[arg(add = ArgValueCandidates::new(complete::targets))]
    target: Target,
    #[command(flatten)]
    common: DaemonArguments,
}

#[derive(Debug, Args)]
pub(crate) struct AllowArguments {
    #[command(flatten)]
    which: TargetArguments,
    /// Time after which the setting before applies again, such as `10m`, `90s` or `1h30m`. The end is an event.
    #[arg(long = "for", value_name = "TIME")]
    time: Option<Time>,
}

/// A length of time on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Time {
    seconds: u64,
}

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let longest = FOR_SECONDS_MAX / 86_400;
        let not_one = || format!("expected a time of 1 second to {longest} days, such as 10m, 90s or 1h30m");
        let time: jiff::SignedDuration = text.parse().map_err(|_| not_one())?;
        match u64::try_from(time.as_secs()) {
            Ok(seconds) if (1..=FOR_SECONDS_MAX).contains(&seconds) => Ok(Self { seconds }),
            _ => Err(not_one()),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct VolumeArguments {
    /// The streams: DOMAIN[/CARD[/PCM[/STREAM]]], where DOMAIN is a guest's name, id or UUID, also as a pattern: `'*'`.
    #[arg(add = ArgValueCandidates::new(complete::targets))]
    target: Target,
    /// The volume, which is added to the guest's own. With a sign, the present volume is changed: `+3dB`, `-3dB`,
    /// `+5%`, `-5%`. With `=` or no sign, the volume is set: `=-6dB`, `0`, `50%`. In decibels, -100 to 20, or in
    /// percent as sound servers show it: 100% is 0 dB, 50% is -18 dB, 215% is 20 dB. Without VOLUME, the present volume
    /// is shown.
    #[arg(value_name = "[+|-|=]VOLUME", allow_hyphen_values = true)]
    volume: Option<Change>,
    #[command(flatten)]
    daemon: Daemon,
    /// Prints JSON instead: the daemon's reply, {reply, message, streams}, or without VOLUME a line for each stream, {target,
    /// volume_db, volume_max_db, muted, permitted, effective_volume_db, guest_volume_db, guest_muted, server_volume_db,
    /// server_muted}.
    #[arg(long)]
    json: bool,
}

pub(crate) fn volume(arguments: &VolumeArguments) -> Result<ExitStatus, Failure> {
    let VolumeArguments { target, volume, daemon, json } = arguments;
    match volume {
        Some(Change::To(volume_db)) => {
            change(daemon, *json, &Request::Volume { target: target.clone(), volume_db: *volume_db })
        }
        Some(by) => change_by(daemon, *json, target, *by),
        None => show(daemon, *json, target),
    }
}

/// Applies `by` to the present volume of each stream.
fn change_by(daemon: &Daemon, json: bool, target: &Target, by: Change) -> Result<ExitStatus, Failure> {
    let mut client = daemon.connect()?;
    let status = daemon::status(&mut client, false)?;
    let mut out = Output::new();
    let streams = named(&status, target).map_err(|failure| {
        let message =
            format!("{}; a volume with `=`, such as `=-6dB`, also holds for streams to come", failure.message);
        Failure::new(ExitStatus::NoCard, message)
    })?;
    for (target, stream) in streams {
        let request = Request::Volume { target, volume_db: by.applied_to(stream.volume_db) };
        ask(&mut client, &mut out, json, &request)?;
    }
    Ok(ExitStatus::Success)
}

pub(crate) fn mute(arguments: &TargetArguments, on: bool) -> Result<ExitStatus, Failure> {
    let TargetArguments { target, common } = arguments;
    change(&common.daemon, common.json, &Request::Mute { target: target.clone(), on })
}

pub(crate) fn allow_capture(arguments: &AllowArguments) -> Result<ExitStatus, Failure> {
    capture(&arguments.which, true, arguments.time.map(|time| time.seconds))
}

pub(crate) fn deny_capture(arguments: &TargetArguments) -> Result<ExitStatus, Failure> {
    capture(arguments, false, None)
}

fn capture(arguments: &TargetArguments, allow: bool, for_s: Option<u64>) -> Result<ExitStatus, Failure> {
    let TargetArguments { target, common } = arguments;
    change(&common.daemon, common.json, &Request::Capture { target: target.clone(), allow, for_s })
}

pub(crate) fn disconnect(arguments: &CardArguments) -> Result<ExitStatus, Failure> {
    let CardArguments { target, common } = arguments;
    change(&common.daemon, common.json, &Request::Disconnect { target: target.clone() })
}

pub(crate) fn reload(arguments: &DaemonArguments) -> Result<ExitStatus, Failure> {
    change(&arguments.daemon, arguments.json, &Request::Reload)
}

fn change(daemon: &Daemon, json: bool, request: &Request) -> Result<ExitStatus, Failure> {
    ask(&mut daemon.connect()?, &mut Output::new(), json, request)?;
    Ok(ExitStatus::Success)
}

pub(super) fn ask(client: &mut Client, out: &mut Output, json: bool, request: &Request) -> Result<(), Failure> {
    let reply = client.ask(request).map_err(failure)?;
    report(out, json, request, &reply)
}

/// Prints the daemon's reply to a request that changed something.
pub(super) fn report(out: &mut Output, json: bool, request: &Request, reply: &Reply) -> Result<(), Failure> {
    let Reply::Done { message, streams } = reply else { return Err(unexpected()) };
    if json { out.json(reply) } else { out.line(done(request, message, *streams)) }
}

/// The daemon's words for what was done, with the number of streams if that is useful.
pub(crate) fn done(request: &Request, message: &str, streams: usize) -> String {
    let message = text::plain(message);
    match (request, streams) {
        (Request::Reload | Request::Forget { .. }, _) => message,
        (Request::Disconnect { .. }, streams) => format!("{message} ({})", text::count(streams as u64, "stream")),
        (_, 0) => format!("{message} (no stream is connected; it holds for those to come)"),
        (_, streams) => format!("{message} ({})", text::count(streams as u64, "connected stream")),
    }
}

/// Output of `vsnd volume TARGET --json` for a stream.
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

/// The connected streams that a target names, each with the target that names it alone.
pub(super) fn named<'a>(status: &'a Status, target: &Target) -> Result<Vec<(Target, &'a Stream)>, Failure> {
    let mut streams = Vec::new();
    for guest in &status.guests {
        if target.names_guest(guest.domain, guest.name.as_deref(), guest.uuid.as_deref()) {
            let domain = text::domain_of(status, guest);
            let wanted = guest.streams().filter(|(address, _)| target.part.has(*address));
            streams.extend(wanted.map(|(address, stream)| (text::target_of(&domain, address), stream)));
        }
    }
    if streams.is_empty() {
        let message = format!("no stream of `{target}` is connected: `vsnd list` shows those that are");
        return Err(Failure::new(ExitStatus::NoCard, message));
    }
    Ok(streams)
}

fn show(daemon: &Daemon, json: bool, target: &Target) -> Result<ExitStatus, Failure> {
    let status = daemon::status(&mut daemon.connect()?, false)?;
    let streams = named(&status, target)?;
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
        let (name, db) = (text::plain(&target.to_string()), stream.volume_db);
        let mut line = format!("{name}: {} ({:.0} %)", text::decibels(db), change::percent(db));
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
    fn a_time_has_its_units() {
        for (text, seconds) in [("10m", 600), ("90s", 90), ("1h30m", 5400), ("1h 30m", 5400), ("2 hours", 7200)] {
            assert_eq!(text.parse(), Ok(Time { seconds }), "{text}");
        }
        for text in ["", "10", "-5m", "0s", "soon", "10mm", "9000000h", "1y"] {
            assert!(text.parse::<Time>().unwrap_err().contains("such as 10m"), "{text}");
        }
    }
}
