//! A record stream on the server.

use super::connection::{Connection, Failure, Message};
use super::lost;
use super::volume::VolumeWatch;
use crate::live::{Fault, Input, Opened};
use crate::{Direction, ServerVolume, StreamSpec};
use pulseaudio::protocol::{self as pa, Command};
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

/// Frames that nobody reads are kept for this part of a second (500 ms).
const KEPT: u32 = 2;

pub(super) struct PulseInput {
    connection: Connection,
    server: String,
    channel: u32,
    volume: VolumeWatch,
    frame_bytes: usize,
    /// Captured bytes; those from `read` on were not read yet.
    captured: Vec<u8>,
    read: usize,
    most_bytes: usize,
    running: bool,
}

impl PulseInput {
    pub fn open(
        mut connection: Connection,
        params: pa::RecordStreamParams,
        spec: &StreamSpec,
        server: String,
    ) -> Result<Opened<dyn Input>, Failure> {
        let reply: pa::CreateRecordStreamReply = connection.call(&Command::CreateRecordStream(params))?;
        let volume = VolumeWatch::begin(&mut connection, Direction::Capture, reply.stream_index)?;
        let frame_bytes = spec.frame_bytes();
        let most_bytes = (spec.rate_hz / KEPT) as usize * frame_bytes;
        let fragment = reply.buffer_attr.fragment_size as usize / frame_bytes;
        let input = Self {
            connection,
            server,
            channel: reply.channel,
            volume,
            frame_bytes,
            captured: Vec::with_capacity(most_bytes),
            read: 0,
            most_bytes,
            running: false,
        };
        Ok(Opened { device: Box::new(input), period: fragment.max(1) as u64, need: 0 })
    }

    /// Takes in the server's messages and sends queued ones.
    fn exchange(&mut self) -> Result<(), Fault> {
        let kept = self.pump().map_err(|failure| lost(&self.server, failure))?;
        if kept { Ok(()) } else { Err(Fault::Xrun) }
    }

    /// Returns false if there was no room for captured frames.
    fn pump(&mut self) -> Result<bool, Failure> {
        let version = self.connection.version();
        let mut kept = true;
        while let Some(message) = self.connection.receive()? {
            match message {
                Message::Frames(frames) if self.running => {
                    if self.captured.len() - self.read + frames.len() > self.most_bytes {
                        // Nobody reads: new frames are worth more than the old ones.
                        kept = false;
                        self.captured.clear();
                        self.read = 0;
                        continue;
                    }
                    self.captured.drain(..self.read);
                    self.read = 0;
                    self.captured.extend_from_slice(frames);
                }
                Message::Reply(number, content) => self.volume.answered(number, content, version)?,
                Message::Changed(index) => self.volume.changed(index, &mut self.connection)?,
                Message::Killed => {
                    return Err(Failure::Broken("it ended the stream: its source was removed".into()));
                }
                _ => {}
            }
        }
        self.connection.flush()?;
        Ok(kept)
    }

    fn cork(&mut self, cork: bool) -> Result<(), Fault> {
        self.running = !cork;
        let command = Command::CorkRecordStream(pa::CorkStreamParams { channel: self.channel, cork });
        self.connection.send(&command).map_err(|failure| lost(&self.server, failure))?;
        self.exchange()
    }
}

impl Input for PulseInput {
    fn attend(&mut self, _now: Instant) -> Result<(), Fault> {
        self.exchange()
    }

    fn available(&mut self, _now: Instant) -> Result<u64, Fault> {
        self.exchange()?;
        Ok(((self.captured.len() - self.read) / self.frame_bytes) as u64)
    }

    fn read(&mut self, into: &mut [u8], _now: Instant) -> Result<usize, Fault> {
        let there = &self.captured[self.read..];
        let frames = (into.len().min(there.len())) / self.frame_bytes;
        let bytes = frames * self.frame_bytes;
        into[..bytes].copy_from_slice(&there[..bytes]);
        self.read += bytes;
        Ok(frames)
    }

    fn start(&mut self, _now: Instant) -> Result<(), Fault> {
        if self.running { Ok(()) } else { self.cork(false) }
    }

    fn reset(&mut self, _now: Instant) -> Result<(), Fault> {
        self.captured.clear();
        self.read = 0;
        self.cork(true)?;
        let command = Command::FlushRecordStream(self.channel);
        self.connection.send(&command).map_err(|failure| lost(&self.server, failure))?;
        self.exchange()
    }

    fn take_volume(&mut self) -> Option<ServerVolume> {
        self.volume.take()
    }

    fn wait(&mut self, wake: BorrowedFd<'_>, _late: bool, timeout: Option<Duration>) -> bool {
        self.connection.wait(wake, timeout)
    }
}
