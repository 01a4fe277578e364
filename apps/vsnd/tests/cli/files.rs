//! Files that people have: those that are played as they are, and those that are converted.
//!
//! `sounds/` was made of sines of 440 Hz with `flac`, `oggenc` and `lame`: `tone` is 0.25 s, 44.1 kHz, two channels of
//! a half and a quarter of full scale; `six` is 0.05 s, 48 kHz, 24 bits, channels from 0.1 to 0.6 of full scale in the
//! order of a WAV file of 5.1.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::common::{Process, RECORDING, World, eventually, program, signal, stderr, text};

/// A card with the usual rates and formats, and up to eight channels.
const WIDE_CARD: &str = "vsnd=[['CARD, short-name=wide, sample-formats=s16_le;s24_le;s32_le;float_le, \
    sample-rates=44100;48000;96000, channels-max=8', 'PCM, name=wide', 'STREAM, unique-id=w, type=p']]";

fn sound(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/sounds").join(name)
}

struct Heard {
    rate_hz: u32,
    frames: usize,
    /// Loudness of each channel: that of a sine with this part of full scale.
    levels: Vec<f64>,
}

fn heard(path: &Path) -> Heard {
    let mut file = hound::WavReader::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let hound::WavSpec { channels, sample_rate, bits_per_sample, sample_format } = file.spec();
    let samples: Vec<f64> = match sample_format {
        hound::SampleFormat::Float => file.samples::<f32>().map(|sample| f64::from(sample.unwrap())).collect(),
        hound::SampleFormat::Int => {
            let full_scale = f64::from(1_u32 << (bits_per_sample - 1));
            file.samples::<i32>().map(|sample| f64::from(sample.unwrap()) / full_scale).collect()
        }
    };
    let channels = usize::from(channels);
    let frames = samples.len() / channels;
    let level = |channel| {
        let squares: f64 = samples.iter().skip(channel).step_by(channels).map(|sample| sample * sample).sum();
        (2.0 * squares / frames as f64).sqrt()
    };
    Heard { rate_hz: sample_rate, frames, levels: (0..channels).map(level).collect() }
}

fn near(levels: &[f64], right: &[f64]) -> bool {
    levels.len() == right.len() && levels.iter().zip(right).all(|(level, right)| (level - right).abs() < 0.02)
}

/// A world whose daemon writes what it hears into `heard.wav`, and that file's path.
fn world() -> (World, Process, PathBuf) {
    let world = World::new();
    world.attach_card(2, WIDE_CARD);
    let path = world.path("heard.wav");
    let daemon = world.daemon(&["--sink", &format!("wav:{}", path.display()), "--allow-capture"]);
    (world, daemon, path)
}

/// Plays `bytes` through a pipe.
fn piped(world: &World, bytes: &[u8], arguments: &[&str]) -> Output {
    let mut command = world.guest(&["play", "-"]);
    let mut player = command.args(arguments).stdin(Stdio::piped()).spawn().expect("starts");
    player.stdin.take().expect("piped").write_all(bytes).expect("taken");
    player.wait_with_output().expect("ends")
}

fn fine(output: &Output) -> String {
    let said = stderr(output);
    assert!(output.status.success(), "{said}");
    said
}

#[test]
fn flac_ogg_and_mp3_are_played_whole() {
    // `lame` made the tone 5 % softer.
    for (name, level) in [("tone.ogg", 0.5), ("tone.mp3", 0.475), ("six.flac", 0.1)] {
        let (world, daemon, path) = world();
        let said = fine(&world.guest(&["play", text(&sound(name)), "--domain", "2"]).output().expect("runs"));
        assert_eq!(said, "", "{name}");
        assert_eq!(daemon.terminate(), Some(0));
        let heard = heard(&path);
        if name == "six.flac" {
            assert_eq!((heard.rate_hz, heard.frames), (48_000, 2_400));
            assert!(
                near(&heard.levels, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0].map(|times| times * level)),
                "{:?}",
                heard.levels
            );
        } else {
            assert_eq!((heard.rate_hz, heard.frames), (44_100, 11_025), "{name}");
            assert!(near(&heard.levels, &[level, level / 2.0]), "{name}: {:?}", heard.levels);
        }
    }
}

#[test]
fn a_volume_with_its_unit_is_heard() {
    for volume in [&["--volume=-6dB"][..], &["--volume", "-6"]] {
        let (world, daemon, path) = world();
        let tone = sound("tone.ogg");
        let arguments = [&["play", text(&tone), "--domain", "2"][..], volume].concat();
        assert_eq!(fine(&world.guest(&arguments).output().expect("runs")), "", "{volume:?}");
        assert_eq!(daemon.terminate(), Some(0));
        let levels = heard(&path).levels;
        assert!(near(&levels, &[0.25, 0.125]), "{volume:?}: {levels:?}");
    }
}

#[test]
fn each_channel_of_ogg_vorbis_is_at_its_own_speaker() {
    // The encoder leaves only the low frequencies of an LFE channel, and six.ogg has a tone of 400 Hz there.
    let six = [0.1, 0.2, 0.3, 0.07, 0.5, 0.6];
    let eight = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8];
    for (name, frames, levels) in [("six.ogg", 2_400, &six[..]), ("eight.ogg", 4_800, &eight)] {
        let (world, daemon, path) = world();
        let said = fine(&world.guest(&["play", text(&sound(name)), "--domain", "2"]).output().expect("runs"));
        assert_eq!(said, "", "{name}");
        assert_eq!(daemon.terminate(), Some(0));
        let heard = heard(&path);
        assert_eq!((heard.rate_hz, heard.frames), (48_000, frames), "{name}");
        assert!(near(&heard.levels, levels), "{name}: {:?}", heard.levels);
    }
}

#[test]
fn standard_input_is_played_as_a_file_is() {
    let recording = std::fs::read(RECORDING).expect("alsa-utils is installed");
    // The sizes as a program leaves them that writes into a pipe.
    let mut unfinished = recording.clone();
    unfinished[4..8].fill(0xff);
    unfinished[40..44].fill(0xff);
    for bytes in [&recording, &unfinished] {
        let (world, daemon, path) = world();
        assert_eq!(fine(&piped(&world, bytes, &[])), "");
        assert_eq!(daemon.terminate(), Some(0));
        assert!(std::fs::read(&path).expect("written")[80..] == recording[44..]);
    }
    let (world, _daemon, _path) = world();
    fine(&piped(&world, &std::fs::read(sound("tone.mp3")).expect("there"), &["--domain", "2"]));
    let nothing = piped(&world, b"", &[]);
    assert!(stderr(&nothing).contains("`standard input`: it is empty"), "{}", stderr(&nothing));
}

#[test]
fn a_pipe_that_nothing_comes_through_does_not_keep_the_player_from_ending() {
    let (world, _daemon, _path) = world();
    let mut player = world.guest(&["play", "-"]).stdin(Stdio::piped()).spawn().expect("starts");
    let mut pipe = player.stdin.take().expect("piped");
    let recording = std::fs::read(RECORDING).expect("alsa-utils is installed");
    pipe.write_all(&recording[..20_000]).expect("taken");
    eventually("it does not play", || world.path("heard.wav").exists());
    let mut player = Process(player);
    signal(&player.0, rustix::process::Signal::INT);
    assert!(player.code().is_some());
}

#[test]
fn a_recording_goes_through_a_pipe_and_is_played_from_it() {
    let world = World::new();
    world.attach(2);
    let source = format!("wav:{RECORDING}");
    let path = world.path("heard.wav");
    let sink = format!("wav:{}", path.display());
    let daemon = world.daemon(&["--sink", &sink, "--source", &source, "--allow-capture"]);
    let mut recorder = world.guest(&["record", "-", "--frames", "20000", "--channels", "1"]).spawn().expect("starts");
    let output = world
        .guest(&["play", "-", "--domain", "2"])
        .stdin(recorder.stdout.take().expect("piped"))
        .output()
        .expect("runs");
    assert_eq!(fine(&output), "");
    assert!(recorder.wait().expect("ends").success());
    assert_eq!(daemon.terminate(), Some(0));
    let recording = std::fs::read(RECORDING).expect("alsa-utils is installed");
    assert!(std::fs::read(&path).expect("written")[80..] == recording[44..40_044]);
}

#[test]
fn a_reader_that_wants_no_more_ends_the_recording() {
    let (world, _daemon, _path) = world();
    let mut recorder = world.guest(&["record", "-"]).spawn().expect("starts");
    drop(recorder.stdout.take());
    assert_eq!(Process(recorder).code(), Some(0));
    let both = world.guest(&["record", "-", "--progress", "json"]).output().expect("runs");
    assert_eq!((both.status.code(), both.stdout.len()), (Some(2), 0));
}

#[test]
fn a_file_that_the_card_does_not_take_is_converted_and_one_line_says_how() {
    let (world, daemon, path) = world();
    let six = sound("six.flac");
    let arguments = ["play", text(&six)];
    let said = fine(&world.guest(&arguments).output().expect("runs"));
    assert_eq!(
        said,
        "vsnd: the card does not take s24_le 48000 Hz 6 channels; the file is converted to s24_le 48000 Hz 2 channels\n"
    );
    assert_eq!(daemon.terminate(), Some(0));
    let heard = heard(&path);
    assert_eq!((heard.rate_hz, heard.frames, heard.levels.len()), (48_000, 2_400, 2));
    assert!(heard.levels[1] > heard.levels[0] && heard.levels[0] > 0.2, "{:?}", heard.levels);
}

#[test]
fn what_only_the_host_refuses_is_converted_too() {
    let world = World::new();
    world.attach_card(2, &WIDE_CARD.replace("96000", "96000;192000"));
    let config = world.path("vsndd.toml");
    let path = world.path("heard.wav");
    std::fs::write(&config, format!("sink = \"wav:{}\"\n\n[limits]\nchannels-max = 4\n", path.display()))
        .expect("written");
    let daemon =
        Process::ready(Command::new(program("vsndd")).args(["--config", text(&config), "--xen", &world.spec()]));
    let six = sound("six.flac");
    let arguments = ["play", text(&six), "--domain", "2"];
    let said = fine(&world.guest(&arguments).output().expect("runs"));
    assert!(said.contains("converted to s24_le 48000 Hz 4 channels"), "{said}");
    assert_eq!(daemon.terminate(), Some(0));
}

#[test]
fn exact_refuses_instead_of_converting() {
    let (world, _daemon, path) = world();
    let tone = sound("six.flac");
    let output = world.guest(&["play", text(&tone), "--exact"]).output().expect("runs");
    assert_eq!(output.status.code(), Some(9));
    assert!(stderr(&output).contains("6 channels are not possible; possible: 1 to 2"), "{}", stderr(&output));
    assert!(!path.exists());
    fine(&world.guest(&["play", text(&tone), "--exact", "--domain", "2"]).output().expect("runs"));
    let both = world.guest(&["play", text(&tone), "--exact", "--format", "s16_le"]).output().expect("runs");
    assert_eq!(both.status.code(), Some(2));
}

#[test]
fn a_rate_is_converted_to_the_next_higher_one_and_the_sound_lasts_as_long() {
    let (world, daemon, path) = world();
    let slow = world.path("slow.wav");
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 32_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut file = hound::WavWriter::create(&slow, spec).expect("created");
    for at in 0..16_000_u32 {
        file.write_sample((16_384.0 * (f64::from(at) / 32_000.0 * 440.0 * std::f64::consts::TAU).sin()) as i16)
            .expect("written");
    }
    file.finalize().expect("written");
    let said = fine(&world.guest(&["play", text(&slow), "--domain", "2"]).output().expect("runs"));
    assert!(said.contains("converted to s16_le 44100 Hz 1 channel"), "{said}");
    assert_eq!(daemon.terminate(), Some(0));
    let heard = heard(&path);
    assert_eq!((heard.rate_hz, heard.frames), (44_100, 22_050));
    assert!(near(&heard.levels, &[0.5]), "{:?}", heard.levels);
}

#[test]
fn what_is_not_read_is_named() {
    let (world, _daemon, _path) = world();
    for (file, needle) in [
        (Path::new("/etc/passwd").to_owned(), "it is neither WAV nor FLAC, Ogg Vorbis or MP3"),
        (PathBuf::from("/"), "Is a directory"),
    ] {
        let output = world.guest(&["play", text(&file)]).output().expect("runs");
        assert_eq!(output.status.code(), Some(7));
        assert!(stderr(&output).contains(needle), "{}", stderr(&output));
    }
}

#[test]
fn a_file_that_is_damaged_in_the_middle_is_played_up_to_there() {
    let (world, daemon, path) = world();
    let damaged = world.path("damaged.flac");
    let mut bytes = std::fs::read(sound("six.flac")).expect("there");
    bytes.truncate(bytes.len() * 3 / 4);
    std::fs::write(&damaged, &bytes).expect("written");
    fine(&world.guest(&["play", text(&damaged), "--domain", "2"]).output().expect("runs"));
    assert_eq!(daemon.terminate(), Some(0));
    let frames = heard(&path).frames;
    assert!((576..2_400).contains(&frames), "{frames}");
}

#[test]
fn a_file_that_promises_more_than_there_can_be_is_played_to_its_end() {
    let (world, daemon, path) = world();
    let recording = std::fs::read(RECORDING).expect("alsa-utils is installed");
    let mut long = b"RF64\xff\xff\xff\xffWAVEds64\x1c\0\0\0".to_vec();
    long.extend([&[0xff; 16][..], &[0; 12], &recording[12..40], &[0xff; 4], &recording[44..20_044]].concat());
    let file = world.path("long.wav");
    std::fs::write(&file, long).expect("written");
    let said = fine(&world.guest(&["play", text(&file)]).output().expect("runs"));
    assert!(said.contains("ends early") && said.lines().count() == 1, "{said}");
    assert_eq!(daemon.terminate(), Some(0));
    assert!(std::fs::read(&path).expect("written")[80..] == recording[44..20_044]);
}
