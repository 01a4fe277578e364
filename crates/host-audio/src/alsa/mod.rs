//! ALSA PCMs, any that `aplay -L` names, plugins included.

mod ask;
mod behind;
mod chmap;
mod hw;
mod pcm;
mod tail;

use crate::live::{Driver, Input, Opened, Output};
use crate::{Capabilities, Direction, Error, Least, StreamLabel, StreamSpec};
use std::time::Duration;

/// `alsa:PCM`.
pub(crate) struct AlsaDriver {
    name: String,
    /// How long it may take to say what it can do.
    patience: Duration,
}

impl AlsaDriver {
    /// `patience`: how long it may take to open; half of that to say what it can do.
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

    fn least(&self, direction: Direction, spec: &StreamSpec) -> Result<Least, Error> {
        let (name, spec) = (self.name.clone(), *spec);
        ask::ask(&self.name, self.patience, move || hw::least(&name, direction, &spec))
    }

    fn open_output(&self, _who: &StreamLabel, spec: &StreamSpec) -> Result<Opened<dyn Output>, Error> {
        let device = hw::open(&self.name, Direction::Playback, spec)?;
        let (period, need) = (device.period, device.period * 2);
        Ok(Opened { device: Box::new(pcm::AlsaPcm::new(device, &self.name, Direction::Playback, spec)), period, need })
    }

    fn open_input(&self, _who: &StreamLabel, spec: &StreamSpec) -> Result<Opened<dyn Input>, Error> {
        let device = hw::open(&self.name, Direction::Capture, spec)?;
        let (period, need) = (device.period, device.period * 2);
        Ok(Opened { device: Box::new(pcm::AlsaPcm::new(device, &self.name, Direction::Capture, spec)), period, need })
    }
}
