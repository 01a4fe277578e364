//! One stream of a connected card.
//!
//! The guest's buffer is copied into a private *mirror* when it says WRITE, and the host plays the
//! mirror: what the guest does to its pages afterwards changes nothing. Capture goes the other way.
//!
//! The daemon's part, whenever a request came, the time is due or the host device wants frames:
//! [`request`](Stream::request) for every packet, then [`frames_to_play`](Frames::frames_to_play) or
//! [`room_to_capture`](Frames::room_to_capture) until nothing is left, then [`event`](Stream::event). After a request
//! and after an event, [`kept_read`](Stream::kept_read) until nothing is left.

use std::ops::Range;

use sndif::store::Direction;
use sndif::v2::{Operation, Request, Response, Span, Trigger, opcode};
use sndif::{Errno, GrantRef, SharedMemory};

use crate::ahead::{self, Ahead, Kept};
use crate::clock::{FrameClock, SECOND_NS};
use crate::frames::{Frames, Pace, Run};
use crate::frontier::Frontier;
use crate::negotiate::{Offer, Refusal};
use crate::open::Geometry;
use crate::reporter::Reporter;
use crate::volume::Volume;

/// Time that a full event page is left alone before the next try.
const EVENT_RETRY_NS: u64 = 5_000_000;

/// Time that a host device that takes or gives nothing of what is due is left alone before the next try.
pub(crate) const STALL_RETRY_NS: u64 = 1_000_000;

/// A guest is far ahead while a period, and this long, is left to be heard when the stream is looked at for the next one.
const LEFT_NS: u64 = 20_000_000;

/// Requests of such a guest of which no notification is wanted, and the longest period after which they are found.
const HELD_OFF_REQUESTS: u32 = sndif::v2::RING_SLOTS / 2;
const HELD_OFF_NS: u64 = SECOND_NS / 2;

/// Longest time that a look at a stream whose guest is far ahead is put off, to come with others.
const GRID_NS_MAX: u64 = 1 << 21;

/// Without position events frames are taken this often.
const UNREPORTED_STEP_NS: u64 = SECOND_NS / 100;

/// Configuration that a stream is made with.
#[derive(Debug, Clone, Copy)]
pub struct StreamConfig {
    /// Playback or capture.
    pub direction: Direction,
    /// Bounds of the parameters of OPEN.
    pub offer: Offer,
    /// True if the host lets this guest use the stream at all (capture is off until allowed).
    pub permitted: bool,
    /// True if the guest lets WRITEs lie in the ring: the guest does not wait for their answers, and notifies of all
    /// else.
    pub write_hold_off: bool,
}

/// Work that a request leaves to the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Answer.
    Respond(Response),
    /// Map the buffer, open the host device, call [`Stream::opened`], answer. Or call [`Stream::close`], and refuse.
    Open(Geometry, GrantRef),
    /// The stream is closed, and its buffer unmapped unless [`Stream::close`] gave it away before: close the host device,
    /// answer.
    Closed(Response),
    /// Start the host device, answer.
    Started(Response),
    /// Hold the host device, answer.
    Paused(Response),
    /// Let the host device go on, answer.
    Resumed(Response),
    /// Stop the host device and forget what it has queued, send [`Stream::event`], answer.
    Stopped(Response),
    /// Volume or mute changed: tell the host device or scale in software, answer.
    VolumeChanged(Response),
    /// More is to be copied than others may have to wait for: call [`Stream::copy`] until it gives the answer, and take no other
    /// request before.
    Copying(Response),
    /// Nothing yet: [`Stream::kept_read`] has the answer once there is one.
    Kept,
}

/// Bytes that are copied, or filled with silence, at once.
pub const PART_BYTES: u32 = 1 << 18;

/// Counts of a stream's activity since it was created.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests answered.
    pub requests: u64,
    /// Requests answered with an error.
    pub errors: u64,
    /// Position events sent; none in version 0.
    pub events: u64,
    /// Position events that found the page full.
    pub events_deferred: u64,
    /// Times that the stream ran dry and data came too late, or captured frames were lost.
    pub xruns: u64,
    /// Frames played or captured.
    pub frames: u64,
}

#[derive(Debug)]
struct Open<M> {
    geometry: Geometry,
    memory: M,
    mirror: Vec<u8>,
    frontier: Frontier,
    reporter: Reporter,
    volume: Volume,
    run: Run,
    pace: Pace,
    clock: FrameClock,
    /// Bytes taken when the clock was set.
    clock_base: u64,
    /// Time at which frames were last asked for.
    looked_ns: u64,
    /// The stream has caught up with the guest since data last came.
    dry: bool,
    /// Position after STOP, still to be told.
    stop_position: Option<u64>,
    /// Bytes taken by the host device and not heard yet.
    queued: u64,
    /// Rest of a long WRITE or READ.
    copying: Option<Copying>,
}

/// A WRITE or READ that takes several turns.
#[derive(Debug)]
struct Copying {
    response: Response,
    span: Span,
    done_bytes: u32,
}

/// One stream of a connected card.
#[derive(Debug)]
pub struct Stream<M> {
    config: StreamConfig,
    open: Option<Open<M>>,
    /// For the stream that an OPEN begins: the only memory that is as large as its guest likes.
    mirror: Vec<u8>,
    ahead: Ahead,
    counters: Counters,
    refusal: Option<Refusal>,
}

impl<M: SharedMemory> Stream<M> {
    /// A closed stream.
    #[must_use]
    pub fn new(config: StreamConfig) -> Self {
        let ahead = Ahead::new(config.direction == Direction::Capture);
        Self { config, open: None, mirror: Vec::new(), ahead, counters: Counters::default(), refusal: None }
    }

    /// Replaces the host's limits on what may be opened; what is open stays.
    pub fn reconfigure(&mut self, config: StreamConfig) {
        self.config = config;
    }

    /// Direction of the stream.
    #[must_use]
    pub fn direction(&self) -> Direction {
        self.config.direction
    }

    /// Counts of the stream's activity.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Takes the reason for which the last OPEN was refused, for the log; a second call returns `None`.
    pub fn take_refusal(&mut self) -> Option<Refusal> {
        self.refusal.take()
    }

    /// Volume (0.001 dB) and mute per channel, or `None` when nothing changes the samples.
    #[must_use]
    pub fn volume(&self) -> Option<(&[i32], &[bool])> {
        let volume = &self.open.as_ref()?.volume;
        (!volume.is_neutral()).then_some((&volume.millidecibels, &volume.muted))
    }

    /// Handles a request at `now_ns`.
    pub fn request(&mut self, request: &Request, now_ns: u64) -> Outcome {
        let response = Response { id: request.id, opcode: request.operation.opcode(), result: Ok(()), params: None };
        let done = |result: Result<(), Errno>| Response { result, ..response };
        let outcome = match &request.operation {
            Operation::QueryHwParams(asked) => match self.config.offer.narrow(asked) {
                Ok(answer) => Outcome::Respond(Response { params: Some(answer), ..response }),
                Err(errno) => Outcome::Respond(done(Err(errno))),
            },
            Operation::Open(open) => {
                // OPEN on an open stream closes it first: the old pages are unmapped here.
                self.close();
                let checked = if self.config.permitted { self.config.offer.check(open) } else { Err(Refusal::DENIED) };
                let reserved = checked.and_then(|geometry| {
                    reserve(&mut self.mirror, geometry.ring_bytes as usize)?;
                    Ok(geometry)
                });
                match reserved {
                    Ok(geometry) => Outcome::Open(geometry, open.directory),
                    Err(refusal) => {
                        self.refusal = Some(refusal);
                        Outcome::Respond(done(Err(refusal.errno)))
                    }
                }
            }
            // CLOSE comes without OPEN, too, and succeeds.
            Operation::Close => {
                self.close();
                Outcome::Closed(response)
            }
            Operation::Trigger(trigger) => match self.trigger(*trigger, now_ns) {
                Ok(()) => match trigger {
                    Trigger::Start => Outcome::Started(response),
                    Trigger::Pause => Outcome::Paused(response),
                    Trigger::Resume => Outcome::Resumed(response),
                    Trigger::Stop => Outcome::Stopped(response),
                },
                Err(errno) => Outcome::Respond(done(Err(errno))),
            },
            Operation::Write(span) | Operation::Read(span) => {
                let direction = match request.operation {
                    Operation::Write(_) => Direction::Playback,
                    _ => Direction::Capture,
                };
                match self.begin_copy(direction, *span, response) {
                    Err(errno) => Outcome::Respond(done(Err(errno))),
                    Ok(()) if span.length > PART_BYTES => Outcome::Copying(response),
                    Ok(()) => Outcome::Respond(self.copy(now_ns).unwrap_or(response)),
                }
            }
            Operation::ReadAhead { span, until_bytes } => {
                match self.read_ahead(Kept { id: request.id, span: *span, until: *until_bytes }) {
                    Ok(true) => Outcome::Respond(response),
                    Ok(false) => Outcome::Kept,
                    Err(errno) => Outcome::Respond(done(Err(errno))),
                }
            }
            Operation::GetVolume(span) => Outcome::Respond(done(self.get_volume(*span))),
            Operation::SetVolume(span) => match self.set_volume(*span) {
                Ok(()) => Outcome::VolumeChanged(response),
                Err(errno) => Outcome::Respond(done(Err(errno))),
            },
            Operation::Mute(span) | Operation::Unmute(span) => {
                let mute = matches!(request.operation, Operation::Mute(_));
                match self.set_mute(*span, mute) {
                    Ok(()) => Outcome::VolumeChanged(response),
                    Err(errno) => Outcome::Respond(done(Err(errno))),
                }
            }
        };
        add(&mut self.counters.requests, 1);
        if let Outcome::Respond(Response { result: Err(_), .. }) = outcome {
            add(&mut self.counters.errors, 1);
        }
        outcome
    }

    /// Begins the next part of the mirror with silence; returns true once all of it is there.
    pub fn prepare(&mut self, geometry: &Geometry, silence: impl FnOnce(&mut [u8])) -> bool {
        let (begun, whole) = (self.mirror.len(), geometry.ring_bytes as usize);
        self.mirror.resize(begun.saturating_add(PART_BYTES as usize).min(whole), 0);
        silence(self.mirror.get_mut(begun..).unwrap_or_default());
        self.mirror.len() == whole
    }

    /// Completes an OPEN: the buffer is mapped and the host device is open. Of the mirror, the parts that
    /// [`prepare`](Self::prepare) has left are made here.
    pub fn opened(&mut self, geometry: Geometry, memory: M, pace: Pace, silence: impl Fn(&mut [u8])) {
        while !self.prepare(&geometry, &silence) {}
        let mirror = std::mem::take(&mut self.mirror);
        self.open = Some(Open {
            geometry,
            memory,
            mirror,
            frontier: Frontier::new(geometry.ring_bytes),
            reporter: Reporter::new(geometry.period_bytes, geometry.frame_bytes),
            volume: Volume::new(geometry.channels),
            run: Run::Open,
            pace,
            clock: FrameClock::starting(geometry.rate_hz, 0),
            clock_base: 0,
            looked_ns: 0,
            dry: false,
            stop_position: None,
            queued: 0,
            copying: None,
        });
    }

    /// Closes the stream without being asked, as when its connection ends. Returns the buffer of a stream that was open,
    /// for a caller that unmaps it in parts.
    pub fn close(&mut self) -> Option<M> {
        self.ahead.cancel();
        self.mirror = Vec::new();
        self.open.take().map(|open| open.memory)
    }

    fn open_mut(&mut self) -> Result<&mut Open<M>, Errno> {
        self.open.as_mut().ok_or(Errno::EIO)
    }

    fn trigger(&mut self, trigger: Trigger, now_ns: u64) -> Result<(), Errno> {
        let open = self.open.as_mut().ok_or(Errno::EIO)?;
        match trigger {
            Trigger::Start | Trigger::Resume if open.run != Run::Running => {
                open.run = Run::Running;
                open.set_clock(now_ns);
            }
            Trigger::Pause if open.run == Run::Running => open.run = Run::Paused,
            Trigger::Stop => {
                self.ahead.cancel();
                open.run = Run::Open;
                open.dry = false;
                open.queued = 0;
                let position = open.frontier.wrap(open.reporter.reported());
                if open.reporter.wanted() && position > open.reporter.reported() {
                    open.stop_position = Some(position);
                }
            }
            Trigger::Start | Trigger::Resume | Trigger::Pause => {}
        }
        Ok(())
    }

    fn begin_copy(&mut self, direction: Direction, span: Span, response: Response) -> Result<(), Errno> {
        if self.config.direction != direction {
            return Err(Errno::EINVAL);
        }
        let open = self.open_mut()?;
        open.ring_range(span)?;
        open.copying = Some(Copying { response, span, done_bytes: 0 });
        Ok(())
    }

    /// Does the READ and returns true, or keeps it and returns false.
    fn read_ahead(&mut self, read: Kept) -> Result<bool, Errno> {
        if self.config.direction != Direction::Capture {
            return Err(Errno::EINVAL);
        }
        let open = self.open.as_mut().ok_or(Errno::EIO)?;
        // In their order: none is done before one that is kept.
        if self.ahead.is_empty() && read.until <= open.known() {
            ahead::check(&read, &open.geometry)?;
            open.copy_part(Direction::Capture, read.span)?;
            return Ok(true);
        }
        self.ahead.keep(read, &open.geometry, open.frontier.taken())?;
        Ok(false)
    }

    /// The next answer to a READ that was [kept](Outcome::Kept): with frames once an event has told that they are captured, with
    /// an error once their run has ended.
    pub fn kept_read(&mut self) -> Option<Response> {
        let known = self.open.as_ref().map_or(0, Open::known);
        let (read, brings) = self.ahead.next(known)?;
        let result = match &mut self.open {
            Some(open) if brings => open.copy_part(Direction::Capture, read.span),
            _ => Err(Errno::EIO),
        };
        Some(Response { id: read.id, opcode: opcode::READ_AHEAD, result, params: None })
    }

    /// Goes on with what [`Outcome::Copying`] began; the answer when all is copied.
    pub fn copy(&mut self, now_ns: u64) -> Option<Response> {
        let direction = self.config.direction;
        let open = self.open.as_mut()?;
        let Copying { response, span, done_bytes } = open.copying.take()?;
        let offset = span.offset.saturating_add(done_bytes);
        let length = span.length.saturating_sub(done_bytes).min(PART_BYTES);
        let result = match open.copy_part(direction, Span { offset, length }) {
            Ok(()) if done_bytes.saturating_add(length) < span.length => {
                open.copying = Some(Copying { response, span, done_bytes: done_bytes.saturating_add(length) });
                return None;
            }
            Ok(()) => {
                if direction == Direction::Playback && span.length > 0 {
                    self.written(span, now_ns);
                }
                Ok(())
            }
            Err(errno) => Err(errno),
        };
        Some(Response { result, ..response })
    }

    /// After the guest's frames were copied.
    fn written(&mut self, span: Span, now_ns: u64) {
        let Some(open) = &mut self.open else { return };
        let known = if open.reporter.wanted() { open.reporter.reported() } else { open.frontier.guessed_known() };
        open.frontier.write(span.offset, span.length, known);
        if open.dry {
            // While the host device has frames queued, nobody heard that the guest was late.
            let heard = open.ran_dry();
            add(&mut self.counters.xruns, u64::from(heard));
            open.dry = false;
            open.set_clock(now_ns);
        }
    }

    fn set_volume(&mut self, span: Span) -> Result<(), Errno> {
        let open = self.open_mut()?;
        let bytes = open.control(span)?;
        if bytes.len() != open.volume.volume_bytes() {
            return Err(Errno::EINVAL);
        }
        open.volume.set(&bytes);
        Ok(())
    }

    fn get_volume(&mut self, span: Span) -> Result<(), Errno> {
        let open = self.open_mut()?;
        let bytes = open.volume.bytes();
        if !Geometry::holds(span, open.geometry.buffer_bytes) || span.length as usize != bytes.len() {
            return Err(Errno::EINVAL);
        }
        if open.memory.write(span.offset as usize, &bytes) { Ok(()) } else { Err(Errno::EFAULT) }
    }

    fn set_mute(&mut self, span: Span, mute: bool) -> Result<(), Errno> {
        let open = self.open_mut()?;
        let flags = open.control(span)?;
        open.volume.set_mute(&flags, mute)
    }

    /// Returns true if frames are moved as time passes, and not as the host device takes them.
    #[must_use]
    pub fn is_clocked(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.pace == Pace::Clock)
    }

    /// The position to tell the guest now, if any. Say with [`event_sent`](Self::event_sent) or
    /// [`event_deferred`](Self::event_deferred) what became of it.
    #[must_use]
    pub fn event(&self, now_ns: u64) -> Option<u64> {
        let open = self.open.as_ref()?;
        if open.stop_position.is_some() {
            return open.stop_position;
        }
        if open.run != Run::Running {
            return None;
        }
        let position = open.position();
        open.reporter
            .due(position, now_ns)
            .or_else(|| if open.ran_dry() { open.reporter.due_when_dry(open.frontier.taken(), now_ns) } else { None })
    }

    /// Notes that the guest was told `position`.
    pub fn event_sent(&mut self, position: u64, now_ns: u64) {
        if let Some(open) = &mut self.open {
            open.stop_position = open.stop_position.filter(|&stop| stop != position);
            open.reporter.sent(position, now_ns);
            add(&mut self.counters.events, 1);
        }
    }

    /// Returns true if everything that was written is heard: an event that tells it is not to wait for later ones.
    #[must_use]
    pub fn has_run_dry(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.run == Run::Running && open.ran_dry())
    }

    /// Notes that the event page was full: the position is told later, with what is reached by then.
    pub fn event_deferred(&mut self, now_ns: u64) {
        if let Some(open) = &mut self.open {
            open.reporter.hold_until(now_ns.saturating_add(EVENT_RETRY_NS));
            add(&mut self.counters.events_deferred, 1);
        }
    }

    /// Number of further requests at which the guest is to notify, after all frames that are due were moved. The WRITEs
    /// of a guest that is far ahead may lie in the ring until the stream is looked at for the next period, and so may
    /// the next READs of a guest that has READs laid out: the host wakes up once in a period instead of twice.
    #[must_use]
    pub fn requests_awaited(&self) -> u32 {
        let Some(open) = self.open.as_ref().filter(|open| open.run == Run::Running) else { return 1 };
        let period_bytes = u64::from(open.geometry.period_bytes);
        let playback = self.config.direction == Direction::Playback;
        if playback && !self.config.write_hold_off || !open.reporter.wanted() {
            return 1;
        }
        let bytes_in = |ns: u64| {
            let frames = ns.saturating_mul(u64::from(open.geometry.rate_hz)) / SECOND_NS;
            frames.saturating_mul(u64::from(open.geometry.frame_bytes))
        };
        let short = period_bytes <= bytes_in(HELD_OFF_NS);
        if !playback {
            return if short && !self.ahead.is_empty() { HELD_OFF_REQUESTS } else { 1 };
        }
        // The look for the next period comes a little after the period's end, and then after a step of the grid.
        let late_bytes = (period_bytes / 4).saturating_add(bytes_in(open.grid_ns()));
        let ahead_bytes = open.frontier.written().saturating_sub(open.position()).saturating_add(late_bytes);
        let far_bytes = period_bytes.saturating_add(period_bytes.max(bytes_in(LEFT_NS)));
        if short && ahead_bytes >= far_bytes { HELD_OFF_REQUESTS } else { 1 }
    }

    /// Time at which the stream wants to be looked at again, if nothing else happens.
    #[must_use]
    pub fn next_wake_ns(&self) -> Option<u64> {
        let open = self.open.as_ref()?;
        let allowed = open.reporter.next_allowed_ns();
        if open.stop_position.is_some() {
            return Some(allowed);
        }
        if open.run != Run::Running {
            return None;
        }
        let position = open.position();
        if position >= open.reporter.next_due() {
            return Some(allowed);
        }
        if open.ran_dry()
            && let Some(at) = open.reporter.wake_when_dry_ns(open.frontier.taken())
        {
            return Some(at);
        }
        if open.pace == Pace::Device {
            return None;
        }
        let frame_bytes = u64::from(open.geometry.frame_bytes);
        let step = UNREPORTED_STEP_NS.saturating_mul(u64::from(open.geometry.rate_hz)) / SECOND_NS;
        let unreported = open.frontier.taken().saturating_add(step.max(1).saturating_mul(frame_bytes));
        let mut target = if open.reporter.wanted() { open.reporter.next_due() } else { unreported };
        let playback = self.config.direction == Direction::Playback;
        if playback {
            if open.dry {
                return None;
            }
            // With nothing left, the stream is dry once one more frame would be due.
            let due = open.frontier.taken().saturating_add(frame_bytes);
            target = target.min(open.frontier.written().max(due));
        } else {
            // The mirror holds a ring's worth; what is captured must not outrun it between two looks.
            target = target.min(open.frontier.taken().saturating_add(u64::from(open.geometry.ring_bytes)));
        }
        let at = open.clock.reaches_at(target.saturating_sub(open.clock_base).div_ceil(frame_bytes));
        let at = if open.reporter.wanted() { at.max(allowed) } else { at };
        let at = if playback && self.requests_awaited() > 1 { at.next_multiple_of(open.grid_ns()) } else { at };
        // Due already when frames were last asked for: the host device had no room, or nothing to give.
        let stalled = at <= open.looked_ns;
        Some(if stalled { open.looked_ns.saturating_add(STALL_RETRY_NS) } else { at })
    }
}

impl<M: SharedMemory> Frames for Stream<M> {
    fn direction(&self) -> Option<Direction> {
        Some(self.config.direction)
    }

    fn geometry(&self) -> Option<&Geometry> {
        self.open.as_ref().map(|open| &open.geometry)
    }

    fn frames_to_play(&mut self, now_ns: u64, room_frames: usize) -> Option<&[u8]> {
        let open = self.open.as_mut().filter(|open| open.run == Run::Running)?;
        if self.config.direction != Direction::Playback {
            return None;
        }
        open.looked_ns = now_ns;
        let room = (room_frames as u64).saturating_mul(u64::from(open.geometry.frame_bytes)).min(open.due(now_ns));
        let whole = room.min(open.geometry.whole_frames(open.frontier.pending()));
        if whole == 0 {
            open.dry |= room > 0;
            return None;
        }
        open.mirror.get(open.frontier.next_stretch(whole))
    }

    fn played(&mut self, bytes: usize) {
        if let Some(open) = &mut self.open {
            open.frontier.take(bytes as u64);
            add(&mut self.counters.frames, open.geometry.frames_in(bytes as u64));
        }
    }

    fn set_queued_frames(&mut self, frames: u64) {
        if let Some(open) = &mut self.open {
            open.queued = frames.saturating_mul(u64::from(open.geometry.frame_bytes));
        }
    }

    fn room_to_capture(&mut self, now_ns: u64, available_frames: usize) -> Option<&mut [u8]> {
        let open = self.open.as_mut().filter(|open| open.run == Run::Running)?;
        if self.config.direction != Direction::Capture {
            return None;
        }
        open.looked_ns = now_ns;
        let available = (available_frames as u64).saturating_mul(u64::from(open.geometry.frame_bytes));
        let available = open.geometry.whole_frames(available.min(open.due(now_ns)));
        open.mirror.get_mut(open.frontier.next_gap(available)).filter(|gap| !gap.is_empty())
    }

    fn captured(&mut self, bytes: usize) {
        if let Some(open) = &mut self.open {
            open.frontier.produce(bytes as u64);
            add(&mut self.counters.frames, open.geometry.frames_in(bytes as u64));
        }
    }

    fn set_pace(&mut self, pace: Pace, now_ns: u64) {
        if let Some(open) = &mut self.open {
            open.pace = pace;
            open.queued = 0;
            open.set_clock(now_ns);
        }
    }

    fn run(&self) -> Run {
        self.open.as_ref().map_or(Run::Closed, |open| open.run)
    }

    fn backlog_frames(&self) -> u64 {
        let Some(open) = &self.open else { return 0 };
        let bytes = match self.config.direction {
            Direction::Playback => open.frontier.written().saturating_sub(open.position()),
            Direction::Capture => open.frontier.taken().saturating_sub(open.reporter.reported()),
        };
        open.geometry.frames_in(bytes)
    }
}

/// Gets memory for so many bytes, or says that there is none.
fn reserve(memory: &mut Vec<u8>, bytes: usize) -> Result<(), Refusal> {
    let refusal = Refusal { errno: Errno::ENOMEM, reason: "the host has no memory for the buffer" };
    memory.try_reserve_exact(bytes).map_err(|_| refusal)
}

/// Adds to a counter, which stops at its largest value.
fn add(counter: &mut u64, amount: u64) {
    *counter = counter.saturating_add(amount);
}

impl<M: SharedMemory> Open<M> {
    fn set_clock(&mut self, now_ns: u64) {
        self.clock = FrameClock::starting(self.geometry.rate_hz, now_ns);
        self.clock_base = self.frontier.taken();
    }

    /// Bytes that may be moved now as far as time is concerned.
    fn due(&self, now_ns: u64) -> u64 {
        match self.pace {
            Pace::Device => u64::MAX,
            Pace::Clock => {
                let reached = self.clock.frames(now_ns).saturating_mul(u64::from(self.geometry.frame_bytes));
                self.clock_base.saturating_add(reached).saturating_sub(self.frontier.taken())
            }
        }
    }

    /// Bytes heard (or captured) since OPEN; never less than the guest was told.
    fn position(&self) -> u64 {
        self.frontier.taken().saturating_sub(self.queued).max(self.reporter.reported())
    }

    /// Looks at a stream that follows the clock and whose guest is far ahead are put off to a multiple of this: a power of
    /// two, at most a quarter of a period. Looks at many streams then come together, with few wake-ups.
    fn grid_ns(&self) -> u64 {
        if self.pace == Pace::Device {
            return 1;
        }
        let frames = self.geometry.frames_in(self.geometry.period_bytes.into());
        let period_ns = frames.saturating_mul(SECOND_NS).checked_div(self.geometry.rate_hz.into()).unwrap_or(0);
        GRID_NS_MAX.min((period_ns / 8).saturating_add(1).next_power_of_two())
    }

    /// Up to where the guest may ask for what was captured: it knows of it.
    fn known(&self) -> u64 {
        if self.reporter.wanted() { self.reporter.reported() } else { self.frontier.taken() }
    }

    /// Everything written was heard.
    fn ran_dry(&self) -> bool {
        self.dry && self.queued == 0
    }

    fn ring_range(&self, span: Span) -> Result<Range<usize>, Errno> {
        if !Geometry::holds(span, self.geometry.ring_bytes) {
            return Err(Errno::EINVAL);
        }
        let offset = span.offset as usize;
        Ok(offset..offset.saturating_add(span.length as usize))
    }

    /// Copies between the guest's pages and the mirror.
    fn copy_part(&mut self, direction: Direction, span: Span) -> Result<(), Errno> {
        let range = self.ring_range(span)?;
        let mirror = self.mirror.get_mut(range).ok_or(Errno::EINVAL)?;
        let copied = match direction {
            _ if mirror.is_empty() => true,
            Direction::Playback => self.memory.read(span.offset as usize, mirror),
            Direction::Capture => self.memory.write(span.offset as usize, mirror),
        };
        if copied { Ok(()) } else { Err(Errno::EFAULT) }
    }

    /// Copies a small range of the buffer that holds volumes or flags.
    fn control(&self, span: Span) -> Result<Vec<u8>, Errno> {
        let longest = self.volume.volume_bytes();
        if !Geometry::holds(span, self.geometry.buffer_bytes) || span.length as usize > longest {
            return Err(Errno::EINVAL);
        }
        // A volume for each channel at most.
        let mut bytes = vec![0; span.length as usize];
        if self.memory.read(span.offset as usize, &mut bytes) { Ok(bytes) } else { Err(Errno::EFAULT) }
    }
}
