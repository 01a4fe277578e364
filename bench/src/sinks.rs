//! Playing to each kind of host device: processor time per stream, streams until an xrun, and the time from a guest's
//! write to the sink.
//!
//! The benchmark starts its own servers. From time to time the first frames of a period are a click. A program of the
//! server records the sink, and the time from the guest's write to the click in the recording is the latency, including
//! the recorder's part.

use std::io::Read;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use guest::{Card, Config, Playback};
use serde::Serialize;
use sndif::Format;
use sndif::store::Direction;
use sound_servers::{Kind, Played, Server, Speaks};
use xen::DomainId;

use crate::latency::Distribution;
use crate::machine::{CardOf, FRAME_BYTES, Machine, RATE_HZ};
use crate::options::Options;
use crate::streams::{Step, measure_calm_step};

/// Names of the servers' sinks: PulseAudio, PipeWire by its PulseAudio server, and PipeWire by its own protocol.
const PULSEAUDIO: &str = "PulseAudio";
const PIPEWIRE: &str = "PipeWire";
const NATIVE: &str = "PipeWire, native";
/// ALSA's own mixing, on the default card.
const DMIX: &str = "alsa:dmix";
/// Default sinks.
const USUAL: [&str; 6] = ["null", "alsa:null", DMIX, PULSEAUDIO, PIPEWIRE, NATIVE];
/// Lengths of the periods whose latency is measured; a buffer has two periods.
const PERIODS_MS: [u32; 4] = [5, 10, 20, 40];
/// Time from one click to the next, longer than any latency.
const CLICK_EVERY: Duration = Duration::from_millis(330);
/// Time limit for the first bytes of a server's recorder.
const GET_GOING: Duration = Duration::from_secs(60);
/// Time after the recorder's first bytes in which nothing is measured.
const SETTLE: Duration = Duration::from_millis(500);
/// Time after which a click that was not heard counts as lost.
const PATIENCE: Duration = Duration::from_secs(2);
/// Number of attempts to play to a sink.
const ATTEMPTS: u32 = 5;
/// Numbers of streams to try on each sink.
const STREAMS: [u32; 10] = [1, 5, 10, 20, 40, 60, 100, 120, 150, 200];

/// The part's result.
#[derive(Debug, Serialize)]
pub(crate) struct Sinks {
    pub(crate) sinks: Vec<SinkResult>,
    /// Sinks that could not be measured on this machine, with the reasons.
    pub(crate) left_out: Vec<String>,
}

/// Results of one sink.
#[derive(Debug, Serialize)]
pub(crate) struct SinkResult {
    pub(crate) name: String,
    pub(crate) steps: Vec<Step>,
    pub(crate) most_without_xrun: u32,
    /// Reason why no more streams were tried, if not xruns.
    pub(crate) ended_by: Option<String>,
    /// Plain clients of the server, as many as the next number of streams.
    pub(crate) plain: Option<Plain>,
    pub(crate) latencies: Vec<SinkLatency>,
}

/// Plain clients of a sound server, which play without the daemon.
#[derive(Debug, Serialize)]
pub(crate) struct Plain {
    pub(crate) clients: u32,
    /// Clients that the server has connected to its sink.
    pub(crate) connected: usize,
    pub(crate) underruns: usize,
}

impl SinkResult {
    /// Returns true if the sink belongs to a sound server.
    pub(crate) fn has_server(&self) -> bool {
        !self.latencies.is_empty()
    }
}

/// Latency from a guest's write to the sink, for one period length.
#[derive(Debug, Serialize)]
pub(crate) struct SinkLatency {
    pub(crate) period_ms: u32,
    /// Number of clicks that were not heard.
    pub(crate) lost: usize,
    pub(crate) heard: Distribution,
}

pub(crate) fn measure(options: &Options, say: &mut dyn FnMut(&str)) -> Sinks {
    let mut sinks = Vec::new();
    let mut left_out = Vec::new();
    let named = options.sinks.iter().map(String::as_str);
    let usual = USUAL.into_iter().filter(|_| options.sinks.is_empty());
    for name in named.chain(usual) {
        match why_not(name) {
            Some(reason) => left_out.push(format!("{name}: {reason}")),
            None => match measure_sink(options, name, say) {
                Ok(sink) => sinks.push(sink),
                Err(error) => left_out.push(format!("{name}: {error:#}")),
            },
        }
    }
    Sinks { sinks, left_out }
}

/// Reason why a sink cannot be measured.
fn why_not(name: &str) -> Option<&'static str> {
    match name {
        NATIVE if !cfg!(feature = "pipewire") => Some("this was built without the feature `pipewire`"),
        DMIX if !std::path::Path::new("/dev/snd/timer").exists() => {
            Some("this machine has no sound card; `make lab-bench` measures it with snd-aloop")
        }
        _ => None,
    }
}

fn measure_sink(options: &Options, name: &str, say: &mut dyn FnMut(&str)) -> Result<SinkResult> {
    let server = match name {
        PULSEAUDIO => Some(Server::start(Kind::PulseAudio)),
        PIPEWIRE | NATIVE => Some(Server::start(Kind::PipeWire)),
        _ => None,
    };
    let sink = match &server {
        Some(server) if name == NATIVE => server.node(),
        Some(server) => server.sink(),
        None => name.to_owned(),
    };
    let (mut steps, mut latencies, mut ended_by) = (Vec::<Step>::new(), Vec::new(), None);
    for count in STREAMS.into_iter().take(if options.quick { 2 } else { STREAMS.len() }) {
        say(&format!("sinks: {name}, {count} stream(s) for {:.1} s", options.seconds));
        // If not even the first number of streams opens, the machine was too busy for a moment.
        let attempts = if steps.is_empty() { ATTEMPTS } else { 1 };
        match persistently(attempts, || measure_calm_step(options, count, &sink, say)) {
            Ok(step) => steps.push(step),
            // An overloaded server does not answer in time.
            Err(error) if !steps.is_empty() => {
                ended_by = Some(format!("{count} streams could not be started: {error:#}"));
                break;
            }
            Err(error) => return Err(error),
        }
        if steps.iter().rev().take(2).filter(|step| !step.is_clean()).count() == 2 {
            break;
        }
    }
    // Only steps before the first one with xruns count: later successes are chance.
    let clean = steps.iter().take_while(|step| step.is_clean());
    let most_without_xrun = clean.map(|step| step.streams).last().unwrap_or(0);
    let next = STREAMS.into_iter().find(|&count| count > most_without_xrun);
    let plain = server.as_ref().zip(next).map(|(server, clients)| {
        say(&format!("sinks: {name}, {clients} plain client(s) for {:.1} s", options.seconds));
        let speaks = if name == NATIVE { Speaks::PipeWire } else { Speaks::Pulse };
        let time = Duration::from_secs_f64(options.seconds);
        let Played { connected, underruns } = server.play_plainly(speaks, clients as usize, time);
        Plain { clients, connected, underruns }
    });
    if let Some(server) = &server {
        for period_ms in PERIODS_MS {
            say(&format!("sinks: {name}, latency with periods of {period_ms} ms for {:.1} s", options.seconds));
            latencies.push(persistently(ATTEMPTS, || measure_latency(options, server, &sink, period_ms))?);
        }
    }
    Ok(SinkResult { name: name.to_owned(), steps, most_without_xrun, ended_by, plain, latencies })
}

/// Returns the first success, or the last failure: a daemon refuses a stream whose device does not open in time.
fn persistently<T>(attempts: u32, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    for _ in 1..attempts {
        if let Ok(outcome) = attempt() {
            return Ok(outcome);
        }
    }
    attempt()
}

fn measure_latency(options: &Options, server: &Server, sink: &str, period_ms: u32) -> Result<SinkLatency> {
    let machine =
        Machine::start_with(&options.daemon, &[CardOf { streams: 1, ..CardOf::single(Direction::Playback) }], sink)?;
    let xen = machine.enter(DomainId(1))?;
    let card = Card::connect(&xen, &machine.spec(), 0, Duration::from_secs(20))?;
    let period_frames = RATE_HZ / 1_000 * period_ms;
    let config = Config {
        format: Format::S16Le,
        rate_hz: RATE_HZ,
        channels: 2,
        period_frames,
        buffer_frames: period_frames * 2,
    };
    let stream = card.playback(0, 0, &config).context("cannot open the stream")?;
    let (clicks, heard) = channel();
    let (begun, begins) = channel();
    let mut recorder = server.recorder().spawn().context("cannot start parec")?;
    let output = recorder.stdout.take().context("parec has no output")?;
    let listener = std::thread::spawn(move || listen(output, &begun, &clicks));
    let result = click(stream, &begins, &heard, (period_frames * FRAME_BYTES) as usize, options.seconds);
    // The recorder is our process, and its end ends the listener.
    let _ = recorder.kill();
    let _ = recorder.wait();
    let _ = listener.join();
    let (latencies, lost) = result?;
    drop(card);
    machine.stop()?;
    Ok(SinkLatency { period_ms, lost, heard: Distribution::of(latencies) })
}

/// Plays clicks; returns the latency of each heard one and the number of lost ones.
fn click(
    mut stream: Playback,
    begins: &Receiver<()>,
    heard: &Receiver<Instant>,
    period_bytes: usize,
    seconds: f64,
) -> Result<(Vec<Duration>, usize)> {
    let silence = vec![0; period_bytes];
    let mut click = silence.clone();
    click.iter_mut().take(192).for_each(|byte| *byte = 0x40);
    let (mut latencies, mut lost) = (Vec::new(), 0);
    let mut pending: Option<Instant> = None;
    stream.write(&silence)?;
    stream.write(&silence)?;
    stream.start()?;
    let give_up = Instant::now() + GET_GOING;
    // Begin and end of the clicks; at least one is played.
    let mut measured: Option<(Instant, Instant)> = None;
    let (mut next, mut played) = (give_up, 0);
    loop {
        let now = Instant::now();
        match measured {
            Some((_, end)) if now >= end && played > 0 && pending.is_none() => break,
            Some(_) => {}
            None if begins.try_recv().is_ok() => {
                next = now + SETTLE;
                measured = Some((next, next + Duration::from_secs_f64(seconds)));
            }
            None => ensure!(now < give_up, "the server's recorder gives nothing"),
        }
        let due = now >= next && pending.is_none() && measured.is_some_and(|(_, end)| now < end || played == 0);
        let period = if due { &click } else { &silence };
        // Wait for room, and write as soon as a period fits.
        while (stream.room_bytes() as usize) < period_bytes {
            std::thread::sleep(Duration::from_micros(100));
            stream.poll()?;
        }
        if due {
            while heard.try_recv().is_ok() {}
            pending = Some(Instant::now());
            next += CLICK_EVERY;
            played += 1;
        }
        stream.write(period)?;
        if let Some(written) = pending {
            if let Ok(at) = heard.try_recv() {
                latencies.push(at.saturating_duration_since(written));
                pending = None;
            } else if written.elapsed() > PATIENCE {
                lost += 1;
                pending = None;
            }
        }
    }
    stream.stop()?;
    stream.close()?;
    Ok((latencies, lost))
}

/// Reports the recorder's first bytes, and the time of each heard click; two clicks are at least 100 ms apart.
fn listen(mut output: impl Read, begun: &Sender<()>, clicks: &Sender<Instant>) {
    let mut block = [0; 4_096];
    let mut last: Option<Instant> = None;
    while let Ok(count @ 1..) = output.read(&mut block) {
        // The receiver may be gone after the first message.
        let _ = begun.send(());
        let loud = block.iter().take(count).any(|&byte| byte == 0x40);
        if loud && last.is_none_or(|last| last.elapsed() > Duration::from_millis(100)) {
            let now = Instant::now();
            last = Some(now);
            if clicks.send(now).is_err() {
                return;
            }
        }
    }
}
