//! A second guest that plays and must not be disturbed.

use sndif::store::Direction;
use sndif::test_utils::Pages;
use sndif::v2::{OpenParams, Operation, Request, Response, Span, Trigger};
use sndif::{Format, GrantRef, SharedMemory};

use super::served::{Served, Served2};
use crate::streams::offer;

const PERIOD_NS: u64 = 10_000_000;
const PERIOD_BYTES: u32 = 80;
const PERIODS: u32 = 4;

pub(super) struct Bystander {
    served: Served2,
    ring: Pages,
    events: Pages,
    asked: u32,
    /// Number of written periods, and time of START.
    written: u32,
    started_ns: u64,
    told: u32,
}

impl Bystander {
    /// Opens the stream, fills the buffer and starts.
    pub(super) fn new() -> Self {
        let (ring, events) = (Pages::new(1), Pages::new(1));
        let config = backend::StreamConfig {
            direction: Direction::Playback,
            offer: offer(),
            permitted: true,
            write_hold_off: false,
        };
        let served = Served2::new(config, 1, 0, &ring, &events);
        let mut bystander = Self { served, ring, events, asked: 0, written: 0, started_ns: 0, told: 0 };
        bystander.ask(Operation::Open(OpenParams {
            rate_hz: 8000,
            format: Format::S8,
            channels: 1,
            buffer_bytes: PERIODS * PERIOD_BYTES,
            directory: GrantRef(9),
            period_bytes: PERIOD_BYTES,
        }));
        for _ in 0..PERIODS {
            bystander.write();
        }
        bystander.ask(Operation::Trigger(Trigger::Start));
        bystander.serve(0);
        bystander
    }

    fn ask(&mut self, operation: Operation) {
        let request = Request { id: self.asked as u16, operation };
        self.ring.write(64 + (self.asked % 32) as usize * 64, &request.emit());
        self.asked = self.asked.wrapping_add(1);
        self.ring.store_release(0, self.asked);
    }

    fn write(&mut self) {
        self.ask(Operation::Write(Span { offset: self.written % PERIODS * PERIOD_BYTES, length: PERIOD_BYTES }));
        self.written += 1;
    }

    fn serve(&mut self, now_ns: u64) {
        let first = self.ring.load_acquire(8);
        // The device takes all frames that are due, and the pages may change.
        assert_eq!(self.served.serve(now_ns, &[0], &mut |_, _| Ok(())), Ok(false));
        self.served.look(now_ns, &[0, 0]);
        let last = self.ring.load_acquire(8);
        assert_eq!(last, self.asked, "an innocent guest waits for its answers");
        for index in first..last {
            let mut slot = [0; 64];
            self.ring.read(64 + (index % 32) as usize * 64, &mut slot);
            let response = Response::parse(&slot).expect("an answer");
            assert!(response.result.is_ok() || response.opcode == sndif::v2::opcode::WRITE);
        }
    }

    pub(super) fn next_wake_ns(&self) -> u64 {
        // A period is due after the event for the period before it, which comes one frame after that period's end.
        self.started_ns + u64::from(self.written - PERIODS + 1) * PERIOD_NS + 1_000_000
    }

    /// If a period is due, checks that the last one was played and reported, and writes the next.
    pub(super) fn wake(&mut self, now_ns: u64) {
        if now_ns < self.next_wake_ns() {
            return;
        }
        self.serve(now_ns);
        let told = self.events.load_acquire(4);
        assert!(told > self.told, "an innocent guest is not told that its period was played");
        self.told = told;
        self.events.store_release(0, told);
        self.write();
        self.serve(now_ns);
    }
}
