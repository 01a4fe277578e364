//! WAV files: a writer whose file is valid at any moment, a reader, and the device `wav:PATH`.
//!
//! A file carries every format whose samples WAV can hold without loss. A format that differs only in sign or byte
//! order is stored in WAV's own form (`s8` as unsigned 8 bit, any 24-bit format as three bytes, little-endian), so
//! reading gives the same samples, not always the same bytes.

mod encoding;
mod header;
mod pipe;
mod reader;
mod sink;
mod source;
mod template;
mod writer;

pub use pipe::PipeWriter;
pub use reader::{Reader, WavAudio, read_file};
pub use sink::finish_all;
pub use template::numbered;
pub use writer::Writer;

pub(crate) use template::Template;

use crate::{Capabilities, Direction, Error, HostDevice, Sink, Source, StreamAddress, StreamSpec};
use encoding::Encoding;
use sndif::{Format, FormatSet};
use std::path::{Path, PathBuf};

/// The formats that a WAV file can hold: all but the compressed streams.
#[must_use]
pub fn writable_formats() -> FormatSet {
    Format::all().filter(|&format| Encoding::of(format).is_some()).collect()
}

/// The device `wav:PATH`.
pub(crate) struct WavDevice {
    template: PathBuf,
}

impl WavDevice {
    pub(crate) fn new(template: PathBuf) -> Self {
        Self { template }
    }

    fn check(&self, who: &StreamAddress, direction: Direction, spec: &StreamSpec) -> Result<PathBuf, Error> {
        let path = Template::expand(&self.template, who)?;
        let can = self.capabilities(who, direction)?;
        if can.allow(spec) {
            return Ok(path);
        }
        let formats: Vec<&str> = can.formats.iter().map(Format::name).collect();
        let reason = format!(
            "possible are the formats {}, {} to {} Hz, {} to {} channel(s)",
            formats.join(" "),
            can.rates_hz.start(),
            can.rates_hz.end(),
            can.channels.start(),
            can.channels.end()
        );
        Err(Error::unsupported(format_args!("`wav:{}`", path.display()), spec, reason))
    }
}

impl HostDevice for WavDevice {
    fn capabilities(&self, who: &StreamAddress, direction: Direction) -> Result<Capabilities, Error> {
        match direction {
            Direction::Playback => {
                let path = Template::expand(&self.template, who)?;
                check_directory(&path)?;
                Ok(Capabilities {
                    formats: writable_formats(),
                    rates_hz: Capabilities::ANY_RATE_HZ,
                    channels: Capabilities::ANY_CHANNELS,
                })
            }
            Direction::Capture => {
                let file = Reader::open(&Template::expand(&self.template, who)?)?;
                let (rate_hz, channels) = (file.rate_hz, u32::from(file.channels));
                Ok(Capabilities {
                    formats: file.encoding.readable_as().collect(),
                    rates_hz: rate_hz..=rate_hz,
                    channels: channels..=channels,
                })
            }
        }
    }

    fn begin_sink(&self, who: &StreamAddress, spec: &StreamSpec) -> Result<Box<dyn Sink>, Error> {
        let path = self.check(who, Direction::Playback, spec)?;
        let writer = Writer::create_numbered(&path, spec.format, spec.rate_hz, spec.channels)?;
        Ok(Box::new(sink::WavSink::new(writer, spec)?))
    }

    fn begin_source(&self, who: &StreamAddress, spec: &StreamSpec) -> Result<Box<dyn Source>, Error> {
        let path = self.check(who, Direction::Capture, spec)?;
        Ok(Box::new(source::WavSource::open(&path, spec)?))
    }
}

/// Checks, without making a file, that `path` has a directory to be made in.
fn check_directory(path: &Path) -> Result<(), Error> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = |reason| Error::file("create", path, reason);
    match std::fs::metadata(directory) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(failed(std::io::ErrorKind::NotADirectory.into())),
        Err(reason) => Err(failed(reason)),
    }
}
