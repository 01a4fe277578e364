//! One connected stream of protocol version 0: its ring on the guest's side, the core in between, a sink or a source on
//! the host's side.

use backend::Frames;
use backend::v0::{Outcome, Ready, Stream as Core, StreamConfig};
use config::Limits;
use control::EventKind;
use host_audio::StreamAddress;
use pcm::Gain;
use sndif::store::Direction;
use sndif::v0::{BackRing, PACKET_BYTES, Request, Response, Transfer};
use xen::{Access, DomainId, EventChannel, Mapped};

use crate::endpoint::Endpoint;
use crate::host::{HostSide, told};
use crate::policy::Route;
use crate::poller::Poller;
use crate::quota::{self, Account, Quota, Reserved};
use crate::totals::Violation;
use crate::transport::Attached;
use crate::turn::{After, REQUEST_BUDGET, Turn};

/// A device that is being opened. The guest's next requests wait until that is over.
struct Opening {
    direction: Direction,
    /// Answer to the OPEN that waits for the device; `None` if OPEN was answered before, and the first READ or WRITE
    /// waits.
    response: Option<Response>,
}

/// A connected stream.
pub(crate) struct GuestStream {
    guest: DomainId,
    core: Core,
    /// Playback or capture, if the toolstack names it.
    direction: Option<Direction>,
    ring: BackRing<Mapped>,
    channel: EventChannel,
    sink: Endpoint,
    source: Endpoint,
    host: HostSide,
    opening: Option<Opening>,
    /// Bound of all buffers of the guest.
    quota: Quota,
    /// Share of the open stream's buffer in the quota.
    reserved: Option<Reserved>,
    /// Notifications sent to the guest.
    notifications: u64,
    /// Times that sound was lost, as far as that was reported.
    told_xruns: u64,
    /// Time of the last turn.
    turned_ns: u64,
}

impl GuestStream {
    /// A stream on a ring that the guest may have used with an earlier daemon.
    pub(crate) fn new(
        guest: DomainId,
        label: StreamAddress,
        account: Account,
        config: StreamConfig,
        ring: Attached,
        sink: Endpoint,
        source: Endpoint,
    ) -> Self {
        Self {
            guest,
            core: Core::new(config),
            direction: config.direction,
            ring: BackRing::taken_over(ring.page),
            channel: ring.channel,
            sink,
            source,
            host: HostSide::new(label, account.log),
            quota: account.quota,
            reserved: None,
            opening: None,
            notifications: 0,
            told_xruns: 0,
            turned_ns: 0,
        }
    }

    /// Goes on with the ring of a guest that was resumed. The guest has lost its request, and believes its stream open.
    pub(crate) fn resume(&mut self, ring: Attached) {
        self.ring = BackRing::taken_over(ring.page);
        self.channel = ring.channel;
        self.core.forget_request();
        if let Some(opening) = &mut self.opening {
            opening.response = None;
        }
    }

    /// The ring's event channel.
    pub(crate) fn channel(&self) -> &EventChannel {
        &self.channel
    }

    /// Time at which the stream has to be served again.
    pub(crate) fn next_wake_ns(&self, poller: &Poller) -> Option<u64> {
        self.core.next_wake_ns().into_iter().chain(self.host.next_wake_ns(poller)).min()
    }

    /// Writes the state of the stream into `stream`.
    pub(crate) fn describe(&self, stream: &mut control::Stream, levels: bool) {
        let counters = self.core.counters();
        let direction = self.core.direction().or(self.direction);
        stream.direction = direction.map(told);
        stream.requests = counters.requests;
        stream.refused = counters.errors;
        stream.frames = counters.frames;
        stream.xruns = self.told_xruns;
        stream.notifications_out = self.notifications;
        let endpoint = if direction == Some(Direction::Capture) { &self.source } else { &self.sink };
        self.host.describe(&self.core, endpoint, stream, levels);
    }

    /// Stops measuring levels.
    pub(crate) fn stop_measuring(&self) {
        self.host.stop_measuring();
    }

    /// Applies a changed route.
    pub(crate) fn change(
        &mut self,
        route: impl Fn(Direction) -> Route,
        config: impl FnOnce(&Endpoint, &Endpoint) -> StreamConfig,
        turn: &mut Turn<'_>,
    ) {
        let (sink, source) = (&mut self.sink, &mut self.source);
        // `|`, not `||`: both are changed.
        if sink.change(route(Direction::Playback)) | source.change(route(Direction::Capture)) {
            self.core.reconfigure(config(sink, source));
        }
        let endpoint = if self.core.direction() == Some(Direction::Capture) { source } else { sink };
        self.host.change(endpoint, &mut self.core, turn);
    }

    /// Moves frames, and answers the requests that these complete.
    pub(crate) fn turn(&mut self, turn: &mut Turn<'_>) -> After {
        self.host.attend(&mut self.core, turn);
        let after = self.serve(turn);
        let xruns = self.core.counters().xruns + self.host.xruns();
        if xruns != self.told_xruns {
            self.host.tell_xruns(xruns - self.told_xruns, turn);
            self.told_xruns = xruns;
        }
        after
    }

    fn serve(&mut self, turn: &mut Turn<'_>) -> After {
        self.turned_ns = turn.now_ns;
        let mut budget = REQUEST_BUDGET;
        // Frames that are moved complete requests, and WRITEs bring frames that may be due.
        loop {
            self.host.move_frames(&mut self.core, turn);
            let before = budget;
            let after = self.serve_ring(turn, &mut budget);
            if after != After::Idle || budget == before {
                self.host.move_frames(&mut self.core, turn);
                return after;
            }
        }
    }

    /// Serves the stream after the host device's descriptor became readable.
    pub(crate) fn device_woke(&mut self, turn: &mut Turn<'_>) {
        self.host.device_woke(&mut self.core, turn);
    }

    fn serve_ring(&mut self, turn: &mut Turn<'_>, budget: &mut u32) -> After {
        let mut after = After::Idle;
        loop {
            let response = if self.opening.is_some() {
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
            // A closed other end is no error; the store reports the guest's death.
            let _ = self.channel.notify();
            self.notifications += 1;
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
            self.close_host(turn);
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
                self.close_host(turn);
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
        let endpoint = match direction {
            Direction::Playback => &self.sink,
            Direction::Capture => &self.source,
        };
        let Some(geometry) = self.core.geometry().copied() else { return self.refused(response) };
        // An earlier reservation of the stream is given back first.
        self.reserved = None;
        let most = endpoint.route().limits.buffer_bytes_per_domain.unwrap_or(Limits::BUFFER_BYTES_PER_DOMAIN);
        let Some(reserved) = self.quota.reserve(geometry.buffer_bytes.into(), most) else {
            self.host.refuse(turn, quota::Exceeded { most });
            return self.refused(response);
        };
        match self.host.open(endpoint, direction, &geometry, turn) {
            Ok(()) => {
                self.reserved = Some(reserved);
                self.opening = Some(Opening { direction, response });
                None
            }
            Err(_) => self.refused(response),
        }
    }

    /// Answer once the device is open or has failed; `None` while it is being opened.
    fn opened(&mut self, turn: &mut Turn<'_>) -> Option<Option<Response>> {
        let outcome = self.host.opened(turn)?;
        let Opening { direction, response } = self.opening.take()?;
        let Ok(pace) = outcome else { return Some(self.refused(response)) };
        self.core.start(direction, pace, turn.now_ns);
        self.host.steer(&mut self.core, turn, |stream| stream.start());
        self.change_gain();
        // An earlier change had no effect, because the core had no direction.
        let endpoint = if direction == Direction::Capture { &self.source } else { &self.sink };
        self.host.change(endpoint, &mut self.core, turn);
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

    fn close_host(&mut self, turn: &mut Turn<'_>) {
        if self.host.is_open() {
            turn.journal.push(EventKind::Close, self.host.label(), "closed by the guest");
        }
        self.reserved = None;
        self.close_device();
    }

    fn close_device(&mut self) {
        let counters = self.core.counters();
        self.host.close(
            self.turned_ns,
            format_args!(
                "{} frames since it was connected, {} requests ({} refused), {} xruns",
                counters.frames, counters.requests, counters.errors, self.told_xruns,
            ),
        );
    }
}

impl Drop for GuestStream {
    fn drop(&mut self) {
        // Close the host's side: also when the guest vanished in the middle.
        self.close_device();
        self.core.close();
    }
}
