//! Notifications per period, in each direction, at several period sizes.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use sndif::store::Direction;

use crate::counts::Counts;
use crate::machine::{CardOf, Machine, RATE_HZ};
use crate::options::Options;
use crate::role::{self, Player};

/// Measured lengths of periods.
const PERIODS_MS: [u32; 7] = [1, 2, 5, 10, 20, 50, 100];
/// Minimum number of periods in a buffer.
const PERIODS: u32 = 4;
/// Minimum number of counted periods.
const PERIODS_MIN: u32 = 20;

/// Results for one period size.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) period_ms: u32,
    pub(crate) periods: f64,
    /// From the guest to the host, per period.
    pub(crate) front_to_back: f64,
    /// From the host to the guest, per period, counted by the kernel.
    pub(crate) back_to_front: f64,
    /// Part of `back_to_front` that responses caused.
    pub(crate) back_to_front_ring: f64,
    pub(crate) requests: f64,
    pub(crate) events: f64,
    pub(crate) xruns: u64,
}

/// The part's result.
#[derive(Debug, Serialize)]
pub(crate) struct Notifications {
    /// Results of the user-space driver, playing.
    pub(crate) own: Vec<Row>,
    /// Results of the user-space driver, recording.
    pub(crate) own_capture: Vec<Row>,
    /// Results of the model of Linux's driver, playing.
    pub(crate) linux: Vec<Row>,
    /// Period sizes at which the model failed, with the reason.
    pub(crate) linux_failures: Vec<String>,
}

pub(crate) fn measure(options: &Options, say: &mut dyn FnMut(&str)) -> Result<Notifications> {
    let (mut own, mut own_capture) = (Vec::new(), Vec::new());
    let (mut linux, mut linux_failures) = (Vec::new(), Vec::new());
    for period_ms in PERIODS_MS {
        say(&format!("notifications: periods of {period_ms} ms"));
        own.push(measure_own(options, period_ms, Direction::Playback)?);
        own_capture.push(measure_own(options, period_ms, Direction::Capture)?);
        // Linux gives up permanently if the machine stalls at a critical moment, so the model has two attempts.
        match measure_linux(options, period_ms).or_else(|_| measure_linux(options, period_ms)) {
            Ok(row) => linux.push(row),
            Err(error) => linux_failures.push(format!("periods of {period_ms} ms: {error:#}")),
        }
    }
    Ok(Notifications { own, own_capture, linux, linux_failures })
}

/// Time that one kind of guest plays or records.
fn time(options: &Options, period_ms: u32) -> Duration {
    let shortest = Duration::from_millis(u64::from(PERIODS_MIN * period_ms));
    shortest.max(Duration::from_secs_f64(options.seconds / 10.0))
}

/// Number of periods in a buffer. Short periods get more, since the scheduler alone could cause an xrun.
fn buffer_periods(period_ms: u32) -> u32 {
    PERIODS.max(40 / period_ms)
}

fn measure_own(options: &Options, period_ms: u32, direction: Direction) -> Result<Row> {
    let period_frames = RATE_HZ / 1000 * period_ms;
    let cards = [CardOf::single(direction)];
    let machine = Machine::start(&options.daemon, &cards)?;
    let mut player = Player::start(&machine, &cards, period_frames, buffer_periods(period_ms))?;
    player.play()?;
    player.mark()?;
    std::thread::sleep(time(options, period_ms));
    let counts = player.report()?;
    player.stop()?;
    machine.stop()?;
    Ok(Row::of(period_ms, &counts))
}

fn measure_linux(options: &Options, period_ms: u32) -> Result<Row> {
    let period_frames = RATE_HZ / 1000 * period_ms;
    let card = CardOf::single(Direction::Playback);
    let machine = Machine::start(&options.daemon, &[card])?;
    let periods = time(options, period_ms).as_millis() / u128::from(period_ms);
    let mut command = role::command("linux")?;
    command.args(["--xen", &machine.spec().to_string(), "--domain", &card.domain.to_string()]);
    command.args(["--period-frames", &period_frames.to_string(), "--periods", &periods.to_string()]);
    command.args(["--buffer-frames", &(period_frames * buffer_periods(period_ms)).to_string()]);
    let output = command.stderr(Stdio::inherit()).output().context("cannot start the Linux guest")?;
    ensure!(output.status.success(), "the Linux guest failed: {}", output.status);
    machine.stop()?;
    Ok(Row::of(period_ms, &serde_json::from_slice(&output.stdout)?))
}

impl Row {
    fn of(period_ms: u32, counts: &Counts) -> Self {
        let periods = counts.frames as f64 / f64::from(RATE_HZ / 1000 * period_ms);
        let each = |count: u64| count as f64 / periods.max(1.0);
        Self {
            period_ms,
            periods,
            front_to_back: each(counts.notifications_to_back),
            back_to_front: each(counts.notifications_to_front()),
            back_to_front_ring: each(counts.ring_notifications_to_front),
            requests: each(counts.requests),
            events: each(counts.events),
            xruns: counts.xruns,
        }
    }
}
