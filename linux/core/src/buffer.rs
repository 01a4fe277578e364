// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Memory shared by ALSA's application and a backend of version 2.

use frontend::{CONTROL_BYTES, Geometry};
use sndif::v2::{Operation, Span};
use sndif::{DirectoryWriter, SharedMemory, pages_for};

use crate::{Error, Pages, Platform, platform};

/// Bytes copied at a time: kernel stacks are small.
const CHUNK: usize = 256;

/// Buffer from `hw_params` to `hw_free`: the application's ring, which the backend maps.
///
/// An OPEN begins at the start of the ring. For a run that a new connection takes up in the middle, the backend is
/// given a *stand-in* of the same size: the byte at `shift` in the application's ring is the first of the stand-in. A
/// stand-in is also used for a ring whose writers do not tell how far they are: a part that is copied is free for them.
///
/// The ring always has room for volume and mute, since the next backend may have them when this one has not.
pub struct Buffer<P: Platform> {
    ring: P::Pages,
    stand_in: Option<StandIn<P>>,
    directory: P::Pages,
    pub(crate) geometry: Geometry,
    /// True while it is granted for the present connection.
    current: bool,
    /// True once a backend was told of it; the open stream has this buffer then.
    pub(crate) told: bool,
}

struct StandIn<P: Platform> {
    pages: P::Pages,
    shift: u32,
}

impl<P: Platform> Buffer<P> {
    pub(crate) fn new(backend: u16, geometry: Geometry) -> Result<Self, Error> {
        let pages = pages_for(geometry.ring_bytes().checked_add(CONTROL_BYTES).ok_or(Error::Invalid)?);
        let ring = platform::grant(backend, pages)?;
        let directory = platform::grant(backend, DirectoryWriter::pages(pages))?;
        Ok(Self { ring, stand_in: None, directory, geometry, current: true, told: false })
    }

    /// Returns the application's memory.
    pub(crate) fn ring(&self) -> &P::Pages {
        &self.ring
    }

    /// Returns the backend's memory: the stand-in, if there is one.
    pub(crate) fn shared(&self) -> &P::Pages {
        self.stand_in.as_ref().map_or(&self.ring, |stand_in| &stand_in.pages)
    }

    pub(crate) fn has_stand_in(&self) -> bool {
        self.stand_in.is_some()
    }

    /// Marks the buffer as not granted: its connection has ended.
    pub(crate) fn lose(&mut self) {
        self.current = false;
    }

    /// Grants the buffer to the present backend, and returns its OPEN for a run that begins `start` bytes after a
    /// ring's start, with `control_bytes` behind the ring. With `apart`, the backend always gets a stand-in.
    pub(crate) fn open(
        &mut self,
        backend: u16,
        start: u64,
        control_bytes: u32,
        apart: bool,
    ) -> Result<Operation, Error> {
        let ring_bytes = u64::from(self.geometry.ring_bytes());
        let shift = start.checked_rem(ring_bytes).and_then(|shift| u32::try_from(shift).ok()).unwrap_or(0);
        // Dropping the stand-in ends the access of the backend that is gone.
        self.stand_in = None;
        if !self.current {
            self.ring.grant_again(backend)?;
            self.directory.grant_again(backend)?;
            self.current = true;
        }
        if shift != 0 || apart {
            self.stand_in = Some(StandIn { pages: platform::grant(backend, self.ring.refs().len())?, shift });
        }
        let directory = *self.directory.refs().first().ok_or(Error::NoMemory)?;
        let open = self.geometry.open_params(control_bytes, directory).ok_or(Error::Invalid)?;
        let told = self.shared().refs().get(..pages_for(open.buffer_bytes)).ok_or(Error::Invalid)?;
        if !DirectoryWriter::write(&self.directory, self.directory.refs(), told) {
            return Err(Error::NoMemory);
        }
        self.told = true;
        Ok(Operation::Open(open))
    }

    /// Copies written bytes to the stand-in, before WRITE.
    pub(crate) fn hand_over(&self, span: Span) {
        if let Some(stand_in) = &self.stand_in {
            self.pieces(span, stand_in.shift, |ours, theirs, length| {
                copy(&self.ring, ours, &stand_in.pages, theirs, length);
            });
        }
    }

    /// Copies captured bytes from the stand-in, after READ.
    pub(crate) fn take_over(&self, span: Span) {
        if let Some(stand_in) = &self.stand_in {
            self.pieces(span, stand_in.shift, |ours, theirs, length| {
                copy(&stand_in.pages, theirs, &self.ring, ours, length);
            });
        }
    }

    /// Calls `each` with the span's places in the application's ring and in the stand-in: two pieces where it wraps.
    fn pieces(&self, span: Span, shift: u32, mut each: impl FnMut(u32, u32, u32)) {
        let ring = self.geometry.ring_bytes();
        let ours = span.offset.saturating_add(shift);
        let ours = ours.checked_sub(ring).unwrap_or(ours);
        let first = span.length.min(ring.saturating_sub(ours));
        each(ours, span.offset, first);
        each(0, span.offset.saturating_add(first), span.length.saturating_sub(first));
    }
}

/// Copies bytes between two memories.
pub(crate) fn copy(from: &impl SharedMemory, from_at: u32, to: &impl SharedMemory, to_at: u32, length: u32) {
    let place = |at: u32| usize::try_from(at).unwrap_or(usize::MAX);
    let (from_at, to_at, length) = (place(from_at), place(to_at), place(length));
    let mut chunk = [0; CHUNK];
    for done in (0..length).step_by(CHUNK) {
        let Some(chunk) = chunk.get_mut(..length.saturating_sub(done).min(CHUNK)) else { return };
        from.read(from_at.saturating_add(done), chunk);
        to.write(to_at.saturating_add(done), chunk);
    }
}
