// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Why an operation failed, as an error number.

use frontend::{SubmitError, Violation};
use sndif::Errno;

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// No memory, or no grant reference.
    NoMemory,
    /// Backends keep more pages mapped than [`KEPT_MAX`](crate::KEPT_MAX) that were to be taken back from them.
    Kept,
    /// There is no connection to the backend.
    Lost,
    /// The backend did not answer in time.
    NoAnswer,
    /// Whoever waited was killed.
    Killed,
    /// The backend broke the protocol; the stream is of no use until the next connection.
    Broken(Violation),
    /// The backend refused.
    Refused(Errno),
    /// The stream has to be prepared first, because its connection was lost.
    Stale,
    /// The ring is full.
    Busy,
    /// The backend has refused to pause.
    CannotPause,
    /// Parameters that cannot be.
    Invalid,
    /// The backend came back with another version of the protocol.
    OtherVersion,
    /// What the kernel said, positive.
    System(i32),
}

impl Error {
    /// The positive error number that an application gets.
    #[must_use]
    pub const fn number(self) -> i32 {
        match self {
            Self::NoMemory | Self::Kept => 12,
            Self::Lost => 19,
            Self::NoAnswer => 110,
            // EINTR
            Self::Killed => 4,
            Self::Broken(_) => 5,
            Self::Refused(errno) => match errno.number() {
                number @ 1..=133 => number,
                _ => 5,
            },
            // EPIPE: what ALSA says after an xrun, and every application answers by preparing the stream.
            Self::Stale => 32,
            Self::Busy => 16,
            // ENOSYS: what ALSA says of a device without pause.
            Self::CannotPause => 38,
            Self::Invalid => 22,
            // EPROTO
            Self::OtherVersion => 71,
            Self::System(number) => number,
        }
    }
}

impl From<SubmitError> for Error {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Full | SubmitError::Stopping => Self::Busy,
            SubmitError::Broken(violation) => Self::Broken(violation),
            SubmitError::NotOpen => Self::Stale,
            SubmitError::AlreadyOpen => Self::Busy,
            SubmitError::CannotPause => Self::CannotPause,
            SubmitError::BadSizes | SubmitError::OutOfRange | SubmitError::WrongDirection => Self::Invalid,
        }
    }
}

impl From<Violation> for Error {
    fn from(violation: Violation) -> Self {
        Self::Broken(violation)
    }
}
