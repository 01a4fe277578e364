// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! A backend of version 0 for tests: it takes requests, and answers as many as the test allows.

use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use sndif::test_utils::Pages as Memory;
use sndif::v0::{BackRing, Operation, Request, Response, Transfer};
use sndif::{PAGE_BYTES, SharedMemory};

use crate::testing::with_granted;

/// The backend's end of a device.
pub(crate) struct Backend {
    ring: BackRing<Memory>,
    page: Memory,
    /// Requests that were taken and not answered.
    held: Vec<Request>,
    seen: Vec<Operation>,
    /// Bytes of each WRITE, as they were when it was answered.
    pub(crate) heard: Vec<u8>,
    /// Next captured byte.
    next_captured: u8,
    pub(crate) success: bool,
    /// True if READs and WRITEs are also answered while somebody waits.
    pub(crate) moves: bool,
    /// True if each answer takes four seconds.
    pub(crate) slow: bool,
    /// Notifications that the frontend asked for.
    pub(crate) notified: u32,
    pub(crate) answered: usize,
    pub(crate) id: u64,
}

impl Backend {
    pub(crate) fn new(page: Memory) -> Self {
        Self {
            ring: BackRing::new(page.clone()),
            page,
            held: Vec::new(),
            seen: Vec::new(),
            heard: Vec::new(),
            next_captured: 0,
            success: true,
            moves: true,
            slow: false,
            notified: 0,
            answered: 0,
            id: u64::MAX,
        }
    }

    fn take(&mut self) {
        while let Some(packet) = self.ring.take().unwrap() {
            let request = Request::parse(&packet).unwrap();
            self.id = request.id;
            self.seen.push(request.operation);
            self.held.push(request);
        }
        let _ = self.ring.arm(1);
    }

    /// Answers the requests in order; READs and WRITEs only if the backend is to move frames.
    pub(crate) fn serve(&mut self) {
        self.take();
        while let Some(request) = self.held.first().copied() {
            if !self.moves && matches!(request.operation, Operation::Read(_) | Operation::Write(_)) {
                break;
            }
            self.held.remove(0);
            self.answer(&request);
        }
        self.notified += u32::from(self.ring.publish());
    }

    /// Answers while somebody waits; returns the milliseconds that this takes.
    pub(crate) fn serve_while_waited_for(&mut self) -> u32 {
        if self.slow {
            self.serve_one();
            return 4000;
        }
        self.serve();
        1
    }

    /// Answers the oldest request.
    pub(crate) fn serve_one(&mut self) {
        self.take();
        let request = self.held.remove(0);
        self.answer(&request);
        self.notified += u32::from(self.ring.publish());
    }

    fn answer(&mut self, request: &Request) {
        match &request.operation {
            Operation::Write(transfer) if self.success => {
                let mut bytes = Vec::new();
                each_page(transfer, |memory, at, length| {
                    let mut page = std::vec![0; length];
                    assert!(memory.read(at, &mut page));
                    bytes.extend(page);
                });
                self.heard.extend(bytes);
            }
            Operation::Read(transfer) if self.success => {
                let next = &mut self.next_captured;
                each_page(transfer, |memory, at, length| {
                    for byte in at..at + length {
                        assert!(memory.write(byte, &[*next]));
                        *next = next.wrapping_add(1);
                    }
                });
            }
            _ => {}
        }
        self.answered += 1;
        let (id, opcode) = (request.id, request.operation.opcode());
        assert!(self.ring.respond(&Response { id, opcode, success: self.success, volume: None }.emit()));
    }

    /// Answers a request that was not sent.
    pub(crate) fn answer_nonsense(&mut self) {
        let _ = self.ring.take();
        self.ring.respond(&Response { id: 99, opcode: 3, success: true, volume: None }.emit());
        let _ = self.ring.publish();
    }

    /// Writes bytes into the ring's page.
    pub(crate) fn scribble(&self, offset: usize, bytes: &[u8]) {
        self.page.write(offset, bytes);
    }

    /// Returns the requests since the last call, as text.
    pub(crate) fn story(&mut self) -> String {
        self.take();
        let told = self.seen.drain(..).map(|operation| match operation {
            Operation::Open(open) => format!("open {} {} {}", open.format, open.channels, open.rate_hz),
            Operation::Close => "close".to_string(),
            Operation::Write(transfer) => format!("write {}", transfer.length()),
            Operation::Read(transfer) => format!("read {}", transfer.length()),
            Operation::SetVolume(volume) => format!("volume {} {}", volume.left.steps(), volume.right.steps()),
            Operation::GetVolume => "volume?".to_string(),
        });
        told.collect::<Vec<_>>().join(", ")
    }
}

/// Calls `act` with the pages of a transfer: memory, offset, length.
fn each_page(transfer: &Transfer, mut act: impl FnMut(&Memory, usize, usize)) {
    let length = transfer.length() as usize;
    with_granted(|granted| {
        for (index, reference) in transfer.refs().iter().enumerate() {
            let (memory, page) = &granted[&reference.0];
            act(memory, page * PAGE_BYTES, (length - index * PAGE_BYTES).min(PAGE_BYTES));
        }
    });
}
