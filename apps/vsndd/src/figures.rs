//! The figures for Prometheus, in OpenMetrics text.

use std::fmt::{Error, Write};

use control::Status;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use sndif::store::Direction;

use crate::totals::{LATENCY_BOUNDS_US, Latencies, Totals};

/// The figures as they are now; `events` were noted so far.
pub(crate) fn figures(status: &Status, totals: &Totals, events: u64) -> String {
    let mut registry = Registry::with_prefix("vsndd");
    let snapshot = Snapshot { status: status.clone(), totals: *totals, events };
    registry.register_collector(Box::new(snapshot));
    let mut out = String::new();
    if text::encode(&mut out, &registry).is_err() {
        // Writing into a String does not fail.
        let _ = out.write_str("# EOF\n");
    }
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

/// A figure of one stream.
type Figure = (&'static str, &'static str, fn(&control::Stream) -> u64);

const STREAM_FIGURES: [Figure; 6] = [
    ("stream_frames", "Frames played or captured", |stream| stream.frames),
    ("stream_xruns", "Times that sound was lost because one side was late", |stream| stream.xruns),
    ("stream_requests", "Requests answered", |stream| stream.requests),
    ("stream_requests_refused", "Requests refused", |stream| stream.refused),
    ("stream_notifications_received", "Notifications from the guest", |stream| stream.notifications_in),
    ("stream_notifications_sent", "Notifications to the guest", |stream| stream.notifications_out),
];

impl Snapshot {
    /// Every stream, with its labels.
    fn streams(&self) -> impl Iterator<Item = ([(&'static str, String); 5], &control::Stream)> {
        self.status.guests.iter().flat_map(|guest| {
            guest.cards.iter().flat_map(move |card| {
                card.streams.iter().map(move |stream| {
                    let labels = [
                        ("domain", guest.domain.to_string()),
                        ("name", escaped(guest.name.as_deref().unwrap_or_default())),
                        ("card", card.card.to_string()),
                        ("pcm", stream.pcm.to_string()),
                        ("stream", stream.stream.to_string()),
                    ];
                    (labels, stream)
                })
            })
        })
    }

    fn encode_streams(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        for (name, help, value) in STREAM_FIGURES {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (labels, stream) in self.streams() {
                ConstCounter::new(value(stream)).encode(family.encode_family(&labels)?)?;
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

/// Text as the value of a label, which prometheus-client writes as it is: a guest's name may hold anything.
fn escaped(text: &str) -> String {
    text.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n")
}

#[expect(clippy::cast_precision_loss, reason = "a figure")]
fn seconds_of_us(microseconds: u64) -> f64 {
    microseconds as f64 / 1e6
}

#[expect(clippy::cast_precision_loss, reason = "a figure")]
fn seconds(milliseconds: u64) -> f64 {
    milliseconds as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::totals::Violation;

    #[test]
    fn the_name_of_a_domain_adds_no_series() {
        let name = Some("x\"} 1\nvsndd_guests 99\nevil{name=\"\\".to_owned());
        let card = control::Card { streams: vec![control::Stream::default()], ..Default::default() };
        let guest = control::Guest { domain: 5, name, cards: vec![card], ..Default::default() };
        let status = Status { guests: vec![guest], ..Status::default() };
        let text = figures(&status, &Totals::default(), 0);
        assert!(text.lines().all(|line| line.starts_with("vsndd_") || line.starts_with('#')), "{text}");
        assert!(!text.lines().any(|line| line == "vsndd_guests 99"), "{text}");
        assert!(text.contains(r#"name="x\"} 1\nvsndd_guests 99\nevil{name=\"\\",card="#), "{text}");
    }

    #[test]
    fn figures_tell_streams_frames_xruns_latency_violations_reconnects_and_notifications() {
        let stream = control::Stream {
            pcm: 1,
            frames: 48_000,
            xruns: 2,
            notifications_in: 100,
            notifications_out: 101,
            run: control::Run::Running,
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
        let text = figures(&status, &totals, 0);
        let labels = r#"{domain="5",name="studio",card="0",pcm="1",stream="0"}"#;
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
            "# EOF",
        ] {
            assert!(text.lines().any(|there| there == line), "{line} is missing in:\n{text}");
        }
    }
}
