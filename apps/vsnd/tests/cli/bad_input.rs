//! Reactions to bad input: one line that says what, where and what to do, and an exit status of its own.

use std::process::{Command, Output, Stdio};

use crate::common::{CARD, Process, RECORDING, World, program, signal, stderr, text, vsnd};

/// Expects one line on standard error, with `needle` in it, and this exit status.
fn expect(output: &Output, status: i32, needle: &str) {
    let line = stderr(output);
    assert_eq!(output.status.code(), Some(status), "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(line.contains(needle), "`{needle}` in: {line}");
}

#[test]
fn a_file_that_is_no_wav() {
    expect(&vsnd(&["play", "/etc/passwd"]), 7, "`/etc/passwd`: it is neither WAV nor FLAC");
}

#[test]
fn a_file_that_is_not_there() {
    expect(&vsnd(&["play", "/nowhere.wav"]), 7, "cannot read `/nowhere.wav`: No such file");
}

#[test]
fn a_truncated_wav() {
    let dir = tempfile::tempdir().expect("directory");
    let path = dir.path().join("cut.wav");
    let whole = std::fs::read(RECORDING).expect("alsa-utils is installed");
    std::fs::write(&path, &whole[..40]).expect("written");
    expect(&vsnd(&["play", text(&path)]), 7, "truncated");
}

#[test]
fn a_wav_that_ends_early_is_played_to_its_end_with_one_line_of_warning() {
    let world = World::new();
    let _daemon = world.daemon(&[]);
    let path = world.path("cut.wav");
    let whole = std::fs::read(RECORDING).expect("alsa-utils is installed");
    std::fs::write(&path, &whole[..whole.len() / 2]).expect("written");
    let output = world.guest(&["play", text(&path)]).output().expect("runs");
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    assert_eq!(said.lines().filter(|line| line.contains("cut.wav` ends early")).count(), 1, "{said}");
}

#[test]
fn a_wav_without_a_frame() {
    let dir = tempfile::tempdir().expect("directory");
    let path = dir.path().join("empty.wav");
    let whole = std::fs::read(RECORDING).expect("alsa-utils is installed");
    let mut header = whole[..44].to_vec();
    header[4..8].copy_from_slice(&36_u32.to_le_bytes());
    header[40..44].fill(0);
    std::fs::write(&path, header).expect("written");
    expect(&vsnd(&["play", text(&path)]), 7, "holds no frame");
    expect(&vsnd(&["demo", text(&path)]), 7, "holds no frame");
}

#[test]
fn a_format_that_the_card_does_not_take() {
    let world = World::new();
    let _daemon = world.daemon(&[]);
    let output = world.guest(&["play", RECORDING, "--format", "float64_be"]).output().expect("runs");
    expect(&output, 9, "float64_be");
}

#[test]
fn a_rate_that_the_card_does_not_take() {
    let world = World::new();
    let _daemon = world.daemon(&["--allow-capture"]);
    let target = world.path("x.wav");
    let arguments = ["record", text(&target), "--rate", "96000", "--seconds", "1"];
    let output = world.guest(&arguments).output().expect("runs");
    expect(&output, 9, "96000");
    assert!(!target.exists(), "nothing was recorded, so there is no file");
}

#[test]
fn a_daemon_that_does_not_run() {
    let world = World::new();
    let output = world.guest(&["play", RECORDING]).output().expect("runs");
    expect(&output, 6, "is vsndd running there?");
}

#[test]
fn a_domain_without_a_sound_card() {
    let world = World::new();
    let _daemon = world.daemon(&[]);
    let output = world.guest(&["play", RECORDING, "--domain", "7"]).output().expect("runs");
    expect(&output, 5, "domain 7 has no sound card 0: attach one with `vsnd emu attach`");
}

#[test]
fn a_stream_that_the_card_does_not_have() {
    let world = World::new();
    let _daemon = world.daemon(&[]);
    let output = world.guest(&["play", RECORDING, "--stream", "9"]).output().expect("runs");
    expect(&output, 5, "it has 0/0 playback, 0/1 capture");
    let output = world.guest(&["play", RECORDING, "--stream", "1"]).output().expect("runs");
    expect(&output, 5, "is for capture");
}

#[test]
fn capture_that_the_host_does_not_allow() {
    let world = World::new();
    let _daemon = world.daemon(&[]);
    let target = world.path("x.wav");
    let output = world.guest(&["record", text(&target), "--seconds", "1"]).output().expect("runs");
    expect(&output, 9, "EACCES");
}

#[test]
fn a_configuration_with_a_typo() {
    let world = World::new();
    let config = world.path("vsndd.toml");
    std::fs::write(&config, "sink = \"null\"\n\n[limits]\nbufer = 1\n").expect("written");
    let output = Command::new(program("vsndd"))
        .args(["--config", text(&config), "--xen", &world.spec()])
        .output()
        .expect("runs");
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("error: unknown key `bufer`") && said.contains("vsndd.toml:4:1\n"), "{said}");
    assert!(said.contains("4 | bufer = 1\n") && said.contains("did you mean `buffer-bytes-max`?"), "{said}");
}

#[test]
fn an_emulation_directory_that_is_not_there() {
    let output = vsnd(&["play", RECORDING, "--xen", "emu:/nowhere"]);
    expect(&output, 4, "no emulated Xen in /nowhere: start `vsnd emu --dir /nowhere`");
}

#[test]
fn an_emulation_directory_in_use() {
    let world = World::new();
    let dir = world.path("xen");
    let output = vsnd(&["emu", "--dir", text(&dir)]);
    expect(&output, 4, &format!("is in use by process {}", world.xen.0.id()));
}

#[test]
fn a_sink_that_is_not_there_is_named_and_the_rest_is_served() {
    for (sink, needle) in [
        ("alsa:nowhere", "cannot use ALSA playback PCM `nowhere`"),
        ("pulse:hdmi@unix:/nowhere", "cannot use PulseAudio server unix:/nowhere"),
        ("wav:/nowhere/x.wav", "/nowhere"),
    ] {
        let world = World::new();
        let mut daemon = Process::ready(world.daemon_command().args(["--sink", sink]).stderr(Stdio::piped()));
        let output = world.guest(&["play", RECORDING]).output().expect("runs");
        assert_eq!(output.status.code(), Some(8), "{sink}: {}", stderr(&output));
        signal(&daemon.0, rustix::process::Signal::TERM);
        assert_eq!(daemon.code(), Some(0));
        let log = daemon.stderr();
        assert!(log.contains(needle) && log.contains("tried again when a stream needs it"), "{log}");
    }
}

#[test]
fn a_sink_that_is_not_there_plays_to_silence_where_that_is_configured() {
    let world = World::new();
    let config = world.path("vsndd.toml");
    std::fs::write(&config, "sink = \"pulse@unix:/nowhere\"\nwhen-absent = \"silence\"\n").expect("written");
    let mut daemon = Command::new(program("vsndd"));
    let _daemon =
        Process::ready(daemon.args(["--config", text(&config), "--xen", &world.spec()]).stderr(Stdio::piped()));
    let output = world.guest(&["play", RECORDING]).output().expect("runs");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn a_card_with_a_mistake() {
    let world = World::new();
    let dir = world.path("xen");
    let output = vsnd(&["emu", "--dir", text(&dir), "attach", "--domain", "2", "vsnd=[['CRAD']]"]);
    expect(&output, 2, "line 1, column 9: unknown item `crad`");
    let output = vsnd(&["emu", "--dir", text(&dir), "attach", "--domain", "0", CARD]);
    expect(&output, 2, "domain 0 is the host");
    let output = vsnd(&["emu", "--dir", text(&dir), "detach", "--domain", "2"]);
    expect(&output, 5, "domain 2 has no sound card at all");
}

#[test]
fn an_existing_file_is_not_overwritten() {
    let world = World::new();
    let target = world.path("precious.wav");
    std::fs::write(&target, "precious").expect("written");
    let output = world.guest(&["record", text(&target), "--seconds", "1"]).output().expect("runs");
    expect(&output, 7, "exists already");
    assert_eq!(std::fs::read(&target).expect("still there"), b"precious");
}

#[test]
fn a_socket_that_another_daemon_has_and_one_that_cannot_be_had() {
    let world = World::new();
    let socket = world.path("control.sock");
    let taken = std::os::unix::net::UnixListener::bind(&socket).expect("bound");
    let ends = |listen: &str| {
        let config = world.path("listen.toml");
        std::fs::write(&config, listen).expect("written");
        let mut daemon = Command::new(program("vsndd"));
        daemon.args(["--config", text(&config), "--xen", &world.spec()]).output().expect("runs")
    };
    expect(&ends(&format!("control = {{ socket = \"{}\" }}\n", socket.display())), 12, "another daemon listens there");
    drop(taken);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = taken.local_addr().expect("known");
    expect(&ends(&format!("metrics = {{ listen = \"tcp:{address}\" }}\n")), 12, "cannot listen at");
    let too_long = world.path(&"x".repeat(108));
    expect(&ends(&format!("control = {{ socket = \"{}\" }}\n", too_long.display())), 3, "cannot listen at");
}
