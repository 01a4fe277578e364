//! A connected stream of either protocol: ring and event page on the guest's side, and the core, put together as the
//! daemon does it.

use std::collections::VecDeque;

use backend::Frames;
use sndif::test_utils::Pages;
use sndif::v2::{Event, EventProducer, PACKET_BYTES, Request, Response};
use sndif::{RingViolation, SharedMemory, v0, v2};

use crate::input::Input;
use crate::streams::{Host, Map};

/// Requests handled at once.
const REQUEST_BUDGET: u32 = 64;

const RSP_PROD: usize = 8;
const IN_CONS: usize = 0;
const IN_PROD: usize = 4;
const IN_AWAITED: usize = 8;

/// The guest broke its ring.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// Answers as the guest sees them: one for each request that was taken, in order.
struct Answers {
    asked: VecDeque<(u64, u8)>,
    seen: u32,
    violation: Option<RingViolation>,
}

impl Answers {
    fn of(page: &Pages) -> Self {
        // A ring of version 0 is taken over where it stands.
        Self { asked: VecDeque::new(), seen: page.load_acquire(RSP_PROD), violation: None }
    }

    fn broken(&mut self, violation: RingViolation) -> Broken {
        assert_eq!(*self.violation.get_or_insert(violation), violation, "a broken ring stays as it broke");
        Broken
    }

    /// Checks the answers that were given since the last call.
    fn check<const SLOT: usize>(&mut self, page: &Pages, given: u32, mut answer: impl FnMut(&[u8; SLOT]) -> (u64, u8)) {
        // The limit counts from what is answered, shown or not: a guest that asks before it sees the answer overwrites it.
        let slots = sndif::ring_slots(SLOT);
        assert!(given <= slots + 1, "more requests than a ring holds");
        for _ in slots..given {
            self.asked.pop_front();
            self.seen = self.seen.wrapping_add(1);
        }
        for _ in 0..given.min(slots) {
            let mut slot = [0; SLOT];
            page.read(64 + (self.seen % slots) as usize * SLOT, &mut slot);
            let answer = answer(&slot);
            // READs that were laid out are answered when they can be, all else in order.
            let kept = |asked: &(u64, u8)| asked.1 == v2::opcode::READ_AHEAD && SLOT == PACKET_BYTES;
            let place = if kept(&answer) {
                self.asked.iter().position(|asked| *asked == answer)
            } else {
                self.asked.iter().position(|asked| !kept(asked))
            };
            let asked = place.and_then(|place| self.asked.remove(place));
            assert_eq!(Some(answer), asked, "an answer to something else");
            self.seen = self.seen.wrapping_add(1);
        }
        if given > 0 {
            assert_eq!(page.load_acquire(RSP_PROD), self.seen, "as many answers as are shown");
        }
    }
}

/// Interface that the streams of both protocol versions have in common.
pub(super) trait Served {
    /// Handles requests; returns true if some may be left.
    fn serve(&mut self, now_ns: u64, tail: &[u8], map: Map<'_>) -> Result<bool, Broken>;
    /// The host device's turn.
    fn look(&mut self, now_ns: u64, tail: &[u8]);
    /// Time at which the stream wants to be looked at.
    fn next_wake_ns(&self) -> Option<u64>;
    /// The host device fails.
    fn fails(&mut self, now_ns: u64);
    /// The host decides differently.
    fn permit(&mut self, permitted: bool);
    /// Frames in memory.
    fn held_bytes(&self) -> u64;
    /// Index of the ring up to which it is answered.
    fn answered(&self) -> u32;
}

pub(super) struct Served2 {
    config: backend::StreamConfig,
    host: Host,
    page: Pages,
    ring: v2::BackRing<Pages>,
    answers: Answers,
    event_page: Pages,
    events: EventProducer<Pages>,
    /// The guest says from how many unread events on it is to be notified.
    holds_off: bool,
    /// Events that were sent.
    sent: u32,
}

impl Served2 {
    pub(super) fn new(config: backend::StreamConfig, noise: u32, now_ns: u64, ring: &Pages, events: &Pages) -> Self {
        // A ring of version 2 starts at 0, whatever stands in it.
        ring.store_release(RSP_PROD, 0);
        Self {
            config,
            host: Host::with(config, noise, now_ns),
            page: ring.clone(),
            ring: v2::BackRing::new(ring.clone()),
            answers: Answers::of(ring),
            event_page: events.clone(),
            events: EventProducer::new(events.clone()).with_hold_off(noise & 1 == 0),
            holds_off: noise & 1 == 0,
            sent: 0,
        }
    }

    fn push(events: &mut EventProducer<Pages>, holds_off: bool, page: &Pages, sent: &mut u32, position: u64) -> bool {
        let unread = sent.wrapping_sub(page.load_acquire(IN_CONS));
        let Ok(notify) = events.push(position) else { return false };
        let awaited = unread.wrapping_add(1) >= page.load_acquire(IN_AWAITED);
        assert!(notify || holds_off && !awaited && events.has_room(), "nobody is told of an event");
        assert!(unread < v2::EVENT_SLOTS, "an event that was not read is overwritten");
        let mut slot = [0; PACKET_BYTES];
        page.read(64 + (*sent % 63) as usize * 64, &mut slot);
        let event = Event { id: *sent as u16, position_bytes: position };
        assert_eq!(Event::parse(&slot), Ok(event), "numbered without gaps");
        assert_eq!(slot, event.emit(), "nothing else in the slot");
        *sent = sent.wrapping_add(1);
        assert_eq!(page.load_acquire(IN_PROD), *sent);
        true
    }
}

/// An answer that carries nothing else: to which request of which operation.
fn answer(slot: &[u8; PACKET_BYTES]) -> (u64, u8) {
    let status = i32::from_le_bytes([slot[4], slot[5], slot[6], slot[7]]);
    assert!((-4095..=0).contains(&status) && slot[3] == 0);
    let carries = slot[2] == v2::opcode::HW_PARAM_QUERY && status == 0;
    assert!(carries || slot[8..].iter().all(|&byte| byte == 0), "an answer leaks memory");
    (u16::from_le_bytes([slot[0], slot[1]]).into(), slot[2])
}

impl Served for Served2 {
    fn serve(&mut self, now_ns: u64, tail: &[u8], map: Map<'_>) -> Result<bool, Broken> {
        self.host.now_ns = now_ns;
        let Self { host, page, ring, answers, event_page, events, holds_off, sent, .. } = self;
        let mut given = 0;
        let outcome = loop {
            if given == REQUEST_BUDGET {
                break Ok(true);
            }
            let packet = match ring.take() {
                Ok(Some(packet)) => packet,
                Ok(None) => {
                    assert!(!ring.arm(1), "nobody has asked meanwhile");
                    break Ok(false);
                }
                Err(violation) => break Err(answers.broken(violation)),
            };
            answers.asked.push_back((u16::from_le_bytes([packet[0], packet[1]]).into(), packet[2]));
            let (response, ends) = match Request::parse(&packet) {
                Ok(request) => {
                    let ends = matches!(
                        request.operation,
                        v2::Operation::Open(_) | v2::Operation::Close | v2::Operation::Trigger(v2::Trigger::Stop)
                    );
                    (host.request(&request, &mut Input(tail), map), ends)
                }
                Err(bad) => {
                    let refused = Response { id: bad.id, opcode: bad.opcode, result: Err(bad.errno), params: None };
                    (Some(refused), false)
                }
            };
            host.tell(|position| Self::push(events, *holds_off, event_page, sent, position));
            while let Some(kept) = host.kept_read() {
                assert!(ring.respond(&kept.emit()));
                given += 1;
            }
            assert!(!ends || !host.keeps_reads(), "a READ outlives its run");
            if let Some(response) = response {
                assert!(ring.respond(&response.emit()));
                given += 1;
            }
        };
        let _ = ring.publish();
        answers.check::<PACKET_BYTES>(page, given, answer);
        outcome
    }

    fn look(&mut self, now_ns: u64, tail: &[u8]) {
        self.host.now_ns = now_ns;
        let mut input = Input(tail);
        let mood = input.u8();
        let Self { host, event_page, events, holds_off, sent, ring, answers, page, .. } = self;
        host.look(mood, &mut input, |position| Self::push(events, *holds_off, event_page, sent, position));
        let mut given = 0;
        while let Some(kept) = host.kept_read() {
            assert!(ring.respond(&kept.emit()));
            given += 1;
        }
        let _ = ring.publish();
        answers.check::<PACKET_BYTES>(page, given, answer);
    }

    fn next_wake_ns(&self) -> Option<u64> {
        self.host.core.next_wake_ns()
    }

    fn fails(&mut self, now_ns: u64) {
        self.host.now_ns = now_ns;
        self.host.fails();
    }

    fn permit(&mut self, permitted: bool) {
        self.host.core.reconfigure(backend::StreamConfig { permitted, ..self.config });
    }

    fn held_bytes(&self) -> u64 {
        self.host.core.geometry().map_or(0, |geometry| geometry.ring_bytes.into())
    }

    fn answered(&self) -> u32 {
        self.answers.seen
    }
}

pub(super) struct Served0 {
    config: backend::v0::StreamConfig,
    host: crate::v0::Host,
    page: Pages,
    ring: v0::BackRing<Pages>,
    answers: Answers,
}

impl Served0 {
    pub(super) fn new(config: backend::v0::StreamConfig, noise: u32, now_ns: u64, ring: &Pages) -> Self {
        Self {
            config,
            host: crate::v0::Host::with(config, noise, now_ns),
            page: ring.clone(),
            ring: v0::BackRing::taken_over(ring.clone()),
            answers: Answers::of(ring),
        }
    }
}

impl Served for Served0 {
    fn serve(&mut self, now_ns: u64, tail: &[u8], _: Map<'_>) -> Result<bool, Broken> {
        self.host.now_ns = now_ns;
        let Self { host, page, ring, answers, .. } = self;
        host.settle();
        let mut given = 0;
        let outcome = loop {
            if let Some(response) = host.take_answer() {
                assert!(ring.respond(&response.emit()));
                given += 1;
            }
            if host.is_waiting() {
                break Ok(false);
            }
            if given == REQUEST_BUDGET {
                break Ok(true);
            }
            let packet = match ring.take() {
                Ok(Some(packet)) => packet,
                Ok(None) => {
                    assert!(!ring.arm(1), "nobody has asked meanwhile");
                    break Ok(false);
                }
                Err(violation) => break Err(answers.broken(violation)),
            };
            match v0::Request::parse(&packet) {
                Ok(request) => {
                    answers.asked.push_back((request.id, packet[0]));
                    host.request(&request, &mut Input(tail));
                }
                Err(bad) => {
                    answers.asked.push_back((bad.id, packet[0]));
                    host.core.count_refused();
                    let refused = v0::Response { id: bad.id, opcode: bad.opcode, success: false, volume: None };
                    assert!(ring.respond(&refused.emit()));
                    given += 1;
                }
            }
        };
        let _ = ring.publish();
        answers.check::<{ v0::PACKET_BYTES }>(page, given, |slot| {
            let id = u64::from_le_bytes(std::array::from_fn(|at| slot[at]));
            let given = v0::Response { id, opcode: slot[8], success: slot[10] == 0, volume: None };
            let carries = v0::Response::parse(slot).unwrap_or(given);
            assert_eq!(*slot, carries.emit(), "an answer leaks memory");
            (id, slot[8])
        });
        outcome
    }

    fn look(&mut self, now_ns: u64, tail: &[u8]) {
        self.host.now_ns = now_ns;
        self.host.look(&mut Input(tail));
    }

    fn next_wake_ns(&self) -> Option<u64> {
        self.host.core.next_wake_ns()
    }

    fn fails(&mut self, now_ns: u64) {
        self.host.now_ns = now_ns;
        self.host.fails();
    }

    fn permit(&mut self, permitted: bool) {
        let playback = self.config.playback.filter(|_| permitted);
        self.host.core.reconfigure(backend::v0::StreamConfig { playback, ..self.config });
    }

    fn held_bytes(&self) -> u64 {
        self.host.core.geometry().map_or(0, |geometry| geometry.ring_bytes.into())
    }

    fn answered(&self) -> u32 {
        self.answers.seen
    }
}
