//! `vsnd doctor`: its findings at every stage on the way to sound; it leaves everything as it was.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use sound_servers::{Kind, Server};

use crate::common::{Process, World, eventually, program, stderr, text, vsnd};

/// The findings and the exit status of `vsnd doctor --json`.
fn doctor(world: &World, arguments: &[&str]) -> (Vec<Value>, Option<i32>) {
    let output = world.guest(&["doctor", "--json"]).args(arguments).output().expect("runs");
    assert_eq!(stderr(&output), "");
    (serde_json::from_slice(&output.stdout).expect("an array"), output.status.code())
}

#[track_caller]
fn one<'a>(findings: &'a [Value], check: &str) -> &'a Value {
    findings.iter().find(|finding| finding["check"] == check).unwrap_or_else(|| panic!("{check}: {findings:#?}"))
}

/// Expects a finding with `state`, and with `found` and `next` in its texts.
#[track_caller]
fn says(findings: &[Value], check: &str, state: &str, found: &str, next: &str) {
    let finding = one(findings, check);
    assert_eq!(finding["state"], state, "{finding}");
    assert!(finding["found"].as_str().is_some_and(|text| text.contains(found)), "`{found}` in {finding}");
    assert!(finding["next"].as_str().unwrap_or_default().contains(next), "`{next}` in {finding}");
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

#[test]
fn a_machine_without_xen_is_told_what_to_install_or_to_try() {
    if Path::new("/sys/hypervisor/type").exists() || Path::new("/proc/xen/capabilities").exists() {
        return; // The machine has a Xen; unit tests prove it with a made-up machine.
    }
    let output = vsnd(&["doctor"]);
    assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
    let said = out(&output);
    assert!(said.starts_with("missing Xen "), "{said}");
    assert!(said.contains("install a Xen host, or try the emulation: `vsnd emu --dir /tmp/xen`"), "{said}");
    assert!(!said.contains('\x1b'), "no colours where nobody sees them: {said}");
}

#[test]
fn an_emulation_that_does_not_run_is_to_be_started() {
    let dir = tempfile::tempdir().expect("directory");
    let output = vsnd(&["doctor", "--xen", &format!("emu:{}", text(dir.path()))]);
    assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
    assert!(out(&output).contains(&format!("`vsnd emu --dir {}`", text(dir.path()))), "{}", out(&output));
}

#[test]
fn an_emulation_without_a_card_gets_the_command_that_attaches_one() {
    let dir = tempfile::tempdir().expect("directory");
    let _xen = Process::ready(Command::new(program("vsnd")).args(["emu", "--dir", text(dir.path())]));
    let spec = format!("emu:{}", text(dir.path()));
    let output = vsnd(&["doctor", "--json", "--xen", &spec]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let findings: Vec<Value> = serde_json::from_slice(&output.stdout).expect("an array");
    says(&findings, "Xen", "ok", "emulated", "");
    says(&findings, "cards", "missing", "no guest has a sound card", "vsnd emu attach --dir");
    // The command works as it stands.
    let next = one(&findings, "cards")["next"].as_str().expect("a step");
    let command = next.split('`').nth(1).expect("a command").replacen("vsnd", text(&program("vsnd")), 1);
    assert!(Command::new("sh").args(["-c", &command]).stdout(Stdio::null()).status().expect("runs").success());
    let output = vsnd(&["doctor", "--json", "--xen", &spec]);
    assert!(out(&output).contains("domain 1 card 0"), "{}", out(&output));
}

#[test]
fn a_card_without_a_daemon_gets_the_command_that_starts_one() {
    let world = World::new();
    let (findings, code) = doctor(&world, &[]);
    assert_eq!(code, Some(1));
    says(&findings, "daemon", "missing", "does not run", &format!("`vsndd --xen {}", world.spec()));
    let found = "frontend Initialising, backend Initialising; streams: 1 playback, 1 capture: no daemon serves it";
    says(&findings, "domain 1 card 0", "missing", found, "`vsndd --xen emu:");
}

#[test]
fn a_card_that_is_served_and_not_used_can_work() {
    let world = World::new();
    world.attach(2);
    let daemon = world.daemon(&["--sink", &format!("wav:{}", text(&world.path("out.wav")))]);
    eventually("the daemon offers both cards", || {
        let (findings, code) = doctor(&world, &[]);
        let served = |check| one(&findings, check)["found"].as_str().is_some_and(|text| text.contains("InitWait"));
        served("domain 1 card 0") && served("domain 2 card 0") && code == Some(0)
    });
    let (findings, _) = doctor(&world, &[]);
    says(&findings, "daemon", "ok", &format!("process {}, serves 2 cards with protocol version 2", daemon.0.id()), "");
    says(&findings, "sink", "ok", "out.wav", "");
    says(&findings, "domain 2 card 0", "note", "nobody plays", &format!("--xen {} --domain 2`", world.spec()));
}

#[test]
fn a_card_of_protocol_v0_is_known_for_what_it_is() {
    let world = World::new();
    let mut attach = Command::new(program("vsnd"));
    attach.args(["emu", "--dir", text(&world.path("xen")), "attach", "--domain", "2", "--protocol", "v0"]);
    attach.arg("vsnd=[['CARD', 'PCM', 'STREAM, unique-id=p, type=p', 'STREAM, unique-id=c, type=c']]");
    assert!(attach.stdout(Stdio::null()).status().expect("runs").success());
    let (findings, _) = doctor(&world, &[]);
    let found = "streams: 0 playback, 1 capture, protocol v0: no daemon serves it";
    says(&findings, "domain 2 card 1", "missing", found, "`vsndd --xen emu:");
    let daemon = world.daemon(&[]);
    eventually("the daemon offers all cards", || {
        let (findings, _) = doctor(&world, &[]);
        let expected = format!("process {}, serves 3 cards with protocol version 0 and 2", daemon.0.id());
        one(&findings, "daemon")["found"].as_str().is_some_and(|found| found.contains(&expected))
    });
}

#[test]
fn a_guest_that_plays_works() {
    let world = World::new();
    let mut daemon = world.daemon(&[]);
    let file = world.path("long.wav");
    let spec =
        hound::WavSpec { channels: 1, sample_rate: 8000, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
    let mut writer = hound::WavWriter::create(&file, spec).expect("created");
    (0..8000 * 60).for_each(|_| writer.write_sample(0_i16).expect("written"));
    writer.finalize().expect("finished");
    let _guest = Process(world.guest(&["play", text(&file)]).spawn().expect("starts"));
    let state = |world: &World| one(&doctor(world, &[]).0, "domain 1 card 0")["state"].clone();
    eventually("the card works", || state(&world) == "ok");
    let (findings, code) = doctor(&world, &[]);
    says(&findings, "domain 1 card 0", "ok", "frontend Connected, backend Connected", "");
    assert_eq!(code, Some(0));
    // States stay as they were written last: a daemon that is killed leaves them.
    daemon.kill();
    let (findings, code) = doctor(&world, &[]);
    says(&findings, "domain 1 card 0", "missing", "the daemon that served it is gone", "vsndd");
    assert_eq!(code, Some(1));
}

#[test]
fn a_typo_in_the_configuration_is_found_at_its_line_and_column() {
    let world = World::new();
    let config = world.path("vsndd.toml");
    std::fs::write(&config, "sink = \"null\"\n\n[limits]\nbufer = 1\n").expect("written");
    let (findings, code) = doctor(&world, &["--config", text(&config)]);
    assert_eq!(code, Some(1));
    says(&findings, "configuration", "missing", "vsndd.toml:4:1: unknown key `bufer`", "--check-config");
    std::fs::write(&config, "sink = \"wav:/nowhere/x.wav\"\n").expect("written");
    let (findings, _) = doctor(&world, &["--config", text(&config)]);
    says(&findings, "configuration", "ok", "is understood", "");
    says(&findings, "sink", "missing", "/nowhere", "--sink");
}

#[test]
fn what_the_daemon_was_started_with_is_what_is_looked_at() {
    let world = World::new();
    let config = world.path("vsndd.toml");
    std::fs::write(&config, format!("source = \"wav:{}\"\ncapture = true\n", crate::common::RECORDING))
        .expect("written");
    let mut command = Command::new(program("vsndd"));
    command.args(["--config", text(&config), "--xen", &world.spec(), "--sink=null"]).stderr(Stdio::null());
    let _daemon = Process::ready(&mut command);
    let (findings, code) = doctor(&world, &[]);
    assert_eq!(code, Some(0));
    says(&findings, "configuration", "ok", text(&config), "");
    says(&findings, "source", "ok", crate::common::RECORDING, "");
    says(&findings, "sink", "note", "null", "--sink alsa:default");
}

#[test]
fn every_finding_has_check_state_found_and_next() {
    let world = World::new();
    let (findings, _) = doctor(&world, &[]);
    assert!(findings.len() > 3);
    for finding in &findings {
        let fields: Vec<&String> = finding.as_object().expect("an object").keys().collect();
        assert_eq!(fields.len(), 4, "{finding}");
        assert!(finding["check"].is_string() && finding["found"].is_string(), "{finding}");
        assert!(["ok", "missing", "note"].contains(&finding["state"].as_str().expect("text")), "{finding}");
        assert!(finding["next"].is_string() || finding["next"].is_null(), "{finding}");
        assert!(finding["state"] != "missing" || finding["next"].is_string(), "what is missing has a next step");
    }
}

#[test]
fn what_a_guest_writes_cannot_reach_the_terminal() {
    let world = World::new();
    let socket = world.path("xen").join(xen::emu::STORE_SOCKET);
    let mut store = xenstore::Client::connect(&socket).expect("connected");
    store.write("/local/domain/1/name", b"evil\x1b]0;title\x07\n\xff gr\xc3\xb6\xc3\x9fe").expect("written");
    store.write("/local/domain/1/device/vsnd/0/state", b"\x1b[2J").expect("written");
    let output = world.guest(&["doctor"]).output().expect("runs");
    let said = out(&output);
    assert!(said.contains("\"evil\u{fffd}]0;title\u{fffd}\u{fffd}\u{fffd} größe\": frontend Unknown"), "{said}");
    assert!(!said.contains(|c: char| c.is_control() && c != '\n'), "{said}");
}

#[test]
fn an_emulation_that_hangs_is_not_waited_for() {
    let world = World::new();
    crate::common::signal(&world.xen.0, rustix::process::Signal::STOP);
    let output = world.guest(&["doctor"]).output().expect("runs");
    crate::common::signal(&world.xen.0, rustix::process::Signal::CONT);
    assert_eq!(output.status.code(), Some(4));
    assert!(out(&output).contains("no reply within 2s"), "{}", out(&output));
}

#[test]
fn looking_changes_nothing() {
    let world = World::new();
    let _daemon = world.daemon(&[]);
    let list = || {
        let socket = world.path("xen").join(xen::emu::STORE_SOCKET);
        let output = Command::new("xenstore-ls").arg("-fp").env("XENSTORED_PATH", socket).output();
        output.expect("xenstore-utils is installed").stdout
    };
    eventually("the daemon is at rest", || String::from_utf8_lossy(&list()).contains("backend/vsnd/1/0/state = \"2\""));
    let before = list();
    for _ in 0..3 {
        assert_eq!(doctor(&world, &[]).1, Some(0));
    }
    assert_eq!(String::from_utf8_lossy(&list()), String::from_utf8_lossy(&before));
}

#[test]
fn a_running_daemon_whose_card_is_missing_is_not_believed() {
    let world = World::new();
    let _daemon = world.daemon(&["--sink", "alsa:no-such-pcm"]);
    let (findings, code) = doctor(&world, &[]);
    assert_eq!(code, Some(1));
    says(&findings, "sink", "missing", "alsa:no-such-pcm", "a stream that needs it is refused");
    assert_eq!(one(&findings, "daemon")["state"], "ok");
    let refused = world.guest(&["play", crate::common::RECORDING]).output().expect("runs");
    assert_eq!(refused.status.code(), Some(8), "{}", stderr(&refused));
    let (findings, code) = doctor(&world, &[]);
    assert_eq!(code, Some(1));
    says(&findings, "sink", "missing", "the daemon could not use it at ", "");
    says(&findings, "refused", "note", "1/0/0/0 at ", "vsnd events");
}

#[test]
fn a_device_that_the_daemon_has_opened_is_told_with_the_time() {
    let world = World::new();
    let _daemon = world.daemon(&["--sink", "alsa:null"]);
    let played = world.guest(&["play", crate::common::RECORDING]).output().expect("runs");
    assert_eq!(played.status.code(), Some(0), "{}", stderr(&played));
    let (findings, code) = doctor(&world, &[]);
    assert_eq!(code, Some(0));
    says(&findings, "sink", "ok", "alsa:null: opened by the daemon at ", "");
}

#[test]
fn a_sound_server_is_contacted() {
    let world = World::new();
    let sink = format!("pulse@unix:{}", text(&world.path("no-server")));
    let (findings, code) = doctor(
        &world,
        &[
            "--config",
            text(&{
                let config = world.path("vsndd.toml");
                std::fs::write(&config, format!("sink = \"{sink}\"\n")).expect("written");
                config
            }),
        ],
    );
    assert_eq!(code, Some(1));
    says(&findings, "sink", "missing", "no-server", "name another");
}

#[test]
fn a_daemon_is_found_whatever_file_it_was_started_from() {
    let world = World::new();
    let other = world.path("vsndd-pipewire");
    std::os::unix::fs::symlink(program("vsndd"), &other).expect("made");
    let mut command = Command::new(&other);
    command.args(["--config", "/dev/null", "--xen", &world.spec(), "--sink", "null"]).stderr(Stdio::null());
    let daemon = Process::ready(&mut command);
    let (findings, _) = doctor(&world, &[]);
    says(&findings, "daemon", "ok", &format!("process {}", daemon.0.id()), "");
}

#[test]
fn a_server_is_asked_whether_it_has_the_device_and_answers() {
    let world = World::new();
    let config = world.path("vsndd.toml");
    for kind in [Kind::PulseAudio, Kind::PipeWire] {
        let server = Server::start(kind);
        let sink = |name: &str| format!("pulse:{name}@{}", server.address());
        let configured = |sink: &str| {
            std::fs::write(&config, format!("sink = \"{sink}\"\n")).expect("written");
            doctor(&world, &["--config", text(&config)]).0
        };
        // On a busy machine a server may take longer than the doctor waits.
        let said = |name: &str, state: &str, found: &str| {
            let finding = one(&configured(&sink(name)), "sink").clone();
            finding["state"] == state && finding["found"].as_str().is_some_and(|text| text.contains(found))
        };
        eventually("the sink is there", || said("out", "ok", "pulse:out"));
        eventually("there is no such sink", || said("no-such", "missing", "it has no sink `no-such`"));
        server.freeze(true);
        says(&configured(&sink("out")), "sink", "missing", "", "name another");
    }
}

/// Files and directories below `directory`.
fn below(directory: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(directory).expect("readable").map(|entry| entry.expect("readable").path());
    entries.collect()
}

#[test]
fn looking_for_devices_leaves_nothing_in_the_users_directories() {
    let world = World::new();
    let file = world.path("pulse.toml");
    std::fs::write(&file, "sink = \"alsa:pulse\"\n").expect("written");
    for has_session in [false, true] {
        for command in [&["doctor", "--config", text(&file), "--xen", &world.spec()][..], &["devices"]] {
            let [home, temporary, session] = [(); 3].map(|()| tempfile::tempdir().expect("made"));
            let mut vsnd = Command::new(program("vsnd"));
            for variable in ["XDG_CONFIG_HOME", "PULSE_SERVER", "PULSE_COOKIE", "PULSE_RUNTIME_PATH", "XDG_RUNTIME_DIR"]
            {
                vsnd.env_remove(variable);
            }
            if has_session {
                vsnd.env("XDG_RUNTIME_DIR", session.path());
            }
            vsnd.args(command).env("HOME", home.path()).env("TMPDIR", temporary.path());
            let output = vsnd.output().expect("runs");
            assert!(out(&output).contains("null"), "{command:?}: {}{}", out(&output), stderr(&output));
            for directory in [&home, &temporary, &session] {
                assert_eq!(below(directory.path()), Vec::<std::path::PathBuf>::new(), "{command:?}");
            }
        }
    }
}
