//! The same against the real daemon: what a guest plays is what the host's file holds.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use guest::{Card, ChannelKind, Config, Error, MixerFeatures, Stream};
use host_audio::wav;
use rustix::event::epoll::{self, EventData, EventFlags};
use sndif::Format;
use testkit::World;
use testkit::signal::assert_same;
use xen::{DomainId, Xen};

const GUEST: DomainId = DomainId(5);
const TIMEOUT: Duration = Duration::from_secs(60);
const DUPLEX: &str = "[['CARD, short-name=Test, buffer-size=1048576', 'PCM, name=main', 'STREAM, unique-id=p0, type=p', \
                      'STREAM, unique-id=c0, type=c']]";
const CONFIG: Config =
    Config { format: Format::S16Le, rate_hz: 48_000, channels: 2, period_frames: 480, buffer_frames: 1920 };
const PERIOD: usize = 1920;

/// Sound in which every frame is another, and none is silence.
fn ramp(frames: std::ops::Range<u32>) -> Vec<u8> {
    frames.flat_map(|frame| (frame | 1 << 31).to_le_bytes()).collect()
}

fn connect(world: &mut World) -> (Xen, Card) {
    let xen = world.enter(GUEST);
    world.attach(GUEST, DUPLEX);
    let card = Card::connect(&xen, &world.spec(), 0, TIMEOUT).unwrap();
    (xen, card)
}

fn sound_checks<D>(stream: &Stream<D>) {
    let stats = stream.stats();
    assert_eq!((stats.violations, stats.ignored_positions, stats.event_id_gaps, stats.errors), (0, 0, 0, 0));
}

#[test]
fn the_daemon_plays_what_was_written() {
    let mut world = World::new();
    let (_xen, card) = connect(&mut world);
    assert_eq!(card.features(), MixerFeatures { volume: true, mute: true });
    let sound = ramp(0..24_000);
    let mut stream = card.playback(0, 0, &CONFIG).unwrap();
    stream.write(&sound).unwrap();
    stream.drain().unwrap();
    assert_eq!(stream.position(), sound.len() as u64);
    stream.stop().unwrap();
    sound_checks(&stream);
    stream.close().unwrap();
    world.assert_played("5-0-0-0", 1, &sound);
}

#[test]
fn a_stopped_stream_is_played_again_from_the_start_of_its_ring() {
    let mut world = World::new();
    let (_xen, card) = connect(&mut world);
    let mut stream = card.playback(0, 0, &CONFIG).unwrap();
    // Whole rings, whole periods, and neither: where the data ends decides how the daemon reports it.
    for frames in [1920, 1920, 480, 700, 3840, 1] {
        let (before, xruns) = (stream.position(), stream.stats().xruns);
        stream.write(&ramp(0..frames)).unwrap();
        stream.drain().unwrap();
        assert_eq!(stream.position() - before, u64::from(frames) * 4);
        stream.stop().unwrap();
        // More than a ring runs dry where this thread has no processor for 40 ms.
        assert!(
            frames > CONFIG.buffer_frames || stream.stats().xruns == xruns,
            "an xrun at the end of {frames} frames"
        );
    }
    sound_checks(&stream);
}

/// A guest that goes by the clock stops when its sound ends, which is within a period.
#[test]
fn what_is_due_when_a_stream_is_held_is_heard() {
    for pauses in [false, true] {
        let mut world = World::new();
        let (_xen, card) = connect(&mut world);
        // Nobody looks for a second.
        let mut stream =
            card.playback(0, 0, &Config { period_frames: 48_000, buffer_frames: 96_000, ..CONFIG }).unwrap();
        let sound = ramp(0..96_000);
        stream.write(&sound).unwrap();
        stream.start().unwrap();
        std::thread::sleep(Duration::from_millis(500));
        if pauses {
            stream.pause().unwrap()
        } else {
            stream.stop().unwrap()
        }
        let heard = world.played("5-0-0-0", 1, 12_000 * 4);
        assert_same(&heard, &sound[..heard.len()]);
    }
}

#[test]
fn a_period_wakes_each_side_once() {
    let mut world = World::new();
    let (_xen, card) = connect(&mut world);
    let mut stream = card.playback(0, 0, &CONFIG).unwrap();
    stream.write(&ramp(0..1920)).unwrap();
    stream.start().unwrap();
    let before = stream.stats();
    for _ in 0..100 {
        stream.write(&ramp(0..480)).unwrap();
    }
    let after = stream.stats();
    // The notification of START's answer may come after the answer.
    assert!(after.ring_wakeups <= before.ring_wakeups + 1, "nobody waits for the answers to WRITE");
    assert!(after.event_wakeups - before.event_wakeups <= 102, "{after:?}");
    assert!(after.notifications - before.notifications <= 102, "{after:?}");
}

#[test]
fn a_guest_that_is_far_ahead_wakes_nobody_with_what_it_writes() {
    let mut world = World::new();
    let (_xen, card) = connect(&mut world);
    // Long enough that a machine that stands still for a moment is no reason to notify.
    let config = Config { buffer_frames: 96_000, ..CONFIG };
    let mut stream = card.playback(0, 0, &config).unwrap();
    stream.write(&ramp(0..96_000)).unwrap();
    stream.start().unwrap();
    let before = stream.stats();
    for _ in 0..100 {
        stream.write(&ramp(0..480)).unwrap();
    }
    let notifications = stream.stats().notifications - before.notifications;
    assert!(notifications <= 10, "{notifications} of 100");
    // A caller that waits for an answer gets it.
    stream.pause().unwrap();
    stream.resume().unwrap();
    stream.drain().unwrap();
    assert_eq!(stream.stats().xruns, before.xruns);
}

#[test]
fn a_card_whose_directory_was_taken_is_waited_for_like_any_that_is_away() {
    let mut world = World::new();
    let (_xen, card) = connect(&mut world);
    let mut stream = card.playback(0, 0, &CONFIG).unwrap();
    stream.set_recovery_timeout(Duration::from_millis(200));
    // The toolstack takes the frontend's half first; what the guest shows in it then it may not.
    world.store().rm("/local/domain/5/device/vsnd/0").unwrap();
    world.stop_daemon();
    let error = stream.write(&ramp(0..48_000)).unwrap_err();
    assert!(matches!(error, Error::NoDaemon { .. } | Error::ConnectTimeout { .. }), "{error}");
}

/// A machine whose host has `sound` to give.
fn world_with_source(sound: &[u8]) -> World {
    World::with_config(|dir| {
        let source = dir.join("source.wav");
        let mut writer = wav::Writer::create(&source, CONFIG.format, CONFIG.rate_hz, CONFIG.channels).unwrap();
        writer.write(sound).unwrap();
        writer.finish();
        format!("capture = true\nsource = \"wav:{}\"\n", source.display())
    })
}

/// The buffer holds all that the tests record: no machine is so busy that something is lost.
const PATIENT: Config = Config { buffer_frames: 96_000, ..CONFIG };

#[test]
fn a_recorded_period_wakes_each_side_once() {
    let sound = ramp(0..60_000);
    let mut world = world_with_source(&sound);
    let (_xen, card) = connect(&mut world);
    let mut stream = card.capture(0, 1, &PATIENT).unwrap();
    let mut recorded = vec![0; sound.len()];
    let (first, rest) = recorded.split_at_mut(PERIOD);
    stream.read(first).unwrap();
    let before = stream.stats();
    for period in rest.chunks_mut(PERIOD) {
        assert_eq!(stream.read(period).unwrap(), PERIOD);
    }
    let after = stream.stats();
    assert_eq!(after.xruns, 0);
    assert_same(&recorded, &sound);
    // 124 periods.
    assert!(after.ring_wakeups <= before.ring_wakeups + 1, "nobody waits for the answers to READ");
    assert!(after.event_wakeups - before.event_wakeups <= 126, "{after:?}");
    // READs are laid out: there is nothing to tell, unless the machine stood still for 16 periods.
    assert!(after.notifications - before.notifications <= 12, "{after:?}");
    sound_checks(&stream);
}

#[test]
fn one_loop_records_without_blocking_and_the_kernel_counts_one_notification_per_period() {
    let sound = ramp(0..60_000);
    let mut world = world_with_source(&sound);
    let (_xen, card) = connect(&mut world);
    let mut stream = card.capture(0, 1, &PATIENT).unwrap();
    stream.set_edge_triggered(true);
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    let [ring, events] = stream.event_fds().unwrap();
    for (fd, token) in [(ring, 0), (events, 1)] {
        epoll::add(&epoll, fd, EventData::new_u64(token), EventFlags::IN | EventFlags::ET).unwrap();
    }
    stream.start().unwrap();
    // START's answer was waited for; from here on nobody reads the channels, and the kernel adds up.
    let [ring, events] = stream.event_fds().unwrap();
    let (answered, _) = (count(ring), count(events));
    assert!(answered <= 1);
    let before = stream.stats();
    let mut recorded = vec![0; sound.len()];
    let mut read = 0;
    while read < recorded.len() {
        let mut woken = [epoll::Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }; 2];
        let timeout = TIMEOUT.try_into().unwrap();
        let woken_by = epoll::wait(&epoll, &mut woken[..], Some(&timeout)).unwrap();
        assert!(woken_by > 0, "nothing comes any more");
        for event in &woken[..woken_by] {
            stream.on_wake(if event.data.u64() == 0 { ChannelKind::Ring } else { ChannelKind::Events }).unwrap();
        }
        read += stream.try_read(&mut recorded[read..]).unwrap();
    }
    let after = stream.stats();
    assert_eq!(after.xruns, 0);
    assert_same(&recorded, &sound);
    let [ring, events] = stream.event_fds().unwrap();
    assert!(count(ring) <= 1, "nobody waits for the answers to READ");
    // 125 periods, and the one whose event brought the last answer.
    let told = count(events);
    assert!(told <= 127, "{told} {after:?}");
    assert!(after.notifications - before.notifications <= 12, "{after:?}");
}

#[test]
fn a_recording_that_pauses_and_ends_waits_for_none_of_the_reads_that_are_laid_out() {
    let sound = ramp(0..60_000);
    let mut world = world_with_source(&sound);
    let (_xen, card) = connect(&mut world);
    let mut stream = card.capture(0, 1, &PATIENT).unwrap();
    let mut recorded = Vec::new();
    let mut period = vec![0; PERIOD];
    while recorded.len() < 20 * PERIOD {
        let read = stream.read(&mut period).unwrap();
        recorded.extend_from_slice(&period[..read]);
        if recorded.len() == 10 * PERIOD {
            // Each of them waits for its answer.
            stream.set_volume(&[0]).unwrap();
            stream.pause().unwrap();
            let error = loop {
                match stream.read(&mut period) {
                    Ok(read) => recorded.extend_from_slice(&period[..read]),
                    Err(error) => break error,
                }
            };
            assert!(matches!(error, Error::Paused), "{error}");
            assert!((stream.queued_bytes() as usize) < PERIOD, "what is laid out is nothing that was captured");
            stream.resume().unwrap();
        }
    }
    assert_same(&recorded, &sound[..recorded.len()]);
    stream.stop().unwrap();
    assert_eq!(stream.queued_bytes(), 0);
    // The next run, and its end without STOP.
    assert_eq!(stream.read(&mut period).unwrap(), PERIOD);
    stream.close().unwrap();
    sound_checks(&stream);
    assert_eq!(stream.stats().xruns, 0);
    drop(stream);
    let again = card.capture(0, 1, &PATIENT).unwrap();
    drop(again);
}

/// Number of signals that a channel's eventfd has counted since it was read.
fn count(fd: BorrowedFd<'_>) -> u64 {
    let mut bytes = [0; 8];
    match rustix::io::read(fd, &mut bytes) {
        Ok(_) => u64::from_ne_bytes(bytes),
        Err(error) => {
            assert_eq!(error, rustix::io::Errno::AGAIN);
            0
        }
    }
}

#[test]
fn silence_is_recorded_where_the_host_has_no_source() {
    let mut world = World::new();
    let (_xen, card) = connect(&mut world);
    let mut stream = card.capture(0, 1, &CONFIG).unwrap();
    let mut recorded = vec![1; 4 * PERIOD];
    let mut read = 0;
    while read < recorded.len() {
        read += stream.read(&mut recorded[read..]).unwrap();
    }
    assert!(recorded.iter().all(|&byte| byte == 0));
    sound_checks(&stream);
}

#[test]
fn volume_is_taken_and_given_back() {
    let mut world = World::new();
    let (_xen, card) = connect(&mut world);
    let mut stream = card.playback(0, 0, &CONFIG).unwrap();
    stream.set_volume(&[-6000, -12_000]).unwrap();
    stream.set_mute(&[true, false]).unwrap();
    assert_eq!(stream.volume().unwrap(), [Some(-6000), Some(-12_000)]);
    drop(stream);
    let mut stream = card.playback(0, 0, &CONFIG).unwrap();
    assert_eq!(stream.volume().unwrap(), [Some(-6000), Some(-12_000)]);
}

#[test]
fn playing_survives_a_restart_of_the_daemon() {
    let mut world = World::new();
    let (_xen, card) = connect(&mut world);
    let mut stream = card.playback(0, 0, &CONFIG).unwrap();
    let (before, after) = (ramp(0..9600), ramp(9600..19_200));
    stream.write(&before).unwrap();
    world.stop_daemon();
    world.start_daemon();
    stream.write(&after).unwrap();
    stream.drain().unwrap();
    assert_eq!(stream.position(), 2 * 9600 * 4);
    assert_eq!(stream.stats().reconnects, 1);
    stream.close().unwrap();
    drop(card);
    drop(stream);
    world.stop_daemon();
    // One file for each OPEN: together they hold the sound, with what the first daemon had not reported yet twice.
    let (first, second) = (world.played("5-0-0-0", 1, 4), world.played("5-0-0-0", 2, after.len()));
    let sound = [before, after].concat();
    let second = second.strip_suffix(&[0; 4]).unwrap_or(&second);
    let sounding = |file: &[u8]| file.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    let (first, second) = (&first[..sounding(&first)], &second[..sounding(second)]);
    assert!(sound.starts_with(first) && sound.ends_with(second));
    let twice = first.len() + second.len() - sound.len();
    assert!(twice <= 2 * PERIOD, "{twice}");
}

#[test]
fn a_hundred_opens_leak_nothing() {
    let mut world = World::new();
    let (xen, card) = connect(&mut world);
    drop(card.playback(0, 0, &CONFIG).unwrap());
    let before = (xen.usage(), world.daemon_usage());
    for round in 0..100 {
        let config = Config { rate_hz: if round % 2 == 0 { 48_000 } else { 96_000 }, ..CONFIG };
        let opened = card.playback(0, 0, &config);
        assert_eq!(opened.is_ok(), round % 2 == 0);
    }
    assert_eq!((xen.usage(), world.daemon_usage()), before);
}

#[test]
fn a_card_that_the_daemon_refuses_is_an_error_and_not_a_wait() {
    let mut world = World::with_config(|_| "[limits]\nstreams-per-card = 1\n".into());
    let xen = world.enter(GUEST);
    world.attach(GUEST, DUPLEX);
    let error = Card::connect(&xen, &world.spec(), 0, TIMEOUT).unwrap_err().to_string();
    assert!(error.contains("refuses to connect card 0"), "{error}");
}
