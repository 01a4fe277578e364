//! Tests of the whole benchmark in small: it runs, and its output has the documented form. Speeds are not checked.

use std::path::{Path, PathBuf};
use std::process::Command;

use assert_cmd::cargo::cargo_bin;
use serde_json::Value;

/// The daemon beside the benchmark; built if it is missing.
fn daemon() -> PathBuf {
    let daemon = cargo_bin("vsnd-bench").with_file_name("vsndd");
    if !daemon.exists() {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "-p", "vsndd"]).current_dir(env!("CARGO_MANIFEST_DIR"));
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        assert!(build.status().expect("cargo starts").success(), "the daemon builds");
    }
    daemon
}

fn run(out: &Path, parts: &str) -> Value {
    let mut command = Command::new(cargo_bin("vsnd-bench"));
    command.args(["--quick", "--seconds", "0.2", "--streams", "1,3", "--memory-streams", "0,2", "--only", parts]);
    command.arg("--out").arg(out).arg("--daemon").arg(daemon());
    let output = command.output().expect("it starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let text = std::fs::read_to_string(out.join("bench.json")).expect("the result is written");
    serde_json::from_str(&text).expect("the result is JSON")
}

/// Fails unless `value` is a finite number, 0 or more.
fn assert_number(value: &Value) {
    let number = value.as_f64().unwrap_or(-1.0);
    assert!(number >= 0.0, "{value} is no figure");
}

/// Fails unless every opening tag of an SVG file is closed in the right order.
fn assert_well_formed(path: &Path) {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut open = Vec::new();
    for piece in text.split('<').skip(1) {
        let (tag, _) = piece.split_once('>').unwrap_or_else(|| panic!("{}: `<{piece}` never ends", path.display()));
        let name = tag.trim_start_matches('/').split([' ', '\n', '/']).next().unwrap_or_default();
        match (tag.starts_with(['?', '!']), tag.starts_with('/'), tag.ends_with('/')) {
            (true, ..) | (false, false, true) => {}
            (false, true, _) => assert_eq!(open.pop(), Some(name), "{}", path.display()),
            (false, false, false) => open.push(name),
        }
    }
    assert!(open.is_empty(), "{}: {open:?} are not closed", path.display());
    assert!(text.contains("<svg") && text.contains("<polyline"), "{} shows nothing", path.display());
}

#[test]
fn a_run_in_small_gives_every_figure() {
    let dir = tempfile::tempdir().expect("a directory");
    let report = run(dir.path(), "latency,streams,memory,workers");
    assert_eq!(report["schema"], 2);
    assert_eq!(report["left_out"], Value::Array(Vec::new()));
    assert_eq!(report["notifications"], Value::Null, "it was not asked for");

    let pairs = report["latency"]["pairs"].as_array().expect("pairs");
    assert!(pairs.len() >= 2);
    for pair in pairs {
        assert!(pair["placement"].is_string() && pair["pace"].is_string());
        assert_number(&pair["p50_ratio"]);
        for kind in ["write", "ping_pong"] {
            for figure in ["count", "p50_us", "p90_us", "p99_us", "max_us"] {
                assert_number(&pair[kind][figure]);
            }
            assert_eq!(pair[kind]["quantiles_us"].as_array().expect("quantiles").len(), 199);
        }
    }

    let steps = report["streams"]["steps"].as_array().expect("steps");
    let counts: Vec<_> = steps.iter().map(|step| step["streams"].as_u64()).collect();
    assert_eq!(counts, [Some(1), Some(3)]);
    for step in steps {
        for figure in ["daemon_cpu_percent", "guest_cpu_percent", "daemon_xruns", "guest_xruns", "played_percent"] {
            assert_number(&step[figure]);
        }
    }
    assert_number(&report["streams"]["most_without_xrun"]);

    for state in ["per_idle_stream", "per_playing_stream"] {
        for figure in ["rss", "pss", "private"] {
            assert!(report["memory"][state][figure].is_number());
        }
    }
    for figure in ["count", "p50_us", "max_us"] {
        assert_number(&report["workers"]["start"][figure]);
    }
    for state in ["offered", "connected"] {
        assert_number(&report["workers"][state]["private"]);
    }
    for target in report["targets"].as_array().expect("targets") {
        assert!(target["name"].is_string() && target["wanted"].is_string() && target["met"].is_boolean());
        assert_number(&target["value"]);
    }

    assert_well_formed(&dir.path().join("streams.svg"));
    assert_well_formed(&dir.path().join("latency-one-processor-back-to-back.svg"));
    assert_well_formed(&dir.path().join("latency-one-processor-once-per-period.svg"));
}

#[test]
fn each_sink_is_measured_with_servers_of_its_own() {
    let dir = tempfile::tempdir().expect("a directory");
    let report = run(dir.path(), "sinks");
    assert_eq!(report["left_out"], Value::Array(Vec::new()));
    let sinks = report["sinks"]["sinks"].as_array().expect("sinks");
    let names: Vec<_> = sinks.iter().filter_map(|sink| sink["name"].as_str()).collect();
    let mut expected = vec!["null", "alsa:null", "PulseAudio", "PipeWire"];
    expected.extend(cfg!(feature = "pipewire").then_some("PipeWire, native"));
    assert_eq!(names, expected);
    for sink in sinks {
        // If a server is too busy for the second number of streams, the report says so.
        let steps = sink["steps"].as_array().expect("steps").len();
        assert!(steps == 2 || (steps == 1 && sink["ended_by"].is_string()), "{sink}");
        let servers = matches!(sink["name"].as_str(), Some("PulseAudio" | "PipeWire" | "PipeWire, native"));
        let periods: Vec<_> =
            sink["latencies"].as_array().expect("latencies").iter().map(|row| row["period_ms"].as_u64()).collect();
        assert_eq!(periods, if servers { vec![Some(5), Some(10), Some(20), Some(40)] } else { Vec::new() });
    }
    assert_well_formed(&dir.path().join("sinks-latency.svg"));
    assert_well_formed(&dir.path().join("sinks-cpu.svg"));
}

#[test]
fn the_command_line_is_checked() {
    for wrong in [&["--streams", "0"][..], &["--seconds", "-1"], &["--only", "nothing"], &["--daemon", "/nowhere"]] {
        let output = Command::new(cargo_bin("vsnd-bench")).args(wrong).output().expect("it starts");
        assert!(!output.status.success(), "{wrong:?}");
    }
}
