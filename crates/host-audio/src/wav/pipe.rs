//! Writing WAV into a pipe: the header's sizes say that the samples go on to the end.

use super::encoding::Encoding;
use super::header;
use crate::speakers::{self, Order};
use crate::{Error, StreamSpec};
use sndif::Format;
use std::io::{self, Write};

/// Writes frames to an output that cannot seek.
#[derive(Debug)]
pub struct PipeWriter<W> {
    out: W,
    format: Format,
    encoding: Encoding,
    order: Order,
    frame_bytes: usize,
    /// Bytes that are written next, the header first.
    waiting: Vec<u8>,
    frames: u64,
}

impl<W: Write> PipeWriter<W> {
    /// Begins with the header, which is written with the first frames.
    ///
    /// # Errors
    /// WAV cannot hold the format, or there is no channel.
    pub fn new(out: W, format: Format, rate_hz: u32, channels: u8) -> Result<Self, Error> {
        let spec = StreamSpec { format, rate_hz, channels, period_frames: 0, buffer_frames: 0 };
        let encoding = header::writable(&spec, "a pipe")?;
        let waiting = header::open_header(encoding, rate_hz, channels);
        let order = Order::of(channels, speakers::mask(channels));
        Ok(Self { out, format, encoding, order, frame_bytes: spec.frame_bytes(), waiting, frames: 0 })
    }

    /// Frames written so far.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Appends whole frames.
    ///
    /// # Errors
    /// Errors of the output.
    pub fn write(&mut self, frames: &[u8]) -> io::Result<()> {
        let first = self.waiting.len();
        self.encoding.encode(self.format, frames, &mut self.waiting);
        self.order.order_out(&mut self.waiting[first..], self.encoding.bytes());
        self.out.write_all(&self.waiting)?;
        self.out.flush()?;
        self.waiting.clear();
        self.frames += (frames.len() / self.frame_bytes) as u64;
        Ok(())
    }
}
