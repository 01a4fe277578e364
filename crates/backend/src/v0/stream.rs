//! One stream of a guest of protocol version 0.
//!
//! Requests are answered in their order, one at a time. The daemon calls [`request`](Stream::request) for each packet
//! while [`is_waiting`](Stream::is_waiting) returns false, and [`ready`](Stream::ready) while it returns true; in
//! between, frames are moved through [`Frames`].

use sndif::SharedMemory;
use sndif::store::Direction;
use sndif::v0::{OpenParams, Operation, Request, Response, Stereo, TRANSFER_BYTES_MAX, Transfer};

use super::flow::Flow;
use super::queue::Queue;
use crate::clock::SECOND_NS;
use crate::{Counters, DeviceLimits, Frames, Geometry, Pace, Run};

/// Duration of the queued frames while the guest prepares its next WRITE.
pub(super) const LEAD_NS: u64 = SECOND_NS / 10;

/// Longest time of an answer: the 2015 driver gives up after five seconds.
pub(super) const ANSWER_NS: u64 = 4 * SECOND_NS;

/// Longest duration of a READ, so that it is answered in time.
const READ_NS: u64 = 3 * SECOND_NS;

/// Periods per second that the host device is told.
const PERIODS_PER_SECOND: u32 = 100;

/// Configuration of a stream.
#[derive(Debug, Clone, Copy)]
pub struct StreamConfig {
    /// Playback or capture, if the host knows it; otherwise the guest's first READ or WRITE settles it.
    pub direction: Option<Direction>,
    /// Capabilities of the host's sink; `None` if the guest may not play.
    pub playback: Option<DeviceLimits>,
    /// Capabilities of the host's source; `None` if the guest may not capture.
    pub capture: Option<DeviceLimits>,
    /// Maximum bytes of lead that the host keeps.
    pub lead_bytes_max: u32,
}

/// Action for the daemon after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Send the response.
    Respond(Response),
    /// Refuse, and log the reason.
    Refuse(Response, &'static str),
    /// The stream is open; if the direction is known, open the host device and call [`Stream::start`]. Then answer.
    Open(Response, Option<Direction>),
    /// The guest's first READ or WRITE: open the host device, call [`Stream::start`]; if that fails, [`Stream::fail`].
    Start(Direction),
    /// The answer comes from [`Stream::ready`].
    Wait,
    /// The volume changed: tell the host device or scale in software, then answer.
    VolumeChanged(Response),
}

/// Action for the daemon about the request that is waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ready {
    /// Map the pages, writable only if the stream captures, and call [`Stream::copy`]; without them, [`Stream::fail`].
    Copy(Transfer),
    /// Send the response.
    Respond(Response),
    /// Answer that the request failed, and log the reason.
    Refuse(Response, &'static str),
    /// Close the host device, then answer.
    Closed(Response),
}

/// A request that is not answered yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pending {
    pub(super) id: u64,
    pub(super) opcode: u8,
    pub(super) until_ns: u64,
    pub(super) what: Awaited,
}

/// Condition that a pending request waits for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Awaited {
    /// There is room for the frames in these pages.
    Room(Transfer),
    /// The queue is played up to this position.
    Heard(u64),
    /// The frames for these pages are captured.
    Captured(Transfer),
    /// Everything is played.
    Drained,
}

#[derive(Debug)]
pub(super) struct Open {
    pub(super) geometry: Geometry,
    /// Bytes of [`LEAD_NS`].
    pub(super) lead_bytes: u64,
    /// Queue for the flow; allocated when the stream is opened, while the guest can still be told that there is no
    /// memory.
    queue: Queue,
    pub(super) flow: Option<Flow>,
}

/// A stream of a connected device.
#[derive(Debug)]
pub struct Stream {
    config: StreamConfig,
    pub(super) open: Option<Open>,
    pub(super) pending: Option<Pending>,
    volume: Stereo,
    counters: Counters,
}

impl Stream {
    /// Makes a closed stream.
    #[must_use]
    pub fn new(config: StreamConfig) -> Self {
        Self { config, open: None, pending: None, volume: Stereo::FULL, counters: Counters::default() }
    }

    /// Sets another configuration of the host; an open stream stays as it is.
    pub fn reconfigure(&mut self, config: StreamConfig) {
        self.config = config;
    }

    /// Returns the counts of the stream's activity.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Returns the volume, which outlives CLOSE.
    #[must_use]
    pub fn volume(&self) -> Stereo {
        self.volume
    }

    /// Returns true if a request has to be answered before the next may be taken.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.pending.is_some()
    }

    /// Handles a request at `now_ns`.
    pub fn request(&mut self, request: &Request, now_ns: u64) -> Outcome {
        let (id, opcode) = (request.id, request.operation.opcode());
        let success = Response { id, opcode, success: true, volume: None };
        let outcome = match request.operation {
            Operation::Open(params) => {
                // OPEN on an open stream closes it.
                self.open = None;
                let checked = self.check(&params).and_then(|(geometry, lead_bytes)| {
                    let queue = Queue::new(geometry.ring_bytes as usize);
                    Ok((geometry, lead_bytes, queue.ok_or("the host has no memory for its frames")?))
                });
                match checked {
                    Ok((geometry, lead_bytes, queue)) => {
                        self.open = Some(Open { geometry, lead_bytes: lead_bytes.into(), queue, flow: None });
                        Outcome::Open(success, self.config.direction)
                    }
                    Err(reason) => Outcome::Refuse(Response { success: false, ..success }, reason),
                }
            }
            Operation::Close => self.wait_for(request, Awaited::Drained, now_ns),
            Operation::Write(transfer) => self.transfer(request, &transfer, Direction::Playback, now_ns),
            Operation::Read(transfer) => self.transfer(request, &transfer, Direction::Capture, now_ns),
            Operation::SetVolume(volume) => {
                self.volume = volume;
                Outcome::VolumeChanged(success)
            }
            Operation::GetVolume => Outcome::Respond(Response { volume: Some(self.volume), ..success }),
        };
        match outcome {
            Outcome::Respond(response) | Outcome::Refuse(response, _) | Outcome::VolumeChanged(response) => {
                self.count(response);
            }
            Outcome::Open(response, _) => self.count(response),
            Outcome::Start(_) | Outcome::Wait => {}
        }
        outcome
    }

    fn check(&self, open: &OpenParams) -> Result<(Geometry, u32), &'static str> {
        let limits = |direction| match direction {
            Direction::Playback => self.config.playback,
            Direction::Capture => self.config.capture,
        };
        let fits = |limits: &DeviceLimits| {
            limits.formats.contains(open.format)
                && limits.takes_rate(open.rate_hz)
                && limits.channels.contains(u32::from(open.channels))
        };
        let allowed = match self.config.direction {
            Some(direction) => [limits(direction), None],
            None => [self.config.playback, self.config.capture],
        };
        if allowed.iter().flatten().next().is_none() {
            return Err("not allowed by the host's configuration");
        }
        if !allowed.iter().flatten().any(fits) {
            return Err("format, rate or channel count that the host's device does not take");
        }
        let frame_bytes = open.format.frame_bytes(open.channels).filter(|&size| size > 0 && open.rate_hz > 0);
        let frame_bytes = frame_bytes.ok_or("no whole frames with this format and channel count")?;
        if frame_bytes > TRANSFER_BYTES_MAX {
            return Err("a frame is larger than a request can carry");
        }
        let whole = |bytes: u32| bytes.saturating_sub(bytes.checked_rem(frame_bytes).unwrap_or(0));
        let lead_bytes = frames_in(LEAD_NS, open.rate_hz).saturating_mul(frame_bytes);
        let lead_bytes = whole(lead_bytes.min(self.config.lead_bytes_max));
        // The queue has room for a WRITE as soon as the one before it is answered.
        let queue_bytes = lead_bytes.saturating_add(whole(TRANSFER_BYTES_MAX).saturating_mul(2));
        let geometry = Geometry {
            format: open.format,
            rate_hz: open.rate_hz,
            channels: open.channels,
            frame_bytes,
            ring_bytes: queue_bytes,
            buffer_bytes: queue_bytes,
            period_bytes: open.rate_hz.div_ceil(PERIODS_PER_SECOND).saturating_mul(frame_bytes),
        };
        Ok((geometry, lead_bytes))
    }

    fn transfer(&mut self, request: &Request, transfer: &Transfer, direction: Direction, now_ns: u64) -> Outcome {
        let success = Response { id: request.id, opcode: request.operation.opcode(), success: true, volume: None };
        let refuse = |reason| Outcome::Refuse(Response { success: false, ..success }, reason);
        let Some(open) = &self.open else { return refuse("READ or WRITE of a stream that is not open") };
        if !transfer.length().is_multiple_of(open.geometry.frame_bytes) {
            return refuse("no whole number of frames");
        }
        let started = match &open.flow {
            Some(flow) if flow.direction != direction => {
                return refuse("READ of a stream that plays, or WRITE of one that captures");
            }
            Some(_) => true,
            None if self.config.direction.is_some_and(|only| only != direction) => {
                return refuse("the stream is for the other direction");
            }
            None => false,
        };
        let permitted = match direction {
            Direction::Playback => self.config.playback.is_some(),
            Direction::Capture => self.config.capture.is_some(),
        };
        if !permitted {
            return refuse("not allowed by the host's configuration");
        }
        if transfer.length() == 0 {
            return Outcome::Respond(success);
        }
        let frames = u64::from(transfer.length().checked_div(open.geometry.frame_bytes).unwrap_or(0));
        if direction == Direction::Capture && frames > u64::from(frames_in(READ_NS, open.geometry.rate_hz)) {
            return refuse("READ of more than can be captured before the guest gives up");
        }
        let awaited = match direction {
            Direction::Playback => Awaited::Room(*transfer),
            Direction::Capture => Awaited::Captured(*transfer),
        };
        let wait = self.wait_for(request, awaited, now_ns);
        if started { wait } else { Outcome::Start(direction) }
    }

    fn wait_for(&mut self, request: &Request, what: Awaited, now_ns: u64) -> Outcome {
        let until_ns = now_ns.saturating_add(ANSWER_NS);
        self.pending = Some(Pending { id: request.id, opcode: request.operation.opcode(), until_ns, what });
        Outcome::Wait
    }

    /// Starts the flow of frames: the host device is open.
    pub fn start(&mut self, direction: Direction, pace: Pace, now_ns: u64) {
        if let Some(open) = &mut self.open {
            // A stream that is started again, without an OPEN, begins with an empty queue.
            let queue = match open.flow.take() {
                Some(mut flow) => {
                    flow.queue.drop_front(usize::MAX);
                    flow.queue
                }
                None => std::mem::take(&mut open.queue),
            };
            open.flow = Some(Flow::new(direction, &open.geometry, queue, pace, now_ns));
        }
    }

    /// Returns the action that is possible now for the request that is waiting.
    pub fn ready(&mut self, now_ns: u64) -> Option<Ready> {
        let pending = self.pending?;
        let overdue = now_ns >= pending.until_ns;
        match (pending.what, self.open.as_mut().and_then(|open| open.flow.as_mut())) {
            (Awaited::Room(transfer), Some(flow)) => {
                if flow.queue.room() >= transfer.length() as usize {
                    return Some(Ready::Copy(transfer));
                }
                overdue.then(|| Ready::Refuse(self.respond(false), "the host's device takes no more"))
            }
            (Awaited::Captured(transfer), Some(flow)) => {
                if flow.queue.filled() >= transfer.length() as usize {
                    return Some(Ready::Copy(transfer));
                }
                overdue.then(|| Ready::Refuse(self.respond(false), "the host's device gives nothing"))
            }
            (Awaited::Heard(until), Some(flow)) => {
                (overdue || flow.heard() >= until).then(|| Ready::Respond(self.respond(true)))
            }
            (Awaited::Drained, Some(flow)) if flow.direction == Direction::Playback => {
                if flow.heard() < flow.written && !overdue {
                    flow.play_now(now_ns);
                    return None;
                }
                Some(self.closed())
            }
            (Awaited::Drained, _) => Some(self.closed()),
            // No frames come to a stream that is not open.
            (_, None) => Some(Ready::Refuse(self.respond(false), "the stream is not open")),
        }
    }

    fn closed(&mut self) -> Ready {
        self.open = None;
        Ready::Closed(self.respond(true))
    }

    /// Copies between the queue and the guest's pages; returns the response, if there is one now. The pages are not
    /// read or written again.
    pub fn copy(&mut self, pages: &impl SharedMemory, now_ns: u64) -> Option<Response> {
        let pending = self.pending.as_mut()?;
        let open = self.open.as_mut()?;
        let flow = open.flow.as_mut()?;
        match pending.what {
            Awaited::Room(transfer) => {
                if !flow.queue.append_from(pages, transfer.length() as usize) {
                    return Some(self.respond(false));
                }
                flow.brought(transfer.length().into());
                pending.what = Awaited::Heard(flow.written.saturating_sub(open.lead_bytes));
                if !flow.running {
                    if flow.queue.filled() as u64 >= open.lead_bytes {
                        flow.play_now(now_ns);
                    } else {
                        flow.start_at_ns.get_or_insert(now_ns.saturating_add(LEAD_NS));
                    }
                }
                if std::mem::take(&mut flow.interrupted) {
                    self.counters.xruns = self.counters.xruns.saturating_add(1);
                }
                // While the lead is not full, the next WRITE may come immediately.
                match self.ready(now_ns) {
                    Some(Ready::Respond(response)) => Some(response),
                    _ => None,
                }
            }
            Awaited::Captured(transfer) => {
                flow.interrupted = false;
                let moved = flow.queue.move_to(pages, transfer.length() as usize);
                Some(self.respond(moved))
            }
            Awaited::Heard(_) | Awaited::Drained => None,
        }
    }

    /// Answers that the request that is waiting failed.
    pub fn fail(&mut self) -> Option<Response> {
        self.pending.is_some().then(|| self.respond(false))
    }

    /// Forgets the request that is waiting: nobody waits for its answer any more.
    pub fn forget_request(&mut self) {
        self.pending = None;
    }

    /// Closes the stream without being asked, as when its connection ends or its host device cannot be opened.
    pub fn close(&mut self) {
        self.open = None;
        self.pending = None;
    }

    /// Notes a request that was refused before it could be understood.
    pub fn count_refused(&mut self) {
        self.counters.requests = self.counters.requests.saturating_add(1);
        self.counters.errors = self.counters.errors.saturating_add(1);
    }

    fn respond(&mut self, success: bool) -> Response {
        let (id, opcode) = self.pending.take().map_or((0, 0), |pending| (pending.id, pending.opcode));
        let response = Response { id, opcode, success, volume: None };
        self.count(response);
        response
    }

    fn count(&mut self, response: Response) {
        self.counters.requests = self.counters.requests.saturating_add(1);
        self.counters.errors = self.counters.errors.saturating_add(u64::from(!response.success));
    }

    fn count_frames(&mut self, bytes: usize) {
        let frames = self.open.as_ref().map_or(0, |open| open.geometry.frames_in(bytes as u64));
        self.counters.frames = self.counters.frames.saturating_add(frames);
    }

    fn flow(&mut self) -> Option<&mut Flow> {
        self.open.as_mut()?.flow.as_mut()
    }
}

impl Frames for Stream {
    fn direction(&self) -> Option<Direction> {
        Some(self.open.as_ref()?.flow.as_ref()?.direction)
    }

    fn geometry(&self) -> Option<&Geometry> {
        self.open.as_ref().map(|open| &open.geometry)
    }

    fn frames_to_play(&mut self, now_ns: u64, room_frames: usize) -> Option<&[u8]> {
        self.flow()?.frames_to_play(now_ns, room_frames)
    }

    fn played(&mut self, bytes: usize) {
        if let Some(flow) = self.flow() {
            flow.played(bytes);
        }
        self.count_frames(bytes);
    }

    fn set_queued_frames(&mut self, frames: u64) {
        if let Some(open) = &mut self.open
            && let Some(flow) = &mut open.flow
        {
            flow.queued = frames.saturating_mul(u64::from(open.geometry.frame_bytes));
        }
    }

    fn room_to_capture(&mut self, now_ns: u64, available_frames: usize) -> Option<&mut [u8]> {
        let flow = self.open.as_mut()?.flow.as_mut()?;
        flow.room_to_capture(now_ns, available_frames, &mut self.counters)
    }

    fn captured(&mut self, bytes: usize) {
        if let Some(flow) = self.flow() {
            flow.captured(bytes);
        }
        self.count_frames(bytes);
    }

    fn set_pace(&mut self, pace: Pace, now_ns: u64) {
        if let Some(flow) = self.flow() {
            flow.set_pace(pace, now_ns);
        }
    }

    fn run(&self) -> Run {
        match self.open.as_ref() {
            None => Run::Closed,
            Some(open) if open.flow.as_ref().is_some_and(|flow| flow.running) => Run::Running,
            Some(_) => Run::Open,
        }
    }

    fn backlog_frames(&self) -> u64 {
        let Some(open) = &self.open else { return 0 };
        let Some(flow) = &open.flow else { return 0 };
        let bytes = match flow.direction {
            Direction::Playback => flow.written.saturating_sub(flow.heard()),
            Direction::Capture => flow.queue.filled() as u64,
        };
        open.geometry.frames_in(bytes)
    }
}

/// Returns the frames in `duration_ns`, at least one.
pub(super) fn frames_in(duration_ns: u64, rate_hz: u32) -> u32 {
    let frames = u64::from(rate_hz).saturating_mul(duration_ns) / SECOND_NS;
    u32::try_from(frames).unwrap_or(u32::MAX).max(1)
}
