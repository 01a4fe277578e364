//! A stream of protocol version 2: its requests, the OPEN that maps in parts, and its event page.

use backend::{Counters, Frames, Geometry, Offer, Outcome, Refusal, Stream as Core, StreamConfig};
use config::Limits;
use host_audio::{HostStream, StreamAddress};
use pcm::Gain;
use sndif::store::Direction;
use sndif::v2::{BackRing, EventProducer, Operation, Request, Response, Trigger};
use sndif::{Errno, GrantRef, SharedMemory};
use xen::{EventChannel, Mapped};

use super::{Asked, GuestStream, Protocol};
use crate::buffer::{Buffer, BufferError, Mapping};
use crate::card::{Described, Kind};
use crate::endpoint::Endpoint;
use crate::host::NotOpened;
use crate::policy::Route;
use crate::quota::{self, Account};
use crate::refine::refine;
use crate::totals::Violation;
use crate::transport::Attached;
use crate::turn::{After, REQUEST_BUDGET, Turn};

/// A request that takes several turns.
pub(super) enum Underway {
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
pub(super) struct Opening<M> {
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

/// The endpoint of a stream's one direction, and its event page.
pub(super) struct V2 {
    endpoint: Endpoint,
    events: EventProducer<Mapped>,
    event_channel: EventChannel,
}

/// A stream on pages that the guest has made for this connection: the ring and the event page.
pub(super) fn connect(
    asked: &Asked<'_>,
    described: &Described,
    [ring, events]: [Attached; 2],
    account: Account,
    route: Route,
) -> GuestStream<V2> {
    let Described { label, direction, write_hold_off, event_hold_off, .. } = described;
    tracing::debug!(stream = %asked.label, label = %label, "{direction} connected to {}", route.device);
    let producer = EventProducer::new(events.page).with_hold_off(*event_hold_off);
    let own = V2 {
        endpoint: asked.endpoint(route),
        // A frontend that knows an extension of this project is not Linux's own, and counts ids over the connection.
        events: if *write_hold_off || *event_hold_off { producer } else { producer.with_probe() },
        event_channel: events.channel,
    };
    let core = Core::new(own.config(asked.label, described));
    GuestStream::new(asked.guest, asked.label, account, core, BackRing::new(ring.page), ring.channel, own)
}

impl V2 {
    fn config(&self, label: StreamAddress, described: &Described) -> StreamConfig {
        StreamConfig {
            direction: described.direction,
            offer: Offer {
                store: described.limits,
                device: self.endpoint.limits(&label, described.direction),
                host: self.endpoint.route().host_limits(),
                control_bytes: described.control_bytes,
            },
            permitted: !self.endpoint.route().is_refused(),
            write_hold_off: described.write_hold_off,
        }
    }
}

impl Protocol for V2 {
    type Core = Core<Buffer>;
    type Ring = BackRing<Mapped>;
    type Underway = Underway;
    const HAS_EVENTS: bool = true;

    fn counters(core: &Self::Core) -> Counters {
        core.counters()
    }

    fn next_wake_ns(core: &Self::Core) -> Option<u64> {
        core.next_wake_ns()
    }

    fn endpoint(&self, _: Option<Direction>) -> &Endpoint {
        &self.endpoint
    }

    fn change(&mut self, core: &mut Self::Core, label: StreamAddress, kind: &Kind, route: &dyn Fn(Direction) -> Route) {
        let Kind::V2(described) = kind else { return };
        if self.endpoint.change(route(described.direction)) {
            core.reconfigure(self.config(label, described));
        }
    }

    /// Handles what is in the ring, moves frames and tells the position.
    fn serve(stream: &mut GuestStream<Self>, turn: &mut Turn<'_>) -> After {
        let after = stream.serve_ring(turn);
        stream.host.move_frames(&mut stream.core, turn);
        let told = stream.put_position(turn);
        stream.answer_kept_reads();
        stream.publish();
        if told {
            // One notification tells of answers and events: a guest that has laid out READs finds them answered.
            stream.notify_of_events();
        }
        // Only now it is known whether the next WRITE can wait.
        match after {
            After::Idle if stream.underway.is_none() && stream.ring.arm(stream.core.requests_awaited()) => After::More,
            after => after,
        }
    }
}

impl GuestStream<V2> {
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
            self.notify();
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
                refine(response, |stream| self.own.endpoint.minimums(self.core.direction(), stream))
            }
            Outcome::Closed(response) => response,
            Outcome::Copying(_) => {
                self.underway = Some(Underway::Copying);
                return Step::Taken;
            }
            Outcome::Kept => return Step::Taken,
            Outcome::Open(geometry, directory) => {
                self.own.events.begin_stream();
                let opcode = request.operation.opcode();
                let response = Response { id: request.id, opcode, result: Ok(()), params: None };
                match self.open(response, geometry, directory, turn) {
                    Ok(()) => return Step::Taken,
                    Err(errno) => self.refused(response, errno),
                }
            }
            Outcome::Started(response) => self.operate(response, turn, |stream| stream.start()),
            Outcome::Paused(response) => self.operate(response, turn, |stream| stream.pause(true)),
            Outcome::Resumed(response) => self.operate(response, turn, |stream| stream.pause(false)),
            Outcome::Stopped(response) => {
                let response = self.operate(response, turn, |stream| stream.stop());
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
        let most = self.own.endpoint.route().limits.buffer_bytes_per_domain.unwrap_or(Limits::BUFFER_BYTES_PER_DOMAIN);
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
        if self.own.endpoint.route().is_refused() {
            self.host.refuse(turn, Refusal::DENIED);
            return Step::Answered(self.refused(response, Refusal::DENIED.errno));
        }
        if let Err(error) = self.host.open(&self.own.endpoint, self.core.direction(), &geometry, turn) {
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

    fn operate(
        &mut self,
        response: Response,
        turn: &mut Turn<'_>,
        act: impl FnOnce(&mut dyn HostStream) -> Result<(), host_audio::Error>,
    ) -> Response {
        self.host.operate(&mut self.core, turn, act);
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
        let _ = self.own.event_channel.notify();
        self.notifications += 1;
    }

    /// Puts the position into the event page, if it is to be told; returns whether the guest is to be notified.
    fn put_position(&mut self, turn: &mut Turn<'_>) -> bool {
        let now_ns = turn.now_ns;
        let Some(position) = self.core.event(now_ns) else { return false };
        if let Some(latency_us) = self.core.latency_us() {
            turn.journal.totals.latency(self.core.direction(), latency_us);
        }
        match self.own.events.push(position) {
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
}

fn errno(refused: NotOpened) -> Errno {
    if refused.no_resources { Errno::ENOMEM } else { Errno::ENODEV }
}

#[cfg(test)]
mod tests;
