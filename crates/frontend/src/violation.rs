//! Violations of the protocol by a backend.

use core::fmt;

use sndif::RingViolation;
use sndif::text::{Say, Sink, display, say};
use sndif::v2::EventViolation;

use crate::USELESS_MAX;

/// Data in the shared pages that cannot come from a correct backend. The first violation is kept and breaks the stream
/// for the rest of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Violation {
    /// The response index is impossible.
    Ring(RingViolation),
    /// The event index is impossible.
    Events(EventViolation),
    /// A response to a request that is not in flight: never made, or answered before.
    UnknownId(u16),
    /// A response whose operation is not that of the request with its id.
    WrongOperation {
        /// The request.
        id: u16,
        /// The request's operation code.
        asked: u8,
        /// The response's operation code.
        answered: u8,
    },
    /// A response that is not that of the oldest request (protocol version 0, which answers in order).
    OutOfOrder {
        /// The oldest request's operation code; none if nothing was asked.
        asked: Option<u8>,
        /// The response's operation code.
        answered: u8,
    },
    /// A response with an operation code that does not exist.
    BadOperation(u8),
    /// More than [`USELESS_MAX`](crate::USELESS_MAX) events in a row that cannot be true.
    Disbelieved,
    /// More than [`USELESS_MAX`](crate::USELESS_MAX) wake-ups in a row that brought nothing.
    EmptyWakeups,
}

impl Say for Violation {
    fn say(&self, out: &mut dyn Sink) {
        out.text("the backend");
        match self {
            Self::Ring(violation) => say(out, &[&"'s response index: ", violation]),
            Self::Events(violation) => say(out, &[&"'s event index: ", violation]),
            Self::UnknownId(id) => say(out, &[&" answered request ", id, &", which is not in flight"]),
            Self::WrongOperation { id, asked, answered } => {
                say(out, &[&" answered request ", id, &" of operation ", asked, &" as operation ", answered]);
            }
            Self::OutOfOrder { asked: Some(asked), answered } => {
                say(out, &[&" answered operation ", answered, &" of some stream instead of ", asked, &" of ours"]);
            }
            Self::OutOfOrder { asked: None, answered } => {
                say(out, &[&" answered operation ", answered, &", and nothing was asked"]);
            }
            Self::Disbelieved => {
                say(out, &[&" sent more than ", &USELESS_MAX, &" events in a row that cannot be true"]);
            }
            Self::EmptyWakeups => {
                say(out, &[&" notified more than ", &USELESS_MAX, &" times in a row for nothing"]);
            }
            Self::BadOperation(code) => say(out, &[&" answered operation ", code, &", which does not exist"]),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        display(self, f)
    }
}

impl core::error::Error for Violation {}
