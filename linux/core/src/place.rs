// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Counting as ALSA does: how far an application has written, and where in the ring the device is.

use frontend::Geometry;

/// What an application has written since `prepare`.
#[derive(Default)]
pub(crate) struct Accepted {
    /// ALSA's application pointer as it was told last.
    appl_frames: u64,
    /// In octets.
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

/// Up to where ALSA is told next, if it knows of `shown` and the device is at `position`. ALSA takes a whole turn for none,
/// so it is told of less than one at a time.
pub(crate) fn next_shown(shown: u64, position: u64, geometry: &Geometry) -> u64 {
    let less_than_a_turn = geometry.ring_bytes().saturating_sub(geometry.frame_bytes());
    position.min(shown.saturating_add(less_than_a_turn.into())).max(shown)
}

/// The place in the ring, in frames, of a position in octets.
pub(crate) fn frames_in_ring(position: u64, geometry: &Geometry) -> u32 {
    frames(position.checked_rem(geometry.ring_bytes().into()).unwrap_or(0), geometry)
}

/// As many frames.
pub(crate) fn frames(bytes: u64, geometry: &Geometry) -> u32 {
    u32::try_from(bytes).unwrap_or(0).checked_div(geometry.frame_bytes()).unwrap_or(0)
}
