//! Tests of the behaviour of the unmodified Linux frontend that a backend has to tolerate: one test per numbered
//! item, whose rules are in docs/protocol.md.

use std::time::Duration;

use sndif::XenbusState;
use testkit::linux::{Agreed, Errno, LinuxFrontend, Pcm, Release, State, Wish};
use testkit::signal::noise;
use testkit::{PATIENCE, World, eventually};
use xen::{DomainId, Xen};

const GUEST: DomainId = DomainId(1);
const STREAM: &str = "1-0-0-0";

/// A machine with one guest, whose driver has its card.
fn world() -> (World, Xen, LinuxFrontend) {
    world_with("[['CARD', 'PCM', 'STREAM, unique-id=p0, type=p']]")
}

fn world_with(cards: &str) -> (World, Xen, LinuxFrontend) {
    let mut world = World::new();
    world.attach(GUEST, cards);
    let xen = world.enter(GUEST);
    let frontend = LinuxFrontend::probe(&xen);
    frontend.wait_card();
    (world, xen, frontend)
}

fn open(frontend: &LinuxFrontend, wish: &Wish) -> Pcm {
    let mut pcm = frontend.open_playback(0, 0).unwrap();
    pcm.hw_params(wish).unwrap();
    pcm
}

fn bytes(agreed: Agreed, frames: u64) -> usize {
    frames as usize * agreed.frame_bytes
}

#[test]
fn item_01_event_ids_are_gapless_even_when_the_page_was_full() {
    let (world, _xen, frontend) = world();
    // 2 ms a period: the page's 63 events last for 126 ms of a full buffer's two seconds. A delayed backend reports
    // several periods in one event, and needs the remaining time.
    let mut pcm = open(&frontend, &Wish { period_frames: 16, ..Wish::UNHURRIED });
    let frames = pcm.agreed().buffer_frames;
    let sound = noise(1, bytes(pcm.agreed(), frames));
    pcm.prepare().unwrap();
    assert_eq!(pcm.writei(&sound), Ok(frames as usize));
    assert!(pcm.is_running());
    // The guest does not run: no interrupt is handled.
    assert!(eventually(PATIENCE, || pcm.unread_events() == 63));
    std::thread::sleep(Duration::from_millis(30));
    assert_eq!(pcm.unread_events(), 63);
    pcm.drain().unwrap();
    let observed = pcm.observed();
    assert_eq!(observed.ignored_events, 0);
    assert!(observed.positions.len() >= 64, "{} events", observed.positions.len());
    // The next sound loses nothing either.
    let more = noise(2, bytes(pcm.agreed(), 160));
    pcm.aplay(&more).unwrap();
    world.assert_played(STREAM, 1, &[sound, more].concat());
}

#[test]
fn item_01_event_ids_are_those_that_each_release_expects() {
    for release in [Release::Older, Release::Linux7] {
        let mut world = World::new();
        world.attach(GUEST, "[['CARD', 'PCM', 'STREAM, unique-id=p0, type=p']]");
        let xen = world.enter(GUEST);
        let frontend = LinuxFrontend::probe_release(&xen, release);
        // The second time with new pages, as after a restart of the backend.
        for connection in 1..=2 {
            frontend.wait_registrations(connection);
            for open_again in 0..3 {
                let mut pcm = open(&frontend, &Wish::stereo(960, 4800));
                let sound = noise(1, bytes(pcm.agreed(), 9600));
                assert!(pcm.aplay(&sound).is_ok(), "{release:?} {connection} {open_again}");
                // Parameters are set again without closing the device.
                pcm.hw_params(&Wish::stereo(480, 4800)).unwrap();
                assert!(pcm.aplay(&sound).is_ok(), "{release:?} {connection} {open_again}, again");
                assert_eq!(pcm.observed().ignored_events, 0, "{release:?} {connection} {open_again}");
                pcm.close().unwrap();
            }
            if connection == 1 {
                world.stop_daemon();
                world.start_daemon();
            }
        }
    }
}

#[test]
fn item_02_a_drain_on_an_exact_period_multiple_wakes_the_guest() {
    let (world, _xen, frontend) = world();
    let mut all = Vec::new();
    let mut pcm = open(&frontend, &Wish::stereo(960, 9600));
    for (seed, periods) in [(1, 1), (2, 4), (3, 10)] {
        let sound = noise(seed, bytes(pcm.agreed(), periods * 960));
        assert!(pcm.aplay(&sound).is_ok(), "{periods} periods");
        all.extend(sound);
        let positions = pcm.observed().positions;
        assert!(positions.iter().any(|position| position % (960 * 4) == 4), "one frame past a boundary: {positions:?}");
    }
    world.assert_played(STREAM, 1, &all);
}

#[test]
fn item_02_a_drain_that_ends_within_a_period_wakes_the_guest() {
    let (world, _xen, frontend) = world();
    let mut all = Vec::new();
    let mut pcm = open(&frontend, &Wish::stereo(960, 9600));
    // The case of an xrun in the middle of a period, and of players that do not pad. 961 frames are reported in one
    // event; then 240 follow.
    for (seed, frames) in [(1, 1200), (2, 480), (3, 9599), (4, 2879)] {
        let sound = noise(seed, bytes(pcm.agreed(), frames));
        pcm.prepare().unwrap();
        pcm.writei(&sound).unwrap();
        assert_eq!(pcm.drain(), Ok(()), "{frames} frames");
        all.extend(sound);
    }
    world.assert_played(STREAM, 1, &all);
}

#[test]
fn item_03_after_an_xrun_the_next_run_starts_at_offset_0() {
    let (world, _xen, frontend) = world();
    let mut pcm = open(&frontend, &Wish::stereo(960, 4800));
    let sound = noise(3, bytes(pcm.agreed(), 4800 + 3 * 960));
    let (first, rest) = sound.split_at(bytes(pcm.agreed(), 4800));
    pcm.prepare().unwrap();
    pcm.writei(first).unwrap();
    // The application is stopped until the buffer has run dry.
    while pcm.state() != State::Xrun {
        pcm.sleep(Duration::from_millis(10));
    }
    assert_eq!(pcm.writei(rest), Err(Errno::EPIPE));
    pcm.prepare().unwrap();
    assert_eq!(pcm.pointer(), 0, "the driver's pointer and the core's agree again");
    pcm.aplay(rest).unwrap();
    assert_eq!(pcm.xruns(), 1);
    world.assert_played(STREAM, 1, &sound);
}

#[test]
fn item_03_many_runs_on_one_open_stream_play_what_was_written() {
    let (world, _xen, frontend) = world();
    let mut pcm = open(&frontend, &Wish::stereo(960, 4800));
    let mut all = Vec::new();
    for seed in 0..4 {
        // The length is never a multiple of the buffer.
        let sound = noise(seed, bytes(pcm.agreed(), 960 * (seed + 1)));
        pcm.aplay(&sound).unwrap();
        pcm.prepare().unwrap();
        assert_eq!(pcm.pointer(), 0);
        all.extend(sound);
    }
    world.assert_played(STREAM, 1, &all);
}

#[test]
fn item_03_a_run_that_is_dropped_midway_leaves_nothing_for_the_next() {
    let (world, _xen, frontend) = world();
    let mut pcm = open(&frontend, &Wish::stereo(960, 9600));
    pcm.prepare().unwrap();
    pcm.writei(&noise(1, bytes(pcm.agreed(), 9600))).unwrap();
    pcm.sleep(Duration::from_millis(50));
    pcm.drop_frames().unwrap();
    let sound = noise(2, bytes(pcm.agreed(), 2 * 960));
    pcm.aplay(&sound).unwrap();
    drop(pcm);
    let played = world.played(STREAM, 1, sound.len());
    assert!(played.ends_with(&sound), "the second run is the last that is heard");
    assert!(played.len() < bytes(Agreed { frame_bytes: 4, period_frames: 0, buffer_frames: 0 }, 9600) + sound.len());
}

#[test]
fn item_04_stale_reserved_bytes_are_ignored_and_none_are_sent() {
    let (world, _xen, frontend) = world();
    // The model fills every slot with garbage before it writes a request's fields.
    let mut pcm = open(&frontend, &Wish::COMFORTABLE);
    let sound = noise(4, bytes(pcm.agreed(), 3840));
    pcm.aplay(&sound).unwrap();
    assert_eq!(pcm.observed().leaked_bytes, 0);
    pcm.close().unwrap();
    world.assert_played(STREAM, 1, &sound);
}

#[test]
fn item_05_close_without_open_is_answered_well() {
    let (world, _xen, frontend) = world();
    for _ in 0..3 {
        let pcm = open(&frontend, &Wish::COMFORTABLE);
        assert!(!pcm.is_open());
        assert_eq!(pcm.close(), Ok(()));
    }
    let mut pcm = open(&frontend, &Wish::COMFORTABLE);
    let sound = noise(5, bytes(pcm.agreed(), 1920));
    pcm.aplay(&sound).unwrap();
    world.assert_played(STREAM, 1, &sound);
}

#[test]
fn item_06_write_is_answered_at_once_and_close_does_not_drain() {
    let (_world, _xen, frontend) = world();
    // Eight seconds of sound in the buffer.
    let wish = Wish { format: 1, rate_hz: 8000, channels: 1, period_frames: 8000, buffer_frames: 65_536 };
    let mut pcm = open(&frontend, &wish);
    let frames = pcm.agreed().buffer_frames;
    assert!(frames >= 32_768, "{frames}");
    pcm.prepare().unwrap();
    pcm.writei(&noise(6, frames as usize)).unwrap();
    assert!(pcm.is_running());
    pcm.close().unwrap();
    let slowest = frontend.observed(0).slowest_answer;
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
}

#[test]
fn item_07_dozens_of_queries_per_open_hold_nothing_and_never_widen() {
    let (mut world, _xen, frontend) = world();
    let before = world.census();
    let pcm = open(&frontend, &Wish::COMFORTABLE);
    let observed = pcm.observed();
    assert!(observed.queries >= 12, "{}", observed.queries);
    assert_eq!(observed.wider_answers, 0);
    assert_eq!(world.daemon_usage(), before.daemon);
    assert!(world.recordings().is_empty(), "no host device is opened for a query");
    drop(pcm);
    let mut pcm = frontend.open_playback(0, 0).unwrap();
    let unknown = Wish { rate_hz: 96_000, ..Wish::COMFORTABLE };
    assert_eq!(pcm.hw_params(&unknown), Err(Errno::EINVAL));
    pcm.hw_params(&Wish::COMFORTABLE).unwrap();
}

#[test]
fn item_08_no_event_comes_between_close_and_open() {
    let (mut world, xen, frontend) = world();
    let idle = world.daemon_usage();
    let mut last = Vec::new();
    for round in 0..10 {
        let mut pcm = open(&frontend, &Wish::stereo(96, 4800));
        pcm.prepare().unwrap();
        last = noise(round, bytes(pcm.agreed(), 4800));
        pcm.writei(&last).unwrap();
        // A different moment between two events each time.
        pcm.sleep(Duration::from_micros(20_000 + 370 * round));
        let played = pcm.observed().positions.last().copied();
        assert!(played < Some(bytes(pcm.agreed(), 4800) as u64 + 4), "{played:?}");
        pcm.close().unwrap();
        // Nothing is mapped and no event comes any more once CLOSE is answered.
        assert_eq!(world.daemon_usage(), idle);
        assert_eq!(xen.usage().quarantined_pages, 0);
        let unread = frontend.unread_events(0);
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(frontend.unread_events(0), unread, "an event came after CLOSE");
        assert_eq!(frontend.observed(0).ignored_events, 0);
    }
    let mut pcm = open(&frontend, &Wish::COMFORTABLE);
    let sound = noise(99, bytes(pcm.agreed(), 1920));
    pcm.aplay(&sound).unwrap();
    drop(pcm);
    assert!(!last.is_empty());
    world.assert_played(STREAM, 11, &sound);
    world.wait_backend(GUEST, 0, XenbusState::Connected);
}

#[test]
fn item_09_a_frontend_without_a_version_speaks_version_2() {
    let (mut world, _xen, frontend) = world();
    let store = world.store();
    assert!(!store.exists("/local/domain/1/device/vsnd/0/version").unwrap());
    assert_eq!(store.read("/local/domain/0/backend/vsnd/1/0/versions").unwrap(), b"2");
    let mut pcm = open(&frontend, &Wish::COMFORTABLE);
    let sound = noise(9, bytes(pcm.agreed(), 1920));
    pcm.aplay(&sound).unwrap();
    world.assert_played(STREAM, 1, &sound);
}

#[test]
fn item_10_a_unique_id_that_is_not_unique_leads_nowhere() {
    let (mut world, xen, frontend) =
        world_with("[['CARD', 'PCM', 'STREAM, unique-id=pulse, type=p', 'STREAM, unique-id=pulse, type=p']]");
    let mut guest = xen.store().unwrap();
    let play = |frontend: &LinuxFrontend, index, seed| {
        let mut pcm = frontend.open_playback(0, index).unwrap();
        pcm.hw_params(&Wish::COMFORTABLE).unwrap();
        let sound = noise(seed, bytes(pcm.agreed(), 1920));
        pcm.aplay(&sound).unwrap();
        sound
    };
    let (first, second) = (play(&frontend, 0, 1), play(&frontend, 1, 2));
    world.assert_played("1-0-0-0", 1, &first);
    world.assert_played("1-0-0-1", 1, &second);
    // The guest's own value has no effect, before and after a reconnection.
    guest.write("/local/domain/1/device/vsnd/0/0/1/unique-id", b"../../../etc/passwd").unwrap();
    let third = play(&frontend, 1, 3);
    world.assert_played("1-0-0-1", 2, &third);
    frontend.remove().unwrap();
    let frontend = LinuxFrontend::probe(&xen);
    frontend.wait_card();
    let fourth = play(&frontend, 1, 4);
    world.assert_played("1-0-0-1", 3, &fourth);
    world.wait_backend(GUEST, 0, XenbusState::Connected);
}

#[test]
fn item_11_both_spellings_of_a_float_format_are_read() {
    for spelling in ["f32_le", "float_le"] {
        let mut world = World::new();
        world.attach_playback(GUEST);
        world.put(GUEST, 0, "0/0/sample-formats", format!("{spelling},s16_le").as_bytes());
        let xen = world.enter(GUEST);
        let frontend = LinuxFrontend::probe(&xen);
        frontend.wait_card();
        let mut pcm = frontend.open_playback(0, 0).unwrap();
        let float = Wish { format: 14, ..Wish::stereo(960, 4800) };
        let knows_it = spelling == "float_le";
        assert_eq!(pcm.hw_params(&float).is_ok(), knows_it, "Linux does not know {spelling}");
        let wish = if knows_it { float } else { Wish::COMFORTABLE };
        pcm.hw_params(&wish).unwrap();
        let samples: Vec<u8> = (0..1920_u16).flat_map(|n| (f32::from(n) / 4096.0 + 0.01).to_le_bytes()).collect();
        let sound = if knows_it { samples } else { noise(11, 1920 * 4) };
        pcm.aplay(&sound).unwrap();
        world.assert_played(STREAM, 1, &sound);
    }
}

#[test]
fn item_12_the_format_byte_of_an_unsupported_format_is_refused() {
    let (world, _xen, frontend) = world();
    let mut pcm = open(&frontend, &Wish::COMFORTABLE);
    assert_eq!(pcm.prepare_as(0xEA), Err(Errno::EINVAL));
    assert!(!pcm.is_open());
    let sound = noise(12, bytes(pcm.agreed(), 1920));
    pcm.aplay(&sound).unwrap();
    world.assert_played(STREAM, 1, &sound);
}

#[test]
fn item_13_driver_removal_finds_the_backend_in_init_wait() {
    let (mut world, xen, frontend) = world();
    let mut frontend = frontend;
    for round in 0..3 {
        let waited = frontend.remove().expect("the backend reaches InitWait before the driver gives up");
        assert!(waited < Duration::from_secs(1), "{waited:?}");
        assert_eq!(world.frontend_state(GUEST, 0), XenbusState::Closed);
        assert_eq!(xen.usage().quarantined_pages, 0, "the backend let go before it said so");
        frontend = LinuxFrontend::probe(&xen);
        frontend.wait_card();
        let mut pcm = open(&frontend, &Wish::COMFORTABLE);
        let sound = noise(round, bytes(pcm.agreed(), 1920));
        pcm.aplay(&sound).unwrap();
        drop(pcm);
        world.assert_played(STREAM, round as usize + 1, &sound);
    }
}

#[test]
fn item_14_rates_that_linux_does_not_know_do_no_harm() {
    let (world, _xen, frontend) =
        world_with("[['CARD, sample-rates=12000;24000;48000;88200', 'PCM', 'STREAM, unique-id=a, type=p']]");
    let mut pcm = open(&frontend, &Wish::COMFORTABLE);
    let sound = noise(14, bytes(pcm.agreed(), 1920));
    pcm.aplay(&sound).unwrap();
    world.assert_played(STREAM, 1, &sound);
}

#[test]
fn item_14_streams_beyond_the_eighth_which_linux_leaves_out_do_no_harm() {
    let streams: String = (0..10).map(|n| format!(", 'STREAM, unique-id=s{n}, type=p'")).collect();
    let (world, _xen, frontend) = world_with(&format!("[['CARD', 'PCM'{streams}]]"));
    let mut pcm = frontend.open_playback(0, 7).unwrap();
    pcm.hw_params(&Wish::COMFORTABLE).unwrap();
    let sound = noise(14, bytes(pcm.agreed(), 1920));
    pcm.aplay(&sound).unwrap();
    world.assert_played("1-0-0-7", 1, &sound);
    assert_eq!(frontend.open_playback(0, 8).err(), Some(Errno::ENODEV));
}

#[test]
fn item_15_a_second_hw_params_takes_the_buffer_away_without_close() {
    let (world, xen, frontend) = world();
    let idle = world.daemon_usage();
    let mut pcm = open(&frontend, &Wish::stereo(960, 9600));
    pcm.prepare().unwrap();
    let large = world.daemon_usage().mapped_pages;
    pcm.hw_params(&Wish::stereo(960, 4800)).unwrap();
    assert_ne!(xen.usage().quarantined_pages, 0, "the backend still maps what the guest took back");
    let sound = noise(15, bytes(pcm.agreed(), 1920));
    pcm.aplay(&sound).unwrap();
    let small = world.daemon_usage().mapped_pages;
    assert_eq!((large - idle.mapped_pages, small - idle.mapped_pages), (10, 5), "OPEN unmapped the old buffer");
    pcm.close().unwrap();
    assert_eq!(world.daemon_usage(), idle);
    world.assert_played(STREAM, 1, &sound);
}

#[test]
fn item_16_a_restarted_daemon_is_found_again_by_an_idle_guest() {
    let (mut world, _xen, frontend) = world();
    for round in 0..3 {
        let mut pcm = open(&frontend, &Wish::COMFORTABLE);
        let sound = noise(round, bytes(pcm.agreed(), 1920));
        pcm.aplay(&sound).unwrap();
        drop(pcm);
        world.assert_played(STREAM, round as usize + 1, &sound);
        world.stop_daemon();
        world.start_daemon();
        frontend.wait_registrations(round as usize + 2);
    }
}
