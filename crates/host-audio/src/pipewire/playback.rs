//! A playback stream.

use super::lost;
use super::node::{Handle, Process, Wanted};
use super::position::{Position, Reading};
use super::server::Failure;
use super::state::State;
use crate::live::{Event, Fault, Opened, Output};
use crate::{ServerVolume, StreamSpec};
use pipewire::stream::Stream;
use rustix::time::{ClockId, clock_gettime};
use sndif::Format;
use std::os::fd::BorrowedFd;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The queue holds this part of a second (500 ms): all that a stream's owner queues, and silence ahead of it.
const QUEUE: u32 = 2;
const SECOND_NS: i64 = 1_000_000_000;

/// State shared by both threads of a playback stream.
struct Shared {
    state: Arc<State>,
    position: Position,
    /// True if the graph had to play silence in the middle of the stream, or at its end.
    gap: AtomicBool,
    /// True if there is a queue in `queues.next`.
    renewed: AtomicBool,
    queues: Mutex<Queues>,
}

/// Exchange of queues: a queue is emptied by replacing it. The old one is given back, because the graph's thread frees
/// no memory.
#[derive(Default)]
struct Queues {
    next: Option<(u64, rtrb::Consumer<u8>)>,
    spent: Option<rtrb::Consumer<u8>>,
}

/// The graph's side.
struct Feeder {
    shared: Arc<Shared>,
    /// Number of the queue.
    number: u64,
    queue: rtrb::Consumer<u8>,
    format: Format,
    frame_bytes: usize,
    rate_hz: u32,
    /// Frames ever given to the graph, silence included, and those of this queue.
    given: u64,
    taken: u64,
    /// Frames before this queue's first frame, and frames of silence in between since.
    offset: u64,
    /// The cycle that is under way: its beginning, and the frames given before.
    cycle_ns: i64,
    cycle_given: u64,
}

impl Feeder {
    /// Switches to the newest queue, as soon as nobody else holds the lock.
    fn renew(&mut self) {
        if self.shared.renewed.load(Acquire)
            && let Ok(mut queues) = self.shared.queues.try_lock()
            && let Some((number, queue)) = queues.next.take()
        {
            self.shared.renewed.store(false, Release);
            queues.spent = Some(std::mem::replace(&mut self.queue, queue));
            (self.number, self.taken) = (number, 0);
        }
    }

    /// Fills `into` with queued frames, then with silence.
    fn fill(&mut self, into: &mut [u8]) {
        let wanted = into.len() / self.frame_bytes;
        let ready = self.queue.slots() / self.frame_bytes;
        let running = self.shared.state.running.load(Acquire);
        let frames = if running { ready.min(wanted) } else { 0 };
        let (sound, silence) = into.split_at_mut(frames * self.frame_bytes);
        if frames > 0 {
            // Cannot fail: the queue holds that much.
            let _ = self.queue.pop_entire_slice(sound);
            self.offset = self.given - self.taken;
            self.taken += frames as u64;
        }
        pcm::fill_silence(self.format, silence);
        if running && frames < wanted && self.taken > 0 {
            self.shared.gap.store(true, Release);
        }
        self.given += wanted as u64;
    }

    /// Publishes the device's position, and returns its latency in frames.
    fn tell(&mut self, stream: &Stream, before: u64) -> i64 {
        let Ok(time) = stream.time() else { return 0 };
        if time.now() != self.cycle_ns {
            (self.cycle_ns, self.cycle_given) = (time.now(), before);
        }
        let ticks = time.rate();
        // The rate of `delay` may be another one than the stream's.
        let delay = i128::from(time.delay()) * i128::from(ticks.num) * i128::from(self.rate_hz);
        let latency = (delay / i128::from(ticks.denom.max(1))) as i64 + time.buffered().cast_signed();
        self.shared.position.publish(&Reading {
            queue: self.number,
            at_ns: self.cycle_ns,
            heard: self.cycle_given.cast_signed() - latency - self.offset.cast_signed(),
            taken: self.taken,
        });
        latency
    }
}

impl Process for Feeder {
    fn process(&mut self, stream: &Stream) {
        self.renew();
        let before = self.given;
        let Some(mut buffer) = stream.dequeue_buffer() else { return };
        let requested = buffer.requested() as usize;
        let Some(data) = buffer.datas_mut().first_mut() else { return };
        let Some(bytes) = data.data() else { return };
        let most = bytes.len() / self.frame_bytes;
        let frames = if requested == 0 { most } else { requested.min(most) };
        self.fill(&mut bytes[..frames * self.frame_bytes]);
        let chunk = data.chunk_mut();
        *chunk.offset_mut() = 0;
        *chunk.stride_mut() = self.frame_bytes as i32;
        *chunk.size_mut() = (frames * self.frame_bytes) as u32;
        drop(buffer);
        let latency = self.tell(stream, before);
        self.shared.state.cycled(frames, latency);
    }
}

/// The stream's side.
pub(super) struct PipeWireOutput {
    node: Handle,
    shared: Arc<Shared>,
    server: String,
    queue: rtrb::Producer<u8>,
    number: u64,
    rate_hz: u32,
    frame_bytes: usize,
    /// Frames put into this queue, and those of them that were heard.
    written: u64,
    heard: u64,
    /// Last known state of the device.
    reading: Reading,
    /// One moment on two clocks: the second is the graph's.
    epoch: (Instant, i64),
}

impl PipeWireOutput {
    pub fn open(wanted: Wanted, server: String) -> Result<Opened<dyn Output>, Failure> {
        let StreamSpec { format, rate_hz, .. } = wanted.spec;
        let frame_bytes = wanted.spec.frame_bytes();
        let state = State::new().map_err(|error| Failure::new(error.to_string(), "raise the limit of open files"))?;
        let shared = Arc::new(Shared {
            state: Arc::clone(&state),
            position: Position::default(),
            gap: AtomicBool::new(false),
            renewed: AtomicBool::new(false),
            queues: Mutex::default(),
        });
        let (queue, consumer) = new_queue(rate_hz, frame_bytes);
        let feeder = Feeder {
            shared: Arc::clone(&shared),
            number: 0,
            queue: consumer,
            format,
            frame_bytes,
            rate_hz,
            given: 0,
            taken: 0,
            offset: 0,
            cycle_ns: 0,
            cycle_given: 0,
        };
        let node = Handle::open(wanted, state, feeder)?;
        let now = clock_gettime(ClockId::Monotonic);
        let epoch = (Instant::now(), now.tv_sec * SECOND_NS + now.tv_nsec);
        // A cycle takes all of its frames together, and the next ones have to be there a cycle later.
        let (period, need) = (node.cycle_frames, node.cycle_frames * 2 + node.latency_frames);
        let output = Self {
            node,
            shared,
            server,
            queue,
            number: 0,
            rate_hz,
            frame_bytes,
            written: 0,
            heard: 0,
            reading: Reading::default(),
            epoch,
        };
        Ok(Opened { device: Box::new(output), period, need })
    }

    fn alive(&self) -> Result<(), Fault> {
        self.shared.state.loss().map_or(Ok(()), |reason| Err(lost(&self.server, reason)))
    }

    /// Frames heard by now.
    fn heard(&mut self, now: Instant) -> u64 {
        if let Some(reading) = self.shared.position.read() {
            self.reading = reading;
        }
        if self.reading.queue == self.number {
            let since = now.saturating_duration_since(self.epoch.0).as_nanos() as i64;
            self.heard = self.heard.max(self.reading.heard_at(self.epoch.1 + since, self.rate_hz)).min(self.written);
        }
        self.heard
    }

    fn run(&mut self, on: bool) {
        if on {
            self.shared.gap.store(false, Release);
        }
        if self.shared.state.running.swap(on, AcqRel) != on {
            self.node.set_active(on);
        }
    }
}

fn new_queue(rate_hz: u32, frame_bytes: usize) -> (rtrb::Producer<u8>, rtrb::Consumer<u8>) {
    rtrb::RingBuffer::new((rate_hz / QUEUE).max(1) as usize * frame_bytes)
}

impl Output for PipeWireOutput {
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

    fn room(&mut self, _now: Instant) -> Result<u64, Fault> {
        self.alive()?;
        Ok((self.queue.slots() / self.frame_bytes) as u64)
    }

    fn write(&mut self, frames: &[u8], now: Instant) -> Result<usize, Fault> {
        if self.shared.gap.swap(false, AcqRel) {
            return Err(Fault::Xrun);
        }
        let count = (frames.len() / self.frame_bytes).min(self.room(now)? as usize);
        // Cannot fail: there is that much room.
        let _ = self.queue.push_entire_slice(&frames[..count * self.frame_bytes]);
        self.written += count as u64;
        Ok(count)
    }

    fn delay(&mut self, now: Instant) -> Result<u64, Fault> {
        self.alive()?;
        Ok(self.written - self.heard(now))
    }

    fn start(&mut self, _now: Instant) -> Result<(), Fault> {
        self.run(true);
        self.alive()
    }

    fn pause(&mut self, on: bool, _now: Instant) -> Result<bool, Fault> {
        self.run(!on);
        self.alive()?;
        Ok(true)
    }

    fn reset(&mut self, _now: Instant) -> Result<(), Fault> {
        self.run(false);
        let (queue, consumer) = new_queue(self.rate_hz, self.frame_bytes);
        self.number += 1;
        (self.queue, self.written, self.heard) = (queue, 0, 0);
        let mut queues = self.shared.queues.lock().unwrap_or_else(PoisonError::into_inner);
        *queues = Queues { next: Some((self.number, consumer)), spent: None };
        drop(queues);
        self.shared.renewed.store(true, Release);
        self.alive()
    }

    fn take_volume(&mut self) -> Option<ServerVolume> {
        self.shared.state.take_volume()
    }

    fn wait(&mut self, wake: BorrowedFd<'_>, room: bool, timeout: Option<Duration>) -> bool {
        self.shared.state.watched.store(room, Relaxed);
        super::wait(&self.shared.state, wake, timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME_BYTES: usize = 2;

    fn feeder() -> (Feeder, rtrb::Producer<u8>) {
        let shared = Shared {
            state: State::new().unwrap(),
            position: Position::default(),
            gap: AtomicBool::new(false),
            renewed: AtomicBool::new(false),
            queues: Mutex::default(),
        };
        let (producer, queue) = new_queue(8_000, FRAME_BYTES);
        let feeder = Feeder {
            shared: Arc::new(shared),
            number: 0,
            queue,
            format: Format::S16Le,
            frame_bytes: FRAME_BYTES,
            rate_hz: 8_000,
            given: 0,
            taken: 0,
            offset: 0,
            cycle_ns: 0,
            cycle_given: 0,
        };
        (feeder, producer)
    }

    fn cycle(feeder: &mut Feeder) -> [u8; 4 * FRAME_BYTES] {
        let mut bytes = [9; 4 * FRAME_BYTES];
        feeder.renew();
        feeder.fill(&mut bytes);
        bytes
    }

    #[test]
    fn silence_is_played_where_there_is_nothing_else_and_noted_within_a_stream() {
        let (mut feeder, mut queue) = feeder();
        queue.push_entire_slice(&[1; 12]).unwrap();
        // The stream does not run yet.
        assert_eq!(cycle(&mut feeder), [0; 8]);
        feeder.shared.state.running.store(true, Release);
        assert_eq!(cycle(&mut feeder), [1; 8]);
        assert!(!feeder.shared.gap.load(Acquire));
        assert_eq!(cycle(&mut feeder), [1, 1, 1, 1, 0, 0, 0, 0]);
        assert!(feeder.shared.gap.load(Acquire));
        queue.push_entire_slice(&[2; 8]).unwrap();
        assert_eq!(cycle(&mut feeder), [2; 8]);
        // Four frames of silence came before the stream, two in the middle of it.
        assert_eq!((feeder.given, feeder.taken, feeder.offset), (16, 10, 6));
    }

    #[test]
    fn what_was_queued_before_a_reset_is_not_played() {
        let (mut feeder, mut old) = feeder();
        feeder.shared.state.running.store(true, Release);
        old.push_entire_slice(&[1; 64]).unwrap();
        cycle(&mut feeder);
        let (mut new, consumer) = new_queue(8_000, FRAME_BYTES);
        new.push_entire_slice(&[2; 64]).unwrap();
        feeder.shared.queues.lock().unwrap().next = Some((1, consumer));
        feeder.shared.renewed.store(true, Release);
        assert_eq!(cycle(&mut feeder), [2; 8]);
        assert_eq!((feeder.number, feeder.taken), (1, 4));
        // Spent queues are for the stream's thread to free.
        assert!(feeder.shared.queues.lock().unwrap().spent.is_some());
    }
}
