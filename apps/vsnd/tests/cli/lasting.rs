//! Settings made with `vsnd` last over restarts of guests, daemon and machine, until they are forgotten or their time
//! is over.

use std::fs;
use std::process::{Command, Stdio};

use crate::common::{Process, eventually, program, stderr, text};
use crate::sandbox::worker_tries;
use crate::steering::Steered;

/// A daemon with state of its own, beside an emulation whose directory may be removed.
fn steered(config: &str) -> Steered {
    let mut steered = Steered::new(config);
    run(&mut steered);
    steered
}

fn run(steered: &mut Steered) {
    drop(steered.daemon.take());
    let mut command = Command::new(program("vsndd"));
    command.args(["--config", text(&steered.world.path("vsndd.toml")), "--xen", &steered.world.spec()]);
    command.args(["--state-dir", text(&steered.world.path("state"))]);
    steered.daemon = Some(Process::ready(command.stderr(Stdio::piped())));
}

/// Ends the machine, and starts it with guest 1 and the daemon.
fn restart_machine(steered: &mut Steered) {
    drop(steered.daemon.take());
    steered.world.xen.kill();
    let xen = steered.world.path("xen");
    fs::remove_dir_all(&xen).expect("removed");
    steered.world.xen = Process::ready(Command::new(program("vsnd")).arg("emu").arg("--dir").arg(&xen));
    steered.world.attach(1);
    run(steered);
}

/// Volume, mute and permission of the streams for playback and capture.
fn state(steered: &Steered) -> (f64, bool, bool) {
    let streams = steered.streams();
    let of = |stream: usize, key: &str| streams[stream][key].clone();
    (of(0, "volume_db").as_f64().unwrap_or(f64::NAN), of(0, "muted") == true, of(1, "permitted") == true)
}

/// A guest that plays and has this name.
fn play_as(steered: &Steered, name: &str) -> Process {
    let player = steered.player();
    steered.name(1, name);
    eventually("it is known by its name", || steered.must(&["list"]).contains(&format!("{name}, domain 1")));
    player
}

const CONFIGURED: (f64, bool, bool) = (-2.0, false, false);
const CONFIG: &str = "sink = \"null\"\nvolume-db = -2.0\n";

#[test]
fn what_was_set_outlives_the_guest_the_daemon_and_the_machine_until_it_is_forgotten() {
    let mut steered = steered(CONFIG);
    let player = play_as(&steered, "studio");
    assert_eq!(state(&steered), CONFIGURED);
    steered.must(&["volume", "studio", "=-6dB"]);
    steered.must(&["mute", "studio/0/0/0"]);
    steered.must(&["allow-capture", "studio"]);
    let set = (-6.0, true, true);
    drop(player);
    eventually("the guest is gone", || steered.must(&["list"]).contains("0 running"));
    let player = play_as(&steered, "studio");
    eventually("the guest starts again", || state(&steered) == set);
    run(&mut steered);
    eventually("another daemon serves it", || steered.must(&["list"]).contains("1 running"));
    assert_eq!(state(&steered), set);
    drop(player);

    restart_machine(&mut steered);
    let player = steered.player();
    assert_eq!(state(&steered), CONFIGURED, "a guest of another name");
    steered.name(1, "studio");
    eventually("the machine starts again", || state(&steered) == set);

    let kept = steered.must(&["forget"]);
    assert_eq!(kept, "studio: volume -6 dB\nstudio/0/0/0: muted\nstudio: capture allowed\n");
    assert_eq!(steered.must(&["forget", "studio/0"]), "studio/0: 1 setting forgotten\n");
    assert_eq!(state(&steered), (-6.0, false, true));
    steered.must(&["forget", "*"]);
    assert_eq!(state(&steered), CONFIGURED, "what plays follows at once");
    drop(player);
    assert_eq!(steered.must(&["forget"]), "nothing is kept: the configuration holds\n");
    let nothing = steered.vsnd(&["forget", "studio"]);
    assert_eq!(nothing.status.code(), Some(5), "{}", stderr(&nothing));
    assert!(stderr(&nothing).contains("nothing is kept of `studio`"), "{}", stderr(&nothing));
}

#[test]
fn a_guest_that_is_muted_before_it_has_a_name_stays_muted_under_it() {
    let mut steered = steered(CONFIG);
    steered.world.attach(2);
    eventually("both are served", || steered.must(&["list"]).contains("2 guests"));
    steered.must(&["mute", "1"]);
    // Another domain's death is none of this guest's.
    drop(steered.player_of("2"));
    eventually("the other one is gone", || steered.must(&["list"]).contains("0 running"));
    assert_eq!(steered.must(&["forget"]), "1: muted\n");
    // Named while nothing serves it: what is set later under the name comes on top.
    drop(steered.daemon.take());
    steered.name(1, "domain-1");
    run(&mut steered);
    assert_eq!(steered.must(&["forget"]), "domain-1: muted\n");
    let _player = steered.player();
    assert_eq!(state(&steered), (-2.0, true, false));
}

#[test]
fn a_guest_that_does_not_run_is_forgotten_by_its_name() {
    let mut steered = steered(CONFIG);
    steered.name(1, "studio");
    eventually("it is known by its name", || steered.must(&["list"]).contains("studio, domain 1"));
    steered.must(&["mute", "studio"]);
    restart_machine(&mut steered);
    assert!(steered.must(&["forget", "--json"]).contains(r#"{"target":"studio","text":"muted","until_ms":null}"#));
    steered.must(&["forget", "stud*"]);
    assert_eq!(steered.must(&["forget", "--json"]), "");
}

#[test]
fn capture_that_is_allowed_for_a_time_ends_with_an_event() {
    let mut steered = steered(CONFIG);
    let _player = steered.player();
    steered.must(&["deny-capture", "1"]);
    assert_eq!(
        steered.must(&["allow-capture", "1", "--for", "1h"]),
        "1: capture allowed for 1 h (1 connected stream)\n"
    );
    assert!(state(&steered).2);
    assert!(steered.must(&["forget"]).contains("1: capture allowed, until 2"));
    steered.must(&["allow-capture", "1", "--for", "1s"]);
    eventually("its time is over", || !state(&steered).2);
    let events = steered.must(&["events", "--kind", "audit"]);
    assert!(events.contains("the time of `capture allowed` is over"), "{events}");
    assert_eq!(steered.must(&["forget"]), "domain-1: capture denied\n", "what held before");
    // An override's end that comes while no daemon runs.
    steered.must(&["allow-capture", "1", "--for", "1s"]);
    drop(steered.daemon.take());
    std::thread::sleep(std::time::Duration::from_millis(1100));
    run(&mut steered);
    eventually("the guest is back", || steered.must(&["list"]).contains("1 running"));
    assert!(!state(&steered).2);
    for wrong in ["soon", "0s", "-1m"] {
        let output = steered.vsnd(&["allow-capture", "1", &format!("--for={wrong}")]);
        assert_eq!(output.status.code(), Some(2), "{wrong}");
        assert!(stderr(&output).contains("such as 10m"), "{}", stderr(&output));
    }
}

#[test]
fn a_damaged_or_unwritable_state_is_said_and_the_daemon_goes_on() {
    let mut steered = steered(CONFIG);
    steered.must(&["mute", "1"]);
    let file = steered.world.path("state/overrides.json");
    assert!(fs::read_to_string(&file).expect("kept").contains("muted"));
    drop(steered.daemon.take());
    fs::write(&file, "{\"guests\": [{").expect("written");
    run(&mut steered);
    let events = steered.must(&["events"]);
    assert!(
        events.contains("what was decided before is not known any more") && events.contains("overrides.damaged"),
        "{events}"
    );
    let _player = steered.player();
    assert_eq!(state(&steered), CONFIGURED);
    fs::create_dir(steered.world.path("state/overrides.new")).expect("made");
    let said = steered.must(&["mute", "1"]);
    assert!(said.contains("muted; it will not outlive the daemon: ") && said.contains("overrides.json"), "{said}");
    assert!(state(&steered).1, "it holds all the same");
    fs::remove_dir(steered.world.path("state/overrides.new")).expect("removed");
    assert_eq!(steered.must(&["unmute", "1"]), "1: unmuted (2 connected streams)\n");
    // A directory that cannot be made.
    drop(steered.daemon.take());
    let mut command = steered.world.daemon_command();
    steered.daemon = Some(Process::ready(command.args(["--state-dir", "/dev/null/state"])));
    assert!(steered.must(&["mute", "1"]).contains("it will not outlive the daemon: /dev/null/state/overrides.json"));
}

#[test]
fn the_state_is_the_brokers_and_out_of_reach_for_workers() {
    let steered = steered(CONFIG);
    drop(steered.daemon);
    let (state, beside) = (steered.world.path("state"), steered.world.path("xen"));
    let sandboxed = || {
        let mut command = steered.world.daemon_command();
        command.args(["--state-dir", text(&state), "--sandbox", "on"]);
        command
    };
    let write = |directory: &std::path::Path| format!("write:{}", directory.join("probe").display());
    let probes = [write(&state), format!("read:{}/overrides.json", state.display()), write(steered.world.dir.path())];
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
    let mut steered = steered(CONFIG);
    let _player = steered.player();
    let device = |steered: &Steered, stream: usize| Some(steered.streams().get(stream)?["device"].as_str()?.to_owned());
    let pattern = format!("wav:{}/moved.wav", steered.world.dir.path().display());
    let outside = steered.vsnd(&["move", "1", &pattern]);
    assert_eq!(outside.status.code(), Some(8), "out of the sandbox's reach: {}", stderr(&outside));
    assert!(stderr(&outside).contains("1/0/0/0: not moved to wav:"), "{}", stderr(&outside));
    assert!(outside.stdout.is_empty(), "it says that it is done: {}", String::from_utf8_lossy(&outside.stdout));
    assert_eq!(device(&steered, 0).as_deref(), Some("null"));
    steered.configure(&format!("{CONFIG}[[rule]]\ndomain = \"other\"\nsink = \"{pattern}\"\n"));
    run(&mut steered);
    eventually("the guest is back, and where it was to go", || {
        steered
            .streams()
            .first()
            .is_some_and(|stream| stream["run"] == "running" && stream["device"] == pattern.as_str())
    });
    assert_eq!(steered.must(&["move", "1/0/0/0", "null"]), "1/0/0/0: plays to null (1 connected stream)\n");
    assert_eq!(device(&steered, 0).as_deref(), Some("null"));
    steered.must(&["move", "1", "alsa:null", "--source"]);
    // ALSA's configuration may name libraries that only another worker can load.
    eventually("it captures from there", || device(&steered, 1).as_deref() == Some("alsa:null"));
    steered.must(&["forget", "1"]);
    eventually("both are where they were", || {
        [0, 1].iter().all(|&stream| device(&steered, stream).as_deref() == Some("null"))
    });
    for (arguments, status, words) in [
        (&["move", "1/0/0/0", "null", "--source"][..], 1, "is for playback"),
        (&["move", "1/0/0/1", "null"], 1, "is for capture: `--source`"),
        (&["move", "1", "als:x"], 2, "is not a host device"),
        (&["move", "nobody", "null"], 5, "no guest `nobody`"),
    ] {
        let output = steered.vsnd(arguments);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(words), "{arguments:?}: {}", stderr(&output));
    }
}
