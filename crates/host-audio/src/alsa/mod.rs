//! ALSA PCMs: a thread per open PCM feeds it from, or empties it into, a ring.
//!
//! The control thread sees counters and an eventfd that is signalled once a device period. The queue is
//! kept at about two periods, and a PCM's position is its own, but never ahead of time (see `clock`).

mod capture;
mod clock;
mod hw;
mod link;
mod playback;

use crate::{Capabilities, Direction, Error, HostDevice, Sink, Source, StreamLabel, StreamSpec};
use std::sync::{Mutex, PoisonError};

/// `alsa:PCM`.
pub(crate) struct AlsaDevice {
    name: String,
    /// What was found out about playback and capture.
    known: Mutex<[Option<Capabilities>; 2]>,
}

impl AlsaDevice {
    pub(crate) fn new(name: String) -> Self {
        Self { name, known: Mutex::default() }
    }

    /// A PCM that could not be opened may be another one the next time: ask it again then.
    fn forget<T>(&self, opened: Result<T, Error>) -> Result<T, Error> {
        if opened.is_err() {
            *self.known.lock().unwrap_or_else(PoisonError::into_inner) = [None, None];
        }
        opened
    }
}

impl HostDevice for AlsaDevice {
    fn capabilities(&self, _who: &StreamLabel, direction: Direction) -> Result<Capabilities, Error> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = &mut known[direction as usize];
        if let Some(capabilities) = known {
            return Ok(capabilities.clone());
        }
        let capabilities = hw::capabilities(&self.name, direction)?;
        Ok(known.insert(capabilities).clone())
    }

    fn open_sink(&self, _who: &StreamLabel, spec: &StreamSpec) -> Result<Box<dyn Sink>, Error> {
        let sink = self.forget(playback::AlsaSink::open(&self.name, spec))?;
        Ok(Box::new(sink))
    }

    fn open_source(&self, _who: &StreamLabel, spec: &StreamSpec) -> Result<Box<dyn Source>, Error> {
        let source = self.forget(capture::AlsaSource::open(&self.name, spec))?;
        Ok(Box::new(source))
    }
}
