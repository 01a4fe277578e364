//! The device that a [`DeviceSpec`] names, as far as its kind was built in.

use crate::live::LiveDevice;
use crate::null::NullDevice;
use crate::pulse::PulseDriver;
use crate::wav::WavDevice;
use crate::{DeviceOptions, DeviceSpec, HostDevice};

impl DeviceSpec {
    /// The device, not yet opened.
    #[must_use]
    pub fn device(&self, options: &DeviceOptions) -> Box<dyn HostDevice> {
        match self {
            Self::Null => Box::new(NullDevice),
            Self::Wav(path) => Box::new(WavDevice::new(path.clone())),
            #[cfg(feature = "alsa")]
            Self::Alsa(name) => {
                Box::new(LiveDevice::new(crate::alsa::AlsaDriver::new(name.clone(), options.patience), options))
            }
            #[cfg(not(feature = "alsa"))]
            Self::Alsa(_) => Box::new(NotBuilt("ALSA")),
            #[cfg(feature = "pipewire")]
            Self::PipeWire { node, socket } => Box::new(LiveDevice::new(
                crate::pipewire::PipeWireDriver::new(node.clone(), socket.clone(), options),
                options,
            )),
            #[cfg(not(feature = "pipewire"))]
            Self::PipeWire { .. } => Box::new(NotBuilt("PipeWire")),
            Self::Pulse { device, server } => {
                Box::new(LiveDevice::new(PulseDriver::new(device.clone(), server.clone(), options), options))
            }
        }
    }

    /// Checks that this build has such devices; no device is accessed.
    ///
    /// # Errors
    /// [`ErrorKind::NotBuilt`](crate::ErrorKind::NotBuilt).
    pub fn check_built(&self) -> Result<(), crate::Error> {
        match self {
            #[cfg(not(feature = "alsa"))]
            Self::Alsa(_) => Err(crate::Error::not_built("ALSA")),
            #[cfg(not(feature = "pipewire"))]
            Self::PipeWire { .. } => Err(crate::Error::not_built("PipeWire")),
            _ => Ok(()),
        }
    }
}

/// Placeholder for a kind of device that was left out of the build.
#[cfg(not(all(feature = "alsa", feature = "pipewire")))]
struct NotBuilt(&'static str);

#[cfg(not(all(feature = "alsa", feature = "pipewire")))]
impl HostDevice for NotBuilt {
    fn capabilities(&self, _: &crate::StreamAddress, _: crate::Direction) -> Result<crate::Capabilities, crate::Error> {
        Err(crate::Error::not_built(self.0))
    }

    fn begin_sink(
        &self,
        _: &crate::StreamAddress,
        _: &crate::StreamSpec,
    ) -> Result<Box<dyn crate::Sink>, crate::Error> {
        Err(crate::Error::not_built(self.0))
    }

    fn begin_source(
        &self,
        _: &crate::StreamAddress,
        _: &crate::StreamSpec,
    ) -> Result<Box<dyn crate::Source>, crate::Error> {
        Err(crate::Error::not_built(self.0))
    }
}

#[cfg(all(test, not(feature = "pipewire")))]
mod tests {
    use super::*;

    #[test]
    fn a_kind_of_device_that_was_left_out_is_named_with_what_builds_it_in() {
        let device = "pipewire".parse::<DeviceSpec>().unwrap().device(&DeviceOptions::default());
        let who = crate::StreamAddress { domain: 1, card: 0, pcm: 0, stream: 0 };
        let error = device.check(&who, crate::Direction::Playback).unwrap_err().to_string();
        assert!(error.contains("without PipeWire devices; the cargo feature `pipewire`"), "{error}");
    }
}
