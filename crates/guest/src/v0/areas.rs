//! Memory of the frames in flight, and of those that were captured.

use std::collections::VecDeque;

use frontend::v0::Completion;
use sndif::SharedMemory;
use sndif::v0::Operation;
use xen::Granted;

use super::exchange::name;
use crate::{Error, Result};

#[derive(Default)]
pub(crate) struct Areas {
    pub(crate) pages: Vec<Granted>,
    /// Areas in flight, in the order of the ring: their index, and the bytes used.
    used: VecDeque<(usize, u32)>,
    /// Bytes that were captured and that the application has not read yet.
    pub(crate) captured: VecDeque<u8>,
    /// Bytes that the backend has played or captured, over all connections.
    pub(crate) moved_bytes: u64,
    /// Index of the area that is used next.
    next: usize,
    /// Operation that failed while nobody waited for it.
    failed: Option<Operation>,
}

impl Areas {
    /// Returns the number of areas in flight.
    pub(crate) fn in_flight(&self) -> usize {
        self.used.len()
    }

    /// Returns the bytes in flight.
    pub(crate) fn in_flight_bytes(&self) -> u32 {
        self.used.iter().map(|&(_, length)| length).sum()
    }

    /// Returns the area that is used next.
    pub(crate) fn next(&self) -> Result<&Granted> {
        self.pages.get(self.next).ok_or(Error::Closed)
    }

    /// Notes that a request uses the next area.
    pub(crate) fn sent(&mut self, length: u32) {
        self.used.push_back((self.next, length));
        self.next = (self.next + 1) % self.pages.len().max(1);
    }

    /// Frees the area of an answered request.
    pub(crate) fn completed(&mut self, completion: &Completion) {
        let (Operation::Read(transfer) | Operation::Write(transfer)) = completion.operation else { return };
        let Some((index, _)) = self.used.pop_front() else { return };
        if !completion.success {
            self.failed.get_or_insert(completion.operation);
            return;
        }
        self.moved_bytes += u64::from(transfer.length());
        if let (Operation::Read(_), Some(pages)) = (completion.operation, self.pages.get(index)) {
            let mut bytes = vec![0; transfer.length() as usize];
            pages.read(0, &mut bytes);
            self.captured.extend(bytes);
        }
    }

    pub(crate) fn report_failure(&mut self) -> Result<()> {
        match self.failed.take() {
            Some(operation) => Err(Error::RefusedWithoutReason { operation: name(&operation) }),
            None => Ok(()),
        }
    }

    /// Returns the frames in flight. The pages are our own, and no backend could write to them: their contents are
    /// those that were written.
    pub(crate) fn unanswered(&self) -> Vec<Vec<u8>> {
        let frames = |&(index, length): &(usize, u32)| {
            let mut bytes = vec![0; length as usize];
            self.pages.get(index)?.read(0, &mut bytes).then_some(bytes)
        };
        self.used.iter().filter_map(frames).collect()
    }

    /// Takes the pages back. Pages that the backend still maps go into quarantine: dropped, but not freed before the
    /// last mapping ends (XSA-396).
    pub(crate) fn end_access(&mut self) {
        self.used.clear();
        self.next = 0;
        for pages in self.pages.drain(..) {
            if let Err(still_mapped) = pages.end_access() {
                drop(still_mapped.granted);
            }
        }
    }
}
