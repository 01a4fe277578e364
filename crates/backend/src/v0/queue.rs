//! Frames on their way between guest and host device, in order.
//!
//! All sizes are whole frames, and so is every stretch that does not wrap: the capacity is a multiple of the frame.

use sndif::SharedMemory;

/// A bounded queue of bytes.
#[derive(Debug, Default)]
pub(super) struct Queue {
    bytes: Vec<u8>,
    start: usize,
    filled: usize,
}

impl Queue {
    /// Makes an empty queue; `None` if there is no memory for it.
    pub(super) fn new(capacity: usize) -> Option<Self> {
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(capacity).ok()?;
        bytes.resize(capacity, 0);
        Some(Self { bytes, start: 0, filled: 0 })
    }

    pub(super) fn filled(&self) -> usize {
        self.filled
    }

    pub(super) fn room(&self) -> usize {
        self.bytes.len().saturating_sub(self.filled)
    }

    pub(super) fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// Returns the oldest bytes, at most `max`: a stretch that does not wrap.
    pub(super) fn front(&self, max: usize) -> &[u8] {
        let end = self.start.saturating_add(self.filled.min(max)).min(self.bytes.len());
        self.bytes.get(self.start..end).unwrap_or_default()
    }

    /// Drops the oldest bytes.
    pub(super) fn drop_front(&mut self, bytes: usize) {
        let bytes = bytes.min(self.filled);
        self.start = self.wrapped(self.start.saturating_add(bytes));
        self.filled = self.filled.saturating_sub(bytes);
    }

    /// Returns the place of the next bytes, at most `max`: a stretch that does not wrap.
    pub(super) fn gap(&mut self, max: usize) -> &mut [u8] {
        let at = self.wrapped(self.start.saturating_add(self.filled));
        let end = at.saturating_add(self.room().min(max)).min(self.bytes.len());
        self.bytes.get_mut(at..end).unwrap_or_default()
    }

    /// Notes that the start of the gap was filled.
    pub(super) fn extend(&mut self, bytes: usize) {
        self.filled = self.filled.saturating_add(bytes.min(self.room()));
    }

    /// Appends the first `length` bytes of `memory`, or nothing.
    pub(super) fn append_from(&mut self, memory: &impl SharedMemory, length: usize) -> bool {
        if length > self.room() || length > memory.len() {
            return false;
        }
        let mut copied = 0_usize;
        while copied < length {
            let gap = self.gap(length.saturating_sub(copied));
            let bytes = gap.len();
            if bytes == 0 || !memory.read(copied, gap) {
                return false;
            }
            self.extend(bytes);
            copied = copied.saturating_add(bytes);
        }
        true
    }

    /// Moves the oldest `length` bytes to the start of `memory`, or none.
    pub(super) fn move_to(&mut self, memory: &impl SharedMemory, length: usize) -> bool {
        if length > self.filled || length > memory.len() {
            return false;
        }
        let mut copied = 0_usize;
        while copied < length {
            let front = self.front(length.saturating_sub(copied));
            let bytes = front.len();
            if bytes == 0 || !memory.write(copied, front) {
                return false;
            }
            self.drop_front(bytes);
            copied = copied.saturating_add(bytes);
        }
        true
    }

    fn wrapped(&self, at: usize) -> usize {
        at.checked_rem(self.bytes.len()).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sndif::test_utils::Pages;

    #[test]
    fn bytes_come_out_in_the_order_in_which_they_went_in() {
        let (from, to) = (Pages::of_bytes(7), Pages::of_bytes(7));
        let mut queue = Queue::new(10).unwrap();
        let (mut next, mut expected) = (0_u8, 0_u8);
        for round in 0..100_usize {
            let length = round % 8;
            from.write(0, &(0..7).map(|at| next.wrapping_add(at)).collect::<Vec<u8>>());
            if queue.append_from(&from, length) {
                next = next.wrapping_add(u8::try_from(length).unwrap());
            } else {
                assert!(length > queue.room());
            }
            let length = (round * 5) % 7;
            if queue.move_to(&to, length) {
                for byte in &to.bytes()[..length] {
                    assert_eq!(*byte, expected);
                    expected = expected.wrapping_add(1);
                }
            } else {
                assert!(length > queue.filled());
            }
            assert_eq!(queue.filled() + queue.room(), 10);
        }
        assert!(expected > 100);
    }

    #[test]
    fn pages_that_are_too_few_move_nothing() {
        let short = Pages::of_bytes(3);
        let mut queue = Queue::new(10).unwrap();
        assert!(!queue.append_from(&short, 4));
        queue.extend(8);
        assert!(!queue.move_to(&short, 4));
        assert_eq!(queue.filled(), 8);
    }
}
