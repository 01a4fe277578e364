//! Habits of backends other than ours, one test each.

mod common;

use common::{CONFIG, DUPLEX, Faults, RING, TIMEOUT, machine, ramp};
use guest::Error;
use sndif::v2::{Operation, Trigger};

#[test]
fn a_backend_that_counts_anew_after_stop_is_closed_and_opened() {
    for from in [0, 37 * 4] {
        let machine = machine();
        machine.attach(DUPLEX);
        let backend = machine.backend(Faults { counts_anew_from: Some(from), ..Faults::default() });
        let card = machine.connect(TIMEOUT).unwrap();
        let mut stream = card.open(0, 0, &CONFIG).unwrap();
        let sound = ramp(5000);
        for round in 1..=3 {
            stream.write(&sound).unwrap();
            stream.drain().unwrap();
            assert_eq!(stream.position(), round * sound.len() as u64);
            stream.stop().unwrap();
        }
        drop((stream, card));
        let heard = backend.heard.lock().unwrap();
        assert_eq!(heard.played, sound.repeat(3));
        let opened = heard.operations.iter().filter(|operation| matches!(operation, Operation::Open(_))).count();
        assert_eq!(opened, 3, "and not after the last STOP");
    }
}

#[test]
fn a_refused_pause_leaves_the_stream_running_and_is_not_asked_for_again() {
    let machine = machine();
    machine.attach(DUPLEX);
    let backend = machine.backend(Faults { cannot_pause: true, ..Faults::default() });
    let card = machine.connect(TIMEOUT).unwrap();
    let mut stream = card.open(0, 0, &CONFIG).unwrap();
    let sound = ramp(9600);
    let (before, after) = sound.split_at(RING);
    stream.write(before).unwrap();
    stream.start().unwrap();
    assert!(matches!(stream.pause(), Err(Error::Refused { operation: "TRIGGER", .. })));
    assert!(stream.is_running());
    assert!(matches!(stream.pause(), Err(Error::NotOffered("pause"))));
    stream.write(after).unwrap();
    stream.drain().unwrap();
    drop((stream, card));
    let heard = backend.heard.lock().unwrap();
    assert_eq!(heard.played, sound);
    let pause = Operation::Trigger(Trigger::Pause);
    assert_eq!(heard.operations.iter().filter(|&&operation| operation == pause).count(), 1);
}

#[test]
fn a_backend_that_does_not_know_reconfiguring_takes_the_stream_up() {
    let machine = machine();
    machine.attach(DUPLEX);
    let first = machine.backend(Faults::default());
    let card = machine.connect(TIMEOUT).unwrap();
    let mut stream = card.open(0, 0, &CONFIG).unwrap();
    let sound = ramp(9600);
    let (before, after) = sound.split_at(RING);
    stream.write(before).unwrap();
    stream.start().unwrap();
    first.stop();
    let second = machine.backend(Faults { deaf_to_reconfiguring: true, ..Faults::default() });
    stream.write(after).unwrap();
    stream.drain().unwrap();
    assert_eq!(stream.stats().reconnects, 1);
    drop((stream, card, second));
}
