//! Streams of protocol version 2.

mod buffer;
mod captured;
mod link;
mod recovery;
mod stream;
mod transport;

pub(crate) use link::Link;
pub(crate) use stream::Stream;
pub(crate) use transport::Transport;
