//! What a host device sees of an open stream, whatever protocol the guest speaks.

use sndif::store::Direction;

use crate::Geometry;

/// The frames of a stream that may be open.
pub trait Frames {
    /// Playback or capture, as far as that is settled.
    fn direction(&self) -> Option<Direction>;

    /// Shape of the open stream.
    fn geometry(&self) -> Option<&Geometry>;

    /// The next frames to play, at most `room_frames`: a stretch that lies together. Say how many were taken
    /// with [`played`](Self::played) and ask again.
    fn frames_to_play(&mut self, now_ns: u64, room_frames: usize) -> Option<&[u8]>;

    /// Notes that the host device took `octets` of the last stretch.
    fn played(&mut self, octets: usize);

    /// Notes how many frames the host device has taken but not let be heard.
    fn set_queued_frames(&mut self, frames: u64);

    /// Where the next captured frames go, at most `available_frames`: a stretch that lies together. Say how many
    /// were filled with [`captured`](Self::captured) and ask again.
    fn room_to_capture(&mut self, now_ns: u64, available_frames: usize) -> Option<&mut [u8]>;

    /// Notes that `octets` of the last stretch were filled.
    fn captured(&mut self, octets: usize);

    /// The host device failed: from now on the clock says how many frames are due, and nothing is queued.
    fn pace_by_clock(&mut self, now_ns: u64);
}
