//! An ALSA PCM as a source.

use super::clock::Clock;
use super::hw::{self, Device};
use super::link::{Link, recover, wait_until_closed, with_wake_fd};
use super::playback::{MOST_RECOVERIES, frames_to_time};
use crate::beat::Beat;
use crate::{Direction, Error, Pacing, Source, StreamSpec};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Instant;

/// The ring holds this part of a second (200 ms), and at least four periods.
const RING: u32 = 5;

/// The control thread's side.
pub(super) struct AlsaSource {
    link: Arc<Link>,
    ring: rtrb::Consumer<u8>,
    frame_bytes: usize,
    /// Frames ever taken out of the ring.
    popped: u64,
}

impl AlsaSource {
    pub fn open(name: &str, spec: &StreamSpec) -> Result<Self, Error> {
        wait_until_closed(name, Direction::Capture);
        let device = hw::open(name, Direction::Capture, spec)?;
        let frame_bytes = spec.frame_bytes();
        let frames = u64::from(spec.rate_hz / RING).max(device.period * 4) as usize;
        let (producer, ring) = rtrb::RingBuffer::new(frames * frame_bytes);
        let link = Link::new(name, Direction::Capture)?;
        let recorder = Recorder::new(device, producer, Arc::clone(&link), spec);
        link.spawn(move || recorder.run())?;
        Ok(Self { link, ring, frame_bytes, popped: 0 })
    }

    /// Forgets what was not read; what comes from here on counts anew.
    fn forget(&mut self) {
        let ready = self.available_frames();
        if let Ok(chunk) = self.ring.read_chunk(ready * self.frame_bytes) {
            chunk.commit_all();
            self.popped += ready as u64;
        }
        self.link.flush_until.store(self.popped, Release);
    }
}

impl Source for AlsaSource {
    fn pacing(&self) -> Pacing<'_> {
        Pacing::Device(self.link.pace_fd())
    }

    fn available_frames(&mut self) -> usize {
        self.ring.slots() / self.frame_bytes
    }

    fn read(&mut self, into: &mut [u8]) -> Result<usize, Error> {
        self.link.check()?;
        let frames = self.available_frames().min(into.len() / self.frame_bytes);
        // Cannot fail: that much is there.
        let _ = self.ring.pop_entire_slice(&mut into[..frames * self.frame_bytes]);
        self.popped += frames as u64;
        Ok(frames)
    }

    fn start(&mut self) -> Result<(), Error> {
        if !self.link.running.load(Relaxed) {
            self.forget();
        }
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

    fn stop(&mut self) -> Result<(), Error> {
        self.link.running.store(false, Release);
        self.link.paused.store(false, Release);
        self.link.wake();
        self.forget();
        self.link.check()
    }

    fn xruns(&self) -> u64 {
        self.link.xruns.load(Relaxed)
    }

    fn acknowledge(&mut self) -> Result<(), Error> {
        self.link.acknowledge()
    }
}

impl Drop for AlsaSource {
    fn drop(&mut self) {
        self.link.close();
    }
}

/// The thread's side.
struct Recorder {
    device: Device,
    fds: Vec<alsa::poll::pollfd>,
    ring: rtrb::Producer<u8>,
    link: Arc<Link>,
    frame_bytes: usize,
    rate_hz: u32,
    clock: Clock,
    /// Frames taken from the PCM.
    taken: u64,
    /// Frames put into the ring.
    given: u64,
    beat: Beat,
    /// Where the source's owner began anew.
    base: u64,
    /// Where frames go that nobody has room for; a period long.
    lost: Vec<u8>,
    /// Frames are being lost; one xrun until it ends.
    losing: bool,
    started: bool,
    /// Frames left in the PCM when it was last asked.
    left: u64,
    /// The last signal is overdue by the system's clock: the PCM's position moves in leaps.
    late: bool,
}

impl Recorder {
    fn new(mut device: Device, ring: rtrb::Producer<u8>, link: Arc<Link>, spec: &StreamSpec) -> Self {
        let fds = with_wake_fd(std::mem::take(&mut device.poll_fds));
        let clock = Clock::new(spec.rate_hz, device.period, Instant::now());
        let lost = vec![0; device.period as usize * spec.frame_bytes()];
        let beat = Beat::new(spec.period_frames, device.period, spec.rate_hz);
        Self {
            device,
            fds,
            ring,
            link,
            frame_bytes: spec.frame_bytes(),
            rate_hz: spec.rate_hz,
            clock,
            taken: 0,
            given: 0,
            beat,
            base: 0,
            lost,
            losing: false,
            started: false,
            left: 0,
            late: false,
        }
    }

    fn run(mut self) -> alsa::Result<()> {
        while !self.link.is_over() {
            if self.link.running.load(Acquire) && !self.link.paused.load(Acquire) {
                if !self.started {
                    self.begin()?;
                }
                let base = self.link.flush_until.load(Acquire);
                if base != self.base {
                    self.base = base;
                    self.beat.restart(base);
                }
                self.collect()?;
                // With enough there already the PCM's descriptors are ready all the time.
                let by_pcm = self.late && self.left < self.device.avail_min && !self.clock.is_exact();
                let to_signal = self.beat.next().saturating_sub(self.given).max(1);
                self.late = self.link.wait(&mut self.fds, by_pcm, Some(frames_to_time(to_signal, self.rate_hz)))?;
            } else {
                if self.started {
                    self.device.pcm.drop()?;
                    self.device.pcm.prepare()?;
                    self.started = false;
                }
                self.link.wait(&mut self.fds, false, None)?;
            }
        }
        Ok(())
    }

    fn begin(&mut self) -> alsa::Result<()> {
        self.device.pcm.start()?;
        self.clock.restart(self.taken, Instant::now());
        self.started = true;
        Ok(())
    }

    /// Moves what the PCM has to the ring, as far as time allows.
    fn collect(&mut self) -> alsa::Result<()> {
        let mut recoveries = 0;
        loop {
            let there = match self.device.pcm.avail() {
                Ok(there) => there.max(0).cast_unsigned(),
                Err(error) if recoveries < MOST_RECOVERIES => {
                    recoveries += 1;
                    self.overran(error)?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let due = self.clock.limit(self.taken + there, Instant::now()).saturating_sub(self.taken);
            self.left = there;
            if due == 0 {
                break;
            }
            match self.take(due as usize) {
                Ok(0) => break,
                Ok(frames) => {
                    self.taken += frames as u64;
                    self.left = there.saturating_sub(frames as u64);
                    if frames as u64 == due {
                        break;
                    }
                }
                Err(error) if error.errno().abs() == rustix::io::Errno::AGAIN.raw_os_error() => break,
                Err(error) if recoveries < MOST_RECOVERIES => {
                    recoveries += 1;
                    self.overran(error)?;
                }
                Err(error) => return Err(error),
            }
        }
        if self.beat.reached(self.given) {
            self.late = false;
            self.link.signal();
        }
        Ok(())
    }

    /// Reads up to `due` frames into the ring; where it is full, they are lost and counted.
    fn take(&mut self, due: usize) -> alsa::Result<usize> {
        let io = self.device.pcm.io_bytes();
        let frames = due.min(self.ring.slots() / self.frame_bytes);
        if let Some(mut chunk) = self.ring.write_chunk(frames * self.frame_bytes).ok().filter(|_| frames > 0) {
            self.losing = false;
            // The ring's size is a multiple of a frame, so no frame is split.
            let read = io.readi(chunk.as_mut_slices().0)?;
            chunk.commit(read * self.frame_bytes);
            self.given += read as u64;
            return Ok(read);
        }
        if !self.losing {
            self.losing = true;
            self.link.xruns.fetch_add(1, Relaxed);
        }
        let octets = (due * self.frame_bytes).min(self.lost.len());
        io.readi(&mut self.lost[..octets])
    }

    /// After an error of the PCM: an xrun or a suspend is made good, all else is the end.
    fn overran(&mut self, error: alsa::Error) -> alsa::Result<()> {
        recover(&self.device.pcm, error)?;
        self.link.xruns.fetch_add(1, Relaxed);
        self.begin()
    }
}
