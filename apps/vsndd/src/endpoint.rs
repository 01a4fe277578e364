//! A stream's host side: the route that the policy chose, and the device that it leads to.

use backend::{DeviceLimits, Pace};
use host_audio::{DeviceOptions, HostDevice, HostStream, Minimums, Pacing, Sink, Source, StreamAddress, StreamSpec};
use sndif::store::Direction;
use sndif::v2::Interval;

use crate::policy::Route;

/// Host side of a stream of one direction.
pub(crate) struct Endpoint {
    route: Route,
    device: Box<dyn HostDevice>,
    /// Title of the stream where the host shows its streams.
    title: String,
}

/// An open device.
pub(crate) enum Device {
    /// No device: a stream that is open nevertheless plays to nobody, or captures silence.
    Closed,
    Sink(Box<dyn Sink>),
    Source(Box<dyn Source>),
}

impl Device {
    /// The part that both directions share.
    pub(crate) fn stream(&mut self) -> Option<&mut dyn HostStream> {
        match self {
            Self::Closed => None,
            Self::Sink(sink) => Some(sink.as_mut()),
            Self::Source(source) => Some(source.as_mut()),
        }
    }

    /// The same as [`Self::stream`], read-only.
    pub(crate) fn stream_ref(&self) -> Option<&dyn HostStream> {
        match self {
            Self::Closed => None,
            Self::Sink(sink) => Some(sink.as_ref()),
            Self::Source(source) => Some(source.as_ref()),
        }
    }

    /// Clock that sets the pace of the stream.
    pub(crate) fn pace(&mut self) -> Pace {
        match self.stream().map(|stream| stream.pacing()) {
            Some(Pacing::Device(_)) => Pace::Device,
            Some(Pacing::Caller) | None => Pace::Clock,
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }
}

impl Endpoint {
    pub(crate) fn new(route: Route, title: String) -> Self {
        let (absent, role) = (route.absent, route.role.clone());
        let options = DeviceOptions { absent, title: title.clone(), role, ..DeviceOptions::default() };
        Self { device: route.device.device(&options), route, title }
    }

    pub(crate) fn route(&self) -> &Route {
        &self.route
    }

    /// Returns true if the guest may use the device.
    pub(crate) fn is_granted(&self) -> bool {
        self.route.denied.is_none()
    }

    /// Changes the route; the device is kept if it stays the same. Returns true if the bounds of what may be opened
    /// changed.
    pub(crate) fn change(&mut self, route: Route) -> bool {
        let other_bounds = !route.has_bounds_of(&self.route);
        if (&route.device, route.absent, &route.role) == (&self.route.device, self.route.absent, &self.route.role) {
            self.route = route;
        } else {
            *self = Self::new(route, std::mem::take(&mut self.title));
        }
        other_bounds
    }

    /// Begins to open the device, without waiting for it: [`HostStream::opened`] tells the result.
    pub(crate) fn open(
        &self,
        who: &StreamAddress,
        direction: Direction,
        spec: &StreamSpec,
    ) -> Result<Device, host_audio::Error> {
        match direction {
            Direction::Playback => self.device.begin_sink(who, spec).map(Device::Sink),
            Direction::Capture => self.device.begin_source(who, spec).map(Device::Source),
        }
    }

    /// Minimum period and buffer of the device.
    pub(crate) fn minimums(&self, direction: Direction, stream: &StreamSpec) -> Minimums {
        // The device's own values would tell a stream without permission that it gets silence.
        if self.is_granted() { self.device.minimums(direction, stream) } else { Minimums::default() }
    }

    /// Capabilities of the device, within the host's bounds; if they cannot be found out now, OPEN will tell.
    pub(crate) fn limits(&self, who: &StreamAddress, direction: Direction) -> DeviceLimits {
        let mut limits = match self.device.capabilities(who, direction) {
            Ok(capabilities) => DeviceLimits {
                formats: capabilities.formats,
                rates_hz: Interval::new(*capabilities.rates_hz.start(), *capabilities.rates_hz.end()),
                channels: Interval::new(*capabilities.channels.start(), *capabilities.channels.end()),
                only_rates: None,
            },
            Err(error) => {
                tracing::warn!(stream = %who, "{}: {error}", self.route.device);
                // Formats that a device of unknown capabilities carries for sure: samples that can be converted.
                let formats = sndif::Format::all().filter(|&format| pcm::is_decodable(format)).collect();
                DeviceLimits { formats, ..DeviceLimits::ANY }
            }
        };
        limits.formats = limits.formats.intersection(self.route.formats());
        limits.channels.max = limits.channels.max.min(self.route.limits.channels_max.unwrap_or(u32::MAX));
        limits.only_rates = self.route.limits.rates_hz;
        limits
    }
}
