//! A stream of protocol version 0: its requests, which are answered one after the other.

use backend::v0::{Outcome, Ready, Stream as Core, StreamConfig};
use backend::{Counters, Frames};
use config::Limits;
use host_audio::StreamAddress;
use pcm::Gain;
use sndif::store::Direction;
use sndif::v0::{BackRing, PACKET_BYTES, Request, Response, Transfer};
use xen::{Access, Mapped};

use super::{Asked, GuestStream, Protocol};
use crate::card::Kind;
use crate::endpoint::Endpoint;
use crate::policy::Route;
use crate::quota::{self, Account, Reserved};
use crate::totals::Violation;
use crate::transport::Attached;
use crate::turn::{After, REQUEST_BUDGET, Turn};

/// A device that is being opened.
pub(super) struct Opening {
    direction: Direction,
    /// Answer to the OPEN that waits for the device; `None` if OPEN was answered before, and the first READ or WRITE
    /// waits.
    response: Option<Response>,
}

/// Both endpoints of a stream, whose direction may be settled late.
pub(super) struct V0 {
    sink: Endpoint,
    source: Endpoint,
    /// Share of the open stream's buffer in the quota.
    reserved: Option<Reserved>,
}

/// A stream on a ring that the guest may have used with an earlier daemon.
pub(super) fn connect(
    asked: &Asked<'_>,
    direction: Option<Direction>,
    ring: Attached,
    account: Account,
    route: impl Fn(Direction) -> Route,
) -> GuestStream<V0> {
    let (sink, source) = (asked.endpoint(route(Direction::Playback)), asked.endpoint(route(Direction::Capture)));
    let (to, from) = (&sink.route().device, &source.route().device);
    tracing::debug!(stream = %asked.label, "connected to {to} and {from}");
    let own = V0 { sink, source, reserved: None };
    let core = Core::new(own.config(asked.label, direction));
    GuestStream::new(asked.guest, asked.label, account, core, BackRing::taken_over(ring.page), ring.channel, own)
}

impl V0 {
    fn config(&self, label: StreamAddress, direction: Option<Direction>) -> StreamConfig {
        let limits = |endpoint: &Endpoint, wanted| {
            let used = direction.is_none_or(|direction| direction == wanted);
            let permitted = !endpoint.route().is_refused();
            (permitted && used).then(|| endpoint.limits(&label, wanted))
        };
        StreamConfig {
            direction,
            playback: limits(&self.sink, Direction::Playback),
            capture: limits(&self.source, Direction::Capture),
            lead_bytes_max: self.sink.route().host_limits().buffer_bytes_max,
        }
    }
}

impl Protocol for V0 {
    type Core = Core;
    type Ring = BackRing<Mapped>;
    type Underway = Opening;
    const HAS_EVENTS: bool = false;

    fn counters(core: &Core) -> Counters {
        core.counters()
    }

    fn next_wake_ns(core: &Core) -> Option<u64> {
        core.next_wake_ns()
    }

    fn endpoint(&self, direction: Option<Direction>) -> &Endpoint {
        if direction == Some(Direction::Capture) { &self.source } else { &self.sink }
    }

    fn change(&mut self, core: &mut Core, label: StreamAddress, kind: &Kind, route: &dyn Fn(Direction) -> Route) {
        let Kind::V0(direction) = kind else { return };
        // `|`, not `||`: both are changed.
        if self.sink.change(route(Direction::Playback)) | self.source.change(route(Direction::Capture)) {
            core.reconfigure(self.config(label, *direction));
        }
    }

    /// Goes on with the ring of a guest that was resumed. The guest has lost its request, and believes its stream open.
    fn resume(stream: &mut GuestStream<Self>, ring: Attached) {
        stream.ring = BackRing::taken_over(ring.page);
        stream.channel = ring.channel;
        stream.holds_port = false;
        stream.core.forget_request();
        if let Some(opening) = &mut stream.underway {
            opening.response = None;
        }
    }

    fn serve(stream: &mut GuestStream<Self>, turn: &mut Turn<'_>) -> After {
        let mut budget = REQUEST_BUDGET;
        // Frames that are moved complete requests, and WRITEs bring frames that may be due.
        loop {
            stream.host.move_frames(&mut stream.core, turn);
            let before = budget;
            let after = stream.serve_ring(turn, &mut budget);
            if after != After::Idle || budget == before {
                stream.host.move_frames(&mut stream.core, turn);
                return after;
            }
        }
    }
}

impl GuestStream<V0> {
    fn serve_ring(&mut self, turn: &mut Turn<'_>, budget: &mut u32) -> After {
        let mut after = After::Idle;
        loop {
            let response = if self.underway.is_some() {
                match self.opened(turn) {
                    Some(Some(response)) => response,
                    Some(None) => continue,
                    None => break,
                }
            } else if self.core.is_waiting() {
                match self.settle(turn) {
                    Some(response) => response,
                    None => break,
                }
            } else {
                match self.ring.take() {
                    Ok(Some(packet)) => match self.answer(&packet, turn) {
                        Some(response) => response,
                        None => continue,
                    },
                    Ok(None) if self.ring.arm(1) => continue,
                    Ok(None) => break,
                    Err(violation) => {
                        after = After::Broken(violation);
                        break;
                    }
                }
            };
            self.ring.respond(&response.emit());
            *budget -= 1;
            if *budget == 0 || turn.is_spent() {
                after = After::More;
                break;
            }
        }
        if self.ring.publish() {
            self.notify();
            if let (Some(direction), Some(latency_us)) = (self.core.direction(), self.core.latency_us()) {
                turn.journal.totals.latency(direction, latency_us);
            }
        }
        after
    }

    /// Handles a request; `None` if its answer has to wait.
    fn answer(&mut self, packet: &[u8; PACKET_BYTES], turn: &mut Turn<'_>) -> Option<Response> {
        let request = match Request::parse(packet) {
            Ok(request) => request,
            Err(rejected) => {
                self.core.count_refused();
                self.host.violation(turn, Violation::Request, rejected);
                return Some(Response { id: rejected.id, opcode: rejected.opcode, success: false, volume: None });
            }
        };
        // A stream that an OPEN replaces is closed before the new one is checked.
        if matches!(request.operation, sndif::v0::Operation::Open(_)) {
            self.close_open(turn);
        }
        match self.core.request(&request, turn.now_ns) {
            Outcome::Respond(response) => Some(response),
            Outcome::Refuse(response, reason) => {
                self.host
                    .warn(turn.now_ns, format_args!("request with operation {} refused: {reason}", response.opcode));
                Some(response)
            }
            Outcome::Open(response, None) => Some(response),
            Outcome::Open(response, Some(direction)) => self.open(direction, Some(response), turn),
            Outcome::Start(direction) => self.open(direction, None, turn),
            Outcome::Wait => None,
            Outcome::VolumeChanged(response) => {
                self.change_gain();
                Some(response)
            }
        }
    }

    /// Completes the request that waits, if that is possible now.
    fn settle(&mut self, turn: &mut Turn<'_>) -> Option<Response> {
        match self.core.ready(turn.now_ns)? {
            Ready::Respond(response) => Some(response),
            Ready::Refuse(response, reason) => {
                self.host
                    .warn(turn.now_ns, format_args!("request with operation {} failed: {reason}", response.opcode));
                Some(response)
            }
            Ready::Closed(response) => {
                self.close_open(turn);
                Some(response)
            }
            Ready::Copy(transfer) => self.copy(&transfer, turn),
        }
    }

    /// Copies frames from or to the guest's pages, which are mapped for the copy alone: later changes by the guest are
    /// not seen.
    fn copy(&mut self, transfer: &Transfer, turn: &mut Turn<'_>) -> Option<Response> {
        let access = match self.core.direction() {
            Some(Direction::Capture) => Access::ReadWrite,
            _ => Access::ReadOnly,
        };
        turn.spent_bytes += (transfer.refs().len() * sndif::PAGE_BYTES) as u64;
        match turn.xen.map(self.guest, transfer.refs(), access) {
            Ok(pages) => self.core.copy(&pages, turn.now_ns),
            Err(error) => {
                self.host.violation(turn, Violation::Grant, format_args!("request refused: {error}"));
                self.core.fail()
            }
        }
    }

    /// Begins to open the host's side; returns the answer if that fails immediately.
    fn open(&mut self, direction: Direction, response: Option<Response>, turn: &mut Turn<'_>) -> Option<Response> {
        let Some(geometry) = self.core.geometry().copied() else { return self.refused(response) };
        // An earlier reservation of the stream is given back first.
        self.own.reserved = None;
        let endpoint = self.own.endpoint(Some(direction));
        let most = endpoint.route().limits.buffer_bytes_per_domain.unwrap_or(Limits::BUFFER_BYTES_PER_DOMAIN);
        let Some(reserved) = self.quota.reserve(geometry.buffer_bytes.into(), most) else {
            self.host.refuse(turn, quota::Exceeded { most });
            return self.refused(response);
        };
        match self.host.open(endpoint, direction, &geometry, turn) {
            Ok(()) => {
                self.own.reserved = Some(reserved);
                self.underway = Some(Opening { direction, response });
                None
            }
            Err(_) => self.refused(response),
        }
    }

    /// Answer once the device is open or has failed; `None` while it is being opened.
    fn opened(&mut self, turn: &mut Turn<'_>) -> Option<Option<Response>> {
        let outcome = self.host.opened(turn)?;
        let Opening { direction, response } = self.underway.take()?;
        let Ok(pace) = outcome else { return Some(self.refused(response)) };
        self.core.start(direction, pace, turn.now_ns);
        self.host.operate(&mut self.core, turn, |stream| stream.start());
        self.change_gain();
        // An earlier change had no effect, because the core had no direction.
        self.host.change(self.own.endpoint(Some(direction)), &mut self.core, turn);
        Some(response.map(|response| Response { success: true, ..response }))
    }

    fn refused(&mut self, response: Option<Response>) -> Option<Response> {
        match response {
            Some(response) => {
                self.core.close();
                Some(Response { success: false, ..response })
            }
            None => self.core.fail(),
        }
    }

    fn change_gain(&mut self) {
        let Some(geometry) = self.core.geometry() else { return };
        let (volume, mut gain) = (self.core.volume(), Gain::new(geometry.channels));
        for channel in 0..geometry.channels {
            match volume.of_channel(channel, geometry.channels).millidecibels() {
                Some(level) => gain.set_volume(channel.into(), level),
                None => gain.set_mute(channel.into(), true),
            }
        }
        self.host.set_gain(gain);
    }

    fn close_open(&mut self, turn: &mut Turn<'_>) {
        self.own.reserved = None;
        self.close_host(turn);
    }
}
