//! A connected stream, whatever its protocol.

use backend::Offer;
use host_audio::StreamAddress;
use sndif::store::Direction;
use xen::{DomainId, EventChannel, Xen};

use crate::card::{Described, Kind, StreamNodes};
use crate::endpoint::Endpoint;
use crate::policy::Route;
use crate::poller::Poller;
use crate::quota::Account;
use crate::transport::Attached;
use crate::turn::{After, Turn};
use crate::{v0, v2};

/// A connected stream.
pub(crate) struct Served {
    stream: Wire,
    label: StreamAddress,
    /// Notifications that came from the guest.
    notifications: u64,
    /// True while the guest's event is being handled; its port is held until that is done.
    holds_port: bool,
    /// Time that the timers hold for this stream.
    pub(crate) scheduled_ns: Option<u64>,
    /// True while the stream is in the queue of those that wait for their turn.
    pub(crate) queued: bool,
}

enum Wire {
    V0(Box<v0::GuestStream>),
    V2(Box<v2::GuestStream>),
}

/// A stream of a card, as guest and toolstack describe it.
pub(crate) struct Asked<'a> {
    pub(crate) guest: DomainId,
    /// The guest's name, if it is known.
    pub(crate) name: Option<&'a str>,
    pub(crate) label: StreamAddress,
    pub(crate) nodes: &'a StreamNodes,
}

impl Asked<'_> {
    /// Maps the stream's pages and binds its channels; `route` is the host's route for a direction.
    pub(crate) fn connect(
        &self,
        xen: &Xen,
        account: Account,
        route: impl Fn(Direction) -> Route,
    ) -> xen::Result<Served> {
        let ring = self.nodes.ring.attach(xen, self.guest)?;
        let stream = match &self.nodes.kind {
            Kind::V0(direction) => {
                let (sink, source) =
                    (self.endpoint(route(Direction::Playback)), self.endpoint(route(Direction::Capture)));
                let config = self.v0_config(*direction, &sink, &source);
                let (to, from) = (&sink.route().device, &source.route().device);
                tracing::debug!(stream = %self.label, "connected to {to} and {from}");
                Wire::V0(v0::GuestStream::new(self.guest, self.label, account, config, ring, sink, source).into())
            }
            Kind::V2(described) => {
                let endpoint = self.endpoint(route(described.direction));
                let config = self.v2_config(described, &endpoint);
                let events = described.events.attach(xen, self.guest)?;
                let Described { label, direction, event_hold_off, .. } = described;
                let shared = v2::Shared { ring, events, event_hold_off: *event_hold_off };
                tracing::debug!(stream = %self.label, label = %label, "{direction} connected to {}", endpoint.route().device);
                Wire::V2(v2::GuestStream::new(self.guest, self.label, account, config, shared, endpoint).into())
            }
        };
        Ok(Served { stream, label: self.label, notifications: 0, holds_port: false, scheduled_ns: None, queued: false })
    }

    /// Applies a changed route.
    pub(crate) fn change(&self, served: &mut Served, route: impl Fn(Direction) -> Route, turn: &mut Turn<'_>) {
        match (&mut served.stream, &self.nodes.kind) {
            (Wire::V0(stream), Kind::V0(direction)) => {
                stream.change(route, |sink, source| self.v0_config(*direction, sink, source), turn);
            }
            (Wire::V2(stream), Kind::V2(described)) => {
                stream.change(route(described.direction), |endpoint| self.v2_config(described, endpoint), turn);
            }
            // Never the case: the stream was made from these nodes.
            (Wire::V0(_), Kind::V2(_)) | (Wire::V2(_), Kind::V0(_)) => {}
        }
    }

    /// Host side of the stream, under a title made of guest, card and the stream's own name.
    fn endpoint(&self, route: Route) -> Endpoint {
        let StreamAddress { domain, card, pcm, stream } = self.label;
        let guest = self.name.map_or_else(|| format!("domain {domain}"), str::to_owned);
        let name = match self.nodes.label() {
            "" => format!("PCM {pcm} stream {stream}"),
            name => name.to_owned(),
        };
        Endpoint::new(route, format!("{guest}: card {card} {name}"))
    }

    fn v0_config(&self, direction: Option<Direction>, sink: &Endpoint, source: &Endpoint) -> backend::v0::StreamConfig {
        let limits = |endpoint: &Endpoint, wanted| {
            let used = direction.is_none_or(|direction| direction == wanted);
            let permitted = !endpoint.route().is_refused();
            (permitted && used).then(|| endpoint.limits(&self.label, wanted))
        };
        backend::v0::StreamConfig {
            direction,
            playback: limits(sink, Direction::Playback),
            capture: limits(source, Direction::Capture),
            lead_bytes_max: sink.route().host_limits().buffer_bytes_max,
        }
    }

    fn v2_config(&self, described: &Described, endpoint: &Endpoint) -> backend::StreamConfig {
        backend::StreamConfig {
            direction: described.direction,
            offer: Offer {
                store: described.limits,
                device: endpoint.limits(&self.label, described.direction),
                host: endpoint.route().host_limits(),
                control_bytes: described.control_bytes,
            },
            permitted: !endpoint.route().is_refused(),
            write_hold_off: described.write_hold_off,
        }
    }
}

impl Served {
    /// The event channel of the ring.
    pub(crate) fn channel(&self) -> &EventChannel {
        match &self.stream {
            Wire::V0(stream) => stream.channel(),
            Wire::V2(stream) => stream.channel(),
        }
    }

    /// Goes on with another ring; does nothing where the protocol has no such step.
    pub(crate) fn resume(&mut self, ring: Attached) {
        if let Wire::V0(stream) = &mut self.stream {
            stream.resume(ring);
            self.holds_port = false;
        }
    }

    /// Time at which the stream has to be served again.
    pub(crate) fn next_wake_ns(&self, poller: &Poller) -> Option<u64> {
        match &self.stream {
            Wire::V0(stream) => stream.next_wake_ns(poller),
            Wire::V2(stream) => stream.next_wake_ns(poller),
        }
    }

    /// Notes a notification from the guest.
    pub(crate) fn guest_woke(&mut self) {
        self.notifications += 1;
        self.holds_port = true;
    }

    /// Handles what is in the ring and moves frames.
    pub(crate) fn turn(&mut self, turn: &mut Turn<'_>) -> After {
        let after = match &mut self.stream {
            Wire::V0(stream) => stream.turn(turn),
            Wire::V2(stream) => stream.turn(turn),
        };
        // The port is released only now that its work is done (XSA-331). In a turn that the clock or the device began
        // it is not held: releasing it would consume an event that came since the last look at the ring, and that event
        // would be lost.
        if after != After::More && std::mem::take(&mut self.holds_port) {
            let _ = self.channel().rearm();
        }
        after
    }

    /// Serves the stream after the host device's descriptor became readable.
    pub(crate) fn device_woke(&mut self, turn: &mut Turn<'_>) {
        match &mut self.stream {
            Wire::V0(stream) => stream.device_woke(turn),
            Wire::V2(stream) => stream.device_woke(turn),
        }
    }

    /// State of the stream; with `levels`, the stream measures levels from now on.
    pub(crate) fn describe(&self, nodes: &StreamNodes, levels: bool) -> control::Stream {
        let mut stream = control::Stream {
            pcm: self.label.pcm,
            stream: self.label.stream,
            pcm_name: nodes.pcm_name.clone(),
            label: nodes.label().to_owned(),
            notifications_in: self.notifications,
            ..control::Stream::default()
        };
        match &self.stream {
            Wire::V0(served) => served.describe(&mut stream, levels),
            Wire::V2(served) => served.describe(&mut stream, levels),
        }
        stream
    }

    /// Stops measuring levels.
    pub(crate) fn stop_measuring(&self) {
        match &self.stream {
            Wire::V0(stream) => stream.stop_measuring(),
            Wire::V2(stream) => stream.stop_measuring(),
        }
    }
}
