//! READs that are laid out before their bytes are captured.

use std::collections::VecDeque;

use sndif::Format;
use sndif::v2::{BackRing, EventProducer};

use super::*;

/// A backend that keeps READs until it has told that their bytes are captured.
struct Recorder {
    stream: Stream<Pages>,
    ring: BackRing<Pages>,
    events: EventProducer<Pages>,
    geometry: Geometry,
    kept: VecDeque<(u16, u64)>,
    told: u64,
    /// Position at the end of the last READ of the guest.
    asked: u64,
    ended: u32,
}

impl Recorder {
    fn new(period: u32, ring: u32) -> Self {
        let (ring_page, event_page) = (Pages::new(1), Pages::new(1));
        let mut stream = Stream::new(Direction::Capture, ring_page.clone(), event_page.clone(), 0);
        stream.set_reads_ahead(true);
        let geometry = Geometry::new(Format::S16Le, 2, 48_000, period, ring).unwrap();
        let mut recorder = Self {
            stream,
            ring: BackRing::new(ring_page),
            events: EventProducer::new(event_page),
            geometry,
            kept: VecDeque::new(),
            told: 0,
            asked: 0,
            ended: 0,
        };
        assert_eq!(recorder.stream.next_read(u32::MAX), None, "closed");
        recorder.ask(Operation::Open(geometry.open_params(0, GrantRef(8)).unwrap()));
        recorder
    }

    /// The backend's look at the ring.
    fn look(&mut self) {
        let ring_bytes = u64::from(self.geometry.ring_bytes());
        while let Some(packet) = self.ring.take().unwrap() {
            let Request { id, operation } = Request::parse(&packet).unwrap();
            match operation {
                Operation::ReadAhead { span, until_bytes } => {
                    assert_eq!(u64::from(span.offset), self.asked % ring_bytes, "on from the last one");
                    assert_eq!(until_bytes, self.asked + u64::from(span.length));
                    assert!(until_bytes <= self.told + ring_bytes, "what was not read is overwritten");
                    self.asked = until_bytes;
                    self.kept.push_back((id, until_bytes));
                    self.answer(self.told, Ok(()));
                    continue;
                }
                Operation::Trigger(Trigger::Stop) => {
                    self.answer(u64::MAX, Err(Errno::EIO));
                    self.told = (self.told + 1).next_multiple_of(ring_bytes);
                    self.asked = self.told;
                    self.events.push(self.told).unwrap();
                }
                _ => {}
            }
            let response = Response { id, opcode: operation.opcode(), result: Ok(()), params: None };
            assert!(self.ring.respond(&response.emit()));
        }
        let _ = (self.ring.publish(), self.ring.arm(16));
    }

    fn answer(&mut self, up_to: u64, result: Result<(), Errno>) {
        while let Some((id, _)) = self.kept.pop_front_if(|(_, until)| *until <= up_to) {
            let response = Response { id, opcode: opcode::READ_AHEAD, result, params: None };
            assert!(self.ring.respond(&response.emit()));
        }
    }

    /// The backend looks, and then tells `position`.
    fn tell(&mut self, position: u64) -> bool {
        self.look();
        self.told = position;
        let told = self.events.push(position).is_ok();
        self.answer(position, Ok(()));
        let _ = self.ring.publish();
        told
    }

    /// The guest takes answers and events; what the READs brought.
    fn wake(&mut self) -> u64 {
        let mut brought = 0;
        while let Some(completion) = self.stream.next_completion().unwrap() {
            match (completion.operation, completion.result) {
                (Operation::ReadAhead { span, .. }, Ok(())) => brought += u64::from(span.length),
                (Operation::ReadAhead { .. }, Err(_)) => self.ended += 1,
                _ => {}
            }
        }
        self.stream.take_events().unwrap();
        brought
    }

    /// The guest lays out what it can; whether it has to notify.
    fn lay_out(&mut self) -> bool {
        while let Some(read) = self.stream.next_read(u32::MAX) {
            self.stream.submit(read).unwrap();
            assert!(self.stream.laid_out() <= 24);
        }
        self.stream.publish()
    }

    fn ask(&mut self, operation: Operation) {
        self.stream.submit(operation).unwrap();
        assert!(self.stream.publish(), "all else is told of");
        self.look();
        let _ = self.wake();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 4 } else { 200 }, ..ProptestConfig::default() })]

    #[test]
    fn what_is_recorded_is_asked_for_once_and_comes_with_its_event(
        period in 16..200_u32, ring in 2..900_u32, runs in 1..4_u32, late in proptest::collection::vec(0..40_u8, 1..60),
    ) {
        let ring = ring.max(2 * period);
        let mut recorder = Recorder::new(period, ring);
        let (period_bytes, ring_bytes) = (u64::from(period * 4), u64::from(ring * 4));
        for _ in 0..runs {
            let start = recorder.told;
            let mut brought = 0;
            recorder.ask(Operation::Trigger(Trigger::Start));
            recorder.lay_out();
            for late in &late {
                let boundary = (recorder.told / period_bytes + 1) * period_bytes;
                // Some look late, and the guest sees one event in the place of several.
                recorder.tell(boundary + 4 + u64::from(late / 30) * period_bytes.min(ring_bytes / 4));
                brought += recorder.wake();
                let known = recorder.told - recorder.told % period_bytes;
                if recorder.stream.overdue_bytes() > 0 {
                    // The backend has not seen it yet, or was not asked: it hears of it now.
                    let _ = recorder.stream.hurry();
                    recorder.look();
                    brought += recorder.wake();
                }
                if recorder.lay_out() {
                    recorder.look();
                    brought += recorder.wake();
                }
                prop_assert!(recorder.stream.overdue_bytes() == 0);
                prop_assert!(start + brought >= known.max(start), "{brought} of {known} from {start}");
                prop_assert!(start + brought <= recorder.told && recorder.stream.ahead_bytes() <= ring * 4);
                prop_assert!(recorder.stream.laid_out() > 0, "something is laid out for the next period");
                prop_assert_eq!((recorder.stream.counters().xruns, recorder.ended), (0, 0));
            }
            let laid_out = recorder.stream.laid_out();
            recorder.ask(Operation::Trigger(Trigger::Stop));
            prop_assert_eq!((std::mem::take(&mut recorder.ended), recorder.stream.laid_out()), (laid_out, 0));
            prop_assert_eq!(recorder.stream.in_flight(), 0);
        }
        recorder.ask(Operation::Close);
        prop_assert_eq!(recorder.stream.counters().errors, 0, "what ends with its run is no failure");
    }
}

#[test]
fn further_reads_cost_no_notification_and_late_ones_do() {
    let mut recorder = Recorder::new(480, 1920);
    recorder.ask(Operation::Trigger(Trigger::Start));
    recorder.lay_out();
    assert_eq!(recorder.stream.laid_out(), 4);
    for period in 1..50 {
        recorder.tell(period * 1920 + 4);
        assert_eq!(recorder.wake(), 1920);
        assert!(recorder.stream.overdue_bytes() == 0 && !recorder.lay_out() && !recorder.stream.arm(1));
    }
    // The guest does not run for longer than it has laid out.
    for period in 50..55 {
        recorder.tell(period * 1920 + 4);
    }
    assert_eq!(recorder.wake(), 4 * 1920);
    assert!(recorder.lay_out() && recorder.stream.overdue_bytes() > 0);
    recorder.look();
    assert_eq!((recorder.wake(), recorder.stream.overdue_bytes()), (1920, 0));
    // One that it laid out in time and the backend saw late.
    recorder.tell(55 * 1920 + 4);
    assert_eq!(recorder.wake(), 1920);
    assert!(!recorder.lay_out());
    assert!(recorder.stream.hurry(), "who waits for all there is");
}

#[test]
fn answers_that_come_early_or_never_move_nothing_beyond_the_ring() {
    let mut recorder = Recorder::new(480, 1920);
    recorder.ask(Operation::Trigger(Trigger::Start));
    for _ in 0..100 {
        recorder.lay_out();
        recorder.look();
        // Nothing is captured.
        recorder.answer(u64::MAX, Ok(()));
        let _ = recorder.ring.publish();
        let _ = recorder.wake();
        assert_eq!((recorder.stream.ahead_bytes(), recorder.stream.available_bytes()), (7680, 0));
        assert_eq!((recorder.stream.position_bytes(), recorder.stream.next_read(u32::MAX)), (0, None));
    }
    // Never: what is lost is counted, and nothing runs over.
    let mut recorder = Recorder::new(480, 1920);
    recorder.ask(Operation::Trigger(Trigger::Start));
    for period in 1..100 {
        recorder.lay_out();
        let _ = recorder.ring.take();
        recorder.events.push(period * 1920 + 4).unwrap();
        assert_eq!(recorder.wake(), 0);
        assert!(recorder.stream.laid_out() <= 24 && recorder.stream.filled_bytes() <= 7680);
    }
    assert!(recorder.stream.counters().xruns > 0 && recorder.stream.overdue_bytes() > 0);
    recorder.stream.submit(Operation::Trigger(Trigger::Stop)).expect("a quarter of the ring is free");
}

#[test]
fn a_backend_that_does_not_know_them_is_sent_reads_from_then_on() {
    let mut recorder = Recorder::new(480, 1920);
    recorder.ask(Operation::Trigger(Trigger::Start));
    recorder.lay_out();
    recorder.look();
    recorder.answer(u64::MAX, Err(Errno::EOPNOTSUPP));
    let _ = recorder.ring.publish();
    let _ = recorder.wake();
    assert_eq!(recorder.ended, 4);
    recorder.ask(Operation::Trigger(Trigger::Stop));
    recorder.ask(Operation::Trigger(Trigger::Start));
    assert_eq!(recorder.stream.next_read(u32::MAX), None);
    recorder.tell(2 * 7680 - 1920);
    recorder.wake();
    assert_eq!(recorder.stream.next_read(u32::MAX), Some(Operation::Read(Span { offset: 0, length: 5760 })));
}

#[test]
fn reads_are_laid_out_only_where_the_backend_takes_them_and_the_count_is_known() {
    let mut pair = pair(Direction::Capture, 0);
    pair.run(open()).result.unwrap();
    pair.run(Operation::Trigger(Trigger::Start));
    assert_eq!(pair.stream.next_read(u32::MAX), None);
    pair.backend.report(1924);
    pair.stream.take_events().unwrap();
    assert_eq!(pair.stream.next_read(u32::MAX), Some(Operation::Read(Span { offset: 0, length: 1924 })));
    // A part of what is there, and of what comes next a period or nothing.
    let mut recorder = Recorder::new(480, 1920);
    recorder.ask(Operation::Trigger(Trigger::Start));
    assert_eq!(recorder.stream.next_read(1919), None);
    recorder.tell(2 * 1920 + 4);
    recorder.wake();
    let read = |length| Some(Operation::ReadAhead { span: Span { offset: 0, length }, until_bytes: length.into() });
    assert_eq!((recorder.stream.next_read(1919), recorder.stream.next_read(u32::MAX)), (read(1916), read(3840)));
}
