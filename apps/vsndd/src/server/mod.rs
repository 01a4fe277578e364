//! Local sockets for requests to the daemon, served by the control thread without ever waiting.

mod control;
mod listener;
mod metrics;
mod sockets;

pub(crate) use control::{ClientId, Control, Peer};
pub(crate) use metrics::Metrics;
#[cfg(test)]
pub(crate) use metrics::plain;
pub use sockets::Sockets;

/// The slot for another connection: a free one, or the one that was active longest ago.
fn longest_silent(active_ns: impl Iterator<Item = Option<u64>>) -> usize {
    active_ns.enumerate().min_by_key(|(_, active_ns)| *active_ns).map_or(0, |(index, _)| index)
}

/// Reason why a socket cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another daemon listens there.
    #[error("{0}: another daemon listens there")]
    InUse(String),
    /// The configured group does not exist.
    #[error("group `{0}` of the control socket does not exist: create it (groupadd --system {0}) or name another")]
    NoGroup(String),
    /// The system refused something.
    #[error("cannot listen at {address}: {reason}")]
    System {
        /// Address of the socket.
        address: String,
        /// The system's error.
        reason: std::io::Error,
    },
}
