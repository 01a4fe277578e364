//! Order in which the members of a set are served.

use std::collections::BTreeSet;
use std::ops::Bound::{Excluded, Unbounded};

/// A set whose members take turns: a member that is put back immediately, however often, comes again after all the
/// others.
#[derive(Debug)]
pub(crate) struct Turns<T> {
    waiting: BTreeSet<T>,
    last: Option<T>,
}

impl<T: Ord + Copy> Turns<T> {
    pub(crate) const fn new() -> Self {
        Self { waiting: BTreeSet::new(), last: None }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn insert(&mut self, member: T) {
        self.waiting.insert(member);
    }

    /// Takes out the member whose turn it is.
    pub(crate) fn take_next(&mut self) -> Option<T> {
        let after = self.last.map_or(Unbounded, Excluded);
        let next = self.waiting.range((after, Unbounded)).next().or_else(|| self.waiting.first()).copied()?;
        self.waiting.remove(&next);
        self.last = Some(next);
        Some(next)
    }

    /// Takes out all members.
    pub(crate) fn take_all(&mut self) -> BTreeSet<T> {
        std::mem::take(&mut self.waiting)
    }
}

impl<T: Ord + Copy> Extend<T> for Turns<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, members: I) {
        self.waiting.extend(members);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_comes_back_at_once_waits_for_the_others() {
        let mut turns = Turns::new();
        turns.extend([1, 2, 3]);
        let mut seen = Vec::new();
        for _ in 0..6 {
            seen.extend(turns.take_next());
            // The first two are put back each time.
            turns.extend([1, 2]);
        }
        assert_eq!(seen, [1, 2, 3, 1, 2, 1]);
    }

    #[test]
    fn everybody_comes_once() {
        let mut turns = Turns::new();
        turns.extend([2, 1, 2]);
        assert_eq!([turns.take_next(), turns.take_next(), turns.take_next()], [Some(1), Some(2), None]);
        assert!(turns.is_empty());
    }
}
