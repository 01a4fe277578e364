//! Instructions per period, counted by valgrind, so that they do not depend on the machine's load.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;

use crate::role;
use crate::samples::WORK;

/// Periods of two runs. The difference of the runs leaves out the instructions that are executed once.
const SHORT: u32 = 200;
const LONG: u32 = 1200;

/// The part's result, per period of 10 ms, 48 kHz, 16 bits, stereo.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Instructions {
    /// Parsing the request, copying for WRITE, taking the frames, writing event and response; both wake-ups.
    pub(crate) backend_per_period: f64,
    /// Taking completion and event, submitting WRITE, copying the period.
    pub(crate) frontend_per_period: f64,
    /// Optional work on samples: volume in software, conversion, meters.
    pub(crate) samples: Vec<SampleWork>,
}

/// Instructions of one kind of work on a period's samples.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct SampleWork {
    pub(crate) name: &'static str,
    pub(crate) per_period: f64,
    pub(crate) goal: f64,
}

/// Counts the instructions; the inner error says why counting is not possible.
pub(crate) fn measure(say: &mut dyn FnMut(&str)) -> Result<Result<Instructions, String>> {
    if Command::new("valgrind").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
        return Ok(Err("valgrind is missing: install valgrind".to_owned()));
    }
    say("instructions: valgrind");
    let samples = WORK
        .iter()
        .map(|work| Ok(SampleWork { name: work.name, per_period: per_period(work.function)?, goal: work.goal }));
    Ok(Ok(Instructions {
        backend_per_period: per_period("backend_period")?,
        frontend_per_period: per_period("frontend_period")?,
        samples: samples.collect::<Result<_>>()?,
    }))
}

fn per_period(function: &str) -> Result<f64> {
    let (short, long) = (count(function, SHORT)?, count(function, LONG)?);
    ensure!(long > short, "valgrind does not find the function {function}: is the program stripped?");
    Ok((long - short) as f64 / f64::from(LONG - SHORT))
}

/// Instructions within `function` and the functions that it calls.
fn count(function: &str, periods: u32) -> Result<u64> {
    let program = role::command("hotpath")?;
    let mut command = Command::new("valgrind");
    // No file is needed: the total is in the output.
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no"]);
    command.arg(format!("--toggle-collect=*{function}*"));
    command.arg(program.get_program()).args(program.get_args()).arg("--periods").arg(periods.to_string());
    let output = command.stdin(Stdio::null()).output().context("cannot start valgrind")?;
    let text = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("valgrind failed ({}): {text}", output.status);
    }
    let collected = text.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok());
    collected.with_context(|| format!("valgrind does not say what it counted: {text}"))
}
