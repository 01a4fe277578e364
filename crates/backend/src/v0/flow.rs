//! Frames between an open stream and its host device: those that are queued, heard, and due.

use sndif::store::Direction;

use super::queue::Queue;
use crate::clock::FrameClock;
use crate::{Counters, Geometry, Pace};

/// The frames of a stream whose direction is settled. All counts are bytes since then.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) direction: Direction,
    pub(super) queue: Queue,
    pub(super) pace: Pace,
    pub(super) clock: FrameClock,
    /// Bytes that were moved when the clock was set.
    pub(super) clock_base: u64,
    /// Bytes that the guest brought.
    pub(super) written: u64,
    /// Bytes that the host device took or gave.
    pub(super) moved: u64,
    /// Bytes that the host device took and that are not heard yet.
    pub(super) queued: u64,
    pub(super) running: bool,
    /// Latest start of a playing stream, even if the queue is shorter than the lead.
    pub(super) start_at_ns: Option<u64>,
    /// True if no frames were left at the last request for frames, and none came since.
    empty: bool,
    /// True if a playing stream ran dry, or a capturing one lost frames, since the guest brought or took some.
    pub(super) interrupted: bool,
    /// Time of the last request for frames.
    pub(super) looked_ns: u64,
    frame_bytes: u32,
}

impl Flow {
    pub(super) fn new(direction: Direction, geometry: &Geometry, queue: Queue, pace: Pace, now_ns: u64) -> Self {
        Self {
            direction,
            queue,
            pace,
            clock: FrameClock::starting(geometry.rate_hz, now_ns),
            clock_base: 0,
            written: 0,
            moved: 0,
            queued: 0,
            running: direction == Direction::Capture,
            start_at_ns: None,
            empty: false,
            interrupted: false,
            looked_ns: now_ns,
            frame_bytes: geometry.frame_bytes,
        }
    }

    /// Returns the bytes that were heard.
    pub(super) fn heard(&self) -> u64 {
        self.moved.saturating_sub(self.queued)
    }

    /// Starts a playing stream, if it does not run.
    pub(super) fn play_now(&mut self, now_ns: u64) {
        if !self.running {
            self.running = true;
            self.start_at_ns = None;
            self.set_clock(now_ns);
        }
    }

    /// Sets the pace of due frames from now on; nothing is queued in the host device.
    pub(super) fn set_pace(&mut self, pace: Pace, now_ns: u64) {
        self.pace = pace;
        self.queued = 0;
        self.set_clock(now_ns);
    }

    fn set_clock(&mut self, now_ns: u64) {
        self.clock = self.clock.restarted(now_ns);
        self.clock_base = self.moved;
    }

    /// Returns the bytes that may be moved now, at most those of `frames`, as far as time is concerned.
    fn due(&self, frames: usize, now_ns: u64) -> u64 {
        let frame_bytes = u64::from(self.frame_bytes);
        let most = (frames as u64).saturating_mul(frame_bytes);
        match self.pace {
            Pace::Device => most,
            Pace::Clock => {
                let reached = self.clock.frames(now_ns).saturating_mul(frame_bytes);
                most.min(self.clock_base.saturating_add(reached).saturating_sub(self.moved))
            }
        }
    }

    /// Implements [`Frames::frames_to_play`](crate::Frames::frames_to_play).
    pub(super) fn frames_to_play(&mut self, now_ns: u64, room_frames: usize) -> Option<&[u8]> {
        if self.direction != Direction::Playback {
            return None;
        }
        if self.start_at_ns.is_some_and(|at| now_ns >= at) {
            self.play_now(now_ns);
        }
        if !self.running {
            return None;
        }
        self.looked_ns = now_ns;
        let room = self.due(room_frames, now_ns);
        if room > 0 && self.queue.filled() == 0 {
            // The guest may have brought more frames, which the daemon has not seen yet. If it has not, the stream is
            // dry, and the next frames are gathered again before they are played.
            if std::mem::replace(&mut self.empty, true) && self.queued == 0 {
                self.running = false;
                self.interrupted = true;
            }
            return None;
        }
        let frames = self.queue.front(usize::try_from(room).unwrap_or(usize::MAX));
        (!frames.is_empty()).then_some(frames)
    }

    /// Notes that the guest brought frames.
    pub(super) fn brought(&mut self, bytes: u64) {
        self.written = self.written.saturating_add(bytes);
        self.empty = false;
    }

    pub(super) fn played(&mut self, bytes: usize) {
        self.queue.drop_front(bytes);
        self.moved = self.moved.saturating_add(bytes as u64);
    }

    /// Implements [`Frames::room_to_capture`](crate::Frames::room_to_capture). If the guest does not keep up, the
    /// oldest frames are dropped.
    pub(super) fn room_to_capture(
        &mut self,
        now_ns: u64,
        available_frames: usize,
        counters: &mut Counters,
    ) -> Option<&mut [u8]> {
        if self.direction != Direction::Capture {
            return None;
        }
        self.looked_ns = now_ns;
        let available = usize::try_from(self.due(available_frames, now_ns)).unwrap_or(usize::MAX);
        let available = available.min(self.queue.capacity());
        let lost = available.saturating_sub(self.queue.room());
        if lost > 0 {
            self.queue.drop_front(lost);
            if !std::mem::replace(&mut self.interrupted, true) {
                counters.xruns = counters.xruns.saturating_add(1);
            }
        }
        let gap = self.queue.gap(available);
        (!gap.is_empty()).then_some(gap)
    }

    pub(super) fn captured(&mut self, bytes: usize) {
        self.queue.extend(bytes);
        self.moved = self.moved.saturating_add(bytes as u64);
    }
}
