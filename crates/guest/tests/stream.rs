//! Tests of playing, recording, volume, and bad backends.

mod common;

use std::time::{Duration, Instant};

use common::{CONFIG, DUPLEX, Faults, PERIOD, RING, TIMEOUT, captured, machine, ramp, record};
use guest::{ChannelKind, Config, Error};
use rustix::event::{PollFd, PollFlags, poll};
use sndif::Errno;
use sndif::store::Direction;
use sndif::v2::Operation;

#[test]
fn what_is_played_is_what_was_written() {
    let machine = machine();
    machine.attach(DUPLEX);
    let backend = machine.backend(Faults { speed: 10, ..Faults::default() });
    let card = machine.connect(TIMEOUT).unwrap();
    let mut stream = card.playback(0, 0, &CONFIG).unwrap();
    let sound = ramp(48_000);
    stream.write(&sound).unwrap();
    stream.drain().unwrap();
    assert_eq!(backend.played(), sound);
    assert_eq!(stream.position(), sound.len() as u64);
    let stats = stream.stats();
    assert_eq!((stats.violations, stats.ignored_positions, stats.event_id_gaps, stats.errors), (0, 0, 0, 0));
    stream.close().unwrap();
    stream.close().unwrap();
    assert!(matches!(stream.write(&sound), Err(Error::Closed)));
}

#[test]
fn a_period_costs_at_most_one_notification_each_way() {
    let machine = machine();
    machine.attach(DUPLEX);
    let backend = machine.backend(Faults::default());
    let card = machine.connect(TIMEOUT).unwrap();
    let mut stream = card.playback(0, 0, &CONFIG).unwrap();
    stream.write(&ramp(1920)).unwrap();
    stream.start().unwrap();
    let before = stream.stats();
    let heard = backend.heard.lock().unwrap().notifications;
    for _ in 0..50 {
        stream.write(&vec![0; PERIOD]).unwrap();
    }
    let after = stream.stats();
    let heard = backend.heard.lock().unwrap().notifications - heard;
    // The notification of START's answer may come after the answer.
    assert!(after.ring_wakeups <= before.ring_wakeups + 1, "nobody waits for the answers to WRITE");
    let (notified, woken) = (after.notifications - before.notifications, after.event_wakeups - before.event_wakeups);
    assert!(notified <= 52 && heard <= 52, "{notified} {heard}");
    assert!(woken <= 52, "{woken}");
}

#[test]
fn stop_pause_and_resume_keep_position_and_sound_together() {
    let machine = machine();
    machine.attach(DUPLEX);
    let backend = machine.backend(Faults { speed: 4, ..Faults::default() });
    let card = machine.connect(TIMEOUT).unwrap();
    let mut stream = card.playback(0, 0, &CONFIG).unwrap();
    stream.write(&ramp(1000)).unwrap();
    stream.start().unwrap();
    stream.pause().unwrap();
    let held = stream.position();
    std::thread::sleep(Duration::from_millis(20));
    assert!(stream.poll().unwrap().moved_bytes <= u64::from(stream.geometry().ring_bytes()) - held);
    assert!(matches!(stream.write(&ramp(4000)), Err(Error::Paused)));
    stream.resume().unwrap();
    stream.drain().unwrap();
    stream.stop().unwrap();
    let position = stream.position();
    backend.heard.lock().unwrap().played.clear();
    for _ in 0..3 {
        let sound = ramp(700);
        stream.write(&sound).unwrap();
        stream.drain().unwrap();
        stream.stop().unwrap();
    }
    assert_eq!(stream.position(), position + 3 * 2800);
    assert_eq!(backend.played(), [ramp(700), ramp(700), ramp(700)].concat());
}

#[test]
fn recording_gives_every_frame_once() {
    let machine = machine();
    machine.attach(DUPLEX);
    let _backend = machine.backend(Faults { speed: 4, ..Faults::default() });
    let card = machine.connect(TIMEOUT).unwrap();
    let mut stream = card.capture(0, 1, &CONFIG).unwrap();
    let recorded = record(&mut stream, Some(9600)).unwrap();
    assert_eq!(recorded.len(), 38_400);
    if stream.stats().xruns == 0 {
        assert!(recorded == captured(RING, 38_400));
    }
    assert!(matches!(card.playback(0, 1, &CONFIG), Err(Error::Direction(Direction::Capture))));
}

#[test]
fn a_paused_recording_gives_all_that_was_captured_and_says_so_then() {
    let machine = machine();
    machine.attach(DUPLEX);
    let _backend = machine.backend(Faults::default());
    let card = machine.connect(TIMEOUT).unwrap();
    // No machine is so busy that a quarter of a second is not enough.
    let config = Config { buffer_frames: 12_000, ..CONFIG };
    let ring = 48_000;
    let mut stream = card.capture(0, 1, &config).unwrap();
    let mut recorded = vec![0; ring];
    let mut read = stream.read(&mut recorded[..PERIOD]).unwrap();
    // The event is taken in during the pause at the earliest: no later event would bring the answer to its READ.
    std::thread::sleep(Duration::from_millis(15));
    stream.pause().unwrap();
    let error = loop {
        match stream.read(&mut recorded[read..]) {
            Ok(more) => read += more,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Paused), "{error}");
    assert_eq!((read as u64, stream.queued_bytes()), (stream.position(), 0));
    assert!(read > PERIOD && recorded[..read] == captured(ring, read));
    stream.resume().unwrap();
    let mut more = vec![0; PERIOD];
    let length = stream.read(&mut more).unwrap();
    assert_eq!(more[..length], captured(ring, read + length)[read..]);
    assert_eq!(stream.stats().xruns, 0);
}

#[test]
fn stopping_forgets_what_was_captured_and_asked_for() {
    let machine = machine();
    machine.attach(DUPLEX);
    let _backend = machine.backend(Faults::default());
    let card = machine.connect(TIMEOUT).unwrap();
    // A recorder that is a quarter of a second late has lost nothing.
    let mut stream = card.capture(0, 1, &Config { buffer_frames: 12_000, ..CONFIG }).unwrap();
    let mut frame = [0; 4];
    for _ in 0..3 {
        // The rest of its period is here, and the next is requested.
        assert_eq!(stream.read(&mut frame).unwrap(), 4);
        assert_eq!(frame, [0; 4], "a run starts at the beginning of the ring");
        assert!(stream.queued_bytes() > 0);
        stream.stop().unwrap();
        assert_eq!((stream.queued_bytes(), stream.room_bytes()), (0, 0));
        assert_eq!(stream.try_read(&mut frame).unwrap(), 0);
    }
    assert_eq!(stream.read(&mut frame).unwrap(), 4);
    stream.close().unwrap();
    assert!(matches!(stream.read(&mut frame), Err(Error::Closed)));
    drop(stream);
    // No unanswered request is left behind.
    card.capture(0, 1, &CONFIG).unwrap().read(&mut frame).unwrap();
}

#[test]
fn a_refused_read_is_an_error_and_takes_nothing_else_along() {
    let machine = machine();
    machine.attach(DUPLEX);
    let backend = machine.backend(Faults { refuses_read: Some(3), ..Faults::default() });
    let card = machine.connect(TIMEOUT).unwrap();
    let mut stream = card.capture(0, 1, &CONFIG).unwrap();
    let (mut recorded, mut refusals): (Vec<u8>, _) = (Vec::new(), 0);
    let mut period = vec![0; PERIOD];
    while refusals == 0 || recorded.len() < 8 * PERIOD {
        match stream.read(&mut period) {
            Ok(read) => recorded.extend(&period[..read]),
            Err(Error::Refused { operation: "READ", errno: Errno::EIO }) => refusals += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!((refusals, stream.stats().errors), (1, 1));
    if stream.stats().xruns == 0 {
        let spans = backend.heard.lock().unwrap().read_spans();
        let before = spans[..2].iter().map(|span| span.length as usize).sum::<usize>();
        let behind = before + spans[2].length as usize;
        let mut expected = captured(RING, recorded.len() + behind - before);
        expected.drain(before..behind);
        assert!(recorded == expected);
    }
}

#[test]
fn captured_sound_that_nobody_reads_in_time_is_an_xrun() {
    let machine = machine();
    machine.attach(DUPLEX);
    let _backend = machine.backend(Faults { speed: 4, ..Faults::default() });
    let card = machine.connect(TIMEOUT).unwrap();
    let mut stream = card.capture(0, 1, &CONFIG).unwrap();
    let mut period = vec![0; PERIOD];
    stream.read(&mut period).unwrap();
    // The sleep lasts ten rings.
    std::thread::sleep(Duration::from_millis(100));
    for _ in 0..8 {
        stream.read(&mut period).unwrap();
    }
    assert!(stream.stats().xruns >= 1);
    assert!(stream.queued_bytes() as usize <= 2 * RING);
}

#[test]
fn volume_and_mute_reach_the_backend_and_outlive_a_close() {
    let machine = machine();
    machine.attach(DUPLEX);
    let backend = machine.backend(Faults::default());
    let card = machine.connect(TIMEOUT).unwrap();
    let mut stream = card.playback(0, 0, &CONFIG).unwrap();
    stream.set_volume(&[-6000, -9000]).unwrap();
    stream.set_mute(&[false, true]).unwrap();
    assert_eq!(stream.volume().unwrap(), [Some(-6000), Some(-9000)]);
    drop(stream);
    {
        let mut heard = backend.heard.lock().unwrap();
        assert_eq!((&heard.volume[..], &heard.muted[..]), (&[-6000, -9000][..], &[false, true][..]));
        heard.volume.clear();
    }
    let mut stream = card.playback(0, 0, &CONFIG).unwrap();
    assert_eq!(stream.volume().unwrap(), [Some(-6000), Some(-9000)]);
}

#[test]
fn a_backend_without_a_mixer_still_plays() {
    let machine = machine();
    machine.attach(DUPLEX);
    let backend = machine.backend(Faults { no_mixer: true, speed: 10, ..Faults::default() });
    let card = machine.connect(TIMEOUT).unwrap();
    let mut stream = card.playback(0, 0, &CONFIG).unwrap();
    assert!(matches!(stream.set_volume(&[0]), Err(Error::NotOffered("volume"))));
    stream.write(&ramp(5000)).unwrap();
    stream.drain().unwrap();
    assert_eq!(backend.played(), ramp(5000));
}

#[test]
fn one_loop_can_drive_a_stream_without_blocking() {
    let machine = machine();
    machine.attach(DUPLEX);
    let backend = machine.backend(Faults { speed: 4, ..Faults::default() });
    let card = machine.connect(TIMEOUT).unwrap();
    let mut stream = card.playback(0, 0, &CONFIG).unwrap();
    let sound = ramp(9600);
    let mut written = stream.try_write(&sound).unwrap();
    assert_eq!(written, RING);
    assert_eq!(stream.try_write(&sound[written..]).unwrap(), 0);
    stream.start().unwrap();
    let deadline = Instant::now() + TIMEOUT;
    while written < sound.len() {
        assert!(Instant::now() < deadline);
        let [ring, events] = stream.event_fds().unwrap();
        let mut fds = [PollFd::from_borrowed_fd(ring, PollFlags::IN), PollFd::from_borrowed_fd(events, PollFlags::IN)];
        poll(&mut fds, None).unwrap();
        let [ring, events] = fds.map(|fd| !fd.revents().is_empty());
        for (ready, kind) in [(ring, ChannelKind::Ring), (events, ChannelKind::Events)] {
            if ready {
                stream.on_wake(kind).unwrap();
            }
        }
        written += stream.try_write(&sound[written..]).unwrap();
    }
    stream.drain().unwrap();
    assert_eq!(backend.played(), sound);
}

#[test]
fn the_latency_of_write_is_measured_when_asked_for() {
    let machine = machine();
    machine.attach(DUPLEX);
    let _backend = machine.backend(Faults { speed: 10, ..Faults::default() });
    let card = machine.connect(TIMEOUT).unwrap();
    let mut stream = card.playback(0, 0, &CONFIG).unwrap();
    stream.measure_write_latency(true);
    for _ in 0..40 {
        stream.write(&vec![0; PERIOD]).unwrap();
    }
    let latency = stream.stats().write_latency;
    assert!(latency.count() >= 40 && latency.max_ns() > 0, "{latency:?}");
}

#[test]
fn a_backend_that_falls_silent_does_not_hold_the_caller_for_ever() {
    let machine = machine();
    machine.attach(DUPLEX);
    let _backend = machine.backend(Faults { falls_silent: true, ..Faults::default() });
    let card = machine.connect(TIMEOUT).unwrap();
    let mut stream = card.playback(0, 0, &CONFIG).unwrap();
    assert!(matches!(stream.start(), Err(Error::NoAnswer { operation: "TRIGGER", .. })));
    drop(stream);
    // The transport still has a request without an answer.
    assert!(matches!(card.playback(0, 0, &CONFIG), Err(Error::StreamBroken { .. })));
}

/// Tests a late start: a daemon and its sound server that restart one after the other need more than four seconds.
#[test]
fn a_device_that_gets_going_late_is_waited_for() {
    let machine = machine();
    machine.attach(DUPLEX);
    let backend = machine.backend(Faults { moves_after: Duration::from_secs(5), ..Faults::default() });
    let card = machine.connect(TIMEOUT).unwrap();
    let mut stream = card.playback(0, 0, &CONFIG).unwrap();
    let sound = ramp(RING / 4 * 2);
    stream.write(&sound).unwrap();
    stream.drain().unwrap();
    assert_eq!(backend.played(), sound);
}

#[test]
fn a_device_that_never_moves_is_an_error_in_the_end() {
    let machine = machine();
    machine.attach(DUPLEX);
    let _backend = machine.backend(Faults { moves_after: Duration::from_secs(600), ..Faults::default() });
    let card = machine.connect(TIMEOUT).unwrap();
    let mut stream = card.playback(0, 0, &CONFIG).unwrap();
    stream.write(&ramp(480)).unwrap();
    assert!(matches!(stream.drain(), Err(Error::Stalled { .. })));
}

/// docs/threat-model.md: ids are looked up in our own table, and the first violation is latched.
#[test]
fn cve_2026_72380_a_confused_backend_breaks_its_stream_and_nothing_else() {
    let machine = machine();
    machine.attach(DUPLEX);
    let _backend = machine.backend(Faults { confuses_write: Some(3), ..Faults::default() });
    let card = machine.connect(TIMEOUT).unwrap();
    let mut stream = card.playback(0, 0, &CONFIG).unwrap();
    let error = (0..100).find_map(|_| stream.write(&vec![0; PERIOD]).err()).expect("a violation");
    assert!(matches!(error, Error::Violation(_)), "{error}");
    assert_eq!(stream.stats().violations, 1);
    drop(stream);
    assert!(matches!(card.playback(0, 0, &CONFIG), Err(Error::StreamBroken { .. })));
    card.capture(0, 1, &CONFIG).unwrap().start().unwrap();
}

/// docs/threat-model.md: whole pages are zeroed before they are granted, and shared with no other data (XSA-403).
#[test]
fn xsa_403_granted_pages_are_whole_zeroed_and_hold_nothing_else() {
    let machine = machine();
    machine.attach(DUPLEX);
    let backend = machine.backend(Faults::default());
    let card = machine.connect(TIMEOUT).unwrap();
    for _ in 0..5 {
        let mut stream = card.playback(0, 0, &CONFIG).unwrap();
        // The ring has 7680 bytes and the control page 4096: the third page is only partly in use, but all of it is
        // empty.
        assert_eq!(backend.heard.lock().unwrap().pages_at_open, vec![0; 3 * 4096]);
        // The old contents of these pages must not come back with the next ones.
        stream.write(&vec![0xaa; RING]).unwrap();
        stream.close().unwrap();
    }
    let heard = backend.heard.lock().unwrap();
    for page in heard.ring_pages.chunks(4096) {
        // The first bytes are indices and marks of the ring; everything else is zero.
        assert!(page[16..].iter().all(|&byte| byte == 0));
    }
    let write = heard.operations.iter().filter(|operation| matches!(operation, Operation::Write(_))).count();
    assert_eq!(write, 5);
}

/// A backend cannot keep a guest busy for ever with useless messages.
#[test]
fn xsa_331_332_391_useless_events_and_notifications_break_the_stream() {
    let (floods, storms) = (Faults { floods: true, ..Faults::default() }, Faults { storms: true, ..Faults::default() });
    for (faults, said) in [(floods, "events in a row that cannot be true"), (storms, "in a row for nothing")] {
        let machine = machine();
        machine.attach(DUPLEX);
        let _backend = machine.backend(faults);
        let card = machine.connect(TIMEOUT).unwrap();
        let mut stream = card.playback(0, 0, &CONFIG).unwrap();
        let error = (0..10).find_map(|_| stream.write(&[0; 2 * RING]).err()).unwrap();
        assert!(matches!(error, Error::Violation(_)) && error.to_string().contains(said), "{error}");
        assert_eq!(stream.stats().violations, 1);
    }
}

/// A backend that keeps everything does not get all memory, and a client that connects to it is told the reason.
#[test]
fn xsa_396_a_backend_that_keeps_pages_gets_no_more_of_them_after_a_while() {
    let machine = machine();
    machine.attach(DUPLEX);
    let _backend = machine.backend(Faults { keeps_mapped: true, ..Faults::default() });
    let card = machine.connect(TIMEOUT).unwrap();
    let config = Config { buffer_frames: 15_360, ..CONFIG };
    let refused = (0..1000).find_map(|_| card.playback(0, 0, &config).and_then(|mut stream| stream.close()).err());
    assert!(matches!(refused, Some(Error::PagesKept { pages: 4097.. })), "{refused:?}");
    assert!(machine.guest.usage().quarantined_pages < 4096 + 20);
    drop(card);
    let connected = machine.connect(TIMEOUT);
    assert!(matches!(connected, Err(Error::PagesKept { .. })), "{:?}", connected.err());
}

/// docs/threat-model.md: a page whose access cannot be ended is quarantined and never reused (XSA-396).
#[test]
fn xsa_396_a_page_whose_end_access_fails_is_quarantined() {
    let machine = machine();
    machine.attach(DUPLEX);
    let backend = machine.backend(Faults { keeps_mapped: true, ..Faults::default() });
    let card = machine.connect(TIMEOUT).unwrap();
    let mut refs = std::collections::HashSet::new();
    for round in 1..=3 {
        let mut stream = card.playback(0, 0, &CONFIG).unwrap();
        stream.write(&vec![0xaa; RING]).unwrap();
        stream.close().unwrap();
        assert_eq!(machine.guest.usage().quarantined_pages, round * 3, "the buffer, not the directory");
        let heard = backend.heard.lock().unwrap();
        let directories = heard.operations.iter().filter_map(|operation| match operation {
            Operation::Open(open) => Some(open.directory),
            _ => None,
        });
        refs.extend(directories);
        assert_eq!(heard.pages_at_open, vec![0; 3 * 4096]);
    }
    assert_eq!(refs.len(), 3, "no reference is used twice");
}
