//! A connected stream, whatever its protocol.

use backend::{DeviceLimits, HostLimits, Offer};
use host_audio::{DeviceOptions, DeviceSpec, HostDevice, StreamLabel};
use sndif::store::Direction;
use sndif::v2::Interval;
use xen::{DomainId, EventChannel, Xen};

use crate::card::{Described, Kind, StreamNodes};
use crate::policy::Route;
use crate::stream::{After, GuestStream, Turn};
use crate::transport::Attached;
use crate::v0;

/// A connected stream.
pub(crate) struct Served {
    stream: Wire,
    /// What the timers hold for this stream.
    pub(crate) scheduled_ns: Option<u64>,
}

enum Wire {
    V0(Box<v0::GuestStream>),
    V2(Box<GuestStream>),
}

/// A stream that is to be connected.
pub(crate) struct Asked<'a> {
    pub(crate) guest: DomainId,
    /// The guest's name, where it is known.
    pub(crate) name: Option<&'a str>,
    pub(crate) label: StreamLabel,
    pub(crate) nodes: &'a StreamNodes,
    pub(crate) limits: HostLimits,
}

impl Asked<'_> {
    /// Maps and binds; `route` is the host's decision for a direction.
    pub(crate) fn connect(&self, xen: &Xen, route: impl Fn(Direction) -> Route) -> xen::Result<Served> {
        let ring = self.nodes.ring.attach(xen, self.guest)?;
        let stream = match &self.nodes.kind {
            Kind::V0(direction) => {
                let (playback, capture) = (route(Direction::Playback), route(Direction::Capture));
                let (sink, source) = (self.device(&playback, ""), self.device(&capture, ""));
                let used = |wanted| direction.is_none_or(|direction| direction == wanted);
                let limits = |route: &Route, device: &dyn HostDevice, direction| {
                    (route.permitted && used(direction)).then(|| self.device_limits(&route.device, device, direction))
                };
                let config = backend::v0::StreamConfig {
                    direction: *direction,
                    playback: limits(&playback, sink.as_ref(), Direction::Playback),
                    capture: limits(&capture, source.as_ref(), Direction::Capture),
                    lead_bytes_max: self.limits.buffer_bytes_max,
                };
                tracing::debug!(stream = %self.label, "connected to {} and {}", playback.device, capture.device);
                Wire::V0(v0::GuestStream::new(self.guest, self.label, config, ring, sink, source).into())
            }
            Kind::V2(Described { direction, label, limits, control_bytes, events }) => {
                let route = route(*direction);
                let device = self.device(&route, label);
                let config = backend::StreamConfig {
                    direction: *direction,
                    offer: Offer {
                        store: *limits,
                        device: self.device_limits(&route.device, device.as_ref(), *direction),
                        host: self.limits,
                        control_bytes: *control_bytes,
                    },
                    permitted: route.permitted,
                };
                let events = events.attach(xen, self.guest)?;
                tracing::debug!(stream = %self.label, label = %label, "{direction} connected to {}", route.device);
                Wire::V2(GuestStream::new(self.guest, self.label, config, ring, events, device).into())
            }
        };
        Ok(Served { stream, scheduled_ns: None })
    }

    /// The device of a route, on which the stream is known by guest, card and `name`.
    fn device(&self, route: &Route, name: &str) -> Box<dyn HostDevice> {
        let StreamLabel { domain, card, pcm, stream } = self.label;
        let guest = self.name.map_or_else(|| format!("domain {domain}"), str::to_owned);
        let name = if name.is_empty() { format!("PCM {pcm} stream {stream}") } else { name.to_owned() };
        route.device.device(&DeviceOptions { absent: route.absent, title: format!("{guest}: card {card} {name}") })
    }

    /// What the host device can do; if that cannot be found out now, OPEN will tell.
    fn device_limits(&self, spec: &DeviceSpec, device: &dyn HostDevice, direction: Direction) -> DeviceLimits {
        match device.capabilities(&self.label, direction) {
            Ok(capabilities) => DeviceLimits {
                formats: capabilities.formats,
                rates_hz: Interval::new(*capabilities.rates_hz.start(), *capabilities.rates_hz.end()),
                channels: Interval::new(*capabilities.channels.start(), *capabilities.channels.end()),
            },
            Err(error) => {
                tracing::warn!(stream = %self.label, "{spec}: {error}");
                // What a device of which nothing is known is sure to carry: samples that can be converted.
                let formats = sndif::Format::all().filter(|&format| pcm::is_decodable(format)).collect();
                DeviceLimits { formats, ..DeviceLimits::ANY }
            }
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

    /// Goes on with another ring; nothing for a guest whose protocol knows no such thing.
    pub(crate) fn resume(&mut self, ring: Attached) {
        if let Wire::V0(stream) = &mut self.stream {
            stream.resume(ring);
        }
    }

    /// When it wants to be looked at again.
    pub(crate) fn next_wake_ns(&self) -> Option<u64> {
        match &self.stream {
            Wire::V0(stream) => stream.next_wake_ns(),
            Wire::V2(stream) => stream.next_wake_ns(),
        }
    }

    /// Handles what is in the ring and moves frames.
    pub(crate) fn turn(&mut self, turn: &mut Turn<'_>) -> After {
        match &mut self.stream {
            Wire::V0(stream) => stream.turn(turn),
            Wire::V2(stream) => stream.turn(turn),
        }
    }

    /// After the host device's descriptor became readable.
    pub(crate) fn device_woke(&mut self, turn: &mut Turn<'_>) {
        match &mut self.stream {
            Wire::V0(stream) => stream.device_woke(turn),
            Wire::V2(stream) => stream.device_woke(turn),
        }
    }
}
