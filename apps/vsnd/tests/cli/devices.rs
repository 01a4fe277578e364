//! `vsnd devices` against real servers: each word that it prints is one for the configuration.

use std::process::{Command, Output, Stdio};

use sound_servers::{Kind, Server};

use crate::common::{World, program, stderr};

fn devices(environment: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = Command::new(program("vsnd"));
    command.arg("devices").args(arguments).stdin(Stdio::null()).env_remove("PIPEWIRE_REMOTE");
    command.envs(environment.iter().copied()).output().expect("runs")
}

/// The lines of `vsnd devices --json`.
fn lines(environment: &[(&str, &str)]) -> Vec<serde_json::Value> {
    let output = devices(environment, &["--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn line<'a>(lines: &'a [serde_json::Value], device: &str) -> &'a serde_json::Value {
    lines.iter().find(|line| line["device"] == device).unwrap_or_else(|| panic!("no {device} in {lines:?}"))
}

#[test]
fn the_devices_of_servers_are_listed_in_the_words_of_the_configuration() {
    for kind in [Kind::PulseAudio, Kind::PipeWire] {
        let server = Server::start(kind);
        let lines = lines(&[("PULSE_SERVER", &server.address())]);
        let (sink, source) = (line(&lines, "pulse:out"), line(&lines, "pulse:out.monitor"));
        assert_eq!((&sink["sink"], &sink["source"]), (&true.into(), &false.into()), "{sink}");
        assert_eq!((&source["sink"], &source["source"]), (&false.into(), &true.into()), "{source}");
        assert_eq!(line(&lines, "null")["sink"], true);
        let world = World::new();
        for found in lines.iter().filter_map(|line| line["device"].as_str()) {
            let mut check = world.daemon_command();
            let output = check.args(["--check-config", "--sink", found]).output().expect("runs");
            assert_eq!(output.status.code(), Some(0), "{found}: {}", stderr(&output));
        }
    }
}

#[cfg(feature = "pipewire")]
#[test]
fn pipewires_nodes_are_listed() {
    let server = Server::start(Kind::PipeWire);
    let address = server.pipewire_address();
    let lines = lines(&[("PIPEWIRE_REMOTE", address.trim_start_matches("unix:"))]);
    let sink = line(&lines, "pipewire:out");
    assert_eq!((&sink["sink"], &sink["source"]), (&true.into(), &true.into()), "a sink, and what it plays: {sink}");
}

#[test]
fn a_server_that_is_not_there_is_said_so_and_is_no_error() {
    let gone = [("PULSE_SERVER", "unix:/no/such/socket")];
    let lines = lines(&gone);
    let unknown = lines.iter().find(|line| line["place"] == "PulseAudio, unix:/no/such/socket").expect("a line");
    assert!(unknown["error"].as_str().is_some_and(|error| error.contains("pactl info")), "{unknown}");
    let output = devices(&gone, &[]);
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(table.contains("PulseAudio, unix:/no/such/socket:\n  not known: "), "{table}");
    assert!(table.contains("  wav:PATH  sink, source  a WAV file"), "{table}");
    assert_eq!(devices(&[], &["--sink"]).status.code(), Some(2));
}
