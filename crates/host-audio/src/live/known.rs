//! Capabilities of devices that were found out: all streams of a device share them, so that the device is asked once.

use crate::{Capabilities, Direction, Error};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Capabilities for playback and for capture, each once it is known.
type Found = [Option<Capabilities>; 2];

/// Devices in use, by name.
static DEVICES: Mutex<BTreeMap<String, Weak<Known>>> = Mutex::new(BTreeMap::new());

/// The answers of one device.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<Found>);

impl Known {
    /// The answers of the device `name`; shared as long as anybody has them.
    pub fn of(name: String) -> Arc<Self> {
        let mut devices = DEVICES.lock().unwrap_or_else(PoisonError::into_inner);
        devices.retain(|_, known| known.strong_count() > 0);
        if let Some(known) = devices.get(&name).and_then(Weak::upgrade) {
            return known;
        }
        let known = Arc::new(Self::default());
        devices.insert(name, Arc::downgrade(&known));
        known
    }

    /// The answer for `direction`; asks the device if there is none yet. An error is not kept.
    pub fn get(
        &self,
        direction: Direction,
        ask: impl FnOnce() -> Result<Capabilities, Error>,
    ) -> Result<Capabilities, Error> {
        let mut found = self.found();
        let found = &mut found[direction as usize];
        if let Some(capabilities) = found {
            return Ok(capabilities.clone());
        }
        Ok(found.insert(ask()?).clone())
    }

    /// Discards the answers: a device that could not be opened may be another one the next time.
    pub fn forget(&self) {
        *self.found() = Found::default();
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn a_device_is_asked_once_for_all_its_streams_and_again_when_it_could_not_be_opened() {
        let asked = Cell::new(0);
        let ask = || {
            asked.set(asked.get() + 1);
            Ok(Capabilities {
                formats: sndif::Format::all().collect(),
                rates_hz: Capabilities::ANY_RATE_HZ,
                channels: Capabilities::ANY_CHANNELS,
            })
        };
        let streams: Vec<_> = (0..64).map(|_| Known::of("the one of this test".into())).collect();
        for stream in &streams {
            stream.get(Direction::Playback, ask).unwrap();
        }
        assert_eq!(asked.get(), 1);
        streams[0].get(Direction::Capture, ask).unwrap();
        assert_eq!(asked.get(), 2, "the other direction");
        streams[1].forget();
        streams[2].get(Direction::Playback, ask).unwrap();
        assert_eq!(asked.get(), 3);
        Known::of("another".into()).get(Direction::Playback, ask).unwrap();
        assert_eq!(asked.get(), 4);
        drop(streams);
        Known::of("the one of this test".into()).get(Direction::Playback, ask).unwrap();
        assert_eq!(asked.get(), 5, "nobody used it in between");
    }
}
