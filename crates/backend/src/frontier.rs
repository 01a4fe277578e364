//! The written and taken parts of a playback ring.
//!
//! Positions are bytes since OPEN; the byte at position `p` lies at offset `p` modulo the ring's size. WRITE names only
//! an offset, so its meaning depends on where it begins:
//!
//! * at the frontier: it appends;
//! * between the position that the guest knows and the position up to which the host has taken frames: it rewrites,
//!   partly too late;
//! * between the taken position and the frontier (a rewind, or sound over silence): the frontier moves to its end;
//! * beyond the frontier: the guest skipped forward, and the old contents of the gap are played.
//!
//! Sums of positions saturate: no stream lives for 2^64 bytes.

use std::num::NonZeroU64;
use std::ops::Range;

/// The written and taken parts of one ring.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frontier {
    ring_bytes: NonZeroU64,
    /// Bytes that the host has taken out of the mirror.
    taken: u64,
    /// Bytes that the guest has written; `taken <= written <= taken + ring_bytes`.
    written: u64,
    /// Start of the current run. The guest starts again there, whatever it was told before.
    run_start: u64,
}

impl Frontier {
    pub(crate) fn new(ring_bytes: u32) -> Self {
        let ring_bytes = NonZeroU64::new(u64::from(ring_bytes)).unwrap_or(NonZeroU64::MIN);
        Self { ring_bytes, taken: 0, written: 0, run_start: 0 }
    }

    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Returns the bytes that can be taken.
    pub(crate) fn pending(&self) -> u64 {
        self.written.saturating_sub(self.taken)
    }

    /// Returns the position that a guest may assume when it is told nothing and keeps its own time. Of the free part of
    /// the ring, a WRITE into the half before the taken position comes late; into the other half, it skips forward.
    pub(crate) fn guessed_known(&self) -> u64 {
        let free = self.ring_bytes.get().saturating_sub(self.pending());
        self.taken.saturating_sub(free / 2)
    }

    /// Notes a WRITE of `length` bytes at `offset`; both lie within the ring. `known` is the position that the guest
    /// was told last; it may rewrite from there on.
    pub(crate) fn write(&mut self, offset: u32, length: u32, known: u64) {
        let (offset, length) = (u64::from(offset), u64::from(length));
        if length == 0 {
            return;
        }
        let ring = self.ring_bytes.get();
        let phase = self.taken % self.ring_bytes;
        let ahead = offset.saturating_add(ring).saturating_sub(phase) % self.ring_bytes;
        let appends = (self.written % self.ring_bytes) == offset;
        let behind = ring.saturating_sub(ahead) % self.ring_bytes;
        let end = if appends {
            self.written.saturating_add(length)
        } else if behind <= self.taken.saturating_sub(known.max(self.run_start)) {
            self.taken.saturating_sub(behind).saturating_add(length).max(self.taken)
        } else {
            self.taken.saturating_add(ahead).saturating_add(length)
        };
        self.written = end.min(self.taken.saturating_add(ring));
    }

    /// Returns the next bytes to take, at most `max`: a stretch that does not wrap.
    pub(crate) fn next_stretch(&self, max: u64) -> Range<usize> {
        let offset = self.taken % self.ring_bytes;
        let end = offset.saturating_add(self.pending().min(max)).min(self.ring_bytes.get());
        bytes(offset)..bytes(end)
    }

    /// Returns the place of the next captured bytes, at most `max`: a stretch that does not wrap.
    pub(crate) fn next_gap(&self, max: u64) -> Range<usize> {
        let offset = self.taken % self.ring_bytes;
        let end = offset.saturating_add(max).min(self.ring_bytes.get());
        bytes(offset)..bytes(end)
    }

    /// Notes that `bytes` of the stretch were taken.
    pub(crate) fn take(&mut self, bytes: u64) {
        self.taken = self.taken.saturating_add(bytes.min(self.pending()));
    }

    /// Notes that `bytes` were captured: written by the host, and therefore taken.
    pub(crate) fn produce(&mut self, bytes: u64) {
        self.taken = self.taken.saturating_add(bytes);
        self.written = self.taken;
    }

    /// Ends a run: the next one starts at the beginning of the ring. Linux forgets its own position at `prepare` but
    /// continues to count ours, so both wrap to offset 0 (docs/protocol.md, "Positions").
    pub(crate) fn wrap(&mut self, reported: u64) -> u64 {
        let end = self.taken.max(reported).checked_next_multiple_of(self.ring_bytes.get()).unwrap_or(u64::MAX);
        self.taken = end;
        self.written = end;
        self.run_start = end;
        end
    }
}

/// Converts a size below that of the ring, which came from a `u32`, to an index.
fn bytes(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(taken: u64, written: u64) -> Frontier {
        Frontier { taken, written, ..Frontier::new(1000) }
    }

    #[test]
    fn a_write_at_the_frontier_appends() {
        let mut ring = at(5300, 5700);
        ring.write(700, 300, 5300);
        assert_eq!(ring.written(), 6000);
        ring.write(0, 300, 5300);
        assert_eq!(ring.written(), 6300);
    }

    #[test]
    fn a_write_behind_the_frontier_moves_it_to_its_own_end() {
        let mut ring = at(5300, 5900);
        ring.write(400, 100, 5300);
        assert_eq!(ring.written(), 5500);
    }

    #[test]
    fn a_rewrite_from_what_the_guest_believes_unplayed_comes_partly_too_late() {
        let mut ring = at(5300, 5900);
        ring.write(200, 400, 5150);
        assert_eq!(ring.written(), 5600);
        let mut ring = at(5300, 5900);
        ring.write(200, 50, 5150);
        assert_eq!(ring.written(), 5300, "wholly too late: nothing is left to play");
    }

    #[test]
    fn what_was_told_of_the_last_run_makes_no_write_of_this_one_late() {
        let mut ring = at(5300, 5900);
        ring.wrap(5300);
        ring.write(0, 500, 5300);
        ring.write(400, 200, 5300);
        assert_eq!(ring.written(), 6600);
    }

    #[test]
    fn a_guest_that_is_told_nothing_may_be_a_little_late_or_skip_a_little() {
        let mut ring = at(5300, 5500);
        ring.write(200, 150, ring.guessed_known());
        assert_eq!(ring.written(), 5350, "late by 100");
        let mut ring = at(5300, 5500);
        ring.write(600, 150, ring.guessed_known());
        assert_eq!(ring.written(), 5750, "100 ahead");
    }

    #[test]
    fn skipping_forward_moves_the_frontier() {
        let mut ring = at(5300, 5400);
        ring.write(600, 100, 5300);
        assert_eq!(ring.written(), 5700);
    }

    #[test]
    fn the_frontier_never_passes_a_whole_ring() {
        let mut ring = at(5300, 6300);
        ring.write(300, 1000, 5300);
        assert_eq!(ring.written(), 6300);
    }

    #[test]
    fn a_dry_ring_takes_a_whole_one_at_its_frontier() {
        let mut ring = at(5000, 5000);
        ring.write(0, 1000, 5000);
        assert_eq!(ring.written(), 6000);
        assert_eq!(ring.next_stretch(u64::MAX), 0..1000);
    }

    #[test]
    fn stretches_do_not_wrap() {
        let mut ring = at(5900, 6400);
        assert_eq!(ring.next_stretch(u64::MAX), 900..1000);
        ring.take(100);
        assert_eq!(ring.next_stretch(150), 0..150);
    }

    #[test]
    fn the_next_run_starts_at_the_beginning_of_the_ring() {
        let mut ring = at(5300, 5900);
        assert_eq!(ring.wrap(5300), 6000);
        assert_eq!(ring.wrap(6000), 6000, "a second STOP changes nothing");
        assert_eq!(ring.wrap(6004), 7000, "one frame past the end was reported");
    }
}
