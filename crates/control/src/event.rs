//! Events of the daemon.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Part;

/// An event that an administrator may want to know about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Time of the event, in milliseconds since 1970.
    pub time_ms: u64,
    /// Kind of the event.
    pub kind: EventKind,
    /// Domain id, if the event is about a guest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<u16>,
    /// The card's number, if the event is about a card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<u32>,
    /// The PCM device's index, if the event is about a stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pcm: Option<u8>,
    /// The stream's index, if the event is about a stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<u8>,
    /// The host device, if the event is about the opening or the loss of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Description in words.
    pub text: String,
}

impl Event {
    /// The part of the guest that the event is about.
    #[must_use]
    pub fn part(&self) -> Part {
        Part { card: self.card, pcm: self.pcm, stream: self.stream }
    }
}

/// Kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// A card was found, connected, closed or removed.
    Card,
    /// A guest opened a stream.
    Open,
    /// A stream was closed.
    Close,
    /// A stream was refused.
    Refused,
    /// Sound was lost because one side was late.
    Xrun,
    /// A guest broke the protocol.
    Violation,
    /// A host device went away.
    Lost,
    /// A host device is back.
    Back,
    /// A user changed a setting: a line of the audit.
    Audit,
    /// The configuration was read again, or refused.
    Reload,
    /// The worker of a guest ended, and another one takes its place.
    Worker,
}

impl EventKind {
    /// Every kind.
    pub const ALL: [Self; 11] = [
        Self::Card,
        Self::Open,
        Self::Close,
        Self::Refused,
        Self::Xrun,
        Self::Violation,
        Self::Lost,
        Self::Back,
        Self::Audit,
        Self::Reload,
        Self::Worker,
    ];
}

/// A text that is no kind of event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there are {}", EventKind::ALL.map(|kind| kind.to_string()).join(", "))]
pub struct ParseKindError;

impl FromStr for EventKind {
    type Err = ParseKindError;

    fn from_str(text: &str) -> Result<Self, ParseKindError> {
        Self::ALL.into_iter().find(|kind| kind.to_string() == text).ok_or(ParseKindError)
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Card => "card",
            Self::Open => "open",
            Self::Close => "close",
            Self::Refused => "refused",
            Self::Xrun => "xrun",
            Self::Violation => "violation",
            Self::Lost => "lost",
            Self::Back => "back",
            Self::Audit => "audit",
            Self::Reload => "reload",
            Self::Worker => "worker",
        })
    }
}
