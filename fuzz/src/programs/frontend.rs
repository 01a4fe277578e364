//! Programs of a hostile backend against the guest's cores.

use std::collections::VecDeque;

use frontend::{Geometry, Negotiation, Step as Negotiated, USELESS_MAX, Violation, Wanted};
use sndif::store::{Direction, Limits};
use sndif::test_utils::Pages;
use sndif::v2::{Event, HwParams, Interval, Operation, Response, Span, Trigger};
use sndif::{Errno, Format, FormatSet, GrantRef, Protocol, SharedMemory, XenbusState, v0};

use super::handshakes::Connection;
use super::{Step, index, program};

/// Two cards, one of each protocol. Whatever the backend writes: what is believed stays within the own buffer, positions
/// never run back, the first violation stays, a flood of nothing ends, and the driver holds what its state says.
pub fn frontend_program(bytes: &[u8]) {
    let (shape, steps) = program(bytes);
    let mut cards = [Card::new(Protocol::V2, shape.a), Card::new(Protocol::V0, shape.b)];
    for step in steps {
        let card = &mut cards[usize::from(step.who & 1)];
        let published = card.connection.published;
        card.step(step);
        if card.connection.published != published {
            card.renew();
        }
        card.connection.check();
        card.playback.check();
        card.capture.check();
        card.v0.check();
    }
    for card in &mut cards {
        card.connection.detach(card.protocol);
    }
}

struct Card {
    protocol: Protocol,
    control_bytes: u32,
    connection: Connection,
    playback: Line,
    capture: Line,
    v0: Line0,
}

impl Card {
    fn new(protocol: Protocol, shape: u8) -> Self {
        let control_bytes = if shape & 1 == 0 { 0 } else { 4096 };
        Self {
            protocol,
            control_bytes,
            connection: Connection::new(protocol),
            playback: Line::new(Direction::Playback, control_bytes),
            capture: Line::new(Direction::Capture, control_bytes),
            v0: Line0::new(),
        }
    }

    fn renew(&mut self) {
        self.playback = Line::new(Direction::Playback, self.control_bytes);
        self.capture = Line::new(Direction::Capture, self.control_bytes);
        self.v0 = Line0::new();
    }

    fn step(&mut self, step: Step) {
        match step.what % 32 {
            // States that a well-meaning backend writes; to a card that is connected, rarely.
            0 if step.a < 224 && self.connection.is_connected() && step.a >= 16 => {}
            0 if step.a < 224 => {
                self.connection.backend_is(XenbusState::InitWait, step.b & step.a);
                self.connection.backend_is(XenbusState::Connected, (step.b & step.a) >> 2);
            }
            0 => {
                let state = XenbusState::from_node(&[b'0' + step.b % 9]);
                self.connection.backend_is(state, step.value as u8 & step.a);
            }
            1 if step.a < 8 => self.connection.detach(self.protocol),
            1 => self.connection.held(step.b & 1 == 0),
            2 if step.a < 64 => negotiate(step),
            _ if !self.connection.transport => {}
            _ if self.protocol == Protocol::V0 => self.v0.step(step, self.connection.is_connected()),
            _ => {
                let line = if step.who & 2 == 0 { &mut self.playback } else { &mut self.capture };
                line.step(step, self.connection.is_connected());
            }
        }
    }
}

/// A stream of version 2.
struct Line {
    ring: Pages,
    events: Pages,
    stream: frontend::Stream<Pages>,
    answered: u32,
    told: u32,
    broken: Option<Violation>,
    position: u64,
}

impl Line {
    fn new(direction: Direction, control_bytes: u32) -> Self {
        let (ring, events) = (Pages::new(1), Pages::new(1));
        let mut stream = frontend::Stream::new(direction, ring.clone(), events.clone(), control_bytes);
        stream.set_reads_ahead(control_bytes > 0);
        Self { ring, events, stream, answered: 0, told: 0, broken: None, position: 0 }
    }

    fn step(&mut self, step: Step, connected: bool) {
        let Step { a, b, value, .. } = step;
        match step.what % 32 {
            3 => {
                let word = usize::from(a % 4) * 4;
                let present = self.ring.load_acquire(word);
                self.ring.store_release(word, index(present, b >= 64, value));
            }
            4 => {
                let word = usize::from(a % 2) * 4;
                let present = self.events.load_acquire(word);
                self.events.store_release(word, index(present, b >= 64, value));
            }
            5 => {
                self.ring.write(64 + usize::from(b % 32) * 64 + usize::from(a % 56), &step.emit());
            }
            6..=11 => self.answer(a, b),
            12..=16 => {
                let far = if b < 250 { value % 20_000 } else { value };
                let position_bytes = if b < 128 { self.position + u64::from(far % 2048) } else { far.into() };
                self.event(Event { id: self.told as u16, position_bytes });
            }
            17..=23 if connected => {
                let operation = self.operation(step);
                let submitted = self.stream.submit(operation);
                assert!(submitted.is_ok() || self.stream.in_flight() <= 32);
                let _ = self.stream.publish();
            }
            24 if a < 16 => self.storm(),
            24..=28 => {
                self.wake(b & 1 == 0);
            }
            29 => {
                let _ = self.stream.arm(u32::from(a));
            }
            30 => self.stream.set_draining(a & 1 == 0),
            31 => {
                let _ = self.stream.hold_off_events(if b < 250 { u32::from(a % 80) } else { value });
            }
            _ => {}
        }
    }

    fn answer(&mut self, how: u8, errno: u8) {
        // An answer that nobody waits for ends the connection: rarely.
        if self.answered == self.ring.load_acquire(0) && how >= 4 {
            return;
        }
        let success = how < 230;
        let mut request = [0; 64];
        self.ring.read(64 + (self.answered % 32) as usize * 64, &mut request);
        let (id, opcode) = (u16::from_le_bytes([request[0], request[1]]), request[2]);
        let status = if success { 0 } else { -i32::from(errno) };
        let result = Errno::from_status(status).map_or(Ok(()), Err);
        self.ring.write(64 + (self.answered % 32) as usize * 64, &Response { id, opcode, result, params: None }.emit());
        self.answered = self.answered.wrapping_add(1);
        self.ring.store_release(8, self.answered);
    }

    fn event(&mut self, event: Event) {
        self.events.write(64 + (self.told % 63) as usize * 64, &event.emit());
        self.told = self.told.wrapping_add(1);
        self.events.store_release(4, self.told);
    }

    /// The backend notifies; whether the stream still goes along.
    fn wake(&mut self, notified: bool) -> bool {
        let mut violation = if notified { self.stream.woken().err() } else { None };
        for taken in 0.. {
            assert!(taken <= 32, "more answers than slots");
            match self.stream.next_completion() {
                Ok(Some(_)) => assert_eq!(self.broken, None, "an answer is believed on a broken stream"),
                Ok(None) => break,
                Err(broken) => {
                    violation = Some(broken);
                    break;
                }
            }
        }
        let events = if notified { self.stream.take_events() } else { self.stream.look_at_events() };
        match events {
            Ok(progress) => assert!(self.broken.is_none() && progress.events <= 63),
            Err(broken) => violation = Some(broken),
        }
        if let Some(violation) = violation {
            assert_eq!(*self.broken.get_or_insert(violation), violation, "the first violation stays");
        }
        assert_eq!(self.broken, self.stream.violation());
        self.broken.is_none()
    }

    /// Notifications without end for nothing.
    fn storm(&mut self) {
        let mut wakeups = 0;
        while self.wake(true) {
            wakeups += 1;
            assert!(wakeups <= USELESS_MAX + 2, "a storm of notifications does not end");
        }
    }

    fn operation(&self, step: Step) -> Operation {
        let Step { a, b, value, .. } = step;
        match a % 16 {
            0..=2 => Geometry::new(Format::S16Le, 2, 48_000, 1 + u32::from(b), (1 + u32::from(b)) * (1 + value % 9))
                .and_then(|geometry| geometry.open_params(self.stream.control_bytes(), GrantRef(9)))
                .map_or(Operation::Close, Operation::Open),
            3 => Operation::Close,
            4 => Operation::Trigger(Trigger::Start),
            5 => Operation::Trigger(if b & 1 == 0 { Trigger::Stop } else { Trigger::Pause }),
            6 => Operation::QueryHwParams(HwParams::ANY),
            7 => Operation::Write(Span { offset: value, length: value.rotate_left(16) }),
            8 => Operation::SetVolume(Span { offset: value % 4096, length: 8 }),
            9 | 10 if self.stream.direction() == Direction::Capture => {
                self.stream.next_read(u32::MAX).unwrap_or(Operation::Trigger(Trigger::Start))
            }
            _ => match self.stream.next_span(value % 4096) {
                Some(span) if self.stream.direction() == Direction::Playback => Operation::Write(span),
                Some(span) => Operation::Read(span),
                None => Operation::Trigger(Trigger::Resume),
            },
        }
    }

    fn check(&mut self) {
        let Some(geometry) = self.stream.geometry() else {
            self.position = 0;
            return;
        };
        let ring_bytes = geometry.ring_bytes();
        assert!(self.stream.filled_bytes() <= ring_bytes && self.stream.available_bytes() <= ring_bytes);
        let within = |span: Span| span.length > 0 && span.offset.saturating_add(span.length) <= ring_bytes;
        assert!(self.stream.next_span(u32::MAX).is_none_or(within), "outside the own buffer");
        assert!(self.stream.laid_out() <= 16, "half of the ring is for what else there is");
        // The answer that broke a stream ends no request.
        let in_flight = self.stream.laid_out() <= self.stream.in_flight();
        assert!(in_flight || self.broken.is_some(), "what is laid out is in flight");
        assert!(self.stream.ahead_bytes() <= ring_bytes, "what is not read is overwritten");
        let within = |read: Operation| match read {
            Operation::Read(span) | Operation::ReadAhead { span, .. } => within(span),
            _ => false,
        };
        assert!(self.stream.next_read(u32::MAX).is_none_or(within), "outside the own buffer");
        let position = self.stream.position_bytes();
        assert!(position >= self.position || position == 0, "a position rewinds");
        self.position = position;
    }
}

/// A stream of version 0.
struct Line0 {
    ring: Pages,
    stream: frontend::v0::Stream<Pages>,
    answered: u32,
    asked: VecDeque<v0::Operation>,
    broken: Option<Violation>,
}

impl Line0 {
    fn new() -> Self {
        let ring = Pages::new(1);
        let stream = frontend::v0::Stream::new(ring.clone(), 7);
        Self { ring, stream, answered: 0, asked: VecDeque::new(), broken: None }
    }

    fn slot(&self) -> usize {
        64 + (self.answered % v0::RING_SLOTS) as usize * v0::PACKET_BYTES
    }

    fn step(&mut self, step: Step, connected: bool) {
        let Step { a, b, value, .. } = step;
        match step.what % 32 {
            3 | 4 => {
                let word = usize::from(a % 4) * 4;
                let present = self.ring.load_acquire(word);
                self.ring.store_release(word, index(present, b >= 64, value));
            }
            5 => {
                self.ring.write(64 + usize::from(b) % 40 * 80 + usize::from(a % 72), &step.emit());
            }
            6..=12 if a >= 4 && self.answered == self.ring.load_acquire(0) => {}
            6..=12 => {
                let mut request = [0; v0::PACKET_BYTES];
                self.ring.read(self.slot(), &mut request);
                let response = v0::Response { id: 7, opcode: request[0], success: a < 230, volume: None };
                self.ring.write(self.slot(), &response.emit());
                self.answered = self.answered.wrapping_add(1);
                self.ring.store_release(8, self.answered);
            }
            13..=22 if connected => {
                let operation = v0_operation(step);
                if self.stream.submit(operation, value.into()).is_ok() {
                    self.asked.push_back(operation);
                }
                let _ = self.stream.publish();
            }
            24 if a < 16 => {
                let mut wakeups = 0;
                while self.wake(true) {
                    wakeups += 1;
                    assert!(wakeups <= USELESS_MAX + 2, "a storm of notifications does not end");
                }
            }
            _ => {
                self.wake(b & 1 == 0);
            }
        }
    }

    fn wake(&mut self, notified: bool) -> bool {
        let mut violation = if notified { self.stream.woken().err() } else { None };
        for taken in 0.. {
            assert!(taken <= v0::RING_SLOTS, "more answers than slots");
            match self.stream.next_completion() {
                Ok(Some(completion)) => {
                    assert_eq!(self.broken, None, "an answer is believed on a broken stream");
                    assert_eq!(Some(completion.operation), self.asked.pop_front(), "an answer to another request");
                }
                Ok(None) => break,
                Err(broken) => {
                    violation = Some(broken);
                    break;
                }
            }
        }
        if let Some(violation) = violation {
            assert_eq!(*self.broken.get_or_insert(violation), violation, "the first violation stays");
        }
        self.broken.is_none()
    }

    fn check(&self) {
        assert!(self.stream.in_flight() <= v0::RING_SLOTS && self.stream.transfers_in_flight() <= v0::RING_SLOTS);
        assert!(self.stream.counters().responses <= self.stream.counters().requests);
        assert_eq!(self.stream.violation(), self.broken);
    }
}

fn v0_operation(step: Step) -> v0::Operation {
    let Step { a, value, .. } = step;
    match a % 8 {
        0 | 1 => v0::Operation::Open(v0::OpenParams { format: Format::S16Le, channels: 2, rate_hz: 48_000 }),
        2 => v0::Operation::Close,
        3 => v0::Operation::GetVolume,
        what => {
            let length = value % (v0::TRANSFER_BYTES_MAX + 1);
            let transfer = v0::Transfer::new(length, &[GrantRef(9); 10]).expect("at most ten pages");
            if what == 4 { v0::Operation::Read(transfer) } else { v0::Operation::Write(transfer) }
        }
    }
}

/// Checks that a few questions settle the parameters within the card's limits, whatever the backend says is possible.
fn negotiate(step: Step) {
    let Step { a, b, value, .. } = step;
    let wanted = Wanted {
        format: Format::S16Le,
        rate_hz: [8000, 44_100, 48_000, 0][usize::from(b & 3)],
        channels: b >> 2 & 3,
        period_frames: value % 4096,
        buffer_frames: value >> 8,
    };
    let Ok((mut negotiation, mut asked)) = Negotiation::start(wanted, &Limits::DEFAULT) else { return };
    for question in 0_u32.. {
        assert!(question < 8, "the backend is asked without end");
        let word = value.rotate_left(question * 7);
        let any = Interval::new(word % 4096, word >> 12);
        let answer = match (a >> question) % 4 {
            0 => Ok(asked),
            1 => Ok(HwParams { buffer_frames: any, period_frames: Interval::new(word & 0xff, word >> 16), ..asked }),
            2 => Ok(HwParams { formats: FormatSet::from_bits(word.into()), ..HwParams::ANY }),
            _ => Err(Errno::EINVAL),
        };
        match negotiation.answer(answer) {
            Ok(Negotiated::Ask(next)) => asked = next,
            Ok(Negotiated::Done(geometry)) => {
                let bytes = geometry.ring_bytes();
                assert!(bytes > 0 && bytes <= Limits::DEFAULT.buffer_bytes_max && geometry.period_bytes() <= bytes);
                return;
            }
            Err(_) => return,
        }
    }
}
