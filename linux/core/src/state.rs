// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! State that a stream's lock protects: its transport, its buffer, and where the present run stands. Nothing here
//! waits.

use frontend::{Completion, Geometry, Mixer, RequestId, Stream};
use sndif::store::{Direction, node};
use sndif::text::Sink;
use sndif::v2::{Operation, RING_SLOTS, Trigger};

use crate::buffer::Buffer;
use crate::guarded::{News, Requests};
use crate::layout::StreamInfo;
use crate::pcm::StreamState;
use crate::show::{Snapshot, show};
use crate::{Channel, Error, Platform, Signal, SpaceCache, Stop};

mod run;
mod unattended;

use run::{Phase, Run};

/// Pages of events taken in one call at most; a backend that writes faster than we read does not hold us up.
const EVENT_PAGES: u32 = 4;

/// Slots of the ring that WRITE and READ may fill; the rest is for what starts, stops and sets.
const DATA_SLOTS: u32 = RING_SLOTS - 4;

/// Periods by which a ring that nobody tells of is handed over ahead of the device.
const FREE_PERIODS: u64 = 4;

/// Transport of a stream in one connection.
pub struct Transport<P: Platform> {
    // Fields are dropped in this order: nothing wakes us any more when the pages go.
    pub(crate) ring: P::Channel,
    pub(crate) events: P::Channel,
    pub(crate) stream: P::Boxed<Stream<P::Pages>>,
    /// References of the ring page and the event page.
    pub(crate) refs: [u32; 2],
    pub(crate) backend: u16,
}

impl<P: Platform> Transport<P> {
    /// The nodes that tell the backend of it.
    pub(crate) fn nodes(&self) -> [(&'static str, u32); 6] {
        let [ring, events] = self.refs;
        [
            (node::RING_REF, ring),
            (node::EVENT_CHANNEL, self.ring.port()),
            (node::EVT_RING_REF, events),
            (node::EVT_EVENT_CHANNEL, self.events.port()),
            (node::WRITE_HOLD_OFF, 1),
            (node::EVENT_HOLD_OFF, 1),
        ]
    }
}

/// A stream's state.
pub struct State<P: Platform> {
    direction: Direction,
    pub(crate) transport: Option<Transport<P>>,
    /// The backend is Connected: requests can be sent.
    pub(crate) connected: bool,
    /// The card was taken away: no connection follows.
    pub(crate) removed: bool,
    /// From `hw_params` to `hw_free`.
    pub(crate) buffer: Option<Buffer<P>>,
    pub(crate) cache: P::Boxed<SpaceCache>,
    pub(crate) mixer: P::Boxed<Mixer>,
    run: Run,
    /// The OPEN by which a new connection takes the run up; until it is answered, nothing of the run is sent.
    reopening: Option<RequestId>,
    /// The request that somebody waits for.
    awaited: Option<RequestId>,
    answer: Option<Completion>,
    /// The PAUSE whose answer ALSA waits for, and how that went.
    pausing: Option<RequestId>,
    paused: Option<Result<(), sndif::Errno>>,
    /// The backend has told its volume, and ALSA was not told that it is another.
    volume_learnt: bool,
    /// Notifications sent to the backend.
    pub(crate) notifications: u64,
    /// The application sleeps by a clock of its own, and wants no wake-ups.
    pub(crate) unattended: bool,
    /// Events were taken since the backend notified of any.
    looked: bool,
    /// Time at which the backend notified of events last.
    notified_ns: u64,
    /// ALSA was told that the backend has broken the protocol.
    broken_told: bool,
}

impl<P: Platform> State<P> {
    pub(crate) fn new(direction: Direction, cache: P::Boxed<SpaceCache>, mixer: P::Boxed<Mixer>) -> Self {
        Self {
            direction,
            transport: None,
            connected: false,
            removed: false,
            buffer: None,
            cache,
            mixer,
            run: Run::default(),
            reopening: None,
            awaited: None,
            answer: None,
            pausing: None,
            paused: None,
            volume_learnt: false,
            notifications: 0,
            unattended: false,
            looked: false,
            notified_ns: 0,
            broken_told: false,
        }
    }

    // --- connection -----------------------------------------------------------------------------------------

    /// The stream of a connection that lasts.
    pub(crate) fn stream(&mut self) -> Result<&mut Stream<P::Pages>, Error> {
        match &mut self.transport {
            Some(transport) if self.connected => Ok(&mut transport.stream),
            _ => Err(Error::Lost),
        }
    }

    fn reopen(&mut self) -> Result<(), Error> {
        let open = self.open(self.run.origin)?;
        self.reopening = Some(self.stream()?.submit(open)?);
        self.publish();
        // The answer raises a notification, unless it is there by now.
        self.unanswered().map(drop)
    }

    /// The OPEN was answered: the backend is told of the run what the last one was told.
    fn take_up(&mut self, opened: Result<(), sndif::Errno>) -> Result<(), Error> {
        if opened.is_err() {
            self.give_up();
            return Ok(());
        }
        self.mixer.replay();
        self.tell_mixer();
        if self.run.phase == Phase::Stopped {
            return Ok(());
        }
        self.push(true)?;
        if self.run.phase == Phase::Running {
            self.send(Trigger::Start)?;
        }
        let draining = self.run.draining;
        self.stream()?.set_draining(draining);
        self.publish();
        Ok(())
    }

    /// The run ends, as with an xrun.
    fn give_up(&mut self) {
        self.reopening = None;
        self.run.stale = true;
        self.run.stop.get_or_insert(Stop::Xrun);
    }

    /// The OPEN of a run that begins at `start` bytes.
    pub(crate) fn open(&mut self, start: u64) -> Result<Operation, Error> {
        let transport = self.transport.as_ref().ok_or(Error::Lost)?;
        let control_bytes = transport.stream.control_bytes();
        self.buffer.as_mut().ok_or(Error::Invalid)?.open(transport.backend, start, control_bytes, self.run.free)
    }

    /// Returns true if the backend has the run.
    fn has_run(&self) -> bool {
        self.connected && self.reopening.is_none()
    }

    /// Returns true if the backend has something else open than the buffer: a stand-in, which is good for the run that
    /// was taken up with it and no other; or a buffer of before, when `hw_free` did not get as far as CLOSE.
    pub(crate) fn has_other_open(&mut self) -> bool {
        let other = !self.buffer.as_ref().is_some_and(|buffer| buffer.told && !buffer.has_stand_in());
        other && self.stream().is_ok_and(|stream| stream.is_open())
    }

    /// Tells the backend what it has to know of volume and mute, and asks it for what nobody has set.
    pub(crate) fn tell_mixer(&mut self) {
        let (Some(transport), Some(buffer)) = (&mut self.transport, &self.buffer) else { return };
        if self.connected {
            // A setting that finds no room is told with the next one.
            let _ = self.mixer.flush(&mut *transport.stream, buffer.shared());
            let _ = self.mixer.ask(&mut *transport.stream);
            self.publish();
        }
    }

    // --- requests -------------------------------------------------------------------------------------------

    pub(crate) fn publish(&mut self) {
        self.notify_if(|stream| stream.publish());
    }

    fn notify_if(&mut self, wanted: impl FnOnce(&mut Stream<P::Pages>) -> bool) {
        if let Some(transport) = &mut self.transport
            && wanted(&mut transport.stream)
        {
            transport.ring.notify();
            self.notifications = self.notifications.saturating_add(1);
        }
    }

    /// Takes the answers that are there; returns whether there were any.
    pub(crate) fn collect_answers(&mut self) -> Result<bool, Error> {
        let mut any = false;
        while let Some(completion) = self.stream()?.next_completion()? {
            any = true;
            self.mixer.completed(&completion);
            if let Some(buffer) = &self.buffer {
                self.volume_learnt |= self.mixer.learn(&completion, buffer.shared());
            }
            if self.reopening == Some(completion.id) {
                self.reopening = None;
                self.take_up(completion.result)?;
                continue;
            }
            if self.awaited == Some(completion.id) {
                self.answer = Some(completion);
                continue;
            }
            if self.pausing == Some(completion.id) {
                self.paused = Some(completion.result);
                continue;
            }
            match (completion.operation, completion.result) {
                // The backend's device was overrun: it goes on after STOP and START.
                (Operation::Read(_) | Operation::ReadAhead { .. }, Err(_))
                    if self.run.started && self.run.captured > 0 =>
                {
                    self.run.stop.get_or_insert(Stop::Xrun);
                }
                (Operation::Read(span) | Operation::ReadAhead { span, .. }, Ok(())) => {
                    if let Some(buffer) = &self.buffer {
                        buffer.take_over(span);
                    }
                    self.run.captured = self.run.captured.saturating_add(u64::from(span.length));
                }
                (Operation::Write(span), Ok(())) => {
                    self.run.taken = self.run.taken.saturating_add(u64::from(span.length));
                }
                // A stream that is stopped needs no START or WRITE any more.
                (
                    Operation::Read(_)
                    | Operation::ReadAhead { .. }
                    | Operation::Write(_)
                    | Operation::Trigger(Trigger::Start | Trigger::Resume),
                    Err(errno),
                ) if self.run.started => {
                    self.run.stop.get_or_insert(Stop::Failed(Error::Refused(errno)));
                }
                _ => {}
            }
        }
        Ok(any)
    }

    // --- a run ----------------------------------------------------------------------------------------------

    /// Returns true if nothing was sent since OPEN or STOP, so that a run can begin.
    pub(crate) fn is_fresh(&self) -> bool {
        let Some(transport) = &self.transport else { return false };
        let stream = &transport.stream;
        !self.run.started && stream.run_submitted_bytes() == 0 && stream.run_position_bytes() == 0
    }

    /// Returns true if the backend has to be told CLOSE and OPEN before the next run, as nobody knows from where it
    /// would count.
    pub(crate) fn has_lost_count(&mut self) -> bool {
        self.stream().is_ok_and(|stream| stream.is_open() && !stream.is_origin_known())
    }

    /// Returns true if the backend can pause, as far as is known.
    pub(crate) fn can_pause(&mut self) -> bool {
        self.stream().is_ok_and(|stream| stream.can_pause())
    }

    /// Returns true if the backend takes READs of what is still to be captured.
    pub(crate) fn reads_ahead(&mut self) -> bool {
        self.stream().is_ok_and(|stream| stream.reads_ahead())
    }

    /// Forgets the run.
    pub(crate) fn rewind(&mut self) {
        self.run = Run::default();
    }

    /// Begins a run: everything counts from 0.
    pub(crate) fn prepared(&mut self) {
        self.run = Run { phase: Phase::Prepared, ..Run::default() };
    }

    /// Begins to pause; whether it has happened is what [`pause_answer`](Self::pause_answer) says.
    pub(crate) fn pause(&mut self) -> Result<(), Error> {
        (self.pausing, self.paused) = (None, None);
        if self.run.stale {
            return Err(Error::Stale);
        }
        if self.has_run() {
            self.push(true)?;
            let sent = self.stream()?.submit(Operation::Trigger(Trigger::Pause));
            self.publish();
            self.pausing = Some(sent?);
        }
        Ok(())
    }

    /// Returns `Some` once the stream is paused, `None` while that is not known. Without a backend the pause is noted
    /// for the next.
    pub(crate) fn pause_answer(&mut self) -> Result<Option<()>, Error> {
        while self.pausing.is_some() && self.connected && self.paused.is_none() {
            self.collect_answers()?;
            if self.paused.is_none() && !self.stream()?.arm(1) {
                return Ok(None);
            }
        }
        self.pausing = None;
        if let Some(Err(errno)) = self.paused.take() {
            return Err(Error::Refused(errno));
        }
        self.run.phase = Phase::Paused;
        self.run.estimate.stop(self.estimated());
        Ok(Some(()))
    }

    /// START, STOP or RESUME; PAUSE has an answer to wait for. Without a backend it is noted for the next.
    pub(crate) fn trigger(&mut self, trigger: Trigger) -> Result<(), Error> {
        let phase = match trigger {
            Trigger::Start | Trigger::Resume => Phase::Running,
            Trigger::Pause => return self.pause(),
            Trigger::Stop => Phase::Stopped,
        };
        if phase == Phase::Stopped {
            self.run.phase = phase;
        }
        // ALSA takes back a PAUSE that was refused, though nothing has paused; such a backend would refuse that as well.
        let unanswered = self.pausing.take().is_some();
        if trigger == Trigger::Resume && self.run.phase == Phase::Running && !unanswered {
            return Ok(());
        }
        if self.run.stale {
            // A run that is gone is stopped.
            return if phase == Phase::Stopped { Ok(()) } else { Err(Error::Stale) };
        }
        if self.has_run() {
            if phase != Phase::Stopped {
                self.push(true)?;
            }
            // Frames that a free run has handed over are heard first: a thread that closes or prepares the stream waits for
            // that.
            if phase == Phase::Stopped && self.run.free {
                return Ok(());
            }
            // A backend that took a paused run up was not told START.
            let resumed = trigger == Trigger::Resume && !self.run.started;
            self.send(if resumed { Trigger::Start } else { trigger })?;
        }
        self.run.phase = phase;
        Ok(())
    }

    /// Time that a free run goes on after it was stopped, until the frames that were handed over are heard; `None` if
    /// there are none.
    pub(crate) fn free_tail_ms(&self) -> Option<u32> {
        let geometry = &self.buffer.as_ref()?.geometry;
        let left = self.handed_over().saturating_sub(self.device_position());
        if !self.run.free || !self.run.started || left == 0 {
            return None;
        }
        let ms = left.saturating_mul(1000).checked_div(geometry.bytes_per_second())?;
        u32::try_from(ms).ok()
    }

    /// Returns `Some` once all frames that were handed over are heard, or the backend is gone.
    pub(crate) fn free_tail_heard(&mut self) -> Result<Option<()>, Error> {
        Ok((!self.connected || self.device_position() >= self.handed_over()).then_some(()))
    }

    /// Before START: a ring into which nothing was written is one whose writers do not tell (ALSA lets no other start), as with
    /// ALSA's `dmix`. The backend is given copies of it, so that a part that was handed over is free. Returns whether CLOSE was
    /// sent for that.
    pub(crate) fn begin_free_run(&mut self) -> Result<bool, Error> {
        if self.direction == Direction::Capture || self.run.accepted.bytes > 0 || self.run.stale {
            return Ok(false);
        }
        self.run.free = true;
        if !self.has_run() {
            return Ok(false);
        }
        self.stream()?.submit(Operation::Close)?;
        self.publish();
        Ok(true)
    }

    /// Returns `Some` once the CLOSE is answered; then the stream is opened with a buffer of copies, and started.
    pub(crate) fn start_free_run(&mut self) -> Result<Option<()>, Error> {
        while self.connected {
            self.collect_answers()?;
            let stream = self.stream()?;
            if stream.geometry().is_none() {
                break;
            }
            if !stream.arm(1) {
                return Ok(None);
            }
        }
        self.run.phase = Phase::Running;
        // Without a backend it is noted for the next.
        if self.connected { self.reopen().map(Some) } else { Ok(Some(())) }
    }

    /// Up to where a ring that nobody tells of is handed over: whole periods, some of them ahead of the device.
    fn free_frontier(&self) -> u64 {
        let Some(buffer) = &self.buffer else { return 0 };
        let [period, ring] = [buffer.geometry.period_bytes(), buffer.geometry.ring_bytes()].map(u64::from);
        let ahead = (ring / 2).min(period.saturating_mul(FREE_PERIODS)).max(period);
        let frontier = self.device_position().saturating_add(ahead);
        frontier.saturating_sub(frontier.checked_rem(period).unwrap_or(0))
    }

    fn send(&mut self, trigger: Trigger) -> Result<(), Error> {
        let sent = self.stream()?.submit(Operation::Trigger(trigger));
        // The READs of the first periods are there when these are captured.
        let laid_out = match (self.direction, trigger) {
            (Direction::Capture, Trigger::Start) if sent.is_ok() => self.pull(),
            _ => Ok(()),
        };
        self.publish();
        sent?;
        laid_out?;
        self.run.started = trigger != Trigger::Stop;
        match trigger {
            // The estimate goes on where it was paused, which the backend may not have told.
            Trigger::Start | Trigger::Resume => self.run.estimate.start(self.estimated(), P::Signal::now_ns()),
            Trigger::Stop | Trigger::Pause => self.run.estimate.stop(self.estimated()),
        }
        self.attend_events()
    }

    /// Submits WRITEs for what the application has written. Unless `all` is wanted, little of a period waits for the next
    /// event, as long as the backend has enough: one request then tells of many small writes. The room that an event
    /// makes is a period give or take some frames, and what is written into it does not wait.
    fn push(&mut self, mut all: bool) -> Result<(), Error> {
        if self.direction == Direction::Capture {
            return Ok(());
        }
        loop {
            let goal = match self.run.phase {
                _ if !self.run.free => self.run.accepted.bytes,
                Phase::Stopped => return Ok(()),
                _ => self.free_frontier(),
            };
            let (accepted, started) = (goal.saturating_sub(self.run.origin), self.run.started);
            let stream = self.stream()?;
            let pending = accepted.saturating_sub(stream.run_submitted_bytes());
            let Some(geometry) = stream.geometry() else { return Err(Error::Stale) };
            let period = geometry.period_bytes();
            let enough = stream.filled_bytes() / 2 >= period;
            if pending == 0 || (!all && started && enough && pending < u64::from(period.saturating_sub(period / 4))) {
                return Ok(());
            }
            // A part that goes on at the ring's beginning belongs to it.
            all = true;
            if !self.has_room()? {
                return Ok(());
            }
            let pending = u32::try_from(pending).unwrap_or(u32::MAX);
            let Some(span) = self.stream()?.next_span(pending) else { return Ok(()) };
            if let Some(buffer) = &self.buffer {
                buffer.hand_over(span);
            }
            self.stream()?.submit(Operation::Write(span))?;
        }
    }

    /// Submits READs for what was captured, and for what comes next.
    fn pull(&mut self) -> Result<(), Error> {
        while self.has_room()? {
            let stream = self.stream()?;
            let Some(read) = stream.next_read(u32::MAX) else { return Ok(()) };
            stream.submit(read)?;
        }
        Ok(())
    }

    fn has_room(&mut self) -> Result<bool, Error> {
        if self.stream()?.in_flight() >= DATA_SLOTS {
            self.collect_answers()?;
        }
        Ok(self.stream()?.in_flight() < DATA_SLOTS)
    }

    /// Takes the events that are there, of which the backend has just notified us or not; returns whether any was believed.
    fn take_events(&mut self, notified: bool) -> Result<bool, Error> {
        let keeps_slots = !notified && self.keeps_slots();
        let mut any = false;
        for _ in 0..EVENT_PAGES {
            let stream = self.stream()?;
            let progress = if keeps_slots { stream.look_at_events()? } else { stream.take_events()? };
            any |= progress.believed > 0;
            // The application's place in the ring is the device's.
            self.run.captured = self.run.captured.saturating_add(progress.lost_bytes);
            if !progress.more {
                break;
            }
        }
        if any && let Some(geometry) = self.buffer_geometry() {
            let position = self.device_position();
            let now_ns = P::Signal::now_ns();
            if notified {
                self.run.estimate.tell(position, now_ns, &geometry);
            } else {
                self.run.estimate.find(position, now_ns, &geometry);
            }
            if self.unattended && self.has_run_dry() {
                self.run.estimate.stand();
            }
        }
        Ok(any)
    }

    /// The backend has notified us: takes in answers and events, and sends what follows from them. Returns whether there
    /// was a reason to notify.
    pub(crate) fn events(&mut self) -> Result<bool, Error> {
        self.stream()?.woken()?;
        let mut any = self.collect_answers()?;
        any |= self.take_events(true)?;
        any |= core::mem::take(&mut self.looked);
        self.notified_ns = P::Signal::now_ns();
        if self.run.started {
            match self.direction {
                Direction::Playback => self.push(true)?,
                Direction::Capture => self.pull()?,
            }
            if self.run.draining {
                self.stream()?.set_draining(true);
            }
            self.publish();
            if self.direction == Direction::Capture {
                self.await_reads()?;
            }
            self.attend_events()?;
        }
        Ok(any)
    }

    /// Asks for a notification when all READs of what was captured are answered: it is the application's then, and not a
    /// period later, when the next event comes. READs that were laid out are answered by then, unless the backend found them late.
    fn await_reads(&mut self) -> Result<(), Error> {
        loop {
            if self.stream()?.overdue_bytes() > 0 {
                self.notify_if(Stream::hurry);
            }
            let stream = self.stream()?;
            let overdue = stream.overdue_bytes() > 0;
            let answers = if overdue { 1 } else { stream.awaited() };
            if answers == 0 || !stream.arm(answers) {
                return Ok(());
            }
            self.collect_answers()?;
        }
    }
}

impl<P: Platform> Requests for State<P> {
    /// The time that the stock driver gives a backend.
    const ANSWER_MS: u32 = 3000;
    type Operation = Operation;
    type Completion = Completion;

    fn is_connected(&self) -> Result<bool, Error> {
        if self.removed { Err(Error::Lost) } else { Ok(self.connected) }
    }

    fn begin(&mut self, operation: &Operation) -> Result<(), Error> {
        self.collect_answers()?;
        let id = self.stream()?.submit(*operation)?;
        (self.awaited, self.answer) = (Some(id), None);
        self.publish();
        Ok(())
    }

    fn answer(&mut self) -> Result<Option<Completion>, Error> {
        loop {
            self.collect_answers()?;
            if let Some(answer) = self.answer.take() {
                self.awaited = None;
                return Ok(Some(answer));
            }
            if self.awaited.is_none() {
                return Err(Error::Lost);
            }
            if !self.stream()?.arm(1) {
                return Ok(None);
            }
        }
    }

    fn unanswered(&mut self) -> Result<u32, Error> {
        self.notify_if(Stream::hurry);
        loop {
            self.collect_answers()?;
            let started = self.run.started;
            let stream = self.stream()?;
            // READs that were laid out for a run that goes on are answered in time, or with CLOSE.
            let unanswered = if started { stream.awaited() } else { stream.in_flight() };
            if unanswered == 0 || !stream.arm(1) {
                return Ok(unanswered);
            }
        }
    }

    fn buffer_geometry(&self) -> Option<Geometry> {
        self.buffer.as_ref().map(|buffer| buffer.geometry)
    }

    fn begin_telling(&mut self) -> bool {
        self.begin_showing()
    }

    fn end_telling(&mut self) {
        self.run.shown.end_telling();
    }
}

impl<P: Platform> StreamState<P> for State<P> {
    type Info = StreamInfo;
    type Transport = Transport<P>;
    type Buffer = Buffer<P>;
    type Snapshot = Snapshot;
    const CLOSE: Operation = Operation::Close;

    fn remove(&mut self) {
        self.removed = true;
    }

    fn take_transport(&mut self) -> Option<Transport<P>> {
        self.transport.take()
    }

    fn has_open_buffer(&mut self) -> bool {
        self.buffer.is_some() && self.stream().is_ok_and(|stream| stream.geometry().is_some())
    }

    fn take_buffer(&mut self) -> Option<Buffer<P>> {
        self.rewind();
        self.buffer.take()
    }

    fn ring(&self) -> Option<&P::Pages> {
        self.buffer.as_ref().map(Buffer::ring)
    }

    fn tail_ms(&self) -> Option<u32> {
        self.free_tail_ms()
    }

    fn tail_heard(&mut self) -> Result<Option<()>, Error> {
        self.free_tail_heard()
    }

    fn verdict(&mut self) -> (&mut Option<Stop>, &mut bool) {
        (&mut self.run.stop, &mut self.broken_told)
    }

    fn show(out: &mut dyn Sink, info: &StreamInfo, now: &Snapshot) {
        show(out, info, now);
    }

    fn lose(&mut self) {
        // A domain that is suspended does not take what its backend tells it at last.
        let _ = self.take_events(false);
        self.looked = false;
        self.run.origin = self.next_origin();
        self.run.started = false;
        self.run.taken = self.run.origin;
        self.run.estimate.stop(self.run.origin);
        self.connected = false;
        self.reopening = None;
        *self.cache = SpaceCache::default();
        (self.awaited, self.answer) = (None, None);
        if let Some(buffer) = &mut self.buffer {
            buffer.lose();
        }
    }

    fn connect(&mut self) {
        (self.connected, self.broken_told) = (true, false);
        let prepared = self.buffer.is_some() && self.run.phase != Phase::Stopped && !self.run.stale;
        if prepared && self.reopen().is_err() {
            self.give_up();
        }
    }

    fn drain(&mut self) -> Result<(), Error> {
        self.run.draining = true;
        if self.has_run() {
            self.push(true)?;
            // ALSA waits to be told of the end.
            self.attend_events()?;
            self.stream()?.set_draining(true);
            self.publish();
        }
        Ok(())
    }

    fn ack(&mut self, appl_frames: u64, boundary_frames: u64) -> Result<(), Error> {
        let Some(buffer) = &self.buffer else { return Err(Error::Stale) };
        if self.direction == Direction::Capture {
            return Ok(());
        }
        if self.run.stale && self.connected {
            return Err(Error::Stale);
        }
        self.run.accepted.advance(appl_frames, boundary_frames, &buffer.geometry);
        // Without a backend it waits in the buffer, as it would while nothing is played.
        if self.has_run() {
            // The next event may be far.
            self.push(self.unattended)?;
            self.publish();
            if self.unattended {
                self.attend_events()?;
            }
        }
        Ok(())
    }

    fn answers(&mut self) -> Result<bool, Error> {
        let woken = self.stream().and_then(|stream| Ok(stream.woken()?));
        let any = woken.and_then(|()| self.collect_answers());
        if any.is_err() && self.reopening.is_some() {
            self.give_up();
        }
        any
    }

    fn take_news(&mut self) -> News {
        News { stop: self.run.stop.take(), volume: core::mem::take(&mut self.volume_learnt) }
    }

    fn snapshot(&self) -> Snapshot {
        let stream = self.transport.as_ref().map(|transport| &transport.stream);
        Snapshot {
            connected: self.connected,
            phase: match self.run.phase {
                _ if self.buffer.is_none() => "closed",
                _ if self.run.stale => "to be prepared again",
                Phase::Stopped => "stopped",
                Phase::Prepared => "prepared",
                Phase::Running if self.run.draining => "draining",
                Phase::Running => "running",
                Phase::Paused => "paused",
            },
            geometry: stream.and_then(|stream| stream.geometry()),
            position_bytes: stream.map_or(0, |stream| stream.position_bytes()),
            filled_bytes: stream.map_or(0, |stream| stream.filled_bytes()),
            counters: stream.map(|stream| stream.counters()).unwrap_or_default(),
            notifications: self.notifications,
            violation: stream.and_then(|stream| stream.violation()),
        }
    }
}
