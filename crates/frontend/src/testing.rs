//! Pages of ordinary memory, and a backend on the other end of them.

use sndif::v2::{BackRing, EventProducer, Operation, Request, Response, Trigger};
use sndif::{Errno, Format, GrantRef};

use std::vec::Vec;

pub(crate) use sndif::test_utils::Pages;

use crate::Geometry;

/// Geometry of 48 kHz stereo s16: four periods of 480 frames.
pub(crate) fn geometry() -> Geometry {
    Geometry::new(Format::S16Le, 2, 48_000, 480, 1920).unwrap()
}

/// Makes the OPEN for [`geometry`] without a control page.
pub(crate) fn open() -> Operation {
    Operation::Open(geometry().open_params(0, GrantRef(8)).unwrap())
}

/// A correct backend, as far as the ring is concerned; its device plays on command.
pub(crate) struct Backend {
    ring: BackRing<Pages>,
    events: EventProducer<Pages>,
    pub(crate) seen: Vec<Operation>,
    pub(crate) answer: Result<(), Errno>,
    /// Notifications that the frontend asked for.
    pub(crate) notified: u32,
    /// Number of requests after which it wants to be notified.
    pub(crate) awaits: u32,
    /// Position at the start of the run; bytes written and played in the run.
    origin: u64,
    written: u64,
    played: u64,
}

impl Backend {
    pub(crate) fn new(ring: &Pages, events: &Pages) -> Self {
        Self {
            ring: BackRing::new(ring.clone()),
            events: EventProducer::new(events.clone()),
            seen: Vec::new(),
            answer: Ok(()),
            notified: 0,
            awaits: 1,
            origin: 0,
            written: 0,
            played: 0,
        }
    }

    /// Answers every request.
    pub(crate) fn serve(&mut self) {
        while let Some(packet) = self.ring.take().unwrap() {
            let request = Request::parse(&packet).unwrap();
            self.seen.push(request.operation);
            match request.operation {
                Operation::Open(_) => (self.origin, self.written, self.played) = (0, 0, 0),
                Operation::Write(span) => self.written += u64::from(span.length),
                Operation::Trigger(Trigger::Stop) => {
                    self.origin = (self.origin + self.played).next_multiple_of(u64::from(geometry().ring_bytes()));
                    (self.written, self.played) = (0, 0);
                    self.events.push(self.origin).unwrap();
                }
                _ => {}
            }
            let opcode = request.operation.opcode();
            let params = match request.operation {
                Operation::QueryHwParams(params) => Some(params),
                _ => None,
            };
            let response = Response { id: request.id, opcode, result: self.answer, params };
            assert!(self.ring.respond(&response.emit()));
        }
        self.notified += u32::from(self.ring.publish());
        let _ = self.ring.arm(self.awaits);
    }

    /// Plays up to `bytes` and reports the position; one frame more where the data ends, as a backend has to.
    pub(crate) fn play(&mut self, bytes: u64) {
        self.played = self.written.min(self.played + bytes);
        let end = if self.played == self.written { 4 } else { 0 };
        let _ = self.events.push(self.origin + self.played + end);
    }

    /// Answers request `id` as operation `opcode`, whatever was asked.
    pub(crate) fn answer_as(&mut self, id: u16, opcode: u8) {
        let _ = self.ring.take();
        self.ring.respond(&Response { id, opcode, result: Ok(()), params: None }.emit());
        let _ = self.ring.publish();
    }

    /// Reports `position`, true or not.
    pub(crate) fn report(&mut self, position: u64) {
        let _ = self.events.push(position);
    }
}
