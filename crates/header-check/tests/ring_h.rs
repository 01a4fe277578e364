//! Tests of our ring against the macros of `xen/io/ring.h`: the same steps give the same decisions, and each end works
//! with the other implementation's opposite end.

use std::cell::RefCell;

use header_check::Program;
use proptest::prelude::*;
use sndif::test_utils::Pages;
use sndif::v2::{BackRing, FrontRing};
use sndif::{PAGE_BYTES, SharedMemory};

/// Flag in the result of taking a packet, beside its id.
const TAKEN: u32 = 0x1_0000;

/// The C ends. One program serves every run: both ends are initialised again for each.
struct CRing(RefCell<Program>);

impl CRing {
    fn start() -> Self {
        Self(RefCell::new(Program::start("ring")))
    }

    fn run(&self, operation: u8, number: u32, page: &Pages) -> u32 {
        let mut program = self.0.borrow_mut();
        let mut command = vec![operation];
        command.extend(number.to_ne_bytes());
        command.extend(page.page(0));
        program.send(&command);
        let mut word = [0; 4];
        program.receive(&mut word);
        let mut bytes = [0; PAGE_BYTES];
        program.receive(&mut bytes);
        page.write(0, &bytes);
        u32::from_ne_bytes(word)
    }
}

enum Front<'a> {
    Ours(FrontRing<&'a Pages>),
    Theirs(&'a CRing, &'a Pages),
}

enum Back<'a> {
    Ours(BackRing<&'a Pages>),
    Theirs(&'a CRing, &'a Pages),
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Put,
    PublishRequests,
    TakeResponse,
    ArmFront,
    TakeRequest,
    Respond,
    PublishResponses,
    ArmBack,
}

fn packet(id: u16) -> [u8; 64] {
    let mut packet = [0; 64];
    packet[..2].copy_from_slice(&id.to_le_bytes());
    packet
}

fn taken(packet: Option<[u8; 64]>) -> u32 {
    packet.map_or(0, |packet| TAKEN | u32::from(u16::from_le_bytes([packet[0], packet[1]])))
}

impl Front<'_> {
    fn step(&mut self, step: Step, id: u16) -> u32 {
        match (self, step) {
            (Front::Ours(ring), Step::Put) => ring.put(&packet(id)).is_ok().into(),
            (Front::Ours(ring), Step::PublishRequests) => ring.publish().into(),
            (Front::Ours(ring), Step::TakeResponse) => taken(ring.take().unwrap()),
            (Front::Ours(ring), Step::ArmFront) => ring.arm(1).into(),
            (Front::Theirs(c, page), Step::Put) => c.run(b'p', id.into(), page),
            (Front::Theirs(c, page), Step::PublishRequests) => c.run(b'P', 0, page),
            (Front::Theirs(c, page), Step::TakeResponse) => c.run(b't', 0, page),
            (Front::Theirs(c, page), Step::ArmFront) => c.run(b'a', 0, page),
            _ => unreachable!("a step of the other end"),
        }
    }
}

impl Back<'_> {
    fn step(&mut self, step: Step, id: u16) -> u32 {
        match (self, step) {
            (Back::Ours(ring), Step::TakeRequest) => taken(ring.take().unwrap()),
            (Back::Ours(ring), Step::Respond) => ring.respond(&packet(id)).into(),
            (Back::Ours(ring), Step::PublishResponses) => ring.publish().into(),
            (Back::Ours(ring), Step::ArmBack) => ring.arm(1).into(),
            (Back::Theirs(c, page), Step::TakeRequest) => c.run(b'g', 0, page),
            (Back::Theirs(c, page), Step::Respond) => c.run(b'r', id.into(), page),
            (Back::Theirs(c, page), Step::PublishResponses) => c.run(b'R', 0, page),
            (Back::Theirs(c, page), Step::ArmBack) => c.run(b'b', 0, page),
            _ => unreachable!("a step of the other end"),
        }
    }
}

/// Returns the results of all steps.
fn trace(steps: &[Step], c: &CRing, our_front: bool, our_back: bool) -> Vec<u32> {
    let page = Pages::new(1);
    let mut front = if our_front {
        Front::Ours(FrontRing::new(&page))
    } else {
        c.run(b'F', 0, &page);
        Front::Theirs(c, &page)
    };
    let mut back = if our_back {
        Back::Ours(BackRing::new(&page))
    } else {
        c.run(b'B', 0, &page);
        Back::Theirs(c, &page)
    };
    let numbered = steps.iter().zip(0_u16..);
    numbered
        .map(|(step, id)| match step {
            Step::Put | Step::PublishRequests | Step::TakeResponse | Step::ArmFront => front.step(*step, id),
            Step::TakeRequest | Step::Respond | Step::PublishResponses | Step::ArmBack => back.step(*step, id),
        })
        .collect()
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Steps that move packets have more weight than those that look at them, so that the ring fills and wraps.
    let step = prop_oneof![
        4 => Just(Step::Put),
        2 => Just(Step::PublishRequests),
        3 => Just(Step::TakeResponse),
        1 => Just(Step::ArmFront),
        4 => Just(Step::TakeRequest),
        4 => Just(Step::Respond),
        2 => Just(Step::PublishResponses),
        1 => Just(Step::ArmBack),
    ];
    prop::collection::vec(step, 0..400)
}

#[test]
fn every_pairing_of_ends_takes_the_same_decisions() {
    let c = CRing::start();
    let config = ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    runner
        .run(&steps(), |steps| {
            let theirs = trace(&steps, &c, false, false);
            prop_assert_eq!(&trace(&steps, &c, true, true), &theirs, "ours alone");
            prop_assert_eq!(&trace(&steps, &c, true, false), &theirs, "our frontend, their backend");
            prop_assert_eq!(&trace(&steps, &c, false, true), &theirs, "their frontend, our backend");
            Ok(())
        })
        .unwrap();
}

#[test]
fn the_page_is_initialised_alike() {
    let c = CRing::start();
    let (ours, theirs) = (Pages::new(1), Pages::new(1));
    let _front: FrontRing<_> = FrontRing::new(&ours);
    c.run(b'F', 0, &theirs);
    assert_eq!(ours.bytes(), theirs.bytes());
}

#[test]
fn impossible_request_indices_are_those_of_the_header() {
    let c = CRing::start();
    for producer in [0, 1, 31, 32, 33, 34, 1000, u32::MAX / 2, u32::MAX - 31, u32::MAX] {
        let page = Pages::new(1);
        c.run(b'F', 0, &page);
        c.run(b'B', 0, &page);
        let impossible = c.run(b'o', producer, &page) != 0;
        let mut ring: BackRing<_> = BackRing::new(&page);
        page.store_release(0, producer);
        assert_eq!(ring.take().is_err(), impossible, "{producer}");
    }
}
