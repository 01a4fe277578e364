//! Streams whose turn is to come: each guest has one after the other guests had theirs, however many streams it keeps busy.

use std::collections::{BTreeMap, VecDeque};

/// A queue for each guest, and the guests in the order of their turns.
#[derive(Debug)]
pub(crate) struct Fair<T> {
    /// Kept when they are empty: no allocation is made then each time that something comes.
    queues: BTreeMap<u16, VecDeque<T>>,
    guests: VecDeque<u16>,
}

impl<T> Fair<T> {
    pub(crate) const fn new() -> Self {
        Self { queues: BTreeMap::new(), guests: VecDeque::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.guests.is_empty()
    }

    /// Adds a stream behind the others of its guest.
    pub(crate) fn push(&mut self, guest: u16, stream: T) {
        let queue = self.queues.entry(guest).or_default();
        if queue.is_empty() {
            self.guests.push_back(guest);
        }
        queue.push_back(stream);
    }

    /// The stream whose turn it is.
    pub(crate) fn pop(&mut self) -> Option<T> {
        let guest = self.guests.pop_front()?;
        let queue = self.queues.get_mut(&guest)?;
        let next = queue.pop_front();
        if !queue.is_empty() {
            self.guests.push_back(guest);
        }
        next
    }

    /// Forgets guests that have nothing to do.
    pub(crate) fn shrink(&mut self) {
        self.queues.retain(|_, queue| !queue.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_with_many_busy_streams_waits_for_the_others_after_each_of_them() {
        let mut fair = Fair::new();
        for stream in 0..64 {
            fair.push(1, (1, stream));
        }
        fair.push(2, (2, 0));
        fair.push(3, (3, 0));
        let mut order = Vec::new();
        for _ in 0..6 {
            let stream = fair.pop().unwrap();
            order.push(stream);
            // None of them rests.
            fair.push(stream.0, stream);
        }
        assert_eq!(order, [(1, 0), (2, 0), (3, 0), (1, 1), (2, 0), (3, 0)]);
    }

    #[test]
    fn all_come_out_once() {
        let mut fair = Fair::new();
        for stream in [(1, 0), (2, 0), (1, 1)] {
            fair.push(stream.0, stream);
        }
        let all: Vec<_> = std::iter::from_fn(|| fair.pop()).collect();
        assert_eq!(all, [(1, 0), (2, 0), (1, 1)]);
        assert!(fair.is_empty());
        fair.shrink();
        assert!(fair.queues.is_empty());
    }
}
