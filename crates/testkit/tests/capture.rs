//! Tests that a guest records the sound of the host's source, byte for byte.

use std::path::Path;

use host_audio::wav::Writer;
use sndif::Format;
use testkit::World;
use testkit::linux::{LinuxFrontend, Wish};
use testkit::signal::{assert_same, noise};
use xen::DomainId;

const GUEST: DomainId = DomainId(1);

fn write_source(path: &Path, sound: &[u8]) {
    let mut writer = Writer::create(path, Format::S16Le, Wish::UNHURRIED.rate_hz, 2).unwrap();
    writer.write(sound).unwrap();
    writer.finish();
}

fn world(sound: &[u8]) -> (World, xen::Xen, LinuxFrontend) {
    let mut world = World::with_config(|dir| {
        let source = dir.join("source.wav");
        write_source(&source, sound);
        format!("capture = true\nsource = \"wav:{}\"\n", source.display())
    });
    world.attach_duplex(GUEST);
    let xen = world.enter(GUEST);
    let frontend = LinuxFrontend::probe(&xen);
    frontend.wait_card();
    (world, xen, frontend)
}

#[test]
fn a_recording_is_the_source_byte_for_byte() {
    let sound = noise(1, 18_000 * 4);
    let (_world, _xen, frontend) = world(&sound);
    for _ in 0..2 {
        let mut pcm = frontend.open_capture(0, 0).unwrap();
        pcm.hw_params(&Wish::UNHURRIED).unwrap();
        // More than a buffer, and the silence after the file's end.
        let recorded = pcm.arecord(20_000).unwrap();
        assert_same(&recorded[..sound.len()], &sound);
        assert!(recorded[sound.len()..].iter().all(|&byte| byte == 0));
        assert_eq!(pcm.xruns(), 0);
        let observed = pcm.observed();
        assert_eq!((observed.ignored_events, observed.leaked_bytes, observed.wider_answers), (0, 0, 0));
    }
}

#[test]
fn buffers_that_are_no_multiple_of_anything_work_both_ways() {
    let sound = noise(2, 12_000 * 4);
    let (world, _xen, frontend) = world(&sound);
    let odd = Wish { period_frames: 1777, buffer_frames: 9001, ..Wish::UNHURRIED };
    let mut capture = frontend.open_capture(0, 0).unwrap();
    capture.hw_params(&odd).unwrap();
    assert_same(&capture.arecord(11_999).unwrap(), &sound[..11_999 * 4]);
    drop(capture);
    let mut playback = frontend.open_playback(0, 0).unwrap();
    playback.hw_params(&odd).unwrap();
    playback.aplay(&sound).unwrap();
    drop(playback);
    world.assert_played("1-0-0-0", 1, &sound);
}

#[test]
fn playback_and_capture_of_one_card_run_at_the_same_time() {
    let sound = noise(3, 12_000 * 4);
    let (world, _xen, frontend) = world(&sound);
    std::thread::scope(|scope| {
        let recorder = scope.spawn(|| {
            let mut pcm = frontend.open_capture(0, 0).unwrap();
            pcm.hw_params(&Wish::UNHURRIED).unwrap();
            pcm.arecord(12_000).unwrap()
        });
        let mut pcm = frontend.open_playback(0, 0).unwrap();
        pcm.hw_params(&Wish::UNHURRIED).unwrap();
        pcm.aplay(&sound).unwrap();
        assert_same(&recorder.join().unwrap(), &sound);
    });
    world.assert_played("1-0-0-0", 1, &sound);
}
