//! Why the daemon, or a worker of it, cannot go on, and why it ended without an error.

use std::io;

use crate::server::ListenError;

/// Why the daemon cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Xen refused something.
    #[error(transparent)]
    Xen(#[from] xen::Error),
    /// The store refused something or is gone.
    #[error(transparent)]
    Store(#[from] xenstore::Error),
    /// The system refused something.
    #[error("{0}")]
    System(io::Error),
    /// A configured host device cannot be used.
    #[error(transparent)]
    HostDevice(#[from] host_audio::Error),
    /// A socket to be seen and steered by cannot be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
}

// By hand: the message has its cause already, and a source would say it twice.
impl From<io::Error> for Error {
    fn from(cause: io::Error) -> Self {
        Self::System(cause)
    }
}

/// Why the daemon ended without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Somebody asked for it.
    Asked,
    /// The emulated Xen, or the store, is gone.
    XenGone,
}
