//! Division of a stream's buffer into READs and WRITEs.

use sndif::v0::{PAGES_MAX, RING_SLOTS, TRANSFER_BYTES_MAX};
use sndif::{Format, pages_for};

use crate::Geometry;

/// Slots of the ring that are left for requests other than READ and WRITE.
const SPARE_SLOTS: u32 = 2;

/// A buffer as areas of whole pages, one for each READ or WRITE that may be in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfers {
    area_bytes: u32,
    areas: u32,
}

impl Transfers {
    /// Returns the sizes nearest to the wanted ones that requests can carry: a period of at most ten pages, and at
    /// least two periods. `None` if there is no such geometry (no whole bytes per frame, a rate of 0, frames beyond ten
    /// pages).
    #[must_use]
    pub fn nearest(
        format: Format,
        channels: u8,
        rate_hz: u32,
        period_frames: u32,
        buffer_frames: u32,
    ) -> Option<(Geometry, Self)> {
        let frame_bytes = format.frame_bytes(channels)?;
        let longest = TRANSFER_BYTES_MAX.checked_div(frame_bytes)?;
        let period_frames = period_frames.clamp(1, longest.max(1));
        let areas = buffer_frames.div_ceil(period_frames).clamp(2, RING_SLOTS.saturating_sub(SPARE_SLOTS));
        let geometry = Geometry::new(format, channels, rate_hz, period_frames, period_frames.checked_mul(areas)?)?;
        (geometry.period_bytes() <= TRANSFER_BYTES_MAX)
            .then_some((geometry, Self { area_bytes: geometry.period_bytes(), areas }))
    }

    /// Returns the bytes of frames in an area, a period.
    #[must_use]
    pub const fn area_bytes(&self) -> u32 {
        self.area_bytes
    }

    /// Returns the number of areas, which is the maximum number of READs or WRITEs in flight.
    #[must_use]
    pub const fn areas(&self) -> u32 {
        self.areas
    }

    /// Returns the pages of an area, at most [`PAGES_MAX`].
    #[must_use]
    pub fn area_pages(&self) -> usize {
        pages_for(self.area_bytes).min(PAGES_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transfers_fit_requests_and_are_close_to_what_was_wanted() {
        let (geometry, transfers) = Transfers::nearest(Format::S16Le, 2, 48_000, 480, 9600).unwrap();
        assert_eq!((geometry.period_bytes(), geometry.ring_bytes()), (1920, 38_400));
        assert_eq!((transfers.areas(), transfers.area_pages()), (20, 1));
        let (geometry, transfers) = Transfers::nearest(Format::S16Le, 2, 48_000, 48_000, 48_000).unwrap();
        assert_eq!((geometry.period_bytes(), transfers.areas(), transfers.area_pages()), (40_960, 5, 10));
        let (_, transfers) = Transfers::nearest(Format::U8, 1, 8000, 1, 100_000).unwrap();
        assert_eq!(transfers.areas(), 30);
        assert_eq!(Transfers::nearest(Format::S16Le, 2, 0, 480, 9600), None);
        assert_eq!(Transfers::nearest(Format::S16Le, 0, 48_000, 480, 9600), None);
    }
}
