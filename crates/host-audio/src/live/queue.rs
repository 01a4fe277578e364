//! Length of a playback stream's queue, and the silence that fills it.

use super::{Fault, Output, block_frames};
use crate::{Error, StreamSpec};
use std::time::Instant;

/// Default period of a stream, and the longest period that is queued twice, as parts of a second: 20 and 100 ms.
const USUAL_PERIOD: u32 = 50;
const LONGEST_PERIOD: u32 = 10;
/// Shortest queue of a stream, as a part of a second (10 ms), where its buffer allows it.
const SHORTEST_QUEUE: u32 = 100;
/// The queue may grow to this part of a second (40 ms) where the stream's buffer allows it. Frames taken out of that
/// buffer early are heard no later for it, and a delay of the host is not heard.
const RESERVE: u32 = 25;

/// Number of frames that a stream's owner keeps queued for a device with this `period`: two periods, but not more than
/// the owner has room for.
pub(crate) fn queue_frames(spec: &StreamSpec, period: u64) -> u64 {
    let wish = match spec.period_frames {
        0 => spec.rate_hz / USUAL_PERIOD,
        period => period.min(spec.rate_hz / LONGEST_PERIOD),
    };
    let queue = (u64::from(wish).max(period) * 2).max(u64::from(spec.rate_hz / SHORTEST_QUEUE));
    let most = if spec.buffer_frames == 0 { u64::MAX } else { u64::from(spec.buffer_frames) };
    queue.min(most).max(2)
}

/// Maximum length of the queue in frames.
pub(super) fn reserve_frames(spec: &StreamSpec, period: u64) -> u64 {
    let most = if spec.buffer_frames == 0 { u64::MAX } else { u64::from(spec.buffer_frames) };
    queue_frames(spec, period).max(u64::from(spec.rate_hz / RESERVE)).min(most)
}

/// The ring between a guest and its device: as large as the guest asks for, so that there may be no memory for it.
///
/// # Errors
/// [`ErrorKind::Resource`](crate::ErrorKind::Resource). The ring's own allocation cannot fail without ending
/// the process, so the memory is allocated and freed first.
pub(super) fn ring(bytes: usize) -> Result<(rtrb::Producer<u8>, rtrb::Consumer<u8>), Error> {
    let asked = Vec::<u8>::new().try_reserve_exact(bytes);
    asked.map_err(|error| Error::resource("the queue of a stream", error))?;
    Ok(rtrb::RingBuffer::new(bytes))
}

/// Silence in a stream's format.
pub(super) struct Silence {
    frames: Vec<u8>,
    frame_bytes: usize,
}

impl Silence {
    pub fn new(spec: &StreamSpec) -> Self {
        let frame_bytes = spec.frame_bytes();
        let mut frames = vec![0; block_frames(spec.rate_hz / USUAL_PERIOD, frame_bytes) * frame_bytes];
        pcm::fill_silence(spec.format, &mut frames);
        Self { frames, frame_bytes }
    }

    /// Queues silence until the device holds `frames`, as far as it takes them.
    pub fn fill_up(&self, device: &mut dyn Output, frames: u64, now: Instant) -> Result<(), Fault> {
        let mut missing = frames.saturating_sub(device.delay(now)?) as usize;
        while missing > 0 {
            let bytes = (missing * self.frame_bytes).min(self.frames.len());
            match device.write(&self.frames[..bytes], now)? {
                0 => break,
                written => missing = missing.saturating_sub(written),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn a_ring_that_no_memory_holds_is_an_error() {
        assert!(ring(4096).is_ok());
        for bytes in [usize::MAX, isize::MAX as usize] {
            let error = ring(bytes).map(drop).unwrap_err();
            assert_eq!(error.kind(), &ErrorKind::Resource);
        }
    }
}
