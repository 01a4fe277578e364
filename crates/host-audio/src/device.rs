//! Interface of every host device: capabilities, sinks, sources.

use crate::{Error, Sink, Source, StreamSpec};
use sndif::FormatSet;
pub use sndif::store::{Direction, StreamAddress};
use std::ops::RangeInclusive;
use std::time::Duration;

/// Name of a stream on a server: its owner's `title`, or a name made of the address if that is empty. Without NUL.
pub(crate) fn titled(who: &StreamAddress, title: &str) -> String {
    match title {
        "" => format!("domain {} card {} PCM {} stream {}", who.domain, who.card, who.pcm, who.stream),
        title => title.replace('\0', " "),
    }
}

/// Key under which servers remember a stream's volume, mute and sink, made of its title. Each stream has its own key,
/// which stays the same when its guest starts again.
#[must_use]
pub fn identity(title: &str) -> String {
    format!("vsnd: {title}")
}

/// Capabilities of a device in one direction, for any stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// Sample formats.
    pub formats: FormatSet,
    /// Frames per second.
    pub rates_hz: RangeInclusive<u32>,
    /// Samples per frame.
    pub channels: RangeInclusive<u32>,
}

impl Capabilities {
    /// Rates of a device that has no clock of its own.
    pub(crate) const ANY_RATE_HZ: RangeInclusive<u32> = 1..=768_000;
    /// Channel counts of a device that takes any; the protocol has room for 255.
    pub(crate) const ANY_CHANNELS: RangeInclusive<u32> = 1..=255;

    /// Returns true if a stream with this `spec` is within the capabilities.
    #[must_use]
    pub fn allow(&self, spec: &StreamSpec) -> bool {
        self.formats.contains(spec.format)
            && self.rates_hz.contains(&spec.rate_hz)
            && self.channels.contains(&u32::from(spec.channels))
            && spec.frame_bytes() > 0
    }
}

/// Smallest period and buffer with which a device carries a stream; 0 where the device has no bound of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Minimums {
    /// Frames after which the device's position is sure to have moved on.
    pub period_frames: u32,
    /// Frames with which the device does not run dry while its owner has a period's time to write the next one.
    pub buffer_frames: u32,
}

/// Treatment of a stream that cannot be opened as requested: its device is absent, or its guest may not use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Fallback {
    /// The stream is not opened.
    #[default]
    Refuse,
    /// The stream plays to nobody, or captures silence, in real time. Where its device is absent, that ends when the
    /// device is there.
    Silence,
}

/// Options of a device that a stream's owner decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceOptions {
    /// Treatment of a stream that is opened while the device is absent.
    pub absent: Fallback,
    /// Name of the stream where the host shows its streams; empty for a name made of its address.
    pub title: String,
    /// Role of the stream on a server (`media.role`: `music`, `game`, …). None by default, because servers treat all
    /// streams of a role alike.
    pub role: Option<String>,
    /// Time that a stream waits for its device to open; a second by default. A PCM has half of that to report its
    /// capabilities. A sound server has at least two seconds for each answer, because its stream may go on silently
    /// meanwhile.
    pub patience: Duration,
}

impl Default for DeviceOptions {
    fn default() -> Self {
        Self { absent: Fallback::default(), title: String::new(), role: None, patience: Duration::from_secs(1) }
    }
}

/// A device of the host, not yet opened.
///
/// The methods may wait for the host's card or file system for some milliseconds.
pub trait HostDevice: Send {
    /// Capabilities of the device in `direction`; the device is not held open. A good answer is remembered, so asking
    /// often is cheap. `who` picks the file where the device's name is a template.
    ///
    /// # Errors
    /// The device is not there, or has no such direction.
    fn capabilities(&self, who: &StreamAddress, direction: Direction) -> Result<Capabilities, Error>;

    /// Checks that the device can be used in `direction` now, for a message at the start of a program. May wait a
    /// second.
    ///
    /// # Errors
    /// The fault, and what helps.
    fn check(&self, who: &StreamAddress, direction: Direction) -> Result<(), Error> {
        self.capabilities(who, direction).map(drop)
    }

    /// The minimum period and buffer with which the device carries a stream of `spec`, whose own sizes are ignored; the
    /// device is not held open. No bound where the minimum cannot be found out now. An answer is remembered for a
    /// while, so asking often is cheap.
    fn minimums(&self, direction: Direction, spec: &StreamSpec) -> Minimums {
        let _ = (direction, spec);
        Minimums::default()
    }

    /// Begins to open the device for playback, without waiting for a sound server or a card:
    /// [`opened`](crate::HostStream::opened) returns the outcome.
    ///
    /// # Errors
    /// The device is not there, is in use, or cannot do what `spec` says.
    fn begin_sink(&self, who: &StreamAddress, spec: &StreamSpec) -> Result<Box<dyn Sink>, Error>;

    /// Begins to open the device for capture, like [`begin_sink`](Self::begin_sink).
    ///
    /// # Errors
    /// Same as [`begin_sink`](Self::begin_sink).
    fn begin_source(&self, who: &StreamAddress, spec: &StreamSpec) -> Result<Box<dyn Source>, Error>;
}
