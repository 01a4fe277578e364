//! One stream: its ring, its event page, its position.
//!
//! Only answers end the states in between (sndif.h, `XENSND_OP_OPEN`, `_CLOSE` and `_TRIGGER`):
//!
//! ```text
//!            OPEN                 success          START, RESUME
//!   Closed ───────▶ Opening ───────────────▶ Open ───────────────▶ Open, running
//!    ▲  ▲              │                     │  ▲                     │
//!    │  └── refused ───┘                     │  └── STOP, PAUSE ──────┘
//!    │                  answered             ▼ CLOSE
//!    └──────────────────────────────────── Closing
//! ```
//!
//! After STOP there is no READ, WRITE or TRIGGER until its answer, which brings the run's last position. A refused PAUSE
//! changes nothing.
//!
//! The driver submits operations, [publishes](Stream::publish) them, and notifies the backend if that says so. When it is
//! woken it takes the [completions](Stream::next_completion) first and the [events](Stream::take_events) after, and sleeps
//! again. It [arms](Stream::arm) the ring only when it waits for an answer.

use core::fmt;

use sndif::store::Direction;
use sndif::v2::{
    EVENT_SLOTS, Event, EventConsumer, FrontRing, HwParams, OpenParams, Operation, PACKET_BYTES, RING_SLOTS, Request,
    Response, Span, Trigger,
};
use sndif::{Errno, SharedMemory};

use crate::cursor::{Cursor, Disbelief};
use crate::flight::Flight;
use crate::patience::Patience;
use crate::{Completion, Geometry, RequestId, Violation};

/// READs that are laid out at most; the rest of the ring is for other requests. A recorder that sleeps by a clock of its
/// own may do so for 0.3 s.
const LAID_OUT_MAX: u32 = RING_SLOTS / 4 * 3;

/// Reason for which an operation was not put into the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubmitError {
    /// All 32 slots are in use: take completions first.
    Full,
    /// The backend broke the protocol.
    Broken(Violation),
    /// The stream is not open, or its OPEN or CLOSE is not answered yet.
    NotOpen,
    /// OPEN before the CLOSE of the last one was answered.
    AlreadyOpen,
    /// OPEN with sizes that are no [`Geometry`].
    BadSizes,
    /// A range outside the buffer (READ, WRITE: outside the ring).
    OutOfRange,
    /// READ on a playback stream, WRITE on a capture stream.
    WrongDirection,
    /// STOP is not answered yet; only then is it known where the next run starts.
    Stopping,
    /// PAUSE, which the backend has refused on this connection.
    CannotPause,
}

impl fmt::Display for SubmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "every slot of the ring is in use",
            Self::Broken(violation) => return violation.fmt(f),
            Self::NotOpen => "the stream is not open",
            Self::AlreadyOpen => "the stream is open already",
            Self::BadSizes => "the sizes of the stream make no sense",
            Self::OutOfRange => "the range lies outside the stream's buffer",
            Self::WrongDirection => "the stream goes the other way",
            Self::Stopping => "the stream's STOP is not answered yet",
            Self::CannotPause => "the backend cannot pause",
        })
    }
}

impl core::error::Error for SubmitError {}

/// Counts of a stream's activity since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Requests submitted.
    pub requests: u64,
    /// Responses taken.
    pub responses: u64,
    /// Responses that carried an error.
    pub errors: u64,
    /// Events taken.
    pub events: u64,
    /// Events whose id was not the one after the last.
    pub event_id_gaps: u64,
    /// Events of a type that does not exist.
    pub unknown_events: u64,
    /// Positions ignored because the stream was not open.
    pub ignored_closed: u64,
    /// Positions ignored because they lay before the last one, which only the first after STOP may.
    pub ignored_rewinds: u64,
    /// Positions ignored because they lay behind what was written.
    pub ignored_beyond: u64,
    /// Playback ran dry, or captured data was overwritten before it was read.
    pub xruns: u64,
}

/// Progress that a batch of events brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Events taken, at most 63.
    pub events: u32,
    /// Number of events that were a reason to wake us: believed, and not one more of many that tell nothing new.
    pub believed: u32,
    /// Bytes newly played or captured.
    pub moved_bytes: u64,
    /// Captured bytes of these that were overwritten before anybody read them.
    pub lost_bytes: u64,
    /// Playback ran dry while it ran, or captured data was lost.
    pub xrun: bool,
    /// A whole page of events was taken; there may be more.
    pub more: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Closed,
    Opening,
    Open,
    Closing,
}

/// An opened stream's part of the state.
#[derive(Debug, Clone, Copy)]
struct Opened {
    geometry: Geometry,
    cursor: Cursor,
    running: bool,
    /// `running` before the last trigger: a refused PAUSE leaves it so.
    running_before: bool,
    stopping: bool,
    /// Running dry is no xrun: the writer has said that nothing follows.
    draining: bool,
    /// The xrun at the present frontier was counted.
    dry: bool,
}

/// The frontend's half of one stream, over the granted ring and event pages.
#[derive(Debug)]
pub struct Stream<M> {
    ring: FrontRing<M>,
    events: EventConsumer<M>,
    flight: Flight,
    direction: Direction,
    /// Bytes of the opened buffer that are not part of the ring; fixed for the connection.
    control_bytes: u32,
    phase: Phase,
    opened: Option<Opened>,
    /// The backend takes READs of what is still to be captured; for the connection.
    reads_ahead: bool,
    /// READs in flight of bytes that are still to be captured.
    laid_out: u32,
    /// The backend has not refused PAUSE; for the connection.
    can_pause: bool,
    next_event_id: u16,
    /// Events were taken whose slots were kept.
    unconfirmed: bool,
    /// Unread events from which on the backend is to notify; 0 for each.
    events_awaited: u32,
    /// A request was submitted of which the backend is to be notified whatever it asked for.
    urgent: bool,
    /// WRITEs were shown to the backend without a notification.
    untold: bool,
    counters: Counters,
    patience: Patience,
    broken: Option<Violation>,
}

impl<M: SharedMemory> Stream<M> {
    /// Starts on two zeroed pages that are not granted yet. `control_bytes` is what the stream's node `control-size` will
    /// say, 0 without that node.
    pub fn new(direction: Direction, ring_page: M, event_page: M, control_bytes: u32) -> Self {
        Self {
            ring: FrontRing::new(ring_page),
            events: EventConsumer::new(event_page),
            flight: Flight::new(),
            direction,
            control_bytes,
            phase: Phase::Closed,
            opened: None,
            reads_ahead: false,
            laid_out: 0,
            can_pause: true,
            next_event_id: 0,
            unconfirmed: false,
            events_awaited: 0,
            urgent: false,
            untold: false,
            counters: Counters::default(),
            patience: Patience::new(),
            broken: None,
        }
    }

    /// The backend takes READs of what is still to be captured (its node `feature-read-ahead`).
    pub const fn set_reads_ahead(&mut self, reads_ahead: bool) {
        self.reads_ahead = reads_ahead;
    }

    /// Returns true if the backend takes READs of what is still to be captured, as far as is known.
    #[must_use]
    pub const fn reads_ahead(&self) -> bool {
        self.reads_ahead
    }

    /// Playback or capture.
    #[must_use]
    pub const fn direction(&self) -> Direction {
        self.direction
    }

    /// Returns true if OPEN was answered with success and CLOSE was not sent.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Returns true if the stream was started (or resumed) and not stopped or paused since.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.opened.is_some_and(|opened| opened.running)
    }

    /// Returns true if the backend can pause, as far as is known: it has not refused to.
    #[must_use]
    pub const fn can_pause(&self) -> bool {
        self.can_pause
    }

    /// Returns true if it is known from where the positions of the next run count. OPEN begins a count at 0. After STOP
    /// a backend may go on counting and report that; the origin is known then. A backend that reports nothing may
    /// restart its count anywhere: close and open the stream before starting it again.
    #[must_use]
    pub fn is_origin_known(&self) -> bool {
        self.opened.is_none_or(|opened| opened.cursor.is_origin_known())
    }

    /// Sizes of the stream while it is open.
    #[must_use]
    pub fn geometry(&self) -> Option<Geometry> {
        self.opened.map(|opened| opened.geometry)
    }

    /// Offset of the control page in the open stream's buffer; `None` without one.
    #[must_use]
    pub fn control_offset(&self) -> Option<u32> {
        let geometry = self.geometry().filter(|_| self.phase == Phase::Open && self.control_bytes > 0)?;
        Some(geometry.ring_bytes())
    }

    /// Bytes of the opened buffer that are not part of the ring.
    #[must_use]
    pub const fn control_bytes(&self) -> u32 {
        self.control_bytes
    }

    /// Counts of the stream's activity.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// The violation that broke the stream.
    #[must_use]
    pub const fn violation(&self) -> Option<Violation> {
        self.broken
    }

    /// Number of requests whose answer was not taken yet.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.ring.in_flight()
    }

    /// Number of them whose answer comes when it can, and not because of what else is asked: READs that were laid out.
    #[must_use]
    pub const fn laid_out(&self) -> u32 {
        self.laid_out
    }

    /// Number of requests in flight whose answer is on its way.
    #[must_use]
    pub fn awaited(&self) -> u32 {
        self.in_flight().saturating_sub(self.laid_out)
    }

    /// Bytes that were asked for before they were captured.
    #[must_use]
    pub fn ahead_bytes(&self) -> u32 {
        self.opened.map_or(0, |opened| opened.cursor.ahead())
    }

    /// Bytes of READs that were laid out which are not answered, though an event has told that they could be: the backend found them
    /// late. Somebody who waits for them [hurries](Self::hurry) and [arms](Self::arm).
    #[must_use]
    pub fn overdue_bytes(&self) -> u32 {
        if self.laid_out == 0 { 0 } else { self.opened.map_or(0, |opened| opened.cursor.overdue()) }
    }

    /// Bytes played or captured since OPEN: never rewinds, does not contain the roundings at STOP.
    #[must_use]
    pub fn position_bytes(&self) -> u64 {
        self.opened.map_or(0, |opened| opened.cursor.total())
    }

    /// Bytes played or captured since OPEN or the last STOP. Modulo the ring size, this is the place in the ring.
    #[must_use]
    pub fn run_position_bytes(&self) -> u64 {
        self.opened.map_or(0, |opened| opened.cursor.device())
    }

    /// Bytes written (or, capturing, asked for with READ) since OPEN or the last STOP.
    #[must_use]
    pub fn run_submitted_bytes(&self) -> u64 {
        self.opened.map_or(0, |opened| opened.cursor.ours())
    }

    /// Bytes written and not played yet, or captured and not read yet; at most the ring size.
    #[must_use]
    pub fn filled_bytes(&self) -> u32 {
        self.opened.map_or(0, |opened| opened.cursor.filled())
    }

    /// Bytes that can be written, or read, now.
    #[must_use]
    pub fn available_bytes(&self) -> u32 {
        self.opened.map_or(0, |opened| opened.cursor.available())
    }

    /// The range of the next WRITE or READ: at most `max_bytes`, whole frames, in one piece (a wrap splits it); `None`
    /// when there is no room or nothing to read.
    #[must_use]
    pub fn next_span(&self, max_bytes: u32) -> Option<Span> {
        self.opened.and_then(|opened| opened.cursor.next_span(max_bytes))
    }

    /// The next READ, of at most `max_bytes`: of what was captured, or where the backend takes that, of what comes next. `None` when
    /// there is nothing to read and enough laid out.
    #[must_use]
    pub fn next_read(&self, max_bytes: u32) -> Option<Operation> {
        let cursor = self.opened?.cursor;
        if !self.reads_ahead || !cursor.may_lay_out() {
            return self.next_span(max_bytes).map(Operation::Read);
        }
        let (span, until_bytes) = cursor.next_ahead(max_bytes).filter(|_| self.laid_out < LAID_OUT_MAX)?;
        Some(Operation::ReadAhead { span, until_bytes })
    }

    /// Says that nothing follows what was written: running dry is the end then and no xrun.
    pub fn set_draining(&mut self, draining: bool) {
        if let Some(opened) = &mut self.opened {
            opened.draining = draining;
        }
    }

    /// Puts an operation into the ring; the backend sees it after [`publish`](Self::publish).
    ///
    /// # Errors
    /// As [`submit_tagged`](Self::submit_tagged).
    pub fn submit(&mut self, operation: Operation) -> Result<RequestId, SubmitError> {
        self.submit_tagged(operation, 0)
    }

    /// Puts an operation into the ring; `tag` comes back with its completion.
    ///
    /// # Errors
    /// [`SubmitError`]; nothing has changed then.
    pub fn submit_tagged(&mut self, operation: Operation, tag: u64) -> Result<RequestId, SubmitError> {
        if let Some(violation) = self.broken {
            return Err(SubmitError::Broken(violation));
        }
        self.check(&operation)?;
        let id = self.flight.begin(operation, tag).ok_or(SubmitError::Full)?;
        let request = Request { id: id.0, operation };
        if self.ring.put(&request.emit()).is_err() {
            self.flight.abandon(id);
            return Err(SubmitError::Full);
        }
        self.counters.requests = self.counters.requests.saturating_add(1);
        self.urgent |= match operation {
            Operation::Read(_) | Operation::Write(_) => false,
            // A READ of bytes that are still to be captured is found in time.
            Operation::ReadAhead { until_bytes, .. } => {
                self.opened.is_none_or(|opened| opened.cursor.is_captured(until_bytes))
            }
            _ => true,
        };
        self.note(&operation);
        Ok(id)
    }

    /// Shows the submitted requests to the backend; `true` when it has to be notified. A backend that was told
    /// `write-hold-off` may ask not to be notified of the next WRITEs, and one that has READs laid out of further ones; of all else
    /// it is.
    #[must_use = "the backend sleeps until it is notified"]
    pub fn publish(&mut self) -> bool {
        self.untold |= self.ring.has_unpublished();
        let notify = self.ring.publish() || self.urgent;
        self.urgent = false;
        self.untold &= !notify;
        notify
    }

    /// Somebody begins to wait for answers: `true` when the backend has to be notified of what it has only been shown.
    #[must_use = "the backend sleeps until it is notified"]
    pub const fn hurry(&mut self) -> bool {
        core::mem::replace(&mut self.untold, false)
    }

    /// Asks for a notification once `responses` more have come (at least 1, at most what is in flight); `true` when
    /// there is something to take already.
    #[must_use = "a response that came before raises no notification"]
    pub fn arm(&mut self, responses: u32) -> bool {
        self.ring.arm(responses.min(self.ring.in_flight()))
    }

    /// Takes the next answer; `None` when there is none. At most 32 follow one another.
    ///
    /// # Errors
    /// [`Violation`], from then on always the same.
    pub fn next_completion(&mut self) -> Result<Option<Completion>, Violation> {
        if let Some(violation) = self.broken {
            return Err(violation);
        }
        let packet = match self.ring.take() {
            Ok(Some(packet)) => packet,
            Ok(None) => return Ok(None),
            Err(violation) => return Err(self.break_off(Violation::Ring(violation))),
        };
        let completion = Response::parse(&packet)
            .map_err(|bad| Violation::BadOperation(bad.opcode))
            .and_then(|response| self.flight.complete(&response));
        match completion {
            Ok(completion) => {
                self.patience.progress();
                self.counters.responses = self.counters.responses.saturating_add(1);
                if completion.result.is_err() && !self.ends(&completion.operation) {
                    self.counters.errors = self.counters.errors.saturating_add(1);
                }
                self.settle(&completion)?;
                Ok(Some(completion))
            }
            Err(violation) => Err(self.break_off(violation)),
        }
    }

    /// Takes the events that are there, at most a page of them, moves the position, and gives their slots back.
    ///
    /// # Errors
    /// [`Violation`], from then on always the same.
    pub fn take_events(&mut self) -> Result<Progress, Violation> {
        let progress = self.look_at_events();
        if progress.is_ok() && core::mem::take(&mut self.unconfirmed) {
            self.events.confirm();
        }
        progress
    }

    /// Works as [`take_events`](Self::take_events), but the slots are kept: the backend counts these events as unread, and
    /// notifies when it has as many as [`hold_off_events`](Self::hold_off_events) said.
    ///
    /// # Errors
    /// As [`take_events`](Self::take_events).
    pub fn look_at_events(&mut self) -> Result<Progress, Violation> {
        if let Some(violation) = self.broken {
            return Err(violation);
        }
        let mut progress = Progress::default();
        while progress.events < EVENT_SLOTS {
            match self.events.take() {
                Ok(Some(packet)) => {
                    if !self.event(&packet, &mut progress) && self.patience.disbelief() {
                        return Err(self.break_off(Violation::Disbelieved));
                    }
                }
                Ok(None) => break,
                Err(violation) => return Err(self.break_off(Violation::Events(violation))),
            }
        }
        progress.more = progress.events == EVENT_SLOTS;
        self.unconfirmed |= progress.events > 0;
        Ok(progress)
    }

    /// Has the backend notify only from `events` unread ones on; with 0 or 1 of each. Works with a backend that knows the
    /// stream's node `event-hold-off`. `true` when events came meanwhile, of which the backend may not notify.
    #[must_use = "events that came before raise no notification"]
    pub fn hold_off_events(&mut self, events: u32) -> bool {
        let before = core::mem::replace(&mut self.events_awaited, events);
        before != events && self.events.hold_off(events)
    }

    /// The backend has notified us: to be called before completions and events are taken, which show whether it had a
    /// reason.
    ///
    /// # Errors
    /// [`Violation::EmptyWakeups`] when it had none too often in a row; the one that broke the stream before.
    pub fn woken(&mut self) -> Result<(), Violation> {
        match self.broken {
            Some(violation) => Err(violation),
            None if self.patience.woken() => Err(self.break_off(Violation::EmptyWakeups)),
            None => Ok(()),
        }
    }

    fn break_off(&mut self, violation: Violation) -> Violation {
        *self.broken.get_or_insert(violation)
    }

    /// Judges an event and moves the position. Returns whether it was believed.
    fn event(&mut self, packet: &[u8; PACKET_BYTES], progress: &mut Progress) -> bool {
        let counters = &mut self.counters;
        progress.events = progress.events.saturating_add(1);
        counters.events = counters.events.saturating_add(1);
        let [low, high, ..] = *packet;
        let id = u16::from_le_bytes([low, high]);
        if id != self.next_event_id {
            counters.event_id_gaps = counters.event_id_gaps.saturating_add(1);
        }
        self.next_event_id = id.wrapping_add(1);
        let Ok(event) = Event::parse(packet) else {
            counters.unknown_events = counters.unknown_events.saturating_add(1);
            return false;
        };
        // An event can be seen before the answer to OPEN that preceded it, but not before OPEN was sent.
        let opened = match self.phase {
            Phase::Opening | Phase::Open => self.opened.as_mut(),
            Phase::Closed | Phase::Closing => None,
        };
        let Some(opened) = opened else {
            counters.ignored_closed = counters.ignored_closed.saturating_add(1);
            return false;
        };
        match opened.cursor.report(event.position_bytes) {
            Ok(moved) => {
                progress.moved_bytes = progress.moved_bytes.saturating_add(moved.bytes);
                progress.lost_bytes = progress.lost_bytes.saturating_add(moved.lost_bytes);
                let dry = self.direction == Direction::Playback
                    && opened.cursor.filled() == 0
                    && opened.running
                    && !core::mem::replace(&mut opened.dry, true)
                    && !opened.draining;
                if dry || moved.lost_bytes > 0 {
                    counters.xruns = counters.xruns.saturating_add(1);
                    progress.xrun = true;
                }
                let reason = if moved.bytes > 0 {
                    self.patience.progress();
                    true
                } else {
                    self.patience.stands_still()
                };
                progress.believed = progress.believed.saturating_add(reason.into());
                return true;
            }
            Err(Disbelief::Rewinds) => counters.ignored_rewinds = counters.ignored_rewinds.saturating_add(1),
            Err(Disbelief::Beyond) => counters.ignored_beyond = counters.ignored_beyond.saturating_add(1),
        }
        false
    }

    fn check(&self, operation: &Operation) -> Result<(), SubmitError> {
        let open = || self.opened.filter(|_| self.phase == Phase::Open).ok_or(SubmitError::NotOpen);
        let within = |span: &Span, size: Option<u32>| match (span.offset.checked_add(span.length), size) {
            (Some(end), Some(size)) if end <= size => Ok(()),
            _ => Err(SubmitError::OutOfRange),
        };
        match operation {
            Operation::QueryHwParams(_) => Ok(()),
            Operation::Open(_) if self.phase != Phase::Closed => Err(SubmitError::AlreadyOpen),
            Operation::Open(open) => {
                Geometry::of_open(open, self.control_bytes).map(|_| ()).ok_or(SubmitError::BadSizes)
            }
            // Closing what is not open does no harm, and gets a backend of unknown state to a known one.
            Operation::Close => match self.phase {
                Phase::Open | Phase::Closed => Ok(()),
                Phase::Opening | Phase::Closing => Err(SubmitError::NotOpen),
            },
            Operation::Read(_) | Operation::ReadAhead { .. } if self.direction == Direction::Playback => {
                Err(SubmitError::WrongDirection)
            }
            Operation::Write(_) if self.direction == Direction::Capture => Err(SubmitError::WrongDirection),
            Operation::Read(span) | Operation::Write(span) | Operation::ReadAhead { span, .. } => {
                let opened = open()?;
                within(span, Some(opened.geometry.ring_bytes()))?;
                if opened.stopping { Err(SubmitError::Stopping) } else { Ok(()) }
            }
            Operation::SetVolume(span)
            | Operation::GetVolume(span)
            | Operation::Mute(span)
            | Operation::Unmute(span) => within(span, open()?.geometry.ring_bytes().checked_add(self.control_bytes)),
            Operation::Trigger(trigger) => {
                if open()?.stopping {
                    Err(SubmitError::Stopping)
                } else if *trigger == Trigger::Pause && !self.can_pause {
                    Err(SubmitError::CannotPause)
                } else {
                    Ok(())
                }
            }
        }
    }

    /// Takes note of a request that is in the ring now.
    fn note(&mut self, operation: &Operation) {
        match operation {
            Operation::Open(open) => self.note_open(open),
            Operation::Close => self.phase = Phase::Closing,
            Operation::Read(span) | Operation::Write(span) => {
                if let Some(opened) = &mut self.opened {
                    opened.cursor.submitted(*span);
                    opened.dry = false;
                    opened.draining = false;
                }
            }
            Operation::ReadAhead { span, .. } => {
                self.laid_out = self.laid_out.saturating_add(1);
                if let Some(opened) = &mut self.opened {
                    opened.cursor.laid_out(*span);
                }
            }
            Operation::Trigger(trigger) => {
                if let Some(opened) = &mut self.opened {
                    opened.running_before = opened.running;
                    opened.running = matches!(trigger, Trigger::Start | Trigger::Resume);
                    if *trigger == Trigger::Stop {
                        opened.stopping = true;
                        opened.cursor.stop();
                    }
                }
            }
            _ => {}
        }
    }

    fn note_open(&mut self, open: &OpenParams) {
        // Events of the stream's former life were written before its CLOSE was answered. A violation is latched and
        // found by the next call.
        let _ = self.take_events();
        self.phase = Phase::Opening;
        self.opened = Geometry::of_open(open, self.control_bytes).map(|geometry| Opened {
            geometry,
            cursor: Cursor::new(self.direction, &geometry),
            running: false,
            running_before: false,
            stopping: false,
            draining: false,
            dry: false,
        });
    }

    /// Returns true if `operation` is a READ that ends with its run, whose STOP or CLOSE is not answered yet.
    fn ends(&self, operation: &Operation) -> bool {
        let ending = self.phase == Phase::Closing || self.opened.is_some_and(|opened| opened.stopping);
        ending && matches!(operation, Operation::ReadAhead { .. })
    }

    /// Makes the changes that follow from an answer.
    fn settle(&mut self, completion: &Completion) -> Result<(), Violation> {
        if let Operation::ReadAhead { span, .. } = completion.operation {
            self.laid_out = self.laid_out.saturating_sub(1);
            // Not just the end of its run: the node was another backend's, who served the card before.
            self.reads_ahead &= completion.result.err().is_none_or(|errno| errno == Errno::EIO);
            if let Some(opened) = &mut self.opened {
                opened.cursor.laid_out_answered(span);
            }
        }
        match (completion.operation, completion.result) {
            (Operation::Open(_), Ok(())) => self.phase = Phase::Open,
            // A CLOSE that fails leaves nothing that could be closed: the stream is given up all the same.
            (Operation::Open(_), Err(_)) | (Operation::Close, _) => {
                self.phase = Phase::Closed;
                self.opened = None;
            }
            (Operation::Trigger(Trigger::Stop), _) => {
                // The last position of the run was written before the answer.
                self.take_events()?;
                if let Some(opened) = &mut self.opened {
                    opened.stopping = false;
                    opened.cursor.stopped();
                    opened.dry = false;
                }
            }
            // The backend plays on.
            (Operation::Trigger(Trigger::Pause), Err(_)) => {
                self.can_pause = false;
                if let Some(opened) = &mut self.opened {
                    opened.running |= opened.running_before;
                }
            }
            (Operation::Trigger(_), Err(_)) => {
                if let Some(opened) = &mut self.opened {
                    opened.running = false;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Asks what is possible within `params`; also while closed.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn query(&mut self, params: HwParams) -> Result<RequestId, SubmitError> {
        self.submit(Operation::QueryHwParams(params))
    }
}

#[cfg(test)]
mod tests;
