//! Latency of a WRITE of one period from request to response, compared with a bare ping-pong of the same bytes.
//!
//! Both are measured alternately in one run, so that other load of the machine affects both.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use guest::{Card, Config, Playback};
use serde::Serialize;
use sndif::Format;
use sndif::store::Direction;
use xen::DomainId;

use crate::machine::{CardOf, FRAME_BYTES, Machine, RATE_HZ};
use crate::options::Options;
use crate::pingpong::PingPong;
use crate::placement::{Placement, Processors};

/// Frames of one WRITE: 10 ms.
const PERIOD_FRAMES: u32 = RATE_HZ / 100;
/// Number of periods in the buffer that is filled back to back.
const DEEP_PERIODS: u32 = 400;
/// Number of periods in the buffer that plays.
const PERIODS: u32 = 4;
/// Number of measurements of one kind before those of the other kind.
const TURN: u32 = 20;
/// Number of measurements ignored at the start of a turn, while the caches hold the other kind's data.
const WARM_UP: u32 = 2;
/// Time limit for the card to connect.
const PATIENCE: Duration = Duration::from_secs(20);

/// The part's result.
#[derive(Debug, Serialize)]
pub(crate) struct Latency {
    pub(crate) bytes: u32,
    pub(crate) pairs: Vec<Pair>,
}

/// Timing of the WRITEs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Pace {
    /// One immediately after another, as by an application that fills its buffer.
    BackToBack,
    /// One per period on a playing stream, while both processes sleep in between.
    OncePerPeriod,
}

impl Pace {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::BackToBack => "back to back",
            Self::OncePerPeriod => "once per period",
        }
    }
}

/// Results of both kinds for one placement and pace.
#[derive(Debug, Serialize)]
pub(crate) struct Pair {
    pub(crate) placement: Placement,
    pub(crate) pace: Pace,
    pub(crate) write: Distribution,
    pub(crate) ping_pong: Distribution,
    pub(crate) p50_ratio: f64,
    pub(crate) p99_ratio: f64,
}

/// Distribution of durations.
#[derive(Debug, Serialize)]
pub(crate) struct Distribution {
    pub(crate) count: usize,
    pub(crate) p50_us: f64,
    pub(crate) p90_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) max_us: f64,
    /// Quantiles for 0.5 %, 1 %, … 99.5 %.
    pub(crate) quantiles_us: Vec<f64>,
}

impl Distribution {
    pub(crate) fn of(mut durations: Vec<Duration>) -> Self {
        durations.sort_unstable();
        let quantile = |share: f64| {
            let last = durations.len().saturating_sub(1);
            let at = ((share * durations.len() as f64) as usize).min(last);
            durations.get(at).map_or(0.0, |duration| duration.as_nanos() as f64 / 1e3)
        };
        Self {
            count: durations.len(),
            p50_us: quantile(0.5),
            p90_us: quantile(0.9),
            p99_us: quantile(0.99),
            max_us: quantile(1.0),
            quantiles_us: (1..200).map(|step| quantile(f64::from(step) / 200.0)).collect(),
        }
    }
}

impl Pair {
    fn of(placement: Placement, pace: Pace, write: Vec<Duration>, ping_pong: Vec<Duration>) -> Self {
        let (write, ping_pong) = (Distribution::of(write), Distribution::of(ping_pong));
        let ratio = |ours: f64, bare: f64| if bare > 0.0 { ours / bare } else { 0.0 };
        Self {
            placement,
            pace,
            p50_ratio: ratio(write.p50_us, ping_pong.p50_us),
            p99_ratio: ratio(write.p99_us, ping_pong.p99_us),
            write,
            ping_pong,
        }
    }
}

pub(crate) fn measure(options: &Options, say: &mut dyn FnMut(&str)) -> Result<Latency> {
    let domain = DomainId(1);
    let card = CardOf { domain, streams: 2, direction: Direction::Playback };
    let machine = Machine::start(&options.daemon, &[card])?;
    let xen = machine.enter(domain)?;
    let card = Card::connect(&xen, &machine.spec(), 0, PATIENCE)?;
    let period = vec![0x11; (PERIOD_FRAMES * FRAME_BYTES) as usize];
    let ping_pong = PingPong::start(&machine, domain, period.len())?;
    let processors = Processors::ours()?;
    let mut others = machine.daemon_pids();
    others.push(ping_pong.pid());
    let placements = Placement::possible()?;
    let time = Duration::from_secs_f64(options.seconds / 2.0 / placements.len() as f64);
    let mut pairs = Vec::new();
    for &placement in &placements {
        processors.place(placement, &others)?;
        for pace in [Pace::BackToBack, Pace::OncePerPeriod] {
            say(&format!("latency: {}, {}, for {:.1} s", placement.name(), pace.name(), time.as_secs_f64()));
            let (writes, bare) = match pace {
                Pace::BackToBack => measure_back_to_back(open(&card, 0, DEEP_PERIODS)?, &ping_pong, &period, time)?,
                Pace::OncePerPeriod => measure_paced(open(&card, 1, PERIODS)?, &ping_pong, &period, time)?,
            };
            pairs.push(Pair::of(placement, pace, writes, bare));
        }
    }
    drop(processors);
    ping_pong.stop()?;
    drop(card);
    machine.stop()?;
    Ok(Latency { bytes: u32::try_from(period.len())?, pairs })
}

/// Durations of WRITEs, and of ping-pongs.
type Durations = (Vec<Duration>, Vec<Duration>);

fn open(card: &Card, index: u8, periods: u32) -> Result<Playback> {
    let config = Config {
        format: Format::S16Le,
        rate_hz: RATE_HZ,
        channels: 2,
        period_frames: PERIOD_FRAMES,
        buffer_frames: PERIOD_FRAMES * periods,
    };
    let mut stream = card.playback(0, index, &config).context("cannot open the stream")?;
    stream.measure_write_latency(true);
    Ok(stream)
}

fn timed(act: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let begin = Instant::now();
    act()?;
    Ok(begin.elapsed())
}

fn measure_back_to_back(
    mut stream: Playback,
    ping_pong: &PingPong,
    period: &[u8],
    time: Duration,
) -> Result<Durations> {
    let (mut writes, mut bare) = (Vec::new(), Vec::new());
    let begin = Instant::now();
    while begin.elapsed() < time {
        if (stream.room_bytes() as usize) < period.len() * TURN as usize {
            // The stream was never started: this only empties the buffer.
            stream.stop()?;
        }
        for index in 0..TURN {
            let duration = timed(|| Ok(stream.write(period)?))?;
            if index >= WARM_UP {
                writes.push(duration);
            }
        }
        for index in 0..TURN {
            let duration = timed(|| ping_pong.round(period))?;
            if index >= WARM_UP {
                bare.push(duration);
            }
        }
    }
    stream.close()?;
    Ok((writes, bare))
}

fn measure_paced(mut stream: Playback, ping_pong: &PingPong, period: &[u8], time: Duration) -> Result<Durations> {
    let (mut writes, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..PERIODS {
        stream.write(period)?;
    }
    stream.start()?;
    let begin = Instant::now();
    let half = Duration::from_secs(1) * PERIOD_FRAMES / RATE_HZ / 2;
    let mut due = half * 3;
    while begin.elapsed() < time {
        std::thread::sleep(due.saturating_sub(begin.elapsed()));
        stream.poll()?;
        if stream.room_bytes() as usize >= period.len() {
            writes.push(timed(|| Ok(stream.write(period)?))?);
        }
        due += half;
        std::thread::sleep(due.saturating_sub(begin.elapsed()));
        bare.push(timed(|| ping_pong.round(period))?);
        due += half;
    }
    stream.stop()?;
    stream.close()?;
    Ok((writes, bare))
}
