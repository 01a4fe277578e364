//! Closed and full outputs, Ctrl-C, wrong numbers, an environment that names a Xen, a card that is taken.

use std::fs::{File, read_dir};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::common::{Process, RECORDING, World, eventually, program, stderr, text};

/// Commands that print something, each with the emulation that it is asked about.
fn printing<'a>(xen: &'a str, dir: &'a str) -> Vec<Vec<&'a str>> {
    vec![
        vec!["--help"],
        vec!["play", "--help"],
        vec!["--version"],
        vec!["completions", "bash"],
        vec!["devices"],
        vec!["emu", "--dir", dir, "list", "--domain", "1"],
        vec!["list", "--xen", xen],
        vec!["list", "--json", "--xen", xen],
        vec!["events", "--xen", xen],
        vec!["mute", "1", "--xen", xen],
        vec!["volume", "1", "0", "--xen", xen],
        vec!["top", "--json", "--xen", xen],
        vec!["doctor", "--xen", xen],
        vec!["doctor", "--json", "--xen", xen],
        vec!["demo", "--json"],
        vec!["record", "-", "--seconds", "1", "--xen", xen],
        vec!["play", RECORDING, "--progress", "json", "--xen", xen],
    ]
}

fn into(arguments: &[&str], out: impl Into<Stdio>) -> Output {
    let mut command = Command::new(program("vsnd"));
    command.args(arguments).env_remove("VSND_XEN").env_remove("VSND_SOCKET").stdin(Stdio::null());
    command.stdout(out).output().expect("runs")
}

#[test]
fn every_command_ends_quietly_with_a_closed_pipe() {
    let world = World::new();
    let _daemon = world.daemon(&["--allow-capture"]);
    for arguments in printing(&world.spec(), text(&world.path("xen"))) {
        let (reader, writer) = std::io::pipe().expect("pipe");
        drop(reader);
        let output = into(&arguments, writer);
        let doctor = arguments[0] == "doctor";
        assert!(
            output.status.code() == Some(0) || doctor && output.status.code() == Some(1),
            "{arguments:?}: {output:?}"
        );
        assert_eq!(stderr(&output), "", "{arguments:?}");
    }
}

#[test]
fn every_command_ends_in_the_same_way_where_its_output_cannot_be_written() {
    let world = World::new();
    let _daemon = world.daemon(&["--allow-capture"]);
    for arguments in printing(&world.spec(), text(&world.path("xen"))) {
        let output = into(&arguments, File::options().write(true).open("/dev/full").expect("there"));
        assert_eq!(output.status.code(), Some(7), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains("standard output"), "{arguments:?}: {}", stderr(&output));
    }
}

/// `vsnd demo`, started by `env` with an option about signals in a directory of its own, once it plays.
fn demo_in(dir: &Path, signals: &str) -> Process {
    let mut command = Command::new("env");
    command.arg(signals).arg(program("vsnd")).args(["demo", "--period-ms", "100"]);
    command.env("TMPDIR", dir).env_remove("VSND_XEN");
    command.stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0);
    let demo = Process(command.spawn().expect("starts"));
    eventually("it plays", || left(dir).iter().any(|demo| demo.join("heard.wav").exists()));
    demo
}

fn left(dir: &Path) -> Vec<std::path::PathBuf> {
    read_dir(dir).expect("there").flatten().map(|entry| entry.path()).collect()
}

#[test]
fn the_demo_leaves_nothing_however_the_user_ends_it() {
    // A terminal signals every process of its group: at Ctrl-C, at Ctrl-\, and when it is closed.
    for signal in [Signal::INT, Signal::QUIT, Signal::HUP, Signal::TERM] {
        let dir = tempfile::tempdir().expect("directory");
        let mut demo = demo_in(dir.path(), "--default-signal=HUP,QUIT");
        kill_process_group(Pid::from_child(&demo.0), signal).expect("signalled");
        assert_eq!(demo.code(), Some(1), "{signal:?}");
        assert_eq!(demo.stderr(), "vsnd: interrupted\n", "{signal:?}");
        assert_eq!(left(dir.path()), Vec::<std::path::PathBuf>::new(), "{signal:?}");
    }
}

#[test]
fn a_demo_that_is_to_outlive_its_terminal_does() {
    let dir = tempfile::tempdir().expect("directory");
    let mut demo = demo_in(dir.path(), "--ignore-signal=HUP");
    kill_process_group(Pid::from_child(&demo.0), Signal::HUP).expect("signalled");
    assert_eq!((demo.code(), demo.stderr().as_str()), (Some(0), ""));
}

#[test]
fn a_domain_that_there_cannot_be_is_refused_in_words() {
    for number in ["99999", "32752", "-1", "x"] {
        let output = into(&["play", RECORDING, &format!("--domain={number}")], Stdio::null());
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert!(stderr(&output).contains("a domain's number is 0 to 32751"), "{}", stderr(&output));
    }
}

#[test]
fn the_usage_does_not_claim_what_the_environment_says() {
    for (name, arguments) in [("vsnd", &["mute"][..]), ("vsnd", &["list", "--wrong"]), ("vsndd", &["--wrong"])] {
        let mut command = Command::new(program(name));
        command.args(arguments).env("VSND_XEN", "emu:/x").env("VSND_SOCKET", "/x").env("VSND_LOG", "info");
        let output = command.output().expect("runs");
        assert_eq!(output.status.code(), Some(2));
        let usage = stderr(&output);
        assert!(usage.contains("Usage: ") && !usage.contains("--xen") && !usage.contains("--socket"), "{usage}");
    }
    let mut command = Command::new(program("vsnd"));
    let output = command.arg("list").env("VSND_XEN", "kvm").output().expect("runs");
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("unknown Xen `kvm`"), "{}", stderr(&output));
}

#[test]
fn a_card_that_is_taken_says_so() {
    let world = World::new();
    let _daemon = world.daemon(&["--allow-capture"]);
    let file = world.path("heard.wav");
    let mut recorder = Process(world.guest(&["record", text(&file), "--seconds", "100"]).spawn().expect("starts"));
    eventually("it records", || file.exists());
    let output = world.guest(&["play", RECORDING]).output().expect("runs");
    assert_eq!(output.status.code(), Some(12), "{}", stderr(&output));
    let expected = format!("in use by process {}: ", recorder.0.id());
    assert!(stderr(&output).contains(&expected), "{}", stderr(&output));
    recorder.kill();
}
