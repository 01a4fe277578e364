//! A recorder that is held up for longer than its buffer, with a backend that then refuses every READ.

use std::time::Duration;

use rustix::process::Signal;
use testkit::other::{Backend, Card, Habits};
use testkit::signal::noise;

use crate::common::{World, eventually, samples, signal, stderr, text};

#[test]
fn a_recorder_that_was_held_up_goes_on_and_says_what_is_missing() {
    let world = World::new();
    let source = noise(3, 4 * 48_000 * 4);
    let card = Card {
        guest: xen::DomainId(1),
        card: 0,
        directory: world.dir.path().to_owned(),
        source: source.as_slice().into(),
        habits: Habits::default(),
    };
    let backend = Backend::start(world.enter(0), card);
    let file = world.path("recorded.wav");
    let mut recorder = world.guest(&["record", text(&file), "--frames", "144000", "--buffer-ms", "500"]);
    let recorder = recorder.spawn().expect("starts");
    let recorded = || file.metadata().map_or(0, |file| file.len());
    eventually("it records", || recorded() > 9600 * 4);
    signal(&recorder, Signal::STOP);
    // Longer than the buffer.
    std::thread::sleep(Duration::from_millis(1200));
    signal(&recorder, Signal::CONT);
    let output = recorder.wait_with_output().expect("ends");
    assert!(output.status.success(), "{}", stderr(&output));
    let said = stderr(&output);
    assert!(said.starts_with("vsnd: the backend refuses READ: EIO; started again, about "), "{said}");
    assert!(said.contains(" s are missing near frame "), "{said}");
    drop(backend);
    let heard: Vec<u8> = samples(&file).into_iter().flat_map(i16::to_le_bytes).collect();
    assert_eq!(heard.len(), 144_000 * 4);
    // Whole up to an overrun; then from the beginning again, which is what this backend's source does at OPEN. A busy
    // machine may hold the recorder up once more.
    let mut rest = heard.as_slice();
    for line in said.lines() {
        let frame = line.split(' ').next_back().and_then(|frame| frame.parse::<usize>().ok()).expect("a frame");
        let from = heard.len() / 4 - rest.len() / 4;
        let same = rest.iter().zip(&source).take_while(|(one, other)| one == other).count() / 4;
        // Frames that were read and not written yet, less than a period, come after that.
        assert!((frame..frame + 480).contains(&(from + same)), "{said}: {from} and {same}");
        rest = &rest[same * 4..];
    }
    assert!(source.starts_with(rest), "{said}");
}
