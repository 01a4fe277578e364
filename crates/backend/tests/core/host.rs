//! A daemon in small: drives a [`Stream`] as the real one does and holds it to what it promises.
//!
//! The host keeps a model of its own: bytes taken since OPEN, the position told last, the position owed after
//! STOP. The rules: a position never runs back, never lies more than a frame past what was taken (which is
//! never more than what was written), comes once a millisecond at most but for that of STOP; and a stream
//! that asks to be looked at again asks for a moment that is still to come.

use std::collections::VecDeque;

use backend::{DeviceLimits, Frames, HostLimits, Offer, Outcome, Pace, Run, Stream, StreamConfig};
use sndif::store::{Direction, LimitNodes, Limits};
use sndif::v2::{OpenParams, Operation, Request, Response, Trigger};
use sndif::{Errno, Format, GrantRef, SharedMemory};

pub const MILLISECOND: u64 = 1_000_000;

/// Behaviour of the host's device at a look.
#[derive(Debug, Clone, Copy)]
pub struct Device {
    /// Frames that it takes or gives at most.
    pub frames: usize,
    /// Frames taken that nobody has heard yet (at most; a device paced by the clock has none).
    pub queued: u64,
    /// The guest's event page is full.
    pub page_full: bool,
}

impl Device {
    pub const READY: Self = Self { frames: usize::MAX, queued: 0, page_full: false };
}

pub struct Host<M> {
    pub core: Stream<M>,
    pub now_ns: u64,
    pub frame_bytes: u64,
    pub ring_bytes: u64,
    /// Bytes taken from the guest or captured for it, counted as positions are.
    pub taken: u64,
    /// Position that the guest was told last.
    pub told: u64,
    pub events: u64,
    /// Position of the last event that woke the guest, which counts as Linux does.
    pub woken_at: u64,
    /// Bytes told since then.
    unwoken: u64,
    pace: Pace,
    owed_after_stop: Option<u64>,
    last_event_ns: Option<u64>,
    next_id: u16,
    captured: u8,
    /// READs without an answer: their ids, and up to where they ask.
    pub kept: VecDeque<(u16, u64)>,
    /// Answers to them, in order: up to where they asked, and how it went.
    pub answered: Vec<(u64, Result<(), Errno>)>,
}

/// Everything that a test may open, in any direction.
pub fn config(direction: Direction) -> StreamConfig {
    let every_format = Format::all().map(Format::name).collect::<Vec<_>>().join(",");
    let nodes = LimitNodes {
        channels_max: Some(b"255"),
        sample_rates: Some(b"8000,44100,48000,192000"),
        sample_formats: Some(every_format.as_bytes()),
        buffer_size: Some(b"1000000"),
        ..LimitNodes::default()
    };
    let store = Limits::DEFAULT.narrowed_by(&nodes).expect("legal nodes");
    let offer = Offer { store, device: DeviceLimits::ANY, host: HostLimits::default(), control_bytes: 0 };
    StreamConfig { direction, offer, permitted: true, write_hold_off: false }
}

impl<M: SharedMemory> Host<M> {
    pub fn new(direction: Direction, pace: Pace) -> Self {
        Self {
            core: Stream::new(config(direction)),
            now_ns: 5,
            frame_bytes: 1,
            ring_bytes: 1,
            taken: 0,
            told: 0,
            events: 0,
            woken_at: 0,
            unwoken: 0,
            pace,
            owed_after_stop: None,
            last_event_ns: None,
            next_id: 0,
            captured: 0,
            kept: VecDeque::new(),
            answered: Vec::new(),
        }
    }

    /// Opens the stream: 16-bit stereo.
    pub fn open(&mut self, rate_hz: u32, ring_frames: u32, period_frames: u32, memory: M) {
        let open = OpenParams {
            rate_hz,
            format: Format::S16Le,
            channels: 2,
            buffer_bytes: ring_frames * 4,
            directory: GrantRef(8),
            period_bytes: period_frames * 4,
        };
        let mut memory = Some(memory);
        self.request(Operation::Open(open), |_| memory.take().expect("one OPEN")).expect("a legal OPEN");
    }

    /// Handles a request as the daemon does; `map` gives the buffer that an OPEN names.
    pub fn request(&mut self, operation: Operation, map: impl FnOnce(u32) -> M) -> Result<Response, Errno> {
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        let requests = self.core.counters().requests;
        let was_open = self.core.geometry().is_some();
        let outcome = self.core.request(&Request { id, operation }, self.now_ns);
        assert_eq!(self.core.counters().requests, requests + 1);
        let opcode = operation.opcode();
        let response = match outcome {
            Outcome::Open(geometry, _) => {
                assert!(self.core.geometry().is_none(), "the old buffer is given up before the new one is mapped");
                self.core.opened(geometry, map(geometry.buffer_bytes), self.pace, |mirror| mirror.fill(0));
                self.frame_bytes = u64::from(geometry.frame_bytes);
                self.ring_bytes = u64::from(geometry.ring_bytes);
                self.forget();
                Response { id, opcode, result: Ok(()), params: None }
            }
            Outcome::Closed(response) => {
                assert!(self.core.geometry().is_none());
                response
            }
            Outcome::Stopped(response) => {
                self.stopped();
                response
            }
            Outcome::Copying(response) => {
                let mut parts = 1;
                while self.core.copy(self.now_ns).is_none() {
                    parts += 1;
                }
                assert!(parts > 1, "what is short is copied at once");
                response
            }
            // The answer is still to come: `kept_reads`.
            Outcome::Kept => {
                let Operation::ReadAhead { until_bytes, .. } = operation else { unreachable!("no READ is kept") };
                self.kept.push_back((id, until_bytes));
                Response { id, opcode, result: Ok(()), params: None }
            }
            Outcome::Respond(response)
            | Outcome::Started(response)
            | Outcome::Paused(response)
            | Outcome::Resumed(response)
            | Outcome::VolumeChanged(response) => response,
        };
        assert_eq!((response.id, response.opcode), (id, opcode));
        let ends = matches!(operation, Operation::Open(_) | Operation::Close | Operation::Trigger(Trigger::Stop));
        self.kept_reads(ends && was_open);
        assert_eq!(
            response.params.is_some(),
            matches!(operation, Operation::QueryHwParams(_)) && response.result.is_ok()
        );
        if self.core.geometry().is_none() {
            assert!(self.core.event(u64::MAX).is_none() && self.core.next_wake_ns().is_none(), "closed is silent");
            assert!(!was_open || !(self.core.run() == Run::Running));
            self.forget();
        }
        response.result.map(|()| response)
    }

    /// Takes the answers to READs that were kept: in order, with frames only of what was told, and all of them when their run `ends`.
    fn kept_reads(&mut self, ends: bool) {
        while let Some(response) = self.core.kept_read() {
            let (id, until) = self.kept.pop_front().expect("an answer to what was kept");
            assert_eq!((response.id, response.params), (id, None));
            let known =
                if self.core.geometry().is_some_and(|open| open.period_bytes > 0) { self.told } else { self.taken };
            assert!(response.result.is_err() || !ends && until <= known, "{until} is not told, but {known}");
            self.answered.push((until, response.result));
        }
        assert!(!ends || self.kept.is_empty(), "a READ without an answer outlives its run");
        assert!(self.kept.len() <= 32);
    }

    pub fn trigger(&mut self, trigger: Trigger) {
        let map = |_| unreachable!("no OPEN");
        self.request(Operation::Trigger(trigger), map).expect("an open stream");
    }

    /// The host's device fails: the clock takes over.
    pub fn fails(&mut self) {
        self.pace = Pace::Clock;
        self.core.set_pace(Pace::Clock, self.now_ns);
    }

    fn forget(&mut self) {
        (self.taken, self.told, self.owed_after_stop) = (0, 0, None);
        (self.woken_at, self.unwoken) = (0, 0);
        self.last_event_ns = None;
    }

    /// A run ended: positions go on at the next multiple of the ring.
    fn stopped(&mut self) {
        self.taken = self.taken.max(self.told).next_multiple_of(self.ring_bytes);
        let wants_events = self.core.geometry().is_some_and(|geometry| geometry.period_bytes > 0);
        if wants_events && self.taken > self.told {
            self.owed_after_stop = Some(self.taken);
        }
    }

    /// One turn of the daemon. Returns what was played; captured frames are made up ([`captured_byte`]).
    pub fn look(&mut self, device: Device) -> Vec<u8> {
        let mut played = Vec::new();
        let mut frames_left = device.frames;
        while let Some(frames) = self.core.frames_to_play(self.now_ns, frames_left) {
            assert!(!frames.is_empty() && (frames.len() as u64).is_multiple_of(self.frame_bytes));
            played.extend_from_slice(frames);
            let bytes = frames.len();
            self.core.played(bytes);
            self.taken += bytes as u64;
            frames_left -= bytes / self.frame_bytes as usize;
        }
        let mut frames_left = device.frames.min(1 << 16);
        while let Some(room) = self.core.room_to_capture(self.now_ns, frames_left) {
            assert!(!room.is_empty() && (room.len() as u64).is_multiple_of(self.frame_bytes));
            for byte in &mut *room {
                *byte = self.captured;
                self.captured = next_byte(self.captured);
            }
            let bytes = room.len();
            self.core.captured(bytes);
            self.taken += bytes as u64;
            frames_left -= bytes / self.frame_bytes as usize;
        }
        if self.pace == Pace::Device && self.core.direction() == Direction::Playback {
            let heard_at_least = self.told.min(self.taken);
            self.core.set_queued_frames(device.queued.min((self.taken - heard_at_least) / self.frame_bytes));
        }
        self.tell(device.page_full);
        self.kept_reads(false);
        let wake = self.core.next_wake_ns();
        assert!(wake.is_none_or(|at| at > self.now_ns), "to be woken at {wake:?}, and it is {}", self.now_ns);
        played
    }

    fn tell(&mut self, page_full: bool) {
        let Some(position) = self.core.event(self.now_ns) else {
            assert_eq!(self.owed_after_stop, None, "the position after STOP is told at once");
            return;
        };
        assert!(position > self.told, "position {position} after {}", self.told);
        if self.owed_after_stop.is_none() && position > self.taken + self.frame_bytes {
            // All that was written is told, and woke nobody.
            assert_eq!(self.told, self.taken, "position {position}");
            let period = u64::from(self.core.geometry().expect("open").period_bytes);
            assert!(position <= self.taken + period + self.frame_bytes, "position {position}, {} taken", self.taken);
        }
        if let Some(owed) = self.owed_after_stop {
            assert_eq!(position, owed);
        } else {
            assert_eq!(self.core.run(), Run::Running);
            let since = self.last_event_ns.map(|last| self.now_ns - last);
            assert!(since.is_none_or(|since| since >= MILLISECOND), "{since:?} ns after the last event");
            let period = u64::from(self.core.geometry().expect("open").period_bytes);
            let told_periods = (self.told.max(1) - 1) / period;
            assert!(
                (position - 1) / period > told_periods || position <= self.taken,
                "an event for no period that ended, and past what was taken"
            );
        }
        if page_full {
            self.core.event_deferred(self.now_ns);
        } else {
            self.core.event_sent(position, self.now_ns);
            let period = u64::from(self.core.geometry().expect("open").period_bytes);
            self.unwoken += position - self.told;
            if self.unwoken > period {
                self.unwoken %= period;
                self.woken_at = position;
            }
            self.told = position;
            self.events += 1;
            self.last_event_ns = Some(self.now_ns);
            self.owed_after_stop = None;
        }
        assert_eq!(self.core.counters().events, self.events);
    }
}

/// Returns the byte after `byte` in the sound that [`Host::look`] captures. The sound's period is no power of two, so no
/// ring holds the same twice.
pub fn next_byte(byte: u8) -> u8 {
    if byte == 250 { 0 } else { byte + 1 }
}

/// Number of steps of a property: `steps`, or a tenth of it in an interpreter (miri).
pub fn few(steps: usize) -> usize {
    if cfg!(miri) { steps / 10 } else { steps }
}
