//! Times at which a stream has to be checked though nothing happens.

use sndif::store::Direction;

use super::flow::Flow;
use super::stream::{Awaited, Stream};
use crate::Pace;
use crate::clock::SECOND_NS;
use crate::stream::STALL_RETRY_NS;

/// Interval at which frames are moved if a clock determines their number.
const STEP_NS: u64 = SECOND_NS / 100;

impl Stream {
    /// Returns the next such time, if there is one.
    #[must_use]
    pub fn next_wake_ns(&self) -> Option<u64> {
        let answer = self.pending.map(|pending| pending.until_ns);
        let frames = self.open.as_ref().and_then(|open| {
            let flow = open.flow.as_ref()?;
            self.frames_ns(flow, open.geometry.frame_bytes)
        });
        answer.into_iter().chain(frames).min()
    }

    fn frames_ns(&self, flow: &Flow, frame_bytes: u32) -> Option<u64> {
        if !flow.running {
            return flow.start_at_ns;
        }
        if flow.pace == Pace::Device {
            return None;
        }
        let step = flow.looked_ns.saturating_add(STEP_NS);
        // Bytes that have to be moved until the answer can be given.
        let missing = match (flow.direction, self.pending.map(|pending| pending.what)) {
            (Direction::Playback, Some(Awaited::Heard(until))) => until.saturating_sub(flow.heard()),
            (Direction::Playback, Some(Awaited::Drained)) => flow.written.saturating_sub(flow.heard()),
            (Direction::Capture, Some(Awaited::Captured(transfer))) => {
                u64::from(transfer.length()).saturating_sub(flow.queue.filled() as u64)
            }
            _ => return Some(step),
        };
        let target = flow.moved.saturating_sub(flow.clock_base).saturating_add(missing);
        let at = flow.clock.reaches_at(target.div_ceil(u64::from(frame_bytes.max(1))));
        // The frames were due already at the last request for frames: the host device had no room, or nothing to give.
        let at = if at <= flow.looked_ns { flow.looked_ns.saturating_add(STALL_RETRY_NS) } else { at };
        Some(at.min(step))
    }
}
