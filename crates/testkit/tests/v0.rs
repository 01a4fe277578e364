//! Tests of guests with the driver of 2015 against the daemon.

use std::time::{Duration, Instant};

use control::Request;
use sndif::v0::{Level, OpenParams, Stereo};
use sndif::{Format, Protocol, XenbusState};
use testkit::signal::{assert_same, noise};
use testkit::v0::{Failed, Guest2015};
use testkit::{Bystander, PATIENCE, World, eventually, wait_for};
use xen::DomainId;

const GUEST: DomainId = DomainId(1);
const PLAYBACK: &str = "[['CARD', 'PCM', 'STREAM, type=p']]";
const DUPLEX: &str = "[['CARD', 'PCM', 'STREAM, type=p', 'STREAM, type=c']]";
const STEREO: OpenParams = OpenParams { format: Format::S16Le, channels: 2, rate_hz: 48_000 };
const PERIOD: usize = 4096;

fn world(cards: &str) -> World {
    let mut world = World::new();
    world.attach_as(GUEST, cards, Protocol::V0);
    world
}

/// Attaches a device like a toolstack of 2015, with only the nodes that every device has. The daemon is stopped
/// meanwhile, since it might add its own nodes.
fn bare(world: &mut World) {
    world.stop_daemon();
    world.attach_as(GUEST, PLAYBACK, Protocol::V0);
    for node in ["stream_id", "type"] {
        world.store().rm(&format!("/local/domain/0/backend/vsnd/1/0/{node}")).unwrap();
    }
    world.start_daemon();
}

#[test]
fn a_guest_of_2015_plays_bit_identically_and_in_real_time() {
    let mut world = world(PLAYBACK);
    let mut guest = Guest2015::probe(&mut world, GUEST, 0);
    let sound = noise(1, 48_000 * 4);
    let start = Instant::now();
    guest.play(STEREO, &sound, PERIOD).unwrap();
    // All but the lead was heard by now; the guest's time-out bounds the delay.
    assert!(start.elapsed() >= Duration::from_millis(850), "{:?} for a second", start.elapsed());
    guest.close().unwrap();
    assert!(start.elapsed() >= Duration::from_millis(990), "{:?} with its end", start.elapsed());
    world.assert_played("1-0-0-0", 1, &sound);
}

#[test]
fn one_ring_serves_many_sounds_of_different_formats() {
    let mut world = world(PLAYBACK);
    let mut guest = Guest2015::probe(&mut world, GUEST, 0);
    for (number, params) in [
        STEREO,
        OpenParams { format: Format::U8, channels: 1, rate_hz: 8000 },
        OpenParams { rate_hz: 44_100, ..STEREO },
    ]
    .into_iter()
    .enumerate()
    {
        // The driver closes the stream only because the parameters changed.
        let sound = noise(number as u64, 8192);
        guest.play(params, &sound, 2048).unwrap();
        if number == 2 {
            guest.close().unwrap();
        }
    }
    for number in 0..3 {
        let mut got = world.played("1-0-0-0", number + 1, 8192);
        got.truncate(8192);
        assert_same(&got, &noise(number as u64, 8192));
    }
}

#[test]
fn more_than_ten_pages_are_the_drivers_own_refusal_and_ten_are_played() {
    let mut world = world(PLAYBACK);
    let mut guest = Guest2015::probe(&mut world, GUEST, 0);
    guest.prepare(STEREO).unwrap();
    assert_eq!(guest.write(&noise(1, 40_964)), Err(Failed::TooLong));
    let sound = noise(2, 40_960);
    guest.write(&sound).unwrap();
    guest.close().unwrap();
    world.assert_played("1-0-0-0", 1, &sound);
}

#[test]
fn capture_really_reads() {
    let source = noise(3, 96_000);
    let mut world = World::with_config(|dir| {
        let path = dir.join("source.wav");
        let mut writer = host_audio::wav::Writer::create(&path, Format::S16Le, 48_000, 2).unwrap();
        writer.write(&source).unwrap();
        writer.finish();
        format!("source = \"wav:{}\"\ncapture = true\n", path.display())
    });
    world.attach_as(GUEST, DUPLEX, Protocol::V0);
    let mut guest = Guest2015::probe(&mut world, GUEST, 1);
    guest.prepare(STEREO).unwrap();
    let mut heard = vec![0; source.len()];
    for period in heard.chunks_mut(PERIOD) {
        guest.read(period).unwrap();
    }
    guest.close().unwrap();
    assert_same(&heard, &source);
}

#[test]
fn the_host_denies_capture_and_allows_it_again_while_a_guest_records() {
    let mut world = World::with_config(|dir| {
        let path = dir.join("source.wav");
        let mut writer = host_audio::wav::Writer::create(&path, Format::S16Le, 48_000, 2).unwrap();
        // Two minutes, so that the source does not end on a busy machine.
        writer.write(&noise(3, 120 * 48_000 * 4)).unwrap();
        writer.finish();
        format!("source = \"wav:{}\"\ncapture = true\nwhen-denied = \"silence\"\n", path.display())
    });
    world.attach_as(GUEST, DUPLEX, Protocol::V0);
    let mut guest = Guest2015::probe(&mut world, GUEST, 1);
    guest.prepare(STEREO).unwrap();
    let mut period = vec![0; PERIOD];
    for allow in [true, false, true, false] {
        world.ask(&Request::Capture { target: "1/1".parse().unwrap(), allow, for_s: None }).unwrap();
        // Frames captured before the override may still be in the queue.
        wait_for("the override", || {
            guest.read(&mut period).unwrap();
            (period.contains(&0) != allow).then_some(())
        });
    }
    guest.close().unwrap();
}

#[test]
fn capture_needs_the_hosts_permission() {
    let mut world = World::with_config(|_| "capture = false\n".to_owned());
    world.attach_as(GUEST, DUPLEX, Protocol::V0);
    let mut guest = Guest2015::probe(&mut world, GUEST, 1);
    assert_eq!(guest.prepare(STEREO), Err(Failed::Refused));
    assert!(world.log().contains("not allowed by the host's configuration"));
}

#[test]
fn volume_reaches_the_samples_of_each_side() {
    let mut world = world(PLAYBACK);
    let mut guest = Guest2015::probe(&mut world, GUEST, 0);
    assert_eq!(guest.volume(), Ok(Stereo::FULL));
    // −6 dB is nearly a half; the other side is switched off.
    let volume = Stereo { left: Level::new(80), right: Level::OFF };
    guest.set_volume(volume).unwrap();
    assert_eq!(guest.volume(), Ok(volume));
    let sound: Vec<u8> = std::iter::repeat_n(10_000_i16.to_le_bytes(), 2 * 2048).flatten().collect();
    guest.play(STEREO, &sound, PERIOD).unwrap();
    guest.close().unwrap();
    let heard = world.played("1-0-0-0", 1, sound.len());
    let (samples, _) = heard.as_chunks::<2>();
    let side = |offset| samples.iter().skip(offset).step_by(2).map(|sample| i16::from_le_bytes(*sample));
    // A new volume is reached gradually, in a few milliseconds at most.
    assert!(side(0).skip(1024).all(|sample| (5000..5025).contains(&sample)), "{:?}", side(0).next_back());
    assert!(side(1).skip(1024).all(|sample| sample == 0));
}

#[test]
fn guests_of_both_protocols_play_at_the_same_time() {
    let mut world = world(PLAYBACK);
    let bystander = Bystander::start(&mut world);
    let mut guest = Guest2015::probe(&mut world, GUEST, 0);
    let sound = noise(9, 96_000);
    guest.play(STEREO, &sound, PERIOD).unwrap();
    guest.close().unwrap();
    world.assert_played("1-0-0-0", 1, &sound);
    bystander.assert_undisturbed(&world);
}

#[test]
fn the_protocol_is_recognised_by_the_nodes() {
    let mut world = World::new();
    bare(&mut world);
    assert!(eventually(PATIENCE, || world.log().contains("left alone")), "{}", world.log());
    // The driver is loaded: a ring node exists at a path where version 2 has none, and the backend names the stream.
    let mut guest = Guest2015::probe(&mut world, GUEST, 0);
    let versions = world.store().read_opt("/local/domain/0/backend/vsnd/1/0/versions").unwrap();
    assert_eq!(versions, None, "a frontend that speaks both must see that this is version 0");
    let sound = noise(4, 8192);
    guest.play(STEREO, &sound, PERIOD).unwrap();
    guest.close().unwrap();
    world.assert_played("1-0-0-0", 1, &sound);
}

#[test]
fn a_device_that_nobody_described_goes_either_way() {
    let mut world = World::new();
    bare(&mut world);
    let mut guest = Guest2015::probe(&mut world, GUEST, 0);
    guest.play(STEREO, &noise(4, 8192), PERIOD).unwrap();
    assert_eq!(guest.read(&mut [0; 400]), Err(Failed::Refused), "a stream that plays does not capture");
    guest.close().unwrap();
    guest.prepare(STEREO).unwrap();
    guest.read(&mut [0; 400]).unwrap();
}

#[test]
fn the_protocol_can_be_forced_by_the_configuration() {
    let mut world = World::with_config(|_| {
        "[[rule]]\ndomain = 1\nprotocol = \"v0\"\n[[rule]]\ndomain = 2\nprotocol = \"v2\"\n".into()
    });
    bare(&mut world);
    world.wait_backend(GUEST, 0, XenbusState::InitWait);
    assert!(world.log().contains("found, protocol v0"), "{}", world.log());
    world.attach_as(DomainId(2), PLAYBACK, Protocol::V0);
    world.wait_backend(DomainId(2), 0, XenbusState::InitWait);
    let there = |world: &mut World, node: &str| {
        world.store().read_opt(&format!("/local/domain/0/backend/vsnd/2/0/{node}")).unwrap().is_some()
    };
    assert!(there(&mut world, "versions") && !there(&mut world, "stream_id"));
}

#[test]
fn a_daemon_that_restarts_takes_over_a_driver_that_knows_no_way_back() {
    let mut world = world(PLAYBACK);
    let mut guest = Guest2015::probe(&mut world, GUEST, 0);
    // More requests than the ring has slots: the next daemon has to know where the last one stopped.
    guest.play(STEREO, &noise(5, 40 * PERIOD), PERIOD).unwrap();
    world.stop_daemon();
    world.start_daemon();
    world.wait_backend(GUEST, 0, XenbusState::Connected);
    // The application gets an error, and opens its stream again; the driver learns nothing of the restart.
    assert_eq!(guest.write(&[0; 400]), Err(Failed::Refused));
    guest.close().unwrap();
    let sound = noise(6, 16_384);
    guest.play(STEREO, &sound, PERIOD).unwrap();
    guest.close().unwrap();
    world.assert_played("1-0-0-0", 2, &sound);
}

#[test]
fn a_resumed_guest_is_connected_on_its_new_ring() {
    let mut world = world(PLAYBACK);
    let mut guest = Guest2015::probe(&mut world, GUEST, 0);
    let sound = noise(5, 98_304);
    let (before, after) = sound.split_at(49_152);
    guest.play(STEREO, before, PERIOD).unwrap();
    guest.resume();
    // The driver does not wait for the backend and does not open the stream again: the sound continues.
    guest.play(STEREO, after, PERIOD).unwrap();
    guest.close().unwrap();
    world.assert_played("1-0-0-0", 1, &sound);
    assert_eq!(world.backend_state(GUEST, 0), XenbusState::Connected);
}

#[test]
fn a_driver_that_is_removed_and_loaded_again_plays() {
    let mut world = world(PLAYBACK);
    let before = world.census();
    for number in 1..4 {
        let mut guest = Guest2015::probe(&mut world, GUEST, 0);
        let sound = noise(number, 8192);
        guest.play(STEREO, &sound, PERIOD).unwrap();
        guest.remove();
        world.wait_backend(GUEST, 0, XenbusState::InitWait);
    }
    world.detach(GUEST, 0).unwrap();
    world.attach_as(GUEST, PLAYBACK, Protocol::V0);
    world.wait_backend(GUEST, 0, XenbusState::InitWait);
    world.assert_settles_at(before);
}
