//! The guest's side of a measurement: one process, one epoll loop, many playing or recording streams.
//!
//! The process reads commands as lines from its standard input, and answers each with one line of JSON:
//! `play` opens and starts all streams, `mark` starts counting, `report` returns the counts.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use guest::{Capture, Card, ChannelKind, Config, Playback, Stats};
use rustix::event::epoll;
use sndif::Format;
use sndif::store::Direction;
use xen::{Xen, XenSpec};

use crate::counts::Counts;
use crate::machine::{CardOf, FRAME_BYTES, RATE_HZ};

/// Time limit for a card to connect.
const PATIENCE: Duration = Duration::from_secs(30);

/// Token of the standard input.
const COMMAND_TOKEN: u64 = u64::MAX;

/// Maximum number of events taken by one system call.
const BATCH: usize = 256;

/// Minimum time over which the streams are started, so that their periods end at different moments.
const START_SPREAD: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, Args)]
pub(crate) struct Arguments {
    /// The emulation.
    #[arg(long)]
    pub(crate) xen: XenSpec,
    /// A card to use, as DOMAIN:STREAMS and `p` to play or `c` to record, with colons between.
    #[arg(long = "card", required = true)]
    pub(crate) cards: Vec<CardOf>,
    /// Length of a period.
    #[arg(long)]
    pub(crate) period_frames: u32,
    /// Periods of a buffer.
    #[arg(long)]
    pub(crate) periods: u32,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    xen::raise_fd_limit();
    let mut player = Player::connect(arguments)?;
    answer(&Counts::default())?;
    loop {
        player.serve(None)?;
        match player.command.take().as_deref() {
            None => {}
            Some("play") => {
                player.play(arguments)?;
                answer(&Counts::default())?;
            }
            Some("mark") => {
                player.counts()?;
                player.marked = player.counts()?;
                answer(&Counts::default())?;
            }
            Some("report") => {
                let counts = player.counts()?;
                answer(&counts.since(&player.marked))?;
            }
            // The end of the input: the starting process has finished, or is gone.
            Some("") => return player.stop(),
            Some(other) => bail!("no such command: `{other}`"),
        }
    }
}

/// Writes the counts as one line of JSON.
pub(crate) fn answer(counts: &Counts) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(counts)?)?;
    Ok(out.flush()?)
}

/// A stream of either direction.
enum Stream {
    Playback(Playback),
    Capture(Capture),
}

/// Calls the same method for either direction.
macro_rules! either {
    ($stream:expr, $open:ident => $does:expr) => {
        match $stream {
            Stream::Playback($open) => $does,
            Stream::Capture($open) => $does,
        }
    };
}

struct Player {
    // Streams are dropped before their cards.
    streams: Vec<Stream>,
    cards: Vec<(CardOf, Card)>,
    epoll: OwnedFd,
    ready: Vec<u64>,
    /// Sound of one buffer.
    sound: Vec<u8>,
    period_bytes: usize,
    command: Option<String>,
    /// Notifications counted by the kernel, read so far.
    told_by_ring: u64,
    told_by_events: u64,
    marked: Counts,
}

impl Player {
    fn connect(arguments: &Arguments) -> Result<Self> {
        let mut cards = Vec::with_capacity(arguments.cards.len());
        for &card in &arguments.cards {
            let xen = Xen::open(&arguments.xen, Some(card.domain))?;
            cards.push((card, Card::connect(&xen, &arguments.xen, 0, PATIENCE)?));
        }
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).context("cannot make an epoll")?;
        let command = epoll::EventData::new_u64(COMMAND_TOKEN);
        epoll::add(&epoll, std::io::stdin().as_fd(), command, epoll::EventFlags::IN)
            .context("cannot wait for commands")?;
        let period_bytes = arguments.period_frames * FRAME_BYTES;
        Ok(Self {
            streams: Vec::new(),
            cards,
            epoll,
            ready: Vec::with_capacity(BATCH),
            sound: vec![0x11; (period_bytes * arguments.periods) as usize],
            period_bytes: period_bytes as usize,
            command: None,
            told_by_ring: 0,
            told_by_events: 0,
            marked: Counts::default(),
        })
    }

    /// Opens all streams, fills the buffers of those that play, and starts the streams one after another.
    fn play(&mut self, arguments: &Arguments) -> Result<()> {
        let config = Config {
            format: Format::S16Le,
            rate_hz: RATE_HZ,
            channels: 2,
            period_frames: arguments.period_frames,
            buffer_frames: arguments.period_frames * arguments.periods,
        };
        for (card, connected) in &self.cards {
            for index in 0..u8::try_from(card.streams)? {
                let mut stream = match card.direction {
                    Direction::Playback => Stream::Playback(connected.playback(0, index, &config)?),
                    Direction::Capture => Stream::Capture(connected.capture(0, index, &config)?),
                };
                let geometry = *either!(&stream, open => open.geometry());
                let sizes = (geometry.period_bytes() as usize, geometry.ring_bytes() as usize);
                ensure!(
                    sizes == (self.period_bytes, self.sound.len()),
                    "the sink has periods and buffers of {} and {} bytes, wanted are {} and {}",
                    sizes.0,
                    sizes.1,
                    self.period_bytes,
                    self.sound.len()
                );
                either!(&mut stream, open => open.set_edge_triggered(true));
                if let Stream::Playback(playback) = &mut stream {
                    playback.try_write(&self.sound)?;
                }
                let token = epoll::EventData::new_u64(self.streams.len() as u64);
                let [_, events] = either!(&stream, open => open.event_fds())?;
                epoll::add(&self.epoll, events, token, epoll::EventFlags::IN | epoll::EventFlags::ET)?;
                self.streams.push(stream);
            }
        }
        let begin = Instant::now();
        let count = u32::try_from(self.streams.len().max(1))?;
        for index in 0..self.streams.len() {
            let due = begin + START_SPREAD * u32::try_from(index)? / count;
            loop {
                let left = due.saturating_duration_since(Instant::now());
                self.serve(Some(left))?;
                if left.is_zero() {
                    break;
                }
            }
            if let Some(stream) = self.streams.get_mut(index) {
                either!(stream, open => open.start())?;
            }
        }
        Ok(())
    }

    /// Waits once and serves the streams that are ready.
    fn serve(&mut self, timeout: Option<Duration>) -> Result<()> {
        let timeout = timeout.map(rustix::event::Timespec::try_from).transpose()?;
        self.ready.clear();
        let mut events =
            [epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) }; BATCH];
        match epoll::wait(&self.epoll, &mut events[..], timeout.as_ref()) {
            Ok(count) => self.ready.extend(events.iter().take(count).map(|event| event.data.u64())),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("cannot wait for events"),
        }
        for at in 0..self.ready.len() {
            match self.ready.get(at).copied() {
                Some(COMMAND_TOKEN) => self.command = Some(read_command()?),
                Some(index) => {
                    if let Some(stream) = self.streams.get_mut(usize::try_from(index)?) {
                        serve(stream, &mut self.sound, self.period_bytes)?;
                    }
                }
                None => {}
            }
        }
        Ok(())
    }

    /// Counts so far, of all streams together.
    fn counts(&mut self) -> Result<Counts> {
        let mut counts = Counts { streams: self.streams.len() as u64, ..Counts::default() };
        let mut heard_bytes = 0;
        for stream in &mut self.streams {
            // The loop is edge-triggered and never reads these, so the kernel has counted every notification.
            let [ring, events] = either!(stream, open => open.event_fds())?;
            self.told_by_ring += notifications(ring)?;
            self.told_by_events += notifications(events)?;
            // Reading consumed pending edges, so serve the stream here.
            serve(stream, &mut self.sound, self.period_bytes)?;
            let Stats { requests, notifications, events, xruns, .. } = either!(stream, open => open.stats());
            counts.requests += requests;
            counts.notifications_to_back += notifications;
            counts.events += events;
            counts.xruns += xruns;
            heard_bytes += either!(stream, open => open.position());
        }
        counts.frames = heard_bytes / u64::from(FRAME_BYTES);
        counts.ring_notifications_to_front = self.told_by_ring;
        counts.event_notifications_to_front = self.told_by_events;
        Ok(counts)
    }

    fn stop(mut self) -> Result<()> {
        for stream in &mut self.streams {
            either!(stream, open => open.stop())?;
        }
        Ok(())
    }
}

/// Reads all captured frames, or writes as many whole periods as there is room for.
fn serve(stream: &mut Stream, sound: &mut [u8], period_bytes: usize) -> Result<()> {
    let wake = either!(stream, open => open.on_wake(ChannelKind::Events))?;
    let room = wake.available_bytes as usize;
    match stream {
        Stream::Capture(capture) => {
            // Not more than available: a request for more would cost another look at the shared memory.
            capture.try_read(sound.get_mut(..room).unwrap_or_default())?;
        }
        Stream::Playback(playback) => {
            let whole = room - room % period_bytes;
            if whole > 0 {
                playback.try_write(sound.get(..whole).unwrap_or(sound))?;
            }
        }
    }
    Ok(())
}

/// Number of notifications that an eventfd has counted since it was read.
fn notifications(fd: impl AsFd) -> Result<u64> {
    let mut count = [0; 8];
    match rustix::io::read(fd, &mut count) {
        Ok(_) => Ok(u64::from_ne_bytes(count)),
        Err(rustix::io::Errno::AGAIN) => Ok(0),
        Err(error) => Err(error).context("cannot read an event channel"),
    }
}

/// Reads the waiting command; commands come one at a time.
fn read_command() -> Result<String> {
    let mut bytes = [0; 64];
    let count = rustix::io::read(std::io::stdin().as_fd(), &mut bytes).context("cannot read commands")?;
    Ok(String::from_utf8_lossy(bytes.get(..count).unwrap_or_default()).trim().to_owned())
}
