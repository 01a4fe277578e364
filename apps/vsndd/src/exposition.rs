//! The metrics for Prometheus, in OpenMetrics text.

use std::fmt::Error;

use control::Status;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use sndif::store::Direction;

use crate::totals::{LATENCY_BOUNDS_US, Latencies, Totals};

/// Current metrics as text; `events` is the number of events so far, and `process` has the daemon's own metrics.
pub(crate) fn exposition(status: &Status, totals: &Totals, events: u64, process: Process) -> String {
    let mut registry = Registry::with_prefix("vsndd");
    let snapshot = Snapshot { status: status.clone(), totals: *totals, events };
    registry.register_collector(Box::new(snapshot));
    // Metrics that every program has under the same name.
    let mut common = Registry::default();
    common.register_collector(Box::new(process));
    let mut out = String::new();
    // Writing into a String does not fail.
    let _ = text::encode_registry(&mut out, &registry)
        .and_then(|()| text::encode_registry(&mut out, &common))
        .and_then(|()| text::encode_eof(&mut out));
    out
}

/// Processor time that this process has used.
pub(crate) fn cpu_ms() -> u64 {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    u64::try_from(used.tv_sec).unwrap_or(0) * 1000 + u64::try_from(used.tv_nsec).unwrap_or(0) / 1_000_000
}

#[derive(Debug)]
struct Snapshot {
    status: Status,
    totals: Totals,
    events: u64,
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let Self { status, totals, events } = self;
        for (name, help, value) in [
            ("connections", "Times that a card was connected", totals.connections),
            ("opens_refused", "OPEN requests that were refused", totals.opens_refused),
            ("devices_lost", "Times that a host device went away from under a stream", totals.devices_lost),
            ("reconnects", "Times that a host device came back to a stream", totals.devices_back),
            ("events", "Events that were noted", *events),
        ] {
            ConstCounter::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
        }
        let help = "Times that a guest broke the protocol";
        let mut family = encoder.encode_descriptor("violations", help, None, MetricType::Counter)?;
        for (kind, count) in totals.violations() {
            ConstCounter::new(count).encode(family.encode_family(&[("kind", kind)])?)?;
        }
        let help = "From the guest's write until it is heard, or from capture until the guest is told";
        let mut family = encoder.encode_descriptor("latency", help, Some(&Unit::Seconds), MetricType::Histogram)?;
        for (name, direction) in [("playback", Direction::Playback), ("capture", Direction::Capture)] {
            totals.latencies(direction).encode(family.encode_family(&[("direction", name)])?)?;
        }
        let cpu = ConstCounter::new(seconds(status.cpu_ms));
        cpu.encode(encoder.encode_descriptor(
            "cpu",
            "Processor time used",
            Some(&Unit::Seconds),
            MetricType::Counter,
        )?)?;
        let help = "Version of the daemon; the value is 1";
        let mut family = encoder.encode_descriptor("build_info", help, None, MetricType::Gauge)?;
        let pipewire = if cfg!(feature = "pipewire") { "yes" } else { "no" };
        let labels = [("version", env!("CARGO_PKG_VERSION")), ("pipewire", pipewire)];
        ConstGauge::new(1_i64).encode(family.encode_family(&labels)?)?;
        let mut gauge = |name, help, value: usize| {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
        };
        gauge("guests", "Guests with a card", status.guests.len())?;
        let count = |filter: &dyn Fn(&control::Stream) -> bool| self.streams().filter(|(_, s)| filter(s)).count();
        gauge("streams", "Streams of connected cards", count(&|_| true))?;
        gauge("streams_running", "Streams in which sound flows", count(&|s| s.run == control::Run::Running))?;
        gauge("streams_lost", "Open streams whose host device is away", count(&|s| s.device_lost))?;
        self.encode_streams(&mut encoder)
    }
}

/// A counter of one stream: name, help and value.
type Metric = (&'static str, &'static str, fn(&control::Stream) -> u64);

const STREAM_METRICS: [Metric; 6] = [
    ("stream_frames", "Frames played or captured", |stream| stream.frames),
    ("stream_xruns", "Times that sound was lost because one side was late", |stream| stream.xruns),
    ("stream_requests", "Requests answered", |stream| stream.requests),
    ("stream_requests_refused", "Requests refused", |stream| stream.refused),
    ("stream_notifications_received", "Notifications from the guest", |stream| stream.notifications_in),
    ("stream_notifications_sent", "Notifications to the guest", |stream| stream.notifications_out),
];

/// A gauge of one stream: name, help and value.
type StreamGauge = (&'static str, &'static str, fn(&control::Stream) -> f64);

const STREAM_GAUGES: [StreamGauge; 4] = [
    ("stream_volume_decibels", "The host's volume, which is added to the guest's", |stream| stream.volume_db),
    ("stream_muted", "Whether the host silences the stream", |stream| f64::from(u8::from(stream.muted))),
    ("stream_permitted", "Whether the host lets the guest use the stream", |stream| {
        f64::from(u8::from(stream.permitted))
    }),
    ("stream_running", "Whether sound flows", |stream| f64::from(u8::from(stream.run == control::Run::Running))),
];

/// Metrics that every program gives about its process; those of the broker, not of its workers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process {
    /// Start of the process, in seconds since 1970.
    pub(crate) started_s: f64,
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let cpu = ConstCounter::new(seconds(cpu_ms()));
        let help = "Processor time used by the broker";
        cpu.encode(encoder.encode_descriptor("process_cpu", help, Some(&Unit::Seconds), MetricType::Counter)?)?;
        let started = ConstGauge::new(self.started_s);
        let help = "Start of the daemon, in seconds since 1970";
        started.encode(encoder.encode_descriptor(
            "process_start_time",
            help,
            Some(&Unit::Seconds),
            MetricType::Gauge,
        )?)?;
        let count = |path: &str| std::fs::read_dir(path).map(|entries| entries.count() as u64).ok();
        let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        for (name, help, value) in [
            ("process_open_fds", "Open descriptors of the broker", count("/proc/self/fd")),
            ("process_max_fds", "Most open descriptors of the broker", most),
            ("process_threads", "Threads of the broker", count("/proc/self/task")),
        ] {
            let Some(value) = value else { continue };
            ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        // In pages: mapped memory, then resident memory.
        let sizes = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let mut sizes = sizes.split_whitespace().filter_map(|pages| pages.parse::<u64>().ok());
        let page_bytes = rustix::param::page_size() as u64;
        for (name, help) in [
            ("process_virtual_memory", "Memory that the broker has mapped"),
            ("process_resident_memory", "Memory that the broker uses"),
        ] {
            let Some(pages) = sizes.next() else { continue };
            let gauge = ConstGauge::new(pages * page_bytes);
            gauge.encode(encoder.encode_descriptor(name, help, Some(&Unit::Bytes), MetricType::Gauge)?)?;
        }
        Ok(())
    }
}

impl Snapshot {
    /// Every stream, with its labels.
    fn streams(&self) -> impl Iterator<Item = ([(&'static str, String); 6], &control::Stream)> {
        self.status.guests.iter().flat_map(|guest| {
            guest.cards.iter().flat_map(move |card| {
                card.streams.iter().map(move |stream| {
                    let labels = [
                        ("domain", guest.domain.to_string()),
                        ("name", escaped(guest.name.as_deref().unwrap_or_default())),
                        ("card", card.card.to_string()),
                        ("pcm", stream.pcm.to_string()),
                        ("stream", stream.stream.to_string()),
                        // The direction of a stream of version 0 is unknown until it is used.
                        ("direction", stream.direction.map_or_else(String::new, told)),
                    ];
                    (labels, stream)
                })
            })
        })
    }

    fn encode_streams(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        for (name, help, value) in STREAM_METRICS {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (labels, stream) in self.streams() {
                ConstCounter::new(value(stream)).encode(family.encode_family(&labels)?)?;
            }
        }
        for (name, help, value) in STREAM_GAUGES {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (labels, stream) in self.streams() {
                ConstGauge::new(value(stream)).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

impl Latencies {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), Error> {
        let bounds = LATENCY_BOUNDS_US.into_iter().map(seconds_of_us).chain([f64::MAX]);
        let buckets: Vec<(f64, u64)> = bounds.zip(self.buckets).collect();
        let count = self.buckets.iter().sum();
        encoder.encode_histogram::<NoLabelSet>(seconds_of_us(self.sum_us), count, &buckets, None)
    }
}

fn told(direction: control::Direction) -> String {
    match direction {
        control::Direction::Playback => "playback".to_owned(),
        control::Direction::Capture => "capture".to_owned(),
    }
}

/// Text as the value of a label, which prometheus-client writes as it is: a guest's name may hold anything.
fn escaped(text: &str) -> String {
    text.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n")
}

#[expect(clippy::cast_precision_loss, reason = "a metric")]
fn seconds_of_us(microseconds: u64) -> f64 {
    microseconds as f64 / 1e6
}

#[expect(clippy::cast_precision_loss, reason = "a metric")]
fn seconds(milliseconds: u64) -> f64 {
    milliseconds as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::totals::Violation;

    const PROCESS: Process = Process { started_s: 1_700_000_000.5 };

    /// The samples of a text, after it was checked against the rules of its format: each family has HELP and TYPE once,
    /// before its samples, which stand together and have the suffix of their type; no sample comes twice.
    fn samples(text: &str, is_open_metrics: bool) -> BTreeSet<String> {
        let (mut families, mut samples) = (BTreeSet::new(), BTreeSet::new());
        let (mut family, mut kind, mut helped) = (String::new(), String::new(), String::new());
        let body = text.strip_suffix("# EOF\n");
        assert_eq!(body.is_some(), is_open_metrics, "an end is OpenMetrics': {text}");
        for line in body.unwrap_or(text).lines() {
            let mut words = line.splitn(4, ' ');
            match [words.next(), words.next(), words.next(), words.next()] {
                [Some("#"), Some("HELP"), Some(name), Some(help)] => {
                    assert!(!help.is_empty() && families.insert(name.to_owned()), "{line}");
                    name.clone_into(&mut helped);
                }
                [Some("#"), Some("TYPE"), Some(name), Some(its)] => {
                    assert!(name == helped && ["counter", "gauge", "histogram"].contains(&its), "{line}");
                    (family, kind) = (name.to_owned(), its.to_owned());
                    if !is_open_metrics && kind == "counter" {
                        assert!(name.ends_with("_total"), "{line}");
                    }
                }
                [Some("#"), Some("UNIT"), Some(name), Some(unit)] => {
                    assert!(is_open_metrics && name == family && name.ends_with(unit), "{line}");
                }
                _ => {
                    let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
                    let name = series.split('{').next().unwrap_or_default();
                    let suffix = name.strip_prefix(&family).unwrap_or_else(|| panic!("{line} in {family}"));
                    let wanted: &[&str] = match (&*kind, is_open_metrics) {
                        ("counter", true) => &["_total"],
                        ("histogram", _) => &["_bucket", "_sum", "_count"],
                        _ => &[""],
                    };
                    assert!(wanted.contains(&suffix), "{line}");
                    assert!(value.parse::<f64>().is_ok_and(f64::is_finite), "{line}");
                    assert!(samples.insert(series.to_owned()), "twice: {line}");
                }
            }
        }
        samples
    }

    /// Names of metrics in a text.
    fn named(text: &str) -> BTreeSet<&str> {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        words.filter(|word| word.starts_with("vsndd_") || word.starts_with("process_")).collect()
    }

    #[test]
    fn alerts_and_the_dashboard_name_only_metrics_that_there_are() {
        let streams = vec![control::Stream { direction: Some(control::Direction::Capture), ..Default::default() }];
        let card = control::Card { streams, ..Default::default() };
        let guest = control::Guest { domain: 5, cards: vec![card], ..Default::default() };
        let status = Status { guests: vec![guest], ..Status::default() };
        let text = exposition(&status, &Totals::default(), 0, PROCESS);
        let given: BTreeSet<String> =
            samples(&text, true).iter().map(|series| series.split('{').next().unwrap_or_default().to_owned()).collect();
        let dashboard = include_str!("../../../docs/monitoring/grafana.json");
        for (file, least) in [(include_str!("../../../docs/monitoring/alerts.yml"), 7), (dashboard, 14)] {
            let named = named(file);
            assert!(named.len() >= least, "{named:?}");
            for name in named {
                assert!(given.contains(name), "there is no {name}");
            }
        }
        let dashboard: serde_json::Value = serde_json::from_str(dashboard).unwrap();
        let panels = dashboard["panels"].as_array().unwrap();
        let mut places = BTreeSet::new();
        for panel in panels {
            assert!(panel["title"].is_string() && panel["type"] == "timeseries", "{panel}");
            assert!(panel["targets"].as_array().is_some_and(|targets| !targets.is_empty()), "{panel}");
            let place = &panel["gridPos"];
            assert!(["x", "y", "w", "h"].iter().all(|key| place[key].is_u64()), "{panel}");
            assert!(places.insert((place["y"].as_u64(), place["x"].as_u64())), "one over another: {panel}");
        }
        assert!(dashboard["schemaVersion"].is_u64() && dashboard["templating"]["list"].is_array());
    }

    #[test]
    fn both_formats_keep_their_rules_and_have_the_same_samples() {
        let streams = [None, Some(control::Direction::Playback), Some(control::Direction::Capture)];
        let stream = |(stream, direction)| control::Stream { stream, direction, ..Default::default() };
        let streams = (0..).zip(streams).map(stream).collect();
        let card = control::Card { streams, ..Default::default() };
        let guest = control::Guest { domain: 5, cards: vec![card], ..Default::default() };
        let status = Status { guests: vec![guest], ..Status::default() };
        for status in [Status::default(), status] {
            let text = exposition(&status, &Totals::default(), 0, PROCESS);
            let new = samples(&text, true);
            let old = samples(&crate::server::plain(&text), false);
            assert_eq!(new, old);
            for common in ["cpu_seconds_total", "open_fds", "max_fds", "resident_memory_bytes", "virtual_memory_bytes"]
            {
                assert!(new.contains(&format!("process_{common}")), "{common}: {text}");
            }
        }
    }

    #[test]
    fn the_name_of_a_domain_adds_no_series() {
        let name = Some("x\"} 1\nvsndd_guests 99\nevil{name=\"\\".to_owned());
        let card = control::Card { streams: vec![control::Stream::default()], ..Default::default() };
        let guest = control::Guest { domain: 5, name, cards: vec![card], ..Default::default() };
        let status = Status { guests: vec![guest], ..Status::default() };
        let text = exposition(&status, &Totals::default(), 0, PROCESS);
        let ours = |line: &str| ["vsndd_", "process_", "#"].iter().any(|begin| line.starts_with(begin));
        assert!(text.lines().all(ours), "{text}");
        assert!(!text.lines().any(|line| line == "vsndd_guests 99"), "{text}");
        assert!(text.contains(r#"name="x\"} 1\nvsndd_guests 99\nevil{name=\"\\",card="#), "{text}");
    }

    #[test]
    fn metrics_tell_streams_frames_xruns_latency_violations_reconnects_and_notifications() {
        let stream = control::Stream {
            pcm: 1,
            frames: 48_000,
            xruns: 2,
            notifications_in: 100,
            notifications_out: 101,
            run: control::Run::Running,
            direction: Some(control::Direction::Capture),
            volume_db: -12.5,
            muted: true,
            ..Default::default()
        };
        let card = control::Card { streams: vec![stream], ..Default::default() };
        let guest = control::Guest { domain: 5, name: Some("studio".into()), cards: vec![card], ..Default::default() };
        let status = Status { guests: vec![guest], cpu_ms: 1500, ..Status::default() };
        let mut totals = Totals::default();
        totals.violation(Violation::Grant);
        totals.devices_back = 3;
        totals.latency(Direction::Playback, 4_000);
        totals.latency(Direction::Playback, 40_000);
        let text = exposition(&status, &totals, 0, PROCESS);
        let labels = r#"{domain="5",name="studio",card="0",pcm="1",stream="0",direction="capture"}"#;
        for line in [
            "vsndd_streams 1",
            "vsndd_streams_running 1",
            "vsndd_guests 1",
            "vsndd_cpu_seconds_total 1.5",
            "vsndd_reconnects_total 3",
            r#"vsndd_violations_total{kind="grant"} 1"#,
            r#"vsndd_violations_total{kind="ring"} 0"#,
            &format!("vsndd_stream_frames_total{labels} 48000"),
            &format!("vsndd_stream_xruns_total{labels} 2"),
            &format!("vsndd_stream_notifications_received_total{labels} 100"),
            &format!("vsndd_stream_notifications_sent_total{labels} 101"),
            r#"vsndd_latency_seconds_bucket{le="0.005",direction="playback"} 1"#,
            r#"vsndd_latency_seconds_bucket{le="+Inf",direction="playback"} 2"#,
            r#"vsndd_latency_seconds_sum{direction="playback"} 0.044"#,
            r#"vsndd_latency_seconds_count{direction="playback"} 2"#,
            &format!("vsndd_stream_volume_decibels{labels} -12.5"),
            &format!("vsndd_stream_muted{labels} 1.0"),
            &format!("vsndd_stream_permitted{labels} 0.0"),
            &format!(
                "vsndd_build_info{{version=\"{}\",pipewire=\"{}\"}} 1",
                env!("CARGO_PKG_VERSION"),
                if cfg!(feature = "pipewire") { "yes" } else { "no" }
            ),
            "process_start_time_seconds 1700000000.5",
            "# EOF",
        ] {
            assert!(text.lines().any(|there| there == line), "{line} is missing in:\n{text}");
        }
    }
}
