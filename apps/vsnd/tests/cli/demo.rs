//! The main job: `vsnd demo`.

use crate::common::{program, stderr, vsnd};

fn report(arguments: &[&str]) -> serde_json::Value {
    let output = vsnd(arguments);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{arguments:?}: {}{text}", stderr(&output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn the_demo_plays_and_captures_a_real_recording_bit_for_bit() {
    let report = report(&["demo", "--json"]);
    for way in ["playback", "capture"] {
        assert_eq!(report[way]["result"], "identical");
        assert_eq!(report[way]["bytes"], 137_090);
    }
    assert!(report["player"]["xruns"].is_u64());
    assert!(report["player"]["latency_us"]["count"].as_u64() > Some(0));
}

#[test]
fn the_demo_shows_a_report_with_a_waveform() {
    let output = vsnd(&["demo"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    for needle in ["playback       identical", "capture        identical", "p50", "p99", "notifications", "xruns", "█"]
    {
        assert!(text.contains(needle), "{needle} in {text}");
    }
}

#[test]
fn the_demo_speaks_protocol_v0_bit_for_bit() {
    let report = report(&["demo", "--json", "--protocol", "v0"]);
    assert_eq!(report["protocol"], "v0");
    for way in ["playback", "capture"] {
        assert_eq!(report[way]["result"], "identical");
        assert_eq!(report[way]["bytes"], 137_090);
    }
    assert_eq!(report["player"]["frames"], 68_545);
}

#[test]
fn the_demo_takes_period_and_format() {
    let report = report(&["demo", "--json", "--period-ms", "3", "--format", "s32_be"]);
    assert_eq!(report["playback"]["result"], "identical");
    assert_eq!(report["capture"]["bytes"], 274_180);
    assert!(report["player"]["stream"].as_str().expect("text").contains("s32_be 48000 Hz 1 channel(s), period 144"));
}

#[test]
fn the_demo_plays_to_null_and_alsa_without_comparing() {
    for sink in ["null", "alsa:null"] {
        let report = report(&["demo", "--json", "--sink", sink]);
        assert_eq!(report["playback"]["result"], "not-compared");
        assert_eq!(report["capture"]["result"], "identical");
    }
}

#[test]
fn what_the_demo_cannot_use_has_its_own_exit_status() {
    for (arguments, status, needle) in [
        (&["demo", "/nowhere.wav"][..], 7, "/nowhere.wav"),
        (&["demo", "--sink", "alsa:nowhere"], 8, "cannot use ALSA playback PCM `nowhere`"),
        (&["demo", "--sink", "nowhere"], 2, "there is no kind `nowhere`"),
        (&["demo", "--format", "gsm"], 9, "gsm"),
        (&["demo", "--format", "s17"], 2, "s16_le"),
        (&["demo", "--protocol", "v1"], 2, "`v0` or `v2`"),
    ] {
        let output = vsnd(arguments);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(needle), "{}", stderr(&output));
    }
}

#[test]
fn a_daemon_that_never_becomes_ready_is_not_waited_for_without_end() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().expect("a directory");
    let (copy, daemon) = (dir.path().join("vsnd"), dir.path().join("vsndd"));
    std::fs::copy(program("vsnd"), &copy).expect("copied");
    std::fs::write(&daemon, "#!/bin/sh\nexec sleep 300\n").expect("written");
    std::fs::set_permissions(&daemon, std::fs::Permissions::from_mode(0o755)).expect("executable");
    let output = std::process::Command::new(&copy).arg("demo").output().expect("runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("vsndd was not ready within 10 s"), "{}", stderr(&output));
}
