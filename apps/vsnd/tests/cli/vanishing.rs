//! Processes that vanish: the others say so and recover, or end cleanly; every file keeps a valid header.

use std::process::Command;

use crate::common::{Process, RECORDING, World, eventually, samples, stderr, text, vsnd};
use rustix::process::Signal;

/// A recording of `seconds`, repeated from the real one.
fn long_recording(world: &World, seconds: usize) -> std::path::PathBuf {
    let path = world.path("long.wav");
    let once = samples(RECORDING.as_ref());
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 48_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(&path, spec).expect("created");
    for sample in once.iter().cycle().take(seconds * 48_000) {
        writer.write_sample(*sample).expect("written");
    }
    writer.finalize().expect("finished");
    path
}

fn played(path: &std::path::Path) -> usize {
    hound::WavReader::open(path).map_or(0, |reader| reader.len() as usize)
}

#[test]
fn a_guest_that_is_killed_while_playing_disturbs_nobody() {
    let world = World::new();
    world.attach(2);
    let out = world.path("out-{domain}.wav");
    let daemon = world.daemon(&["--sink", &format!("wav:{}", text(&out))]);
    let long = long_recording(&world, 5);
    let mut victim = Process(world.guest(&["play", text(&long), "--domain", "1"]).spawn().expect("starts"));
    let other = world.guest(&["play", RECORDING, "--domain", "2"]).spawn().expect("starts");
    eventually("the victim plays", || played(&world.path("out-1.wav")) > 24_000);
    victim.kill();
    assert!(other.wait_with_output().expect("ends").status.success());
    let again = world.guest(&["play", RECORDING, "--domain", "1"]).output().expect("runs");
    assert!(again.status.success(), "the card of the killed guest works again: {}", stderr(&again));
    assert_eq!(daemon.terminate(), Some(0));
    assert_eq!(samples(&world.path("out-2.wav")), samples(RECORDING.as_ref()), "the other guest heard nothing of it");
    assert_eq!(samples(&world.path("out-1-2.wav")), samples(RECORDING.as_ref()));
    let heard = samples(&world.path("out-1.wav"));
    assert_eq!(heard, samples(&long)[..heard.len()], "what the killed guest had played is whole");
}

#[test]
fn a_daemon_that_is_killed_while_playing_is_waited_for() {
    let world = World::new();
    let out = world.path("out.wav");
    let sink = format!("wav:{}", text(&out));
    let long = long_recording(&world, 3);
    let mut first = world.daemon(&["--sink", &sink]);
    let guest = world.guest(&["play", text(&long), "--progress", "json"]).spawn().expect("starts");
    eventually("it plays", || played(&out) > 24_000);
    first.kill();
    let before = samples(&out);
    let second = world.daemon(&["--sink", &sink]);
    let output = guest.wait_with_output().expect("ends");
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("\"reconnects\":1"));
    assert_eq!(stderr(&output), "vsnd: the sound daemon went away and came back; going on\n");
    assert_eq!(second.terminate(), Some(0));
    let (all, after) = (samples(&long), samples(&world.path("out-2.wav")));
    assert_eq!(before, all[..before.len()], "the killed daemon's file is valid and whole");
    assert!(all.ends_with(&after), "the second daemon played the rest");
    // A file is 50 ms behind the sound, and more on a machine that stalls; 200 ms are the guest's buffer.
    let lost = all.len().saturating_sub(before.len() + after.len());
    assert!(lost < 9_600, "{lost} frames are in neither file");
}

#[test]
fn a_daemon_that_ends_while_playing_and_stays_away_is_said_so() {
    let world = World::new();
    let out = world.path("out.wav");
    let daemon = world.daemon(&["--sink", &format!("wav:{}", text(&out))]);
    let long = long_recording(&world, 5);
    let mut command = world.guest(&["play", text(&long), "--recovery-seconds", "1", "--progress", "json"]);
    let mut guest = Process(command.spawn().expect("starts"));
    eventually("it plays", || played(&out) > 12_000);
    assert_eq!(daemon.terminate(), Some(0));
    assert_eq!(guest.code(), Some(10));
    let said = guest.stderr();
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn an_emulation_that_is_killed_ends_the_others_cleanly() {
    let mut world = World::new();
    let out = world.path("out.wav");
    let mut daemon = world.daemon(&["--sink", &format!("wav:{}", text(&out))]);
    let long = long_recording(&world, 5);
    let mut guest = Process(world.guest(&["play", text(&long)]).spawn().expect("starts"));
    eventually("it plays", || played(&out) > 24_000);
    world.xen.kill();
    assert_eq!(daemon.code(), Some(10));
    assert_eq!(guest.code(), Some(10));
    assert!(daemon.stderr().contains("went away"));
    assert_eq!(guest.stderr().lines().count(), 1);
    let heard = samples(&out);
    assert_eq!(heard, samples(&long)[..heard.len()]);
    // The directory of a dead emulation can be used again.
    let again =
        Process::ready(Command::new(crate::common::program("vsnd")).arg("emu").arg("--dir").arg(world.path("xen")));
    assert_eq!(again.terminate(), Some(0));
}

#[test]
fn a_recorder_that_is_killed_leaves_a_valid_file() {
    let world = World::new();
    let source = format!("wav:{RECORDING}");
    let _daemon = world.daemon(&["--source", &source, "--allow-capture"]);
    let target = world.path("recorded.wav");
    let mut command = world.guest(&["record", text(&target), "--channels", "1"]);
    let mut guest = Process(command.spawn().expect("starts"));
    eventually("it records", || played(&target) > 12_000);
    guest.kill();
    let heard = samples(&target);
    let all = samples(RECORDING.as_ref());
    let compared = heard.len().min(all.len());
    assert_eq!(heard[..compared], all[..compared]);
}

#[test]
fn ctrl_c_ends_a_recording_well() {
    let world = World::new();
    let _daemon = world.daemon(&["--allow-capture"]);
    let target = world.path("recorded.wav");
    let mut guest = Process(world.guest(&["record", text(&target)]).spawn().expect("starts"));
    eventually("it records", || played(&target) > 4_800);
    crate::common::signal(&guest.0, Signal::INT);
    assert_eq!(guest.code(), Some(0), "{}", guest.stderr());
    assert!(played(&target) > 4_800);
}

#[test]
fn a_card_that_is_detached_while_playing_ends_the_guest() {
    let world = World::new();
    let out = world.path("out.wav");
    let _daemon = world.daemon(&["--sink", &format!("wav:{}", text(&out))]);
    let long = long_recording(&world, 5);
    let mut guest = Process(world.guest(&["play", text(&long), "--recovery-seconds", "1"]).spawn().expect("starts"));
    eventually("it plays", || played(&out) > 12_000);
    let dir = world.path("xen");
    let output = vsnd(&["emu", "--dir", text(&dir), "detach", "--domain", "1"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(guest.code(), Some(10), "{}", guest.stderr());
    let output = vsnd(&["emu", "--dir", text(&dir), "list", "--domain", "1"]);
    assert!(output.stdout.is_empty());
}
