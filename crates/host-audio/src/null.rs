//! The null device: discards what is played, gives silence.

use crate::{Capabilities, Direction, Error, HostDevice, HostStream, Sink, Source, StreamAddress, StreamSpec};
use sndif::{Format, FormatSet};

/// The device `null`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NullDevice;

impl HostDevice for NullDevice {
    fn capabilities(&self, _who: &StreamAddress, _direction: Direction) -> Result<Capabilities, Error> {
        Ok(Capabilities {
            formats: FormatSet::ALL,
            rates_hz: Capabilities::ANY_RATE_HZ,
            channels: Capabilities::ANY_CHANNELS,
        })
    }

    fn begin_sink(&self, who: &StreamAddress, spec: &StreamSpec) -> Result<Box<dyn Sink>, Error> {
        Ok(Box::new(self.open(who, spec)?))
    }

    fn begin_source(&self, who: &StreamAddress, spec: &StreamSpec) -> Result<Box<dyn Source>, Error> {
        Ok(Box::new(self.open(who, spec)?))
    }
}

impl NullDevice {
    fn open(self, who: &StreamAddress, spec: &StreamSpec) -> Result<Null, Error> {
        if !self.capabilities(who, Direction::Playback)?.allow(spec) {
            return Err(Error::unsupported("null", spec, "a frame must have 1 byte or more, a rate 1 to 768000 Hz"));
        }
        Ok(Null { format: spec.format, frame_bytes: spec.frame_bytes(), running: false })
    }
}

/// Sink and source in one.
struct Null {
    format: Format,
    frame_bytes: usize,
    running: bool,
}

impl HostStream for Null {
    fn start(&mut self) -> Result<(), Error> {
        self.running = true;
        Ok(())
    }

    fn pause(&mut self, on: bool) -> Result<(), Error> {
        self.running = !on;
        Ok(())
    }

    fn stop(&mut self) -> Result<(), Error> {
        self.running = false;
        Ok(())
    }

    fn xruns(&self) -> u64 {
        0
    }
}

impl Sink for Null {
    fn room_frames(&mut self) -> usize {
        usize::MAX
    }

    fn write(&mut self, frames: &[u8]) -> Result<usize, Error> {
        Ok(frames.len() / self.frame_bytes)
    }

    fn queued_frames(&mut self) -> u64 {
        0
    }
}

impl Source for Null {
    fn available_frames(&mut self) -> usize {
        if self.running { usize::MAX } else { 0 }
    }

    fn read(&mut self, into: &mut [u8]) -> Result<usize, Error> {
        if !self.running {
            return Ok(0);
        }
        let frames = into.len() / self.frame_bytes;
        pcm::fill_silence(self.format, &mut into[..frames * self.frame_bytes]);
        Ok(frames)
    }
}
