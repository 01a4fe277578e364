//! Position of the device in a stream: written once in a cycle by the graph's thread, which must not wait, and read by
//! the stream's.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicI64, AtomicU64, fence};

/// State of the device at one moment; in frames since the stream was last emptied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Reading {
    /// Number of the stream's queue; there is a new queue each time that the stream is emptied.
    pub queue: u64,
    /// Time of the reading, in nanoseconds of the monotonic clock.
    pub at_ns: i64,
    /// Frames heard at that moment; less than 0 before the first frame is heard.
    pub heard: i64,
    /// Frames that the graph has taken.
    pub taken: u64,
}

impl Reading {
    /// Frames heard at `now_ns`: time goes on between two readings, but not beyond the frames that the graph has.
    pub fn heard_at(&self, now_ns: i64, rate_hz: u32) -> u64 {
        let passed = i128::from(now_ns - self.at_ns) * i128::from(rate_hz) / 1_000_000_000;
        let heard = (i128::from(self.heard) + passed).clamp(0, i128::from(self.taken));
        heard as u64
    }
}

/// A [`Reading`] that two threads share. Neither waits: a read during a write gives nothing, and the reader keeps its
/// last one.
#[derive(Debug, Default)]
pub(super) struct Position {
    /// Odd while a reading is written.
    version: AtomicU64,
    queue: AtomicU64,
    at_ns: AtomicI64,
    heard: AtomicI64,
    taken: AtomicU64,
}

impl Position {
    /// Publishes a reading; to be called by one thread only.
    pub fn publish(&self, reading: &Reading) {
        let version = self.version.load(Relaxed);
        self.version.store(version + 1, Relaxed);
        fence(Release);
        self.queue.store(reading.queue, Relaxed);
        self.at_ns.store(reading.at_ns, Relaxed);
        self.heard.store(reading.heard, Relaxed);
        self.taken.store(reading.taken, Relaxed);
        self.version.store(version + 2, Release);
    }

    /// The last reading; `None` while one is being written.
    pub fn read(&self) -> Option<Reading> {
        let version = self.version.load(Acquire);
        let reading = Reading {
            queue: self.queue.load(Relaxed),
            at_ns: self.at_ns.load(Relaxed),
            heard: self.heard.load(Relaxed),
            taken: self.taken.load(Relaxed),
        };
        fence(Acquire);
        (version.is_multiple_of(2) && self.version.load(Relaxed) == version).then_some(reading)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn time_goes_on_between_two_readings_but_not_beyond_what_the_graph_has() {
        let reading = Reading { queue: 0, at_ns: 1_000_000_000, heard: -480, taken: 960 };
        let heard = |ms: i64| reading.heard_at(1_000_000_000 + ms * 1_000_000, 48_000);
        assert_eq!([heard(-5), heard(0), heard(10), heard(20), heard(30), heard(1_000)], [0, 0, 0, 480, 960, 960]);
    }

    #[test]
    fn a_reading_is_never_a_mixture_of_two() {
        const LAST: u64 = 200_000;
        let position = Arc::new(Position::default());
        let writer = Arc::clone(&position);
        let writer = std::thread::spawn(move || {
            for count in 1..=LAST {
                let (at_ns, heard) = (count.cast_signed(), -count.cast_signed());
                writer.publish(&Reading { queue: count, at_ns, heard, taken: count });
            }
        });
        loop {
            let Some(reading) = position.read() else { continue };
            let (queue, signed) = (reading.queue, reading.queue.cast_signed());
            assert_eq!((reading.at_ns, reading.heard, reading.taken), (signed, -signed, queue));
            if queue == LAST {
                break;
            }
        }
        writer.join().unwrap();
    }
}
