//! A record stream.

use super::lost;
use super::node::{Handle, Process, Wanted};
use super::server::Failure;
use super::state::State;
use crate::ServerVolume;
use crate::live::{Event, Fault, Input, Opened};
use pipewire::stream::Stream;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::time::{Duration, Instant};

/// Frames that nobody reads are kept for this part of a second (500 ms).
const KEPT: u32 = 2;

/// State shared by both threads of a record stream.
struct Shared {
    state: Arc<State>,
    /// True if there was no room for captured frames.
    overflow: AtomicBool,
}

/// The graph's side.
struct Collector {
    shared: Arc<Shared>,
    queue: rtrb::Producer<u8>,
    frame_bytes: usize,
}

impl Process for Collector {
    fn process(&mut self, stream: &Stream) {
        while let Some(mut buffer) = stream.dequeue_buffer() {
            let Some(data) = buffer.datas_mut().first_mut() else { continue };
            let (offset, size) = (data.chunk().offset() as usize, data.chunk().size() as usize);
            // The server's values about its own buffer are not trusted.
            let Some(bytes) = data.data().and_then(|bytes| bytes.get(offset..)?.get(..size)) else { continue };
            let frames = bytes.len() / self.frame_bytes;
            if self.shared.state.running.load(Acquire)
                && self.queue.push_entire_slice(&bytes[..frames * self.frame_bytes]).is_err()
            {
                self.shared.overflow.store(true, Release);
            }
            self.shared.state.cycled(frames, 0);
        }
    }
}

/// The stream's side.
pub(super) struct PipeWireInput {
    node: Handle,
    shared: Arc<Shared>,
    server: String,
    queue: rtrb::Consumer<u8>,
    frame_bytes: usize,
}

impl PipeWireInput {
    pub fn open(wanted: Wanted, server: String) -> Result<Opened<dyn Input>, Failure> {
        let frame_bytes = wanted.spec.frame_bytes();
        let state = State::new().map_err(|error| Failure::new(error.to_string(), "raise the limit of open files"))?;
        let shared = Arc::new(Shared { state: Arc::clone(&state), overflow: AtomicBool::new(false) });
        let (producer, queue) = rtrb::RingBuffer::new((wanted.spec.rate_hz / KEPT).max(1) as usize * frame_bytes);
        let collector = Collector { shared: Arc::clone(&shared), queue: producer, frame_bytes };
        let node = Handle::open(wanted, state, collector)?;
        let period = node.cycle_frames;
        let input = Self { node, shared, server, queue, frame_bytes };
        Ok(Opened { device: Box::new(input), period, need: 0 })
    }

    fn alive(&self) -> Result<(), Fault> {
        self.shared.state.loss().map_or(Ok(()), |reason| Err(lost(&self.server, reason)))
    }

    fn forget(&mut self) {
        if let Ok(chunk) = self.queue.read_chunk(self.queue.slots()) {
            chunk.commit_all();
        }
        self.shared.overflow.store(false, Release);
    }
}

impl Input for PipeWireInput {
    /// The graph's thread takes or gives the frames, and the position says when.
    fn is_immediate(&self) -> bool {
        true
    }

    fn report_to(&mut self, owner: &Arc<Event>) {
        self.shared.state.report_to(owner);
    }

    fn attend(&mut self, _now: Instant) -> Result<(), Fault> {
        self.alive()
    }

    fn available(&mut self, _now: Instant) -> Result<u64, Fault> {
        self.alive()?;
        if self.shared.overflow.swap(false, AcqRel) {
            // New frames are worth more than the old ones.
            self.forget();
            return Err(Fault::Xrun);
        }
        Ok((self.queue.slots() / self.frame_bytes) as u64)
    }

    fn read(&mut self, into: &mut [u8], _now: Instant) -> Result<usize, Fault> {
        let frames = into.len().min(self.queue.slots()) / self.frame_bytes;
        // Cannot fail: the queue holds that much.
        let _ = self.queue.pop_entire_slice(&mut into[..frames * self.frame_bytes]);
        Ok(frames)
    }

    fn start(&mut self, _now: Instant) -> Result<(), Fault> {
        if !self.shared.state.running.load(Relaxed) {
            self.forget();
            self.shared.state.running.store(true, Release);
            self.node.set_active(true);
        }
        self.alive()
    }

    fn reset(&mut self, _now: Instant) -> Result<(), Fault> {
        if self.shared.state.running.swap(false, AcqRel) {
            self.node.set_active(false);
        }
        self.forget();
        self.alive()
    }

    fn take_volume(&mut self) -> Option<ServerVolume> {
        self.shared.state.take_volume()
    }

    fn wait(&mut self, wake: BorrowedFd<'_>, late: bool, timeout: Option<Duration>) -> bool {
        self.shared.state.watched.store(late, Relaxed);
        super::wait(&self.shared.state, wake, timeout)
    }
}
