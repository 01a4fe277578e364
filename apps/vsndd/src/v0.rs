//! One connected stream of protocol version 0: its ring on the guest's side, the core in between, a sink or a source on
//! the host's side.

use backend::Frames;
use backend::v0::{Outcome, Ready, Stream as Core, StreamConfig};
use host_audio::{HostDevice, StreamLabel};
use pcm::Gain;
use sndif::store::Direction;
use sndif::v0::{BackRing, PACKET_BYTES, Request, Response, Transfer};
use xen::{Access, DomainId, EventChannel, Mapped};

use crate::host::HostSide;
use crate::stream::{After, REQUEST_BUDGET, Turn};
use crate::transport::Attached;

/// A connected stream.
pub(crate) struct GuestStream {
    guest: DomainId,
    core: Core,
    ring: BackRing<Mapped>,
    channel: EventChannel,
    sink: Box<dyn HostDevice>,
    source: Box<dyn HostDevice>,
    host: HostSide,
    /// When it had its last turn.
    turned_ns: u64,
}

impl GuestStream {
    /// A stream on a ring that the guest may have used with an earlier daemon.
    pub(crate) fn new(
        guest: DomainId,
        label: StreamLabel,
        config: StreamConfig,
        ring: Attached,
        sink: Box<dyn HostDevice>,
        source: Box<dyn HostDevice>,
    ) -> Self {
        Self {
            guest,
            core: Core::new(config),
            ring: BackRing::taken_over(ring.page),
            channel: ring.channel,
            sink,
            source,
            host: HostSide::new(label),
            turned_ns: 0,
        }
    }

    /// Goes on with the ring of a guest that was resumed. It lost what it had asked for, and believes its stream open.
    pub(crate) fn resume(&mut self, ring: Attached) {
        self.ring = BackRing::taken_over(ring.page);
        self.channel = ring.channel;
        self.core.forget_request();
    }

    /// The ring's event channel.
    pub(crate) fn channel(&self) -> &EventChannel {
        &self.channel
    }

    /// When it wants to be looked at again.
    pub(crate) fn next_wake_ns(&self) -> Option<u64> {
        self.core.next_wake_ns()
    }

    /// Moves frames, and answers what they allow.
    pub(crate) fn turn(&mut self, turn: &mut Turn<'_>) -> After {
        self.turned_ns = turn.now_ns;
        let mut budget = REQUEST_BUDGET;
        // Frames that are moved let requests be answered, and WRITEs bring frames that may be due.
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

    /// After the host device's descriptor became readable.
    pub(crate) fn device_woke(&mut self, turn: &mut Turn<'_>) {
        self.host.device_woke(&mut self.core, turn);
    }

    fn serve_ring(&mut self, turn: &mut Turn<'_>, budget: &mut u32) -> After {
        let mut after = After::Idle;
        loop {
            let response = if self.core.is_waiting() {
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
                    Ok(None) if self.ring.arm() => continue,
                    Ok(None) => break,
                    Err(violation) => {
                        after = After::Broken(format!("request ring: {violation}"));
                        break;
                    }
                }
            };
            self.ring.respond(&response.emit());
            *budget -= 1;
            if *budget == 0 {
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

    /// Handles a request; `None` when its answer has to wait.
    fn answer(&mut self, packet: &[u8; PACKET_BYTES], turn: &mut Turn<'_>) -> Option<Response> {
        let request = match Request::parse(packet) {
            Ok(request) => request,
            Err(rejected) => {
                self.core.count_refused();
                self.host.warn(turn.now_ns, &rejected.to_string());
                return Some(Response { id: rejected.id, opcode: rejected.opcode, success: false, volume: None });
            }
        };
        // What an OPEN replaces is closed before the new one is checked.
        if matches!(request.operation, sndif::v0::Operation::Open(_)) {
            self.close_host();
        }
        match self.core.request(&request, turn.now_ns) {
            Outcome::Respond(response) => Some(response),
            Outcome::Refuse(response, reason) => {
                self.host.warn(turn.now_ns, &format!("request with operation {} refused: {reason}", response.opcode));
                Some(response)
            }
            Outcome::Open(response, None) => Some(response),
            Outcome::Open(response, Some(direction)) => {
                let success = self.start(direction, turn);
                if !success {
                    self.core.close();
                }
                Some(Response { success, ..response })
            }
            Outcome::Start(direction) => {
                if self.start(direction, turn) {
                    None
                } else {
                    self.core.fail()
                }
            }
            Outcome::Wait => None,
            Outcome::VolumeChanged(response) => {
                self.change_gain();
                Some(response)
            }
        }
    }

    /// Does what can be done about the request that waits.
    fn settle(&mut self, turn: &mut Turn<'_>) -> Option<Response> {
        match self.core.ready(turn.now_ns)? {
            Ready::Respond(response) => Some(response),
            Ready::Refuse(response, reason) => {
                self.host.warn(turn.now_ns, &format!("request with operation {} failed: {reason}", response.opcode));
                Some(response)
            }
            Ready::Closed(response) => {
                self.close_host();
                Some(response)
            }
            Ready::Copy(transfer) => self.copy(&transfer, turn),
        }
    }

    /// The pages are mapped for the copy alone: nothing that the guest does to them afterwards is seen.
    fn copy(&mut self, transfer: &Transfer, turn: &mut Turn<'_>) -> Option<Response> {
        let access = match self.core.direction() {
            Some(Direction::Capture) => Access::ReadWrite,
            _ => Access::ReadOnly,
        };
        match turn.xen.map(self.guest, transfer.refs(), access) {
            Ok(pages) => self.core.copy(&pages, turn.now_ns),
            Err(error) => {
                self.host.warn(turn.now_ns, &format!("request refused: {error}"));
                self.core.fail()
            }
        }
    }

    fn start(&mut self, direction: Direction, turn: &Turn<'_>) -> bool {
        let Some(&geometry) = self.core.geometry() else { return false };
        let device = match direction {
            Direction::Playback => &self.sink,
            Direction::Capture => &self.source,
        };
        let Ok(pace) = self.host.open(device.as_ref(), direction, &geometry, turn) else { return false };
        self.core.start(direction, pace, turn.now_ns);
        self.host.steer(&mut self.core, turn, |sink| sink.start(), |source| source.start());
        self.change_gain();
        true
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

    fn close_host(&mut self) {
        let counters = self.core.counters();
        let report = format_args!(
            "{} octets since it was connected, {} requests ({} refused), {} xruns",
            counters.octets, counters.requests, counters.errors, counters.xruns,
        );
        self.host.close(self.turned_ns, report);
    }
}

impl Drop for GuestStream {
    fn drop(&mut self) {
        // Close the host's side: also when the guest vanished in the middle.
        self.close_host();
        self.core.close();
    }
}
