//! What can go wrong with a host device, in words that say what to do about it.

use crate::{Direction, StreamSpec};
use std::io;
use std::path::PathBuf;

/// A host device's failure. The text names the device, what failed, and what helps.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An ALSA PCM could not be opened.
    #[error("cannot open ALSA {direction} PCM `{name}`: {reason}; {hint}")]
    AlsaOpen {
        /// The PCM's ALSA name.
        name: String,
        /// Which way.
        direction: Direction,
        /// What ALSA said.
        reason: io::Error,
        /// What helps.
        hint: &'static str,
    },
    /// An ALSA PCM refused a parameter.
    #[error("ALSA {direction} PCM `{name}` refused {what}: {reason}; `plug:{name}` converts what the device cannot do")]
    AlsaSetup {
        /// The PCM's ALSA name.
        name: String,
        /// Which way.
        direction: Direction,
        /// The parameter and its value.
        what: String,
        /// What ALSA said.
        reason: io::Error,
    },
    /// An ALSA PCM stopped working while in use.
    #[error("ALSA {direction} PCM `{name}` failed: {reason}; it can be opened again when the device is back")]
    AlsaLost {
        /// The PCM's ALSA name.
        name: String,
        /// Which way.
        direction: Direction,
        /// What ALSA said.
        reason: io::Error,
    },
    /// A device did not open in time.
    #[error("{device} did not open in time; it is tried again with the next stream")]
    Slow {
        /// The device.
        device: String,
    },
    /// A device takes frames but does not play them, or gives none.
    #[error("{device} stands still")]
    Stuck {
        /// The device.
        device: String,
    },
    /// A PulseAudio server could not be used.
    #[error("cannot use PulseAudio server {server}: {reason}; {hint}")]
    Pulse {
        /// Where it is.
        server: String,
        /// What was said or seen.
        reason: String,
        /// What helps.
        hint: &'static str,
    },
    /// A PulseAudio server, or a stream there, ended while in use.
    #[error("lost PulseAudio server {server}: {reason}")]
    PulseLost {
        /// Where it is.
        server: String,
        /// What was said or seen.
        reason: String,
    },
    /// A PipeWire server could not be used.
    #[error("cannot use PipeWire server {server}: {reason}; {hint}")]
    PipeWire {
        /// Where it is.
        server: String,
        /// What was said or seen.
        reason: String,
        /// What helps.
        hint: &'static str,
    },
    /// A PipeWire server, or a stream there, ended while in use.
    #[error("lost PipeWire server {server}: {reason}")]
    PipeWireLost {
        /// Where it is.
        server: String,
        /// What was said or seen.
        reason: String,
    },
    /// The device cannot carry such a stream.
    #[error("{device} cannot carry {spec}: {reason}")]
    Unsupported {
        /// The device as it was named.
        device: String,
        /// What was asked for.
        spec: StreamSpec,
        /// What is possible.
        reason: String,
    },
    /// A WAV file could not be made, written or read.
    #[error("cannot {action} `{}`: {reason}", path.display())]
    WavFile {
        /// The file.
        path: PathBuf,
        /// What was attempted.
        action: &'static str,
        /// What the system said.
        reason: io::Error,
    },
    /// A file that is not a WAV file, or not one that can be used.
    #[error("`{}`: {reason}", path.display())]
    WavFormat {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A thread or descriptor that a device needs could not be had.
    #[error("cannot start {what}: {reason}")]
    Resource {
        /// What was to be made.
        what: &'static str,
        /// What the system said.
        reason: io::Error,
    },
    /// The program was built without this kind of device.
    #[error("this program was built without {0} devices; the cargo feature `{lower}` builds them in", lower = .0.to_lowercase())]
    NotBuilt(&'static str),
}

impl Error {
    pub(crate) fn unsupported(device: impl ToString, spec: &StreamSpec, reason: impl Into<String>) -> Self {
        Self::Unsupported { device: device.to_string(), spec: *spec, reason: reason.into() }
    }
}
