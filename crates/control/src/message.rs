//! Requests and replies.

use serde::{Deserialize, Serialize};

use crate::{Direction, Event, Status, Target};

/// How long capture may be allowed at most, where it is not allowed for good: a year.
pub const FOR_SECONDS_MAX: u64 = 366 * 86_400;

/// Longest line that a daemon takes.
pub const LINE_BYTES_MAX: usize = 4096;

/// What is asked of the daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// What there is.
    List {
        /// Measure levels from now on, and tell what was measured since they were asked for last.
        #[serde(default)]
        levels: bool,
    },
    /// Sets the host's volume of streams, which is added to what the guest has set.
    Volume {
        /// Which streams.
        target: Target,
        /// In decibels, −100 to 20.
        volume_db: f64,
    },
    /// Silences streams, or lets them be heard again.
    Mute {
        /// Which streams.
        target: Target,
        /// Whether they are silent.
        on: bool,
    },
    /// Lets guests capture, or not.
    Capture {
        /// Which streams.
        target: Target,
        /// Whether they may.
        allow: bool,
        /// For how many seconds; for good without it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        for_s: Option<u64>,
    },
    /// Has streams play to, or capture from, another device of the host.
    Move {
        /// Which streams.
        target: Target,
        /// The device, as the configuration names it.
        device: String,
        /// Playback or capture.
        direction: Direction,
    },
    /// Ends the connection of cards. The guest may connect again after a moment.
    Disconnect {
        /// Which cards: a target without PCM device and stream.
        target: Target,
    },
    /// Forgets what was set for streams while the daemon ran: the configuration holds for them again.
    Forget {
        /// Which streams.
        target: Target,
    },
    /// Kept settings that were made while the daemon ran.
    Kept,
    /// Reads the configuration again.
    Reload,
    /// What happened.
    Events {
        /// Go on telling.
        #[serde(default)]
        follow: bool,
    },
}

/// The daemon's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum Reply {
    /// To [`Request::List`].
    Status(Status),
    /// It was done.
    Done {
        /// In words.
        message: String,
        /// Connected streams that it concerns now; it also holds for those that are connected later.
        streams: usize,
    },
    /// To [`Request::Events`]: the last ones, oldest first.
    Events {
        /// The events.
        events: Vec<Event>,
    },
    /// To [`Request::Kept`].
    Kept {
        /// Settings by guest; the guest that was set last comes last.
        kept: Vec<Setting>,
    },
    /// It was not done: there is no such guest, card or stream.
    NoSuchStream {
        /// What was looked for, and what there is.
        message: String,
    },
    /// The configuration cannot be used; what held before still holds.
    BadConfig {
        /// File, line and column of every mistake, and its line, in several lines.
        message: String,
    },
    /// It was not done, for any other reason.
    Refused {
        /// What was wrong, where, and what helps.
        message: String,
    },
}

/// Something that was set while the daemon ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// The streams that it is about.
    pub target: Target,
    /// In words.
    pub text: String,
    /// When it is over, in milliseconds since 1970; `null` for never.
    pub until_ms: Option<u64>,
}
