//! Number of streams that play without an xrun, and their processor time.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;

use crate::before::{self, Before};
use crate::machine::{CardOf, Machine, RATE_HZ};
use crate::options::Options;
use crate::procfs::Usage;
use crate::role::Player;

/// Period of the streams.
const PERIOD_FRAMES: u32 = RATE_HZ / 100;
/// Number of periods in a buffer: 40 ms.
const PERIODS: u32 = 4;
/// Time after the start of the last stream in which nothing is measured.
const WARM_UP: Duration = Duration::from_millis(300);

/// Stall of the machine above which a step with xruns is repeated.
const STALL_MAX_MS: f64 = 10.0;
/// Maximum number of attempts of a step.
const ATTEMPTS: u32 = 3;

/// The part's result.
#[derive(Debug, Serialize)]
pub(crate) struct Streams {
    pub(crate) rate_hz: u32,
    pub(crate) period_ms: u32,
    pub(crate) buffer_ms: u32,
    pub(crate) seconds: f64,
    pub(crate) steps: Vec<Step>,
    /// Comparison with an earlier daemon, if one was named.
    pub(crate) before: Option<Before>,
    /// The largest number of streams without an xrun.
    pub(crate) most_without_xrun: u32,
    /// Reason why no more streams were tried; `None` if all numbers were tried.
    pub(crate) ended_by: Option<String>,
}

/// Results for one number of streams.
#[derive(Debug, Serialize)]
pub(crate) struct Step {
    pub(crate) streams: u32,
    /// Percent of one processor.
    pub(crate) daemon_cpu_percent: f64,
    pub(crate) guest_cpu_percent: f64,
    pub(crate) daemon_us_per_period: f64,
    pub(crate) guest_us_per_period: f64,
    pub(crate) daemon_sleeps_per_second: f64,
    pub(crate) guest_sleeps_per_second: f64,
    /// Xruns counted by the daemon.
    pub(crate) daemon_xruns: u64,
    /// Xruns counted by the guest's driver.
    pub(crate) guest_xruns: u64,
    /// Played frames, as a share of the frames that the time allowed.
    pub(crate) played_percent: f64,
    /// Longest delay of this process, which only sleeps meanwhile: a measure of the machine's other load.
    pub(crate) machine_stall_ms: f64,
    /// True if the step was repeated because the machine stalled.
    pub(crate) repeated: bool,
}

impl Step {
    /// Returns true if there were no xruns.
    pub(crate) fn is_clean(&self) -> bool {
        self.daemon_xruns == 0 && self.guest_xruns == 0
    }
}

pub(crate) fn measure(options: &Options, say: &mut dyn FnMut(&str)) -> Result<Streams> {
    let mut steps: Vec<Step> = Vec::new();
    let mut ended_by = None;
    for &count in &options.streams {
        say(&format!("streams: {count} for {:.0} s", options.seconds));
        match measure_calm_step(options, count, "null", say) {
            Ok(step) => steps.push(step),
            // The emulation needs some eight descriptors for a stream, and may have reached the process's limit.
            Err(error) if !steps.is_empty() => {
                ended_by = Some(format!("{count} streams could not be started: {error:#}"));
                break;
            }
            Err(error) => return Err(error),
        }
        // If two steps in a row fail on a quiet machine, larger ones will fail, too.
        let failed = |step: &&Step| !step.is_clean() && step.machine_stall_ms <= STALL_MAX_MS;
        if steps.iter().rev().take(2).filter(failed).count() == 2 {
            ended_by = Some("two numbers of streams in a row had xruns".to_owned());
            break;
        }
    }
    let before = options.before.as_deref().map(|earlier| before::measure(options, earlier, say)).transpose()?;
    let most_without_xrun = steps.iter().filter(|step| step.is_clean()).map(|step| step.streams).max().unwrap_or(0);
    Ok(Streams {
        rate_hz: RATE_HZ,
        period_ms: 10,
        buffer_ms: 10 * PERIODS,
        seconds: options.seconds,
        steps,
        before,
        most_without_xrun,
        ended_by,
    })
}

/// Plays `streams` streams to a sink and counts; repeats the step if there was an xrun and the machine stalled.
pub(crate) fn measure_calm_step(
    options: &Options,
    streams: u32,
    sink: &str,
    say: &mut dyn FnMut(&str),
) -> Result<Step> {
    let mut step = measure_step(options, &options.daemon, streams, sink)?;
    for _ in 1..ATTEMPTS {
        if step.is_clean() || step.machine_stall_ms <= STALL_MAX_MS {
            break;
        }
        say("once more, for the machine stalled");
        step = Step { repeated: true, ..measure_step(options, &options.daemon, streams, sink)? };
    }
    Ok(step)
}

/// Plays `streams` streams to a sink of `daemon` and counts.
pub(crate) fn measure_step(options: &Options, daemon: &Path, streams: u32, sink: &str) -> Result<Step> {
    let cards = CardOf::for_streams(streams);
    let machine = Machine::start_with(daemon, &cards, sink)?;
    let mut player = Player::start(&machine, &cards, PERIOD_FRAMES, PERIODS)?;
    player.play()?;
    std::thread::sleep(WARM_UP);
    player.mark()?;
    let (begin, daemon, guest) = (Instant::now(), machine.daemon_usage()?, player.usage()?);
    let stall = watch(Duration::from_secs_f64(options.seconds));
    let (seconds, daemon, guest) =
        (begin.elapsed().as_secs_f64(), machine.daemon_usage()?.since(daemon), player.usage()?.since(guest));
    let counts = player.report()?;
    let served = machine.served()?;
    anyhow::ensure!(served.streams == u64::from(streams), "the daemon serves {} streams of {streams}", served.streams);
    player.stop()?;
    machine.stop()?;
    let periods = counts.frames as f64 / f64::from(PERIOD_FRAMES);
    let percent = |usage: Usage| usage.cpu_ns as f64 / 1e7 / seconds;
    let per_period = |usage: Usage| usage.cpu_ns as f64 / 1e3 / periods.max(1.0);
    Ok(Step {
        streams,
        daemon_cpu_percent: percent(daemon),
        guest_cpu_percent: percent(guest),
        daemon_us_per_period: per_period(daemon),
        guest_us_per_period: per_period(guest),
        daemon_sleeps_per_second: daemon.sleeps as f64 / seconds,
        guest_sleeps_per_second: guest.sleeps as f64 / seconds,
        daemon_xruns: served.xruns,
        guest_xruns: counts.xruns,
        machine_stall_ms: stall.as_secs_f64() * 1e3,
        repeated: false,
        played_percent: 100.0 * counts.frames as f64 / (seconds * f64::from(RATE_HZ) * f64::from(streams)),
    })
}

/// Sleeps for `time` in short naps and returns the longest delay of a nap.
fn watch(time: Duration) -> Duration {
    const NAP: Duration = Duration::from_millis(5);
    let (begin, mut longest) = (Instant::now(), Duration::ZERO);
    loop {
        let nap = NAP.min(time.saturating_sub(begin.elapsed()));
        if nap.is_zero() {
            return longest;
        }
        let before = Instant::now();
        std::thread::sleep(nap);
        longest = longest.max(before.elapsed().saturating_sub(nap));
    }
}
