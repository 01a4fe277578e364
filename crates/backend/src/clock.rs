//! Count of the frames that have passed by a clock of the host.

/// Nanoseconds in a second.
pub(crate) const SECOND_NS: u64 = 1_000_000_000;
const SECOND: u128 = SECOND_NS as u128;

/// Counter of frames at a rate, from a moment on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FrameClock {
    rate_hz: u32,
    base_ns: u64,
}

impl FrameClock {
    /// Makes a clock that is at frame 0 at `now_ns`.
    pub(crate) fn starting(rate_hz: u32, now_ns: u64) -> Self {
        Self { rate_hz, base_ns: now_ns }
    }

    /// Returns the same clock, at frame 0 at `now_ns`.
    pub(crate) fn restarted(&self, now_ns: u64) -> Self {
        Self { base_ns: now_ns, ..*self }
    }

    /// Returns the whole frames that have passed at `now_ns`.
    pub(crate) fn frames(&self, now_ns: u64) -> u64 {
        let elapsed = u128::from(now_ns.saturating_sub(self.base_ns));
        // The product of 64 and 32 bits fits.
        let frames = elapsed.saturating_mul(u128::from(self.rate_hz)) / SECOND;
        u64::try_from(frames).unwrap_or(u64::MAX)
    }

    /// Returns the first moment at which `frames` frames have passed.
    pub(crate) fn reaches_at(&self, frames: u64) -> u64 {
        let needed = u128::from(frames).saturating_mul(SECOND).div_ceil(u128::from(self.rate_hz.max(1)));
        self.base_ns.saturating_add(u64::try_from(needed).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_computed_for_a_frame_is_the_first_that_has_it() {
        for rate in [5512, 8000, 11_025, 44_100, 48_000, 192_000, 384_000] {
            let clock = FrameClock::starting(rate, 17);
            for frames in [0, 1, 2, 479, 480, 481, 1 << 40] {
                let at = clock.reaches_at(frames);
                assert_eq!(clock.frames(at), frames, "{rate} Hz");
                assert!(frames == 0 || clock.frames(at - 1) == frames - 1);
            }
        }
    }
}
