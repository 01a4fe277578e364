//! `vsnd move`: streams go to another device of the host while they play.

use std::thread;
use std::time::{Duration, Instant};

use ::control::{Client, Direction, Event, EventKind, Reply, Request, Run, Stream, Target};
use clap::Args;
use clap_complete::ArgValueCandidates;
use host_audio::DeviceSpec;
use program::{ExitStatus, Failure};

use super::commands::{self, TargetArguments};
use crate::daemon::{self, failure, unexpected};
use crate::output::Output;
use crate::{complete, text};

/// Time that streams may take to arrive: the daemon gives up on a server that does not answer earlier.
const PATIENCE: Duration = Duration::from_secs(8);
const STEP: Duration = Duration::from_millis(50);

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    which: TargetArguments,
    /// Device to move the streams to, as the configuration names it: `null`, `wav:PATH`, `alsa:PCM`,
    /// `pulse[:SINK][@SERVER]`, `pipewire[:NODE][@SERVER]`; `vsnd devices` lists them.
    #[arg(add = ArgValueCandidates::new(complete::devices))]
    device: DeviceSpec,
    /// Moves the source that the streams capture from, not the sink that they play to.
    #[arg(long)]
    source: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitStatus, Failure> {
    let Arguments { which: TargetArguments { target, common }, device, source } = arguments;
    let direction = if *source { Direction::Capture } else { Direction::Playback };
    let mut client = common.daemon.connect()?;
    let before = refusals(&mut client)?;
    let request = Request::Move { target: target.clone(), device: device.to_string(), direction };
    let reply = client.ask(&request).map_err(failure)?;
    arrive(&mut client, &before, target, direction, device)?;
    // Only now: a move that failed is not reported as done.
    commands::report(&mut Output::new(), common.json, &request, &reply)?;
    Ok(ExitStatus::Success)
}

/// Waits until the target's open streams use the device; `before` are the refusals that were known before.
fn arrive(
    client: &mut Client,
    before: &[Event],
    target: &Target,
    direction: Direction,
    device: &DeviceSpec,
) -> Result<(), Failure> {
    let ends = Instant::now() + PATIENCE;
    loop {
        // In this order: a stream that is not there yet and was not refused before is on its way.
        let refused = refusals(client)?;
        let new = refused.iter().filter(|event| !before.contains(event));
        let status = daemon::status(client, false)?;
        let streams = match commands::named(&status, target) {
            Ok(streams) => streams,
            // No such stream is connected now; one that connects later goes there.
            Err(_) => return Ok(()),
        };
        let elsewhere = streams.iter().filter(|(_, stream)| is_elsewhere(stream, direction, device));
        let Some((stream, _)) = elsewhere.clone().next() else { return Ok(()) };
        let reason =
            new.filter(|event| event.text.starts_with("not moved")).map(|event| event.text.clone()).next_back();
        if let Some(reason) = reason {
            let reason = text::plain(&reason);
            let later = format!("what was set holds as of the next opening; `vsnd forget '{target}'` takes it back");
            return Err(Failure::new(ExitStatus::HostDevice, format!("{stream}: {reason}; {later}")));
        }
        if Instant::now() >= ends {
            let count = text::count(elsewhere.count() as u64, "stream");
            let message = format!("{count} did not arrive within {} s: `vsnd events` says why", PATIENCE.as_secs());
            return Err(Failure::new(ExitStatus::HostDevice, message));
        }
        thread::sleep(STEP);
    }
}

/// Returns true if an open stream does not use the device. A stream of a WAV file shows a path of its own.
fn is_elsewhere(stream: &Stream, direction: Direction, device: &DeviceSpec) -> bool {
    let there = match device {
        DeviceSpec::Wav(_) => stream.device.starts_with("wav:"),
        other => stream.device == other.to_string(),
    };
    stream.direction == Some(direction) && stream.permitted && stream.run != Run::Closed && !there
}

/// The daemon's last events of streams that were refused something.
fn refusals(client: &mut Client) -> Result<Vec<Event>, Failure> {
    match client.ask(&Request::Events { follow: false }).map_err(failure)? {
        Reply::Events { events } => Ok(events.into_iter().filter(|event| event.kind == EventKind::Refused).collect()),
        _ => Err(unexpected()),
    }
}
