//! What was captured and not read yet: a ring of our own between the shared buffer and the caller.
//!
//! Nobody waits for the answer to a READ, so its bytes cannot go straight to the caller. They could lie in the shared
//! buffer until then, but a copy of our own outlives the connection, and nobody writes into it under the caller's hands.

use sndif::SharedMemory;
use sndif::v2::Span;

/// Bytes in the order in which they were captured, whole frames.
#[derive(Debug, Default)]
pub(crate) struct Captured {
    ring: Box<[u8]>,
    /// Place of the oldest byte.
    start: usize,
    ready: usize,
    /// Bytes of the READs that are in flight; room is kept for them.
    awaited: usize,
}

impl Captured {
    /// Everything that is ever needed: nothing is allocated later.
    pub(crate) fn new(bytes: u32) -> Self {
        Self { ring: vec![0; bytes as usize].into(), ..Self::default() }
    }

    /// Bytes that the caller can have now.
    pub(crate) fn ready_bytes(&self) -> u32 {
        bytes(self.ready)
    }

    /// Bytes whose READ was not answered yet.
    pub(crate) fn awaited_bytes(&self) -> u32 {
        bytes(self.awaited)
    }

    /// Bytes that may be asked for.
    pub(crate) fn room_bytes(&self) -> u32 {
        bytes(self.ring.len().saturating_sub(self.ready + self.awaited))
    }

    /// A READ went out.
    pub(crate) fn asked(&mut self, span: &Span) {
        self.awaited += span.length as usize;
    }

    /// A READ failed: there is nothing to be had of it.
    pub(crate) fn refused(&mut self, span: &Span) {
        self.awaited = self.awaited.saturating_sub(span.length as usize);
    }

    /// A READ was answered: takes its bytes out of the shared buffer.
    pub(crate) fn answered(&mut self, span: &Span, buffer: &impl SharedMemory) {
        let length = (span.length as usize).min(self.awaited);
        self.awaited -= length;
        let end = self.start + self.ready;
        let end = end.checked_rem(self.ring.len()).unwrap_or(0);
        let (wrapped, tail) = self.ring.split_at_mut(end);
        let straight = length.min(tail.len());
        for (offset, place) in [(0, tail.get_mut(..straight)), (straight, wrapped.get_mut(..length - straight))] {
            if let Some(place) = place {
                buffer.read(span.offset as usize + offset, place);
            }
        }
        self.ready += length;
    }

    /// Gives the oldest bytes, at most as many as `data` holds.
    pub(crate) fn take(&mut self, data: &mut [u8]) -> usize {
        let length = data.len().min(self.ready);
        let (wrapped, tail) = self.ring.split_at(self.start);
        let (first, rest) = data.split_at_mut(length.min(tail.len()));
        let (straight, wraps) = (first.len(), length - first.len());
        for (to, from) in [(Some(first), tail.get(..straight)), (rest.get_mut(..wraps), wrapped.get(..wraps))] {
            if let (Some(to), Some(from)) = (to, from) {
                to.copy_from_slice(from);
            }
        }
        self.ready -= length;
        self.start = (self.start + length).checked_rem(self.ring.len()).unwrap_or(0);
        length
    }

    /// The connection is gone, and with it the answers that are missing.
    pub(crate) fn await_nothing(&mut self) {
        self.awaited = 0;
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        (self.start, self.ready, self.awaited) = (0, 0, 0);
    }
}

/// A size that is at most that of the ring, which came from a `u32`.
fn bytes(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use sndif::test_utils::Pages;

    use super::*;

    #[test]
    fn bytes_come_out_in_the_order_in_which_they_went_in() {
        let shared = Pages::of_bytes(251);
        shared.write(0, &(0..=250).collect::<Vec<u8>>());
        let mut captured = Captured::new(10);
        let (mut offset, mut expected) = (0, 0_u8);
        for round in 0..200_u32 {
            let span = Span { offset, length: (round * 7 % 11).min(captured.room_bytes()).min(251 - offset) };
            captured.asked(&span);
            assert_eq!(captured.awaited_bytes(), span.length);
            captured.answered(&span, &shared);
            offset = (offset + span.length) % 251;
            let mut data = vec![0; (round * 5 % 9) as usize];
            let taken = captured.take(&mut data);
            for byte in &data[..taken] {
                assert_eq!(*byte, expected);
                expected = (expected + 1) % 251;
            }
            assert!(captured.ready_bytes() + captured.room_bytes() == 10);
        }
        assert!(offset > 0);
    }

    #[test]
    fn an_answer_that_is_not_awaited_brings_nothing() {
        let shared = Pages::of_bytes(10);
        let span = Span { offset: 0, length: 10 };
        let mut captured = Captured::new(10);
        captured.asked(&span);
        assert_eq!(captured.room_bytes(), 0);
        captured.clear();
        captured.answered(&span, &shared);
        assert_eq!((captured.ready_bytes(), captured.room_bytes()), (0, 10));
        captured.asked(&span);
        captured.refused(&span);
        assert_eq!((captured.ready_bytes(), captured.room_bytes()), (0, 10));
    }
}
