//! `vsnd record`: from the guest's card to a WAV file.

use std::path::PathBuf;

use clap::Args;
use host_audio::wav;
use program::{ExitStatus, Failure};
use sndif::Format;
use sndif::store::Direction;

use crate::guest_side::{Follower, GuestReport, StreamArguments, report, running_failure};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The file; an existing one is not overwritten.
    #[arg(value_name = "FILE.wav")]
    file: PathBuf,
    /// How long to record [default: until Ctrl-C].
    #[arg(long, value_name = "N", value_parser = seconds)]
    seconds: Option<f64>,
    /// How much to record, in frames.
    #[arg(long, value_name = "N", conflicts_with = "seconds")]
    frames: Option<u64>,
    /// Sample format.
    #[arg(long, default_value = "s16_le", value_name = "FORMAT")]
    format: Format,
    /// Frames per second.
    #[arg(long, default_value_t = 48_000, value_name = "HZ")]
    rate: u32,
    /// Samples per frame.
    #[arg(long, default_value_t = 2, value_name = "N")]
    channels: u8,
    #[command(flatten)]
    stream: StreamArguments,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 86_400.0 => Ok(seconds),
        _ => Err("not a number of seconds above 0, up to 86400".into()),
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitStatus, Failure> {
    let Arguments { format, rate, channels, .. } = *arguments;
    if arguments.file.exists() {
        let message = format!("{} exists already: name another file, or remove it", arguments.file.display());
        return Err(Failure::new(ExitStatus::File, message));
    }
    let (_card, mut stream) = arguments.stream.open(Direction::Capture, format, rate, channels)?;
    let mut writer =
        wav::Writer::create(&arguments.file, format, rate, channels).map_err(Failure::with(ExitStatus::File))?;
    let frames = arguments.frames.or(arguments.seconds.map(|seconds| (seconds * f64::from(rate)).round() as u64));
    let mut follower = Follower::new(arguments.stream.progress, "recording", frames)?;

    let frame_bytes = u64::from(stream.geometry().frame_bytes().max(1));
    let mut period = vec![0; stream.geometry().period_bytes() as usize];
    let before = stream.stats();
    let mut left = frames.map_or(u64::MAX, |frames| frames * frame_bytes);
    while left > 0 {
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(period.len());
        let read = stream.read(&mut period[..wanted]).map_err(running_failure)?;
        follower.tell_reconnects(stream.as_ref());
        writer.write(&period[..read]).map_err(Failure::with(ExitStatus::File))?;
        left -= read as u64;
        if follower.step(writer.frames()).is_break() {
            break;
        }
    }
    // The device is ahead of what was read: what counts is what the file holds.
    let report = GuestReport { frames: writer.frames(), ..report(stream.as_ref(), &before) };
    follower.finish(report)?;
    writer.finish();
    stream.stop().map_err(running_failure)?;
    stream.close().map_err(running_failure)?;
    Ok(ExitStatus::Success)
}
