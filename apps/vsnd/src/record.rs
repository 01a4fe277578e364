//! `vsnd record`: from the guest's card to a WAV file, or to standard output.

use std::io::{self, IsTerminal, Stdout};
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use clap_complete::ArgValueCandidates;
use guest::Card;
use host_audio::wav;
use program::{ExitStatus, Failure};
use sndif::Format;
use sndif::store::Direction;

use crate::complete;
use crate::guest_side::{Follower, GuestReport, Progress, StreamArguments, failure, report, running_failure};
use crate::shape::Shape;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The file; an existing one is not overwritten. From 4 GiB on it is RF64. `-` is standard output.
    #[arg(value_name = "FILE.wav")]
    file: PathBuf,
    /// Seconds to record [default: until Ctrl-C].
    #[arg(long, value_name = "N", value_parser = seconds)]
    seconds: Option<f64>,
    /// Frames to record.
    #[arg(long, value_name = "N", conflicts_with = "seconds")]
    frames: Option<u64>,
    /// Sample format.
    #[arg(long, default_value = "s16_le", value_name = "FORMAT", add = ArgValueCandidates::new(complete::formats))]
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
    Target::check(arguments)?;
    let stop = program::end_signal().map_err(Failure::with(ExitStatus::Failure))?;
    let (card, place) = arguments.stream.place(Direction::Capture)?;
    let shape = Shape { format, rate_hz: rate, channels };
    let mut stream = arguments.stream.open(Card::capture, &card, &place, shape).map_err(failure)?;
    let mut target = Target::create(&arguments.file, shape).map_err(Failure::with(ExitStatus::File))?;
    let frames = arguments.frames.or(arguments.seconds.map(|seconds| (seconds * f64::from(rate)).round() as u64));
    let mut follower = Follower::new(arguments.stream.progress, "recording", frames, stop);

    let frame_bytes = u64::from(stream.geometry().frame_bytes().max(1));
    let mut period = vec![0; stream.geometry().period_bytes() as usize];
    let before = stream.stats();
    let mut read_last = Instant::now();
    let mut left = frames.map_or(u64::MAX, |frames| frames * frame_bytes);
    while left > 0 {
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(period.len());
        let read = match stream.read(&mut period[..wanted]) {
            Ok(read) => read,
            Err(error) => {
                let refusal = error.to_string();
                stream.restart(error).map_err(running_failure)?;
                follower.tell_restart(&refusal, read_last.elapsed(), target.frames());
                continue;
            }
        };
        read_last = Instant::now();
        follower.tell_reconnects(&stream);
        let wants_more = target.write(&period[..read]).map_err(Failure::with(ExitStatus::File))?;
        left -= read as u64;
        if !wants_more || follower.step(target.frames()).is_break() {
            break;
        }
    }
    // The device is ahead of what was read: the report counts the frames in the file.
    let report = GuestReport { frames: target.frames(), ..report(&stream, &before) };
    follower.finish(report)?;
    target.finish();
    stream.stop().map_err(running_failure)?;
    stream.close().map_err(running_failure)?;
    Ok(ExitStatus::Success)
}

/// Destination of the frames.
enum Target {
    File(wav::Writer),
    Pipe(wav::PipeWriter<Stdout>),
}

impl Target {
    /// Refuses arguments that cannot work, before anything is opened.
    fn check(arguments: &Arguments) -> Result<(), Failure> {
        if arguments.file != Path::new("-") {
            return if arguments.file.exists() {
                let message = format!("{} exists already: name another file, or remove it", arguments.file.display());
                Err(Failure::new(ExitStatus::File, message))
            } else {
                Ok(())
            };
        }
        if io::stdout().is_terminal() {
            return Err(Failure::new(ExitStatus::File, "standard output is a terminal: give a file, or a pipe"));
        }
        if arguments.stream.progress == Progress::Json {
            let message = "`--progress json` and a recording do not both go to standard output";
            return Err(Failure::new(ExitStatus::Usage, message));
        }
        Ok(())
    }

    fn create(file: &Path, shape: Shape) -> Result<Self, host_audio::Error> {
        let Shape { format, rate_hz, channels } = shape;
        if file == Path::new("-") {
            return wav::PipeWriter::new(io::stdout(), format, rate_hz, channels).map(Self::Pipe);
        }
        wav::Writer::create(file, format, rate_hz, channels).map(Self::File)
    }

    /// Appends frames; `false` if the reader wants no more.
    fn write(&mut self, frames: &[u8]) -> Result<bool, String> {
        match self {
            Self::File(writer) => writer.write(frames).map(|()| true).map_err(|error| error.to_string()),
            Self::Pipe(writer) => match writer.write(frames) {
                Err(reason) if reason.kind() == io::ErrorKind::BrokenPipe => Ok(false),
                Err(reason) => Err(format!("cannot write to standard output: {reason}")),
                Ok(()) => Ok(true),
            },
        }
    }

    fn frames(&self) -> u64 {
        match self {
            Self::File(writer) => writer.frames(),
            Self::Pipe(writer) => writer.frames(),
        }
    }

    fn finish(self) {
        if let Self::File(writer) = self {
            writer.finish();
        }
    }
}
