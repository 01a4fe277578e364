// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! ALSA's counters: the application's progress, and the device's place in the ring.

use frontend::Geometry;

/// Bytes that an application has written since `prepare`.
#[derive(Default)]
pub(crate) struct Accepted {
    /// ALSA's application pointer, as it was told last.
    appl_frames: u64,
    /// Written bytes.
    pub(crate) bytes: u64,
}

impl Accepted {
    /// Advances to `appl_frames`, the present value of the application pointer, a counter that wraps at
    /// `boundary_frames`.
    pub(crate) fn advance(&mut self, appl_frames: u64, boundary_frames: u64, geometry: &Geometry) {
        let before = core::mem::replace(&mut self.appl_frames, appl_frames);
        let written = match appl_frames.checked_sub(before) {
            Some(written) => written,
            None => appl_frames.saturating_add(boundary_frames).saturating_sub(before),
        };
        self.bytes = self.bytes.saturating_add(written.saturating_mul(geometry.frame_bytes().into()));
    }
}

/// Position of the device that ALSA knows, in bytes since `prepare`.
#[derive(Default)]
pub(crate) struct Shown {
    /// Position that `pointer` has told.
    pub(crate) bytes: u64,
    /// Value of `bytes` when ALSA was told of a period last.
    told: u64,
    /// True while ALSA is told of a period and has not asked for the pointer yet.
    telling: bool,
    /// True if `pointer` could not tell the whole position.
    behind: bool,
}

impl Shown {
    /// Returns the position that `pointer` tells, with the device at `position`.
    pub(crate) fn show(&mut self, position: u64, geometry: &Geometry) -> u64 {
        self.bytes = next_shown(self.bytes, position, geometry);
        self.behind = position > self.bytes;
        if core::mem::take(&mut self.telling) {
            self.told = self.bytes;
        }
        self.bytes
    }

    /// Returns true if ALSA has to be told that a period elapsed: when a period's boundary was passed since ALSA was
    /// told last, or all written bytes were played, up to `end`; or when ALSA knows only a part of the position. The
    /// boundary must have been passed: if half a buffer's time has passed, ALSA takes a pointer before the boundary for
    /// one that has gone round the ring once more, and sees an xrun.
    pub(crate) fn begin_telling(&mut self, position: u64, end: Option<u64>, geometry: &Geometry) -> bool {
        let reach = next_shown(self.bytes, position, geometry);
        let periods = |bytes: u64| bytes.checked_div(geometry.period_bytes().into());
        let passed = periods(reach) > periods(self.told);
        let ended = end.is_some_and(|end| reach >= end && end > self.told);
        // A telling in progress already makes ALSA ask for a pointer, which shows this position, too.
        let tell = (passed || ended || self.behind) && !self.telling;
        self.telling |= tell;
        tell
    }

    /// Ends the telling. A stream that is not running has not asked for the pointer, and ALSA is told again.
    pub(crate) fn end_telling(&mut self) {
        self.telling = false;
    }
}

/// Returns the position that ALSA is told next, if it knows `shown` and the device is at `position`. ALSA takes a whole
/// turn of the ring for none, so each step is less than one turn.
fn next_shown(shown: u64, position: u64, geometry: &Geometry) -> u64 {
    let less_than_a_turn = geometry.ring_bytes().saturating_sub(geometry.frame_bytes());
    position.min(shown.saturating_add(less_than_a_turn.into())).max(shown)
}

/// Returns the place in the ring, in frames, of a position in bytes.
pub(crate) fn frames_in_ring(position: u64, geometry: &Geometry) -> u32 {
    frames(position.checked_rem(geometry.ring_bytes().into()).unwrap_or(0), geometry)
}

/// Converts bytes to frames.
pub(crate) fn frames(bytes: u64, geometry: &Geometry) -> u32 {
    u32::try_from(bytes).unwrap_or(0).checked_div(geometry.frame_bytes()).unwrap_or(0)
}
