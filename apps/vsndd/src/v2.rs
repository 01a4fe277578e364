//! One connected stream of protocol version 2: its ring and event page on the guest's side, the core in between, a sink
//! or a source on the host's side.

use backend::{Frames, Geometry, Outcome, Refusal, Stream as Core, StreamConfig};
use config::Limits;
use control::EventKind;
use host_audio::{HostStream, StreamAddress};
use pcm::Gain;
use sndif::v2::{BackRing, EventProducer, Operation, Request, Response, Trigger};
use sndif::{Errno, GrantRef, SharedMemory};
use xen::{DomainId, EventChannel, Mapped};

use crate::buffer::{Buffer, BufferError, Mapping};
use crate::endpoint::Endpoint;
use crate::host::{HostSide, NotOpened, told};
use crate::policy::Route;
use crate::poller::Poller;
use crate::quota::{self, Account, Quota};
use crate::refine::refine;
use crate::totals::Violation;
use crate::transport::Attached;
use crate::turn::{After, REQUEST_BUDGET, Turn};

/// A request that takes several turns. The guest's next requests wait until it is answered.
enum Underway {
    /// An OPEN or CLOSE, while the buffer of the stream that it ends is being unmapped.
    Unmapping(Buffer, Request),
    /// An OPEN whose buffer is being mapped.
    Mapping(Opening<Mapping>),
    /// An OPEN whose device is being opened.
    Opening(Opening<Buffer>),
    /// A long WRITE or READ.
    Copying,
}

/// An OPEN that was found correct.
struct Opening<M> {
    response: Response,
    geometry: Geometry,
    memory: M,
}

/// Progress of a request.
enum Step {
    /// The request is answered.
    Answered(Response),
    /// The next step, or the next request, can follow at once.
    Taken,
    /// The next step follows an event.
    Waits,
}

/// The pages that a guest shares for a stream, each with its event channel.
pub(crate) struct Shared {
    pub(crate) ring: Attached,
    pub(crate) events: Attached,
    /// The guest says of which events it is to be notified.
    pub(crate) event_hold_off: bool,
}

/// A connected stream.
pub(crate) struct GuestStream {
    guest: DomainId,
    core: Core<Buffer>,
    ring: BackRing<Mapped>,
    channel: EventChannel,
    events: EventProducer<Mapped>,
    event_channel: EventChannel,
    endpoint: Endpoint,
    host: HostSide,
    underway: Option<Underway>,
    quota: Quota,
    /// Notifications sent to the guest.
    notifications: u64,
    /// Times that sound was lost, as far as that was told.
    told_xruns: u64,
    /// Time of the stream's last turn.
    turned_ns: u64,
}

impl GuestStream {
    pub(crate) fn new(
        guest: DomainId,
        label: StreamAddress,
        account: Account,
        config: StreamConfig,
        shared: Shared,
        endpoint: Endpoint,
    ) -> Self {
        let Shared { ring, events, event_hold_off } = shared;
        Self {
            guest,
            core: Core::new(config),
            ring: BackRing::new(ring.page),
            channel: ring.channel,
            events: EventProducer::new(events.page).with_hold_off(event_hold_off),
            event_channel: events.channel,
            endpoint,
            host: HostSide::new(label, account.log),
            underway: None,
            quota: account.quota,
            notifications: 0,
            told_xruns: 0,
            turned_ns: 0,
        }
    }

    /// The event channel of the ring.
    pub(crate) fn channel(&self) -> &EventChannel {
        &self.channel
    }

    /// Returns the time at which the stream needs its next turn, if any.
    pub(crate) fn next_wake_ns(&self, poller: &Poller) -> Option<u64> {
        self.core.next_wake_ns().into_iter().chain(self.host.next_wake_ns(poller)).min()
    }

    /// Handles what is in the ring, moves frames and tells the position.
    pub(crate) fn turn(&mut self, turn: &mut Turn<'_>) -> After {
        self.turned_ns = turn.now_ns;
        self.host.attend(&mut self.core, turn);
        let after = self.serve_ring(turn);
        self.host.move_frames(&mut self.core, turn);
        let told = self.put_position(turn);
        self.answer_kept_reads();
        self.publish();
        if told {
            // One notification tells of answers and events: a guest that has laid out READs finds them answered.
            self.notify_of_events();
        }
        // Only now it is known whether the next WRITE can wait.
        let after = match after {
            After::Idle if self.underway.is_none() && self.ring.arm(self.core.requests_awaited()) => After::More,
            after => after,
        };
        let xruns = self.core.counters().xruns + self.host.xruns();
        if xruns != self.told_xruns {
            self.host.tell_xruns(xruns - self.told_xruns, turn);
            self.told_xruns = xruns;
        }
        after
    }

    /// Describes the stream and its activity.
    pub(crate) fn describe(&self, stream: &mut control::Stream, levels: bool) {
        let counters = self.core.counters();
        stream.direction = Some(told(self.core.direction()));
        stream.requests = counters.requests;
        stream.refused = counters.errors;
        stream.frames = counters.frames;
        stream.xruns = self.told_xruns;
        stream.notifications_out = self.notifications;
        self.host.describe(&self.core, &self.endpoint, stream, levels);
    }

    /// Ends measuring levels.
    pub(crate) fn stop_measuring(&self) {
        self.host.stop_measuring();
    }

    /// Takes up another override of the host.
    pub(crate) fn change(&mut self, route: Route, config: impl FnOnce(&Endpoint) -> StreamConfig, turn: &mut Turn<'_>) {
        if self.endpoint.change(route) {
            self.core.reconfigure(config(&self.endpoint));
        }
        self.host.change(&self.endpoint, &mut self.core, turn);
    }

    /// After the host device's descriptor became readable.
    pub(crate) fn device_woke(&mut self, turn: &mut Turn<'_>) {
        self.host.device_woke(&mut self.core, turn);
    }

    fn serve_ring(&mut self, turn: &mut Turn<'_>) -> After {
        let mut budget = REQUEST_BUDGET;
        let mut after = After::Idle;
        loop {
            let step = match self.underway.take() {
                Some(underway) => self.go_on(underway, turn),
                None => match self.ring.take() {
                    Ok(Some(packet)) => {
                        let step = self.answer(&packet, turn);
                        // STOP, CLOSE and OPEN end READs that were laid out, whose answers come first.
                        self.answer_kept_reads();
                        step
                    }
                    Ok(None) => break,
                    Err(violation) => {
                        after = After::Broken(violation);
                        break;
                    }
                },
            };
            match step {
                Step::Answered(response) => {
                    self.ring.respond(&response.emit());
                }
                Step::Taken => {}
                Step::Waits => break,
            }
            budget -= 1;
            if budget == 0 || turn.is_spent() {
                after = After::More;
                break;
            }
        }
        self.publish();
        after
    }

    fn publish(&mut self) {
        if self.ring.publish() {
            // A closed other end is no error; its death is told by the store.
            let _ = self.channel.notify();
            self.notifications += 1;
        }
    }

    fn answer_kept_reads(&mut self) {
        while let Some(response) = self.core.kept_read() {
            self.ring.respond(&response.emit());
        }
    }

    /// Handles a request.
    fn answer(&mut self, packet: &[u8; sndif::v2::PACKET_BYTES], turn: &mut Turn<'_>) -> Step {
        let request = match Request::parse(packet) {
            Ok(request) => request,
            Err(rejected) => {
                self.host.violation(turn, Violation::Request, rejected);
                return Step::Answered(Response {
                    id: rejected.id,
                    opcode: rejected.opcode,
                    result: Err(rejected.errno),
                    params: None,
                });
            }
        };
        turn.spent_bytes += match request.operation {
            Operation::Read(span) | Operation::Write(span) | Operation::ReadAhead { span, .. } => span.length.into(),
            _ => 0,
        };
        // Frames that are due have sounded, though nobody looked since: a guest that knows the time stops within a
        // period, when its sound ends.
        let holds = matches!(request.operation, Operation::Trigger(Trigger::Stop | Trigger::Pause));
        if holds && self.core.is_clocked() {
            self.host.move_frames(&mut self.core, turn);
        }
        // The stream that an OPEN replaces is closed before the new one is checked.
        if matches!(request.operation, Operation::Open(_) | Operation::Close) {
            self.close_host(turn);
            if let Some(buffer) = self.core.close() {
                self.underway = Some(Underway::Unmapping(buffer, request));
                return Step::Taken;
            }
        }
        self.carry_out(&request, turn)
    }

    /// Takes the next step of the request that is under way.
    fn go_on(&mut self, underway: Underway, turn: &mut Turn<'_>) -> Step {
        match underway {
            Underway::Unmapping(mut buffer, request) => {
                turn.spent_bytes += buffer.unmap_part();
                if buffer.is_empty() {
                    // The buffer's share of the quota is free for the OPEN.
                    drop(buffer);
                    return self.carry_out(&request, turn);
                }
                self.underway = Some(Underway::Unmapping(buffer, request));
                Step::Taken
            }
            Underway::Mapping(opening) => self.map(opening, turn),
            Underway::Opening(opening) => self.opened(opening, turn),
            Underway::Copying => self.copy(turn),
        }
    }

    fn carry_out(&mut self, request: &Request, turn: &mut Turn<'_>) -> Step {
        let response = match self.core.request(request, turn.now_ns) {
            Outcome::Respond(response) => {
                if let Some(refusal) = self.core.take_refusal() {
                    self.host.refuse(turn, refusal);
                }
                refine(response, |stream| self.endpoint.minimums(self.core.direction(), stream))
            }
            Outcome::Closed(response) => response,
            Outcome::Copying(_) => {
                self.underway = Some(Underway::Copying);
                return Step::Taken;
            }
            Outcome::Kept => return Step::Taken,
            Outcome::Open(geometry, directory) => {
                let opcode = request.operation.opcode();
                let response = Response { id: request.id, opcode, result: Ok(()), params: None };
                match self.open(response, geometry, directory, turn) {
                    Ok(()) => return Step::Taken,
                    Err(errno) => self.refused(response, errno),
                }
            }
            Outcome::Started(response) => self.steer(response, turn, |stream| stream.start()),
            Outcome::Paused(response) => self.steer(response, turn, |stream| stream.pause(true)),
            Outcome::Resumed(response) => self.steer(response, turn, |stream| stream.pause(false)),
            Outcome::Stopped(response) => {
                let response = self.steer(response, turn, |stream| stream.stop());
                self.tell_position(turn);
                response
            }
            Outcome::VolumeChanged(response) => {
                self.change_gain();
                response
            }
        };
        Step::Answered(response)
    }

    /// Begins to map the buffer that an OPEN names, if the quota has room for it.
    fn open(
        &mut self,
        response: Response,
        geometry: Geometry,
        directory: GrantRef,
        turn: &mut Turn<'_>,
    ) -> Result<(), Errno> {
        let most = self.endpoint.route().limits.buffer_bytes_per_domain.unwrap_or(Limits::BUFFER_BYTES_PER_DOMAIN);
        let Some(reserved) = self.quota.reserve(geometry.buffer_bytes.into(), most) else {
            self.host.refuse(turn, quota::Exceeded { most });
            return Err(Errno::ENOMEM);
        };
        let memory = Mapping::new(self.guest, directory, geometry.buffer_bytes, reserved)
            .map_err(|error| self.not_mapped(&error, turn))?;
        self.underway = Some(Underway::Mapping(Opening { response, geometry, memory }));
        Ok(())
    }

    /// Maps the next part of the buffer of an OPEN, and makes the next part of the mirror; then begins to open the device.
    fn map(&mut self, mut opening: Opening<Mapping>, turn: &mut Turn<'_>) -> Step {
        let Opening { response, geometry, .. } = opening;
        match opening.memory.go_on(turn.xen) {
            Ok(bytes) => turn.spent_bytes += bytes,
            Err(error) => {
                let errno = self.not_mapped(&error, turn);
                return Step::Answered(self.refused(response, errno));
            }
        }
        self.core.prepare(&geometry, |part| pcm::fill_silence(geometry.format, part));
        if !opening.memory.is_complete() {
            self.underway = Some(Underway::Mapping(opening));
            return Step::Taken;
        }
        // The host may have decided otherwise while the buffer was being mapped.
        if self.endpoint.route().is_refused() {
            self.host.refuse(turn, Refusal::DENIED);
            return Step::Answered(self.refused(response, Refusal::DENIED.errno));
        }
        if let Err(error) = self.host.open(&self.endpoint, self.core.direction(), &geometry, turn) {
            return Step::Answered(self.refused(response, errno(error)));
        }
        let memory = opening.memory.into_buffer();
        self.underway = Some(Underway::Opening(Opening { response, geometry, memory }));
        Step::Taken
    }

    /// Reports that a buffer cannot be mapped.
    fn not_mapped(&mut self, error: &BufferError, turn: &mut Turn<'_>) -> Errno {
        let (kind, errno) = match error {
            BufferError::Directory(_) | BufferError::Twice(_) => (Violation::Directory, Errno::EINVAL),
            BufferError::Map(_) => (Violation::Grant, Errno::EFAULT),
            BufferError::Memory(_) => {
                self.host.refuse(turn, error);
                return Errno::ENOMEM;
            }
        };
        self.host.violation(turn, kind, format_args!("OPEN refused: {error}"));
        errno
    }

    /// The answer to an OPEN that failed; the memory for its stream is freed.
    fn refused(&mut self, response: Response, errno: Errno) -> Response {
        self.core.close();
        Response { result: Err(errno), ..response }
    }

    /// Answers the OPEN whose buffer is mapped, once its device is open or cannot be.
    fn opened(&mut self, opening: Opening<Buffer>, turn: &mut Turn<'_>) -> Step {
        let Some(outcome) = self.host.opened(turn) else {
            self.underway = Some(Underway::Opening(opening));
            return Step::Waits;
        };
        let Opening { response, geometry, memory } = opening;
        Step::Answered(match outcome {
            Ok(pace) => {
                self.core.opened(geometry, memory, pace, |part| pcm::fill_silence(geometry.format, part));
                response
            }
            Err(error) => self.refused(response, errno(error)),
        })
    }

    /// Copies the next part of a long WRITE or READ.
    fn copy(&mut self, turn: &mut Turn<'_>) -> Step {
        match self.core.copy(turn.now_ns) {
            Some(response) => Step::Answered(response),
            None => {
                turn.spent_bytes += u64::from(backend::PART_BYTES);
                self.underway = Some(Underway::Copying);
                Step::Taken
            }
        }
    }

    fn steer(
        &mut self,
        response: Response,
        turn: &mut Turn<'_>,
        act: impl FnOnce(&mut dyn HostStream) -> Result<(), host_audio::Error>,
    ) -> Response {
        self.host.steer(&mut self.core, turn, act);
        response
    }

    fn change_gain(&mut self) {
        let Some(geometry) = self.core.geometry() else { return };
        let mut gain = Gain::new(geometry.channels);
        if let Some((volumes, muted)) = self.core.volume() {
            for (channel, (&volume, &mute)) in volumes.iter().zip(muted).enumerate() {
                gain.set_volume(channel, volume);
                gain.set_mute(channel, mute);
            }
        }
        self.host.set_gain(gain);
    }

    fn tell_position(&mut self, turn: &mut Turn<'_>) {
        if self.put_position(turn) {
            self.notify_of_events();
        }
    }

    fn notify_of_events(&mut self) {
        let _ = self.event_channel.notify();
        self.notifications += 1;
    }

    /// Puts the position into the event page, if it is to be told; returns whether the guest is to be notified.
    fn put_position(&mut self, turn: &mut Turn<'_>) -> bool {
        let now_ns = turn.now_ns;
        let Some(position) = self.core.event(now_ns) else { return false };
        if let Some(latency_us) = self.core.latency_us() {
            turn.journal.totals.latency(self.core.direction(), latency_us);
        }
        match self.events.push(position) {
            Ok(notify) => {
                self.core.event_sent(position, now_ns);
                // A guest that is notified seldom is told of an xrun, or of the end, at once.
                notify || self.core.has_run_dry()
            }
            Err(sndif::v2::EventPageFull) => {
                self.core.event_deferred(now_ns);
                false
            }
        }
    }

    fn close_host(&mut self, turn: &mut Turn<'_>) {
        if self.host.is_open() {
            turn.journal.push(EventKind::Close, self.host.label(), "closed by the guest");
        }
        self.close_device();
    }

    fn close_device(&mut self) {
        let counters = self.core.counters();
        self.host.close(
            self.turned_ns,
            format_args!(
                "{} frames since it was connected, {} requests ({} refused), {} events, {} xruns",
                counters.frames, counters.requests, counters.errors, counters.events, self.told_xruns,
            ),
        );
    }
}

impl Drop for GuestStream {
    fn drop(&mut self) {
        // Stop events, close the host's side, unmap: also when the guest vanished in the middle.
        self.close_device();
        self.core.close();
    }
}

fn errno(refused: NotOpened) -> Errno {
    if refused.no_resources { Errno::ENOMEM } else { Errno::ENODEV }
}

#[cfg(test)]
mod tests;
