//! Settings made with `vsnd` last over restarts of guests, daemon and machine, until they are forgotten or their time
//! is over.

use std::fs;
use std::process::{Command, Stdio};

use crate::common::{Process, eventually, program, stderr, text};
use crate::controlled::Controlled;
use crate::sandbox::worker_tries;

/// A daemon with state of its own, beside an emulation whose directory may be removed.
fn controlled(config: &str) -> Controlled {
    let mut controlled = Controlled::new(config);
    run(&mut controlled);
    controlled
}

fn run(controlled: &mut Controlled) {
    drop(controlled.daemon.take());
    let mut command = Command::new(program("vsndd"));
    command.args(["--config", text(&controlled.world.path("vsndd.toml")), "--xen", &controlled.world.spec()]);
    command.args(["--state-dir", text(&controlled.world.path("state"))]);
    controlled.daemon = Some(Process::ready(command.stderr(Stdio::piped())));
}

/// Ends the machine, and starts it with guest 1 and the daemon.
fn restart_machine(controlled: &mut Controlled) {
    drop(controlled.daemon.take());
    controlled.world.xen.kill();
    let xen = controlled.world.path("xen");
    fs::remove_dir_all(&xen).expect("removed");
    controlled.world.xen = Process::ready(Command::new(program("vsnd")).arg("emu").arg("--dir").arg(&xen));
    controlled.world.attach(1);
    run(controlled);
}

/// Volume, mute and permission of the streams for playback and capture.
fn state(controlled: &Controlled) -> (f64, bool, bool) {
    let streams = controlled.streams();
    let of = |stream: usize, key: &str| streams[stream][key].clone();
    (of(0, "volume_db").as_f64().unwrap_or(f64::NAN), of(0, "muted") == true, of(1, "permitted") == true)
}

/// A guest that plays and has this name.
fn play_as(controlled: &Controlled, name: &str) -> Process {
    let player = controlled.player();
    controlled.name(1, name);
    eventually("it is known by its name", || controlled.must(&["list"]).contains(&format!("{name}, domain 1")));
    player
}

const CONFIGURED: (f64, bool, bool) = (-2.0, false, false);
const CONFIG: &str = "sink = \"null\"\nvolume-db = -2.0\n";

#[test]
fn what_was_set_outlives_the_guest_the_daemon_and_the_machine_until_it_is_forgotten() {
    let mut controlled = controlled(CONFIG);
    let player = play_as(&controlled, "studio");
    assert_eq!(state(&controlled), CONFIGURED);
    controlled.must(&["volume", "studio", "=-6dB"]);
    controlled.must(&["mute", "studio/0/0/0"]);
    controlled.must(&["allow-capture", "studio"]);
    let set = (-6.0, true, true);
    drop(player);
    eventually("the guest is gone", || controlled.must(&["list"]).contains("0 running"));
    let player = play_as(&controlled, "studio");
    eventually("the guest starts again", || state(&controlled) == set);
    run(&mut controlled);
    eventually("another daemon serves it", || controlled.must(&["list"]).contains("1 running"));
    assert_eq!(state(&controlled), set);
    drop(player);

    restart_machine(&mut controlled);
    let player = controlled.player();
    assert_eq!(state(&controlled), CONFIGURED, "a guest of another name");
    controlled.name(1, "studio");
    eventually("the machine starts again", || state(&controlled) == set);

    let kept = controlled.must(&["forget"]);
    assert_eq!(kept, "studio: volume -6 dB\nstudio/0/0/0: muted\nstudio: capture allowed\n");
    assert_eq!(controlled.must(&["forget", "studio/0"]), "studio/0: 1 setting forgotten\n");
    assert_eq!(state(&controlled), (-6.0, false, true));
    controlled.must(&["forget", "*"]);
    assert_eq!(state(&controlled), CONFIGURED, "what plays follows at once");
    drop(player);
    assert_eq!(controlled.must(&["forget"]), "nothing is kept: the configuration holds\n");
    let nothing = controlled.vsnd(&["forget", "studio"]);
    assert_eq!(nothing.status.code(), Some(5), "{}", stderr(&nothing));
    assert!(stderr(&nothing).contains("nothing is kept of `studio`"), "{}", stderr(&nothing));
}

#[test]
fn a_guest_that_is_muted_before_it_has_a_name_stays_muted_under_it() {
    let mut controlled = controlled(CONFIG);
    controlled.world.attach(2);
    eventually("both are served", || controlled.must(&["list"]).contains("2 guests"));
    controlled.must(&["mute", "1"]);
    // Another domain's death is none of this guest's.
    drop(controlled.player_of("2"));
    eventually("the other one is gone", || controlled.must(&["list"]).contains("0 running"));
    assert_eq!(controlled.must(&["forget"]), "1: muted\n");
    // Named while nothing serves it: what is set later under the name comes on top.
    drop(controlled.daemon.take());
    controlled.name(1, "domain-1");
    run(&mut controlled);
    assert_eq!(controlled.must(&["forget"]), "domain-1: muted\n");
    let _player = controlled.player();
    assert_eq!(state(&controlled), (-2.0, true, false));
}

#[test]
fn a_guest_that_does_not_run_is_forgotten_by_its_name() {
    let mut controlled = controlled(CONFIG);
    controlled.name(1, "studio");
    eventually("it is known by its name", || controlled.must(&["list"]).contains("studio, domain 1"));
    controlled.must(&["mute", "studio"]);
    restart_machine(&mut controlled);
    assert!(controlled.must(&["forget", "--json"]).contains(r#"{"target":"studio","text":"muted","until_ms":null}"#));
    controlled.must(&["forget", "stud*"]);
    assert_eq!(controlled.must(&["forget", "--json"]), "");
}

#[test]
fn capture_that_is_allowed_for_a_time_ends_with_an_event() {
    let mut controlled = controlled(CONFIG);
    let _player = controlled.player();
    controlled.must(&["deny-capture", "1"]);
    assert_eq!(
        controlled.must(&["allow-capture", "1", "--for", "1h"]),
        "1: capture allowed for 1 h (1 connected stream)\n"
    );
    assert!(state(&controlled).2);
    assert!(controlled.must(&["forget"]).contains("1: capture allowed, until 2"));
    controlled.must(&["allow-capture", "1", "--for", "1s"]);
    eventually("its time is over", || !state(&controlled).2);
    let events = controlled.must(&["events", "--kind", "audit"]);
    assert!(events.contains("the time of `capture allowed` is over"), "{events}");
    assert_eq!(controlled.must(&["forget"]), "domain-1: capture denied\n", "what held before");
    // An override's end that comes while no daemon runs.
    controlled.must(&["allow-capture", "1", "--for", "1s"]);
    drop(controlled.daemon.take());
    std::thread::sleep(std::time::Duration::from_millis(1100));
    run(&mut controlled);
    eventually("the guest is back", || controlled.must(&["list"]).contains("1 running"));
    assert!(!state(&controlled).2);
    for wrong in ["soon", "0s", "-1m"] {
        let output = controlled.vsnd(&["allow-capture", "1", &format!("--for={wrong}")]);
        assert_eq!(output.status.code(), Some(2), "{wrong}");
        assert!(stderr(&output).contains("such as 10m"), "{}", stderr(&output));
    }
}

#[test]
fn a_damaged_or_unwritable_state_is_said_and_the_daemon_goes_on() {
    let mut controlled = controlled(CONFIG);
    controlled.must(&["mute", "1"]);
    let file = controlled.world.path("state/overrides.json");
    assert!(fs::read_to_string(&file).expect("kept").contains("muted"));
    drop(controlled.daemon.take());
    fs::write(&file, "{\"guests\": [{").expect("written");
    run(&mut controlled);
    let events = controlled.must(&["events"]);
    assert!(
        events.contains("what was decided before is not known any more") && events.contains("overrides.damaged"),
        "{events}"
    );
    let _player = controlled.player();
    assert_eq!(state(&controlled), CONFIGURED);
    fs::create_dir(controlled.world.path("state/overrides.new")).expect("made");
    let said = controlled.must(&["mute", "1"]);
    assert!(said.contains("muted; it will not outlive the daemon: ") && said.contains("overrides.json"), "{said}");
    assert!(state(&controlled).1, "it holds all the same");
    fs::remove_dir(controlled.world.path("state/overrides.new")).expect("removed");
    assert_eq!(controlled.must(&["unmute", "1"]), "1: unmuted (2 connected streams)\n");
    // A directory that cannot be made.
    drop(controlled.daemon.take());
    let mut command = controlled.world.daemon_command();
    controlled.daemon = Some(Process::ready(command.args(["--state-dir", "/dev/null/state"])));
    assert!(controlled.must(&["mute", "1"]).contains("it will not outlive the daemon: /dev/null/state/overrides.json"));
}

#[test]
fn the_state_is_the_brokers_and_out_of_reach_for_workers() {
    let controlled = controlled(CONFIG);
    drop(controlled.daemon);
    let (state, beside) = (controlled.world.path("state"), controlled.world.path("xen"));
    let sandboxed = || {
        let mut command = controlled.world.daemon_command();
        command.args(["--state-dir", text(&state), "--sandbox", "on"]);
        command
    };
    let write = |directory: &std::path::Path| format!("write:{}", directory.join("probe").display());
    let probes =
        [write(&state), format!("read:{}/overrides.json", state.display()), write(controlled.world.dir.path())];
    fs::write(state.join("overrides.json"), "{\"guests\":[]}").expect("written");
    let mut command = sandboxed();
    for probe in &probes {
        command.args(["--sandbox-probe", probe]);
    }
    let output = command.stdin(Stdio::null()).output().expect("runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let answers: Vec<bool> = said.lines().map(|line| line.ends_with(": done")).collect();
    assert_eq!(answers, [true, true, false], "the broker: {said}{}", stderr(&output));
    let probes: Vec<&str> = probes.iter().map(String::as_str).collect();
    for (probe, answer) in probes.iter().zip(worker_tries(&mut sandboxed(), &probes)) {
        assert!(answer.contains("Permission denied"), "the worker: {probe}: {answer}");
    }
    drop(beside);
}

#[test]
fn streams_are_moved_while_they_play_and_stay_where_they_are_told_to() {
    let mut controlled = controlled(CONFIG);
    let _player = controlled.player();
    let device =
        |controlled: &Controlled, stream: usize| Some(controlled.streams().get(stream)?["device"].as_str()?.to_owned());
    let pattern = format!("wav:{}/moved.wav", controlled.world.dir.path().display());
    let outside = controlled.vsnd(&["move", "1", &pattern]);
    assert_eq!(outside.status.code(), Some(8), "out of the sandbox's reach: {}", stderr(&outside));
    assert!(stderr(&outside).contains("1/0/0/0: not moved to wav:"), "{}", stderr(&outside));
    assert!(outside.stdout.is_empty(), "it says that it is done: {}", String::from_utf8_lossy(&outside.stdout));
    assert_eq!(device(&controlled, 0).as_deref(), Some("null"));
    controlled.configure(&format!("{CONFIG}[[rule]]\ndomain = \"other\"\nsink = \"{pattern}\"\n"));
    run(&mut controlled);
    eventually("the guest is back, and where it was to go", || {
        controlled
            .streams()
            .first()
            .is_some_and(|stream| stream["run"] == "running" && stream["device"] == pattern.as_str())
    });
    assert_eq!(controlled.must(&["move", "1/0/0/0", "null"]), "1/0/0/0: plays to null (1 connected stream)\n");
    assert_eq!(device(&controlled, 0).as_deref(), Some("null"));
    controlled.must(&["move", "1", "alsa:null", "--source"]);
    // ALSA's configuration may name libraries that only another worker can load.
    eventually("it captures from there", || device(&controlled, 1).as_deref() == Some("alsa:null"));
    controlled.must(&["forget", "1"]);
    eventually("both are where they were", || {
        [0, 1].iter().all(|&stream| device(&controlled, stream).as_deref() == Some("null"))
    });
    for (arguments, status, words) in [
        (&["move", "1/0/0/0", "null", "--source"][..], 1, "is for playback"),
        (&["move", "1/0/0/1", "null"], 1, "is for capture: `--source`"),
        (&["move", "1", "als:x"], 2, "is not a host device"),
        (&["move", "nobody", "null"], 5, "no guest `nobody`"),
    ] {
        let output = controlled.vsnd(arguments);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(words), "{arguments:?}: {}", stderr(&output));
    }
}
