//! The end of a sound behind a plugin's server.

use crate::live::{frames_to_time, time_to_frames};
use std::time::Instant;

/// Frames that ALSA's plugin for PulseAudio never counts as room, rounded up.
const NEVER_FREE: u64 = 2;

/// The delay of a PCM whose server has taken all that was written.
///
/// ALSA's plugin for PulseAudio then reports what its server's sink held at that moment, again and again, and often
/// reports no underrun. Such a PCM does not stand still: its last frames are heard by the clock.
#[derive(Default)]
pub(super) struct Tail {
    /// Time at which the server's last frame is heard, once the server has taken everything.
    heard_at: Option<Instant>,
}

impl Tail {
    /// Frames that are not heard yet, of a PCM that reports `delay`, and `avail` frames of room in a buffer of
    /// `buffer`.
    pub fn left(&mut self, delay: u64, (avail, buffer): (u64, u64), rate_hz: u32, now: Instant) -> u64 {
        if avail + NEVER_FREE < buffer {
            self.heard_at = None;
            return delay;
        }
        let heard_at = *self.heard_at.get_or_insert(now + frames_to_time(delay, rate_hz));
        delay.min(time_to_frames(heard_at.saturating_duration_since(now), rate_hz))
    }

    /// Begins again: more was written, or playback was interrupted.
    pub fn restart(&mut self) {
        self.heard_at = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const RATE_HZ: u32 = 48_000;

    #[test]
    fn what_a_server_has_taken_is_heard_by_the_clock_though_the_pcm_says_the_same_again_and_again() {
        let (mut tail, now) = (Tail::default(), Instant::now());
        let mut left = |ms, delay, avail| tail.left(delay, (avail, 1_920), RATE_HZ, now + Duration::from_millis(ms));
        assert_eq!([left(0, 1_440, 960), left(10, 960, 1_440)], [1_440, 960], "the server has not taken all of it");
        assert_eq!([left(20, 480, 1_918), left(25, 480, 1_918), left(30, 480, 1_918)], [480, 240, 0]);
        assert_eq!(left(60, 480, 1_918), 0);
    }

    #[test]
    fn a_pcm_that_tells_its_delay_is_believed_and_one_that_was_written_to_begins_again() {
        let (mut tail, now) = (Tail::default(), Instant::now());
        assert_eq!(tail.left(480, (1_920, 1_920), RATE_HZ, now), 480);
        assert_eq!(tail.left(100, (1_920, 1_920), RATE_HZ, now), 100);
        let later = now + Duration::from_secs(1);
        assert_eq!(tail.left(480, (480, 1_920), RATE_HZ, later), 480);
        assert_eq!(tail.left(480, (1_920, 1_920), RATE_HZ, later), 480);
        tail.restart();
        assert_eq!(tail.left(480, (1_920, 1_920), RATE_HZ, later + Duration::from_secs(1)), 480);
    }
}
