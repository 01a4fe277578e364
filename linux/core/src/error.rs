// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Errors of operations, and their error numbers.

use frontend::{SubmitError, Violation};
use sndif::Errno;

/// Reason why an operation failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// No memory, or no grant reference.
    NoMemory,
    /// More than [`KEPT_MAX`](crate::KEPT_MAX) pages are kept: backends still map them though their access was to end.
    Kept,
    /// There is no connection to the backend.
    Lost,
    /// The backend did not answer in time.
    NoAnswer,
    /// The waiting task was killed.
    Killed,
    /// The backend broke the protocol; the stream cannot be used until the next connection.
    Broken(Violation),
    /// The backend refused.
    Refused(Errno),
    /// The stream has to be prepared first, because its connection was lost.
    Stale,
    /// The ring is full.
    Busy,
    /// The backend has refused to pause.
    CannotPause,
    /// Impossible parameters.
    Invalid,
    /// The backend came back with another version of the protocol.
    OtherVersion,
    /// Error number of the kernel, positive.
    System(i32),
}

impl Error {
    /// Returns the positive error number for the application.
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
            // EPIPE: ALSA's error after an xrun, to which every application reacts by preparing the stream.
            Self::Stale => 32,
            Self::Busy => 16,
            // ENOSYS: ALSA's error for a device without pause.
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
