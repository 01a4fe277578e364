//! Requests and replies.

use serde::{Deserialize, Serialize};

use crate::{Event, Status, Target};

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
    },
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
