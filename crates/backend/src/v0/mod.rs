//! Streams of protocol version 0.
//!
//! A guest of 2015 has no position events: the answer to a WRITE is its only clock. So a WRITE is copied into a private
//! queue immediately, and answered when all of it except the queue's *lead* was heard. The host plays the lead while
//! the guest prepares its next WRITE.

mod flow;
mod queue;
mod stream;
mod wakes;

pub use stream::{Outcome, Ready, Stream, StreamConfig};
