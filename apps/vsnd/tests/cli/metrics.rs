//! Metrics of a real daemon: checked by Prometheus' own tool, and served through a reload.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::common::{eventually, program, stderr, text};
use crate::controlled::Controlled;

/// A daemon whose guest 1 plays, under a name with everything that has to be escaped.
fn measured() -> (Controlled, crate::common::Process) {
    let mut controlled = Controlled::new("");
    configure(&controlled, "");
    controlled.run();
    let player = controlled.player();
    let name = "the \"studio\" \\ 1";
    // The tool that writes it has escapes of its own.
    controlled.name(1, &name.replace('\\', "\\\\"));
    eventually("it is known by its name", || controlled.must(&["list"]).contains(name));
    (controlled, player)
}

fn configure(controlled: &Controlled, more: &str) {
    let listen = controlled.world.path("metrics.sock");
    controlled.configure(&format!("sink = \"null\"\n{more}[metrics]\nlisten = \"unix:{}\"\n", text(&listen)));
}

fn connect(controlled: &Controlled) -> UnixStream {
    UnixStream::connect(controlled.world.path("metrics.sock")).expect("the daemon listens")
}

/// The metrics in an answer.
fn body(mut socket: UnixStream) -> String {
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    body.to_owned()
}

fn scrape(controlled: &Controlled) -> String {
    let mut socket = connect(controlled);
    socket.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").expect("asked");
    body(socket)
}

/// Runs Prometheus' tool, which `scripts/install-deps.sh` unpacks, on a text.
fn promtool(arguments: &[&str], input: &str) -> Output {
    let tool = program("vsnd").with_file_name("../promtool");
    assert!(tool.exists(), "{} is missing: run `make test-deps`", tool.display());
    let mut command = Command::new(tool);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("starts");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("taken");
    child.wait_with_output().expect("ends")
}

#[test]
fn prometheus_own_tool_finds_no_fault_with_the_metrics() {
    let (controlled, _player) = measured();
    let metrics = scrape(&controlled);
    assert!(metrics.contains("name=\"the \\\"studio\\\" \\\\ 1\"") && metrics.contains("_bucket{"), "{metrics}");
    let checked = promtool(&["check", "metrics"], &metrics);
    assert_eq!((checked.status.code(), stderr(&checked).as_str()), (Some(0), ""), "{metrics}");
    assert!(checked.stdout.is_empty(), "{}", String::from_utf8_lossy(&checked.stdout));
}

#[test]
fn prometheus_own_tool_finds_no_fault_with_the_alerts() {
    let alerts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/monitoring/alerts.yml");
    let checked = promtool(&["check", "rules", text(&alerts)], "");
    let said = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success() && said.contains("SUCCESS: 7 rules found"), "{said}{}", stderr(&checked));
}

/// The samples of the metrics, by their series.
fn samples(metrics: &str) -> BTreeMap<&str, f64> {
    let lines = metrics.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(series, value)| (series, value.parse().expect("a number")))
        .collect()
}

#[test]
fn metrics_go_on_through_a_reload() {
    let (controlled, _player) = measured();
    let before = scrape(&controlled);
    let mut half = connect(&controlled);
    half.write_all(b"GET /metrics HT").expect("asked");
    configure(&controlled, "volume-db = -20.0\n");
    controlled.must(&["reload"]);
    half.write_all(b"TP/1.1\r\n\r\n").expect("asked");
    let after = body(half);
    let (before, after) = (samples(&before), samples(&after));
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    let is_count = |series: &str| series.split('{').next().is_some_and(|name| name.ends_with("_total"));
    let counts: Vec<_> = before.iter().filter(|(series, _)| is_count(series)).collect();
    assert!(counts.len() > 10, "{counts:?}");
    for (series, count) in counts {
        assert!(after[series] >= *count, "{series}: {count}, then {}", after[series]);
    }
    let of = |samples: &BTreeMap<&str, f64>, name: &str| {
        let series = samples.iter().filter(|(series, _)| series.starts_with(name));
        series.map(|(_, value)| *value).collect::<Vec<_>>()
    };
    let start = "process_start_time_seconds";
    assert!(of(&after, start).len() == 1 && of(&before, start) == of(&after, start), "the same daemon");
    assert_eq!(of(&after, "vsndd_stream_volume_decibels"), [-20.0, -20.0], "it was read again");
    assert!(samples(&scrape(&controlled)).len() == after.len(), "another asks");
}
