//! The daemon's sandbox works: told to try forbidden things, the daemon is refused, and without the sandbox it is not.
//! All other tests here show that the daemon still does its work in there: the sandbox is on unless it is switched off.

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::common::{Process, RECORDING, World, eventually, samples, signal, stderr, text};
use crate::controlled::Controlled;
use sound_servers::{Kind, Server};
use xen::{Access, DomainId, EventChannel, Granted};

const HOST: DomainId = DomainId(0);

/// Output of the daemon about one attempt, with these arguments.
fn tried(world: &World, probe: &str, arguments: &[&str]) -> String {
    let mut command = world.daemon_command();
    let output = command.args(arguments).args(["--sandbox-probe", probe]).output().expect("runs");
    assert!(output.status.success(), "{probe}: {}", stderr(&output));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn files_outside_are_refused() {
    let world = World::new();
    std::fs::write(world.path("private"), "x").expect("written");
    let outside = [format!("read:{}", text(&world.path("private"))), format!("write:{}", text(&world.path("new")))];
    for probe in outside.iter().map(String::as_str).chain(["read:/etc", "read:/boot", "write:/usr/x", "write:/tmp/x.y"])
    {
        let refused = tried(&world, probe, &["--sandbox", "on"]);
        assert_eq!(refused, format!("{probe}: Permission denied (os error 13)"));
    }
    for probe in outside {
        assert_eq!(tried(&world, &probe, &["--sandbox", "off"]), format!("{probe}: done"), "the probe itself works");
    }
}

#[test]
fn what_the_configuration_names_is_within_reach() {
    let world = World::new();
    let new = format!("write:{}", text(&world.path("new")));
    let sink = format!("wav:{}", text(&world.path("{domain}.wav")));
    assert_eq!(tried(&world, &new, &["--sandbox", "on", "--sink", &sink]), format!("{new}: done"));
    assert_ne!(tried(&world, &new, &["--sandbox", "on", "--source", &sink]), format!("{new}: done"));
    let directory = world.path("");
    assert_eq!(tried(&world, &new, &["--sandbox", "on", "--writable", text(&directory)]), format!("{new}: done"));
    assert_eq!(tried(&world, "read:/usr/share/alsa", &["--sandbox", "on"]), "read:/usr/share/alsa: done");
}

#[test]
fn system_calls_that_a_sound_daemon_has_no_use_for_are_refused() {
    let world = World::new();
    for call in ["ptrace", "chroot", "unshare", "packet", "netlink"] {
        let probe = format!("call:{call}");
        let refused = tried(&world, &probe, &["--sandbox", "on"]);
        assert_eq!(refused, format!("{probe}: Operation not permitted (os error 1)"));
    }
    // The daemon starts its workers, which are the same program, and no other.
    assert_eq!(tried(&world, "call:execve", &["--sandbox", "on"]), "call:execve: Permission denied (os error 13)");
    for call in ["netlink"].into_iter().chain(["chroot", "packet"].into_iter().filter(|_| is_root())) {
        let probe = format!("call:{call}");
        assert_eq!(tried(&world, &probe, &["--sandbox", "off"]), format!("{probe}: done"), "the probe itself works");
    }
}

#[test]
fn root_becomes_the_daemons_user_and_there_is_no_way_back() {
    if !is_root() {
        eprintln!("left out: only root can become another user");
        return;
    }
    let world = World::new();
    std::fs::write(world.path("private"), "x").expect("written");
    std::fs::set_permissions(world.path("private"), Permissions::from_mode(0o600)).expect("set");
    let open = |path: &Path| std::fs::set_permissions(path, Permissions::from_mode(0o755)).expect("set");
    open(world.dir.path());
    open(&world.path("xen"));
    let private = format!("read:{}", text(&world.path("private")));
    for (probe, answer) in
        [(private.as_str(), "Permission denied (os error 13)"), ("call:setuid", "Operation not permitted (os error 1)")]
    {
        let arguments = ["--user", "nobody", "--sandbox", "off"];
        assert_eq!(tried(&world, probe, &arguments), format!("{probe}: {answer}"));
    }
    // The daemon serves as that user.
    let out = world.path("out");
    std::fs::create_dir(&out).expect("made");
    chown(&out, Some(65_534), None).expect("given away");
    let daemon =
        world.daemon(&["--user", "nobody", "--sandbox", "on", "--sink", &format!("wav:{}", text(&out.join("x.wav")))]);
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.0.id())).expect("runs");
    let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).expect("a line").trim().to_owned();
    assert_eq!(line("Uid:"), "65534\t65534\t65534\t65534");
    assert_eq!(line("Gid:"), "65534\t65534\t65534\t65534");
    for set in ["CapPrm:", "CapEff:", "CapAmb:"] {
        assert_eq!(line(set), "0000000000000000", "{set}");
    }
    let played = world.guest(&["play", RECORDING]).output().expect("runs");
    assert!(played.status.success(), "{}", stderr(&played));
    assert_eq!(daemon.terminate(), Some(0));
    assert_eq!(samples(&out.join("x.wav")), samples(RECORDING.as_ref()));
}

#[test]
fn every_thread_is_confined() {
    let world = World::new();
    let sink = format!("wav:{}", text(&world.path("x.wav")));
    let daemon = world.daemon(&["--sandbox", "on", "--sink", &sink]);
    let mut guest = world.guest(&["play", RECORDING]).spawn().expect("starts");
    let worker = world.workers(&daemon)[0];
    let tasks = |process: u32| std::fs::read_dir(format!("/proc/{process}/task")).expect("runs");
    eventually("a device's thread runs", || tasks(worker).count() > 1);
    for (process, filters) in [(daemon.0.id(), 2), (worker, 3)] {
        for task in tasks(process) {
            let Ok(status) = std::fs::read_to_string(task.expect("listed").path().join("status")) else { continue };
            for confined in ["Seccomp:\t2", &format!("Seccomp_filters:\t{filters}"), "NoNewPrivs:\t1"] {
                assert!(status.contains(confined), "{status}");
            }
        }
    }
    assert!(guest.wait().expect("ends").success());
}

/// Results of the probes that the worker of domain 1 tries.
pub fn worker_tries(daemon: &mut Command, probes: &[&str]) -> Vec<String> {
    let command = daemon.stderr(Stdio::piped());
    for probe in probes {
        command.args(["--worker-probe", probe]);
    }
    let mut daemon = Process::ready(command);
    let log = daemon.0.stderr.take().expect("piped");
    assert_eq!(daemon.terminate(), Some(0));
    let log = std::io::read_to_string(log).expect("text");
    let said = |probe: &&str| {
        let of_probe = format!("probe of the worker of domain 1: {probe}: ");
        let line = log.lines().find_map(|line| line.split_once(&of_probe)).unwrap_or_else(|| panic!("{probe}: {log}"));
        line.1.to_owned()
    };
    probes.iter().map(said).collect()
}

#[test]
fn a_worker_reaches_its_own_guest_and_nothing_else_of_xen() {
    let world = World::new();
    // Another guest, with a page and a channel that are meant for the host.
    let other = world.enter(2);
    let (page, port) = (other.grant(HOST, 1, Access::ReadWrite).unwrap(), other.alloc_unbound(HOST).unwrap());
    let own = world.enter(1);
    let (its_page, its_port) = (own.grant(HOST, 1, Access::ReadWrite).unwrap(), own.alloc_unbound(HOST).unwrap());
    let map = |domain: u16, page: &Granted| format!("map:{domain}:{}", page.refs()[0].0);
    let bind = |domain: u16, port: &EventChannel| format!("bind:{domain}:{}", port.port());
    let forbidden = [
        (map(2, &page), "granted to another domain"),
        (bind(2, &port), "reserved for another domain"),
        ("store-read:/local/domain/2/device/vsnd".into(), "EACCES"),
        ("store-read:/local/domain/0/backend/vsnd/2".into(), "EACCES"),
        ("store-read:/vm".into(), "EACCES"),
        ("store-write:/local/domain/2/device/vsnd/0/state".into(), "EACCES"),
        ("store-write:/local/domain/1/device/vsnd/0/state".into(), "EACCES"),
        ("store-write:/local/domain/1/name".into(), "EACCES"),
    ];
    let allowed = [
        map(1, &its_page),
        bind(1, &its_port),
        "store-read:/local/domain/1/device/vsnd/0".into(),
        "store-write:/local/domain/0/backend/vsnd/1/0/probed".into(),
    ];
    let probes: Vec<&str> = forbidden.iter().map(|(probe, _)| &**probe).chain(allowed.iter().map(|a| &**a)).collect();
    let answers = worker_tries(world.daemon_command().args(["--sandbox", "on"]), &probes);
    for ((probe, wanted), answer) in forbidden.iter().zip(&answers) {
        assert!(answer.contains(wanted), "{probe}: {answer}");
    }
    for (probe, answer) in allowed.iter().zip(&answers[forbidden.len()..]) {
        assert_eq!(answer, "done", "{probe}");
    }
}

#[test]
fn a_worker_starts_nothing_executes_nothing_that_it_wrote_and_makes_no_call_on_xens_devices() {
    let world = World::new();
    let (directory, written) = (world.path(""), format!("execute:{}", text(&world.path("code"))));
    let probes = [
        "call:execve",
        "call:kill",
        "call:exec-shared",
        "call:exec-written",
        "call:exec-memfd",
        &written,
        "call:xen-map",
        "call:xen-grant",
        "call:xen-bind",
        "read:/dev/xen",
        "read:/etc/vsnd",
    ];
    let tries = |sandbox, probes: &[&str]| {
        worker_tries(world.daemon_command().args(["--sandbox", sandbox, "--writable", text(&directory)]), probes)
    };
    for (probe, answer) in probes.iter().zip(&tries("on", &probes)) {
        // A file may also be missing.
        let refused = probe.starts_with("read") || answer.starts_with("Operation not permitted");
        assert!(refused && answer != "done", "{probe}: {answer}");
    }
    assert_eq!(tries("off", &probes[1..9]), ["done"; 8], "the probes themselves work");
}

/// Names of the libraries that a process has loaded.
fn libraries_of(process: u32) -> BTreeSet<String> {
    let maps = std::fs::read_to_string(format!("/proc/{process}/maps")).expect("runs");
    let paths = maps.lines().filter_map(|line| line.split_ascii_whitespace().nth(5));
    paths.filter_map(|path| path.rsplit('/').next()).filter(|name| name.contains(".so")).map(str::to_owned).collect()
}

#[test]
fn a_worker_loads_what_its_devices_need_and_nothing_else() {
    let loaded = |sink: &str| {
        let world = World::new();
        let daemon = world.daemon(&["--sandbox", "on", "--sink", sink]);
        let has = libraries_of(world.workers(&daemon)[0]);
        move |name: &str| has.iter().any(|library| library.starts_with(name))
    };
    let plugins = ["libasound_module_", "libpulse.so", "libpipewire-module-", "libspa-"];
    let of_null = loaded("null");
    assert!(plugins.iter().all(|name| !of_null(name)));
    let of_plug = loaded("alsa:plug:null");
    assert!(of_plug("libasound_module_rate_speexrate.so"));
    let of_pulse = loaded("alsa:pulse");
    assert!(of_pulse("libasound_module_pcm_pulse.so") && of_pulse("libpulse.so"));
    for has in [of_plug, of_pulse] {
        assert!(["libasound_module_pcm_jack", "libjack", "libavcodec", "libspa-"].iter().all(|name| !has(name)));
    }
}

#[test]
fn a_stream_is_moved_to_a_device_whose_library_its_worker_has_not() {
    let server = Server::start(Kind::PulseAudio);
    let environment = vec![("PULSE_SERVER", server.address())];
    let controlled = Controlled::within("sink = \"null\"\n", vec!["--sandbox", "on"], environment);
    let mut player = controlled.player();
    let worker = || controlled.world.workers(controlled.daemon.as_ref().expect("runs"));
    let first = worker();
    // Another guest's device is none of this worker's business.
    controlled.configure("sink = \"null\"\n[[rule]]\ndomain = 7\nsink = \"alsa:pulse\"\n");
    controlled.must(&["reload"]);
    controlled.must(&["list"]);
    assert_eq!(worker(), first);
    let recording = server.record();
    let heard = || recording.bytes().iter().filter(|byte| **byte != 0).count();
    controlled.must(&["move", "1/0/0/0", "alsa:pulse"]);
    eventually("the server hears it", || heard() > 48_000);
    let second = worker();
    assert!(second != first && libraries_of(second[0]).contains("libasound_module_pcm_pulse.so"));
    // From now on the guest's worker has all that it needs.
    controlled.must(&["move", "1/0/0/0", "null"]);
    let before = heard();
    controlled.must(&["move", "1/0/0/0", "alsa:pulse"]);
    eventually("the server hears it again", || heard() > before + 48_000);
    assert_eq!(worker(), second);
    assert_eq!(player.0.try_wait().expect("child"), None, "the guest plays all the time");
}

#[test]
fn a_library_that_came_too_late_is_named() {
    let world = World::new();
    let (plugins, configuration) = (world.path("plugins"), world.path("alsa.conf"));
    std::fs::create_dir(&plugins).expect("made");
    let late = plugins.join("late.so");
    let lines = format!("</usr/share/alsa/alsa.conf>\npcm_type.late.lib \"{}\"\npcm.late.type late\n", text(&late));
    std::fs::write(&configuration, lines).expect("written");
    let mut command = world.daemon_command();
    command.args(["--sandbox", "on", "--sink", "alsa:late", "--writable", text(&plugins)]);
    let mut daemon = Process::ready(command.env("ALSA_CONFIG_PATH", &configuration));
    // Any library would do.
    let any = std::fs::read_to_string("/proc/self/maps").expect("readable");
    let any = any.lines().filter_map(|line| line.split_ascii_whitespace().nth(5)).find(|path| path.contains("/libm."));
    std::fs::copy(any.expect("every program has it"), &late).expect("copied");
    assert!(!world.guest(&["play", RECORDING]).output().expect("runs").status.success());
    signal(&daemon.0, rustix::process::Signal::TERM);
    assert_eq!(daemon.code(), Some(0));
    let (log, wanted) =
        (daemon.stderr(), "late.so` was not loaded before the sandbox was entered; start the daemon again");
    assert!(log.contains(wanted), "{log}");
}

#[test]
fn a_user_that_there_is_not_is_said_so() {
    let world = World::new();
    let output = world.daemon_command().args(["--user", "nobody-at-all"]).stdin(Stdio::null()).output().expect("runs");
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("cannot become user `nobody-at-all`: there is none"), "{}", stderr(&output));
}

/// A guest plays through the sandboxed daemon to `sink`, and the server hears it.
fn is_heard(server: &Server, sink: &str) {
    is_heard_with(server, sink, &[], &[("PULSE_SERVER", &server.address())]);
}

/// The same, where the daemon has more arguments, and these variables.
fn is_heard_with(server: &Server, sink: &str, arguments: &[&str], variables: &[(&str, &str)]) {
    let world = World::new();
    let mut command = world.daemon_command();
    command.args(["--sandbox", "on", "--sink", sink]).env_remove("PULSE_SERVER");
    let daemon = Process::ready(command.args(arguments).envs(variables.iter().copied()));
    let recording = server.record();
    // On a machine that is too busy to open the device in the time that a guest waits for it, the guest is refused, and
    // its user tries again.
    let mut whole = false;
    recording.await_sound(|| {
        let played = world.guest(&["play", RECORDING]).output().expect("runs");
        whole |= played.status.success();
        eprintln!("{sink}: {}", stderr(&played));
    });
    assert!(whole, "{sink}: it was heard, but no guest played to the end");
    assert_eq!(daemon.terminate(), Some(0));
}

#[test]
fn sound_servers_are_reached_from_within() {
    let pulseaudio = Server::start(Kind::PulseAudio);
    is_heard(&pulseaudio, &pulseaudio.sink());
    let pipewire = Server::start(Kind::PipeWire);
    is_heard(&pipewire, &pipewire.sink());
}

#[cfg(feature = "pipewire")]
#[test]
fn pipewires_own_nodes_are_made_from_within() {
    let server = Server::start(Kind::PipeWire);
    is_heard(&server, &server.node());
}

#[test]
fn alsas_plugins_are_loaded_and_work_from_within() {
    let server = Server::start(Kind::PulseAudio);
    is_heard(&server, "alsa:pulse");
    is_heard(&server, "alsa:plug:pulse");
}

#[test]
fn pipewires_plugin_for_alsa_works_from_within() {
    let server = Server::start(Kind::PipeWire);
    let configuration = tempfile::NamedTempFile::new().expect("made");
    std::fs::write(configuration.path(), server.alsa_configuration()).expect("written");
    // The plugin is not installed, and out of reach otherwise.
    let plugins = crate::common::program("vsnd").with_file_name("../alsa-lib");
    let address = server.address();
    let variables = [("ALSA_CONFIG_PATH", text(configuration.path())), ("PULSE_SERVER", &address)];
    is_heard_with(&server, "alsa:both", &["--writable", text(&plugins)], &variables);
}

#[test]
fn libpulse_without_a_cookie_says_nothing_of_it() {
    let server = Server::start(Kind::PulseAudio);
    let world = World::new();
    let mut command = world.daemon_command();
    command.args(["--sandbox", "on", "--sink", "alsa:pulse"]).env("PULSE_SERVER", server.address());
    let mut daemon =
        Process::ready(command.env_remove("HOME").env_remove("XDG_CONFIG_HOME").env_remove("PULSE_COOKIE"));
    eventually("it plays", || world.guest(&["play", RECORDING]).output().expect("runs").status.success());
    signal(&daemon.0, rustix::process::Signal::TERM);
    assert_eq!(daemon.code(), Some(0));
    let log = daemon.stderr();
    assert!(log.contains("connected with 2 streams") && !log.contains("cookie"), "{log}");
}

#[test]
fn the_server_of_a_session_is_reached_by_alsas_plugin() {
    let server = Server::start(Kind::PulseAudio);
    let session = tempfile::tempdir().expect("made");
    let sockets = session.path().join("pulse");
    std::fs::create_dir(&sockets).expect("made");
    std::os::unix::fs::symlink(server.address().trim_start_matches("unix:"), sockets.join("native")).expect("made");
    is_heard_with(&server, "alsa:pulse", &[], &[("XDG_RUNTIME_DIR", text(session.path()))]);
}

#[test]
fn libpulse_says_nothing_of_directories_that_it_cannot_make() {
    let (home, session) = (tempfile::tempdir().expect("made"), tempfile::tempdir().expect("made"));
    for session in [None, Some(session.path())] {
        let world = World::new();
        let mut command = world.daemon_command();
        command.args(["--sandbox", "on", "--sink", "alsa:null"]).env("HOME", home.path());
        for variable in ["XDG_CONFIG_HOME", "PULSE_SERVER", "PULSE_RUNTIME_PATH", "XDG_RUNTIME_DIR"] {
            command.env_remove(variable);
        }
        let mut daemon = Process::ready(command.envs(session.map(|session| ("XDG_RUNTIME_DIR", session))));
        let played = world.guest(&["play", RECORDING]).output().expect("runs");
        assert!(played.status.success(), "{}", stderr(&played));
        signal(&daemon.0, rustix::process::Signal::TERM);
        assert_eq!(daemon.code(), Some(0));
        let log = daemon.stderr();
        assert!(log.contains("connected with 2 streams") && !log.contains("Failed to"), "{log}");
    }
}
