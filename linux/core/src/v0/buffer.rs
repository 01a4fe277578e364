// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! The application's ring, and the areas through which its frames pass to and from the backend.

use frontend::Geometry;
use frontend::v0::Transfers;
use sndif::store::Direction;
use sndif::v0::Transfer;
use sndif::{Format, PAGE_BYTES, pages_for};

use crate::buffer::copy;
use crate::{Error, Pages, Platform, platform};

/// Maximum number of WRITEs in flight: the next is there when one is answered, and little is played after a stop.
const WRITES_MAX: u32 = 8;

/// Maximum number of READs in flight.
const READS_MAX: u32 = 2;

/// Buffer from `hw_params` to `hw_free`.
pub struct Buffer<P: Platform> {
    ring: P::Pages,
    pub(crate) geometry: Geometry,
    transfers: Transfers,
    /// Areas granted to the present backend.
    areas: Option<Areas<P>>,
}

/// Areas for transfers; they are taken in turn, and given back in the same order.
struct Areas<P: Platform> {
    pages: P::Pages,
    /// Area of the next transfer.
    next: u32,
    /// Area of the transfer that is answered next.
    first: u32,
}

impl<P: Platform> Buffer<P> {
    pub(crate) fn new(
        direction: Direction,
        format: Format,
        channels: u8,
        rate_hz: u32,
        period_frames: u32,
        buffer_frames: u32,
    ) -> Result<Self, Error> {
        let geometry = Geometry::new(format, channels, rate_hz, period_frames, buffer_frames).ok_or(Error::Invalid)?;
        let most = match direction {
            Direction::Playback => WRITES_MAX,
            Direction::Capture => READS_MAX,
        };
        let in_flight_frames = buffer_frames.min(period_frames.saturating_mul(most));
        let (_, transfers) =
            Transfers::nearest(format, channels, rate_hz, period_frames, in_flight_frames).ok_or(Error::Invalid)?;
        let ring = P::Pages::ordinary(pages_for(geometry.ring_bytes()))?;
        Ok(Self { ring, geometry, transfers, areas: None })
    }

    /// Returns the application's memory.
    pub(crate) fn ring(&self) -> &P::Pages {
        &self.ring
    }

    /// Returns the maximum size of a transfer.
    pub(crate) fn area_bytes(&self) -> u32 {
        self.transfers.area_bytes()
    }

    /// Returns the maximum number of transfers in flight.
    pub(crate) fn areas(&self) -> u32 {
        self.transfers.areas()
    }

    /// Makes areas for this backend, all of them free.
    pub(crate) fn grant(&mut self, backend: u16) -> Result<(), Error> {
        self.areas = None;
        let areas = usize::try_from(self.areas()).unwrap_or(0);
        let pages = platform::grant(backend, areas.saturating_mul(self.transfers.area_pages()))?;
        self.areas = Some(Areas { pages, next: 0, first: 0 });
        Ok(())
    }

    /// Returns true if a backend was given areas.
    pub(crate) fn is_granted(&self) -> bool {
        self.areas.is_some()
    }

    /// Ends the backend's access to the areas.
    pub(crate) fn end_access(&mut self) {
        self.areas = None;
    }

    /// Begins a transfer of `length` bytes in the next area; for a WRITE, of the bytes at `position`.
    pub(crate) fn begin(&mut self, direction: Direction, position: u64, length: u32) -> Option<Transfer> {
        let index = self.areas.as_ref()?.next;
        if direction == Direction::Playback {
            self.pieces(index, position, length, |areas, area_at, ring_at, length| {
                copy(&self.ring, ring_at, &areas.pages, area_at, length);
            });
        }
        let (pages, following) = (self.transfers.area_pages(), self.following(index));
        let areas = self.areas.as_mut()?;
        let from = usize::try_from(index).ok()?.checked_mul(pages)?;
        let refs = areas.pages.refs().get(from..from.checked_add(pages)?)?;
        areas.next = following;
        Transfer::new(length, refs)
    }

    /// Ends the oldest transfer, which was answered: with `captured`, its bytes are copied to that position.
    pub(crate) fn end(&mut self, captured: Option<u64>, length: u32) {
        let Some(index) = self.areas.as_ref().map(|areas| areas.first) else { return };
        if let Some(position) = captured {
            self.pieces(index, position, length, |areas, area_at, ring_at, length| {
                copy(&areas.pages, area_at, &self.ring, ring_at, length);
            });
        }
        let following = self.following(index);
        if let Some(areas) = &mut self.areas {
            areas.first = following;
        }
    }

    fn following(&self, index: u32) -> u32 {
        index.saturating_add(1).checked_rem(self.areas()).unwrap_or(0)
    }

    /// Calls `each` with the places of an area's bytes in the ring from `position` on: two pieces where it wraps.
    fn pieces(&self, index: u32, position: u64, length: u32, mut each: impl FnMut(&Areas<P>, u32, u32, u32)) {
        let Some(areas) = &self.areas else { return };
        let ring = self.geometry.ring_bytes();
        let area_bytes = self.transfers.area_pages().saturating_mul(PAGE_BYTES);
        let area = index.saturating_mul(u32::try_from(area_bytes).unwrap_or(u32::MAX));
        let at = position.checked_rem(ring.into()).and_then(|at| u32::try_from(at).ok()).unwrap_or(0);
        let first = length.min(ring.saturating_sub(at));
        each(areas, area, at, first);
        each(areas, area.saturating_add(first), 0, length.saturating_sub(first));
    }
}
