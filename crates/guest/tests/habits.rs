//! Habits of the only other backend in use, one test each.

mod common;

use std::path::PathBuf;
use std::sync::Arc;

use common::{CONFIG, DUPLEX, Faults, GUEST, Machine, PERIOD, RING, TIMEOUT, Until, captured, machine, ramp, record};
use guest::{Config, Error};
use host_audio::wav;
use sndif::v2::{Operation, Trigger};
use sndif::{Errno, Format};
use testkit::eventually;
use testkit::other::{Backend, Card, Habits};
use testkit::signal::{assert_same, noise};

/// Frames of a buffer that no stall of the machine can overrun: 5 s.
const LONG: u32 = 240_000;

/// A guest whose card is served with that backend's habits.
struct Served {
    machine: Machine,
    directory: tempfile::TempDir,
    source: Arc<[u8]>,
}

fn served() -> Served {
    served_as(DUPLEX)
}

fn served_as(cards: &str) -> Served {
    let machine = machine();
    machine.attach(cards);
    Served { machine, directory: tempfile::tempdir().unwrap(), source: noise(7, 48_000 * 4).into() }
}

impl Served {
    fn backend(&self, habits: Habits) -> Backend {
        let (directory, source) = (self.directory.path().to_owned(), Arc::clone(&self.source));
        Backend::start(self.machine.host.clone(), Card { guest: GUEST, card: 0, directory, source, habits })
    }

    /// Returns the files of the first stream, one for each OPEN.
    fn files(&self) -> Vec<PathBuf> {
        let name = |number| match number {
            1 => "5-0-0-0.wav".to_owned(),
            number => format!("5-0-0-0-{number}.wav"),
        };
        (1..).map(|number| self.directory.path().join(name(number))).take_while(|file| file.exists()).collect()
    }

    fn played(&self) -> Vec<u8> {
        self.files().iter().flat_map(|file| wav::read_file(file).unwrap().data).collect()
    }
}

fn is_open(operation: &Operation) -> bool {
    matches!(operation, Operation::Open(_))
}

/// Tests periods that are no whole number of milliseconds, and some of less than one.
#[test]
fn positions_come_before_and_behind_the_end_of_a_period() {
    for (period_frames, buffer_frames) in [(500, 2000), (1023, 4092), (67, 2010)] {
        let served = served();
        let _backend = served.backend(Habits::default());
        let card = served.machine.connect(TIMEOUT).unwrap();
        let config = Config { period_frames, buffer_frames, ..CONFIG };
        let mut stream = card.playback(0, 0, &config).unwrap();
        let sound = ramp(9600);
        stream.write(&sound).unwrap();
        stream.drain().unwrap();
        assert_eq!(stream.position(), sound.len() as u64);
        let mut stream = card.capture(0, 1, &Config { buffer_frames: LONG, ..config }).unwrap();
        let mut recorded = Vec::new();
        while recorded.len() < sound.len() {
            let mut period = vec![0; PERIOD];
            let read = stream.read(&mut period).unwrap();
            recorded.extend(&period[..read]);
        }
        // The file is complete when its stream is closed or the backend is gone.
        drop((stream, card));
        assert_same(&served.played(), &sound);
        assert_same(&recorded, &served.source[..recorded.len()]);
    }
}

#[test]
fn recording_while_playing_brings_everything() {
    let served = served();
    let _backend = served.backend(Habits::default());
    let card = served.machine.connect(TIMEOUT).unwrap();
    let config = Config { period_frames: 500, buffer_frames: LONG, ..CONFIG };
    let (mut player, mut recorder) = (card.playback(0, 0, &config).unwrap(), card.capture(0, 1, &config).unwrap());
    let (sound, mut recorded) = (ramp(9600), vec![0; 9600 * 4]);
    for (written, read) in sound.chunks(PERIOD).zip(recorded.chunks_mut(PERIOD)) {
        player.write(written).unwrap();
        let mut place = 0;
        while place < read.len() {
            place += recorder.read(&mut read[place..]).unwrap();
        }
    }
    player.drain().unwrap();
    drop((player, recorder, card));
    assert_same(&served.played(), &sound);
    assert_same(&recorded, &served.source[..recorded.len()]);
}

#[test]
fn a_backend_that_counts_from_0_after_stop_is_closed_and_opened() {
    for counts_from in [0, 37] {
        let served = served();
        let backend = served.backend(Habits { counts_from, ..Habits::default() });
        let card = served.machine.connect(TIMEOUT).unwrap();
        let mut stream = card.playback(0, 0, &CONFIG).unwrap();
        let sound = ramp(5000);
        for round in 1..=3 {
            stream.write(&sound).unwrap();
            stream.drain().unwrap();
            assert_eq!(stream.position(), round * sound.len() as u64);
            stream.stop().unwrap();
        }
        drop((stream, card));
        assert_same(&served.played(), &sound.repeat(3));
        assert_eq!(backend.count(is_open), 3, "and not after the last STOP");
        assert_eq!(served.files().len(), 3, "each OPEN has a file of its own");
    }
}

#[test]
fn a_refused_pause_leaves_the_stream_running_and_is_not_asked_for_again() {
    let served = served();
    let backend = served.backend(Habits::default());
    let card = served.machine.connect(TIMEOUT).unwrap();
    let mut stream = card.playback(0, 0, &CONFIG).unwrap();
    let sound = ramp(9600);
    let (before, after) = sound.split_at(RING);
    stream.write(before).unwrap();
    stream.start().unwrap();
    assert!(matches!(stream.pause(), Err(Error::Refused { operation: "TRIGGER", errno: Errno::ENOSYS })));
    assert!(stream.is_running());
    assert!(matches!(stream.pause(), Err(Error::NotOffered("pause"))));
    stream.write(after).unwrap();
    stream.drain().unwrap();
    drop((stream, card));
    assert_same(&served.played(), &sound);
    assert_eq!(backend.count(|operation| *operation == Operation::Trigger(Trigger::Pause)), 1);
}

#[test]
fn a_backend_that_does_not_know_reconfiguring_takes_the_stream_up() {
    let served = served();
    let first = served.backend(Habits::default());
    let card = served.machine.connect(TIMEOUT).unwrap();
    let mut stream = card.playback(0, 0, &CONFIG).unwrap();
    let sound = ramp(9600);
    let (before, after) = sound.split_at(RING);
    stream.write(before).unwrap();
    stream.start().unwrap();
    assert!(eventually(TIMEOUT, || served
        .files()
        .first()
        .is_some_and(|file| file.metadata().unwrap().len() > 480 * 4)));
    first.kill();
    let _second = served.backend(Habits::default());
    stream.write(after).unwrap();
    stream.drain().unwrap();
    assert_eq!(stream.stats().reconnects, 1);
    drop((stream, card));
    let files = served.files().iter().map(|file| wav::read_file(file).unwrap().data).collect::<Vec<_>>();
    let [first, second] = files.as_slice() else { panic!("{} files", files.len()) };
    // Frames that the first backend played after its last report are heard twice: a period, and those until it was
    // killed.
    assert_same(first, &sound[..first.len()]);
    assert_same(second, &sound[sound.len() - second.len()..]);
    assert!(first.len() + second.len() >= sound.len(), "{} and {}", first.len(), second.len());
}

#[test]
fn a_refused_volume_is_told_and_the_stream_plays_on() {
    let served = served();
    let _backend = served.backend(Habits { offers_mixer: true, ..Habits::default() });
    let card = served.machine.connect(TIMEOUT).unwrap();
    let mut stream = card.playback(0, 0, &CONFIG).unwrap();
    let sound = ramp(9600);
    let (before, after) = sound.split_at(RING);
    stream.write(before).unwrap();
    stream.start().unwrap();
    assert!(matches!(stream.set_volume(&[-6000]), Err(Error::Refused { operation: "volume", errno: Errno::EINVAL })));
    assert!(matches!(stream.volume(), Err(Error::Refused { operation: "GET_VOLUME", errno: Errno::EINVAL })));
    stream.write(after).unwrap();
    stream.drain().unwrap();
    drop((stream, card));
    assert_same(&served.played(), &sound);
}

#[test]
fn a_card_without_a_mixer_is_asked_for_none() {
    let served = served();
    let backend = served.backend(Habits::default());
    let card = served.machine.connect(TIMEOUT).unwrap();
    let mut stream = card.playback(0, 0, &CONFIG).unwrap();
    assert!(matches!(stream.set_volume(&[-6000]), Err(Error::NotOffered("volume"))));
    assert_eq!(backend.count(|operation| matches!(operation, Operation::SetVolume(_))), 0);
}

#[test]
fn a_format_that_a_query_allows_may_be_refused_at_open() {
    let served = served_as(&DUPLEX.replace("short-name=Test", "short-name=Test, sample-formats=s16_le;u16_le"));
    let _backend = served.backend(Habits::default());
    let card = served.machine.connect(TIMEOUT).unwrap();
    let opened = card.playback(0, 0, &Config { format: Format::U16Le, ..CONFIG });
    assert!(matches!(opened, Err(Error::Refused { operation: "OPEN", errno: Errno::EINVAL })), "{opened:?}");
    card.playback(0, 0, &CONFIG).unwrap();
}

#[test]
fn ids_that_a_full_page_used_up_are_missing_and_nothing_else() {
    let served = served();
    let _backend = served.backend(Habits::default());
    let card = served.machine.connect(TIMEOUT).unwrap();
    // Periods of 6 ms in a buffer of two seconds.
    let config = Config { rate_hz: 8_000, period_frames: 48, buffer_frames: 16_320, ..CONFIG };
    let mut stream = card.playback(0, 0, &config).unwrap();
    let sound = ramp(21_120);
    assert_eq!(stream.try_write(&sound).unwrap(), 16_320 * 4);
    stream.start().unwrap();
    // Five times as many periods as events fit: a backend that is held up has one event for several.
    let played = || served.files().first().is_some_and(|file| file.metadata().unwrap().len() > 315 * 48 * 4);
    assert!(eventually(TIMEOUT, played));
    stream.write(&sound[16_320 * 4..]).unwrap();
    stream.drain().unwrap();
    assert!(stream.stats().event_id_gaps > 0);
    drop((stream, card));
    assert_same(&served.played(), &sound);
}

/// Reads a period, into the last piece between two restarts.
fn read_or_restart(stream: &mut guest::Capture, pieces: &mut Vec<Vec<u8>>) {
    let mut period = vec![0; PERIOD];
    match stream.read(&mut period) {
        Ok(read) => pieces.last_mut().unwrap().extend(&period[..read]),
        Err(error) => {
            assert!(error.is_refused_read(), "{error}");
            // Less than a read had waited for is ready; it outlives the restart.
            let mut rest = vec![0; stream.room_bytes() as usize];
            stream.restart(error).unwrap();
            assert_eq!(stream.try_read(&mut rest).unwrap(), rest.len());
            pieces.last_mut().unwrap().extend(rest);
            pieces.push(Vec::new());
        }
    }
}

/// Tests a recorder that is held up until the device has overrun, then goes on.
#[test]
fn a_capture_that_overran_is_started_again() {
    for overruns_until_open in [false, true] {
        let served = served();
        let backend = served.backend(Habits { overruns_until_open, ..Habits::default() });
        let card = served.machine.connect(TIMEOUT).unwrap();
        let mut stream = card.capture(0, 1, &Config { buffer_frames: 24_000, ..CONFIG }).unwrap();
        // Each piece was read between two restarts.
        let mut pieces = vec![Vec::new()];
        let mut held_up = false;
        while !held_up || pieces[pieces.len() - 1].len() < 8 * PERIOD {
            read_or_restart(&mut stream, &mut pieces);
            if !held_up && pieces[pieces.len() - 1].len() >= 8 * PERIOD {
                // The pause is longer than the buffer.
                std::thread::sleep(std::time::Duration::from_millis(700));
                held_up = true;
                let before = pieces.len();
                // All captured frames come, and then a refusal.
                while pieces.len() == before {
                    read_or_restart(&mut stream, &mut pieces);
                }
            }
        }
        let restarts = pieces.len() - 1;
        assert!(restarts >= 1 && stream.stats().xruns >= restarts as u64, "{restarts} restarts");
        assert_eq!(backend.count(is_open), pieces.len(), "this backend does not tell where it stops");
        // Each piece begins where this backend's source does at OPEN, and has no gap.
        for piece in pieces {
            assert_same(&piece, &served.source[..piece.len()]);
        }
    }
}

/// Tests which of STOP and START, CLOSE and OPEN is needed; frames from before the overrun stay.
#[test]
fn a_refused_read_stops_and_starts_and_then_closes_and_opens() {
    for (until, opens, starts) in [(Until::Start, 1, 2), (Until::Open, 2, 3)] {
        let machine = machine();
        machine.attach(DUPLEX);
        let faults = Faults { overruns_at_read: Some((3, until)), ..Faults::default() };
        let backend = machine.backend(faults);
        let card = machine.connect(TIMEOUT).unwrap();
        let mut stream = card.capture(0, 1, &Config { buffer_frames: LONG, ..CONFIG }).unwrap();
        let ring = stream.geometry().ring_bytes() as usize;
        // A recorder that is late asks for all that there is: two READs are not a second.
        let wanted = 100 * PERIOD;
        let recorded = record(&mut stream, Some(wanted / 4)).unwrap();
        let heard = backend.heard.lock().unwrap();
        let count = |like: &dyn Fn(&Operation) -> bool| heard.operations.iter().filter(|one| like(one)).count();
        assert_eq!(count(&is_open), opens, "{until:?}");
        assert_eq!(count(&|one| *one == Operation::Trigger(Trigger::Start)), starts, "{until:?}");
        let before = heard.read_spans()[..2].iter().map(|span| span.length as usize).sum::<usize>();
        assert_same(&recorded[..before], &captured(ring, before));
        assert_same(&recorded[before..], &captured(ring, wanted - before));
    }
}

#[test]
fn a_read_that_is_refused_whatever_is_done_is_an_error() {
    let machine = machine();
    machine.attach(DUPLEX);
    let _backend = machine.backend(Faults { overruns_at_read: Some((3, Until::Never)), ..Faults::default() });
    let card = machine.connect(TIMEOUT).unwrap();
    let mut stream = card.capture(0, 1, &CONFIG).unwrap();
    let recorded = record(&mut stream, None);
    assert!(matches!(recorded, Err(Error::Refused { operation: "READ", errno: Errno::EIO })), "{recorded:?}");
}
