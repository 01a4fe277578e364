//! The end of a stream's frames. PulseAudio plays it; PipeWire's server plays whole blocks only, so silence is sent
//! behind it. (A server that is told that no more comes plays the rest of a block, but skips frames that are sent for
//! the rest of that block's time.)

use crate::StreamSpec;
use std::ops::Range;
use std::time::{Duration, Instant};

/// A stream that does not play though it seems to have whole blocks, and that was sent nothing for this time, has less
/// than one block: the server's blocks may be longer, up to 8,192 frames.
const STUCK: Duration = Duration::from_millis(300);
/// Minimum time between two stretches of silence; each is twice as long as the one before.
const PAD_EVERY: Duration = Duration::from_millis(20);
/// Most blocks of silence that are sent together.
const MOST_BLOCKS: u64 = 16;

/// The silence behind a stream's frames. Positions are in frames, silence included.
#[derive(Debug)]
pub(super) struct Tail {
    /// Frames of a block, if the server plays whole blocks only.
    block_frames: Option<u64>,
    silence: Vec<u8>,
    /// Frames of silence sent earlier, and the range of the last silence.
    before: u64,
    last: Range<u64>,
    /// Times at which frames and silence were last sent; number of blocks of silence to be sent next.
    sent_at: Instant,
    padded_at: Instant,
    next_blocks: u64,
}

impl Tail {
    /// The tail of a stream on a server that plays blocks of `block_frames`; `whole`: whole ones only.
    pub fn new(spec: &StreamSpec, block_frames: u64, whole: bool) -> Self {
        let block_frames = block_frames.max(u64::from(spec.rate_hz / 100)).max(1);
        let mut silence = vec![0; block_frames as usize * spec.frame_bytes()];
        pcm::fill_silence(spec.format, &mut silence);
        let now = Instant::now();
        let block_frames = whole.then_some(block_frames);
        Self { block_frames, silence, before: 0, last: 0..0, sent_at: now, padded_at: now, next_blocks: 1 }
    }

    /// Returns true if the server plays whole blocks only.
    pub fn is_needed(&self) -> bool {
        self.block_frames.is_some()
    }

    /// Notes that frames were sent.
    pub fn sent(&mut self, now: Instant) {
        (self.sent_at, self.padded_at, self.next_blocks) = (now, now, 1);
    }

    /// Returns true if a stream that does not play, with `queued` frames on the server, waits for the rest of a block.
    /// `trailing`: the stream has run out.
    pub fn is_stuck(&self, queued: u64, trailing: bool, now: Instant) -> bool {
        let since = |at| now.saturating_duration_since(at);
        let short = |block| trailing || queued < block || since(self.sent_at) >= STUCK;
        queued > 0 && since(self.padded_at) >= PAD_EVERY && self.block_frames.is_some_and(short)
    }

    /// A block of silence, and the number of times that it has to be sent at `position`.
    pub fn pad(&mut self, position: u64, now: Instant) -> (&[u8], u64) {
        let blocks = self.next_blocks;
        let frames = self.block_frames.unwrap_or_default() * blocks;
        if self.last.end == position {
            self.last.end += frames;
        } else {
            self.before += self.last.end - self.last.start;
            self.last = position..position + frames;
        }
        (self.padded_at, self.next_blocks) = (now, (blocks * 2).min(MOST_BLOCKS));
        (&self.silence, blocks)
    }

    /// The stream's own frames before `position`; silence before the last silence counts as played.
    pub fn without_silence(&self, position: u64) -> u64 {
        let last = position.clamp(self.last.start, self.last.end) - self.last.start;
        position.saturating_sub(self.before + last)
    }

    /// Begins to count positions again: the queue is empty.
    pub fn forget(&mut self) {
        (self.before, self.last) = (0, 0..0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sndif::Format;

    const SPEC: StreamSpec =
        StreamSpec { format: Format::U8, rate_hz: 8_000, channels: 1, period_frames: 0, buffer_frames: 0 };

    #[test]
    fn silence_counts_as_nothing_wherever_the_server_is() {
        let mut tail = Tail::new(&SPEC, 100, true);
        let now = tail.sent_at;
        assert_eq!(tail.pad(250, now), (&[0x80; 100][..], 1));
        tail.sent(now);
        // 250 frames, 200 of silence in two blocks, 50 frames.
        tail.pad(350, now);
        let own = |tail: &Tail, position| tail.without_silence(position);
        assert_eq!([0, 250, 300, 450, 500].map(|position| own(&tail, position)), [0, 250, 250, 250, 300]);
        // 100 more of silence.
        tail.sent(now);
        tail.pad(500, now);
        assert_eq!([450, 500, 550, 600, 700].map(|position| own(&tail, position)), [250, 300, 300, 300, 400]);
        tail.forget();
        assert_eq!(own(&tail, 70), 70);
    }

    #[test]
    fn less_than_a_block_is_stuck_soon_and_more_after_a_while_or_at_the_end() {
        let tail = Tail::new(&SPEC, 100, true);
        let stuck = |queued, trailing, after| tail.is_stuck(queued, trailing, tail.sent_at + after);
        assert!(!stuck(99, false, Duration::ZERO) && stuck(99, false, PAD_EVERY) && !stuck(0, true, STUCK));
        assert!(!stuck(100, false, PAD_EVERY) && stuck(100, true, PAD_EVERY) && stuck(100, false, STUCK));
        assert!(!Tail::new(&SPEC, 100, false).is_stuck(99, true, tail.sent_at + STUCK));
    }

    #[test]
    fn more_silence_is_sent_each_time_until_the_longest_block_is_full() {
        let mut tail = Tail::new(&SPEC, 100, true);
        let now = tail.sent_at;
        let mut position = 10;
        let blocks: Vec<u64> = (0..6)
            .map(|_| {
                let (silence, blocks) = tail.pad(position, now);
                position += silence.len() as u64 * blocks;
                blocks
            })
            .collect();
        assert_eq!(blocks, [1, 2, 4, 8, 16, 16]);
        assert_eq!(tail.without_silence(position), 10);
    }
}
