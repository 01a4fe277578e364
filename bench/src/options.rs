//! The command line.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand, ValueEnum};
use serde::Serialize;

use crate::{hotpath, linux, pingpong, player};

/// Measures para-virtual sound on an emulated Xen: guest processes, the real daemon, a null sink, and sound servers in
/// the part that measures them.
///
/// Prints a table and writes `bench.json` and SVG pictures. The machine should run nothing else meanwhile.
#[derive(Debug, Parser)]
#[command(name = "vsnd-bench", version, after_help = "From the source tree: make bench BENCH_ARGS='--quick'")]
pub(crate) struct Arguments {
    /// Parts to run [default: all].
    #[arg(long, value_delimiter = ',', value_name = "PART")]
    pub(crate) only: Vec<Part>,
    /// Short: less than a minute, fewer streams.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Seconds for every measurement of a part [default: 30, quick: 2].
    #[arg(long, value_name = "S")]
    pub(crate) seconds: Option<f64>,
    /// Numbers of streams to try [default: 1,50,100,200,300,400,500,700,1000,1500,2000, quick: 1,50,100].
    #[arg(long, value_delimiter = ',', value_name = "N")]
    pub(crate) streams: Vec<u32>,
    /// Sinks of the part `sinks`, as the daemon names them, or PulseAudio, PipeWire, `PipeWire, native` for servers that the bench starts
    /// [default: those, null, alsa:null, alsa:dmix].
    #[arg(long = "sink", value_name = "SINK")]
    pub(crate) sinks: Vec<String>,
    /// Numbers of streams of the part `memory` [default: 0,100,500, quick: 0,50].
    #[arg(long, value_delimiter = ',', value_name = "N")]
    pub(crate) memory_streams: Vec<u32>,
    /// Directory for the output.
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    pub(crate) out: PathBuf,
    /// File for the result [default: bench.json in the directory of --out].
    #[arg(long, value_name = "PATH")]
    pub(crate) json: Option<PathBuf>,
    /// The daemon to measure [default: vsndd beside this program].
    #[arg(long, value_name = "PATH")]
    pub(crate) daemon: Option<PathBuf>,
    /// An earlier daemon, beside which the processor time of a period is measured in the part `streams`.
    #[arg(long, value_name = "PATH")]
    pub(crate) before: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) role: Option<Role>,
}

/// Roles in which this program starts itself.
#[derive(Debug, Subcommand)]
pub(crate) enum Role {
    /// A guest that plays.
    #[command(hide = true)]
    Player(player::Arguments),
    /// The other end of the ping-pong.
    #[command(hide = true)]
    Pingpong(pingpong::Arguments),
    /// A guest that plays as Linux does.
    #[command(hide = true)]
    Linux(linux::Arguments),
    /// The hot path, for counting instructions.
    #[command(hide = true)]
    Hotpath(hotpath::Arguments),
}

/// A part of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Part {
    /// A WRITE, from request to response, against a bare ping-pong.
    Latency,
    /// Processor time and xruns against the number of streams.
    Streams,
    /// Each kind of host device: processor time, xruns, and the time from a guest's write to the sink.
    Sinks,
    /// Notifications per period.
    Notifications,
    /// Memory per stream.
    Memory,
    /// Start and memory of the workers of guests that do not play.
    Workers,
    /// Instructions per period (needs valgrind).
    Instructions,
}

/// Options from the command line, with defaults applied.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) parts: Vec<Part>,
    pub(crate) quick: bool,
    pub(crate) seconds: f64,
    pub(crate) streams: Vec<u32>,
    pub(crate) sinks: Vec<String>,
    pub(crate) memory_streams: Vec<u32>,
    pub(crate) out: PathBuf,
    pub(crate) json: PathBuf,
    pub(crate) daemon: PathBuf,
    pub(crate) before: Option<PathBuf>,
}

impl Options {
    pub(crate) fn of(arguments: Arguments) -> Result<Self> {
        let Arguments { only, quick, seconds, streams, sinks, memory_streams, out, json, daemon, before, role: _ } =
            arguments;
        let or = |list: Vec<u32>, short: &[u32], long: &[u32]| match (list.is_empty(), quick) {
            (false, _) => list,
            (true, true) => short.to_vec(),
            (true, false) => long.to_vec(),
        };
        let daemon = match daemon {
            Some(daemon) => daemon,
            None => std::env::current_exe()?.with_file_name("vsndd"),
        };
        ensure!(
            daemon.exists(),
            "there is no {}: build it with `make build`, or name it with --daemon",
            daemon.display()
        );
        if let Some(before) = &before {
            ensure!(before.is_file(), "--before: there is no program {}", before.display());
        }
        let seconds = seconds.unwrap_or(if quick { 2.0 } else { 30.0 });
        ensure!(seconds > 0.0 && seconds < 86_400.0, "--seconds {seconds}: above 0 and less than a day");
        let streams = or(streams, &[1, 50, 100], &[1, 50, 100, 200, 300, 400, 500, 700, 1000, 1500, 2000]);
        ensure!(!streams.contains(&0), "--streams: 0 streams cannot play");
        Ok(Self {
            parts: if only.is_empty() { Part::value_variants().to_vec() } else { only },
            quick,
            seconds,
            streams,
            sinks,
            memory_streams: or(memory_streams, &[0, 50], &[0, 100, 500]),
            json: json.unwrap_or_else(|| out.join("bench.json")),
            out,
            daemon,
            before,
        })
    }
}
