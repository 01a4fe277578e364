//! Streams of protocol version 0.
//!
//! A guest of 2015 has no position events: the answer to a WRITE is all that keeps it in time. So a WRITE is copied into a
//! private queue at once and answered when all but the queue's *lead* of it was heard. The lead is what the
//! host plays while the guest prepares its next WRITE.

mod flow;
mod queue;
mod stream;
mod wakes;

pub use stream::{Counters, Outcome, Ready, Stream, StreamConfig};
