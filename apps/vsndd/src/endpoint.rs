//! A stream's host side as it was decided: the route, and the device that it leads to.

use backend::{DeviceLimits, Pace};
use host_audio::{DeviceOptions, HostDevice, HostStream, Least, Pacing, Sink, Source, StreamLabel, StreamSpec};
use sndif::store::Direction;
use sndif::v2::Interval;

use crate::policy::{Permission, Route};

/// Where a stream of one direction leads.
pub(crate) struct Endpoint {
    route: Route,
    device: Box<dyn HostDevice>,
    /// What the stream is called where the host shows its streams.
    title: String,
}

/// An open device.
pub(crate) enum Device {
    /// None: a stream that is open nevertheless plays to nobody, or captures silence.
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

    /// As [`Self::stream`], to look at.
    pub(crate) fn stream_ref(&self) -> Option<&dyn HostStream> {
        match self {
            Self::Closed => None,
            Self::Sink(sink) => Some(sink.as_ref()),
            Self::Source(source) => Some(source.as_ref()),
        }
    }

    /// Who keeps the time.
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

    /// Whether the guest may use it.
    pub(crate) fn is_granted(&self) -> bool {
        self.route.permission == Permission::Granted
    }

    /// Takes another decision; what is known of the device is kept if it stays the same. Says whether what may be opened is
    /// different now.
    pub(crate) fn change(&mut self, route: Route) -> bool {
        let other_bounds = !route.has_bounds_of(&self.route);
        if (&route.device, route.absent, &route.role) == (&self.route.device, self.route.absent, &self.route.role) {
            self.route = route;
        } else {
            *self = Self::new(route, std::mem::take(&mut self.title));
        }
        other_bounds
    }

    /// Begins to open the device, without waiting for it: [`HostStream::opened`] tells what became of that.
    pub(crate) fn open(
        &self,
        who: &StreamLabel,
        direction: Direction,
        spec: &StreamSpec,
    ) -> Result<Device, host_audio::Error> {
        match direction {
            Direction::Playback => self.device.begin_sink(who, spec).map(Device::Sink),
            Direction::Capture => self.device.begin_source(who, spec).map(Device::Source),
        }
    }

    /// The least period and buffer of the device.
    pub(crate) fn least(&self, direction: Direction, stream: &StreamSpec) -> Least {
        // What a stream that may not use it hears of the device would tell that it gets silence.
        if self.is_granted() { self.device.least(direction, stream) } else { Least::default() }
    }

    /// What the device can do, as far as the host allows it; if that cannot be found out now, OPEN will tell.
    pub(crate) fn limits(&self, who: &StreamLabel, direction: Direction) -> DeviceLimits {
        let mut limits = match self.device.capabilities(who, direction) {
            Ok(capabilities) => DeviceLimits {
                formats: capabilities.formats,
                rates_hz: Interval::new(*capabilities.rates_hz.start(), *capabilities.rates_hz.end()),
                channels: Interval::new(*capabilities.channels.start(), *capabilities.channels.end()),
                only_rates: None,
            },
            Err(error) => {
                tracing::warn!(stream = %who, "{}: {error}", self.route.device);
                // What a device of which nothing is known is sure to carry: samples that can be converted.
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
