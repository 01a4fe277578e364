//! Status of the daemon, its guests, cards and streams.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sndif::store::StreamAddress;

/// Everything that the daemon serves.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The daemon's version.
    pub version: String,
    /// Process id of the daemon.
    pub pid: u32,
    /// Milliseconds since the daemon started.
    pub uptime_ms: u64,
    /// Processor time used by the daemon, in milliseconds.
    pub cpu_ms: u64,
    /// Configuration that the daemon was started with; `null` for none.
    pub config: Option<PathBuf>,
    /// Guests with a card, by their domain id.
    pub guests: Vec<Guest>,
}

impl Status {
    /// All streams with their addresses.
    pub fn streams(&self) -> impl Iterator<Item = (StreamAddress, &Stream)> {
        self.guests.iter().flat_map(Guest::streams)
    }
}

/// State of the worker that serves a guest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Worker {
    /// A worker serves the guest.
    #[default]
    Serving,
    /// The guest's worker starts, and has not offered the cards yet.
    Starting,
    /// The guest has no worker at the moment, since the last one ended; another is started soon.
    Restarting,
}

/// A guest.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Guest {
    /// Domain id.
    pub domain: u16,
    /// Name, as the toolstack has it.
    pub name: Option<String>,
    /// UUID, as the toolstack has it.
    pub uuid: Option<String>,
    /// Process id of the worker that serves the guest; 0 if there is none.
    #[serde(default)]
    pub pid: u32,
    /// State of the guest's worker.
    #[serde(default)]
    pub worker: Worker,
    /// Cards of the guest, by their number; empty unless a worker serves them.
    pub cards: Vec<Card>,
}

impl Guest {
    /// The guest's streams with their addresses.
    pub fn streams(&self) -> impl Iterator<Item = (StreamAddress, &Stream)> {
        let domain = self.domain;
        self.cards.iter().flat_map(move |Card { card, streams, .. }| {
            let card = *card;
            let address = move |of: &Stream| StreamAddress { domain, card, pcm: of.pcm, stream: of.stream };
            streams.iter().map(move |stream| (address(stream), stream))
        })
    }
}

/// A card of a guest.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Card {
    /// Number of the card (the XenBus device id).
    pub card: u32,
    /// Name of the card in the guest's configuration, while connected; the guest can write it.
    #[serde(default)]
    pub name: String,
    /// Protocol, `v0` or `v2`.
    pub protocol: String,
    /// The daemon's XenBus state, `Connected` when sound can flow.
    pub state: String,
    /// Number of times that the guest broke the protocol.
    pub violations: u64,
    /// Number of times that the card was connected.
    pub connections: u64,
    /// Streams of the card; empty unless connected.
    pub streams: Vec<Stream>,
}

/// Playback or capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// The guest plays.
    Playback,
    /// The guest captures.
    Capture,
}

/// State of a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Run {
    /// The guest does not use the stream.
    #[default]
    Closed,
    /// Open and not started.
    Open,
    /// Sound flows.
    Running,
    /// Held by the guest.
    Paused,
}

/// A stream of a connected card.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Stream {
    /// Index of the PCM device on the card.
    pub pcm: u8,
    /// Index of the stream on the PCM device.
    pub stream: u8,
    /// Name of the PCM device in the guest's configuration; the guest can write it.
    #[serde(default)]
    pub pcm_name: String,
    /// Direction; `null` for a stream of version 0 that has not been used yet.
    pub direction: Option<Direction>,
    /// Name of the stream in the guest's configuration; the guest can write it.
    pub label: String,
    /// True if the host lets the guest use the stream.
    pub permitted: bool,
    /// State of the stream.
    pub run: Run,
    /// Sink or source of the stream; for an open WAV sink the file itself.
    pub device: String,
    /// True if the device went away while the stream is open.
    pub device_lost: bool,
    /// Sample format while open.
    pub format: Option<String>,
    /// Frames per second while open, else 0.
    pub rate_hz: u32,
    /// Samples per frame while open, else 0.
    pub channels: u8,
    /// Frames of a period while open, else 0.
    pub period_frames: u32,
    /// Frames of the buffer while open, else 0.
    pub buffer_frames: u32,
    /// Time from the guest's write until the sound is heard (from capture until the guest is told), in microseconds;
    /// while running.
    pub latency_us: Option<u64>,
    /// Frames played or captured since the card was connected.
    pub frames: u64,
    /// Number of times that sound was lost since the card was connected.
    pub xruns: u64,
    /// Requests answered since the card was connected.
    pub requests: u64,
    /// Requests refused since the card was connected.
    pub refused: u64,
    /// Notifications that came from the guest since the card was connected.
    pub notifications_in: u64,
    /// Notifications sent to the guest since the card was connected.
    pub notifications_out: u64,
    /// The guest's own volume of each channel in decibels; empty where it has set none.
    pub guest_volume_db: Vec<f64>,
    /// True for each channel that the guest has muted; empty where it has muted none.
    pub guest_muted: Vec<bool>,
    /// The host's volume, in decibels.
    pub volume_db: f64,
    /// Maximum of the sum of both volumes, in decibels.
    pub volume_max_db: Option<f64>,
    /// True if the host has muted the stream.
    pub muted: bool,
    /// Volume of guest and host together, limited by the maximum, of the loudest channel in decibels; `null` where the
    /// stream is silent: muted, or not permitted.
    #[serde(default)]
    pub effective_volume_db: Option<f64>,
    /// Volume that users of the host have set for the stream on the sound server, in decibels: that of the loudest
    /// channel. `null` where there is no server, or its volume is not known.
    #[serde(default)]
    pub server_volume_db: Option<f64>,
    /// True if users of the host have muted the stream on the sound server.
    #[serde(default)]
    pub server_muted: bool,
    /// Peak of each channel in decibels of full scale since it was asked for last; `null` is silence. Empty unless
    /// levels are asked for.
    pub levels_db: Vec<Option<f32>>,
}
