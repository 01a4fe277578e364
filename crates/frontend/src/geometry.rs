//! The sizes of an opened stream.

use core::num::NonZeroU32;

use sndif::v2::OpenParams;
use sndif::{Format, GrantRef};

/// Format and sizes of an opened stream. Every size is above 0 and a whole number of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    rate_hz: NonZeroU32,
    format: Format,
    channels: u8,
    frame_bytes: NonZeroU32,
    period_bytes: NonZeroU32,
    ring_bytes: NonZeroU32,
}

impl Geometry {
    /// Makes a geometry with these sizes in frames; `None` when a size is 0, the period is longer than the ring, the
    /// ring is longer than 4 GiB, or the format has no whole bytes per frame.
    #[must_use]
    pub fn new(format: Format, channels: u8, rate_hz: u32, period_frames: u32, ring_frames: u32) -> Option<Self> {
        let frame_bytes = NonZeroU32::new(format.frame_bytes(channels)?)?;
        Some(Self {
            rate_hz: NonZeroU32::new(rate_hz)?,
            format,
            channels,
            frame_bytes,
            period_bytes: NonZeroU32::new(period_frames)?.checked_mul(frame_bytes)?,
            ring_bytes: NonZeroU32::new(ring_frames)?.checked_mul(frame_bytes)?,
        })
        .filter(|geometry| geometry.period_bytes <= geometry.ring_bytes)
    }

    /// Returns the geometry of an OPEN, the last `control_bytes` of whose buffer are not part of the ring.
    #[must_use]
    pub fn of_open(open: &OpenParams, control_bytes: u32) -> Option<Self> {
        let frame_bytes = open.format.frame_bytes(open.channels)?;
        let ring_bytes = open.buffer_bytes.checked_sub(control_bytes)?;
        let frames = |bytes: u32| bytes.checked_div(frame_bytes);
        Self::new(open.format, open.channels, open.rate_hz, frames(open.period_bytes)?, frames(ring_bytes)?)
            .filter(|geometry| geometry.ring_bytes() == ring_bytes)
    }

    /// Returns the OPEN for this geometry, with `control_bytes` behind the ring; `None` when both exceed 4 GiB.
    #[must_use]
    pub fn open_params(&self, control_bytes: u32, directory: GrantRef) -> Option<OpenParams> {
        Some(OpenParams {
            rate_hz: self.rate_hz.get(),
            format: self.format,
            channels: self.channels,
            buffer_bytes: self.ring_bytes().checked_add(control_bytes)?,
            directory,
            period_bytes: self.period_bytes(),
        })
    }

    /// Returns the frames per second.
    #[must_use]
    pub const fn rate_hz(&self) -> u32 {
        self.rate_hz.get()
    }

    /// Returns the sample format.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.format
    }

    /// Returns the samples per frame.
    #[must_use]
    pub const fn channels(&self) -> u8 {
        self.channels
    }

    /// Returns the bytes of a frame.
    #[must_use]
    pub const fn frame_bytes(&self) -> u32 {
        self.frame_bytes.get()
    }

    /// Returns the bytes between two position events.
    #[must_use]
    pub const fn period_bytes(&self) -> u32 {
        self.period_bytes.get()
    }

    /// Returns the bytes of the ring, without the control page behind it.
    #[must_use]
    pub const fn ring_bytes(&self) -> u32 {
        self.ring_bytes.get()
    }

    /// Returns the bytes per second.
    #[must_use]
    pub fn bytes_per_second(&self) -> u64 {
        u64::from(self.frame_bytes()).saturating_mul(u64::from(self.rate_hz()))
    }

    /// Returns the size of the whole frames in `bytes`, in bytes.
    #[must_use]
    pub fn whole_frames(&self, bytes: u32) -> u32 {
        bytes.saturating_sub(bytes.checked_rem(self.frame_bytes()).unwrap_or(0))
    }

    /// Returns the duration of `bytes` bytes, in nanoseconds.
    #[must_use]
    pub fn duration_ns(&self, bytes: u64) -> u64 {
        let nanoseconds = u128::from(bytes).saturating_mul(1_000_000_000);
        let duration = nanoseconds.checked_div(u128::from(self.bytes_per_second())).unwrap_or(0);
        u64::try_from(duration).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_sizes_that_would_divide_by_zero_or_overflow_do_not_exist() {
        let new = |channels, rate, period, ring| Geometry::new(Format::S16Le, channels, rate, period, ring);
        assert!(new(2, 48_000, 480, 1920).is_some());
        for bad in [(0, 48_000, 480, 1920), (2, 0, 480, 1920), (2, 48_000, 0, 1920), (2, 48_000, 480, 0)] {
            assert_eq!(new(bad.0, bad.1, bad.2, bad.3), None);
        }
        assert_eq!(new(2, 48_000, 1921, 1920), None);
        assert_eq!(new(2, 48_000, 480, u32::MAX), None);
        assert_eq!(Geometry::new(Format::ImaAdpcm, 1, 8000, 10, 20), None);
    }

    #[test]
    fn open_and_geometry_lead_to_each_other() {
        let geometry = Geometry::new(Format::S24Le, 2, 96_000, 960, 3840).unwrap();
        let open = geometry.open_params(4096, GrantRef(8)).unwrap();
        assert_eq!((open.buffer_bytes, open.period_bytes), (3840 * 8 + 4096, 960 * 8));
        assert_eq!(Geometry::of_open(&open, 4096), Some(geometry));
        assert_eq!(Geometry::of_open(&open, open.buffer_bytes + 1), None);
        assert_eq!(geometry.duration_ns(960 * 8), 10_000_000);
    }
}
