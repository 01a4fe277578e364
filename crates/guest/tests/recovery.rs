//! Tests with daemons that come and go while a stream plays.

mod common;

use std::time::{Duration, Instant};

use common::{CONFIG, DUPLEX, Faults, PERIOD, RING, TIMEOUT, captured, machine, ramp};
use guest::Error;

/// Returns true if `whole` is `first` and then `second`, which may begin with the end of `first`.
fn joins(whole: &[u8], first: &[u8], second: &[u8]) -> bool {
    whole.starts_with(first)
        && whole.ends_with(second)
        && first.len() + second.len() >= whole.len()
        && first.len() + second.len() <= whole.len() + 3 * PERIOD
}

#[test]
fn playing_goes_on_with_the_next_daemon_and_loses_nothing() {
    for kill in [true, false] {
        let machine = machine();
        machine.attach(DUPLEX);
        let first = machine.backend(Faults::default());
        let card = machine.connect(TIMEOUT).unwrap();
        let mut stream = card.playback(0, 0, &CONFIG).unwrap();
        stream.set_volume(&[-1000]).unwrap();
        let sound = ramp(24_000);
        let (before, after) = sound.split_at(12_000 * 4);
        stream.write(before).unwrap();
        let first = if kill { first.die() } else { first.stop() };
        let first = std::mem::take(&mut *first.lock().unwrap()).played;
        let second = std::thread::scope(|scope| {
            let starting = scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(100));
                machine.backend(Faults::default())
            });
            stream.write(after).unwrap();
            starting.join().unwrap()
        });
        stream.drain().unwrap();
        assert_eq!(stream.position(), sound.len() as u64);
        assert_eq!(stream.stats().reconnects, 1);
        drop((stream, card));
        let heard = second.heard.lock().unwrap();
        assert!(joins(&sound, &first, &heard.played), "{} and {}", first.len(), heard.played.len());
        assert_eq!(heard.volume, [-1000, -1000]);
    }
}

#[test]
fn a_stream_that_drains_is_drained_by_the_next_daemon() {
    let machine = machine();
    machine.attach(DUPLEX);
    let first = machine.backend(Faults::default());
    let card = machine.connect(TIMEOUT).unwrap();
    let mut stream = card.playback(0, 0, &CONFIG).unwrap();
    let sound = ramp(1900);
    stream.write(&sound).unwrap();
    stream.start().unwrap();
    first.die();
    let second = machine.backend(Faults::default());
    stream.drain().unwrap();
    assert_eq!(stream.position(), sound.len() as u64);
    assert!(sound.ends_with(&second.played()));
    assert_eq!(stream.stats().xruns, 0);
    drop((stream, card));
}

#[test]
fn several_restarts_in_a_row_are_survived() {
    let machine = machine();
    machine.attach(DUPLEX);
    let mut backend = machine.backend(Faults { speed: 4, ..Faults::default() });
    let card = machine.connect(TIMEOUT).unwrap();
    let mut stream = card.playback(0, 0, &CONFIG).unwrap();
    let sound = ramp(4800);
    for round in 1..=5 {
        stream.write(&sound).unwrap();
        backend.die();
        backend = machine.backend(Faults { speed: 4, ..Faults::default() });
        stream.write(&sound).unwrap();
        assert_eq!(stream.stats().reconnects, round);
    }
    stream.drain().unwrap();
    assert_eq!(stream.position(), 10 * sound.len() as u64);
    drop(stream);
    drop(card);
    assert_eq!(machine.guest.usage().granted_pages, 0);
}

#[test]
fn recording_goes_on_with_the_next_daemon() {
    let machine = machine();
    machine.attach(DUPLEX);
    let first = machine.backend(Faults::default());
    let card = machine.connect(TIMEOUT).unwrap();
    let mut stream = card.capture(0, 1, &CONFIG).unwrap();
    let mut period = vec![0; PERIOD];
    stream.read(&mut period).unwrap();
    let mut recorded = period.clone();
    let position = stream.position();
    let first = first.stop();
    let _second = machine.backend(Faults::default());
    while recorded.len() < 8 * PERIOD {
        let read = stream.read(&mut period).unwrap();
        recorded.extend(&period[..read]);
    }
    assert!(stream.position() > position && stream.stats().reconnects == 1);
    // The recording has all frames that the first daemon was asked for, also those not collected when it went, and then
    // the second's.
    let of_first = first.lock().unwrap().read_spans().iter().map(|span| span.length as usize).sum::<usize>();
    assert!(of_first > PERIOD);
    if stream.stats().xruns == 0 {
        let expected = [captured(RING, of_first), captured(RING, recorded.len() - of_first)].concat();
        assert!(recorded == expected);
    }
    drop((stream, card));
}

#[test]
fn both_streams_of_a_card_come_back() {
    let machine = machine();
    machine.attach(DUPLEX);
    let first = machine.backend(Faults::default());
    let card = machine.connect(TIMEOUT).unwrap();
    let mut playback = card.playback(0, 0, &CONFIG).unwrap();
    let mut capture = card.capture(0, 1, &CONFIG).unwrap();
    let work = |stop: Instant, playback: &mut guest::Playback, capture: &mut guest::Capture| {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while Instant::now() < stop {
                    playback.write(&vec![0; PERIOD]).unwrap();
                }
            });
            scope.spawn(|| {
                let mut period = vec![0; PERIOD];
                while Instant::now() < stop {
                    capture.read(&mut period).unwrap();
                }
            });
        });
    };
    work(Instant::now() + Duration::from_millis(100), &mut playback, &mut capture);
    first.die();
    let _second = machine.backend(Faults::default());
    work(Instant::now() + Duration::from_millis(200), &mut playback, &mut capture);
    assert_eq!((playback.stats().reconnects, capture.stats().reconnects), (1, 1));
    drop((playback, capture, card));
}

#[test]
fn a_daemon_that_stays_away_is_an_error_in_time() {
    let machine = machine();
    machine.attach(DUPLEX);
    let backend = machine.backend(Faults::default());
    let card = machine.connect(TIMEOUT).unwrap();
    let mut stream = card.playback(0, 0, &CONFIG).unwrap();
    stream.set_recovery_timeout(Duration::from_millis(200));
    backend.stop();
    let error = stream.write(&ramp(48_000)).unwrap_err();
    // The time is the one that was set, and not the default.
    assert!(matches!(error, Error::ConnectTimeout { after, .. } if after == Duration::from_millis(200)), "{error}");
    // The stream is still usable after the wait: the next call tries again.
    let _second = machine.backend(Faults::default());
    stream.set_recovery_timeout(TIMEOUT);
    stream.write(&ramp(4800)).unwrap();
    stream.drain().unwrap();
    drop((stream, card));
}

#[test]
fn a_lost_connection_is_only_reported_to_those_who_do_not_wait() {
    let machine = machine();
    machine.attach(DUPLEX);
    let backend = machine.backend(Faults::default());
    let card = machine.connect(TIMEOUT).unwrap();
    let mut stream = card.playback(0, 0, &CONFIG).unwrap();
    backend.stop();
    while card.on_wake().unwrap() {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(matches!(stream.try_write(&ramp(100)), Err(Error::Lost)));
    assert!(matches!(stream.poll(), Err(Error::Lost)));
    let _second = machine.backend(Faults::default());
    stream.recover().unwrap();
    assert_eq!(stream.try_write(&ramp(100)).unwrap(), 400);
    drop((stream, card));
}
