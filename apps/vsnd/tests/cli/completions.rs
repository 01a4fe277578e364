//! The script of `vsnd completions`, in a real bash: live guests, streams and devices are offered.

use std::process::{Command, Stdio};

use sound_servers::{Kind, Server};

use crate::common::{World, eventually, program, stderr, text, vsnd};

/// Calls the function that bash would call, with the words as bash cuts them; the last one is being typed.
const TYPED: &str = r#"source "$0"; COMP_WORDBREAKS=${BREAKS-$COMP_WORDBREAKS}; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_vsnd vsnd "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"; printf '%s\n' "${COMPREPLY[@]}""#;

fn offered(world: &World, environment: &[(&str, &str)], words: &[&str]) -> Vec<String> {
    let script = world.path("completions");
    let written = vsnd(&["completions", "bash"]);
    assert!(written.status.success(), "{}", stderr(&written));
    std::fs::write(&script, written.stdout).expect("written");
    let program = program("vsnd");
    let path = format!("{}:/usr/bin:/bin", text(program.parent().expect("a directory")));
    let output = Command::new("bash")
        .args(["--norc", "-c", TYPED, text(&script), "vsnd"])
        .args(words)
        .env("PATH", path)
        .env("VSND_XEN", world.spec())
        // A user whom no sound server has given a cookie yet.
        .env("HOME", world.path(""))
        .env_remove("XDG_CONFIG_HOME")
        .env_remove("VSND_SOCKET")
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("bash runs");
    assert_eq!(stderr(&output), "");
    String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect()
}

#[test]
fn completions_offer_live_guests_streams_formats_and_kinds() {
    let world = World::new();
    let offered = |words: &[&str]| offered(&world, &[], words);
    assert_eq!(offered(&["mute", "dom"]), [""], "without a daemon");
    world.attach(3);
    let _daemon = world.daemon(&["--sink", "null"]);
    let _guest = world.enter(3);
    eventually("the guest is a target", || offered(&["mute", ""]).iter().any(|word| word.starts_with("domain-3")));
    assert_eq!(offered(&["mu"]), ["mute"]);
    assert!(offered(&["record", "--format", "s24"]).contains(&"s24_le".to_owned()));
    assert_eq!(offered(&["events", "--kind", "xr"]), ["xrun"]);
}

#[test]
fn completions_offer_devices_and_heed_their_colons() {
    let server = Server::start(Kind::PulseAudio);
    let world = World::new();
    let offered = |words: &[&str]| offered(&world, &[("PULSE_SERVER", &server.address())], words);
    let all = offered(&["move", "studio", ""]);
    assert!(["null", "wav:", "pulse:out"].iter().all(|device| all.contains(&(*device).to_owned())), "{all:?}");
    assert_eq!(offered(&["move", "studio", "nu"]), ["null"]);
    // Bash cuts `pulse:o` into three words, and replaces the last.
    assert_eq!(offered(&["move", "studio", "pulse", ":", "o"]), ["out", "out.monitor"]);
    assert!(offered(&["move", "studio", "pulse", ":"]).contains(&"out".to_owned()));
    let whole = [("PULSE_SERVER", server.address()), ("BREAKS", " =".to_owned())];
    let whole = whole.each_ref().map(|(variable, value)| (*variable, value.as_str()));
    let words = self::offered(&world, &whole, &["move", "studio", "pulse:o"]);
    assert_eq!(words, ["pulse:out", "pulse:out.monitor"]);
}
