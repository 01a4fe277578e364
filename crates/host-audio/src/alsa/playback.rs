//! An ALSA PCM as a sink.

use super::clock::Clock;
use super::hw::{self, Device};
use super::link::{Link, recover, state, wait_until_closed, with_wake_fd};
use crate::beat::Beat;
use crate::{Direction, Error, Pacing, Sink, StreamSpec};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::{Duration, Instant};

/// A PCM that fails more often than this without taking a frame is given up.
pub(super) const MOST_RECOVERIES: u32 = 3;

/// The control thread's side.
pub(super) struct AlsaSink {
    link: Arc<Link>,
    ring: rtrb::Producer<u8>,
    frame_bytes: usize,
    target: u64,
    /// Frames ever put into the ring.
    pushed: u64,
}

impl AlsaSink {
    pub fn open(name: &str, spec: &StreamSpec) -> Result<Self, Error> {
        wait_until_closed(name, Direction::Playback);
        let device = hw::open(name, Direction::Playback, spec)?;
        let frame_bytes = spec.frame_bytes();
        let target = device.target;
        // Twice the target: what was flushed may lie there until the thread comes to it.
        let (ring, consumer) = rtrb::RingBuffer::new(target as usize * 2 * frame_bytes);
        let link = Link::new(name, Direction::Playback)?;
        let player = Player::new(device, consumer, Arc::clone(&link), spec);
        link.spawn(move || player.run())?;
        Ok(Self { link, ring, frame_bytes, target, pushed: 0 })
    }
}

impl Sink for AlsaSink {
    fn pacing(&self) -> Pacing<'_> {
        Pacing::Device(self.link.pace_fd())
    }

    fn room_frames(&mut self) -> usize {
        let room = self.target.saturating_sub(self.queued_frames()) as usize;
        room.min(self.ring.slots() / self.frame_bytes)
    }

    fn write(&mut self, frames: &[u8]) -> Result<usize, Error> {
        self.link.check()?;
        let taken = self.room_frames().min(frames.len() / self.frame_bytes);
        if taken > 0 {
            // Cannot fail: there is that much room.
            let _ = self.ring.push_entire_slice(&frames[..taken * self.frame_bytes]);
            self.pushed += taken as u64;
            if self.link.running.load(Relaxed) {
                self.link.wake();
            }
        }
        Ok(taken)
    }

    fn queued_frames(&mut self) -> u64 {
        let heard = self.link.heard.load(Acquire).max(self.link.flush_until.load(Relaxed));
        self.pushed.saturating_sub(heard)
    }

    fn start(&mut self) -> Result<(), Error> {
        self.link.paused.store(false, Release);
        self.link.running.store(true, Release);
        self.link.wake();
        self.link.check()
    }

    fn pause(&mut self, on: bool) -> Result<(), Error> {
        self.link.paused.store(on, Release);
        self.link.wake();
        self.link.check()
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.link.flush_until.store(self.pushed, Release);
        self.link.wake();
        self.link.check()
    }

    fn stop(&mut self) -> Result<(), Error> {
        self.link.running.store(false, Release);
        self.link.paused.store(false, Release);
        self.flush()
    }

    fn xruns(&self) -> u64 {
        self.link.xruns.load(Relaxed)
    }

    fn acknowledge(&mut self) -> Result<(), Error> {
        self.link.acknowledge()
    }
}

impl Drop for AlsaSink {
    fn drop(&mut self) {
        self.link.close();
    }
}

/// The thread's side.
struct Player {
    device: Device,
    fds: Vec<alsa::poll::pollfd>,
    ring: rtrb::Consumer<u8>,
    link: Arc<Link>,
    frame_bytes: usize,
    rate_hz: u32,
    clock: Clock,
    /// Frames taken out of the ring, those that were flushed included.
    popped: u64,
    /// Frames heard or flushed; never more than `popped`, never goes back.
    heard: u64,
    /// The last flush that was done.
    flushed: u64,
    beat: Beat,
    /// The PCM was started and has not run dry since.
    started: bool,
    /// The PCM is paused by its own means.
    held: bool,
    /// It ran dry while running; an xrun if more comes.
    dry: bool,
    /// Room in the PCM when it was last asked.
    room: u64,
    /// The ring holds frames that the PCM has no room for.
    full: bool,
    /// The last signal is overdue by the system's clock: the PCM's position moves in leaps.
    late: bool,
}

impl Player {
    fn new(mut device: Device, ring: rtrb::Consumer<u8>, link: Arc<Link>, spec: &StreamSpec) -> Self {
        let fds = with_wake_fd(std::mem::take(&mut device.poll_fds));
        // The queue is refilled a period late, so a PCM without a clock is ahead by about half of it.
        let clock = Clock::new(spec.rate_hz, device.target / 4, Instant::now());
        Self {
            fds,
            ring,
            link,
            frame_bytes: spec.frame_bytes(),
            rate_hz: spec.rate_hz,
            clock,
            beat: Beat::new(spec.period_frames, device.period, spec.rate_hz),
            popped: 0,
            heard: 0,
            flushed: 0,
            started: false,
            held: false,
            dry: false,
            room: 0,
            full: false,
            late: false,
            device,
        }
    }

    fn run(mut self) -> alsa::Result<()> {
        while !self.link.is_over() {
            self.flush()?;
            let running = self.link.running.load(Acquire);
            let paused = self.link.paused.load(Acquire);
            if running && !paused {
                self.go_on()?;
                self.feed()?;
            } else if running {
                self.hold();
            }
            self.follow()?;
            self.wait(running && !paused)?;
        }
        // What is queued is not to be heard any more; an error changes nothing about that.
        let _ = self.device.pcm.drop();
        Ok(())
    }

    /// Forgets what was queued before the last flush.
    fn flush(&mut self) -> alsa::Result<()> {
        let until = self.link.flush_until.load(Acquire);
        if until <= self.flushed {
            return Ok(());
        }
        self.flushed = until;
        let frames = until.saturating_sub(self.popped);
        if let Ok(chunk) = self.ring.read_chunk(frames as usize * self.frame_bytes) {
            chunk.commit_all();
            self.popped += frames;
        }
        self.device.pcm.drop()?;
        self.device.pcm.prepare()?;
        (self.started, self.held, self.dry) = (false, false, false);
        self.heard = self.popped;
        self.beat.restart(self.heard);
        self.link.heard.store(self.heard, Release);
        Ok(())
    }

    /// Ends a pause.
    fn go_on(&mut self) -> alsa::Result<()> {
        if self.held {
            self.held = false;
            self.clock.restart(self.heard, Instant::now());
            if let Err(error) = self.device.pcm.pause(false) {
                self.ran_dry(error)?;
            }
        }
        Ok(())
    }

    /// Pauses; a PCM that cannot pause plays what it has, about two periods, and gets no more.
    fn hold(&mut self) {
        self.dry = false;
        if self.started && !self.held && self.device.can_pause {
            self.held = self.device.pcm.pause(true).is_ok();
        }
    }

    /// Moves frames from the ring to the PCM, and starts it.
    fn feed(&mut self) -> alsa::Result<()> {
        let mut recoveries = 0;
        loop {
            let ready = self.ring.slots() / self.frame_bytes;
            if self.link.flush_until.load(Acquire) > self.flushed {
                // What lies behind the flushed frames must not be lost with them.
                return self.flush();
            }
            self.room = match self.device.pcm.avail() {
                Ok(room) => room.max(0).cast_unsigned(),
                Err(error) if recoveries < MOST_RECOVERIES => {
                    recoveries += 1;
                    self.ran_dry(error)?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let frames = ready.min(self.room as usize);
            self.full = ready > frames;
            if frames == 0 {
                break;
            }
            if self.heard == self.popped {
                self.clock.restart(self.heard, Instant::now());
            }
            let Ok(chunk) = self.ring.read_chunk(frames * self.frame_bytes) else { break };
            // The ring's size is a multiple of a frame, so no frame is split.
            let outcome = self.device.pcm.io_bytes().writei(chunk.as_slices().0);
            match outcome {
                Ok(0) => break,
                Ok(written) => {
                    chunk.commit(written * self.frame_bytes);
                    self.popped += written as u64;
                    self.room = self.room.saturating_sub(written as u64);
                }
                Err(error) if error.errno().abs() == rustix::io::Errno::AGAIN.raw_os_error() => break,
                Err(error) if recoveries < MOST_RECOVERIES => {
                    recoveries += 1;
                    self.ran_dry(error)?;
                    continue;
                }
                Err(error) => return Err(error),
            }
            if self.dry {
                self.dry = false;
                self.link.xruns.fetch_add(1, Relaxed);
            }
        }
        if !self.started && self.heard < self.popped {
            self.clock.restart(self.heard, Instant::now());
            if self.device.pcm.state_raw() == state::PREPARED {
                self.device.pcm.start()?;
            }
            self.started = true;
        }
        Ok(())
    }

    /// After an error of the PCM: an xrun or a suspend is made good, all else is the end.
    fn ran_dry(&mut self, error: alsa::Error) -> alsa::Result<()> {
        recover(&self.device.pcm, error)?;
        self.dry |= self.started;
        (self.started, self.held) = (false, false);
        self.heard = self.popped;
        Ok(())
    }

    /// Finds out how far the PCM is, publishes it, and signals each period.
    fn follow(&mut self) -> alsa::Result<()> {
        if self.started && !self.held {
            match self.device.pcm.delay() {
                Ok(delay) => {
                    let claimed = self.popped.saturating_sub(delay.max(0).cast_unsigned());
                    self.heard = self.heard.max(self.clock.limit(claimed, Instant::now()));
                }
                Err(error) => self.ran_dry(error)?,
            }
        }
        self.link.heard.store(self.heard, Release);
        let ran_out = self.heard == self.popped && self.beat.told() != self.heard;
        // A PCM without a clock does not say that it ran dry.
        self.dry |= ran_out && self.started && !self.held;
        if self.beat.reached(self.heard) || ran_out {
            self.beat.tell(self.heard);
            self.late = false;
            self.link.signal();
        }
        Ok(())
    }

    /// Until there is something to do: a command, the next signal, room in the PCM where that is what is missing.
    ///
    /// The time of the next signal follows from the position, so a PCM that tells it well is not waited for.
    fn wait(&mut self, running: bool) -> alsa::Result<()> {
        let queued = self.popped - self.heard;
        if self.held || !self.started || queued == 0 {
            self.late = false;
            return self.link.wait(&mut self.fds, false, None).map(drop);
        }
        let to_signal = self.beat.next().saturating_sub(self.heard).clamp(1, queued);
        // With enough room already the PCM's descriptors are ready all the time.
        let by_pcm = running && (self.full || self.late) && self.room < self.device.avail_min && !self.clock.is_exact();
        let timeout = frames_to_time(to_signal, self.rate_hz);
        self.late = self.link.wait(&mut self.fds, by_pcm, Some(timeout))?;
        Ok(())
    }
}

/// How long `frames` last.
pub(super) fn frames_to_time(frames: u64, rate_hz: u32) -> Duration {
    Duration::from_nanos(frames.saturating_mul(1_000_000_000) / u64::from(rate_hz.max(1)))
}
