//! What every host device offers: capabilities, sinks, sources.

use crate::{Error, Sink, Source};
pub use sndif::store::Direction;
use sndif::{Format, FormatSet};
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// What a stream wants of a device; the device's own period and buffer may differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamSpec {
    /// Format of a sample.
    pub format: Format,
    /// Frames per second.
    pub rate_hz: u32,
    /// Samples per frame.
    pub channels: u8,
    /// How often the stream's owner wants to hear of progress, in frames; 0 for no wish.
    pub period_frames: u32,
    /// What the stream's owner has room for, in frames.
    pub buffer_frames: u32,
}

impl StreamSpec {
    /// Bytes of a frame; 0 for IMA ADPCM with an odd number of channels, which no device opens.
    #[must_use]
    pub const fn frame_bytes(&self) -> usize {
        match self.format.frame_bytes(self.channels) {
            Some(bytes) => bytes as usize,
            None => 0,
        }
    }
}

impl fmt::Display for StreamSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} Hz {} channel(s)", self.format, self.rate_hz, self.channels)
    }
}

/// Which stream of which guest a sink or source is for; names files, client names and log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StreamLabel {
    /// Domain id.
    pub domain: u16,
    /// Index of the virtual card within the domain.
    pub card: u16,
    /// Index of the PCM on the card.
    pub pcm: u8,
    /// Index of the stream on the PCM.
    pub stream: u8,
}

impl StreamLabel {
    /// What a server calls the stream: its owner's `title`, or a name made of the label where that is empty. Without NUL.
    pub(crate) fn titled(&self, title: &str) -> String {
        match title {
            "" => format!("domain {} card {} PCM {} stream {}", self.domain, self.card, self.pcm, self.stream),
            title => title.replace('\0', " "),
        }
    }
}

/// Key under which servers remember a stream's volume, mute and sink, made of its title. Each stream has its own, and it stays the
/// same when its guest starts again.
#[must_use]
pub fn identity(title: &str) -> String {
    format!("vsnd: {title}")
}

impl fmt::Display for StreamLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.domain, self.card, self.pcm, self.stream)
    }
}

/// What a device can do in one direction, for any stream.
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
    /// Channel counts of a device that does not care; the protocol has room for 255.
    pub(crate) const ANY_CHANNELS: RangeInclusive<u32> = 1..=255;

    /// Whether a stream with this `spec` is within them.
    #[must_use]
    pub fn allow(&self, spec: &StreamSpec) -> bool {
        self.formats.contains(spec.format)
            && self.rates_hz.contains(&spec.rate_hz)
            && self.channels.contains(&u32::from(spec.channels))
            && spec.frame_bytes() > 0
    }
}

/// The least with which a device carries a stream; 0 where it has no bound of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Least {
    /// Frames after which its position is sure to have moved on.
    pub period_frames: u32,
    /// Frames with which it does not run dry while its owner has a period's time to write the next.
    pub buffer_frames: u32,
}

/// What becomes of a stream that is opened while its device is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum WhenAbsent {
    /// It is not opened.
    #[default]
    Refuse,
    /// It plays to nobody, or captures silence, until the device is there.
    Silence,
}

/// What a stream's owner decides about its device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceOptions {
    /// What becomes of a stream that is opened while the device is not there.
    pub absent: WhenAbsent,
    /// What the stream is called where the host shows its streams; empty for one made of its [`StreamLabel`].
    pub title: String,
    /// Role of the stream on a server (`media.role`: `music`, `game`, …). None by default, for servers treat all streams of a role
    /// alike.
    pub role: Option<String>,
    /// How long a stream waits for its device to open; a second by default. A PCM that is asked what it can do has half of that
    /// to answer. A sound server has at least two seconds for each answer, for its stream may go on silently meanwhile.
    pub patience: Duration,
}

impl Default for DeviceOptions {
    fn default() -> Self {
        Self { absent: WhenAbsent::default(), title: String::new(), role: None, patience: Duration::from_secs(1) }
    }
}

/// A device of the host, not yet opened.
///
/// These methods may wait for the host's card or file system for some milliseconds.
pub trait HostDevice: Send {
    /// What it can do in `direction`; it is not held open. A good answer is remembered, so asking often is
    /// cheap. `who` picks the file where the device's name is a template.
    ///
    /// # Errors
    /// The device is not there, or has no such direction.
    fn capabilities(&self, who: &StreamLabel, direction: Direction) -> Result<Capabilities, Error>;

    /// Whether it can be used in `direction` now: for a word at the start of a program. May wait a second.
    ///
    /// # Errors
    /// What is wrong, and what helps.
    fn check(&self, who: &StreamLabel, direction: Direction) -> Result<(), Error> {
        self.capabilities(who, direction).map(drop)
    }

    /// The least period and buffer with which it carries a stream of `spec`, whose own are of no account; it is not held
    /// open. No bound where that cannot be found out now. An answer is remembered for a while, so asking often is cheap.
    fn least(&self, direction: Direction, spec: &StreamSpec) -> Least {
        let _ = (direction, spec);
        Least::default()
    }

    /// Begins to open it for playback, without waiting for a sound server or a card: [`opened`](crate::HostStream::opened) tells what became
    /// of that.
    ///
    /// # Errors
    /// The device is not there, is in use, or cannot do what `spec` says.
    fn begin_sink(&self, who: &StreamLabel, spec: &StreamSpec) -> Result<Box<dyn Sink>, Error>;

    /// Begins to open it for capture, as [`begin_sink`](Self::begin_sink).
    ///
    /// # Errors
    /// As [`begin_sink`](Self::begin_sink).
    fn begin_source(&self, who: &StreamLabel, spec: &StreamSpec) -> Result<Box<dyn Source>, Error>;
}
