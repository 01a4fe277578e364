//! A playback stream on the server.

use super::connection::{Connection, Failure, Message, reply};
use super::lost;
use super::tail::Tail;
use super::volume::VolumeWatch;
use crate::live::{Fault, Opened, Output, time_to_frames};
use crate::{Direction, ServerVolume, StreamSpec};
use pulseaudio::protocol::{self as pa, Command};
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant, SystemTime};

/// Bytes that may wait for the socket; with more, the server is behind.
const MOST_BACKLOG_BYTES: usize = 64 * 1024;
/// Intervals at which the server is asked for the position: at first, and later.
const ASK_SOON: Duration = Duration::from_millis(4);
const ASK_LATER: Duration = Duration::from_millis(20);

/// Time after an unanswered question for which a position is guessed: later, the server does not move.
const LONGEST_GUESS: Duration = Duration::from_millis(250);

/// Time that the server may take to play what counts as heard: its reported latency is not exact.
const DRAIN: Duration = Duration::from_millis(300);

/// Position of the server when it was last asked.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// Frames heard, less than 0 before the first one is; counted like [`PulseOutput::sent`].
    heard: i64,
    at: Instant,
    /// True if the position goes on with time.
    playing: bool,
}

/// A question for the position that is not answered yet.
#[derive(Debug, Clone, Copy)]
struct Asked {
    number: u32,
    at: Instant,
    sent: u64,
}

pub(super) struct PulseOutput {
    connection: Connection,
    server: String,
    channel: u32,
    volume: VolumeWatch,
    rate_hz: u32,
    frame_bytes: usize,
    running: bool,
    /// True if the stream has run out; silence may be needed to push the rest of it through.
    trailing: bool,
    /// Frames sent since the queue was last emptied, including silence behind the stream's frames.
    sent: u64,
    tail: Tail,
    known: Option<Known>,
    asked: Option<Asked>,
    next_ask: Option<Instant>,
}

impl PulseOutput {
    pub fn open(
        mut connection: Connection,
        params: pa::PlaybackStreamParams,
        spec: &StreamSpec,
        server: String,
    ) -> Result<Opened<dyn Output>, Failure> {
        let reply: pa::CreatePlaybackStreamReply = connection.call(&Command::CreatePlaybackStream(params))?;
        let frame_bytes = spec.frame_bytes();
        let own = time_to_frames(Duration::from_micros(reply.stream_latency), spec.rate_hz);
        let request = u64::from(reply.buffer_attr.minimum_request_length) / frame_bytes as u64;
        let volume = VolumeWatch::begin(&mut connection, Direction::Playback, reply.stream_index)?;
        let tail = Tail::new(spec, request, connection.is_pipewire());
        let output = Self {
            connection,
            server,
            channel: reply.channel,
            volume,
            rate_hz: spec.rate_hz,
            frame_bytes,
            running: false,
            trailing: false,
            sent: 0,
            tail,
            known: None,
            asked: None,
            next_ask: None,
        };
        Ok(Opened { device: Box::new(output), period: request.max(1), need: own + request })
    }

    /// Takes in the server's messages and sends queued ones.
    fn exchange(&mut self, now: Instant) -> Result<(), Fault> {
        self.pump(now).map_err(|failure| lost(&self.server, failure))
    }

    fn pump(&mut self, now: Instant) -> Result<(), Failure> {
        let version = self.connection.version();
        while let Some(message) = self.connection.receive()? {
            match message {
                Message::Reply(number, content) => {
                    self.volume.answered(number, content, version)?;
                    if let Some(asked) = self.asked.filter(|asked| asked.number == number) {
                        let latency: pa::PlaybackLatency = reply(content, version)?;
                        self.asked = None;
                        self.learn(asked, &latency, now)?;
                    }
                }
                Message::Killed => {
                    return Err(Failure::Broken("it ended the stream: its sink was removed".into()));
                }
                Message::Changed(index) => self.volume.changed(index, &mut self.connection)?,
                // Without an answer the position is asked for again; other refusals concern what does not matter, such as a volume.
                Message::Error(number, _) => drop(self.asked.take_if(|asked| asked.number == number)),
                Message::Other | Message::Frames(_) => {}
            }
        }
        if self.running && self.asked.is_none() && self.next_ask.is_none_or(|next| now >= next) {
            let ask = pa::LatencyParams { channel: self.channel, now: SystemTime::now() };
            let number = self.connection.send(&Command::GetPlaybackLatency(ask))?;
            self.asked = Some(Asked { number, at: now, sent: self.sent });
            let playing = self.known.is_some_and(|known| known.playing);
            self.next_ask = Some(now + if playing { ASK_LATER } else { ASK_SOON });
        }
        self.connection.flush()
    }

    /// Evaluates an answer: the server saw the question after everything that was sent before it.
    fn learn(&mut self, asked: Asked, latency: &pa::PlaybackLatency, now: Instant) -> Result<(), Failure> {
        let queued = (latency.write_offset - latency.read_offset).max(0) / self.frame_bytes as i64;
        let device = time_to_frames(Duration::from_micros(latency.sink_usec), self.rate_hz).cast_signed();
        // The best estimate is the middle between question and answer.
        let at = asked.at + now.saturating_duration_since(asked.at) / 2;
        // Frames that the server has handed to its device are heard in time, also when no more come.
        let playing = latency.playing || (queued == 0 && asked.sent > 0);
        self.known = Some(Known { heard: asked.sent.cast_signed() - queued - device, at, playing });
        let waits = self.running && !playing && asked.sent == self.sent;
        if waits && self.tail.is_stuck(queued.cast_unsigned(), self.trailing, now) {
            self.pad(now)?;
        }
        Ok(())
    }

    /// Sends silence, so that the server plays everything before it.
    fn pad(&mut self, now: Instant) -> Result<(), Failure> {
        let (silence, times) = self.tail.pad(self.sent, now);
        for _ in 0..times {
            self.connection.send_frames(self.channel, silence)?;
            self.sent += (silence.len() / self.frame_bytes) as u64;
        }
        Ok(())
    }

    /// Frames heard by now, silence included.
    fn heard(&mut self, now: Instant) -> u64 {
        let sent = self.sent;
        let now = self.asked.map_or(now, |asked| now.min(asked.at + LONGEST_GUESS));
        let Some(known) = &mut self.known else { return 0 };
        let since = match (self.running, known.playing) {
            (true, true) => time_to_frames(now.saturating_duration_since(known.at), self.rate_hz),
            _ => 0,
        };
        let heard = (known.heard + since.cast_signed()).max(0).cast_unsigned();
        if heard >= sent && known.playing {
            // Time without frames is not made up for.
            (known.heard, known.at) = (sent.cast_signed(), now);
        }
        heard.min(sent)
    }

    fn command(&mut self, command: &Command, now: Instant) -> Result<(), Fault> {
        self.connection.send(command).map_err(|failure| lost(&self.server, failure))?;
        self.exchange(now)
    }

    fn cork(&mut self, cork: bool, now: Instant) -> Result<(), Fault> {
        if let Some(known) = self.known {
            // Frames heard so far stay heard; the answer to an earlier question says nothing about later.
            let heard = self.heard(now).cast_signed();
            self.known = Some(Known { heard: heard.min(known.heard.max(heard)), at: now, ..known });
        }
        (self.running, self.trailing, self.asked, self.next_ask) = (!cork, false, None, None);
        self.command(&Command::CorkPlaybackStream(pa::CorkStreamParams { channel: self.channel, cork }), now)
    }
}

impl Output for PulseOutput {
    fn attend(&mut self, now: Instant) -> Result<(), Fault> {
        self.exchange(now)
    }

    fn room(&mut self, now: Instant) -> Result<u64, Fault> {
        self.exchange(now)?;
        let room = MOST_BACKLOG_BYTES.saturating_sub(self.connection.backlog_bytes());
        Ok((room / self.frame_bytes) as u64)
    }

    fn write(&mut self, frames: &[u8], now: Instant) -> Result<usize, Fault> {
        let count = (frames.len() / self.frame_bytes).min(MOST_BACKLOG_BYTES / self.frame_bytes);
        let sent = self.connection.send_frames(self.channel, &frames[..count * self.frame_bytes]);
        sent.map_err(|failure| lost(&self.server, failure))?;
        self.sent += count as u64;
        self.tail.sent(now);
        self.trailing = false;
        self.exchange(now)?;
        Ok(count)
    }

    fn delay(&mut self, now: Instant) -> Result<u64, Fault> {
        self.exchange(now)?;
        let heard = self.heard(now);
        Ok(self.tail.without_silence(self.sent) - self.tail.without_silence(heard))
    }

    fn start(&mut self, now: Instant) -> Result<(), Fault> {
        if self.running { Ok(()) } else { self.cork(false, now) }
    }

    fn pause(&mut self, on: bool, now: Instant) -> Result<bool, Fault> {
        self.cork(on, now)?;
        Ok(true)
    }

    fn reset(&mut self, now: Instant) -> Result<(), Fault> {
        self.cork(true, now)?;
        self.command(&Command::FlushPlaybackStream(self.channel), now)?;
        (self.sent, self.known) = (0, None);
        self.tail.forget();
        Ok(())
    }

    fn ran_out(&mut self, now: Instant) -> Result<(), Fault> {
        self.trailing = self.tail.is_needed();
        self.exchange(now)
    }

    fn finish(&mut self) {
        // A server that does not answer is gone, and with it the sound.
        let drain = Command::DrainPlaybackStream(self.channel);
        let _ = self.connection.complete_within(&drain, DRAIN);
    }

    fn take_volume(&mut self) -> Option<ServerVolume> {
        self.volume.take()
    }

    fn wait(&mut self, wake: BorrowedFd<'_>, _room: bool, timeout: Option<Duration>) -> bool {
        // The server is asked again, though nobody waits for the answer.
        let asks = self.trailing && self.asked.is_none();
        let own = self.next_ask.filter(|_| asks).map(|next| next.saturating_duration_since(Instant::now()));
        match own.filter(|own| timeout.is_none_or(|timeout| *own < timeout)) {
            Some(own) => {
                self.connection.wait(wake, Some(own));
                false
            }
            None => self.connection.wait(wake, timeout),
        }
    }
}
