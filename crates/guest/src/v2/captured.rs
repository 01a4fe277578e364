//! Captured bytes that are not read yet: a private ring between the shared buffer and the caller.
//!
//! Nobody waits for the answer to a READ, so its bytes cannot go directly to the caller. They could lie in the shared
//! buffer until then, but a private copy outlives the connection, and the backend cannot change it while the caller
//! reads.

use sndif::SharedMemory;
use sndif::v2::Span;

/// Bytes in the order in which they were captured, whole frames.
#[derive(Debug, Default)]
pub(crate) struct Captured {
    ring: Box<[u8]>,
    /// Place of the oldest byte.
    start: usize,
    ready: usize,
    /// Bytes of the READs that are in flight; room is reserved for them.
    awaited: usize,
}

impl Captured {
    /// Allocates the whole ring: nothing is allocated later.
    pub(crate) fn new(bytes: u32) -> Self {
        Self { ring: vec![0; bytes as usize].into(), ..Self::default() }
    }

    /// Returns the bytes that the caller can read now.
    pub(crate) fn ready_bytes(&self) -> u32 {
        bytes(self.ready)
    }

    /// Returns the bytes of READs that were not answered yet.
    pub(crate) fn awaited_bytes(&self) -> u32 {
        bytes(self.awaited)
    }

    /// Returns the bytes that may be requested.
    pub(crate) fn room_bytes(&self) -> u32 {
        bytes(self.ring.len().saturating_sub(self.ready + self.awaited))
    }

    /// Notes a READ that was sent.
    pub(crate) fn asked(&mut self, span: &Span) {
        self.awaited += span.length as usize;
    }

    /// Notes a READ that failed, which brings no bytes.
    pub(crate) fn refused(&mut self, span: &Span) {
        self.awaited = self.awaited.saturating_sub(span.length as usize);
    }

    /// Notes a READ that was answered, and copies its bytes out of the shared buffer.
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

    /// Moves the oldest bytes to `data`, at most as many as it holds.
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

    /// Forgets the missing answers of a connection that is gone.
    pub(crate) fn await_nothing(&mut self) {
        self.awaited = 0;
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        (self.start, self.ready, self.awaited) = (0, 0, 0);
    }
}

/// Converts a size that is at most that of the ring, which came from a `u32`.
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
