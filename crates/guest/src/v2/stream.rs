//! An open stream of protocol version 2: playing, recording, volume, and the waiting that goes with them.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use frontend::{Geometry, Negotiation, Step, SubmitError};
use sndif::SharedMemory;
use sndif::store::Direction;
use sndif::v2::{Operation, Span, Trigger};

use super::buffer::Buffer;
use super::captured::Captured;
use super::exchange::{self, Exchange};
use crate::protocol::{Common, Protocol};
use crate::wait::RECOVERY_TIMEOUT;
use crate::{ChannelKind, Config, Error, Result, Stats, StreamInfo, Wake};

/// A position that stands still for this long, beyond twice the time of what is queued, does not move again. As long as ALSA lets an
/// application wait; a host whose daemon and sound server both restart needs more than four seconds (docs/sound.md).
const STALL_TIMEOUT: Duration = Duration::from_secs(10);

/// State in which the application wants the stream; a new connection is brought there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Desired {
    Stopped,
    Running,
    Paused,
}

/// An open stream.
pub(crate) struct Stream {
    pub(crate) common: Common,
    pub(crate) exchange: Exchange,
    /// Playback: the last ring's worth of what was written, at the offsets it has in the ring.
    pub(crate) history: Box<[u8]>,
    /// Bytes at the start of `history` that a new connection has yet to be given.
    pub(crate) requeue: u32,
    /// Bytes played or captured in earlier connections.
    pub(crate) carried: u64,
    pub(crate) desired: Desired,
    /// The stream of this connection was started since OPEN or STOP.
    pub(crate) started: bool,
    pub(crate) draining: bool,
}

impl Stream {
    /// A stream whose sizes are agreed on, and which is to be opened.
    pub(crate) fn new(mut exchange: Exchange, info: StreamInfo, config: &Config) -> Result<Self> {
        let geometry = negotiate(&mut exchange, &info, config)?;
        let history = match info.direction {
            Direction::Playback => vec![0; geometry.ring_bytes() as usize],
            Direction::Capture => Vec::new(),
        };
        if info.direction == Direction::Capture {
            exchange.captured = Captured::new(geometry.ring_bytes());
        }
        if let Some(mixer) = &mut exchange.mixer {
            mixer.replay();
        }
        Ok(Self {
            common: Common { info, geometry, recovery_timeout: RECOVERY_TIMEOUT },
            exchange,
            history: history.into(),
            requeue: 0,
            carried: 0,
            desired: Desired::Stopped,
            started: false,
            draining: false,
        })
    }

    fn put(&mut self, data: &[u8], written: &mut usize) -> Result<()> {
        self.renew_count()?;
        let tag = self.exchange.write_tag();
        while let Some(rest) = data.get(*written..).filter(|rest| !rest.is_empty()) {
            let wanted = u32::try_from(rest.len()).unwrap_or(u32::MAX);
            let stream = self.exchange.stream_mut()?;
            let Some(span) = stream.next_span(wanted) else { break };
            let (offset, length) = (span.offset as usize, span.length as usize);
            match stream.submit_tagged(Operation::Write(span), tag) {
                Ok(_) => {}
                Err(SubmitError::Full) => {
                    self.exchange.take_completions(None)?;
                    if self.exchange.stream_mut()?.in_flight() == sndif::v2::RING_SLOTS {
                        break;
                    }
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
            // The request is not visible before it is published.
            let chunk = rest.get(..length).unwrap_or(rest);
            if let Some(buffer) = &self.exchange.buffer {
                buffer.pages.write(offset, chunk);
            }
            if let Some(kept) = self.history.get_mut(offset..offset + length) {
                kept.copy_from_slice(chunk);
            }
            *written += length;
        }
        self.exchange.publish()?;
        if self.exchange.measure {
            // Each WRITE is to be answered at once.
            self.exchange.hurry()?;
        }
        if self.exchange.measure && self.exchange.stream_mut()?.in_flight() > 0 && self.exchange.stream_mut()?.arm(1) {
            self.exchange.take_completions(None)?;
        }
        Ok(())
    }

    /// Waits for room and writes into it, taking what was written off `data`.
    fn write_some(&mut self, data: &mut &[u8]) -> Result<()> {
        let least = self.worthwhile(data.len());
        if self.desired == Desired::Running && self.room_bytes() < least {
            self.wait_for_room(least)?;
        }
        let written = self.try_write(data)?;
        *data = data.get(written..).unwrap_or(&[]);
        if self.exchange.measure {
            self.await_answers()?;
        }
        if written == 0 { self.wait_for_room(least) } else { Ok(()) }
    }

    /// Bytes of `bytes` for which it is worth to send a request and notify the backend: a wake-up comes a frame after
    /// the end of a period, and that frame can wait for the next.
    fn worthwhile(&self, bytes: usize) -> u32 {
        let geometry = &self.common.geometry;
        let some = geometry.period_bytes().min(geometry.ring_bytes() / 2);
        u32::try_from(bytes).unwrap_or(u32::MAX).min(some).max(geometry.frame_bytes())
    }

    fn read_some(&mut self, data: &mut [u8]) -> Result<usize> {
        // Nothing is added to what a paused stream has.
        let paused = self.desired == Desired::Paused;
        let least = if paused { self.common.geometry.frame_bytes() } else { self.worthwhile(data.len()) };
        if self.room_bytes() < least {
            self.wait_for_room(least)?;
        }
        Ok(self.take_captured(data))
    }

    fn take_captured(&mut self, data: &mut [u8]) -> usize {
        let whole = data.len() - data.len() % self.common.geometry.frame_bytes() as usize;
        self.exchange.captured.take(data.get_mut(..whole).unwrap_or_default())
    }

    fn trigger(&mut self, desired: Desired) -> Result<()> {
        if desired == Desired::Stopped {
            // Also what a lost connection has left over.
            self.requeue = 0;
        }
        let before = std::mem::replace(&mut self.desired, desired);
        let sent = self.send_trigger();
        if desired == Desired::Paused && sent.as_ref().is_err_and(|error| !error.is_lost()) {
            // The stream plays on.
            self.desired = before;
        }
        if desired == Desired::Stopped && sent.as_ref().is_err_and(Error::is_lost) {
            self.forget_connection();
            self.requeue = 0;
        }
        if desired == Desired::Stopped {
            self.exchange.captured.clear();
        }
        // A new connection is brought to the desired state.
        self.or_recover(sent).map(drop)
    }

    /// Sends what brings this connection from where it is to the desired state.
    pub(crate) fn send_trigger(&mut self) -> Result<()> {
        if self.desired != Desired::Stopped {
            self.renew_count()?;
        }
        let running = self.exchange.stream_mut()?.is_running();
        let trigger = match (self.desired, self.started, running) {
            (Desired::Running, false, _) => Trigger::Start,
            (Desired::Running, true, false) => Trigger::Resume,
            (Desired::Paused, true, true) => Trigger::Pause,
            (Desired::Stopped, _, _) => Trigger::Stop,
            (Desired::Running, true, true) | (Desired::Paused, _, _) => return Ok(()),
        };
        if trigger == Trigger::Start && self.common.info.direction == Direction::Capture {
            // The READs of the first periods are there when these are captured.
            self.exchange.ask_captured()?;
        }
        self.exchange.request_ok(Operation::Trigger(trigger))?;
        self.started = self.desired != Desired::Stopped;
        Ok(())
    }

    /// After a STOP it may be unknown from where the backend counts the next run: it is closed and opened then.
    fn renew_count(&mut self) -> Result<()> {
        if self.exchange.stream_mut()?.is_origin_known() { Ok(()) } else { self.close_and_open() }
    }

    /// CLOSE and OPEN on the same connection, with the same sizes.
    pub(crate) fn close_and_open(&mut self) -> Result<()> {
        let position = self.exchange.stream_mut()?.position_bytes();
        self.exchange.request_ok(Operation::Close)?;
        self.carried += position;
        self.exchange.end_buffer();
        if let Some(mixer) = &mut self.exchange.mixer {
            mixer.replay();
        }
        self.send_open()
    }

    fn drain_once(&mut self) -> Result<()> {
        if self.desired == Desired::Stopped {
            self.desired = Desired::Running;
            self.send_trigger()?;
        }
        self.exchange.stream_mut()?.set_draining(true);
        let queued = Duration::from_nanos(self.common.geometry.duration_ns(self.queued_bytes().into()));
        let bound = queued * 2 + STALL_TIMEOUT;
        let deadline = Instant::now() + bound;
        loop {
            self.exchange.collect()?;
            if self.queued_bytes() == 0 {
                return Ok(());
            }
            if !self.exchange.wait(deadline)? {
                return Err(Error::Stalled { after: bound });
            }
        }
    }

    fn mix(&mut self, set: impl FnOnce(&mut frontend::Mixer) -> bool, what: &'static str) -> Result<()> {
        if !self.exchange.mixer.as_deref_mut().is_some_and(set) {
            return Err(Error::NotOffered(what));
        }
        let told = self.exchange.flush_mixer();
        self.or_recover(told)?;
        let settled = self.await_answers();
        self.or_recover(settled)?;
        if self.exchange.mixer.as_ref().is_some_and(|mixer| mixer.refused()) {
            return Err(Error::Refused { operation: what, errno: sndif::Errno::EINVAL });
        }
        Ok(())
    }

    fn ask_volume(&mut self) -> Result<Vec<Option<i32>>> {
        let transport = self.exchange.hold.latest().ok_or(Error::Lost)?;
        let span: Option<Span> = self.exchange.mixer.as_ref().and_then(|mixer| mixer.answer_span(&transport.stream));
        let span = span.ok_or(Error::NotOffered("volume"))?;
        self.exchange.request_ok(Operation::GetVolume(span))?;
        let mut bytes = vec![0; span.length as usize];
        let buffer = self.exchange.buffer.as_ref().ok_or(Error::Closed)?;
        buffer.pages.read(span.offset as usize, &mut bytes);
        Ok(bytes.as_chunks::<4>().0.iter().map(|bytes| Some(i32::from_le_bytes(*bytes))).collect())
    }

    /// Waits until nothing is in flight.
    pub(crate) fn await_answers(&mut self) -> Result<()> {
        let deadline = Instant::now() + exchange::ANSWER_TIMEOUT;
        loop {
            self.exchange.take_completions(None)?;
            if self.exchange.stream_mut()?.awaited() == 0 {
                return Ok(());
            }
            if !self.exchange.wait_for_any_answer(deadline)? {
                return Err(Error::NoAnswer { operation: "requests", after: exchange::ANSWER_TIMEOUT });
            }
        }
    }

    /// Waits until `least` bytes can be written, or read; starts the stream if nothing else could bring them.
    fn wait_for_room(&mut self, least: u32) -> Result<()> {
        if self.room_bytes() >= least {
            // Room in the buffer and none in the ring of requests.
            let deadline = Instant::now() + exchange::ANSWER_TIMEOUT;
            let woken = self.exchange.wait_for_any_answer(deadline)?;
            self.exchange.collect()?;
            let after = exchange::ANSWER_TIMEOUT;
            return if woken { Ok(()) } else { Err(Error::NoAnswer { operation: "WRITE", after }) };
        }
        self.poll()?;
        if self.room_bytes() >= least {
            return Ok(());
        }
        match self.desired {
            Desired::Running => {}
            Desired::Stopped => {
                self.desired = Desired::Running;
                self.send_trigger()?;
            }
            // Bytes that were asked for still come.
            Desired::Paused if self.exchange.awaited_bytes() > 0 => {}
            Desired::Paused => return Err(Error::Paused),
        }
        let geometry = &self.common.geometry;
        let ring = Duration::from_nanos(geometry.duration_ns(geometry.ring_bytes().into()));
        let bound = ring * 2 + STALL_TIMEOUT;
        let deadline = Instant::now() + bound;
        let mut last_look = false;
        loop {
            self.poll()?;
            if self.room_bytes() >= least {
                return Ok(());
            }
            if last_look {
                return Err(Error::Stalled { after: bound });
            }
            // A READ may have been answered, or refused, without an event behind it: the device has overrun and stands.
            let until = deadline.min(Instant::now() + ring);
            last_look = !self.exchange.wait(until)? && until == deadline;
        }
    }
}

impl Protocol for Stream {
    fn common(&self) -> &Common {
        &self.common
    }
    fn common_mut(&mut self) -> &mut Common {
        &mut self.common
    }

    fn position(&self) -> u64 {
        self.carried + self.exchange.stream().map_or(0, frontend::Stream::position_bytes)
    }

    fn stats(&self) -> Stats {
        self.exchange.hold.stats()
    }

    fn queued_bytes(&self) -> u32 {
        let captured = &self.exchange.captured;
        let here = self.exchange.stream().map_or(self.requeue, frontend::Stream::filled_bytes);
        let ahead = self.exchange.stream().map_or(0, frontend::Stream::ahead_bytes);
        here + captured.awaited_bytes().saturating_sub(ahead) + captured.ready_bytes()
    }

    fn room_bytes(&self) -> u32 {
        match self.common.info.direction {
            Direction::Playback => self.exchange.stream().map_or(0, frontend::Stream::available_bytes),
            Direction::Capture => self.exchange.captured.ready_bytes(),
        }
    }

    fn is_running(&self) -> bool {
        self.desired == Desired::Running
    }

    fn write(&mut self, mut data: &[u8]) -> Result<()> {
        let frame_bytes = self.common.geometry.frame_bytes();
        if !data.len().is_multiple_of(frame_bytes as usize) {
            return Err(Error::PartialFrame { bytes: data.len(), frame_bytes });
        }
        self.draining = false;
        while !data.is_empty() {
            let step = self.write_some(&mut data);
            self.or_recover(step)?;
        }
        Ok(())
    }

    fn drain(&mut self) -> Result<()> {
        if self.desired == Desired::Paused && self.queued_bytes() > 0 {
            return Err(Error::Paused);
        }
        self.draining = true;
        while self.queued_bytes() > 0 {
            let step = self.drain_once();
            self.or_recover(step)?;
        }
        Ok(())
    }

    fn read(&mut self, data: &mut [u8]) -> Result<usize> {
        let frame_bytes = self.common.geometry.frame_bytes();
        if data.len() < frame_bytes as usize {
            return Err(Error::PartialFrame { bytes: data.len(), frame_bytes });
        }
        loop {
            let step = self.read_some(data);
            match self.or_recover(step)? {
                Some(read) if read > 0 => return Ok(read),
                _ => {}
            }
        }
    }

    fn restart(&mut self, refusal: Error) -> Result<()> {
        self.restart_capture(refusal)
    }

    fn stop(&mut self) -> Result<()> {
        self.trigger(Desired::Stopped)
    }

    fn set_volume(&mut self, volume: &[i32]) -> Result<()> {
        self.mix(|mixer| mixer.set_volume(volume), "volume")
    }

    fn set_mute(&mut self, muted: &[bool]) -> Result<()> {
        self.mix(|mixer| mixer.set_mute(muted), "mute")
    }

    fn volume(&mut self) -> Result<Vec<Option<i32>>> {
        let asked = self.ask_volume();
        match self.or_recover(asked)? {
            Some(volume) => Ok(volume),
            None => self.ask_volume(),
        }
    }

    fn send_open(&mut self) -> Result<()> {
        let control_bytes = self.exchange.stream_mut()?.control_bytes();
        let size = self.common.geometry.ring_bytes().saturating_add(control_bytes);
        let shared = &self.exchange.hold.shared;
        let buffer = Buffer::new(&shared.xen, shared.backend, size)?;
        let open = self.common.geometry.open_params(control_bytes, buffer.directory());
        let open = open.ok_or(Error::Submit(SubmitError::BadSizes))?;
        // Kept before OPEN is sent: whatever becomes of it, the pages are given up in one place.
        self.exchange.buffer = Some(buffer);
        self.started = false;
        self.exchange.request_ok(Operation::Open(open))?;
        self.exchange.flush_mixer()
    }

    fn close(&mut self) -> Result<()> {
        let answered = match self.exchange.stream_mut() {
            Ok(stream) if stream.geometry().is_some() => self.exchange.request_ok(Operation::Close),
            _ => Ok(()),
        };
        self.exchange.end_buffer();
        answered
    }

    fn is_connected(&self) -> bool {
        self.exchange.hold.lasting().is_ok()
    }

    fn forget_connection(&mut self) {
        self.keep_unplayed();
        self.exchange.detach();
    }

    fn reopen(&mut self, deadline: Instant) -> Result<()> {
        self.exchange.attach(deadline, self.common.recovery_timeout)?;
        self.send_open()?;
        self.take_up()
    }

    fn count_reconnect(&mut self) {
        self.exchange.hold.stats.reconnects += 1;
    }

    fn start(&mut self) -> Result<()> {
        self.trigger(Desired::Running)
    }

    fn pause(&mut self) -> Result<()> {
        self.trigger(Desired::Paused)
    }

    fn resume(&mut self) -> Result<()> {
        self.trigger(Desired::Running)
    }

    fn try_write(&mut self, data: &[u8]) -> Result<usize> {
        let mut written = 0;
        match self.put(data, &mut written) {
            // Bytes that are written stay written: they are in the history, and a new connection gets them from there.
            Err(error) if error.is_lost() && written > 0 => Ok(written),
            put => put.map(|()| written),
        }
    }

    fn try_read(&mut self, data: &mut [u8]) -> Result<usize> {
        if (self.room_bytes() as usize) < data.len() {
            match self.poll() {
                // Bytes that are here can be read without a backend.
                Err(error) if error.is_lost() && self.room_bytes() > 0 => {}
                polled => {
                    polled?;
                }
            }
        }
        Ok(self.take_captured(data))
    }

    fn event_fds(&self) -> Result<[BorrowedFd<'_>; 2]> {
        self.exchange.fds()
    }

    fn on_wake(&mut self, kind: ChannelKind) -> Result<Wake> {
        self.exchange.acknowledge(kind, self.exchange.edge_triggered)?;
        self.poll()
    }

    fn poll(&mut self) -> Result<Wake> {
        let progress = self.exchange.collect()?;
        if self.common.info.direction == Direction::Capture {
            self.exchange.ask_captured()?;
        }
        Ok(Wake { moved_bytes: progress.moved_bytes, xrun: progress.xrun, available_bytes: self.room_bytes() })
    }

    fn measure_write_latency(&mut self, measure: bool) {
        self.exchange.measure = measure;
    }

    fn set_edge_triggered(&mut self, edge_triggered: bool) {
        self.exchange.edge_triggered = edge_triggered;
    }
}

/// Finds a configuration with HW_PARAM_QUERY.
fn negotiate(exchange: &mut Exchange, info: &StreamInfo, config: &Config) -> Result<Geometry> {
    let (mut negotiation, mut question) = Negotiation::start(*config, &info.limits)?;
    loop {
        let completion = exchange.request(Operation::QueryHwParams(question))?;
        // A success without parameters cannot be: the answer's operation was checked.
        let answer = completion.result.and_then(|()| completion.params.ok_or(sndif::Errno::EIO));
        match negotiation.answer(answer)? {
            Step::Ask(next) => question = next,
            Step::Done(geometry) => return Ok(geometry),
        }
    }
}
