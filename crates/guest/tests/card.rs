//! Tests of connecting and of the errors that a user sees.

mod common;

use std::time::Duration;

use common::{CONFIG, DUPLEX, Faults, GUEST, TIMEOUT, machine};
use guest::{Card, Config, Error};
use sndif::store::Direction;
use sndif::{Errno, Format, XenbusState};

#[test]
fn a_card_connects_and_describes_its_streams() {
    let machine = machine();
    machine.attach(DUPLEX);
    let _backend = machine.backend(Faults::default());
    let card = machine.connect(TIMEOUT).unwrap();
    assert_eq!(card.states(), (XenbusState::Connected, XenbusState::Connected));
    assert_eq!(Card::list(&machine.guest).unwrap(), [0]);
    assert_eq!(card.names().0, "Test");
    let streams = card.streams();
    let seen: Vec<_> = streams
        .iter()
        .map(|info| (info.pcm, info.stream, info.direction, info.name.as_str(), info.unique_id.as_str()))
        .collect();
    assert_eq!(seen, [(0, 0, Direction::Playback, "main", "p0"), (0, 1, Direction::Capture, "main", "c0")]);
}

#[test]
fn a_domain_without_a_card_is_told_how_to_get_one() {
    let error = machine().connect(TIMEOUT).unwrap_err().to_string();
    assert!(error.starts_with("domain 5 has no sound card 0: attach one with `vsnd emu attach`"), "{error}");
}

#[test]
fn a_missing_daemon_is_named() {
    let machine = machine();
    machine.attach(DUPLEX);
    let error = machine.connect(Duration::from_millis(50)).unwrap_err();
    assert!(matches!(error, Error::NoDaemon { state: XenbusState::Initialising, .. }), "{error}");
    assert!(error.to_string().contains("is vsndd running"), "{error}");
}

#[test]
fn a_time_out_names_both_states() {
    let machine = machine();
    machine.attach(DUPLEX);
    let mut store = machine.host.store().unwrap();
    store.write("/local/domain/0/backend/vsnd/5/0/state", b"2").unwrap();
    let error = machine.connect(Duration::from_millis(50)).unwrap_err().to_string();
    assert!(error.contains("frontend is Initialised, backend is InitWait"), "{error}");
}

#[test]
fn two_users_of_one_card_are_told_apart() {
    let machine = machine();
    machine.attach(DUPLEX);
    let _backend = machine.backend(Faults::default());
    let card = machine.connect(TIMEOUT).unwrap();
    let error = machine.connect(TIMEOUT).unwrap_err();
    assert!(
        matches!(&error, Error::CardInUse { process, .. } if *process == std::process::id().to_string()),
        "{error}"
    );
    drop(card);
    machine.connect(TIMEOUT).unwrap();
}

#[test]
fn a_card_can_be_connected_again_after_a_process_that_was_killed() {
    let machine = machine();
    machine.attach(DUPLEX);
    let mut store = machine.guest.store().unwrap();
    store.write("/local/domain/5/device/vsnd/0/state", b"4").unwrap();
    store.write("/local/domain/5/device/vsnd/0/0/0/ring-ref", b"77").unwrap();
    let _backend = machine.backend(Faults::default());
    machine.connect(TIMEOUT).unwrap();
}

#[test]
fn xsa_465_leaving_ends_in_closed_with_everything_taken_back() {
    let machine = machine();
    machine.attach(DUPLEX);
    let _backend = machine.backend(Faults::default());
    for _ in 0..3 {
        let card = machine.connect(TIMEOUT).unwrap();
        assert!(machine.guest.usage().granted_pages >= 4);
        drop(card);
        let mut store = machine.guest.store().unwrap();
        assert_eq!(store.read_string("/local/domain/5/device/vsnd/0/state").unwrap(), "6");
        let usage = machine.guest.usage();
        assert_eq!((usage.granted_pages, usage.ports, usage.quarantined_pages), (0, 0, 0));
    }
}

#[test]
fn a_wrong_node_is_named() {
    let machine = machine();
    machine.attach(DUPLEX);
    let mut store = machine.guest.store().unwrap();
    store.write("/local/domain/5/device/vsnd/0/0/sample-rates", b"fast").unwrap();
    let error = machine.connect(TIMEOUT).unwrap_err().to_string();
    assert!(error.contains("vsnd/0/0: node `sample-rates`"), "{error}");
}

#[test]
fn streams_are_opened_once_and_only_as_configured() {
    let machine = machine();
    machine.attach(DUPLEX);
    let _backend = machine.backend(Faults::default());
    let card = machine.connect(TIMEOUT).unwrap();
    assert!(matches!(card.playback(0, 7, &CONFIG), Err(Error::NoStream { .. })));
    let error = card.playback(0, 0, &Config { format: Format::S32Le, ..CONFIG }).unwrap_err().to_string();
    assert_eq!(error, "format s32_le is not possible; possible: u8 s16_le");
    let stream = card.playback(0, 0, &CONFIG).unwrap();
    assert!(matches!(card.playback(0, 0, &CONFIG), Err(Error::StreamInUse { .. })));
    drop(stream);
    drop(card.playback(0, 0, &CONFIG).unwrap());
}

#[test]
fn cve_2026_72085_a_refused_open_says_why_and_leaks_nothing() {
    let machine = machine();
    machine.attach(DUPLEX);
    let _backend = machine.backend(Faults { refuses_open: Some(Errno::EACCES), ..Faults::default() });
    let card = machine.connect(TIMEOUT).unwrap();
    let before = machine.guest.usage();
    for _ in 0..20 {
        let error = card.playback(0, 0, &CONFIG).unwrap_err().to_string();
        assert!(error.starts_with("the backend refuses OPEN: EACCES (the host's configuration"), "{error}");
    }
    assert_eq!(machine.guest.usage(), before);
}

#[test]
fn the_emulation_ending_is_an_error_and_not_a_wait() {
    let machine = machine();
    machine.attach(DUPLEX);
    let backend = machine.backend(Faults::default());
    let card = machine.connect(TIMEOUT).unwrap();
    let mut stream = card.playback(0, 0, &CONFIG).unwrap();
    backend.die();
    let common::Machine { emulation, guest, .. } = machine;
    assert_eq!(guest.domain(), GUEST);
    emulation.stop().unwrap();
    let error = stream.write(&vec![0; 100_000]).unwrap_err();
    assert!(!error.is_lost(), "{error}");
}
