//! A WAV file as a sink: a ring, and a thread that writes the frames in it.
//!
//! The thread gathers for [`GATHER`] before it writes, so that a file's header is never older than that
//! and a disk sees few writes.

use super::Writer;
use crate::{Error, HostStream, Sink, StreamSpec};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

const GATHER: Duration = Duration::from_millis(50);
/// Bounds in bytes of the ring, which holds a second.
const LEAST_RING_BYTES: usize = 256 * 1024;
const MOST_RING_BYTES: usize = 16 * 1024 * 1024;

/// State shared by a sink and its thread.
#[derive(Default)]
struct Shared {
    /// Bytes put into the ring, and bytes that are in the file.
    pushed: AtomicU64,
    written: AtomicU64,
    /// True once the sink was dropped: the thread writes the rest, then closes the file.
    closed: AtomicBool,
    /// True if the thread found the ring empty: the next one that puts something there wakes it. Both sides swap the
    /// flag, so that one of them sees the other.
    dozes: AtomicBool,
    /// True while somebody waits in [`finish_all`]: the thread does not gather.
    hurry: AtomicBool,
    /// True once the thread has finished.
    finished: AtomicBool,
    /// True if the file cannot be written; `failure` has the reason until it was reported.
    failed: AtomicBool,
    failure: Mutex<Option<Error>>,
}

/// Sinks whose thread has not finished.
static WRITERS: Mutex<Vec<(Arc<Shared>, Thread)>> = Mutex::new(Vec::new());
/// Signalled when a thread has written something or has finished.
static PROGRESS: Condvar = Condvar::new();

fn writers() -> MutexGuard<'static, Vec<(Arc<Shared>, Thread)>> {
    WRITERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until all frames that WAV sinks were given are in their files; for a program that is about to end.
///
/// Files of dropped sinks are then closed. Returns false if `timeout` passed before, or a file could not
/// be written.
#[must_use]
pub fn finish_all(timeout: Duration) -> bool {
    let deadline = Instant::now() + timeout;
    let mut guard = writers();
    let waited_for: Vec<(Arc<Shared>, u64)> = guard
        .iter()
        .map(|(shared, thread)| {
            shared.hurry.store(true, Ordering::Release);
            thread.unpark();
            (Arc::clone(shared), shared.pushed.load(Ordering::Acquire))
        })
        .collect();
    let through = |(shared, pushed): &(Arc<Shared>, u64)| {
        let all_written = shared.written.load(Ordering::Acquire) >= *pushed;
        shared.finished.load(Ordering::Acquire) || (all_written && !shared.closed.load(Ordering::Acquire))
    };
    let in_time = loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if waited_for.iter().all(through) {
            break true;
        } else if left.is_zero() {
            break false;
        }
        guard = PROGRESS.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0;
    };
    let mut written = in_time;
    for (shared, _) in &waited_for {
        shared.hurry.store(false, Ordering::Release);
        written &= !shared.failed.load(Ordering::Acquire);
    }
    written
}

/// Sink of a WAV file; see the module's description.
pub(super) struct WavSink {
    shared: Arc<Shared>,
    ring: rtrb::Producer<u8>,
    frame_bytes: usize,
    thread: Thread,
    xruns: u64,
    path: PathBuf,
}

impl WavSink {
    pub(super) fn new(writer: Writer, spec: &StreamSpec) -> Result<Self, Error> {
        Self::gathering(writer, spec, GATHER)
    }

    fn gathering(writer: Writer, spec: &StreamSpec, gather: Duration) -> Result<Self, Error> {
        let frame_bytes = spec.frame_bytes();
        let second = frame_bytes.saturating_mul(spec.rate_hz as usize);
        let ring_bytes = second.clamp(LEAST_RING_BYTES, MOST_RING_BYTES) / frame_bytes * frame_bytes;
        let (ring, consumer) = rtrb::RingBuffer::new(ring_bytes);
        let shared = Arc::new(Shared::default());
        let path = writer.path().to_owned();
        let job = Job { writer, ring: consumer, shared: Arc::clone(&shared), frame_bytes, gather };
        let mut list = writers();
        let handle = thread::Builder::new()
            .name("vsnd-wav-write".into())
            .spawn(move || job.run())
            .map_err(|reason| Error::resource("a thread that writes a WAV file", reason))?;
        let thread = handle.thread().clone();
        list.push((Arc::clone(&shared), thread.clone()));
        Ok(Self { shared, ring, frame_bytes, thread, xruns: 0, path })
    }

    fn check(&self) -> Result<(), Error> {
        if !self.shared.failed.load(Ordering::Acquire) {
            return Ok(());
        }
        let failure = self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        Err(failure.unwrap_or_else(|| Error::resource("the WAV file again", "it failed before")))
    }
}

impl HostStream for WavSink {
    fn start(&mut self) -> Result<(), Error> {
        self.check()
    }

    fn pause(&mut self, _on: bool) -> Result<(), Error> {
        self.check()
    }

    /// Written frames count as heard: they stay in the file.
    fn stop(&mut self) -> Result<(), Error> {
        self.check()
    }

    fn xruns(&self) -> u64 {
        self.xruns
    }

    /// The file in use, because the path's pattern stands for many files.
    fn in_use(&self) -> Option<String> {
        Some(format!("wav:{}", self.path.display()))
    }

    fn acknowledge(&mut self) -> Result<(), Error> {
        self.check()
    }
}

impl Sink for WavSink {
    fn room_frames(&mut self) -> usize {
        self.ring.slots() / self.frame_bytes
    }

    fn write(&mut self, frames: &[u8]) -> Result<usize, Error> {
        self.check()?;
        let wanted = frames.len() / self.frame_bytes;
        let free = self.ring.slots();
        let taken = wanted.min(free / self.frame_bytes);
        // Cannot fail: there is that much room.
        let _ = self.ring.push_entire_slice(&frames[..taken * self.frame_bytes]);
        self.shared.pushed.fetch_add((taken * self.frame_bytes) as u64, Ordering::Release);
        if taken < wanted {
            self.xruns += 1;
        }
        let dozed = self.shared.dozes.swap(false, Ordering::AcqRel);
        if dozed || free < self.ring.buffer().capacity() / 2 {
            self.thread.unpark();
        }
        Ok(taken)
    }

    fn queued_frames(&mut self) -> u64 {
        0
    }
}

impl Drop for WavSink {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// The thread's side.
struct Job {
    writer: Writer,
    ring: rtrb::Consumer<u8>,
    shared: Arc<Shared>,
    frame_bytes: usize,
    gather: Duration,
}

impl Job {
    fn run(mut self) {
        let outcome = loop {
            // In this order: frames that were pushed before the sink was dropped are seen below.
            let closed = self.shared.closed.load(Ordering::Acquire);
            if let Err(error) = self.write_all() {
                break Err(error);
            }
            if closed {
                break Ok(());
            }
            if self.is_urgent() {
                thread::park_timeout(Duration::from_millis(1));
            } else if self.is_left_empty() {
                thread::park();
                if !self.is_urgent() {
                    thread::park_timeout(self.gather);
                }
            }
        };
        self.writer.finish();
        if let Err(error) = outcome {
            *self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            self.shared.failed.store(true, Ordering::Release);
        }
        self.shared.finished.store(true, Ordering::Release);
        writers().retain(|(shared, _)| !Arc::ptr_eq(shared, &self.shared));
        PROGRESS.notify_all();
    }

    /// Returns true if the ring is empty, and marks that the next write has to wake the thread.
    fn is_left_empty(&self) -> bool {
        self.shared.dozes.swap(true, Ordering::AcqRel);
        self.ring.is_empty()
    }

    fn is_urgent(&self) -> bool {
        self.ring.slots() >= self.ring.buffer().capacity() / 2
            || self.shared.hurry.load(Ordering::Acquire)
            || self.shared.closed.load(Ordering::Acquire)
    }

    fn write_all(&mut self) -> Result<(), Error> {
        let ready = self.ring.slots() / self.frame_bytes * self.frame_bytes;
        if ready == 0 {
            return Ok(());
        }
        let Ok(chunk) = self.ring.read_chunk(ready) else { return Ok(()) };
        let (first, second) = chunk.as_slices();
        self.writer.write(first)?;
        self.writer.write(second)?;
        chunk.commit_all();
        self.shared.written.fetch_add(ready as u64, Ordering::Release);
        let _guard = writers();
        PROGRESS.notify_all();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write_until_each_frame_is_in_the_file(sink: &mut WavSink) {
        let mut pushed = 0;
        for round in 0..20_000_u32 {
            // The second write comes while the thread has the first one, or a little later.
            sink.write(&[1; 2]).unwrap();
            (0..round.wrapping_mul(7) % 1_000).for_each(|_| std::hint::spin_loop());
            sink.write(&[2; 2]).unwrap();
            pushed += 4;
            let ends = Instant::now() + Duration::from_secs(10);
            while sink.shared.written.load(Ordering::Acquire) < pushed {
                assert!(Instant::now() < ends, "round {round}: the thread sleeps beside what is in the ring");
                thread::yield_now();
            }
        }
    }

    #[test]
    fn no_frame_stays_in_the_ring_because_its_thread_was_just_going_to_sleep() {
        let spec = StreamSpec {
            format: sndif::Format::S16Le,
            rate_hz: 48_000,
            channels: 1,
            period_frames: 0,
            buffer_frames: 0,
        };
        let directory = tempfile::tempdir().unwrap();
        // More sinks than processors: their threads are interrupted anywhere.
        thread::scope(|scope| {
            for number in 0..6 {
                let path = directory.path().join(format!("{number}.wav"));
                let writer = Writer::create(&path, spec.format, spec.rate_hz, spec.channels).unwrap();
                let mut sink = WavSink::gathering(writer, &spec, Duration::ZERO).unwrap();
                scope.spawn(move || write_until_each_frame_is_in_the_file(&mut sink));
            }
        });
    }
}
