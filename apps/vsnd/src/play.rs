//! `vsnd play`: a WAV file on the guest's card.

use std::path::PathBuf;

use clap::Args;
use program::{ExitStatus, Failure};
use sndif::Format;
use sndif::store::Direction;

use crate::guest_side::{Follower, StreamArguments, converted, recording, report, running_failure};

/// Periods whose requests are waited for, to see how long that takes.
const MEASURED_PERIODS: usize = 50;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The file.
    #[arg(value_name = "FILE.wav")]
    file: PathBuf,
    /// Sample format to convert the file to before it is played [default: the file's own].
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    #[command(flatten)]
    stream: StreamArguments,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitStatus, Failure> {
    let audio = recording(&arguments.file)?;
    let format = arguments.format.unwrap_or(audio.format);
    let data = converted(&audio, format)?;
    let (_card, mut stream) = arguments.stream.open(Direction::Playback, format, audio.rate_hz, audio.channels)?;
    let frame_bytes = stream.geometry().frame_bytes().max(1) as usize;
    let period_bytes = stream.geometry().period_bytes() as usize;
    let mut follower = Follower::new(arguments.stream.progress, "playing", Some((data.len() / frame_bytes) as u64))?;

    let periods = data.chunks(period_bytes.max(1));
    let measured_periods = MEASURED_PERIODS.min(periods.len() / 4);
    stream.measure_write_latency(true);
    let mut measured = stream.stats();
    for (index, period) in periods.enumerate() {
        if index == measured_periods {
            stream.measure_write_latency(false);
            measured = stream.stats();
        }
        stream.write(period).map_err(running_failure)?;
        follower.tell_reconnects(stream.as_ref());
        if follower.step(stream.position() / frame_bytes as u64).is_break() {
            break;
        }
    }
    if !follower.interrupted {
        stream.drain().map_err(running_failure)?;
        follower.tell_reconnects(stream.as_ref());
    }
    let report = report(stream.as_ref(), &measured);
    let interrupted = follower.interrupted;
    follower.finish(report)?;
    stream.stop().map_err(running_failure)?;
    stream.close().map_err(running_failure)?;
    if interrupted {
        return Err(Failure::new(ExitStatus::Failure, "interrupted"));
    }
    Ok(ExitStatus::Success)
}
