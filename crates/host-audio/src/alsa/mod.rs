//! ALSA PCMs, any that `aplay -L` names, plugins included.

mod ask;
mod behind;
mod chmap;
mod hw;
mod pcm;
mod plugins;
mod tail;

use crate::live::{Driver, Input, Opened, Output};
use crate::offer::Offer;
use crate::{Capabilities, DeviceSpec, Direction, Error, Minimums, StreamAddress, StreamSpec};
pub(crate) use plugins::needs;
use std::time::Duration;

/// Driver of `alsa:PCM`.
pub(crate) struct AlsaDriver {
    name: String,
    /// Time in which the PCM has to report its capabilities.
    patience: Duration,
}

impl AlsaDriver {
    /// `patience`: time that opening the PCM may take; half of it for its capabilities.
    pub(crate) fn new(name: String, patience: Duration) -> Self {
        Self { name, patience: patience / 2 }
    }
}

impl Driver for AlsaDriver {
    fn name(&self) -> String {
        format!("alsa:{}", self.name)
    }

    fn capabilities(&self, direction: Direction) -> Result<Capabilities, Error> {
        let name = self.name.clone();
        ask::ask(&self.name, self.patience, move || hw::capabilities(&name, direction))
    }

    fn minimums(&self, direction: Direction, spec: &StreamSpec) -> Result<Minimums, Error> {
        let (name, spec) = (self.name.clone(), *spec);
        ask::ask(&self.name, self.patience, move || hw::minimums(&name, direction, &spec))
    }

    fn open_output(&self, _who: &StreamAddress, spec: &StreamSpec) -> Result<Opened<dyn Output>, Error> {
        let device = hw::open(&self.name, Direction::Playback, spec)?;
        let (period, need) = (device.period, device.period * 2);
        Ok(Opened { device: Box::new(pcm::AlsaPcm::new(device, &self.name, Direction::Playback, spec)), period, need })
    }

    fn open_input(&self, _who: &StreamAddress, spec: &StreamSpec) -> Result<Opened<dyn Input>, Error> {
        let device = hw::open(&self.name, Direction::Capture, spec)?;
        // The other half of the ring is time for a late turn.
        let (period, need) = (device.period, device.buffer / 2);
        Ok(Opened { device: Box::new(pcm::AlsaPcm::new(device, &self.name, Direction::Capture, spec)), period, need })
    }
}

/// The PCMs that `aplay -L` and `arecord -L` show.
pub(crate) fn offers() -> Result<Vec<Offer>, String> {
    let hints = alsa::device_name::HintIter::new_str(None, "pcm").map_err(|error| error.to_string())?;
    let offer = |hint: alsa::device_name::Hint| {
        let name = hint.name?;
        // ALSA's `null` discards what is played without a clock; the daemon's null device keeps time.
        let known = hint.direction;
        Some(Offer {
            device: DeviceSpec::Alsa(name),
            description: hint.desc.unwrap_or_default().replace('\n', ", "),
            playback: known != Some(alsa::Direction::Capture),
            capture: known != Some(alsa::Direction::Playback),
        })
    };
    Ok(hints.filter_map(offer).filter(|offer| offer.device != DeviceSpec::Alsa("null".into())).collect())
}
