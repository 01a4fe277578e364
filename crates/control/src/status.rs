//! What there is.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Everything that the daemon serves.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The daemon's version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Milliseconds since it started.
    pub uptime_ms: u64,
    /// Processor time that it has used, in milliseconds.
    pub cpu_ms: u64,
    /// The configuration it was started with; `null` for none.
    pub config: Option<PathBuf>,
    /// Guests with a card, by their domain id.
    pub guests: Vec<Guest>,
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
    /// The process that serves it.
    #[serde(default)]
    pub pid: u32,
    /// Its cards, by their number.
    pub cards: Vec<Card>,
}

/// A card of a guest.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Card {
    /// Its number (the XenBus device id).
    pub card: u32,
    /// Name of the card in the guest's configuration, while connected; the guest can write it.
    #[serde(default)]
    pub name: String,
    /// Protocol, `v0` or `v2`.
    pub protocol: String,
    /// The daemon's XenBus state, `Connected` when sound can flow.
    pub state: String,
    /// How often the guest broke the protocol.
    pub violations: u64,
    /// How often it was connected.
    pub connections: u64,
    /// Its streams; empty unless connected.
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

/// What a stream is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Run {
    /// The guest does not use it.
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
    /// `null` for a stream of version 0 that has not been used yet.
    pub direction: Option<Direction>,
    /// What the guest's configuration calls it; the guest can write that.
    pub label: String,
    /// Whether the host lets the guest use it.
    pub permitted: bool,
    /// What it is doing.
    pub run: Run,
    /// The sink or source that it leads to; of an open WAV sink the file itself.
    pub device: String,
    /// Whether that went away while the stream is open.
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
    /// From the guest's write until it is heard (captured until the guest is told), in microseconds; while running.
    pub latency_us: Option<u64>,
    /// Frames played or captured since the card was connected.
    pub frames: u64,
    /// Times that sound was lost since the card was connected.
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
    /// Which channels the guest has muted; empty where it has muted none.
    pub guest_muted: Vec<bool>,
    /// The host's volume, in decibels.
    pub volume_db: f64,
    /// What the sum of both never exceeds, in decibels.
    pub volume_max_db: Option<f64>,
    /// Whether the host has muted it.
    pub muted: bool,
    /// The loudest channel's volume of guest and host together, under the ceiling, in decibels; `null` where all of it is silent: muted, or
    /// not permitted.
    #[serde(default)]
    pub effective_volume_db: Option<f64>,
    /// The volume that the host's people have set for it on the sound server, in decibels: that of the loudest channel. `null` where there is no
    /// server, or none known.
    #[serde(default)]
    pub server_volume_db: Option<f64>,
    /// Whether they have muted it there.
    #[serde(default)]
    pub server_muted: bool,
    /// Peak of each channel in decibels of full scale since it was asked for last; `null` is silence. Empty unless
    /// levels are asked for.
    pub levels_db: Vec<Option<f32>>,
}
