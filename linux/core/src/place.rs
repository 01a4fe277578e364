// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Counting as ALSA does: how far an application has written, and where in the ring the device is.

use frontend::Geometry;

/// What an application has written since `prepare`.
#[derive(Default)]
pub(crate) struct Accepted {
    /// ALSA's application pointer as it was told last.
    appl_frames: u64,
    /// In bytes.
    pub(crate) bytes: u64,
}

impl Accepted {
    /// The application pointer, a counter that wraps at `boundary_frames`, is `appl_frames` now.
    pub(crate) fn advance(&mut self, appl_frames: u64, boundary_frames: u64, geometry: &Geometry) {
        let before = core::mem::replace(&mut self.appl_frames, appl_frames);
        let written = match appl_frames.checked_sub(before) {
            Some(written) => written,
            None => appl_frames.saturating_add(boundary_frames).saturating_sub(before),
        };
        self.bytes = self.bytes.saturating_add(written.saturating_mul(geometry.frame_bytes().into()));
    }
}

/// Up to where ALSA knows of the device, in bytes since `prepare`.
#[derive(Default)]
pub(crate) struct Shown {
    /// Up to where `pointer` has told.
    pub(crate) bytes: u64,
    /// Where that was when ALSA was told of a period last.
    told: u64,
    /// ALSA is told of a period just now, and has not asked for the pointer yet.
    telling: bool,
    /// `pointer` could not tell all at once.
    behind: bool,
}

impl Shown {
    /// `pointer` is called, and the device is at `position`: up to where it tells.
    pub(crate) fn show(&mut self, position: u64, geometry: &Geometry) -> u64 {
        self.bytes = next_shown(self.bytes, position, geometry);
        self.behind = position > self.bytes;
        if core::mem::take(&mut self.telling) {
            self.told = self.bytes;
        }
        self.bytes
    }

    /// Whether ALSA has to be told that a period elapsed: when the boundary of one was passed since it was told last, or all
    /// there is was played, up to `end`; or when it knows only a part of what it was told. Not earlier: ALSA takes a pointer before
    /// the boundary for one that has gone round the ring once more, if half a buffer's time has passed, and sees an xrun.
    pub(crate) fn begin_telling(&mut self, position: u64, end: Option<u64>, geometry: &Geometry) -> bool {
        let reach = next_shown(self.bytes, position, geometry);
        let periods = |bytes: u64| bytes.checked_div(geometry.period_bytes().into());
        let passed = periods(reach) > periods(self.told);
        let ended = end.is_some_and(|end| reach >= end && end > self.told);
        // Whoever tells already has ALSA ask for a pointer that shows this, too.
        let tell = (passed || ended || self.behind) && !self.telling;
        self.telling |= tell;
        tell
    }

    /// ALSA was told. One that is not running has not asked, and is told again.
    pub(crate) fn end_telling(&mut self) {
        self.telling = false;
    }
}

/// Up to where ALSA is told next, if it knows of `shown` and the device is at `position`. ALSA takes a whole turn for none,
/// so it is told of less than one at a time.
fn next_shown(shown: u64, position: u64, geometry: &Geometry) -> u64 {
    let less_than_a_turn = geometry.ring_bytes().saturating_sub(geometry.frame_bytes());
    position.min(shown.saturating_add(less_than_a_turn.into())).max(shown)
}

/// The place in the ring, in frames, of a position in bytes.
pub(crate) fn frames_in_ring(position: u64, geometry: &Geometry) -> u32 {
    frames(position.checked_rem(geometry.ring_bytes().into()).unwrap_or(0), geometry)
}

/// As many frames.
pub(crate) fn frames(bytes: u64, geometry: &Geometry) -> u32 {
    u32::try_from(bytes).unwrap_or(0).checked_div(geometry.frame_bytes()).unwrap_or(0)
}
