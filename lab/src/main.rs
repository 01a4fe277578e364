//! `vsnd-lab`: makes reproducible recordings, compares them with the heard sound, and reports positions and times.
//!
//! The program runs in dom0 and in the guests of the lab: both make the same recording from a few numbers, so that
//! no recording has to be transferred.

mod compare;
mod position;
mod recording;
mod stretches;
/// The tone of a guest that cannot make a recording of ours.
#[path = "../../examples/beep/src/tone.rs"]
mod tone;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use sndif::Format;

#[derive(Debug, Parser)]
#[command(version, about = "Test recordings for the lab, and their comparison.")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Writes a recording: raw frames, or a WAV file where the name ends in `.wav`.
    Make {
        #[command(flatten)]
        recording: Recording,
        /// Frames per second, for the WAV header.
        #[arg(long, default_value_t = 48_000)]
        rate: u32,
        /// The file to write.
        file: PathBuf,
    },
    /// Checks that a file of s16_le holds the sum of two recordings, the second of which began while the first played.
    ///
    /// Exit status 1, and the first frame that differs, when it does not.
    Mixed {
        #[command(flatten)]
        recording: Recording,
        /// The seed of the second one.
        #[arg(long)]
        other_seed: u32,
        /// The length of the second one, in frames.
        #[arg(long)]
        other_frames: u64,
        /// File of the sound that was heard: raw frames, or WAV where the name ends in `.wav`.
        file: PathBuf,
    },
    /// Checks that a file holds a recording from its first frame on, and only silence after it.
    ///
    /// Exit status 1, and the first frame that differs, when it does not.
    Compare {
        #[command(flatten)]
        recording: Recording,
        #[command(flatten)]
        tolerance: compare::Tolerance,
        /// File of the sound that was heard: raw frames, or WAV where the name ends in `.wav`.
        file: PathBuf,
    },
    /// Prints the time: nanoseconds of this domain's monotonic clock, and of the processor's counter, which is the same
    /// in all domains that have `tsc_mode="native"` (in nanoseconds, where QEMU counts instructions).
    Clock,
    /// Prints the position of a sound card's stream again and again: nanoseconds of the monotonic clock, frames that
    /// were played, and frames that were written.
    Positions {
        /// Number of positions to print.
        #[arg(long, default_value_t = 24)]
        looks: u32,
        /// The stream's file `status` in /proc/asound.
        file: PathBuf,
    },
    /// Prints the stretches of raw frames of two 16-bit samples that are silent or not: `sound 480, silence 960`, in
    /// frames.
    Stretches {
        /// File of raw frames that were heard.
        file: PathBuf,
    },
}

/// A recording, by the numbers it is made from.
#[derive(Debug, Clone, Copy, Args)]
struct Recording {
    /// Sample format, by its name in the store.
    #[arg(long, default_value = "s16_le")]
    format: Format,
    /// Channels.
    #[arg(long, default_value_t = 2)]
    channels: u8,
    /// Length in frames.
    #[arg(long, default_value_t = 96_000)]
    frames: u64,
    /// Seed: recordings of different seeds differ from their first frame on.
    #[arg(long, default_value_t = 1)]
    seed: u32,
    /// The tone of `examples/beep` instead, which is s16_le in two channels.
    #[arg(long, conflicts_with_all = ["format", "channels", "seed"])]
    tone: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            // A closed standard error is ignored: the error cannot be reported anywhere else.
            let _ = writeln!(std::io::stderr(), "vsnd-lab: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> Result<bool> {
    match &arguments.command {
        Command::Make { recording, rate, file } => {
            recording.write(*rate, file).with_context(|| format!("cannot make {}", file.display()))?;
            Ok(true)
        }
        Command::Compare { recording, tolerance, file } => {
            report(&compare::compare(recording, &read_channels(recording, *tolerance, file)?, *tolerance))
        }
        Command::Mixed { recording, other_seed, other_frames, file } => {
            let recording = Recording { format: Format::S16Le, ..*recording };
            let other = Recording { seed: *other_seed, frames: *other_frames, ..recording };
            report(&compare::compare_mixture(&recording, &other, &read(&recording, file)?))
        }
        Command::Clock => {
            writeln!(std::io::stdout(), "{}", position::clock()?)?;
            Ok(true)
        }
        Command::Positions { looks, file } => {
            position::watch(*looks, file, &mut std::io::stdout().lock())
                .with_context(|| format!("cannot look at {}", file.display()))?;
            Ok(true)
        }
        Command::Stretches { file } => {
            let heard = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
            writeln!(std::io::stdout(), "{}", stretches::describe(&heard))?;
            Ok(true)
        }
    }
}

fn read(recording: &Recording, file: &Path) -> Result<Vec<u8>> {
    recording::read(file, recording.format, recording.channels)
        .with_context(|| format!("cannot read {}", file.display()))
}

/// The heard frames: of all channels of a recording, of the channels that the file has (`only`), or from the file's
/// channels that belong to the recording (`among`).
fn read_channels(recording: &Recording, tolerance: compare::Tolerance, file: &Path) -> Result<Vec<u8>> {
    if let Some(among) = tolerance.among {
        let heard = read(&Recording { channels: among.of, ..*recording }, file)?;
        return Ok(compare::heard_among(recording, among, &heard));
    }
    let channels = tolerance.only.map_or(recording.channels, compare::Channels::count);
    read(&Recording { channels, ..*recording }, file)
}

fn report(verdict: &compare::Verdict) -> Result<bool> {
    writeln!(std::io::stdout(), "{}", verdict.text)?;
    Ok(verdict.good)
}
