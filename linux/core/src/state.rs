// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! What a stream's lock protects: its transport, its buffer, and where the present run stands. Nothing here waits.

use frontend::{CONTROL_BYTES, Completion, Geometry, Mixer, RequestId, Stream};
use sndif::store::{Direction, node};
use sndif::v2::{Operation, RING_SLOTS, Trigger};
use sndif::{DirectoryWriter, pages_for};

use crate::show::Snapshot;
use crate::{Channel, Error, Pages, Platform, SpaceCache};

/// Pages of events taken in one call at most; a backend that writes faster than we read does not hold us up.
const EVENT_PAGES: u32 = 4;

/// Slots of the ring that WRITE and READ may fill; the rest is for what starts, stops and sets.
const DATA_SLOTS: u32 = RING_SLOTS - 4;

/// What one connection gives a stream.
pub(crate) struct Transport<P: Platform> {
    pub(crate) stream: P::Boxed<Stream<P::Pages>>,
    /// References of the ring page and the event page.
    pub(crate) refs: [u32; 2],
    pub(crate) ring: P::Channel,
    pub(crate) events: P::Channel,
    pub(crate) backend: u16,
}

impl<P: Platform> Transport<P> {
    /// The nodes that tell the backend of it.
    pub(crate) fn nodes(&self) -> [(&'static str, u32); 4] {
        let [ring, events] = self.refs;
        [
            (node::RING_REF, ring),
            (node::EVENT_CHANNEL, self.ring.port()),
            (node::EVT_RING_REF, events),
            (node::EVT_EVENT_CHANNEL, self.events.port()),
        ]
    }
}

/// The memory that ALSA's application writes to, or reads from, and the backend maps.
pub(crate) struct Buffer<P: Platform> {
    pub(crate) data: P::Pages,
    directory: P::Pages,
    pub(crate) geometry: Geometry,
    control_bytes: u32,
    /// Granted for the present connection.
    current: bool,
}

impl<P: Platform> Buffer<P> {
    pub(crate) fn new(backend: u16, geometry: Geometry, control_bytes: u32) -> Result<Self, Error> {
        let bytes = geometry.ring_bytes().checked_add(control_bytes).ok_or(Error::Invalid)?;
        let pages = pages_for(bytes);
        let data = P::Pages::new(backend, pages)?;
        let directory = P::Pages::new(backend, DirectoryWriter::pages(pages))?;
        let buffer = Self { data, directory, geometry, control_bytes, current: true };
        buffer.write_directory()?;
        Ok(buffer)
    }

    fn write_directory(&self) -> Result<(), Error> {
        let written = DirectoryWriter::write(&self.directory, self.directory.refs(), self.data.refs());
        if written { Ok(()) } else { Err(Error::NoMemory) }
    }

    /// The OPEN for this buffer, granted to the present backend.
    pub(crate) fn open(&mut self, backend: u16) -> Result<Operation, Error> {
        if !self.current {
            self.data.grant_again(backend)?;
            self.directory.grant_again(backend)?;
            self.write_directory()?;
            self.current = true;
        }
        let directory = *self.directory.refs().first().ok_or(Error::NoMemory)?;
        self.geometry.open_params(self.control_bytes, directory).map(Operation::Open).ok_or(Error::Invalid)
    }
}

/// A stream's state.
pub(crate) struct State<P: Platform> {
    direction: Direction,
    pub(crate) transport: Option<Transport<P>>,
    /// The backend is Connected: requests can be sent.
    pub(crate) connected: bool,
    /// From `hw_params` to `hw_free`.
    pub(crate) buffer: Option<Buffer<P>>,
    pub(crate) cache: P::Boxed<SpaceCache>,
    pub(crate) mixer: P::Boxed<Mixer>,
    run: Run,
    /// The request that somebody waits for.
    awaited: Option<RequestId>,
    answer: Option<Completion>,
    /// Notifications sent to the backend.
    pub(crate) notifications: u64,
}

/// Where the run stands that `prepare` began; all in octets since then.
#[derive(Default)]
struct Run {
    /// ALSA's application pointer, in frames, as it was told last.
    appl_frames: u64,
    /// What the application has written.
    accepted: u64,
    /// What READs have brought.
    captured: u64,
    /// Up to where `pointer` has told ALSA.
    shown: u64,
    /// START was sent since, and no STOP.
    started: bool,
    /// The connection ended since.
    stale: bool,
    draining: bool,
    failed: Option<Error>,
}

/// What became of an awaited request.
pub(crate) enum Answer {
    Here(Completion),
    Pending,
}

impl<P: Platform> State<P> {
    pub(crate) fn new(direction: Direction, cache: P::Boxed<SpaceCache>, mixer: P::Boxed<Mixer>) -> Self {
        Self {
            direction,
            transport: None,
            connected: false,
            buffer: None,
            cache,
            mixer,
            run: Run::default(),
            awaited: None,
            answer: None,
            notifications: 0,
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

    /// The backend is gone; what applications hold stays.
    pub(crate) fn lose(&mut self) {
        self.connected = false;
        self.run.stale = self.buffer.is_some();
        *self.cache = SpaceCache::default();
        self.answer = None;
        if let Some(buffer) = &mut self.buffer {
            buffer.current = false;
        }
    }

    /// Whether an application has to be told that the connection ended.
    pub(crate) fn is_stale(&self) -> bool {
        self.run.stale
    }

    /// Octets behind the ring that hold volumes and flags.
    pub(crate) fn control_bytes(&self) -> u32 {
        let features = self.mixer.features();
        if features.volume || features.mute { CONTROL_BYTES } else { 0 }
    }

    // --- requests -------------------------------------------------------------------------------------------

    /// Sends a request that is waited for.
    pub(crate) fn begin(&mut self, operation: Operation) -> Result<(), Error> {
        self.collect_answers()?;
        let id = self.stream()?.submit(operation)?;
        (self.awaited, self.answer) = (Some(id), None);
        self.publish();
        Ok(())
    }

    /// Takes the awaited answer, or asks for a notification when one comes.
    pub(crate) fn answer(&mut self) -> Result<Answer, Error> {
        loop {
            self.collect_answers()?;
            if let Some(answer) = self.answer.take() {
                self.awaited = None;
                return Ok(Answer::Here(answer));
            }
            if !self.stream()?.arm(1) {
                return Ok(Answer::Pending);
            }
        }
    }

    /// Whether all requests are answered; if not, a notification is asked for.
    pub(crate) fn is_settled(&mut self) -> Result<bool, Error> {
        loop {
            self.collect_answers()?;
            let stream = self.stream()?;
            if stream.in_flight() == 0 {
                return Ok(true);
            }
            if !stream.arm(1) {
                return Ok(false);
            }
        }
    }

    pub(crate) fn publish(&mut self) {
        if let Some(transport) = &mut self.transport
            && transport.stream.publish()
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
            if self.awaited == Some(completion.id) {
                self.answer = Some(completion);
                continue;
            }
            match (completion.operation, completion.result) {
                (Operation::Read(span), Ok(())) => {
                    self.run.captured = self.run.captured.saturating_add(u64::from(span.length));
                }
                // A stream that is stopped needs no START or WRITE any more.
                (
                    Operation::Read(_) | Operation::Write(_) | Operation::Trigger(Trigger::Start | Trigger::Resume),
                    Err(errno),
                ) if self.run.started => {
                    self.run.failed.get_or_insert(Error::Refused(errno));
                }
                _ => {}
            }
        }
        Ok(any)
    }

    // --- a run ----------------------------------------------------------------------------------------------

    /// Whether nothing was sent since OPEN or STOP, so that a run can begin.
    pub(crate) fn is_fresh(&self) -> bool {
        let Some(transport) = &self.transport else { return false };
        let stream = &transport.stream;
        !self.run.started && stream.run_submitted_bytes() == 0 && stream.run_position_bytes() == 0
    }

    /// Begins a run: everything counts from 0.
    pub(crate) fn rewind(&mut self) {
        self.run = Run::default();
    }

    /// Sends START, PAUSE, STOP or RESUME.
    pub(crate) fn trigger(&mut self, trigger: Trigger) -> Result<(), Error> {
        let stopping = trigger == Trigger::Stop;
        if self.run.stale || !self.connected {
            // What is gone is stopped.
            return if stopping { Ok(()) } else { Err(Error::Stale) };
        }
        if !stopping {
            self.push(true)?;
        }
        let sent = self.stream()?.submit(Operation::Trigger(trigger));
        self.publish();
        sent?;
        self.run.started = !stopping;
        Ok(())
    }

    /// The application says that nothing follows.
    pub(crate) fn drain(&mut self) -> Result<(), Error> {
        self.run.draining = true;
        self.push(true)?;
        if let Ok(stream) = self.stream() {
            stream.set_draining(true);
        }
        self.publish();
        Ok(())
    }

    /// The application has written up to `appl_frames`, which wraps at `boundary_frames`.
    pub(crate) fn ack(&mut self, appl_frames: u64, boundary_frames: u64) -> Result<(), Error> {
        let Some(buffer) = &self.buffer else { return Err(Error::Stale) };
        if self.direction == Direction::Capture {
            return Ok(());
        }
        if self.run.stale && self.connected {
            return Err(Error::Stale);
        }
        let frame_bytes = u64::from(buffer.geometry.frame_bytes());
        let before = core::mem::replace(&mut self.run.appl_frames, appl_frames);
        let written = match appl_frames.checked_sub(before) {
            Some(written) => written,
            None => appl_frames.saturating_add(boundary_frames).saturating_sub(before),
        };
        self.run.accepted = self.run.accepted.saturating_add(written.saturating_mul(frame_bytes));
        // Without a backend it waits in the buffer, as it would while nothing is played.
        if self.connected {
            self.push(false)?;
            self.publish();
        }
        Ok(())
    }

    /// Submits WRITEs for what the application has written. Unless `all` is wanted, less than a period waits for the next
    /// event, as long as the backend has enough: one request then tells of many small writes.
    fn push(&mut self, all: bool) -> Result<(), Error> {
        if self.direction == Direction::Capture {
            return Ok(());
        }
        loop {
            let (accepted, started) = (self.run.accepted, self.run.started);
            let stream = self.stream()?;
            let pending = accepted.saturating_sub(stream.run_submitted_bytes());
            let Some(geometry) = stream.geometry() else { return Err(Error::Stale) };
            let period = geometry.period_bytes();
            let enough = stream.filled_bytes() / 2 >= period;
            if pending == 0 || (!all && started && enough && pending < u64::from(period)) {
                return Ok(());
            }
            if !self.has_room()? {
                return Ok(());
            }
            let stream = self.stream()?;
            let Some(span) = stream.next_span(u32::try_from(pending).unwrap_or(u32::MAX)) else { return Ok(()) };
            stream.submit(Operation::Write(span))?;
        }
    }

    /// Submits READs for what was captured.
    fn pull(&mut self) -> Result<(), Error> {
        while self.has_room()? {
            let stream = self.stream()?;
            let Some(span) = stream.next_span(u32::MAX) else { return Ok(()) };
            stream.submit(Operation::Read(span))?;
        }
        Ok(())
    }

    fn has_room(&mut self) -> Result<bool, Error> {
        if self.stream()?.in_flight() >= DATA_SLOTS {
            self.collect_answers()?;
        }
        Ok(self.stream()?.in_flight() < DATA_SLOTS)
    }

    /// Takes in answers and events, and sends what follows from them. Returns whether there was anything.
    pub(crate) fn events(&mut self) -> Result<bool, Error> {
        let mut any = self.collect_answers()?;
        for _ in 0..EVENT_PAGES {
            let progress = self.stream()?.take_events()?;
            any |= progress.events > 0;
            if !progress.more {
                break;
            }
        }
        if self.run.started && !self.run.stale {
            match self.direction {
                Direction::Playback => self.push(true)?,
                Direction::Capture => self.pull()?,
            }
            if self.run.draining {
                self.stream()?.set_draining(true);
            }
            self.publish();
        }
        Ok(any)
    }

    /// Why ALSA has to stop the stream, told once.
    pub(crate) fn take_failure(&mut self) -> Option<Error> {
        self.run.failed.take()
    }

    fn position(&self) -> u64 {
        match (self.direction, &self.transport) {
            (Direction::Playback, Some(transport)) => transport.stream.run_position_bytes(),
            (Direction::Playback, None) => 0,
            (Direction::Capture, _) => self.run.captured,
        }
    }

    /// Whether ALSA has not been told of all progress.
    pub(crate) fn lags(&self) -> bool {
        !self.run.stale && self.position() > self.run.shown
    }

    /// The place in the ring, in frames, and how many more frames are on their way. ALSA takes a whole turn for none, so it
    /// is told of less than one at a time.
    pub(crate) fn pointer(&mut self) -> (u32, u32) {
        let Some(geometry) = self.buffer.as_ref().map(|buffer| buffer.geometry) else { return (0, 0) };
        let (ring, frame) = (u64::from(geometry.ring_bytes()), geometry.frame_bytes());
        if !self.run.stale {
            let most = self.run.shown.saturating_add(ring.saturating_sub(frame.into()));
            self.run.shown = self.position().min(most).max(self.run.shown);
        }
        let on_their_way = match (self.direction, &self.transport) {
            (Direction::Capture, Some(transport)) => {
                transport.stream.run_position_bytes().saturating_sub(self.run.shown).min(ring)
            }
            _ => 0,
        };
        let frames = |bytes: u64| u32::try_from(bytes).unwrap_or(0).checked_div(frame).unwrap_or(0);
        (frames(self.run.shown.checked_rem(ring).unwrap_or(0)), frames(on_their_way))
    }

    /// Everything that is shown of it.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let stream = self.transport.as_ref().map(|transport| &transport.stream);
        Snapshot {
            connected: self.connected,
            phase: match (self.buffer.is_some(), self.run.stale, self.run.started, self.run.draining) {
                (false, ..) => "closed",
                (_, true, ..) => "to be prepared anew",
                (_, _, false, _) => "stopped",
                (_, _, true, false) => "running",
                (_, _, true, true) => "draining",
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
