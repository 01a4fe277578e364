//! `vsnd-bench`: costs of sound, in time, notifications, memory and instructions.
//!
//! The measured daemon is the real one, in a process of its own; the guest that plays many streams has its own, too.

#![forbid(unsafe_code)]

mod before;
mod counts;
mod hotpath;
mod instructions;
mod latency;
mod linux;
mod machine;
mod memory;
mod notifications;
mod options;
mod picture;
mod pingpong;
mod placement;
mod player;
mod procfs;
mod report;
mod role;
mod samples;
mod sinks;
mod streams;
mod workers;

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use program::{ExitStatus, Failure};

use crate::options::{Arguments, Options, Part, Role};
use crate::report::Report;

fn main() -> ExitCode {
    let mut arguments = Arguments::parse();
    let result = match arguments.role.take() {
        None => Options::of(arguments).and_then(|options| bench(&options)),
        Some(Role::Player(arguments)) => player::run(&arguments).map(|()| ExitStatus::Success),
        Some(Role::Pingpong(arguments)) => pingpong::run(&arguments).map(|()| ExitStatus::Success),
        Some(Role::Linux(arguments)) => linux::run(&arguments).map(|()| ExitStatus::Success),
        Some(Role::Hotpath(arguments)) => hotpath::run(&arguments).map(|()| ExitStatus::Success),
    };
    let failure = |error: anyhow::Error| Failure::new(ExitStatus::Failure, format!("{error:#}"));
    program::end("vsnd-bench", result.map_err(failure))
}

fn bench(options: &Options) -> Result<ExitStatus> {
    let mut say = |line: &str| {
        // Progress is only informative: errors of the output are ignored.
        let _ = writeln!(std::io::stderr(), "{line}");
    };
    let mut report = Report::new(options);
    let mut failed = false;
    for &part in &options.parts {
        // A failed part does not discard the results of the others.
        if let Err(error) = run(part, options, &mut report, &mut say) {
            failed = true;
            report.leave_out(part, format!("{error:#}"));
        }
    }
    report.judge();
    std::fs::create_dir_all(&options.out).with_context(|| format!("cannot make {}", options.out.display()))?;
    let json = serde_json::to_string_pretty(&report)?;
    std::fs::write(&options.json, json + "\n").with_context(|| format!("cannot write {}", options.json.display()))?;
    let pictures = picture::draw(&report, &options.out)?;
    let mut out = std::io::stdout().lock();
    write!(out, "{report}")?;
    for path in std::iter::once(&options.json).chain(&pictures) {
        writeln!(out, "wrote {}", path.display())?;
    }
    Ok(if failed { ExitStatus::Failure } else { ExitStatus::Success })
}

fn run(part: Part, options: &Options, report: &mut Report, say: &mut dyn FnMut(&str)) -> Result<()> {
    match part {
        Part::Latency => report.latency = Some(latency::measure(options, say)?),
        Part::Streams => report.streams = Some(streams::measure(options, say)?),
        Part::Sinks => report.sinks = Some(sinks::measure(options, say)),
        Part::Notifications => report.notifications = Some(notifications::measure(options, say)?),
        Part::Memory => report.memory = Some(memory::measure(options, say)?),
        Part::Workers => report.workers = Some(workers::measure(options, say)?),
        Part::Instructions => match instructions::measure(say)? {
            Ok(instructions) => report.instructions = Some(instructions),
            Err(reason) => report.leave_out(part, reason),
        },
    }
    Ok(())
}
