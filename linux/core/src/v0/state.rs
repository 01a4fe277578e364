// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! State protected by the lock of a version 0 stream. Nothing here waits.

use frontend::v0::{Completion, Counters, Hardware, Mixer, Stream};
use frontend::{Geometry, Violation};
use sndif::Errno;
use sndif::store::Direction;
use sndif::text::Sink;
use sndif::v0::{ANSWER_TIMEOUT_MS, OpenParams, Operation};

use super::buffer::Buffer;
use super::show::show;
use crate::guarded::{News, Requests};
use crate::pcm::StreamState;
use crate::place::{Accepted, Shown, frames_in_ring};
use crate::platform::grant;
use crate::{Boxed, Channel, Error, Pages, Platform, Stop};

/// Resources of one connection of a stream.
pub struct Transport<P: Platform> {
    // Fields are dropped in this order: the channel goes before the page, so nothing wakes us then.
    pub(crate) channel: P::Channel,
    stream: P::Boxed<Stream<P::Pages>>,
    pub(crate) ring_ref: u32,
    backend: u16,
}

impl<P: Platform> Transport<P> {
    // Not inlined: the stream is made on the stack first.
    #[inline(never)]
    pub(crate) fn new(backend: u16, stream_id: u32, channel: P::Channel) -> Result<Self, Error> {
        let page: P::Pages = grant(backend, 1)?;
        let ring_ref = page.refs().first().ok_or(Error::NoMemory)?.0;
        Ok(Self { stream: P::Boxed::new(|| Stream::new(page, stream_id))?, ring_ref, channel, backend })
    }
}

/// A stream's state.
pub struct State<P: Platform> {
    pub(crate) transport: Option<Transport<P>>,
    /// Number of the stream, as the backend has told it last.
    stream_id: u32,
    /// True while the backend is Connected: requests can be sent.
    connected: bool,
    /// True once the card was taken away: no connection follows.
    pub(crate) removed: bool,
    /// Direction in which the stream was opened last.
    pub(crate) direction: Direction,
    /// Buffer from `hw_params` to `hw_free`.
    pub(crate) buffer: Option<Buffer<P>>,
    pub(crate) hardware: Hardware,
    /// Mixers of playback and of capture; if the stream has both directions, the backend has one volume for both.
    mixers: [Mixer; 2],
    /// True once the backend was told a volume.
    volume_told: bool,
    run: Run,
    next_tag: u64,
    /// The OPEN by which a new connection takes the run up; until it is answered, nothing of the run is sent.
    reopening: Option<u64>,
    /// Request whose answer somebody waits for.
    awaited: Option<u64>,
    answer: Option<Completion>,
    notifications: u64,
    /// True once ALSA was told that the backend has broken the protocol.
    broken_told: bool,
}

/// Phase of a stream that ALSA has asked for, whether or not a backend is there for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    /// The stream has to be prepared first.
    #[default]
    Stopped,
    Prepared,
    Running,
}

/// Progress of the run that `prepare` began; all counts are bytes since then.
#[derive(Default)]
struct Run {
    phase: Phase,
    /// Bytes that the application has written.
    accepted: Accepted,
    /// Bytes of READs or WRITEs that were sent in this connection or answered in earlier ones.
    submitted: u64,
    /// Bytes of READs or WRITEs that were answered.
    moved: u64,
    /// Position that ALSA was told.
    shown: Shown,
    /// True if no connection can take the run up: the stream has to be prepared again.
    stale: bool,
    draining: bool,
    stop: Option<Stop>,
}

/// A stream at one moment, for people.
pub struct Snapshot {
    pub(crate) connected: bool,
    pub(crate) stream_id: u32,
    pub(crate) direction: Direction,
    pub(crate) phase: &'static str,
    pub(crate) geometry: Option<Geometry>,
    pub(crate) position_bytes: u64,
    pub(crate) in_flight_bytes: u64,
    pub(crate) counters: Counters,
    pub(crate) notifications: u64,
    pub(crate) violation: Option<Violation>,
}

impl<P: Platform> State<P> {
    pub(crate) fn new(direction: Direction, hardware: Hardware) -> Self {
        Self {
            transport: None,
            stream_id: 0,
            connected: false,
            removed: false,
            direction,
            buffer: None,
            hardware,
            mixers: [Mixer::default(); 2],
            volume_told: false,
            run: Run::default(),
            next_tag: 0,
            reopening: None,
            awaited: None,
            answer: None,
            notifications: 0,
            broken_told: false,
        }
    }

    // --- connection -----------------------------------------------------------------------------------------

    /// Takes the number that the backend gives the stream, and returns it; without one, the last number stays.
    pub(crate) fn learn_id(&mut self, told: Option<u32>) -> u32 {
        self.stream_id = told.unwrap_or(self.stream_id);
        self.stream_id
    }

    fn stream(&mut self) -> Result<&mut Stream<P::Pages>, Error> {
        match &mut self.transport {
            Some(transport) if self.connected => Ok(&mut transport.stream),
            _ => Err(Error::Lost),
        }
    }

    fn reopen(&mut self) -> Result<(), Error> {
        let open = self.open()?;
        self.reopening = Some(self.submit(&open)?);
        self.publish();
        // The answer raises a notification, unless it has come already.
        self.collect().map(drop)
    }

    /// Goes on with the run once the OPEN was answered: sends what the last backend has not answered.
    fn take_up(&mut self, opened: bool) -> Result<(), Error> {
        self.reopening = None;
        if !opened {
            self.give_up();
            return Ok(());
        }
        self.opened();
        self.transfer()
    }

    /// Ends the run, as with an xrun.
    fn give_up(&mut self) {
        self.reopening = None;
        self.run.stale = true;
        self.run.stop.get_or_insert(Stop::Xrun);
    }

    /// Makes the OPEN for the buffer.
    pub(crate) fn open(&mut self) -> Result<Operation, Error> {
        let backend = self.transport.as_ref().ok_or(Error::Lost)?.backend;
        let buffer = self.buffer.as_mut().ok_or(Error::Invalid)?;
        buffer.grant(backend)?;
        let geometry = &buffer.geometry;
        Ok(Operation::Open(OpenParams {
            format: geometry.format(),
            channels: geometry.channels(),
            rate_hz: geometry.rate_hz(),
        }))
    }

    /// Tells the volume after a successful OPEN, since the backend may have another one by now.
    pub(crate) fn opened(&mut self) {
        let told = self.volume_told;
        let mixer = self.mixer(self.direction);
        mixer.replay();
        if told {
            // The told volume may be that of the other direction.
            mixer.set_volume(mixer.volume());
        }
        self.tell_mixer();
    }

    /// Returns true if the backend has the stream open.
    pub(crate) fn is_open(&self) -> bool {
        self.connected && self.transport.as_ref().is_some_and(|transport| transport.stream.is_open())
    }

    fn has_run(&self) -> bool {
        self.is_open() && self.reopening.is_none() && self.run.phase == Phase::Running && !self.run.stale
    }

    // --- volume ---------------------------------------------------------------------------------------------

    pub(crate) fn mixer(&mut self, direction: Direction) -> &mut Mixer {
        let [playback, capture] = &mut self.mixers;
        match direction {
            Direction::Playback => playback,
            Direction::Capture => capture,
        }
    }

    /// Tells the backend the volume, if it has the stream open and knows another.
    pub(crate) fn tell_mixer(&mut self) {
        if !self.is_open() {
            return;
        }
        // A volume that finds no room is told by the next setting, or when an answer makes room.
        if let Some(volume) = self.mixer(self.direction).to_tell()
            && self.submit(&Operation::SetVolume(volume)).is_ok()
        {
            self.mixer(self.direction).told(volume);
            self.volume_told = true;
            self.publish();
        }
    }

    // --- requests -------------------------------------------------------------------------------------------

    fn submit(&mut self, operation: &Operation) -> Result<u64, Error> {
        let tag = self.next_tag;
        self.stream()?.submit(*operation, tag)?;
        self.next_tag = tag.wrapping_add(1);
        Ok(tag)
    }

    fn publish(&mut self) {
        if let Some(transport) = &mut self.transport
            && transport.stream.publish()
        {
            transport.channel.notify();
            self.notifications = self.notifications.saturating_add(1);
        }
    }

    /// Takes all answers, and asks for a notification of the next; returns true if there were any.
    fn collect(&mut self) -> Result<bool, Error> {
        let mut any = false;
        loop {
            while let Some(completion) = self.stream()?.next_completion()? {
                any = true;
                self.completed(&completion)?;
            }
            if !self.stream()?.arm(1) {
                return Ok(any);
            }
        }
    }

    fn completed(&mut self, completion: &Completion) -> Result<(), Error> {
        if self.reopening == Some(completion.tag) {
            return self.take_up(completion.success);
        }
        if self.awaited == Some(completion.tag) {
            self.answer = Some(*completion);
            return Ok(());
        }
        let (Operation::Read(transfer) | Operation::Write(transfer)) = completion.operation else { return Ok(()) };
        let captured = matches!(completion.operation, Operation::Read(_)) && completion.success;
        if let Some(buffer) = &mut self.buffer {
            buffer.end(captured.then_some(self.run.moved), transfer.length());
        }
        if completion.success {
            self.run.moved = self.run.moved.saturating_add(transfer.length().into());
        } else if self.run.phase == Phase::Running {
            self.run.stop.get_or_insert(Stop::Failed(Error::Refused(Errno::EIO)));
        }
        Ok(())
    }

    // --- a run ----------------------------------------------------------------------------------------------

    /// Returns true if the open stream has to be closed before a run begins: READs go on until CLOSE; and an earlier
    /// buffer is open when `hw_free` did not get as far as CLOSE.
    pub(crate) fn has_other_open(&self) -> bool {
        let captured = self.direction == Direction::Capture && self.run.submitted > 0;
        self.is_open() && (captured || !self.buffer.as_ref().is_some_and(Buffer::is_granted))
    }

    /// Forgets the run.
    pub(crate) fn rewind(&mut self) {
        self.run = Run::default();
    }

    /// Begins a run: all counts start from 0.
    pub(crate) fn prepared(&mut self) {
        self.run = Run { phase: Phase::Prepared, ..Run::default() };
    }

    /// Starts the stream. Without a backend, the start is kept for the next one.
    pub(crate) fn start(&mut self) -> Result<(), Error> {
        if self.run.stale {
            return Err(Error::Stale);
        }
        self.run.phase = Phase::Running;
        self.transfer()
    }

    /// Stops sending. The backend plays what it has: the protocol has no other way.
    pub(crate) fn stop(&mut self) {
        self.run.phase = Phase::Stopped;
    }

    /// Sends WRITEs for written bytes, or READs, as many as there are areas for. Nothing is sent before the start: a
    /// WRITE starts the device.
    fn transfer(&mut self) -> Result<(), Error> {
        while self.has_run() {
            let Some(buffer) = &mut self.buffer else { return Err(Error::Stale) };
            let Some(transport) = &mut self.transport else { return Err(Error::Lost) };
            let (in_flight, most) = (transport.stream.transfers_in_flight(), buffer.area_bytes());
            // The last frame waits for the next one: with none left, ALSA sees an xrun, which an answer does not mean.
            let last = if self.run.draining { 0 } else { buffer.geometry.frame_bytes() };
            let length = match self.direction {
                Direction::Capture => most,
                Direction::Playback => {
                    let ready = self.run.accepted.bytes.saturating_sub(last.into());
                    u32::try_from(ready.saturating_sub(self.run.submitted)).unwrap_or(u32::MAX).min(most)
                }
            };
            // Less than a period waits until the backend has nothing else, so that one request covers many small
            // writes.
            let waits = length.saturating_add(last) < most && in_flight > 0 && !self.run.draining;
            if length == 0 || waits || in_flight >= buffer.areas() {
                break;
            }
            let position = self.run.submitted;
            let transfer = buffer.begin(self.direction, position, length).ok_or(Error::NoMemory)?;
            self.submit(&match self.direction {
                Direction::Playback => Operation::Write(transfer),
                Direction::Capture => Operation::Read(transfer),
            })?;
            self.run.submitted = position.saturating_add(length.into());
        }
        self.publish();
        Ok(())
    }

    /// Returns the place in the ring, in frames.
    pub(crate) fn pointer(&mut self) -> u32 {
        let Some(geometry) = self.buffer.as_ref().map(|buffer| buffer.geometry) else { return 0 };
        if !self.run.stale {
            self.run.shown.show(self.run.moved, &geometry);
        }
        frames_in_ring(self.run.shown.bytes, &geometry)
    }
}

impl<P: Platform> Requests for State<P> {
    /// Answer time of the driver of 2015.
    const ANSWER_MS: u32 = ANSWER_TIMEOUT_MS;
    type Operation = Operation;
    type Completion = Completion;

    fn is_connected(&self) -> Result<bool, Error> {
        if self.removed { Err(Error::Lost) } else { Ok(self.connected) }
    }

    fn begin(&mut self, operation: &Operation) -> Result<(), Error> {
        self.collect()?;
        (self.awaited, self.answer) = (Some(self.submit(operation)?), None);
        self.publish();
        Ok(())
    }

    fn answer(&mut self) -> Result<Option<Completion>, Error> {
        self.collect()?;
        let answer = self.answer.take();
        if self.awaited.is_none() {
            return Err(Error::Lost);
        }
        if answer.is_some() {
            self.awaited = None;
        }
        Ok(answer)
    }

    fn unanswered(&mut self) -> Result<u32, Error> {
        self.collect()?;
        Ok(self.stream()?.in_flight())
    }

    fn buffer_geometry(&self) -> Option<Geometry> {
        self.buffer.as_ref().map(|buffer| buffer.geometry)
    }

    fn begin_telling(&mut self) -> bool {
        let Some(geometry) = self.buffer.as_ref().map(|buffer| buffer.geometry).filter(|_| !self.run.stale) else {
            return false;
        };
        let end = (self.direction == Direction::Playback).then_some(self.run.accepted.bytes);
        self.run.shown.begin_telling(self.run.moved, end, &geometry)
    }

    fn end_telling(&mut self) {
        self.run.shown.end_telling();
    }
}

impl<P: Platform> StreamState<P> for State<P> {
    /// Direction of the stream, if the backend names one.
    type Info = Option<Direction>;
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
        self.buffer.is_some() && self.is_open()
    }

    fn take_buffer(&mut self) -> Option<Buffer<P>> {
        self.rewind();
        self.buffer.take()
    }

    fn ring(&self) -> Option<&P::Pages> {
        self.buffer.as_ref().map(Buffer::ring)
    }

    fn verdict(&mut self) -> (&mut Option<Stop>, &mut bool) {
        (&mut self.run.stop, &mut self.broken_told)
    }

    fn show(out: &mut dyn Sink, only: &Option<Direction>, now: &Snapshot) {
        show(out, *only, now);
    }

    fn lose(&mut self) {
        // A suspended domain does not receive the last answers of its backend in time.
        let _ = self.collect();
        self.run.submitted = self.run.moved;
        self.connected = false;
        self.reopening = None;
        (self.awaited, self.answer) = (None, None);
        if let Some(buffer) = &mut self.buffer {
            buffer.end_access();
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
        self.transfer()
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
        self.transfer()
    }

    fn answers(&mut self) -> Result<bool, Error> {
        let woken = self.stream().and_then(|stream| Ok(stream.woken()?));
        let any = woken.and_then(|()| self.collect());
        if any.is_err() && self.reopening.is_some() {
            self.give_up();
        }
        let any = any?;
        self.transfer()?;
        self.tell_mixer();
        Ok(any)
    }

    fn take_news(&mut self) -> News {
        News { stop: self.run.stop.take(), volume: false }
    }

    fn snapshot(&self) -> Snapshot {
        let stream = self.transport.as_ref().map(|transport| &transport.stream);
        Snapshot {
            connected: self.connected,
            stream_id: self.stream_id,
            direction: self.direction,
            phase: match self.run.phase {
                _ if self.buffer.is_none() => "closed",
                _ if self.run.stale => "to be prepared again",
                Phase::Stopped => "stopped",
                Phase::Prepared => "prepared",
                Phase::Running if self.run.draining => "draining",
                Phase::Running => "running",
            },
            geometry: self.buffer.as_ref().map(|buffer| buffer.geometry),
            position_bytes: self.run.moved,
            in_flight_bytes: self.run.submitted.saturating_sub(self.run.moved),
            counters: stream.map(|stream| stream.counters()).unwrap_or_default(),
            notifications: self.notifications,
            violation: stream.and_then(|stream| stream.violation()),
        }
    }
}
