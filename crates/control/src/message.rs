//! Requests and replies.

use serde::{Deserialize, Serialize};

use crate::{Direction, Event, Status, Target};

/// Longest time for which capture may be allowed, unless it is allowed permanently: a year.
pub const FOR_SECONDS_MAX: u64 = 366 * 86_400;

/// Longest line that a daemon accepts.
pub const LINE_BYTES_MAX: usize = 4096;

/// A request to the daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Asks for everything that the daemon serves.
    List {
        /// Measure levels from now on, and report those measured since the previous request.
        #[serde(default)]
        levels: bool,
    },
    /// Sets the host's volume of streams, which is added to the guest's own volume.
    Volume {
        /// The streams.
        target: Target,
        /// In decibels, −100 to 20.
        volume_db: f64,
    },
    /// Silences streams, or lets them be heard again.
    Mute {
        /// The streams.
        target: Target,
        /// True to silence them.
        on: bool,
    },
    /// Allows or denies capture.
    Capture {
        /// The streams.
        target: Target,
        /// True to allow capture.
        allow: bool,
        /// Duration in seconds; permanent if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        for_s: Option<u64>,
    },
    /// Makes streams play to, or capture from, another device of the host.
    Move {
        /// The streams.
        target: Target,
        /// The device, as the configuration names it.
        device: String,
        /// Playback or capture.
        direction: Direction,
    },
    /// Ends the connection of cards. The guest may connect again after a moment.
    Disconnect {
        /// The cards: a target without PCM device and stream.
        target: Target,
    },
    /// Discards settings of streams that were made while the daemon ran: the configuration applies to them again.
    Forget {
        /// The streams.
        target: Target,
    },
    /// Asks for kept settings that were made while the daemon ran.
    Kept,
    /// Reads the configuration again.
    Reload,
    /// Asks for the last events.
    Events {
        /// Continue to send events.
        #[serde(default)]
        follow: bool,
    },
}

/// The daemon's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum Reply {
    /// Answer to [`Request::List`].
    Status(Status),
    /// The request was carried out.
    Done {
        /// Description in words.
        message: String,
        /// Connected streams that the request affects now; streams that connect later are affected too.
        streams: usize,
    },
    /// Answer to [`Request::Events`]: the last events, oldest first.
    Events {
        /// The events.
        events: Vec<Event>,
    },
    /// Answer to [`Request::Kept`].
    Kept {
        /// Settings by guest; the guest that was set last comes last.
        kept: Vec<Setting>,
    },
    /// The request was not carried out: there is no such guest, card or stream.
    NoSuchStream {
        /// The target that was looked for, and those that exist.
        message: String,
    },
    /// The configuration cannot be used; the previous one remains in effect.
    BadConfig {
        /// File, line and column of every mistake, and its line, in several lines.
        message: String,
    },
    /// The request was not carried out, for any other reason.
    Refused {
        /// The fault, its place, and a remedy.
        message: String,
    },
}

/// A setting that was made while the daemon ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// The streams that the setting applies to.
    pub target: Target,
    /// The setting in words.
    pub text: String,
    /// End of the setting, in milliseconds since 1970; `null` for never.
    pub until_ms: Option<u64>,
}
