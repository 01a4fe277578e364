//! One connected stream of protocol version 2: its ring and event page on the guest's side, the core in between, a sink
//! or a source on the host's side.

use backend::{Frames, Geometry, Outcome, Stream as Core, StreamConfig};
use config::Limits;
use control::EventKind;
use host_audio::{HostStream, StreamAddress};
use pcm::Gain;
use sndif::Errno;
use sndif::v2::{BackRing, EventProducer, Operation, Request, Response, Trigger};
use xen::{DomainId, EventChannel, Mapped};

use crate::endpoint::Endpoint;
use crate::host::{HostSide, NotOpened, told};
use crate::policy::Route;
use crate::poller::Poller;
use crate::quota::{self, Account, Quota, Reserved};
use crate::refine::refine;
use crate::totals::Violation;
use crate::transport::{Attached, BufferError, map_buffer};
use crate::turn::{After, REQUEST_BUDGET, Turn};

/// An OPEN whose device is being opened. What the guest asks for next waits until that is answered.
struct Opening {
    response: Response,
    geometry: Geometry,
    memory: Mapped,
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
    core: Core<Mapped>,
    ring: BackRing<Mapped>,
    channel: EventChannel,
    events: EventProducer<Mapped>,
    event_channel: EventChannel,
    endpoint: Endpoint,
    host: HostSide,
    opening: Option<Opening>,
    /// A long WRITE or READ is under way.
    copying: bool,
    quota: Quota,
    /// Share of the open buffer in the quota.
    reserved: Option<Reserved>,
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
            opening: None,
            copying: false,
            quota: account.quota,
            reserved: None,
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
            After::Idle if self.awaits_request() && self.ring.arm(self.core.requests_awaited()) => After::More,
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

    /// Returns true if the stream takes the next request; false while an OPEN or a copy is not finished.
    fn awaits_request(&self) -> bool {
        self.opening.is_none() && !self.copying
    }

    fn serve_ring(&mut self, turn: &mut Turn<'_>) -> After {
        let mut budget = REQUEST_BUDGET;
        let mut after = After::Idle;
        loop {
            let response = if self.opening.is_some() {
                match self.opened(turn) {
                    None => break,
                    opened => opened,
                }
            } else if self.copying {
                match self.copy(turn) {
                    None => {
                        after = After::More;
                        break;
                    }
                    copied => copied,
                }
            } else {
                match self.ring.take() {
                    Ok(Some(packet)) => {
                        let answer = self.answer(&packet, turn);
                        // STOP, CLOSE and OPEN end READs that were laid out, whose answers come first.
                        self.answer_kept_reads();
                        answer
                    }
                    Ok(None) => break,
                    Err(violation) => {
                        after = After::Broken(violation);
                        break;
                    }
                }
            };
            if let Some(response) = response {
                self.ring.respond(&response.emit());
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

    /// Handles a request; `None` when its answer is still to come.
    fn answer(&mut self, packet: &[u8; sndif::v2::PACKET_BYTES], turn: &mut Turn<'_>) -> Option<Response> {
        let request = match Request::parse(packet) {
            Ok(request) => request,
            Err(rejected) => {
                self.host.violation(turn, Violation::Request, rejected);
                return Some(Response {
                    id: rejected.id,
                    opcode: rejected.opcode,
                    result: Err(rejected.errno),
                    params: None,
                });
            }
        };
        turn.spent_bytes += match request.operation {
            // Longer ones are copied in parts.
            Operation::Read(span) | Operation::Write(span) | Operation::ReadAhead { span, .. } => span.length.into(),
            Operation::Open(open) => open.buffer_bytes.into(),
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
        }
        let response = match self.core.request(&request, turn.now_ns) {
            Outcome::Respond(response) => {
                if let Some(refusal) = self.core.take_refusal() {
                    self.host.refuse(turn, refusal);
                }
                refine(response, |stream| self.endpoint.minimums(self.core.direction(), stream))
            }
            Outcome::Closed(response) => response,
            Outcome::Copying(_) => {
                self.copying = true;
                return None;
            }
            Outcome::Kept => return None,
            Outcome::Open(geometry, directory) => {
                let opcode = request.operation.opcode();
                let response = Response { id: request.id, opcode, result: Ok(()), params: None };
                let begun = self.open(response, geometry, directory, turn);
                Response { result: Err(begun.err()?), ..response }
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
        Some(response)
    }

    /// Begins to open what an OPEN asks for.
    fn open(
        &mut self,
        response: Response,
        geometry: Geometry,
        directory: sndif::GrantRef,
        turn: &mut Turn<'_>,
    ) -> Result<(), Errno> {
        // The reservation of an earlier OPEN is given back first.
        self.reserved = None;
        let most = self.endpoint.route().limits.buffer_bytes_per_domain.unwrap_or(Limits::BUFFER_BYTES_PER_DOMAIN);
        let Some(reserved) = self.quota.reserve(geometry.buffer_bytes.into(), most) else {
            self.host.refuse(turn, quota::Exceeded { most });
            return Err(Errno::ENOMEM);
        };
        let memory = map_buffer(turn.xen, self.guest, directory, geometry.buffer_bytes).map_err(|error| {
            let (kind, errno) = match error {
                BufferError::Directory(_) | BufferError::Twice(_) => (Violation::Directory, Errno::EINVAL),
                BufferError::Map(_) => (Violation::Grant, Errno::EFAULT),
            };
            self.host.violation(turn, kind, format_args!("OPEN refused: {error}"));
            errno
        })?;
        self.host.open(&self.endpoint, self.core.direction(), &geometry, turn).map_err(errno)?;
        self.opening = Some(Opening { response, geometry, memory });
        self.reserved = Some(reserved);
        Ok(())
    }

    /// The answer to the OPEN that waits, once its device is open or cannot be.
    fn opened(&mut self, turn: &mut Turn<'_>) -> Option<Response> {
        let outcome = self.host.opened(turn)?;
        let Opening { response, geometry, memory } = self.opening.take()?;
        let result = outcome.map_err(errno).map(|pace| {
            self.core.opened(geometry, memory, pace, |mirror| pcm::fill_silence(geometry.format, mirror));
        });
        Some(Response { result, ..response })
    }

    /// The next part of a long WRITE or READ; its answer once all is copied.
    fn copy(&mut self, turn: &Turn<'_>) -> Option<Response> {
        let response = self.core.copy(turn.now_ns)?;
        self.copying = false;
        Some(response)
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
        self.reserved = None;
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
