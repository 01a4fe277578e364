//! All results: as JSON for machines, as tables for people, and compared with their targets.

use std::fmt;

use serde::Serialize;

use crate::before::{Before, Row};
use crate::instructions::{Instructions, SampleWork};
use crate::latency::{Distribution, Latency, Pair};
use crate::memory::Memory;
use crate::notifications::Notifications;
use crate::options::{Options, Part};
use crate::procfs;
use crate::sinks::{Plain, Sinks};
use crate::streams::{Step, Streams};
use crate::workers::Workers;

/// Maximum ratio of a WRITE's time to that of a bare ping-pong.
const LATENCY_RATIO_MAX: f64 = 1.25;
/// Minimum numbers of streams that play without an xrun: to the null sink, and to each sound server.
const STREAMS_MIN: f64 = 2_000.0;
const SERVER_STREAMS_MIN: f64 = 200.0;
/// Maximum number of sleeps of the daemon per period, with one stream.
const SLEEPS_MAX: f64 = 1.0;
/// Maximum ratio of the daemon's processor time to that of an earlier one.
const BEFORE_RATIO_MAX: f64 = 0.6;
/// Maximum numbers of notifications per period. A playing guest is far ahead, and a recording one could ask ahead.
const NOTIFICATIONS_TO_HOST_MAX: f64 = 0.1;
const NOTIFICATIONS_TO_GUEST_MAX: f64 = 1.0;
/// Maximum time from a card's nodes to its offer, and maximum private memory of a worker whose guest does not play.
const START_MS_MAX: f64 = 20.0;
const IDLE_PRIVATE_MB_MAX: f64 = 1.5;
/// Additional notifications, or sleeps, per period for what begins and ends within the measured time.
const BEGIN_AND_END: f64 = 0.01;

/// The result of a run. A part that was not requested is `null`.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Version of the format; changes when a field changes its meaning.
    schema: u32,
    machine: Machine,
    quick: bool,
    seconds: f64,
    pub(crate) latency: Option<Latency>,
    pub(crate) streams: Option<Streams>,
    pub(crate) sinks: Option<Sinks>,
    pub(crate) notifications: Option<Notifications>,
    pub(crate) memory: Option<Memory>,
    pub(crate) workers: Option<Workers>,
    pub(crate) instructions: Option<Instructions>,
    left_out: Vec<LeftOut>,
    targets: Vec<Target>,
}

#[derive(Debug, Serialize)]
struct Machine {
    processors: usize,
    processor: String,
    kernel: String,
}

/// A part that could not be run.
#[derive(Debug, Serialize)]
struct LeftOut {
    part: Part,
    reason: String,
}

/// Target of a metric.
#[derive(Debug, Serialize)]
struct Target {
    name: String,
    value: f64,
    wanted: String,
    met: bool,
}

impl Report {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            schema: 2,
            machine: Machine {
                processors: std::thread::available_parallelism().map_or(1, usize::from),
                processor: procfs::processor(),
                kernel: procfs::kernel(),
            },
            quick: options.quick,
            seconds: options.seconds,
            latency: None,
            streams: None,
            sinks: None,
            notifications: None,
            memory: None,
            workers: None,
            instructions: None,
            left_out: Vec::new(),
            targets: Vec::new(),
        }
    }

    pub(crate) fn leave_out(&mut self, part: Part, reason: String) {
        self.left_out.push(LeftOut { part, reason });
    }

    /// Compares the measurements with their targets.
    pub(crate) fn judge(&mut self) {
        if let Some(latency) = &self.latency {
            for pair in &latency.pairs {
                self.targets.push(Target {
                    name: format!("WRITE against ping-pong, p50, {}, {}", pair.placement.name(), pair.pace.name()),
                    value: pair.p50_ratio,
                    wanted: format!("at most {LATENCY_RATIO_MAX}"),
                    met: pair.p50_ratio <= LATENCY_RATIO_MAX,
                });
            }
        }
        if let Some(streams) = &self.streams {
            let value = f64::from(streams.most_without_xrun);
            self.targets.push(Target {
                name: "streams without an xrun".into(),
                value,
                wanted: format!("at least {STREAMS_MIN}"),
                met: value >= STREAMS_MIN,
            });
            for step in streams.steps.iter().filter(|step| step.streams == 1) {
                let value = step.daemon_sleeps_per_second * f64::from(streams.period_ms) / 1e3;
                self.targets.push(Target {
                    name: "sleeps of the daemon per period, one stream".into(),
                    value,
                    wanted: format!("at most {SLEEPS_MAX}"),
                    met: value <= SLEEPS_MAX + BEGIN_AND_END,
                });
            }
            for row in streams.before.iter().flat_map(|before| &before.rows) {
                let value = row.now_us / row.before_us;
                self.targets.push(Target {
                    name: format!("processor time per period, ratio to the earlier daemon, {} stream(s)", row.streams),
                    value,
                    wanted: format!("at most {BEFORE_RATIO_MAX}"),
                    met: value <= BEFORE_RATIO_MAX,
                });
            }
        }
        if let Some(sinks) = &self.sinks {
            for sink in sinks.sinks.iter().filter(|sink| sink.has_server()) {
                let value = f64::from(sink.most_without_xrun);
                // An underrun may be the machine's; a client that is refused is the server's.
                let limited = sink.plain.as_ref().filter(|plain| plain.connected < plain.clients as usize);
                let or = limited.map_or_else(String::new, |plain| {
                    format!(" or the server's limit: {} of {} plain clients play", plain.connected, plain.clients)
                });
                self.targets.push(Target {
                    name: format!("streams without an xrun, {}", sink.name),
                    value,
                    wanted: format!("at least {SERVER_STREAMS_MIN}{or}"),
                    met: value >= SERVER_STREAMS_MIN || limited.is_some(),
                });
            }
        }
        if let Some(notifications) = &self.notifications {
            for (doing, rows) in [("playing", &notifications.own), ("recording", &notifications.own_capture)] {
                let most = |of: fn(&crate::notifications::Row) -> f64| rows.iter().map(of).fold(0.0, f64::max);
                for (name, value, goal) in [
                    ("guest to host", most(|row| row.front_to_back), NOTIFICATIONS_TO_HOST_MAX),
                    ("host to guest", most(|row| row.back_to_front), NOTIFICATIONS_TO_GUEST_MAX),
                ] {
                    self.targets.push(Target {
                        name: format!("notifications per period, {doing}, {name}, at the worst period size"),
                        value,
                        wanted: format!("at most {goal}"),
                        met: value <= goal + BEGIN_AND_END,
                    });
                }
            }
        }
        if let Some(workers) = &self.workers {
            for (name, value, goal) in [
                ("from a card's nodes to its offer, p50, ms", workers.start.p50_us / 1e3, START_MS_MAX),
                ("private memory of an idle guest's worker, MB", workers.connected.private / 1e6, IDLE_PRIVATE_MB_MAX),
            ] {
                let wanted = format!("at most {goal}");
                self.targets.push(Target { name: name.into(), value, wanted, met: value <= goal });
            }
        }
        for SampleWork { name, per_period, goal } in self.instructions.iter().flat_map(|counted| &counted.samples) {
            self.targets.push(Target {
                name: format!("instructions per 10 ms, {name}"),
                value: *per_period,
                wanted: format!("at most {goal}"),
                met: per_period <= goal,
            });
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine { processors, processor, kernel } = &self.machine;
        writeln!(f, "{processors} × {processor}, Linux {kernel}\n")?;
        if let Some(latency) = &self.latency {
            show_latency(f, latency)?;
        }
        if let Some(streams) = &self.streams {
            show_streams(f, streams)?;
        }
        if let Some(sinks) = &self.sinks {
            show_sinks(f, sinks)?;
        }
        if let Some(notifications) = &self.notifications {
            show_notifications(f, notifications)?;
        }
        if let Some(memory) = &self.memory {
            show_memory(f, memory)?;
        }
        if let Some(workers) = &self.workers {
            show_workers(f, workers)?;
        }
        if let Some(Instructions { backend_per_period, frontend_per_period, samples }) = &self.instructions {
            writeln!(f, "Instructions per period of 10 ms (valgrind, in ordinary memory)")?;
            writeln!(f, "  backend {backend_per_period:.1}   frontend {frontend_per_period:.1}")?;
            for SampleWork { name, per_period, .. } in samples {
                writeln!(f, "  {name:<22} {per_period:>10.1}")?;
            }
            writeln!(f)?;
        }
        for LeftOut { part, reason } in &self.left_out {
            writeln!(f, "{part:?} left out: {reason}\n")?;
        }
        for Target { name, value, wanted, met } in &self.targets {
            writeln!(f, "{:<7} {name}: {value:.2} ({wanted})", if *met { "met" } else { "NOT MET" })?;
        }
        Ok(())
    }
}

fn show_latency(f: &mut fmt::Formatter<'_>, latency: &Latency) -> fmt::Result {
    writeln!(f, "WRITE of {} bytes, request to response (µs)", latency.bytes)?;
    writeln!(f, "  {:<34} {:>8} {:>8} {:>8} {:>9} {:>8}", "", "p50", "p90", "p99", "max", "count")?;
    for pair in &latency.pairs {
        let Pair { placement, pace, write, ping_pong, p50_ratio, p99_ratio } = pair;
        writeln!(f, "  {}, {}", placement.name(), pace.name())?;
        for (kind, distribution) in [("vsnd", write), ("bare ping-pong", ping_pong)] {
            let Distribution { count, p50_us, p90_us, p99_us, max_us, .. } = distribution;
            writeln!(f, "    {kind:<32} {p50_us:>8.1} {p90_us:>8.1} {p99_us:>8.1} {max_us:>9.1} {count:>8}")?;
        }
        writeln!(f, "    {:<32} {p50_ratio:>8.2} {:>8} {p99_ratio:>8.2}", "ratio", "")?;
    }
    writeln!(f)
}

fn show_streams(f: &mut fmt::Formatter<'_>, streams: &Streams) -> fmt::Result {
    let Streams { rate_hz, period_ms, buffer_ms, seconds, steps, before, most_without_xrun, ended_by } = streams;
    writeln!(
        f,
        "Streams of {rate_hz} Hz, 16 bits, stereo; periods of {period_ms} ms, buffers of {buffer_ms} ms; {seconds} s each"
    )?;
    writeln!(
        f,
        "  {:>7} {:>17} {:>19} {:>17} {:>15} {:>8} {:>10}",
        "", "CPU (%)", "µs per period", "sleeps per s", "xruns seen by", "played", "machine"
    )?;
    writeln!(
        f,
        "  {:>7} {:>8} {:>8} {:>9} {:>9} {:>8} {:>8} {:>7} {:>7} {:>8} {:>10}",
        "streams", "daemon", "guest", "daemon", "guest", "daemon", "guest", "daemon", "guest", "(%)", "stall (ms)"
    )?;
    for step in steps {
        writeln!(
            f,
            "  {:>7} {:>8.1} {:>8.1} {:>9.2} {:>9.2} {:>8.0} {:>8.0} {:>7} {:>7} {:>8.2} {:>10.1}{}",
            step.streams,
            step.daemon_cpu_percent,
            step.guest_cpu_percent,
            step.daemon_us_per_period,
            step.guest_us_per_period,
            step.daemon_sleeps_per_second,
            step.guest_sleeps_per_second,
            step.daemon_xruns,
            step.guest_xruns,
            step.played_percent,
            step.machine_stall_ms,
            if step.repeated { " (repeated)" } else { "" },
        )?;
    }
    if let Some(reason) = ended_by {
        writeln!(f, "  {reason}")?;
    }
    if let Some(Before { daemon, rows }) = before {
        writeln!(f, "  Before, {}: µs per period", daemon.display())?;
        for Row { streams, before_us, now_us } in rows {
            let ratio = now_us / before_us;
            writeln!(f, "  {streams:>7} before {before_us:>8.2}, now {now_us:>8.2}, ratio {ratio:>5.2}")?;
        }
    }
    writeln!(f, "  most without an xrun: {most_without_xrun}\n")
}

fn show_sinks(f: &mut fmt::Formatter<'_>, sinks: &Sinks) -> fmt::Result {
    writeln!(f, "Sinks; streams of 48 kHz, 16 bits, stereo, periods of 10 ms, buffers of 40 ms")?;
    writeln!(f, "  {:<16} {:>7} {:>14} {:>14} {:>10}", "", "streams", "daemon CPU (%)", "xruns (d, g)", "stall (ms)")?;
    for sink in &sinks.sinks {
        for step in &sink.steps {
            let xruns = format!("{}, {}", step.daemon_xruns, step.guest_xruns);
            let Step { streams, daemon_cpu_percent: cpu, machine_stall_ms: stall, .. } = step;
            writeln!(f, "  {:<16} {streams:>7} {cpu:>14.2} {xruns:>14} {stall:>10.1}", sink.name)?;
        }
        if let Some(reason) = &sink.ended_by {
            writeln!(f, "  {:<16} {reason}", sink.name)?;
        }
        writeln!(f, "  {:<16} most without an xrun: {}", sink.name, sink.most_without_xrun)?;
        if let Some(Plain { clients, connected, underruns }) = &sink.plain {
            writeln!(f, "  {:<16} plain clients, {clients}: {connected} play, {underruns} underruns", sink.name)?;
        }
    }
    writeln!(f, "  From a guest's write to the sink's recorder (ms); buffers of two periods")?;
    writeln!(f, "  {:<16} {:>6} {:>8} {:>8} {:>8} {:>6} {:>5}", "", "period", "p50", "p90", "max", "count", "lost")?;
    for sink in &sinks.sinks {
        for latency in &sink.latencies {
            let [p50, p90, max] = [latency.heard.p50_us, latency.heard.p90_us, latency.heard.max_us].map(|us| us / 1e3);
            let (period, count, lost) = (latency.period_ms, latency.heard.count, latency.lost);
            writeln!(f, "  {:<16} {period:>6} {p50:>8.1} {p90:>8.1} {max:>8.1} {count:>6} {lost:>5}", sink.name)?;
        }
    }
    for reason in &sinks.left_out {
        writeln!(f, "  left out: {reason}")?;
    }
    writeln!(f)
}

fn show_notifications(f: &mut fmt::Formatter<'_>, notifications: &Notifications) -> fmt::Result {
    writeln!(f, "Notifications per period")?;
    writeln!(
        f,
        "  {:>11} {:>9} {:>14} {:>14} {:>16} {:>9} {:>7}",
        "period (ms)", "periods", "guest to host", "host to guest", "(for responses)", "requests", "xruns"
    )?;
    for (guest, rows) in [
        ("the user-space driver, playing", &notifications.own),
        ("the user-space driver, recording", &notifications.own_capture),
        ("the model of Linux's driver, playing", &notifications.linux),
    ] {
        writeln!(f, "  {guest}")?;
        for row in rows {
            writeln!(
                f,
                "  {:>11} {:>9.0} {:>14.3} {:>14.3} {:>16.3} {:>9.3} {:>7}",
                row.period_ms,
                row.periods,
                row.front_to_back,
                row.back_to_front,
                row.back_to_front_ring,
                row.requests,
                row.xruns
            )?;
        }
    }
    for failure in &notifications.linux_failures {
        writeln!(f, "  left out: {failure}")?;
    }
    writeln!(f)
}

fn show_memory(f: &mut fmt::Formatter<'_>, memory: &Memory) -> fmt::Result {
    let kib = |bytes: f64| bytes / 1024.0;
    writeln!(f, "Memory of the daemon (KiB); buffers of {:.1} KiB", kib(f64::from(memory.shared_buffer_bytes)))?;
    writeln!(f, "  {:>12} {:>26} {:>29}", "", "connected", "playing")?;
    writeln!(
        f,
        "  {:>12} {:>8} {:>8} {:>8}   {:>8} {:>8} {:>8}",
        "streams", "RSS", "PSS", "private", "RSS", "PSS", "private"
    )?;
    let lines = memory.rows.iter().map(|row| (row.streams.to_string(), row.idle, row.playing)).chain([(
        "each more".to_owned(),
        memory.per_idle_stream,
        memory.per_playing_stream,
    )]);
    for (name, idle, playing) in lines {
        let [a, b, c] = [idle.rss, idle.pss, idle.private].map(kib);
        let [d, e, g] = [playing.rss, playing.pss, playing.private].map(kib);
        writeln!(f, "  {name:>12} {a:>8.1} {b:>8.1} {c:>8.1}   {d:>8.1} {e:>8.1} {g:>8.1}")?;
    }
    writeln!(f)
}

fn show_workers(f: &mut fmt::Formatter<'_>, workers: &Workers) -> fmt::Result {
    let Workers { start, offered, connected } = workers;
    let [p50, p90, max] = [start.p50_us, start.p90_us, start.max_us].map(|us| us / 1e3);
    writeln!(f, "Workers of {} guests that do not play", start.count)?;
    writeln!(f, "  from a card's nodes to its offer (ms): p50 {p50:.1}, p90 {p90:.1}, max {max:.1}")?;
    for (state, memory) in [("offered", offered), ("connected", connected)] {
        let [rss, pss, private] = [memory.rss, memory.pss, memory.private].map(|bytes| bytes / 1024.0);
        writeln!(f, "  memory of a worker, {state} (KiB): RSS {rss:.0}, PSS {pss:.0}, private {private:.0}")?;
    }
    writeln!(f)
}
