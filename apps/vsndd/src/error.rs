//! Errors that end the daemon or a worker, and reasons for an end without an error.

use std::io;

use crate::server::ListenError;

/// Error that keeps the daemon from starting or going on.
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
    /// The control or metrics socket could not be created.
    #[error(transparent)]
    Listen(#[from] ListenError),
}

// By hand: the message contains its cause already, and a source would repeat it.
impl From<io::Error> for Error {
    fn from(cause: io::Error) -> Self {
        Self::System(cause)
    }
}

/// Reason for an end without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The daemon was asked to end.
    Asked,
    /// The emulated Xen, or the store, is gone.
    XenGone,
    /// A worker's devices need libraries that only another worker can load, which takes its place.
    Outgrown,
}
