//! READs that a guest has laid out ahead: kept until what they ask for was captured and told.

use std::collections::VecDeque;

use sndif::Errno;
use sndif::v2::{READ_AHEAD_BYTES_MAX, RING_SLOTS, Span};

use crate::Geometry;

/// A READ that is not answered yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) id: u16,
    pub(crate) span: Span,
    /// Position at its end.
    pub(crate) until: u64,
}

/// The READs of one stream, in the order in which they came. Never more than a ring of requests, nor of frames.
#[derive(Debug)]
pub(crate) struct Ahead {
    kept: VecDeque<Kept>,
    /// Number of the oldest kept READs, whose run has ended.
    cancelled: usize,
    bytes: u64,
}

impl Ahead {
    /// Memory for all that are ever kept, where any are.
    pub(crate) fn new(used: bool) -> Self {
        let places = if used { RING_SLOTS as usize } else { 0 };
        Self { kept: VecDeque::with_capacity(places), cancelled: 0, bytes: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Keeps a READ; `taken` is how far was captured.
    pub(crate) fn keep(&mut self, read: Kept, geometry: &Geometry, taken: u64) -> Result<(), Errno> {
        check(&read, geometry)?;
        let ring = u64::from(geometry.ring_bytes);
        let bytes = self.bytes.saturating_add(read.span.length.into());
        // A guest that asks for more than a ring overwrites bytes that are not read.
        if read.until > taken.saturating_add(ring) || bytes > ring || self.kept.len() >= RING_SLOTS as usize {
            return Err(Errno::EINVAL);
        }
        self.bytes = bytes;
        self.kept.push_back(read);
        Ok(())
    }

    /// The run has ended: what it has not brought does not come.
    pub(crate) fn cancel(&mut self) {
        self.cancelled = self.kept.len();
    }

    /// The next READ to be answered, and whether it brings something: all up to `known` are due.
    pub(crate) fn next(&mut self, known: u64) -> Option<(Kept, bool)> {
        let brings = self.cancelled == 0;
        let read = *self.kept.front().filter(|read| !brings || read.until <= known)?;
        self.kept.pop_front();
        self.cancelled = self.cancelled.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(read.span.length.into());
        Some((read, brings))
    }
}

/// Checks that a READ means the same bytes with its range and with its position.
pub(crate) fn check(read: &Kept, geometry: &Geometry) -> Result<(), Errno> {
    let Span { offset, length } = read.span;
    let end = u64::from(offset).saturating_add(length.into());
    let place = |position: u64| position.checked_rem(geometry.ring_bytes.into());
    let fits = Geometry::holds(read.span, geometry.ring_bytes) && place(end) == place(read.until);
    if fits && (1..=READ_AHEAD_BYTES_MAX).contains(&length) { Ok(()) } else { Err(Errno::EINVAL) }
}
