//! `vsnd-lab`: makes recordings that can be made again anywhere, and compares what became of them.
//!
//! It runs in dom0 and in the guests of the lab: both make the same recording from a few numbers, so that
//! none has to travel between them.

mod compare;
mod recording;
mod stretches;

use std::io::Write;
use std::path::PathBuf;
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
    /// Says whether a file holds a recording from its first frame on, and only silence after it.
    ///
    /// Exit status 1, and the first frame that differs, when it does not.
    Compare {
        #[command(flatten)]
        recording: Recording,
        #[command(flatten)]
        tolerance: compare::Tolerance,
        /// What was heard: raw frames, or a WAV file where the name ends in `.wav`.
        file: PathBuf,
    },
    /// Says where raw frames of two 16-bit samples are silent and where not: `sound 480, silence 960`, in frames.
    Stretches {
        /// What was heard.
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
    /// Recordings of different seeds differ from their first frame on.
    #[arg(long, default_value_t = 1)]
    seed: u32,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            // Nobody is left to tell when standard error is closed.
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
            let heard = recording::read(file, recording.format, recording.channels)
                .with_context(|| format!("cannot read {}", file.display()))?;
            let result = compare::compare(recording, &heard, *tolerance);
            writeln!(std::io::stdout(), "{}", result.text)?;
            Ok(result.good)
        }
        Command::Stretches { file } => {
            let heard = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
            writeln!(std::io::stdout(), "{}", stretches::describe(&heard))?;
            Ok(true)
        }
    }
}
