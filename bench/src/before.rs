//! An earlier daemon beside the present one: the processor time of a period, measured in turn on the same machine.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;

use crate::options::Options;
use crate::streams::measure_step;

/// Numbers of streams that are compared: one, those of one guest, those of several.
const STREAMS: [u32; 3] = [1, 64, 500];
const STREAMS_QUICK: [u32; 3] = [1, 10, 50];
/// Number of measurements of each daemon.
const ROUNDS: usize = 3;

/// The earlier daemon, and what was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Before {
    pub(crate) daemon: PathBuf,
    pub(crate) rows: Vec<Row>,
}

/// Processor time of a period of one stream, in microseconds, of both daemons; medians.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) streams: u32,
    pub(crate) before_us: f64,
    pub(crate) now_us: f64,
}

pub(crate) fn measure(options: &Options, earlier: &Path, say: &mut dyn FnMut(&str)) -> Result<Before> {
    let mut rows = Vec::new();
    for streams in if options.quick { STREAMS_QUICK } else { STREAMS } {
        let [mut before, mut now] = [[0.0; ROUNDS], [0.0; ROUNDS]];
        for round in 0..ROUNDS {
            say(&format!("before and now: {streams} stream(s), round {} of {ROUNDS}", round + 1));
            before[round] = measure_step(options, earlier, streams, "null")?.daemon_us_per_period;
            now[round] = measure_step(options, &options.daemon, streams, "null")?.daemon_us_per_period;
        }
        let [before_us, now_us] = [before, now].map(median);
        rows.push(Row { streams, before_us, now_us });
    }
    Ok(Before { daemon: earlier.to_owned(), rows })
}

fn median(mut values: [f64; ROUNDS]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[ROUNDS / 2]
}
