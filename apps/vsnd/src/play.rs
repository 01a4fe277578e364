//! `vsnd play`: plays a file on the guest's card, converted if the card does not take the file's format.

use std::path::{Path, PathBuf};

use clap::Args;
use clap_complete::ArgValueCandidates;
use guest::{Card, Error, Playback};
use program::{ExitStatus, Failure};
use sndif::Format;
use sndif::store::Direction;

use crate::complete;
use crate::conversion::Conversion;
use crate::guest_side::{Follower, StreamArguments, failure, report, running_failure};
use crate::recording::Recording;
use crate::shape::{Possible, Shape};

/// Periods whose requests are waited for, to measure the time to their answers.
const MEASURED_PERIODS: u64 = 50;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The file: WAV, FLAC, Ogg Vorbis or MP3; `-` is standard input.
    file: PathBuf,
    /// Sample format to play it in [default: the file's own, or the nearest one that the card takes].
    #[arg(long, value_name = "FORMAT", add = ArgValueCandidates::new(complete::formats))]
    format: Option<Format>,
    /// Refuses a file that the card does not take as it is, instead of converting it.
    #[arg(long, conflicts_with = "format")]
    exact: bool,
    #[command(flatten)]
    stream: StreamArguments,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitStatus, Failure> {
    let stop = program::end_signal().map_err(Failure::with(ExitStatus::Failure))?;
    let recording = if arguments.file == Path::new("-") {
        Recording::from_stdin(stop.try_clone().map_err(Failure::with(ExitStatus::Failure))?)?
    } else {
        Recording::open(&arguments.file)?
    };
    let (own, frames) = (recording.shape, recording.frames);
    let (mut stream, shape) = arguments.open(own)?;
    let conversion = Conversion::new(own, shape)?;
    let frames = frames.map(|frames| conversion.frames(frames));
    let period_bytes = stream.geometry().period_bytes().max(1) as usize;
    let mut follower = Follower::new(arguments.stream.progress, "playing", frames, stop);

    // A file may claim any number of frames.
    let periods =
        frames.map_or(u64::MAX, |frames| frames.saturating_mul(shape.frame_bytes() as u64) / period_bytes as u64);
    let measured_periods = MEASURED_PERIODS.min(periods / 4);
    stream.measure_write_latency(true);
    let mut measured = stream.stats();
    let mut periods =
        Periods { recording, conversion, period_bytes, frames: Vec::new(), waiting: Vec::new(), ended: false };
    let mut played = 0;
    while let Some(period) = periods.next()? {
        if played == measured_periods {
            stream.measure_write_latency(false);
            measured = stream.stats();
        }
        played += 1;
        stream.write(&period).map_err(running_failure)?;
        follower.tell_reconnects(&stream);
        if follower.step(stream.position() / shape.frame_bytes() as u64).is_break() {
            break;
        }
    }
    if !follower.interrupted {
        stream.drain().map_err(running_failure)?;
        follower.tell_reconnects(&stream);
    }
    let report = report(&stream, &measured);
    let interrupted = follower.interrupted;
    follower.finish(report)?;
    stream.stop().map_err(running_failure)?;
    stream.close().map_err(running_failure)?;
    if interrupted {
        return Err(Failure::new(ExitStatus::Failure, "interrupted"));
    }
    Ok(ExitStatus::Success)
}

impl Arguments {
    /// Opens the stream in the shape of the file, or in the nearest one that the card takes, and tells the user.
    fn open(&self, own: Shape) -> Result<(Playback, Shape), Failure> {
        let (card, place) = self.stream.place(Direction::Playback)?;
        let wanted = Shape { format: self.format.unwrap_or(own.format), ..own };
        let mut possible = Possible::of(&place.limits);
        if self.format.is_some() {
            possible.formats = [wanted.format].into_iter().collect();
        }
        let mut shape = if self.exact { wanted } else { possible.nearest(wanted).unwrap_or(wanted) };
        loop {
            let refusal = match self.stream.open(Card::playback, &card, &place, shape) {
                Ok(stream) => {
                    if shape != wanted {
                        eprintln!("vsnd: the card does not take {wanted}; the file is converted to {shape}");
                    }
                    return Ok((stream, shape));
                }
                Err(refusal) => refusal,
            };
            // The host may lack what the card's configuration promises.
            let next = match &refusal {
                Error::Negotiation(reason) if !self.exact && possible.learn(reason) => possible.nearest(wanted),
                _ => None,
            };
            shape = next.ok_or_else(|| failure(refusal))?;
        }
    }
}

/// The recording in periods, as the stream takes them.
struct Periods {
    recording: Recording,
    conversion: Conversion,
    period_bytes: usize,
    /// Frames in the file's shape.
    frames: Vec<u8>,
    /// Converted frames that do not fill a period yet.
    waiting: Vec<u8>,
    ended: bool,
}

impl Periods {
    /// The next period; the last may be shorter; `None` at the end.
    fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        while self.waiting.len() < self.period_bytes && !self.ended {
            self.frames.clear();
            let most = (self.period_bytes / self.recording.shape.frame_bytes().max(1)).max(1);
            self.recording.read(most, &mut self.frames)?;
            if self.frames.is_empty() {
                self.ended = true;
                self.conversion.finish(&mut self.waiting);
            } else {
                self.conversion.convert(&self.frames, &mut self.waiting);
            }
        }
        let now = self.waiting.len().min(self.period_bytes);
        let period: Vec<u8> = self.waiting.drain(..now).collect();
        Ok(if period.is_empty() { None } else { Some(period) })
    }
}
