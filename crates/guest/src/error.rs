//! Errors, with messages that tell the reader how to react.

use std::io;
use std::time::Duration;

use frontend::{NegotiationError, SubmitError, Violation};
use sndif::store::{BadNode, Direction};
use sndif::{Errno, XenbusState};
use xen::DomainId;

/// Result of this crate's operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Reason why an operation on a card or stream failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The domain has no such card.
    #[error(
        "domain {domain} has no sound card {card}: attach one with `vsnd emu attach` or add `vsnd = [...]` to its xl.cfg"
    )]
    NoCard {
        /// Our domain.
        domain: DomainId,
        /// Device id.
        card: u32,
    },
    /// The card's nodes describe no stream of this protocol.
    #[error("sound card {card} of domain {domain} has no stream: its nodes are not of this protocol, or incomplete")]
    NoStreams {
        /// Our domain.
        domain: DomainId,
        /// Device id.
        card: u32,
    },
    /// The backend never offered a connection.
    #[error(
        "no sound daemon answers for card {card} (backend in domain {backend} is {state}): is vsndd running there?"
    )]
    NoDaemon {
        /// Device id.
        card: u32,
        /// The backend's domain.
        backend: DomainId,
        /// State of the backend.
        state: XenbusState,
    },
    /// Frontend and backend did not connect in time.
    #[error("card {card} did not connect within {after:?}: frontend is {frontend}, backend is {backend}")]
    ConnectTimeout {
        /// Device id.
        card: u32,
        /// The time that was allowed.
        after: Duration,
        /// Our state.
        frontend: XenbusState,
        /// The backend's state.
        backend: XenbusState,
    },
    /// The backend closes the connection each time it is made.
    #[error("the sound daemon refuses to connect card {card}: its log says why")]
    ConnectionRefused {
        /// Device id.
        card: u32,
    },
    /// Another process uses the card.
    #[error(
        "sound card {card} is in use by process {process}: without a kernel driver a card plays or records for one program \
         at a time; wait for that one, or use another card (`--card`)"
    )]
    CardInUse {
        /// Device id.
        card: u32,
        /// Process id from the lock file of that process; `?` if it could not be read.
        process: String,
    },
    /// The lock file could not be made.
    #[error("cannot lock the card with {path}: {cause}")]
    Lock {
        /// The lock file.
        path: String,
        /// The system's answer.
        cause: io::Error,
    },
    /// A configuration node has an invalid value.
    #[error("configuration of the card, below {path}: {cause}")]
    BadNode {
        /// Directory of the node.
        path: String,
        /// The node, and the reason.
        cause: BadNode,
    },
    /// The card has no such stream.
    #[error("the card has no stream {pcm}/{stream}")]
    NoStream {
        /// PCM device.
        pcm: u8,
        /// Stream of the PCM device.
        stream: u8,
    },
    /// The process has opened the stream already.
    #[error("stream {pcm}/{stream} is open already")]
    StreamInUse {
        /// PCM device.
        pcm: u8,
        /// Stream of the PCM device.
        stream: u8,
    },
    /// The stream was given up in this connection, because an answer was missing or the backend broke the protocol.
    #[error("stream {pcm}/{stream} is broken until the card is connected again")]
    StreamBroken {
        /// PCM device.
        pcm: u8,
        /// Stream of the PCM device.
        stream: u8,
    },
    /// There is no common configuration.
    #[error(transparent)]
    Negotiation(#[from] Box<NegotiationError>),
    /// The backend refused a request.
    #[error("the backend refuses {operation}: {errno}{}", hint(*errno))]
    Refused {
        /// Request that was refused.
        operation: &'static str,
        /// Error number of the answer.
        errno: Errno,
    },
    /// A backend of protocol version 0 refused a request.
    #[error("the backend refuses {operation}; its protocol (v0) has no reasons, but its log may tell one")]
    RefusedWithoutReason {
        /// Request that was refused.
        operation: &'static str,
    },
    /// No backend could play or record like this (with protocol version 0, which cannot ask the backend).
    #[error("no stream has {channels} channel(s) of {format} at {rate_hz} Hz")]
    Impossible {
        /// Sample format.
        format: sndif::Format,
        /// Samples per frame.
        channels: u8,
        /// Frames per second.
        rate_hz: u32,
    },
    /// The backend did not answer.
    #[error("the backend does not answer {operation} within {after:?}")]
    NoAnswer {
        /// Request without an answer.
        operation: &'static str,
        /// Time of the wait.
        after: Duration,
    },
    /// The position does not move.
    #[error("the stream stands still: no position for {after:?}")]
    Stalled {
        /// Time of the wait.
        after: Duration,
    },
    /// Backends keep too many pages that were taken back from them.
    #[error("{pages} pages that were taken back are still mapped by the sound daemon: no more are granted")]
    PagesKept {
        /// Number of kept pages.
        pages: usize,
    },
    /// The backend is gone. [`Stream::recover`](crate::Stream::recover) waits for it.
    #[error("the connection to the sound daemon is lost")]
    Lost,
    /// The backend broke the protocol.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// The stream has the other direction.
    #[error("this is a {0} stream")]
    Direction(Direction),
    /// The stream is paused, so its buffer does not move.
    #[error("the stream is paused")]
    Paused,
    /// The stream was closed.
    #[error("the stream is closed")]
    Closed,
    /// The data is not a whole number of frames.
    #[error("{bytes} bytes are no whole number of frames of {frame_bytes}")]
    PartialFrame {
        /// Size of the data.
        bytes: usize,
        /// Size of a frame.
        frame_bytes: u32,
    },
    /// The backend does not offer this feature.
    #[error("the sound daemon offers no {0}")]
    NotOffered(&'static str),
    /// A request that the stream's state forbids.
    #[error("{0}")]
    Submit(SubmitError),
    /// Xen failed.
    #[error(transparent)]
    Xen(#[from] xen::Error),
    /// XenStore failed.
    #[error(transparent)]
    Store(#[from] xenstore::Error),
    /// A system call failed.
    #[error("cannot {doing}: {cause}")]
    System {
        /// Action that was attempted, as a verb phrase.
        doing: &'static str,
        /// The system's answer.
        cause: io::Error,
    },
}

impl Error {
    pub(crate) fn system<E: Into<io::Error>>(doing: &'static str) -> impl FnOnce(E) -> Self {
        move |cause| Self::System { doing, cause: cause.into() }
    }

    /// Returns true if the backend refused a READ, so that [`Capture::restart`](crate::Capture::restart) may
    /// help.
    #[must_use]
    pub fn is_refused_read(&self) -> bool {
        matches!(self, Self::Refused { operation: "READ", .. })
    }

    /// Returns true if [`Stream::recover`](crate::Stream::recover) may help.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Lost)
    }
}

impl From<SubmitError> for Error {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Broken(violation) => Self::Violation(violation),
            SubmitError::CannotPause => Self::NotOffered("pause"),
            other => Self::Submit(other),
        }
    }
}

impl From<NegotiationError> for Error {
    fn from(error: NegotiationError) -> Self {
        Self::Negotiation(Box::new(error))
    }
}

fn hint(errno: Errno) -> &'static str {
    match errno {
        Errno::EACCES | Errno::EPERM => " (the host's configuration does not allow this guest to use the stream)",
        Errno::ENODEV => " (the host's sound device is missing)",
        Errno::EBUSY => " (the host's sound device is in use)",
        _ => "",
    }
}
