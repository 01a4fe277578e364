//! What every host device offers: capabilities, sinks, sources.

use crate::Error;
use pcm::Gain;
pub use sndif::store::Direction;
use sndif::{Format, FormatSet};
use std::fmt;
use std::ops::RangeInclusive;
use std::os::fd::BorrowedFd;
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
    /// Octets of a frame; 0 for IMA ADPCM with an odd number of channels, which no device opens.
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

/// Who says when frames are due.
#[derive(Debug, Clone, Copy)]
pub enum Pacing<'a> {
    /// The caller's own clock; the device takes or gives whatever it is asked for.
    Caller,
    /// The descriptor becomes readable when the device has moved on, at least once a period while it
    /// runs, and when it ran dry or failed; [`Sink::acknowledge`] or [`Source::acknowledge`] makes it
    /// unreadable again.
    Device(BorrowedFd<'a>),
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
    /// How long a stream waits for its device to open; 500 ms by default. A PCM that is asked what it can do has half of that
    /// to answer. A sound server has at least two seconds for each answer, for its stream may go on silently meanwhile.
    pub patience: Duration,
}

impl Default for DeviceOptions {
    fn default() -> Self {
        Self { absent: WhenAbsent::default(), title: String::new(), patience: Duration::from_millis(500) }
    }
}

/// What happened to the device of an open stream.
#[derive(Debug)]
pub enum Notice {
    /// It is not there, or not any more: the stream goes on in real time, silently, and the device is tried again
    /// and again.
    Lost(Error),
    /// It is there again, and used.
    Back,
}

/// Where a stream's frames go. Dropping it closes the device without waiting for it.
///
/// Frames are written at any time; nothing is heard before [`start`](Self::start). A sink that ran dry
/// goes on by itself when more is written.
pub trait Sink: Send {
    /// Who keeps the time.
    fn pacing(&self) -> Pacing<'_>;

    /// What became of opening it, after waiting for that no longer than `patience`; `None` if it goes on. The pacing
    /// descriptor is readable when it is over. Where it failed the sink is to be dropped.
    fn opened(&mut self, patience: Duration) -> Option<Result<(), Error>> {
        let _ = patience;
        Some(Ok(()))
    }

    /// Frames that [`write`](Self::write) would take now.
    ///
    /// With [`Pacing::Device`] that keeps the queue short (two periods, or 40 ms), so that what the stream's
    /// owner rewrites ahead of the play position still takes effect.
    fn room_frames(&mut self) -> usize;

    /// Takes whole frames from the start of `frames` and says how many.
    ///
    /// # Errors
    /// The device failed for good: the sink is to be dropped.
    fn write(&mut self, frames: &[u8]) -> Result<usize, Error>;

    /// Frames accepted and not yet heard; 0 with [`Pacing::Caller`].
    ///
    /// Accepted minus queued is the device's position: it never goes back, and never runs ahead of time.
    fn queued_frames(&mut self) -> u64;

    /// Starts playing what is written.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    fn start(&mut self) -> Result<(), Error>;

    /// Holds playing, or goes on. What is queued is kept.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    fn pause(&mut self, on: bool) -> Result<(), Error>;

    /// Forgets what is queued and not heard; a running sink keeps running, and the queue is 0.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    fn flush(&mut self) -> Result<(), Error>;

    /// Stops and forgets what is queued; [`start`](Self::start) makes it run again.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    fn stop(&mut self) -> Result<(), Error>;

    /// Hands the stream's gain to the device. False: the device cannot, the caller scales the samples.
    fn set_gain(&mut self, gain: &Gain) -> bool {
        let _ = gain;
        false
    }

    /// How often sound was lost: the device ran dry and went on later, or could not keep up.
    fn xruns(&self) -> u64;

    /// What happened to the device, oldest first; to be asked for when the pacing descriptor was readable.
    fn notice(&mut self) -> Option<Notice> {
        None
    }

    /// To be called when the pacing descriptor was readable; cheap at any time.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    fn acknowledge(&mut self) -> Result<(), Error>;
}

/// Where a stream's frames come from. Dropping it closes the device without waiting for it.
pub trait Source: Send {
    /// Who keeps the time.
    fn pacing(&self) -> Pacing<'_>;

    /// As [`Sink::opened`].
    fn opened(&mut self, patience: Duration) -> Option<Result<(), Error>> {
        let _ = patience;
        Some(Ok(()))
    }

    /// Frames that [`read`](Self::read) would give now.
    fn available_frames(&mut self) -> usize;

    /// Fills the start of `into` with whole frames and says how many.
    ///
    /// # Errors
    /// The device failed for good: the source is to be dropped.
    fn read(&mut self, into: &mut [u8]) -> Result<usize, Error>;

    /// Starts capturing.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    fn start(&mut self) -> Result<(), Error>;

    /// Holds capturing, or goes on: what is heard in between is not recorded.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    fn pause(&mut self, on: bool) -> Result<(), Error>;

    /// Stops and forgets what was captured and not read.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    fn stop(&mut self) -> Result<(), Error>;

    /// How often sound was lost because nobody read it, or the device could not keep up.
    fn xruns(&self) -> u64;

    /// As [`Sink::notice`].
    fn notice(&mut self) -> Option<Notice> {
        None
    }

    /// To be called when the pacing descriptor was readable; cheap at any time.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    fn acknowledge(&mut self) -> Result<(), Error>;
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

    /// Begins to open it for playback, without waiting for a sound server or a card: [`Sink::opened`] tells what became
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

    /// Opens it for playback; may wait as long as [`DeviceOptions::patience`] says.
    ///
    /// # Errors
    /// As [`begin_sink`](Self::begin_sink).
    fn open_sink(&self, who: &StreamLabel, spec: &StreamSpec) -> Result<Box<dyn Sink>, Error> {
        let mut sink = self.begin_sink(who, spec)?;
        sink.opened(Duration::MAX).unwrap_or(Ok(()))?;
        Ok(sink)
    }

    /// Opens it for capture; may wait as long as [`DeviceOptions::patience`] says.
    ///
    /// # Errors
    /// As [`begin_sink`](Self::begin_sink).
    fn open_source(&self, who: &StreamLabel, spec: &StreamSpec) -> Result<Box<dyn Source>, Error> {
        let mut source = self.begin_source(who, spec)?;
        source.opened(Duration::MAX).unwrap_or(Ok(()))?;
        Ok(source)
    }
}
