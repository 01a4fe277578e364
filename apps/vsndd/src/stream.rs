//! One connected stream: its ring and event page on the guest's side, the core in between, a sink or a
//! source on the host's side.

use backend::{Outcome, Pace, Stream as Core, StreamConfig};
use host_audio::{HostDevice, Notice, Pacing, Sink, Source, StreamLabel, StreamSpec};
use pcm::Gain;
use sndif::Errno;
use sndif::store::Direction;
use sndif::v2::{BackRing, EventProducer, Operation, Request, Response};
use tracing::{debug, info, warn};
use xen::{DomainId, EventChannel, Mapped, Xen};

use crate::limiter::LogLimiter;
use crate::poller::Poller;
use crate::transport::{Attached, map_buffer};

/// Requests handled at once before other streams get their turn (XSA-332).
const REQUEST_BUDGET: u32 = 64;

/// What a turn of the control thread lends to a stream.
pub(crate) struct Turn<'a> {
    pub(crate) now_ns: u64,
    pub(crate) xen: &'a Xen,
    pub(crate) poller: &'a Poller,
    /// Token under which the host device's descriptor reports.
    pub(crate) device_token: u64,
    /// For samples that are scaled in software.
    pub(crate) scratch: &'a mut Vec<u8>,
}

/// What is left to do after a turn.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// Nothing until the next event or [`GuestStream::next_wake_ns`].
    Idle,
    /// Requests are waiting still.
    More,
    /// The guest broke the protocol; its device has to be closed.
    Broken(String),
}

/// The host's side of an open stream.
enum Host {
    Closed,
    Sink(Box<dyn Sink>),
    Source(Box<dyn Source>),
}

/// A connected stream.
pub(crate) struct GuestStream {
    guest: DomainId,
    label: StreamLabel,
    core: Core<Mapped>,
    ring: BackRing<Mapped>,
    channel: EventChannel,
    events: EventProducer<Mapped>,
    event_channel: EventChannel,
    device: Box<dyn HostDevice>,
    host: Host,
    gain: Option<Gain>,
    log: LogLimiter,
    /// When it had its last turn.
    turned_ns: u64,
    /// What the timers hold for this stream.
    pub(crate) scheduled_ns: Option<u64>,
}

impl GuestStream {
    pub(crate) fn new(
        guest: DomainId,
        label: StreamLabel,
        config: StreamConfig,
        attached: Attached,
        device: Box<dyn HostDevice>,
    ) -> Self {
        Self {
            guest,
            label,
            core: Core::new(config),
            ring: BackRing::new(attached.ring),
            channel: attached.channel,
            events: EventProducer::new(attached.events),
            event_channel: attached.event_channel,
            device,
            host: Host::Closed,
            gain: None,
            log: LogLimiter::default(),
            turned_ns: 0,
            scheduled_ns: None,
        }
    }

    /// The event channel of the ring.
    pub(crate) fn channel(&self) -> &EventChannel {
        &self.channel
    }

    /// When it wants to be looked at again.
    pub(crate) fn next_wake_ns(&self) -> Option<u64> {
        self.core.next_wake_ns()
    }

    /// Handles what is in the ring, moves frames and tells the position.
    pub(crate) fn turn(&mut self, turn: &mut Turn<'_>) -> After {
        self.turned_ns = turn.now_ns;
        let after = self.serve_ring(turn);
        self.move_frames(turn);
        self.tell_position(turn.now_ns);
        after
    }

    /// After the host device's descriptor became readable.
    pub(crate) fn device_woke(&mut self, turn: &mut Turn<'_>) {
        let result = match &mut self.host {
            Host::Closed => Ok(()),
            Host::Sink(sink) => sink.acknowledge(),
            Host::Source(source) => source.acknowledge(),
        };
        self.device_result(result, turn);
        self.tell_notices(turn);
    }

    /// Logs what became of the host device.
    fn tell_notices(&mut self, turn: &Turn<'_>) {
        loop {
            let notice = match &mut self.host {
                Host::Closed => None,
                Host::Sink(sink) => sink.notice(),
                Host::Source(source) => source.notice(),
            };
            match notice {
                None => return,
                Some(Notice::Lost(error)) => {
                    self.warn(turn.now_ns, &format!("{error}; going on silently, it is tried again"));
                }
                Some(Notice::Back) => {
                    if self.log.pass(turn.now_ns).is_some() {
                        info!(stream = %self.label, "the host device is back and in use");
                    }
                }
            }
        }
    }

    fn serve_ring(&mut self, turn: &mut Turn<'_>) -> After {
        let mut budget = REQUEST_BUDGET;
        let mut after = After::Idle;
        loop {
            match self.ring.take() {
                Ok(Some(packet)) => {
                    let response = self.answer(&packet, turn);
                    self.ring.respond(&response.emit());
                }
                Ok(None) if self.ring.arm() => continue,
                Ok(None) => break,
                Err(violation) => {
                    after = After::Broken(format!("request ring: {violation}"));
                    break;
                }
            }
            budget -= 1;
            if budget == 0 {
                after = After::More;
                break;
            }
        }
        if self.ring.publish() {
            // A closed other end is no error; its death is told by the store.
            let _ = self.channel.notify();
        }
        // The port is let go only now that its work is done (XSA-331).
        let _ = self.channel.rearm();
        after
    }

    fn answer(&mut self, packet: &[u8; sndif::v2::PACKET_BYTES], turn: &mut Turn<'_>) -> Response {
        let request = match Request::parse(packet) {
            Ok(request) => request,
            Err(rejected) => {
                self.warn(turn.now_ns, &rejected.to_string());
                return Response {
                    id: rejected.id,
                    opcode: rejected.opcode,
                    result: Err(rejected.errno),
                    params: None,
                };
            }
        };
        // What an OPEN replaces is closed before the new one is checked.
        if matches!(request.operation, Operation::Open(_) | Operation::Close) {
            self.close_host();
        }
        match self.core.request(&request, turn.now_ns) {
            Outcome::Respond(response) => {
                if let Some(refusal) = self.core.take_refusal() {
                    self.warn(turn.now_ns, &format!("OPEN refused: {refusal}"));
                }
                response
            }
            Outcome::Closed(response) => response,
            Outcome::Open(geometry, directory) => {
                let result = self.open(geometry, directory, turn);
                Response { id: request.id, opcode: request.operation.opcode(), result, params: None }
            }
            Outcome::Started(response) => self.steer(response, turn, |sink| sink.start(), |source| source.start()),
            Outcome::Paused(response) => {
                self.steer(response, turn, |sink| sink.pause(true), |source| source.pause(true))
            }
            Outcome::Resumed(response) => {
                self.steer(response, turn, |sink| sink.pause(false), |source| source.pause(false))
            }
            Outcome::Stopped(response) => {
                let response = self.steer(response, turn, |sink| sink.stop(), |source| source.stop());
                self.tell_position(turn.now_ns);
                response
            }
            Outcome::VolumeChanged(response) => {
                self.change_gain();
                response
            }
        }
    }

    fn open(&mut self, geometry: backend::Geometry, directory: sndif::GrantRef, turn: &Turn<'_>) -> Result<(), Errno> {
        let memory = map_buffer(turn.xen, self.guest, directory, geometry.buffer_bytes).map_err(|error| {
            self.warn(turn.now_ns, &format!("OPEN refused: {error}"));
            match error {
                crate::transport::BufferError::Directory(_) => Errno::EINVAL,
                crate::transport::BufferError::Map(_) => Errno::EFAULT,
            }
        })?;
        let spec = StreamSpec {
            format: geometry.format,
            rate_hz: geometry.rate_hz,
            channels: geometry.channels,
            period_frames: geometry.period_frames(),
            buffer_frames: geometry.ring_frames(),
        };
        let opened = match self.core.direction() {
            Direction::Playback => self.device.open_sink(&self.label, &spec).map(Host::Sink),
            Direction::Capture => self.device.open_source(&self.label, &spec).map(Host::Source),
        };
        self.host = opened.map_err(|error| {
            self.warn(turn.now_ns, &format!("OPEN refused: {error}"));
            Errno::ENODEV
        })?;
        let pacing = match &self.host {
            Host::Sink(sink) => sink.pacing(),
            Host::Source(source) => source.pacing(),
            Host::Closed => Pacing::Caller,
        };
        let pace = match pacing {
            Pacing::Caller => Pace::Clock,
            Pacing::Device(fd) => {
                if let Err(error) = turn.poller.add_level(fd, turn.device_token) {
                    warn!(stream = %self.label, "cannot wait for the host device: {error}");
                    self.host = Host::Closed;
                    return Err(Errno::ENOMEM);
                }
                Pace::Device
            }
        };
        self.gain = None;
        self.core.opened(geometry, memory, pace, |mirror| pcm::fill_silence(geometry.format, mirror));
        debug!(stream = %self.label, "open: {spec}, period {} frames, buffer {} frames", spec.period_frames, spec.buffer_frames);
        Ok(())
    }

    fn steer(
        &mut self,
        response: Response,
        turn: &Turn<'_>,
        sink: impl FnOnce(&mut dyn Sink) -> Result<(), host_audio::Error>,
        source: impl FnOnce(&mut dyn Source) -> Result<(), host_audio::Error>,
    ) -> Response {
        let result = match &mut self.host {
            Host::Closed => Ok(()),
            Host::Sink(open) => sink(open.as_mut()),
            Host::Source(open) => source(open.as_mut()),
        };
        self.device_result(result, turn);
        response
    }

    /// The host device failed: the guest plays on into nothing, its positions run by the clock.
    fn device_result<T>(&mut self, result: Result<T, host_audio::Error>, turn: &Turn<'_>) {
        let Err(error) = result else { return };
        self.warn(turn.now_ns, &format!("{error}; going on silently"));
        self.host = Host::Closed;
        self.core.pace_by_clock(turn.now_ns);
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
        let in_device = match &mut self.host {
            Host::Sink(sink) => sink.set_gain(&gain),
            _ => false,
        };
        self.gain = (!in_device && !gain.is_identity()).then_some(gain);
    }

    fn move_frames(&mut self, turn: &mut Turn<'_>) {
        let Some(&geometry) = self.core.geometry() else { return };
        let frame_bytes = geometry.frame_bytes as usize;
        let mut result = Ok(());
        match &mut self.host {
            // A stream whose device failed goes on at its own pace.
            Host::Closed if self.core.direction() == Direction::Playback => {
                while let Some(frames) = self.core.frames_to_play(turn.now_ns, usize::MAX) {
                    let octets = frames.len();
                    self.core.played(octets);
                }
            }
            Host::Closed => {
                while let Some(room) = self.core.room_to_capture(turn.now_ns, usize::MAX) {
                    let octets = room.len();
                    pcm::fill_silence(geometry.format, room);
                    self.core.captured(octets);
                }
            }
            Host::Sink(sink) => {
                while let Some(frames) = self.core.frames_to_play(turn.now_ns, sink.room_frames()) {
                    let written = match &self.gain {
                        None => sink.write(frames),
                        Some(gain) => {
                            turn.scratch.clear();
                            turn.scratch.extend_from_slice(frames);
                            gain.apply(geometry.format, geometry.channels, turn.scratch);
                            sink.write(turn.scratch)
                        }
                    };
                    match written {
                        Ok(0) => break,
                        Ok(frames) => self.core.played(frames * frame_bytes),
                        Err(error) => {
                            result = Err(error);
                            break;
                        }
                    }
                }
                self.core.set_queued_frames(sink.queued_frames());
            }
            Host::Source(source) => {
                while let Some(room) = self.core.room_to_capture(turn.now_ns, source.available_frames()) {
                    match source.read(room) {
                        Ok(0) => break,
                        Ok(frames) => {
                            let octets = frames * frame_bytes;
                            if let (Some(gain), Some(filled)) = (&self.gain, room.get_mut(..octets)) {
                                gain.apply(geometry.format, geometry.channels, filled);
                            }
                            self.core.captured(octets);
                        }
                        Err(error) => {
                            result = Err(error);
                            break;
                        }
                    }
                }
            }
        }
        self.device_result(result, turn);
    }

    fn tell_position(&mut self, now_ns: u64) {
        let Some(position) = self.core.event(now_ns) else { return };
        match self.events.push(position) {
            Ok(()) => {
                self.core.event_sent(position, now_ns);
                let _ = self.event_channel.notify();
            }
            Err(sndif::v2::EventPageFull) => self.core.event_deferred(now_ns),
        }
    }

    fn close_host(&mut self) {
        if self.core.geometry().is_some() && self.log.pass(self.turned_ns).is_some() {
            let counters = self.core.counters();
            info!(
                stream = %self.label,
                "closed: {} octets since it was connected, {} requests ({} refused), {} events, {} xruns",
                counters.octets, counters.requests, counters.errors, counters.events, counters.xruns,
            );
        }
        self.host = Host::Closed;
    }

    fn warn(&mut self, now_ns: u64, message: &str) {
        if let Some(suppressed) = self.log.pass(now_ns) {
            if suppressed > 0 {
                warn!(stream = %self.label, "{message} ({suppressed} more like this were not logged)");
            } else {
                warn!(stream = %self.label, "{message}");
            }
        }
    }
}

impl Drop for GuestStream {
    fn drop(&mut self) {
        // Stop events, close the host's side, unmap: also when the guest vanished in the middle.
        self.close_host();
        self.core.close();
    }
}
