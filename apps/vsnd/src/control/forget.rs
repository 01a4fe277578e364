//! `vsnd forget`: overrides that were made while the daemon ran, shown or undone.

use ::control::{Reply, Request, Setting, Target};
use clap::Args;
use clap_complete::ArgValueCandidates;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use program::{ExitStatus, Failure};

use super::commands;
use crate::daemon::{Daemon, failure, unexpected};
use crate::output::Output;
use crate::{complete, text};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The streams: DOMAIN[/CARD[/PCM[/STREAM]]], where DOMAIN is a guest's name, id or UUID, also as a pattern: `'*'`.
    /// The guest need not run. Without TARGET, the overrides that are kept are shown.
    #[arg(add = ArgValueCandidates::new(complete::targets))]
    target: Option<Target>,
    #[command(flatten)]
    daemon: Daemon,
    /// Prints JSON instead: the daemon's reply, {reply, message, streams}, or without TARGET a line for each setting, {target,
    /// text, until_ms}.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitStatus, Failure> {
    let Arguments { target, daemon, json } = arguments;
    let mut client = daemon.connect()?;
    let mut out = Output::new();
    if let Some(target) = target {
        let request = Request::Forget { target: target.clone() };
        commands::ask(&mut client, &mut out, *json, &request)?;
        return Ok(ExitStatus::Success);
    }
    let Reply::Kept { kept } = client.ask(&Request::Kept).map_err(failure)? else { return Err(unexpected()) };
    for setting in &kept {
        if *json {
            out.json(setting)?;
        } else {
            out.line(line(setting, &TimeZone::system()))?;
        }
    }
    if kept.is_empty() && !json {
        out.line("nothing is kept: the configuration holds")?;
    }
    Ok(ExitStatus::Success)
}

fn line(setting: &Setting, zone: &TimeZone) -> String {
    let Setting { target, text, until_ms } = setting;
    let until = until_ms.and_then(|until_ms| Timestamp::from_millisecond(until_ms.try_into().ok()?).ok());
    let until = until.map_or_else(String::new, |until| {
        format!(", until {}", until.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S"))
    });
    text::plain(&format!("{target}: {text}{until}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_told_with_its_end() {
        let setting = |until_ms| Setting { target: "a/0".parse().unwrap(), text: "muted".into(), until_ms };
        assert_eq!(line(&setting(None), &TimeZone::UTC), "a/0: muted");
        assert_eq!(line(&setting(Some(1_000)), &TimeZone::UTC), "a/0: muted, until 1970-01-01 00:00:01");
        assert_eq!(line(&setting(Some(u64::MAX)), &TimeZone::UTC), "a/0: muted");
    }
}
